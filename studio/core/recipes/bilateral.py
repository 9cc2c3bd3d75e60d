"""Bilateral denoising diffusion (BDDM, arXiv 2203.13508): learn how large each reverse step may be.

A denoiser stays as it is; a schedule network phi learns the ratio ``r = beta / sigma**2`` of the step from x at level
(alpha, sigma), and Algorithm 3 turns it into a short schedule. Per dimension the step's loss is

    L = |eps - r eps_theta|**2 / (2 (1 - r) D) + c ln(1 / r) + (r - 1) / 2,

whose mean for an optimal denoiser of mean squared error m in eps is m (2 r - r**2) / (2 (1 - r)) + c ln(1 / r), least
where ``m r (1 + (1 - r)**-2) = 2 c``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from studio.core.data.base import Batch
from studio.core.denoisers import Denoiser
from studio.core.device import autocast
from studio.core.ema import EMA
from studio.core.knobs import Knobbed, knob
from studio.core.levels import Level, ddim_update, diffuse, expand, log_snr, variance_preserving
from studio.core.networks.schedule_net import ScheduleNetwork
from studio.core.noise import Noise, Stream
from studio.core.schedules import NoiseSchedule

LogTerm = Literal["quarter", "half", "printed"]
MOST_RATIO = 1.0 - 1e-4
"""The loss has a pole at r = 1."""
_NO_NOISE = 1e-12
"""A sigma**2 that is nothing but rounding."""
_EMA_EXPONENT = 10.0
_WARMUP = 20


@dataclass(frozen=True, kw_only=True)
class Bilateral(Knobbed):
    """How a schedule network is trained: BDDM's Algorithm 2, with the denoiser frozen.

    The log term's weight c per dimension is 1/4 in the released code (which sums it over the elements), 1/2 in the
    exact KL, and 1/(4 D) as the paper prints it; the last drives every beta to almost 0, and is there to be seen.
    """

    span: int | None = knob(
        None,
        help="Training steps that the step before has taken, which bound beta; larger ones give shorter schedules. "
        "Auto is a third of the schedule.",
        symbol="τ",
        low=1,
        high=5000,
    )
    log_term: LogTerm = knob(
        "quarter", help="Weight of the log term per dimension: 1/4, 1/2, or 1/(4D) as printed.", label="Log term"
    )
    clean_levels: bool = knob(
        True,
        help="Train also on levels cleaner than τ steps, which every schedule ends with; the released code does not.",
        label="Clean levels too",
    )
    steps: int = knob(800, help="Training steps of the schedule network.", low=1, high=1_000_000, log=True)
    batch: int = knob(16, help="Items a step.", low=1, high=4096, log=True)
    learning_rate: float = knob(
        2e-3, help="Peak step size of AdamW; it falls to 0 along a cosine.", low=1e-7, high=1.0, log=True
    )
    weight_decay: float = knob(1e-5, help="AdamW's pull towards 0.", low=0.0, high=1.0, advanced=True)
    clip_norm: float = knob(
        1.0, help="Longest allowed gradient.", label="Gradient clip", low=0.01, high=1e3, log=True, advanced=True
    )

    def resolve_span(self, schedule: NoiseSchedule) -> int:
        """tau for a schedule of T steps. Raises ValueError where no step t has tau steps on both sides."""
        length = schedule.length
        span, most = length // 3 if self.span is None else self.span, (length - 1) // 2
        if most < 1:
            raise ValueError(f"A schedule of {length} steps is too short to learn from: it takes at least 3.")
        if span > most:
            raise ValueError(
                f"span = {span} is too large for a schedule of T = {length} steps: it takes 1 to {most}, "
                f"and about {length // 3} is usual."
            )
        return span

    def log_weight(self, shape: Sequence[int]) -> float:
        """c, the log term's weight per dimension, for items of ``shape``."""
        return {"quarter": 0.25, "half": 0.5, "printed": 0.25 / math.prod(shape)}[self.log_term]

    def cap(self, schedule: NoiseSchedule, level: Level) -> float:
        """The largest ratio beta / sigma**2 that training allows at a level of the schedule, in (0, 1].

        The span's end is held at the schedule's noisiest step, beyond which training never goes.
        """
        alpha, sigma = variance_preserving(level)
        span = self.resolve_span(schedule) / schedule.length
        beyond = variance_preserving(schedule.level(min(schedule.time(log_snr(level)) + span, 1.0)))
        return min((1.0 - (beyond.alpha / alpha) ** 2) / sigma**2, 1.0)


