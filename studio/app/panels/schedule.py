"""The schedule workspace: how fast a model's training adds noise, and which of its levels the sampler visits.

A schedule is drawn three times over its time t (0 is data, 1 is noise): beta of a step, the signal left alpha_bar, and
log-SNR = ln(alpha_bar / (1 - alpha_bar)). The visited levels are points on those curves; beta of a visited point is
that of the whole jump to the next one, ``1 - alpha_bar_t / alpha_bar_s``, so it lies above the training curve.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from PySide6.QtCore import (
    QAbstractTableModel,
    QModelIndex,
    QPersistentModelIndex,
    QSignalBlocker,
    QStandardPaths,
    Qt,
    Signal,
)
from PySide6.QtGui import QResizeEvent, QShowEvent
from PySide6.QtWidgets import (
    QAbstractItemView,
    QFileDialog,
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QHeaderView,
    QPushButton,
    QScrollArea,
    QStackedWidget,
    QTableView,
    QVBoxLayout,
    QWidget,
)

from studio.app.controls import Banner, Choice, Field, LabeledSlider, Panel, make_label
from studio.app.panels.method_picker import MethodPicker
from studio.app.widgets import scale
from studio.app.widgets.plots import LivePlot
from studio.app.words import leftover
from studio.core import events
from studio.core.checkpoints.header import Header
from studio.core.files import explain, write_text
from studio.core.grids import Exact, LogSNR
from studio.core.knobs import knobs_of
from studio.core.levels import Level, beta_between, log_snr, posterior
from studio.core.registry import methods
from studio.core.sampling import SampleKnobs, SampleSpec, levels_of
from studio.core.schedules import DiscreteSchedule

WIDTH = 280
_ROW_HEIGHT = 26
_NARROW = 620  # pixels: not all columns of the table can be read
_STEPS = next(knob for knob in knobs_of(SampleKnobs) if knob.name == "steps")
_TIME = "t, data to noise"
_Index = QModelIndex | QPersistentModelIndex


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


def prior_mismatch(level: Level, mean: float, std: float) -> float:
    """KL(q(x_T) || N(0, 1)) a dimension, in nats, for data N(mean, std**2) at a VP level: what DDPM calls L_T."""
    alpha_bar = float(level.alpha) ** 2
    excess = alpha_bar * (std**2 - 1.0)
    # log1p: near the prior all terms cancel but for the last digits.
    return 0.5 * (excess + alpha_bar * mean**2 - math.log1p(excess))


class _VisitTable(QAbstractTableModel):
    """The visited levels as a table."""

    _HEADS = ("k", "step τ", "t", "α", "σ", "log-SNR", "jump β", "posterior σ")
    SPARE = (2, 7)  # what is left out where the window is narrow; the export has it
    _TIPS = (
        "The order of the visits: 0 is the noisiest.",
        "The training step, from 0 to T − 1.",
        "The schedule's time: 0 is data, 1 is noise.",
        "How much of the image is in x.",
        "How much noise is in x.",
        "ln(α² / σ²)",
        "How much of the signal's power the jump to the next visit wins back: 1 − ᾱ of this one / ᾱ of the next.",
        "√β̃: the fresh noise that DDPM's small variance adds on the jump to the next visit.",
    )

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self.visits: list[Visit] = []

    def show_visits(self, table: list[Visit]) -> None:
        """Show other visits."""
        self.beginResetModel()
        self.visits = table
        self.endResetModel()

    def rowCount(self, parent: _Index = QModelIndex()) -> int:  # noqa: B008 - Qt's own signature
        return 0 if parent.isValid() else len(self.visits)

    def columnCount(self, parent: _Index = QModelIndex()) -> int:  # noqa: B008 - Qt's own signature
        return 0 if parent.isValid() else len(self._HEADS)

    def data(self, index: _Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        if role == Qt.ItemDataRole.DisplayRole:
            return _row_text(self.visits[index.row()])[index.column()]
        return None

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if orientation != Qt.Orientation.Horizontal:
            return None
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        if role == Qt.ItemDataRole.ToolTipRole:
            return self._TIPS[section]
        return self._HEADS[section] if role == Qt.ItemDataRole.DisplayRole else None


def _row_text(visit: Visit) -> tuple[str, ...]:
    tau = "data" if visit.tau is None else f"{visit.tau:.1f}".removesuffix(".0").replace("-0", "0")
    ratio = "∞" if math.isinf(visit.log_snr) else f"{visit.log_snr:.2f}".replace("-", "−")
    jump = ("–" if value is None else f"{value:.5f}" for value in (visit.beta, visit.std))
    return (str(visit.k), tau, f"{visit.t:.4f}", f"{visit.alpha:.5f}", f"{visit.sigma:.5f}", ratio, *jump)


class ScheduleViews(QWidget):
    """The three plots of one schedule and the table of visits, with one selection through all of them."""

    def __init__(self, schedule: DiscreteSchedule, others: dict[str, DiscreteSchedule]) -> None:
        super().__init__()
        self._schedule, self._others = schedule, list(others)
        self._selected: int | None = None
        self.beta = LivePlot(_TIME, "β, log", log_y=True, x_range=(0.0, 1.0), title="β, noise added in a step")
        self.alpha_bar = LivePlot(
            _TIME, "ᾱ", x_range=(0.0, 1.0), y_range=(0.0, 1.0), title="ᾱ, signal power left", legend=False
        )
        self.log_snr = LivePlot(_TIME, "log-SNR", x_range=(0.0, 1.0), title="log-SNR, ln(ᾱ / (1 − ᾱ))", legend=False)
        self.plots = (self.beta, self.alpha_bar, self.log_snr)
        for plot in self.plots:
            self._add_curves(plot, others)
            plot.marker_moved.connect(self._marker_moved)
        self.rows = _VisitTable(self)
        self.table = _make_table(self.rows)
        self.table.selectionModel().currentRowChanged.connect(self._row_chosen)
        self._lay_out()

    def show_visits(self, table: list[Visit]) -> None:
        """Show which levels are visited; the selection stays at its number as far as there is one."""
        self.rows.show_visits(table)
        noisy = table[:-1]
        t = [visit.t for visit in noisy]
        for plot, values in zip(
            self.plots,
            (
                [visit.beta or 0.0 for visit in noisy],
                [visit.alpha**2 for visit in noisy],
                [visit.log_snr for visit in noisy],
            ),
            strict=True,
        ):
            # The visits go from noise to data; a curve is drawn from left to right.
            plot.set_data("visited", t[::-1], values[::-1])
        steps = "1 step" if len(noisy) == 1 else f"{len(noisy)} steps"
        self._table_panel.set_subtitle(f"{steps}, from noise to data" if table else "none: what is set is not possible")
        self.select(min(self._selected or 0, len(table) - 1) if table else None)

    def show_other(self, chosen: str) -> None:
        """Draw the schedule of this name beside the model's own; "" draws none."""
        for plot in self.plots:
            for name in self._others:
                plot.set_series_visible(name, name == chosen)

    def select(self, k: int | None) -> None:
        """Mark a visit in the plots and in the table, or none."""
        self._selected = k
        for plot in self.plots:
            plot.set_marker(None if k is None else self.rows.visits[k].t, draggable=True)
        if k is not None and self.table.currentIndex().row() != k:
            self.table.selectRow(k)
            self.table.scrollTo(self.rows.index(k, 0))

    def selected(self) -> int | None:
        """The number of the marked visit."""
        return self._selected

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        for column in _VisitTable.SPARE:
            self.table.setColumnHidden(column, self.width() < _NARROW)

    def _row_chosen(self, now: QModelIndex, before: QModelIndex) -> None:
        if now.isValid():
            self.select(now.row())

    def _marker_moved(self, t: float) -> None:
        """A plot was clicked: the visit nearest to it is meant."""
        if self.rows.visits:
            self.select(min(self.rows.visits, key=lambda visit: abs(visit.t - t)).k)

    def _add_curves(self, plot: LivePlot, others: dict[str, DiscreteSchedule]) -> None:
        plot.add_series("training", "training", "series_raw", width=2.0)
        for name in others:
            plot.add_series(name, name, "series_held_out", dashed=True)
            plot.set_series_visible(name, False)
        plot.add_series("visited", "visited", "series_smoothed", points=True)
        for name, schedule in {"training": self._schedule, **others}.items():
            alpha_bar = schedule.alpha_bar
            t = np.arange(1, schedule.length + 1) / schedule.length
            if plot is self.beta:
                plot.set_data(name, t, schedule.betas())
            elif plot is self.alpha_bar:
                plot.set_data(name, np.append(0.0, t), np.append(1.0, alpha_bar))
            else:
                plot.set_data(name, t, np.log(alpha_bar) - np.log1p(-alpha_bar))

    def _lay_out(self) -> None:
        self._table_panel = Panel("Visited steps")
        self._table_panel.content.addWidget(self.table)
        self._table_panel.setMinimumHeight(190)
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(12)
        grid.addWidget(_framed(self.beta, 190), 0, 0, 1, 2)
        grid.addWidget(_framed(self.alpha_bar, 176), 1, 0)
        grid.addWidget(_framed(self.log_snr, 176), 1, 1)
        grid.addWidget(self._table_panel, 2, 0, 1, 2)
        for row, stretch in enumerate((30, 26, 28)):
            grid.setRowStretch(row, stretch)
        for column in (0, 1):
            grid.setColumnStretch(column, 1)


