"""A training run, whole: data, recipe, network, optimiser and the run itself, as TOML and back.

``config.toml`` has one table for each part. A part that is a registered method names it with ``name``; every other key
is a knob. The same values stand in a checkpoint's description.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from studio.core.checkpoints.places import anchored
from studio.core.data.base import DatasetSpec
from studio.core.data.images import MNIST
from studio.core.knobs import Knobbed, build, knob, values_of
from studio.core.networks.base import NetworkSpec
from studio.core.networks.unet import UNetSpec
from studio.core.optimizers import MuonSpec, OptimizerSpec
from studio.core.recipes.base import Recipe
from studio.core.recipes.denoising import Denoising
from studio.core.registry import find, name_of

PARTS = {"data": "dataset", "recipe": "recipe", "network": "network", "optimizer": "optimizer"}
"""The parts of a run that are registered methods, and their kinds."""


@dataclass(frozen=True, kw_only=True)
class RunKnobs(Knobbed):
    """How long, how fast and how often: everything of a run that is no method."""

    steps: int = knob(
        1800,
        help="Training steps; the rate falls to 0 over them, or over those after warm start and opening.",
        low=1,
        high=100_000_000,
        log=True,
    )
    batch: int = knob(
        64, help="Images, or points, in one step.", label="Batch", symbol="B", low=1, high=65536, log=True
    )
    seed: int = knob(0, help="Everything random follows from it.", low=0, high=2**31 - 1)
    start_from: str = knob(
        "",
        help="A model whose weights the training starts from, in place of fresh ones: a checkpoint, a run folder, or "
        "the name of a model that ships. Its network and the shape of its data must be the same.",
        label="Start from",
    )
    warmup: int = knob(
        30, help="Steps over which the rate rises.", label="Warm-up", low=0, high=1_000_000, advanced=True
    )
    decay: Literal["linear", "constant"] = knob(
        "linear", help="What the rate does after the warm-up: fall to 0, or stay.", label="Rate after", advanced=True
    )
    ema_decay: float | None = knob(
        None,
        help="Memory of the averaged weights; auto grows it with the run.",
        label="EMA decay",
        low=0.0,
        high=0.99999,
        advanced=True,
    )
    ema_exponent: float = knob(
        10.0,
        help="Profile of the automatic average: larger forgets sooner.",
        label="EMA exponent",
        low=1.0,
        high=100.0,
        advanced=True,
    )
    preview_every: float = knob(
        15.0, help="Seconds between sample previews; 0 makes none.", unit="s", low=0.0, high=3600.0, advanced=True
    )
    score_every: float = knob(
        0.0,
        help="Seconds between scores of samples, such as FD; 0 makes none. Each costs what its samples do, 10 to 20 s "
        "on a CPU for 500 small images, and they take a tenth of the time at most: where they cost more, they come "
        "less often. The first one also looks at all of the data, which takes half a minute once.",
        label="Score every",
        unit="s",
        low=0.0,
        advanced=True,
    )
    score_count: int = knob(
        500,
        help="Samples that a score is measured on. Scores of different counts cannot be compared: FD falls with it.",
        label="Scored samples",
        low=200,
        high=100_000,
        log=True,
        advanced=True,
    )
    rewind_mb: int = knob(
        64,
        help="Disk space for snapshots of the averaged weights, by which a training is rewound; 0 makes none.",
        label="Rewind snapshots",
        unit="MB",
        low=0,
        high=100_000,
        advanced=True,
    )
    save_every: float = knob(60.0, help="Seconds between checkpoints.", unit="s", low=1.0, high=86400.0, advanced=True)
    device: Literal["auto", "cpu", "cuda", "mps"] = knob("auto", help="What computes; auto takes the fastest.")


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """One training run."""

    title: str = "Digits"
    data: DatasetSpec = field(default_factory=MNIST)
    recipe: Recipe = field(default_factory=Denoising)
    network: NetworkSpec = field(default_factory=UNetSpec)
    optimizer: OptimizerSpec = field(default_factory=MuonSpec)
    run: RunKnobs = field(default_factory=RunKnobs)

    def __post_init__(self) -> None:
        if self.network.kind != self.data.kind:
            raise ValueError(
                f"{self.network.title} is for {self.network.kind} data, but {self.data.title} is not: "
                "choose another network or another data set."
            )
        if 0 < self.run.steps <= self.recipe.warm_steps:
            raise ValueError(
                f"Warm start and opening take {self.recipe.warm_steps:,} steps and leave none of {self.run.steps:,} to "
                "the game: take more steps, or fewer before it."
            )

    def anchored(self, near: Path | None = None) -> TrainConfig:
        """The same training, whatever folder its settings are read from later; paths in it are from ``near``."""
        return replace(self, run=replace(self.run, start_from=anchored(self.run.start_from, near)))

    def to_dict(self) -> dict[str, Any]:
        """Nested tables of plain values."""
        tables: dict[str, Any] = {"title": self.title}
        for part, kind in PARTS.items():
            tables[part] = method_to_dict(kind, getattr(self, part))
        return tables | {"run": values_of(self.run)}

    @staticmethod
    def from_dict(tables: Mapping[str, Any]) -> TrainConfig:
        """The run described by nested tables; what is missing takes its default. Raises ValueError in plain words."""
        known = {"title", "run", *PARTS}
        for name in tables:
            if name not in known:
                raise ValueError(f"{name!r} is no part of a training configuration; there are {', '.join(known)}.")
        if not isinstance(tables.get("run", {}), Mapping):
            raise ValueError("run is no table: write its settings under [run].")
        parts = {part: method_from_dict(kind, tables[part]) for part, kind in PARTS.items() if part in tables}
        title = tables.get("title", parts["data"].title if "data" in parts else TrainConfig.title)
        return TrainConfig(title=str(title), run=build(RunKnobs, tables.get("run", {})), **parts)


def method_to_dict(kind: str, method: Any) -> dict[str, Any]:
    """``{"name": ..., knobs}`` of a registered method."""
    return {"name": name_of(kind, type(method)), **values_of(method)}


def method_from_dict(kind: str, table: Mapping[str, Any]) -> Any:
    """The registered method described by a table. Raises ValueError in plain words."""
    if not isinstance(table, Mapping) or not isinstance(table.get("name"), str):
        raise ValueError(f'A {kind} needs a name, such as name = "...".')
    return build(find(kind, table["name"]), {key: value for key, value in table.items() if key != "name"})


def to_toml(tables: Mapping[str, Any]) -> str:
    """Nested tables of plain values as TOML; None is left out."""
    lines = [f"{key} = {_toml(value)}" for key, value in tables.items() if not isinstance(value, Mapping)]
    for name, table in tables.items():
        if isinstance(table, Mapping):
            lines += ["", f"[{name}]"]
            lines += [f"{key} = {_toml(value)}" for key, value in table.items() if value is not None]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    # JSON and TOML write plain values alike, but TOML takes characters as they are and wants this one escaped.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007F")


def load_toml(path: Path) -> TrainConfig:
    """The run in a TOML file, paths in it being from its folder. Raises ValueError naming the file and the problem."""
    try:
        config = TrainConfig.from_dict(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}.") from error
    except (ValueError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: {error}") from error
    return config.anchored(path.parent)
