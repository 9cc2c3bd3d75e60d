"""The loss by noise level over training: rows are log-SNR bins, columns are steps, brightness is the log of the loss.

A long run always fits: when there are too many columns, pairs of them become their means, weighted by how many values
each cell has seen. Everything is drawn from one small picture, one pixel a cell.
"""

from __future__ import annotations

import math

import numpy as np
import pyqtgraph as pg
from numpy.typing import ArrayLike, NDArray
from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt
from PySide6.QtGui import (
    QColor,
    QContextMenuEvent,
    QFont,
    QFontMetricsF,
    QImage,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
)
from PySide6.QtWidgets import QMenu, QSizePolicy, QWidget

from studio.app.theme import notifier, ui_font
from studio.app.widgets import scale
from studio.app.widgets.pictures import ReadOut, add_picture_actions, render_widget, role_color, to_qimage
from studio.app.widgets.plots import LEFT, axis_ticks
from studio.app.widgets.series import Floats

MOST_COLUMNS = 400
_MARGINS = (LEFT, 24, 58, 36)  # left, top (of the title and the bar's name), right, bottom, pixels
_BAR = 9


class MergedColumns:
    """Columns of values that never number more than ``most``: the older ones are averaged in pairs.

    ``means`` is (n, L); a cell that saw no finite value is NaN. ``starts`` holds the x at which each column begins.
    """

    def __init__(self, most: int = MOST_COLUMNS) -> None:
        self._most = most
        self.clear()

    def clear(self) -> None:
        self.starts: list[float] = []
        self.stride = 1
        self._sums: list[Floats] = []
        self._counts: list[NDArray[np.int64]] = []
        self._in_last = 0

    def append(self, x: float, values: ArrayLike) -> None:
        """Add one column (L,) that begins at x. Raises ValueError if L is not that of the columns before."""
        row = np.asarray(values, float)
        if row.ndim != 1 or (self._sums and row.shape != self._sums[0].shape):
            raise ValueError(
                f"a column needs the shape {self._sums[0].shape if self._sums else '(L,)'}; got {row.shape}."
            )
        finite = np.isfinite(row)
        sums, counts = np.where(finite, row, 0.0), finite.astype(np.int64)
        if self.starts and self._in_last < self.stride:
            self._sums[-1], self._counts[-1] = self._sums[-1] + sums, self._counts[-1] + counts
            self._in_last += 1
            return
        if len(self.starts) >= self._most:
            self._merge()
            self.append(x, values)
            return
        self.starts.append(float(x))
        self._sums.append(sums)
        self._counts.append(counts)
        self._in_last = 1

    def means(self) -> Floats:
        """The mean of each cell, (n, L)."""
        sums, counts = np.array(self._sums), np.array(self._counts)
        return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan)

    def _merge(self) -> None:
        odd = len(self.starts) % 2
        self._in_last = self._in_last if odd else self._in_last + self.stride
        self.stride *= 2
        self._sums = [np.sum(self._sums[k : k + 2], axis=0) for k in range(0, len(self._sums), 2)]
        self._counts = [np.sum(self._counts[k : k + 2], axis=0) for k in range(0, len(self._counts), 2)]
        self.starts = self.starts[::2]


