"""Schedule networks: how large a step the reverse process may take from x, read off x alone.

``beta_n = min(beta_{n + 1}, sigma_n**2) ratio(x_n)``, ``ratio(x) = sigmoid(mean over places of f(x))``, where f is a
map of one channel (BDDM, arXiv 2203.13508, eq. 11). Neither t nor alpha enters: the network sees how noisy x is, and
how hard it is.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from studio.core.knobs import Knobbed, knob
from studio.core.networks.layers import SelfAttention
from studio.core.registry import register

FIRST_RATIO = 0.65
"""What a fresh network says of every x: amid the useful range, where the sigmoid is steep."""


class ScheduleNetwork(nn.Module, abc.ABC):
    """A trainable map from noisy items to the ratio beta / min(beta_next, sigma**2)."""

    @abc.abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """x (B, C, H, W) or (B, D), VP frame -> (B,) float32 in (0, 1)."""


class ScheduleNetworkSpec(Knobbed, abc.ABC):
    """A frozen dataclass of knobs that describes a schedule network."""

    title: str

    @abc.abstractmethod
    def build(self, shape: tuple[int, ...]) -> ScheduleNetwork:
        """The module for items of ``shape``, (C, H, W) or (D,). Raises ValueError for other shapes."""

    @abc.abstractmethod
    def count(self, shape: tuple[int, ...]) -> int:
        """How many numbers that module learns, without building it."""


@register("schedule_network", "cnn")
@dataclass(frozen=True, kw_only=True)
class CNNSpec(ScheduleNetworkSpec):
    """Residual convolutions on the folded image, of any size; on points, a residual MLP."""

    title = "small CNN"
    width: int = knob(32, help="Channels of each layer.", low=8, high=512)
    blocks: int = knob(3, help="Residual layers.", label="Layers", low=1, high=16)
    patch: int = knob(4, help="Pixels folded into channels on each side, at the input.", low=1, high=16)

    def build(self, shape: tuple[int, ...]) -> ScheduleNetwork:
        return MapNetwork(shape, self.width, self.blocks, self.patch, attention=False)

    def count(self, shape: tuple[int, ...]) -> int:
        return _count(shape, self.width, self.blocks, self.patch, attention=False)


@register("schedule_network", "attention")
@dataclass(frozen=True, kw_only=True)
class AttentionSpec(ScheduleNetworkSpec):
    """Residual convolutions with self-attention after the first; on points, attention between the coordinates."""

    title = "with self-attention"
    width: int = knob(32, help="Channels of each layer.", low=16, high=512)
    blocks: int = knob(2, help="Residual layers.", label="Layers", low=1, high=16)
    patch: int = knob(4, help="Pixels folded into channels on each side, at the input.", low=1, high=16)

    def build(self, shape: tuple[int, ...]) -> ScheduleNetwork:
        return MapNetwork(shape, self.width, self.blocks, self.patch, attention=True)

    def count(self, shape: tuple[int, ...]) -> int:
        return _count(shape, self.width, self.blocks, self.patch, attention=True)


class MapNetwork(ScheduleNetwork):
    """The mean of a map. An image's places are its patches; points have one place, or with attention one a coordinate.

    There is no normalisation on the way through: how strong the noise is must not be divided out.
    """

    def __init__(self, shape: tuple[int, ...], width: int, blocks: int, patch: int, *, attention: bool) -> None:
        super().__init__()
        channels, kernel = _channels(shape, patch, attention), _kernel(shape)
        self.patch = patch
        self.enter = nn.Conv2d(channels, width, kernel, padding=kernel // 2)
        places = attention and len(shape) == 1
        # The coordinates of a point differ in meaning, and attention could not tell one from another.
        self.places = nn.Parameter(0.1 * torch.randn(width, shape[0], 1)) if places else None
        self.blocks = nn.ModuleList(nn.Conv2d(width, width, kernel, padding=kernel // 2) for _ in range(blocks))
        self.attention = SelfAttention(width) if attention else None
        self.leave = nn.Conv2d(width, 1, 1)
        nn.init.zeros_(self.leave.weight)
        nn.init.constant_(self.leave.bias, math.log(FIRST_RATIO / (1.0 - FIRST_RATIO)))  # type: ignore[arg-type]
        for parameter in self.parameters():
            if parameter.ndim == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.enter(self._fold(x))
        if self.places is not None:
            hidden = hidden + self.places
        for index, block in enumerate(self.blocks):
            hidden = hidden + block(functional.silu(hidden))
            if index == 0 and self.attention is not None:
                hidden = self.attention(hidden)
        return torch.sigmoid(self.leave(functional.silu(hidden)).float().mean((1, 2, 3)))

    def _fold(self, x: Tensor) -> Tensor:
        """Items as a map (B, channels, H', W')."""
        if x.ndim == 2:
            return x[:, :, None, None] if self.places is None else x[:, None, :, None]
        height, width = x.shape[-2:]
        x = functional.pad(x, (0, -width % self.patch, 0, -height % self.patch), mode="replicate")
        return functional.pixel_unshuffle(x, self.patch).contiguous(memory_format=torch.channels_last)


def _kernel(shape: Sequence[int]) -> int:
    return 3 if len(shape) == 3 else 1


def _channels(shape: Sequence[int], patch: int, attention: bool) -> int:
    """Of the map that items of ``shape`` are folded to."""
    if len(shape) == 3:
        return shape[0] * patch**2
    if len(shape) == 1:
        return 1 if attention else shape[0]
    raise ValueError(f"A schedule network takes images (C, H, W) or points (D,), not items of shape {tuple(shape)}.")


def _count(shape: Sequence[int], width: int, blocks: int, patch: int, *, attention: bool) -> int:
    """The learned numbers of a :class:`MapNetwork`."""
    channels, area = _channels(shape, patch, attention), _kernel(shape) ** 2
    total = area * channels * width + width + blocks * (area * width**2 + width) + width + 1
    if attention:
        total += 4 * width**2 + 6 * width + (width * shape[0] if len(shape) == 1 else 0)
    return total