class ScheduleSettings(QFrame):
    """The right column: which levels to visit, what to compare with, and the facts of the schedule."""

    changed = Signal()
    export_requested = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.setProperty("surface", "right")
        self.setFixedWidth(WIDTH)
        self._longest = 1000
        self.steps = LabeledSlider(1, self._longest, integer=True, log=True, value=float(SampleKnobs().steps))
        self.steps.setObjectName("steps")
        self.grid = MethodPicker(
            "grid", "Steps from", "Steps from\nWhich of the schedule's noise levels to visit.", LogSNR, spacing=6
        )
        self.other = Choice([("", "nothing")])
        self.other.setObjectName("other")
        self.facts = _Facts()
        self.export_button = QPushButton("Export table as CSV…")
        self._steps_field = Field(
            _STEPS.label, self.steps, symbol=_STEPS.symbol, tooltip=f"{_STEPS.label} {_STEPS.symbol}\n{_STEPS.help}"
        )
        self._lay_out()
        self.steps.valueChanged.connect(self.changed)
        self.steps.invalid.connect(self._say_steps)
        self.grid.changed.connect(self.changed)
        self.export_button.clicked.connect(self.export_requested)

    def apply_to(self, spec: SampleSpec) -> SampleSpec:
        """``spec`` with the steps and the grid that are set here."""
        knobs = dataclasses.replace(spec.knobs, steps=int(self.steps.value()))
        return dataclasses.replace(spec, grid=self.grid.value(), knobs=knobs)

    def show_spec(self, spec: SampleSpec) -> None:
        """Set the controls, quietly."""
        with QSignalBlocker(self):
            self.steps.setValue(spec.knobs.steps)
            self.grid.set_value(spec.grid)

    def set_schedule(self, schedule: DiscreteSchedule, others: Sequence[str]) -> None:
        """Fit the controls to another schedule, quietly."""
        with QSignalBlocker(self):
            self._longest = max(schedule.length, 2)
            self.steps.setRange(1, self._longest)
            self.other.set_options([("", "nothing"), *((name, name) for name in others)])

    def say(self, problem: str, grid: object, count: int | None) -> None:
        """Say why no levels follow from what is set ("" if they do), how many do, and dim what has no effect."""
        typed = isinstance(grid, Exact)
        self._steps_field.set_enabled(not typed, "follows from the typed list")
        self.steps.set_shown(count if typed else None)
        self.grid.set_error(problem)
        self.export_button.setEnabled(not problem)

    def _say_steps(self, text: str) -> None:
        knob = dataclasses.replace(_STEPS, high=self._longest)
        self._steps_field.set_error(f"It takes {knob.allowed}." if text else "")

    def _lay_out(self) -> None:
        body = QWidget()
        column = QVBoxLayout(body)
        column.setContentsMargins(16, 8, 16, 12)
        column.setSpacing(6)
        for widget in (
            make_label("The sampler visits", "section"),
            self._steps_field,
            self.grid,
            make_label("Shared with the trajectory workspace.", "faint", wrap=True),
            make_label("Compare", "section"),
            Field("Draw beside", self.other, tooltip="Another schedule with as many steps, dashed in the plots."),
            make_label("This schedule", "section"),
            self.facts,
        ):
            column.addWidget(widget)
        column.addStretch(1)
        buttons = QVBoxLayout()
        buttons.setContentsMargins(16, 8, 16, 16)
        buttons.addWidget(self.export_button)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.setSpacing(0)
        whole.addWidget(_scrolling(body), 1)
        whole.addLayout(buttons)


