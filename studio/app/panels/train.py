"""The Train workspace: what a training is made of at the right, and what it does, live, in the centre."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from PySide6.QtCore import Signal
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QScrollArea, QVBoxLayout, QWidget

from studio.app.controls import Panel, StatTile, scroll_down
from studio.app.panels.smoothing import Smoother
from studio.app.panels.train_balance import BalanceView
from studio.app.panels.train_curves import GAME, GAME_GROUPS, PLAYED, SCORE, WARM, GroupPlot
from studio.app.panels.train_settings import State, TrainSettings
from studio.app.panels.train_views import LEVELS, QUANTITIES, LevelViews, Samples, Scores, Stage
from studio.app.widgets.plots import LivePlot
from studio.app.words import duration
from studio.core.checkpoints.header import brief
from studio.core.config import TrainConfig
from studio.core.events import DataPreview, Event, HeldOut, Paused, Preview, Progress, Quality, Status

Place = tuple[int, int, int, int]
"""Row, column, and how many of each."""
_COLUMNS = 12
_LEVELS_OF_D, _LEVELS_OF_SCORE = "D's loss by level", "Energy score by level"
_ABOVE = {False: {"loss": 5, "levels": 4}, True: {"losses": 5, "logits": 4, "balance": 3}}
"""What stands in the upper row, and its share of the width: of a training with one loss, and of a game of two."""
_BELOW = {False: ("gradient", "rate", "speed"), True: ("norms", "r1", "levels", "speed")}
"""The small plots beneath, beside the samples; scores, where there are any, come first, and four find room."""


class RunViews(QWidget):
    """Everything a training tells, drawn: numbers, curves, the loss by noise level, samples."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("scrolled", True)
        self._total = self._step = 0
        self._seconds = 0.0
        self._kind, self._scored = "image", False
        self._chance: Mapping[str, float] = {}
        self._game_from: int | None = None  # the first step with two players
        self._played_from: int | None = None  # and the first in which the generator plays, too
        self._levels_title = LEVELS
        self._smoother = Smoother(2.0)
        self._unit = "images"
        self._make_views()
        self._lay_out()
        self.samples.step_shown.connect(self.loss.set_marker)
        self.samples.step_shown.connect(self.game["losses"].plot.set_marker)
        self.clear()

    def clear(self) -> None:
        """Forget the run; promise the next."""
        for plot in (self.loss, self.gradient, self.rate, self.speed):
            plot.clear()
            plot.set_marker(None)
        self.levels.clear()
        self._end_game()
        self._show_scores(False)
        for stage in self._stages.values():
            stage.show_view(False)
        self.samples.clear("Samples of the averaged weights (EMA) appear here, always from the same noise.")
        self._step = 0
        for tile, caption in zip(self._tiles, ("steps", "loss, smoothed", self._unit, "left"), strict=True):
            tile.set("–", caption)

    def begin(self, config: TrainConfig) -> None:
        """Make everything ready for a run of ``config``."""
        self._set_kind(config.data.kind)
        self._chance = config.recipe.chance
        self.clear()
        self.levels.set_few(config.recipe.own_steps is not None)
        self._set_total(config.run.steps)
        self.scores.clear(self._kind, config.run.steps)
        self._tiles[0].set("0")
        self.loss_stage.text.setText("Starting…")
        if config.run.preview_every == 0.0:
            self.samples.clear("Previews are off (Preview every is 0); samples come when the training ends.")

    def show_data(self, event: DataPreview) -> None:
        """Make room for samples of this data; points are drawn over it."""
        points = event.images.ndim == 2
        self._set_kind("points" if points else "image")
        if points:
            self.samples.set_data_points(event.images)

    def receive(self, event: Event) -> None:
        """Draw what a message tells."""
        match event:
            case Progress():
                self.take_progress([event])
            case HeldOut():
                self._take_held_out(event)
                if self.levels.add_held_out(event):
                    self.levels_stage.show_view(True)
            case Quality():
                self._take_score(event)
            case Preview():
                self.samples.add(event)

    def take_progress(self, events: Sequence[Progress]) -> None:
        """Draw one message, or at once the many of a finished run; oldest first."""
        last = events[-1]
        if last.total != self._total:
            self._set_total(last.total)
        self._step, self._seconds = last.step, last.seconds
        self._add_losses(events)
        self._add_game(events)
        for plot, name in ((self.gradient, "grad_norm"), (self.rate, "learning_rate")):
            told = [(event.step, event.scalars[name]) for event in events if name in event.scalars]
            if told:
                plot.append("value", *zip(*told, strict=True))
        told = [(event.step, event.images_per_second) for event in events if event.images_per_second > 0.0]
        if told:
            self.speed.append("value", *zip(*told, strict=True))
        for event in events:
            self._add_levels(event)
        self._show_numbers(last)

    def end(self) -> None:
        """The training has ended: tell how long it took."""
        if self._step:
            self._tiles[3].set(duration(self._seconds), "of training")
        else:
            self.loss_stage.show_view(False)

    def announce(self, text: str) -> None:
        """Say what is being done before the first step."""
        if self.loss_stage.is_empty():
            self.loss_stage.text.setText(f"{text}…")

    def _make_views(self) -> None:
        self._tiles = [StatTile("") for _ in range(4)]
        self._score_tile = StatTile("")
        self.scores = Scores()
        self.loss = LivePlot("steps", "loss, log", log_y=True, title="Loss", whole_x=True)
        self.loss.add_series("raw", "each step", "series_raw", width=1.0)
        self.loss.add_series("held_out", "held out", "series_held_out", dashed=True, points=True)
        self.loss.add_series("smoothed", "smoothed", "series_smoothed", width=2.0)
        self.levels = LevelViews()
        self.gradient = LivePlot("steps", "norm", title="Gradient norm", whole_x=True)
        self.gradient.add_series("value", "gradient norm", "series_gan", width=1.0)
        self.rate = LivePlot("steps", "η", title="Learning rate", whole_x=True)
        self.rate.add_series("value", "learning rate", "series_smoothed")
        self.speed = LivePlot("steps", "per second", title="Throughput", y_range=(0.0, 1.0), whole_x=True)
        self.speed.add_series("value", "throughput", "series_raw")
        self.loss_stage = Stage(
            "Loss", "The loss of each step, smoothed, and on held-out data.\nPress Start.", self.loss
        )
        self.levels_stage = Stage(LEVELS, "How well each noise level is learned.", self.levels)
        self.samples = Samples()
        self.game = {name: GroupPlot(group) for name, group in GAME_GROUPS.items()}
        self.balance = BalanceView()
        self._stages = {
            "loss": self.loss_stage,
            "levels": self.levels_stage,
            "gradient": Stage("Gradient norm", "How steep the loss is, before clipping.", self.gradient),
            "rate": Stage("Learning rate", "The rate rises first, then falls.", self.rate),
            "speed": Stage("Throughput", "How much is learned from in a second.", self.speed),
        }
        self._parts: dict[str, Panel] = {
            **self._stages,
            **self.game,
            "balance": self.balance,
            "scores": self.scores,
            "samples": self.samples,
        }
        for part in self._parts.values():
            part.setParent(self)  # what is laid out later is no window until then

    def _lay_out(self) -> None:
        strip = Panel()
        numbers = QHBoxLayout()
        for tile in (*self._tiles[:2], self._score_tile, *self._tiles[2:]):
            numbers.addWidget(tile, 1)
        strip.content.addLayout(numbers)
        strip.set_margins(15, 11, 15, 11)
        self._above = QHBoxLayout()
        self._above.setSpacing(12)
        self._below = QGridLayout()
        self._below.setSpacing(12)
        for column in range(_COLUMNS):
            self._below.setColumnStretch(column, 1)
        self._below.setRowStretch(0, 19)
        self._below.setRowStretch(1, 24)
        self._arrange()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(16, 16, 16, 16)
        layout.setSpacing(12)
        layout.addWidget(strip)
        layout.addLayout(self._above, 26)
        layout.addLayout(self._below, 43)

    def _arrange(self) -> None:
        """Lay out the parts that this training has something to show in; the others are hidden."""
        playing = self._game_from is not None
        above, below = _ABOVE[playing], _places(self._kind, [*["scores"] * self._scored, *_BELOW[playing]][:4])
        for name, share in above.items():
            self._above.addWidget(self._parts[name], share)
        for name, place in below.items():
            self._below.addWidget(self._parts[name], *place)
        for name, part in self._parts.items():
            part.setVisible(name in above or name in below)
        self._score_tile.setVisible(self._scored)

    def _show_scores(self, on: bool) -> None:
        """Make room for scores, or for none."""
        if on != self._scored:
            self._scored = on
            self._arrange()

    def _take_held_out(self, event: HeldOut) -> None:
        """Draw the loss on held-out data beside that of training; before a game begins it says nothing."""
        if not self._chance:
            self.loss.append("held_out", event.step, event.loss)
        elif self._played_from is not None and event.step >= self._played_from:
            for group in self.game.values():
                group.take_held_out(event)

    def _add_game(self, events: Sequence[Progress]) -> None:
        """Draw a game of two players, from the first message that tells of both; what came before belongs to one."""
        told = next((event.step for event in events if GAME in event.scalars), None)
        if told is None and not self._chance:
            return
        if told is not None and self._game_from is None:
            self._game_from = told
            self._arrange()
        played = [event for event in events if PLAYED in event.scalars]
        if played and self._played_from is None:
            self._begin_play(played[0].step)
        drawn = [event if PLAYED in event.scalars else _warm(event) for event in events]
        for group in self.game.values():
            group.take_progress(drawn)
        if played:
            self.balance.take_progress(played)

    def _add_levels(self, event: Progress) -> None:
        """Draw a loss by level: the mean's, the energy score or D's. They do not go on one scale of colours."""
        title = _levels_title(event)
        if title != self._levels_title:
            self._levels_title = title
            self.levels.clear(int(event.steps[0]) if len(event.steps) else event.step)
            self.levels.set_title(title)
        if self.levels.add_training(event):
            self.levels_stage.show_view(True)

    def _begin_play(self, step: int) -> None:
        self._played_from = step
        self._tiles[1].set("–", "generator's loss")

    def _end_game(self) -> None:
        """Forget a game."""
        for group in self.game.values():
            group.begin(self._total, self._horizon(), self._chance)
        self.balance.begin()
        if self._game_from is not None:
            self._game_from = self._played_from = None
            self._levels_title = LEVELS
            self.levels.set_title(LEVELS)
            self._arrange()

    def _horizon(self) -> float:
        """Steps over which curves are smoothed."""
        return min(max(self._total / 60, 20.0), 1000.0)

    def _take_score(self, event: Quality) -> None:
        self._show_scores(True)
        self.scores.add(event)
        name, value = next(iter(event.scores.items()))
        real = f", real {event.floor[name]:.2g}" if name in event.floor else ""
        self._score_tile.set(brief(value), f"{QUANTITIES[self._kind].removeprefix('Sliced ')}{real}")

    def _set_kind(self, kind: str) -> None:
        points = kind == "points"
        self._unit = "points" if points else "images"
        self._tiles[2].set(self._tiles[2].number(), self._unit)
        self._kind = "points" if points else "image"
        self._arrange()
        self.samples.set_narrow(points)

    def _set_total(self, total: int) -> None:
        self._total = total
        self.scores.set_total(total)
        self._smoother = Smoother(self._horizon())
        for group in self.game.values():
            group.set_total(total, self._horizon())
        for plot in (self.loss, self.gradient, self.rate, self.speed):
            plot.set_x_extent(0, max(total, 1))

    def _add_losses(self, events: Sequence[Progress]) -> None:
        steps = np.concatenate([event.steps for event in events]) + 1
        losses = np.concatenate([event.losses for event in events]).astype(np.float64)
        finite = np.isfinite(losses)
        if not finite.any():
            return
        self.loss.append("raw", steps, losses)
        self.loss.append("smoothed", steps[finite], self._smoother.take(losses[finite]))
        if self.loss_stage.is_empty():
            for stage in self._stages.values():
                if stage is not self.levels_stage:
                    stage.show_view(True)

    def _show_numbers(self, last: Progress) -> None:
        step, loss, speed, left = self._tiles
        step.set(f"{last.step:,}", f"of {last.total:,} steps")
        value = self._smoother.value if self._played_from is None else self.game["losses"].value("loss")
        loss.set(f"{value:.4f}" if np.isfinite(value) else "–")
        if last.images_per_second > 0.0:
            speed.set(f"{last.images_per_second:,.0f} /s", self._unit)
        if last.step < last.total:
            left.set(duration(last.eta_seconds), "left")
        else:
            left.set(duration(last.seconds), "of training")


