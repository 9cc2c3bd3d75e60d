"""A latent z in hand: the plane through it, what the z of one step alone can vary, and walks between two.

Where z, the start x_T and the noise of every step are given, sampling draws nothing:

    x_s = mean of q(x_s | x_t, G(x_t, z_k, t)) + std eps_k,    k = T, ..., 1

so a picture follows from what is held (:class:`Held`) and from the model, at any batch size. Step T is the noisiest and
comes first: where the sampler counts from 0, step k is its index T - k.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from studio.core import events
from studio.core.checkpoints.native import Model
from studio.core.device import choose
from studio.core.noise import Draw, Noise, Stream
from studio.core.samplers.base import Step
from studio.core.sampling import Subject, sample, slerp, subject_of
from studio.session.control import Control
from studio.session.jobs import load_model, to_array, to_items

Array = NDArray[np.float32]

SIDE = 5
"""The pad is SIDE x SIDE pictures."""
NUM_DRAWS = 11
NUM_POINT_DRAWS = 200
_WALK_BATCH = 16


@dataclass(frozen=True, eq=False)
class Held:
    """Everything a sample follows from, but the model.

    ``z`` (T, size), row 0 that of step T; ``noise_seeds`` (T,) the seed of each step's posterior noise; ``label`` a
    class or "none". All of them are of image 0 of their seed, so equal seeds give what sampling that seed gives.
    """

    z: Array
    start_seed: int
    noise_seeds: tuple[int, ...]
    label: str = "none"

    def at(self, z: Array) -> Held:
        """The same with another z."""
        return replace(self, z=z)


@dataclass(frozen=True, eq=False)
class Plane:
    """z + reach (u a + v b): ``a`` and ``b`` are (T, size), zero for the steps whose z stays as it is."""

    a: Array
    b: Array
    reach: float

    def through(self, z: Array, places: NDArray) -> Array:
        """The latents (P, T, size) at ``places`` (P, 2), each a (u, v); (0, 0) is ``z`` itself."""
        u, v = (self.reach * places.T.astype(np.float32))[..., None, None]
        return z + u * self.a + v * self.b


def grid_places() -> NDArray[np.float64]:
    """(SIDE**2, 2): the (u, v) in [-1, 1] of the pad's pictures, row by row from the top left; v grows upwards."""
    axis = np.linspace(-1.0, 1.0, SIDE)
    return np.stack([np.tile(axis, SIDE), np.repeat(-axis, SIDE)], 1)


def draw_z(seed: int, num_steps: int, size: int, index: int = 0) -> Array:
    """(T, size): the latents that image ``index`` of a seed draws on its way."""
    return _drawn(seed, num_steps, size, index, Stream.LATENT)


def draw_directions(seed: int, num_steps: int, size: int) -> tuple[Array, Array]:
    """Two directions (T, size), standard normal: in many dimensions they are almost at right angles."""
    first, second = (_drawn(seed, num_steps, size, index, Stream.OTHER_LATENT) for index in (0, 1))
    return first, second


def _drawn(seed: int, num_steps: int, size: int, index: int, stream: Stream) -> Array:
    noise = Noise(seed, [index])
    return np.stack([noise.normal((size,), step, stream)[0].numpy() for step in range(num_steps)])


def draws_of(held: Held, step: int, seed: int, count: int) -> Array:
    """(count, T, size): ``held``'s z with that of the step at index ``step`` drawn ``count`` times, from ``seed``.

    They are the draws of images 1 to ``count``, so that none of them is the z of the seed itself.
    """
    found = np.repeat(held.z[None], count, 0)
    found[:, step] = Noise(seed, range(1, count + 1)).normal((held.z.shape[1],), step, Stream.LATENT).numpy()
    return found


def spread(items: NDArray, std: float) -> float:
    """Root mean square of what items (B, ...) differ from their mean, over the data's ``std``: 1 is as far as data."""
    items = items.astype(np.float64)
    return float(np.sqrt(np.mean((items - items.mean(0)) ** 2)) / std)


def walk(first: Array, second: Array, frames: int) -> Array:
    """(frames, T, size): along the arc between two latents, each step's z on its own.

    It sets out and arrives slowly, w = (1 - cos pi t) / 2, so that going to and fro has no jerk.
    """
    weights = (1.0 - torch.cos(torch.pi * torch.linspace(0.0, 1.0, frames, dtype=torch.float64))) / 2.0
    ends = zip(torch.from_numpy(first), torch.from_numpy(second), strict=True)
    return torch.stack([slerp(a, b, weights) for a, b in ends], 1).numpy()


