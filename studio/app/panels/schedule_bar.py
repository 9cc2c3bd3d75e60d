"""The row above the curves: which schedule is shown, what is drawn beside it, and what can be done to its points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import Signal
from PySide6.QtGui import QUndoStack
from PySide6.QtWidgets import (
    QCheckBox,
    QHBoxLayout,
    QMenu,
    QPushButton,
    QToolButton,
    QVBoxLayout,
    QWidget,
    QWidgetAction,
)

from studio.app import theme
from studio.app.controls import Choice

_ICONS = {
    "undo": ("undo", "Undo", "Ctrl+Z"),
    "redo": ("redo", "Redo", "Ctrl+Shift+Z"),
    "add": ("plus", "Add a step at the selected one: its jump becomes two", "Insert, or a double click in a plot"),
    "remove": ("minus", "Remove the selected step: two jumps become one", "Delete, or a double click on the point"),
}


@dataclass(frozen=True)
class Beside:
    """A curve that can be drawn beside the one shown, and whether it is."""

    key: str
    name: str
    tip: str
    drawn: bool


class ScheduleBar(QWidget):
    """The controls only; what they do is told by signals."""

    chosen = Signal(int)
    """The place of the chosen schedule in the list; -1 is the sampler's own steps."""
    beside_changed = Signal()
    add_requested = Signal()
    remove_requested = Signal()

    def __init__(self, stack: QUndoStack) -> None:
        super().__init__()
        self._options: list[Beside] = []
        self._beside: dict[str, bool] = {}
        self._listed: tuple[tuple[str, ...], int] = ((), -1)
        self.choice = Choice([(-1, "the sampler’s")])
        self.choice.setObjectName("schedule")
        self.choice.setAccessibleName("Schedule")
        self.choice.setToolTip(
            "The schedule that is shown with its points\nLearned, drawn or imported ones stand here."
        )
        self.choice.setMinimumWidth(150)
        self.choice.setMaximumWidth(272)
        self.beside_button = QPushButton("Draw beside")
        self.beside_button.setToolTip("Other schedules to draw in the plots, with as many steps")
        self.beside_menu = QMenu(self)
        self.beside_menu.aboutToShow.connect(self._fill)
        self.beside_button.setMenu(self.beside_menu)
        # As high as the list beside it, with room for the arrow.
        self.beside_button.setStyleSheet("padding: 3px 28px 3px 12px; min-height: 20px")
        self._told = {"undo": (False, ""), "redo": (False, "")}
        self._buttons: dict[str, QToolButton] = {}
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(8)
        row.addWidget(self.choice, 8)
        row.addWidget(self.beside_button)
        row.addStretch(1)
        for name, (icon, tip, keys) in _ICONS.items():
            button = self._buttons[name] = QToolButton()
            theme.set_icon(button, icon)
            button.setObjectName(name)
            button.setAccessibleName(tip.partition(":")[0])
            button.setToolTip(f"{tip} ({keys})")
            row.addWidget(button)
        self.choice.valueChanged.connect(self._choose)
        self.button("undo").clicked.connect(stack.undo)
        self.button("redo").clicked.connect(stack.redo)
        self.button("add").clicked.connect(self.add_requested)
        self.button("remove").clicked.connect(self.remove_requested)
        stack.canUndoChanged.connect(lambda on: self._say_button("undo", possible=on))
        stack.undoTextChanged.connect(lambda text: self._say_button("undo", text=text))
        stack.canRedoChanged.connect(lambda on: self._say_button("redo", possible=on))
        stack.redoTextChanged.connect(lambda text: self._say_button("redo", text=text))
        for name in self._told:
            self._say_button(name)

    def button(self, name: str) -> QToolButton:
        """One of undo, redo, add, remove."""
        return self._buttons[name]

    def show_schedules(self, own: str, names: Sequence[str], place: int) -> None:
        """List these schedules after the sampler's ``own`` steps, with the one at ``place`` (-1: own) chosen."""
        if self._listed == ((own, *names), place):
            return
        self._listed = (own, *names), place
        self.choice.blockSignals(True)
        self.choice.set_options([(-1, own), *enumerate(names)])
        self.choice.setValue(place)
        self.choice.blockSignals(False)

    def show_beside(self, options: Sequence[Beside]) -> None:
        """Offer curves to draw beside; emits nothing."""
        self._options = list(options)
        self._beside = {option.key: option.drawn for option in options}

    def beside(self) -> list[str]:
        """The keys of the curves that are to be drawn, in the order they were offered."""
        return [key for key, drawn in self._beside.items() if drawn]

    def set_steps(self, *, add: str, remove: str) -> None:
        """Say why no step can be added or removed, "" where one can."""
        for name, reason in (("add", add), ("remove", remove)):
            _, tip, keys = _ICONS[name]
            self.button(name).setEnabled(not reason)
            self.button(name).setToolTip(reason or f"{tip} ({keys})")

    def _choose(self, place: object) -> None:
        self._listed = (), -1  # the list is not as it was put there
        self.chosen.emit(place)

    def _fill(self) -> None:
        """Make the boxes when they are to be seen; the menu stays open while several of them are ticked."""
        body = QWidget()
        column = QVBoxLayout(body)
        column.setContentsMargins(10, 4, 14, 4)
        column.setSpacing(4)
        for option in self._options:
            check = QCheckBox(option.name)
            check.setObjectName(option.key)
            check.setToolTip(option.tip)
            check.setChecked(self._beside[option.key])
            check.toggled.connect(lambda on, key=option.key: self._toggle(key, on))
            column.addWidget(check)
        action = QWidgetAction(self.beside_menu)
        action.setDefaultWidget(body)
        self.beside_menu.clear()
        self.beside_menu.addAction(action)

    def _toggle(self, key: str, on: bool) -> None:
        self._beside[key] = on
        self.beside_changed.emit()

    def _say_button(self, name: str, possible: bool | None = None, text: str | None = None) -> None:
        """Keep what the stack told last: it is not asked, for its last words come while it is taken down."""
        before = self._told[name]
        possible, text = self._told[name] = (
            before[0] if possible is None else possible,
            before[1] if text is None else text,
        )
        _, word, keys = _ICONS[name]
        self.button(name).setEnabled(possible)
        self.button(name).setToolTip(f"{word}: {text} ({keys})" if possible else f"Nothing to {word.lower()}")
