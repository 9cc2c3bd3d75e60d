"""A U-Net that is fast on a CPU.

The image is folded first (pixel-unshuffle), so that most work happens at half the resolution, where the channels are
wide enough to keep the arithmetic units busy; skips are added, not concatenated; memory is laid out channels-last.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from studio.core.knobs import knob
from studio.core.networks.base import Network, NetworkSpec
from studio.core.networks.layers import LevelEmbedding, ResidualBlock, SelfAttention, embedding_count, zero_
from studio.core.registry import register


@register("network", "unet")
@dataclass(frozen=True, kw_only=True)
class UNetSpec(NetworkSpec):
    """A U-Net for images of any size, 1 or 3 channels; odd sizes are padded and cropped again."""

    title = "U-Net"
    kind = "image"
    width: int = knob(32, help="Channels at the finest level; each coarser level has twice as many.", low=8, high=512)
    depth: int = knob(2, help="Levels of resolution, each half the one above.", label="Levels", low=1, high=6)
    blocks: int = knob(1, help="Residual blocks at each level, on the way down and up again.", low=1, high=8)
    middle: int = knob(1, help="Residual blocks at the coarsest level.", label="Middle blocks", low=1, high=8)
    patch: int = knob(2, help="Pixels folded into channels on each side, at the input.", low=1, high=8)
    attention: bool = knob(True, help="Self-attention at the coarsest level.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width % 8:
            raise ValueError(f"width = {self.width} is not possible: it takes a multiple of 8.")

    def build(self, shape: tuple[int, ...], num_classes: int, latent: int = 0) -> Network:
        if len(shape) != 3:
            raise ValueError(f"A U-Net takes images, not items of shape {shape}: choose the network for points.")
        return UNet(self, shape[0], num_classes, latent)

    def count(self, shape: tuple[int, ...], num_classes: int, latent: int = 0) -> int:
        embedding, folded = 4 * self.width, shape[0] * self.patch**2
        widths = [self.width * 2**level for level in range(self.depth)]
        last = widths[-1]

        def block(width: int) -> int:
            modulations = 2 if latent else 1
            return 2 * (9 * width**2 + width) + 4 * width + modulations * 2 * width * (embedding + 1)

        total = embedding_count(embedding, num_classes, latent)
        total += 9 * folded * self.width + self.width + 9 * folded * self.width + folded + 2 * self.width
        total += 2 * self.blocks * sum(map(block, widths)) + self.middle * block(last)
        total += sum(8 * fine * coarse + fine + coarse for fine, coarse in pairwise(widths))
        return total + (4 * last**2 + 6 * last if self.attention else 0)


class UNet(Network):
    """(B, C, H, W), log-SNR (B,), class (B,), z (B, latent) -> (B, C, H, W)."""

    def __init__(self, spec: UNetSpec, channels: int, num_classes: int, latent: int = 0) -> None:
        super().__init__()
        self.patch = spec.patch
        self.multiple = spec.patch * 2 ** (spec.depth - 1)
        widths = [spec.width * 2**level for level in range(spec.depth)]
        embedding = 4 * spec.width
        self.embedding = LevelEmbedding(embedding, num_classes, latent)

        def stack(width: int, count: int) -> nn.ModuleList:
            return nn.ModuleList(ResidualBlock(width, embedding, styled=latent > 0) for _ in range(count))

        self.enter = nn.Conv2d(channels * spec.patch**2, widths[0], 3, padding=1)
        self.down = nn.ModuleList(stack(width, spec.blocks) for width in widths)
        self.shrink = nn.ModuleList(nn.Conv2d(a, b, 2, stride=2) for a, b in pairwise(widths))
        self.attention = SelfAttention(widths[-1]) if spec.attention else None
        self.middle = stack(widths[-1], spec.middle)
        self.grow = nn.ModuleList(nn.ConvTranspose2d(b, a, 2, stride=2) for a, b in pairwise(widths))
        self.up = nn.ModuleList(stack(width, spec.blocks) for width in widths)
        self.norm = nn.GroupNorm(8, widths[0])
        self.leave = nn.Conv2d(widths[0], channels * spec.patch**2, 3, padding=1)
        zero_(self.leave)
        for parameter in self.parameters():
            if parameter.ndim == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)

    def forward(self, x: Tensor, log_snr: Tensor, cond: Tensor | None = None, z: Tensor | None = None) -> Tensor:
        height, width = x.shape[-2:]
        x = functional.pad(x, (0, -width % self.multiple, 0, -height % self.multiple), mode="replicate")
        embedding = self.embedding(log_snr, cond, z)
        folded = functional.pixel_unshuffle(x, self.patch).contiguous(memory_format=torch.channels_last)
        hidden = self.enter(folded)
        skips = []
        for level, blocks in enumerate(self.down):
            if level:
                hidden = self.shrink[level - 1](hidden)
            for block in blocks.children():
                hidden = block(hidden, embedding)
                skips.append(hidden)
        for index, block in enumerate(self.middle):
            hidden = block(hidden, embedding)
            if index == 0 and self.attention is not None:
                hidden = self.attention(hidden)
        for level in reversed(range(len(self.up))):
            for block in self.up[level].children():
                hidden = block(hidden + skips.pop(), embedding)
            if level:
                hidden = self.grow[level - 1](hidden)
        raw = functional.pixel_shuffle(self.leave(functional.silu(self.norm(hidden))), self.patch)
        return raw[..., :height, :width]

    def hidden_matrices(self) -> list[nn.Parameter]:
        parts = [self.down, self.shrink, self.middle, self.grow, self.up]
        if self.attention is not None:
            parts.append(nn.ModuleList([self.attention]))
        return [weight for part in parts for weight in part.parameters() if weight.ndim >= 2]
