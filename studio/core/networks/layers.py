"""Parts that networks share: the embedding of level and class, and the scale-shift residual block."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional


def zero_(layer: nn.Conv2d | nn.Linear) -> None:
    """Set weights and biases to 0, so that the branch or network starts as nothing."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


class LevelEmbedding(nn.Module):
    """Embeds log-SNR (B,), class (B,) and, where there is one, a latent z (B, latent) into (B, width).

    The level enters as its angle (2 / pi) atan(sigma / alpha) in [0, 1], which stays bounded from clean data to pure
    noise, through DDPM's sinusoids of 1000 times that angle. Class ``num_classes`` is "no class". Without a z, the
    network answers as one that has none.
    """

    frequencies: Tensor

    def __init__(self, width: int, num_classes: int, latent: int = 0, num_frequencies: int = 32) -> None:
        super().__init__()
        rates = torch.exp(-math.log(10000.0) * torch.arange(num_frequencies) / (num_frequencies - 1))
        self.register_buffer("frequencies", 1000.0 * rates, persistent=False)
        self.layers = nn.Sequential(nn.Linear(2 * num_frequencies, width), nn.SiLU(), nn.Linear(width, width))
        self.classes = nn.Embedding(num_classes + 1, width) if num_classes else None
        self.mapping = Mapping(latent, width) if latent else None

    def forward(self, log_snr: Tensor, cond: Tensor | None, z: Tensor | None = None) -> Tensor:
        angle = (2.0 / math.pi) * torch.atan(torch.exp(-0.5 * log_snr))
        phase = angle.unsqueeze(1) * self.frequencies
        found = self.layers(torch.cat([phase.sin(), phase.cos()], 1))
        if self.classes is not None:
            nothing = self.classes.num_embeddings - 1
            if cond is None:
                cond = torch.full_like(log_snr, nothing, dtype=torch.int64)
            found = found + self.classes(torch.where(cond < 0, nothing, cond))
        if self.mapping is not None and z is not None:
            found = found + self.mapping(z)
        return functional.silu(found)


def embedding_count(width: int, num_classes: int, latent: int = 0, num_frequencies: int = 32) -> int:
    """Parameters of a :class:`LevelEmbedding`."""
    layers = 2 * num_frequencies * width + width + width**2 + width
    mapping = latent * width + width + 2 * (width**2 + width) if latent else 0
    return layers + ((num_classes + 1) * width if num_classes else 0) + mapping


WHISPER = 0.02
"""How much a z counts that training is to give a voice: hardly, but each z in a way of its own. From nothing at all
its weights would set out together, and all z say the same."""


class Mapping(nn.Module):
    """Maps a latent z (B, latent) into the space of the embedding, (B, width), by three layers.

    z is scaled to unit length first (pixel norm), so that only its direction counts. The weights start with He's
    variance: with torch's smaller one, z fades on its way and a generator learns to do without it.
    """

    def __init__(self, latent: int, width: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(size, width) for size in (latent, width, width))
        for layer in self.layers.children():
            assert isinstance(layer, nn.Linear)
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)

    def forward(self, z: Tensor) -> Tensor:
        hidden = z * torch.rsqrt(z.square().mean(1, keepdim=True) + 1e-8)
        for index, layer in enumerate(self.layers):
            hidden = layer(functional.silu(hidden) if index else hidden)
        return hidden

    @torch.no_grad()
    def soften(self, share: float) -> None:
        """Let z count for a ``share`` of what it does in a fresh network."""
        last = self.layers[-1]
        assert isinstance(last, nn.Linear)
        last.weight.mul_(share * math.sqrt(2.0 / last.in_features) / last.weight.std())


class ResidualBlock(nn.Module):
    """GroupNorm, SiLU, 3x3 convolution, twice, around a skip; the embedding scales and shifts the second norm.

    A ``styled`` block lets it scale and shift the first norm, too, as a latent wants it (arXiv 2112.07804, figure 7).
    The last convolution starts at zero, so that a new block is the identity.
    """

    def __init__(self, channels: int, embedding: int, *, styled: bool = False) -> None:
        super().__init__()
        groups = math.gcd(8, channels)
        self.norm1 = nn.GroupNorm(groups, channels)
        self.style = nn.Linear(embedding, 2 * channels) if styled else None
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.modulation = nn.Linear(embedding, 2 * channels)
        self.norm2 = nn.GroupNorm(groups, channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        zero_(self.conv2)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        hidden = self.norm1(x)
        if self.style is not None:
            hidden = _modulated(hidden, self.style(embedding))
        hidden = self.conv1(functional.silu(hidden))
        hidden = _modulated(self.norm2(hidden), self.modulation(embedding))
        return x + self.conv2(functional.silu(hidden))


def _modulated(x: Tensor, modulation: Tensor) -> Tensor:
    """x (B, C, H, W) scaled and shifted by (B, 2 C)."""
    scale, shift = modulation[:, :, None, None].chunk(2, 1)
    return torch.addcmul(shift, x, 1.0 + scale)


class SelfAttention(nn.Module):
    """Multi-head attention over all places of a feature map (B, C, H, W), around a skip."""

    def __init__(self, channels: int, head_channels: int = 32) -> None:
        super().__init__()
        # As many heads as divide the channels, each of at least ``head_channels``.
        self.heads = max(
            n for n in range(1, channels + 1) if channels % n == 0 and (n == 1 or channels // n >= head_channels)
        )
        self.norm = nn.GroupNorm(math.gcd(8, channels), channels)
        self.qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)
        zero_(self.out)

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        qkv = self.qkv(self.norm(x)).reshape(batch, 3 * self.heads, channels // self.heads, height * width)
        query, key, value = qkv.transpose(2, 3).chunk(3, 1)
        found = functional.scaled_dot_product_attention(query, key, value)
        return x + self.out(found.transpose(2, 3).reshape(batch, channels, height, width))


def latent_parts(network: nn.Module) -> tuple[list[Mapping], list[nn.Linear]]:
    """What a network has for the sake of a latent alone: mappings of z, and the shifts that styled blocks add."""
    modules = list(network.modules())
    styles = [part.style for part in modules if isinstance(part, ResidualBlock) and part.style is not None]
    return [part for part in modules if isinstance(part, Mapping)], styles
