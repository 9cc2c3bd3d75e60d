"""The window: the only package that imports Qt.

``main`` starts it, ``window`` holds the frame (top bar, library, workspaces, status line), ``worker`` runs jobs on
threads. ``theme`` says how everything looks, ``controls`` are the small parts, ``forms`` makes controls from knobs,
``library`` lists models. ``widgets/`` draw plots and pictures, ``panels/`` are the workspaces. Nothing here imports
torch: the window shows first, and a worker loads it.
"""
