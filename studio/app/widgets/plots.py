"""Curves that grow while they are watched: loss, rates, schedules.

The cost of a frame is the number of pixels, not of points (:mod:`studio.app.widgets.series`), and the axes are laid
out again only when data leaves their range (:mod:`studio.app.widgets.scale`). Curves are drawn by one item, in its
``paint``: Qt merges changes into one frame and calls nothing while the plot is hidden.
"""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyqtgraph as pg
from numpy.typing import ArrayLike, NDArray
from PySide6.QtCore import QEvent, QLineF, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QContextMenuEvent,
    QEnterEvent,
    QFont,
    QFontMetricsF,
    QGuiApplication,
    QImage,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPainterPath,
    QPaintEvent,
    QPen,
    QResizeEvent,
    QShowEvent,
    QWheelEvent,
)
from PySide6.QtWidgets import QMenu, QSizePolicy, QStyleOptionGraphicsItem, QVBoxLayout, QWidget

from studio.app.theme import notifier, tokens, ui_font
from studio.app.widgets import scale
from studio.app.widgets.pictures import ReadOut, add_picture_actions, render_widget, role_color
from studio.app.widgets.scale import Range, linear_labels, log_labels
from studio.app.widgets.series import Floats, SeriesBuffer, finite_bounds

_MARGIN = 0.02  # of the range, on each side: lines and dots at its ends are not cut
LEFT = 58  # where the curves begin, pixels: the name of the axis and "0.0005" lie beside each other
_BOTTOM = 36
_TICK_GAP_X, _TICK_GAP_Y = 64.0, 32.0
_MOST_TICKS = 6  # on a linear axis, about: more are noise, however large the plot
_ROUGH = 4.0  # a curve that goes up and down more than this many plot heights is drawn thin: wide joins are slow
_DENSE = 40.0  # and beyond this, without smoothing: its pixels are full anyway
_FAINT = 0.55
_DOT_GAP = 4.0
_RINGED_POINTS = 200
_DOT = 4.25
_REACH = 11.0  # pixels: so near a point it is the point that is meant
_LEAST_DRAG = 3.0  # pixels: a press that moves less only selects
_DASH = (4.0, 3.0)
_KEYS = "Arrow keys read values, plus and minus zoom, 0 shows everything."
_KEYS_HANDLES = (
    "Left and right select a point, up and down move it, Insert adds one, Delete removes it; plus and minus zoom, "
    "0 shows everything."
)


@dataclass(eq=False)
class _Series:
    label: str
    role: str
    dashed: bool
    width: float
    points: bool
    bars: bool
    dot: float = _DOT
    beside: str = ""
    visible: bool = True
    buffer: SeriesBuffer = field(default_factory=SeriesBuffer)
    drawn: tuple[object, ...] = ()
    path: QPainterPath = field(default_factory=QPainterPath)
    xs: Floats = field(default_factory=lambda: np.empty(0))
    ys: Floats = field(default_factory=lambda: np.empty(0))
    travel: float = 0.0

    def bar_width(self) -> float:
        """Of a column, in units of x."""
        gaps = np.diff(self.buffer.x)
        return 0.8 * float(np.median(gaps)) if len(gaps) else 0.8

    def prepare(self, plot: LivePlot, size: tuple[float, float]) -> None:
        """Make the path for the range and size of the plot, unless it is that already."""
        wanted = (self.buffer.version, plot.view_range(), size)
        if wanted == self.drawn:
            return
        self.drawn = wanted
        (x_lo, x_hi), (y_lo, y_hi) = plot.view_range()
        edges = np.linspace(x_lo, x_hi, max(int(size[0] / max(self.width, 1.0)), 16) + 1)
        xs, ys = self.buffer.columns(10.0**edges if plot.log_x else edges)
        with np.errstate(divide="ignore", invalid="ignore"):
            self.xs = np.log10(xs) if plot.log_x else xs
            self.ys = np.log10(ys) if plot.log_y else ys
        finite = np.isfinite(self.xs) & np.isfinite(self.ys)
        heights = np.clip((self.ys[finite] - y_lo) / (y_hi - y_lo), -1, 2)
        self.travel = float(np.abs(np.diff(heights)).sum())
        self.path = pg.functions.arrayToQPath(self.xs, self.ys, connect="all" if finite.all() else "finite")


@dataclass(eq=False)
class _Grab:
    """A point that the pointer has taken: where, how far above it, and within which range it may be pulled."""

    index: int
    start: QPointF
    offset: float
    span: Range
    moved: bool = False


