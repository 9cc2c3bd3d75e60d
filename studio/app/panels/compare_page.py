"""What the pages of the Compare workspace have in common: the lanes they speak of, their settings and their signals."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PySide6.QtCore import QStandardPaths, Qt, Signal
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QFileDialog, QFrame, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from studio.app.controls import Banner, make_label
from studio.app.panels.learned import told
from studio.app.panels.trajectory_controls import CalmScrollArea
from studio.core import events
from studio.core.checkpoints.header import Header
from studio.core.grids import Grid
from studio.core.knobs import knobs_of
from studio.core.samplers.base import sampler_title
from studio.session.compare import LaneSpec, num_steps

WIDTH = 280
_MOST_WARNINGS = 6
Work = Callable[[], str]


@dataclass(frozen=True)
class Lineup:
    """The compared lanes with their titles, all from one start; ``headers`` describe every model at hand."""

    lanes: tuple[LaneSpec, ...] = ()
    titles: tuple[str, ...] = ()
    headers: Mapping[Path, Header] = field(default_factory=dict)
    model: Path | None = None

    def header(self, lane: int) -> Header:
        """What the model of a lane says of itself."""
        return self.headers[self.lanes[lane].path]

    @property
    def is_image(self) -> bool:
        """Whether the lanes make pictures rather than points."""
        return bool(self.lanes) and self.header(0).kind == "image"


class Page(QWidget):
    """A page of the workspace: itself is the centre, ``side`` the right column.

    It runs nothing: it asks for jobs, which replace the one before, and their messages come to :meth:`receive`.
    """

    job_requested = Signal(object)
    stop_requested = Signal()
    errand_requested = Signal(object)
    """A function that writes files and returns what to say of it; it runs in a thread of its own."""
    told = Signal(str)
    """A line for the status bar."""
    changed = Signal()
    """Something that :meth:`state` keeps is different."""
    wide: ClassVar[bool] = False
    """Whether the page takes the place of the right column, too."""

    def __init__(self) -> None:
        super().__init__()
        self.lineup = Lineup()
        self.busy = False
        self._warnings: dict[str, None] = {}
        self._warned_job = -1
        self.banner = Banner()
        self.side = Side()
        self.export_button = QPushButton("Export…")
        self.export_button.clicked.connect(self.export)
        self.body = QVBoxLayout()
        self.body.setContentsMargins(0, 0, 0, 0)
        self.body.setSpacing(12)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(12)
        column.addWidget(self.banner)
        column.addLayout(self.body, 1)

    def set_lineup(self, lineup: Lineup) -> None:
        """Take up other lanes."""
        self.lineup = lineup

    def receive(self, event: events.Event) -> None:
        """Take any message of the page's own job."""
        match event:
            case events.Status():
                self.told.emit(event.text)
            case events.Warned():
                if event.job_id != self._warned_job:
                    self._warned_job, self._warnings = event.job_id, {}
                self._warnings[event.summary] = None
                self.banner.show_info(self._gathered())
            case events.Failed():
                # The failure may speak of the warnings that came before.
                before = f"{self._gathered()}\n" if event.job_id == self._warned_job else ""
                self.banner.show_error(before + event.summary, event.details)
            case events.Finished():
                self.told.emit("" if event.outcome == "failed" else event.outcome.capitalize())

    def _gathered(self) -> str:
        """What the newest job warned of, a line each; the first ones of very many."""
        lines = list(self._warnings)
        more = len(lines) - _MOST_WARNINGS
        return "\n".join([*lines[:_MOST_WARNINGS], *([f"… and {more} more warnings."] if more > 0 else [])])

    def set_busy(self, busy: bool) -> None:
        """A job goes on, or none does."""
        self.busy = busy

    def refresh(self) -> None:
        """Do again what is shown."""

    def export(self) -> None:
        """Ask where, and have everything shown written there with what reproduces it."""

    def state(self) -> dict[str, Any]:
        """What to keep for the next start, as plain values."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what :meth:`state` gave, as far as it is possible."""

    def exported(self, text: str) -> None:
        """The errand has ended well."""
        self.banner.show_info(text)

    def export_failed(self, summary: str, details: str) -> None:
        """The errand has failed."""
        self.banner.show_error(summary, details)

    def ask_folder(self, what: str) -> Path | None:
        """A folder that the person chose to export into."""
        start = QStandardPaths.writableLocation(QStandardPaths.StandardLocation.DocumentsLocation)
        chosen = QFileDialog.getExistingDirectory(self, f"Export {what} into a folder", start)
        return Path(chosen) if chosen else None


