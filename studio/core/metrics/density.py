"""Samples against the exact density p(x) = sum_k w_k N(x; mu_k, c_k**2 I), where the data have one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from studio.core.data.base import Mixture
from studio.core.knobs import knob
from studio.core.metrics.base import Evidence, Metric, Quantity, Reference, Score
from studio.core.registry import register

REACH = 3.0
ENTROPY_DRAWS = 100_000


@register("metric", "density")
@dataclass(frozen=True, kw_only=True)
class ExactDensity(Metric):
    """Two comparisons with the exact density; no test points are needed.

    ``excess_nll`` = E_samples[-ln p] - E_p[-ln p], in nats; the entropy is the mean of 100,000 exact draws (always the
    same). Unbiased. Above 0 samples stray to where the data are rare; below 0 they crowd where the data are dense, as
    when modes are lost. 0 alone does not prove a match. One sample far out moves it without bound.

    ``density_tv`` = 1/2 sum over cells of |share of samples - exact probability|, in [0, 1], in one or two dimensions.
    The grid has ``cells`` equal cells along each axis over [-3, 3]; all that lies outside is one more. It sees what is
    wider than a cell. Biased upwards: N perfect samples in some C cells give about sqrt(C / (2 pi N)), so compare equal
    counts; with 1,000 samples that is 0.13 for 25 Gaussians (C about 100) and 0.05 in 1-D (16).
    """

    cells: int = knob(40, low=2, high=500, help="How many cells the grid has along each axis, from -3 to 3.")

    title = "Exact density"
    kinds = ("points",)
    quantities = (
        Quantity(
            "excess_nll",
            "Excess NLL",
            "neither",
            ".4f",
            "Negative log-likelihood under the exact density less its entropy, in nats. 0 is best: above, samples "
            "stray; below, they crowd.",
        ),
        Quantity(
            "density_tv",
            "Density TV",
            "lower",
            ".4f",
            "Total variation between the samples' histogram and the exact density on a grid over [-3, 3]: 0 equal, "
            "1 disjoint.",
        ),
    )
    fewest = 100
    advised = 1_000

    def applies(self, reference: Reference) -> bool:
        return super().applies(reference) and reference.mixture is not None

    def measure(self, samples: Evidence, reference: Reference) -> Mapping[str, Score]:
        assert reference.mixture is not None
        mixture = reference.mixture
        entropy = reference.once("density: entropy", lambda: _entropy(mixture))
        losses = -log_density(samples.items, mixture)
        error = math.hypot(losses.std(ddof=1) / math.sqrt(len(losses)), entropy.error or 0.0)
        found = {"excess_nll": Score(float(losses.mean()) - entropy.value, error)}
        if samples.items.shape[1] <= 2:
            exact = reference.once(
                f"density: probabilities of {self.cells} cells", lambda: cell_probabilities(mixture, self.cells)
            )
            shares = cell_shares(samples.items, self.cells)
            found["density_tv"] = Score(float(np.abs(shares - exact).sum() / 2.0))
        return found


def log_density(points: np.ndarray, mixture: Mixture) -> np.ndarray:
    """ln p of points (N, D), float64 (N,)."""
    points = points.astype(np.float64)
    dims = points.shape[1]
    parts = np.empty((len(points), len(mixture.weights)))
    for k, (weight, mean, std) in enumerate(zip(*mixture, strict=True)):
        squares = ((points - mean) ** 2).sum(1) / std**2
        parts[:, k] = math.log(weight) - 0.5 * (squares + dims * math.log(2.0 * math.pi * std**2))
    peak = parts.max(1)
    return peak + np.log(np.exp(parts - peak[:, None]).sum(1))


def cell_probabilities(mixture: Mixture, cells: int) -> np.ndarray:
    """The exact probability of each cell of a ``cells``**D grid over [-3, 3]**D and, last, of all that is outside.

    float64 (cells**D + 1,), D being 1 or 2. A component is a product of one-dimensional Gaussians, so a cell's share is
    a product of differences of their distribution functions.
    """
    edges = np.linspace(-REACH, REACH, cells + 1)
    inside = np.zeros((cells,) * mixture.means.shape[1])
    for weight, mean, std in zip(*mixture, strict=True):
        sides = [
            np.diff([0.5 * math.erf((edge - middle) / (std * math.sqrt(2.0))) for edge in edges]) for middle in mean
        ]
        inside += weight * (sides[0] if len(sides) == 1 else np.outer(*sides))
    return np.append(inside.ravel(), max(1.0 - inside.sum(), 0.0))


def cell_shares(points: np.ndarray, cells: int) -> np.ndarray:
    """The share of points (N, D) in each cell, ordered as in :func:`cell_probabilities`; sums to 1."""
    dims = points.shape[1]
    counts, _ = np.histogramdd(points.astype(np.float64), bins=cells, range=[(-REACH, REACH)] * dims)
    return np.append(counts.ravel(), len(points) - counts.sum()) / len(points)


def _entropy(mixture: Mixture) -> Score:
    rng = np.random.default_rng(0)
    chosen = rng.choice(len(mixture.weights), ENTROPY_DRAWS, p=mixture.weights)
    noise = rng.standard_normal((ENTROPY_DRAWS, mixture.means.shape[1]))
    losses = -log_density(mixture.means[chosen] + mixture.stds[chosen, None] * noise, mixture)
    return Score(float(losses.mean()), float(losses.std() / math.sqrt(ENTROPY_DRAWS)))
