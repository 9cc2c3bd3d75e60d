"""Judges: what a short schedule is worth for a trained model, as one number; lower is better.

They look from three sides: at the samples that come out, at what the jumps miss of what the denoiser knows, and at the
likelihood that they cost. Preparing a judge measures what does not depend on the schedule; judging one is then cheap,
and every schedule meets the same noise.
"""

from __future__ import annotations

import abc
import functools
import math
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from studio.core import features
from studio.core.checkpoints.header import score_key
from studio.core.data.base import Batch, Batches, Dataset
from studio.core.denoisers import NO_CLASS, Clipped, Denoiser
from studio.core.device import autocast
from studio.core.grids import Betas, Uniform
from studio.core.knobs import Knobbed, knob
from studio.core.levels import Level, diffuse, from_log_snr, log_snr, prior_mismatch
from studio.core.metrics.base import Metric, Reference, measure
from studio.core.noise import Noise, Stream
from studio.core.registry import register
from studio.core.samplers.base import Sampler, sampler_title
from studio.core.sampling import SampleKnobs, SampleSpec, Subject, asked_of, drawn, labels_of
from studio.core.schedules import Tabulated
from studio.core.scoring import metric_for

NUM_LEVELS = 48
_BATCH = 64
_HELD_OUT = "held-out items"


class Jury(abc.ABC):
    """A judge that has seen model and data. ``quantity`` is what it measures, in a word or two."""

    quantity: str

    @abc.abstractmethod
    def score(self, betas: Sequence[float], sampler: Sampler) -> Generator[None, None, float]:
        """The score of betas, from the cleanest to the noisiest, with a sampler; yields between network evaluations.

        Raises ValueError in plain words for betas that are none and where samples are no numbers.
        """

    @abc.abstractmethod
    def key(self, sampler: Sampler) -> str:
        """What the score is of, as :func:`~studio.core.checkpoints.header.score_key` names it."""


class Judge(Knobbed, abc.ABC):
    """A frozen, keyword-only dataclass of knobs under ``@register("judge", name)``."""

    title: ClassVar[str]

    @abc.abstractmethod
    def prepare(
        self, subject: Subject, dataset: Dataset, device: torch.device, knobs: SampleKnobs
    ) -> Generator[float, None, Jury]:
        """Measure what all schedules share; yields the share done, in [0, 1], and returns the jury.

        Of ``knobs``, class, guidance and clipping say how the model is sampled; steps, seed and count are the judge's
        own. Raises ValueError in plain words where it cannot judge this model.
        """


@register("judge", "fd")
@dataclass(frozen=True, kw_only=True)
class BySamples(Judge):
    """Samples against real items: Frechet distance of features for images, sliced Wasserstein distance for points.

    Every schedule starts from the same noise and draws the same noise on the way, so that a small difference between
    two of them is one of the schedules.
    """

    title = "FD of samples"
    count: int = knob(
        500,
        help="Samples of each schedule; scores of other counts do not compare.",
        label="Samples",
        low=2,
        high=100_000,
        log=True,
    )
    seed: int = knob(0, help="The noise that every schedule is given.", low=0, high=2**31 - 1)

    def prepare(
        self, subject: Subject, dataset: Dataset, device: torch.device, knobs: SampleKnobs
    ) -> Generator[float, None, Jury]:
        metric = metric_for(dataset)
        labels_of(knobs.label, subject.class_names, ())  # refused here rather than for every schedule
        yield from features.prepare(dataset, device=device)
        reference = features.reference_for(dataset, device=device)
        if self.count < (fewest := metric.fewest_for(reference)):
            raise ValueError(f"count = {self.count} is too few: {metric.title} needs at least {fewest:,} samples.")
        return _SampleJury(self, subject, dataset, device, knobs, metric, reference)


class _SampleJury(Jury):
    """Samples schedule after schedule and measures what comes out."""

    def __init__(
        self,
        judge: BySamples,
        subject: Subject,
        dataset: Dataset,
        device: torch.device,
        knobs: SampleKnobs,
        metric: Metric,
        reference: Reference,
    ) -> None:
        self._judge, self._subject, self._dataset, self._device = judge, subject, dataset, device
        self._knobs, self._metric, self._reference = knobs, metric, reference
        self.quantity = metric.quantities[0].title

    def score(self, betas: Sequence[float], sampler: Sampler) -> Generator[None, None, float]:
        parts, size = [], _BATCH if self._subject.is_image and self._device.type == "cpu" else 1_000
        knobs = replace(self._knobs, steps=len(betas), seed=self._judge.seed, count=self._judge.count)
        spec = SampleSpec(sampler=sampler, grid=Betas.listed(betas), knobs=knobs)
        for part in drawn(self._subject, spec, self._device, size):
            if part is None:
                yield None
            else:
                parts.append(part)
        asked = asked_of(self._subject, knobs)
        evidence = features.judge(np.concatenate(parts), asked, self._dataset, device=self._device)
        return measure(self._metric, evidence, self._reference)[self._metric.quantities[0].name].value

    def key(self, sampler: Sampler) -> str:
        words = f"{sampler_title(sampler)}{conditions(self._subject, self._knobs)}"
        return score_key(self.quantity, self._reference.network, self._judge.count, words)


