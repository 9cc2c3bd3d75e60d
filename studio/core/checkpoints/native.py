"""Our own checkpoints: writing them whole, and rebuilding the model they describe.

The tensors ``ema.*`` are the averaged weights, which sample, ``raw.*`` those of the last step, and ``prior.*`` what x_T
is drawn from, where that is fitted to the data. Averages that are saved by themselves have that in a file beside them.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import math
import re
import shutil
import struct
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from studio.core.checkpoints.header import Header, NotACheckpoint, read_header
from studio.core.config import method_from_dict
from studio.core.denoisers import Denoiser
from studio.core.files import replacing
from studio.core.networks.base import fresh_weights
from studio.core.prior import Prior
from studio.core.recipes.base import DataFacts, Recipe
from studio.core.short_schedule import ShortSchedule

PRIOR_OF_AVERAGES = "prior.safetensors"
"""The file of the prior beside averages that are saved by themselves."""


@dataclass(frozen=True)
class Model:
    """A loaded checkpoint: its description, its denoiser (averaged weights, frozen), its recipe, its prior if any."""

    header: Header
    denoiser: Denoiser
    recipe: Recipe
    prior: Prior | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one item: (C, H, W) or (D,)."""
        return self.header.facts["shape"]

    @property
    def num_classes(self) -> int:
        """0 where the model knows no classes."""
        return self.header.facts["num_classes"]


def save(path: Path, header: Header, ema: nn.Module, raw: nn.Module, prior: Prior | None = None) -> None:
    """Write a checkpoint whole or not at all. Raises OSError where it cannot."""
    tensors = {f"ema.{name}": value for name, value in portable(ema.state_dict()).items()}
    tensors |= {f"raw.{name}": value for name, value in portable(raw.state_dict()).items()}
    write(path, tensors | _of_prior(prior), header.to_metadata())


