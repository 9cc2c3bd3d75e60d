"""The average of the weights over the recent past, which samples better than the weights themselves.

``average += (1 - decay_n) (weights - average)``. The power profile (Karras et al., arXiv 2312.02696, eq. 123) has
decay_n = (1 - 1 / n)**(exponent + 1): its memory grows with the run, so it needs no warm-up and fits any length. A
fixed decay warms up as min(decay, (1 + n) / (10 + n)).
"""

from __future__ import annotations

import copy
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)


class EMA(Generic[M]):
    """Keeps ``average``, a frozen copy of a module. ``decay`` None means the power profile."""

    def __init__(self, module: M, decay: float | None, exponent: float) -> None:
        self.average: M = copy.deepcopy(module).eval().requires_grad_(False)
        self.decay, self.exponent = decay, exponent
        self._sources: list[Tensor] = list(module.parameters())
        self._targets: list[Tensor] = list(self.average.parameters())

    def weight(self, step: int) -> float:
        """How much the weights after ``step`` (1-based) count in the new average, in (0, 1]."""
        if self.decay is None:
            return 1.0 - (1.0 - 1.0 / step) ** (self.exponent + 1.0)
        return 1.0 - min(self.decay, (1.0 + step) / (10.0 + step))

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move the average towards the weights as they are after ``step`` (1-based)."""
        torch._foreach_lerp_(self._targets, self._sources, self.weight(step))