class BilateralLearner:
    """A schedule network under training; the denoiser's weights are neither changed nor followed by gradients."""

    def __init__(
        self, bilateral: Bilateral, network: ScheduleNetwork, denoiser: Denoiser, schedule: NoiseSchedule
    ) -> None:
        self.bilateral, self.network, self.denoiser = bilateral, network, denoiser
        self._parameters = list(network.parameters())
        self._ema = EMA(network, None, _EMA_EXPONENT)
        self.optimizer = torch.optim.AdamW(
            self._parameters, bilateral.learning_rate, weight_decay=bilateral.weight_decay
        )
        length, span = schedule.length, bilateral.resolve_span(schedule)
        levels = [variance_preserving(schedule.level((step + 1.0) / length)) for step in range(length)]
        table = torch.tensor(levels, dtype=torch.float64)
        self._first, self._last = (0 if bilateral.clean_levels else span), length - span - 1
        steps = torch.arange(self._last + 1)
        widest = 1.0 - (table[steps + span, 0] / table[steps, 0]) ** 2
        device = self._parameters[0].device
        self._alpha, self._sigma = table[: self._last + 1].float().to(device).unbind(1)
        self._cap = (widest / table[steps, 1] ** 2).clamp(max=1.0).float().to(device)

    @property
    def average(self) -> ScheduleNetwork:
        """The averaged network, frozen."""
        return self._ema.average

    def step(self, batch: Batch, *, noise: Noise, index: int) -> Mapping[str, Tensor]:
        """One update. ``index`` from 0 counts steps, feeds the noise and sets the rate.

        Returns tensors on the device: scalars ``loss``, ``grad_norm`` and ``ratio`` (mean beta / sigma**2), and
        ``sample_loss`` and ``log_snr`` (B,).
        """
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate(index)
        self.optimizer.zero_grad(set_to_none=True)
        found = self.loss(self.network, batch, noise=noise, index=index)
        found["loss"].backward()
        norm = torch.nn.utils.clip_grad_norm_(self._parameters, self.bilateral.clip_norm)
        self.optimizer.step()
        self._ema.update(index + 1)
        return {name: value.detach() for name, value in found.items()} | {"grad_norm": norm.detach()}

    def rate(self, index: int) -> float:
        """The learning rate of a step: a short linear rise, then a cosine to 0 at the last."""
        knobs = self.bilateral
        rise = min(1.0, (index + 1) / _WARMUP)
        return knobs.learning_rate * rise * 0.5 * (1.0 + math.cos(math.pi * min(index / knobs.steps, 1.0)))

    def loss(self, network: ScheduleNetwork, batch: Batch, *, noise: Noise, index: int) -> dict[str, Tensor]:
        """The step loss of ``network``, per dimension, on a batch at random levels; gradients reach it alone.

        The paper writes one item a step. Here every item of a batch has its own level and its own cap
        min(beta_next, sigma**2) / sigma**2: one cap for all would bind the noisy items to the cleanest one's. Levels
        are stratified over the batch. The released code measures speech by L1; the loss as derived is L2.
        """
        place = self._draw_steps(noise, index)
        level = Level(self._alpha[place], self._sigma[place])
        eps = noise.like(batch.x0, index, Stream.EPS)
        x = diffuse(batch.x0, level, eps)
        with autocast(x.device):
            with torch.no_grad():
                believed = self.denoiser(x, level, batch.labels, noise=noise).eps
            ratio = (self._cap[place] * network(x)).clamp(max=MOST_RATIO)
        log_weight = self.bilateral.log_weight(batch.x0.shape[1:])
        losses = step_loss(eps, believed.float(), ratio, log_weight)
        return {"loss": losses.mean(), "ratio": ratio.mean(), "sample_loss": losses, "log_snr": log_snr(level)}

    def _draw_steps(self, noise: Noise, index: int) -> Tensor:
        """A training step for each item, (B,) int64, evenly from the first to the last that has a level tau above."""
        draw = noise.uniform(index, Stream.LEVEL)
        share = (torch.arange(len(draw), device=draw.device) + draw) / len(draw)
        return (self._first + (share * (self._last + 1 - self._first)).long()).clamp(max=self._last)


def step_loss(eps: Tensor, believed: Tensor, ratio: Tensor, log_weight: float) -> Tensor:
    """BDDM's step loss (eq. 14) per dimension, (B,), for noise and its estimate (B, ...) and ratios (B,) below 1.

    The paper sums the first and last term over the D dimensions but counts the log once; here all three are means over
    dimensions, so that ``log_weight`` c says what weighs how much: 1/2 makes it the KL divergence it stands for.
    """
    error = (eps - expand(ratio, eps) * believed).square().flatten(1).mean(1)
    return error / (2.0 * (1.0 - ratio)) - log_weight * (ratio + 1e-8).log() + 0.5 * (ratio - 1.0)


def optimal_ratio(error: np.ndarray | float, log_weight: float) -> np.ndarray:
    """The r in (0, 1) of least loss, where m r (1 + (1 - r)**-2) = 2 c; in the shape of ``error``.

    ``error`` m is the mean squared error in eps per dimension, above 0; ``log_weight`` c > 0. Raises ValueError for
    others.
    """
    error = np.asarray(error, np.float64)
    if not ((error > 0.0) & np.isfinite(error)).all() or not log_weight > 0.0:
        raise ValueError("The best ratio is known for errors and log weights above 0 only.")
    # The left side rises from 0 without bound; halving ln(r / (1 - r)) keeps the digits of both r and 1 - r.
    low, high = np.full(error.shape, -40.0), np.full(error.shape, 40.0)
    for _ in range(64):
        middle = 0.5 * (low + high)
        rest = 1.0 / (1.0 + np.exp(middle))
        above = error * (1.0 + rest**-2) > 2.0 * log_weight * (1.0 + np.exp(-middle))
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return 1.0 / (1.0 + np.exp(-0.5 * (low + high)))


