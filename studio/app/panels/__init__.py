"""The workspaces of the window: what a person sees in its centre, and the settings to the right of it.

A panel shows messages and asks for jobs by signals; it starts none, and holds no tensor, module or optimiser. The
window connects the signals, and hands every message of the newest job to ``receive``. Panels are made after torch has
loaded.
"""
