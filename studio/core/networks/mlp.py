"""A residual MLP for points: (B, D) with D from 1 up, scaled and shifted by level and class in every block."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from studio.core.knobs import knob
from studio.core.networks.base import Network, NetworkSpec
from studio.core.networks.layers import LevelEmbedding, embedding_count, zero_
from studio.core.registry import register


@register("network", "mlp")
@dataclass(frozen=True, kw_only=True)
class MLPSpec(NetworkSpec):
    """A residual MLP for point sets."""

    title = "MLP"
    kind = "points"
    width: int = knob(128, help="Hidden units of each layer.", low=8, high=2048)
    blocks: int = knob(3, help="Residual blocks.", low=1, high=16)

    def build(self, shape: tuple[int, ...], num_classes: int, latent: int = 0) -> Network:
        if len(shape) != 1:
            raise ValueError(f"An MLP takes points, not items of shape {shape}: choose the network for images.")
        return MLP(self, shape[0], num_classes, latent)

    def count(self, shape: tuple[int, ...], num_classes: int, latent: int = 0) -> int:
        block = 2 * self.width + 2 * self.width * (self.width + 1) + 2 * (self.width**2 + self.width)
        ends = shape[0] * self.width + self.width + self.width * shape[0] + shape[0]
        return embedding_count(self.width, num_classes, latent) + ends + self.blocks * block


class MLP(Network):
    """(B, D), log-SNR (B,), class (B,), z (B, latent) -> (B, D)."""

    def __init__(self, spec: MLPSpec, dims: int, num_classes: int, latent: int = 0) -> None:
        super().__init__()
        self.embedding = LevelEmbedding(spec.width, num_classes, latent)
        self.enter = nn.Linear(dims, spec.width)
        self.blocks = nn.ModuleList(_Block(spec.width) for _ in range(spec.blocks))
        self.leave = nn.Linear(spec.width, dims)
        zero_(self.leave)

    def forward(self, x: Tensor, log_snr: Tensor, cond: Tensor | None = None, z: Tensor | None = None) -> Tensor:
        embedding = self.embedding(log_snr, cond, z)
        hidden = self.enter(x)
        for block in self.blocks:
            hidden = block(hidden, embedding)
        return self.leave(functional.silu(hidden))

    def hidden_matrices(self) -> list[nn.Parameter]:
        return [weight for weight in self.blocks.parameters() if weight.ndim == 2]


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.modulation = nn.Linear(width, 2 * width)
        self.layer1 = nn.Linear(width, width)
        self.layer2 = nn.Linear(width, width)
        zero_(self.layer2)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        scale, shift = self.modulation(embedding).chunk(2, 1)
        hidden = self.layer1(torch.addcmul(shift, self.norm(x), 1.0 + scale))
        return x + self.layer2(functional.silu(hidden))