class Side(QFrame):
    """The right column: settings that scroll where the window is low, and buttons below them."""

    def __init__(self) -> None:
        super().__init__()
        self.setProperty("surface", "right")
        self.setFixedWidth(WIDTH)
        body = QWidget()
        self._column = QVBoxLayout(body)
        self._column.setContentsMargins(15, 8, 11, 12)
        self._column.setSpacing(8)
        self._column.addStretch(1)
        self.buttons = QHBoxLayout()
        self.buttons.setContentsMargins(15, 8, 15, 16)
        self.buttons.setSpacing(8)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.setSpacing(0)
        whole.addWidget(CalmScrollArea(body), 1)
        whole.addLayout(self.buttons)

    def add(self, *widgets: QWidget) -> None:
        """Put widgets below those that are there."""
        for widget in widgets:
            self._column.insertWidget(self._column.count() - 1, widget)


def section(text: str) -> QLabel:
    """The heading of a group of settings."""
    return make_label(text, "section")


def pixels(image: QImage) -> np.ndarray:
    """A picture of the window as (H, W, 3) uint8."""
    picture = image.convertToFormat(QImage.Format.Format_RGB888)
    rows = np.frombuffer(picture.constBits(), np.uint8).reshape(picture.height(), picture.bytesPerLine())
    return rows[:, : 3 * picture.width()].reshape(picture.height(), picture.width(), 3).copy()


def grid_title(grid: Grid) -> str:
    """The grid, and what is set on it: ``by log-SNR``, ``by log-SNR (from log-SNR -10)``."""
    set_apart = []
    for knob in knobs_of(type(grid)):
        value = getattr(grid, knob.name)
        if knob.kind != "text" and value != knob.default:
            name = knob.label[:1].lower() + knob.label[1:]
            set_apart.append(f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}")
    return f"{grid.title} ({', '.join(set_apart)})" if set_apart else grid.title


def titles_of(lanes: tuple[LaneSpec, ...], headers: Mapping[Path, Header]) -> tuple[str, ...]:
    """A short title for each lane, with its model, grid, guidance and class only where these tell lanes apart."""

    def differ(read: Callable[[LaneSpec], object]) -> bool:
        return len({read(lane) for lane in lanes}) > 1

    models = differ(lambda lane: lane.path)
    grids = differ(lambda lane: lane.spec.grid)
    guidance = differ(lambda lane: lane.spec.knobs.guidance)
    labels = differ(lambda lane: lane.spec.knobs.label)
    clips = differ(lambda lane: lane.spec.knobs.clip)
    found = []
    for lane in lanes:
        knobs = lane.spec.knobs
        parts = [headers[lane.path].title] if models and lane.path in headers else []
        learned = told(lane.spec.grid, lane.spec.sampler, lane.path, headers)
        parts += [sampler_title(lane.spec.sampler, defaults=False), learned or str(num_steps(lane.spec))]
        parts += [grid_title(lane.spec.grid)] if grids and not learned else []
        parts += [f"w {knobs.guidance:g}"] if guidance else []
        parts += [f"class {knobs.label}"] if labels else []
        parts += ["clipped" if knobs.clip else "not clipped"] if clips else []
        found.append(" · ".join(parts))
    return tuple(found)


def left_aligned(button: QPushButton) -> QPushButton:
    """A button whose text stands at the left, as in a list."""
    button.setStyleSheet("text-align: left; padding-left: 8px;")
    button.setCursor(Qt.CursorShape.PointingHandCursor)
    return button
