"""Noise as a pure function of (seed, image index, step), never of the global generator.

Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011) turns a 128-bit counter and a
64-bit key into four random words. The key is the seed and the counter names the image, the step, the purpose and the
place within the image, so an image's noise does not depend on the batch it sits in, on the device, or on what was
drawn before. Normals come from the words by Box-Muller.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from enum import IntEnum

import torch
from torch import Tensor

_WORD = 0xFFFFFFFF


class Stream(IntEnum):
    """What a draw is for. Draws of different streams never coincide."""

    START = 0
    STEP = 1
    EPS = 2
    LEVEL = 3
    DROP = 4
    LATENT = 5
    JUMP = 6
    OTHER_LATENT = 7
    COMPONENT = 8
    ROLLOUT = 9
    ROLLOUT_LATENT = 10


Draw = tuple[Stream, int]
"""What is drawn: for which purpose, at which step."""


class Noise:
    """Draws for the images of one batch: ``indices`` (B,) are their places in the whole run, ``seed`` in [0, 2**63).

    ``given`` holds normals (B, ...) that take the place of what would be drawn for a stream at a step: a latent that
    a person holds in hand. ``step`` is the sampler's step that this noise is for, which a denoiser's own draws follow.
    """

    def __init__(
        self,
        seed: int,
        indices: Sequence[int] | range | Tensor,
        device: torch.device | str = "cpu",
        *,
        given: Mapping[Draw, Tensor] | None = None,
        step: int = 0,
    ) -> None:
        if not 0 <= seed < 2**63:
            raise ValueError(f"seed = {seed} is not possible: it takes a whole number from 0 to 2**63 - 1.")
        places = indices if isinstance(indices, Tensor) else torch.as_tensor(list(indices), dtype=torch.int64)
        self.seed, self.step = seed, step
        self.indices = places.to(device)
        self.given = {draw: value.to(device) for draw, value in (given or {}).items()}

    def at(self, step: int) -> Noise:
        """The same noise for a sampler's step."""
        return Noise(self.seed, self.indices, self.indices.device, given=self.given, step=step)

    def of(self, rows: Tensor) -> Noise:
        """The noise of some of the images, by their rows in the batch."""
        given = {draw: value[rows] for draw, value in self.given.items()}
        return Noise(self.seed, self.indices[rows], self.indices.device, given=given, step=self.step)

    def twice(self) -> Noise:
        """The noise of a batch that holds every image twice, one half after the other."""
        given = {draw: torch.cat([value, value]) for draw, value in self.given.items()}
        return Noise(
            self.seed, torch.cat([self.indices, self.indices]), self.indices.device, given=given, step=self.step
        )

    def latent(self, size: int) -> Tensor:
        """A denoiser's z for this step, (B, size), standard normal."""
        return self.normal((size,), self.step, Stream.LATENT)

    def normal(self, shape: Sequence[int], step: int, stream: Stream = Stream.STEP) -> Tensor:
        """Standard normals (B, *shape), float32; what was given for this stream and step is returned as it is."""
        if (stream, step) in self.given:
            return self.given[stream, step]
        size = math.prod(shape)
        words = self._words((size + 3) // 4, step, stream)
        uniform = [(word.float() + 0.5) * 2.0**-32 for word in words]
        radius = [(-2.0 * u.log()).sqrt_() for u in uniform[:2]]
        angle = [u * (2.0 * math.pi) for u in uniform[2:]]
        quads = [radius[0] * angle[0].cos(), radius[0] * angle[0].sin()]
        quads += [radius[1] * angle[1].cos(), radius[1] * angle[1].sin()]
        return torch.stack(quads, 2).flatten(1)[:, :size].reshape(-1, *shape)

    def uniform(self, step: int, stream: Stream) -> Tensor:
        """One uniform draw for each image, (B,), float32 in (0, 1]."""
        return (self._words(1, step, stream)[0].flatten().float() + 0.5) * 2.0**-32

    def like(self, x: Tensor, step: int, stream: Stream = Stream.STEP) -> Tensor:
        """Standard normals in the shape and type of ``x`` (B, ...)."""
        return self.normal(x.shape[1:], step, stream).to(x.dtype)

    def _words(self, blocks: int, step: int, stream: Stream) -> tuple[Tensor, ...]:
        place = torch.arange(blocks, device=self.indices.device).view(1, -1)
        image = self.indices.view(-1, 1)
        words = philox((place, torch.full_like(image, step), image & _WORD, image >> 32 ^ stream << 16), self.seed)
        return tuple(word.expand(len(image), blocks) for word in words)


def philox(counter: tuple[Tensor, Tensor, Tensor, Tensor], key: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Philox4x32-10 on four broadcastable int64 tensors that hold 32-bit words; returns four such tensors.

    A product of two words may wrap around as a signed number; its bits are right, and the masks keep only those.
    """
    a, b, c, d = counter
    low, high = key & _WORD, key >> 32 & _WORD
    for _ in range(10):
        first, second = a * 0xD2511F53, c * 0xCD9E8D57
        a, b = (second >> 32 & _WORD) ^ b ^ low, second & _WORD
        c, d = (first >> 32 & _WORD) ^ d ^ high, first & _WORD
        low, high = low + 0x9E3779B9 & _WORD, high + 0xBB67AE85 & _WORD
    return a, b, c, d
