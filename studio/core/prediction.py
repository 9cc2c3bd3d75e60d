"""What a denoiser says about a noisy x, and how a network's raw output becomes it.

``x = alpha * x0 + sigma * eps`` makes x0 and eps two names for one belief. A network sees ``c_in * x`` and its raw
output F is read as ``x0 = c_skip * x + c_out * F``; the four parameterisations differ only in these three numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from studio.core.levels import Level, expand

Parameterization = Literal["eps", "x0", "v", "edm"]


@dataclass(frozen=True)
class Prediction:
    """A denoiser's belief at one level: ``x0`` and ``eps``, both in the shape of x and tied by the level.

    ``x0_var`` is Var[x0|x] where a denoiser knows it (exact and calibrated ones), broadcastable to x. ``var_frac``
    is improved DDPM's learned interpolation, in [0, 1].
    """

    x0: Tensor
    eps: Tensor
    x0_var: Tensor | float | None = None
    var_frac: Tensor | None = None


def from_x0(x: Tensor, level: Level, x0: Tensor, x0_var: Tensor | float | None = None) -> Prediction:
    """The prediction whose clean image is ``x0``: eps = (x - alpha x0) / sigma, sigma > 0."""
    return Prediction(x0, (x - expand(level.alpha, x) * x0) / expand(level.sigma, x), x0_var)


class Coefficients(NamedTuple):
    """The network sees c_in * x; its output F means x0 = c_skip * x + c_out * F."""

    c_in: Any
    c_skip: Any
    c_out: Any


def coefficients(parameterization: Parameterization, level: Level, sigma_data: float) -> Coefficients:
    """The three numbers of a parameterisation at a level, in whatever frame the level is.

    ``eps`` (DDPM, arXiv 2006.11239), ``x0``, ``v`` = alpha eps - sigma x0 in the VP frame (arXiv 2202.00512), and
    ``edm`` (arXiv 2206.00364, table 1, with alpha written out): the input has unit variance and the target too, for
    data of standard deviation ``sigma_data``.
    """
    alpha, sigma = level
    total = (alpha**2 + sigma**2) ** 0.5
    match parameterization:
        case "eps":
            return Coefficients(1.0 / total, 1.0 / alpha, -sigma / alpha)
        case "x0":
            return Coefficients(1.0 / total, torch.zeros_like(total) if isinstance(total, Tensor) else 0.0, 1.0)
        case "v":
            return Coefficients(1.0 / total, alpha / total**2, -sigma / total)
        case "edm":
            spread = (alpha**2 * sigma_data**2 + sigma**2) ** 0.5
            return Coefficients(1.0 / spread, alpha * sigma_data**2 / spread**2, sigma * sigma_data / spread)
    raise ValueError(f"{parameterization!r} is no parameterisation: choose eps, x0, v or edm.")
