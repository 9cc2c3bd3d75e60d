"""From arrays to pictures on the screen, the clipboard and the disk.

A value v in [-1, 1] is shown as the byte round(127.5 (v + 1)). Pixels are 32-bit words 0xffRRGGBB.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QPointF, QRectF, QSize, QStandardPaths, Qt
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QGuiApplication, QImage, QPainter, QPen, QPixmap
from PySide6.QtWidgets import QFileDialog, QMenu, QMessageBox, QWidget

from studio.app.theme import mono_font, tokens, ui_font

Pixels = NDArray[np.uint32]
Render = Callable[[float], QImage]


def to_pixels(images: NDArray) -> Pixels:
    """(..., C, H, W) of uint8 or of floats in [-1, 1], C = 1 or 3, to (..., H, W) words. NaN is black.

    Raises ValueError for another number of channels or dimensions.
    """
    images = np.asarray(images)
    if images.ndim < 3 or images.shape[-3] not in (1, 3):
        raise ValueError(f"Pictures need the shape (..., 1 or 3, height, width); got {images.shape}.")
    if images.dtype != np.uint8:
        scaled = np.nan_to_num(images.astype(np.float32), nan=-1.0, posinf=1.0, neginf=-1.0)
        images = np.rint(np.clip(scaled * 127.5 + 127.5, 0, 255)).astype(np.uint8)
    words = images.astype(np.uint32)
    red, green, blue = (words[..., c % images.shape[-3], :, :] for c in range(3))
    packed = (red << np.uint32(16)) | (green << np.uint32(8)) | blue | np.uint32(0xFF000000)
    return packed.astype(np.uint32, copy=False)


def to_mosaic(pixels: Pixels, columns: int, gap: int, mat: int) -> Pixels:
    """(B, H, W) words laid out in rows of ``columns``, ``gap`` words of the colour ``mat`` between them."""
    count, height, width = pixels.shape
    rows = -(-count // columns)
    cells = np.full((rows * columns, height + gap, width + gap), mat, np.uint32)
    cells[:count, :height, :width] = pixels
    sheet = cells.reshape(rows, columns, height + gap, width + gap).swapaxes(1, 2)
    return np.ascontiguousarray(
        sheet.reshape(rows * (height + gap), columns * (width + gap))[
            : rows * (height + gap) - gap, : columns * (width + gap) - gap
        ]
    )


def to_qimage(pixels: Pixels, *, transparent: bool = False) -> QImage:
    """(H, W) words as a picture that owns its memory. ``transparent``: the top byte is an alpha."""
    height, width = pixels.shape
    kind = QImage.Format.Format_ARGB32 if transparent else QImage.Format.Format_RGB32
    words = np.ascontiguousarray(pixels)
    return QImage(words.data, width, height, 4 * width, kind).copy()


def color_word(color: str) -> int:
    """A colour's name or ``#rrggbb`` as an opaque word."""
    return int(QColor(color).rgb())


def role_color(role: str) -> QColor:
    """The current colour of a role: a field of :class:`studio.app.theme.Tokens`, such as ``series_raw``."""
    return QColor(getattr(tokens(), role))


def render_widget(widget: QWidget, scale: float) -> QImage:
    """The widget as it looks, at ``scale`` pixels per unit of its size."""
    size = widget.size()
    picture = QImage(QSize(round(size.width() * scale), round(size.height() * scale)), QImage.Format.Format_RGB32)
    picture.setDevicePixelRatio(scale)
    picture.fill(QColor(tokens().panel))
    widget.render(picture)
    return picture


def add_picture_actions(menu: QMenu, owner: QWidget, render: Render, name: str) -> None:
    """Add "Copy picture" and "Save picture…". ``render(2.0)`` draws it, ``name`` is the file name to suggest."""
    menu.addAction("Copy picture", lambda: QGuiApplication.clipboard().setImage(render(2.0)))
    menu.addAction("Save picture…", lambda: save_picture(owner, render(2.0), name))


def save_picture(owner: QWidget, picture: QImage, name: str) -> None:
    """Ask where, and write a PNG or JPEG there. A failure is told in a message box."""
    folder = Path(QStandardPaths.writableLocation(QStandardPaths.StandardLocation.PicturesLocation))
    path, _ = QFileDialog.getSaveFileName(owner, "Save picture", str(folder / f"{name}.png"), "Pictures (*.png *.jpg)")
    if not path:
        return
    if not Path(path).suffix:
        path += ".png"
    if not picture.save(path):
        QMessageBox.warning(
            owner,
            "Picture not saved",
            f"{path} could not be written. Choose a folder you may write to and a name that ends in .png or .jpg.",
        )


def dot_pixmap(color: QColor, diameter: float, ratio: float, ring: QColor | None = None) -> QPixmap:
    """A round dot, optionally with a thin ring around it, with a clear margin so that moving it stays smooth."""
    side = int(np.ceil(diameter)) + 4
    pixmap = QPixmap(round(side * ratio), round(side * ratio))
    pixmap.setDevicePixelRatio(ratio)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setBrush(color)
    painter.setPen(QPen(ring, 1.5) if ring is not None else Qt.PenStyle.NoPen)
    painter.drawEllipse(QPointF(side / 2, side / 2), diameter / 2, diameter / 2)
    painter.end()
    return pixmap


class ReadOut:
    """A small box of numbers beside the pointer: a head line, then rows of a colour, a label and a value."""

    def __init__(self, head: str, rows: list[tuple[QColor | None, str, str]]) -> None:
        self.head = head
        self.rows = rows

    def paint(self, painter: QPainter, anchor: QPointF, within: QRectF) -> None:
        """Draw it right of ``anchor``, or left where it would leave ``within``."""
        label_font, value_font = ui_font(11), mono_font(11)
        head_font = mono_font(11, QFont.Weight.DemiBold)
        labels, values, heads = QFontMetricsF(label_font), QFontMetricsF(value_font), QFontMetricsF(head_font)
        label_width = max((labels.horizontalAdvance(label) for _, label, _ in self.rows), default=0.0)
        value_width = max((values.horizontalAdvance(value) for _, _, value in self.rows), default=0.0)
        inner = max(label_width + value_width + 28, heads.horizontalAdvance(self.head))
        box = QRectF(0, 0, inner + 18, 18 * (len(self.rows) + 1) + 10)
        left = anchor.x() + 12
        if left + box.width() > within.right():
            left = anchor.x() - 12 - box.width()
        box.moveTo(max(left, within.left()), min(max(anchor.y(), within.top()), within.bottom() - box.height()))
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(role_color("border_strong"), 1))
        painter.setBrush(role_color("panel"))
        painter.drawRoundedRect(box, 6, 6)
        line = QRectF(box.left() + 9, box.top() + 5, inner, 18)
        painter.setFont(head_font)
        painter.setPen(role_color("text"))
        painter.drawText(line, Qt.AlignmentFlag.AlignVCenter, self.head)
        for color, label, value in self.rows:
            line.translate(0, 18)
            if color is not None:
                painter.setPen(QPen(color, 2))
                painter.drawLine(line.topLeft() + QPointF(0, 9), line.topLeft() + QPointF(10, 9))
            painter.setFont(label_font)
            painter.setPen(role_color("text_muted"))
            painter.drawText(
                line.adjusted(16 if color is not None else 0, 0, 0, 0), Qt.AlignmentFlag.AlignVCenter, label
            )
            painter.setFont(value_font)
            painter.setPen(role_color("text"))
            painter.drawText(line, Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight, value)
