"""Grids: which levels of a schedule a sampler visits.

A grid turns a schedule and a number of steps N into N + 1 descending levels, the last one clean. Steps are counted as
in DDPM: tau in [0, T - 1], at time t = (tau + 1) / T, and may be fractional.
"""

from __future__ import annotations

import abc
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from studio.core.knobs import Knobbed, knob
from studio.core.levels import CLEAN, Level, from_log_snr
from studio.core.registry import register
from studio.core.schedules import NoiseSchedule, Tabulated
from studio.core.short_schedule import ShortSchedule, check_betas


class Grid(abc.ABC):
    """A way to choose N of a schedule's levels."""

    title: str

    @property
    def own_steps(self) -> int | None:
        """How many steps it takes whatever number is asked for; None where it takes any.

        Raises ValueError where what is set is not possible.
        """
        return None

    @abc.abstractmethod
    def levels(self, schedule: NoiseSchedule, num_steps: int) -> list[Level]:
        """N + 1 descending levels, the last one clean. Raises ValueError where N does not fit the schedule."""


def _at_steps(schedule: NoiseSchedule, steps: np.ndarray) -> list[Level]:
    return [schedule.level(float(tau + 1.0) / schedule.length) for tau in steps[::-1]] + [CLEAN]


def _check(num_steps: int, most: int) -> None:
    if not 1 <= num_steps <= most:
        raise ValueError(f"steps = {num_steps} is not possible: this schedule allows 1 to {most}.")


@register("grid", "uniform")
@dataclass(frozen=True, kw_only=True)
class Uniform(Knobbed, Grid):
    """Evenly strided steps with both ends, rounded to whole ones (improved DDPM's respacing, arXiv 2102.09672)."""

    title = "evenly spaced"

    def levels(self, schedule: NoiseSchedule, num_steps: int) -> list[Level]:
        _check(num_steps, schedule.length)
        if num_steps == 1:
            return _at_steps(schedule, np.array([schedule.length - 1]))
        return _at_steps(schedule, np.round(np.linspace(0, schedule.length - 1, num_steps)))


@register("grid", "quadratic")
@dataclass(frozen=True, kw_only=True)
class Quadratic(Knobbed, Grid):
    """Steps that crowd towards the data: tau = linspace(0, sqrt(0.8 T), N)**2 (DDIM, arXiv 2010.02502, D.2).

    The steps stay fractional: rounding them, as the paper's code does, repeats step 0 many times for large N.
    """

    title = "quadratic"

    def levels(self, schedule: NoiseSchedule, num_steps: int) -> list[Level]:
        _check(num_steps, schedule.length)
        top = min(0.8 * schedule.length, schedule.length - 1.0)
        if num_steps == 1:
            return _at_steps(schedule, np.array([top]))
        return _at_steps(schedule, np.linspace(0.0, np.sqrt(top), num_steps) ** 2)


@register("grid", "log_snr")
@dataclass(frozen=True, kw_only=True)
class LogSNR(Knobbed, Grid):
    """Evenly spaced in log-SNR (DPM-Solver, arXiv 2206.00927), between two bounds within the schedule's own."""

    title = "by log-SNR"
    noisiest: float = knob(-8.0, help="Log-SNR of the first level.", label="From log-SNR", low=-14.0, high=0.0)
    cleanest: float = knob(5.0, help="Log-SNR of the last noisy level.", label="To log-SNR", low=0.5, high=14.0)

    def levels(self, schedule: NoiseSchedule, num_steps: int) -> list[Level]:
        _check(num_steps, 10000)
        noisiest, cleanest = schedule.ends
        low, high = max(self.noisiest, noisiest), min(self.cleanest, cleanest)
        if low >= high:
            # The bounds lie outside a schedule that adds little noise: its own ends are all there is.
            low, high = noisiest, cleanest
        return [from_log_snr(float(value)) for value in np.linspace(low, high, num_steps)] + [CLEAN]


@register("grid", "exact")
@dataclass(frozen=True, kw_only=True)
class Exact(Knobbed, Grid):
    """The steps typed by hand, in DDPM's counting (T - 1 is noisiest); the number of steps follows from them."""

    title = "typed by hand"
    steps: str = knob(
        "999, 800, 600, 400, 250, 150, 80, 30, 5", help="Steps to visit, 0 to T - 1.", label="Steps", symbol="τ"
    )

    @property
    def own_steps(self) -> int:
        return len(self._taus())

    def levels(self, schedule: NoiseSchedule, num_steps: int) -> list[Level]:
        taus = self._taus()
        if not taus or not 0.0 <= taus[0] <= taus[-1] <= schedule.length - 1:
            raise ValueError(f"steps = {self.steps!r} is not possible: type numbers from 0 to {schedule.length - 1}.")
        return _at_steps(schedule, np.array(taus))

    def _taus(self) -> list[float]:
        return sorted(set(_numbers("steps", self.steps)))


@register("grid", "betas")
@dataclass(frozen=True, kw_only=True)
class Betas(Knobbed, Grid):
    """The levels of a short schedule of its own, learned, drawn or typed: alpha_bar_n = prod(1 - beta_i, i <= n).

    The model's training schedule plays no part, so one model's schedule can be tried on another (BDDM, arXiv
    2203.13508, algorithm 4: alpha is worked out anew from the betas, and the denoiser is asked at that very level).
    """

    title = "by a list of β"
    betas: str = knob(
        "0.005, 0.03, 0.13, 0.3, 0.45, 0.6, 0.75, 0.85",
        help="One beta for each step, between 0 and 1, from the cleanest to the noisiest.",
        label="Betas",
        symbol="β",
    )

    @staticmethod
    def of(schedule: ShortSchedule) -> Betas:
        """The grid that visits a short schedule; no digit is lost."""
        return Betas.listed(schedule.betas)

    @staticmethod
    def listed(betas: Sequence[float]) -> Betas:
        """The grid of these betas; no digit is lost."""
        return Betas(betas=", ".join(map(repr, map(float, betas))))

    @property
    def values(self) -> tuple[float, ...]:
        """The betas. Raises ValueError where the text is no list of possible ones."""
        found = tuple(_numbers("betas", self.betas))
        check_betas(found)
        return found

    @property
    def own_steps(self) -> int:
        return len(self.values)

    def levels(self, schedule: NoiseSchedule, num_steps: int) -> list[Level]:
        table = Tabulated(self.values)
        return _at_steps(table, np.arange(table.length))


def _numbers(name: str, text: str) -> list[float]:
    found = []
    for word in text.replace(",", " ").split():
        try:
            found.append(float(word))
        except ValueError:
            raise ValueError(f"{name}: {word!r} is no number: type numbers with commas between.") from None
    return found
