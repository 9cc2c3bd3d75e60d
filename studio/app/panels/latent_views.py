"""What the latent workspace shows: the result, and the draws of one step at a time.

Images are sheets of sharp pictures. Points are particles: the net of the pad's 25 latents with the result's own way
from noise, and the cloud of a step's draws, each over the data.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QLabel, QPushButton, QStackedWidget, QVBoxLayout, QWidget

from studio.app.controls import Panel, make_label
from studio.app.panels.trajectory_controls import CalmScrollArea
from studio.app.widgets.image_grid import ImageGrid
from studio.app.widgets.particles import Particles
from studio.session.latent import NUM_DRAWS, SIDE

SPREAD = (
    "How far the draws lie apart: root mean square of their difference to their mean, over the draws and all their "
    "numbers, divided by the standard deviation of the data. 0: this step's z changes nothing. About 1: as different "
    "as items of the data."
)
_PURPOSE = (
    "Here you hold the latent z of a Denoising Diffusion GAN: a generator that takes a few big steps and draws a z at "
    "each, which decides what the step makes. Move through z and see the sample follow, vary one step alone, walk from "
    "one z to another. Choose a model of the method DDGAN, whose steps draw a z."
)
_TEXT_WIDTH, _BUTTON_WIDTH = 460, 240
_LONGEST = 40  # letters of a title on a button
_MOST_OFFERS = 3
_EXTENT, _CLOUD_EXTENT = 3.0, 2.4
_ROW_HEIGHT, _TALL_ROW, _ROW_GAP = 38, 64, 2
_HEAD = 56  # a panel's header and margins


class ResultView(Panel):
    """The sample of the z in hand, as large as there is room."""

    def __init__(self) -> None:
        super().__init__("Result")
        self.picture = ImageGrid(columns=1, name="Result")
        self.particles = Particles()
        self.particles.setAccessibleName("Where the latents of the pad land")
        self.particles.set_range(_EXTENT)
        self._stack = QStackedWidget()
        self._stack.addWidget(self.picture)
        self._stack.addWidget(self.particles)
        self.content.addWidget(self._stack, 1)
        self.keep_button = QPushButton("Keep")
        self.keep_button.setProperty("chip", True)
        self.keep_button.setToolTip("Keep the z of this sample, with its start, noise and class (K)")
        self.add_header_widget(self.keep_button)

    def set_kind(self, is_image: bool) -> None:
        """Images or points come here; whatever was shown goes."""
        self._stack.setCurrentWidget(self.picture if is_image else self.particles)
        self.picture.clear()
        self.picture.set_empty_text("Sampling…")
        self.particles.clear()
        self.particles.set_range(_EXTENT)

    def show_image(self, image: NDArray) -> None:
        """A picture (C, H, W) uint8."""
        self.picture.set_images(image[None])

    def show_points(self, landed: NDArray | None, path: NDArray) -> None:
        """Where the pad's latents land, (25, D) or None while they are not known, and a particle's ``path`` (N, D)."""
        self.particles.set_particles(path[-1:] if landed is None else np.concatenate([landed, path[-1:]]))
        self.particles.set_marked(path[-1])
        if path.shape[1] != 2:
            return
        lines = [path]
        if landed is not None:
            net = landed.reshape(SIDE, SIDE, 2)
            lines += [*net, *net.swapaxes(0, 1)]
        self.particles.set_trails(lines)


class StripView(Panel):
    """A row (images) or a cloud (points) for each step: draws of its z with all else as it is, and their spread."""

    taken = Signal(int, int)
    """A step's index and which of its draws shall be in hand."""

    def __init__(self) -> None:
        super().__init__("Vary one step only", "eleven draws of z at one step, all else held · click one to take it")
        self._holder = QWidget()
        outer = QVBoxLayout(self._holder)
        outer.setContentsMargins(0, 0, 0, 0)
        self._body: QWidget | None = None
        self.sheets: list[ImageGrid] = []
        self.clouds: list[Particles] = []
        self.spreads: list[QLabel] = []
        self._area = CalmScrollArea(self._holder)
        self.content.addWidget(self._area, 1)

    def set_steps(self, count: int, is_image: bool) -> None:
        """Make room for ``count`` steps, empty."""
        if self._body is not None:
            self._body.hide()
            self._body.deleteLater()
        self._body = QWidget()
        self.sheets, self.clouds = [], []
        self.spreads = [make_label("", "mono") for _ in range(count)]
        for label in self.spreads:
            label.setToolTip(f"Spread\n{SPREAD}")
        if is_image:
            self.set_subtitle("eleven draws of z at one step, all else held · click one to take it")
            self._lay_rows(count)
        else:
            self.set_subtitle("two hundred draws of z at one step, all else held")
            self._lay_clouds(count)
        layout = self._holder.layout()
        assert layout is not None
        layout.addWidget(self._body)

    def show_draws(self, row: int, items: NDArray, spread: float) -> None:
        """What became of the draws of a step, by its index."""
        if row >= len(self.spreads) or (items.ndim == 4) != bool(self.sheets):
            return
        if self.sheets:
            self.sheets[row].set_images(items)
        else:
            self.clouds[row].set_particles(items)
        self.spreads[row].setText(f"spread {spread:.3f}")

    def set_taken(self, row: int | None, draw: int = 0) -> None:
        """Outline a draw that was taken; None: none."""
        for index, sheet in enumerate(self.sheets):
            sheet.set_selected(draw if index == row and draw < len(sheet) else None)

    def set_data_points(self, points: NDArray) -> None:
        """The real data behind the clouds, (M, D)."""
        for cloud in self.clouds:
            cloud.set_data_points(points)

    def _lay_rows(self, count: int) -> None:
        assert self._body is not None
        grid = QGridLayout(self._body)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(12)
        grid.setVerticalSpacing(_ROW_GAP)
        grid.setColumnStretch(1, 1)
        grid.setRowStretch(count, 1)
        for row in range(count):
            sheet = ImageGrid(columns=NUM_DRAWS, name=f"Draws of z at step {count - row}")
            sheet.set_empty_text("")
            sheet.clicked.connect(functools.partial(self.taken.emit, row))
            self.sheets.append(sheet)
            label = make_label(f"step {count - row}", "muted")
            self.spreads[row].setMinimumWidth(92)
            grid.addWidget(label, row, 0)
            grid.addWidget(sheet, row, 1)
            grid.addWidget(self.spreads[row], row, 2)
        self._fit_rows()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit_rows()

    def _fit_rows(self) -> None:
        """Give all rows the same height, so that their pictures are of one size; where they must scroll, a good one."""
        count = len(self.sheets)
        for sheet in self.sheets:
            height = (self.height() - _HEAD - (count - 1) * _ROW_GAP) // count
            sheet.setFixedHeight(height if height >= _ROW_HEIGHT else _TALL_ROW)

    def _lay_clouds(self, count: int) -> None:
        assert self._body is not None
        line = QHBoxLayout(self._body)
        line.setContentsMargins(0, 0, 0, 0)
        line.setSpacing(16)
        for row in range(count):
            cloud = Particles()
            cloud.setAccessibleName(f"Draws of z at step {count - row}")
            cloud.set_range(_CLOUD_EXTENT)
            self.clouds.append(cloud)
            head = QHBoxLayout()
            head.addWidget(make_label(f"step {count - row}", "muted"), 1)
            head.addWidget(self.spreads[row], 0, Qt.AlignmentFlag.AlignRight)
            column = QVBoxLayout()
            column.setSpacing(4)
            column.addLayout(head)
            column.addWidget(cloud, 1)
            line.addLayout(column, 1)


