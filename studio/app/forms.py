"""Forms made from knobs: one control a knob, checked by the knob itself, so form and method cannot disagree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QCheckBox, QLineEdit, QVBoxLayout, QWidget

from studio.app import theme
from studio.app.controls import Choice, Disclosure, Field, LabeledSlider, format_number, slider_stops
from studio.core.knobs import Knob, Value

_MOST_STOPS = 300


@dataclass
class _Row:
    """One knob in the form: what it is, where it stands, its last possible value and what is wrong with it now."""

    knob: Knob
    field: Field
    value: Value
    error: str = ""


class KnobForm(QWidget):
    """Controls for ``knobs``, in their order; the advanced ones wait under "More".

    ``labels`` names the options of choices: ``"predict.eps"`` (knob and option) or ``"eps"`` gives the label. Each
    control has the knob's name as its objectName. ``changed`` follows every change of a value at once;
    ``validity_changed`` tells whether all that is typed is possible.
    """

    changed = Signal()
    validity_changed = Signal(bool)

    def __init__(
        self, knobs: tuple[Knob, ...], labels: Mapping[str, str] | None = None, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._labels = dict(labels or {})
        self._rows: dict[str, _Row] = {}
        self._quiet = False
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(8)
        more = QWidget(self)
        hidden = QVBoxLayout(more)
        hidden.setContentsMargins(0, 0, 0, 0)
        hidden.setSpacing(8)
        for knob in knobs:
            field = self._make_field(knob)
            self._rows[knob.name] = _Row(knob, field, knob.default)
            (hidden if knob.advanced else column).addWidget(field)
        self.more = Disclosure("More", more, self)
        self.more.setVisible(hidden.count() > 0)
        column.addWidget(self.more)
        column.addWidget(more)

    def values(self) -> dict[str, Value]:
        """The value of every knob; for one with bad text in it, the last possible value."""
        return {name: row.value for name, row in self._rows.items()}

    def is_valid(self) -> bool:
        """Whether everything typed is a possible value."""
        return not any(row.error for row in self._rows.values())

    def set_values(self, values: Mapping[str, Value]) -> None:
        """Set some knobs. ``changed`` is emitted once. Raises ValueError for an unknown name or an impossible value."""
        for name in values:
            if name not in self._rows:
                raise ValueError(f"{name!r} is no setting of this form; it has {', '.join(self._rows) or 'none'}.")
        checked = {name: self._rows[name].knob.check(value) for name, value in values.items()}
        before = self.values()
        self._quiet = True
        for name, value in checked.items():
            row = self._rows[name]
            if value != row.value or row.error:  # else what is typed stays as it is typed
                self._show(row, value)
        self._quiet = False
        if self.values() != before:
            self.changed.emit()

    def set_knob_enabled(self, name: str, on: bool, reason: str = "") -> None:
        """Enable a knob, or dim it and say why it has no effect. Bad text in a dimmed knob gives way to its value."""
        row = self._rows[name]
        if not on and row.error:
            self._show(row, row.value)
        row.field.set_enabled(on, reason)

    def field(self, name: str) -> Field:
        """The row of a knob."""
        return self._rows[name].field

    def _make_field(self, knob: Knob) -> Field:
        control = self._make_control(knob)
        control.setObjectName(knob.name)
        control.setAccessibleName(knob.label)
        label = f"{knob.label}, {knob.unit}" if knob.unit else knob.label
        return Field(label, control, symbol=knob.symbol, tooltip=_tooltip(knob), wide=knob.kind == "text")

    def _make_control(self, knob: Knob) -> QWidget:
        if knob.kind == "bool" and not knob.optional:
            check = QCheckBox()
            check.setChecked(bool(knob.default))
            check.toggled.connect(partial(self._take, knob.name))
            return check
        if knob.kind in ("choice", "bool"):
            choice = Choice(self._options(knob))
            choice.setValue(knob.default)
            choice.valueChanged.connect(partial(self._take, knob.name))
            return choice
        if _fits_slider(knob):
            assert knob.low is not None
            assert knob.high is not None
            assert isinstance(knob.default, (int, float))
            slider = LabeledSlider(knob.low, knob.high, integer=knob.kind == "int", log=knob.log, value=knob.default)
            slider.valueChanged.connect(partial(self._take, knob.name))
            slider.invalid.connect(partial(self._reject, knob.name))
            return slider
        edit = QLineEdit(_as_text(knob.default))
        edit.setCursorPosition(0)
        edit.setProperty("plain", knob.kind == "text")
        edit.setPlaceholderText("auto" if knob.optional else "")
        edit.textChanged.connect(partial(self._read, knob.name))
        return edit

    def _options(self, knob: Knob) -> list[tuple[object, str]]:
        if knob.kind == "bool":
            return [(None, "auto"), (True, "yes"), (False, "no")]
        auto: list[tuple[object, str]] = [(None, "auto")] if knob.optional else []
        named = self._labels
        return auto + [
            (option, named.get(f"{knob.name}.{option}", named.get(option, option.replace("_", " "))))
            for option in knob.choices
        ]

    def _show(self, row: _Row, value: Value) -> None:
        """Put a checked value into the control; the control's own signal then stores it."""
        control = row.field.control
        if isinstance(control, QCheckBox):
            control.setChecked(bool(value))
        elif isinstance(control, Choice):
            control.setValue(value)
        elif isinstance(control, LabeledSlider):
            assert isinstance(value, (int, float))
            control.setValue(value)
        elif isinstance(control, QLineEdit):
            control.setText(_as_text(value))
            control.setCursorPosition(0)  # a long list shows its beginning
        self._take(row.knob.name, value)

    def _read(self, name: str, text: str) -> None:
        """Text was typed: take it if the knob can read it, else say what the knob takes."""
        try:
            value = self._rows[name].knob.parse(text)
        except ValueError:
            self._reject(name, text or " ")
        else:
            self._take(name, value)

    def _take(self, name: str, value: Value) -> None:
        row = self._rows[name]
        self._set_error(row, "")
        if row.value != value:
            row.value = value
            if not self._quiet:
                self.changed.emit()

    def _reject(self, name: str, text: str) -> None:
        """``text`` is no possible value; "" says that the control is good again."""
        row = self._rows[name]
        self._set_error(row, f"It takes {row.knob.allowed}." if text else "")

    def _set_error(self, row: _Row, error: str) -> None:
        if error == row.error:
            return
        before = self.is_valid()
        row.error = error
        row.field.set_error(error)
        if isinstance(row.field.control, QLineEdit):
            theme.restyle(row.field.control, bad=bool(error))
        if self.is_valid() != before:
            self.validity_changed.emit(not before)


def _fits_slider(knob: Knob) -> bool:
    """A slider suits a short range whose default is one of its stops; anything else is better typed."""
    if knob.optional or knob.low is None or knob.high is None or knob.kind == "text":
        return False
    if knob.low >= knob.high or (knob.log and knob.low <= 0):
        return False
    if knob.kind == "int" and not knob.log and knob.high - knob.low > _MOST_STOPS:
        return False
    stops = slider_stops(knob.low, knob.high, integer=knob.kind == "int", log=knob.log)
    assert isinstance(knob.default, (int, float))
    return len(stops) <= _MOST_STOPS and any(abs(stop - knob.default) < 1e-9 for stop in stops)


def _as_text(value: Value) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        # Text must read back as the same number: short where short is exact.
        short = format_number(value)
        return short if float(short) == value else repr(value)
    return str(value)


def _tooltip(knob: Knob) -> str:
    name = f"{knob.label} {knob.symbol}".strip() + (f", in {knob.unit}" if knob.unit else "")
    range_line = "" if knob.kind in ("bool", "text") else f"\nTakes {knob.allowed}."
    auto = " Left empty, it is chosen for you." if knob.optional else ""
    return f"{name}\n{knob.help}{range_line}{auto}"
