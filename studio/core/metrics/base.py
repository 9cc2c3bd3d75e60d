"""The contract of a measure, and what it looks at.

A measure is a number m(samples, reference). Its **floor** is m(real items, reference), with as many real items of the
same classes that the reference does not hold: what a perfect model would score. A number means nothing without the
feature network that it was computed on, the number of samples and that floor, so these travel together.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NamedTuple, TypeVar

import numpy as np

from studio.core.data.base import Kind, Mixture
from studio.core.knobs import Knobbed

FLOOR_DRAWS = 5

T = TypeVar("T")


class Quantity(NamedTuple):
    """One number that a measure gives: its key, how it is written, and which way is better."""

    name: str
    title: str
    better: Literal["lower", "higher", "neither"]
    style: str = ".3f"
    help: str = ""


class Score(NamedTuple):
    """A measured number and, where the measure knows it, its standard error."""

    value: float
    error: float | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Evidence:
    """Items and what is known of them; all arrays have N rows.

    ``items`` are uint8 images (N, C, H, W) or float32 points (N, D). ``labels`` are the classes that were asked for,
    int64 (N,), or None. Images also have float64 ``features`` (N, F), ``probabilities`` (N, K) of the network's
    classes, and ``modes`` int64 (N,), the mode of the data that each belongs to; points have none of them.
    Raises ValueError where rows do not match or a number is not finite.
    """

    items: np.ndarray
    labels: np.ndarray | None = None
    features: np.ndarray | None = None
    probabilities: np.ndarray | None = None
    modes: np.ndarray | None = None

    def __post_init__(self) -> None:
        for name in ("labels", "features", "probabilities", "modes"):
            array = getattr(self, name)
            if array is not None and len(array) != len(self.items):
                raise ValueError(f"{len(array):,} {name} do not belong to {len(self.items):,} items.")
        for name in ("items", "features", "probabilities"):
            array = getattr(self, name)
            if array is not None and array.dtype.kind == "f" and not np.isfinite(array).all():
                rows = int((~np.isfinite(array.reshape(len(array), -1)).all(1)).sum())
                raise ValueError(
                    f"{rows:,} of {len(array):,} samples hold no numbers (NaN or infinite) in their {name}. "
                    "The model or the sampler broke down: take more steps, or another checkpoint."
                )

    def __len__(self) -> int:
        return len(self.items)

    def take(self, rows: np.ndarray) -> Evidence:
        """The same evidence of some rows (M,)."""

        def some(array: np.ndarray | None) -> np.ndarray | None:
            return None if array is None else array[rows]

        return Evidence(
            items=self.items[rows],
            labels=some(self.labels),
            features=some(self.features),
            probabilities=some(self.probabilities),
            modes=some(self.modes),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class Reference:
    """The real items: ``test`` is what samples are compared with, ``train`` what the model learned from.

    ``train`` has items and labels alone; ``look`` lets the feature network see some of them, since seeing all would
    take minutes for the few that are needed. ``network`` names the feature network, "" for points, which need no look.
    """

    data: str
    kind: Kind
    network: str
    num_modes: int
    test: Evidence
    train: Evidence
    look: Callable[[Evidence], Evidence]
    mixture: Mixture | None = None
    _known: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    def once(self, name: str, work_out: Callable[[], T]) -> T:
        """What ``work_out`` gives, kept under ``name``: for what follows from the reference alone, whatever samples."""
        if name not in self._known:
            self._known[name] = work_out()
        return self._known[name]

    def forget(self, start: str) -> None:
        """Let go of what is kept under names that begin with ``start``."""
        for name in [name for name in self._known if name.startswith(start)]:
            del self._known[name]


class Metric(Knobbed, abc.ABC):
    """A measure: a frozen, keyword-only dataclass of knobs under ``@register("metric", name)``.

    ``fewest`` samples make it defined: fewer are refused. Below ``advised`` it is biased or noisy, and that is said. A
    measure that takes more of them for wider features or more modes says so in :meth:`fewest_for`, :meth:`advised_for`.
    """

    title: ClassVar[str]
    kinds: ClassVar[tuple[Kind, ...]]
    quantities: ClassVar[tuple[Quantity, ...]]
    fewest: ClassVar[int] = 2
    advised: ClassVar[int] = 1000

    @abc.abstractmethod
    def measure(self, samples: Evidence, reference: Reference) -> Mapping[str, Score]:
        """The quantities by name. ``samples`` are at least ``fewest`` and of the reference's kind."""

    def applies(self, reference: Reference) -> bool:
        """Whether the reference has what the measure needs."""
        return reference.kind in self.kinds

    def fewest_for(self, reference: Reference) -> int:
        """The fewest samples that can be compared with ``reference``."""
        return self.fewest

    def advised_for(self, reference: Reference) -> int:
        """The fewest that can be trusted."""
        return self.advised

    def real(self, reference: Reference, count: int, draw: int, labels: np.ndarray | None = None) -> Evidence:
        """``count`` real items in place of samples, the ``draw``-th of a fixed series without repetition.

        With ``labels`` (count,) they are of these classes, where the data has classes.
        """
        return reference.once(
            f"real {_mark(count, labels)} {draw}",
            lambda: reference.look(take_block(reference.train, count, draw, labels)),
        )


