"""A sampling run, whole: which sampler over which levels, from which seed, for which classes.

The window, the command line and the trainer's previews all sample through here, so the same values give the same
pictures everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from studio.core.config import method_from_dict
from studio.core.denoisers import NO_CLASS, Clipped, Denoiser, Guided
from studio.core.device import autocast
from studio.core.grids import Betas, Grid, LogSNR
from studio.core.knobs import Knobbed, knob
from studio.core.levels import Level
from studio.core.noise import Draw, Noise
from studio.core.prior import Prior
from studio.core.samplers.ancestral import Ancestral
from studio.core.samplers.base import Sampler, Step, sampler_title, start
from studio.core.samplers.ddim import DDIM
from studio.core.schedules import DiscreteSchedule, NoiseSchedule

if TYPE_CHECKING:
    from studio.core.checkpoints.header import Header
    from studio.core.checkpoints.native import Model
    from studio.core.recipes.base import Recipe


@dataclass(frozen=True, kw_only=True)
class SampleKnobs(Knobbed):
    """What every sampler has in common."""

    steps: int = knob(12, help="Levels to visit.", label="Steps", symbol="N", low=1, high=10000, log=True)
    seed: int = knob(0, help="The pictures follow from it, at any batch size.", low=0, high=2**31 - 1)
    count: int = knob(36, help="How many to sample.", label="Images", symbol="B", low=1, high=100_000, log=True)
    label: str = knob("each", help='Class to sample: its name or number, "each" in turn, or "none".', symbol="y")
    guidance: float = knob(
        0.3,
        help="Pull towards the class: 0 is the plain model; each step then costs two evaluations.",
        symbol="w",
        low=0.0,
        high=20.0,
    )
    clip: bool = knob(True, help="Keep x0-hat within the range of images.", label="Clip x̂₀")


@dataclass(frozen=True, kw_only=True)
class SampleSpec:
    """A sampler, a grid, and what they have in common."""

    sampler: Sampler = field(default_factory=DDIM)
    grid: Grid = field(default_factory=LogSNR)
    knobs: SampleKnobs = field(default_factory=SampleKnobs)

    def at(self, **knobs: Any) -> SampleSpec:
        """The same with other common knobs."""
        return replace(self, knobs=replace(self.knobs, **knobs))

    @property
    def title(self) -> str:
        """The sampler and its number of steps, such as ``DDIM 12``."""
        own = self.grid.own_steps
        return f"{sampler_title(self.sampler, defaults=False)} {self.knobs.steps if own is None else own}"


def own_spec(recipe: Recipe) -> SampleSpec:
    """How a recipe's models are sampled where nobody says otherwise.

    Models that know a few big steps alone are sampled over exactly those: their levels, as betas, and the posterior
    between them. The latent varies them and not guidance, which they were not trained for.
    """
    schedule = recipe.schedule
    if recipe.own_steps is None:
        return SampleSpec()
    assert isinstance(schedule, DiscreteSchedule)
    return SampleSpec(
        sampler=DDIM() if recipe.is_direct else Ancestral(),
        grid=Betas.listed(schedule.betas().tolist()),
        knobs=SampleKnobs(steps=recipe.own_steps, guidance=0.0, clip=not recipe.is_direct),
    )


def few_steps(header: Header) -> SampleSpec | None:
    """:func:`own_spec` of a model that knows a few levels alone, by its description; None of any other model.

    None, too, where the description names a method that this studio does not have: opening the model says so.
    """
    recipe = _recipe_of(header)
    return None if recipe is None or recipe.own_steps is None else own_spec(recipe)


def has_prior(header: Header) -> bool:
    """Whether a model draws x_T from a prior that is fitted to its data, by its description."""
    recipe = _recipe_of(header)
    return recipe is not None and recipe.prior_components > 0


def _recipe_of(header: Header) -> Recipe | None:
    try:
        recipe: Recipe = method_from_dict("recipe", header.recipe)
    except ValueError:
        return None
    return recipe


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is sampled from: a denoiser, its training schedule, and the facts of its data."""

    denoiser: Denoiser
    schedule: NoiseSchedule
    shape: tuple[int, ...]
    class_names: tuple[str, ...]
    own: SampleSpec = field(default_factory=SampleSpec)
    """How it is sampled where nobody says otherwise."""
    own_steps: int | None = None
    """How many levels it knows, where those are all; None where any level will do."""
    prior: Prior | None = None
    """Where x at the first level is drawn from; N(0, I) where there is none."""

    @property
    def is_image(self) -> bool:
        """Whether items are pictures in [-1, 1] rather than points."""
        return len(self.shape) == 3


def subject_of(model: Model) -> Subject:
    """What a loaded checkpoint gives to sample from."""
    return Subject(
        denoiser=model.denoiser,
        schedule=model.recipe.schedule,
        shape=model.shape,
        class_names=model.header.class_names,
        own=own_spec(model.recipe),
        own_steps=model.recipe.own_steps,
        prior=model.prior,
    )


