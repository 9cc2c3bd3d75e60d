"""The network's contract: a description made of knobs, and the module it builds.

A module maps ``(x, log_snr, cond)`` to a raw output of x's shape; the level reaches it only as log-SNR, so it serves
every schedule. ``cond`` is (B,) int64 with -1 for "no class", or None. Any network can be built with a latent: it then
takes z as well, which makes of one x many outputs.
"""

from __future__ import annotations

import abc
import contextlib
import threading
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from studio.core.knobs import Knobbed


class Network(nn.Module, abc.ABC):
    """A trainable map from (x, log-SNR, class) and perhaps a latent to x's shape."""

    @abc.abstractmethod
    def forward(self, x: Tensor, log_snr: Tensor, cond: Tensor | None = None, z: Tensor | None = None) -> Tensor:
        """x (B, ...), log_snr (B,), cond (B,) or None, z (B, latent) where it was built with one -> (B, ...)."""

    @abc.abstractmethod
    def hidden_matrices(self) -> list[nn.Parameter]:
        """The weights between hidden layers: those that Muon may orthogonalise (not inputs, outputs, embeddings)."""


class NetworkSpec(Knobbed, abc.ABC):
    """A frozen dataclass of knobs that describes a network."""

    title: str
    kind: str
    """Which data it takes: "image" or "points"."""

    @abc.abstractmethod
    def build(self, shape: tuple[int, ...], num_classes: int, latent: int = 0) -> Network:
        """The module for items of ``shape``, (C, H, W) or (D,), with a latent of so many numbers.

        ``num_classes`` 0 means no class input, ``latent`` 0 no z.
        """

    @abc.abstractmethod
    def count(self, shape: tuple[int, ...], num_classes: int, latent: int = 0) -> int:
        """How many numbers that module learns, without building it: a wrong setting may ask for any size."""


_building = threading.Lock()


@contextlib.contextmanager
def fresh_weights(seed: int) -> Iterator[None]:
    """Within it, new modules draw their weights from ``seed`` alone.

    torch's initialisers know only the global generator, so one thread at a time may build, and the generator is given
    back as it was.
    """
    with _building:
        before = torch.get_rng_state()
        try:
            torch.default_generator.manual_seed(seed)
            yield
        finally:
            torch.set_rng_state(before)


def num_parameters(network: nn.Module) -> int:
    """How many numbers the network learns."""
    return sum(parameter.numel() for parameter in network.parameters())
