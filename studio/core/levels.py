"""Noise levels and the Gaussian algebra between two of them.

A level is the pair (alpha, sigma) of ``x = alpha * x0 + sigma * eps``. Scaling x, alpha and sigma together by any
c > 0 changes the *frame*, not the information: variance preserving (VP) is the frame alpha**2 + sigma**2 = 1,
variance exploding (VE) the frame alpha = 1. Every formula here holds in any frame.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Level(NamedTuple):
    """Signal scale ``alpha`` >= 0 and noise scale ``sigma`` >= 0, not both 0.

    Python floats when sampling, so that no step waits for the device; tensors of shape (B,) when training.
    """

    # Any, for float or Tensor: the same formulae run on both, and a union would have to be narrowed at each of them.
    alpha: Any
    sigma: Any


CLEAN = Level(1.0, 0.0)


class Posterior(NamedTuple):
    """q(x_s | x_t, x0) = N(of_x * x_t + of_x0 * x0, var): the cleaner level s seen from the noisier t."""

    of_x: float
    of_x0: float
    var: float


class Update(NamedTuple):
    """A step of DDIM's family: x_s = of_x0 * x0 + of_eps * eps + fresh * n, with n ~ N(0, I)."""

    of_x0: float
    of_eps: float
    fresh: float


def log_snr(level: Level) -> Any:
    """ln(alpha**2 / sigma**2), the frame-free name of a level; +inf where clean, -inf where pure noise."""
    alpha, sigma = level
    if isinstance(alpha, Tensor) or isinstance(sigma, Tensor):
        return 2.0 * (torch.as_tensor(alpha).log() - torch.as_tensor(sigma).log())
    if sigma == 0.0:
        return math.inf
    return 2.0 * math.log(alpha / sigma) if alpha > 0.0 else -math.inf


def from_log_snr(value: float) -> Level:
    """The VP level of a log-SNR: alpha**2 = sigmoid(value), sigma**2 = sigmoid(-value), without cancellation."""
    if value >= 0.0:
        odds = math.exp(-value)
        return Level(math.sqrt(1.0 / (1.0 + odds)), math.sqrt(odds / (1.0 + odds)))
    odds = math.exp(value)
    return Level(math.sqrt(odds / (1.0 + odds)), math.sqrt(1.0 / (1.0 + odds)))


def from_alpha_bar(alpha_bar: float) -> Level:
    """The VP level of DDPM's cumulative product, in [0, 1]."""
    return Level(math.sqrt(alpha_bar), math.sqrt(1.0 - alpha_bar))


def variance_preserving(level: Level) -> Level:
    """The same level in the VP frame."""
    scale = math.hypot(level.alpha, level.sigma)
    return Level(level.alpha / scale, level.sigma / scale)


def expand(value: Any, like: Tensor) -> Any:
    """A (B,) tensor as (B, 1, ...) to multiply ``like``; floats pass through."""
    if isinstance(value, Tensor) and value.ndim == 1:
        return value.view(-1, *(1,) * (like.ndim - 1)).to(like.dtype)
    return value


def diffuse(x0: Tensor, level: Level, eps: Tensor) -> Tensor:
    """x = alpha * x0 + sigma * eps, the forward process in one jump (DDPM, arXiv 2006.11239, eq. 4)."""
    return expand(level.alpha, x0) * x0 + expand(level.sigma, x0) * eps


def beta_between(t: Level, s: Level) -> float:
    """DDPM's beta of the jump s -> t: 1 - alpha_bar_t / alpha_bar_s, in [0, 1].

    Computed as (sigma_t**2 - (alpha_t/alpha_s)**2 sigma_s**2) in the VP frame, which keeps its digits where both
    levels are nearly clean.
    """
    t, s = variance_preserving(t), variance_preserving(s)
    return t.sigma**2 - (t.alpha / s.alpha) ** 2 * s.sigma**2


def betas_along(levels: Sequence[Level]) -> tuple[float, ...]:
    """(N,): DDPM's betas of the jumps between N + 1 levels, noisiest first; the betas start at the cleanest jump."""
    return tuple(beta_between(t, s) for t, s in pairwise(levels))[::-1]


def posterior(t: Level, s: Level) -> Posterior:
    """q(x_s | x_t, x0) for a level t and a cleaner s, alpha_s > 0 (DDPM eq. 6-7, for any frame and any jump)."""
    if s.sigma == 0.0:
        return Posterior(0.0, s.alpha, 0.0)
    ratio = t.alpha / s.alpha
    var_ts = t.sigma**2 - ratio**2 * s.sigma**2
    assert var_ts >= -1e-12 * t.sigma**2, "levels must descend in noise"
    share = max(var_ts, 0.0) / t.sigma**2
    return Posterior(ratio * s.sigma**2 / t.sigma**2, s.alpha * share, share * s.sigma**2)


def ddim_update(t: Level, s: Level, eta: float) -> Update:
    """DDIM's step from a level t to a cleaner s (arXiv 2010.02502, eq. 12): fresh noise of eta sqrt(beta~).

    eta = 0 is deterministic, eta = 1 is ancestral sampling with the small variance.
    """
    fresh = eta * math.sqrt(posterior(t, s).var)
    return Update(s.alpha, math.sqrt(max(s.sigma**2 - fresh**2, 0.0)), fresh)


def prior_mismatch(level: Level, mean: float, std: float) -> float:
    """KL(q(x) || N(0, 1)) a dimension, in nats, of data N(mean, std**2) at a VP level: how well x is pure noise."""
    alpha_bar = float(level.alpha) ** 2
    excess = alpha_bar * (std**2 - 1.0)
    # log1p: near the prior all terms cancel but for the last digits.
    return 0.5 * (excess + alpha_bar * mean**2 - math.log1p(excess))
