"""The centre of the trajectory workspace: one frame of a run, where it lies in the run, and the run as curves.

:class:`ImagesView` shows sheets of x_t, x0-hat and eps-hat and a filmstrip of the followed image; :class:`PointsView`
shows particles over the data. Both show a :class:`~studio.app.panels.trajectory_reel.Reel` at a position.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QPointF, QSize, Qt, Signal
from PySide6.QtGui import QImage, QMouseEvent, QResizeEvent
from PySide6.QtWidgets import (
    QBoxLayout,
    QCheckBox,
    QGridLayout,
    QHBoxLayout,
    QPushButton,
    QSlider,
    QStyle,
    QVBoxLayout,
    QWidget,
)

from studio.app import theme
from studio.app.controls import ElidedLabel, Panel, StatTile, make_label
from studio.app.panels.trajectory_reel import Reel, frame_log_snr
from studio.app.widgets.filmstrip import Filmstrip
from studio.app.widgets.image_grid import ImageGrid
from studio.app.widgets.particles import Particles
from studio.app.widgets.pictures import to_pixels, to_qimage
from studio.app.widgets.plots import LivePlot
from studio.core.events import Frame
from studio.core.levels import Level, beta_between

_SPACE = 12
_LEAST_EXTENT = 3.2  # standard normal starts lie within
_SHEET_HEADER = 24  # what a panel's header and margins take more in height than in width
_NARROW, _LEAST_HEIGHT = 600, 380  # pixels: where particles and numbers are not side by side, and how high then
_FILM_COLUMNS = 15  # that fill the width; of a longer film, some steps are left out
_SEEN = "x<sub>t</sub>", "what the network sees"
_FIELD_HELP = "The score times σ: where the network would push a point, longer for further"
_NO_NOISE = "nothing is left to remove"
_STALE = 0.3  # how bright the pictures of an older run are while a newer one replaces them


class Scrubber(QSlider):
    """A slider over the frames: the pointer takes it to where it is, Left, Right, Home and End step."""

    _KNOB = 16  # how wide the style sheet draws the handle

    def __init__(self) -> None:
        super().__init__(Qt.Orientation.Horizontal)
        self.setPageStep(5)
        self.setRange(0, 0)
        self.setAccessibleName("Step")
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            self.setSliderDown(True)
            self._go_to(event.position())

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if self.isSliderDown():
            self._go_to(event.position())

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        self.setSliderDown(False)

    def _go_to(self, place: QPointF) -> None:
        along, room = round(place.x()) - self._KNOB // 2, self.width() - self._KNOB
        self.setValue(QStyle.sliderValueFromPosition(self.minimum(), self.maximum(), along, room))


class Transport(QWidget):
    """One step back, play, one step forward, the scrubber, and "7 / 12"."""

    moved = Signal(int)
    """The person went to this position."""
    play_toggled = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.scrubber = Scrubber()
        self.back_button = _step_button("back", "One step back (Left)")
        self.play_button = QPushButton("Play")
        self.forward_button = _step_button("forward", "One step forward (Right)")
        self._where = make_label("– / –", "mono")
        self._where.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self._where.setMinimumWidth(self._where.fontMetrics().horizontalAdvance("00 / 00"))
        self.play_button.setProperty("primary", True)
        self.play_button.setFixedWidth(68)
        self.play_button.setToolTip("Play from here to the end, or stop (Space)")
        self.play_button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(8)
        for widget in (self.back_button, self.play_button, self.forward_button):
            row.addWidget(widget)
        row.addWidget(self.scrubber, 1)
        row.addWidget(self._where)
        self.setFocusProxy(self.scrubber)
        self.scrubber.valueChanged.connect(self.moved)
        self.back_button.clicked.connect(lambda: self.scrubber.setValue(self.scrubber.value() - 1))
        self.forward_button.clicked.connect(lambda: self.scrubber.setValue(self.scrubber.value() + 1))
        self.play_button.clicked.connect(self.play_toggled)
        self.show_place(None, 0)

    def show_place(self, reel: Reel | None, position: int) -> None:
        """Follow the run; emits nothing."""
        count = len(reel) if reel else 0
        self.scrubber.blockSignals(True)
        self.scrubber.setRange(0, max(count - 1, 0))
        self.scrubber.setValue(position)
        self.scrubber.blockSignals(False)
        self._where.setText(f"{reel.frames[position].index} / {reel.total}" if reel and count else "– / –")
        self.back_button.setEnabled(position > 0)
        self.forward_button.setEnabled(position + 1 < count)
        self.play_button.setEnabled(count > 1)

    def set_playing(self, on: bool) -> None:
        """Name what the play button does."""
        self.play_button.setText("Pause" if on else "Play")

    def where(self) -> str:
        """The place as it is written."""
        return self._where.text()


class StepCurves(QWidget):
    """log-SNR, the change of x0-hat and the norm of eps-hat against the step, with a marker that can be dragged."""

    marker_moved = Signal(float)

    def __init__(self) -> None:
        super().__init__()
        self.plot = LivePlot("step", "RMS", y_range=(0.0, 1.0), x_range=(0.0, 1.0), whole_x=True)
        self.plot.add_series("log_snr", "log-SNR, scaled", "series_smoothed")
        self.plot.add_series("x0_change", "change of x̂₀", "series_held_out")
        self.plot.add_series("eps_norm", "norm of ε̂", "series_gan")
        self.plot.setAccessibleName("Curves of the run")
        self.plot.setToolTip(
            "The norm of ε̂ and the change of x̂₀ since the step before, root mean square per number;\n"
            "log-SNR runs from 0 to 1 over the levels of the run. Drag the line to go to a step."
        )
        self.plot.marker_moved.connect(self.marker_moved)
        self._reel: Reel | None = None
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addWidget(self.plot)

    def show_reel(self, reel: Reel) -> None:
        """Draw the run so far."""
        if reel is not self._reel:
            self._reel = reel
            self.plot.clear()
            self.plot.set_x_extent(0.0, float(reel.total))
        curves = reel.curves()
        for key in ("log_snr", "x0_change", "eps_norm"):
            self.plot.set_data(key, curves["step"], curves[key])

    def show_step(self, step: int | None) -> None:
        """Put the marker at a step, or nowhere."""
        self.plot.set_marker(step, draggable=True)

    def clear(self) -> None:
        """Forget the run."""
        self._reel = None
        self.plot.clear()
        self.plot.set_marker(None)


class View(QWidget):
    """What both centres share: the transport, the curves, and what is told of a step."""

    moved = Signal(int)
    """The person went to this position."""
    followed = Signal(int)
    """The person chose this image."""

    def __init__(self) -> None:
        super().__init__()
        self.transport = Transport()
        self.curves = StepCurves()
        self.hint = ElidedLabel("", "muted")
        self.transport.moved.connect(self.moved)
        self.curves.marker_moved.connect(self._marker_moved)
        self._reel: Reel | None = None

    def show_reel(self, reel: Reel, position: int, image: int) -> None:
        """Draw the run so far, and its frame at ``position``, following ``image``."""
        self._reel = reel
        self.curves.show_reel(reel)
        self.show_position(position, image)

    def show_position(self, position: int, image: int) -> None:
        """Draw another frame of the same run."""
        assert self._reel is not None
        self.transport.show_place(self._reel, position)
        self.curves.show_step(self._reel.frames[position].index)

    def clear(self) -> None:
        """Show no run."""
        self._reel = None
        self.transport.show_place(None, 0)
        self.curves.clear()

    def finish(self) -> None:
        """The run has ended: what is left of an older one goes."""

    def picture(self) -> QImage:
        """What "Save picture…" writes."""
        raise NotImplementedError

    def _marker_moved(self, x: float) -> None:
        if self._reel is not None and len(self._reel):
            position = self._reel.nearest(x)
            self.moved.emit(position)
            # The line stands at steps only, also where the pointer is between two.
            self.curves.show_step(self._reel.frames[position].index)


class ImagesView(View):
    """Three linked sheets, the step with its filmstrip and transport, and the curves."""

    def __init__(self) -> None:
        super().__init__()
        self.grids = {
            "x": _sheet("x_t", "Drawn from −r to r, r² = α² + (2σ)²: two deviations of the noise, or all of an image."),
            "x0": _sheet("x̂₀", "Drawn from −1 to 1, the range of images."),
            "eps": _sheet("ε̂", "Drawn from −2 to 2; grey is 0. The sample itself has none left."),
        }
        self.filmstrip = Filmstrip()
        self._older: list[NDArray[np.uint8]] = []
        self._strip: list[NDArray[np.uint8]] = []
        self._strip_of: tuple[Reel | None, int] = (None, -1)
        self._sheets: list[Panel] = []
        self._waiting = "No samples yet"
        self._at_sample = False
        top = QHBoxLayout()
        top.setSpacing(_SPACE)
        for key, title, subtitle in (
            ("x", *_SEEN),
            ("x0", "x̂<sub>0</sub>", "what it believes"),
            ("eps", "ε̂", "what it would remove"),
        ):
            panel = Panel(title, subtitle)
            panel.content.addWidget(self.grids[key], 1)
            self.grids[key].clicked.connect(self._clicked)
            top.addWidget(panel, 1)
            self._sheets.append(panel)
        self.step_panel = Panel("Step –")
        self.step_panel.add_header_widget(self.hint)
        self.step_panel.content.addWidget(self.filmstrip)
        self.step_panel.content.addWidget(self.transport)
        self.filmstrip.step_selected.connect(self._film_selected)
        self.filmstrip.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(_SPACE)
        column.addLayout(top, 16)
        column.addWidget(self.step_panel)
        column.addWidget(_plot_panel(self.curves), 8)

    def show_reel(self, reel: Reel, position: int, image: int) -> None:
        if reel is not self._reel:
            self._older = self._strip[: reel.total + 1] if len(self._strip) == reel.total + 1 else []
        super().show_reel(reel, position, image)

    def show_position(self, position: int, image: int) -> None:
        assert self._reel is not None
        self._make_strip(image)
        frame = self._reel.frames[position]
        for grid, pictures in zip(self.grids.values(), self._reel.pictures(position), strict=True):
            grid.set_images(pictures)
            grid.set_selected(image)
        self._show_end(frame.sigma == 0.0)
        self.filmstrip.set_current(position)
        told = " · ".join((*_told(frame, self._reel.jump(position)), f"image {image + 1} followed"))
        self.step_panel.set_title(f"Step {frame.index} of {frame.total}", told)
        super().show_position(position, image)

    def clear(self) -> None:
        super().clear()
        self._older, self._strip, self._strip_of = [], [], (None, -1)
        self._show_end(False)
        for grid in self.grids.values():
            grid.clear()
        self.filmstrip.clear()
        self.step_panel.set_title("Step –", "")

    def set_waiting(self, text: str) -> None:
        """What empty sheets say."""
        self._waiting = text
        for key, grid in self.grids.items():
            grid.set_empty_text(_NO_NOISE if key == "eps" and self._at_sample else text)
        self.filmstrip.set_empty_text(text)

    def finish(self) -> None:
        if self._older:
            self._older = []
            self._lay_strip()

    def picture(self) -> QImage:
        return self.grids["x0"].to_image(4.0)

    def thumbnail(self, image: int) -> QImage:
        """The sample of one image, small."""
        assert self._reel is not None
        return to_qimage(to_pixels(self._reel.pictures(len(self._reel) - 1)[1][image]))

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Pictures are as large as the width allows; what height they leave goes to the curves."""
        super().resizeEvent(event)
        side = (self.width() - 2 * _SPACE) // 3
        for panel in self._sheets:
            panel.setMaximumHeight(side + _SHEET_HEADER)
        film = min(max((self.width() - 2 * _SHEET_HEADER) / _FILM_COLUMNS - 8, 40), 80)
        self.filmstrip.setFixedHeight(round(2 * film) + 34)

    def _show_end(self, at_sample: bool) -> None:
        """Say what the sheets hold: at the sample, x_t is x_0 and nothing is left for eps-hat."""
        self._at_sample = at_sample
        self._sheets[0].set_title(*(("x<sub>0</sub>", "the sample") if at_sample else _SEEN))
        if at_sample:
            self.grids["eps"].clear()
        self.grids["eps"].set_empty_text(_NO_NOISE if at_sample else self._waiting)

    def _make_strip(self, image: int) -> None:
        """The frames that came, then those still to come: the older run's, darkened, until they are replaced."""
        assert self._reel is not None
        same = self._strip_of == (self._reel, image)
        came = self._reel.strip(image, len(self._strip) if same else 0)
        self._strip_of = (self._reel, image)
        self._strip = [*self._strip, *came] if same else came
        if same and not self._older:
            for frame, told in zip(came, self._reel.frames[len(self._strip) - len(came) :], strict=True):
                self.filmstrip.append_frame(frame, told.index)
        elif came:
            self._lay_strip()

    def _lay_strip(self) -> None:
        rest = [(_STALE * frame).astype(np.uint8) for frame in self._older[len(self._strip) :]]
        assert self._reel is not None
        told = [frame.index for frame in self._reel.frames[: len(self._strip)]]
        # An older run lends pictures only where it told every step: there, position and step are the same.
        self.filmstrip.set_frames([*self._strip, *rest], [*told, *range(len(told), len(told) + len(rest))])

    def _clicked(self, image: int) -> None:
        sender = self.sender()
        if isinstance(sender, ImageGrid) and not sender.hasFocus():
            # Keys go on to step through the run, unless the sheet itself was reached with Tab.
            self.transport.scrubber.setFocus(Qt.FocusReason.MouseFocusReason)
        self.followed.emit(image)

    def _film_selected(self, position: int) -> None:
        if self._reel is not None:
            self.moved.emit(min(position, len(self._reel) - 1))


