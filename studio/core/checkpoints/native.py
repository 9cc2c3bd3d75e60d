"""Our own checkpoints: writing them whole, and rebuilding the model they describe.

The tensors ``ema.*`` are the averaged weights, which sample, and ``raw.*`` those of the last step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from studio.core.checkpoints.header import Header, NotACheckpoint, read_header
from studio.core.config import method_from_dict
from studio.core.denoisers import Denoiser
from studio.core.files import replacing
from studio.core.recipes.base import DataFacts, Recipe


@dataclass(frozen=True)
class Model:
    """A loaded checkpoint: its description, its denoiser (averaged weights, frozen) and its recipe."""

    header: Header
    denoiser: Denoiser
    recipe: Recipe

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one item: (C, H, W) or (D,)."""
        return self.header.facts["shape"]

    @property
    def num_classes(self) -> int:
        """0 where the model knows no classes."""
        return self.header.facts["num_classes"]


def save(path: Path, header: Header, ema: nn.Module, raw: nn.Module) -> None:
    """Write a checkpoint whole or not at all. Raises OSError where it cannot."""
    tensors = {f"ema.{name}": value for name, value in portable(ema.state_dict()).items()}
    tensors |= {f"raw.{name}": value for name, value in portable(raw.state_dict()).items()}
    write(path, tensors, header.to_metadata())


def write(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """A safetensors file, written to a temporary name and renamed. Raises OSError, also for a full disk."""
    with replacing(path) as part:
        try:
            save_file(dict(tensors), part, metadata=dict(metadata))
        except SafetensorError as error:
            # The library hides the system's error in its text; a full disk must reach the person as such.
            code = 28 if "No space" in str(error) or "os error 28" in str(error) else None
            raise OSError(code, str(error)) from error


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
        # Fresh weights are overwritten at once: no need to draw them from anyone's generator.
        with torch.random.fork_rng(devices=[]):
            denoiser = recipe.denoiser(network, facts)
        tensors = load_file(path)
        weights = {name.removeprefix("ema."): value for name, value in tensors.items() if name.startswith("ema.")}
        denoiser.load_state_dict(weights)
    except (ValueError, TypeError, RuntimeError, SafetensorError) as error:
        raise NotACheckpoint(f"{path.name} does not fit its own description: {error}") from error
    return Model(header, denoiser.to(device).eval().requires_grad_(False), recipe)
