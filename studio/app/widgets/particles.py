"""Point sets on their way from noise to data.

In two dimensions: the data as faint dots, the particles x_t, optionally what the network believes (x0-hat) linked to
them, trails, and the score as arrows. In one dimension: the histograms of data, x_t and x0-hat as densities. The range
is fixed, so that nothing jumps while the steps go by. Dots are stamped from one small picture: 4,000 take about a
millisecond, ten times less than drawing points.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pyqtgraph import functions
from pyqtgraph.Qt.internals import PrimitiveArray
from PySide6.QtCore import QLineF, QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QContextMenuEvent, QImage, QPainter, QPainterPath, QPaintEvent, QPen, QPixmap
from PySide6.QtWidgets import QMenu, QSizePolicy, QWidget

from studio.app.theme import notifier, ui_font
from studio.app.widgets import scale
from studio.app.widgets.pictures import add_picture_actions, dot_pixmap, render_widget, role_color
from studio.app.widgets.plots import axis_ticks
from studio.app.widgets.series import Floats

_NUM_BINS = 80
_LEFT, _BOTTOM, _RIM = 34.0, 36.0, 8.0
_TICK_GAP = 72.0  # pixels between two ticks, at least
_SMOOTH_LINES = 1000  # more than these are drawn without smoothing
_ARROW_SHARE = 0.8  # of the spacing between two arrows: how long the longest are


class Particles(QWidget):
    """A view of points (B, D), D = 1 or 2, within a fixed range and with equal scales on both axes."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._data: Floats = np.empty((0, 2))
        self._x: Floats = np.empty((0, 2))
        self._x0: Floats | None = None
        self._field: tuple[Floats, Floats] | None = None
        self._trails: list[Floats] | None = None
        self._marked: Floats | None = None
        self._extent = 1.0
        self._top = 1.0
        self._fixed = False
        self._backdrop: QPixmap | None = None
        self._backdrop_key: tuple[object, ...] = ()
        self._dots: dict[tuple[object, ...], QPixmap] = {}
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setAccessibleName("Particles")
        notifier().changed.connect(self._redraw)

    def set_data_points(self, points: ArrayLike) -> None:
        """The data, (M, D), D = 1 or 2; unless a range was set, it fixes the range. Raises ValueError for another D."""
        self._data = _points(points)
        if len(self._data) and not self._fixed:
            self._extent = max(1.15 * float(np.quantile(np.abs(self._data), 0.999)), 1e-6)
        self._top = 1.0
        self._redraw()

    def set_particles(self, x: ArrayLike, x0: ArrayLike | None = None) -> None:
        """Where the particles are, (B, D), and optionally where the network believes they go, (B, D)."""
        self._x = _points(x)
        self._x0 = None if x0 is None else _points(x0)
        if self._x0 is not None and self._x0.shape != self._x.shape:
            raise ValueError(f"x and x0 need the same shape; got {self._x.shape} and {self._x0.shape}.")
        self.update()

    def set_field(self, points: ArrayLike | None, arrows: ArrayLike | None) -> None:
        """Arrows (F, D) at points (F, D), such as the score; None removes them. Lengths are relative."""
        self._field = None if points is None or arrows is None else (_points(points), _points(arrows))
        self.update()

    def set_trails(self, trails: Sequence[NDArray] | None) -> None:
        """Paths (T, 2) that particles took; None removes them. One dimension shows none."""
        self._trails = None if trails is None else [_points(trail) for trail in trails]
        self.update()

    def set_marked(self, point: ArrayLike | None) -> None:
        """Ring one place (2,), such as that of the particle at hand, or draw a line at it (1,); None removes it."""
        self._marked = None if point is None else _points(np.asarray(point, float)[None])
        self.update()

    def set_range(self, extent: float) -> None:
        """Show [-extent, extent] on the shorter axis. Raises ValueError unless extent > 0."""
        if not extent > 0:
            raise ValueError(f"an extent is greater than 0; got {extent}")
        self._extent, self._fixed = float(extent), True
        self._redraw()

    def clear(self) -> None:
        """Forget data, particles, field, trails, mark and range."""
        self._data = self._x = np.empty((0, 2))
        self._x0 = self._field = self._trails = self._marked = None
        self._fixed, self._extent = False, 1.0
        self._redraw()

    def to_image(self, scale: float = 2.0) -> QImage:
        """The view as a picture."""
        return render_widget(self, scale)

    def menu(self) -> QMenu:
        """The context menu."""
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        add_picture_actions(menu, self, self.to_image, "particles")
        return menu

    # Geometry

    @property
    def _flat(self) -> bool:
        return (self._x if len(self._x) else self._data).shape[1] == 1

    def _area(self) -> QRectF:
        width, height = self.width() - _LEFT - _RIM, self.height() - _BOTTOM - _RIM
        return QRectF(_LEFT, _RIM, max(width, 1.0), max(height, 1.0))

    def _ranges(self, area: QRectF) -> tuple[scale.Range, scale.Range]:
        if self._flat:
            return (-self._extent, self._extent), (0.0, self._top)
        per_pixel = 2 * self._extent / min(area.width(), area.height())
        half_x, half_y = per_pixel * area.width() / 2, per_pixel * area.height() / 2
        return (-half_x, half_x), (-half_y, half_y)

    def _to_pixels(self, points: Floats, area: QRectF) -> Floats:
        """(n, 2) in units of the axes to the units of the widget."""
        (x_lo, x_hi), (y_lo, y_hi) = self._ranges(area)
        factor = np.array([area.width() / (x_hi - x_lo), -area.height() / (y_hi - y_lo)])
        return (points - np.array([x_lo, y_hi])) * factor + np.array([area.left(), area.top()])

    # Painting

    def _redraw(self) -> None:
        self._backdrop = None
        self._dots.clear()
        self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        area = self._area()
        densities = self._densities() if self._flat else []
        key = (self.width(), self.height(), self.devicePixelRatioF(), self._top, self._flat)
        if self._backdrop is None or key != self._backdrop_key:
            self._backdrop, self._backdrop_key = self._draw_backdrop(area), key
        painter = QPainter(self)
        painter.drawPixmap(0, 0, self._backdrop)
        painter.setClipRect(area)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if self._field is not None:
            self._paint_field(painter, area)
        if self._flat:
            for values, role, dashed in densities:
                self._paint_density(painter, area, values, role, dashed)
            if self._marked is not None:
                self._paint_line(painter, area, float(self._marked[0, 0]))
        else:
            self._paint_plane(painter, area)

    def _paint_plane(self, painter: QPainter, area: QRectF) -> None:
        if self._trails:
            parts = [self._to_pixels(trail, area) for trail in self._trails]
            painter.setPen(_hairline("accent", 0.3))
            painter.setRenderHint(QPainter.RenderHint.Antialiasing, sum(map(len, parts)) <= _SMOOTH_LINES)
            _draw_lines(painter, np.concatenate([np.concatenate([p[:-1], p[1:]], axis=1) for p in parts]))
        at = self._to_pixels(self._x, area)
        if self._x0 is not None and len(at):
            believed = self._to_pixels(self._x0, area)
            painter.setPen(_hairline("text_faint", 0.25))
            painter.setRenderHint(QPainter.RenderHint.Antialiasing, len(at) <= _SMOOTH_LINES)
            _draw_lines(painter, np.concatenate([at, believed], axis=1))
            self._stamp(painter, believed, role_color("series_held_out"), 3.0, 0.8)
        self._stamp(painter, at, role_color("accent"), 3.5 if len(at) <= 1000 else 3.0, 0.75)
        if self._marked is not None and np.isfinite(self._marked).all():
            x, y = self._to_pixels(self._marked, area)[0]
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            painter.setPen(QPen(role_color("accent"), 2))
            painter.drawEllipse(QPointF(x, y), 7.0, 7.0)

    def _paint_line(self, painter: QPainter, area: QRectF, value: float) -> None:
        """Where one value of one dimension is, with a head at the axis."""
        if not np.isfinite(value):
            return
        x = float(self._to_pixels(np.array([[value, 0.0]]), area)[0, 0])
        painter.setPen(QPen(role_color("text"), 1.5))
        painter.drawLine(QPointF(x, area.top()), QPointF(x, area.bottom()))
        painter.setBrush(role_color("panel"))
        painter.drawEllipse(QPointF(x, area.bottom() - 5.0), 4.5, 4.5)

    def _paint_field(self, painter: QPainter, area: QRectF) -> None:
        assert self._field is not None
        points, arrows = self._field
        if not len(points) or (points.shape[1] == 1) != self._flat:
            return
        if self._flat:
            points = np.column_stack([points, np.full(len(points), 0.03 * self._top)])
            arrows = np.column_stack([arrows, np.zeros(len(arrows))])
            spacing = area.width() / len(points)
        else:
            spacing = (area.width() * area.height() / len(points)) ** 0.5
        starts = self._to_pixels(points, area)
        lengths = np.linalg.norm(arrows, axis=1, keepdims=True)
        usual = float(np.nanquantile(lengths, 0.9)) or 1.0
        shown = arrows * np.array([1.0, -1.0]) / np.maximum(lengths, 1e-12)
        shown *= _ARROW_SHARE * spacing * np.minimum(lengths / usual, 1.0)
        ends = starts + shown
        heads = [ends - 0.3 * (shown @ np.array([[c, s], [-s, c]])) for c, s in ((0.82, 0.57), (0.82, -0.57))]
        painter.setPen(_hairline("text_faint", 0.8))
        lines = [np.concatenate(pair, axis=1) for pair in ((starts, ends), (ends, heads[0]), (ends, heads[1]))]
        _draw_lines(painter, np.concatenate(lines))

    def _densities(self) -> list[tuple[Floats, str, bool]]:
        """Densities (bins,) with their colours and dashes; fits the top of the axis to the first, that of the data.

        Others may leave the view: what the network believes of noise is one spike, many times as high.
        """
        found = []
        for points, role, dashed in (
            (self._data, "series_raw", False),
            (self._x0, "series_held_out", True),
            (self._x, "accent", False),
        ):
            if points is not None and len(points):
                edges = np.linspace(-self._extent, self._extent, _NUM_BINS + 1)
                counts = np.histogram(points[:, 0], edges)[0]
                found.append((counts / (len(points) * (edges[1] - edges[0])), role, dashed))
        if found:
            self._top = scale.fit_linear(0.0, 1.25 * max(float(found[0][0].max()), 1e-6))[1]
        return found

    def _paint_density(self, painter: QPainter, area: QRectF, values: Floats, role: str, dashed: bool) -> None:
        edges = np.linspace(-self._extent, self._extent, _NUM_BINS + 1)
        outline = np.column_stack([np.repeat(edges, 2)[1:-1], np.repeat(values, 2)])
        pixels = self._to_pixels(outline, area)
        color = role_color(role)
        if role == "series_raw":
            painter.setPen(Qt.PenStyle.NoPen)
            color.setAlphaF(0.35)
            painter.setBrush(color)
            floor = [[area.left(), area.bottom()], [area.right(), area.bottom()]]
            painter.drawPath(_path(np.concatenate([floor[:1], pixels, floor[1:]])))
            return
        pen = QPen(color, 1.5)
        if dashed:
            pen.setDashPattern([4.0, 3.0])
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(pen)
        painter.drawPath(_path(pixels))

    def _draw_backdrop(self, area: QRectF) -> QPixmap:
        """What does not change from step to step: grid, labels and, in two dimensions, the data."""
        ratio = self.devicePixelRatioF()
        backdrop = QPixmap(round(self.width() * ratio), round(self.height() * ratio))
        backdrop.setDevicePixelRatio(ratio)
        backdrop.fill(role_color("panel"))
        painter = QPainter(backdrop)
        painter.setFont(ui_font(11))
        across, up = self._ranges(area)
        grid, muted = QPen(role_color("grid"), 1), role_color("text_muted")
        center = Qt.AlignmentFlag.AlignHCenter
        for x, label in zip(*axis_ticks(across, area.width(), _TICK_GAP, False), strict=True):
            at = area.left() + (x - across[0]) / (across[1] - across[0]) * area.width()
            painter.setPen(grid)
            painter.drawLine(QPointF(at, area.top()), QPointF(at, area.bottom()))
            painter.setPen(muted)
            painter.drawText(QRectF(at - 30, area.bottom() + 4, 60, 14), center, label)
        for y, label in zip(*axis_ticks(up, area.height(), _TICK_GAP, False), strict=True):
            at = area.bottom() - (y - up[0]) / (up[1] - up[0]) * area.height()
            painter.setPen(grid)
            painter.drawLine(QPointF(area.left(), at), QPointF(area.right(), at))
            painter.setPen(muted)
            right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
            painter.drawText(QRectF(0, at - 8, area.left() - 6, 16), right, label)
        below = QRectF(area.left(), area.bottom() + 19, area.width(), 15)
        painter.drawText(below, center, self._axis_name(painter, area.width()))
        if not self._flat and self._data.shape[1] == 2:
            painter.setClipRect(area)
            self._stamp(painter, self._to_pixels(self._data, area), role_color("series_raw"), 2.5, 0.4)
        painter.end()
        return backdrop

    def _axis_name(self, painter: QPainter, room: float) -> str:
        names = ("x, density upwards", "x") if self._flat else ("first and second coordinate", "x₁, x₂")
        return names[0] if painter.fontMetrics().horizontalAdvance(names[0]) <= room else names[1]

    def _stamp(self, painter: QPainter, at: Floats, color: QColor, diameter: float, opacity: float) -> None:
        at = at[np.isfinite(at).all(axis=1)]
        if not len(at):
            return
        ratio = self.devicePixelRatioF()
        shade = QColor(color)
        shade.setAlphaF(opacity)
        key = (shade.rgba(), diameter, ratio)
        if key not in self._dots:
            self._dots[key] = dot_pixmap(shade, diameter, ratio)
        dot = self._dots[key]
        stamps = PrimitiveArray(QPainter.PixmapFragment, 10)
        stamps.resize(len(at))
        table = stamps.ndarray()
        table[:, 0:2] = at
        # Source left, top, width and height; scale x and y; rotation; opacity.
        table[:, 2:] = (0, 0, dot.width(), dot.height(), 1 / ratio, 1 / ratio, 0, 1)
        painter.drawPixmapFragments(*stamps.drawargs(), dot)  # type: ignore[call-arg]  # a pointer and a count

    # Qt

    def sizeHint(self) -> QSize:
        return QSize(360, 300)

    def minimumSizeHint(self) -> QSize:
        return QSize(140, 150)

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        self.menu().popup(event.globalPos())


def _points(values: ArrayLike) -> Floats:
    points = np.asarray(values, float)
    if points.ndim != 2 or points.shape[1] not in (1, 2):
        raise ValueError(f"points need the shape (number, 1 or 2); got {points.shape}.")
    return points


def _hairline(role: str, opacity: float) -> QPen:
    """A pen of one screen pixel: wider ones are a hundred times slower where thousands of lines cross."""
    color = role_color(role)
    color.setAlphaF(opacity)
    pen = QPen(color, 1)
    pen.setCosmetic(True)
    return pen


def _path(pixels: Floats) -> QPainterPath:
    return functions.arrayToQPath(np.ascontiguousarray(pixels[:, 0]), np.ascontiguousarray(pixels[:, 1]))


def _draw_lines(painter: QPainter, ends: Floats) -> None:
    """Lines (n, 4) of x1, y1, x2, y2; those that are not finite are left out."""
    ends = ends[np.isfinite(ends).all(axis=1)]
    lines = PrimitiveArray(QLineF, 4)
    lines.resize(len(ends))
    lines.ndarray()[:] = ends
    painter.drawLines(*lines.drawargs())
