"""The search page of the schedule workspace: the table of starts as a heat map that fills, and the best schedules.

A start (alpha_N, beta_N) gives a schedule for each sampler; a place of the map shows the best of them. The table has
the best of each number of steps, wherever it came from.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QPersistentModelIndex, Qt, Signal
from PySide6.QtGui import QColor, QKeyEvent, QResizeEvent
from PySide6.QtWidgets import QAbstractItemView, QHBoxLayout, QHeaderView, QTableView, QVBoxLayout, QWidget

from studio.app import theme
from studio.app.controls import Choice, ElidedLabel, Panel, Segmented, make_label
from studio.app.forms import KnobForm
from studio.app.panels.compare_page import Side, section
from studio.app.panels.method_picker import MethodPicker, parsed, read_form
from studio.app.panels.schedule_run import Notices, RunBar
from studio.app.widgets.pictures import role_color
from studio.app.widgets.start_map import Cell, Place, StartMap
from studio.app.words import duration
from studio.core import events
from studio.core.checkpoints.header import Header
from studio.core.knobs import knobs_of
from studio.core.networks.schedule_net import CNNSpec, ScheduleNetworkSpec
from studio.core.recipes.bilateral import Bilateral
from studio.core.schedule_judges import Judge
from studio.core.schedule_search import SearchKnobs
from studio.core.schedules import NoiseSchedule
from studio.core.short_schedule import ShortSchedule, fewest_steps

_ROW_HEIGHT = 26
_SAMPLERS = {"ancestral": "ancestral", "ddim": "DDIM"}
_NO_MAP = "Press Search to try schedules from a table of starts: each place then shows how good the best from there is."
_NO_ROWS = "No schedules yet. The best of each number of steps comes here as the search finds it."
_LABELS = {"drivers.both": "both", "drivers.ancestral": "ancestral", "drivers.ddim": "DDIM"}
_COUNTS = {"image": (36, "images"), "points": (1000, "points")}
_Index = QModelIndex | QPersistentModelIndex


@dataclass(frozen=True, kw_only=True)
class SearchRequest:
    """Search the short schedules of the model at ``path``, with this schedule network, trained so."""

    path: Path
    judge: Judge
    knobs: SearchKnobs
    network: ScheduleNetworkSpec
    bilateral: Bilateral


@dataclass(frozen=True)
class _Found:
    """One schedule with what a judge said of it, in the judge's own quantity."""

    schedule: ShortSchedule
    score: float | None
    judge: str
    bound: float | None

    @property
    def sampler(self) -> str:
        return str(self.schedule.sampler.get("name", ""))

    @property
    def rank(self) -> float:
        return math.inf if self.score is None else self.score


@dataclass
class _Tried:
    """What came from one start."""

    found: list[_Found] = field(default_factory=list)
    reason: str = ""
    bound: float | None = None

    def best(self, steps: int | None) -> _Found | None:
        """The best schedule, of a number of steps or of any."""
        fit = [one for one in self.found if one.score is not None and steps in (None, one.schedule.steps)]
        return min(fit, key=lambda one: one.rank, default=None)


