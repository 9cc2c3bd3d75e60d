"""Knobs: what a setting takes, and that every registered method says so in plain words."""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal

import pytest

from studio.core.config import RunKnobs
from studio.core.knobs import Knob, Knobbed, Value, build, knob, knobs_of, values_of
from studio.core.registry import methods
from studio.core.sampling import SampleKnobs

KINDS = ("sampler", "recipe", "network", "dataset", "schedule", "grid", "optimizer")
CLASSES: dict[str, type] = {f"{kind} {name}": cls for kind in KINDS for name, cls in methods(kind).items()}
CLASSES |= {"sample": SampleKnobs, "run": RunKnobs}
KNOBS = {f"{where}, {item.name}": (cls, item) for where, cls in CLASSES.items() for item in knobs_of(cls)}

every_class = pytest.mark.parametrize("cls", CLASSES.values(), ids=CLASSES)
every_knob = pytest.mark.parametrize(("cls", "item"), KNOBS.values(), ids=KNOBS)


@dataclass(frozen=True, kw_only=True)
class Sample(Knobbed):
    """One knob of each sort."""

    kind: Literal["small", "large"] = knob("small", help="A choice.")
    count: int = knob(4, help="A whole number.", low=1, high=100)
    rate: float = knob(0.5, help="A number.", low=0.0)
    most: float = knob(-1.0, help="A number.", high=0.0)
    free: float = knob(0.0, help="A number.")
    clip: bool = knob(True, help="A switch.")
    text: str = knob("a", help="Text.")
    seed: int | None = knob(None, help="A whole number or auto.", low=0, label="Seed it", symbol="s")
    note: str = ""


ITEMS = {item.name: item for item in knobs_of(Sample)}


def impossible(item: Knob) -> list[object]:
    """Values that the knob must refuse."""
    if item.kind == "bool":
        return [1, "yes", 0.0] + ([] if item.optional else [None])
    if item.kind == "choice":
        return ["no such choice", "", 3]
    if item.kind == "text":
        return [3, True]
    found: list[object] = ["3", True, math.nan, math.inf, -math.inf] + ([] if item.optional else [None])
    if item.kind == "int":
        found.append(float(item.default or 1) + 0.5)
    if item.low is not None:
        found.append(item.low - (1 if item.kind == "int" else max(1e-9, abs(item.low) * 1e-6)))
    if item.high is not None:
        found.append(item.high + (1 if item.kind == "int" else max(1e-9, abs(item.high) * 1e-6)))
    return found


@every_knob
def test_default_is_possible_and_reads_back_from_text(cls: type, item: Knob) -> None:
    checked = item.check(item.default)
    assert checked == item.default
    assert type(checked) is type(item.default) or (item.kind == "float" and isinstance(item.default, int))
    assert item.parse("auto" if item.default is None else str(item.default)) == item.default
    assert getattr(cls(), item.name) == item.default


@every_knob
def test_impossible_values_are_refused_in_plain_words(cls: type, item: Knob) -> None:
    for value in impossible(item):
        with pytest.raises(ValueError, match="is not possible") as caught:
            cls(**{item.name: value})
        assert str(caught.value) == f"{item.name} = {value!r} is not possible: it takes {item.allowed}."


@every_knob
def test_impossible_text_is_refused_in_plain_words(cls: type, item: Knob) -> None:
    words = {"bool": ["maybe", "2"], "choice": ["no such choice"], "text": []}.get(item.kind, ["ten", "1e999", "nan"])
    for text in words + (["1.5"] if item.kind == "int" else []):
        with pytest.raises(ValueError, match="is not possible") as caught:
            item.parse(text)
        assert str(caught.value) == f"{item.name} = {text!r} is not possible: it takes {item.allowed}."


@every_knob
def test_ends_of_the_range_are_possible(cls: type, item: Knob) -> None:
    for end in (item.low, item.high):
        if end is not None:
            assert item.check(end) == end
            assert item.parse(repr(end)) == end
            assert (f"{end:,}" if item.kind == "int" else f"{end:g}") in item.allowed
    for choice in item.choices:
        assert item.check(choice) == choice
        assert choice in item.allowed
    if item.low is not None and item.high is not None:
        assert item.low < item.high


@every_knob
def test_knob_explains_itself(cls: type, item: Knob) -> None:
    assert len(item.help) > 5
    assert item.help.rstrip().endswith((".", ")"))
    assert item.label.strip()
    assert item.label[0].isupper() or not item.label[0].isascii()
    assert not item.log or (item.low is not None and item.low > 0), "a log slider starts above 0"


@every_class
def test_every_setting_is_a_knob(cls: Any) -> None:
    """A field that is no knob would have no flag, no form and no range."""
    assert {field.name for field in dataclasses.fields(cls)} == {item.name for item in knobs_of(cls)}
    assert set(values_of(cls())) == {item.name for item in knobs_of(cls)}


@every_class
def test_unknown_setting_is_refused_with_the_known_ones(cls: Any) -> None:
    with pytest.raises(ValueError, match="'colour' is no setting of") as caught:
        build(cls, {"colour": 3})
    for item in knobs_of(cls):
        assert item.name in str(caught.value)


def test_declaration_gives_the_facts() -> None:
    assert list(ITEMS) == ["kind", "count", "rate", "most", "free", "clip", "text", "seed"]
    assert [item.kind for item in ITEMS.values()] == ["choice", "int", "float", "float", "float", "bool", "text", "int"]
    assert ITEMS["kind"].choices == ("small", "large")
    assert (ITEMS["seed"].label, ITEMS["seed"].symbol, ITEMS["seed"].optional) == ("Seed it", "s", True)
    assert (ITEMS["count"].label, ITEMS["count"].optional) == ("Count", False)


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("kind", "one of small, large"),
        ("count", "a whole number from 1 to 100"),
        ("rate", "a number of at least 0"),
        ("most", "a number of at most 0"),
        ("free", "a number"),
        ("clip", "true or false"),
        ("text", "text"),
    ],
)
def test_what_is_allowed_in_words(name: str, allowed: str) -> None:
    assert ITEMS[name].allowed == allowed


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("count", " 12 ", 12),
        ("count", "1e2", 100),
        ("rate", "1e-3", 0.001),
        ("clip", "Off", False),
        ("clip", "yes", True),
        ("kind", "large", "large"),
        ("seed", "auto", None),
        ("seed", "", None),
        ("seed", "7", 7),
    ],
)
def test_text_is_read(name: str, text: str, value: Value) -> None:
    found = ITEMS[name].parse(text)
    assert found == value
    assert type(found) is type(value)


def test_values_take_the_knobs_type() -> None:
    made = Sample(count=7.0, rate=2)  # type: ignore[arg-type]
    assert (made.count, type(made.count)) == (7, int)
    assert (made.rate, type(made.rate)) == (2.0, float)
    assert made == build(Sample, {"count": 7, "rate": 2.0})
    assert values_of(made)["count"] == 7
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.count = 3  # type: ignore[misc]
