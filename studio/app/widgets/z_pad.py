"""A pad: the pictures of a plane, and a marker that is dragged over it.

The middles of the outer pictures are at u, v = -1 and 1, so each picture shows what is under its middle; v grows
upwards. Without pictures the pad is a field of as many dots. Left, Right, Up and Down move the marker by a tenth of the
way from picture to picture, with Shift by a whole one; Home brings it to the middle.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QContextMenuEvent, QImage, QKeyEvent, QMouseEvent, QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QMenu, QSizePolicy, QWidget

from studio.app.theme import notifier, tokens, ui_font
from studio.app.widgets.pictures import (
    Pixels,
    add_picture_actions,
    color_word,
    role_color,
    to_mosaic,
    to_pixels,
    to_qimage,
)

_MAT = 4.0
_RADIUS = 6.0
_MARKER = 8.0  # radius
_STEPS = 10  # of the arrow keys from picture to picture


class ZPad(QWidget):
    """``side`` x ``side`` pictures and the marker at (u, v) in [-1, 1]."""

    moved = Signal(float, float)
    """The person moved the marker to (u, v)."""
    centre_requested = Signal()
    """Enter or a double click: what is under the marker shall be the middle."""

    def __init__(self, side: int, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._side = side
        self._pixels: Pixels = np.empty((0, 1, 1), np.uint32)
        self._mosaic: QImage | None = None
        self._mat = 0
        self._at = (0.0, 0.0)
        self._waiting = "Sampling…"
        self._dotted = False
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setAccessibleName("z pad")
        self._describe()
        notifier().changed.connect(self.update)

    def set_images(self, images: NDArray) -> None:
        """Show (side**2, C, H, W), row by row from the top left. Raises ValueError for another number or shape."""
        if np.ndim(images) != 4 or len(images) != self._side**2:
            raise ValueError(f"the pad needs ({self._side**2}, C, H, W); got {np.shape(images)}.")
        self._pixels, self._mosaic, self._dotted = to_pixels(images), None, False
        self.update()

    def set_dots(self) -> None:
        """Show dots in the places of pictures, where items have none."""
        self._pixels, self._mosaic, self._dotted = np.empty((0, 1, 1), np.uint32), None, True
        self.update()

    def clear(self, waiting: str = "Sampling…") -> None:
        """Show no pictures, but why."""
        self._pixels, self._mosaic, self._dotted, self._waiting = np.empty((0, 1, 1), np.uint32), None, False, waiting
        self.update()

    def has_images(self) -> bool:
        """Whether there are pictures."""
        return len(self._pixels) > 0

    def at(self) -> tuple[float, float]:
        """(u, v) of the marker."""
        return self._at

    def set_at(self, u: float, v: float) -> None:
        """Move the marker, kept within the pad; emits nothing."""
        self._at = (min(max(u, -1.0), 1.0), min(max(v, -1.0), 1.0))
        self._describe()
        self.update()

    def place_of(self, u: float, v: float) -> QPointF:
        """Where (u, v) is drawn, in the units of the widget."""
        left, top, step = self._frame()
        half = (self._side - 1) / 2
        return QPointF(left + (0.5 + half * (1.0 + u)) * step, top + (0.5 + half * (1.0 - v)) * step)

    def to_image(self, scale: float = 2.0) -> QImage:
        """The pictures for export, without the marker; each pixel becomes ``scale`` pixels."""
        mosaic = self._current_mosaic()
        size = QSize(round(mosaic.width() * scale), round(mosaic.height() * scale))
        return mosaic.scaled(size, Qt.AspectRatioMode.IgnoreAspectRatio, Qt.TransformationMode.FastTransformation)

    def menu(self) -> QMenu:
        """The context menu."""
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        add_picture_actions(menu, self, lambda scale: self.to_image(2 * scale), "z pad")
        menu.setEnabled(self.has_images())
        return menu

    # Geometry

    def _gap(self) -> int:
        return max(1, round(self._pixels.shape[2] / 28))

    def _frame(self) -> tuple[float, float, float]:
        """Left and top of the pad, and the step from picture to picture, on whole screen pixels where there is room."""
        ratio = self.devicePixelRatioF()
        room = (min(self.width(), self.height()) - 2 * _MAT) * ratio
        step = room / self._side
        if self.has_images():
            cell = self._pixels.shape[2] + self._gap()
            wanted = (room + self._gap() * room / (self._side * cell)) / (self._side * cell)
            whole = float(int(wanted))
            step = cell * (whole if whole >= 0.88 * wanted else wanted)
        side = self._side * step / ratio
        left, top = (self.width() - side) / 2, (self.height() - side) / 2
        return round(left * ratio) / ratio, round(top * ratio) / ratio, step / ratio

    def _current_mosaic(self) -> QImage:
        if self._mosaic is None or self._mat != color_word(tokens().image_mat):
            self._mat = color_word(tokens().image_mat)
            self._mosaic = to_qimage(to_mosaic(self._pixels, self._side, self._gap(), self._mat))
        return self._mosaic

    # Qt

    def sizeHint(self) -> QSize:
        return QSize(400, 400)

    def minimumSizeHint(self) -> QSize:
        return QSize(160, 160)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        left, top, step = self._frame()
        whole = QRectF(left, top, self._side * step, self._side * step)
        mat = whole.adjusted(-_MAT, -_MAT, _MAT, _MAT).intersected(QRectF(self.rect()))
        if self.has_images():
            painter.setPen(Qt.PenStyle.NoPen)
            painter.setBrush(role_color("image_mat"))
            painter.drawRoundedRect(mat, _RADIUS, _RADIUS)
            mosaic = self._current_mosaic()
            scale = step / (self._pixels.shape[2] + self._gap())
            gap = self._gap() * scale / 2
            painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, scale * self.devicePixelRatioF() < 1)
            painter.drawImage(QRectF(left + gap, top + gap, mosaic.width() * scale, mosaic.height() * scale), mosaic)
        elif self._dotted:
            self._paint_dots(painter, mat)
        else:
            painter.setPen(QPen(role_color("border"), 1, Qt.PenStyle.DashLine))
            painter.drawRoundedRect(mat.adjusted(0.5, 0.5, -0.5, -0.5), _RADIUS, _RADIUS)
            painter.setPen(role_color("text_faint"))
            painter.setFont(ui_font(12))
            painter.drawText(mat, int(Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap), self._waiting)
            return
        if self.hasFocus():
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.setPen(QPen(role_color("accent"), 1))
            painter.drawRoundedRect(mat.adjusted(0.5, 0.5, -0.5, -0.5), _RADIUS, _RADIUS)
        self._paint_marker(painter)

    def _paint_dots(self, painter: QPainter, mat: QRectF) -> None:
        painter.setPen(QPen(role_color("border"), 1))
        painter.setBrush(role_color("window"))
        painter.drawRoundedRect(mat.adjusted(0.5, 0.5, -0.5, -0.5), _RADIUS, _RADIUS)
        axis = np.linspace(-1.0, 1.0, self._side)
        painter.setPen(QPen(role_color("grid"), 1))
        for value in axis:
            painter.drawLine(self.place_of(value, -1.0), self.place_of(value, 1.0))
            painter.drawLine(self.place_of(-1.0, value), self.place_of(1.0, value))
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(role_color("text_faint"))
        for u in axis:
            for v in axis:
                painter.drawEllipse(self.place_of(u, v), 2.5, 2.5)

    def _paint_marker(self, painter: QPainter) -> None:
        """A ring that is seen on black and on white."""
        at = self.place_of(*self._at)
        fill = QColor(role_color("accent"))
        fill.setAlphaF(0.35)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(QColor(0, 0, 0, 150), 5.0))
        painter.drawEllipse(at, _MARKER, _MARKER)
        painter.setBrush(fill)
        painter.setPen(QPen(QColor("#ffffff"), 2.0))
        painter.drawEllipse(at, _MARKER, _MARKER)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            self._move_to(event.position())

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if event.buttons() & Qt.MouseButton.LeftButton:
            self._move_to(event.position())

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            self.centre_requested.emit()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        step = 2.0 / (self._side - 1) / (1 if event.modifiers() & Qt.KeyboardModifier.ShiftModifier else _STEPS)
        moves = {
            Qt.Key.Key_Left: (-step, 0.0),
            Qt.Key.Key_Right: (step, 0.0),
            Qt.Key.Key_Up: (0.0, step),
            Qt.Key.Key_Down: (0.0, -step),
        }
        key = Qt.Key(event.key())
        if key in moves:
            self._move(self._at[0] + moves[key][0], self._at[1] + moves[key][1])
        elif key == Qt.Key.Key_Home:
            self._move(0.0, 0.0)
        elif key in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            self.centre_requested.emit()
        else:
            super().keyPressEvent(event)

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        self.menu().popup(event.globalPos())

    def _move_to(self, position: QPointF) -> None:
        origin, step = self.place_of(0.0, 0.0), self._frame()[2]
        half = (self._side - 1) / 2 * step
        self._move((position.x() - origin.x()) / half, (origin.y() - position.y()) / half)

    def _move(self, u: float, v: float) -> None:
        before = self._at
        self.set_at(round(u, 6), round(v, 6))
        if self._at != before:
            self.moved.emit(*self._at)

    def _describe(self) -> None:
        self.setAccessibleDescription(f"u {self._at[0]:.2f}, v {self._at[1]:.2f}")
