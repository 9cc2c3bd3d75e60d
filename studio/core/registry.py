"""The registry: methods by kind and name, found by importing their packages.

``@register("sampler", "ddim")`` above a class is all it takes for a new method to get command-line flags, a form in the
window and the shared conformance tests. This is the only mutable module state of the core.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from typing import Any, TypeVar

_PACKAGES = {
    "sampler": "studio.core.samplers",
    "recipe": "studio.core.recipes",
    "network": "studio.core.networks",
    "dataset": "studio.core.data",
    "schedule": "studio.core.schedules",
    "grid": "studio.core.grids",
    "optimizer": "studio.core.optimizers",
    "metric": "studio.core.metrics",
    "judge": "studio.core.schedule_judges",
    "schedule_network": "studio.core.networks.schedule_net",
}
_METHODS: dict[str, dict[str, type]] = {kind: {} for kind in _PACKAGES}
_discovered: set[str] = set()

C = TypeVar("C", bound=type)


def register(kind: str, name: str) -> Callable[[C], C]:
    """Class decorator: file the class under ``kind`` and ``name``. The name stands in checkpoints: never change it."""

    def file(cls: C) -> C:
        assert name not in _METHODS[kind], f"two {kind}s are called {name}"
        _METHODS[kind][name] = cls
        return cls

    return file


def methods(kind: str) -> dict[str, type]:
    """All methods of a kind by name, in order of registration; imports the kind's package on first use."""
    if kind not in _discovered:
        package = importlib.import_module(_PACKAGES[kind])
        for module in pkgutil.iter_modules(getattr(package, "__path__", ())):
            importlib.import_module(f"{package.__name__}.{module.name}")
        _discovered.add(kind)
    return dict(_METHODS[kind])


def find(kind: str, name: str) -> Any:
    """The class called ``name``. Raises ValueError with the known names."""
    known = methods(kind)
    if name not in known:
        raise ValueError(f"{name!r} is no {kind}; there are {', '.join(known)}.")
    return known[name]


def name_of(kind: str, cls: type) -> str:
    """The name a class was registered under."""
    return next(name for name, known in methods(kind).items() if known is cls)
