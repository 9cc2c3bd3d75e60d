"""The search page of the schedule workspace: the table of starts as a heat map that fills, and the best schedules.

A start (alpha_N, beta_N) gives a schedule for each sampler; a place of the map shows the best of them. The table has
the best of each number of steps, wherever it came from.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PySide6.QtCore import QModelIndex, Qt
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from studio.app import theme
from studio.app.controls import Choice, ElidedLabel, Panel, Segmented, make_label
from studio.app.forms import KnobForm
from studio.app.panels.compare_page import Side, section
from studio.app.panels.method_picker import MethodPicker, read_form, restore_form
from studio.app.panels.schedule_best import COUNTS, BestModel, BestTable
from studio.app.panels.schedule_found import Found, Tried, bound_of, place_of
from studio.app.panels.schedule_run import RunPage
from studio.app.widgets.start_map import Cell, Place, StartMap
from studio.core import events
from studio.core.checkpoints.header import Header
from studio.core.knobs import knobs_of
from studio.core.networks.schedule_net import CNNSpec, ScheduleNetworkSpec
from studio.core.recipes.bilateral import Bilateral
from studio.core.schedule_judges import Judge
from studio.core.schedule_search import SearchKnobs
from studio.core.schedules import NoiseSchedule
from studio.core.short_schedule import ShortSchedule

_NO_MAP = "Press Search to try schedules from a table of starts: each place then shows how good the best from there is."
_NO_ROWS = "No schedules yet. The best of each number of steps comes here as the search finds it."
_LABELS = {"drivers.both": "both", "drivers.ancestral": "ancestral", "drivers.ddim": "DDIM"}


@dataclass(frozen=True, kw_only=True)
class SearchRequest:
    """Search the short schedules of the model at ``path``, with this schedule network, trained so."""

    path: Path
    judge: Judge
    knobs: SearchKnobs
    network: ScheduleNetworkSpec
    bilateral: Bilateral


class SearchPage(RunPage):
    """Asks for a :class:`SearchRequest`, and offers the schedule of a row or a place that was picked by hand."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__((("search", "Search"),), parent)
        self._step = -1
        self._network: ScheduleNetworkSpec = CNNSpec()
        self._bilateral = Bilateral()
        self._stored: tuple[ShortSchedule, ...] = ()
        self._live = False
        self._judge = ""
        self._tried: dict[Cell, Tried] = {}
        self._best: dict[int, dict[str, Found]] = {}
        self._counts: list[int] = []
        self._places: dict[Cell, Place] = {}
        self._ranks: dict[Cell, float] = {}
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
        self.rows = BestModel(self)
        self.table = BestTable(self.rows)
        self.table_panel = Panel("Best schedules")
        self.empty = make_label(_NO_ROWS, "muted", wrap=True)
        self.judge = MethodPicker("judge", "Judge by", "Judge by\nWhat a schedule is worth; lower is better.")
        self.form = KnobForm(knobs_of(SearchKnobs), _LABELS)
        self.bound = make_label("", "muted", wrap=True)
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
        self.rows.count = COUNTS[header.kind]
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

    def _take(self, event: events.Event) -> None:
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
                self._take_found(event)

    def set_busy(self, busy: bool) -> None:
        super().set_busy(busy)
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
        restore_form(self.form, knobs_of(SearchKnobs), state)

    # What was found

    def _take_found(self, event: events.ScheduleFound) -> None:
        self._judge = event.judge or self._judge
        found = None
        if event.schedule is not None:
            found = Found(event.schedule, event.score, event.judge, bound_of(event.schedule))
        if event.row is not None and event.column is not None and self.map.holds((event.row, event.column)):
            tried = self._tried.setdefault((event.row, event.column), Tried())
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

    def _kept(self) -> dict[int, dict[str, Found]]:
        """What the model's own file keeps, by number of steps and sampler."""
        kept: dict[int, dict[str, Found]] = {}
        for schedule in self._stored:
            key = min(schedule.scores, key=lambda key: not key.startswith("FD"), default="")
            one = Found(schedule, schedule.scores.get(key), key.partition(" · ")[0], bound_of(schedule))
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
        self._places[cell] = place_of(tried, found, wanted, self.show_what.value() == "steps")
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
            panel.set_margins(*margins)
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
        self.map.place_chosen.connect(self._place_chosen)
        self.table.picked.connect(self._row_picked)
        self.steps.valueChanged.connect(self._show_map)
        self.show_what.valueChanged.connect(self._show_map)
        self.judge.changed.connect(self._refresh)
        self.form.changed.connect(self._refresh)
        self.form.validity_changed.connect(self._refresh)