class _Facts(QWidget):
    """Names and numbers in two columns, and a sentence on where sampling starts."""

    _NAMES = ("Kind", "Steps T", "ᾱ at T", "log-SNR", "Prior mismatch", "α at the start")

    def __init__(self) -> None:
        super().__init__()
        self._values = [make_label("–", "mono") for _ in self._NAMES]
        self._values[4].setToolTip(
            "KL divergence from the noisiest level to pure noise, nats a pixel or coordinate,\n"
            "for Gaussian data of this model's mean and spread."
        )
        self.sentence = make_label("", "faint", wrap=True)
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(8)
        grid.setVerticalSpacing(6)
        grid.setColumnStretch(1, 1)
        for row, (name, value) in enumerate(zip(self._NAMES, self._values, strict=True)):
            grid.addWidget(make_label(name, "field"), row, 0)
            grid.addWidget(value, row, 1, Qt.AlignmentFlag.AlignRight)
        grid.addWidget(self.sentence, len(self._NAMES), 0, 1, 2)

    def show_schedule(self, schedule: DiscreteSchedule, mean: float, std: float) -> None:
        """The facts that hold whatever is visited."""
        first, last = (schedule.level(t) for t in (1.0 / schedule.length, 1.0))
        ends = [f"{float(log_snr(level)):.1f}".replace("-", "−") for level in (first, last)]
        for label, text in zip(
            self._values,
            (
                schedule.title,
                str(schedule.length),
                scale.number(float(last.alpha) ** 2),
                f"{ends[0]} to {ends[1]}",
                f"{scale.number(prior_mismatch(last, mean, std))} nats",
            ),
            strict=False,
        ):
            label.setText(text)

    def show_start(self, level: Level | None) -> None:
        """The first visited level, where samples start from pure noise; None where there is none."""
        alpha = None if level is None else float(level.alpha)
        self._values[-1].setText("–" if alpha is None else scale.number(alpha))
        self.sentence.setText("" if alpha is None else leftover(alpha))

    def texts(self) -> dict[str, str]:
        """What is shown, by name."""
        return {name: value.text() for name, value in zip(self._NAMES, self._values, strict=True)}


