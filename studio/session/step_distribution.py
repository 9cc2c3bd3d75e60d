"""One denoising step in one dimension: where it leads from one x_t, exactly, by a Gaussian, and by a generator.

The exact law is :func:`studio.core.exact.step_distribution`. A DDPM draws x_s from N(of_x x_t + of_x0 E[x0 | x_t],
beta-tilde), whatever the truth; a generator with a latent draws what it likes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from studio.core import events
from studio.core.checkpoints.native import Model
from studio.core.config import method_from_dict
from studio.core.data.base import Mixture
from studio.core.device import choose
from studio.core.exact import moments, step_distribution
from studio.core.levels import CLEAN, Level, log_snr, posterior
from studio.core.metrics.density import log_density
from studio.core.noise import Noise
from studio.core.sampling import conditioned, own_spec, subject_of
from studio.core.schedules import BigSteps, NoiseSchedule
from studio.session.control import Control
from studio.session.jobs import load_model

PLACES = 601
CELLS = 64
"""Of the histogram of draws, and of the distances, over the range that is shown."""
EXTENT = 3.2
"""Where a wide law is shown, from minus to plus: starts from pure noise lie within."""
_NARROW = 0.2  # the deviation below which a law is shown by itself
_REACH = 6.0  # deviations of a narrow law that are shown on each side


@dataclass(frozen=True)
class StepOf:
    """The step from level ``step`` of ``num_steps`` even times to the one before; ``step`` counts from 1."""

    num_steps: int
    step: int

    def ends(self, schedule: NoiseSchedule) -> tuple[Level, Level]:
        """The levels t and s of it along a schedule."""
        level = schedule.flow if isinstance(schedule, BigSteps) else schedule.level
        return level(self.step / self.num_steps), level((self.step - 1) / self.num_steps)

    def is_own(self, own_steps: int | None) -> bool:
        """Whether a model of ``own_steps`` big steps was trained for it."""
        return self.num_steps == own_steps


@dataclass(frozen=True)
class StepJob:
    """Tell the laws of some steps of the checkpoint at ``path``, all from x_t = ``x``, as :class:`StepLaw`.

    ``count`` is how often the generator draws, where it knows the step. Raises ValueError for data of more dimensions,
    or whose distribution is not known.
    """

    path: Path
    x: float
    steps: tuple[StepOf, ...]
    seed: int = 0
    count: int = 4000
    device: str = "auto"

    def __call__(self, control: Control) -> Iterator[events.Event | None]:
        device = choose(self.device)  # type: ignore[arg-type]
        model = load_model(self.path, device)
        data = _mixture(model)
        for place, step in enumerate(self.steps):
            if control.stopping:
                return
            yield self._law(model, data, place, step, device)

    def _law(self, model: Model, data: Mixture, place: int, step: StepOf, device: torch.device) -> events.StepLaw:
        t, s = step.ends(model.recipe.schedule)
        exact = step_distribution(data, np.array([self.x]), t, s)
        plays = model.recipe.own_steps is not None
        mean_x0 = float(moments(step_distribution(data, np.array([self.x]), t, CLEAN))[0][0])
        if not plays:
            mean_x0 = self._believed(model, t, device)
        jump = posterior(t, s)
        gaussian = (jump.of_x * self.x + jump.of_x0 * mean_x0, math.sqrt(jump.var))
        mean, variance = moments(exact)
        best = (float(mean[0]), math.sqrt(variance))
        drawn = self._drawn(model, t, s, device) if plays and step.is_own(model.recipe.own_steps) else None
        low, high = _range(best)
        edges, places = np.linspace(low, high, CELLS + 1), np.linspace(low, high, PLACES)
        truth = _shares(exact, edges)
        counted = None if drawn is None else _counted(drawn, edges)
        return events.StepLaw(
            index=place,
            x_t=self.x,
            log_snr=(float(log_snr(t)), float(log_snr(s))),
            x=events.freeze(places),
            exact=events.freeze(np.exp(log_density(places[:, None], exact))),
            gaussian=gaussian,
            best=best,
            own_mean=not plays,
            edges=events.freeze(edges),
            drawn=None if counted is None else events.freeze(counted[:-1] / np.diff(edges)),
            distances={
                "gaussian": _distance(truth, _shares(_normal(*gaussian), edges)),
                "best": _distance(truth, _shares(_normal(*best), edges)),
            }
            | ({} if counted is None else {"drawn": _distance(truth, counted), "chance": _chance(truth, self.count)}),
        )

    @torch.no_grad()
    def _believed(self, model: Model, t: Level, device: torch.device) -> float:
        """The model's E[x0 | x_t]."""
        subject = subject_of(model)
        noise = Noise(self.seed, range(1), device)
        denoiser, cond = conditioned(subject, own_spec(model.recipe).at(label="none").knobs, range(1), device)
        return float(denoiser(torch.full((1, 1), self.x, device=device), t, cond, noise=noise).x0)

    def _drawn(self, model: Model, t: Level, s: Level, device: torch.device) -> np.ndarray:
        """(count,): x_s as sampling makes it, each with a z and a posterior noise of its own."""
        spec, indices = own_spec(model.recipe).at(label="none"), range(self.count)
        denoiser, cond = conditioned(subject_of(model), spec.knobs, indices, device)
        x_t = torch.full((self.count, 1), self.x, device=device)
        *_, last = spec.sampler.run(denoiser, x_t, [t, s], cond=cond, noise=Noise(self.seed, indices, device))
        return last.x[:, 0].double().cpu().numpy()


