"""What the Train workspace is put together from: samples, the loss by noise level, scores, and the stage of each."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QFont, QResizeEvent
from PySide6.QtWidgets import QLabel, QSlider, QStackedWidget, QVBoxLayout, QWidget

from studio.app.controls import Panel, Segmented, make_label
from studio.app.theme import ui_font
from studio.app.widgets.heat_map import HeatMap
from studio.app.widgets.image_grid import ImageGrid
from studio.app.widgets.particles import Particles
from studio.app.widgets.plots import LEFT, LivePlot
from studio.app.widgets.scale import number
from studio.core.events import HeldOut, Preview, Progress, Quality

MOST_PREVIEWS = 240
_ANY_WIDTH = (1 << 24) - 1  # Qt's own limit
LEVELS = "Loss by noise level"
QUANTITIES = {"image": "FD", "points": "Sliced W2"}
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
        self.training = HeatMap(title=LEVELS)
        self.held_out = HeatMap(title=LEVELS)
        self.training.setAccessibleName(f"{LEVELS}, training")
        self.held_out.setAccessibleName(f"{LEVELS}, held out")
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
        self.plots = {kind: _score_plot(name) for kind, name in QUANTITIES.items()}
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