class SchedulePanel(QWidget):
    """The workspace. Steps and grid are the sampler's own: a change here is told by ``spec_changed``."""

    spec_changed = Signal(object)
    """The :class:`~studio.core.sampling.SampleSpec` with other steps or another grid, chosen here."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._schedule: DiscreteSchedule | None = None
        self._spec = SampleSpec()
        self._title = ""
        self._shown: tuple[DiscreteSchedule, SampleSpec] | None = None
        self.views: ScheduleViews | None = None
        self.settings = ScheduleSettings()
        self.banner = Banner()
        self._arrange()
        self.settings.changed.connect(self._changed)
        self.settings.other.valueChanged.connect(self._show_other)
        self.settings.export_requested.connect(self._export)

    def set_model(self, path: str, header: Header, schedule: DiscreteSchedule) -> None:
        """Show another model's schedule. ``path`` names the tables that are exported."""
        self._schedule, self._title = schedule, Path(path).stem
        others = _others(schedule)
        before = self.settings.other.value()
        self.settings.set_schedule(schedule, list(others))
        self.settings.facts.show_schedule(schedule, float(header.facts["mean"]), float(header.facts["std"]))
        if self.views is not None:
            self._column.removeWidget(self.views)
            self.views.deleteLater()
        self.views = ScheduleViews(schedule, others)
        self._column.addWidget(self.views, 1)
        # One other schedule is drawn unless the person chose none, the same one as before where there is such.
        if (before or self._shown is None) and before not in others:
            self.settings.other.setValue(next(iter(others), ""))
        self._show_other()
        self._stack.setCurrentIndex(1)
        self.settings.setEnabled(True)
        self.banner.hide()
        self.settings.show_spec(self._spec)
        self._shown = None
        self._refresh()

    def set_spec(self, spec: SampleSpec) -> None:
        """Follow the sampler's choice; nothing is emitted."""
        self._spec = spec
        self.settings.show_spec(spec)
        self._refresh()

    def receive(self, event: events.Event) -> None:
        """Take any message. All that is shown here follows from the model and the steps, so none changes it."""

    def visits(self) -> list[Visit]:
        """The table as shown; empty where what is set is not possible."""
        return [] if self.views is None else self.views.rows.visits

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._refresh()

    def _changed(self) -> None:
        self._spec = self.settings.apply_to(self._spec)
        self._refresh()
        self.spec_changed.emit(self._spec)

    def _show_other(self) -> None:
        if self.views is not None:
            self.views.show_other(str(self.settings.other.value()))

    def _refresh(self) -> None:
        """Bring table and points in line with the steps, unless they are, or nobody sees them."""
        schedule, views = self._schedule, self.views
        if schedule is None or views is None or not self.isVisible():
            return
        if self._shown is not None and self._shown[0] is schedule and _same_levels(self._shown[1], self._spec):
            return
        self._shown = schedule, self._spec
        problem, levels = "", []
        try:
            levels = levels_of(self._spec, schedule)
        except ValueError as error:
            problem = str(error)
        self.settings.say(problem, self._spec.grid, len(levels) - 1 if levels else None)
        self.settings.facts.show_start(levels[0] if levels else None)
        views.show_visits(visits(schedule, levels) if levels else [])

    def _export(self) -> None:
        """Ask where, and write the table there, whole or not at all."""
        folder = Path(QStandardPaths.writableLocation(QStandardPaths.StandardLocation.DocumentsLocation))
        suggested = folder / f"{self._title}, {len(self.visits()) - 1} steps.csv"
        chosen, _ = QFileDialog.getSaveFileName(self, "Export table", str(suggested), "Tables (*.csv)")
        if not chosen:
            return
        path = Path(chosen) if chosen.lower().endswith(".csv") else Path(f"{chosen}.csv")
        try:
            write_text(path, to_csv(self.visits()))
        except OSError as error:
            self.banner.show_error(explain(error, path))
        else:
            self.banner.show_info(f"Exported {len(self.visits())} rows to {path}.")

    def _arrange(self) -> None:
        empty = QWidget()
        middle = QVBoxLayout(empty)
        middle.setSpacing(6)
        middle.addStretch(1)
        for text, role in (
            ("No model is open", "title"),
            ("Choose one at the left, or drop a checkpoint onto the window:\nits noise schedule shows here.", "muted"),
        ):
            label = make_label(text, role)
            label.setAlignment(Qt.AlignmentFlag.AlignCenter)
            middle.addWidget(label)
        middle.addStretch(1)
        body = QWidget()
        self._column = QVBoxLayout(body)
        self._column.setContentsMargins(16, 16, 16, 16)
        self._column.setSpacing(12)
        self._column.addWidget(self.banner)
        self._stack = QStackedWidget()
        self._stack.addWidget(empty)
        self._stack.addWidget(_scrolling(body))
        self.settings.setEnabled(False)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(0)
        row.addWidget(self._stack, 1)
        row.addWidget(self.settings)