@dataclass(frozen=True, kw_only=True)
class _ByCurve(Judge):
    """Judges by the curve of the denoiser's errors on held-out items, which is measured once."""

    count: int = knob(
        256, help="Held-out items that are noised and denoised.", label="Items", low=2, high=10_000, log=True
    )
    seed: int = knob(0, help="The noise that is put on them.", low=0, high=2**31 - 1)
    needs_reconstruction: ClassVar[bool] = False

    @abc.abstractmethod
    def jury(self, curve: ErrorCurve, is_image: bool, conditions: str) -> Jury:
        """Who adds up what schedules cost; ``conditions`` end its keys."""

    def prepare(
        self, subject: Subject, dataset: Dataset, device: torch.device, knobs: SampleKnobs
    ) -> Generator[float, None, Jury]:
        batch = Batches(dataset, 1, device=device).held_out(self.count)
        curve = yield from measured(subject, batch, self.seed, knobs, with_reconstruction=self.needs_reconstruction)
        return self.jury(curve, subject.is_image, conditions(subject, knobs, plain=True))


@register("judge", "error")
@dataclass(frozen=True, kw_only=True)
class ByError(_ByCurve):
    """How far the denoiser's belief would have moved on within the jumps, while the sampler holds it; at once.

    A jump t -> s goes by the x0 that was believed at t. Between, the ideal belief changes, and because beliefs are
    conditional means of ever more, E |x0(lambda) - x0(t)|**2 = mse(t) - mse(lambda), the fall of the denoiser's mean
    squared error, which is measured once on real held-out items. In DDIM's ODE, d(x / alpha) / d lambda = (x0 - x /
    alpha) / 2, every unit of log-SNR weighs the same, so a schedule's score, a dimension, is

        start + sum of the integrals from lambda_t to lambda_s of mse(t) - mse(lambda) d lambda + mse of the last,

    the last jump having all that is left to learn. ``start`` is what beginning at pure noise costs where the noisiest
    level still holds some of the image (:meth:`ErrorCurve.start_error`). More levels between never make it worse. It
    ranks the schedules of both samplers by the same number, and guidance plays no part.
    """

    title = "Denoising error"

    def jury(self, curve: ErrorCurve, is_image: bool, conditions: str) -> Jury:
        return _ErrorJury(curve, conditions)


@register("judge", "bound")
@dataclass(frozen=True, kw_only=True)
class ByBound(_ByCurve):
    """The variational bound on the negative log-likelihood, from the same curve of errors; at once, without sampling.

    Prior KL + 1/2 sum (SNR_s - SNR_t) mse(t) over all jumps but the last + the last jump's reconstruction term, a
    dimension (DDPM, arXiv 2006.11239, eq. 5; VDM, arXiv 2107.00630, eq. 11 and 13): bits of 8-bit images, nats of
    points. It is the bound of ancestral sampling with the small variance; DDIM has none of its own, and its schedules
    are ranked by the same. The reconstruction of images is DDPM's discretised Gaussian (eq. 13) around the last x0, of
    points a Gaussian density, each with the one variance that is best at its level. Approximate are the expectation,
    over ``count`` held-out items, and the curve, measured at 48 levels and interpolated. Guidance plays no part.
    """

    title = "Bound on likelihood"
    needs_reconstruction = True

    def jury(self, curve: ErrorCurve, is_image: bool, conditions: str) -> Jury:
        return _BoundJury(curve, conditions, is_image)


