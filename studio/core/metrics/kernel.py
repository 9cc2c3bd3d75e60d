"""Kernel distance: MMD**2 = E k(x, x') + E k(y, y') - 2 E k(x, y),  k(x, y) = (x.y / F + 1)**3  (arXiv 1801.01401)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from studio.core.knobs import knob
from studio.core.metrics.base import Evidence, Metric, Quantity, Reference, Score
from studio.core.metrics.distances import row_blocks
from studio.core.registry import register

FACTOR = 1_000.0


@register("metric", "kd")
@dataclass(frozen=True, kw_only=True)
class KernelDistance(Metric):
    """Squared maximum mean discrepancy of features under a cubic kernel, unbiased: real items give 0 on average.

    The paper averages over random subsets of both sets. Here the value is of all pairs of the samples and of the whole
    reference, which has the same expectation and less noise; subsets of the samples give its standard error alone. Let
    V be the variance of the estimate between subsets of m of the N samples: the error is sqrt(m / (N - m) V), the
    delete-d jackknife (Shao and Wu 1989), which for halves is the spread of the halves. It tells what N other samples
    of the same model would change.

    Its expectation does not depend on N, only its noise does; it may come out slightly negative. With fewer than 100
    samples (``fewest``) subsets have fewer than 50, too few to tell an error; 1,000 fill subsets of 500.
    """

    subsets: int = knob(50, low=2, high=1_000, help="How many subsets of the samples give the standard error.")
    subset_size: int = knob(
        1_000, low=10, high=10_000, help="How many samples a subset has; at most half of the samples are taken."
    )

    title = "Kernel distance"
    kinds = ("image",)
    quantities = (
        Quantity(
            "kd",
            "KD ×10³",
            "lower",
            ".3f",
            "Kernel distance of features to the test images, times 1,000. Unbiased: 0 is perfect, below 0 is chance.",
        ),
    )
    fewest = 100
    advised = 1_000

    def measure(self, samples: Evidence, reference: Reference) -> Mapping[str, Score]:
        assert samples.features is not None
        assert reference.test.features is not None
        x, y = samples.features, reference.test.features
        within_real = reference.once("kd: kernel within the test items", lambda: _mean_within(y))
        across = _mean_rows(x, y)
        value = _mean_within(x) + within_real - 2.0 * across.mean()

        rng = np.random.default_rng(0)
        size = min(self.subset_size, len(x) // 2)
        chosen = (rng.choice(len(x), size, replace=False) for _ in range(self.subsets))
        spread = np.var([_mean_within(x[rows]) - 2.0 * across[rows].mean() for rows in chosen], ddof=1)
        error = float(np.sqrt(size / (len(x) - size) * spread))
        return {"kd": Score(FACTOR * float(value), FACTOR * error)}


def kernel_distance(x: np.ndarray, y: np.ndarray) -> float:
    """Unbiased MMD**2 of features (N, F) and (M, F), N and M at least 2; plain, without the factor of 1,000."""
    return _mean_within(x) + _mean_within(y) - 2.0 * float(_mean_rows(x, y).mean())


def _kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    base = x @ y.T
    base /= x.shape[1]
    base += 1.0
    return base * base * base  # several times faster than a power of 3


def _mean_rows(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The mean of k(x_i, y_j) over j, (N,)."""
    return np.concatenate([_kernel(x[rows], y).mean(1) for rows in row_blocks(len(x), len(y))])


def _mean_within(x: np.ndarray) -> float:
    """The mean of k(x_i, x_j) over the pairs i != j."""
    count = len(x)
    own = (np.einsum("ij,ij->i", x, x) / x.shape[1] + 1.0) ** 3
    return float((count * _mean_rows(x, x).sum() - own.sum()) / (count * (count - 1)))