class LivePlot(QWidget):
    """Curves over named axes, with a legend, a read-out under the pointer, zoom, and export.

    ``append`` and ``set_data`` take data units, also on logarithmic axes, where what is not positive is a gap.
    ``x_range`` and ``y_range`` are the least ranges shown. The wheel zooms (with Ctrl only x, with Shift only y), a
    left drag pans a zoomed plot, a double click shows everything again. Where ``whole_x``, x counts something, so its
    ticks are whole numbers. Without ``legend``, another plot names the same curves. The points of one series can be
    given handles: then a drag moves one up and down, and a double click asks for one more or one less.
    """

    marker_moved = Signal(float)
    """The marker was moved by hand to this x."""
    point_picked = Signal(int)
    """A point of the series with handles was pressed, or reached with the keys; by its index."""
    point_dragged = Signal(int, float)
    """A point is being pulled to this y, within the range that was shown when it was pressed."""
    point_let_go = Signal(int)
    """The pull is over."""
    point_nudged = Signal(int, float)
    """A point shall go to this y, by a key."""
    point_wanted = Signal(float, float)
    """One more point is wanted at this x and y."""
    point_unwanted = Signal(int)
    """A point shall go."""

    def __init__(
        self,
        x_label: str,
        y_label: str,
        log_y: bool = False,
        log_x: bool = False,
        y_range: Range | None = None,
        x_range: Range | None = None,
        title: str = "",
        whole_x: bool = False,
        legend: bool = True,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.log_x, self.log_y, self.whole_x = log_x, log_y, whole_x
        self._least_x, self._least_y = _to_axis(x_range, log_x), _to_axis(y_range, log_y)
        self._extent = self._least_x
        self._series: dict[str, _Series] = {}
        self._bounds_x: Range | None = None
        self._bounds_y: Range | None = None
        self._home_x, self._home_y = self._least_x, self._least_y
        self._frame: tuple[Range, Range] | None = None
        self._zoom: tuple[Range, Range] | None = None
        self._applied: tuple[Range, Range] | None = None
        self._marker: float | None = None
        self._draggable = False
        self._handles: str | None = None
        self._picked: int | None = None
        self._grab: _Grab | None = None

        self._header = _Header(self, title, legend)
        self._view = _View(self, x_label, y_label)
        self._overlay = self._view.overlay
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self._header)
        layout.addWidget(self._view, 1)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self._by_keys = False
        self.setAccessibleName(title or f"Plot of {y_label} over {x_label}")
        self.setAccessibleDescription(_KEYS)
        notifier().changed.connect(self._apply_theme)
        self._apply_theme()
        self._apply_range()

    # Series

    def add_series(
        self,
        key: str,
        label: str,
        color_role: str,
        *,
        dashed: bool = False,
        width: float = 1.5,
        points: bool = False,
        bars: bool = False,
        dot: float = _DOT,
        beside: str = "",
    ) -> None:
        """A curve drawn in a role of the theme. ``points`` marks each point, ``bars`` draws columns from zero.

        ``dot`` is the radius of the marks in pixels. A curve of width 1 is the background to others: where it is
        noisy, it is drawn faint. Later series lie on top. One that is drawn ``beside`` another, whose key that is,
        comes and goes with it; legend, menu and read-out pass it over. Raises ValueError if ``key`` is taken.
        """
        if key in self._series:
            raise ValueError(f"this plot has a series {key!r} already")
        self._series[key] = _Series(label, color_role, dashed, width, points, bars, dot, beside)
        self._header.arrange()

    def drop_series(self) -> None:
        """Forget all curves, to add others; the ranges stay."""
        self._series.clear()
        self.set_handles(None)
        self._bounds_x = self._bounds_y = None
        self._header.arrange()
        self._repaint_curves()

    def append(self, key: str, xs: ArrayLike, ys: ArrayLike) -> None:
        """Add points, scalars or (k,), at the end of a series. Raises ValueError if the lengths differ."""
        series = self._series[key]
        self._include(series, *series.buffer.append(xs, ys))
        self._refresh()

    def set_data(self, key: str, xs: ArrayLike, ys: ArrayLike) -> None:
        """Replace a series by points (n,). The ranges shrink only if the data has become much smaller."""
        buffer = self._series[key].buffer
        buffer.clear()
        buffer.append(xs, ys)
        self._gather_bounds()
        if self._grab is None:  # nothing moves under the person's hand
            self._shrink()
        self._refresh()

    def clear(self) -> None:
        """Forget all points, the zoom and the grown ranges; keep the series, the extent and the marker."""
        for series in self._series.values():
            series.buffer.clear()
        self._bounds_x = self._bounds_y = self._zoom = None
        self._home_x, self._home_y = self._extent, self._least_y
        self._refresh()

    def set_x_extent(self, lo: float, hi: float) -> None:
        """Show at least [lo, hi], such as the planned steps of a run. Raises ValueError unless lo < hi."""
        if not lo < hi or (self.log_x and lo <= 0):
            raise ValueError(f"an extent needs lo < hi (and lo > 0 on a log axis); got {lo} and {hi}")
        self._extent = _to_axis((lo, hi), self.log_x)
        self._home_x = self._extent
        self._refresh()

    def set_frame(self, x: Range, y: Range) -> None:
        """Show exactly these ranges, whatever the data are: what is higher leaves the view. For linear axes."""
        if self._frame != (x, y):
            self._frame, self._zoom = (x, y), None
            self._refresh()

    def set_series_visible(self, key: str, visible: bool) -> None:
        """Show or hide one curve; the legend does the same on a click."""
        self._series[key].visible = visible
        for series in self._series.values():
            if series.beside == key:
                series.visible = visible
        self._header.update()
        self._repaint_curves()

    def set_marker(self, x: float | None, *, draggable: bool | None = None) -> None:
        """A vertical line at x, or none. Where ``draggable``, a click or a drag in the plot moves it."""
        self._draggable = self._draggable if draggable is None else draggable
        if x != self._marker:
            self._marker = x
            self._repaint_curves()

    def marker(self) -> float | None:
        """Where the marker is, in data units."""
        return self._marker

    # Points that are moved by hand

    def set_handles(self, key: str | None, picked: int | None = None) -> None:
        """Let the points of one series be pulled up and down, with ``picked`` selected; None lets none.

        The plot moves nothing itself: it tells what is wanted, and :meth:`set_data` shows what became of it.
        """
        if (key, picked) != (self._handles, self._picked):
            self._handles, self._picked = key, picked if key is not None else None
            self.setAccessibleDescription(_KEYS_HANDLES if key else _KEYS)
            self._repaint_curves()

    def handle_at(self, position: QPointF) -> int | None:
        """The index of the movable point at a position of the view; None where there is none."""
        found = [(QLineF(position, place).length(), index) for index, place in enumerate(self._handle_places())]
        distance, index = min(found, default=(math.inf, -1))
        return index if distance <= _REACH else None

    def take_point(self, position: QPointF) -> bool:
        """Take the point under the pointer, if there is one, and say which."""
        index = self.handle_at(position)
        if index is None:
            return False
        place = self._handle_places()[index]
        self._grab = _Grab(index, position, position.y() - place.y(), (self._zoom or self.home())[1])
        self.setFocus(Qt.FocusReason.MouseFocusReason)
        self.point_picked.emit(index)
        return True

    def pull_point(self, position: QPointF) -> bool:
        """Pull the point that was taken; False where none was."""
        grab = self._grab
        if grab is None:
            return False
        if not grab.moved and abs(position.y() - grab.start.y()) < _LEAST_DRAG:
            return True
        grab.moved = True
        y = self._view.to_axis(position - QPointF(0.0, grab.offset)).y()
        # A range that grew while a point is pulled over its edge would run away from the pointer.
        y = min(max(y, grab.span[0]), grab.span[1])
        self.point_dragged.emit(grab.index, 10.0**y if self.log_y else y)
        return True

    def let_go(self) -> None:
        """End the pull, if there is one."""
        grab, self._grab = self._grab, None
        if grab is not None and grab.moved:
            self.point_let_go.emit(grab.index)

    def double_click(self, position: QPointF) -> None:
        """Ask for a point here, or for this one to go; a plot without handles shows everything again."""
        self._grab = None
        if self._handles is None:
            self.reset_view()
            return
        index = self.handle_at(position)
        if index is not None:
            self.point_unwanted.emit(index)
        elif self._view.plot_area().contains(position):
            at = self._view.to_axis(position)
            self.point_wanted.emit(*(10.0**v if log else v for v, log in ((at.x(), self.log_x), (at.y(), self.log_y))))

    def _handle_places(self) -> list[QPointF]:
        """Where the movable points are, in pixels of the view."""
        series = self._series.get(self._handles or "")
        if series is None or not series.visible:
            return []
        with np.errstate(divide="ignore", invalid="ignore"):
            xs = np.log10(series.buffer.x) if self.log_x else series.buffer.x
            ys = np.log10(series.buffer.y) if self.log_y else series.buffer.y
        return [self._view.from_axis(x, y) for x, y in zip(xs.tolist(), np.nan_to_num(ys).tolist(), strict=True)]

    def _handle_key(self, event: QKeyEvent) -> bool:
        """What a key does to the selected point; False where it does nothing."""
        series = self._series.get(self._handles or "")
        if series is None or not len(series.buffer):
            return False
        key, last = event.key(), len(series.buffer) - 1
        index = self._picked
        if key in (Qt.Key.Key_Left, Qt.Key.Key_Right):
            step = 1 if key == Qt.Key.Key_Right else -1
            self.point_picked.emit(min(max((last if index is None else index + step), 0), last))
            return True
        if index is None or index > last:
            return False
        x, y = float(series.buffer.x[index]), float(series.buffer.y[index])
        if key in (Qt.Key.Key_Up, Qt.Key.Key_Down):
            lo, hi = self.home()[1]
            share = 0.002 if event.modifiers() & Qt.KeyboardModifier.ShiftModifier else 0.01
            by = (hi - lo) * share * (1 if key == Qt.Key.Key_Up else -1)
            self.point_nudged.emit(index, y * 10.0**by if self.log_y else y + by)
        elif key in (Qt.Key.Key_Delete, Qt.Key.Key_Backspace):
            self.point_unwanted.emit(index)
        elif key == Qt.Key.Key_Insert:
            self.point_wanted.emit(x, y)
        else:
            return False
        return True

    # Ranges

    def view_range(self) -> tuple[Range, Range]:
        """The shown ranges of x and y with their margins, log10 units on logarithmic axes."""
        (x_lo, x_hi), (y_lo, y_hi) = self._zoom or self.home()
        dx, dy = _MARGIN * (x_hi - x_lo), 1.5 * _MARGIN * (y_hi - y_lo)
        return (x_lo - dx, x_hi + dx), (y_lo - dy, y_hi + dy)

    def reset_view(self) -> None:
        """Show all data: forget the zoom, and fit the ranges closely."""
        self._zoom = None
        self._home_x, self._home_y = self._fitted()
        self._refresh()

    def home(self) -> tuple[Range, Range]:
        """The ranges of an unzoomed plot, without margins, in the units of the axes."""
        return self._frame or (self._home_x or (0.0, 1.0), self._home_y or (0.0, 1.0))

    def _gather_bounds(self) -> None:
        """The bounds of all that is there now."""
        self._bounds_x = self._bounds_y = None
        for series in self._series.values():
            self._include(series, series.buffer.x, series.buffer.y)

    def _include(self, series: _Series, xs: Floats, ys: Floats) -> None:
        if series.bars and len(xs):
            half = series.bar_width() / 2
            xs, ys = np.append(xs, [xs[0] - half, xs[-1] + half]), np.append(ys, 0.0)
        keep_x, keep_y = xs[xs > 0] if self.log_x else xs, ys[ys > 0] if self.log_y else ys
        self._bounds_x = _union(self._bounds_x, finite_bounds(keep_x))
        self._bounds_y = _union(self._bounds_y, finite_bounds(keep_y))

    def _fitted(self) -> tuple[Range | None, Range | None]:
        """The least ranges, grown to hold all data; None for an axis that knows nothing."""
        return (
            _hold(self._extent, self._bounds_x, self.log_x),
            _hold(self._least_y, self._bounds_y, self.log_y),
        )

    def _shrink(self) -> None:
        """Fit a range again where the data would fill less than a third of it."""
        tight_x, tight_y = self._fitted()
        if self._home_x and tight_x and _length(tight_x) < _length(self._home_x) / 3:
            self._home_x = tight_x
        if self._home_y and tight_y and _length(tight_y) < _length(self._home_y) / 3:
            self._home_y = tight_y

    def _refresh(self) -> None:
        if not self.isVisible():
            return
        self._home_x = _hold(self._home_x, self._bounds_x, self.log_x)
        self._home_y = _hold(self._home_y, self._bounds_y, self.log_y)
        self._apply_range()
        self._repaint_curves()
        if self._overlay.reads:
            self._overlay.refresh()

    def _apply_range(self) -> None:
        shown = self.view_range()
        if shown != self._applied:
            self._applied = shown
            self._view.plotItem.vb.setRange(xRange=shown[0], yRange=shown[1], padding=0)

    def _repaint_curves(self) -> None:
        if self.isVisible():
            self._view.layer.update()

    # Export

    def to_image(self, scale: float = 2.0) -> QImage:
        """The plot with its legend as a picture."""
        return render_widget(self, scale)

    def to_csv(self) -> str:
        """All points as comma-separated values: one row for each x, one column for each series, empty where missing."""
        series = list(self._series.values())
        rows = np.unique(np.concatenate([s.buffer.x for s in series])) if series else np.empty(0)
        table = np.full((len(rows), len(series)), np.nan)
        for column, one in enumerate(series):
            table[np.searchsorted(rows, one.buffer.x), column] = one.buffer.y
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow([self._view.x_label, *(one.label for one in series)])
        for x, values in zip(rows, table, strict=True):
            writer.writerow([f"{x:.10g}", *("" if math.isnan(v) else f"{v:.8g}" for v in values)])
        return out.getvalue()

    def menu(self) -> QMenu:
        """The context menu."""
        menu = QMenu(self)
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        add_picture_actions(menu, self, self.to_image, self._header.title or "plot")
        menu.addAction("Copy data as CSV", lambda: QGuiApplication.clipboard().setText(self.to_csv()))
        menu.addSeparator()
        menu.addAction("Show everything", self.reset_view)
        named = {key: series for key, series in self._series.items() if not series.beside}
        if len(named) > 1:
            menu.addSeparator()
            for key, series in named.items():
                action = menu.addAction(series.label)
                action.setCheckable(True)
                action.setChecked(series.visible)
                action.toggled.connect(lambda on, key=key: self.set_series_visible(key, on))
        return menu

    # Drawing

    def paint_curves(self, painter: QPainter) -> None:
        """Draw grid, curves and marker in the coordinates of the view."""
        ratio = painter.device().devicePixelRatioF()
        area = self._view.plot_area()
        size = (area.width(), area.height())
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
        self._paint_grid(painter, ratio, size)
        for series in self._series.values():
            if series.visible and len(series.buffer):
                series.prepare(self, size)
                self._paint_series(painter, series, ratio)
        if self._marker is not None and (self._marker > 0 or not self.log_x):
            x = math.log10(self._marker) if self.log_x else self._marker
            y_lo, y_hi = self.view_range()[1]
            painter.setPen(_pen(role_color("accent"), 1.5 * ratio))
            painter.drawLine(QPointF(x, y_lo), QPointF(x, y_hi))
        if self._picked is not None:
            self._paint_picked(painter)

    def _paint_picked(self, painter: QPainter) -> None:
        """A ring around the selected point."""
        places = self._handle_places()
        if self._picked is None or self._picked >= len(places):
            return
        painter.save()
        painter.resetTransform()
        painter.scale(painter.device().devicePixelRatioF(), painter.device().devicePixelRatioF())
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setBrush(role_color("panel"))
        painter.setPen(QPen(role_color("accent"), 3.0))
        painter.drawEllipse(places[self._picked], 5.0, 5.0)
        painter.restore()

    def _paint_grid(self, painter: QPainter, ratio: float, size: tuple[float, float]) -> None:
        (x_lo, x_hi), (y_lo, y_hi) = self.view_range()
        painter.setPen(_pen(role_color("grid"), ratio))
        for x in axis_ticks((x_lo, x_hi), size[0], _TICK_GAP_X, self.log_x, whole=self.whole_x)[0]:
            painter.drawLine(QPointF(x, y_lo), QPointF(x, y_hi))
        for y in axis_ticks((y_lo, y_hi), size[1], _TICK_GAP_Y, self.log_y)[0]:
            painter.drawLine(QPointF(x_lo, y), QPointF(x_hi, y))

    def _paint_series(self, painter: QPainter, series: _Series, ratio: float) -> None:
        color = role_color(series.role)
        if series.bars:
            self._paint_bars(painter, series, color)
            return
        rough = series.travel > _ROUGH
        if rough and series.width <= 1:
            color.setAlphaF(_FAINT)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, series.travel < _DENSE)
        pen = _pen(color, 1.0 if rough else series.width * ratio)
        if series.dashed and not rough:
            pen.setCapStyle(Qt.PenCapStyle.FlatCap)
            pen.setDashPattern(_DASH)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setPen(pen)
        painter.drawPath(series.path)
        finite = np.isfinite(series.xs) & np.isfinite(series.ys)
        self._paint_points(painter, series, color, finite if series.points else _alone(finite))

    def _paint_points(self, painter: QPainter, series: _Series, color: QColor, which: NDArray[np.bool_]) -> None:
        """Dots keep their shape: they are placed in pixels, not drawn through the view's uneven scale.

        Where they would hide each other, and the curves beneath, only some are drawn, and the newest.
        """
        if not which.any():
            return
        to_pixels = painter.worldTransform()
        ringed = int(which.sum()) <= _RINGED_POINTS
        painter.save()
        painter.resetTransform()
        painter.setBrush(color)
        painter.setPen(QPen(role_color("panel"), 1.5) if ringed else QPen(Qt.PenStyle.NoPen))
        radius = series.dot if ringed else 2.0
        points = zip(series.xs[which].tolist(), series.ys[which].tolist(), strict=True)
        for place in _apart([to_pixels.map(QPointF(x, y)) for x, y in points], _DOT_GAP * radius):
            painter.drawEllipse(place, radius, radius)
        painter.restore()

    def _paint_bars(self, painter: QPainter, series: _Series, color: QColor) -> None:
        width = series.bar_width()
        floor = self.view_range()[1][0] if self.log_y else 0.0
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(color)
        finite = np.isfinite(series.ys)
        painter.drawRects(
            [
                QRectF(x - width / 2, min(y, floor), width, abs(y - floor))
                for x, y in zip(series.xs[finite].tolist(), series.ys[finite].tolist(), strict=True)
            ]
        )

    def _apply_theme(self) -> None:
        self._view.apply_theme()
        self._header.update()
        self._overlay.update()

    # Pointer and keys; the view hands its events on

    def read_out(self, x: float) -> tuple[float, list[tuple[_Series, float]]] | None:
        """The sampled x nearest to ``x`` (data units) and the value of each visible curve there; None without data."""
        found: list[tuple[_Series, float, float]] = []
        for series in self._series.values():
            if not series.visible or series.beside or not len(series.buffer):
                continue
            xs = series.buffer.x
            right = int(np.clip(np.searchsorted(xs, x), 0, len(xs) - 1))
            index = right - 1 if right and abs(xs[right - 1] - x) <= abs(xs[right] - x) else right
            found.append((series, float(xs[index]), float(series.buffer.y[index])))
        if not found:
            return None
        nearest = min(found, key=lambda item: abs(item[1] - x))[1]
        per_pixel = self._x_per_pixel(nearest)
        return nearest, [(s, y) for s, at, y in found if abs(at - nearest) <= 40 * per_pixel]

    def _x_per_pixel(self, x: float) -> float:
        lo, hi = self.view_range()[0]
        per_pixel = (hi - lo) / max(self._view.plot_area().width(), 1.0)
        return abs(x) * math.log(10) * per_pixel if self.log_x else per_pixel

    def move_marker(self, position: QPointF) -> None:
        """Bring the marker to a position of the view, within the range, and say so."""
        lo, hi = self.home()[0]
        x = min(max(self._view.to_axis(position).x(), lo), hi)
        x = 10.0**x if self.log_x else x
        self.set_marker(x)
        self.marker_moved.emit(x)

    def zoom_at(self, at: QPointF, factor: float, *, x: bool = True, y: bool = True) -> None:
        """Scale the ranges by ``factor`` (< 1 shows less) around a position of the view; never beyond everything."""
        center = self._view.to_axis(at)
        home_x, home_y = self.home()
        now_x, now_y = self._zoom or (home_x, home_y)
        wanted_x = _zoomed(now_x, home_x, center.x(), factor) if x else now_x
        wanted_y = _zoomed(now_y, home_y, center.y(), factor) if y else now_y
        self._set_zoom((wanted_x, wanted_y))

    def pan(self, delta: QPointF) -> None:
        """Move a zoomed plot by pixels."""
        if self._zoom is None:
            return
        area = self._view.plot_area()
        x, y = self._zoom
        home_x, home_y = self.home()
        dx, dy = -delta.x() * _length(x) / area.width(), delta.y() * _length(y) / area.height()
        self._set_zoom((_moved(x, home_x, dx), _moved(y, home_y, dy)))

    def _set_zoom(self, zoom: tuple[Range, Range]) -> None:
        self._zoom = None if zoom == self.home() else zoom
        self._apply_range()
        self._repaint_curves()

    @property
    def draggable(self) -> bool:
        """Whether the pointer moves the marker."""
        return self._draggable and self._marker is not None

    def series(self) -> list[_Series]:
        """The curves in drawing order."""
        return list(self._series.values())

    def toggle_series(self, series: _Series) -> None:
        """Show or hide a curve."""
        key = next(key for key, one in self._series.items() if one is series)
        self.set_series_visible(key, not series.visible)

    @property
    def framed(self) -> bool:
        """Whether a frame shows that keys go to this plot: not after a point was only pulled with the mouse."""
        return self._by_keys and self.hasFocus()

    # Qt

    def sizeHint(self) -> QSize:
        return QSize(420, 220)

    def minimumSizeHint(self) -> QSize:
        return QSize(120, 150)

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._refresh()

    def contextMenuEvent(self, event: QContextMenuEvent) -> None:
        self.menu().popup(event.globalPos())

    def focusOutEvent(self, event: Any) -> None:
        super().focusOutEvent(event)
        self._overlay.hide_values()
        self.update()

    def focusInEvent(self, event: Any) -> None:
        super().focusInEvent(event)
        if event.reason() not in (Qt.FocusReason.ActiveWindowFocusReason, Qt.FocusReason.PopupFocusReason):
            self._by_keys = event.reason() != Qt.FocusReason.MouseFocusReason
        self._overlay.refresh()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        key = event.key()
        area = self._view.plot_area()
        self._by_keys = True
        self._overlay.refresh()
        if self._handle_key(event):
            return
        if key in (Qt.Key.Key_Left, Qt.Key.Key_Right):
            self._overlay.step(-1 if key == Qt.Key.Key_Left else 1)
        elif key in (Qt.Key.Key_Plus, Qt.Key.Key_Equal):
            self.zoom_at(area.center(), 0.8)
        elif key == Qt.Key.Key_Minus:
            self.zoom_at(area.center(), 1.25)
        elif key == Qt.Key.Key_0:
            self.reset_view()
        elif key == Qt.Key.Key_Escape and self._overlay.reads:
            self._overlay.hide_values()
        else:
            super().keyPressEvent(event)