@dataclass(frozen=True, kw_only=True, eq=False)
class ErrorCurve:
    """A denoiser on ``count`` held-out items at L noise levels, whose log-SNRs ``log_snr`` (L,) ascend.

    ``mse`` (L,) is the mean squared error of x0 a dimension, ``reconstruction`` (L,) the negative log-likelihood of the
    items a dimension, in nats, given a jump from there to clean data; empty where it was not asked for. ``mean`` and
    ``std`` are the items' own.
    """

    log_snr: np.ndarray
    mse: np.ndarray
    mean: float
    std: float
    count: int
    reconstruction: np.ndarray = field(default_factory=lambda: np.zeros(0))

    def error_at(self, level: Level) -> float:
        """The mean squared error at any level, interpolated in its logarithm; held at the ends of the range."""
        return math.exp(float(np.interp(log_snr(level), self.log_snr, np.log(self.mse))))

    def missed(self, t: Level, s: Level) -> float:
        """The integral of mse(t) - mse(lambda) over log-SNR lambda from t to a cleaner level s."""
        places, sums = self._integral
        low, high = float(log_snr(t)), float(log_snr(s))
        # Beyond the range the error is held at its ends, so there its integral is a straight line.
        below, above = (max(places[0] - low, 0.0), max(high - places[-1], 0.0))
        total = float(np.interp(high, places, sums) - np.interp(low, places, sums))
        total += self.mse[0] * (below - max(places[0] - high, 0.0))
        total += self.mse[-1] * (above - max(low - places[-1], 0.0))
        return self.error_at(t) * (high - low) - total

    @functools.cached_property
    def _integral(self) -> tuple[np.ndarray, np.ndarray]:
        """Log-SNRs, and the integral of the mean squared error up to each."""
        places = np.linspace(self.log_snr[0], self.log_snr[-1], 2001)
        mse = np.exp(np.interp(places, self.log_snr, np.log(self.mse)))
        return places, np.concatenate([[0.0], np.cumsum(0.5 * (mse[1:] + mse[:-1]) * np.diff(places))])

    def start_error(self, level: Level) -> float:
        """What beginning at N(0, 1) in place of q(x), at a VP level, lets into x / alpha: a squared error a dimension.

        A draw of N(0, 1) is W from one of q(x), with W**2 <= 2 KL(q(x) || N(0, 1)) (Talagrand 1996). The KL is that of
        a Gaussian of the variance that is left unknown at the noisiest level, and what the data are beyond it: 1/2 the
        integral over SNR of that Gaussian's least error less the denoiser's (Guo, Shamai and Verdu, arXiv cs/0412108;
        exact for the ideal denoiser). What is known even there, the data's mean, the first x0 restores whatever x is,
        so it is left out. Falls as the SNR.
        """
        snr, spread = np.exp(self.log_snr), self.mse[0]
        saved = snr * (spread / (1.0 + snr * spread) - self.mse)  # a unit of log-SNR
        known = np.concatenate([[0.0], np.cumsum(0.5 * (saved[1:] + saved[:-1]) * np.diff(self.log_snr))])
        beyond = 0.5 * max(float(np.interp(log_snr(level), self.log_snr, known)), 0.0)
        return 2.0 * (prior_mismatch(level, 0.0, math.sqrt(spread)) + beyond) / float(level.alpha) ** 2

    def reconstruction_at(self, level: Level) -> float:
        """The reconstruction term of a last jump from any level, in nats a dimension."""
        return float(np.interp(log_snr(level), self.log_snr, self.reconstruction))


def measured(
    subject: Subject, batch: Batch, seed: int, knobs: SampleKnobs, *, with_reconstruction: bool = False
) -> Generator[float, None, ErrorCurve]:
    """The curve of a model's errors over its own range of levels; yields the share done.

    Items keep their own classes, unless ``knobs`` asks for none; the noise is the same at every level.
    """
    denoiser: Denoiser = Clipped(subject.denoiser) if knobs.clip and subject.is_image else subject.denoiser
    x0, cond = batch.x0, None
    if subject.class_names:
        none = batch.labels is None or labels_of(knobs.label, subject.class_names, ()) is None
        cond = torch.full((len(x0),), NO_CLASS, device=x0.device) if none else batch.labels
    eps = Noise(seed, range(len(x0)), x0.device).like(x0, 0, Stream.EPS)
    places, errors, terms = np.linspace(*subject.schedule.ends, NUM_LEVELS), [], []
    for index, place in enumerate(places):
        level, found = from_log_snr(float(place)), []
        for first in range(0, len(x0), _BATCH):
            rows = slice(first, first + _BATCH)
            with torch.no_grad(), autocast(x0.device):
                believed = denoiser(diffuse(x0[rows], level, eps[rows]), level, None if cond is None else cond[rows])
            found.append(believed.x0.float())
            yield (index + min(first + _BATCH, len(x0)) / len(x0)) / NUM_LEVELS
        belief = torch.cat(found)
        # The floor keeps the logarithm of a perfect denoiser's error finite.
        errors.append(max(float((belief - x0).double().square().mean()), 1e-12))
        if with_reconstruction:
            terms.append(_reconstruction(x0, belief, errors[-1], subject.is_image))
    if not np.isfinite(errors).all():
        raise ValueError("The model's beliefs are no numbers (NaN or infinite): take another checkpoint.")
    return ErrorCurve(
        log_snr=places,
        mse=np.array(errors),
        mean=float(x0.double().mean()),
        std=float(x0.double().std(correction=0)),
        count=len(x0),
        reconstruction=np.array(terms),
    )


