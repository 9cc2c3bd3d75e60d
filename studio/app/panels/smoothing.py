"""The exponential mean that live curves are drawn by.

After n values it is the bias-corrected

    s_n = (1 - d) sum_k d^(n - k) x_k / (1 - d^n),   d = 1 - 1 / horizon,

and a mean that stands for several steps counts as so many equal values.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_CHUNK = 256


class Smoother:
    """An exponential mean over about ``horizon`` values, unbiased from the first one on."""

    def __init__(self, horizon: float) -> None:
        self._decay = 1.0 - 1.0 / max(horizon, 2.0)
        self._mean = 0.0
        self.count = 0
        self.value = float("nan")
        """The mean so far; NaN before the first value."""

    def take(self, values: NDArray) -> NDArray[np.float64]:
        """The mean after each of ``values`` (k,), finite; float64 (k,)."""
        parts = [self._take(values[k : k + _CHUNK]) for k in range(0, len(values), _CHUNK)]
        return np.concatenate(parts) if parts else np.zeros(0)

    def take_mean(self, value: float, count: int) -> float:
        """The mean after ``count`` >= 1 values more, which are told by their own mean."""
        kept = self._decay**count
        self._mean = kept * self._mean + (1.0 - kept) * value
        self.count += count
        self.value = self._mean / (1.0 - self._decay**self.count)
        return self.value

    def _take(self, values: NDArray) -> NDArray[np.float64]:
        # In closed form, and in chunks because the powers would overflow over long stretches.
        powers = self._decay ** np.arange(1, len(values) + 1, dtype=np.float64)
        means = powers * (self._mean + (1.0 - self._decay) * np.cumsum(values / powers))
        counts = self.count + np.arange(1, len(values) + 1)
        self._mean, self.count = float(means[-1]), int(counts[-1])
        smooth = means / (1.0 - self._decay**counts)
        self.value = float(smooth[-1])
        return smooth
