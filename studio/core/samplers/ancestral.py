"""DDPM's ancestral sampling (arXiv 2006.11239, algorithm 2), between any two levels.

``x_s ~ N(of_x x_t + of_x0 x0, var)`` with the mean of q(x_s | x_t, x0). "Small" takes that distribution's variance
beta~, right for data that is a point; "large" takes beta, right for standard normal data.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor

from studio.core.denoisers import Denoiser
from studio.core.knobs import knob
from studio.core.levels import Level, beta_between, posterior
from studio.core.noise import Noise
from studio.core.registry import register
from studio.core.samplers.base import Sampler, Step, check_levels


@register("sampler", "ancestral")
@dataclass(frozen=True, kw_only=True)
class Ancestral(Sampler):
    """DDPM. Noise is added at every step but the last."""

    title = "Ancestral"
    variance: Literal["small", "large"] = knob(
        "small", help="Variance of each reverse step: small is beta-tilde, large is beta.", symbol="σ²"
    )

    @torch.no_grad()
    def run(
        self, denoiser: Denoiser, x: Tensor, levels: Sequence[Level], *, cond: Tensor | None = None, noise: Noise
    ) -> Iterator[Step]:
        check_levels(levels)
        total = len(levels) - 1
        for index, (t, s) in enumerate(pairwise(levels)):
            found = denoiser(x, t, cond, noise=noise.at(index))
            yield Step(index, total, t, x, found.x0, (index + 1) * denoiser.nfe)
            mean = posterior(t, s)
            x = mean.of_x * x + mean.of_x0 * found.x0
            if s.sigma > 0.0:
                x = x + self._std(t, s) * noise.like(x, index)
        yield Step(total, total, levels[-1], x, x, total * denoiser.nfe)

    def _std(self, t: Level, s: Level) -> float:
        """The noise added on the way from t to s, in the frame of s."""
        if self.variance == "small":
            return math.sqrt(posterior(t, s).var)
        return math.sqrt(beta_between(t, s)) * math.hypot(s.alpha, s.sigma)
