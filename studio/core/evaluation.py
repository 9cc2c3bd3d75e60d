"""What an evaluation measures: entrants x steps x seeds, as values and as TOML.

An **entrant** is a model with a way to sample it; a **cell** is one entrant at one number of steps from one seed. Cells
are known by what determines their samples, so an evaluation that stopped, or grew, finds what was measured before.
"""

from __future__ import annotations

import functools
import hashlib
import json
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

import tomli_w

from studio.core import resources
from studio.core.checkpoints.header import read_header
from studio.core.config import method_from_dict, method_to_dict
from studio.core.files import explain
from studio.core.grids import Grid, Uniform
from studio.core.knobs import Knobbed, build, knob, knobs_of, values_of
from studio.core.metrics.base import Metric
from studio.core.registry import methods, name_of
from studio.core.samplers.base import Sampler, sampler_title
from studio.core.samplers.ddim import DDIM
from studio.core.sampling import SampleKnobs, SampleSpec, few_steps


@dataclass(frozen=True, kw_only=True)
class EvaluationKnobs(Knobbed):
    """What all cells have in common."""

    count: int = knob(
        1000, help="Samples in each cell; scores of different counts do not compare.", symbol="N", low=2, high=100_000
    )
    label: str = knob("each", help='Class to sample: its name or number, "each" in turn, or "none".', symbol="y")
    clip: bool = knob(True, help="Keep x0-hat within the range of images.", label="Clip x̂₀")
    batch: int = knob(100, help="Samples at a time; changes speed, not scores.", label="Batch", low=1, high=10_000)
    reference_steps: int = knob(
        0,
        help="Steps of a DDIM run from the same noise that each cell's samples are compared with; 0 makes none.",
        label="Reference steps",
        low=0,
        high=10_000,
    )
    device: Literal["auto", "cpu", "cuda", "mps"] = knob("auto", help="What computes; auto takes the fastest.")