class NoLatent(QWidget):
    """What the workspace is for, and how to come to a model that it is for."""

    model_requested = Signal(str)
    train_requested = Signal()
    starts_requested = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._title, self._text = make_label("", "title"), make_label(_PURPOSE, "muted", wrap=True)
        self._hint = make_label("", "faint", wrap=True)
        self.buttons: list[QPushButton] = []
        self.train_button = QPushButton("Train one…")
        self.train_button.setToolTip("Show the Train workspace: choose a preset with DDGAN in its name there")
        self.train_button.clicked.connect(self.train_requested)
        self.train_button.setMinimumWidth(_BUTTON_WIDTH)
        self._below = QVBoxLayout()
        self._below.setSpacing(8)
        self._below.addWidget(self.train_button, 0, Qt.AlignmentFlag.AlignHCenter)
        self.starts_button = QPushButton("Walk between its starting noises")
        self.starts_button.setProperty("flat", True)
        self.starts_button.setToolTip(
            "Show the Trajectory workspace: keep the starting noises of two images there as A and B, and walk from one "
            "to the other (slerp)"
        )
        self.starts_button.clicked.connect(self.starts_requested)
        self._below.addWidget(self.starts_button, 0, Qt.AlignmentFlag.AlignHCenter)
        middle = QWidget()
        middle.setFixedWidth(_TEXT_WIDTH)
        column = QVBoxLayout(middle)
        column.setSpacing(8)
        column.addStretch(2)
        for label in (self._title, self._text):
            label.setAlignment(Qt.AlignmentFlag.AlignCenter)
            column.addWidget(label)
        column.addSpacing(8)
        column.addLayout(self._below)
        self._hint.setAlignment(Qt.AlignmentFlag.AlignCenter)
        column.addWidget(self._hint)
        column.addStretch(3)
        line = QHBoxLayout(self)
        line.addStretch(1)
        line.addWidget(middle)
        line.addStretch(1)
        self.offer([], "")

    def has_focus(self) -> bool:
        """Whether the keys go to one of its buttons."""
        return any(button.hasFocus() for button in (*self.buttons, self.train_button, self.starts_button))

    def offer(self, models: Sequence[tuple[str, str]], title: str, *, has_starts: bool = False) -> None:
        """Name the model at hand, if one is, and put forward models by (path, title) that have a latent.

        ``has_starts``: it has starting noises that one can walk between.
        """
        self.starts_button.setVisible(has_starts)
        self._title.setText(f"{title} has no latent to hold" if title else "No model is open")
        for button in self.buttons:
            self._below.removeWidget(button)
            button.hide()
            button.deleteLater()
        self.buttons = []
        for place, (path, name) in enumerate(models[:_MOST_OFFERS]):
            button = QPushButton(f"Open {name}" if len(name) <= _LONGEST else f"Open {name[: _LONGEST - 1]}…")
            button.setProperty("primary", place == 0)
            button.setMinimumWidth(_BUTTON_WIDTH)
            button.clicked.connect(functools.partial(self.model_requested.emit, path))
            self._below.insertWidget(place, button, 0, Qt.AlignmentFlag.AlignHCenter)
            self.buttons.append(button)
        others = len(models) - len(self.buttons)
        self._hint.setText(
            f"{others} more in the library: their method is DDGAN."
            if others > 0
            else ""
            if models
            else "There is none in the library yet. A few minutes of training give one."
        )