class TrainPanel(QWidget):
    """The workspace where models are trained. It asks for jobs by signals and shows what they tell."""

    start_requested = Signal(object)
    """Train this :class:`TrainConfig`; the views are ready for it."""
    pause_requested = Signal()
    resume_requested = Signal()
    step_requested = Signal()
    stop_requested = Signal()
    save_requested = Signal()
    data_requested = Signal(object)
    """Load and show this :class:`DatasetSpec`; the answer is a :class:`DataPreview`."""
    estimate_requested = Signal(object)
    """Measure what this :class:`TrainConfig` would cost; the answer is an :class:`Estimate`."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._state: State = "idle"
        self._run_data: object = None
        self._preview: tuple[object, DataPreview] | None = None  # the data that were shown last, and what was shown
        self.settings = TrainSettings()
        self.views = RunViews()
        scroll = QScrollArea()
        scroll_down(scroll, self.views)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(scroll, 1)
        layout.addWidget(self.settings)
        buttons = self.settings.buttons
        self.settings.start_requested.connect(self._start)
        self.settings.data_requested.connect(self.data_requested)
        self.settings.estimate_requested.connect(self.estimate_requested)
        for pressed, wanted in (
            (buttons.paused, self.pause_requested),
            (buttons.resumed, self.resume_requested),
            (buttons.stepped, self.step_requested),
            (buttons.saved, self.save_requested),
            (buttons.stopped, self.stop_requested),
        ):
            pressed.connect(wanted)

    def config(self) -> TrainConfig:
        """The training that the settings describe. Raises ValueError in plain words."""
        return self.settings.config()

    def set_config(self, config: TrainConfig) -> None:
        """Put another training into the settings."""
        self.settings.set_config(config)

    def set_state(self, state: State) -> None:
        """What the training does now: "idle", "running", "paused" or "stopping"."""
        if state == "idle" and self._state != "idle":
            self.views.end()
        self._state = state
        self.settings.set_state(state)

    def receive(self, event: Event) -> None:
        """Take any message of the newest jobs."""
        if isinstance(event, Status) and self._state != "idle":
            self.views.announce(event.text)
        elif isinstance(event, Paused) and self._state in ("running", "paused"):
            self.set_state("paused" if event.paused else "running")
        elif isinstance(event, DataPreview):
            self._preview = self.settings.data(), event
            if self._run_data in (None, self._preview[0]):
                # Samples of a run stay over its own data, whatever is chosen for the next.
                self.views.show_data(event)
        self.views.receive(event)
        self.settings.receive(event)

    def show_run(self, config: TrainConfig, events: Iterable[Event]) -> None:
        """Show a run from the messages it left, oldest first. Its settings are offered; the form stays as it is."""
        self._begin(config)
        self.settings.offer(config)
        told = list(events)
        progress = [event for event in told if isinstance(event, Progress)]
        if progress:
            self.views.take_progress(progress)
        for event in told:
            if not isinstance(event, Progress):
                self.views.receive(event)
        self.views.end()

    def clear(self) -> None:
        """Empty the views; the settings stay."""
        self._run_data = None
        self.settings.offer(None)
        self.views.clear()

    def _start(self, config: TrainConfig) -> None:
        self.settings.offer(None)
        self._begin(config)
        self.start_requested.emit(config)

    def _begin(self, config: TrainConfig) -> None:
        self._run_data = config.data
        self.views.begin(config)
        if self._preview is not None and self._preview[0] == config.data:
            self.views.show_data(self._preview[1])


def _places(kind: str, small: Sequence[str]) -> dict[str, Place]:
    """Where samples and small plots lie in a grid of twelve columns: images fill a band, points a square."""
    if kind == "image":
        width = _COLUMNS // len(small)
        return {name: (0, k * width, 1, width) for k, name in enumerate(small)} | {"samples": (1, 0, 1, _COLUMNS)}
    places = {name: (k // 2, 3 * (k % 2), 1, 3) for k, name in enumerate(small)}
    if len(small) % 2:
        places[small[-1]] = (len(small) // 2, 0, 1, 6)
    return places | {"samples": (0, 6, 2, 6)}


def _levels_title(event: Progress) -> str:
    """What the losses by level in a message are."""
    if GAME not in event.scalars:
        return LEVELS
    return _LEVELS_OF_SCORE if SCORE in event.scalars and PLAYED not in event.scalars else _LEVELS_OF_D


def _warm(event: Progress) -> Progress:
    """A message of before the game: its loss is G's only where that waits, and else has a curve of its own."""
    if GAME in event.scalars and SCORE not in event.scalars:
        return event
    scalars = {WARM if name == "loss" else name: value for name, value in event.scalars.items()}
    if SCORE in scalars:
        del scalars[WARM]
    return replace(event, scalars=scalars)