class _BestTable(QAbstractTableModel):
    """The best schedules, a row for each number of steps."""

    HEADS = ("N", "ancestral", "DDIM", "α, β", "least N", "from", "time")
    TIPS = (
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
        self.rows: list[dict[str, _Found]] = []
        self.seconds: float | None = None
        self.count = _COUNTS["image"]

    def show_rows(self, rows: list[dict[str, _Found]]) -> None:
        """List these: what was found for each sampler, a dictionary for each number of steps."""
        self.beginResetModel()
        self.rows = rows
        self.endResetModel()

    def found_at(self, row: int, column: int) -> _Found:
        """What a cell speaks of: the schedule for its sampler, or the better one of the row."""
        known = self.rows[row]
        return known.get(self.SAMPLER_OF.get(column, "")) or min(known.values(), key=lambda one: one.rank)

    def rowCount(self, parent: _Index = QModelIndex()) -> int:  # noqa: B008 - Qt's own signature
        return 0 if parent.isValid() else len(self.rows)

    def columnCount(self, parent: _Index = QModelIndex()) -> int:  # noqa: B008 - Qt's own signature
        return 0 if parent.isValid() else len(self.HEADS)

    def data(self, index: _Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        row, column = index.row(), index.column()
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        if role == Qt.ItemDataRole.DisplayRole:
            return self._text(row, column)
        if role == Qt.ItemDataRole.ForegroundRole and column in self.SAMPLER_OF:
            better = self.found_at(row, 0).sampler == self.SAMPLER_OF[column]
            return QColor(role_color("text" if better else "text_muted"))
        if role == Qt.ItemDataRole.ToolTipRole:
            return _told(self.found_at(row, column))
        return None

    def headerData(self, number: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if orientation != Qt.Orientation.Horizontal:
            return None
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        if role == Qt.ItemDataRole.ToolTipRole:
            return self.TIPS[number]
        if role != Qt.ItemDataRole.DisplayRole:
            return None
        return f"{self.count[0]:,} {self.count[1]}" if number == len(self.HEADS) - 1 else self.HEADS[number]

    def _text(self, row: int, column: int) -> str:
        best = self.found_at(row, 0)
        start = best.schedule.start
        if column in self.SAMPLER_OF:
            known = self.rows[row].get(self.SAMPLER_OF[column])
            return "–" if known is None or known.score is None else _brief(known.score)
        return (
            str(best.schedule.steps),
            "",
            "",
            "–" if start is None else f"{_short(start[0])}, {_short(start[1])}",
            "–" if best.bound is None else f"{best.bound:.1f}",
            best.schedule.origin,
            "–" if self.seconds is None else _time(best.schedule.steps * self.count[0] * self.seconds),
        )[column]


class _Table(QTableView):
    """Tells what was picked by hand, the same cell again included."""

    picked = Signal(QModelIndex)

    def __init__(self) -> None:
        super().__init__()
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setAccessibleName("Best schedules")
        self.setTabKeyNavigation(False)
        heads = self.horizontalHeader()
        heads.setMinimumSectionSize(24)
        heads.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        heads.setHighlightSections(False)
        heads.setSectionsClickable(False)
        self.verticalHeader().hide()
        self.verticalHeader().setDefaultSectionSize(_ROW_HEIGHT)
        self.clicked.connect(self.picked)

    def fit_columns(self) -> None:
        """Give every column what it needs, and leave out the least needed where there is no room."""
        model, heads, room = self.model(), self.horizontalHeader(), self.viewport().width()
        assert isinstance(model, _BestTable)
        columns = range(len(model.HEADS))
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


class SearchPage(QWidget):
    """Itself is the centre, ``settings`` the right column. It runs nothing: it asks by signals."""

    start_requested = Signal(object)
    """A :class:`SearchRequest`."""
    stop_requested = Signal()
    pause_requested = Signal(bool)
    chosen = Signal(object)
    """The :class:`ShortSchedule` of a row or a place that was picked by hand."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._path: Path | None = None
        self._step = -1
        self._job_id = -1
        self._schedule: NoiseSchedule | None = None
        self._network: ScheduleNetworkSpec = CNNSpec()
        self._bilateral = Bilateral()
        self._stored: tuple[ShortSchedule, ...] = ()
        self._live = False
        self._judge = ""
        self._tried: dict[Cell, _Tried] = {}
        self._best: dict[int, dict[str, _Found]] = {}
        self._counts: list[int] = []
        self._places: dict[Cell, Place] = {}
        self._ranks: dict[Cell, float] = {}
        self.banner = Notices()
        self.map = StartMap("Scores by start")
        self.map.set_empty_text(_NO_MAP)
        self.steps = Choice([(None, "any N")])
        self.steps.setAccessibleName("Number of steps shown in the map")
        self.steps.setToolTip("Show only schedules of one number of steps")
        self.show_what = Segmented([("score", "score"), ("steps", "steps")])
        self.show_what.button("score").setToolTip("How good the best schedule from each start is")
        self.show_what.button("steps").setToolTip("How many steps it takes")
        self.caption = ElidedLabel("", "muted")
        self.map_panel = Panel("Starts")
        self.rows = _BestTable(self)
        self.table = _Table()
        self.table.setModel(self.rows)
        self.table_panel = Panel("Best schedules")
        self.empty = make_label(_NO_ROWS, "muted", wrap=True)
        self.judge = MethodPicker("judge", "Judge by", "Judge by\nWhat a schedule is worth; lower is better.")
        self.form = KnobForm(knobs_of(SearchKnobs), _LABELS)
        self.bound = make_label("", "muted", wrap=True)
        self.run = RunBar((("search", "Search"),))
        self.settings = self._make_settings()
        self._arrange()
        self._connect()
        self.settings.setEnabled(False)
        self._show_all()
        self._refresh()

    # What comes from outside

    def set_model(self, path: str, header: Header, schedule: NoiseSchedule) -> None:
        """Speak of another model; what was found is of the one before, and goes. The same one may keep more now."""
        same = Path(path) == self._path and header.step == self._step
        self._path, self._step, self._stored = Path(path), header.step, header.schedules
        self._schedule = schedule
        self.rows.count = _COUNTS[header.kind]
        self.settings.setEnabled(True)
        if same:
            self._show_table()
            return
        self.rows.seconds = None
        self.banner.clear()
        self.run.say("")
        self.clear()
        self._refresh()

    def set_network(self, network: ScheduleNetworkSpec, bilateral: Bilateral) -> None:
        """Which schedule network emits the schedules, and how it is trained where it is not yet."""
        self._network, self._bilateral = network, bilateral
        self._refresh()

    def set_rate(self, seconds: float) -> None:
        """The seconds that one item takes for one network evaluation; the table then tells how long sampling takes."""
        self.rows.seconds = seconds
        self._show_table()

    def clear(self) -> None:
        """Forget what was found; what the model keeps stays."""
        self._live, self._judge = False, ""
        self._tried, self._best, self._counts = {}, {}, []
        self._offer_steps()
        self.map.clear()
        self._show_all()

    def receive(self, event: events.Event) -> None:
        """Take any message of the page's own job."""
        if event.job_id < self._job_id:
            return
        self._job_id = event.job_id
        self.banner.receive(event)
        self.run.receive(event)
        match event:
            case events.SearchProgress() if len(self._tried) < self.map.num_places():
                said = f"{len(self._tried)} of {self.map.num_places()} starts"
                self.run.show_progress(event.fraction, said, event.eta_seconds)
            case events.Progress():
                said = f"Schedule network first: step {event.step:,} of {event.total:,}"
                self.run.show_progress(event.step / max(event.total, 1), said, event.eta_seconds)
            case events.TableShape():
                self.clear()
                self.map.set_axes(event.rows, event.columns, event.row_title, event.column_title)
                self._live = True
                self._show_all()
            case events.ScheduleFound():
                self._take(event)

    def set_busy(self, busy: bool) -> None:
        """A search goes on, or none does."""
        self.run.set_busy(busy)
        self.judge.setEnabled(not busy)
        self.form.setEnabled(not busy)
        if not busy:
            self._live = self._live and bool(self._best)
            self._show_table()
        self._refresh()

    # What is set

    def request(self) -> SearchRequest:
        """The search that is set. Raises ValueError in plain words."""
        if self._path is None or self._schedule is None:
            raise ValueError("Choose a model in the library.")
        knobs = read_form(self.form, SearchKnobs)
        _ = knobs.wanted_steps  # refused here, before anything runs
        self._bilateral.resolve_span(self._schedule)
        return SearchRequest(
            path=self._path,
            judge=self.judge.value(),
            knobs=knobs,
            network=self._network,
            bilateral=self._bilateral,
        )

    def state(self) -> dict[str, Any]:
        """The settings, as plain values."""
        return {**self.judge.state(), **self.form.values()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what :meth:`state` gave, as far as it is possible."""
        self.judge.restore(state)
        for item in knobs_of(SearchKnobs):
            value = parsed(item, state.get(item.name))
            if value is not None:
                self.form.set_values({item.name: value})

    # What was found

    def _take(self, event: events.ScheduleFound) -> None:
        self._judge = event.judge or self._judge
        found = None
        if event.schedule is not None:
            found = _Found(event.schedule, event.score, event.judge, _bound(event.schedule))
        if event.row is not None and event.column is not None and self.map.holds((event.row, event.column)):
            tried = self._tried.setdefault((event.row, event.column), _Tried())
            tried.bound = event.bound if event.bound is not None else tried.bound
            tried.reason = event.reason or tried.reason
            if found is not None:
                tried.found.append(found)
                self._list_steps(found.schedule.steps)
            self._place((event.row, event.column))
            self._draw_map()
        if found is not None and found.score is not None:
            row = self._best.setdefault(found.schedule.steps, {})
            if found.sampler not in row or found.rank < row[found.sampler].rank:
                row[found.sampler] = found
                self._show_table()

    def _list_steps(self, steps: int) -> None:
        """Offer a number of steps that was found, unless it is offered already: an open list stays as it is."""
        if steps not in self._counts:
            self._counts = sorted({*self._counts, steps})
            self._offer_steps()

    def _offer_steps(self) -> None:
        self.steps.set_options([(None, "any N"), *((count, f"N = {count}") for count in self._counts)])

    def _kept(self) -> dict[int, dict[str, _Found]]:
        """What the model's own file keeps, by number of steps and sampler."""
        kept: dict[int, dict[str, _Found]] = {}
        for schedule in self._stored:
            key = min(schedule.scores, key=lambda key: not key.startswith("FD"), default="")
            one = _Found(schedule, schedule.scores.get(key), key.partition(" · ")[0], _bound(schedule))
            row = kept.setdefault(schedule.steps, {})
            if one.sampler not in row or one.rank < row[one.sampler].rank:
                row[one.sampler] = one
        return kept

    # Drawing

    def _show_all(self) -> None:
        self._show_map()
        self._show_table()

    def _show_map(self) -> None:
        """Draw every place anew."""
        self._places, self._ranks = {}, {}
        for cell in self._tried:
            self._place(cell)
        self._draw_map()

    def _place(self, cell: Cell) -> None:
        """Work out what a place shows, and how it ranks among the others."""
        tried, wanted = self._tried[cell], self._wanted_steps()
        found = tried.best(wanted)
        self._places[cell] = _place(tried, found, wanted, self.show_what.value() == "steps")
        self._ranks.pop(cell, None)
        if found is not None:
            self._ranks[cell] = found.rank

    def _draw_map(self) -> None:
        by_steps = self.show_what.value() == "steps"
        best = min(self._ranks, key=lambda cell: self._ranks[cell], default=None)
        self.map.set_places(self._places, best, "steps" if by_steps else self._judge)
        what = "steps of the best" if by_steps else "lower is better"
        self.map_panel.set_subtitle(what if self._tried else "")
        for control in (self.steps, self.show_what):
            control.setEnabled(bool(self._tried))
        self._describe()

    def _wanted_steps(self) -> int | None:
        """The number of steps that the map is restricted to."""
        wanted = self.steps.value()
        return wanted if isinstance(wanted, int) else None

    def _show_table(self) -> None:
        """List the best; the marked row stays at its number of steps."""
        known = self._best if self._live else self._kept()
        current = self.table.currentIndex()
        at = self.rows.found_at(current.row(), 0).schedule.steps if current.isValid() else None
        self.rows.show_rows([known[steps] for steps in sorted(known)])
        if at in known:
            self.table.setCurrentIndex(self.rows.index(sorted(known).index(at), current.column()))
        judges = {one.judge for row in known.values() for one in row.values() if one.judge}
        said = [] if self._live or not known else ["kept in the model"]
        self.table_panel.set_subtitle(" · ".join([*said, *sorted(judges)]))
        self.table.setVisible(bool(known))
        self.empty.setVisible(not known)
        self.table.fit_columns()

    def _describe(self) -> None:
        """Tell the chosen place, else what there is to do; and the bound of it, else of the best."""
        at = self.map.current
        if at is not None:
            self.caption.setText(self.map.words(at))
        else:
            self.caption.setText("Click a place to use its schedule" if self._tried else "")
        tried = self._tried.get(at or self.map.best or (-1, -1))
        where = "the chosen start" if at is not None else "the best start"
        known = tried is not None and tried.bound is not None
        self.bound.setText(f"Fewest steps from {where}: {tried.bound:.1f}" if tried is not None and known else "")
        self.bound.setVisible(known)

    # Choosing

    def _place_chosen(self, row: int, column: int) -> None:
        self._describe()
        tried = self._tried.get((row, column))
        found = tried.best(self._wanted_steps()) if tried is not None else None
        if found is None:
            return
        self.table.clearSelection()
        self.table.setCurrentIndex(QModelIndex())
        for index, known in enumerate(self.rows.rows):
            if any(one.schedule == found.schedule for one in known.values()):
                self.table.setCurrentIndex(self.rows.index(index, 0))
        self.chosen.emit(found.schedule)

    def _row_picked(self, index: QModelIndex) -> None:
        schedule = self.rows.found_at(index.row(), index.column()).schedule
        # A schedule that was bettered still speaks of the place that it began from.
        tried = self._tried.items()
        same = [cell for cell, tries in tried if any(one.schedule == schedule for one in tries.found)]
        near = [cell for cell, tries in tried if any(one.schedule.start == schedule.start for one in tries.found)]
        self.map.set_current(next(iter([*same, *near]), None))
        self._describe()
        self.chosen.emit(schedule)

    # Asking

    def _start(self) -> None:
        try:
            request = self.request()
        except ValueError as error:
            self.banner.show_error(str(error))
            return
        self.banner.clear()
        self.start_requested.emit(request)

    def _refresh(self) -> None:
        """Say what is impossible, and whether there is something to press."""
        problem = ""
        try:
            self.request()
        except ValueError as error:
            problem = str(error)
        if self.form.is_valid():
            listed = self.form.field("wanted")
            wrong = problem if problem.startswith("wanted") else ""
            listed.set_error(wrong)
            theme.restyle(listed.control, bad=bool(wrong))
        button = self.run.start_button("search")
        button.setEnabled(not problem)
        button.setToolTip(problem or "Try every start, keep the best schedule of each number of steps, and better it")

    # Making

    def _make_settings(self) -> Side:
        side = Side()
        self.bound.setToolTip("ln(α²) / ln(1 − β): β only shrinks on the way, so fewer cannot reach clean data.")
        side.add(section("Search"), self.judge, self.form, self.bound)
        side.buttons.addWidget(self.run, 1)
        return side

    def _arrange(self) -> None:
        self.steps.setFixedWidth(86)
        self.map_panel.add_header_widget(self.steps)
        self.map_panel.add_header_widget(self.show_what)
        self.map_panel.content.addWidget(self.map, 1)
        self.map_panel.content.addWidget(self.caption)
        self.empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.empty.setContentsMargins(12, 0, 12, 24)
        self.table_panel.content.addWidget(self.table, 1)
        self.table_panel.content.addWidget(self.empty, 1)
        for panel, margins in ((self.map_panel, (13, 9, 9, 9)), (self.table_panel, (9, 11, 9, 9))):
            layout = panel.layout()
            assert layout is not None
            layout.setContentsMargins(*margins)
        row = QHBoxLayout()
        row.setSpacing(12)
        row.addWidget(self.map_panel, 11)
        row.addWidget(self.table_panel, 10)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(12)
        column.addWidget(self.banner)
        column.addLayout(row, 1)

    def _connect(self) -> None:
        self.run.start_requested.connect(self._start)
        self.run.pause_requested.connect(self.pause_requested)
        self.run.stop_requested.connect(self.stop_requested)
        self.map.place_chosen.connect(self._place_chosen)
        self.table.picked.connect(self._row_picked)
        self.steps.valueChanged.connect(self._show_map)
        self.show_what.valueChanged.connect(self._show_map)
        self.judge.changed.connect(self._refresh)
        self.form.changed.connect(self._refresh)
        self.form.validity_changed.connect(self._refresh)


def _place(tried: _Tried, found: _Found | None, steps: int | None, by_steps: bool) -> Place:
    """What the map shows of a start whose best schedule is ``found``."""
    if found is None:
        if not tried.found:
            return Place(None, reason=tried.reason or "No schedule came from here.", skipped=True)
        judged = any(one.score is not None for one in tried.found)
        return Place(None, reason=f"No schedule of {_steps(steps or 0)} came from here." if judged else tried.reason)
    count, score = found.schedule.steps, _brief(found.rank)
    sampler = _SAMPLERS.get(found.sampler, found.sampler)
    judge = found.judge or "score"
    told = [("steps", str(count)), ("sampler", sampler or "–"), (judge, score)]
    line = [_steps(count), sampler, f"{judge} {score}"]
    if tried.bound is not None:
        told.append(("fewest steps", f"{tried.bound:.1f}"))
        line.append(f"fewest {tried.bound:.1f}")
    value, text = (float(count), str(count)) if by_steps else (found.rank, score.removeprefix("0"))
    return Place(value, text, tuple(told), " · ".join(filter(None, line)))


def _told(found: _Found) -> str:
    """A schedule in full, for a tool tip."""
    schedule = found.schedule
    lines = [f"{_steps(schedule.steps)}, {schedule.origin}"]
    if found.score is not None:
        sampler = _SAMPLERS.get(found.sampler, found.sampler)
        lines[0] += f" · {found.judge or 'score'} {found.score:.4g}" + (f" with {sampler}" if sampler else "")
    if schedule.start is not None:
        lines.append(f"from α {schedule.start[0]:.4g}, β {schedule.start[1]:.4g}")
    shown = [f"{beta:.3g}" for beta in schedule.betas[:12]]
    lines.append(f"β {', '.join(shown)}{', …' if len(schedule.betas) > 12 else ''}")
    return "\n".join(lines)


def _short(value: float) -> str:
    """A number below 1 in two decimals, without the 0: ".45"."""
    return f"{value:.2f}".removeprefix("0")


def _bound(schedule: ShortSchedule) -> float | None:
    """N_min of its start. None for one that was moved on, or that ended before clean data: it is not bound by it."""
    if schedule.start is None or schedule.origin != "learned" or schedule.is_cut_short:
        return None
    return fewest_steps(*schedule.start)


def _steps(count: int) -> str:
    return f"{count} step{'s' * (count != 1)}"


def _brief(value: float) -> str:
    """A score in three digits, also where they are zeros, so that scores stand below each other: "4.90", "15.0"."""
    return f"{value:,.0f}" if abs(value) >= 1000.0 else f"{value:#.3g}".removesuffix(".")


def _time(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 9.95 else duration(seconds)
