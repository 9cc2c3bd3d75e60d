"""Knobs: the settings of a method, declared once.

A method is a frozen, keyword-only dataclass whose fields are made with :func:`knob`. The same declaration gives the
default, the range check, the command-line flag and the form in the window, so none of them can disagree.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

T = TypeVar("T")
Value = bool | int | float | str | None


@dataclass(frozen=True, kw_only=True)
class Knob:
    """One setting: its type, default, range and what it says to the person.

    ``kind`` is ``"bool"``, ``"int"``, ``"float"``, ``"choice"`` or ``"text"``. ``low`` and ``high`` are inclusive and
    None where unbounded. ``optional`` knobs may also be None, which the window shows as "auto".
    """

    name: str
    kind: Literal["bool", "int", "float", "choice", "text"]
    default: Value
    help: str
    label: str
    symbol: str = ""
    unit: str = ""
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()
    log: bool = False
    optional: bool = False
    advanced: bool = False

    @property
    def allowed(self) -> str:
        """What values the knob takes, in words."""
        if self.kind == "choice":
            return "one of " + ", ".join(self.choices)
        if self.kind == "bool":
            return "true or false"
        if self.kind == "text":
            return "text"
        number = "a whole number" if self.kind == "int" else "a number"
        style = ",.0f" if self.kind == "int" else "g"
        match self.low, self.high:
            case None, None:
                return number
            case low, None:
                return f"{number} of at least {low:{style}}"
            case None, high:
                return f"{number} of at most {high:{style}}"
            case low, high:
                return f"{number} from {low:{style}} to {high:{style}}"
        return number

    def check(self, value: object) -> Value:
        """Return ``value`` in the knob's type; raise ValueError naming the knob, the value and what is allowed."""
        if value is None and self.optional:
            return None
        problem = ValueError(f"{self.name} = {value!r} is not possible: it takes {self.allowed}.")
        match self.kind:
            case "bool":
                if not isinstance(value, bool):
                    raise problem
                return value
            case "choice" | "text":
                if not isinstance(value, str) or (self.choices and value not in self.choices):
                    raise problem
                return value
        if isinstance(value, bool) or not isinstance(value, (int, float)) or abs(value) > 1e18 or value != value:
            raise problem
        if self.kind == "int" and value != int(value):
            raise problem
        if (self.low is not None and value < self.low) or (self.high is not None and value > self.high):
            raise problem
        return int(value) if self.kind == "int" else float(value)

    def parse(self, text: str) -> Value:
        """Read the knob from text, as typed on a command line or into a form. Raises ValueError as :meth:`check`."""
        word = text.strip()
        if self.optional and word.lower() in ("", "auto", "none"):
            return None
        problem = ValueError(f"{self.name} = {text!r} is not possible: it takes {self.allowed}.")
        match self.kind:
            case "bool":
                if word.lower() not in ("true", "false", "yes", "no", "1", "0", "on", "off"):
                    raise problem
                return word.lower() in ("true", "yes", "1", "on")
            case "int" | "float":
                try:
                    return self.check(float(word))
                except (ValueError, OverflowError):
                    raise problem from None
            case _:
                return self.check(word)


def knob(
    default: Any,
    *,
    help: str,
    label: str = "",
    symbol: str = "",
    unit: str = "",
    low: float | None = None,
    high: float | None = None,
    log: bool = False,
    advanced: bool = False,
) -> Any:
    """A dataclass field that is a knob. Ranges are inclusive; ``Literal`` annotations give the choices."""
    facts = {"help": help, "label": label, "symbol": symbol, "unit": unit}
    return dataclasses.field(
        default=default, metadata={"knob": facts | {"low": low, "high": high, "log": log, "advanced": advanced}}
    )


def knobs_of(cls: type) -> tuple[Knob, ...]:
    """The knobs of a dataclass, in the order of declaration. Fields made without :func:`knob` are left out."""
    hints = get_type_hints(cls)
    found = []
    for field in dataclasses.fields(cls):
        if "knob" not in field.metadata:
            continue
        facts = dict(field.metadata["knob"])
        kind, choices, optional = _kind(hints[field.name])
        assert field.default is not dataclasses.MISSING, "a knob has a default"
        facts["label"] = facts["label"] or field.name.replace("_", " ").capitalize()
        found.append(
            Knob(name=field.name, kind=kind, default=field.default, choices=choices, optional=optional, **facts)
        )
    return tuple(found)


def _kind(hint: Any) -> tuple[Any, tuple[str, ...], bool]:
    if get_origin(hint) in (Union, types.UnionType):
        inner = [arg for arg in get_args(hint) if arg is not type(None)]
        assert len(inner) == 1, f"a knob is one type or None, not {hint}"
        return *_kind(inner[0])[:2], True
    if get_origin(hint) is Literal:
        return "choice", get_args(hint), False
    return {bool: "bool", int: "int", float: "float", str: "text"}[hint], (), False


class Knobbed:
    """Base of dataclasses made of knobs: every value is checked when an instance is made."""

    def __post_init__(self) -> None:
        for item in knobs_of(type(self)):
            object.__setattr__(self, item.name, item.check(getattr(self, item.name)))


def values_of(instance: Any) -> dict[str, Value]:
    """The knob values of an instance, ready for TOML or a checkpoint header."""
    return {item.name: getattr(instance, item.name) for item in knobs_of(type(instance))}


def build(cls: type[T], values: Mapping[str, object]) -> T:
    """Make ``cls`` from knob values. Raises ValueError for an unknown name (with the known ones) or a bad value."""
    known = [item.name for item in knobs_of(cls)]
    for name in values:
        if name not in known:
            raise ValueError(f"{name!r} is no setting of {cls.__name__}; it has {', '.join(known) or 'none'}.")
    return cls(**values)
