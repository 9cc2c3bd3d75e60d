"""The best schedules of a search as a table: a row for each number of steps, a column for each sampler."""

from __future__ import annotations

from typing import Any, ClassVar

from PySide6.QtCore import QModelIndex, Qt, Signal
from PySide6.QtGui import QColor, QKeyEvent, QResizeEvent
from PySide6.QtWidgets import QHeaderView, QTableView, QWidget

from studio.app.panels.schedule_found import Found, brief, told
from studio.app.widgets.pictures import role_color
from studio.app.widgets.row_table import RowModel, set_up
from studio.app.words import duration

COUNTS = {"image": (36, "images"), "points": (1000, "points")}
"""How many items the time of sampling is told for, by kind of model, and what they are called."""


class BestModel(RowModel):
    """The best schedules, a row for each number of steps."""

    heads = ("N", "ancestral", "DDIM", "α, β", "least N", "from", "time")
    tips = (
        "How many steps: network evaluations",
        "The score with ancestral sampling; lower is better",
        "The score with DDIM; lower is better",
        "Where the better of the two was emitted from: α and β of its noisiest step",
        "ln(α²) / ln(1 − β) of that start: with fewer steps no schedule from there reaches clean data",
        "learned: as the schedule network emitted it; refined: its β were moved on after that",
        "How long sampling takes",
    )
    SAMPLER_OF: ClassVar = {1: "ancestral", 2: "ddim"}
    SPARE = (6, 5, 4)  # what is left out first where there is no room; tool tips tell most of it

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.rows: list[dict[str, Found]] = []
        self.seconds: float | None = None
        self.count = COUNTS["image"]

    def show_rows(self, rows: list[dict[str, Found]]) -> None:
        """List these: what was found for each sampler, a dictionary for each number of steps."""
        self.beginResetModel()
        self.rows = rows
        self.endResetModel()

    def found_at(self, row: int, column: int) -> Found:
        """What a cell speaks of: the schedule for its sampler, or the better one of the row."""
        known = self.rows[row]
        return known.get(self.SAMPLER_OF.get(column, "")) or min(known.values(), key=lambda one: one.rank)

    def num_rows(self) -> int:
        return len(self.rows)

    def head(self, column: int) -> str:
        return f"{self.count[0]:,} {self.count[1]}" if column == len(self.heads) - 1 else self.heads[column]

    def look(self, row: int, column: int, role: int) -> Any:
        if role == Qt.ItemDataRole.ForegroundRole and column in self.SAMPLER_OF:
            better = self.found_at(row, 0).sampler == self.SAMPLER_OF[column]
            return QColor(role_color("text" if better else "text_muted"))
        return told(self.found_at(row, column)) if role == Qt.ItemDataRole.ToolTipRole else None

    def text(self, row: int, column: int) -> str:
        best = self.found_at(row, 0)
        start = best.schedule.start
        if column in self.SAMPLER_OF:
            known = self.rows[row].get(self.SAMPLER_OF[column])
            return "–" if known is None or known.score is None else brief(known.score)
        return (
            str(best.schedule.steps),
            "",
            "",
            "–" if start is None else f"{_short(start[0])}, {_short(start[1])}",
            "–" if best.bound is None else f"{best.bound:.1f}",
            best.schedule.origin,
            "–" if self.seconds is None else _time(best.schedule.steps * self.count[0] * self.seconds),
        )[column]


class BestTable(QTableView):
    """Tells what was picked by hand, the same cell again included."""

    picked = Signal(QModelIndex)

    def __init__(self, model: BestModel) -> None:
        super().__init__()
        self._rows = model
        set_up(self, model, "Best schedules")
        heads = self.horizontalHeader()
        heads.setMinimumSectionSize(24)
        heads.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        self.clicked.connect(self.picked)

    def fit_columns(self) -> None:
        """Give every column what it needs, and leave out the least needed where there is no room."""
        model, heads, room = self._rows, self.horizontalHeader(), self.viewport().width()
        columns = range(len(model.heads))
        for column in columns:
            self.setColumnHidden(column, False)  # a hidden one would ask for no room
        needs = [max(self.sizeHintForColumn(k), heads.sectionSizeHint(k)) for k in columns]
        shown = list(columns) if model.seconds is not None else list(columns)[:-1]
        for spare in model.SPARE:
            if sum(needs[k] for k in shown) > room and spare in shown:
                shown.remove(spare)
        share = max(room - sum(needs[k] for k in shown), 0) // len(shown)
        for column in columns:
            self.setColumnHidden(column, column not in shown)
            heads.resizeSection(column, needs[column] + share)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.fit_columns()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        before = self.currentIndex()
        super().keyPressEvent(event)
        now = self.currentIndex()
        again = event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter, Qt.Key.Key_Space)
        if now.isValid() and (again or now != before):
            self.picked.emit(now)


def _short(value: float) -> str:
    """A number below 1 in two decimals, without the 0: ".45"."""
    return f"{value:.2f}".removeprefix("0")


def _time(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 9.95 else duration(seconds)
