"""The table of starts of a search as a heat map that fills: one place for each (alpha_N, beta_N), lower is better.

Colours run evenly in OKLab (Ottosson 2020): equal differences of the value are equal differences of lightness L, which
holds for every kind of colour vision. The best is always the colour farthest from the panel.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QBrush,
    QColor,
    QFontMetricsF,
    QMouseEvent,
    QPainter,
    QPen,
)
from PySide6.QtWidgets import QWidget

from studio.app.theme import mono_font, notifier, tokens, ui_font
from studio.app.widgets.cell_table import Cell, CellTable
from studio.app.widgets.pictures import ReadOut, role_color, to_qimage
from studio.app.widgets.plots import axis_ticks

Words = NDArray[np.uint32]

_LIGHT = ("#e3efe8", "#58ada1", "#0f566d")
_DARK = ("#25353b", "#2b8f8b", "#a6f2d6")
"""From the worst to the best."""
_GAP, _CORNER = 2.0, 2.5
_TITLE, _LINE = 17.0, 16.0
_BAR, _BAR_LABELS = 9.0, 40.0
_STRETCH = 3.0  # a larger ratio between values is drawn on a log scale
_SHADES = 256
_ROOMY = 40.0  # pixels: a narrower place has no room for a second line around the best
_BRIGHT = 0.62  # OKLab lightness above which text in a place is dark
_TO_CONES = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


@dataclass(frozen=True)
class Place:
    """What is known of one start.

    ``value`` is drawn, and written as ``text`` where there is room; None where there is nothing to draw, and ``reason``
    says why. ``skipped``: nothing was tried there. ``told`` are (name, value) pairs for the read-out, ``line`` is the
    same in one line.
    """

    value: float | None
    text: str = ""
    told: tuple[tuple[str, str], ...] = ()
    line: str = ""
    reason: str = ""
    skipped: bool = False


class StartMap(CellTable):
    """Places in rows and columns with a labelled colour scale. A click or the arrow keys choose one."""

    place_chosen = Signal(int, int)
    """Row and column of the place that the person went to, known or not."""

    def __init__(self, name: str = "Starts", parent: QWidget | None = None) -> None:
        super().__init__(name, "No search yet", parent)
        self._value_name = ""
        self._places: dict[Cell, Place] = {}
        self._best: Cell | None = None
        self._current: Cell | None = None
        self._hovered: Cell | None = None
        self._pointer = QPointF()
        self._range: tuple[float, float] | None = None
        self._log = False
        self._shades = np.empty(0, np.uint32)
        self._lightness = np.empty(0)
        self.setMouseTracking(True)
        notifier().changed.connect(self._apply_theme)
        self._apply_theme()

    def set_axes(
        self, rows: Sequence[str], columns: Sequence[str], row_title: str = "", column_title: str = ""
    ) -> None:
        """Start an empty table."""
        self._set_captions(rows, columns, row_title, column_title)
        self._current = self._hovered = None
        self.set_places({}, None)

    def set_places(self, places: Mapping[Cell, Place], best: Cell | None, value_name: str = "") -> None:
        """Show what is known now; ``best`` is outlined. Raises IndexError for a place outside the table."""
        for cell in [*places, *([best] if best is not None else [])]:
            self._check(cell)
        self._places, self._best, self._value_name = dict(places), best, value_name
        found = [place.value for place in places.values() if place.value is not None and math.isfinite(place.value)]
        self._range = (min(found), max(found)) if found else None
        self._log = bool(found) and min(found) > 0 and max(found) > _STRETCH * min(found)
        self._describe()
        self.update()

    def clear(self) -> None:
        """Show the empty text."""
        self.set_axes((), ())

    def set_current(self, cell: Cell | None) -> None:
        """Outline a place, or none; emits nothing."""
        if cell != self._current:
            self._current = cell
            self._describe()
            self.update()

    @property
    def current(self) -> Cell | None:
        """The chosen place."""
        return self._current

    @property
    def best(self) -> Cell | None:
        """The place outlined as the best."""
        return self._best

    def num_places(self) -> int:
        """How many places there are."""
        return len(self._rows) * len(self._columns)

    def place(self, cell: Cell) -> Place | None:
        """What is known of a place; None while it is still to come."""
        return self._places.get(cell)

    def is_filled(self) -> bool:
        """Whether anything is known of any place."""
        return bool(self._places)

    def words(self, cell: Cell) -> str:
        """A place in a line."""
        known = self._places.get(cell)
        said = ["still to come"] if known is None else [known.line, known.reason]
        return " · ".join([*self._named(cell), *filter(None, said)])

    # Geometry

    def _area(self) -> QRectF:
        metrics = QFontMetricsF(mono_font(11))
        longest = max((metrics.horizontalAdvance(text) for text in self._rows), default=0.0)
        left = (_TITLE if self._row_title else 0.0) + longest + 11
        bottom = _LINE + (_TITLE if self._column_title else 0.0) + 3
        right = 12 + _BAR + _BAR_LABELS
        return QRectF(left, 5, max(self.width() - left - right, 1), max(self.height() - bottom - 5, 1))

    def place_of(self, cell: Cell) -> QRectF:
        """Where a place is drawn, in the units of the widget."""
        area = self._area()
        width = (area.width() + _GAP) / len(self._columns)
        height = (area.height() + _GAP) / len(self._rows)
        left, top = area.left() + cell[1] * width, area.top() + cell[0] * height
        return QRectF(left, top, max(width - _GAP, 1), max(height - _GAP, 1))

    def cell_under(self, position: QPointF) -> Cell | None:
        area = self._area()
        if not self.has_cells() or not area.contains(position):
            return None
        row = int((position.y() - area.top()) / (area.height() + _GAP) * len(self._rows))
        column = int((position.x() - area.left()) / (area.width() + _GAP) * len(self._columns))
        return row, column

    # Painting

    def _apply_theme(self) -> None:
        self._shades, self._lightness = _ramp(_DARK if tokens().dark else _LIGHT)
        self.update()

    def _shade(self, value: float) -> int:
        """Which of the shades a value has: 0 is the worst."""
        assert self._range is not None
        lo, hi = (math.log(v) if self._log else v for v in self._range)
        at = math.log(value) if self._log else value
        return round((_SHADES - 1) * (1.0 if hi <= lo else min(max((hi - at) / (hi - lo), 0.0), 1.0)))

    def _paint_cells(self, painter: QPainter) -> None:
        for row in range(len(self._rows)):
            for column in range(len(self._columns)):
                self._paint_place(painter, (row, column))
        self._paint_axes(painter)
        self._paint_bar(painter)
        self._paint_outlines(painter)
        known = self._places.get(self._hovered) if self._hovered is not None else None
        if self._hovered is not None and known is not None and not known.reason:
            row, column = self._hovered
            head = f"{self._row_title} {self._rows[row]}  {self._column_title} {self._columns[column]}"
            rows: list[tuple[QColor | None, str, str]] = [(None, name, value) for name, value in known.told]
            ReadOut(head, rows).paint(painter, self._pointer, QRectF(self.rect()).adjusted(2, 2, -2, -2))

    def _paint_place(self, painter: QPainter, cell: Cell) -> None:
        box, known = self.place_of(cell), self._places.get(cell)
        painter.setPen(Qt.PenStyle.NoPen)
        if known is None:
            painter.setPen(QPen(role_color("border"), 1))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(box.adjusted(0.5, 0.5, -0.5, -0.5), _CORNER, _CORNER)
            return
        if known.value is None or not math.isfinite(known.value):
            painter.setBrush(role_color("grid"))
            painter.drawRoundedRect(box, _CORNER, _CORNER)
            if known.skipped:
                painter.setBrush(QBrush(role_color("border_strong"), Qt.BrushStyle.BDiagPattern))
                painter.drawRoundedRect(box, _CORNER, _CORNER)
            return
        shade = self._shade(known.value)
        painter.setBrush(QColor.fromRgb(int(self._shades[shade])))
        painter.drawRoundedRect(box, _CORNER, _CORNER)
        painter.setFont(mono_font(10))
        metrics = QFontMetricsF(painter.font())
        if metrics.horizontalAdvance(known.text) <= box.width() - 2 and metrics.height() <= box.height() + 2:
            painter.setPen(QColor("#10232b" if self._lightness[shade] > _BRIGHT else "#ffffff"))
            painter.drawText(box, Qt.AlignmentFlag.AlignCenter, known.text)

    def _paint_axes(self, painter: QPainter) -> None:
        area = self._area()
        metrics = QFontMetricsF(mono_font(11))
        right = int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        center = int(Qt.AlignmentFlag.AlignCenter)
        at = self._current or (-1, -1)
        first = self.place_of((0, 0))
        for row in range(0, len(self._rows), max(math.ceil(13.0 / (first.height() + _GAP)), 1)):
            self._caption_style(painter, row == at[0])
            middle = self.place_of((row, 0)).center().y()
            painter.drawText(QRectF(0, middle - _LINE / 2, area.left() - 8, _LINE), right, self._rows[row])
        longest = max(metrics.horizontalAdvance(text) for text in self._columns) + 6
        for column in range(0, len(self._columns), max(math.ceil(longest / (first.width() + _GAP)), 1)):
            self._caption_style(painter, column == at[1])
            middle = self.place_of((0, column)).center().x()
            place = QRectF(middle - longest / 2, area.bottom() + 3, longest, _LINE)
            painter.drawText(place, center, self._columns[column])
        along = QRectF(area.left(), area.bottom() + 3 + _LINE, area.width(), _TITLE)
        self._paint_titles(painter, along, QRectF(-1, area.top(), _TITLE, area.height()))

    def _paint_bar(self, painter: QPainter) -> None:
        if self._range is None:
            return
        center = int(Qt.AlignmentFlag.AlignCenter)
        area = self._area()
        bar = QRectF(area.right() + 12, area.top(), _BAR, area.height())
        lo, hi = self._range
        painter.setFont(ui_font(11))
        if hi > lo:
            painter.drawImage(bar, to_qimage(self._shades[:, None]))
        else:
            painter.fillRect(bar, QColor.fromRgb(int(self._shades[-1])))
        painter.setPen(role_color("text_muted"))
        ends = (math.log10(lo), math.log10(hi)) if self._log else (lo, hi)
        ticks, labels = axis_ticks(ends, area.height(), 30.0, self._log) if hi > lo else ([lo], [f"{lo:.3g}"])
        for value, label in zip(ticks, labels, strict=True):
            share = (value - ends[0]) / (ends[1] - ends[0]) if hi > lo else 1.0
            y = bar.bottom() - share * bar.height()
            place = QRectF(bar.right() + 4, y - 8, _BAR_LABELS - 4, 16)
            painter.drawText(place, int(Qt.AlignmentFlag.AlignVCenter), label)
        metrics = QFontMetricsF(painter.font())
        name = metrics.elidedText(self._value_name, Qt.TextElideMode.ElideRight, self.width() / 2 - 40)
        width = metrics.horizontalAdvance(name)
        left = min(bar.left(), self.width() - width - 2)
        painter.drawText(QRectF(left, area.bottom() + 3 + _LINE, width + 2, _TITLE), center, name)

    def _paint_outlines(self, painter: QPainter) -> None:
        """The best in magenta, the chosen one in the accent around it, and what the pointer or the focus is on."""
        painter.setBrush(Qt.BrushStyle.NoBrush)
        if self._hovered is not None:
            painter.setPen(QPen(role_color("text_muted"), 1))
            painter.drawRoundedRect(self.place_of(self._hovered).adjusted(-0.5, -0.5, 0.5, 0.5), _CORNER, _CORNER)
        if self._best is not None:
            box = self.place_of(self._best)
            if box.width() > _ROOMY:
                painter.setPen(QPen(role_color("panel"), 1))
                painter.drawRoundedRect(box.adjusted(2.5, 2.5, -2.5, -2.5), _CORNER - 1, _CORNER - 1)
            painter.setPen(QPen(role_color("series_learned"), 2))
            painter.drawRoundedRect(box.adjusted(1, 1, -1, -1), _CORNER, _CORNER)
        if self._current is not None:
            painter.setPen(QPen(role_color("accent"), 2))
            painter.drawRoundedRect(self.place_of(self._current).adjusted(-2, -2, 2, 2), _CORNER + 2, _CORNER + 2)
        if self.hasFocus():
            painter.setPen(QPen(role_color("accent"), 1))
            painter.drawRoundedRect(self._area().adjusted(-4.5, -4.5, 4.5, 4.5), 6, 6)

    def _describe(self) -> None:
        self.setAccessibleDescription(self.words(self._current) if self._current is not None else "")

    # Qt

    def sizeHint(self) -> QSize:
        return QSize(400, 300)

    def minimumSizeHint(self) -> QSize:
        return QSize(220, 150)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        self._hovered, self._pointer = self.cell_under(event.position()), event.position()
        self.update()

    def leaveEvent(self, event: QEvent) -> None:
        self._hovered = None
        self.update()

    def _tip(self, cell: Cell) -> str:
        known = self._places.get(cell)
        return known.reason if known is not None else "Still to come."

    def _go(self, cell: Cell) -> None:
        self.set_current(cell)
        self.place_chosen.emit(*cell)

    def _first(self) -> Cell:
        return self._best or (0, 0)


def _ramp(stops: Sequence[str]) -> tuple[Words, NDArray[np.float64]]:
    """(256,) words 0xffRRGGBB through ``stops`` and their OKLab lightness (256,), which changes evenly."""
    lab = np.array([_to_lab(stop) for stop in stops])
    lightness = np.linspace(lab[0, 0], lab[-1, 0], _SHADES)
    order = np.argsort(lab[:, 0])
    others = [np.interp(lightness, lab[order, 0], lab[order, k]) for k in (1, 2)]
    cones = (np.stack([lightness, *others], axis=1) @ np.linalg.inv(_TO_LAB).T) ** 3
    linear = np.clip(cones @ np.linalg.inv(_TO_CONES).T, 0.0, 1.0)
    curved = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    red, green, blue = np.rint(255 * curved).astype(np.uint32).T
    return (red << 16) | (green << 8) | blue | np.uint32(0xFF000000), lightness


def _to_lab(color: str) -> NDArray[np.float64]:
    """A colour ``#rrggbb`` in OKLab: (3,), lightness first."""
    rgb = QColor(color)
    curved = np.array([rgb.redF(), rgb.greenF(), rgb.blueF()])
    linear = np.where(curved <= 0.04045, curved / 12.92, ((curved + 0.055) / 1.055) ** 2.4)
    return _TO_LAB @ np.cbrt(_TO_CONES @ linear)
