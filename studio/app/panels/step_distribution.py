"""One denoising step of 1-D data: why a large one needs more than a Gaussian.

From one x_t, two steps are drawn: a large one and a small one of a thousand. The true law q(x_s | x_t) of the small one
is a Gaussian; that of the large one has as many modes as x_t may have come from. Beside it stand the Gaussian that a
DDPM draws from, the best Gaussian there is, and what a generator with a latent makes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PySide6.QtCore import QSignalBlocker, QTimer, Signal
from PySide6.QtGui import QHideEvent, QResizeEvent, QShowEvent
from PySide6.QtWidgets import QBoxLayout, QFrame, QHBoxLayout, QVBoxLayout, QWidget

from studio.app.controls import Banner, Choice, ElidedLabel, Field, LabeledSlider, Panel, StatTile, make_label
from studio.app.widgets.plots import LivePlot
from studio.app.widgets.scale import fit_linear
from studio.core import events
from studio.core.checkpoints.header import Header
from studio.core.config import method_from_dict
from studio.session.step_distribution import EXTENT, StepJob, StepOf

SMALL = 1000
"""Of so many steps is the small one; it is no step of any generator."""
CHOICES = (1, 2, 4, 8, SMALL)
DEBOUNCE_MILLISECONDS = 15
_NARROW = 640  # pixels: below, the two steps stand one above the other
_HEADROOM = 1.25  # what the height shows of the exact law's peak; others may leave the view
_WHY = (
    "The true law of a small step is a Gaussian, so a DDPM can draw from one. Over a large step x<sub>t</sub> may have "
    "come from several modes: a Gaussian puts x<sub>s</sub> between them, where no data are. A generator with a latent "
    "z can choose."
)


class StepView(Panel):
    """The laws of one step in one plot, and how far each is from the truth."""

    def __init__(self, name: str, *, legend: bool) -> None:
        super().__init__(name)
        self.setAccessibleName(name)
        self._name = name
        self.plot = LivePlot("xₛ", "density", x_range=(-EXTENT, EXTENT), y_range=(0.0, 1.0), legend=legend)
        self.plot.add_series("drawn", "GAN", "series_gan", bars=True)
        self.plot.add_series("best", "best Gaussian", "series_held_out", dashed=True)
        self.plot.add_series("gaussian", "DDPM's Gaussian", "series_held_out", width=2.0)
        self.plot.add_series("exact", "exact", "text", width=2.0)
        self.plot.setAccessibleName(f"{name}: densities of xₛ")
        self.tiles = {
            "gaussian": StatTile("DDPM's Gaussian"),
            "best": StatTile("best Gaussian"),
            "drawn": StatTile("GAN"),
        }
        for key, tooltip in (
            ("gaussian", "The posterior at E[x₀|xₜ] with the variance β̃, from which a DDPM draws."),
            (
                "best",
                "The Gaussian with the exact mean and variance: no other is nearer in Kullback-Leibler divergence.",
            ),
            ("drawn", "xₛ from many z and posterior noises at this xₜ; behind ≥, what as many perfect draws have."),
        ):
            self.tiles[key].setToolTip(f"{tooltip}\nTotal variation to the exact law: 0 is the same, 1 wholly apart.")
        numbers = QHBoxLayout()
        numbers.setSpacing(8)
        for tile in self.tiles.values():
            numbers.addWidget(tile, 1)
        self.content.addWidget(self.plot, 1)
        self.content.addWidget(ElidedLabel("Distance to the exact law, total variation"))
        self.content.addLayout(numbers)

    def clear(self) -> None:
        """Show no law."""
        self.plot.clear()
        self.plot.set_marker(None)
        self.set_subtitle("")
        for tile in self.tiles.values():
            tile.set("–")

    def show_law(self, step: StepOf, law: events.StepLaw) -> None:
        """Draw what a message tells of ``step``."""
        top = fit_linear(0.0, _HEADROOM * max(float(law.exact.max()), 1e-6))[1]
        self.set_title(f"{self._name}: {step.step:,} → {step.step - 1:,} of {step.num_steps:,}")
        if step.num_steps < SMALL:
            self.set_subtitle(f"log-SNR {_ratio(law.log_snr[0])} → {_ratio(law.log_snr[1])}")
        self.plot.set_frame((float(law.x[0]), float(law.x[-1])), (0.0, top))
        self.plot.set_data("exact", law.x, law.exact)
        for key, (mean, std) in (("gaussian", law.gaussian), ("best", law.best)):
            self.plot.set_data(key, *_curve(law.x, mean, std, top))
        cells = (law.edges[1:] + law.edges[:-1]) / 2
        if law.drawn is None:
            self.plot.set_data("drawn", [], [])
        else:
            self.plot.set_data("drawn", cells, law.drawn)
        for key, tile in self.tiles.items():
            tile.setVisible(key in law.distances)
            if key in law.distances:
                tile.set(f"{law.distances[key]:.2f}")
        if law.drawn is not None:
            self.tiles["drawn"].set(f"{law.distances['drawn']:.2f}", f"GAN, ≥ {law.distances['chance']:.2f}")


class StepDistribution(QWidget):
    """The page: the two steps, and in ``side`` what can be chosen. x_t can be dragged in the first plot."""

    job_requested = Signal(object)
    """A :class:`~studio.session.step_distribution.StepJob` that shall replace the one before."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.banner = Banner()
        self.large, self.small = StepView("Large step", legend=True), StepView("Small step", legend=False)
        self.side = QFrame()
        self._path = ""
        self._own: int | None = None
        self._asked: StepJob | None = None
        self._dirty = False
        self._timer = QTimer(self, singleShot=True, interval=DEBOUNCE_MILLISECONDS)
        self._timer.timeout.connect(self._ask)
        self._make_controls()
        self._arrange()
        self.large.plot.marker_moved.connect(self.place.setValue)

    @staticmethod
    def problem(header: Header) -> str:
        """Why the steps of a model cannot be drawn; "" if they can."""
        if tuple(header.facts["shape"]) == (1,) and getattr(method_from_dict("dataset", header.data), "mixture", None):
            return ""
        return "One step is drawn for data in one dimension whose distribution is known."

    # What the window says

    def set_model(self, path: str, header: Header) -> None:
        """Show another model, for which there is no :meth:`problem`."""
        recipe = method_from_dict("recipe", header.recipe)
        self._path, self._own = path, recipe.own_steps
        for view in (self.large, self.small):
            view.clear()
        self.banner.hide()
        for field in (self._count_field, self._seed_field):
            field.set_enabled(self._own is not None, "This model has no latent: its step is its Gaussian.")
        if self._own in CHOICES:
            self.steps.setValue(self._own)
        self._fit()
        self._changed()

    def receive(self, event: events.Event) -> None:
        """Show a message of the newest job."""
        match event:
            case events.StepLaw() if self._asked is not None and event.index < len(self._asked.steps):
                view = (self.large, self.small)[event.index]
                view.show_law(self._asked.steps[event.index], event)
                if view is self.large:
                    view.plot.set_marker(event.x_t, draggable=True)
                self.banner.hide()
            case events.Failed():
                self.banner.show_error(event.summary, event.details)

    # Values

    def step(self) -> StepOf:
        """The large step as the controls have it."""
        num_steps = self.steps.value()
        assert isinstance(num_steps, int)
        return StepOf(num_steps, min(int(self.start.value()), num_steps))

    def job(self) -> StepJob:
        """What the controls ask for: the step, and a small one from the same level."""
        step = self.step()
        both = step.num_steps < SMALL
        small = StepOf(SMALL, round(SMALL * step.step / step.num_steps))
        return StepJob(
            path=Path(self._path),
            x=float(self.place.value()),
            steps=(step, small) if both else (step,),
            seed=int(self.seed.value()),
            count=int(self.count.value()),
        )

    def state(self) -> dict[str, Any]:
        """The controls as plain values, for the settings file."""
        return {name: control.value() for name, control in self._controls().items()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what :meth:`state` gave; what is missing or impossible is left as it is."""
        for name, control in self._controls().items():
            try:
                value = float(state[name])
            except (KeyError, TypeError, ValueError):
                continue
            control.setValue(int(value) if name != "place" else value)

    # Asking

    def _controls(self) -> dict[str, Choice | LabeledSlider]:
        return {
            "steps": self.steps,
            "start": self.start,
            "place": self.place,
            "count": self.count,
            "seed": self.seed,
        }

    def _changed(self) -> None:
        self._dirty = True
        if self.isVisible():
            self._timer.start()

    def _ask(self) -> None:
        if self._path and self._dirty:
            self._dirty = False
            self._asked = self.job()
            self.job_requested.emit(self._asked)

    def _take_steps(self) -> None:
        """Another T: start from about the same level."""
        self._fit()
        self._changed()

    def _fit(self) -> None:
        """Fit the controls to T: which steps there are, and whether the generator knows them."""
        num_steps = self.steps.value()
        assert isinstance(num_steps, int)
        share = self._share
        with QSignalBlocker(self.start):
            self.start.setRange(1, max(num_steps, 2))
            self.start.setValue(max(round(share * num_steps), 1))
        self._start_field.set_enabled(num_steps > 1, "There is one step, from noise to data.")
        foreign = self._own is not None and num_steps != self._own
        self._steps_field.set_hint(f"This generator knows its own T = {self._own} alone." if foreign else "")
        self.small.setVisible(num_steps < SMALL)

    def _took_start(self) -> None:
        self._share = self.step().step / self.step().num_steps
        self._changed()

    # Making

    def _make_controls(self) -> None:
        self._share = 0.25
        self.steps = Choice([(number, f"{number:,}") for number in CHOICES])
        self.steps.setValue(4)
        self.start = LabeledSlider(1, 4, integer=True, value=1)
        self.place = LabeledSlider(-3.0, 3.0, step=0.05, value=-0.4)
        self.count = LabeledSlider(500, 50_000, integer=True, log=True, value=5000)
        self.seed = LabeledSlider(0, 99, integer=True, value=0)
        self._steps_field = Field(
            "Steps", self.steps, symbol="T", tooltip="Steps T\nInto how many steps the way from noise to data is cut."
        )
        self._start_field = Field(
            "From step", self.start, symbol="t", tooltip="From step t\nThe step that leads to t − 1. T is the noisiest."
        )
        self._place_field = Field(
            "Place",
            self.place,
            symbol="x<sub>t</sub>",
            tooltip="Place xₜ\nWhere the step starts; drag it in the plot, too.",
        )
        self._count_field = Field("Draws", self.count, tooltip="Draws\nHow often the generator draws z and x_s.")
        self._seed_field = Field("Seed", self.seed, tooltip="Seed\nThe draws follow from it.")
        for name, control in self._controls().items():
            control.setObjectName(name)
        self.steps.valueChanged.connect(self._take_steps)
        self.start.valueChanged.connect(self._took_start)
        for slider in (self.place, self.count, self.seed):
            slider.valueChanged.connect(self._changed)

    def _arrange(self) -> None:
        self.side.setProperty("surface", "right")
        column = QVBoxLayout(self.side)
        column.setContentsMargins(16, 8, 16, 16)
        column.setSpacing(8)
        for title, fields in (
            ("Step", (self._steps_field, self._start_field, self._place_field)),
            ("Generator", (self._count_field, self._seed_field)),
        ):
            column.addWidget(make_label(title, "section"))
            for field in fields:
                column.addWidget(field)
        column.addWidget(make_label("Why", "section"))
        column.addWidget(make_label(_WHY, "muted", wrap=True))
        column.addStretch(1)
        self._plots = QBoxLayout(QBoxLayout.Direction.LeftToRight)
        self._plots.setSpacing(12)
        self._plots.addWidget(self.large, 3)
        self._plots.addWidget(self.small, 2)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.setSpacing(12)
        whole.addWidget(self.banner)
        whole.addLayout(self._plots, 1)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        narrow = self.width() < _NARROW
        self._plots.setDirection(QBoxLayout.Direction.TopToBottom if narrow else QBoxLayout.Direction.LeftToRight)

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        if self._dirty:
            self._timer.start()

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self._timer.stop()


def _curve(places: np.ndarray, mean: float, std: float, top: float) -> tuple[np.ndarray, np.ndarray]:
    """A Gaussian's density at ``places`` and around its own peak; a deviation of 0 is a line up to the top."""
    if std < 1e-9:
        return np.array([mean, mean]), np.array([0.0, 2.0 * top])
    xs = np.sort(np.concatenate([places, mean + std * np.linspace(-4.0, 4.0, 161)]))
    return xs, np.exp(-0.5 * ((xs - mean) / std) ** 2) / (std * math.sqrt(2.0 * math.pi))


def _ratio(value: float) -> str:
    return "∞" if math.isinf(value) else f"{value:.1f}".replace("-", "−")
