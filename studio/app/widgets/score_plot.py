"""Measured scores over their cost: one curve with markers and error bars a way of sampling, and what real items score.

x is logarithmic. Curves are told apart by colour and by the shape of their markers, both fixed by their place in the
list of lanes. The axes change only when data leaves them or another score is shown.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt
from PySide6.QtGui import (
    QColor,
    QContextMenuEvent,
    QFont,
    QFontMetricsF,
    QGuiApplication,
    QIcon,
    QImage,
    QMouseEvent,
    QPainter,
    QPainterPath,
    QPaintEvent,
    QPen,
    QPixmap,
    QPolygonF,
)
from PySide6.QtWidgets import QMenu, QSizePolicy, QWidget

from studio.app.theme import notifier, ui_font
from studio.app.widgets import scale
from studio.app.widgets.pictures import ReadOut, add_picture_actions, render_widget, role_color
from studio.app.widgets.plots import axis_ticks
from studio.app.widgets.scale import Range

ROLES = ("series_raw", "series_smoothed", "series_learned", "series_gan", "series_held_out", "text")
"""The colours of lanes and of their curves, in order."""

_LEFT, _BOTTOM, _RIM, _ROW = 58.0, 38.0, 12.0, 22.0
_TICK_GAP_X, _TICK_GAP_Y = 58.0, 34.0
_NEAR = 24.0  # pixels within which the pointer reads a point
_MARGIN = 0.04


@dataclass(frozen=True)
class Curve:
    """Points of one way of sampling, ascending in x: ``xs`` > 0, ``ys``, and ``errors`` (n,) each, NaN for no bar.

    ``order`` fixes colour and marker; ``captions`` name each point in the read-out.
    """

    label: str
    order: int
    xs: tuple[float, ...]
    ys: tuple[float, ...]
    errors: tuple[float, ...]
    captions: tuple[str, ...]


class ScorePlot(QWidget):
    """Scores over evaluations or seconds, both named on the axes."""

    def __init__(self, title: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._title = title
        self._x_label = self._y_label = ""
        self._curves: tuple[Curve, ...] = ()
        self._floor: float | None = None
        self._home_x: Range | None = None
        self._home_y: Range | None = None
        self._empty_text = "Nothing measured yet"
        self._pointer: QPointF | None = None
        self.setMouseTracking(True)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setAccessibleName(title)
        notifier().changed.connect(self.update)

    def set_axes(self, x_label: str, y_label: str) -> None:
        """Name the axes; other names mean other numbers, so the ranges start anew."""
        if (x_label, y_label) != (self._x_label, self._y_label):
            self._x_label, self._y_label = x_label, y_label
            self._home_x = self._home_y = None
            self.update()

    def set_curves(self, curves: Sequence[Curve], floor: float | None) -> None:
        """Show these curves, and what real items score as a dashed line."""
        self._curves, self._floor = tuple(curves), floor
        xs = [x for curve in curves for x in curve.xs if x > 0]
        ends = [
            value
            for curve in curves
            for y, error in zip(curve.ys, curve.errors, strict=True)
            for value in (y - (error if error == error else 0.0), y + (error if error == error else 0.0))
            if math.isfinite(value)
        ]
        if not xs or not ends:
            self._home_x = self._home_y = None
        else:
            ends += [] if floor is None else [floor]
            least = min(y for curve in curves for y in curve.ys if math.isfinite(y))
            low = max(min(ends), 0.0) if least >= 0 else min(ends)  # no bar makes a distance negative
            self._home_x = _hold(self._home_x, (min(xs), max(xs)), log=True)
            self._home_y = _hold(self._home_y, (low, max(ends)), log=False)
        told = ", ".join(f"{curve.label}: {len(curve.xs)} points" for curve in curves)
        self.setAccessibleDescription(told)
        self.update()

    def set_empty_text(self, text: str) -> None:
        """What to say while there are no points."""
        self._empty_text = text
        self.update()

    def curves(self) -> tuple[Curve, ...]:
        """What is shown."""
        return self._curves

    def floor(self) -> float | None:
        """What real items score."""
        return self._floor

    def to_image(self, scale: float = 2.0) -> QImage:
        """The plot as a picture."""
        return render_widget(self, scale)

    def to_csv(self) -> str:
        """All points, one a row: the curve, x, y and the error bar's half length."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["curve", self._x_label, self._y_label, "error"])
        for curve in self._curves:
            for x, y, error in zip(curve.xs, curve.ys, curve.errors, strict=True):
                writer.writerow([curve.label, f"{x:.10g}", f"{y:.8g}", f"{error:.4g}" if error == error else ""])
        return out.getvalue()

    def menu(self) -> QMenu:
        """The context menu."""
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        add_picture_actions(menu, self, self.to_image, self._title)
        menu.addAction("Copy data as CSV", lambda: QGuiApplication.clipboard().setText(self.to_csv()))
        return menu

    # Geometry

    def _area(self) -> QRectF:
        top = _ROW * self._legend_rows() + 6.0
        return QRectF(_LEFT, top, max(self.width() - _LEFT - _RIM, 1.0), max(self.height() - top - _BOTTOM, 1.0))

    def _ranges(self) -> tuple[Range, Range]:
        (x_lo, x_hi), (y_lo, y_hi) = self._home_x or (0.0, 2.0), self._home_y or (0.0, 1.0)
        dx, dy = _MARGIN * (x_hi - x_lo), _MARGIN * (y_hi - y_lo)
        return (x_lo - dx, x_hi + dx), (y_lo - (dy if y_lo else 0.0), y_hi + dy)

    def place_of(self, x: float, y: float) -> QPointF:
        """Where a point of the data is drawn."""
        area, ((x_lo, x_hi), (y_lo, y_hi)) = self._area(), self._ranges()
        return QPointF(
            area.left() + (math.log10(x) - x_lo) / (x_hi - x_lo) * area.width(),
            area.bottom() - (y - y_lo) / (y_hi - y_lo) * area.height(),
        )

    # Painting

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        area = self._area()
        self._paint_header(painter)
        self._paint_axes(painter, area)
        if not any(curve.xs for curve in self._curves):
            painter.setPen(role_color("text_faint"))
            painter.setFont(ui_font(12))
            words = int(Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap)
            painter.drawText(area.adjusted(16, 8, -16, -8), words, self._empty_text)
            return
        painter.save()
        painter.setClipRect(area.adjusted(-6, -6, 6, 6))
        if self._floor is not None and math.isfinite(self._floor):
            painter.setPen(_dashed(role_color("series_limit")))
            y = self.place_of(1.0, self._floor).y()
            painter.drawLine(QPointF(area.left(), y), QPointF(area.right(), y))
        for curve in self._curves:
            self._paint_curve(painter, curve)
        painter.restore()
        self._paint_reading(painter)

    def _paint_curve(self, painter: QPainter, curve: Curve) -> None:
        color = role_color(ROLES[curve.order % len(ROLES)])
        points = [self.place_of(x, y) for x, y in zip(curve.xs, curve.ys, strict=True) if x > 0 and math.isfinite(y)]
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(QPen(color, 1.75))
        painter.drawPolyline(QPolygonF(points))
        painter.setPen(QPen(color, 1.25))
        for x, y, error in zip(curve.xs, curve.ys, curve.errors, strict=True):
            if x > 0 and math.isfinite(y) and math.isfinite(error) and error > 0:
                low, high = self.place_of(x, y - error), self.place_of(x, y + error)
                painter.drawLine(low, high)
                for end in (low, high):
                    painter.drawLine(end - QPointF(3.5, 0), end + QPointF(3.5, 0))
        for point in points:
            paint_marker(painter, point, 4.25, curve.order)

    def _paint_axes(self, painter: QPainter, area: QRectF) -> None:
        across, up = self._ranges()
        grid, muted = QPen(role_color("grid"), 1), role_color("text_muted")
        painter.setFont(ui_font(11))
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
        center = int(Qt.AlignmentFlag.AlignCenter)
        right = int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        for x, label in zip(*axis_ticks(across, area.width(), _TICK_GAP_X, True), strict=True):
            at = area.left() + (x - across[0]) / (across[1] - across[0]) * area.width()
            painter.setPen(grid)
            painter.drawLine(QPointF(at, area.top()), QPointF(at, area.bottom()))
            painter.setPen(muted)
            painter.drawText(QRectF(at - 30, area.bottom() + 3, 60, 15), center, label)
        for y, label in zip(*axis_ticks(up, area.height(), _TICK_GAP_Y, False), strict=True):
            at = area.bottom() - (y - up[0]) / (up[1] - up[0]) * area.height()
            painter.setPen(grid)
            painter.drawLine(QPointF(area.left(), at), QPointF(area.right(), at))
            painter.setPen(muted)
            painter.drawText(QRectF(16, at - 8, area.left() - 24, 16), right, label)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        name = f"{self._x_label}, log" if self._x_label else ""
        painter.drawText(QRectF(area.left(), area.bottom() + 19, area.width(), 16), center, name)
        painter.save()
        painter.translate(9, area.center().y())
        painter.rotate(-90)
        painter.drawText(QRectF(-area.height() / 2, -8, area.height(), 16), center, self._y_label)
        painter.restore()

    def _names(self) -> list[tuple[int | None, str]]:
        """What the legend names: the curves by their order, and the line of real items."""
        floor: list[tuple[int | None, str]] = [] if self._floor is None else [(None, "real vs real")]
        return [*((curve.order, curve.label) for curve in self._curves), *floor]

    def _legend(self) -> list[tuple[QRectF, int | None, str]]:
        """Where the names stand: right-aligned, in as many rows as they need."""
        metrics = QFontMetricsF(ui_font(11))
        title = QFontMetricsF(ui_font(12, QFont.Weight.DemiBold)).horizontalAdvance(self._title) + _LEFT + 20
        rows: list[list[tuple[float, int | None, str]]] = [[]]
        used = title
        for order, label in self._names():
            width = metrics.horizontalAdvance(label) + 42
            if rows[-1] and used + width > self.width() - _RIM:
                rows.append([])
                used = 0.0
            rows[-1].append((width, order, label))
            used += width
        places = []
        for row, names in enumerate(rows):
            left = self.width() - _RIM - sum(width for width, _, _ in names) + 16
            for width, order, label in names:
                places.append((QRectF(left, row * _ROW, width - 16, _ROW), order, label))
                left += width
        return places

    def _legend_rows(self) -> int:
        return max((round(place.top() / _ROW) + 1 for place, _, _ in self._legend()), default=1)

    def _paint_header(self, painter: QPainter) -> None:
        painter.setFont(ui_font(12, QFont.Weight.DemiBold))
        painter.setPen(role_color("text"))
        painter.drawText(QRectF(_LEFT, 0, self.width(), _ROW), Qt.AlignmentFlag.AlignVCenter, self._title)
        painter.setFont(ui_font(11))
        for place, order, label in self._legend():
            middle = place.center().y()
            color = role_color("series_limit" if order is None else ROLES[order % len(ROLES)])
            painter.setPen(_dashed(color) if order is None else QPen(color, 1.75))
            painter.drawLine(QPointF(place.left(), middle), QPointF(place.left() + 20, middle))
            if order is not None:
                paint_marker(painter, QPointF(place.left() + 10, middle), 3.75, order)
            painter.setPen(role_color("text_muted"))
            painter.drawText(place.adjusted(26, 0, 4, 0), Qt.AlignmentFlag.AlignVCenter, label)

    def _paint_reading(self, painter: QPainter) -> None:
        found = self.read_out(self._pointer) if self._pointer is not None else None
        if found is None:
            return
        curve, index = found
        at = self.place_of(curve.xs[index], curve.ys[index])
        painter.setBrush(Qt.BrushStyle.NoBrush)
        color = role_color(ROLES[curve.order % len(ROLES)])
        painter.setPen(QPen(color, 1.5))
        painter.drawEllipse(at, 8, 8)
        error = curve.errors[index]
        spread = f" ± {scale.number(error)}" if math.isfinite(error) else ""
        rows: list[tuple[QColor | None, str, str]] = [
            (color, self._y_label, f"{scale.number(curve.ys[index])}{spread}"),
            (None, self._x_label, scale.number(curve.xs[index])),
        ]
        if self._floor is not None:
            rows.append((role_color("series_limit"), "real vs real", scale.number(self._floor)))
        box = QRectF(self.rect()).adjusted(2, 2, -2, -2)
        ReadOut(curve.captions[index], rows).paint(painter, at - QPointF(0, 24), box)

    def read_out(self, position: QPointF) -> tuple[Curve, int] | None:
        """The curve and the index of its point nearest to a position, if there is one close by."""
        best, found = _NEAR, None
        for curve in self._curves:
            for index, (x, y) in enumerate(zip(curve.xs, curve.ys, strict=True)):
                if x > 0 and math.isfinite(y):
                    away = self.place_of(x, y) - position
                    if math.hypot(away.x(), away.y()) < best:
                        best, found = math.hypot(away.x(), away.y()), (curve, index)
        return found

    # Qt

    def sizeHint(self) -> QSize:
        return QSize(480, 300)

    def minimumSizeHint(self) -> QSize:
        return QSize(240, 180)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        self._pointer = event.position()
        self.update()

    def leaveEvent(self, event: QEvent) -> None:
        self._pointer = None
        self.update()

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        self.menu().popup(event.globalPos())


