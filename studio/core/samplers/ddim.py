"""DDIM (arXiv 2010.02502, eq. 12), between any two levels.

``x_s = alpha_s x0 + sqrt(sigma_s**2 - sigma~**2) eps + sigma~ n``, ``sigma~ = eta sqrt(beta~)``. eta = 0 is
deterministic and follows the probability-flow ODE; eta = 1 is ancestral sampling with the small variance.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from studio.core.denoisers import Denoiser
from studio.core.knobs import knob
from studio.core.levels import Level, ddim_update
from studio.core.noise import Noise
from studio.core.registry import register
from studio.core.samplers.base import Sampler, Step, check_levels


@register("sampler", "ddim")
@dataclass(frozen=True, kw_only=True)
class DDIM(Sampler):
    """DDIM with eta in [0, 1]."""

    title = "DDIM"
    eta: float = knob(0.0, help="Fresh noise at each step: 0 is deterministic, 1 is DDPM.", symbol="η", low=0, high=1)

    @torch.no_grad()
    def run(
        self, denoiser: Denoiser, x: Tensor, levels: Sequence[Level], *, cond: Tensor | None = None, noise: Noise
    ) -> Iterator[Step]:
        check_levels(levels)
        total = len(levels) - 1
        for index, (t, s) in enumerate(pairwise(levels)):
            found = denoiser(x, t, cond, noise=noise.at(index))
            yield Step(index, total, t, x, found.x0, (index + 1) * denoiser.nfe)
            update = ddim_update(t, s, self.eta)
            x = update.of_x0 * found.x0 + update.of_eps * found.eps
            if update.fresh > 0.0:
                x = x + update.fresh * noise.like(x, index)
        yield Step(total, total, levels[-1], x, x, total * denoiser.nfe)
