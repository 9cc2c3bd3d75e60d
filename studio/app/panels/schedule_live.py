"""Samples of the schedule at hand, anew whenever it changes: what a pull at a point does is seen while it is done."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from PySide6.QtCore import Signal
from PySide6.QtWidgets import QStackedWidget, QVBoxLayout, QWidget

from studio.app.controls import ElidedLabel, make_label
from studio.app.widgets.image_grid import ImageGrid
from studio.app.widgets.particles import Particles
from studio.core import events
from studio.core.checkpoints.header import Header
from studio.core.grids import Grid
from studio.core.samplers.base import sampler_title
from studio.core.sampling import SampleSpec
from studio.session.jobs import SampleJob

IMAGES, POINTS = 20, 1000
MOST_STEPS = 64
"""A schedule of more steps takes too long to be sampled at every change."""
_COLUMNS, _HEIGHT = 5, 196


class LiveSamples(QWidget):
    """A few samples from a fixed seed. It asks for a run where what is to be seen has changed, and nobody else does.

    While a point is being pulled, a run that has begun is let to its end and only the newest request waits: else a
    steady pull would show nothing. Otherwise a newer request replaces the run at once.
    """

    sample_requested = Signal(object)
    """A :class:`~studio.session.jobs.SampleJob` that shall replace the one before."""
    stop_requested = Signal()
    rate_measured = Signal(float)
    """The seconds that one item took for one evaluation of the network."""

    def __init__(self) -> None:
        super().__init__()
        self._path = ""
        self._header: Header | None = None
        self._wanted: SampleSpec | None = None
        self._asked: SampleSpec | None = None
        self._busy = False
        self._deaf = True  # until this model's first request: what comes is of the model before
        self.title = make_label("This schedule", "section")
        self.images = ImageGrid(_COLUMNS, "Samples of this schedule")
        self.particles = Particles()
        self.note = ElidedLabel("", "faint")
        self._stack = QStackedWidget()
        self._stack.setFixedHeight(_HEIGHT)
        self._stack.addWidget(self.images)
        self._stack.addWidget(self.particles)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        for widget in (self.title, self._stack, self.note):
            column.addWidget(widget)

    def set_model(self, path: str, header: Header) -> None:
        """Sample from another model; what is still on its way of the one before is not shown."""
        if self._busy:
            self.stop_requested.emit()
        self._path, self._header = path, header
        self._wanted = self._asked = None
        self._deaf = True
        self.images.clear()
        self.particles.set_particles(np.empty((0, 2)))
        self._stack.setCurrentWidget(self.images if header.kind == "image" else self.particles)

    def set_data_points(self, data: np.ndarray) -> None:
        """The real data of a point set, (M, D), behind the particles."""
        self.particles.set_data_points(data)

    def show_schedule(self, spec: SampleSpec, grid: Grid | None, steps: int, *, pulling: bool = False) -> None:
        """Show samples of ``grid``, which has ``steps``, with all else as in ``spec``; None where none are possible."""
        self.title.setText(f"This schedule · {steps} step{'s' * (steps != 1)}" if grid is not None else "This schedule")
        if grid is None or self._header is None or steps > MOST_STEPS:
            self._wanted = None
            if grid is not None:
                text = f"{steps:,} steps take too long to be sampled at every change: use them in Trajectory."
                self._say_empty(text)
            return
        count = IMAGES if self._header.kind == "image" else POINTS
        knobs = dataclasses.replace(spec.knobs, steps=steps, count=count)
        wanted = dataclasses.replace(spec, grid=grid, knobs=knobs)
        if wanted == self._asked:
            self._wanted = None  # a run of just this is under way, or was the last
            return
        self._wanted = wanted
        if not (pulling and self._busy):
            self._ask()

    def receive(self, event: events.Event) -> None:
        """Take any message of the lane of these samples."""
        if self._deaf:
            return
        match event:
            case events.Frame() if event.index == event.total and self._is_mine(event):
                self._show(event)
            case events.Failed():
                self.note.setText(event.summary)

    def set_busy(self, busy: bool) -> None:
        """A run goes on, or none does; what was asked for meanwhile comes next."""
        self._busy = busy
        if not busy and self._wanted is not None:
            self._ask()

    def _ask(self) -> None:
        self._asked, self._wanted = self._wanted, None
        assert self._asked is not None
        self._deaf, self._busy = False, True
        self.images.set_empty_text("Sampling…")
        self.sample_requested.emit(SampleJob(path=Path(self._path), spec=self._asked))

    def _is_mine(self, frame: events.Frame) -> bool:
        return self._header is not None and (frame.x.ndim == 4) == (self._header.kind == "image")

    def _show(self, frame: events.Frame) -> None:
        if frame.x.ndim == 4:
            self.images.set_images(frame.x)
        else:
            self.particles.set_particles(frame.x)
        items = "images" if frame.x.ndim == 4 else "points"
        sampler = sampler_title(self._asked.sampler) if self._asked is not None else ""
        self.note.setText(f"{len(frame.x):,} {items} · {frame.seconds:.1f} s · {sampler}")
        if frame.nfe and len(frame.x):
            self.rate_measured.emit(frame.seconds / (frame.nfe * len(frame.x)))

    def _say_empty(self, text: str) -> None:
        if self._busy:
            self.stop_requested.emit()
        self._asked = None
        self.images.clear()
        self.images.set_empty_text(text)
        self.particles.set_particles(np.empty((0, 2)))
        self.note.setText(text)
