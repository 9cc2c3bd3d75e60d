"""Whether generator and discriminator still learn from each other: one plain word, and three measures that bear it out.

The limits and the words are those of :mod:`studio.core.recipes.balance`, which also warns during the training.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QPainter, QPaintEvent, QPen
from PySide6.QtWidgets import QHBoxLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from studio.app import theme
from studio.app.controls import Panel, dot_pixmap, make_label
from studio.app.panels.smoothing import Smoother
from studio.app.widgets.pictures import role_color
from studio.core.events import Progress
from studio.core.recipes.balance import DIVERSITY_RANGE, IN_BALANCE, RIGHT_RANGE, SPREAD_LIMIT, verdict

HORIZON = 300.0
"""Steps over which the measures are averaged: about as long as something must be wrong before it is said."""
ENOUGH = 100
"""Steps before there is a verdict."""
_TRACK, _MARK = 6.0, 4.5  # pixels: how high the track is, and the radius of the mark on it
_EARLY = "Too early to say"


class Measure(NamedTuple):
    """A reported scalar on a scale from 0 to ``most``, its healthy range, and what places on the scale mean."""

    name: str
    scalar: str
    most: float
    healthy: tuple[float, float]
    marks: tuple[tuple[float, str], ...]
    tooltip: str
    root: bool = False
    """Whether places go with the square root, which spreads out what lies near 0."""

    def place(self, value: float) -> float:
        """Where a value stands on the scale, in [0, 1]."""
        share = min(max(value / self.most, 0.0), 1.0)
        return math.sqrt(share) if self.root else share


MEASURES = (
    Measure(
        "D names rightly",
        "d_right",
        1.0,
        RIGHT_RANGE,
        ((0.0, "fooled"), (0.5, "chance"), (1.0, "wins")),
        "The share of real and made-up steps that the discriminator names rightly.\n"
        "0.5 is chance: it sees no difference. At 1 it wins, and the generator learns nothing more.",
    ),
    Measure(
        "Spread of z",
        "z_spread",
        1.0,
        (SPREAD_LIMIT, 1.0),
        ((0.0, "ignored"), (1.0, "as the data")),
        "How far apart two z at the same x_t lie in what the generator makes, beside the spread of the data.\n"
        "0 means that z is ignored: every step has one outcome.",
        root=True,
    ),
    Measure(
        "Diversity",
        "diversity",
        2.0,
        DIVERSITY_RANGE,
        ((0.0, "all alike"), (1.0, "as real"), (2.0, "strays")),
        "How much the items of a batch differ that the generator makes, beside the real ones.\n"
        "1 is as real. Far below, modes are lost.",
    ),
)


class Gauge(QWidget):
    """A measure on its scale: the healthy range as a band, the value as a mark, words under the places that matter."""

    def __init__(self, measure: Measure) -> None:
        super().__init__()
        self.measure = measure
        self._value = math.nan
        self.setToolTip(f"{measure.name}\n{measure.tooltip}\nThe band is the healthy range.")
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        theme.notifier().changed.connect(self.update)
        self.set_value(math.nan)

    def set_value(self, value: float) -> None:
        """Show another value; NaN for none."""
        self._value = value
        self.setAccessibleName(f"{self.measure.name}: {self.text()}")
        self.update()

    def value(self) -> float:
        """The value shown."""
        return self._value

    def text(self) -> str:
        """The value as it is written."""
        return f"{self._value:.2f}" if math.isfinite(self._value) else "–"

    def sizeHint(self) -> QSize:
        return QSize(160, 44)

    def minimumSizeHint(self) -> QSize:
        return QSize(110, 44)

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        line = QRectF(0, 0, self.width(), 17)
        painter.setFont(theme.ui_font(12))
        painter.setPen(role_color("text_muted"))
        painter.drawText(line, Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter, self.measure.name)
        painter.setFont(theme.mono_font(12))
        painter.setPen(role_color("text"))
        painter.drawText(line, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter, self.text())
        track = QRectF(_MARK, 20, self.width() - 2 * _MARK, _TRACK)
        self._paint_track(painter, track)
        painter.setFont(theme.ui_font(10))
        painter.setPen(role_color("text_faint"))
        for value, word in self.measure.marks:
            self._paint_word(painter, track, self.measure.place(value), word)

    def _paint_track(self, painter: QPainter, track: QRectF) -> None:
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(role_color("border"))
        painter.drawRoundedRect(track, _TRACK / 2, _TRACK / 2)
        low, high = (track.left() + self.measure.place(end) * track.width() for end in self.measure.healthy)
        band = role_color("good")
        band.setAlphaF(0.45)
        painter.setBrush(band)
        painter.drawRoundedRect(QRectF(low, track.top(), high - low, track.height()), _TRACK / 2, _TRACK / 2)
        if math.isfinite(self._value):
            healthy = self.measure.healthy[0] <= self._value <= self.measure.healthy[1] or (
                self._value > self.measure.most == self.measure.healthy[1]
            )
            painter.setPen(QPen(role_color("panel"), 1.5))
            painter.setBrush(role_color("text" if healthy else "warn"))
            at = track.left() + self.measure.place(self._value) * track.width()
            painter.drawEllipse(QPointF(at, track.center().y()), _MARK, _MARK)

    def _paint_word(self, painter: QPainter, track: QRectF, place: float, word: str) -> None:
        align = {0.0: Qt.AlignmentFlag.AlignLeft, 1.0: Qt.AlignmentFlag.AlignRight}.get(
            place, Qt.AlignmentFlag.AlignHCenter
        )
        left = track.left() + place * track.width()
        width = track.width()
        shift = {Qt.AlignmentFlag.AlignLeft: 0.0, Qt.AlignmentFlag.AlignRight: width}.get(align, width / 2)
        painter.drawText(QRectF(left - shift, track.bottom() + 2, width, 14), align, word)


class BalanceView(Panel):
    """The verdict and the measures that a recipe reports; those that it does not are left out."""

    def __init__(self) -> None:
        super().__init__("Balance")
        self.gauges = {measure.scalar: Gauge(measure) for measure in MEASURES}
        self._trends: dict[str, Smoother] = {}
        self._last: dict[str, int] = {}
        self._dot = QLabel()
        self._word = make_label(_EARLY, "title")
        verdict_row = QHBoxLayout()
        verdict_row.setContentsMargins(0, 0, 0, 0)
        verdict_row.setSpacing(6)
        verdict_row.addWidget(self._dot)
        verdict_row.addWidget(self._word, 1)
        column = QVBoxLayout()
        column.setSpacing(4)
        column.addLayout(verdict_row)
        column.addStretch(1)
        for gauge in self.gauges.values():
            column.addWidget(gauge)
            column.addStretch(1)
        self.content.addLayout(column, 1)
        theme.notifier().changed.connect(self._show)
        self.begin()

    def begin(self) -> None:
        """Forget the training before."""
        self._trends, self._last = {}, {}
        self._show()

    def take_progress(self, events: Sequence[Progress]) -> None:
        """Take what messages tell, oldest first."""
        for event in events:
            for scalar in self.gauges:
                value = event.scalars.get(scalar)
                if value is not None:
                    trend = self._trends.setdefault(scalar, Smoother(HORIZON))
                    trend.take_mean(value, max(event.step - self._last.get(scalar, 0), 1))
                    self._last[scalar] = event.step
        self._show()

    def word(self) -> str:
        """The verdict."""
        return self._word.text()

    def _show(self) -> None:
        values = {scalar: trend.value for scalar, trend in self._trends.items()}
        for scalar, gauge in self.gauges.items():
            gauge.setVisible(scalar in values or not values)
            gauge.set_value(values.get(scalar, math.nan))
        early = max((trend.count for trend in self._trends.values()), default=0) < ENOUGH
        word, why = verdict(values)
        if early:
            word, why = _EARLY, f"The players have only begun. Wait for {ENOUGH} steps."
        self._word.setText(word)
        self.setToolTip(f"{word}\n{why}\nMeans over about {HORIZON:.0f} steps.")
        self.setAccessibleName(f"Balance: {word}")
        color = "border_strong" if early else "good" if word == IN_BALANCE else "warn"
        self._dot.setPixmap(dot_pixmap(getattr(theme.tokens(), color)))