class _Axis(pg.AxisItem):
    """An axis without a line: labels at round numbers, of a fixed width, so that it never moves the plot."""

    def __init__(self, orientation: str, log: bool, gap: float, *, whole: bool = False) -> None:
        super().__init__(orientation)
        self._log_ticks, self._gap, self._whole = log, gap, whole
        self.setStyle(tickLength=0, tickTextOffset=6, hideOverlappingLabels=False, autoExpandTextSpace=False)
        self.enableAutoSIPrefix(False)

    def tickValues(self, minVal: float, maxVal: float, size: float) -> list[tuple[float, list[float]]]:
        return [(1.0, axis_ticks((minVal, maxVal), size, self._gap, self._log_ticks, whole=self._whole)[0])]

    def tickStrings(self, values: list[float], scale: float, spacing: float) -> list[str]:
        return log_labels([10.0**v for v in values]) if self._log_ticks else linear_labels(values)

    def generateDrawSpecs(self, p: QPainter) -> tuple[Any, list[Any], list[Any]] | None:
        specs = super().generateDrawSpecs(p)
        return specs and (specs[0], [], specs[2])  # the grid marks the ticks


class _Layer(pg.GraphicsObject):
    """The one item that draws a plot's curves."""

    def __init__(self, plot: LivePlot) -> None:
        super().__init__()
        self._plot = plot

    def boundingRect(self) -> QRectF:
        return self.viewRect()

    def viewTransformChanged(self) -> None:
        super().viewTransformChanged()
        self.prepareGeometryChange()

    def paint(self, painter: QPainter, option: QStyleOptionGraphicsItem, widget: QWidget | None = None) -> None:
        self._plot.paint_curves(painter)


