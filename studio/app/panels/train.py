"""The Train workspace: what a training is made of at the right, and what it does, live, in the centre."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QFont, QResizeEvent
from PySide6.QtWidgets import (
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QScrollArea,
    QSlider,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from studio.app.controls import Panel, Segmented, StatTile, make_label, scroll_down
from studio.app.panels.smoothing import Smoother
from studio.app.panels.train_balance import BalanceView
from studio.app.panels.train_curves import GAME, GAME_GROUPS, PLAYED, SCORE, WARM, GroupPlot
from studio.app.panels.train_settings import State, TrainSettings
from studio.app.theme import ui_font
from studio.app.widgets.heat_map import HeatMap
from studio.app.widgets.image_grid import ImageGrid
from studio.app.widgets.particles import Particles
from studio.app.widgets.plots import LEFT, LivePlot
from studio.app.widgets.scale import number
from studio.app.words import duration
from studio.core.checkpoints.header import brief
from studio.core.config import TrainConfig
from studio.core.events import DataPreview, Event, HeldOut, Paused, Preview, Progress, Quality, Status

MOST_PREVIEWS = 240
_ANY_WIDTH = (1 << 24) - 1  # Qt's own limit

Place = tuple[int, int, int, int]
"""Row, column, and how many of each."""
_COLUMNS = 12
_LEVELS = "Loss by noise level"
_LEVELS_OF_D = "D's loss by level"
_ABOVE = {False: {"loss": 5, "levels": 4}, True: {"losses": 5, "logits": 4, "balance": 3}}
"""What stands in the upper row, and its share of the width: of a training with one loss, and of a game of two."""
_BELOW = {False: ("gradient", "rate", "speed"), True: ("norms", "r1", "levels", "speed")}
"""The small plots beneath, beside the samples; scores, where there are any, come first, and four find room."""
_QUANTITIES = {"image": "FD", "points": "Sliced W2"}
"""What samples are scored by in training, as :mod:`studio.core.scoring` does."""


class Pages(QStackedWidget):
    """Widgets of which one is seen. Text that wraps in one of them asks for no height: all take what there is."""

    def hasHeightForWidth(self) -> bool:
        return False


class Stage(Panel):
    """A panel for one view: until there is something to see, it says in a line what will be seen."""

    def __init__(self, title: str, promise: str, view: QWidget, parent: QWidget | None = None) -> None:
        super().__init__(parent=parent)
        self.set_margins(8, 9, 5, 7)
        self._promise = promise
        self.text = make_label(promise, "muted", wrap=True)
        self.text.setAlignment(Qt.AlignmentFlag.AlignCenter)
        empty = QWidget()
        column = QVBoxLayout(empty)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(_plot_title(title))
        self.text.setContentsMargins(12, 0, 16, 22)
        column.addWidget(self.text, 1)
        self._pages = Pages()
        self._pages.addWidget(empty)
        self._pages.addWidget(view)
        self.content.addWidget(self._pages)

    def show_view(self, on: bool) -> None:
        """Show the view, or the promise."""
        if not on:
            self.text.setText(self._promise)
        self._pages.setCurrentIndex(int(on))

    def is_empty(self) -> bool:
        """Whether it still promises."""
        return self._pages.currentIndex() == 0


class Samples(Panel):
    """Samples of the average at a fixed seed: the newest, and the earlier ones under a slider."""

    step_shown = Signal(object)
    """The step of the samples shown, where they are not the newest; else None."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("Samples", parent=parent)
        self._history: list[Preview] = []
        self._narrow = False
        self.slider = QSlider(Qt.Orientation.Horizontal)
        self.slider.setAccessibleName("Earlier samples")
        self.slider.setToolTip("Earlier samples\nDrag to the left to see how the training got here.")
        self.slider.valueChanged.connect(self._show)
        self.grid, self.particles = ImageGrid(name="Samples"), Particles()
        self.text = make_label("", "muted", wrap=True)
        self.text.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._pages = Pages()
        for page in (self.text, self.grid, self.particles):
            self._pages.addWidget(page)
        self.content.addWidget(self._pages)
        self.set_narrow(False)
        self.clear()

    def set_narrow(self, on: bool) -> None:
        """Put the slider under the samples, where the header has no room for it."""
        self._narrow = on
        if on:
            self.slider.setMinimumWidth(0)
            self.slider.setMaximumWidth(_ANY_WIDTH)
            self.content.addWidget(self.slider)
        else:
            self.slider.setFixedWidth(150)
            self.add_header_widget(self.slider)

    def clear(self, promise: str = "") -> None:
        """Forget the samples; say what will come instead."""
        self._history = []
        self.text.setText(promise)
        self.set_subtitle("")
        self.slider.blockSignals(True)
        self.slider.setRange(0, 0)
        self.slider.blockSignals(False)
        self.slider.hide()
        self._pages.setCurrentWidget(self.text)

    def set_data_points(self, points: NDArray) -> None:
        """The data (M, D) that points are drawn over."""
        self.particles.set_data_points(points)

    def add(self, event: Preview) -> None:
        """Keep new samples, and show them unless the person is looking at earlier ones."""
        newest = self.slider.value() == self.slider.maximum()
        at = self.slider.value()
        self._history.append(event)
        if len(self._history) > MOST_PREVIEWS:
            # Every other one goes, never the first or the newest.
            self._history = self._history[:-1:2] + self._history[-1:]
            at //= 2
        self.slider.blockSignals(True)
        self.slider.setRange(0, len(self._history) - 1)
        self.slider.setValue(self.slider.maximum() if newest else at)
        self.slider.blockSignals(False)
        self.slider.setVisible(len(self._history) > 1)
        if newest or len(self._history) == 1:
            self._show()

    def _show(self) -> None:
        event = self._history[self.slider.value()]
        earlier = self.slider.value() < self.slider.maximum()
        if event.images.ndim == 2:
            self.particles.set_particles(event.images)
            self._pages.setCurrentWidget(self.particles)
        else:
            self.grid.set_images(event.images)
            self._pages.setCurrentWidget(self.grid)
        facts = [event.caption, f"step {event.step:,}"]
        if self._narrow:
            facts.reverse()  # what changes is never cut off
        self.set_subtitle(" · ".join(fact for fact in facts if fact))
        self.step_shown.emit(event.step if earlier else None)


