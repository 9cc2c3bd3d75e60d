"""Precision, recall, density and coverage: balls around items stand for where a set lies.

With r_k(a) the distance of an item to its k-th nearest other item of its own set, samples y and real items x,

    precision = share of y with |y - x| <= r_3(x) for some x    recall = share of x with |x - y| <= r_3(y) for some y
    density = mean over y of #{x: |y - x| < r_5(x)} / 5         coverage = share of x with |y - x| < r_5(x) for some y

(arXiv 1904.06991, eq. 1 and 2; arXiv 2002.09797, sec. 3).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from studio.core.knobs import knob
from studio.core.metrics.base import Evidence, Metric, Quantity, Reference, Score, fixed_rows
from studio.core.metrics.distances import squared_distances
from studio.core.registry import register

MOST_ITEMS = 10_000
# A neighbour exactly at the radius is inside a closed ball and outside an open one, also where its distance was rounded
# otherwise than the radius: this is far above the rounding of squared distances, far below any difference of features.
_MARGIN = 1e-9


@register("metric", "manifold")
@dataclass(frozen=True, kw_only=True)
class Manifold(Metric):
    """How many samples lie where real images lie (fidelity), and how much of that the samples fill (diversity).

    Balls shrink as a set grows, so that a larger set covers less around each item but more in all: with unequal counts
    recall would tell the ratio of the counts. Therefore as many real items as samples are taken, a random draw that is
    always the same, and of each at most 10,000. The count moves precision and recall all the same: compare equal ones.
    Perfect samples reach density 1 and coverage 1 - 1 / 2**k, 0.97 at k = 5 (arXiv 2002.09797, sec. 3), but not
    precision 1 nor recall 1. The papers use 10,000 samples and more; under 1,000 the balls are wide and forgive much.
    ``fewest`` leaves every item with more others than the knobs may ask for.
    """

    k: int = knob(3, low=1, high=20, help="Which nearest neighbour sets the radius for precision and recall.")
    k_density: int = knob(
        5,
        label="k of density",
        low=1,
        high=20,
        help="Which nearest neighbour sets the radius for density and coverage.",
    )

    title = "Precision and recall"
    kinds = ("image",)
    quantities = (
        Quantity("precision", "Precision", "higher", ".3f", "Share of samples that lie among the real images."),
        Quantity("recall", "Recall", "higher", ".3f", "Share of real images that lie among the samples."),
        Quantity("density", "Density", "higher", ".3f", "How densely real images lie around samples; real ones: 1."),
        Quantity("coverage", "Coverage", "higher", ".3f", "Share of real images with a sample nearby."),
    )
    fewest = 21
    advised = 1_000

    def measure(self, samples: Evidence, reference: Reference) -> Mapping[str, Score]:
        assert samples.features is not None
        assert reference.test.features is not None
        count = min(len(samples), len(reference.test), MOST_ITEMS)
        if count <= max(self.k, self.k_density):
            raise ValueError(
                f"{self.title} looks for {max(self.k, self.k_density)} neighbours, but {reference.data} has only "
                f"{count} test items. Choose fewer neighbours or other data."
            )
        real = reference.test.features[fixed_rows(len(reference.test), count)]
        fake = samples.features[fixed_rows(len(samples), count)]
        numbers = precision_recall_density_coverage(real, fake, self.k, self.k_density)
        return {quantity.name: Score(value) for quantity, value in zip(self.quantities, numbers, strict=True)}


def precision_recall_density_coverage(
    real: np.ndarray, fake: np.ndarray, k: int = 3, k_density: int = 5
) -> tuple[float, float, float, float]:
    """The four numbers for real (N, F) and generated (M, F) features, each of more rows than either k."""
    real_closed, real_open = (radii**2 for radii in _radii(real, k, k_density))
    (fake_closed,) = (radii**2 for radii in _radii(fake, k))
    real_closed, fake_closed, real_open = (
        real_closed * (1.0 + _MARGIN),
        fake_closed * (1.0 + _MARGIN),
        real_open * (1.0 - _MARGIN),
    )
    precise = np.zeros(len(fake), bool)
    balls = np.zeros(len(fake), np.int64)
    recalled, covered = np.zeros(len(real), bool), np.zeros(len(real), bool)
    for rows, table in squared_distances(real, fake):
        precise |= (table <= real_closed[rows, None]).any(0)
        recalled[rows] = (table <= fake_closed).any(1)
        inside = table < real_open[rows, None]
        balls += inside.sum(0)
        covered[rows] = inside.any(1)
    return float(precise.mean()), float(recalled.mean()), float(balls.mean() / k_density), float(covered.mean())


def _radii(items: np.ndarray, *ks: int) -> list[np.ndarray]:
    """The distance of each item to its k-th nearest other item, (N,), for each k."""
    found = np.empty((len(items), len(ks)))
    places = np.array(ks) - 1
    for rows, table in squared_distances(items, items):
        table[np.arange(len(table)), np.arange(rows.start, rows.stop)] = np.inf
        found[rows] = np.partition(table, places, axis=1)[:, places]
    return list(np.sqrt(found).T)
