"""Point sets in one and two dimensions, made from formulas: they train in seconds and can be drawn whole.

Every set is centred and scaled by constants from its geometry, never from the sample, so that the variance averaged
over the dimensions is exactly 1. A curve c of such a variance v becomes

    x = sqrt((1 - noise**2) / v) * (c - E[c]) + noise * n,   n ~ N(0, I),

which makes ``noise`` a standard deviation in the finished picture, whose values lie within about [-2.5, 2.5]. The
scale is the same in all dimensions: circles stay round. Mixtures keep their exact weights, means and deviations.
"""

from __future__ import annotations

import abc
import math
from dataclasses import dataclass

import numpy as np

from studio.core.data.base import Dataset, DatasetSpec, Mixture
from studio.core.knobs import knob
from studio.core.registry import register

NUM_TEST = 10_000

Sample = tuple[np.ndarray, np.ndarray | None]


@dataclass(frozen=True, kw_only=True)
class PointsSpec(DatasetSpec):
    """Base of the point sets: they differ in :meth:`sample`, and in :attr:`class_names` where points have labels."""

    num_points: int = knob(
        50_000, label="Points", low=100, high=1_000_000, log=True, help="How many points there are to train on."
    )
    seed: int = knob(0, low=0, high=2**31 - 1, advanced=True, help="Which points are drawn. Same seed, same points.")

    kind = "points"

    @abc.abstractmethod
    def sample(self, rng: np.random.Generator, count: int) -> Sample:
        """``count`` independent points, float64 (count, D), and their labels, integers (count,) or None."""

    @property
    def class_names(self) -> tuple[str, ...]:
        """What the labels mean, in order; empty where there are none."""
        return ()

    @property
    def mixture(self) -> Mixture | None:
        """The exact distribution, where it is a mixture of Gaussians."""
        return None

    def read(self) -> Dataset:
        train, train_labels = self.sample(np.random.default_rng((self.seed, 0)), self.num_points)
        test, test_labels = self.sample(np.random.default_rng((self.seed, 1)), NUM_TEST)
        return Dataset(
            name=self.name,
            title=self.title,
            kind="points",
            train=train.astype(np.float32),
            train_labels=_as_labels(train_labels),
            test=test.astype(np.float32),
            test_labels=_as_labels(test_labels),
            class_names=self.class_names,
            licence="none needed",
            source="made from a formula",
            mixture=self.mixture,
        )


def _finish(rng: np.random.Generator, centred: np.ndarray, variance: float, noise: float) -> np.ndarray:
    """Scale a centred curve whose variance a dimension is ``variance`` and add noise, to a variance of 1."""
    return math.sqrt((1.0 - noise**2) / variance) * centred + noise * rng.standard_normal(centred.shape)


def _as_labels(labels: np.ndarray | None) -> np.ndarray | None:
    """int64 also where numpy's default integer is shorter (Windows, before numpy 2)."""
    return None if labels is None else labels.astype(np.int64)


def _numbered(word: str, count: int) -> tuple[str, ...]:
    return tuple(f"{word} {number}" for number in range(1, count + 1))


@register("dataset", "swiss_roll")
@dataclass(frozen=True, kw_only=True)
class SwissRoll(PointsSpec):
    """A spiral of one and a half turns: (t cos t, t sin t), t uniform from 1.5 pi to 4.5 pi."""

    noise: float = knob(
        0.05, low=0.0, high=0.5, help="How far points stray from the spiral, where the whole set's deviation is 1."
    )

    title = "Swiss roll"

    def sample(self, rng: np.random.Generator, count: int) -> Sample:
        low, high = 1.5 * math.pi, 4.5 * math.pi
        t = rng.uniform(low, high, count)
        roll = np.stack([t * np.cos(t), t * np.sin(t)], axis=1)
        mean = (_roll_integral(high) - _roll_integral(low)) / (high - low)
        variance = ((high**3 - low**3) / (3.0 * (high - low)) - mean @ mean) / 2.0
        return _finish(rng, roll - mean, variance, self.noise), None


def _roll_integral(t: float) -> np.ndarray:
    """The antiderivative of (t cos t, t sin t), (2,)."""
    return np.array([t * math.sin(t) + math.cos(t), math.sin(t) - t * math.cos(t)])


@register("dataset", "two_moons")
@dataclass(frozen=True, kw_only=True)
class TwoMoons(PointsSpec):
    """Two half circles that reach into each other; the label is the moon."""

    noise: float = knob(
        0.07, low=0.0, high=0.5, help="How far points stray from the moons, where the whole set's deviation is 1."
    )

    title = "Two moons"

    @property
    def class_names(self) -> tuple[str, ...]:
        return "upper moon", "lower moon"

    def sample(self, rng: np.random.Generator, count: int) -> Sample:
        labels = rng.integers(0, 2, count)
        angle = rng.uniform(0.0, math.pi, count)
        # Centred, the upper moon is (cos - 1/2, sin - 1/4) of the angle; the lower is its point reflection.
        moon = np.stack([np.cos(angle) - 0.5, np.sin(angle) - 0.25], axis=1)
        moon *= (1.0 - 2.0 * labels)[:, None]
        variance = (1.0 + 0.5**2 + 0.25**2 - 1.0 / math.pi) / 2.0  # E[sin] = 2 / pi gives the last term
        return _finish(rng, moon, variance, self.noise), labels