class HeatMap(QWidget):
    """A growing picture of positive values by row and step, with a labelled colour scale and a read-out."""

    def __init__(
        self,
        x_label: str = "steps",
        y_label: str = "log-SNR",
        value_label: str = "loss",
        title: str = "",
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._x_label, self._y_label, self._value_label, self._title = x_label, y_label, value_label, title
        self._columns = MergedColumns()
        self._edges: Floats = np.empty(0)
        self._last_x = 0.0
        self._range: scale.Range | None = None
        self._picture: QImage | None = None
        self._bar_picture: QImage | None = None
        self._colors: NDArray[np.uint32] = np.empty(0, np.uint32)
        self._pointer: QPointF | None = None
        self._header_room = QSize(0, 0)
        self.setMouseTracking(True)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setAccessibleName(title or f"{value_label} by {y_label} over {x_label}")
        notifier().changed.connect(self.update)

    def set_title(self, title: str) -> None:
        """Show another title."""
        self._title = title
        self.update()

    def append_column(self, x: float, values: ArrayLike, edges: ArrayLike) -> None:
        """Add the values (L,) seen up to x, for rows between the ascending ``edges`` (L + 1,). NaN is not drawn.

        Raises ValueError if the numbers of values and edges do not fit; new edges start a new picture.
        """
        row, new_edges = np.asarray(values, float), np.asarray(edges, float)
        if len(new_edges) != len(row) + 1:
            raise ValueError(f"{len(row)} values need {len(row) + 1} edges; got {len(new_edges)}.")
        if not np.array_equal(new_edges, self._edges):
            self.clear()
            self._edges = new_edges
        self._columns.append(x, row)
        self._last_x = float(x)
        positive = row[np.isfinite(row) & (row > 0)]
        if len(positive):
            lo, hi = float(positive.min()), float(positive.max())
            self._range = scale.grow(self._range, lo, hi, log=True) if self._range else scale.fit_log(lo, hi)
        self._picture = None
        self.update()

    def clear(self) -> None:
        """Forget all columns."""
        self._columns.clear()
        self._edges = np.empty(0)
        self._range = self._picture = None
        self.update()

    def set_header_room(self, size: QSize) -> None:
        """Leave room for a control of this size at the right of the title."""
        self._header_room = size
        self.update()

    def means(self) -> Floats:
        """What is drawn: (columns, L)."""
        return self._columns.means()

    def to_image(self, scale: float = 2.0) -> QImage:
        """The heat map with its axes as a picture."""
        return render_widget(self, scale)

    def menu(self) -> QMenu:
        """The context menu."""
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        add_picture_actions(menu, self, self.to_image, self._title or self.accessibleName())
        return menu

    def _area(self) -> QRectF:
        left, top, right, bottom = _MARGINS
        top = max(top, self._header_room.height() + 4)
        return QRectF(left, top, max(self.width() - left - right, 1), max(self.height() - top - bottom, 1))

    def _palette_words(self) -> NDArray[np.uint32]:
        if not len(self._colors):
            table = pg.colormap.get("viridis").getLookupTable(nPts=256, alpha=False).astype(np.uint32)
            self._colors = (table[:, 0] << 16) | (table[:, 1] << 8) | table[:, 2] | np.uint32(0xFF000000)
        return self._colors

    def _to_words(self, means: Floats) -> NDArray[np.uint32]:
        assert self._range is not None
        lo, hi = self._range
        seen = np.isfinite(means) & (means > 0)
        share = (np.log10(np.where(seen, means, 1.0)) - lo) / (hi - lo)
        return np.where(seen, self._palette_words()[np.clip(share * 255, 0, 255).astype(np.intp)], np.uint32(0))

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        area = self._area()
        if self._title:
            painter.setFont(ui_font(12, QFont.Weight.DemiBold))
            painter.setPen(role_color("text"))
            width = QFontMetricsF(painter.font()).horizontalAdvance(self._title)
            end = min(area.right(), self.width() - self._header_room.width() - 8)
            left = max(min(area.left(), end - width), 4.0)
            painter.drawText(
                QRectF(left, 0, self.width(), max(22, self._header_room.height())),
                Qt.AlignmentFlag.AlignVCenter,
                self._title,
            )
        painter.setFont(ui_font(11))
        if self._range is None:
            painter.setPen(role_color("text_faint"))
            painter.drawText(QRectF(self.rect()), Qt.AlignmentFlag.AlignCenter, "No values yet")
            return
        if self._picture is None:
            self._picture = to_qimage(self._to_words(self._columns.means().T), transparent=True)
        # Narrower than one pixel a column, neighbours are blended rather than dropped.
        fine = self._picture.width() > area.width() * self.devicePixelRatioF()
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, fine)
        painter.drawImage(area, self._picture)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, False)
        self._paint_axes(painter, area)
        self._paint_bar(painter, area)
        if self._pointer is not None:
            self._paint_read_out(painter, area)

    def _paint_axes(self, painter: QPainter, area: QRectF) -> None:
        painter.setPen(role_color("text_muted"))
        right, middle = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, Qt.AlignmentFlag.AlignHCenter
        lo, hi = float(self._edges[0]), float(self._edges[-1])
        for y, label in zip(*axis_ticks((lo, hi), area.height(), 34.0, False), strict=True):
            at = area.top() + float(np.interp(y, self._edges, np.linspace(0, area.height(), len(self._edges))))
            painter.drawText(QRectF(0, at - 8, area.left() - 6, 16), right, label)
        starts = [*self._columns.starts, self._end()]
        places = np.linspace(area.left(), area.right(), len(starts))
        for x, label in zip(*axis_ticks((starts[0], starts[-1]), area.width(), 64.0, False, whole=True), strict=True):
            at = float(np.interp(x, starts, places))
            painter.drawText(QRectF(at - 40, area.bottom() + 4, 80, 14), middle, label)
        painter.drawText(QRectF(area.left(), area.bottom() + 19, area.width(), 15), middle, self._x_label)
        painter.save()
        painter.translate(2, area.center().y())
        painter.rotate(-90)
        painter.drawText(QRectF(-area.height() / 2, 0, area.height(), 15), middle, self._y_label)
        painter.restore()

    def _paint_bar(self, painter: QPainter, area: QRectF) -> None:
        assert self._range is not None
        if self._bar_picture is None:
            self._bar_picture = to_qimage(self._palette_words()[::-1, None])
        bar = QRectF(area.right() + 12, area.top(), _BAR, area.height())
        painter.drawImage(bar, self._bar_picture)
        lo, hi = self._range
        for at, label in zip(*axis_ticks((lo, hi), area.height(), 30.0, True), strict=True):
            y = bar.bottom() - (at - lo) / (hi - lo) * bar.height()
            painter.drawText(QRectF(bar.right() + 5, y - 8, 34, 16), Qt.AlignmentFlag.AlignVCenter, label)
        width = QFontMetricsF(painter.font()).horizontalAdvance(self._value_label)
        place = QRectF(min(bar.left(), self.width() - width - 2), area.bottom() + 19, width + 2, 15)
        painter.drawText(place, Qt.AlignmentFlag.AlignLeft, self._value_label)

    def _paint_read_out(self, painter: QPainter, area: QRectF) -> None:
        assert self._pointer is not None
        means = self._columns.means()
        column = min(int((self._pointer.x() - area.left()) / area.width() * len(means)), len(means) - 1)
        row = min(int((self._pointer.y() - area.top()) / area.height() * means.shape[1]), means.shape[1] - 1)
        ends = [*self._columns.starts[1:], self._end()]
        cell = QRectF(
            area.left() + column * area.width() / len(means),
            area.top() + row * area.height() / means.shape[1],
            area.width() / len(means),
            area.height() / means.shape[1],
        )
        painter.setPen(QPen(role_color("panel"), 1))
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.drawRect(cell)
        levels = f"{scale.number(float(self._edges[row]))} to {scale.number(float(self._edges[row + 1]))}"
        head = f"{self._x_label} {scale.number(self._columns.starts[column])} to {scale.number(ends[column])}"
        value = float(means[column, row])
        shown = scale.number(value) if math.isfinite(value) else "no sample yet"
        rows: list[tuple[QColor | None, str, str]] = [(None, self._y_label, levels), (None, self._value_label, shown)]
        ReadOut(head, rows).paint(painter, self._pointer - QPointF(0, 12), QRectF(self.rect()).adjusted(2, 2, -2, -2))

    def _end(self) -> float:
        """Where the last column ends: as wide as the one before."""
        starts = self._columns.starts
        width = starts[-1] - starts[-2] if len(starts) > 1 else 1.0
        return max(starts[-1] + width, self._last_x)

    def sizeHint(self) -> QSize:
        return QSize(340, 220)

    def minimumSizeHint(self) -> QSize:
        return QSize(150, 130)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        inside = self._range is not None and self._area().contains(event.position())
        self._pointer = event.position() if inside else None
        self.update()

    def leaveEvent(self, event: QEvent) -> None:
        self._pointer = None
        self.update()

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        self.menu().popup(event.globalPos())
