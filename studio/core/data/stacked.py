"""Stacked MNIST: three random digits as the red, green and blue of one picture, which makes 1,000 modes abc.

The experiment counts how many of the modes a model finds (arXiv 1611.02163): the mode of a picture is
100 a + 10 b + c of its digits, red first, as MNIST's classifier names them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from studio.core.data.base import Dataset, DatasetSpec
from studio.core.data.images import MNIST
from studio.core.registry import register

DIGITS = 3
NUM_TRAIN = 30_000
NUM_TEST = 10_000


@register("dataset", "stacked_mnist")
@dataclass(frozen=True, kw_only=True)
class StackedMNIST(DatasetSpec):
    """40,000 triples of MNIST digits, always the same ones; test triples hold test digits only.

    There are no labels: the experiment asks what a model finds untold, and most of the 1,000 classes would have some
    thirty pictures each.
    """

    title = "Stacked MNIST"
    kind = "image"

    def available(self) -> bool:
        return MNIST().available()

    def read(self) -> Dataset:
        digits = MNIST().load()
        rng = np.random.default_rng(0)
        return Dataset(
            name=self.name,
            title=self.title,
            kind="image",
            train=_stack(digits.train, rng.integers(len(digits.train), size=(NUM_TRAIN, DIGITS))),
            train_labels=None,
            test=_stack(digits.test, rng.integers(len(digits.test), size=(NUM_TEST, DIGITS))),
            test_labels=None,
            licence=digits.licence,
            source=f"{digits.source}; stacked in threes",
        )


def _stack(images: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """uint8 (N, 3, H, W) of grey images (M, 1, H, W) by rows (N, 3)."""
    return images[rows, 0]


def mode_of(digits: np.ndarray) -> np.ndarray:
    """int64 (N,): 100 a + 10 b + c of digits (N, 3)."""
    return digits.astype(np.int64) @ np.array([100, 10, 1], np.int64)