class LevelViews(QWidget):
    """The loss by noise level: that of training, and that of the average on held-out data."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.training = HeatMap(title=_LEVELS)
        self.held_out = HeatMap(title=_LEVELS)
        self.training.setAccessibleName(f"{_LEVELS}, training")
        self.held_out.setAccessibleName(f"{_LEVELS}, held out")
        self._from = {"training": 0.0, "held_out": 0.0}
        self._few = False
        self._bins: NDArray | None = None
        self._pages = Pages()
        self._pages.addWidget(self.training)
        self._pages.addWidget(self.held_out)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._pages)
        self.choice = Segmented([("training", "training"), ("held_out", "held out")], self)
        self.choice.button("training").setToolTip("Weights of each step, on the items and noise it learns from")
        self.choice.button("held_out").setToolTip(
            "Averaged weights, on the same held-out items and the same noise each time,\n"
            "so that only what was learned changes it"
        )
        self.choice.valueChanged.connect(self._choose)
        self.clear()

    def clear(self, step: int = 0) -> None:
        """Forget both; the next are of steps from ``step`` on."""
        self.training.clear()
        self.held_out.clear()
        self._from = dict.fromkeys(self._from, float(step))
        self._bins = None
        self.choice.setValue("training")
        self.choice.hide()
        self._place()

    def set_title(self, title: str) -> None:
        """Say whose loss it is."""
        for heat_map in (self.training, self.held_out):
            heat_map.set_title(title)

    def set_few(self, few: bool) -> None:
        """Whether a training knows a few levels alone: most bins stay empty, and the others take their room."""
        self._few = few

    def add_training(self, event: Progress) -> bool:
        """Draw what a message tells of noise levels, if it does."""
        if event.level_loss is None or event.level_edges is None:
            return False
        losses, edges = event.level_loss, event.level_edges
        if self._few:
            if self._bins is None:
                self._bins = np.flatnonzero(np.isfinite(losses))
            middles = (edges[1:] + edges[:-1]) / 2
            if len(self._bins) > 1:
                losses, edges = losses[self._bins], _edges_around(middles[self._bins])
        self.training.append_column(self._from["training"], losses, edges)
        self._from["training"] = event.step
        return True

    def add_held_out(self, event: HeldOut) -> bool:
        """Draw the held-out loss at its levels, if there are any; each is drawn up to half-way to its neighbours."""
        if event.level_loss is None or event.level_log_snr is None or len(event.level_log_snr) < 2:
            return False
        edges = _edges_around(event.level_log_snr)
        self.held_out.append_column(self._from["held_out"], event.level_loss, edges)
        self._from["held_out"] = event.step
        self.choice.show()
        self._place()
        return True

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._place()

    def _place(self) -> None:
        room = self.choice.sizeHint() if self.choice.isVisibleTo(self) else QSize(0, 0)
        for heat_map in (self.training, self.held_out):
            heat_map.set_header_room(room)
        self.choice.setGeometry(self.width() - room.width(), 0, room.width(), room.height())

    def _choose(self, which: object) -> None:
        self._pages.setCurrentWidget(self.held_out if which == "held_out" else self.training)


class Scores(Panel):
    """Scores of samples as the training goes on, lower is better, over what real items score."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent=parent)
        self.set_margins(8, 9, 5, 7)
        self._total = 1
        self._floor: float | None = None
        self._pages = Pages()
        self.plots = {kind: _score_plot(name) for kind, name in _QUANTITIES.items()}
        for plot in self.plots.values():
            self._pages.addWidget(plot)
        self.content.addWidget(self._pages)

    def clear(self, kind: str, total: int) -> None:
        """Forget the scores; the next are of data of this kind and of at most ``total`` steps."""
        self._total, self._floor = max(total, 1), None
        for plot in self.plots.values():
            plot.clear()
            plot.set_marker(None)
            plot.set_x_extent(0, self._total)
        self._pages.setCurrentWidget(self.plots[kind])

    def set_total(self, total: int) -> None:
        """Draw to another planned end."""
        self._total = max(total, 1)
        for plot in self.plots.values():
            plot.set_x_extent(0, self._total)
        self._draw_floor()

    def add(self, event: Quality) -> None:
        """Draw a score."""
        plot = self._pages.currentWidget()
        assert isinstance(plot, LivePlot)
        name, value = next(iter(event.scores.items()))
        self._floor = event.floor.get(name)
        plot.append("score", event.step, value)
        self._draw_floor()
        told = [f"{event.count:,} samples", event.network, event.caption]
        plot.setToolTip(
            f"Lower is better. {' · '.join(part for part in told if part)}\n"
            f"Dashed: as many real items, {number(self._floor) if self._floor is not None else 'not known'}"
        )

    def _draw_floor(self) -> None:
        plot = self._pages.currentWidget()
        assert isinstance(plot, LivePlot)
        if self._floor is not None:
            plot.set_data("floor", [0, self._total], [self._floor, self._floor])


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
            # D's loss, that of a warm start and the energy score at its end do not go on one scale of colours.
            is_mean = self._played_from is None and SCORE not in event.scalars
            if (is_mean or PLAYED in event.scalars) and self.levels.add_training(event):
                self.levels_stage.show_view(True)
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
        self.levels_stage = Stage(_LEVELS, "How well each noise level is learned.", self.levels)
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

    def _begin_play(self, step: int) -> None:
        self._played_from = step
        self._tiles[1].set("–", "generator's loss")
        self.levels.clear(step)
        self.levels.set_title(_LEVELS_OF_D)

    def _end_game(self) -> None:
        """Forget a game."""
        for group in self.game.values():
            group.begin(self._total, self._horizon(), self._chance)
        self.balance.begin()
        if self._game_from is not None:
            self._game_from = self._played_from = None
            self.levels.set_title(_LEVELS)
            self._arrange()

    def _horizon(self) -> float:
        """Steps over which curves are smoothed."""
        return min(max(self._total / 60, 20.0), 1000.0)

    def _take_score(self, event: Quality) -> None:
        self._show_scores(True)
        self.scores.add(event)
        name, value = next(iter(event.scores.items()))
        real = f", real {event.floor[name]:.2g}" if name in event.floor else ""
        self._score_tile.set(brief(value), f"{_QUANTITIES[self._kind].removeprefix('Sliced ')}{real}")

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


