"""Discriminators of denoising steps: is x_s a real ancestor of x_t, or one that a generator made up?

``D(x_s, x_t, level, class)`` is a number a pair, above 0 for real (Denoising Diffusion GAN, arXiv 2112.07804, eq. 5).
It sees both ends of the step, so it judges the whole distribution q(x_s | x_t) and not the images alone. The embedding
of level and class enters every block and, as a projection (arXiv 1802.05637), the last number.
"""

from __future__ import annotations

import abc
import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from studio.core.networks.layers import LevelEmbedding

SLOPE = 0.2


class Discriminator(nn.Module, abc.ABC):
    """A trainable map from steps to how real they look."""

    @abc.abstractmethod
    def forward(self, x_s: Tensor, x_t: Tensor, log_snr: Tensor, cond: Tensor | None = None) -> Tensor:
        """x_s, x_t (B, ...), log-SNR of x_t (B,), cond (B,) or None -> (B,)."""

    def hidden_matrices(self) -> list[nn.Parameter]:
        """The weights of two or more dimensions between the first layer and the head, without the embedding's."""
        hidden = [weight for name, weight in self.named_parameters() if name.startswith(("blocks.", "leave."))]
        return [weight for weight in hidden if weight.ndim >= 2]


def discriminator(shape: tuple[int, ...], num_classes: int, width: int, group: int) -> Discriminator:
    """The discriminator for items of ``shape``, (C, H, W) or (D,); its finest layer has ``width`` channels.

    So many items as ``group`` says are compared with each other: see :func:`with_spread`.
    """
    if len(shape) == 3:
        return ImageDiscriminator(shape, num_classes, width, group)
    return PointDiscriminator(shape[0], num_classes, width, group)


class ImageDiscriminator(Discriminator):
    """Residual convolutions that halve the image down to some 4 x 4, then a sum over places.

    Both images are folded by pixel-unshuffle at the input, as the generator's are.
    """

    def __init__(self, shape: tuple[int, ...], num_classes: int, width: int, group: int, patch: int = 2) -> None:
        super().__init__()
        self.patch, self.group = patch, group
        embedding, most = 4 * width, 4 * width
        self.embedding = LevelEmbedding(embedding, num_classes)
        self.enter = nn.Conv2d(2 * shape[0] * patch**2, width, 3, padding=1)
        blocks: list[nn.Module] = []
        size = math.ceil(max(shape[1:]) / patch)
        while size > 4 or not blocks:
            wider = min(2 * width, most)
            blocks.append(_Block(width, wider, embedding))
            width, size = wider, math.ceil(size / 2)
        self.blocks = nn.ModuleList(blocks)
        self.leave = nn.Conv2d(width + 1, width, 3, padding=1)
        self.head = _Head(width, embedding)
        for parameter in self.parameters():
            if parameter.ndim == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)

    def forward(self, x_s: Tensor, x_t: Tensor, log_snr: Tensor, cond: Tensor | None = None) -> Tensor:
        pair = torch.cat([x_s, x_t], 1)
        height, width = pair.shape[-2:]
        pair = functional.pad(pair, (0, -width % self.patch, 0, -height % self.patch), mode="replicate")
        folded = functional.pixel_unshuffle(pair, self.patch).contiguous(memory_format=torch.channels_last)
        embedding = self.embedding(log_snr, cond)
        hidden = self.enter(folded)
        for block in self.blocks:
            hidden = block(hidden, embedding)
        hidden = self.leave(functional.leaky_relu(with_spread(hidden, self.group), SLOPE))
        return self.head(functional.leaky_relu(hidden, SLOPE).sum((2, 3)), embedding)


class PointDiscriminator(Discriminator):
    """A residual MLP on both points."""

    def __init__(self, dims: int, num_classes: int, width: int, group: int, depth: int = 3) -> None:
        super().__init__()
        self.group = group
        self.embedding = LevelEmbedding(width, num_classes)
        self.enter = nn.Linear(2 * dims, width)
        self.shifts = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.blocks = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.leave = nn.Linear(width + 1, width)
        self.head = _Head(width, width)

    def forward(self, x_s: Tensor, x_t: Tensor, log_snr: Tensor, cond: Tensor | None = None) -> Tensor:
        embedding = self.embedding(log_snr, cond)
        hidden = self.enter(torch.cat([x_s, x_t], 1))
        for shift, block in zip(self.shifts, self.blocks, strict=True):
            hidden = hidden + block(functional.leaky_relu(hidden + shift(embedding), SLOPE))
        hidden = self.leave(functional.leaky_relu(with_spread(hidden, self.group), SLOPE))
        return self.head(functional.leaky_relu(hidden, SLOPE), embedding)


class _Block(nn.Module):
    """Two convolutions around a skip; the image is halved between them, so that the wider one costs little."""

    def __init__(self, channels: int, wider: int, embedding: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.shift = nn.Linear(embedding, channels)
        self.conv2 = nn.Conv2d(channels, wider, 3, padding=1)
        self.skip = nn.Conv2d(channels, wider, 1, bias=False) if wider != channels else nn.Identity()

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        hidden = self.conv1(functional.leaky_relu(x, SLOPE)) + self.shift(embedding)[:, :, None, None]
        hidden, x = (functional.avg_pool2d(part, 2, ceil_mode=True) for part in (hidden, x))
        hidden = self.conv2(functional.leaky_relu(hidden, SLOPE))
        return (self.skip(x) + hidden) * math.sqrt(0.5)


class _Head(nn.Module):
    """features (B, C), embedding (B, E) -> (B,): a linear map, and a projection onto the embedding."""

    def __init__(self, channels: int, embedding: int) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, 1)
        self.projection = nn.Linear(embedding, channels)

    def forward(self, features: Tensor, embedding: Tensor) -> Tensor:
        agreement = (self.projection(embedding) * features).mean(1)
        return self.linear(features).squeeze(1) + agreement


def with_spread(x: Tensor, group: int) -> Tensor:
    """x (B, C, ...) and one more channel: how far the items of a group lie apart, on the average.

    The minibatch standard deviation (arXiv 1710.10196, section 3): samples that are all alike give themselves away.
    Groups are of ``group`` items, or of the largest number below that divides the batch; 1 compares none.
    """
    size = next(n for n in range(min(group, len(x)), 0, -1) if len(x) % n == 0)
    # Items of a group lie a stride apart, so that stratified steps do not fall into groups of their own.
    spread = x.reshape(size, len(x) // size, *x.shape[1:]).float().var(0, correction=0)
    spread = (spread + 1e-8).sqrt().flatten(1).mean(1)
    column = spread.repeat(size).view(-1, *(1,) * (x.ndim - 1)).expand(-1, 1, *x.shape[2:])
    return torch.cat([x, column.to(x.dtype)], 1)