@dataclass(frozen=True, kw_only=True)
class Entrant:
    """A model and how it is sampled."""

    model: Path
    sampler: Sampler = field(default_factory=DDIM)
    grid: Grid = field(default_factory=Uniform)
    guidance: float = 0.0

    @property
    def title(self) -> str:
        """The sampler and what is set on it, such as ``DDIM η 0.2``; guidance where there is any."""
        title = sampler_title(self.sampler)
        return f"{title} w {self.guidance:g}" if self.guidance else title

    @property
    def id(self) -> str:
        """Names the entrant exactly: its model's place and everything that is set."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()[:12]

    def to_dict(self) -> dict[str, Any]:
        """A table of plain values."""
        shipped = self.model.parent == resources.shipped_checkpoints()
        return {
            # By name where it means the same on another machine.
            "model": self.model.stem if shipped else str(self.model),
            "sampler": method_to_dict("sampler", self.sampler),
            "grid": method_to_dict("grid", self.grid),
            "guidance": self.guidance,
        }


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One entrant at one number of steps from one seed; ``settings`` determine its samples."""

    entrant: Entrant
    steps: int
    seed: int
    knobs: EvaluationKnobs
    contents: str = ""
    """The model's :func:`fingerprint` when it was opened; a file may be replaced while it is measured."""

    @property
    def spec(self) -> SampleSpec:
        """How it is sampled."""
        return SampleSpec(
            sampler=self.entrant.sampler,
            grid=self.entrant.grid,
            knobs=SampleKnobs(
                steps=self.steps,
                seed=self.seed,
                count=self.knobs.count,
                label=self.knobs.label,
                guidance=self.entrant.guidance,
                clip=self.knobs.clip,
            ),
        )

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that the samples depend on; the model by its contents."""
        table = self.entrant.to_dict()
        knobs = self.knobs
        return table | {
            "model": self.contents or fingerprint(self.entrant.model),
            "steps": self.steps,
            "seed": self.seed,
            "count": knobs.count,
            "label": knobs.label,
            "clip": knobs.clip,
        }

    @functools.cached_property
    def key(self) -> str:
        """A name for the settings."""
        return hashlib.sha256(json.dumps(self.settings, sort_keys=True).encode()).hexdigest()[:20]

    @property
    def work(self) -> int:
        """Network evaluations of all its samples, about: guidance takes two where there are classes."""
        return self.steps * self.knobs.count * (2 if self.entrant.guidance else 1)

    def reference(self) -> Cell | None:
        """The many-step run from the same noise, or None where there is none: of models that know few levels alone."""
        if not self.knobs.reference_steps or _few(self.entrant.model) is not None:
            return None
        entrant = replace(self.entrant, sampler=DDIM(), grid=Uniform())
        return replace(self, entrant=entrant, steps=self.knobs.reference_steps)


def fingerprint(path: Path) -> str:
    """A hash of what a checkpoint's samples depend on: its numbers and how they are put together.

    Title, scores and history are left out. Raises ValueError where it cannot be read.
    """
    try:
        status = path.stat()
        return _fingerprint(path, status.st_mtime_ns, status.st_size)
    except OSError as error:
        raise ValueError(explain(error, path)) from error


@functools.lru_cache(maxsize=256)
def _fingerprint(path: Path, changed: int, size: int) -> str:
    header = read_header(path)
    built_from = [header.recipe, header.network, header.data, header.facts, header.class_names]
    digest = hashlib.sha256(json.dumps(built_from, sort_keys=True).encode())
    with path.open("rb") as file:
        file.seek(8 + int.from_bytes(file.read(8), "little"))
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()[:20]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Entrants x steps x seeds, measured alike. Raises ValueError where there is nothing to measure."""

    title: str = "Evaluation"
    entrants: tuple[Entrant, ...]
    steps: tuple[int, ...] = (10, 20, 50)
    seeds: tuple[int, ...] = (0,)
    knobs: EvaluationKnobs = field(default_factory=EvaluationKnobs)
    metrics: tuple[Metric, ...] = ()
    """What is measured; where it is empty, everything that applies to the data."""

    def __post_init__(self) -> None:
        for name in ("entrants", "steps", "seeds"):
            if not getattr(self, name):
                raise ValueError(f"An evaluation needs {name}: name at least one.")
        for step in self.steps:
            _check_number("steps", step, 1)
        for seed in self.seeds:
            _check_number("seeds", seed, 0)

    def cells(self) -> list[Cell]:
        """Every cell once, cheap ones first, so that a first answer comes early.

        An entrant whose grid takes a number of steps of its own has that one cell a seed.
        """
        found = [
            Cell(entrant=entrant, steps=steps, seed=seed, knobs=self.knobs)
            for seed in self.seeds
            for entrant in dict.fromkeys(self.entrants)
            for steps in self._steps(entrant)
        ]
        return sorted(found, key=lambda cell: (self.seeds.index(cell.seed), cell.work))

    def _steps(self, entrant: Entrant) -> Sequence[int]:
        own = entrant.grid.own_steps
        return list(dict.fromkeys(self.steps)) if own is None else [own]

    def to_dict(self) -> dict[str, Any]:
        """Nested tables of plain values."""
        return {
            "title": self.title,
            "steps": list(self.steps),
            "seeds": list(self.seeds),
            **values_of(self.knobs),
            "metrics": [method_to_dict("metric", metric) for metric in self.metrics],
            "entrants": [entrant.to_dict() for entrant in self.entrants],
        }

    @staticmethod
    def from_dict(tables: Mapping[str, Any], locate: Callable[[str], Path] = Path) -> Evaluation:
        """The evaluation that tables describe; what is missing takes its default. Raises ValueError in plain words.

        Entrants are listed under ``entrants``, or are every combination of ``models``, ``samplers``, ``grids``, ``eta``
        and ``guidance``. ``eta`` belongs to the samplers that have it. ``locate`` finds a model by its name.
        """
        common = [item.name for item in knobs_of(EvaluationKnobs)]
        known = {*(item.name for item in fields(Evaluation)), *common, *_PRODUCT} - {"knobs"}
        for name in tables:
            if name not in known:
                raise ValueError(f"{name!r} is no part of an evaluation; there are {', '.join(sorted(known))}.")
        entrants = [_entrant(table, locate) for table in _list(tables, "entrants")]
        if not entrants or "models" in tables:
            entrants += _product(tables, locate)
        return Evaluation(
            title=str(tables.get("title", Evaluation.title)),
            entrants=tuple(entrants),
            steps=tuple(_list(tables, "steps", Evaluation.steps)),
            seeds=tuple(_list(tables, "seeds", Evaluation.seeds)),
            knobs=build(EvaluationKnobs, {name: tables[name] for name in common if name in tables}),
            metrics=tuple(_method("metric", word) for word in _list(tables, "metrics")),
        )

    def to_toml(self) -> str:
        """The same as text, which :func:`read_tables` reads."""
        return tomli_w.dumps(_without_none(self.to_dict()))