class _View(pg.PlotWidget):
    """Axes and plot area. It takes the pointer's events itself: pyqtgraph's own handling asks every item each time."""

    def __init__(self, plot: LivePlot, x_label: str, y_label: str) -> None:
        axes = {
            "left": _Axis("left", plot.log_y, _TICK_GAP_Y),
            "bottom": _Axis("bottom", plot.log_x, _TICK_GAP_X, whole=plot.whole_x),
        }
        super().__init__(plot, axisItems=axes, enableMenu=False)
        self.x_label, self.y_label = x_label, y_label
        self._plot = plot
        self._pressed: QPointF | None = None
        self.hideButtons()
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.NoContextMenu)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setFrameStyle(0)
        self.plotItem.setContentsMargins(2, 6, 14, 2)
        box = self.plotItem.vb
        box.setMouseEnabled(False, False)
        box.disableAutoRange()
        self.layer = _Layer(plot)
        box.addItem(self.layer, ignoreBounds=True)
        self.overlay = _Overlay(plot, self)
        axes["left"].setWidth(LEFT if y_label else LEFT - 16)
        axes["bottom"].setHeight(_BOTTOM if x_label else _BOTTOM - 14)

    def apply_theme(self) -> None:
        now = tokens()
        self.setBackground(now.panel)
        font = ui_font(11)
        for name, text in (("left", self.y_label), ("bottom", self.x_label)):
            axis = self.plotItem.getAxis(name)
            axis.setPen(pg.mkPen(None))
            axis.setTickPen(pg.mkPen(None))
            axis.setTextPen(now.text_muted)
            axis.setTickFont(font)
            axis.label.setFont(font)
            axis.setLabel(text or None, color=now.text_muted)
            axis.showLabel(bool(text))

    def plot_area(self) -> QRectF:
        """The rectangle of the curves, in pixels of this widget."""
        return self.plotItem.vb.sceneBoundingRect()

    def to_axis(self, position: QPointF) -> QPointF:
        """From pixels to the units of the axes."""
        area = self.plot_area()
        (x_lo, x_hi), (y_lo, y_hi) = self._plot.view_range()
        return QPointF(
            x_lo + (position.x() - area.left()) / max(area.width(), 1) * (x_hi - x_lo),
            y_hi - (position.y() - area.top()) / max(area.height(), 1) * (y_hi - y_lo),
        )

    def from_axis(self, x: float, y: float) -> QPointF:
        """From the units of the axes to pixels."""
        area = self.plot_area()
        (x_lo, x_hi), (y_lo, y_hi) = self._plot.view_range()
        return QPointF(
            area.left() + (x - x_lo) / (x_hi - x_lo) * area.width(),
            area.bottom() - (y - y_lo) / (y_hi - y_lo) * area.height(),
        )

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        if event is not None:  # pyqtgraph calls it without one
            self.overlay.setGeometry(self.rect())

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if event.button() != Qt.MouseButton.LeftButton:
            event.ignore()
            return
        self._pressed = event.position()
        if self._plot.take_point(event.position()):
            self.overlay.hide_values()
        elif self._plot.draggable:
            self._plot.move_marker(event.position())
        event.accept()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if self._pressed is None:
            self.overlay.point_at(event.position())
            over = self._plot.handle_at(event.position()) is not None
            self.viewport().setCursor(Qt.CursorShape.SizeVerCursor if over else Qt.CursorShape.ArrowCursor)
        elif self._plot.pull_point(event.position()):
            pass
        elif self._plot.draggable:
            self._plot.move_marker(event.position())
        else:
            self._plot.pan(event.position() - self._pressed)
            self._pressed = event.position()
        event.accept()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        self._pressed = None
        self._plot.let_go()
        event.accept()

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            self._plot.double_click(event.position())
        event.accept()

    def wheelEvent(self, event: QWheelEvent) -> None:
        turned = event.angleDelta().y() or event.angleDelta().x()
        held = event.modifiers()
        only_x = bool(held & Qt.KeyboardModifier.ControlModifier)
        only_y = bool(held & Qt.KeyboardModifier.ShiftModifier)
        self._plot.zoom_at(event.position(), 0.85 ** (turned / 120), x=not only_y, y=not only_x)
        event.accept()

    def leaveEvent(self, event: QEvent) -> None:
        self.overlay.hide_values()

    def enterEvent(self, event: QEnterEvent) -> None:
        event.accept()