def run(subject: Subject, held: Held, z: Array, device: torch.device) -> Iterator[Step]:
    """The sampler's steps for latents ``z`` (B, T, size), all from the start, noise and class of ``held``."""
    count = len(z)
    spec = subject.own.at(seed=held.start_seed, count=count, label=held.label)
    given: dict[Draw, Tensor] = {
        (Stream.LATENT, step): torch.from_numpy(np.ascontiguousarray(z[:, step])) for step in range(z.shape[1])
    }
    for step, seed in enumerate(held.noise_seeds):
        eps = Noise(seed, [0], device).normal(subject.shape, step, Stream.STEP)
        given[Stream.STEP, step] = eps.expand(count, *subject.shape)
    return sample(subject, spec, device, indices=[0] * count, given=given)


@dataclass(frozen=True, eq=False)
class PadJob:
    """What becomes of the z at ``at`` on a plane through ``held``'s and, if ``whole``, of the pad's; in one batch."""

    path: Path
    held: Held
    plane: Plane
    at: tuple[float, float]
    whole: bool = True
    device: str = "auto"

    def __call__(self, control: Control) -> Iterator[events.Event | None]:
        device = choose(self.device)  # type: ignore[arg-type]
        subject = subject_of(_fitting(self.path, self.held, device))
        places = np.concatenate([grid_places(), [self.at]]) if self.whole else np.array([self.at])
        began, path = time.perf_counter(), []
        for step in run(subject, self.held, self.plane.through(self.held.z, places), device):
            if control.stopping:
                return
            path.append(step.x[-1])
            yield None
        shown = to_items(step.x, subject)
        yield events.LatentPad(
            items=events.freeze(shown[:-1].copy()) if self.whole else None,
            result=events.freeze(shown[-1].copy()),
            path=None if subject.is_image else to_array(torch.stack(path)),
            num_steps=step.total,
            seconds=time.perf_counter() - began,
        )


@dataclass(frozen=True, eq=False)
class StripJob:
    """For every step, the noisiest first: ``count`` draws of its z with all else as held, and how far they spread."""

    path: Path
    held: Held
    seed: int
    count: int = NUM_DRAWS
    device: str = "auto"

    def __call__(self, control: Control) -> Iterator[events.Event | None]:
        device = choose(self.device)  # type: ignore[arg-type]
        model = _fitting(self.path, self.held, device)
        subject = subject_of(model)
        for row in range(len(self.held.z)):
            for step in run(subject, self.held, draws_of(self.held, row, self.seed, self.count), device):  # noqa: B007
                if control.stopping:
                    return
                yield None
            items = step.x.float().cpu().numpy()
            yield events.LatentDraws(
                row=row, items=to_items(step.x, subject), spread=spread(items, float(model.header.facts["std"]))
            )


@dataclass(frozen=True, eq=False)
class WalkJob:
    """What becomes of the latents on the arc from ``first`` to ``second``, (T, size) each; a batch at a time."""

    path: Path
    held: Held
    first: Array
    second: Array
    frames: int
    device: str = "auto"

    def __call__(self, control: Control) -> Iterator[events.Event | None]:
        device = choose(self.device)  # type: ignore[arg-type]
        subject = subject_of(_fitting(self.path, self.held, device))
        latents = walk(self.first, self.second, self.frames)
        for low in range(0, self.frames, _WALK_BATCH):
            for step in run(subject, self.held, latents[low : low + _WALK_BATCH], device):  # noqa: B007
                if control.stopping:
                    return
                yield None
            yield events.LatentWalk(first=low, total=self.frames, items=to_items(step.x, subject))


def _fitting(path: Path, held: Held, device: torch.device) -> Model:
    """The model, if it still takes what is held: its file may have been written anew since. Raises ValueError."""
    model = load_model(path, device)
    takes = (model.recipe.own_steps, model.recipe.latent_size)
    if takes != held.z.shape:
        steps, size = held.z.shape
        raise ValueError(
            f"{path.name} does not take a z of {steps} steps with {size} numbers each; it has changed since it was "
            "opened. Choose it in the library again."
        )
    return model
