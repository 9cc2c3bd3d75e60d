"""Modes: how many the samples cover, and KL(q || p) = sum_k q_k ln(q_k / p_k) of their shares q to the data's p."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from studio.core.data.base import Mixture
from studio.core.metrics.base import Evidence, Metric, Quantity, Reference, Score
from studio.core.metrics.classifier import class_histogram
from studio.core.registry import register

NEAR_STDS = 3.0


@register("metric", "modes")
@dataclass(frozen=True, kw_only=True)
class Modes(Metric):
    """Coverage of known modes: the classes of images, the components of a mixture of points.

    The mode of an image is what the feature network says, and one image covers it. A point belongs to the component
    whose mean is nearest in that component's standard deviations, |x - mean_k| / std_k with the Euclidean norm, and
    covers it only within 3 of them; ``near`` is the share of points that do, of exact ones 99.7 % in 1-D and 98.9 % in
    2-D.

    Each of K modes is missed by chance with probability (1 - p_k)**N, and the KL is too high by about (K - 1) / (2 N):
    nothing for 10 digits and 1,000 samples, but 1,000 stacked digits take some 25,000 (arXiv 1712.04086 uses 26,000).
    Shares of the test images are smoothed by half an item a mode, so that a mode they lack does not make it infinite.
    """

    title = "Modes"
    kinds = ("image", "points")
    quantities = (
        Quantity("modes", "Modes", "higher", ".0f", "How many modes of the data at least one sample shows."),
        Quantity("mode_kl", "Mode KL", "lower", ".4f", "KL divergence, in nats, of the samples' modes to the data's."),
        Quantity(
            "near",
            "Near a mode",
            "higher",
            ".1%",
            "Share of points within 3 standard deviations of a component's mean.",
        ),
    )
    fewest = 100
    advised = 1_000

    def advised_for(self, reference: Reference) -> int:
        return max(self.advised, 25 * reference.num_modes)

    def applies(self, reference: Reference) -> bool:
        if reference.kind == "points":
            return reference.mixture is not None and len(reference.mixture.weights) > 1
        return super().applies(reference) and reference.num_modes > 1 and reference.test.modes is not None

    def measure(self, samples: Evidence, reference: Reference) -> Mapping[str, Score]:
        if reference.mixture is not None:
            return _of_points(samples.items, reference.mixture)
        shares = class_histogram(samples, reference.num_modes)
        counts = len(reference.test) * class_histogram(reference.test, reference.num_modes)
        expected = (counts + 0.5) / (counts + 0.5).sum()
        return {"modes": Score(float((shares > 0).sum())), "mode_kl": Score(_divergence(shares, expected))}


def _of_points(points: np.ndarray, mixture: Mixture) -> dict[str, Score]:
    mode, distance = nearest_component(points, mixture)
    near = distance <= NEAR_STDS
    shares = np.bincount(mode, minlength=len(mixture.weights)) / len(points)
    return {
        "modes": Score(float(len(np.unique(mode[near])))),
        "mode_kl": Score(_divergence(shares, mixture.weights)),
        "near": Score(float(near.mean())),
    }


def nearest_component(points: np.ndarray, mixture: Mixture) -> tuple[np.ndarray, np.ndarray]:
    """For points (N, D): the nearest component, int64 (N,), and how many of its standard deviations away, (N,)."""
    offsets = points[:, None, :].astype(np.float64) - mixture.means
    distances = np.sqrt((offsets**2).sum(2)) / mixture.stds
    mode = distances.argmin(1)
    return mode, distances[np.arange(len(points)), mode]


def _divergence(q: np.ndarray, p: np.ndarray) -> float:
    """KL(q || p) in nats; shares of 0 in ``q`` add nothing."""
    some = q > 0
    return float((q[some] * np.log(q[some] / p[some])).sum())
