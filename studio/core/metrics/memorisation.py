"""Memorisation: how near each sample comes to an item of the training set, against how near new real items come."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from studio.core.metrics.base import Evidence, Metric, Quantity, Reference, Score, fixed_rows, take_block
from studio.core.registry import register

TYPICAL_ITEMS = 1_000
_TRAIN_ROWS = 4_096
_ITEM_ROWS = 1_024


@register("metric", "memorisation")
@dataclass(frozen=True, kw_only=True)
class Memorisation(Metric):
    """Share of samples that are nearer to a training item than 99 % of real test items are.

    Images are compared by the root mean square of pixel differences in [-1, 1], points by Euclidean distance. The 1 %
    point is taken from 1,000 test items (half of the test set where that is less); the floor is of other test items, so
    it lies about 1 %. Simple samples, such as a digit one, come near by chance: look at the pairs before speaking of
    copies. A share of 1 % of 1,000 samples is ten of them, known to a third: below that, only a flood of copies shows.
    """

    title = "Memorisation"
    kinds = ("image", "points")
    quantities = (
        Quantity(
            "copied",
            "Near copies",
            "lower",
            ".1%",
            "Share of samples nearer to a training item than 99 % of real test items are. About 1 % is chance.",
        ),
        Quantity(
            "nearest", "Nearest item", "neither", ".4f", "Median distance of samples to the nearest training item."
        ),
    )
    fewest = 1
    advised = 1_000

    def measure(self, samples: Evidence, reference: Reference) -> Mapping[str, Score]:
        _, distances = nearest(samples.items, reference.train.items)
        copied = float((distances < typical_distances(reference)[0]).mean())
        error = float(np.sqrt(copied * (1.0 - copied) / len(samples)))
        return {"copied": Score(copied, error), "nearest": Score(float(np.median(distances)))}

    def real(self, reference: Reference, count: int, draw: int, labels: np.ndarray | None = None) -> Evidence:
        """Test items, since training items would all be copies; none of those behind :func:`typical_distances`."""
        others = np.setdiff1d(np.arange(len(reference.test)), _typical_rows(reference))
        return take_block(reference.test.take(others), count, draw, labels)


def typical_distances(reference: Reference) -> np.ndarray:
    """The 1 %, 50 % and 99 % points of the distances of real test items to the nearest training item, float64 (3,)."""

    def work_out() -> np.ndarray:
        _, distances = nearest(reference.test.items[_typical_rows(reference)], reference.train.items)
        return np.quantile(distances, (0.01, 0.5, 0.99))

    return reference.once("memorisation: typical distances", work_out)


def nearest(items: np.ndarray, train_items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The nearest training item of each item: indices, int64 (N,), and distances, float64 (N,).

    uint8 images (N, C, H, W) and (M, C, H, W): root mean square pixel difference in the model's range, in [0, 2].
    Points (N, D) and (M, D): Euclidean. The distance of an exact copy is 0.
    """
    # Images have hundreds of numbers each and few near ties: float32 finds the neighbour in half the time. Points lie
    # too dense for it. The distance is computed from the pair that was found, free of the search's rounding.
    precision: type[np.floating] = np.float32 if items.dtype == np.uint8 else np.float64
    flat, flat_train = items.reshape(len(items), -1), train_items.reshape(len(train_items), -1)
    doubled = -2.0 * flat.astype(precision)
    best, indices = np.full(len(flat), np.inf, precision), np.zeros(len(flat), np.int64)
    for start in range(0, len(flat_train), _TRAIN_ROWS):
        part = flat_train[start : start + _TRAIN_ROWS].astype(precision)
        norms = np.einsum("ij,ij->i", part, part)
        for low in range(0, len(flat), _ITEM_ROWS):
            rows = slice(low, min(low + _ITEM_ROWS, len(flat)))
            table = doubled[rows] @ part.T  # |a - b|**2 without |a|**2, which does not change which b is nearest
            table += norms
            found = table.argmin(1)
            value = table[np.arange(len(found)), found]
            nearer = value < best[rows]
            best[rows] = np.where(nearer, value, best[rows])
            indices[rows] = np.where(nearer, start + found, indices[rows])
    return indices, _distances(flat, flat_train[indices])


def _distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Row by row between (N, F) and (N, F), float64 (N,)."""
    squares = (a.astype(np.float64) - b.astype(np.float64)) ** 2
    return np.sqrt(squares.mean(1)) / 127.5 if a.dtype == np.uint8 else np.sqrt(squares.sum(1))


def _typical_rows(reference: Reference) -> np.ndarray:
    total = len(reference.test)
    return fixed_rows(total, min(TYPICAL_ITEMS, total // 2))
