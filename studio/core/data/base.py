"""Data sets whole in memory, and batches as a pure function of the step.

Images are kept as uint8 and reach the model as ``x0 = pixel / 127.5 - 1``, in [-1, 1]. Step n of a training sees the
items n B ... n B + B - 1 of an endless row of shuffled epochs; each epoch's order is drawn from (seed, epoch) alone.
"""

from __future__ import annotations

import abc
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, NamedTuple

import numpy as np

from studio.core.knobs import Knobbed
from studio.core.registry import name_of

if TYPE_CHECKING:  # the window lists data sets before torch is loaded
    import torch
    from torch import Tensor

Kind = Literal["image", "points"]
Split = Literal["train", "test"]

_STATISTICS_ITEMS = 5_000


class Mixture(NamedTuple):
    """The density sum_k weights[k] N(x; means[k], stds[k]**2 I).

    float64 arrays: ``weights`` (K,), which sum to 1, ``means`` (K, D) and ``stds`` (K,).
    """

    weights: np.ndarray
    means: np.ndarray
    stds: np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """A data set in memory, its arrays read-only because every caller shares them.

    ``train`` and ``test`` are uint8 (N, C, H, W) for images and float32 (N, D) for points; labels are int64 (N,) in
    [0, num_classes) or None. ``mixture`` is the exact distribution of points, where there is one.
    """

    name: str
    title: str
    kind: Kind
    train: np.ndarray
    train_labels: np.ndarray | None
    test: np.ndarray
    test_labels: np.ndarray | None
    class_names: tuple[str, ...] = ()
    licence: str
    source: str
    mixture: Mixture | None = None

    def __post_init__(self) -> None:
        for array in (self.train, self.train_labels, self.test, self.test_labels):
            if array is not None:
                array.flags.writeable = False

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one item: (C, H, W) or (D,)."""
        return self.train.shape[1:]

    @property
    def num_classes(self) -> int:
        """The number of classes; 0 where there are no labels."""
        return len(self.class_names)

    @functools.cached_property
    def _mean_and_std(self) -> tuple[float, float]:
        # A random subset is within 0.5 % of the whole set, in milliseconds and without a float copy of it. Not a
        # strided one: MNIST alternates between two groups of writers, and an even stride would see only one of them.
        count = min(_STATISTICS_ITEMS, len(self.train))
        items = self.train[np.random.default_rng(0).choice(len(self.train), count, replace=False)]
        mean, std = float(items.mean(dtype=np.float64)), float(items.std(dtype=np.float64))
        return (mean / 127.5 - 1.0, std / 127.5) if self.kind == "image" else (mean, std)

    @property
    def mean(self) -> float:
        """The mean over items, channels and pixels, in the model's range; from some 5,000 training items."""
        return self._mean_and_std[0]

    @property
    def std(self) -> float:
        """The standard deviation over items, channels and pixels, in the model's range; EDM's sigma_data."""
        return self._mean_and_std[1]

    @property
    def summary(self) -> str:
        """One line for the person: ``60,000 images · 28×28 · grey · 10 classes``."""
        if self.kind == "image":
            channels, height, width = self.shape
            colour = {1: "grey", 3: "colour"}.get(channels, f"{channels} channels")
            facts = [f"{len(self.train):,} images", f"{width}×{height}", colour]
        else:
            facts = [f"{len(self.train):,} points", f"{self.shape[0]}-D"]
        if self.num_classes:
            facts.append(f"{self.num_classes} classes" if self.num_classes > 1 else "1 class")
        return " · ".join(facts)


