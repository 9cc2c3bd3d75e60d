"""Energy distance: 2 E|X - Y| - E|X - X'| - E|Y - Y'|  (Szekely and Rizzo 2013); 0 only for equal laws."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from studio.core.knobs import knob
from studio.core.metrics.base import Evidence, Metric, Quantity, Reference, Score, fixed_rows
from studio.core.metrics.distances import squared_distances
from studio.core.registry import register


@register("metric", "energy")
@dataclass(frozen=True, kw_only=True)
class EnergyDistance(Metric):
    """Distance of two laws from pairwise distances of points, in their units; unbiased, so slightly negative by chance.

    A point is never paired with itself, which makes the expectation independent of the counts. The work grows with
    their square: of samples and of test points at most ``most`` are used, a random draw that is always the same. The
    noise for perfect samples is about 1 / N where the points' standard deviation is 1: a hundredth with ``fewest``.
    """

    most: int = knob(
        5_000, label="Points at most", low=100, high=50_000, log=True, help="How many points are compared."
    )

    title = "Energy distance"
    kinds = ("points",)
    quantities = (
        Quantity(
            "energy", "Energy distance", "lower", ".5f", "Energy distance to the test points. Unbiased: 0 is best."
        ),
    )
    fewest = 100
    advised = 1_000

    def measure(self, samples: Evidence, reference: Reference) -> Mapping[str, Score]:
        x = samples.items[fixed_rows(len(samples), self.most)]
        y = reference.test.items[fixed_rows(len(reference.test), self.most)]
        within_real = reference.once(f"energy: within {len(y)} test items", lambda: _mean_within(y))
        return {"energy": Score(2.0 * _mean_across(x, y) - _mean_within(x) - within_real)}


def energy_distance(x: np.ndarray, y: np.ndarray) -> float:
    """Unbiased estimate from points (N, D) and (M, D), N and M at least 2."""
    return 2.0 * _mean_across(x, y) - _mean_within(x) - _mean_within(y)


def _total(x: np.ndarray, y: np.ndarray) -> float:
    return float(sum(np.sqrt(table, out=table).sum() for _, table in squared_distances(x, y)))


def _mean_across(x: np.ndarray, y: np.ndarray) -> float:
    return _total(x, y) / (len(x) * len(y))


def _mean_within(x: np.ndarray) -> float:
    """The mean over the pairs i != j; pairs of a point with itself add nothing to the total."""
    return _total(x, x) / (len(x) * (len(x) - 1))
