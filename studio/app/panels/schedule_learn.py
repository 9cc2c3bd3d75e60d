"""The network page of the schedule workspace: training a schedule network, and watching it emit a schedule.

The ratio r = beta / sigma**2 that it learns at each noise level stands beside the closed-form optimum for the
denoiser's error there, and beside the cap that its training puts on it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PySide6.QtCore import Signal
from PySide6.QtWidgets import QGridLayout, QPushButton, QVBoxLayout, QWidget

from studio.app import theme
from studio.app.controls import Panel, make_label
from studio.app.forms import KnobForm
from studio.app.panels.compare_page import Side, section
from studio.app.panels.method_picker import MethodPicker, read_form, restore_form
from studio.app.panels.schedule_run import RunPage
from studio.app.panels.smoothing import Smoother
from studio.app.panels.train_views import Stage
from studio.app.widgets.emission import EmissionStrip
from studio.app.widgets.plots import LivePlot
from studio.core import events
from studio.core.checkpoints.header import Header
from studio.core.knobs import Knob, Knobbed, knob, knobs_of
from studio.core.networks.schedule_net import CNNSpec, ScheduleNetworkSpec
from studio.core.recipes.bilateral import Bilateral, Emission, check_start
from studio.core.schedules import NoiseSchedule
from studio.core.short_schedule import ShortSchedule, fewest_steps

_LABELS = {
    "log_term.quarter": "¼ per value",
    "log_term.half": "½, exact KL",
    "log_term.printed": "as printed",
}
_FOLDED = frozenset({"batch", "learning_rate", "clean_levels", "most", "images"})
"""Settings that wait under "More" here, where room is short."""
_LOSS = "The loss of each step, smoothed.\nPress Train network."
_RATIO = "The ratio β / σ² that the network learns at each noise level, beside the best there is."
_EMPTY = "Press Watch to see a schedule being emitted, from noise to data: a card for each step."


@dataclass(frozen=True, kw_only=True)
class Start(Knobbed):
    """Where a schedule is emitted from."""

    alpha: float = knob(
        0.5, help="How much of the image the noisiest level holds.", label="Signal", symbol="α<sub>N</sub>",
        low=0.001, high=0.999,
    )  # fmt: skip
    beta: float = knob(
        0.3, help="The first and largest β; no later one is larger.", label="First β", symbol="β<sub>N</sub>",
        low=0.001, high=0.999,
    )  # fmt: skip
    seed: int = knob(0, help="The noise that it begins from: the schedule depends on it.", low=0, high=2**31 - 1)


@dataclass(frozen=True, kw_only=True)
class LearnRequest:
    """Train this schedule network for the model at ``path``."""

    path: Path
    network: ScheduleNetworkSpec
    bilateral: Bilateral


@dataclass(frozen=True, kw_only=True)
class WatchRequest:
    """Emit a schedule from ``start`` = (alpha_N, beta_N) with the network that :class:`LearnRequest` would train."""

    path: Path
    network: ScheduleNetworkSpec
    bilateral: Bilateral
    emission: Emission
    start: tuple[float, float]
    seed: int


class LearnPage(RunPage):
    """Asks for a :class:`LearnRequest`, and offers the schedule that was watched."""

    watch_requested = Signal(object)
    """A :class:`WatchRequest`."""
    network_changed = Signal(object)
    """Another schedule network is set: the :class:`LearnRequest` that makes it."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__((("train", "Train network"), ("watch", "Watch")), parent)
        self._network: LearnRequest | None = None
        self._emitted: ShortSchedule | None = None
        self._step = 0
        self._smoother = Smoother(2.0)
        self.loss = LivePlot("steps", "loss", title="Loss", whole_x=True)
        self.loss.add_series("raw", "each step", "series_raw", width=1.0)
        self.loss.add_series("smoothed", "smoothed", "series_smoothed", width=2.0)
        self.ratio = LivePlot("log-SNR, noise to data", "β / σ²", y_range=(0.0, 1.0), title="Ratio")
        self.ratio.add_series("cap", "cap", "series_limit", width=1.0)
        self.ratio.add_series("optimum", "optimum", "series_raw", dashed=True, width=1.5)
        self.ratio.add_series("learned", "learned", "series_learned", width=2.0)
        self.ratio.setToolTip(
            "Learned: on held-out items. Optimum: m r (1 + (1 − r)⁻²) = 2c for the denoiser’s error m.\n"
            "Cap: the largest that the span τ allows."
        )
        self.loss_stage = Stage("Loss", _LOSS, self.loss)
        self.ratio_stage = Stage("Ratio", _RATIO, self.ratio)
        self.strip = EmissionStrip()
        self.strip.set_empty_text(_EMPTY)
        self.use_button = QPushButton("Use this schedule")
        self.use_button.setToolTip("Draw its β, and sample with it")
        self.strip_panel = Panel("Emitted schedule")
        self.network = MethodPicker("schedule_network", "Network", "Network\nWhat reads the ratio off x.", CNNSpec)
        self.form = KnobForm(_folded(Bilateral), _LABELS)
        self.start_form = KnobForm(knobs_of(Start))
        self.bound = make_label("", "muted", wrap=True)
        self.emission_form = KnobForm(_folded(Emission))
        self.settings = self._make_settings()
        self._arrange()
        self._connect()
        self.settings.setEnabled(False)
        self._refresh()

    # What comes from outside

    def set_model(self, path: str, header: Header, schedule: NoiseSchedule) -> None:
        self._path, self._schedule = Path(path), schedule
        self.settings.setEnabled(True)
        self.banner.clear()
        self.run.say("")
        self.clear()
        self._refresh()

    def clear(self) -> None:
        """Forget curves and cards; the settings stay."""
        for plot in (self.loss, self.ratio):
            plot.clear()
        for stage in (self.loss_stage, self.ratio_stage):
            stage.show_view(False)
        self._clear_strip()

    def _take(self, event: events.Event) -> None:
        match event:
            case events.Progress():
                self._take_progress(event)
            case events.RatioCurve():
                for name in ("cap", "optimum", "learned"):
                    self.ratio.set_data(name, event.log_snr, getattr(event, name))
                self.ratio_stage.show_view(True)
            case events.Emitted():
                self._take_emitted(event)
            case events.ScheduleFound(schedule=ShortSchedule() as found):
                self._emitted = found
                self.use_button.show()

    def set_busy(self, busy: bool) -> None:
        super().set_busy(busy)
        for stage in (self.loss_stage, self.ratio_stage):
            if not busy and stage.is_empty():
                stage.show_view(False)  # what is said there is a promise again
        for form in (self.network, self.form, self.start_form, self.emission_form):
            form.setEnabled(not busy)
        self._refresh()

    # What is set

    def request(self) -> LearnRequest:
        """The training that is set. Raises ValueError in plain words."""
        if self._path is None or self._schedule is None:
            raise ValueError("Choose a model in the library.")
        bilateral = read_form(self.form, Bilateral)
        bilateral.resolve_span(self._schedule)
        return LearnRequest(path=self._path, network=self.network.value(), bilateral=bilateral)

    def watch_request(self) -> WatchRequest:
        """The emission that is set. Raises ValueError in plain words."""
        learn = self.request()
        start = read_form(self.start_form, Start)
        return WatchRequest(
            path=learn.path,
            network=learn.network,
            bilateral=learn.bilateral,
            emission=read_form(self.emission_form, Emission),
            start=check_start((start.alpha, start.beta)),
            seed=start.seed,
        )

    def state(self) -> dict[str, Any]:
        """The settings, as plain values."""
        forms = (self.form, self.start_form, self.emission_form)
        return {**self.network.state(), **{name: value for form in forms for name, value in form.values().items()}}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what :meth:`state` gave, as far as it is possible."""
        self.network.restore(state)
        for form, cls in ((self.form, Bilateral), (self.start_form, Start), (self.emission_form, Emission)):
            restore_form(form, knobs_of(cls), state)

    # Drawing

    def _take_progress(self, event: events.Progress) -> None:
        if self.loss_stage.is_empty() or event.step < self._step:
            # Watching trains the network, too, where it is not at hand.
            self.loss.clear()
            self._smoother = Smoother(min(max(event.total / 30, 20.0), 1000.0))
            self.loss.set_x_extent(0, max(event.total, 1))
            self.loss_stage.show_view(True)
        self._step = event.step
        losses = event.losses.astype(np.float64)
        finite = np.isfinite(losses)
        if finite.any():
            self.loss.append("raw", event.steps + 1, losses)
            self.loss.append("smoothed", event.steps[finite] + 1, self._smoother.take(losses[finite]))

    def _take_emitted(self, event: events.Emitted) -> None:
        if event.index == 0:
            self._clear_strip()
        self.strip.add(event)
        count = len(self.strip.steps())
        said = f"{count} step{'s' * (count != 1)}"
        if event.done:
            said += f" · it ends here: {event.reason}" if event.reason else " · done"
        self.strip_panel.set_subtitle(said)

    def _clear_strip(self) -> None:
        self.strip.clear()
        self.strip_panel.set_subtitle("")
        self._emitted = None
        self.use_button.hide()

    # Asking

    def _start(self, name: str) -> None:
        try:
            request = self.request() if name == "train" else self.watch_request()
        except ValueError as error:
            self.banner.show_error(str(error))
            return
        self.banner.clear()
        if isinstance(request, WatchRequest):
            self._clear_strip()
            self.watch_requested.emit(request)
        else:
            for plot, stage in ((self.loss, self.loss_stage), (self.ratio, self.ratio_stage)):
                plot.clear()
                stage.show_view(False)
                stage.text.setText("Starting…")
            self.start_requested.emit(request)

    def _use(self) -> None:
        if self._emitted is not None:
            self.chosen.emit(self._emitted)

    # Keeping it true

    def _refresh(self) -> None:
        """Say what is impossible, what follows from the start, and whether there is something to press."""
        self._say_span()
        self._say_start()
        for name, ask, tip in (
            ("train", self.request, "Train it for this model, which stays as it is"),
            ("watch", self.watch_request, "Emit a schedule from this start, step by step"),
        ):
            try:
                ask()
                problem = ""
            except ValueError as error:
                problem = str(error)
            self.run.start_button(name).setEnabled(not problem)
            self.run.start_button(name).setToolTip(problem or tip)
        self._tell_network()

    def _tell_network(self) -> None:
        try:
            request = self.request()
        except ValueError:
            return  # said where it is typed
        if request != self._network:
            self._network = request
            self.network_changed.emit(request)

    def _say_span(self) -> None:
        field = self.form.field("span")
        if self._schedule is None or not self.form.is_valid():
            return
        try:
            span, problem = read_form(self.form, Bilateral).resolve_span(self._schedule), ""
        except ValueError as error:
            span, problem = 0, str(error)
        theme.restyle(field.control, bad=bool(problem))
        field.set_error(problem)
        auto = self.form.values()["span"] is None
        field.set_hint(f"{span} of {self._schedule.length:,} steps" if auto and not problem else "")

    def _say_start(self) -> None:
        if not self.start_form.is_valid():
            self.bound.setText("")
            return
        values = self.start_form.values()
        alpha, beta = float(values["alpha"] or 0.0), float(values["beta"] or 0.0)
        field = self.start_form.field("alpha")
        impossible = alpha > math.sqrt(1.0 - beta)
        field.set_error(f"At most √(1 − β) = {math.sqrt(1.0 - beta):.3f} with this β." if impossible else "")
        if impossible:
            self.bound.setText("The first step would leave more than the whole signal: lower α or β.")
            theme.restyle(self.bound, role="error")
            return
        bound, most = fewest_steps(alpha, beta), int(self.emission_form.values()["most"] or 1)
        short = bound > most
        more = f" It ends after {most}, before clean data: raise Most steps or β." if short else ""
        self.bound.setText(f"Fewest steps from here to clean data: {bound:.1f}.{more}")
        theme.restyle(self.bound, role="warning" if short else "muted")

    # Making

    def _make_settings(self) -> Side:
        side = Side()
        self.bound.setToolTip("ln(α²) / ln(1 − β): β only shrinks on the way, so fewer cannot reach clean data.")
        side.add(section("Schedule network"), self.network, self.form)
        side.add(section("Watch a schedule"), self.start_form, self.bound, self.emission_form)
        side.buttons.addWidget(self.run, 1)
        return side

    def _arrange(self) -> None:
        self.use_button.setProperty("chip", True)
        policy = self.use_button.sizePolicy()
        policy.setRetainSizeWhenHidden(True)  # else the cards jump when it comes
        self.use_button.setSizePolicy(policy)
        self.strip_panel.add_header_widget(self.use_button)
        self.strip_panel.content.addWidget(self.strip, 1)
        self.strip_panel.set_margins(15, 9, 9, 7)
        grid = QGridLayout()
        grid.setSpacing(12)
        grid.addWidget(self.loss_stage, 0, 0)
        grid.addWidget(self.ratio_stage, 0, 1)
        grid.addWidget(self.strip_panel, 1, 0, 1, 2)
        for place in (0, 1):
            grid.setColumnStretch(place, 1)
        grid.setRowStretch(0, 6)
        grid.setRowStretch(1, 5)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(12)
        column.addWidget(self.banner)
        column.addLayout(grid, 1)
        self.use_button.hide()

    def _connect(self) -> None:
        self.run.start_requested.connect(self._start)
        self.use_button.clicked.connect(self._use)
        self.network.changed.connect(self._refresh)
        for form in (self.form, self.start_form, self.emission_form):
            form.changed.connect(self._refresh)
            form.validity_changed.connect(self._refresh)


def _folded(cls: type) -> tuple[Knob, ...]:
    return tuple(dataclasses.replace(item, advanced=item.advanced or item.name in _FOLDED) for item in knobs_of(cls))
