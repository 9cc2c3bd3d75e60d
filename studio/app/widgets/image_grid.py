"""A sheet of small pictures with sharp pixels, of which one can be selected, followed and enlarged.

All pictures become one mosaic when they arrive; a frame only scales it. The number of columns is the one that makes the
pictures largest, and the scale is a whole number of screen pixels unless that would waste much of the space.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QContextMenuEvent,
    QGuiApplication,
    QImage,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
)
from PySide6.QtWidgets import QDialog, QMenu, QSizePolicy, QWidget

from studio.app.theme import notifier, tokens, ui_font
from studio.app.widgets.pictures import (
    Pixels,
    add_picture_actions,
    color_word,
    role_color,
    save_picture,
    to_mosaic,
    to_pixels,
    to_qimage,
)

_MAT = 4.0  # pixels of mat around the mosaic
_RADIUS = 6.0
_EMPTY_COST = 0.92  # a sheet with empty places must be this much larger to be preferred


@dataclass(frozen=True)
class Sheet:
    """How ``count`` pictures lie: ``columns``, and ``scale`` in screen pixels for each of their pixels."""

    columns: int
    scale: float


def arrange(count: int, cell: QSize, room: tuple[float, float], columns: int | None = None) -> Sheet:
    """The largest sheet of ``count`` >= 1 cells (picture and gap) within ``room``, (width, height) in screen pixels."""

    def scale_of(across: int) -> float:
        down = -(-count // across)
        return max(min(room[0] / (across * cell.width()), room[1] / (down * cell.height())), 1e-3)

    if columns is None:
        columns = max(range(1, count + 1), key=lambda c: scale_of(c) * (1.0 if count % c == 0 else _EMPTY_COST))
    wanted = scale_of(columns)
    whole = float(int(wanted))
    return Sheet(columns, whole if whole >= 0.85 * wanted else wanted)


class ImageGrid(QWidget):
    """Pictures on a dark mat. Arrow keys move the selection, Enter or a double click enlarges."""

    clicked = Signal(int)
    """A picture was selected with the pointer or the keys."""
    hovered = Signal(int)
    """The pointer is over this picture; -1 where it is over none."""

    def __init__(self, columns: int | None = None, name: str = "Pictures", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._columns = columns
        self._pixels: Pixels = np.empty((0, 1, 1), np.uint32)
        self._mosaic: QImage | None = None
        self._mosaic_key: tuple[int, str] | None = None
        self._selected: int | None = None
        self._hover = -1
        self._empty_text = "No pictures yet"
        self._enlarged: _Enlarged | None = None
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setAccessibleName(name)
        notifier().changed.connect(self.update)

    def set_images(self, images: NDArray) -> None:
        """Show (B, C, H, W), uint8 or floats in [-1, 1], C = 1 or 3. Raises ValueError for another shape."""
        if np.ndim(images) != 4:
            raise ValueError(f"pictures need the shape (B, C, H, W); got {np.shape(images)}.")
        self._pixels = to_pixels(images)
        self._mosaic = None
        if self._selected is not None and self._selected >= len(self._pixels):
            self._selected = None
        if self._enlarged is not None:
            self._enlarged.refresh()
        self.update()

    def clear(self) -> None:
        """Show the empty text."""
        self._pixels = np.empty((0, 1, 1), np.uint32)
        self._mosaic = self._selected = None
        self.update()

    def set_empty_text(self, text: str) -> None:
        """What to say while there are no pictures."""
        self._empty_text = text
        self.update()

    def set_columns(self, columns: int | None) -> None:
        """A fixed number of columns, or the best for the shape."""
        self._columns = columns
        self.update()

    def set_selected(self, index: int | None) -> None:
        """Outline one picture, or none; emits nothing. Raises IndexError if there is no such picture."""
        if index is not None and not 0 <= index < len(self):
            raise IndexError(f"there are {len(self)} pictures; got {index}")
        if index != self._selected:
            self._selected = index
            self.setAccessibleDescription("" if index is None else f"Picture {index + 1} of {len(self)} selected")
            self.update()

    def selected(self) -> int | None:
        """Index of the outlined picture."""
        return self._selected

    def __len__(self) -> int:
        return len(self._pixels)

    def to_image(self, scale: float = 2.0) -> QImage:
        """The mosaic for export; each pixel becomes ``scale`` pixels."""
        mosaic = self._current_mosaic()
        size = QSize(round(mosaic.width() * scale), round(mosaic.height() * scale))
        return mosaic.scaled(size, Qt.AspectRatioMode.IgnoreAspectRatio, Qt.TransformationMode.FastTransformation)

    def picture(self, index: int) -> QImage:
        """One picture, a pixel a pixel."""
        return to_qimage(self._pixels[index])

    def index_at(self, position: QPointF) -> int | None:
        """Which picture is drawn at a position of the widget; the gaps belong to none."""
        for index in range(len(self)):
            if self.place_of(index).contains(position):
                return index
        return None

    def place_of(self, index: int) -> QRectF:
        """Where a picture is drawn, in the units of the widget."""
        sheet, scale, origin = self._layout()
        row, column = divmod(index, sheet.columns)
        cell = self._cell()
        return QRectF(
            origin.x() + column * cell.width() * scale,
            origin.y() + row * cell.height() * scale,
            self._pixels.shape[2] * scale,
            self._pixels.shape[1] * scale,
        )

    def menu(self, index: int | None = None) -> QMenu:
        """The context menu, for the picture ``index`` if there is one."""
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        add_picture_actions(menu, self, lambda scale: self.to_image(2 * scale), self.accessibleName())
        if index is not None:
            menu.addSeparator()
            menu.addAction("Enlarge this one", lambda: self.enlarge(index))
            menu.addAction("Copy this one", lambda: QGuiApplication.clipboard().setImage(self.picture(index)))
            menu.addAction("Save this one…", lambda: save_picture(self, self.picture(index), f"picture {index + 1}"))
        menu.setEnabled(len(self) > 0)
        return menu

    def enlarge(self, index: int) -> None:
        """Open one picture in a window of its own, which follows new pictures until it is closed."""
        if self._enlarged is None:
            self._enlarged = _Enlarged(self)
        self._enlarged.show_picture(index)

    def _gap(self) -> int:
        return max(1, round(self._pixels.shape[2] / 28))

    def _cell(self) -> QSize:
        return QSize(self._pixels.shape[2] + self._gap(), self._pixels.shape[1] + self._gap())

    def _layout(self) -> tuple[Sheet, float, QPointF]:
        """The sheet, its scale in units of the widget, and the corner of the first picture on whole screen pixels."""
        ratio = self.devicePixelRatioF()
        room = (self.width() - 2 * _MAT) * ratio, (self.height() - 2 * _MAT) * ratio
        sheet = arrange(len(self), self._cell(), room, self._columns)
        rows, gap = -(-len(self) // sheet.columns), self._gap()
        scale = sheet.scale / ratio
        width = (sheet.columns * self._cell().width() - gap) * scale
        height = (rows * self._cell().height() - gap) * scale
        left, top = (self.width() - width) / 2, (self.height() - height) / 2
        return sheet, scale, QPointF(round(left * ratio) / ratio, round(top * ratio) / ratio)

    def _current_mosaic(self) -> QImage:
        columns = self._layout()[0].columns if len(self) else 1
        key = (columns, tokens().image_mat)
        if self._mosaic is None or key != self._mosaic_key:
            self._mosaic_key = key
            self._mosaic = to_qimage(to_mosaic(self._pixels, columns, self._gap(), color_word(tokens().image_mat)))
        return self._mosaic

    def _select_by_hand(self, index: int) -> None:
        self.set_selected(index)
        self.clicked.emit(index)

    # Qt

    def sizeHint(self) -> QSize:
        return QSize(320, 240)

    def minimumSizeHint(self) -> QSize:
        return QSize(96, 64)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if not len(self):
            painter.setPen(QPen(role_color("border"), 1, Qt.PenStyle.DashLine))
            painter.drawRoundedRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5), _RADIUS, _RADIUS)
            painter.setPen(role_color("text_faint"))
            painter.setFont(ui_font(12))
            words = int(Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap)
            painter.drawText(QRectF(self.rect()).adjusted(12, 8, -12, -8), words, self._empty_text)
            return
        mosaic = self._current_mosaic()
        _, scale, origin = self._layout()
        target = QRectF(origin.x(), origin.y(), mosaic.width() * scale, mosaic.height() * scale)
        mat = target.adjusted(-_MAT, -_MAT, _MAT, _MAT)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(role_color("image_mat"))
        painter.drawRoundedRect(mat, _RADIUS, _RADIUS)
        # Larger pictures than the screen has pixels for are averaged; smaller ones keep sharp pixels.
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, scale * self.devicePixelRatioF() < 1)
        painter.drawImage(target, mosaic)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        if self.hasFocus():
            painter.setPen(QPen(role_color("accent"), 1))
            painter.drawRoundedRect(mat.adjusted(0.5, 0.5, -0.5, -0.5), _RADIUS, _RADIUS)
        if self._selected is not None:
            painter.setPen(QPen(role_color("accent"), 2))
            painter.drawRoundedRect(self.place_of(self._selected).adjusted(-1, -1, 1, 1), 2, 2)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        index = self.index_at(event.position()) if len(self) else None
        if index is not None and event.button() == Qt.MouseButton.LeftButton:
            self._select_by_hand(index)

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        index = self.index_at(event.position()) if len(self) else None
        if index is not None and event.button() == Qt.MouseButton.LeftButton:
            self.enlarge(index)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        index = self.index_at(event.position()) if len(self) else None
        self._set_hover(-1 if index is None else index)

    def leaveEvent(self, event: QEvent) -> None:
        self._set_hover(-1)

    def _set_hover(self, index: int) -> None:
        if index != self._hover:
            self._hover = index
            self.hovered.emit(index)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if not len(self):
            super().keyPressEvent(event)
            return
        across = self._layout()[0].columns
        last = len(self) - 1
        now = self._selected
        moves = {
            Qt.Key.Key_Left: -1,
            Qt.Key.Key_Right: 1,
            Qt.Key.Key_Up: -across,
            Qt.Key.Key_Down: across,
            Qt.Key.Key_Home: -last,
            Qt.Key.Key_End: last,
        }
        key = Qt.Key(event.key())
        if key in moves:
            wanted = 0 if now is None else now + moves[key]
            ends = key in (Qt.Key.Key_Home, Qt.Key.Key_End)
            if ends or 0 <= wanted <= last:
                self._select_by_hand(min(max(wanted, 0), last))
        elif key in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and now is not None:
            self.enlarge(now)
        else:
            super().keyPressEvent(event)

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        by_pointer = event.reason() == QContextMenuEvent.Reason.Mouse
        index = self.index_at(QPointF(event.pos())) if by_pointer and len(self) else self._selected
        self.menu(index).popup(event.globalPos())


class _Enlarged(QDialog):
    """One picture of a grid, as large as its window allows. Escape or a click closes it."""

    def __init__(self, grid: ImageGrid) -> None:
        super().__init__(grid)
        self._grid = grid
        self._index = 0
        self.resize(420, 420)

    def show_picture(self, index: int) -> None:
        """Show the picture ``index``."""
        self._index = index
        self.refresh()
        self.show()
        self.raise_()

    def refresh(self) -> None:
        """Take the picture as it is now, or close if it is gone."""
        if self._index >= len(self._grid):
            self.close()
            return
        self.setWindowTitle(f"Picture {self._index + 1} of {len(self._grid)}")
        self.update()

    def minimumSizeHint(self) -> QSize:
        return QSize(160, 160)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.fillRect(self.rect(), role_color("image_mat"))
        picture = self._grid.picture(self._index)
        ratio = self.devicePixelRatioF()
        fits = min((self.width() - 24) * ratio / picture.width(), (self.height() - 24) * ratio / picture.height())
        scale = (int(fits) if fits >= 1 else fits) / ratio
        width, height = picture.width() * scale, picture.height() * scale
        painter.drawImage(QRectF((self.width() - width) / 2, (self.height() - height) / 2, width, height), picture)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        self.close()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        step = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}.get(Qt.Key(event.key()))
        if step is None:
            super().keyPressEvent(event)
        elif 0 <= self._index + step < len(self._grid):
            self.show_picture(self._index + step)