@register("dataset", "rings")
@dataclass(frozen=True, kw_only=True)
class Rings(PointsSpec):
    """Rings around one centre, equally dense along each; the label is the ring, from the inside."""

    num_rings: int = knob(3, low=1, high=6, help="How many rings there are.")
    noise: float = knob(
        0.04, low=0.0, high=0.5, help="How far points stray from the rings, where the whole set's deviation is 1."
    )

    title = "Rings"

    @property
    def class_names(self) -> tuple[str, ...]:
        return _numbered("ring", self.num_rings)

    def sample(self, rng: np.random.Generator, count: int) -> Sample:
        radii = np.arange(1.0, self.num_rings + 1.0)
        weights = radii / radii.sum()
        labels = rng.choice(self.num_rings, count, p=weights)
        angle = rng.uniform(0.0, 2.0 * math.pi, count)
        ring = radii[labels, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
        return _finish(rng, ring, float(weights @ radii**2) / 2.0, self.noise), labels


@register("dataset", "checkerboard")
@dataclass(frozen=True, kw_only=True)
class Checkerboard(PointsSpec):
    """The eight dark squares of a 4 x 4 board, evenly filled and with sharp edges; the label is the square."""

    title = "Checkerboard"

    @property
    def class_names(self) -> tuple[str, ...]:
        return _numbered("square", 8)

    def sample(self, rng: np.random.Generator, count: int) -> Sample:
        labels = rng.integers(0, 8, count)
        row = labels // 2
        column = 2 * (labels % 2) + row % 2
        board = np.stack([column, row], axis=1) + rng.uniform(0.0, 1.0, (count, 2))
        # Each coordinate by itself is uniform over the board's width of 4: variance 16 / 12.
        return _finish(rng, board - 2.0, 16.0 / 12.0, 0.0), labels


@dataclass(frozen=True, kw_only=True)
class MixtureSpec(PointsSpec):
    """Base of the mixtures of Gaussians; the label is the component."""

    @abc.abstractmethod
    def components(self) -> Mixture:
        """The finished mixture, of zero mean and a variance of 1 averaged over the dimensions."""

    @property
    def mixture(self) -> Mixture:
        return self.components()

    @property
    def class_names(self) -> tuple[str, ...]:
        return _numbered("component", len(self.components().weights))

    def sample(self, rng: np.random.Generator, count: int) -> Sample:
        weights, means, stds = self.components()
        labels = rng.choice(len(weights), count, p=weights)
        return means[labels] + stds[labels, None] * rng.standard_normal((count, means.shape[1])), labels


def _equal(centres: np.ndarray, spread: float) -> Mixture:
    """Equal components of deviation ``spread`` on centred ``centres`` (K, D), moved apart until the variance is 1."""
    scale = math.sqrt((1.0 - spread**2) / float((centres**2).mean()))
    count = len(centres)
    return Mixture(np.full(count, 1.0 / count), scale * centres, np.full(count, spread))


@register("dataset", "gaussians_8")
@dataclass(frozen=True, kw_only=True)
class Gaussians8(MixtureSpec):
    """Eight equal Gaussians on a circle."""

    spread: float = knob(
        0.1, low=0.01, high=0.5, help="The standard deviation of each Gaussian, where the whole set's is 1."
    )

    title = "8 Gaussians"

    def components(self) -> Mixture:
        angle = 2.0 * math.pi * np.arange(8) / 8
        return _equal(np.stack([np.cos(angle), np.sin(angle)], axis=1), self.spread)


@register("dataset", "gaussians_25")
@dataclass(frozen=True, kw_only=True)
class Gaussians25(MixtureSpec):
    """Twenty-five equal Gaussians on a 5 x 5 grid."""

    spread: float = knob(
        0.05, low=0.01, high=0.5, help="The standard deviation of each Gaussian, where the whole set's is 1."
    )

    title = "25 Gaussians"

    def components(self) -> Mixture:
        row, column = np.divmod(np.arange(25), 5)
        return _equal(np.stack([column, row], axis=1) - 2.0, self.spread)


@register("dataset", "mixture_1d")
@dataclass(frozen=True, kw_only=True)
class Mixture1D(MixtureSpec):
    """Three Gaussians on a line, unequal in weight and width."""

    title = "1-D mixture"

    def components(self) -> Mixture:
        weights, means, stds = np.array([0.3, 0.5, 0.2]), np.array([-2.0, 0.5, 2.5]), np.array([0.25, 0.5, 0.15])
        mean = float(weights @ means)
        scale = 1.0 / math.sqrt(float(weights @ (stds**2 + (means - mean) ** 2)))
        return Mixture(weights, scale * (means - mean)[:, None], scale * stds)
