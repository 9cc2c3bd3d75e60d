"""A schedule while a network emits it: a card for each step, from noise to data, with what the denoiser believes there.

Under each picture stand the step's beta, the level alpha that it starts from, and what the network said: the ratio of
beta to the most that it may be, min(beta before, sigma**2).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QEvent, QPointF, QRect, QRectF, QSize, Qt
from PySide6.QtGui import (
    QFont,
    QHelpEvent,
    QImage,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QResizeEvent,
)
from PySide6.QtWidgets import QHBoxLayout, QScrollArea, QSizePolicy, QToolTip, QWidget

from studio.app.theme import mono_font, notifier, tokens, ui_font
from studio.app.widgets import scale
from studio.app.widgets.pictures import color_word, role_color, to_mosaic, to_pixels, to_qimage
from studio.core.events import Emitted
from studio.core.pictures import scatter

_NAMES = ("β", "α", "ratio")
_TOP, _LINE, _RIM, _GAP = 18.0, 15.0, 4.0, 6.0
_GUTTER = 44
_LEAST_CARD, _MOST_PICTURE = 62.0, 132.0
_SCROLL_BAR = 12.0
_POINTS_SIDE, _FEW_POINTS_SIDE, _FEW_POINTS = 64, 20, 100  # few points are drawn larger, else they are not seen
_MOST_IMAGES = 16


class EmissionStrip(QWidget):
    """Cards that come one by one; where they are more than fit, the strip scrolls, and follows the newest.

    The arrow keys, Home and End go from card to card, as does a click.
    """

    def __init__(self, name: str = "Steps of the schedule", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._cards = _Cards(name)
        self._scroll = QScrollArea()
        self._scroll.setWidget(self._cards)
        self._scroll.setWidgetResizable(True)
        self._scroll.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._scroll.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self._cards.setAutoFillBackground(False)
        self._scroll.viewport().setAutoFillBackground(False)
        self.setFocusProxy(self._cards)
        row = QHBoxLayout(self)
        row.setContentsMargins(_GUTTER, 0, 0, 0)
        row.addWidget(self._scroll)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        # Once the card has its place, and not before, there is somewhere to scroll to.
        self._scroll.horizontalScrollBar().rangeChanged.connect(self._follow)
        notifier().changed.connect(self.update)

    def add(self, event: Emitted) -> None:
        """Add the next card. Raises ValueError for pictures of another shape than (B, C, H, W) or (B, D)."""
        self._cards.add(event)
        self.update()

    def clear(self) -> None:
        """Forget all cards."""
        self._cards.clear()
        self.update()

    def set_empty_text(self, text: str) -> None:
        """What to say while there is no card."""
        self._cards.empty_text = text
        self._cards.update()

    def steps(self) -> list[Emitted]:
        """What is shown, from noise to data."""
        return list(self._cards.steps)

    @property
    def current(self) -> int:
        """The outlined card."""
        return self._cards.current

    def _follow(self) -> None:
        self._cards.reveal()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._follow()

    def paintEvent(self, event: QPaintEvent) -> None:
        if not self._cards.steps:
            return
        painter = QPainter(self)
        painter.setFont(ui_font(11))
        painter.setPen(role_color("text_muted"))
        for line, name in enumerate(_NAMES):
            place = QRectF(0, self._cards.text_top() + line * _LINE, _GUTTER - 6, _LINE)
            painter.drawText(place, int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter), name)

    def sizeHint(self) -> QSize:
        return QSize(640, 170)

    def minimumSizeHint(self) -> QSize:
        return QSize(220, 120)


class _Cards(QWidget):
    """The cards in a row, as wide as they need."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.steps: list[Emitted] = []
        self.current = 0
        self.empty_text = ""
        self._pictures: list[QImage] = []
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAccessibleName(name)
        notifier().changed.connect(self._redraw)

    def add(self, event: Emitted) -> None:
        """Add a card, and go to it unless the person is looking at an earlier one."""
        self._pictures.append(_picture(event.images))
        newest = self.current >= len(self.steps) - 1
        self.steps.append(event)
        if newest:
            self._go(len(self.steps) - 1)
        self._fit()

    def clear(self) -> None:
        """Forget all."""
        self.steps, self._pictures, self.current = [], [], 0
        self.setAccessibleDescription("")
        self._fit()

    def text_top(self) -> float:
        """Where the first line of numbers begins."""
        return _TOP + self._side() + 3

    def card(self, index: int) -> QRectF:
        """Where a card is."""
        return QRectF(_RIM + index * (self._width() + _GAP), 0, self._width(), self.height() - 1)

    def _side(self) -> float:
        room = self.height() - _TOP - len(_NAMES) * _LINE - 3 - _RIM - _SCROLL_BAR
        return min(max(room, 24.0), _MOST_PICTURE)

    def _width(self) -> float:
        return max(self._side() + 4, _LEAST_CARD)

    def _fit(self) -> None:
        self.setMinimumWidth(math.ceil(self.card(len(self.steps)).left() - _GAP + _RIM) if self.steps else 0)
        self.update()

    def _redraw(self) -> None:
        self._pictures = [_picture(step.images) for step in self.steps]
        self.update()

    def _words(self, index: int) -> str:
        step = self.steps[index]
        ratio = "given" if step.ratio is None else scale.number(step.ratio)
        told = [f"step {index + 1}", f"β {scale.number(step.beta)}", f"α {scale.number(step.alpha)}", f"ratio {ratio}"]
        return ", ".join([*told, *filter(None, [step.reason])])

    def _go(self, index: int) -> None:
        if 0 <= index < len(self.steps):
            self.current = index
            self.setAccessibleDescription(self._words(index))
            self.reveal()
            self.update()

    def reveal(self) -> None:
        """Scroll to the outlined card."""
        viewport = self.parentWidget()
        area = viewport.parentWidget() if viewport is not None else None
        if isinstance(area, QScrollArea):
            area.ensureVisible(round(self.card(self.current).center().x()), 0, round(self._width() / 2 + _GAP), 0)

    # Painting

    def paintEvent(self, event: QPaintEvent) -> None:
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        if not self.steps:
            painter.setFont(ui_font(12))
            painter.setPen(role_color("text_muted"))
            words = int(Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap)
            painter.drawText(QRectF(self.visibleRegion().boundingRect()), words, self.empty_text)
            return
        for index in range(len(self.steps)):
            if self.card(index).intersects(QRectF(event.rect())):
                self._paint_card(painter, index)
        if self.hasFocus():
            painter.setPen(QPen(role_color("accent"), 1))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            shown: QRect = self.visibleRegion().boundingRect()
            painter.drawRoundedRect(QRectF(shown).adjusted(0.5, 0.5, -0.5, -0.5), 6, 6)

    def _paint_card(self, painter: QPainter, index: int) -> None:
        step, card = self.steps[index], self.card(index)
        chosen = index == self.current
        center = int(Qt.AlignmentFlag.AlignCenter)
        painter.setFont(ui_font(11, QFont.Weight.DemiBold if chosen else QFont.Weight.Normal))
        painter.setPen(role_color("accent" if chosen else "text_muted"))
        painter.drawText(QRectF(card.left(), 0, card.width(), _TOP), center, str(index + 1))
        side = self._side()
        place = QRectF(card.center().x() - side / 2, _TOP, side, side)
        picture = self._pictures[index]
        shape = min(side / picture.width(), side / picture.height())
        box = QRectF(0, 0, picture.width() * shape, picture.height() * shape)
        box.moveCenter(place.center())
        # Smaller than a screen pixel a pixel, nearest neighbour would lose whole strokes.
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, shape * self.devicePixelRatioF() < 1)
        painter.drawImage(box, picture)
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, False)
        if chosen:
            painter.setPen(QPen(role_color("accent"), 1.5))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(box.adjusted(-1.5, -1.5, 1.5, 1.5), 2, 2)
        painter.setFont(mono_font(11))
        painter.setPen(role_color("text"))
        ratio = "given" if step.ratio is None else f"{step.ratio:.3f}"
        beta = f"{step.beta:.4f}" if step.beta >= 1e-3 else f"{step.beta:.1e}"
        texts = (beta, f"{step.alpha:.4f}", ratio)
        for line, text in enumerate(texts):
            below = QRectF(card.left() - _GAP / 2, self.text_top() + line * _LINE, card.width() + _GAP, _LINE)
            if line == len(texts) - 1 and step.ratio is None:
                painter.setPen(role_color("text_faint"))
            painter.drawText(below, center, text)

    # Qt

    def event(self, event: QEvent) -> bool:
        if isinstance(event, QHelpEvent) and event.type() == QEvent.Type.ToolTip:
            index = self._index_at(QPointF(event.pos()))
            QToolTip.showText(event.globalPos(), "" if index is None else self._words(index).capitalize(), self)
            return True
        return super().event(event)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        if event.size().height() != event.oldSize().height():
            self._fit()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        index = self._index_at(event.position())
        if event.button() == Qt.MouseButton.LeftButton and index is not None:
            self._go(index)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        wanted = {
            Qt.Key.Key_Left: self.current - 1,
            Qt.Key.Key_Right: self.current + 1,
            Qt.Key.Key_Home: 0,
            Qt.Key.Key_End: len(self.steps) - 1,
        }.get(Qt.Key(event.key()))
        if wanted is None or not self.steps:
            super().keyPressEvent(event)
        else:
            self._go(wanted)

    def _index_at(self, position: QPointF) -> int | None:
        return next((k for k in range(len(self.steps)) if self.card(k).contains(position)), None)


def _picture(images: NDArray) -> QImage:
    """The pictures of a step side by side, (B, C, H, W), or points (B, D) as a density."""
    images = np.asarray(images)
    if images.ndim == 2:
        return to_qimage(to_pixels(scatter(images, _FEW_POINTS_SIDE if len(images) < _FEW_POINTS else _POINTS_SIDE)))
    if images.ndim != 4:
        raise ValueError(f"a step needs pictures (B, C, H, W) or points (B, D); got {images.shape}.")
    shown = images[:_MOST_IMAGES]
    columns = math.ceil(math.sqrt(len(shown)))
    return to_qimage(to_mosaic(to_pixels(shown), columns, 1, color_word(tokens().image_mat)))