class PointsView(View):
    """Particles over the data with the score field, and beside them the numbers of the step and the curves."""

    def __init__(self) -> None:
        super().__init__()
        self.particles = Particles()
        self.field_check = QCheckBox("Score field")
        self.field_check.setChecked(True)
        self.field_check.setToolTip(_FIELD_HELP)
        self.links_check = QCheckBox("x̂₀ links")
        self.links_check.setToolTip("Where the network believes each particle comes from")
        for check in (self.field_check, self.links_check):
            check.toggled.connect(self._redraw)
        self._position = 0
        self._tiles = {name: StatTile(name) for name in ("α", "σ", "log-SNR", "jump β", "network calls", "norm of ε̂")}
        self.main_panel = Panel("Particles", "")
        self.main_panel.add_header_widget(self.field_check)
        self.main_panel.add_header_widget(self.links_check)
        self.main_panel.content.addWidget(self.particles, 1)
        self.main_panel.content.addWidget(self.transport)
        self.step_panel = Panel("Step –")
        tiles = QGridLayout()
        tiles.setVerticalSpacing(14)
        for place, tile in enumerate(self._tiles.values()):
            tiles.addWidget(tile, place // 2, place % 2)
        self.step_panel.add_header_widget(self.hint)
        self.step_panel.content.addLayout(tiles)
        self._beside = QBoxLayout(QBoxLayout.Direction.TopToBottom)
        self._beside.setSpacing(_SPACE)
        self._beside.addWidget(self.step_panel)
        self._beside.addWidget(_plot_panel(self.curves), 1)
        self._whole = QBoxLayout(QBoxLayout.Direction.LeftToRight, self)
        self._whole.setContentsMargins(0, 0, 0, 0)
        self._whole.setSpacing(_SPACE)
        self._whole.addWidget(self.main_panel, 19)
        self._whole.addLayout(self._beside, 12)

    def resizeEvent(self, event: QResizeEvent) -> None:
        """Where the window is narrow, numbers and curves lie under the particles."""
        super().resizeEvent(event)
        along, down = QBoxLayout.Direction.LeftToRight, QBoxLayout.Direction.TopToBottom
        narrow = self.width() < _NARROW
        self._whole.setDirection(down if narrow else along)
        self._beside.setDirection(along if narrow else down)
        self.main_panel.setMinimumHeight(_LEAST_HEIGHT if narrow else 0)

    def set_data(self, points: NDArray) -> None:
        """The real data, (M, D); it fixes the range shown, which also holds the starting noise."""
        if len(points):
            self.particles.set_range(max(1.15 * float(np.quantile(np.abs(points), 0.999)), _LEAST_EXTENT))
        self.particles.set_data_points(points)

    def set_flat(self, flat: bool, *, has_field: bool = True) -> None:
        """One dimension (densities) or two (particles); without ``has_field`` the model has no one score to draw."""
        self.main_panel.set_title("Densities" if flat else "Particles")
        self.field_check.setVisible(has_field and not flat)
        self.links_check.setText("x̂₀" if flat else "x̂₀ links")
        for check in (self.field_check, self.links_check):
            check.ensurePolished()
            check.setFixedWidth(check.sizeHint().width() + 4)  # the hint leaves out the frame of the box

    def show_position(self, position: int, image: int) -> None:
        super().show_position(position, image)
        assert self._reel is not None
        self._position = position
        frame = self._reel.frames[position]
        self.main_panel.set_subtitle(f"{len(frame.x):,} points")
        self.step_panel.set_title(f"Step {frame.index} of {frame.total}")
        for tile, text in zip(self._tiles.values(), _numbers(frame, self._reel.jump(position)), strict=True):
            tile.set(text)
        self.field_check.setEnabled(frame.sigma > 0.0)
        self.field_check.setToolTip(_FIELD_HELP if frame.sigma > 0.0 else "The sample has no noise left, so no score.")
        self._redraw()

    def clear(self) -> None:
        super().clear()
        self.particles.clear()
        self.particles.set_range(_LEAST_EXTENT)
        self.field_check.setEnabled(True)
        self.field_check.setToolTip(_FIELD_HELP)
        self.step_panel.set_title("Step –")
        for tile in self._tiles.values():
            tile.set("–")

    def picture(self) -> QImage:
        return self.particles.to_image(2.0)

    def _redraw(self) -> None:
        if self._reel is None:
            return
        frame = self._reel.frames[self._position]
        self.particles.set_particles(frame.x, frame.x0 if self.links_check.isChecked() else None)
        found = self._reel.fields.get(frame.index) if self.field_check.isChecked() else None
        self.particles.set_field(*((found.points, found.arrows) if found else (None, None)))


def number(value: float) -> str:
    """Three digits after the point, with a true minus; ∞ where there is no end."""
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    return f"{value:.3f}".replace("-", "−")


def _told(frame: Frame, jump: tuple[Level, Level] | None) -> tuple[str, ...]:
    alpha, sigma, ratio, beta, calls, _ = _numbers(frame, jump)
    return f"α {alpha}", f"σ {sigma}", f"log-SNR {ratio}", f"jump β {beta}", f"network calls {calls}"


def _numbers(frame: Frame, jump: tuple[Level, Level] | None) -> tuple[str, ...]:
    ratio = frame_log_snr(frame)
    return (
        number(frame.alpha),
        number(frame.sigma),
        f"{ratio:.2f}".replace("-", "−") if math.isfinite(ratio) else number(ratio),
        number(beta_between(*jump)) if jump else "–",
        str(frame.nfe),
        number(frame.eps_norm) if frame.sigma > 0.0 else "–",
    )


def _sheet(name: str, tooltip: str) -> ImageGrid:
    grid = ImageGrid(name=name)
    grid.setToolTip(f"{name}. {tooltip}\nClick an image to follow it.")
    # A click follows an image; the keys stay with the scrubber unless the sheet is reached with Tab.
    grid.setFocusPolicy(Qt.FocusPolicy.TabFocus)
    return grid


def _plot_panel(curves: StepCurves) -> Panel:
    panel = Panel()
    panel.set_margins(7, 7, 3, 3)  # the axes have margins of their own
    panel.content.addWidget(curves, 1)
    return panel


def _step_button(icon: str, tooltip: str) -> QPushButton:
    button = QPushButton()
    theme.set_icon(button, icon, "text")
    button.setIconSize(QSize(16, 16))
    button.setFixedWidth(40)
    button.setToolTip(tooltip)
    button.setAccessibleName(tooltip)
    button.setAutoRepeat(True)
    button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
    return button