def _mark(count: int, labels: np.ndarray | None) -> str:
    return f"{count} {'any' if labels is None else np.bincount(labels).tolist()}"


def fixed_rows(total: int, count: int) -> np.ndarray:
    """``count`` of ``total`` rows, random but always the same, ascending; all of them where there are fewer."""
    return np.sort(np.random.default_rng(0).permutation(total)[:count])


def take_block(pool: Evidence, count: int, draw: int, labels: np.ndarray | None = None) -> Evidence:
    """Row block ``draw`` of one fixed shuffle of ``pool``; wraps around where the pool is used up.

    With ``labels`` (count,) the rows have these classes, as far as the pool knows any; the block is of each class.
    """
    order = np.random.default_rng(0).permutation(len(pool))
    if labels is None or pool.labels is None:
        return pool.take(order[np.arange(draw * count, (draw + 1) * count) % len(pool)])
    rows = np.empty(count, np.int64)
    for label in np.unique(labels):
        places, there = np.flatnonzero(labels == label), order[pool.labels[order] == label]
        rows[places] = there[np.arange(draw * len(places), (draw + 1) * len(places)) % len(there)]
    return pool.take(rows)


def measure(metric: Metric, samples: Evidence, reference: Reference) -> Mapping[str, Score]:
    """What ``metric`` says of ``samples``. Raises ValueError in plain words where it cannot be computed."""
    if not metric.applies(reference):
        raise ValueError(f"{metric.title} does not apply to {reference.data}.")
    if len(samples) < (fewest := metric.fewest_for(reference)):
        raise ValueError(f"{metric.title} needs at least {fewest:,} samples; there are {len(samples):,}. Sample more.")
    if samples.items.shape[1:] != reference.test.items.shape[1:]:
        raise ValueError(
            f"Samples of shape {samples.items.shape[1:]} cannot be compared with {reference.data}, "
            f"whose items have shape {reference.test.items.shape[1:]}."
        )
    for name in ("features", "probabilities"):
        ours, theirs = getattr(samples, name), getattr(reference.test, name)
        if (None if ours is None else ours.shape[1:]) != (None if theirs is None else theirs.shape[1:]):
            raise ValueError(
                f"The samples' {name} were not made by {reference.network or 'the reference'}, which judged "
                f"{reference.data}. Judge them with the same feature network."
            )
    return metric.measure(samples, reference)


def floor(
    metric: Metric, reference: Reference, count: int, labels: np.ndarray | None = None, draws: int = FLOOR_DRAWS
) -> dict[str, Score]:
    """What ``count`` real items score: mean and spread (standard deviation) over ``draws`` of them; worked out once.

    With ``labels`` (count,) they come in the classes of the samples: 100 of each class vary less than any 1,000.
    """
    found = [floor_draw(metric, reference, count, draw, labels) for draw in range(draws)]
    values = {name: [each[name].value for each in found] for name in found[0]}
    return {name: Score(float(np.mean(each)), float(np.std(each, ddof=1))) for name, each in values.items()}


def floor_draw(
    metric: Metric, reference: Reference, count: int, draw: int, labels: np.ndarray | None = None
) -> Mapping[str, Score]:
    """One of the draws of :func:`floor`, for whoever must look around in between."""
    return reference.once(
        f"floor {metric!r} {_mark(count, labels)} {draw}",
        lambda: measure(metric, metric.real(reference, count, draw, labels), reference),
    )


def warning(metric: Metric, count: int, reference: Reference | None = None) -> str:
    """What to say where ``count`` samples are too few to trust; "" where they are enough."""
    advised = metric.advised if reference is None else metric.advised_for(reference)
    if count >= advised:
        return ""
    return f"{metric.title}: {count:,} samples are few; below {advised:,} it is biased or noisy."