class _CurveJury(Jury):
    """Adds up what a schedule's jumps cost, as the curve of errors has it."""

    def __init__(self, curve: ErrorCurve, conditions: str) -> None:
        self._curve, self._conditions = curve, conditions

    @abc.abstractmethod
    def total(self, levels: Sequence[Level]) -> float:
        """The cost of N + 1 descending VP levels, the last one clean."""

    def score(self, betas: Sequence[float], sampler: Sampler) -> Generator[None, None, float]:
        table = Tabulated(tuple(betas))
        total = self.total(Uniform().levels(table, table.length))
        yield None
        return total

    def key(self, sampler: Sampler) -> str:
        return score_key(self.quantity, _HELD_OUT, self._curve.count, sampler_title(sampler) + self._conditions)


class _ErrorJury(_CurveJury):
    """Adds up what each jump misses."""

    quantity = "Denoising error"

    def total(self, levels: Sequence[Level]) -> float:
        curve = self._curve
        total = curve.start_error(levels[0]) + curve.error_at(levels[-2])
        return total + sum(curve.missed(t, s) for t, s in pairwise(levels[:-1]))


class _BoundJury(_CurveJury):
    """Adds up the terms of the bound."""

    def __init__(self, curve: ErrorCurve, conditions: str, is_image: bool) -> None:
        super().__init__(curve, conditions)
        self._unit = math.log(2.0) if is_image else 1.0
        self.quantity = "NLL bound, bits/dim" if is_image else "NLL bound, nats/dim"

    def total(self, levels: Sequence[Level]) -> float:
        curve = self._curve
        # DDPM's L_T: given an item, q(x) is a Gaussian of no width but sigma's.
        total = prior_mismatch(levels[0], math.hypot(curve.mean, curve.std), 0.0)
        for t, s in pairwise(levels[:-1]):
            total += 0.5 * (math.exp(log_snr(s)) - math.exp(log_snr(t))) * curve.error_at(t)
        return (total + curve.reconstruction_at(levels[-2])) / self._unit


def conditions(subject: Subject, knobs: SampleKnobs, *, plain: bool = False) -> str:
    """What a score's key adds to the sampler, so that only scores of one measure are compared: " w 0.3 label none".

    ``plain`` is for judges of the model without guidance, who give each item its own class or none.
    """
    words, label = [], knobs.label.strip().lower()
    if subject.class_names:
        words += [f"w {knobs.guidance:g}"] if knobs.guidance and label != "none" and not plain else []
        words += [f"label {label}"] if label != "each" and (label == "none" or not plain) else []
    words += ["not clipped"] if subject.is_image and not knobs.clip else []
    return "".join(f" {word}" for word in words)


def _reconstruction(x0: Tensor, belief: Tensor, mse: float, is_image: bool) -> float:
    """-ln p(x0 | belief) a dimension with the best variance: that of 8-bit values for images, else a density's."""
    if not is_image:
        return 0.5 * math.log(2.0 * math.pi * math.e * mse)
    # Errors are heavy-tailed, and values at the ends of the range are certain once the belief lies there: the best
    # variance may be far below the mean square, so it is looked for.
    return min(discretised(x0, belief, math.sqrt(mse) * 2.0**power) for power in np.arange(-4.0, 0.75, 0.5))


def discretised(x0: Tensor, belief: Tensor, std: float) -> float:
    """Mean of -ln P(pixel) under N(belief, std**2) in bins of 2/255, the outermost ones open (DDPM eq. 13)."""
    upper = torch.where(x0 > 0.999, math.inf, (x0 - belief + 1.0 / 255.0) / std)
    lower = torch.where(x0 < -0.999, -math.inf, (x0 - belief - 1.0 / 255.0) / std)
    # Far above the middle both probabilities round to 1: there the mirror image has the digits.
    upper, lower = torch.where(lower > 0.0, -lower, upper), torch.where(lower > 0.0, -upper, lower)
    mass = torch.special.ndtr(upper) - torch.special.ndtr(lower)
    return float(-mass.clamp(min=1e-12).log().mean())