_PRODUCT = ("models", "samplers", "grids", "eta", "guidance")


def read_tables(path: Path) -> dict[str, Any]:
    """The tables of a TOML file. Raises ValueError naming the file and what is wrong."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(explain(error, path)) from error
    except (ValueError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: {error}") from error


def _entrant(table: Any, locate: Callable[[str], Path]) -> Entrant:
    if not isinstance(table, Mapping) or not isinstance(table.get("model"), str):
        raise ValueError('An entrant needs a model, such as model = "mnist-ddpm".')
    for name in table:
        if name not in ("model", "sampler", "grid", "guidance"):
            raise ValueError(f"{name!r} is no setting of an entrant; it has model, sampler, grid, guidance.")
    model = locate(table["model"])
    own = _own(model)
    return Entrant(
        model=model,
        sampler=_method("sampler", table["sampler"]) if "sampler" in table else own.sampler,
        grid=_method("grid", table["grid"]) if "grid" in table else own.grid,
        guidance=_guidance(table.get("guidance", 0.0)),
    )


def _own(model: Path) -> Entrant:
    """The model as it is sampled where nobody says otherwise, without guidance; most, by DDIM over even steps."""
    few = _few(model)
    return Entrant(model=model) if few is None else Entrant(model=model, sampler=few.sampler, grid=few.grid)


def _few(model: Path) -> SampleSpec | None:
    """:func:`few_steps` of a checkpoint; None where it cannot be read, which is told when it is opened."""
    try:
        return few_steps(read_header(model))
    except (OSError, ValueError):
        return None


def _product(tables: Mapping[str, Any], locate: Callable[[str], Path]) -> list[Entrant]:
    samplers: list[Sampler] = []
    for word in _list(tables, "samplers", ("ddim",) if _list(tables, "eta") else ()):
        sampler = _method("sampler", word)
        etas = _list(tables, "eta") if _has_eta(sampler) else []
        samplers += [replace(sampler, eta=eta) for eta in etas] or [sampler]
    if _list(tables, "eta") and not any(map(_has_eta, samplers)):
        raise ValueError("eta has no effect: none of the samplers has it. Leave it out, or add ddim.")
    grids = [_method("grid", word) for word in _list(tables, "grids")]
    owns = [_own(locate(str(model))) for model in _list(tables, "models")]
    return [
        replace(own, sampler=sampler, grid=grid, guidance=_guidance(guidance))
        for own in owns
        for sampler in samplers or [own.sampler]
        for grid in grids or [own.grid]
        for guidance in _list(tables, "guidance", (0.0,))
    ]


def _has_eta(sampler: Sampler) -> bool:
    return any(item.name == "eta" for item in knobs_of(type(sampler)))


def _method(kind: str, word: Any) -> Any:
    """A method by its name alone, or by a table with its knobs."""
    return method_from_dict(kind, {"name": word} if isinstance(word, str) else word)


def _guidance(value: Any) -> float:
    (guidance,) = (item for item in knobs_of(SampleKnobs) if item.name == "guidance")
    return float(guidance.check(value))  # type: ignore[arg-type]


def _list(tables: Mapping[str, Any], name: str, default: Sequence[Any] = ()) -> Sequence[Any]:
    value = tables.get(name, default)
    if isinstance(value, (str, Mapping)) or not isinstance(value, Sequence):
        value = [value]
    return value


def _without_none(value: Any) -> Any:
    """Tables without what is None: TOML has no word for it."""
    if isinstance(value, Mapping):
        return {name: _without_none(item) for name, item in value.items() if item is not None}
    return [_without_none(item) for item in value] if isinstance(value, list) else value


def _check_number(name: str, value: Any, low: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value < 2**31:
        raise ValueError(f"{name} = {value!r} is not possible: it takes whole numbers of at least {low}.")


def metrics_for(names: Sequence[str] = ()) -> tuple[Metric, ...]:
    """The measures called ``names``, or all of them, with their default knobs."""
    return tuple(_method("metric", name) for name in names or methods("metric"))


def metric_name(metric: Metric) -> str:
    """The name a measure was registered under."""
    return name_of("metric", type(metric))
