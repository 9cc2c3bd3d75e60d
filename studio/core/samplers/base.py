"""The sampler's contract.

For levels l_0 > l_1 > ... > l_N a sampler yields N + 1 steps. At step k < N, ``x`` is the state at level l_k and ``x0``
what the denoiser believes there, so eps = (x - alpha x0) / sigma; step N is the sample itself.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from studio.core.denoisers import Denoiser
from studio.core.knobs import Knobbed, knobs_of
from studio.core.levels import Level, log_snr
from studio.core.noise import Noise, Stream


@dataclass(frozen=True)
class Step:
    """The state at one visited level: ``index`` 0 is noise, ``index == total`` the sample. x and x0 are (B, ...).

    ``nfe`` counts network evaluations an image up to and including this step.
    """

    index: int
    total: int
    level: Level
    x: Tensor
    x0: Tensor
    nfe: int

    @property
    def eps(self) -> Tensor:
        """The noise believed to be in x; zero where the level is clean."""
        if self.level.sigma == 0.0:
            return torch.zeros_like(self.x)
        return (self.x - self.level.alpha * self.x0) / self.level.sigma


class Sampler(Knobbed, abc.ABC):
    """A frozen dataclass of knobs that walks levels."""

    title: str

    @abc.abstractmethod
    def run(
        self, denoiser: Denoiser, x: Tensor, levels: Sequence[Level], *, cond: Tensor | None = None, noise: Noise
    ) -> Iterator[Step]:
        """Walk ``x`` (B, ...), a state at ``levels[0]``, down to ``levels[-1]``. Gradients are off."""


def sampler_title(sampler: Sampler, *, defaults: bool = True) -> str:
    """A sampler in a word or two with what is set on it: ``DDIM η 0.2``, ``Ancestral large``.

    Without ``defaults``, only what differs from them is told.
    """
    words = [sampler.title]
    for item in knobs_of(type(sampler)):
        value = getattr(sampler, item.name)
        if defaults or value != item.default:
            mark = f"{item.symbol} " if item.symbol and item.kind != "choice" else ""
            words.append(f"{mark}{value:g}" if isinstance(value, float) else f"{mark}{value}")
    return " ".join(words)


def check_levels(levels: Sequence[Level]) -> None:
    """Raise ValueError unless there are at least two levels, each cleaner than the one before."""
    if len(levels) < 2:
        raise ValueError("A sampler needs at least two levels: one to start from and one to reach.")
    for index in range(1, len(levels)):
        if not log_snr(levels[index]) > log_snr(levels[index - 1]):
            raise ValueError(f"Level {index} is not cleaner than level {index - 1}: levels must descend in noise.")


def start(noise: Noise, shape: Sequence[int], level: Level) -> Tensor:
    """x at the first level where nothing is known of the data: standard normal (B, *shape), in the level's frame."""
    return math.hypot(level.alpha, level.sigma) * noise.normal(shape, 0, Stream.START)
