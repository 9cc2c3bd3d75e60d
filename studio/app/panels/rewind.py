"""Training, rewound: what a model believed at several steps of its training, at every noise level of one sampling run.

The table follows one image; beside it stand all of them at the current cell. Two sliders move that cell, one through
the training and one from noise to sample, and Play walks through the training at one noise level.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtGui import QHideEvent, QKeyEvent
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QPushButton, QSlider, QStackedWidget, QVBoxLayout, QWidget

from studio.app import theme
from studio.app.controls import ElidedLabel, Panel, make_label
from studio.app.forms import KnobForm
from studio.app.widgets.image_grid import ImageGrid
from studio.app.widgets.image_table import ImageTable
from studio.app.widgets.particles import Particles
from studio.core import events
from studio.core.checkpoints.header import Header
from studio.core.files import explain
from studio.core.knobs import knobs_of
from studio.core.sampling import SampleKnobs, SampleSpec, few_steps
from studio.session.rewind import NO_SNAPSHOTS, RewindJob, snapshots_of

_KNOBS = ("steps", "seed", "label", "guidance")
_COUNTS = {"image": 36, "points": 1000}
_EXTENT = 2.8
_PLAY_MILLISECONDS = 400
_WAITING = "Press Rewind to see how this model learned to denoise."
_NO_MODEL = "Choose a model that was trained here: its training can be rewound."
_SIDE = 372
_NOWHERE = np.empty((0, 2))


class RewindView(QWidget):
    """The view. It asks for runs and shows what they tell; Space plays."""

    requested = Signal(object)
    """A :class:`~studio.session.rewind.RewindJob` that shall replace the one before."""
    stop_requested = Signal()
    """The run that goes on shall end; what it told stays."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._path = Path()
        self._header: Header | None = None
        self._kind: Literal["image", "points"] = "image"
        self._tiles: dict[tuple[int, int], events.Tile] = {}
        self._shape: events.TableShape | None = None
        self._image = 0
        self._job_id = -1
        self._busy = False
        self._following = True  # the newest tile, until the person goes somewhere
        self.table = ImageTable("What the network believes, by training step and noise level")
        self.grid, self.particles = ImageGrid(name="All images at the current place"), Particles()
        self.training, self.noise = _slider("Training step"), _slider("Noise level")
        self.play_button, self.button = QPushButton("Play"), QPushButton("Rewind")
        self.form = KnobForm(tuple(replace(k, advanced=False) for k in knobs_of(SampleKnobs) if k.name in _KNOBS))
        self.form.set_values({"guidance": 0.0})
        self.caption = make_label(" ", "muted", wrap=True)
        self.hint = ElidedLabel("")
        self._play_timer = QTimer(self, interval=_PLAY_MILLISECONDS)
        self._lay_out()
        self.table.current_changed.connect(self._go)
        self.training.valueChanged.connect(lambda row: self._go(row, self.table.current[1]))
        self.noise.valueChanged.connect(lambda column: self._go(self.table.current[0], column))
        self.grid.clicked.connect(self._follow_image)
        self.play_button.clicked.connect(self.toggle_play)
        self.button.clicked.connect(self._press)
        self.form.validity_changed.connect(lambda _: self._refresh())
        self._play_timer.timeout.connect(self._advance)
        self._clear(_NO_MODEL)
        self.button.setEnabled(False)

    # What the window says

    def set_model(self, path: str, header: Header) -> None:
        """Turn to another model; a model without snapshots says so."""
        self._path, self._kind, self._header = Path(path), header.kind, header  # type: ignore[assignment]
        self._job_id += 1  # what the model before still sends is older than anything of this one
        self._image = 0
        try:
            problem = "" if snapshots_of(self._path, header.step) else NO_SNAPSHOTS
        except OSError as error:
            problem = explain(error, self._path)
        self._clear(problem or _WAITING)
        self._possible = not problem
        self.form.set_knob_enabled("label", bool(header.class_names), "This model knows no classes.")
        self.form.set_knob_enabled("guidance", bool(header.class_names), "This model knows no classes.")
        self._pages.setCurrentWidget(self.grid if header.kind == "image" else self.particles)
        self._refresh()

    def receive(self, event: events.Event) -> None:
        """Show a message of the newest job; those of an older one, or that say nothing here, are passed over."""
        if event.job_id < self._job_id:
            return
        match event:
            case events.TableShape():
                self._begin(event)
            case events.Tile() if self._shape is not None:
                self._take(event)
            case events.Status():
                self.hint.setText(event.text)
            case events.Failed():
                if self._shape is None:
                    self.table.set_empty_text(event.summary)
                self.hint.setText(event.summary)
                self.set_busy(False)
            case events.Finished():
                if event.outcome != "failed":
                    self.hint.setText("")
                self.set_busy(False)

    def set_busy(self, busy: bool) -> None:
        """A run goes on, or none does."""
        self._busy = busy
        self._refresh()

    def current(self) -> tuple[int, int]:
        """Row (training) and column (noise) of the cell that is shown."""
        return self.table.current

    def job(self) -> RewindJob:
        """What the controls ask for. Raises ValueError for a setting that is not possible."""
        knobs = SampleKnobs(**self.form.values(), count=_COUNTS[self._kind])  # type: ignore[arg-type]
        own = (self._header and few_steps(self._header)) or SampleSpec()
        return RewindJob(self._path, replace(own, knobs=replace(knobs, clip=own.knobs.clip)))

    def look_again(self, header: Header) -> None:
        """A training may have left its first snapshots since the model was chosen; ``header`` is of its file now."""
        if not self._possible and self._header is not None:
            self.set_model(str(self._path), header)

    def has_tiles(self) -> bool:
        """Whether anything is shown."""
        return bool(self._tiles)

    def add_button(self, button: QPushButton) -> None:
        """Put another button beside the one that rewinds."""
        self._buttons.addWidget(button)

    # Tiles

    def _begin(self, shape: events.TableShape) -> None:
        now = self._shape
        same = now is not None and (now.rows, now.columns) == (shape.rows, shape.columns) and not self._following
        self._job_id, self._shape, self._tiles = shape.job_id, shape, {}
        self.table.set_table(shape.rows, shape.columns, shape.row_title, shape.column_title)
        self._following = not same
        for slider, count in ((self.training, len(shape.rows)), (self.noise, len(shape.columns))):
            slider.blockSignals(True)
            slider.setRange(0, count - 1)
            slider.blockSignals(False)
        self._show()

    def _take(self, tile: events.Tile) -> None:
        self._tiles[tile.row, tile.column] = tile
        self.table.set_tile(tile.row, tile.column, tile.images, min(self._image, len(tile.images) - 1), tile.caption)
        if self._following:
            self.table.set_current(tile.row, tile.column)
            self._show()
        elif (tile.row, tile.column) == self.table.current:
            self._show()

    def _go(self, row: int, column: int) -> None:
        """The person goes to a cell."""
        self._following = False
        self.table.set_current(row, column)
        self._show()

    def _follow_image(self, index: int) -> None:
        """Let the table follow another image."""
        self._image = index
        for (row, column), tile in self._tiles.items():
            self.table.set_tile(row, column, tile.images, index, tile.caption)
        self._name_image()

    def _show(self) -> None:
        """Everything beside the table, for its current cell."""
        row, column = self.table.current
        for slider, value in ((self.training, row), (self.noise, column)):
            slider.blockSignals(True)
            slider.setValue(value)
            slider.blockSignals(False)
        assert self._shape is not None
        self._where[0].setText(f"step {self._shape.rows[row]}")
        name = self._shape.columns[column]
        self._where[1].setText(name if name.isalpha() else f"log-SNR {name}")
        tile = self._tiles.get((row, column))
        self.caption.setText(tile.caption[:1].upper() + tile.caption[1:] + "." if tile else "Still to come.")
        if tile is None:
            self.grid.clear()
            self.particles.set_particles(_NOWHERE)
        elif tile.images.ndim == 2:
            self.particles.set_particles(tile.images)
        else:
            self.grid.set_images(tile.images)
            self.grid.set_selected(min(self._image, len(tile.images) - 1))
        self._refresh()

    # Playing

    def toggle_play(self) -> None:
        """Walk through the training at this noise level, from the start if this is the end; or stop."""
        if self._play_timer.isActive():
            self._stop_playing()
        elif self.table.num_rows() > 1:
            if self.table.current[0] == self.table.num_rows() - 1:
                self._go(0, self.table.current[1])
            self._play_timer.start()
            self.play_button.setText("Pause")

    def _advance(self) -> None:
        row, column = self.table.current
        if row + 1 < self.table.num_rows():
            self._go(row + 1, column)
        if row + 2 >= self.table.num_rows():
            self._stop_playing()

    def _stop_playing(self) -> None:
        self._play_timer.stop()
        self.play_button.setText("Play")

    # Making and refreshing

    def _lay_out(self) -> None:
        self._possible = False
        self._table_panel = Panel("Rewind")
        self._table_panel.add_header_widget(self.hint)
        self._table_panel.content.addWidget(self.table, 1)
        self.play_button.setFixedWidth(68)
        self.play_button.setToolTip("Walk through the training at this noise level (Space)")
        self._where = make_label("–", "mono"), make_label("–", "mono")
        rows = QGridLayout()
        rows.setHorizontalSpacing(10)
        rows.setColumnStretch(1, 1)
        for line, (name, slider) in enumerate((("Training", self.training), ("Noise", self.noise))):
            rows.addWidget(make_label(name, "muted"), line, 0)
            rows.addWidget(slider, line, 1)
            self._where[line].setFixedWidth(self._where[line].fontMetrics().horizontalAdvance("step 000,000,000"))
            rows.addWidget(self._where[line], line, 2)
        under = QHBoxLayout()
        under.setSpacing(12)
        under.addWidget(self.play_button)
        under.addLayout(rows, 1)
        self._table_panel.content.addLayout(under)
        self._pages = QStackedWidget()
        self._pages.addWidget(self.grid)
        self._pages.addWidget(self.particles)
        self.particles.set_range(_EXTENT)
        self._all_panel = Panel("All images")
        self._all_panel.content.addWidget(self._pages, 1)
        self._all_panel.content.addWidget(self.caption)
        self.caption.setMinimumHeight(32)
        ask = Panel()
        ask.content.addWidget(self.form)
        self._buttons = QHBoxLayout()
        self._buttons.setSpacing(8)
        self._buttons.addWidget(self.button, 1)
        ask.content.addLayout(self._buttons)
        side = QWidget()
        side.setFixedWidth(_SIDE)
        column = QVBoxLayout(side)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(12)
        column.addWidget(self._all_panel, 1)
        column.addWidget(ask)
        layout = QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(12)
        layout.addWidget(self._table_panel, 1)
        layout.addWidget(side)

    def _clear(self, text: str) -> None:
        self._stop_playing()
        self._tiles, self._shape, self._following = {}, None, True
        self.table.clear()
        self.table.set_empty_text(text)
        self.grid.clear()
        self.particles.set_particles(_NOWHERE)
        self.caption.setText(" ")
        self.hint.setText("")
        for slider, where in zip((self.training, self.noise), self._where, strict=True):
            slider.blockSignals(True)
            slider.setRange(0, 0)
            slider.blockSignals(False)
            where.setText("–")
        self._refresh()

    def _name_image(self) -> None:
        told = f"the table follows number {self._image + 1}; click another" if self._tiles else ""
        points = self._kind == "points"
        self._all_panel.set_title("All points" if points else "All images", "" if points else told)

    def _refresh(self) -> None:
        """Bring buttons and names in line with what there is."""
        there = self._shape is not None
        for widget in (self.training, self.noise, self.play_button):
            widget.setEnabled(there)
        self._name_image()
        self.button.setText("Stop" if self._busy else "Rewind")
        theme.restyle(self.button, primary=not self._busy)
        self.button.setEnabled(self._busy or (self._possible and self.form.is_valid()))
        self.button.setToolTip(
            "End the run; what has come stays."
            if self._busy
            else "Sample with the snapshots of this training, all from the same noise."
            if self._possible
            else "There are no snapshots of this model's training."
        )

    def _press(self) -> None:
        if self._busy:
            self.stop_requested.emit()
        else:
            self.requested.emit(self.job())

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self._stop_playing()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Space and self.play_button.isEnabled():
            self.toggle_play()
        else:
            super().keyPressEvent(event)


def _slider(name: str) -> QSlider:
    slider = QSlider(Qt.Orientation.Horizontal)
    slider.setAccessibleName(name)
    slider.setRange(0, 0)
    slider.setPageStep(1)
    return slider