def labels_of(text: str, class_names: Sequence[str], indices: Sequence[int]) -> list[int] | None:
    """The class of each image: a class by name or number, "each" in turn by index, or None for "none".

    Raises ValueError for an unknown class. A model without classes takes "each" and "none" alike as no class.
    """
    word = text.strip().lower()
    if word == "none" or (word == "each" and not class_names):
        return None
    if word == "each":
        return [index % len(class_names) for index in indices]
    if not class_names:
        raise ValueError(f"label = {text!r} is not possible: this model knows no classes.")
    names = [name.lower() for name in class_names]
    if word in names:
        return [names.index(word)] * len(indices)
    if word.isdecimal() and int(word) < len(names):
        return [int(word)] * len(indices)
    raise ValueError(f"label = {text!r} is no class; there are each, none, {', '.join(class_names)}.")


def asked_of(subject: Subject, knobs: SampleKnobs) -> np.ndarray | None:
    """(count,) int64: the class that each sample is asked for, or None. Raises ValueError for an unknown class."""
    found = labels_of(knobs.label, subject.class_names, range(knobs.count))
    return None if found is None else np.array(found, np.int64)


def levels_of(spec: SampleSpec, schedule: NoiseSchedule) -> list[Level]:
    """The levels that a run visits, N + 1, the last one clean."""
    return spec.grid.levels(schedule, spec.knobs.steps)


def conditioned(
    subject: Subject, knobs: SampleKnobs, indices: Sequence[int], device: torch.device
) -> tuple[Denoiser, Tensor | None]:
    """The denoiser, guided and clipped as ``knobs`` say, and the classes (B,) that it is asked for, or None.

    Raises ValueError for an unknown class.
    """
    denoiser = subject.denoiser
    found = labels_of(knobs.label, subject.class_names, indices)
    cond = None if found is None else torch.tensor(found, device=device)
    if cond is None and subject.class_names:
        cond = torch.full((len(indices),), NO_CLASS, device=device)
    elif cond is not None and knobs.guidance > 0.0:
        denoiser = Guided(denoiser, knobs.guidance)
    return Clipped(denoiser) if knobs.clip and subject.is_image else denoiser, cond


def begin(subject: Subject, noise: Noise, level: Level, cond: Tensor | None) -> Tensor:
    """x at the first level (B, ...) for the classes ``cond`` (B,), drawn from the model's prior."""
    if subject.prior is None:
        return start(noise, subject.shape, level)
    return subject.prior.draw(noise, subject.shape, level, cond)


def drawn(subject: Subject, spec: SampleSpec, device: torch.device, size: int) -> Iterator[np.ndarray | None]:
    """All samples of ``spec``, ``size`` at a time: None after every step, and each batch (B, ...) as it is done.

    Images are uint8 as :func:`to_uint8` makes them, points float32.
    """
    count = spec.knobs.count
    for first in range(0, count, size):
        x = None
        for step in sample(subject, spec, device, indices=range(first, min(first + size, count))):
            x = step.x
            yield None
        assert x is not None
        yield (to_uint8(x) if subject.is_image else x.float()).cpu().numpy()


def sample(
    subject: Subject,
    spec: SampleSpec,
    device: torch.device,
    *,
    indices: Sequence[int] | None = None,
    x_start: Tensor | None = None,
    given: Mapping[Draw, Tensor] | None = None,
) -> Iterator[Step]:
    """Run ``spec`` for the images ``indices`` (all of them by default). Yields the sampler's steps.

    ``x_start`` (B, ...) replaces what is drawn from the seed, in the first level's frame, and ``given`` what is drawn
    on the way, such as a step's latent: see :class:`~studio.core.noise.Noise`.
    """
    knobs = spec.knobs
    indices = range(knobs.count) if indices is None else indices
    denoiser, cond = conditioned(subject, knobs, indices, device)
    noise = Noise(knobs.seed, indices, device, given=given)
    levels = levels_of(spec, subject.schedule)
    x = begin(subject, noise, levels[0], cond) if x_start is None else x_start.to(device)
    steps = spec.sampler.run(denoiser, x, levels, cond=cond, noise=noise)
    while True:
        # Autocast is entered for one step at a time: a context held across a yield would leak to the caller.
        with autocast(device):
            step = next(steps, None)
        if step is None:
            return
        yield step


def slerp(a: Tensor, b: Tensor, weights: Tensor) -> Tensor:
    """(W, ...) points on the arc from noise ``a`` (...) to ``b`` (...), for ``weights`` (W,) in [0, 1].

    A straight mix of two Gaussian noises is too short to be one; the arc keeps the length (arXiv 2010.02502, D.3).
    """
    cosine = torch.nn.functional.cosine_similarity(a.flatten(), b.flatten(), 0).clamp(-1.0, 1.0)
    angle = torch.acos(cosine)
    weights = weights.view(-1, *(1,) * a.ndim).to(a.dtype)
    if angle.sin() < 1e-4:
        return (1.0 - weights) * a + weights * b
    return (((1.0 - weights) * angle).sin() * a + (weights * angle).sin() * b) / angle.sin()


def to_uint8(x: Tensor) -> Tensor:
    """Images in [-1, 1] as uint8, rounded."""
    return ((x.float() + 1.0) * 127.5).round_().clamp_(0, 255).to(torch.uint8)
