"""Noise schedules: the only place where time lives.

A schedule maps t in [0, 1] (0 is data, 1 is noisiest) to a level. DDPM's schedules are T betas with
``alpha_bar_i = prod(1 - beta_j, j <= i)``; step i (0-based) sits at t = (i + 1) / T and ln alpha is interpolated
linearly between steps, so that fractional steps mean something.
"""

from __future__ import annotations

import abc
import functools
import math
from dataclasses import dataclass

import numpy as np

from studio.core.knobs import Knobbed, knob
from studio.core.levels import CLEAN, Level, log_snr
from studio.core.registry import register
from studio.core.short_schedule import check_betas


class NoiseSchedule(abc.ABC):
    """A path of levels from data to noise."""

    title: str

    @property
    @abc.abstractmethod
    def length(self) -> int:
        """T: the number of steps of the training schedule."""

    @abc.abstractmethod
    def level(self, t: float) -> Level:
        """The level at t in [0, 1], in Python floats. Raises ValueError outside."""

    @abc.abstractmethod
    def time(self, log_snr: float) -> float:
        """The t in [0, 1] whose level has this log-SNR; clamped to the schedule's ends."""

    @property
    def ends(self) -> tuple[float, float]:
        """The log-SNRs of its noisiest step and of its cleanest."""
        return float(log_snr(self.level(1.0))), float(log_snr(self.level(1.0 / self.length)))


class DiscreteSchedule(NoiseSchedule):
    """A schedule given by T betas, VP frame."""

    @abc.abstractmethod
    def betas(self) -> np.ndarray:
        """(T,) float64, each in (0, 1), from the cleanest step to the noisiest."""

    @property
    def length(self) -> int:
        return len(self.betas())

    @property
    def alpha_bar(self) -> np.ndarray:
        """(T,) float64: the cumulative product of 1 - beta."""
        return np.exp(2.0 * _log_alpha(self)[1:])

    def level(self, t: float) -> Level:
        if not 0.0 <= t <= 1.0:
            raise ValueError(f"t = {t} is not possible: a schedule's time goes from 0 (data) to 1 (noise).")
        table = _log_alpha(self)
        log_alpha = float(np.interp(t * (len(table) - 1), np.arange(len(table)), table))
        if log_alpha == 0.0:
            return CLEAN
        return Level(math.exp(log_alpha), math.sqrt(-math.expm1(2.0 * log_alpha)))

    def time(self, log_snr: float) -> float:
        table = _log_alpha(self)
        log_alpha = -0.5 * float(np.logaddexp(0.0, -log_snr))
        return float(np.interp(-log_alpha, -table, np.arange(len(table)))) / (len(table) - 1)


@functools.lru_cache(maxsize=32)
def _log_alpha(schedule: DiscreteSchedule) -> np.ndarray:
    """(T + 1,) float64 ln alpha, with 0 for clean data in front."""
    table = np.concatenate([[0.0], 0.5 * np.cumsum(np.log1p(-schedule.betas()))])
    table.flags.writeable = False
    return table


@register("schedule", "linear")
@dataclass(frozen=True, kw_only=True)
class Linear(Knobbed, DiscreteSchedule):
    """DDPM's schedule: betas evenly spaced (arXiv 2006.11239, section 4); the ends scale with 1000 / T."""

    title = "linear"
    num_steps: int = knob(1000, help="Steps of the training schedule.", label="Steps", symbol="T", low=2, high=10000)
    beta_start: float = knob(
        1e-4, help="First beta, for T = 1000.", label="First beta", symbol="β₁", low=1e-6, high=0.1, log=True
    )
    beta_end: float = knob(
        0.02, help="Last beta, for T = 1000.", label="Last beta", symbol="β_T", low=1e-4, high=0.5, log=True
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.beta_end * 1000.0 / self.num_steps >= 1.0:
            raise ValueError(
                f"num_steps = {self.num_steps} is too few for beta_end = {self.beta_end:g}: a beta would reach 1. "
                f"Take at least {math.floor(self.beta_end * 1000.0) + 1} steps or a smaller beta_end."
            )

    def betas(self) -> np.ndarray:
        scale = 1000.0 / self.num_steps
        return np.linspace(self.beta_start * scale, self.beta_end * scale, self.num_steps)


@register("schedule", "cosine")
@dataclass(frozen=True, kw_only=True)
class Cosine(Knobbed, DiscreteSchedule):
    """Improved DDPM's schedule: alpha_bar = cos**2, betas at most 0.999 (arXiv 2102.09672, eq. 17)."""

    title = "cosine"
    num_steps: int = knob(1000, help="Steps of the training schedule.", label="Steps", symbol="T", low=2, high=10000)
    offset: float = knob(
        0.008, help="Keeps the first betas from vanishing.", symbol="s", low=0.0, high=0.1, advanced=True
    )

    def betas(self) -> np.ndarray:
        t = np.arange(self.num_steps + 1) / self.num_steps
        alpha_bar = np.cos((t + self.offset) / (1.0 + self.offset) * np.pi / 2.0) ** 2
        return np.minimum(1.0 - alpha_bar[1:] / alpha_bar[:-1], 0.999)


@register("schedule", "big_steps")
@dataclass(frozen=True, kw_only=True)
class BigSteps(Knobbed, DiscreteSchedule):
    """Few big steps of the variance-preserving SDE (Denoising Diffusion GAN, arXiv 2112.07804, appendix B).

    alpha_bar(u) = exp(-u**2 (beta_max - beta_min) / 2 - u beta_min) at T + 1 even times u from ``first`` to 1. Data
    stand at the first of them, whose own noise is left out: beta_i = 1 - alpha_bar(u_i) / alpha_bar(u_{i - 1}).
    """

    title = "few big steps"
    num_steps: int = knob(4, help="Steps of the training schedule.", label="Steps", symbol="T", low=1, high=64)
    beta_min: float = knob(0.1, help="Rate of noise at the data.", symbol="β_min", low=1e-3, high=10.0, log=True)
    beta_max: float = knob(20.0, help="Rate of noise at the end.", symbol="β_max", low=0.1, high=100.0, log=True)
    first: float = knob(1e-3, help="Time at which the data stand.", low=0.0, high=0.1, advanced=True)

    def betas(self) -> np.ndarray:
        return -np.expm1(np.diff(self._log_alpha_bar(np.arange(self.num_steps + 1) / self.num_steps)))

    def flow(self, t: float) -> Level:
        """The level of the SDE at t in [0, 1]: :meth:`level` at its own steps, and the true one between them."""
        excess = float(self._log_alpha_bar(np.array([0.0, t])) @ (-1.0, 1.0))
        return CLEAN if t == 0.0 else Level(math.exp(0.5 * excess), math.sqrt(-math.expm1(excess)))

    def _log_alpha_bar(self, t: np.ndarray) -> np.ndarray:
        u = self.first + (1.0 - self.first) * t
        return -0.5 * u**2 * (self.beta_max - self.beta_min) - u * self.beta_min


@dataclass(frozen=True)
class Tabulated(DiscreteSchedule):
    """Any betas, (T,) in (0, 1): learned, imported or drawn by hand. Raises ValueError for others."""

    values: tuple[float, ...]
    title = "tabulated"

    def __post_init__(self) -> None:
        check_betas(self.values)

    def betas(self) -> np.ndarray:
        return np.array(self.values, np.float64)
