"""The registry: every method is found, named once, described, and survives the way into a file and back."""

import dataclasses
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest

from studio.core import registry
from studio.core.config import method_from_dict, method_to_dict, to_toml
from studio.core.knobs import Knob, Knobbed, Value, knobs_of, values_of
from studio.core.registry import find, methods, name_of, register
from studio.core.samplers.ddim import DDIM

KINDS = (
    *("sampler", "recipe", "network", "dataset", "schedule", "grid", "optimizer"),
    *("schedule_network", "judge"),
)
METHODS = {f"{kind} {name}": (kind, name, cls) for kind in KINDS for name, cls in methods(kind).items()}

every_method = pytest.mark.parametrize(("kind", "name", "cls"), METHODS.values(), ids=METHODS)


def others(item: Knob) -> Iterator[Value]:
    """Possible values of a knob that are not its default, a few."""
    default = item.default
    if item.kind == "bool":
        yield not default
    elif item.kind == "choice":
        yield from (choice for choice in item.choices if choice != default)
    elif item.kind == "text":
        yield "12, 3"
    else:
        base = default if isinstance(default, (int, float)) else item.low or 1
        for value in (base + 1, base * 2, base // 2, base * 0.5, item.high, item.low):
            whole = item.kind == "float" or (value is not None and value == int(value))
            inside = value is not None and (item.low or value) <= value <= (item.high or value)
            if whole and inside and value != default:
                yield item.check(value)


def variants(cls: Any) -> Iterator[Any]:
    """The method with one knob changed at a time; a value that other knobs forbid gives way to the next."""
    for item in knobs_of(cls):
        made = None
        for value in others(item):
            try:
                made = cls(**{item.name: value})
            except ValueError:
                continue
            break
        assert made is not None, f"no other value of {item.name} is possible"
        assert getattr(made, item.name) != item.default
        yield made


def test_what_ships_is_found() -> None:
    expected = {
        "sampler": {"ancestral", "ddim"},
        "recipe": {"denoising"},
        "schedule": {"linear", "cosine"},
        "grid": {"uniform", "quadratic", "log_snr", "exact"},
        "dataset": {"mnist", "fashion_mnist"},
        "network": {"unet", "mlp"},
    }
    for kind, names in expected.items():
        assert names <= set(methods(kind)), kind
    assert len(methods("optimizer")) >= 2


@every_method
def test_method_is_a_frozen_dataclass_of_knobs_that_says_what_it_is(kind: str, name: str, cls: Any) -> None:
    assert dataclasses.is_dataclass(cls)
    assert issubclass(cls, Knobbed)
    parameters = cls.__dataclass_params__
    assert parameters.frozen
    assert all(field.kw_only for field in dataclasses.fields(cls))
    assert cls.title.strip()
    assert cls.__doc__
    assert not cls.__doc__.startswith(f"{cls.__name__}("), "the docstring is the dataclass's own"
    assert hash(cls()) == hash(cls())
    assert name.isascii()
    assert name == name.lower()


@every_method
def test_method_survives_a_table_and_toml(kind: str, name: str, cls: Any) -> None:
    """Also with each setting changed: one that were lost on the way would come back as its default."""
    for method in (cls(), *variants(cls)):
        table = method_to_dict(kind, method)
        assert table == {"name": name, **values_of(method)}
        assert method_from_dict(kind, table) == method
        assert method_from_dict(kind, tomllib.loads(to_toml({"part": table}))["part"]) == method


@every_method
def test_method_refuses_what_it_does_not_know(kind: str, name: str, cls: Any) -> None:
    with pytest.raises(ValueError, match=f"'colour' is no setting of {cls.__name__}"):
        method_from_dict(kind, {"name": name, "colour": 1})


@pytest.mark.parametrize("kind", KINDS)
def test_names_and_titles_are_unique(kind: str) -> None:
    found = methods(kind)
    assert len(set(found.values())) == len(found), "one class under two names"
    titles = [cls.title for cls in found.values()]  # type: ignore[attr-defined]
    assert len(set(titles)) == len(titles)
    assert {name_of(kind, cls): cls for cls in found.values()} == found


@pytest.mark.parametrize("kind", KINDS)
def test_unknown_name_is_refused_with_the_known_ones(kind: str) -> None:
    with pytest.raises(ValueError, match=f"'nothing' is no {kind}; there are ") as caught:
        find(kind, "nothing")
    for name in methods(kind):
        assert name in str(caught.value)
    with pytest.raises(ValueError, match="needs a name"):
        method_from_dict(kind, {})


def test_find_and_name_are_inverse() -> None:
    assert find("sampler", "ddim") is DDIM
    assert name_of("sampler", DDIM) == "ddim"


def test_a_name_is_given_once() -> None:
    with pytest.raises(AssertionError, match="two samplers are called ddim"):
        register("sampler", "ddim")(type("Other", (), {}))
    assert find("sampler", "ddim") is DDIM


def test_callers_cannot_change_the_registry() -> None:
    methods("sampler").clear()
    assert "ddim" in methods("sampler")
    assert "ddim" in registry.methods("sampler")