def write(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """A safetensors file, written to a temporary name and renamed. Raises OSError, also for a full disk."""
    with replacing(path) as part:
        try:
            save_file(dict(tensors), part, metadata=dict(metadata))
        except SafetensorError as error:
            # The library hides the system's error in its text; a full disk must reach the person as such.
            found = re.search(r"os error (\d+)", str(error))
            raise OSError(int(found[1]) if found else errno.EIO, str(error), str(path)) from error


def save_average(path: Path, header: Header, ema: nn.Module, prior: Prior | None = None) -> None:
    """Write the averaged weights alone, in half precision: a quarter of a checkpoint, from which one can sample too.

    A prior goes beside it, once for all such files of the folder. Raises OSError where it cannot.
    """
    beside = path.with_name(PRIOR_OF_AVERAGES)
    if prior is not None and not beside.is_file():
        write(beside, _of_prior(prior), {})
    tensors = {f"ema.{name}": value.half() for name, value in portable(ema.state_dict()).items()}
    write(path, tensors, header.to_metadata())


def _of_prior(prior: Prior | None) -> dict[str, Tensor]:
    """A prior's tensors; it is rounded to half precision when it is fitted, so nothing is lost."""
    state = {} if prior is None else portable(prior.state_dict())
    return {f"prior.{name}": value.half() for name, value in state.items()}


def write_scores(path: Path, scores: Mapping[str, float]) -> None:
    """Add ``scores`` to those in a checkpoint, named as :func:`~studio.core.checkpoints.header.score_key` writes them.

    Every other byte of description and weights stays as it is, and the file is replaced whole or not at all. Raises
    ValueError for a score that is no number, NotACheckpoint for another file, OSError where it cannot be written.
    """
    for key, value in scores.items():
        if not math.isfinite(value):
            raise ValueError(f"{key} = {value} is no score to keep: it takes a finite number.")
    numbers = {key: float(value) for key, value in scores.items()}
    with _CHANGING:
        header = read_header(path)
        _write_header(path, dataclasses.replace(header, scores={**header.scores, **numbers}))


def write_schedules(
    path: Path, change: Callable[[tuple[ShortSchedule, ...]], Iterable[ShortSchedule]], model: str
) -> None:
    """Let a checkpoint keep what ``change`` makes of its schedules, shortest first. ``model`` is its fingerprint.

    ``change`` is given what the file keeps at this moment, so that of two who change it neither undoes the other.
    Weights and the rest of the description stay as they are, and the file is replaced whole or not at all. Raises
    ValueError for a schedule that was found for another model, NotACheckpoint and OSError as :func:`write_scores`.
    """
    with _CHANGING:
        header = read_header(path)
        schedules = sorted(change(header.schedules), key=lambda schedule: schedule.steps)
        for schedule in schedules:
            if schedule.model not in ("", model):
                raise ValueError(
                    f"The schedule {schedule.name} was found for another model, so {path.name} does not keep it. "
                    "It can be tried there all the same: export it, and import it as a schedule of no model."
                )
        _write_header(path, dataclasses.replace(header, schedules=tuple(schedules)))


_CHANGING = threading.Lock()
"""A description is read and written again in one go: a search and the person may change one file at a time."""


def _write_header(path: Path, header: Header) -> None:
    """Replace the description in a checkpoint; the weights are copied as they are."""
    with open(path, "rb") as source, replacing(path) as part, open(part, "wb") as target:
        table = json.loads(source.read(struct.unpack("<Q", source.read(8))[0]))
        table["__metadata__"] |= header.to_metadata()
        text = json.dumps(table, ensure_ascii=False, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)  # the format wants its numbers aligned to eight bytes
        target.write(struct.pack("<Q", len(text)) + text)
        shutil.copyfileobj(source, target)


def portable(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors on the CPU, contiguous and unshared, as safetensors wants them."""
    return {name: value.detach().cpu().contiguous() for name, value in state.items()}


def load(path: Path, device: torch.device) -> Model:
    """Rebuild the model of a checkpoint. Raises NotACheckpoint for damaged or foreign files."""
    header = read_header(path)
    try:
        recipe = method_from_dict("recipe", header.recipe)
        network = method_from_dict("network", header.network)
        facts = DataFacts(**header.facts)
        # Counted before it is built: a description may claim a network of any size.
        weights = _averaged(path, network.count(facts.shape, facts.num_classes, recipe.latent_size))
        with fresh_weights(seed=0):
            denoiser = recipe.denoiser(network, facts)
        denoiser.load_state_dict(weights)
        prior = _prior(path, recipe.prior_components, facts, device)
    except (ValueError, TypeError, RuntimeError, SafetensorError) as error:
        raise NotACheckpoint(f"{path.name} does not fit its own description: {error}") from error
    return Model(header, denoiser.to(device).eval().requires_grad_(False), recipe, prior)


def _averaged(path: Path, count: int) -> dict[str, Tensor]:
    """The averaged weights, if they are as many numbers as the description claims. Raises ValueError otherwise."""
    with safe_open(path, framework="pt") as file:
        names = _names(file, "ema.")
        held = sum(math.prod(file.get_slice(name).get_shape()) for name in names)
        if held != count:
            raise ValueError(f"it holds {held:,} weights where the network it names has {count:,}.")
        return {name.removeprefix("ema."): file.get_tensor(name) for name in names}


def _prior_tensors(path: Path) -> dict[str, Tensor]:
    with safe_open(path, framework="pt") as file:
        return {name.removeprefix("prior."): file.get_tensor(name).float() for name in _names(file, "prior.")}


def _names(file: safe_open, prefix: str) -> list[str]:
    return [name for name in file.keys() if name.startswith(prefix)]  # noqa: SIM118 - it cannot be iterated


def _prior(path: Path, components: int, facts: DataFacts, device: torch.device) -> Prior | None:
    """What x_T is drawn from, where the recipe has it fitted. Raises ValueError or RuntimeError for another."""
    if not components:
        return None
    beside = path.with_name(PRIOR_OF_AVERAGES)
    found = _prior_tensors(path) or (_prior_tensors(beside) if beside.is_file() else {})
    if not found:
        raise ValueError(
            "it holds no prior to draw x_T from, where its recipe has one. A snapshot of a training needs the file "
            f"{PRIOR_OF_AVERAGES} of its folder beside it."
        )
    with torch.device("meta"):  # a description may claim a prior of any size: it takes room once it is found to fit
        prior = Prior(components, facts.shape, facts.num_classes)
    prior.load_state_dict(found, assign=True)
    return prior.to(device)
