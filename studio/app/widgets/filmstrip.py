"""One image through all steps: x_t above, what the network believes (x0-hat) below, from noise to sample.

Where the steps are more than fit, evenly spaced ones are shown, always with the first, the last and the current. A step
is known by its position in the strip; the number under it may be another, where a run told only some of its steps.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QContextMenuEvent,
    QImage,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPainterPath,
    QPaintEvent,
    QPen,
    QPixmap,
)
from PySide6.QtWidgets import QMenu, QSizePolicy, QWidget

from studio.app.theme import mono_font, notifier
from studio.app.widgets.pictures import Pixels, add_picture_actions, render_widget, role_color, to_pixels, to_qimage

_GAP, _ROW_GAP = 8.0, 6.0
_MOST = 96.0  # the side of a picture, pixels
_NUMBERS = 20.0
_RIM = 4.0


def shown_steps(num_frames: int, places: int, current: int) -> list[int]:
    """At most ``places`` (>= 3) ascending steps of ``num_frames``, evenly spaced, with both ends and ``current``."""
    if num_frames <= places:
        return list(range(num_frames))
    steps = np.rint(np.linspace(0, num_frames - 1, places)).astype(int)
    if current not in steps:
        steps[1 + int(np.abs(steps[1:-1] - current).argmin())] = current
    return [int(k) for k in steps]


class Filmstrip(QWidget):
    """Two rows of pictures by step; a click or a drag selects a step, as do the arrow keys."""

    step_selected = Signal(int)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._frames: list[Pixels] = []
        self._labels: list[int] = []
        self._current = 0
        self._strip: QPixmap | None = None
        self._strip_key: tuple[object, ...] = ()
        self._empty_text = "No steps yet"
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
        self.setAccessibleName("Steps of one image")
        self.setToolTip("Above: x_t, what the network sees. Below: x\u03020, what it believes.")
        notifier().changed.connect(self._redraw)

    def set_frames(self, frames: Sequence[NDArray] | NDArray, labels: Sequence[int] | None = None) -> None:
        """Replace all frames: (N + 1, 2, C, H, W) of x_t and x0-hat, uint8 or floats in [-1, 1]; step 0 is noise.

        ``labels`` are the numbers written under them, by default their positions. Raises ValueError for another shape.
        """
        self._frames = [_frame(frame) for frame in frames]
        self._labels = list(range(len(self._frames)) if labels is None else labels)
        assert len(self._labels) == len(self._frames)
        self._current = min(self._current, max(len(self._frames) - 1, 0))
        self._redraw()

    def append_frame(self, frame: NDArray, label: int | None = None) -> None:
        """Add the next step, (2, C, H, W), with the number under it. Raises ValueError for another shape."""
        self._frames.append(_frame(frame))
        self._labels.append(len(self._frames) - 1 if label is None else label)
        self._redraw()

    def clear(self) -> None:
        """Forget all frames."""
        self._frames, self._labels = [], []
        self._current = 0
        self._redraw()

    def set_current(self, step: int) -> None:
        """Outline a step; emits nothing. A step that is not there yet is outlined when it comes."""
        if step != self._current:
            self._current = step
            if step < len(self._frames):
                self.setAccessibleDescription(f"Step {self._labels[step]} of {self._labels[-1]}")
            self.update()

    def current(self) -> int:
        """The outlined step."""
        return self._current

    def set_empty_text(self, text: str) -> None:
        """What to say while there are no frames."""
        self._empty_text = text
        self.update()

    def __len__(self) -> int:
        return len(self._frames)

    def labels(self) -> list[int]:
        """The numbers under the steps shown now."""
        return [self._labels[step] for step in self.steps()]

    def steps(self) -> list[int]:
        """The steps shown now, from left to right: as many as fit at the height of the strip."""
        side = min(self._height_side(), _MOST)
        places = max(int((self.width() - 2 * _RIM + _GAP) / (side + _GAP)), 3)
        return shown_steps(len(self._frames), places, self._current)

    def place_of(self, column: int, row: int, columns: int) -> QRectF:
        """Where the picture of a shown column is drawn, in the units of the widget."""
        side, pitch = self._sides(columns)
        return QRectF(round(_RIM + column * pitch), _RIM + row * (side + _ROW_GAP), side, side)

    def step_at(self, position: QPointF) -> int | None:
        """The shown step nearest to a position of the widget."""
        steps = self.steps()
        if not steps:
            return None
        side, pitch = self._sides(len(steps))
        column = int((position.x() - _RIM + (pitch - side) / 2) / pitch)
        return steps[min(max(column, 0), len(steps) - 1)]

    def to_image(self, scale: float = 2.0) -> QImage:
        """The strip as a picture."""
        return render_widget(self, scale)

    def menu(self) -> QMenu:
        """The context menu."""
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        add_picture_actions(menu, self, self.to_image, "steps")
        return menu

    def _height_side(self) -> float:
        return max((self.height() - _NUMBERS - _ROW_GAP - 2 * _RIM) / 2, 16.0)

    def _sides(self, columns: int) -> tuple[float, float]:
        """Side of a picture and distance between two; the columns fill the width where pictures may be as large."""
        room = self.width() - 2 * _RIM
        side = float(int(max(min((room + _GAP) / columns - _GAP, self._height_side(), _MOST), 12.0)))
        spread = (room - side) / (columns - 1) if columns > 1 else side
        return side, min(spread, side + 3 * _GAP)

    def _redraw(self) -> None:
        self._strip = None
        self.update()

    def _draw_strip(self, steps: list[int]) -> QPixmap:
        ratio = self.devicePixelRatioF()
        strip = QPixmap(round(self.width() * ratio), round(self.height() * ratio))
        strip.setDevicePixelRatio(ratio)
        strip.fill(role_color("panel"))
        painter = QPainter(strip)
        corners = self._corners(self._sides(len(steps))[0], ratio)
        for column, step in enumerate(steps):
            frame = self._frames[step]
            for row in range(len(frame)):
                place = self.place_of(column, row, len(steps))
                painter.drawImage(place, to_qimage(frame[row]))
                painter.drawPixmap(place.topLeft(), corners)
        painter.end()
        return strip

    def _corners(self, side: float, ratio: float) -> QPixmap:
        """What is outside a rounded square, in the colour of the panel: laid over a picture, it rounds its corners."""
        corners = QPixmap(round(side * ratio), round(side * ratio))
        corners.setDevicePixelRatio(ratio)
        corners.fill(Qt.GlobalColor.transparent)
        outside = QPainterPath()
        outside.addRect(QRectF(0, 0, side, side))
        outside.addRoundedRect(QRectF(0, 0, side, side), 4, 4)  # odd-even filling leaves it open
        painter = QPainter(corners)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.fillPath(outside, role_color("panel"))
        painter.end()
        return corners

    def _paint_numbers(self, painter: QPainter, steps: list[int]) -> None:
        painter.setFont(mono_font(11))
        for column, step in enumerate(steps):
            below = self.place_of(column, 1, len(steps))
            painter.setPen(role_color("accent" if step == self._current else "text_muted"))
            place = QRectF(below.left() - _GAP, below.bottom() + 4, below.width() + 2 * _GAP, 16)
            painter.drawText(place, Qt.AlignmentFlag.AlignCenter, str(self._labels[step]))

    # Qt

    def sizeHint(self) -> QSize:
        return QSize(640, 160)

    def minimumSizeHint(self) -> QSize:
        return QSize(200, 110)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        if not self._frames:
            painter.setFont(mono_font(12))
            painter.setPen(role_color("text_faint"))
            painter.drawText(QRectF(self.rect()), Qt.AlignmentFlag.AlignCenter, self._empty_text)
            return
        steps = self.steps()
        key = (tuple(steps), self.width(), self.height(), self.devicePixelRatioF())
        if self._strip is None or key != self._strip_key:
            self._strip, self._strip_key = self._draw_strip(steps), key
        painter.drawPixmap(0, 0, self._strip)
        self._paint_numbers(painter, steps)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        if self._current in steps:
            painter.setPen(QPen(role_color("accent"), 2))
            column = steps.index(self._current)
            frame = self.place_of(column, 0, len(steps)).united(self.place_of(column, 1, len(steps)))
            painter.drawRoundedRect(frame.adjusted(-2, -2, 2, 2), 6, 6)
        if self.hasFocus():
            painter.setPen(QPen(role_color("accent"), 1))
            painter.drawRoundedRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5), 6, 6)

    def _select_by_hand(self, step: int | None) -> None:
        if step is not None and step != self._current and 0 <= step < len(self._frames):
            self.set_current(step)
            self.step_selected.emit(step)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            self._select_by_hand(self.step_at(event.position()))

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if event.buttons() & Qt.MouseButton.LeftButton:
            self._select_by_hand(self.step_at(event.position()))

    def keyPressEvent(self, event: QKeyEvent) -> None:
        wanted = {
            Qt.Key.Key_Left: self._current - 1,
            Qt.Key.Key_Right: self._current + 1,
            Qt.Key.Key_Home: 0,
            Qt.Key.Key_End: len(self._frames) - 1,
        }.get(Qt.Key(event.key()))
        if wanted is None:
            super().keyPressEvent(event)
        else:
            self._select_by_hand(wanted)

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        self.menu().popup(event.globalPos())


def _frame(images: NDArray) -> Pixels:
    if np.ndim(images) != 4 or len(images) != 2:
        raise ValueError(f"a frame needs the shape (2, C, H, W): x_t and x0-hat; got {np.shape(images)}.")
    return to_pixels(images)