class _Header(QWidget):
    """The title at the left and the legend at the right, in as many rows as it needs. A click on a name toggles it."""

    ROW = 22

    def __init__(self, plot: LivePlot, title: str, legend: bool) -> None:
        super().__init__(plot)
        self._plot = plot
        self.title = title
        self._legend = legend
        self._places: list[tuple[QRectF, _Series]] = []
        self.arrange()

    def arrange(self) -> None:
        """Place the names; a single curve needs none."""
        font = QFontMetricsF(ui_font(11))
        named = [series for series in self._plot.series() if not series.beside]
        shown = named if self._legend and len(named) > 1 else []
        title = self._title_width() + 16 if self.title else 0.0
        free = self.width() - 14.0 - self._title_left()
        rows: list[list[tuple[float, _Series]]] = [[]]
        used = title
        for series in shown:
            width = font.horizontalAdvance(series.label) + 38
            if used > 0.0 and used + width > free:
                rows.append([])
                used = 0.0
            rows[-1].append((width, series))
            used += width
        self._places = []
        for row, names in enumerate(rows):
            left = self.width() - 14.0 - sum(width for width, _ in names) + 16
            for width, series in names:
                self._places.append((QRectF(left, row * self.ROW, width - 16, self.ROW), series))
                left += width
        self.setFixedHeight(self.ROW * len(rows) if shown or self.title else 0)
        self.update()

    def _title_width(self) -> float:
        return QFontMetricsF(ui_font(12, QFont.Weight.DemiBold)).horizontalAdvance(self.title)

    def _title_left(self) -> float:
        """Above the curves, or further left where it would be cut off."""
        return max(min(float(LEFT), self.width() - self._title_width() - 4), 4.0)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.arrange()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        if self.title:
            painter.setFont(ui_font(12, QFont.Weight.DemiBold))
            painter.setPen(role_color("text"))
            place = QRectF(self._title_left(), 0, self.width(), self.ROW)
            painter.drawText(place, Qt.AlignmentFlag.AlignVCenter, self.title)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setFont(ui_font(11))
        for place, series in self._places:
            middle = place.center().y()
            color = role_color(series.role if series.visible else "border_strong")
            pen = QPen(color, 2.0)
            pen.setCapStyle(Qt.PenCapStyle.FlatCap)
            if series.dashed:
                pen.setDashPattern([1.8, 1.2])
            painter.setPen(pen)
            painter.drawLine(QPointF(place.left(), middle), QPointF(place.left() + 16, middle))
            if series.points:
                painter.setPen(Qt.PenStyle.NoPen)
                painter.setBrush(color)
                painter.drawEllipse(QPointF(place.left() + 8, middle), 0.7 * series.dot, 0.7 * series.dot)
            painter.setPen(role_color("text_muted" if series.visible else "text_faint"))
            painter.drawText(place.adjusted(22, 0, 2, 0), Qt.AlignmentFlag.AlignVCenter, series.label)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        for place, series in self._places:
            if event.button() == Qt.MouseButton.LeftButton and place.contains(event.position()):
                self._plot.toggle_series(series)
                return
        super().mousePressEvent(event)


