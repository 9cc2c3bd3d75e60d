"""Denoisers: maps from (x, level) to a prediction, and the wrappers that change one.

Every sampler takes any denoiser, so guidance and clipping are denoisers around a denoiser. All are frame free: scaling
x, alpha and sigma together leaves x0 as it was.
"""

from __future__ import annotations

import abc
from collections.abc import Callable

import torch
from torch import Tensor, nn

from studio.core.levels import Level, ddim_update, expand, log_snr
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
        return from_x0(x, level, self.believe(x, level, cond))

    def believe(self, x: Tensor, level: Level, cond: Tensor | None, z: Tensor | None = None) -> Tensor:
        """x0-hat, (B, ...); z (B, latent) where the network takes one."""
        centred = x - expand(level.alpha, x) * self.data_mean
        c_in, c_skip, c_out = coefficients(self.parameterization, level, self.data_std)
        raw = self.output(expand(c_in, x) * centred, level, cond, z)
        return self.data_mean + expand(c_skip, x) * centred + expand(c_out, x) * raw

    def output(self, scaled: Tensor, level: Level, cond: Tensor | None, z: Tensor | None = None) -> Tensor:
        """The network's raw output F for input already scaled by c_in."""
        ratio = log_snr(level)
        if not isinstance(ratio, Tensor):
            ratio = torch.full((len(scaled),), ratio, dtype=scaled.dtype, device=scaled.device)
        return self.network(scaled, ratio.to(scaled.dtype), cond, z)


def innermost(denoiser: Denoiser) -> NetworkDenoiser:
    """The network's denoiser within wrappers. Raises TypeError where there is none."""
    while not isinstance(denoiser, NetworkDenoiser):
        inner = getattr(denoiser, "inner", None)
        if not isinstance(inner, Denoiser):
            raise TypeError(f"{type(denoiser).__name__} has no network within.")
        denoiser = inner
    return denoiser


class Latent(Denoiser):
    """A generator as a denoiser: x0-hat = G(x, z, level), z drawn anew for every image at every step.

    Its x0 is a sample of the data that x may come from, not their mean, so a large step stays sharp and its outcomes
    multimodal (arXiv 2112.07804, eq. 4). ``latent`` 0 is the ablation: a G without z, which a step then cannot vary.
    """

    def __init__(self, inner: NetworkDenoiser, latent: int) -> None:
        super().__init__()
        self.inner = inner
        self.latent = latent

    def forward(self, x: Tensor, level: Level, cond: Tensor | None = None, *, noise: Noise | None = None) -> Prediction:
        return from_x0(x, level, self.generate(x, level, cond, noise))

    def generate(self, x: Tensor, level: Level, cond: Tensor | None, noise: Noise | None) -> Tensor:
        """G's output for a z of ``noise``, (B, ...). Raises ValueError where it needs one and there is no noise."""
        if self.latent and noise is None:
            raise ValueError("This model draws a latent z at every step, so it cannot be asked without noise.")
        return self.inner.believe(x, level, cond, noise.latent(self.latent) if self.latent and noise else None)


class Direct(Denoiser):
    """A generator of the next, cleaner x: its x0 is the one from which DDIM with eta = 0 lands there.

    Between its own levels only: ``next_level`` names the one that follows. Sampled by DDIM, eta 0, over them.
    """

    def __init__(self, inner: Latent, next_level: Callable[[Level], Level]) -> None:
        super().__init__()
        self.inner = inner
        self.next_level = next_level

    def forward(self, x: Tensor, level: Level, cond: Tensor | None = None, *, noise: Noise | None = None) -> Prediction:
        target = self.inner.generate(x, level, cond, noise)
        step = ddim_update(level, self.next_level(level), 0.0)
        # x_s = of_x0 x0 + of_eps (x - alpha x0) / sigma, solved for x0.
        share = step.of_eps / level.sigma
        return from_x0(x, level, (target - share * x) / (step.of_x0 - share * level.alpha))


class Guided(Denoiser):
    """Classifier-free guidance: x0 = (1 + w) x0(class) - w x0(no class) (arXiv 2207.12598, eq. 6).

    w = 0 is the plain conditional model. Both halves go through the network in one batch, with the same latent.
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
        both = self.inner(torch.cat([x, x]), Level(*map(_twice, level)), labels, noise=noise and noise.twice()).x0
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