def _mixture(model: Model) -> Mixture:
    """The exact distribution of the model's data."""
    spec = method_from_dict("dataset", model.header.data)
    if tuple(model.shape) != (1,):
        raise ValueError(f"One step is drawn for data in one dimension; this model's items are {tuple(model.shape)}.")
    mixture = spec.load().mixture
    if mixture is None:
        raise ValueError(f"The exact distribution of {spec.title} is not known, so there is nothing to compare with.")
    return mixture


def _range(best: tuple[float, float]) -> tuple[float, float]:
    """What is shown of a law: all places, so that nothing moves, unless it is too narrow to be seen there."""
    mean, std = best
    if std >= _NARROW:
        return -EXTENT, EXTENT
    return mean - _REACH * std, mean + _REACH * std


def _normal(mean: float, std: float) -> Mixture:
    return Mixture(np.ones(1), np.array([[mean]]), np.array([std]))


def _shares(law: Mixture, edges: np.ndarray) -> np.ndarray:
    """The probability of each cell and, last, of all that lies outside, (CELLS + 1,); a deviation of 0 is a point."""
    below = np.zeros(len(edges))
    for weight, mean, std in zip(law.weights, law.means[:, 0], law.stds, strict=True):
        # A point falls into one cell.
        scaled = (edges - mean) / (max(std, 1e-12) * math.sqrt(2.0))
        below += weight * 0.5 * (1.0 + torch.erf(torch.from_numpy(scaled)).numpy())
    inside = np.diff(below)
    return np.append(inside, max(1.0 - inside.sum(), 0.0))


def _counted(drawn: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """The share of draws (N,) in each cell and, last, outside."""
    inside = np.histogram(drawn, edges)[0] / len(drawn)
    return np.append(inside, 1.0 - inside.sum())


def _distance(one: np.ndarray, other: np.ndarray) -> float:
    """Total variation: 0 for the same law, 1 where nothing is shared."""
    return float(0.5 * np.abs(one - other).sum())


def _chance(truth: np.ndarray, count: int) -> float:
    """The total variation that as many perfect draws have on average: each cell strays by its own deviation."""
    return float(0.5 * np.sqrt(2.0 * truth * (1.0 - truth) / (math.pi * count)).sum())
