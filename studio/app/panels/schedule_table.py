"""The visited levels of a schedule as numbers: a table in the window, and the same with all digits as CSV.

The beta of a visited level is that of the whole jump to the next one, ``1 - alpha_bar_t / alpha_bar_s``.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from PySide6.QtCore import QModelIndex, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QHeaderView, QTableView, QWidget

from studio.app.controls import Panel
from studio.app.widgets.row_table import RowModel, set_up
from studio.core.levels import Level, beta_between, log_snr, posterior
from studio.core.schedules import DiscreteSchedule

_NARROW = 620  # pixels: not all columns of the table can be read


@dataclass(frozen=True)
class Visit:
    """One visited level: number ``k``, step ``tau`` in DDPM's counting, time ``t`` in [0, 1].

    ``beta`` and ``std`` are those of the jump to the next visited level: 1 - alpha_bar_t / alpha_bar_s, and the
    posterior's standard deviation sqrt(beta~). The last visit is clean data; it has no step and no jump.
    """

    k: int
    tau: float | None
    t: float
    alpha: float
    sigma: float
    log_snr: float
    beta: float | None
    std: float | None


def visits(schedule: DiscreteSchedule, levels: Sequence[Level]) -> list[Visit]:
    """What is known of each of ``levels`` (N + 1, descending, the last one clean)."""
    found = []
    for k, (level, after) in enumerate(pairwise(levels)):
        ratio = float(log_snr(level))
        t = schedule.time(ratio)
        jump = beta_between(level, after), math.sqrt(posterior(level, after).var)
        found.append(Visit(k, t * schedule.length - 1.0, t, float(level.alpha), float(level.sigma), ratio, *jump))
    last = levels[-1]
    found.append(Visit(len(found), None, 0.0, float(last.alpha), float(last.sigma), math.inf, None, None))
    return found


def to_csv(table: Sequence[Visit]) -> str:
    """The visited levels as comma-separated values, with all digits; empty where a value does not exist."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["k", "step", "t", "alpha", "sigma", "log_snr", "beta", "posterior_std"])
    writer.writerows(["" if value is None else value for value in dataclasses.astuple(visit)] for visit in table)
    return out.getvalue()


class VisitTable(RowModel):
    """The visited levels as a table."""

    heads = ("k", "step τ", "t", "α", "σ", "log-SNR", "jump β", "posterior σ")
    tips = (
        "The order of the visits: 0 is the noisiest.",
        "The training step, from 0 to T − 1.",
        "The schedule's time: 0 is data, 1 is noise.",
        "How much of the image is in x.",
        "How much noise is in x.",
        "ln(α² / σ²)",
        "How much of the signal's power the jump to the next visit wins back: 1 − ᾱ of this one / ᾱ of the next.",
        "√β̃: the fresh noise that DDPM's small variance adds on the jump to the next visit.",
    )
    SPARE = (2, 7)  # what is left out where the window is narrow; the export has it

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.visits: list[Visit] = []

    def show_visits(self, table: list[Visit]) -> None:
        """Show other visits."""
        self.beginResetModel()
        self.visits = table
        self.endResetModel()

    def num_rows(self) -> int:
        return len(self.visits)

    def text(self, row: int, column: int) -> str:
        return _row_text(self.visits[row])[column]


def _row_text(visit: Visit) -> tuple[str, ...]:
    tau = "data" if visit.tau is None else f"{visit.tau:.1f}".removesuffix(".0").replace("-0", "0")
    ratio = "∞" if math.isinf(visit.log_snr) else f"{visit.log_snr:.2f}".replace("-", "−")
    jump = ("–" if value is None else f"{value:.5f}" for value in (visit.beta, visit.std))
    return (str(visit.k), tau, f"{visit.t:.4f}", f"{visit.alpha:.5f}", f"{visit.sigma:.5f}", ratio, *jump)


class VisitPanel(Panel):
    """The table in its frame, with one row selected; ``picked`` tells a row that the person chose."""

    picked = Signal(int)

    def __init__(self) -> None:
        super().__init__("Visited steps")
        self.rows = VisitTable(self)
        self.table = _make_table(self.rows)
        self.content.addWidget(self.table)
        self.setMinimumHeight(150)
        self.table.selectionModel().currentRowChanged.connect(self._row_chosen)

    def show_visits(self, table: list[Visit]) -> None:
        """Show other visits, with none selected; an empty list where none are possible."""
        self.rows.show_visits(table)
        count = len(table) - 1
        steps = "1 step" if count == 1 else f"{count} steps"
        self.set_subtitle(f"{steps}, from noise to data" if table else "none: what is set is not possible")

    def select(self, k: int) -> None:
        """Select a visit and bring it into sight."""
        if self.table.currentIndex().row() != k:
            self.table.selectRow(k)
            self.table.scrollTo(self.rows.index(k, 0))

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        for column in VisitTable.SPARE:
            self.table.setColumnHidden(column, self.width() < _NARROW)

    def _row_chosen(self, now: QModelIndex, before: QModelIndex) -> None:
        if now.isValid():
            self.picked.emit(now.row())


def _make_table(model: VisitTable) -> QTableView:
    table = QTableView()
    set_up(table, model, "Visited steps")
    heads = table.horizontalHeader()
    heads.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
    heads.setSectionResizeMode(0, QHeaderView.ResizeMode.Fixed)
    heads.resizeSection(0, 56)
    return table
