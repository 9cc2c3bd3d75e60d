"""Memorisation: samples beside the training items nearest to them, against how near real test items come."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QMouseEvent, QPainter, QPaintEvent, QPen, QShowEvent
from PySide6.QtWidgets import QPushButton, QSizePolicy, QStackedWidget, QWidget

from studio.app import theme
from studio.app.controls import Choice, ElidedLabel, Field, Panel, make_label
from studio.app.forms import KnobForm
from studio.app.panels.compare_export import write_csv, write_png, write_script
from studio.app.panels.compare_page import Lineup, Page, section
from studio.app.panels.method_picker import parsed
from studio.app.widgets import scale
from studio.app.widgets.image_grid import ImageGrid
from studio.app.widgets.particles import Particles
from studio.app.widgets.pictures import role_color
from studio.app.widgets.plots import axis_ticks
from studio.core import events
from studio.core.knobs import knobs_of
from studio.core.pictures import mosaic
from studio.core.sampling import SampleKnobs
from studio.session.compare import NeighbourJob, command

_COUNT = dataclasses.replace(
    next(knob for knob in knobs_of(SampleKnobs) if knob.name == "count"), high=64, default=24, log=False
)
_POINTS = 500
_MANY = 100  # marks that lie on one another are drawn through
_PAIR_GAP = 1


class DistanceStrip(QWidget):
    """Distances as marks over a band: where real test items lie, from the 1 % to the 99 % point, and their median."""

    clicked = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self._distances = np.empty(0)
        self._typical = np.zeros(3)
        self._selected: int | None = None
        self.setFixedHeight(76)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setAccessibleName("Distances to the nearest training item")
        theme.notifier().changed.connect(self.update)

    def show_distances(self, distances: np.ndarray, typical: np.ndarray, selected: int | None) -> None:
        """Draw these (B,) distances against the (3,) typical ones."""
        self._distances, self._typical, self._selected = distances, typical, selected
        self.update()

    def place_of(self, distance: float) -> float:
        """Where a distance is drawn, in pixels from the left."""
        return 14.0 + distance / self._top() * (self.width() - 28.0)

    def _top(self) -> float:
        most = max(float(self._distances.max(initial=0.0)), float(self._typical.max(initial=0.0)), 1e-6)
        return scale.fit_linear(0.0, 1.02 * most)[1]

    def sizeHint(self) -> QSize:
        return QSize(400, 76)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setFont(theme.ui_font(11))
        top = self._top()
        low, middle, high = (self.place_of(float(value)) for value in self._typical)
        if len(self._distances):
            band = role_color("series_raw")
            band.setAlphaF(0.22)
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(band)
            painter.drawRoundedRect(QRectF(low, 20, max(high - low, 1.0), 18), 3, 3)
            painter.setPen(QPen(role_color("series_raw"), 1.5))
            painter.drawLine(QPointF(middle, 20), QPointF(middle, 38))
            painter.setPen(role_color("text_muted"))
            words = "98 % of real test items"
            width = painter.fontMetrics().horizontalAdvance(words)
            left = min(max(low, 4.0), self.width() - width - 4.0)
            painter.drawText(QRectF(left, 2, width + 4, 16), Qt.AlignmentFlag.AlignVCenter, words)
        for index, distance in enumerate(self._distances.tolist()):
            near = distance < self._typical[0]
            chosen = index == self._selected
            color = role_color("series_limit" if near else "accent")
            if len(self._distances) > _MANY:
                color.setAlphaF(0.35)
            painter.setPen(QPen(role_color("panel"), 1.0) if len(self._distances) <= _MANY else Qt.PenStyle.NoPen)
            painter.setBrush(color)
            center, radius = QPointF(self.place_of(distance), 29), 5.5 if chosen else 3.75
            if near:  # a square: never by colour alone
                painter.drawRect(QRectF(center.x() - radius, center.y() - radius, 2 * radius, 2 * radius))
            else:
                painter.drawEllipse(center, radius, radius)
            if chosen:
                painter.setBrush(Qt.BrushStyle.NoBrush)
                painter.setPen(QPen(role_color("text"), 1.5))
                painter.drawEllipse(center, radius + 2.5, radius + 2.5)
        painter.setPen(QPen(role_color("border"), 1))
        painter.drawLine(QPointF(self.place_of(0), 44), QPointF(self.place_of(top), 44))
        painter.setPen(role_color("text_muted"))
        for value, label in zip(*axis_ticks((0.0, top), self.width(), 80.0, False), strict=True):
            at = self.place_of(value)
            painter.drawText(QRectF(at - 30, 46, 60, 14), Qt.AlignmentFlag.AlignCenter, label)
        name = "distance to the nearest training item"
        painter.drawText(QRectF(0, 60, self.width(), 15), Qt.AlignmentFlag.AlignCenter, name)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if len(self._distances):
            places = np.array([self.place_of(value) for value in self._distances.tolist()])
            self.clicked.emit(int(np.abs(places - event.position().x()).argmin()))


class NearestPage(Page):
    """Pairs of sample and nearest training item, the nearest pair first."""

    def __init__(self) -> None:
        super().__init__()
        self._job: NeighbourJob | None = None
        self._found: events.Neighbours | None = None
        self._order = np.empty(0, int)
        self._selected: int | None = None
        self._lane = 0
        self.pairs = ImageGrid(name="Samples beside their nearest training images")
        self.pairs.set_empty_text("No samples yet")
        self.particles = Particles()
        self.particles.set_range(3.2)
        self._stack = QStackedWidget()
        self._stack.addWidget(self.pairs)
        self._stack.addWidget(self.particles)
        self.strip = DistanceStrip()
        self.caption = ElidedLabel("", "muted")
        self.panel = Panel("Nearest training items", "")
        self.panel.content.addWidget(self._stack, 1)
        self.panel.content.addWidget(self.caption)
        self.strip_panel = Panel()
        self.strip_panel.content.addWidget(self.strip)
        self.body.addWidget(self.panel, 1)
        self.body.addWidget(self.strip_panel)
        self.lane = Choice()
        self.lane.setObjectName("nearest lane")
        self.count = KnobForm((_COUNT,))
        self.verdict = make_label("", "muted", wrap=True)
        self.note = make_label("", "faint", wrap=True)
        self.find_button = QPushButton("Find nearest")
        self.find_button.setProperty("primary", True)
        self.side.add(section("Samples"), Field("Lane", self.lane, tooltip="Lane\nWhose samples are looked at."))
        self.side.add(self.count, section("Finding"), self.verdict, self.note)
        self.side.buttons.addWidget(self.find_button, 1)
        self.side.buttons.addWidget(self.export_button)
        self.lane.valueChanged.connect(self._lane_picked)
        self.count.changed.connect(self._check)
        self.find_button.clicked.connect(self._find_or_stop)
        self.pairs.clicked.connect(self.select)
        self.strip.clicked.connect(self.select)

    def set_lineup(self, lineup: Lineup) -> None:
        super().set_lineup(lineup)
        self._lane = min(self._lane, max(len(lineup.lanes) - 1, 0))
        self.lane.blockSignals(True)
        self.lane.set_options([(order, title) for order, title in enumerate(lineup.titles)])
        self.lane.setValue(self._lane)
        self.lane.blockSignals(False)
        self.count.setVisible(lineup.is_image)
        self._check()

    def receive(self, event: events.Event) -> None:
        super().receive(event)
        match event:
            case events.Status() if self._found is None:
                self.pairs.set_empty_text(f"{event.text}…")
            case events.Neighbours() if self._job is not None:
                self._show(event)
            case events.Finished() if self._found is None:
                self.pairs.set_empty_text("No samples yet")

    def set_busy(self, busy: bool) -> None:
        super().set_busy(busy)
        self.find_button.setText("Stop" if busy else "Find nearest")
        theme.restyle(self.find_button, primary=not busy)
        self._check()

    def refresh(self) -> None:
        """Sample and look again."""
        self._find()

    def select(self, place: int) -> None:
        """Tell of one pair, counted from the nearest."""
        if self._found is None or not 0 <= place < len(self._order):
            return
        self._selected = place
        if len(self.pairs):
            self.pairs.set_selected(place)
        self._describe()

    # Asking

    def _find_or_stop(self) -> None:
        if self.busy:
            self.stop_requested.emit()
        else:
            self._find()

    def _asked(self) -> NeighbourJob | None:
        if not self.lineup.lanes:
            return None
        lane = self.lineup.lanes[self._lane]
        count = int(self.count.values()["count"] or 1) if self.lineup.is_image else _POINTS
        return NeighbourJob(lane.started(lane.spec.knobs.seed, count))

    def _find(self) -> None:
        job = self._asked()
        if job is not None:
            self._job = job
            self.banner.hide()
            self.job_requested.emit(job)
            self._check()

    # Showing

    def _show(self, found: events.Neighbours) -> None:
        self._found = found
        self._order = np.argsort(found.distances, kind="stable")
        self._selected = 0 if len(self._order) else None
        if found.samples.ndim == 4:
            self._stack.setCurrentWidget(self.pairs)
            self.pairs.set_images(pair_pictures(found.samples[self._order], found.nearest[self._order]))
            self.pairs.set_selected(self._selected)
        else:
            self._stack.setCurrentWidget(self.particles)
            self.particles.set_particles(found.samples, found.nearest)
        near = int((found.distances < found.typical[0]).sum())
        subtitle = (
            "sample at the left of each pair, the nearest first"
            if found.samples.ndim == 4
            else "samples joined to them"
        )
        self.panel.set_subtitle(subtitle)
        items = "images" if found.samples.ndim == 4 else "points"
        self.verdict.setText(
            f"{near} of {len(found.distances):,} samples are nearer to a training item than 99 % of real test {items} "
            f"are. About {0.01 * len(found.distances):.1g} would be chance."
        )
        self._describe()
        self._check()

    def _describe(self) -> None:
        assert self._found is not None
        found = self._found
        sorted_distances = found.distances[self._order]
        self.strip.show_distances(sorted_distances, found.typical, self._selected)
        if self._selected is None:
            self.caption.setText("")
            return
        distance = float(sorted_distances[self._selected])
        low, middle, _ = found.typical.tolist()
        if distance < low:
            verdict = "nearer than 99 % of real test items: is it a copy?"
        elif distance < middle:
            verdict = "within what is usual, on the near side"
        else:
            verdict = "as far as real test items usually are"
        sample = int(self._order[self._selected]) + 1
        self.caption.setText(
            f"Sample {sample} · distance {scale.number(distance)} · "
            f"median of test items {scale.number(middle)} · {verdict}"
        )

    def _check(self, *_: object) -> None:
        job = self._asked()
        self.find_button.setEnabled(self.busy or job is not None)
        stale = self._found is not None and job != self._job
        self.note.setText("What is shown is of other settings." if stale else "")
        self.note.setVisible(stale)

    def _lane_picked(self, lane: object) -> None:
        self._lane = int(lane) if isinstance(lane, int) else 0
        self._check()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        if self._job is None and not self.busy:
            self._find()

    # Export and state

    def export(self) -> None:
        """Write the pairs, their distances and the command that makes the samples again."""
        if self._found is None or self._job is None:
            self.banner.show_info("There are no pairs yet: find them first.")
            return
        folder = self.ask_folder("the pairs")
        if folder is None:
            return
        found, order, lane = self._found, self._order, self._job.lane

        def write() -> str:
            if found.samples.ndim == 4:
                pairs = pair_pictures(found.samples[order], found.nearest[order])
                write_png(folder / "pairs.png", mosaic(pairs, None, 3).repeat(2, 0).repeat(2, 1))
            rows = [(int(index) + 1, f"{found.distances[index]:.6g}") for index in order]
            typical = [
                (f"test items, {share} %", f"{v:.6g}") for share, v in zip((1, 50, 99), found.typical, strict=True)
            ]
            write_csv(folder / "distances.csv", ("sample", "distance"), [*rows, *typical])
            write_script(folder / "reproduce.sh", "Draws the samples again.", [command(lane, "samples.png")])
            return f"Exported {len(rows)} distances to {folder}."

        self.errand_requested.emit(write)

    def state(self) -> dict[str, Any]:
        return {"lane": self._lane, "count": self.count.values()["count"]}

    def restore(self, state: Mapping[str, Any]) -> None:
        count = parsed(_COUNT, state.get("count"))
        if count is not None:
            self.count.set_values({"count": count})
        if isinstance(state.get("lane"), int):
            self._lane = max(int(state["lane"]), 0)


def pair_pictures(samples: np.ndarray, nearest: np.ndarray) -> np.ndarray:
    """(B, C, H, W) uint8 twice as (B, C, H, 2 W + 1), side by side with a thin grey line between."""
    line = np.full((*samples.shape[:3], _PAIR_GAP), 96, np.uint8)
    return np.concatenate([samples, line, nearest], axis=3)
