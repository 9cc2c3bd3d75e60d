"""The right column of the page of steps: which levels the sampler visits, and the facts of the training schedule."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtWidgets import QGridLayout, QWidget

from studio.app.controls import Field, LabeledSlider, make_label
from studio.app.panels.compare_page import Side, section
from studio.app.panels.learned import offers, own_offers, sampler_for
from studio.app.panels.method_picker import MethodPicker
from studio.app.widgets import scale
from studio.app.words import leftover
from studio.core.checkpoints.header import Header
from studio.core.grids import Grid, LogSNR
from studio.core.knobs import knobs_of
from studio.core.levels import Level, log_snr, prior_mismatch
from studio.core.sampling import SampleKnobs, SampleSpec
from studio.core.schedules import DiscreteSchedule
from studio.core.short_schedule import ShortSchedule
from studio.session.compare import has_own_steps

_STEPS = next(knob for knob in knobs_of(SampleKnobs) if knob.name == "steps")


class ScheduleSettings(Side):
    """Steps and grid of the sampler, shared with the trajectory workspace, and the facts of the model's schedule."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._longest = 1000
        self.steps = LabeledSlider(1, self._longest, integer=True, log=True, value=float(SampleKnobs().steps))
        self.steps.setObjectName("steps")
        self.grid = MethodPicker(
            "grid", "Steps from", "Steps from\nWhich of the schedule's noise levels to visit.", LogSNR, spacing=6
        )
        self.facts = Facts()
        self._kept: Sequence[ShortSchedule] = ()
        self._steps_field = Field(
            _STEPS.label, self.steps, symbol=_STEPS.symbol, tooltip=f"{_STEPS.label} {_STEPS.symbol}\n{_STEPS.help}"
        )
        self.add(
            section("The sampler visits"),
            self._steps_field,
            self.grid,
            make_label("Shared with the trajectory workspace.", "faint", wrap=True),
            section("Training schedule"),
            self.facts,
        )
        self.buttons.setContentsMargins(0, 0, 0, 0)  # there are none
        self.steps.valueChanged.connect(self.changed)
        self.steps.invalid.connect(self._say_steps)
        self.grid.changed.connect(self.changed)

    def apply_to(self, spec: SampleSpec) -> SampleSpec:
        """``spec`` with the steps and the grid that are set here."""
        knobs, grid = dataclasses.replace(spec.knobs, steps=int(self.steps.value())), self.grid.value()
        # A short schedule that is chosen anew is good with the sampler that it was found with.
        found_with = sampler_for(grid, self._kept) if grid != spec.grid else None
        return dataclasses.replace(spec, grid=grid, sampler=found_with or spec.sampler, knobs=knobs)

    def show_spec(self, spec: SampleSpec) -> None:
        """Set the controls, quietly."""
        with QSignalBlocker(self):
            self.steps.setValue(spec.knobs.steps)
            self.grid.set_value(spec.grid)

    def set_schedule(self, schedule: DiscreteSchedule) -> None:
        """Fit the controls to another schedule, quietly."""
        with QSignalBlocker(self):
            self._longest = max(schedule.length, 2)
            self.steps.setRange(1, self._longest)

    def offer(self, header: Header) -> None:
        """List the model's own steps and its short schedules among the grids, quietly."""
        self._kept = header.schedules
        with QSignalBlocker(self):
            self.grid.offer_values([*own_offers(header), *offers(header.schedules)])

    def say(self, problem: str, grid: Grid, count: int | None) -> None:
        """Say why no levels follow from what is set ("" if they do), how many do, and dim what has no effect."""
        own = has_own_steps(grid)
        self._steps_field.set_enabled(not own, "follows from the list")
        self.steps.set_shown(count if own else None)
        self.grid.set_error(problem)

    def _say_steps(self, text: str) -> None:
        knob = dataclasses.replace(_STEPS, high=self._longest)
        self._steps_field.set_error(f"It takes {knob.allowed}." if text else "")


class Facts(QWidget):
    """Names and numbers in two columns, and a sentence on where sampling starts."""

    _NAMES = ("Kind", "Steps T", "ᾱ at T", "log-SNR", "Prior mismatch", "α at the start")

    def __init__(self) -> None:
        super().__init__()
        self._values = [make_label("–", "mono") for _ in self._NAMES]
        self._values[4].setToolTip(
            "KL divergence from the noisiest level to pure noise, nats a pixel or coordinate,\n"
            "for Gaussian data of this model's mean and spread. Where a model starts from a prior\n"
            "of its own, fitted to its data, pure noise plays no part."
        )
        self._fitted = False
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

    def show_schedule(self, schedule: DiscreteSchedule, mean: float, std: float, *, fitted: bool = False) -> None:
        """The facts that hold whatever is visited; ``fitted``: the model has a prior of its own."""
        self._fitted = fitted
        first, last = (schedule.level(t) for t in (1.0 / schedule.length, 1.0))
        ends = [f"{float(log_snr(level)):.1f}".replace("-", "−") for level in (first, last)]
        for label, text in zip(
            self._values,
            (
                schedule.title,
                str(schedule.length),
                scale.number(float(last.alpha) ** 2),
                f"{ends[0]} to {ends[1]}",
                "fitted" if fitted else f"{scale.number(prior_mismatch(last, mean, std))} nats",
            ),
            strict=False,
        ):
            label.setText(text)

    def show_start(self, level: Level | None) -> None:
        """The first visited level, where samples start; None where there is none."""
        alpha = None if level is None else float(level.alpha)
        self._values[-1].setText("–" if alpha is None else scale.number(alpha))
        self.sentence.setText("" if alpha is None else leftover(alpha, fitted=self._fitted))

    def texts(self) -> dict[str, str]:
        """What is shown, by name."""
        return {name: value.text() for name, value in zip(self._NAMES, self._values, strict=True)}
