"""What a model in training is worth: a measure of a few samples of its averaged weights, from the same noise each time.

Images are scored by the Frechet distance of features, points by the sliced Wasserstein distance; beside the score
stands its floor, the same measure of as many real items.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Protocol

import numpy as np
import torch

from studio.core import events, features
from studio.core.checkpoints.header import score_key
from studio.core.data.base import Dataset
from studio.core.metrics.base import Metric, Reference, floor, measure
from studio.core.registry import find
from studio.core.sampling import SampleSpec, Subject, asked_of, drawn

SEED = 0
_BATCH = 64


def metric_for(dataset: Dataset) -> Metric:
    """The measure that judges samples of this kind of data where one number must do."""
    return find("metric", {"image": "fd", "points": "sliced_wasserstein"}[dataset.kind])()


class Interruptible(Protocol):
    """Who may end a measurement early."""

    @property
    def stopping(self) -> bool:
        """End now."""

    @property
    def paused(self) -> bool:
        """End now too: the measurement is made anew later."""


class Scorer:
    """Scores ``count`` samples of a model of ``dataset``. The real items are read when the first score is due."""

    def __init__(self, dataset: Dataset, count: int, device: torch.device) -> None:
        self.dataset, self.count, self.device = dataset, count, device
        self.metric = metric_for(dataset)
        self._real: tuple[Reference, dict[str, float]] | None = None

    def run(self, subject: Subject, step: int, control: Interruptible) -> Iterator[events.Event | None]:
        """Yields between sampling steps, at last a ``Quality``; ends without one when interrupted.

        Raises ValueError in plain words for data that no feature network knows, and for samples that are no numbers.
        """
        if self._real is None:
            yield events.Status(text=f"Looking at all of {self.dataset.title} once, for scores")
            reference = features.reference_for(self.dataset)
            real = floor(self.metric, reference, self.count)
            self._real = reference, {name: score.value for name, score in real.items()}
        reference, real_scores = self._real
        parts, size = [], _BATCH if subject.is_image else self.count
        spec = self.spec_for(subject)
        for part in drawn(subject, spec, self.device, size):
            if part is not None:
                parts.append(part)
                continue
            if control.stopping or control.paused:
                return
            yield None
        evidence = features.judge(np.concatenate(parts), asked_of(subject, spec.knobs), self.dataset)
        found = measure(self.metric, evidence, reference)
        yield events.Quality(
            step=step,
            scores={name: score.value for name, score in found.items()},
            floor=real_scores,
            network=reference.network,
            count=self.count,
            caption=f"EMA · seed {SEED} · {spec.title}",
        )

    def spec_for(self, subject: Subject) -> SampleSpec:
        """How the samples are drawn: the model's own way, without guidance."""
        return subject.own.at(count=self.count, seed=SEED, guidance=0.0)

    def keys(self, quality: events.Quality, subject: Subject) -> Mapping[str, float]:
        """The scores as a checkpoint's description keeps them."""
        titles = {quantity.name: quantity.title for quantity in self.metric.quantities}
        return {
            score_key(titles[name], quality.network, quality.count, self.spec_for(subject).title): value
            for name, value in quality.scores.items()
        }
