"""What the loops have in common that train and search: what steps measured, when something is due, and pausing.

A loop is a generator of messages: whoever iterates it may look around at any yield.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from studio.core import events

EARLY_SHARE, EARLY_SECONDS = 0.08, 60.0
"""The share of the first minute, in which pictures change fastest and a person waits for them."""


class Pausable(Protocol):
    """What a loop looks at between two steps."""

    @property
    def stopping(self) -> bool:
        """End after this step, keeping what there is."""

    @property
    def paused(self) -> bool:
        """Wait after this step."""

    def wait(self) -> None:
        """Return when the loop shall go on: resumed, one single step asked for, or stopping."""


def rest(control: Pausable) -> Iterator[events.Event]:
    """Wait while paused; a single step asked for lets one step through."""
    yield events.Paused(paused=True)
    control.wait()
    if not control.paused:
        yield events.Paused(paused=False)


class Meter:
    """Gathers what steps report, on the device; it is copied to the host only when a report is due."""

    def __init__(self) -> None:
        self._steps: list[int] = []
        self._found: list[Mapping[str, Tensor]] = []
        self._mark: tuple[int, float] | None = None
        self._speed = 0.0

    @property
    def empty(self) -> bool:
        return not self._steps

    def add(self, step: int, found: Mapping[str, Tensor]) -> None:
        """Note the scalars that a step measured, "loss" among them; other tensors are left out."""
        self._steps.append(step)
        self._found.append({name: value for name, value in found.items() if value.ndim == 0})

    def take(self) -> tuple[np.ndarray, np.ndarray, dict[str, float]]:
        """Steps since the last time, their losses, and the mean of each scalar over the steps that measured it."""
        steps = np.array(self._steps, np.int64)
        if not self._found:
            return steps, np.zeros(0, np.float32), {}
        # One copy to the host for all numbers.
        numbers = torch.stack([value.float() for found in self._found for value in found.values()]).cpu().numpy()
        gathered: dict[str, list[float]] = {}
        for name, value in zip((name for found in self._found for name in found), numbers, strict=True):
            gathered.setdefault(name, []).append(value)
        self._steps, self._found = [], []
        means = {name: float(np.mean(values)) for name, values in gathered.items()}
        return steps, np.array(gathered["loss"], np.float32), means

    def images_per_second(self, images: int, seconds: float) -> float:
        """The speed over the last second or so of training; 0 until there is one."""
        if self._mark is None:
            self._mark = (images, seconds)
        elif seconds - self._mark[1] > 1.0:
            self._speed = (images - self._mark[0]) / (seconds - self._mark[1])
            self._mark = (images, seconds)
        return self._speed


class Every:
    """Something that is due every so many seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._last = seconds, time.perf_counter()

    def due(self) -> bool:
        """Whether it is now; then the seconds begin anew."""
        now = time.perf_counter()
        if now - self._last < self._seconds:
            return False
        self._last = now
        return True


class Turn:
    """When something costly is due: every so many seconds, the ``first`` time sooner, and never if ``every`` is 0.

    What comes sooner at first may also cost more at first, in the first minute.
    """

    def __init__(self, every: float, share: float, first: float | None = None) -> None:
        self._every, self._share = every, share
        self._gap = every if first is None else min(first, every)
        now = time.perf_counter()
        self._next, self._early_end = now + self._gap, now if first is None else now + EARLY_SECONDS

    def due(self) -> bool:
        return self._every > 0.0 and time.perf_counter() >= self._next

    def timed(self, work: Callable[[], Iterator[events.Event | None]]) -> Iterator[events.Event | None]:
        """Run ``work``; the next waits so long that all of them cost at most their share of the time."""
        began = time.perf_counter()
        yield from work()
        cost = time.perf_counter() - began
        self._gap = min(self._every, self._gap * 1.6)
        share = max(self._share, EARLY_SHARE) if began < self._early_end else self._share
        self._next = time.perf_counter() + max(self._gap, cost / share)
