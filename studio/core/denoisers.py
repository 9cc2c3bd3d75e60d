"""Denoisers: maps from (x, level) to a prediction, and the wrappers that change one.

Every sampler takes any denoiser, so guidance and clipping are denoisers around a denoiser. All are frame free: scaling
x, alpha and sigma together leaves x0 as it was.
"""

from __future__ import annotations

import abc

import torch
from torch import Tensor, nn

from studio.core.levels import Level, expand, log_snr
from studio.core.noise import Noise
from studio.core.prediction import Parameterization, Prediction, coefficients, from_x0


class Denoiser(nn.Module, abc.ABC):
    """Maps x (B, ...) at a level to a :class:`Prediction`.

    ``cond`` is (B,) int64 class labels, or None for no class. ``noise`` serves denoisers that draw a latent.
    """

    @abc.abstractmethod
    def forward(self, x: Tensor, level: Level, cond: Tensor | None = None, *, noise: Noise | None = None) -> Prediction:
        """The prediction at x, all in the shape of x."""

    @property
    def nfe(self) -> int:
        """Network evaluations an image that one call costs."""
        return 1


class NetworkDenoiser(Denoiser):
    """A network read through a parameterisation.

    ``network(x, log_snr, cond)`` takes x (B, ...), log-SNR (B,) and classes (B,) or None, and returns x's shape. The
    data's mean is taken off first and ``data_std`` sets EDM's coefficients, so the network sees centred, unit-variance
    input at every level.
    """

    def __init__(
        self, network: nn.Module, parameterization: Parameterization, data_mean: float, data_std: float
    ) -> None:
        super().__init__()
        self.network = network
        self.parameterization: Parameterization = parameterization
        self.data_mean = data_mean
        self.data_std = data_std

    def forward(self, x: Tensor, level: Level, cond: Tensor | None = None, *, noise: Noise | None = None) -> Prediction:
        centred = x - expand(level.alpha, x) * self.data_mean
        c_in, c_skip, c_out = coefficients(self.parameterization, level, self.data_std)
        raw = self.output(expand(c_in, x) * centred, level, cond)
        return from_x0(x, level, self.data_mean + expand(c_skip, x) * centred + expand(c_out, x) * raw)

    def output(self, scaled: Tensor, level: Level, cond: Tensor | None) -> Tensor:
        """The network's raw output F for input already scaled by c_in."""
        ratio = log_snr(level)
        if not isinstance(ratio, Tensor):
            ratio = torch.full((len(scaled),), ratio, dtype=scaled.dtype, device=scaled.device)
        return self.network(scaled, ratio.to(scaled.dtype), cond)


class Guided(Denoiser):
    """Classifier-free guidance: x0 = (1 + w) x0(class) - w x0(no class) (arXiv 2207.12598, eq. 6).

    w = 0 is the plain conditional model. Both halves go through the network in one batch.
    """

    def __init__(self, inner: Denoiser, scale: float) -> None:
        super().__init__()
        self.inner = inner
        self.scale = scale

    @property
    def nfe(self) -> int:
        return self.inner.nfe * (1 if self.scale == 0.0 else 2)

    def forward(self, x: Tensor, level: Level, cond: Tensor | None = None, *, noise: Noise | None = None) -> Prediction:
        if self.scale == 0.0 or cond is None:
            return self.inner(x, level, cond, noise=noise)
        labels = torch.cat([cond, torch.full_like(cond, NO_CLASS)])
        both = self.inner(torch.cat([x, x]), Level(*map(_twice, level)), labels, noise=noise).x0
        with_class, without = both.chunk(2)
        return from_x0(x, level, with_class + self.scale * (with_class - without))


NO_CLASS = -1
"""The label that stands for "no class" in a batch of labels."""


def _twice(value: float | Tensor) -> float | Tensor:
    return torch.cat([value, value]) if isinstance(value, Tensor) else value


class Clipped(Denoiser):
    """x0 kept within [low, high], and eps made to agree with it, as DDPM's sampler does for images."""

    def __init__(self, inner: Denoiser, low: float = -1.0, high: float = 1.0) -> None:
        super().__init__()
        self.inner = inner
        self.low, self.high = low, high

    @property
    def nfe(self) -> int:
        return self.inner.nfe

    def forward(self, x: Tensor, level: Level, cond: Tensor | None = None, *, noise: Noise | None = None) -> Prediction:
        found = self.inner(x, level, cond, noise=noise)
        return from_x0(x, level, found.x0.clamp(self.low, self.high), found.x0_var)