def paint_marker(painter: QPainter, center: QPointF, radius: float, order: int) -> None:
    """The marker of the lane ``order``, in its colour with a thin rim: disc, square, triangle, diamond, and so on."""
    path, r = QPainterPath(), radius
    match order % len(ROLES):
        case 0:
            path.addEllipse(center, r, r)
        case 1:
            path.addRect(QRectF(center.x() - 0.9 * r, center.y() - 0.9 * r, 1.8 * r, 1.8 * r))
        case 2:
            path.addPolygon(_polygon(center, 1.25 * r, 3, -90.0))
        case 3:
            path.addPolygon(_polygon(center, 1.25 * r, 4, 0.0))
        case 4:
            path.addPolygon(_polygon(center, 1.25 * r, 3, 90.0))
        case _:
            path.addPolygon(_polygon(center, 1.15 * r, 6, 0.0))
    path.closeSubpath()
    painter.save()
    painter.setPen(QPen(role_color("panel"), 1.25))
    painter.setBrush(role_color(ROLES[order % len(ROLES)]))
    painter.drawPath(path)
    painter.restore()


def marker_icon(order: int) -> QIcon:
    """The marker of a lane as a small icon, in the current colours."""
    pixmap = QPixmap(48, 48)
    pixmap.fill(Qt.GlobalColor.transparent)
    pixmap.setDevicePixelRatio(4)
    painter = QPainter(pixmap)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    paint_marker(painter, QPointF(6, 6), 4.25, order)
    painter.end()
    return QIcon(pixmap)


def _polygon(center: QPointF, radius: float, corners: int, turned: float) -> QPolygonF:
    angles = np.deg2rad(turned + 360.0 / corners * np.arange(corners))
    return QPolygonF([center + QPointF(radius * math.cos(a), radius * math.sin(a)) for a in angles.tolist()])


def _dashed(color: QColor) -> QPen:
    pen = QPen(color, 1.25)
    pen.setCapStyle(Qt.PenCapStyle.FlatCap)
    pen.setDashPattern([3.0, 3.0])
    return pen


def _hold(current: Range | None, bounds: Range, *, log: bool) -> Range:
    """``current``, or the next round range that holds ``bounds`` too."""
    if current is None:
        return scale.fit_log(*bounds) if log else scale.fit_linear(*bounds)
    return scale.grow(current, *bounds, log=log)
