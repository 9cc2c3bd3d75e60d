"""A table of small pictures: rows and columns with captions, one current cell that keys and pointer move.

Tiles come one by one and in any order; those still to come are left open. The pixels of a picture stay sharp: its scale
is a whole number of screen pixels unless that would waste much of the space.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QFontMetricsF,
    QImage,
    QMouseEvent,
    QPainter,
    QPen,
    QPixmap,
)
from PySide6.QtWidgets import QWidget

from studio.app.theme import mix, mono_font, notifier, tokens
from studio.app.widgets.cell_table import Cell, CellTable
from studio.app.widgets.image_grid import arrange
from studio.app.widgets.pictures import (
    color_word,
    role_color,
    to_mosaic,
    to_pixels,
    to_qimage,
)
from studio.core.pictures import scatter

_GAP, _MAT, _RIM = 3.0, 4.0, 4.0
_TITLE, _LINE, _SPACE = 18.0, 16.0, 8.0
_POINTS_SIDE = 64
_UNKNOWN_SIDE = 28  # of a picture, before the first has come
_LONGEST = 0.3  # of the width, which row captions may take


class _Tile(NamedTuple):
    picture: QImage
    tip: str


class ImageTable(CellTable):
    """Pictures in rows and columns. A click, a drag or the arrow keys move the current cell."""

    current_changed = Signal(int, int)
    """Row and column that the person went to."""

    def __init__(self, name: str = "Table of pictures", parent: QWidget | None = None) -> None:
        super().__init__(name, "No pictures yet", parent)
        self._tiles: dict[Cell, _Tile] = {}
        self._picture_size = QSize(_UNKNOWN_SIDE, _UNKNOWN_SIDE)
        self._current = (0, 0)
        self._sheet: QPixmap | None = None
        self._sheet_key: tuple[object, ...] = ()
        notifier().changed.connect(self._redraw)

    def set_table(
        self,
        row_captions: Sequence[str],
        column_captions: Sequence[str],
        row_title: str = "",
        column_title: str = "",
    ) -> None:
        """Start an empty table. The current cell stays where it is, or goes to the nearest there is."""
        self._set_captions(row_captions, column_captions, row_title, column_title)
        self._tiles = {}
        self._picture_size = QSize(_UNKNOWN_SIDE, _UNKNOWN_SIDE)
        if self.has_cells():
            row, column = self._current
            self._current = (min(row, len(self._rows) - 1), min(column, len(self._columns) - 1))
            self._describe()
        self._redraw()

    def set_tile(self, row: int, column: int, images: NDArray, index: int | None = 0, tip: str = "") -> None:
        """Fill in a cell: image ``index`` of (B, C, H, W), uint8 or floats in [-1, 1], or all of them for None.

        Points (B, D) are drawn together, as a density. ``tip`` joins the tool tip. Raises IndexError for a cell or
        image that is not there, and ValueError for another shape.
        """
        self._check((row, column))
        picture = _drawn(np.asarray(images), index)
        if picture.size() != self._picture_size and not self._tiles:
            self._picture_size = picture.size()
        self._tiles[row, column] = _Tile(picture, tip)
        if (row, column) == self._current:
            self._describe()
        self._redraw()

    def clear(self) -> None:
        """Show the empty text."""
        self._current = (0, 0)
        self.set_table((), ())
        self.setAccessibleDescription("")

    def set_current(self, row: int, column: int) -> None:
        """Outline another cell; emits nothing. Raises IndexError if there is no such cell."""
        self._check((row, column))
        if (row, column) != self._current:
            self._current = (row, column)
            self._describe()
            self.update()

    @property
    def current(self) -> Cell:
        """Row and column of the outlined cell."""
        return self._current

    def num_rows(self) -> int:
        """How many rows there are."""
        return len(self._rows)

    def num_columns(self) -> int:
        """How many columns there are."""
        return len(self._columns)

    def has_tile(self, row: int, column: int) -> bool:
        """Whether the picture of a cell has come."""
        return (row, column) in self._tiles

    def is_filled(self) -> bool:
        """Whether any picture has come."""
        return bool(self._tiles)

    def cell_at(self, position: QPointF) -> Cell | None:
        """The cell nearest to a position of the widget; None where there is no table."""
        if not self.has_cells():
            return None
        area, size = self._layout()
        column = int((position.x() - area.left()) // (size[0] + _GAP))
        row = int((position.y() - area.top()) // (size[1] + _GAP))
        return min(max(row, 0), len(self._rows) - 1), min(max(column, 0), len(self._columns) - 1)

    def cell_under(self, position: QPointF) -> Cell | None:
        cell = self.cell_at(position)
        return cell if cell is not None and self._layout()[0].contains(position) else None

    def place_of(self, row: int, column: int) -> QRectF:
        """Where the picture of a cell is drawn, in the units of the widget."""
        area, (width, height) = self._layout()
        return QRectF(area.left() + column * (width + _GAP), area.top() + row * (height + _GAP), width, height)

    # Geometry

    def _margins(self) -> tuple[float, float]:
        """What titles and captions take at the left and at the top."""
        metrics = QFontMetricsF(mono_font(11))
        longest = max((metrics.horizontalAdvance(caption) for caption in self._rows), default=0.0)
        left = _RIM + (_TITLE if self._row_title else 0.0) + min(longest, _LONGEST * self.width()) + _SPACE + _MAT
        return left, _RIM + (_TITLE if self._column_title else 0.0) + _LINE + 4.0 + _MAT

    def _layout(self) -> tuple[QRectF, tuple[float, float]]:
        """Where the cells lie, and the size of one, in units of the widget; the corner is on a whole screen pixel."""
        left, top = self._margins()
        ratio = self.devicePixelRatioF()
        across, down = len(self._columns), len(self._rows)
        room_x = max(self.width() - left - _RIM - _MAT - (across - 1) * _GAP, 1.0)
        room_y = max(self.height() - top - _RIM - _MAT - (down - 1) * _GAP, 1.0)
        scale = arrange(across * down, self._picture_size, (room_x * ratio, room_y * ratio), across).scale / ratio
        width, height = self._picture_size.width() * scale, self._picture_size.height() * scale
        whole = across * width + (across - 1) * _GAP, down * height + (down - 1) * _GAP
        x = left + max((self.width() - left - _RIM - _MAT - whole[0]) / 2, 0.0)
        return QRectF(round(x * ratio) / ratio, round(top * ratio) / ratio, *whole), (width, height)

    # Painting

    def _redraw(self) -> None:
        self._sheet = None
        self.update()

    def _paint_cells(self, painter: QPainter) -> None:
        key = (self.width(), self.height(), self.devicePixelRatioF())
        if self._sheet is None or key != self._sheet_key:
            self._sheet, self._sheet_key = self._draw_sheet(), key
        painter.drawPixmap(0, 0, self._sheet)
        area, (width, height) = self._layout()
        self._paint_captions(painter, area, width, height)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        if self.hasFocus():
            painter.setPen(QPen(role_color("accent"), 1))
            painter.drawRoundedRect(area.adjusted(-_MAT, -_MAT, _MAT, _MAT), 6, 6)
        painter.setPen(QPen(role_color("accent"), 2))
        painter.drawRoundedRect(self.place_of(*self._current).adjusted(-1.5, -1.5, 1.5, 1.5), 2, 2)

    def _draw_sheet(self) -> QPixmap:
        """The mat and all tiles that have come."""
        ratio = self.devicePixelRatioF()
        sheet = QPixmap(round(self.width() * ratio), round(self.height() * ratio))
        sheet.setDevicePixelRatio(ratio)
        sheet.fill(Qt.GlobalColor.transparent)
        area, (width, _) = self._layout()
        painter = QPainter(sheet)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(role_color("image_mat"))
        painter.drawRoundedRect(area.adjusted(-_MAT, -_MAT, _MAT, _MAT), 6, 6)
        # Smaller than a screen pixel a pixel, nearest neighbour would lose whole strokes.
        fine = width * ratio < self._picture_size.width()
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, fine)
        still_open = QColor(mix(tokens().image_mat, "#ffffff", 0.08))
        for row in range(len(self._rows)):
            for column in range(len(self._columns)):
                tile = self._tiles.get((row, column))
                if tile is None:
                    painter.fillRect(self.place_of(row, column), still_open)
                else:
                    painter.drawImage(self.place_of(row, column), tile.picture)
        painter.end()
        return sheet

    def _paint_captions(self, painter: QPainter, area: QRectF, width: float, height: float) -> None:
        metrics = QFontMetricsF(mono_font(11))
        right = int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        center = int(Qt.AlignmentFlag.AlignCenter)
        edge = area.left() - _MAT - _SPACE
        room = edge - _RIM - (_TITLE if self._row_title else 0.0)
        for row in _spread(len(self._rows), _LINE / (height + _GAP), self._current[0]):
            y = area.top() + row * (height + _GAP) + height / 2
            self._caption_style(painter, row == self._current[0])
            shown = metrics.elidedText(self._rows[row], Qt.TextElideMode.ElideRight, room + 1)
            painter.drawText(QRectF(edge - room - 2, y - _LINE / 2, room + 2, _LINE), right, shown)
        longest = max(metrics.horizontalAdvance(caption) for caption in self._columns) + 8
        top = area.top() - _MAT - 4 - _LINE
        for column in _spread(len(self._columns), longest / (width + _GAP), self._current[1]):
            x = area.left() + column * (width + _GAP) + width / 2
            x = min(max(x, longest / 2), self.width() - longest / 2)
            self._caption_style(painter, column == self._current[1])
            painter.drawText(QRectF(x - longest / 2, top, longest, _LINE), center, self._columns[column])
        along = QRectF(area.left(), top - _TITLE, area.width(), _TITLE)
        beside = QRectF(edge - room - _TITLE - 4, area.top(), _TITLE, area.height())
        self._paint_titles(painter, along, beside)

    # What is said of a cell

    def _tip(self, cell: Cell) -> str:
        tile = self._tiles.get(cell)
        return "\n".join([*self._named(cell), *((tile.tip,) if tile is not None and tile.tip else ())])

    def _describe(self) -> None:
        self.setAccessibleDescription(self._tip(self._current).replace("\n", ", "))

    # Qt

    def sizeHint(self) -> QSize:
        return QSize(480, 420)

    def minimumSizeHint(self) -> QSize:
        return QSize(200, 160)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        cell = self.cell_at(event.position())
        if event.buttons() & Qt.MouseButton.LeftButton and cell is not None:
            self._go(cell)

    def _go(self, cell: Cell) -> None:
        if cell != self._current:
            self.set_current(*cell)
            self.current_changed.emit(*cell)


def _spread(count: int, crowding: float, current: int) -> list[int]:
    """Which of ``count`` captions to draw, each ``crowding`` places long: evenly ones, with the current in any case."""
    every = max(int(np.ceil(crowding)), 1)
    return [k for k in range(count) if k == current or (k % every == 0 and abs(k - current) >= every)]


def _drawn(images: NDArray, index: int | None) -> QImage:
    """The picture of a tile."""
    if images.ndim == 2:
        return to_qimage(to_pixels(scatter(images, _POINTS_SIDE)))
    if images.ndim != 4:
        raise ValueError(f"a tile needs the shape (B, C, H, W) or (B, D); got {images.shape}.")
    if index is not None:
        return to_qimage(to_pixels(images[index]))
    columns = int(np.ceil(np.sqrt(len(images))))
    return to_qimage(to_mosaic(to_pixels(images), columns, 1, color_word(tokens().image_mat)))
