"""A kept z as text: how it is shared with others, as a small JSON file or through the clipboard.

It holds the z of every step and the seeds of the start and of each step's noise, so whoever opens it with the same
model sees the same sample. Everything in it is checked before it is believed.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from studio.core.checkpoints.header import Header
from studio.core.config import method_from_dict
from studio.core.files import write_text
from studio.core.recipes.base import Recipe
from studio.session.latent import Held

FORMAT = 1
MOST_BYTES = 4 << 20
_KIND = "denoising-studio latent"
_LONGEST_NAME = 60
_LARGEST = 1e6


@dataclass(frozen=True, eq=False)
class Kept:
    """What is held under a name, and the model that it was kept for: its title and its step of training.

    Step 0 is one that is not known.
    """

    name: str
    held: Held
    model: str
    step: int = 0


def to_text(kept: Kept) -> str:
    """The JSON of a kept z; nine digits give every float32 back exactly."""
    held = kept.held
    table = {
        "kind": _KIND,
        "format": FORMAT,
        "name": kept.name,
        "model": kept.model,
        "model_step": kept.step,
        "latent": held.z.shape[1],
        "steps": held.z.shape[0],
        "class": held.label,
        "start_seed": held.start_seed,
        "noise_seeds": list(held.noise_seeds),
        "z": [[float(f"{number:.9g}") for number in row] for row in held.z],
    }
    return json.dumps(table, ensure_ascii=False)


def from_text(text: str) -> Kept:
    """What :func:`to_text` wrote. Raises ValueError in plain words for anything else."""
    if len(text) > MOST_BYTES:
        raise ValueError("This is too long to be a shared z.")
    try:
        table = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("This is no shared z: it is not the JSON that the studio writes for one.") from None
    if not isinstance(table, dict) or table.get("kind") != _KIND:
        raise ValueError("This is no shared z: it is JSON of another kind.")
    if table.get("format") != FORMAT:
        raise ValueError(
            f"This z has format {table.get('format')}; this studio reads format {FORMAT}. Update the studio to open it."
        )
    try:
        return _checked(table)
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"This z is damaged ({error or type(error).__name__}). Have it shared again.") from None


def read(path: Path) -> Kept:
    """The z in a file. Raises ValueError in plain words, OSError where the file cannot be read."""
    with open(path, "rb") as file:
        found = file.read(MOST_BYTES + 1)
    try:
        text = found.decode("utf-8")
    except UnicodeDecodeError:
        raise ValueError(f"{path.name} is no shared z: it holds no text.") from None
    try:
        return from_text(text)
    except ValueError as error:
        raise ValueError(f"{path.name}: {error}") from None


def write(path: Path, kept: Kept) -> None:
    """Write a kept z, whole or not at all. Raises OSError."""
    write_text(path, to_text(kept) + "\n")


def misfit(kept: Kept, title: str, num_steps: int, size: int, class_names: tuple[str, ...]) -> str:
    """Why a kept z means nothing to a model, and what to do; "" where it does.

    A z of another model would be taken, but not give the picture that it was kept for, so it is refused as well.
    """
    steps, numbers = kept.held.z.shape
    if (steps, numbers) != (num_steps, size):
        return (
            f"“{kept.name}” holds {_sized(steps, numbers)}, but {title} takes {_sized(num_steps, size)}. "
            f"Open the model that it was kept for: {kept.model}."
        )
    if kept.model != title:
        return f"“{kept.name}” belongs to the model {kept.model} and shows nothing of it in {title}. Open that model."
    if kept.held.label != "none" and kept.held.label not in class_names:
        return f"“{kept.name}” is of the class “{kept.held.label}”, which {title} does not know."
    return ""


def changed_since(kept: Kept, step: int) -> str:
    """What a person should know where the model may be another one than when the z was kept; "" else."""
    if kept.step == step:
        return ""
    if not kept.step:
        return f"“{kept.name}” was kept before a z knew how far its model had trained: its picture may be another one."
    return (
        f"“{kept.name}” was kept for {kept.model} after {kept.step:,} steps of training; this one had {step:,}, so the "
        "picture is another one."
    )


def latent_shape(header: Header) -> tuple[int, int]:
    """(T, size) of the latents that a model takes; (0, 0) where it takes none. Raises ValueError as recipes do."""
    recipe = method_from_dict("recipe", dict(header.recipe))
    assert isinstance(recipe, Recipe)
    if not recipe.latent_size or recipe.own_steps is None:
        return 0, 0
    return recipe.own_steps, recipe.latent_size


def _sized(steps: int, size: int) -> str:
    return f"{steps} step{'s' * (steps != 1)} of {size} number{'s' * (size != 1)}"


def _checked(table: dict[str, Any]) -> Kept:
    for name in ("name", "model", "class"):
        if not isinstance(table[name], str):
            raise ValueError(f"{name} is no text")
    rows = table["z"]
    if not isinstance(rows, list) or not rows or not all(isinstance(row, list) and row for row in rows):
        raise ValueError("z is no table of numbers")
    if not all(type(number) in (int, float) and math.isfinite(number) for row in rows for number in row):
        raise ValueError("z holds something that is no number")
    if len(rows) != table["steps"] or {len(row) for row in rows} != {table["latent"]}:
        raise ValueError("z has not the size that it says")
    seeds = [table["start_seed"], *table["noise_seeds"]]
    if len(seeds) != len(rows) + 1 or not all(type(seed) is int and 0 <= seed < 2**63 for seed in seeds):
        raise ValueError("its seeds are not one for the start and one for each step")
    if max(abs(number) for row in rows for number in row) > _LARGEST:
        raise ValueError("z holds a number that is too large")
    step = table.get("model_step", 0)
    if type(step) is not int or step < 0:
        raise ValueError("the step of its model is no step")
    z = np.array(rows, np.float32)
    z.flags.writeable = False
    held = Held(z=z, start_seed=seeds[0], noise_seeds=tuple(seeds[1:]), label=table["class"])
    return Kept(name=table["name"].strip()[:_LONGEST_NAME] or "z", held=held, model=table["model"], step=step)