def _others(schedule: DiscreteSchedule) -> dict[str, DiscreteSchedule]:
    """The registered schedules of the same length that differ from this one."""
    found = {}
    for name, cls in methods("schedule").items():
        try:
            other = cls(num_steps=schedule.length)
        except ValueError:
            continue  # it cannot be as short or as long as this
        if not np.allclose(other.betas(), schedule.betas(), rtol=1e-9, atol=0.0):
            found[name] = other
    return found


def _same_levels(one: SampleSpec, other: SampleSpec) -> bool:
    """Whether two specs visit the same levels of a schedule; seeds and samplers do not matter here."""
    return one.grid == other.grid and one.knobs.steps == other.knobs.steps


def _make_table(model: _VisitTable) -> QTableView:
    table = QTableView()
    table.setModel(model)
    table.setShowGrid(False)
    table.setWordWrap(False)
    table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
    table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
    table.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    table.setAccessibleName("Visited steps")
    table.setTabKeyNavigation(False)
    heads = table.horizontalHeader()
    heads.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
    heads.setSectionResizeMode(0, QHeaderView.ResizeMode.Fixed)
    heads.resizeSection(0, 56)
    heads.setHighlightSections(False)
    heads.setSectionsClickable(False)
    table.verticalHeader().hide()
    table.verticalHeader().setDefaultSectionSize(_ROW_HEIGHT)
    return table


def _framed(plot: LivePlot, least: int) -> Panel:
    panel = Panel()
    panel.setMinimumHeight(least)
    panel.content.addWidget(plot)
    margins = panel.layout()
    assert margins is not None
    margins.setContentsMargins(7, 9, 7, 5)
    return panel


def _scrolling(body: QWidget) -> QScrollArea:
    """``body``, scrolled where the window is low, never sideways."""
    area = QScrollArea()
    body.setProperty("scrolled", True)
    area.setWidget(body)
    area.setWidgetResizable(True)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    return area
