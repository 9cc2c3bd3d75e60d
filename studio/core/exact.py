"""Closed-form denoisers of Gaussians and mixtures: the oracles behind the tests and the point-set views.

For x0 ~ N(mu, c**2 I) the noisy marginal is N(alpha mu, v I), v = alpha**2 c**2 + sigma**2, and
``E[x0|x] = mu + alpha c**2 (x - alpha mu) / v``. A mixture averages these with the posterior weights of its parts.
What a whole step of the forward process looks like backwards, q(x_s | x_t), is a mixture again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from studio.core.data.base import Mixture
from studio.core.denoisers import Denoiser
from studio.core.levels import Level, expand
from studio.core.noise import Noise
from studio.core.prediction import Prediction, from_x0


class GaussianDenoiser(Denoiser):
    """The optimal denoiser of N(mean, std**2 I), for x of any shape; also gives Var[x0|x] = std**2 sigma**2 / v."""

    def __init__(self, mean: float, std: float) -> None:
        super().__init__()
        self.mean, self.std = mean, std

    def forward(self, x: Tensor, level: Level, cond: Tensor | None = None, *, noise: Noise | None = None) -> Prediction:
        alpha, sigma = expand(level.alpha, x), expand(level.sigma, x)
        total = alpha**2 * self.std**2 + sigma**2
        x0 = self.mean + alpha * self.std**2 / total * (x - alpha * self.mean)
        return from_x0(x, level, x0, self.std**2 * sigma**2 / total)


class MixtureDenoiser(Denoiser):
    """The optimal denoiser of sum_k w_k N(mu_k, c_k**2 I): ``weights`` (K,), ``means`` (K, D), ``stds`` (K,).

    ``cond`` (B,) picks one component for each point, as a class would; negative labels mean the whole mixture.
    """

    def __init__(self, weights: Sequence[float] | Tensor, means: Tensor, stds: Sequence[float] | Tensor) -> None:
        super().__init__()
        self.register_buffer("log_weights", torch.as_tensor(weights).log())
        self.register_buffer("means", torch.as_tensor(means))
        self.register_buffer("stds", torch.as_tensor(stds))
        self.log_weights: Tensor
        self.means: Tensor
        self.stds: Tensor

    def forward(self, x: Tensor, level: Level, cond: Tensor | None = None, *, noise: Noise | None = None) -> Prediction:
        logits, total, offset = self._parts(x, level, cond)
        share = logits.softmax(1)
        alpha, sigma = (_column(value) for value in level)
        means = self.means + (alpha * self.stds**2 / total).unsqueeze(-1) * offset
        x0 = (share.unsqueeze(-1) * means).sum(1)
        spread = self.stds**2 * sigma**2 / total
        x0_var = (share.unsqueeze(-1) * (spread.unsqueeze(-1) + means**2)).sum(1) - x0**2
        return from_x0(x, level, x0, x0_var)

    def log_density(self, x: Tensor, level: Level) -> Tensor:
        """ln p(x) of the noisy marginal at a level, (B,)."""
        return self._parts(x, level, None)[0].logsumexp(1)

    def _parts(self, x: Tensor, level: Level, cond: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Joint log-densities (B, K), marginal variances (B or 1, K) and offsets from the scaled means (B, K, D)."""
        alpha, sigma = (_column(value) for value in level)
        total = alpha**2 * self.stds**2 + sigma**2
        if not isinstance(total, Tensor) or total.ndim == 1:
            total = torch.as_tensor(total).view(1, -1)
        offset = x.unsqueeze(1) - (alpha.unsqueeze(-1) if isinstance(alpha, Tensor) else alpha) * self.means
        dims = x.shape[1]
        logits = self.log_weights - 0.5 * ((offset**2).sum(-1) / total + dims * (total.log() + math.log(2.0 * math.pi)))
        if cond is not None:
            chosen = torch.nn.functional.one_hot(cond.clamp(min=0), len(self.stds)).bool() | (cond < 0).unsqueeze(1)
            logits = logits.masked_fill(~chosen, -math.inf)
        return logits, total, offset


def step_distribution(data: Mixture, x_t: np.ndarray, t: Level, s: Level) -> Mixture:
    """The true denoising distribution q(x_s | x_t), s cleaner than t: one Gaussian a component of the data.

    By Bayes it is q(x_t | x_s) q(x_s) / q(x_t), where q(x_t | x_s) = N(r x_s, b**2 I) with r = alpha_t / alpha_s and
    b**2 = sigma_t**2 - r**2 sigma_s**2. With the component's variances v = alpha**2 c**2 + sigma**2 at both levels,

        mean_k = alpha_s mu_k + r (v_s / v_t) (x_t - alpha_t mu_k),  var_k = v_s b**2 / v_t,

    weighted by w_k N(x_t; alpha_t mu_k, v_t I). As the step gets small, all means meet at x_t and the components become
    one Gaussian; over a large one they stay apart. ``x_t`` is (D,).
    """
    ratio = t.alpha / s.alpha
    jump = max(t.sigma**2 - ratio**2 * s.sigma**2, 0.0)
    var_t, var_s = ((level.alpha * data.stds) ** 2 + level.sigma**2 for level in (t, s))
    offset = x_t - t.alpha * data.means
    logits = np.log(data.weights) - 0.5 * ((offset**2).sum(1) / var_t + data.means.shape[1] * np.log(var_t))
    shares = np.exp(logits - logits.max())
    means = s.alpha * data.means + (ratio * var_s / var_t)[:, None] * offset
    return Mixture(shares / shares.sum(), means, np.sqrt(var_s * jump / var_t))


def moments(mixture: Mixture) -> tuple[np.ndarray, float]:
    """The mean of a mixture, (D,), and its variance, averaged over the dimensions."""
    mean = mixture.weights @ mixture.means
    spread = mixture.stds**2 + ((mixture.means - mean) ** 2).mean(1)
    return mean, float(mixture.weights @ spread)


def _column(value: float | Tensor) -> float | Tensor:
    return value.unsqueeze(1) if isinstance(value, Tensor) else value
