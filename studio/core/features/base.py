"""The contract of a feature network: uint8 images in, what it says of each of them out.

    activations = network(images),   evidence = read(activations)

Activations are what a pass through the network gives, a plain float32 table (N, A) that a cache can keep; features,
probabilities and modes follow from them without the network.
"""

from __future__ import annotations

import abc
import copy
import functools
import hashlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from studio.core.metrics.base import Evidence


class Findings(NamedTuple):
    """What activations mean: features float64 (N, F), class probabilities (N, K) and modes int64 (N,), or None."""

    features: np.ndarray
    probabilities: np.ndarray | None
    modes: np.ndarray | None


class FeatureNetwork(nn.Module, abc.ABC):
    """Looks at images (N, C, H, W).

    ``name`` names files, ``title`` is for the person; both hold the version. ``data`` is the registered data set that
    it was made for and ``accuracy`` its share of right answers on that set's test images in [0, 1]; "" and None where
    it serves any data. ``num_classes`` is the number of probabilities and ``num_modes`` that of modes, 0 without.
    """

    name: str
    title: str
    data: str = ""
    accuracy: float | None = None
    num_classes: int = 0
    num_modes: int = 0
    chunk: int = 500
    """How many images pass at a time."""

    @abc.abstractmethod
    def forward(self, images: Tensor) -> Tensor:
        """uint8 images (B, C, H, W) -> float32 activations (B, A)."""

    @abc.abstractmethod
    def read(self, activations: np.ndarray) -> Findings:
        """What float32 activations (N, A) say."""

    @abc.abstractmethod
    def takes(self, shape: tuple[int, ...]) -> str:
        """ "" where images of ``shape`` (C, H, W) can be judged, else which images can: "grey images of 28×28"."""

    def judge(
        self, items: np.ndarray, labels: np.ndarray | None = None, device: torch.device | str = "cpu"
    ) -> Evidence:
        """What the network says of uint8 images (N, C, H, W), whose classes were meant to be ``labels`` (N,).

        The network itself stays on its device; another one gets a copy. Raises ValueError for points, other shapes,
        floating-point arrays and for none at all.
        """
        self.check(items)
        return self.evidence(items, labels, self.activations(items, device))

    def evidence(self, items: np.ndarray, labels: np.ndarray | None, activations: np.ndarray) -> Evidence:
        """The evidence of images whose activations (N, A) are known."""
        found = self.read(activations)
        return Evidence(
            items=items,
            labels=labels,
            features=found.features,
            probabilities=found.probabilities,
            modes=found.modes,
        )

    def check(self, items: np.ndarray) -> None:
        """Raise ValueError unless these are images for this network."""
        if items.ndim != 4:
            raise ValueError(
                f"{self.title} judges images (N, C, H, W); these items have shape {items.shape}. "
                "Points are measured without a feature network."
            )
        if not len(items):
            raise ValueError(f"{self.title} has no images to judge. Sample some first.")
        if items.dtype.kind == "f" and not np.isfinite(items).all():
            raise ValueError(
                "Some samples hold no numbers (NaN or infinite), so they cannot be judged. "
                "The model or the sampler broke down: take more steps, or another checkpoint."
            )
        if items.dtype != np.uint8:
            raise ValueError(
                f"{self.title} judges images of whole numbers from 0 to 255 (uint8); these are {items.dtype}. "
                "Convert them with to_uint8 first."
            )
        if allowed := self.takes(items.shape[1:]):
            channels, height, width = items.shape[1:]
            raise ValueError(
                f"{self.title} judges {allowed}; these have {channels} channel{'s' * (channels != 1)} "
                f"of {width}×{height}."
            )

    def activations(self, items: np.ndarray, device: torch.device | str = "cpu") -> np.ndarray:
        """float32 (N, A) of checked images."""
        return np.concatenate(list(self.passes(items, device)))

    def passes(self, items: np.ndarray, device: torch.device | str = "cpu") -> Iterator[np.ndarray]:
        """The activations of checked images, a chunk at a time, so that a caller can stop between two."""
        device = torch.device(device)
        network = _on(self, device)
        for begin in range(0, len(items), self.chunk):
            # Copied: torch takes no read-only memory, which is what data sets hand out.
            part = torch.from_numpy(items[begin : begin + self.chunk].copy())
            with torch.inference_mode():
                found = network(part.to(device)).float().cpu().numpy()
            yield found

    @functools.cached_property
    def fingerprint(self) -> str:
        """Of the title and every weight, in hexadecimal."""
        digest = hashlib.sha256(self.title.encode())
        for name, value in sorted(self.state_dict().items()):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            digest.update(value.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()


@functools.lru_cache(maxsize=4)
def _on(network: FeatureNetwork, device: torch.device) -> FeatureNetwork:
    """The network on a device; a copy, since moving it would pull it away under another thread's feet."""
    if all(tensor.device == device for tensor in network.state_dict().values()):
        return network
    return copy.deepcopy(network).to(device)
