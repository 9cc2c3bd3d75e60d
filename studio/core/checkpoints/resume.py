"""What an exact continuation needs: weights, average and optimiser state, in one ``.safetensors`` file.

Noise and batches follow from (seed, step), so there is no random state to keep: training 2N steps equals training N,
saving, loading, and training N more, bit for bit on the CPU.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from studio.core.checkpoints.native import portable, write


def save_resume(
    path: Path, facts: dict[str, Any], modules: Mapping[str, nn.Module], optimizers: list[torch.optim.Optimizer]
) -> None:
    """Write the state beside ``facts`` (plain values: step, images, seconds, the configuration).

    ``modules`` are what was trained, by a name: the average, the weights, and what else training needs.
    """
    tensors = {
        f"{part}.{name}": value for part, module in modules.items() for name, value in module.state_dict().items()
    }
    for number, optimizer in enumerate(optimizers):
        for index, state in optimizer.state_dict()["state"].items():
            tensors |= {f"opt{number}.{index}.{key}": torch.as_tensor(value) for key, value in state.items()}
    write(path, portable(tensors), {"resume": json.dumps(facts)})


def read_facts(path: Path) -> dict[str, Any]:
    """The facts that were written beside a state, without its tensors. Raises ValueError."""
    try:
        with safe_open(path, framework="pt") as file:
            return dict(json.loads((file.metadata() or {})["resume"]))
    except (OSError, SafetensorError, KeyError, ValueError, TypeError) as error:
        raise ValueError(f"{path} cannot be continued from: {error}. Start a new run from its config.toml.") from error


def load_resume(path: Path, modules: Mapping[str, nn.Module], optimizers: list[torch.optim.Optimizer]) -> None:
    """Put the state back into fresh objects of the same configuration and names. Raises ValueError."""
    try:
        tensors = load_file(path)
        for part, module in modules.items():
            module.load_state_dict(_under(f"{part}.", tensors))
        for number, optimizer in enumerate(optimizers):
            state: dict[int, dict[str, Tensor]] = {}
            for name, value in _under(f"opt{number}.", tensors).items():
                index, key = name.split(".", 1)
                state.setdefault(int(index), {})[key] = value
            optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
            _lay_out_as_weights(optimizer)
    except (OSError, SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise ValueError(f"{path} cannot be continued from: {error}. Start a new run from its config.toml.") from error


def _lay_out_as_weights(optimizer: torch.optim.Optimizer) -> None:
    """Give state the memory layout of its weight (channels-last, say): another layout rounds differently."""
    for weight, entry in optimizer.state.items():
        for key, value in entry.items():
            if isinstance(value, Tensor) and value.shape == weight.shape:
                entry[key] = torch.empty_like(weight).copy_(value)


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
