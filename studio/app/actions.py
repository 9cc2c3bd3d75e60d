"""The window's actions, each with its shortcut, and the menu that lists them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from PySide6.QtGui import QAction, QActionGroup, QKeySequence
from PySide6.QtWidgets import QMenu, QWidget

WORKSPACES = ("Train", "Schedule", "Trajectory", "Latent", "Compare")
TRAINING = ("start", "pause", "step", "stop", "save", "resume_run")
SCHEMES = ("system", "light", "dark")

_ACTIONS = {
    "open": ("Open checkpoint…", "Ctrl+O"),
    "open_run": ("Open run folder…", "Ctrl+Shift+O"),
    "start": ("Start training", "Ctrl+Return"),
    "pause": ("Pause or go on", "Ctrl+P"),
    "step": ("One step", "Ctrl+."),
    "stop": ("Stop training", "Ctrl+Shift+X"),
    "save": ("Save checkpoint", "Ctrl+S"),
    "resume_run": ("Continue this run", "Ctrl+Shift+R"),
    **{name.lower(): (f"Show {name}", f"Ctrl+{number}") for number, name in enumerate(WORKSPACES, 1)},
    "system": ("As the system", "Ctrl+Alt+0"),
    "light": ("Light", "Ctrl+Alt+1"),
    "dark": ("Dark", "Ctrl+Alt+2"),
    "full": ("Full screen", "F11"),
    "menu": ("Menu", "F10"),
    "shortcuts": ("Keyboard shortcuts", "F1"),
    "about": ("About", "Shift+F1"),
    "quit": ("Quit", "Ctrl+Q"),
}
_IN_PANELS = (
    ("Sample again, or redraw what is free of a z", "F5, Ctrl+R"),
    ("New seed, or a new z", "N"),
    ("Save picture, or export a comparison or a walk", "Ctrl+E"),
    ("One denoising step back, forward", "Left, Right"),
    ("First, last denoising step", "Home, End"),
    ("Play or pause the denoising or the walk", "Space"),
    ("Move the marker of the z pad", "Left, Right, Up, Down, with Shift further"),
    ("Make the z under the marker the pad's middle", "Enter"),
    ("Keep the z in hand", "K"),
    ("Copy the z in hand, take a copied one", "Ctrl+C, Ctrl+V"),
    ("Undo, redo a change of a schedule", "Ctrl+Z, Ctrl+Shift+Z"),
    ("Select, move a point of a schedule", "Left, Right, Up, Down"),
    ("Add, remove a point of a schedule", "Insert, Delete"),
)


def build(window: QWidget, slots: Mapping[str, Callable[[], object]]) -> dict[str, QAction]:
    """All actions by name, added to ``window``, each calling its slot."""
    made = {}
    for name, (text, keys) in _ACTIONS.items():
        action = made[name] = QAction(text, window)
        action.setShortcut(QKeySequence(keys))
        # Qt passes whether the action is checked, which no slot asks for.
        action.triggered.connect(lambda _=False, slot=slots[name]: slot())
        window.addAction(action)
    schemes = QActionGroup(window)
    for name in SCHEMES:
        made[name].setCheckable(True)
        schemes.addAction(made[name])
    for name in TRAINING:
        made[name].setEnabled(False)
    return made


def menu(window: QWidget, actions: Mapping[str, QAction], recent: QMenu) -> QMenu:
    """The menu of all actions, with ``recent`` under the ones that open."""
    whole = QMenu(window)
    whole.addActions([actions["open"], actions["open_run"]])
    whole.addMenu(recent)
    whole.addSeparator()
    whole.addActions([actions[name] for name in TRAINING])
    whole.addSeparator()
    whole.addActions([actions[name.lower()] for name in WORKSPACES])
    looks = whole.addMenu("Appearance")
    looks.addActions([actions[name] for name in (*SCHEMES, "full")])
    whole.addSeparator()
    whole.addActions([actions[name] for name in ("shortcuts", "about", "quit")])
    return whole


def shortcut_table() -> str:
    """Every shortcut, as rich text."""
    rows = [(text.rstrip("…"), keys) for text, keys in _ACTIONS.values()]
    cells = [
        f"<tr><td style='padding-right:24px'>{what}</td><td>{keys}</td></tr>" for what, keys in (*rows, *_IN_PANELS)
    ]
    return f"<table>{''.join(cells)}</table>"
