"""Frechet distance of features: |mu_a - mu_b|**2 + tr(S_a + S_b - 2 (S_a S_b)**(1/2))  (arXiv 1706.08500, eq. 6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from studio.core.metrics.base import Evidence, Metric, Quantity, Reference, Score
from studio.core.registry import register


@register("metric", "fd")
@dataclass(frozen=True, kw_only=True)
class FrechetDistance(Metric):
    """Distance of the Gaussians fitted to two sets of features, in squared units of the features.

    **Biased upwards**, by c / N to first order (arXiv 1911.07023). For N draws of a Gaussian with covariance S, against
    that Gaussian itself, second-order perturbation of the trace gives

        c = tr S + 1/2 sum_ij (1 + [i = j]) l_i l_j / (l_i + l_j),   l the eigenvalues of S,

    which is (1 + (F + 1) / 4) tr S where all F are equal: the covariance costs far more than the mean. Compare only
    numbers of the same N, and against the floor of that N. Up to F samples the fitted covariance is singular, hence
    ``fewest``, for the 128 features of the studio's classifiers; with 1,000 samples its eigenvalues lie within about a
    factor of two of the true ones. A wider network takes more, in proportion: some 16,000 for Inception's 2,048.
    """

    title = "Frechet distance"
    kinds = ("image",)
    quantities = (
        Quantity(
            "fd",
            "FD",
            "lower",
            ".2f",
            "Frechet distance of features to the test images. Too high by about c / N: compare equal sample counts.",
        ),
    )
    fewest = 129
    advised = 1_000

    def fewest_for(self, reference: Reference) -> int:
        return _width(reference) + 1

    def advised_for(self, reference: Reference) -> int:
        return max(self.advised, 8 * _width(reference) - 24)

    def measure(self, samples: Evidence, reference: Reference) -> Mapping[str, Score]:
        assert samples.features is not None
        assert reference.test.features is not None
        real = reference.test.features
        mean, cov = reference.once("fd: Gaussian of the features", lambda: fit(real))
        return {"fd": Score(frechet_gaussians(*fit(samples.features), mean, cov))}


def _width(reference: Reference) -> int:
    assert reference.test.features is not None
    return reference.test.features.shape[1]


def fit(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean (F,) and unbiased covariance (F, F) of features (N, F)."""
    return features.mean(0), np.atleast_2d(np.cov(features, rowvar=False))


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """Between features (N, F) and (M, F), with sample covariances; 0 for identical sets."""
    return frechet_gaussians(*fit(a), *fit(b))


def frechet_gaussians(mean_a: np.ndarray, cov_a: np.ndarray, mean_b: np.ndarray, cov_b: np.ndarray) -> float:
    """Between N(mean_a, cov_a) and N(mean_b, cov_b): means (F,), covariances (F, F)."""
    # tr (S_a S_b)**(1/2) from the symmetric S_a**(1/2) S_b S_a**(1/2), which has the same eigenvalues and is stable.
    values, vectors = np.linalg.eigh(cov_a)
    root = (vectors * np.sqrt(values.clip(0.0))) @ vectors.T
    cross = np.sqrt(np.linalg.eigvalsh(root @ cov_b @ root).clip(0.0)).sum()
    distance = ((mean_a - mean_b) ** 2).sum() + np.trace(cov_a) + np.trace(cov_b) - 2.0 * cross
    return float(max(distance, 0.0))
