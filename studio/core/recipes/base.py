"""The recipe's contract.

A recipe says how to train; its learner does it, one step a call, and owns every network and optimiser involved. The
trainer around it knows nothing of the method: it only feeds batches, keeps the average, and reports.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from studio.core.data.base import Batch
from studio.core.denoisers import NO_CLASS, Denoiser
from studio.core.knobs import Knobbed
from studio.core.levels import Level
from studio.core.networks.base import NetworkSpec
from studio.core.noise import Noise, Stream
from studio.core.optimizers import OptimizerSpec, set_rate
from studio.core.prior import Prior
from studio.core.schedules import NoiseSchedule


@dataclass(frozen=True, kw_only=True)
class DataFacts:
    """What a recipe needs to know of a data set: item shape, classes, mean and spread in the model's range."""

    shape: tuple[int, ...]
    num_classes: int
    mean: float
    std: float


class Learner(abc.ABC):
    """A training under way."""

    denoiser: Denoiser
    """The denoiser being trained; the trainer averages its weights."""
    optimizers: list[torch.optim.Optimizer]
    companion: nn.Module | None = None
    """A second network that training needs and sampling does not, such as a discriminator; None where there is none."""
    prior: Prior | None = None
    """What x_T is drawn from, where that is not N(0, I): set by whoever trains, and fitted before the first step."""

    @abc.abstractmethod
    def step(self, batch: Batch, *, noise: Noise, index: int) -> Mapping[str, Tensor]:
        """One update. ``index`` counts steps and feeds the noise.

        Returns tensors on the device: scalars ``loss`` and ``grad_norm`` and what else a recipe reports, and, where the
        recipe works level by level, ``sample_loss`` (B,) and ``log_snr`` (B,).
        """

    @abc.abstractmethod
    def loss(
        self, denoiser: Denoiser, batch: Batch, *, noise: Noise, index: int, level: Level | None = None
    ) -> Mapping[str, Tensor]:
        """The loss of ``denoiser`` (this one, or its average) on a batch; no class is dropped and nothing updated.

        Where the recipe works level by level, that is where it returns ``sample_loss``, ``level`` (floats) takes the
        place of the levels it would draw for the batch; the noise and the weighting stay the same.
        """

    def set_rates(self, factor: float, index: int) -> None:
        """Set the learning rates of step ``index``: ``factor`` in [0, 1] of the full ones, as the run has it.

        A step without this before it takes the rates of the last one.
        """
        set_rate(self.optimizers, factor)

    def complaint(self, step: int, scalars: Mapping[str, float]) -> str | None:
        """What has gone wrong and what to do, in plain words, judged by what :meth:`step` measured up to ``step``."""
        return None


def hide_labels(labels: Tensor | None, share: float, noise: Noise, index: int) -> Tensor | None:
    """Labels (B,) with a ``share`` of them, drawn for step ``index``, set to "no class"; None stays."""
    if labels is None or share == 0.0:
        return labels
    return torch.where(noise.uniform(index, Stream.DROP) < share, NO_CLASS, labels)


class Recipe(Knobbed, abc.ABC):
    """A frozen dataclass of knobs that describes a way to train."""

    title: str
    family: str
    """The method's name as the library shows it."""

    @property
    @abc.abstractmethod
    def schedule(self) -> NoiseSchedule:
        """The training schedule, whose levels samplers visit by default."""

    @property
    def latent_size(self) -> int:
        """How many numbers of a latent z its networks take; 0 for none."""
        return 0

    @property
    def latent_share(self) -> float:
        """How much an untaught latent counts in a network that knows the rest already, in [0, 1]."""
        return 1.0

    @property
    def prior_components(self) -> int:
        """Of how many normal distributions in each class the prior of x_T is made; 0 for N(0, I)."""
        return 0

    @property
    def own_steps(self) -> int | None:
        """How many steps its models were made for, where those are all they know; None where any number will do."""
        return None

    @property
    def is_direct(self) -> bool:
        """Whether its models say the next x, not x0: DDIM with eta = 0 over their own steps samples them."""
        return False

    @property
    def warm_steps(self) -> int:
        """How many steps at the beginning are of another kind than the rest; the run's fall of rates begins after."""
        return 0

    def for_trained_weights(self) -> Recipe:
        """The same recipe for a training that starts from weights it has made: without what those need no more."""
        return self

    def spans(self, steps: int) -> list[tuple[int, int]]:
        """(first, count) of each row of steps of one kind, all of which cost alike, in a run of so many."""
        return [(0, steps)]

    @property
    def chance(self) -> Mapping[str, float]:
        """What losses that its learner reports are while its players can only guess; empty where nobody plays."""
        return {}

    @abc.abstractmethod
    def denoiser(self, network: NetworkSpec, data: DataFacts) -> Denoiser:
        """The denoiser with fresh weights, as a checkpoint rebuilds it."""

    @abc.abstractmethod
    def learner(
        self, network: NetworkSpec, optimizer: OptimizerSpec, data: DataFacts, *, seed: int, device: torch.device
    ) -> Learner:
        """Fresh weights drawn from ``seed``, and their optimisers."""