class DatasetSpec(Knobbed, abc.ABC):
    """What names a data set: a frozen, keyword-only dataclass of knobs under ``@register("dataset", name)``."""

    title: ClassVar[str]
    kind: ClassVar[Kind]

    @property
    def name(self) -> str:
        """The name it was registered under."""
        return name_of("dataset", type(self))

    def load(self) -> Dataset:
        """The data set; equal specs share one copy. Raises ValueError, saying what to do, where it is not found."""
        return _load(self)

    def available(self) -> bool:
        """Whether :meth:`load` would find the data; looks at names only, so that a list can be drawn at once."""
        return True

    @abc.abstractmethod
    def read(self) -> Dataset:
        """Read or make the data set anew; :meth:`load` keeps what this returns."""


@functools.lru_cache(maxsize=4)
def _load(spec: DatasetSpec) -> Dataset:
    return spec.read()


@dataclass(frozen=True, eq=False)
class Batch:
    """``x0`` float32 (B, C, H, W) in [-1, 1] or (B, D); ``labels`` int64 (B,) or None, both on the device.

    ``indices`` int64 (B,) stay on the host: where in the split each item lies.
    """

    x0: Tensor
    labels: Tensor | None
    indices: np.ndarray


class Batches:
    """Batches of a split by step number; any step can be asked for at any time and is always full.

    Raises ValueError for a batch size below 1 or an empty split. A batch that reaches the end of an epoch goes on in
    the next one, so a batch size above the number of items is possible too.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        seed: int = 0,
        device: torch.device | str = "cpu",
        split: Split = "train",
    ) -> None:
        import torch

        if batch_size < 1:
            raise ValueError(f"batch_size = {batch_size} is not possible: it takes a whole number of at least 1.")
        self.dataset = dataset
        self.batch_size = batch_size
        self.seed = seed
        self.device = torch.device(device)
        self.split = split
        self._items, self._labels = _split(dataset, split)
        if not len(self._items):
            raise ValueError(f"{dataset.title} has no {split} items. Choose another data set.")
        self._order: tuple[int, np.ndarray] = (-1, np.zeros(0, np.int64))

    def at(self, step: int) -> Batch:
        """The batch of training step ``step`` >= 0, a function of (seed, step) alone."""
        return self._take(self._items, self._labels, self.indices(step))

    def indices(self, step: int) -> np.ndarray:
        """Which items step ``step`` sees: int64 (B,)."""
        epoch, offset = divmod(step * self.batch_size, len(self._items))
        parts: list[np.ndarray] = []
        missing = self.batch_size
        while missing:
            parts.append(self._epoch(epoch)[offset : offset + missing])
            missing -= len(parts[-1])
            epoch, offset = epoch + 1, 0
        return np.concatenate(parts)

    def held_out(self, count: int) -> Batch:
        """The same ``count`` test items each time, evenly strided over the split; all of them if it has fewer."""
        items, labels = _split(self.dataset, "test")
        count = min(count, len(items))
        return self._take(items, labels, np.arange(count, dtype=np.int64) * len(items) // max(count, 1))

    def _epoch(self, epoch: int) -> np.ndarray:
        if self._order[0] != epoch:
            items = np.arange(len(self._items), dtype=np.int64)
            self._order = (epoch, np.random.default_rng((self.seed, epoch)).permutation(items))
        return self._order[1]

    def _take(self, items: np.ndarray, labels: np.ndarray | None, indices: np.ndarray) -> Batch:
        x0 = self._send(items[indices])
        if self.dataset.kind == "image":  # converted on the device: a quarter of the bytes cross
            x0 = x0.float().div_(127.5).sub_(1.0)
        return Batch(x0, None if labels is None else self._send(labels[indices]), indices)

    def _send(self, array: np.ndarray) -> Tensor:
        import torch

        tensor = torch.from_numpy(array)
        if self.device.type == "cuda":
            # torch keeps a pinned block until the copy that reads it is done, so returning at once is safe.
            return tensor.pin_memory().to(self.device, non_blocking=True)
        return tensor.to(self.device)


def _split(dataset: Dataset, split: Split) -> tuple[np.ndarray, np.ndarray | None]:
    return (dataset.train, dataset.train_labels) if split == "train" else (dataset.test, dataset.test_labels)