@dataclass(frozen=True, kw_only=True)
class Emission(Knobbed):
    """How a trained schedule network emits a schedule: BDDM's Algorithm 3."""

    floor: float = knob(
        1e-3,
        help="The schedule ends before a beta smaller than this; raising it saves steps near clean data.",
        label="Smallest beta",
        symbol="ρ",
        low=1e-6,
        high=0.5,
        log=True,
    )
    most: int = knob(
        100, help="The schedule ends after so many steps.", label="Most steps", low=1, high=10000, log=True
    )
    images: int = knob(1, help="Items that share one schedule; their ratios are averaged.", low=1, high=1024, log=True)
    eta: float = knob(
        1.0, help="How x is driven on the way: 1 is ancestral sampling, 0 is DDIM.", symbol="η", low=0.0, high=1.0
    )


@dataclass(frozen=True)
class EmissionStep:
    """One beta, from the noisiest on: ``index`` 0 is the given start.

    ``level`` (VP) is where the step begins, ``reaches`` the alpha where it ends; ``ratio`` is what the network said of
    ``x`` (B, ...), None at the start; ``x0`` is what the denoiser believes there. ``done`` marks the last, and
    ``reason`` says in words why the schedule ends there.
    """

    index: int
    level: Level
    beta: float
    reaches: float
    ratio: float | None
    x: Tensor
    x0: Tensor
    done: bool
    reason: str


@torch.no_grad()
def emit(
    network: ScheduleNetwork,
    denoiser: Denoiser,
    emission: Emission,
    start: tuple[float, float],
    *,
    shape: Sequence[int],
    cond: Tensor | None = None,
    noise: Noise,
) -> Iterator[EmissionStep]:
    """BDDM's Algorithm 3, a beta at a time, from ``start`` = (alpha_N, beta_N); the last one is ``done``.

    From x_N ~ N(0, I): record beta_n, take one reverse step to alpha_{n-1} = alpha_n / sqrt(1 - beta_n), and let
    beta_{n-1} = min(beta_n, sigma_{n-1}**2) ratio(x_{n-1}). It ends where no noise is left, before a beta below the
    floor, or after ``most``. ``shape`` is one item's; ``noise`` serves ``emission.images`` of them, ``cond`` (images,)
    are their classes. The paper follows one item; of several that share a schedule the ratios are averaged
    geometrically, as betas multiply. Betas only shrink, so fewer than ``short_schedule.fewest_steps`` cannot reach
    clean data.

    The alphas met here do not quite end at 1: sampling works them out anew from the betas.

    Raises ValueError for a start outside (0, 1), or one whose first step would leave more than the whole signal.
    """
    alpha, beta = check_start(start)
    if len(noise.indices) != emission.images:
        raise ValueError(f"images = {emission.images} do not fit noise for {len(noise.indices)}.")
    x, ratio = noise.normal(shape, 0, Stream.START), None
    level = Level(alpha, math.sqrt(1.0 - alpha**2))
    for index in range(emission.most):
        # Rounding must not leave a signal of more than 1 where the first step takes all noise away.
        reached = min(level.alpha / math.sqrt(1.0 - beta), 1.0)
        left = 1.0 - reached**2
        target = Level(reached, math.sqrt(left))
        update = ddim_update(level, target, emission.eta)
        with autocast(x.device):
            found = denoiser(x, level, cond, noise=noise)
            x_next = update.of_x0 * found.x0 + update.of_eps * found.eps
            if update.fresh > 0.0:
                x_next = x_next + update.fresh * noise.like(x, index)
            # The next beta depends on it, so the host must wait for the device here.
            said = network(x_next).double().log().mean().exp().item()
        next_beta = min(beta, left) * said
        reason = ""
        if left < _NO_NOISE:
            reason = "no noise is left"
        elif next_beta < emission.floor:
            reason = f"the next beta, {next_beta:.2g}, is below the smallest allowed"
        elif index + 1 == emission.most:
            reason = f"{emission.most} steps are the most allowed"
        yield EmissionStep(index, level, beta, reached, ratio, x, found.x0, bool(reason), reason)
        if reason:
            return
        level, beta, x, ratio = target, next_beta, x_next, said


def check_start(start: tuple[float, float]) -> tuple[float, float]:
    """The start (alpha_N, beta_N) as floats. Raises ValueError for one that Algorithm 3 cannot begin from."""
    alpha, beta = map(float, start)
    for name, value in (("alpha", alpha), ("beta", beta)):
        if not 0.0 < value < 1.0:
            raise ValueError(f"{name} = {value:g} is not possible as a start: it lies between 0 and 1.")
    if alpha > math.sqrt(1.0 - beta):
        raise ValueError(
            f"alpha = {alpha:g} with beta = {beta:g} is not possible as a start: the first step would leave more than "
            f"the whole signal. Take alpha of at most {math.sqrt(1.0 - beta):.4f}, or a smaller beta."
        )
    return alpha, beta
