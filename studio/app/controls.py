"""The small parts the window is made of: panels, sliders, fields, tiles, banners and chips.

They look as :mod:`studio.app.theme` says. A control that holds a value has ``value()``, ``setValue(value)`` and a
signal ``valueChanged(object)``. None takes the mouse wheel without the focus, so scrolling a form never changes it.
"""

from __future__ import annotations

import bisect
import html
import math
from collections.abc import Sequence
from itertools import pairwise

from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QAccessible,
    QAccessibleEvent,
    QColor,
    QFocusEvent,
    QGuiApplication,
    QIcon,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QPixmap,
    QResizeEvent,
    QWheelEvent,
)
from PySide6.QtWidgets import (
    QButtonGroup,
    QCheckBox,
    QComboBox,
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QListView,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QSlider,
    QStyle,
    QStyledItemDelegate,
    QStyleOptionComboBox,
    QStyleOptionSlider,
    QStylePainter,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from studio.app import theme

LABEL_WIDTH = 96
_PER_DECADE = 40


def format_number(value: float) -> str:
    """A number as a person types it: ``1000``, ``0.35``, ``4e-4``; six significant digits."""
    if value != 0 and abs(value) < 1e-2:
        mantissa, exponent = f"{value:.5e}".split("e")
        short = f"{float(mantissa):g}e{int(exponent)}"
        plain = f"{value:g}"
        return plain if "e" not in plain and len(plain) <= len(short) else short
    return f"{value:.6g}" if abs(value) < 1e6 or value != int(value) else str(int(value))


def make_label(text: str, role: str, *, wrap: bool = False) -> QLabel:
    """A label in one of the roles of the style sheet."""
    label = QLabel(text)
    label.setProperty("role", role)
    label.setWordWrap(wrap)
    return label


class ElidedLabel(QLabel):
    """One line of plain text that ends in "…" where it does not fit; the tool tip then has all of it."""

    def __init__(self, text: str = "", role: str = "muted", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._full = ""
        self.setProperty("role", role)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        self.setText(text)

    def fullText(self) -> str:
        """The text without the ellipsis."""
        return self._full

    def setText(self, text: str) -> None:
        if text == self._full:
            return
        self._full = text
        self.setAccessibleName(text)
        self.updateGeometry()
        self._elide()

    def sizeHint(self) -> QSize:
        self.ensurePolished()
        return QSize(self.fontMetrics().horizontalAdvance(self._full) + 2, super().sizeHint().height())

    def minimumSizeHint(self) -> QSize:
        return QSize(24, super().minimumSizeHint().height())

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._elide()

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.FontChange:
            self._elide()

    def _elide(self) -> None:
        shown = self.fontMetrics().elidedText(self._full, Qt.TextElideMode.ElideRight, max(self.width(), 24))
        if shown != self.text():
            super().setText(shown)
        self.setToolTip(self._full if shown != self._full else "")


def empty_page(title: str, text: str) -> QWidget:
    """A page that says what to do before there is anything to show."""
    page = QWidget()
    middle = QGridLayout(page)
    middle.setSpacing(6)
    middle.setRowStretch(0, 1)
    for place, (words, role) in enumerate(((title, "title"), (text, "muted")), 1):
        label = make_label(words, role, wrap=True)
        label.setAlignment(Qt.AlignmentFlag.AlignCenter)
        middle.addWidget(label, place, 0)
    middle.setRowStretch(3, 1)
    return page


def scroll_down(area: QScrollArea, body: QWidget) -> None:
    """Let ``body`` scroll in ``area`` where the window is low, never sideways; its controls keep the focus."""
    body.setProperty("scrolled", True)
    area.setWidget(body)
    area.setWidgetResizable(True)
    area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
    area.setFocusPolicy(Qt.FocusPolicy.NoFocus)


class Panel(QFrame):
    """A framed part of a workspace: an optional header (title, muted subtitle, widgets on the right) and ``content``.

    The title may hold ``<sub>`` marks, as in ``x<sub>t</sub>``. Add to ``content``, a vertical layout.
    """

    def __init__(self, title: str = "", subtitle: str = "", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("panel", True)
        self.title_label = make_label(title, "title")
        self.subtitle_label = ElidedLabel(subtitle)
        self._header = QWidget(self)
        self._row = QHBoxLayout(self._header)
        self._row.setContentsMargins(0, 0, 0, 0)
        self._row.setSpacing(8)
        self._row.addWidget(self.title_label)
        self._row.addWidget(self.subtitle_label, 1)
        self.content = QVBoxLayout()
        self.content.setContentsMargins(0, 0, 0, 0)
        self.content.setSpacing(8)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(15, 11, 15, 15)
        layout.setSpacing(8)
        layout.addWidget(self._header)
        layout.addLayout(self.content, 1)
        self._refresh()

    def set_title(self, title: str, subtitle: str | None = None) -> None:
        """Change the title, and the subtitle unless it is None."""
        if title != self.title_label.text():
            self.title_label.setText(title)
        if subtitle is not None:
            self.set_subtitle(subtitle)
        self._refresh()

    def set_subtitle(self, subtitle: str) -> None:
        """Change the muted text beside the title."""
        self.subtitle_label.setText(subtitle)
        self._refresh()

    def add_header_widget(self, widget: QWidget) -> None:
        """Put a widget at the right end of the header."""
        self._row.addWidget(widget)
        self._refresh()

    def set_margins(self, left: int, top: int, right: int, bottom: int) -> None:
        """Leave other room between frame and content, as where the content has margins of its own."""
        layout = self.layout()
        assert layout is not None
        layout.setContentsMargins(left, top, right, bottom)

    def _refresh(self) -> None:
        self.title_label.setVisible(bool(self.title_label.text()))
        used = self.title_label.text() or self.subtitle_label.fullText() or self._row.count() > 2
        self._header.setVisible(bool(used))


class _Slider(QSlider):
    """A horizontal slider that jumps to a click, leaves the wheel alone unless focused, and hands on typed digits."""

    typed = Signal(str)

    def __init__(self, parent: QWidget) -> None:
        super().__init__(Qt.Orientation.Horizontal, parent)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)

    def wheelEvent(self, event: QWheelEvent) -> None:
        if self.hasFocus():
            super().wheelEvent(event)
        else:
            event.ignore()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.text() and event.text() in "0123456789.-":
            self.typed.emit(event.text())
        else:
            super().keyPressEvent(event)

    def mousePressEvent(self, event: QMouseEvent) -> None:
        option = QStyleOptionSlider()
        self.initStyleOption(option)
        control = QStyle.ComplexControl.CC_Slider
        handle = self.style().subControlRect(control, option, QStyle.SubControl.SC_SliderHandle, self)
        if event.button() == Qt.MouseButton.LeftButton and not handle.contains(event.position().toPoint()):
            groove = self.style().subControlRect(control, option, QStyle.SubControl.SC_SliderGroove, self)
            start = round(event.position().x()) - groove.x() - handle.width() // 2
            room = groove.width() - handle.width()
            self.setValue(QStyle.sliderValueFromPosition(self.minimum(), self.maximum(), start, room))
        super().mousePressEvent(event)


class _InlineEdit(QLineEdit):
    """The number beside a slider: all of it is selected on entry, Escape brings the old one back."""

    cancelled = Signal()

    def focusInEvent(self, event: QFocusEvent) -> None:
        super().focusInEvent(event)
        if event.reason() != Qt.FocusReason.OtherFocusReason:
            self.selectAll()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.key() == Qt.Key.Key_Escape:
            self.cancelled.emit()
        else:
            super().keyPressEvent(event)


class LabeledSlider(QWidget):
    """A slider with its value beside it as a number that can be typed over.

    The slider moves over stops (whole numbers, nice steps, or a geometric series when ``log``), but a typed value in
    the range is kept exactly. ``invalid`` carries text that is no possible value, and "" once all is well again.
    Raises ValueError for an empty range, or a log range that does not start above 0.
    """

    valueChanged = Signal(object)
    invalid = Signal(str)

    def __init__(
        self,
        low: float,
        high: float,
        *,
        integer: bool = False,
        log: bool = False,
        step: float | None = None,
        value: float | None = None,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._integer, self._log, self._step = integer, log, step
        self._bad = ""
        self._shown: float | None = None
        self.slider = _Slider(self)
        self.edit = _InlineEdit(self)
        self.edit.setProperty("inline", True)
        self.edit.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self.edit.setFixedWidth(52)
        self.setFocusProxy(self.slider)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(8)
        row.addWidget(self.slider, 1)
        row.addWidget(self.edit)
        self._value: float = low if value is None else value
        self.setRange(low, high)
        self.slider.valueChanged.connect(self._slid)
        self.slider.typed.connect(self._type_over)
        self.edit.textEdited.connect(self._edited)
        self.edit.editingFinished.connect(self._finished)
        self.edit.cancelled.connect(self._cancel)

    def value(self) -> int | float:
        """The value, an int if the slider is one of whole numbers."""
        return int(self._value) if self._integer else float(self._value)

    def setValue(self, value: float) -> None:
        """Set the value, limited to the range; ``valueChanged`` is emitted if that changes it."""
        limited = min(max(value, self._stops[0]), self._stops[-1])
        before, self._value = self._value, round(limited) if self._integer else limited
        self._show()
        if self._value != before:
            self.valueChanged.emit(self.value())

    def set_shown(self, value: float | None) -> None:
        """Show another value than the own one, as while it is dimmed because something else decides; None ends it."""
        if value != self._shown:
            self._shown = value
            self._show()

    def setRange(self, low: float, high: float) -> None:
        """Change the range, ends included; the value moves inside it."""
        if not low < high or (self._log and low <= 0):
            raise ValueError(f"A slider cannot go from {low:g} to {high:g}.")
        self._stops = slider_stops(low, high, integer=self._integer, log=self._log, step=self._step)
        gap = min(b - a for a, b in pairwise(self._stops))
        self._decimals = 0 if self._integer else max(0, -math.floor(math.log10(gap) + 1e-6))
        self.slider.blockSignals(True)
        self.slider.setRange(0, len(self._stops) - 1)
        self.slider.setPageStep(max(1, len(self._stops) // 10))
        self.slider.blockSignals(False)
        self.setValue(self._value)

    def setAccessibleName(self, name: str) -> None:
        super().setAccessibleName(name)
        self.slider.setAccessibleName(name)
        self.edit.setAccessibleName(f"{name}, as a number")

    def text(self) -> str:
        """The value as it is written beside the slider."""
        value = self._value if self._shown is None else self._shown
        if self._integer:
            return str(int(value))
        fixed = f"{value:.{self._decimals}f}"
        return fixed if not self._log and math.isclose(float(fixed), value) else format_number(value)

    def _show(self) -> None:
        self.slider.blockSignals(True)
        self.slider.setValue(_nearest(self._stops, self._value if self._shown is None else self._shown))
        self.slider.blockSignals(False)
        if self.edit.text() != self.text():
            self.edit.setText(self.text())
        self._mark("")

    def _slid(self, position: int) -> None:
        self.setValue(self._stops[position])

    def _type_over(self, digit: str) -> None:
        self.edit.setFocus(Qt.FocusReason.OtherFocusReason)
        self.edit.setText(digit)
        self._edited(digit)

    def _edited(self, text: str) -> None:
        self._mark("" if self._read(text) is not None else text or " ")

    def _finished(self) -> None:
        value = self._read(self.edit.text())
        if value is not None and self.edit.text() != self.text():
            self.setValue(value)

    def _cancel(self) -> None:
        self._show()
        self.slider.setFocus()

    def _read(self, text: str) -> float | None:
        try:
            value = float(text.replace(",", ""))
        except ValueError:
            return None
        inside = self._stops[0] <= value <= self._stops[-1]
        return value if inside and (not self._integer or value == int(value)) else None

    def _mark(self, bad: str) -> None:
        theme.restyle(self.edit, bad=bool(bad))
        if bad != self._bad:
            self._bad = bad
            self.invalid.emit(bad)


def slider_stops(
    low: float, high: float, *, integer: bool = False, log: bool = False, step: float | None = None
) -> list[float]:
    """The values a slider halts at, ascending, from ``low`` to ``high`` with both ends; at most about 1,000."""
    if log:
        count = max(1, math.ceil(math.log10(high / low) * _PER_DECADE))
        inner = [low * (high / low) ** (index / count) for index in range(1, count)]
        nice = {float(round(x)) if integer else float(f"{x:.2g}") for x in inner}
    else:
        if step is None:
            step = max(1, math.ceil((high - low) / 1000)) if integer else _nice_step((high - low) / 100)
        nice = {round(low + index * step, 10) for index in range(int((high - low) / step + 1e-9) + 1)}
    return sorted({x for x in nice if low < x < high} | {float(low), float(high)})


def _nice_step(rough: float) -> float:
    """The largest of 1, 2, 5 times a power of ten that is no larger than ``rough``."""
    power = 10.0 ** math.floor(math.log10(rough) + 1e-9)
    return max(power * m for m in (1, 2, 5) if power * m <= rough * (1 + 1e-9))


def _nearest(stops: list[float], value: float) -> int:
    after = bisect.bisect_left(stops, value)
    if after == 0 or after == len(stops):
        return min(after, len(stops) - 1)
    return after if stops[after] - value < value - stops[after - 1] else after - 1


class Choice(QComboBox):
    """A drop-down of (value, label) pairs."""

    valueChanged = Signal(object)

    def __init__(self, options: Sequence[tuple[object, str]] = (), parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(6)
        # Only an own view and delegate take the style sheet's item rules; a clear window makes the corners round.
        self.setView(QListView(self))
        self.setItemDelegate(QStyledItemDelegate(self))
        popup = self.view().window()
        popup.setWindowFlags(
            Qt.WindowType.Popup | Qt.WindowType.FramelessWindowHint | Qt.WindowType.NoDropShadowWindowHint
        )
        popup.setAttribute(Qt.WidgetAttribute.WA_TranslucentBackground)
        self.set_options(options)
        self.currentIndexChanged.connect(self._announce)

    def set_options(self, options: Sequence[tuple[object, str]]) -> None:
        """Replace the options; the value stays if it is among the new ones, and no signal is emitted."""
        before = self.value()
        blocked = self.blockSignals(True)
        self.clear()
        for value, label in options:
            self.addItem(label, value)
        self.setValue(before)
        self.blockSignals(blocked)

    def value(self) -> object:
        """The value chosen; None if there are no options."""
        return self.currentData()

    def setValue(self, value: object) -> None:
        """Choose the option with this value; leave the choice alone if there is none."""
        for index in range(self.count()):
            if self.itemData(index) == value:
                self.setCurrentIndex(index)
                return

    def paintEvent(self, event: QPaintEvent) -> None:
        """As Qt paints it, but a text for which there is no room ends in an ellipsis."""
        option = QStyleOptionComboBox()
        self.initStyleOption(option)
        field = QStyle.SubControl.SC_ComboBoxEditField
        room = self.style().subControlRect(QStyle.ComplexControl.CC_ComboBox, option, field, self).width() - 2
        shown = self.fontMetrics().elidedText(self.currentText(), Qt.TextElideMode.ElideRight, room)
        option.currentText = shown  # type: ignore[attr-defined] # Qt's stubs leave it out
        painter = QStylePainter(self)
        painter.drawComplexControl(QStyle.ComplexControl.CC_ComboBox, option)
        painter.drawControl(QStyle.ControlElement.CE_ComboBoxLabel, option)

    def showPopup(self) -> None:
        self.view().setMinimumWidth(max(self.width(), self.view().sizeHintForColumn(0) + 32))
        super().showPopup()

    def wheelEvent(self, event: QWheelEvent) -> None:
        if self.hasFocus():
            super().wheelEvent(event)
        else:
            event.ignore()

    def _announce(self) -> None:
        self.valueChanged.emit(self.value())


class Segmented(QFrame):
    """A choice among few (value, label) pairs, all in sight."""

    valueChanged = Signal(object)

    def __init__(self, options: Sequence[tuple[object, str]], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("segmented", True)
        self._values = [value for value, _ in options]
        self._group = QButtonGroup(self)
        row = QHBoxLayout(self)
        row.setContentsMargins(2, 2, 2, 2)
        row.setSpacing(2)
        for index, (_, label) in enumerate(options):
            button = QPushButton(label, self)
            button.setProperty("segment", True)
            button.setCheckable(True)
            self._group.addButton(button, index)
            row.addWidget(button, 1)
        self._group.button(0).setChecked(True)
        self.setFocusProxy(self._group.button(0))
        self._group.idToggled.connect(self._toggled)

    def value(self) -> object:
        """The value chosen."""
        return self._values[self._group.checkedId()]

    def setValue(self, value: object) -> None:
        """Choose the option with this value. Raises ValueError if there is none."""
        self._group.button(self._values.index(value)).setChecked(True)

    def button(self, value: object) -> QPushButton:
        """The button of a value, to disable it or to give it a tool tip."""
        found = self._group.button(self._values.index(value))
        assert isinstance(found, QPushButton)
        return found

    def _toggled(self, index: int, on: bool) -> None:
        if on:
            self.valueChanged.emit(self._values[index])


class _FieldLabel(QLabel):
    """The name of a field with its symbol; a click goes to the control."""

    clicked = Signal()

    def __init__(self, text: str, symbol: str) -> None:
        super().__init__()
        self._name, self._symbol = text, symbol
        self.setProperty("role", "field")
        self.setTextFormat(Qt.TextFormat.RichText)
        self.setWordWrap(True)
        self._render()
        theme.notifier().changed.connect(self._render)

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.EnabledChange:
            self._render()

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        super().mouseReleaseEvent(event)
        if event.button() == Qt.MouseButton.LeftButton:
            self.clicked.emit()

    def _render(self) -> None:
        now = theme.tokens()
        color = now.accent if self.isEnabled() else theme.mix(now.panel, now.accent, 0.4)
        symbol = html.escape(self._symbol)
        for mark in ("sub", "sup"):
            symbol = symbol.replace(f"&lt;{mark}&gt;", f"<{mark}>").replace(f"&lt;/{mark}&gt;", f"</{mark}>")
        family = theme.mono_font().family()
        after = f"&nbsp;&nbsp;<span style='color:{color}; font-family:\"{family}\"; font-size:12px'>{symbol}</span>"
        self.setText(html.escape(self._name) + (after if symbol else ""))


class Field(QWidget):
    """A row of a form: the name with its coloured symbol, the control, and a line beneath for a reason or an error.

    A ``wide`` one gives the control the whole width, under the name.
    """

    def __init__(
        self,
        label: str,
        control: QWidget,
        *,
        symbol: str = "",
        tooltip: str = "",
        wide: bool = False,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self.control = control
        self._reason = self._error = ""
        self._label = _FieldLabel(label, symbol)
        self._label.clicked.connect(self._go_to_control)
        self._note = make_label("", "faint", wrap=True)
        self._note.hide()
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(8)
        grid.setVerticalSpacing(2)
        grid.setColumnStretch(1, 1)
        if wide:
            for row, widget in enumerate((self._label, control, self._note)):
                grid.addWidget(widget, row, 0, 1, 2)
        else:
            self._label.setFixedWidth(LABEL_WIDTH)
            grid.addWidget(self._label, 0, 0)
            grid.addWidget(control, 0, 1)
            grid.addWidget(self._note, 1, 1)
        if not control.accessibleName():
            control.setAccessibleName(label)
        if tooltip:
            self.setToolTip(tooltip)
            control.setAccessibleDescription(tooltip)

    def set_enabled(self, on: bool, reason: str = "") -> None:
        """Enable the control, or dim it and say under it why it has no effect."""
        self.control.setEnabled(on)
        self._label.setEnabled(on)
        self._reason = "" if on else reason
        self._refresh()

    def set_hint(self, text: str) -> None:
        """Say under an enabled control what its value means at the moment; "" takes it back."""
        self._reason = text
        self._refresh()

    def set_error(self, message: str) -> None:
        """Say under the control what is wrong with its value; "" takes it back."""
        self._error = message
        self._refresh()

    def note(self) -> str:
        """The line under the control, "" if there is none."""
        return self._error or self._reason

    def _refresh(self) -> None:
        theme.restyle(self._note, role="error" if self._error else "faint")
        self._note.setText(self.note())
        self._note.setVisible(bool(self.note()))

    def _go_to_control(self) -> None:
        self.control.setFocus(Qt.FocusReason.MouseFocusReason)
        if isinstance(self.control, QCheckBox):
            self.control.click()


class StatTile(QFrame):
    """A number that changes, with its caption beneath and a thin rule on the left."""

    def __init__(self, caption: str, number: str = "–", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("tile", True)
        self._number = ElidedLabel(number, "number")
        self._caption = ElidedLabel(caption, "muted")
        column = QVBoxLayout(self)
        column.setContentsMargins(10, 0, 8, 0)
        column.setSpacing(1)
        column.addWidget(self._number)
        column.addWidget(self._caption)

    def set(self, number: str, caption: str | None = None) -> None:
        """Show another number, and another caption unless it is None. Repaints only what differs."""
        self._number.setText(number)
        if caption is not None:
            self._caption.setText(caption)

    def number(self) -> str:
        """The number shown."""
        return self._number.fullText()

    def caption(self) -> str:
        """The caption shown."""
        return self._caption.fullText()


class Banner(QFrame):
    """A line that says what went wrong, or what is worth knowing; hidden until then. Screen readers announce it."""

    dismissed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._details = ""
        self._picture = QLabel()
        self._text = QLabel()
        self._text.setWordWrap(True)
        self._text.setTextFormat(Qt.TextFormat.PlainText)
        self._text.setTextInteractionFlags(
            Qt.TextInteractionFlag.TextSelectableByMouse | Qt.TextInteractionFlag.TextSelectableByKeyboard
        )
        self._text.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        self.copy_button = QPushButton("Copy details")
        self.copy_button.setProperty("flat", True)
        self.copy_button.clicked.connect(self._copy)
        self.close_button = QToolButton()
        self.close_button.setAccessibleName("Dismiss")
        self.close_button.setToolTip("Dismiss")
        theme.set_icon(self.close_button, "close")
        self.close_button.clicked.connect(self.dismiss)
        row = QHBoxLayout(self)
        row.setContentsMargins(12, 6, 6, 6)
        row.setSpacing(10)
        row.addWidget(self._picture)
        row.addWidget(self._text, 1)
        row.addWidget(self.copy_button)
        row.addWidget(self.close_button)
        self.hide()
        theme.notifier().changed.connect(self._paint_icon)

    def show_error(self, summary: str, details: str = "") -> None:
        """Show what went wrong and what to do; ``details`` can be copied."""
        self._display("error", summary, details)

    def show_info(self, text: str) -> None:
        """Show something worth knowing."""
        self._display("info", text, "")

    def text(self) -> str:
        """What it says."""
        return self._text.text()

    def dismiss(self) -> None:
        """Hide it."""
        self.hide()
        self.dismissed.emit()

    def _display(self, kind: str, text: str, details: str) -> None:
        theme.restyle(self, banner=kind)
        self._details = details
        self._text.setText(text)
        self.setAccessibleName(text)
        self.copy_button.setText("Copy details")
        self.copy_button.setVisible(bool(details))
        self._paint_icon()
        self.show()
        QAccessible.updateAccessibility(QAccessibleEvent(self, QAccessible.Event.Alert))

    def _paint_icon(self) -> None:
        now = theme.tokens()
        error = self.property("banner") == "error"
        picture = theme.icon("warning", now.bad) if error else theme.icon("info", now.accent)
        self._picture.setPixmap(picture.pixmap(QSize(18, 18), self.devicePixelRatioF()))

    def _copy(self) -> None:
        QGuiApplication.clipboard().setText(f"{self.text()}\n\n{self._details}")
        self.copy_button.setText("Copied")


class Chip(QPushButton):
    """A round pill of the top bar, with a dot in one of the colours ``good``, ``warn``, ``bad``, ``accent``."""

    def __init__(self, text: str = "", dot: str = "", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("chip", True)
        self.setIconSize(QSize(12, 8))
        self._dot = ""
        self.set(text, dot)
        theme.notifier().changed.connect(self._paint_dot)

    def set(self, text: str, dot: str = "") -> None:
        """Show another text and another dot ("" for none)."""
        if text != self.text():
            self.setText(text)
        if dot != self._dot:
            self._dot = dot
            self._paint_dot()

    def _paint_dot(self) -> None:
        self.setIcon(QIcon(dot_pixmap(getattr(theme.tokens(), self._dot))) if self._dot else QIcon())


def dot_pixmap(color: str) -> QPixmap:
    """A round dot, 7 px across with room to its right, drawn at four times that for sharp screens."""
    pixmap = QPixmap(48, 32)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor(color))
    painter.drawEllipse(QPointF(16, 16), 14, 14)
    painter.end()
    pixmap.setDevicePixelRatio(4)
    return pixmap


class DropZone(QLabel):
    """A dashed frame that says what may be dropped; it lights up while something hovers. A click asks for a file."""

    clicked = Signal()

    def __init__(self, text: str, parent: QWidget | None = None) -> None:
        super().__init__(text, parent)
        self.setProperty("dropzone", True)
        self.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.setWordWrap(True)
        self.setCursor(Qt.CursorShape.PointingHandCursor)

    def set_active(self, on: bool) -> None:
        """Light up, or not."""
        theme.restyle(self, active=on)

    def paintEvent(self, event: QPaintEvent) -> None:
        now, active = theme.tokens(), bool(self.property("active"))
        pen = QPen(QColor(now.accent if active else now.border_strong), 1)
        pen.setDashPattern([4, 3])
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(pen)
        painter.setBrush(QColor(now.accent_soft) if active else Qt.BrushStyle.NoBrush)
        painter.drawRoundedRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5), 9, 9)
        painter.end()
        super().paintEvent(event)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        super().mouseReleaseEvent(event)
        if event.button() == Qt.MouseButton.LeftButton and self.rect().contains(event.position().toPoint()):
            self.clicked.emit()


class Disclosure(QPushButton):
    """A heading with a chevron that shows and hides the widget beneath it; closed at first."""

    def __init__(self, text: str, body: QWidget, parent: QWidget | None = None) -> None:
        super().__init__(text, parent)
        self._body = body
        self.setProperty("disclosure", True)
        self.setCheckable(True)
        self.setIconSize(QSize(12, 12))
        self.toggled.connect(self._turn)
        self._turn()

    def _turn(self) -> None:
        self._body.setVisible(self.isChecked())
        theme.set_icon(self, "chevron-down" if self.isChecked() else "chevron-right")
