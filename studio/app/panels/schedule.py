"""The schedule workspace: a model's noise schedules, long and short, drawn, learned, edited and tried at once.

A schedule is drawn three times (:mod:`~studio.app.panels.schedule_curves`): beta of a step, the signal left alpha_bar,
and log-SNR = ln(alpha_bar / (1 - alpha_bar)). One of those at hand is the one shown: the steps that the sampler visits,
or a short schedule with betas of its own, whose points can be pulled. Its samples stand at the right and change with
it. Pages below the curves list the steps, train a schedule network and search for schedules.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QDragEnterEvent, QDropEvent, QKeySequence, QShortcut, QShowEvent, QUndoStack
from PySide6.QtWidgets import (
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QPushButton,
    QScrollArea,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from studio.app.controls import Banner, ElidedLabel, Segmented, empty_page, scroll_down
from studio.app.panels import schedule_edit
from studio.app.panels.schedule_bar import Beside, ScheduleBar
from studio.app.panels.schedule_curves import Curve, Curves, framed
from studio.app.panels.schedule_edit import MOST_POINTS, Change, View, betas_of
from studio.app.panels.schedule_exchange import Exchange, Outgoing, dropped
from studio.app.panels.schedule_host import Host
from studio.app.panels.schedule_learn import LearnPage
from studio.app.panels.schedule_live import LiveSamples
from studio.app.panels.schedule_search import SearchPage
from studio.app.panels.schedule_settings import ScheduleSettings
from studio.app.panels.schedule_shelf import REFERENCES, Shelf, legend_of, reference, role_of
from studio.app.panels.schedule_table import Visit, VisitPanel, visits
from studio.core import events
from studio.core.checkpoints.header import Header
from studio.core.config import method_from_dict
from studio.core.grids import Betas
from studio.core.levels import Level
from studio.core.samplers.base import sampler_title
from studio.core.sampling import SampleSpec, has_prior, levels_of
from studio.core.schedules import DiscreteSchedule
from studio.core.short_schedule import ShortSchedule

WIDTH = 280
_ABOUT = {
    "Steps": "the noise levels that this schedule visits",
    "Network": "a small network that learns how large each step may be",
    "Search": "the best schedules, by how their samples score",
}
_EMPTY = "Choose one at the left, or drop a checkpoint onto the window:\nits noise schedule shows here."


class SchedulePanel(QWidget):
    """The workspace. Steps and grid are the sampler's own: a change here is told by ``spec_changed``.

    A short schedule is sampled with the sampler that it was found with; using it sets that, too.

    It runs nothing: samples are asked for by ``live``, jobs by the pages ``learn`` and ``search``, and short work with
    files by ``errand_requested``.
    """

    spec_changed = Signal(object)
    """The :class:`~studio.core.sampling.SampleSpec` with other steps, grid or sampler, chosen here."""
    use_requested = Signal()
    """The trajectory workspace shall come to the front; ``spec_changed`` has told it what to sample."""
    keep_requested = Signal(object)
    """The schedule that the checkpoint shall keep, too."""
    remove_requested = Signal(object)
    """Those that the checkpoint shall keep no longer, as a tuple: all with the betas of the one shown."""
    errand_requested = Signal(object, object)
    """A function to run in a thread of its own, and one to call here with its result."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._path = ""
        self._header: Header | None = None
        self._schedule: DiscreteSchedule | None = None
        self._spec = SampleSpec()
        self._current: ShortSchedule | None = None
        self._before_pull: ShortSchedule | None = None
        self._pulling = False
        self._visits: list[Visit] = []
        self._selected = 0
        self._beside: set[str] | None = None  # what the person chose; None before that
        self._problem = ""
        self._own: tuple[list[Level], str] = ([], "")
        self._own_key: tuple[object, ...] = ()
        self.shelf = Shelf()
        self.undo_stack = QUndoStack(self)
        self.curves = Curves(self)
        self.bar = ScheduleBar(self.undo_stack)
        self.steps = VisitPanel()
        self.settings = ScheduleSettings()
        self.learn, self.search = LearnPage(), SearchPage()
        self.live = LiveSamples()
        self.banner = Banner()
        self.exchange = Exchange(self, self.banner, self._outgoing)
        self._hosts = {"Network": Host(self.learn), "Search": Host(self.search)}
        self._make_buttons()
        self._arrange()
        self._connect()
        self.setAcceptDrops(True)
        self.show_page("Steps")

    # What the window says

    def set_model(self, path: str, header: Header, schedule: DiscreteSchedule) -> None:
        """Show another model's schedules; one that was drawn or imported stays in sight, to be tried on it."""
        self._path, self._header, self._schedule = path, header, schedule
        self.shelf.set_model(path, header.schedules)
        if self._current is not None and self.shelf.find(self._current.betas) is None:
            self._current = None
        self._pulling = False
        self.undo_stack.clear()
        self.settings.set_schedule(schedule)
        self.settings.offer(header)
        mean, std = float(header.facts["mean"]), float(header.facts["std"])
        self.settings.facts.show_schedule(schedule, mean, std, fitted=has_prior(header))
        self.settings.show_spec(self._spec)
        self.live.set_model(path, header)
        for host in self._hosts.values():
            host.set_model(path, header, schedule)
        self._stack.setCurrentIndex(1)
        self._side.setEnabled(True)
        self.banner.hide()
        self._refresh()

    def look_again(self, path: str, header: Header) -> None:
        """The file of the model says something else of itself now, as the schedules it keeps; nothing else changes."""
        if path != self._path or self._header is None:
            return
        self._header = header
        self.shelf.set_model(path, header.schedules)
        self.settings.offer(header)
        host = self._hosts["Search"]
        if self._schedule is not None and host.path == path:
            self.search.set_model(path, header, self._schedule)
        if self._current is not None:
            self._current = self.shelf.find(self._current.betas) or self._current
        self._refresh()

    def set_spec(self, spec: SampleSpec) -> None:
        """Follow the sampler's choice; nothing is emitted."""
        self._spec = spec
        self.settings.show_spec(spec)
        self._refresh()

    def set_data_points(self, data: np.ndarray) -> None:
        """The real data of a point set, (M, D)."""
        self.live.set_data_points(data)

    def receive(self, event: events.Event) -> None:
        """Take any message, as if it were of everything that is shown; the window gives each part its own."""
        self.live.receive(event)
        for name in self._hosts:
            self.receive_for(name, event)

    def receive_for(self, name: str, event: events.Event) -> None:
        """Take a message of a job of the page "Network" or "Search"."""
        host = self._hosts[name]
        host.page.receive(event)
        match event:
            case events.ScheduleFound(schedule=ShortSchedule() as found) if event.best or name == "Network":
                if self.shelf.add_found(host.path, found):
                    self._refresh()

    def set_busy(self, name: str, busy: bool) -> None:
        """A job of the page "Network" or "Search" goes on, or none does."""
        self._hosts[name].set_busy(busy)

    # Values

    def visits(self) -> list[Visit]:
        """The table of the schedule shown; empty where what is set is not possible."""
        return self._visits

    def current(self) -> ShortSchedule | None:
        """The short schedule that is shown; None for the sampler's own steps."""
        return self._current

    def page(self) -> str:
        """The name of the page in front."""
        return str(self.switch.value())

    def show_page(self, name: str) -> None:
        """Bring a page below the curves to the front."""
        if self.switch.value() != name:
            self.switch.setValue(name)
            return
        for other, (centre, side) in self._pages.items():
            centre.setVisible(other == name)
            if other == name:
                self._sides.setCurrentWidget(side)
        self.about.setText(_ABOUT[name])

    def state(self) -> dict[str, Any]:
        """What to keep for the next start, as plain values."""
        kept: dict[str, Any] = {"page": self.page(), "Network": self.learn.state(), "Search": self.search.state()}
        if self._beside is not None:
            kept["beside"] = sorted(self._beside & REFERENCES.keys())
        return kept

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what :meth:`state` gave; what is missing or impossible is left as it is."""
        beside = state.get("beside")
        if isinstance(beside, (list, tuple)):
            self._beside = {str(key) for key in beside} & REFERENCES.keys()
        for name, page in (("Network", self.learn), ("Search", self.search)):
            kept = state.get(name)
            if isinstance(kept, Mapping):
                page.restore(kept)
        if state.get("page") in self._pages:
            self.show_page(str(state["page"]))

    # Choosing and editing

    def show_schedule(self, schedule: ShortSchedule | None) -> None:
        """Show a short schedule, or the sampler's own steps; it can be undone."""
        if schedule is not None:
            schedule = self.shelf.find(schedule.betas) or schedule
        if schedule != self._current:
            self._change("choose another schedule", schedule)

    def _change(self, text: str, after: ShortSchedule | None, nudged: str = "") -> None:
        self.undo_stack.push(Change(text, self._current, after, self._put, nudged))

    def _put(self, schedule: ShortSchedule | None) -> None:
        if schedule is not None and self.shelf.find(schedule.betas) is None:
            self.shelf.add_own(schedule)
        self._current = schedule
        self._refresh()

    def _pick(self, place: int) -> None:
        self.show_schedule(None if place < 0 else self.shelf.listed()[place])

    def _betas(self) -> tuple[float, ...] | None:
        """Those of the schedule shown, from the cleanest; None where none is possible."""
        if self._current is not None:
            return self._current.betas
        return tuple(visit.beta for visit in self._visits[-2::-1] if visit.beta) or None

    def _edit(self, text: str, betas: tuple[float, ...], nudged: str = "") -> None:
        """Put other betas in the place of those shown, as a drawn schedule."""
        if betas != self._betas():
            self._change(text, self._drawn(betas), nudged)

    def _drawn(self, betas: tuple[float, ...]) -> ShortSchedule:
        """What the one shown becomes with other betas; it is still sampled as before."""
        sampler = self._current.sampler if self._current is not None else {}
        return ShortSchedule(betas=betas, origin="drawn", sampler=sampler)

    def _drag(self, view: View, point: int, value: float) -> None:
        betas = self._betas()
        if betas is None:
            return
        if not self._pulling:
            self._pulling, self._before_pull = True, self._current
        found = schedule_edit.moved(betas, view, point, value)
        if found != betas:
            self._current = self._drawn(found)
            self._refresh()

    def _let_go(self, view: View, point: int) -> None:
        if not self._pulling:
            return
        self._pulling = False
        after, self._current = self._current, self._before_pull
        if after != self._current:
            self._change("move a point", after)

    def _nudge(self, view: View, point: int, value: float) -> None:
        betas = self._betas()
        if betas is not None:
            self._edit("move a point", schedule_edit.moved(betas, view, point, value), f"{view} {point}")

    def _want(self, view: View, x: float, value: float) -> None:
        """One more point where a plot was clicked twice."""
        betas = self._betas()
        if betas is None or self._why_not_add():
            return
        place = min(max(int(x * len(betas)), 0), len(betas))
        self._selected = len(betas) - place  # counted from noise, among one more
        self._edit("add a step", schedule_edit.with_point(betas, place, view, value))

    def _add(self) -> None:
        betas = self._betas()
        if betas is None or self._why_not_add():
            return
        point = self._point()
        self._selected += 1
        self._edit("add a step", schedule_edit.with_point(betas, 0 if point is None else point))

    def _remove(self, point: int | None = None) -> None:
        betas = self._betas()
        point = self._point() if point is None else point
        if betas is None or point is None or len(betas) == 1 or len(betas) > MOST_POINTS:
            return
        self._edit("remove a step", schedule_edit.without_point(betas, point))

    def _why_not_add(self) -> str:
        betas = self._betas()
        if betas is None:
            return "There are no steps: what is set is not possible."
        if len(betas) >= MOST_POINTS:
            return f"Schedules of up to {MOST_POINTS} steps can be edited by hand; this one has {len(betas):,}."
        return ""

    def _why_not_remove(self) -> str:
        betas = self._betas()
        if betas is not None and len(betas) == MOST_POINTS:
            return ""
        if betas is not None and len(betas) == 1:
            return "A schedule has one step at least."
        return self._why_not_add() or ("" if self._point() is not None else "Select a step first: this is clean data.")

    # Selection

    def selected(self) -> int | None:
        """The number of the marked visit, 0 for the noisiest; None where there is none."""
        return self._selected if self._visits else None

    def _point(self) -> int | None:
        """The marked point of the curves; None where it is clean data."""
        last = len(self._visits) - 2
        return None if self._selected > last else last - self._selected

    def _point_picked(self, point: int | None) -> None:
        self.select(len(self._visits) - 1 if point is None else len(self._visits) - 2 - point)

    def select(self, k: int) -> None:
        """Mark a visit in the plots and in the table."""
        if not self._visits:
            self.curves.select(None)
            return
        self._selected = min(max(k, 0), len(self._visits) - 1)
        self.curves.select(self._point())
        self.steps.select(self._selected)
        self.bar.set_steps(add=self._why_not_add(), remove=self._why_not_remove())

    # Keeping it true

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._refresh()

    def _spec_set(self) -> None:
        """The sampler's steps were set here: they are what is meant."""
        self._spec = self.settings.apply_to(self._spec)
        if self._current is not None:
            self.show_schedule(None)
        else:
            self._refresh()
        self.spec_changed.emit(self._spec)

    def _own_levels(self) -> tuple[list[Level], str]:
        """What the sampler's own steps visit, or why they cannot be visited."""
        assert self._schedule is not None
        key = (self._schedule, self._spec.grid, self._spec.knobs.steps)
        if key != self._own_key:
            self._own_key = key
            try:
                self._own = levels_of(self._spec, self._schedule), ""
            except ValueError as error:
                self._own = [], str(error)
        return self._own

    def _refresh(self) -> None:
        """Bring everything in line with the model, the sampler and the schedule shown, unless nobody sees it."""
        schedule = self._schedule
        if schedule is None or not self.isVisible():
            return
        own, problem = self._own_levels()
        self.settings.say(problem, self._spec.grid, len(own) - 1 if own else None)
        levels, self._problem = own, problem
        if self._current is not None:
            levels, self._problem = Betas.of(self._current).levels(schedule, self._current.steps), ""
        table = visits(schedule, levels) if levels else []
        if table != self._visits:
            self._visits = table
            self.steps.show_visits(table)
        self.settings.facts.show_start(levels[0] if levels else None)
        self._show_curves(schedule)
        self._show_choices()
        self._show_buttons()
        self.select(self._selected)
        grid = None if not levels else self._spec.grid if self._current is None else Betas.of(self._current)
        spec = self._spec if self._current is None else self._spec_of(self._current)
        self.live.show_schedule(spec, grid, len(levels) - 1, pulling=self._pulling)

    def _show_curves(self, schedule: DiscreteSchedule) -> None:
        betas = self._betas()
        count = 0 if betas is None else len(betas)
        current = None
        if betas is not None:
            current = Curve(legend_of(self._current, count), role_of(self._current), betas, "current")
        beside = self._drawn_beside()
        others = [reference(name, schedule, count or 1000) for name in REFERENCES if name in beside]
        if "sampler" in beside and self._current is not None:
            others.append(self._sampler_curve())
        for other in self.shelf.listed():
            if _key(other) in beside and (self._current is None or other.betas != self._current.betas):
                others.append(Curve(legend_of(other, other.steps), role_of(other), other.betas, "learned"))
        self.curves.show_curves([curve for curve in others if curve is not None], current)
        self.curves.set_editable(0 < count <= MOST_POINTS)

    def _sampler_curve(self) -> Curve | None:
        try:
            betas = betas_of(self._own_levels()[0])
        except ValueError:
            return None  # there are none, or two of the steps are the same
        return Curve(legend_of(None, len(betas)), role_of(None), betas, "learned")

    def _drawn_beside(self) -> set[str]:
        """What is drawn beside: at first the training schedule, cosine, and the kept one nearest in length."""
        if self._beside is not None:
            return self._beside
        found = {"training", "cosine"}
        if self._current is None and self.shelf.kept:
            count = max(len(self._visits) - 1, 1)
            found.add(_key(min(self.shelf.kept, key=lambda kept: abs(kept.steps - count))))
        return found

    def _show_choices(self) -> None:
        listed, names = self.shelf.listed(), self.shelf.names()
        place = -1
        if self._current is not None:
            place = next((i for i, item in enumerate(listed) if item.betas == self._current.betas), len(listed))
            if place == len(listed):  # while it is pulled
                names = [*names, f"{self._current.origin} · {self._current.steps} steps"]
        self.bar.show_schedules(self._own_name(), names, place)
        beside = self._drawn_beside()
        options = [
            Beside(key, "by log-SNR" if key == "log_snr" else key, tip[0].upper() + tip[1:], key in beside)
            for key, tip in REFERENCES.items()
        ]
        options.append(Beside("sampler", "the sampler’s", "The steps that the sampler visits now", "sampler" in beside))
        options += [
            Beside(_key(item), name, f"{item.steps} steps", _key(item) in beside)
            for item, name in zip(listed, names, strict=False)
        ]
        self.bar.show_beside(options)

    def _own_name(self) -> str:
        count = len(self._own_levels()[0]) - 1
        return f"the sampler’s · {count} step{'s' * (count != 1)}" if count > 0 else "the sampler’s"

    def _show_buttons(self) -> None:
        current, betas = self._current, self._betas()
        kept = current is not None and self.shelf.is_kept(current)
        wanted = self._spec if current is None else self._spec_of(current)
        used = wanted == self._spec
        self.use_button.setEnabled(not used)
        found_with = sampler_title(wanted.sampler)
        self.use_button.setToolTip(
            "The sampler visits these steps already"
            if used
            else "Let the sampler visit these steps, and show it"
            if wanted.sampler == self._spec.sampler
            else f"Sample these steps with {found_with}, as they were found, and show it"
        )
        self.keep_button.setVisible(not kept)
        self.remove_button.setVisible(kept)
        self.keep_button.setEnabled(current is not None)
        self.keep_button.setToolTip(
            "Store this schedule in the model’s file, with those it keeps already"
            if current is not None
            else "These are the sampler’s steps: choose, draw or import a schedule to keep it"
        )
        self.remove_button.setToolTip("Take this schedule out of the model’s file")
        self.export_button.setEnabled(betas is not None)
        self.export_button.setToolTip(
            "Write this schedule to a file" if betas is not None else f"There are no steps. {self._problem}"
        )

    # Using, keeping, importing, exporting

    def _spec_of(self, schedule: ShortSchedule) -> SampleSpec:
        """How a short schedule is sampled: with the sampler that it was found with, where it names one."""
        sampler = self._spec.sampler
        if schedule.sampler:
            with contextlib.suppress(ValueError):  # one that this studio does not have
                sampler = method_from_dict("sampler", schedule.sampler)
        return dataclasses.replace(self._spec, grid=Betas.of(schedule), sampler=sampler)

    def _use(self) -> None:
        if self._current is None:
            return
        self._spec = self._spec_of(self._current)
        self.settings.show_spec(self._spec)
        self._refresh()
        self.spec_changed.emit(self._spec)
        self.use_requested.emit()

    def _keep(self) -> None:
        if self._current is not None:
            self.keep_requested.emit(self.shelf.to_keep(self._current))

    def _drop(self) -> None:
        if self._current is not None:
            betas = self._current.betas
            self.remove_requested.emit(tuple(kept for kept in self.shelf.kept if kept.betas == betas))

    def show_problem(self, summary: str, details: str = "") -> None:
        """Say what went wrong with a file."""
        self.banner.show_error(summary, details)

    def _imported(self, schedules: list[ShortSchedule]) -> None:
        """Have what was read at hand, and show the last of it."""
        for schedule in schedules:
            self.shelf.add_own(schedule)
        self.show_schedule(self.shelf.find(schedules[-1].betas))
        self._refresh()

    def _outgoing(self) -> Outgoing | None:
        """What there is to export: the schedule shown as a short one, also where it is the sampler's."""
        schedule, betas = self._current, self._betas()
        if betas is None:
            return None
        if schedule is None:
            schedule = ShortSchedule(betas=betas, origin="drawn", title="the sampler’s")
        return Outgoing(schedule=schedule, visits=self._visits, model=Path(self._path).stem, sampler=self._spec.sampler)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Files of schedules are taken here; checkpoints and folders are the window's."""
        if dropped(event):
            event.acceptProposedAction()
        else:
            event.ignore()

    def dropEvent(self, event: QDropEvent) -> None:
        paths = dropped(event)
        if paths and self._schedule is not None:
            event.acceptProposedAction()
            self.exchange.import_files(paths)
        else:
            event.ignore()

    # Making

    def _make_buttons(self) -> None:
        self.use_button = QPushButton("Use in Trajectory")
        self.use_button.setProperty("primary", True)
        self.keep_button, self.remove_button = QPushButton("Keep"), QPushButton("Remove")
        for button in (self.keep_button, self.remove_button):
            button.setStyleSheet("padding-left: 8px; padding-right: 8px")
        self.import_button, self.export_button = self.exchange.import_button, self.exchange.export_button

    def _connect(self) -> None:
        self.settings.changed.connect(self._spec_set)
        self.bar.chosen.connect(self._pick)
        self.bar.beside_changed.connect(self._beside_changed)
        self.bar.add_requested.connect(self._add)
        self.bar.remove_requested.connect(self._remove)
        self.curves.picked.connect(self._point_picked)
        self.curves.dragged.connect(self._drag)
        self.curves.let_go.connect(self._let_go)
        self.curves.nudged.connect(self._nudge)
        self.curves.wanted.connect(self._want)
        self.curves.unwanted.connect(self._remove)
        self.steps.picked.connect(self.select)
        self.live.rate_measured.connect(self._rate_measured)
        self.switch.valueChanged.connect(lambda name: self.show_page(str(name)))
        # A search emits with the schedule network as it is set on the network page.
        self.learn.network_changed.connect(lambda asked: self.search.set_network(asked.network, asked.bilateral))
        for page in (self.learn, self.search):
            page.chosen.connect(self.show_schedule)
        self.use_button.clicked.connect(self._use)
        self.keep_button.clicked.connect(self._keep)
        self.remove_button.clicked.connect(self._drop)
        self.exchange.errand_requested.connect(self.errand_requested)
        self.exchange.imported.connect(self._imported)
        for keys, slot in (("Ctrl+Z", self.undo_stack.undo), ("Ctrl+Shift+Z", self.undo_stack.redo)):
            shortcut = QShortcut(QKeySequence(keys), self, context=Qt.ShortcutContext.WindowShortcut)
            shortcut.activated.connect(slot)

    def _rate_measured(self, seconds: float) -> None:
        if self._hosts["Search"].path == self._path:
            self.search.set_rate(seconds)

    def _beside_changed(self) -> None:
        self._beside = set(self.bar.beside())
        if self._schedule is not None:
            self._show_curves(self._schedule)
            self.select(self._selected)

    def _arrange(self) -> None:
        self.switch = Segmented([(name, name) for name in _ABOUT])
        self.about = ElidedLabel("", "muted")
        row = QHBoxLayout()
        row.setSpacing(12)
        row.addWidget(self.switch)
        row.addWidget(self.about, 1)
        below = QWidget()
        plots = QGridLayout(below)
        plots.setContentsMargins(0, 0, 0, 0)
        plots.setSpacing(12)
        plots.addWidget(framed(self.curves.alpha_bar, 170), 0, 0)
        plots.addWidget(framed(self.curves.log_snr, 170), 0, 1)
        plots.addWidget(self.steps, 1, 0, 1, 2)
        for place in (0, 1):
            plots.setColumnStretch(place, 1)
        for line, stretch in ((0, 26), (1, 24)):
            plots.setRowStretch(line, stretch)
        self._pages: dict[str, tuple[QWidget, QWidget]] = {"Steps": (below, self.settings)}
        self._pages |= {name: (host, host.page.settings) for name, host in self._hosts.items()}
        body = QWidget()
        column = QVBoxLayout(body)
        column.setContentsMargins(16, 0, 16, 16)
        column.setSpacing(10)
        column.addWidget(self.bar)
        column.addWidget(framed(self.curves.beta, 180), 30)
        column.addLayout(row)
        for page, _ in self._pages.values():
            column.addWidget(page, 54)
        self._stack = QStackedWidget()
        self._stack.addWidget(empty_page("No model is open", _EMPTY))
        area = QScrollArea()
        scroll_down(area, body)
        self._stack.addWidget(area)
        whole = QHBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.setSpacing(0)
        # The banner stays in sight, above what scrolls; its wrapped text would also unsettle the heights in there.
        above = QVBoxLayout()
        above.setContentsMargins(16, 6, 16, 6)
        above.addWidget(self.banner)
        centre = QVBoxLayout()
        centre.setContentsMargins(0, 0, 0, 0)
        centre.setSpacing(0)
        centre.addLayout(above)
        centre.addWidget(self._stack, 1)
        whole.addLayout(centre, 1)
        whole.addWidget(self._make_side())

    def _make_side(self) -> QWidget:
        """The right column: the settings of the page in front over the samples and what can be done with them."""
        self._sides = QStackedWidget()
        for _, side in self._pages.values():
            self._sides.addWidget(side)
        foot = QFrame()
        foot.setProperty("surface", "right")
        lines = QVBoxLayout(foot)
        lines.setContentsMargins(15, 4, 15, 16)
        lines.setSpacing(8)
        lines.addWidget(self.live)
        lines.addWidget(self.use_button)
        buttons = QHBoxLayout()
        buttons.setSpacing(6)
        for button in (self.keep_button, self.remove_button, self.import_button, self.export_button):
            buttons.addWidget(button, 1)
        lines.addLayout(buttons)
        self._side = QWidget()
        self._side.setFixedWidth(WIDTH)
        self._side.setEnabled(False)
        column = QVBoxLayout(self._side)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self._sides, 1)
        column.addWidget(foot)
        return self._side


def _key(schedule: ShortSchedule) -> str:
    """What stands for a schedule among the curves to draw."""
    return ",".join(map(repr, schedule.betas))
