"""Denoising regression: DDPM and its relatives.

Noise an image to a random level, ask the network what was there, and minimise the weighted squared error of its raw
output, ``w(level) |F - F*|**2``. What F means is the parameterisation; unweighted eps is DDPM's L_simple (arXiv
2006.11239, eq. 14) and unweighted EDM output is EDM's loss (arXiv 2206.00364, eq. 8).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from studio.core.data.base import Batch
from studio.core.denoisers import Denoiser, NetworkDenoiser
from studio.core.device import autocast
from studio.core.knobs import knob
from studio.core.levels import Level, diffuse, expand, log_snr
from studio.core.networks.base import Network, NetworkSpec, fresh_weights
from studio.core.noise import Noise, Stream
from studio.core.optimizers import OptimizerSpec
from studio.core.prediction import Parameterization, coefficients
from studio.core.recipes.base import DataFacts, Learner, Recipe, hide_labels
from studio.core.registry import register
from studio.core.schedules import Cosine, DiscreteSchedule, Linear


@register("recipe", "denoising")
@dataclass(frozen=True, kw_only=True)
class Denoising(Recipe):
    """Regression on noise levels drawn from the schedule or from a log-normal."""

    title = "DDPM"
    family = "DDPM"
    parameterization: Parameterization = knob(
        "edm", help="What the network predicts; EDM's mix of x and x0 learns fastest.", label="Predict"
    )
    noise_schedule: Literal["linear", "cosine"] = knob(
        "linear", help="The schedule of betas whose levels are trained and sampled.", label="Schedule", symbol="β"
    )
    num_steps: int = knob(1000, help="Steps of the training schedule.", label="Steps", symbol="T", low=50, high=4000)
    level_choice: Literal["schedule", "lognormal"] = knob(
        "lognormal",
        help="How noise levels are drawn: evenly over the schedule's T steps, or log-normally as in EDM.",
        label="Noise levels",
    )
    level_mean: float = knob(
        -0.5, help="Mean of ln(sigma/alpha) where levels are log-normal.", low=-4.0, high=4.0, advanced=True
    )
    level_std: float = knob(
        1.2, help="Spread of ln(sigma/alpha) where levels are log-normal.", low=0.1, high=4.0, advanced=True
    )
    weighting: Literal["output", "eps", "min_snr"] = knob(
        "output",
        help="What the squared error is weighted to: none on the network's output, the error in eps, or min-SNR-5.",
    )
    label_dropout: float = knob(
        0.1, help="Share of labels hidden, so that guidance works.", label="Label dropout", low=0.0, high=1.0
    )
    clip_norm: float = knob(1.0, help="Longest allowed gradient.", label="Gradient clip", low=0.01, high=1e3, log=True)

    @property
    def schedule(self) -> DiscreteSchedule:
        kinds = {"linear": Linear, "cosine": Cosine}
        return kinds[self.noise_schedule](num_steps=self.num_steps)

    def denoiser(self, network: NetworkSpec, data: DataFacts) -> NetworkDenoiser:
        module = network.build(data.shape, data.num_classes)
        return NetworkDenoiser(module, self.parameterization, data.mean, data.std)

    def learner(
        self, network: NetworkSpec, optimizer: OptimizerSpec, data: DataFacts, *, seed: int, device: torch.device
    ) -> DenoisingLearner:
        with fresh_weights(seed):
            denoiser = self.denoiser(network, data)
        denoiser.to(device)
        assert isinstance(denoiser.network, Network)
        return DenoisingLearner(self, denoiser, optimizer.build(denoiser.network))


class DenoisingLearner(Learner):
    """One network, trained by regression."""

    denoiser: NetworkDenoiser

    def __init__(self, recipe: Denoising, denoiser: NetworkDenoiser, optimizers: list[torch.optim.Optimizer]) -> None:
        self.recipe = recipe
        self.denoiser = denoiser
        self.optimizers = optimizers
        self._parameters = list(denoiser.parameters())
        device = self._parameters[0].device
        alpha_bar = torch.from_numpy(np.ascontiguousarray(recipe.schedule.alpha_bar))
        self._alpha = alpha_bar.sqrt().float().to(device)
        self._sigma = (1.0 - alpha_bar).sqrt().float().to(device)

    def step(self, batch: Batch, *, noise: Noise, index: int) -> dict[str, Tensor]:
        labels = hide_labels(batch.labels, self.recipe.label_dropout, noise, index)
        found = self._loss(self.denoiser, batch.x0, labels, noise, index)
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        found["loss"].backward()
        found["grad_norm"] = torch.nn.utils.clip_grad_norm_(self._parameters, self.recipe.clip_norm)
        for optimizer in self.optimizers:
            optimizer.step()
        found["loss"] = found["loss"].detach()
        found["sample_loss"] = found["sample_loss"].detach()
        return found

    @torch.no_grad()
    def loss(
        self, denoiser: Denoiser, batch: Batch, *, noise: Noise, index: int, level: Level | None = None
    ) -> Mapping[str, Tensor]:
        assert isinstance(denoiser, NetworkDenoiser)
        if level is not None:
            level = Level(*(torch.full((len(batch.x0),), part, device=batch.x0.device) for part in level))
        return self._loss(denoiser, batch.x0, batch.labels, noise, index, level)

    def _loss(
        self,
        denoiser: NetworkDenoiser,
        x0: Tensor,
        labels: Tensor | None,
        noise: Noise,
        index: int,
        level: Level | None = None,
    ) -> dict[str, Tensor]:
        level = level or self.draw_levels(noise, index)
        centred = x0 - denoiser.data_mean
        x = diffuse(centred, level, noise.like(x0, index, Stream.EPS))
        c_in, c_skip, c_out = coefficients(denoiser.parameterization, level, denoiser.data_std)
        target = (centred - expand(c_skip, x) * x) / expand(c_out, x)
        with autocast(x.device):
            raw = denoiser.output(expand(c_in, x) * x, level, labels)
        error = (raw.float() - target).square().flatten(1).mean(1)
        sample_loss = self.weight(level, c_out) * error
        return {"loss": sample_loss.mean(), "sample_loss": sample_loss, "log_snr": torch.as_tensor(log_snr(level))}

    def draw_levels(self, noise: Noise, index: int) -> Level:
        """Noise levels for a batch, (B,), VP frame; stratified, so that every batch covers the whole range evenly."""
        draw = noise.uniform(index, Stream.LEVEL)
        share = (torch.arange(len(draw), device=draw.device) + draw) / len(draw)
        if self.recipe.level_choice == "schedule":
            place = (share * len(self._alpha)).long().clamp(max=len(self._alpha) - 1)
            return Level(self._alpha[place], self._sigma[place])
        normal = math.sqrt(2.0) * torch.erfinv((2.0 * share - 1.0).clamp(-1.0 + 1e-6, 1.0 - 1e-6))
        half_log_snr = -(self.recipe.level_mean + self.recipe.level_std * normal)
        return Level(torch.sigmoid(2.0 * half_log_snr).sqrt(), torch.sigmoid(-2.0 * half_log_snr).sqrt())

    def weight(self, level: Level, c_out: float | Tensor) -> float | Tensor:
        """w(level), (B,): an error of F is c_out times that in x0, which is sigma / alpha times that in eps."""
        snr = (level.alpha / level.sigma) ** 2
        match self.recipe.weighting:
            case "output":
                return 1.0
            case "eps":
                return snr * c_out**2
            case "min_snr":
                return torch.as_tensor(snr).clamp(max=5.0) * c_out**2