class _Overlay(QWidget):
    """What the pointer or the arrow keys read from the curves, drawn over them; hidden otherwise."""

    def __init__(self, plot: LivePlot, view: _View) -> None:
        super().__init__(view)
        self._plot, self._view = plot, view
        self._x: float | None = None
        self._top = 0.0
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.hide()

    @property
    def reads(self) -> bool:
        """Whether values are shown."""
        return self._x is not None

    def point_at(self, position: QPointF) -> None:
        """Read at a position of the view."""
        view = self._view
        if not view.plot_area().adjusted(-4, -4, 4, 4).contains(position):
            self.hide_values()
            return
        x = view.to_axis(position).x()
        self._x = 10.0**x if self._plot.log_x else x
        self._top = position.y() - 12
        self.refresh()

    def step(self, direction: int) -> None:
        """Move the reading by a hundredth of the range."""
        lo, hi = self._plot.view_range()[0]
        now = lo + (hi - lo) / 2 if self._x is None else math.log10(self._x) if self._plot.log_x else self._x
        now = min(max(now + direction * (hi - lo) / 100, lo), hi)
        self._x = 10.0**now if self._plot.log_x else now
        self._top = self._view.plot_area().top() + 4
        self.refresh()

    def hide_values(self) -> None:
        """Read nothing."""
        self._x = None
        self.refresh()

    def refresh(self) -> None:
        """Show or hide, and repaint if shown."""
        wanted = self.reads or self._plot.framed
        if wanted != self.isVisible():
            self.setVisible(wanted)
            self.raise_()
        if wanted:
            self.update()

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        if self._plot.framed:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            painter.setPen(QPen(role_color("accent"), 1))
            painter.drawRoundedRect(QRectF(self.rect()).adjusted(1.5, 1.5, -1.5, -1.5), 6, 6)
        found = self._plot.read_out(self._x) if self._x is not None else None
        if found is None:
            return
        x, values = found
        if self._plot.log_x and x <= 0:
            return
        view, area = self._view, self._view.plot_area()
        at = math.log10(x) if self._plot.log_x else x
        across = view.from_axis(at, 0).x()
        if not area.left() - 1 <= across <= area.right() + 1:
            return
        painter.setPen(QPen(role_color("text_faint"), 1))
        painter.drawLine(QPointF(across, area.top()), QPointF(across, area.bottom()))
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        for series, y in values:
            if math.isfinite(y) and (y > 0 or not self._plot.log_y):
                dot = view.from_axis(at, math.log10(y) if self._plot.log_y else y)
                if area.contains(dot):
                    painter.setPen(QPen(role_color("panel"), 1.5))
                    painter.setBrush(role_color(series.role))
                    painter.drawEllipse(dot, 4, 4)
        rows: list[tuple[QColor | None, str, str]] = [(role_color(s.role), s.label, scale.number(y)) for s, y in values]
        head = f"{self._view.x_label} {scale.number(x)}".strip()
        ReadOut(head, rows).paint(painter, QPointF(across, self._top), QRectF(self.rect()).adjusted(2, 2, -2, -2))


