"""Choosing a registered method: a list of all of its kind, and the form of the chosen one's knobs beneath."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from PySide6.QtCore import QSignalBlocker, Signal
from PySide6.QtWidgets import QVBoxLayout, QWidget

from studio.app import theme
from studio.app.controls import Choice, Field
from studio.app.forms import KnobForm
from studio.core.knobs import Knob, build, knobs_of, values_of
from studio.core.registry import methods, name_of

LABELS = {
    "parameterization.eps": "noise ε",
    "parameterization.x0": "image x₀",
    "parameterization.v": "velocity v",
    "parameterization.edm": "EDM mix",
    "predict.x0": "image x₀",
    "predict.x_s": "the next x",
    "predict.noise": "noise ε",
    "process.denoising": "T steps",
    "process.one_shot": "at once",
    "loss.non_saturating": "logistic",
    "level_choice.schedule": "the schedule’s",
    "level_choice.lognormal": "log-normal",
    "weighting.output": "none",
    "weighting.eps": "error in ε",
    "weighting.min_snr": "min-SNR-5",
    "variance.small": "small, β̃",
    "variance.large": "large, β",
    "decay.linear": "falls to 0",
    "decay.constant": "stays",
    "device.auto": "the fastest",
    "device.cpu": "CPU",
    "device.cuda": "CUDA",
    "device.mps": "Apple GPU",
}
"""What the options of choices are called, by knob and option."""


class MethodPicker(QWidget):
    """``changed`` follows every change; ``picked`` comes before it where another method was chosen.

    Forms are made when their method is first chosen. Unless ``lone``, a list of one method is not shown. Methods that
    come with their settings, by :meth:`offer_values`, stand in the same list and have no form.
    """

    changed = Signal()
    picked = Signal()

    def __init__(
        self, kind: str, label: str, tooltip: str, default: type | None = None, *, lone: bool = True, spacing: int = 8
    ) -> None:
        super().__init__()
        self._kind, self._lone = kind, lone
        self._classes: dict[str, Any] = dict(methods(kind))
        self._names: Collection[str] = self._classes
        self._offered: list[tuple[str, Any]] = []
        self._elsewhere: dict[Any, str] = {}  # what is offered for other models, by its settings
        self._forms: dict[str, KnobForm] = {}
        self.choice = Choice()
        self.choice.setObjectName(kind)
        self.choice.setAccessibleName(tooltip.partition("\n")[0])
        self._field = Field(label, self.choice, tooltip=tooltip)
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(spacing)
        self._column.addWidget(self._field)
        self._list()
        if default is not None:
            self.choice.setValue(name_of(kind, default))
        self._show()
        self.choice.valueChanged.connect(self._pick)

    def offer(self, names: Collection[str]) -> None:
        """List only these methods; the choice stays if it is among them."""
        self._names = names
        self._list()
        self._show()

    def offer_values(self, named: Sequence[tuple[str, Any]], elsewhere: Sequence[tuple[str, Any]] = ()) -> None:
        """List methods with their settings, under these labels, after the others; emits nothing.

        The value stays as it is: one that equals what is offered becomes that, and one that was offered before, or is
        so ``elsewhere``, stays as settings in the form of its method; the list then says that it is from another model.
        """
        self._elsewhere |= {value: label for label, value in (*elsewhere, *self._offered)}
        if self._offered == list(named):
            self._tell_origin()
            return
        value = self.possible()
        self._offered = list(named)
        with QSignalBlocker(self):
            self._list()
            if value is not None:
                self.set_value(value)

    def _list(self) -> None:
        own = [(name, cls.title) for name, cls in self._classes.items() if name in self._names]
        self.choice.set_options([*own, *((value, label) for label, value in self._offered)])
        self._field.setVisible(self._lone or len(self._names) > 1)

    def name(self) -> str:
        """The name of the chosen method."""
        chosen = self.choice.value()
        return chosen if isinstance(chosen, str) else name_of(self._kind, type(chosen))

    def method(self) -> Any:
        """The class of the chosen method."""
        return self._classes[self.name()]

    def form(self) -> KnobForm:
        """The form of the chosen method."""
        return self._form(self.name())

    def value(self) -> Any:
        """The method with its settings. Raises ValueError in plain words."""
        chosen = self.choice.value()
        return read_form(self.form(), self.method()) if isinstance(chosen, str) else chosen

    def possible(self) -> Any:
        """The method with its settings; None while what is typed is not possible."""
        try:
            return self.value()
        except ValueError:
            return None

    def is_offered(self) -> bool:
        """Whether what is chosen came with its settings, by :meth:`offer_values`."""
        return not isinstance(self.choice.value(), str)

    def set_value(self, method: Any) -> None:
        """Choose the class of ``method`` and take over its settings, or what is offered and equals it; no signal."""
        offered = any(value == method for _, value in self._offered)
        self.choice.blockSignals(True)
        self.choice.setValue(method if offered else name_of(self._kind, type(method)))
        self.choice.blockSignals(False)
        if not offered:
            self.form().set_values(values_of(method))
        self._show()

    def set_error(self, message: str) -> None:
        """Say what is wrong, at the last knob of the method; "" takes it back."""
        names = list(self.form().values()) if isinstance(self.choice.value(), str) else []
        field = self.form().field(names[-1]) if names else self._field
        field.set_error(message)
        theme.restyle(field.control, bad=bool(message))

    def state(self) -> dict[str, Any]:
        """What is chosen, and every knob of every method looked at, as plain values."""
        knobs = {
            f"{self._kind}.{name}.{knob}": value
            for name, form in self._forms.items()
            for knob, value in form.values().items()
        }
        chosen = self.choice.value()
        if not isinstance(chosen, str):
            # By its settings: whoever reads them may not be offered it.
            knobs |= {f"{self._kind}.{self.name()}.{knob}": value for knob, value in values_of(chosen).items()}
        return {self._kind: self.name(), **knobs}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what :meth:`state` gave, also where a settings file made text of it."""
        for name, cls in self._classes.items():
            for knob in knobs_of(cls):
                value = parsed(knob, state.get(f"{self._kind}.{name}.{knob.name}"))
                if value is not None:
                    self._form(name).set_values({knob.name: value})
        self.choice.setValue(state.get(self._kind, self.name()))
        value = self.possible()
        if any(offered == value for _, offered in self._offered):
            self.choice.setValue(value)
        self._show()

    def _form(self, name: str) -> KnobForm:
        if name not in self._forms:
            form = KnobForm(knobs_of(self._classes[name]), LABELS, self)
            form.changed.connect(self._tell_origin)
            form.changed.connect(self.changed)
            form.validity_changed.connect(self.changed)
            self._column.addWidget(form)
            self._forms[name] = form
        return self._forms[name]

    def _pick(self) -> None:
        self._show()
        self.picked.emit()
        self.changed.emit()

    def _show(self) -> None:
        shown = self.form() if isinstance(self.choice.value(), str) else None
        for form in self._forms.values():
            form.setVisible(form is shown and bool(form.values()))
        self._tell_origin()

    def _tell_origin(self) -> None:
        """Say the end of an offered label, for which the list is too narrow, or that it is another model's."""
        chosen = self.choice.value()
        if isinstance(chosen, str):
            label = self._elsewhere.get(self.possible(), "")
            self._field.set_hint(f"{label}, from another model" if label else "")
        else:
            label = next(label for label, value in self._offered if value == chosen)
            self._field.set_hint(label.partition(", ")[2])


def read_form(form: KnobForm, cls: type) -> Any:
    """``cls`` made from its form. Raises ValueError naming the setting whose text is no possible value."""
    if not form.is_valid():
        for knob in knobs_of(cls):
            field = form.field(knob.name)
            if field.note() and field.control.isEnabledTo(field):
                raise ValueError(f"{knob.label} is not possible as typed. {field.note()}")
    return build(cls, form.values())


def parsed(knob: Knob, value: object) -> Any:
    """A knob's value out of a settings file, which may have made text of it; None where it is missing or impossible."""
    if value is None:
        return None
    try:
        return knob.parse(str(value))
    except ValueError:
        return None


def restore_form(form: KnobForm, knobs: Iterable[Knob], state: Mapping[str, Any]) -> None:
    """Set the knobs of a form to what a settings file has under their names, as far as it is possible."""
    for knob in knobs:
        value = parsed(knob, state.get(knob.name))
        if value is not None:
            form.set_values({knob.name: value})