def _warm(event: Progress) -> Progress:
    """A message of before the game with its loss under another name, since it is none of a player's.

    Where that is the energy score, it has a curve already.
    """
    scalars = {WARM if name == "loss" else name: value for name, value in event.scalars.items()}
    if SCORE in scalars:
        del scalars[WARM]
    return replace(event, scalars=scalars)


def _edges_around(levels: NDArray) -> NDArray[np.float64]:
    """The edges (L + 1,) of cells around L >= 2 ascending levels: half-way between two, as far on the other side."""
    levels = levels.astype(float)
    between = (levels[1:] + levels[:-1]) / 2
    return np.concatenate([[2 * levels[0] - between[0]], between, [2 * levels[-1] - between[-1]]])


def _score_plot(quantity: str) -> LivePlot:
    plot = LivePlot(
        "steps", f"{quantity}, log", log_y=True, title=f"{quantity}, dashed: real", whole_x=True, legend=False
    )
    plot.add_series("floor", "real", "series_limit", dashed=True)
    plot.add_series("score", "samples", "series_smoothed", width=2.0, points=True)
    return plot


def _plot_title(text: str) -> QLabel:
    title = QLabel(text)
    title.setFont(ui_font(12, QFont.Weight.DemiBold))
    title.setIndent(LEFT)
    title.setFixedHeight(22)
    title.setMinimumWidth(1)  # a narrow window cuts it off rather than being too narrow for all
    return title