def axis_ticks(
    shown: Range, pixels: float, gap: float, log: bool, *, whole: bool = False
) -> tuple[list[float], list[str]]:
    """Where the ticks of an axis are, in its own units, and their labels. ``gap``: pixels between two, at least."""
    if log:
        values = scale.log_ticks(*shown, pixels, gap * 0.85)
        return [math.log10(v) for v in values], scale.log_labels(values)
    values = scale.linear_ticks(*shown, min(max(int(pixels / gap), 1), _MOST_TICKS), whole=whole)
    return values, scale.linear_labels(values)


def _to_axis(wanted: Range | None, log: bool) -> Range | None:
    if wanted is None or not log:
        return wanted
    return math.log10(wanted[0]), math.log10(wanted[1])


def _hold(current: Range | None, bounds: Range | None, log: bool) -> Range | None:
    """``current``, or the next round range that holds the data's ``bounds`` too."""
    if bounds is None:
        return current
    if current is None:
        return scale.fit_log(*bounds) if log else scale.fit_linear(*bounds)
    return scale.grow(current, *bounds, log=log)


def _apart(places: list[QPointF], least: float) -> list[QPointF]:
    """Of places along a curve, those ``least`` pixels or more from the chosen one after; the last is chosen."""
    chosen = list(places[-1:])
    for place in reversed(places):
        way = place - chosen[-1]
        if math.hypot(way.x(), way.y()) >= least:
            chosen.append(place)
    return chosen


