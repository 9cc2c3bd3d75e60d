"""The live views of the window: plots, heat maps, image grids, filmstrips and particles.

Every view follows three rules, which together keep the window fluid while a network trains beside it. Data given to a
hidden view is only stored; it is drawn when the view is shown. A view repaints only after something visible changed,
and Qt merges many changes into one frame. Axis ranges grow in steps, because laying out an axis costs more than drawing
it. Views know arrays and colours, never runs, models or messages.
"""
