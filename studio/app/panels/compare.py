"""The Compare workspace: lanes from the same noise, their quality, tables of settings, near copies, and rewinding.

Each page (:mod:`studio.app.panels.compare_page`) asks for its own jobs and has a lane of the window for them. The lanes
are chosen on the first page; the next three speak of the same ones, the last of the chosen model.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QHBoxLayout, QStackedWidget, QVBoxLayout, QWidget

from studio.app.controls import ElidedLabel, Segmented
from studio.app.panels.compare_grid import GridPage
from studio.app.panels.compare_lanes import LanesPage
from studio.app.panels.compare_nearest import NearestPage
from studio.app.panels.compare_page import Lineup, Page
from studio.app.panels.compare_quality import QualityPage
from studio.app.panels.compare_rewind import RewindPage
from studio.core import events
from studio.core.checkpoints.header import Header
from studio.core.schedules import NoiseSchedule

_ABOUT = {
    "Lanes": "different samplers and models, from the same noise",
    "Quality": "scores over the work they take, with the spread over seeds",
    "Grid": "one lane over two of its settings",
    "Nearest": "is anything copied from the training data?",
    "Rewind": "the chosen model at several steps of its training",
}


class ComparePanel(QWidget):
    """The workspace: a switch between its pages, the page, and the page's settings at the right.

    F5 does again what the page shows, Ctrl+E exports it.
    """

    told = Signal(str)
    """A line for the status bar, of the page in front."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.lanes, self.quality, self.grid, self.nearest = LanesPage(), QualityPage(), GridPage(), NearestPage()
        self.rewind = RewindPage()
        self.pages: dict[str, Page] = {
            "Lanes": self.lanes,
            "Quality": self.quality,
            "Grid": self.grid,
            "Nearest": self.nearest,
            "Rewind": self.rewind,
        }
        self._headers: dict[Path, Header] = {}
        self._model: Path | None = None
        self._arrange()
        self.switch.valueChanged.connect(lambda name: self.show_page(str(name)))
        self.lanes.lineup_changed.connect(self._share)
        self.lanes.rate_measured.connect(self.quality.set_rate)
        for name, page in self.pages.items():
            page.told.connect(lambda text, name=name: self._tell(name, text))
        self.show_page("Lanes")

    # What the window says

    def set_models(self, headers: Mapping[Path, Header]) -> None:
        """All models of the library."""
        self._headers = dict(headers)
        if self._model is not None and self._model not in self._headers:
            return  # it was deleted; the window chooses another
        self.lanes.set_models(self._headers)
        if self._model is not None:
            self.rewind.look_again(self._headers[self._model])

    def set_model(self, path: str, header: Header, schedule: NoiseSchedule) -> None:
        """The model chosen in the library; lanes that name no other sample from it."""
        self._model = Path(path)
        self._headers[self._model] = header
        self.lanes.set_model(self._model, header)
        self.rewind.set_model(path, header)

    def set_data_points(self, points: NDArray) -> None:
        """The real data of a point set, (M, D)."""
        self.lanes.set_data_points(points)
        self.nearest.particles.set_data_points(points)

    def receive(self, event: events.Event) -> None:
        """Take any message, as if it were of the page in front; the window gives each page its own."""
        self.pages[self.page()].receive(event)

    # Pages

    def page(self) -> str:
        """The name of the page in front."""
        return str(self.switch.value())

    def show_page(self, name: str) -> None:
        """Bring a page to the front."""
        if self.switch.value() != name:
            self.switch.setValue(name)
            return
        self._stack.setCurrentWidget(self.pages[name])
        self._sides.setCurrentWidget(self.pages[name].side)
        self._sides.setVisible(not self.pages[name].wide)
        self.about.setText(_ABOUT.get(name, ""))

    def state(self) -> dict[str, Any]:
        """Page and settings as plain values, for the settings file."""
        return {"page": self.page(), **{name: page.state() for name, page in self.pages.items()}}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what :meth:`state` gave; what is missing or impossible is left as it is."""
        for name, page in self.pages.items():
            kept = state.get(name)
            if isinstance(kept, Mapping):
                page.restore(kept)
        if state.get("page") in self.pages:
            self.show_page(str(state["page"]))

    def _share(self, lineup: Lineup) -> None:
        for page in (self.quality, self.grid, self.nearest):
            page.set_lineup(lineup)

    def _tell(self, name: str, text: str) -> None:
        if name == self.page():
            self.told.emit(text)

    def _arrange(self) -> None:
        self.switch = Segmented([(name, name) for name in self.pages])
        self.about = ElidedLabel("", "muted")
        top = QHBoxLayout()
        top.setContentsMargins(0, 0, 0, 0)
        top.setSpacing(12)
        top.addWidget(self.switch)
        top.addWidget(self.about, 1)
        self._stack, self._sides = QStackedWidget(), QStackedWidget()
        for page in self.pages.values():
            self._stack.addWidget(page)
            self._sides.addWidget(page.side)
        self._sides.setFixedWidth(self.lanes.side.width())
        column = QVBoxLayout()
        column.setContentsMargins(16, 12, 16, 16)
        column.setSpacing(12)
        column.addLayout(top)
        column.addWidget(self._stack, 1)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(0)
        row.addLayout(column, 1)
        row.addWidget(self._sides)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        # Not shortcuts of the window: these keys belong to the Trajectory workspace while that one is in front.
        control = event.modifiers() == Qt.KeyboardModifier.ControlModifier
        if event.key() == Qt.Key.Key_F5 or (control and event.key() == Qt.Key.Key_R):
            self.pages[self.page()].refresh()
        elif control and event.key() == Qt.Key.Key_E:
            self.pages[self.page()].export()
        else:
            super().keyPressEvent(event)