def _alone(finite: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which of the finite points (n,) have no finite neighbour: no line goes through them."""
    beside = np.zeros_like(finite)
    beside[1:] |= finite[:-1]
    beside[:-1] |= finite[1:]
    return finite & ~beside


def _length(span: Range) -> float:
    return span[1] - span[0]


def _union(one: Range | None, other: Range | None) -> Range | None:
    if one is None or other is None:
        return one or other
    return min(one[0], other[0]), max(one[1], other[1])


def _zoomed(span: Range, home: Range, center: float, factor: float) -> Range:
    least = 1e-6 * (home[1] - home[0])
    factor = max(factor, least / (span[1] - span[0]))
    return max(center - (center - span[0]) * factor, home[0]), min(center + (span[1] - center) * factor, home[1])


def _moved(span: Range, home: Range, by: float) -> Range:
    by = min(max(by, home[0] - span[0]), home[1] - span[1])
    return span[0] + by, span[1] + by


def _pen(color: QColor, width: float) -> QPen:
    """A pen of ``width`` device pixels: pens that ignore the view's scale ignore the screen's too."""
    pen = QPen(color, width)
    pen.setCosmetic(True)
    pen.setCapStyle(Qt.PenCapStyle.RoundCap)
    pen.setJoinStyle(Qt.PenJoinStyle.RoundJoin)
    return pen
