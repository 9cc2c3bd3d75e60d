"""The lanes: several samplings from the same noise, side by side and scrubbed together.

The common axis is the noise level: at a log-SNR each lane shows its frame nearest to it. The end is every lane's
sample, whatever its number of steps.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtGui import QHideEvent, QKeyEvent, QResizeEvent, QShowEvent
from PySide6.QtWidgets import QApplication, QGridLayout, QHBoxLayout, QLabel, QPushButton, QStackedWidget, QWidget

from studio.app import theme
from studio.app.controls import ElidedLabel, Panel, Segmented, empty_page, make_label
from studio.app.panels.compare_export import LaneResult, write_lanes
from studio.app.panels.compare_page import Lineup, Page, section, titles_of
from studio.app.panels.compare_settings import LaneChoice, LaneEditor, LaneList, StartSettings, lanes_for
from studio.app.panels.trajectory_reel import frame_log_snr, to_bytes
from studio.app.panels.trajectory_views import Scrubber
from studio.app.timers import single_shot
from studio.app.widgets.image_grid import ImageGrid
from studio.app.widgets.particles import Particles
from studio.app.widgets.score_plot import marker_icon
from studio.core import events
from studio.core.checkpoints.header import Header
from studio.core.sampling import few_steps
from studio.session.compare import CompareJob, LaneSpec, Runs

DEBOUNCE_MILLISECONDS = 120
FRAMES_PER_SECOND = 20
MOST_REELS = 16
_CLEAN = 30.0  # the log-SNR that stands for no noise at all on the common axis
_EXTENT = 3.2
_CARD_EXTRA = 84  # what a card's title, note and margins take in height


@dataclass(eq=False)
class LaneReel:
    """What came of one lane: a frame a visited level, as bytes (images) or float32 (points), and how it ended."""

    log_snrs: list[float] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)
    x: list[NDArray] = field(default_factory=list)
    x0: list[NDArray] = field(default_factory=list)
    total: int = 0
    nfe: int = 0
    seconds: float = 0.0
    complete: bool = False
    deviation: tuple[int, float] | None = None

    def take(self, frame: events.Frame) -> None:
        """Add the next frame."""
        is_image = frame.x.ndim == 4
        reach = math.hypot(frame.alpha, 2.0 * frame.sigma)
        self.log_snrs.append(min(frame_log_snr(frame), _CLEAN))
        self.steps.append(frame.index)
        self.x.append(to_bytes(frame.x, reach) if is_image else frame.x)
        self.x0.append(to_bytes(frame.x0, 1.0) if is_image else frame.x0)
        self.total, self.nfe, self.seconds = frame.total, frame.nfe, frame.seconds

    def nearest(self, log_snr: float) -> int:
        """The position of the frame nearest to a noise level; of two equally near ones, the noisier."""
        return int(np.abs(np.array(self.log_snrs) - log_snr).argmin())


class LaneCard(Panel):
    """One lane: its title and cost, its samples at the common noise level, and how far it is from the reference."""

    clicked = Signal(int)

    def __init__(self, order: int) -> None:
        super().__init__()
        self._order = order
        self._marker = QLabel()
        self._marker.setFixedSize(12, 12)
        self.grid = ImageGrid()
        self.grid.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.grid.clicked.connect(self.clicked)
        self.particles = Particles()
        self.particles.set_range(_EXTENT)
        self._stack = QStackedWidget()
        self._stack.addWidget(self.grid)
        self._stack.addWidget(self.particles)
        self.note = ElidedLabel("", "muted")
        self.step = make_label("", "mono")
        foot = QHBoxLayout()
        foot.setSpacing(8)
        foot.addWidget(self.note, 1)
        foot.addWidget(self.step)
        self.content.addWidget(self._stack, 1)
        self.content.addLayout(foot)
        self.add_header_widget(self._marker)
        self._paint()
        theme.notifier().changed.connect(self._paint)

    def set_lane(self, title: str, is_image: bool, data: NDArray) -> None:
        """Another lane comes here; ``data`` are the real points (M, D), if it makes points."""
        self.particles.set_data_points(data)
        self.set_title(title)
        self.grid.setAccessibleName(title)
        self.particles.setAccessibleName(title)
        self._stack.setCurrentWidget(self.grid if is_image else self.particles)

    def show_nothing(self, text: str) -> None:
        """Say why there are no samples."""
        self.grid.clear()
        self.grid.set_empty_text(text)
        self.particles.set_particles(np.empty((0, 2)))
        self.set_subtitle("" if self._stack.currentWidget() is self.grid else text)
        self.note.setText("")
        self.step.setText("")

    def show_frame(self, reel: LaneReel, position: int, believed: bool, picture: int | None) -> None:
        """Show a frame of a reel."""
        shown = (reel.x0 if believed else reel.x)[position]
        if shown.ndim == 4:
            self.grid.set_images(shown)
            self.grid.set_selected(picture if picture is not None and picture < len(shown) else None)
        else:
            self.particles.set_particles(shown)
        self.step.setText(f"{reel.steps[position]} / {reel.total}")
        if reel.complete:
            calls = "call" if reel.nfe == 1 else "calls"
            self.set_subtitle(f"{reel.nfe:,} {calls} · {_seconds(reel.seconds)}")
        else:
            self.set_subtitle(f"step {reel.steps[-1]} of {reel.total}…")

    def _paint(self) -> None:
        self._marker.setPixmap(marker_icon(self._order).pixmap(12, 12))


class LaneBoard(QWidget):
    """The cards, in as many columns as make the pictures largest."""

    picture_clicked = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self.cards: list[LaneCard] = []
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setSpacing(12)
        self._columns = 0

    def set_count(self, count: int) -> None:
        """Show this many cards."""
        while len(self.cards) > count:
            card = self.cards.pop()
            self._grid.removeWidget(card)
            card.hide()
            card.deleteLater()
        while len(self.cards) < count:
            card = LaneCard(len(self.cards))
            card.clicked.connect(self.picture_clicked)
            self.cards.append(card)
        self._columns = 0
        self._lay_out()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._lay_out()

    def _lay_out(self) -> None:
        columns = best_columns(len(self.cards), self.width(), self.height())
        if columns == self._columns:
            return
        self._columns = columns
        rows = -(-len(self.cards) // columns) if self.cards else 1
        for place, card in enumerate(self.cards):
            self._grid.removeWidget(card)
            self._grid.addWidget(card, *divmod(place, columns))
        for place in range(6):
            self._grid.setColumnStretch(place, int(place < columns))
            self._grid.setRowStretch(place, int(place < rows))


def best_columns(count: int, width: int, height: int) -> int:
    """In how many columns ``count`` square pictures with their captions are largest, within pixels."""

    def side(columns: int) -> float:
        rows = -(-count // columns)
        return min((width - 12 * (columns - 1)) / columns - 32, (height - 12 * (rows - 1)) / rows - _CARD_EXTRA)

    return max(range(1, max(count, 1) + 1), key=side)


class LanesPage(Page):
    """Lanes with their settings. Left and Right step, Space plays, Home and End go to the ends."""

    lineup_changed = Signal(object)
    rate_measured = Signal(object, float)
    """A model's path, and the seconds that one item takes for one network evaluation."""

    def __init__(self) -> None:
        super().__init__()
        self._choices: dict[str, list[LaneChoice]] = {}
        self._headers: dict[Path, Header] = {}
        self._model: Path | None = None
        self._points: NDArray = np.empty((0, 2), np.float32)
        self._reels: dict[LaneSpec, LaneReel] = {}
        self._runs, self._references = Runs(), Runs()
        self._job: CompareJob | None = None
        self._job_id = -1
        self._level: float | None = None  # the common log-SNR; None is the end
        self._picture: int | None = None
        self._editing: int | None = None
        self._levels: list[float] = []
        self.board = LaneBoard()
        self.list, self.start, self.editor = LaneList(), StartSettings(), LaneEditor()
        self._ask_timer = single_shot(self, DEBOUNCE_MILLISECONDS, self._ask)
        self._draw_timer = single_shot(self, 0, self._draw)
        self._play_timer = QTimer(self, interval=round(1000 / FRAMES_PER_SECOND))
        self._play_timer.timeout.connect(self._advance)
        self._arrange()
        self._connect()

    # What the window says

    def set_models(self, headers: Mapping[Path, Header]) -> None:
        """All models at hand; lanes of one that is gone follow the chosen model."""
        self._headers = dict(headers)
        for shape, choices in self._choices.items():
            self._choices[shape] = [
                dataclasses.replace(choice, model="") if Path(choice.model) not in self._headers else choice
                for choice in choices
            ]
        if self._model is not None:
            self._relist()

    def set_model(self, path: Path, header: Header) -> None:
        """The model chosen in the library: lanes that name no other follow it; other data has lanes of its own."""
        self._headers[path] = header
        self._model = path
        self._stop_editing()
        self._picture, self._level = None, None
        self.start.set_kind(header.kind == "image")
        self._points = np.empty((0, 2), np.float32)
        self._relist()

    def set_data_points(self, points: NDArray) -> None:
        """The real data of a point set, (M, D), drawn faintly behind the particles."""
        if points.ndim == 2 and points.shape[1] in (1, 2):
            self._points = points
            for card in self.board.cards:
                card.particles.set_data_points(points)

    def receive(self, event: events.Event) -> None:
        super().receive(event)
        match event:
            case events.Frame() if event.job_id >= self._job_id:
                self._take(event)
            case events.LaneDone() if event.job_id >= self._job_id:
                self._take_end(event)
            case events.Finished() if event.outcome == "done" and event.job_id >= self._job_id:
                self.told.emit(f"{len(self.lineup.lanes)} lanes from the same noise")

    def set_busy(self, busy: bool) -> None:
        super().set_busy(busy)
        self._draw_timer.start()

    def refresh(self) -> None:
        """Sample all lanes and references again."""
        if self._model is None:
            return
        self._relist()  # the files may be others now
        for lane in self.lineup.lanes:
            self._reels.pop(lane, None)
        self._references = Runs()
        self._ask()
        self._draw_timer.start()

    # The lanes

    @property
    def choices(self) -> list[LaneChoice]:
        """The lanes of the chosen model's kind of data."""
        assert self._model is not None
        return self._choices.setdefault(self._data_key(), lanes_for(self._headers[self._model]))

    def add_lane(self) -> None:
        """Add a copy of the last lane, and open it for changes."""
        if self._model is not None and self.list.add_button.isEnabled():
            self.choices.append(self.choices[-1])
            self._relist()
            self._edit(len(self.choices) - 1)

    def remove_lane(self, lane: int) -> None:
        """Take a lane away; two stay at least."""
        if len(self.choices) > 2:
            self._stop_editing()
            del self.choices[lane]
            self._relist()

    def _edit(self, lane: int) -> None:
        assert self._model is not None
        self._editing = lane
        shape = tuple(self._headers[self._model].facts["shape"])
        self.editor.set_models(self._headers, self._model, shape)
        self.editor.show_choice(self.choices[lane], self.lineup.titles[lane], len(self.choices) > 2)
        self._overview.hide()
        self.editor.show()
        self.editor.sampler.choice.setFocus()

    def _stop_editing(self) -> None:
        self._editing = None
        self.editor.hide()
        self._overview.show()

    def _edited(self, choice: LaneChoice) -> None:
        if self._editing is not None:
            self.choices[self._editing] = choice
            self._relist()
            self.editor.set_title(self.lineup.titles[self._editing])

    def _data_key(self) -> str:
        """Which lanes fit the chosen model: those of its shape and, where it knows a few levels alone, of its steps."""
        assert self._model is not None
        header = self._headers[self._model]
        shape = "x".join(str(size) for size in header.facts["shape"])
        few = few_steps(header)
        return shape if few is None else f"{shape} in {few.knobs.steps}"

    def _relist(self) -> None:
        """Bring list, cards and request in line with the lanes."""
        assert self._model is not None
        seed, count, _ = self.start.value()
        lanes = tuple(choice.at(self._model, seed, count) for choice in self.choices)
        lineup = Lineup(lanes, titles_of(lanes, self._headers), self._headers, self._model)
        self.set_lineup(lineup)
        self.list.set_titles(lineup.titles)
        self.board.set_count(len(lanes))
        for card, title in zip(self.board.cards, lineup.titles, strict=True):
            card.set_lane(title, lineup.is_image, self._points)
        self._stack.setCurrentIndex(1)
        self.lineup_changed.emit(lineup)
        self.changed.emit()
        self._ask_timer.start()
        self._draw()

    def _started(self) -> None:
        if self._model is not None:
            self._relist()

    # Asking

    def _missing(self) -> bool:
        steps = self.start.value()[2]
        for lane in self.lineup.lanes:
            reel = self._reels.get(lane)
            if reel is None or not reel.complete:
                return True
            if steps is not None and self._has_reference(lane) and self._deviation(lane, reel, steps) is None:
                return True
        return False

    def _has_reference(self, lane: LaneSpec) -> bool:
        """Whether the lane's model can take many steps: not if it knows a few levels alone."""
        return few_steps(self._headers[lane.path]) is None

    def _deviation(self, lane: LaneSpec, reel: LaneReel, steps: int) -> float | None:
        return reel.deviation[1] if reel.deviation is not None and reel.deviation[0] == steps else None

    def _ask(self) -> None:
        """Ask for what is not known yet, as soon as someone looks."""
        self._ask_timer.stop()
        if not self.isVisible() or not self.lineup.lanes:
            return
        if not self._missing():
            if self.busy:
                self.stop_requested.emit()
            return
        for lane, reel in list(self._reels.items()):
            if not reel.complete:
                del self._reels[lane]
        # A run may be done whose messages were passed over with the job that this one replaces: it is sampled again.
        self._runs = self._runs.only(self._reels)
        seed, count, steps = self.start.value()
        self._job = CompareJob(self.lineup.lanes, seed, count, steps, self._runs, self._references)
        self.banner.hide()
        self.job_requested.emit(self._job)

    # Frames

    def _take(self, frame: events.Frame) -> None:
        if self._job is None or frame.lane >= len(self._job.lanes):
            return
        self._job_id = frame.job_id
        lane = self._job.lanes[frame.lane]
        reel = self._reels.get(lane)
        if reel is None or frame.index == 0:
            self._reels.pop(lane, None)
            reel = self._reels[lane] = LaneReel()
            self._drop_old()
        reel.take(frame)
        self._draw_timer.start()

    def _take_end(self, event: events.LaneDone) -> None:
        if self._job is None or event.lane >= len(self._job.lanes):
            return
        self._job_id = event.job_id
        lane = self._job.lanes[event.lane]
        reel = self._reels.get(lane)
        if reel is None:
            return
        reel.complete, reel.nfe, reel.seconds = True, event.nfe, event.seconds
        if event.deviation is not None and self._job.reference_steps is not None:
            reel.deviation = (self._job.reference_steps, event.deviation)
        self.rate_measured.emit(lane.path, event.seconds / max(event.nfe * len(reel.x[0]), 1))
        self._draw_timer.start()

    def _drop_old(self) -> None:
        """Forget the oldest runs that are in no lane: each takes some megabytes."""
        assert self._job is not None
        for lane in [lane for lane in self._reels if lane not in self._job.lanes and lane not in self.lineup.lanes]:
            if len(self._reels) <= MOST_REELS:
                break
            del self._reels[lane]
            self._runs.forget(lane)

    # Showing

    def _draw(self) -> None:
        """Draw every lane at the common noise level."""
        self._draw_timer.stop()
        reels = [self._reels.get(lane) for lane in self.lineup.lanes]
        self._levels = common_levels([reel.log_snrs for reel in reels if reel is not None and reel.x])
        at = len(self._levels) - 1
        if self._level is not None and self._levels:
            at = int(np.abs(np.array(self._levels) - self._level).argmin())
        self.scrubber.blockSignals(True)
        self.scrubber.setRange(0, max(len(self._levels) - 1, 0))
        self.scrubber.setValue(max(at, 0))
        self.scrubber.blockSignals(False)
        self.play_button.setEnabled(len(self._levels) > 1)
        self.scrubber.setEnabled(len(self._levels) > 1)
        self._show_frames(reels)

    def _show_frames(self, reels: list[LaneReel | None]) -> None:
        level = self._levels[self.scrubber.value()] if self._levels else _CLEAN
        at_end = self._level is None
        number = f"{level:.2f}".replace("-", "−")
        self.where.setText("end" if at_end or level >= _CLEAN else f"log-SNR {number}")
        believed = self.shown.value() == "x0"
        steps = self.start.value()[2]
        for card, lane, reel in zip(self.board.cards, self.lineup.lanes, reels, strict=True):
            if reel is None or not reel.x:
                card.show_nothing("waits its turn…" if self.busy else "no samples yet")
                continue
            card.show_frame(reel, len(reel.x) - 1 if at_end else reel.nearest(level), believed, self._picture)
            card.note.setText(self._distance(lane, reel, steps) if reel.complete else "")

    def _distance(self, lane: LaneSpec, reel: LaneReel, steps: int | None) -> str:
        if steps is None:
            return ""
        found = self._deviation(lane, reel, steps)
        length = self._headers[lane.path].recipe.get("num_steps")
        steps = min(steps, int(length)) if isinstance(length, int) else steps
        if not self._has_reference(lane):
            return "knows no run of many steps"
        if found is None:
            return "measuring…" if self.busy else ""
        return f"Δ {found:.2f} to DDIM {steps}" if found >= 0.005 else f"Δ {found:.4f} to DDIM {steps}"

    def go_to(self, position: int) -> None:
        """Show every lane at one of the visited levels; the last is the end."""
        if self._levels:
            position = min(max(position, 0), len(self._levels) - 1)
            self._level = None if position == len(self._levels) - 1 else self._levels[position]
            self._draw()

    def position(self) -> int:
        """Which of the visited levels is shown."""
        return self.scrubber.value()

    def _follow(self, picture: int) -> None:
        self._picture = None if picture == self._picture else picture
        self._draw()
        self.scrubber.setFocus()

    # Playing

    def toggle_play(self) -> None:
        """Play from here, or from the start if this is the end; or stop."""
        if self._play_timer.isActive():
            self._stop_playing()
        elif len(self._levels) > 1:
            if self._level is None:
                self.go_to(0)
            self._play_timer.start()
            self.play_button.setText("Pause")

    def _advance(self) -> None:
        self.go_to(self.position() + 1)
        if self._level is None and not self.busy:
            self._stop_playing()

    def _stop_playing(self) -> None:
        self._play_timer.stop()
        self.play_button.setText("Play together")

    # Export and state

    def export(self) -> None:
        """Write pictures, the animation and the commands that make them again into a folder of the person's choice."""
        done = [
            (order, lane, reel)
            for order, lane in enumerate(self.lineup.lanes)
            if (reel := self._reels.get(lane)) is not None and reel.complete
        ]
        if not done:
            self.banner.show_info("There are no samples yet: wait until a lane is complete.")
            return
        folder = self.ask_folder("the comparison")
        if folder is None:
            return
        steps = self.start.value()[2]
        results = [
            LaneResult(
                title=self.lineup.titles[order],
                lane=lane,
                log_snrs=tuple(reel.log_snrs),
                frames=tuple(reel.x),
                nfe=reel.nfe,
                seconds=reel.seconds,
                deviation=None if steps is None else self._deviation(lane, reel, steps),
            )
            for order, lane, reel in done
        ]
        self.errand_requested.emit(lambda: write_lanes(folder, results, steps))

    def state(self) -> dict[str, Any]:
        choices = {shape: [choice.to_dict() for choice in kept] for shape, kept in self._choices.items()}
        return {"lanes": choices, "start": self.start.state(), "believed": self.shown.value() == "x0"}

    def restore(self, state: Mapping[str, Any]) -> None:
        start, lanes = state.get("start"), state.get("lanes")
        if isinstance(start, Mapping):
            self.start.restore(start)
        for shape, tables in lanes.items() if isinstance(lanes, Mapping) else ():
            try:
                choices = [LaneChoice.from_dict(table) for table in tables]
            except (ValueError, KeyError, TypeError):
                continue  # of another version: the default lanes are as good
            if 2 <= len(choices) <= 6:
                self._choices[str(shape)] = choices
        if state.get("believed") is True:
            self.shown.setValue("x0")

    # Making

    def _arrange(self) -> None:
        self.play_button = QPushButton("Play together")
        self.play_button.setProperty("primary", True)
        self.play_button.setMinimumWidth(118)
        self.play_button.setToolTip("Play all lanes from noise to samples, or stop (Space)")
        self.play_button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.scrubber = Scrubber()
        self.scrubber.setAccessibleName("Noise level of all lanes")
        self.where = make_label("end", "mono")
        self.where.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self.where.setMinimumWidth(104)
        self.shown = Segmented([("x", "x_t"), ("x0", "x̂₀")])
        self.shown.button("x").setText("xₜ")
        self.shown.button("x").setToolTip("What the network sees: the noisy pictures themselves")
        self.shown.button("x0").setToolTip("What the network believes is behind the noise")
        bar = Panel()
        bar.set_margins(15, 11, 15, 11)
        row = QHBoxLayout()
        row.setSpacing(10)
        row.addWidget(self.play_button)
        row.addWidget(self.scrubber, 1)
        row.addWidget(self.where)
        row.addWidget(self.shown)
        bar.content.addLayout(row)
        lanes = QWidget()
        column = QGridLayout(lanes)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(12)
        column.addWidget(self.board, 0, 0)
        column.addWidget(bar, 1, 0)
        column.setRowStretch(0, 1)
        self._stack = QStackedWidget()
        self._stack.addWidget(
            empty_page("No model is open", "Choose a model in the library: its samplers run here side by side.")
        )
        self._stack.addWidget(lanes)
        self.body.addWidget(self._stack, 1)
        self._overview = QWidget()
        inner = QGridLayout(self._overview)
        inner.setContentsMargins(0, 0, 0, 0)
        inner.setSpacing(8)
        for place, widget in enumerate((section("Lanes"), self.list, self.start)):
            inner.addWidget(widget, place, 0)
        self.side.add(self._overview, self.editor)
        self.editor.hide()
        self.again_button = QPushButton("Sample again")
        self.again_button.setToolTip("Sample all lanes again (F5)")
        self.again_button.clicked.connect(self.refresh)
        self.side.buttons.addWidget(self.again_button, 1)
        self.side.buttons.addWidget(self.export_button)
        self.setFocusProxy(self.scrubber)

    def _connect(self) -> None:
        self.list.add_requested.connect(self.add_lane)
        self.list.remove_requested.connect(self.remove_lane)
        self.list.edit_requested.connect(self._edit)
        self.start.changed.connect(self._started)
        self.editor.changed.connect(self._edited)
        self.editor.done.connect(self._stop_editing)
        self.editor.remove_requested.connect(lambda: self.remove_lane(self._editing or 0))
        self.board.picture_clicked.connect(self._follow)
        self.scrubber.valueChanged.connect(self._scrubbed)
        self.play_button.clicked.connect(self.toggle_play)
        self.shown.valueChanged.connect(self._draw)

    def _scrubbed(self, position: int) -> None:
        self._stop_playing()
        self.go_to(position)

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._ask_timer.start()
        now = QApplication.focusWidget()
        if now is None or not now.isVisible() or self.isAncestorOf(now):
            self.scrubber.setFocus()  # keys step at once, unless they are of use elsewhere

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self._stop_playing()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        steps = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1, Qt.Key.Key_Home: -(10**6), Qt.Key.Key_End: 10**6}
        key = Qt.Key(event.key())
        if key in steps:
            self._stop_playing()
            self.go_to(self.position() + steps[key])
        elif key == Qt.Key.Key_Space:
            self.toggle_play()
        else:
            super().keyPressEvent(event)


def common_levels(lanes: Sequence[Sequence[float]]) -> list[float]:
    """The ascending log-SNRs at which what is shown changes: every lane shows its own one nearest to each."""
    every = np.array(sorted({level for lane in lanes for level in lane}))
    shown = [np.abs(np.array(lane)[:, None] - every[None]).argmin(0) for lane in lanes]
    changes = [k for k in range(len(every)) if k == 0 or any(place[k] != place[k - 1] for place in shown)]
    return every[changes].tolist()


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 99.5 else f"{seconds:,.0f} s"
