"""Comparing ways to sample: several runs from the same noise, tables of settings, and nearest training items.

All start from the noise of one seed, so that image i of any two runs differs by what was chosen, not by chance. Every
run is one that ``denoising-studio sample`` repeats; :func:`command` writes how.
"""

from __future__ import annotations

import dataclasses
import functools
import shlex
import threading
import time
from collections.abc import Collection, Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from studio.core import events
from studio.core.config import method_from_dict
from studio.core.data.base import DatasetSpec
from studio.core.device import choose
from studio.core.grids import Grid, Uniform
from studio.core.knobs import Knob, Value, knobs_of
from studio.core.metrics.base import Evidence, Reference, fixed_rows
from studio.core.metrics.memorisation import TYPICAL_ITEMS, nearest
from studio.core.registry import name_of
from studio.core.samplers.ddim import DDIM
from studio.core.sampling import SampleKnobs, SampleSpec, Subject, labels_of, sample, subject_of
from studio.session.control import Control
from studio.session.jobs import FRAME_BYTES, FrameTeller, load_model, to_items

MOST_LANES = 6
MOST_VALUES = 12
_MOST_RUNS = 48
_BLOCK_ITEMS, _BLOCK_PRODUCTS = 256, 1 << 30  # of a search between two looks around: a fraction of a second


@dataclass(frozen=True)
class LaneSpec:
    """One run: the checkpoint at ``path``, and how it is sampled.

    ``changed`` says when the file was written last, in ns: after more training it is another run.
    """

    path: Path
    spec: SampleSpec
    changed: int = 0

    def as_of_now(self) -> LaneSpec:
        """The run of the file as it is; one that is not there fails when it is sampled."""
        try:
            return dataclasses.replace(self, changed=self.path.stat().st_mtime_ns)
        except OSError:
            return dataclasses.replace(self, changed=0)

    def started(self, seed: int, count: int) -> LaneSpec:
        """The same run from another start."""
        knobs = dataclasses.replace(self.spec.knobs, seed=seed, count=count)
        return dataclasses.replace(self, spec=dataclasses.replace(self.spec, knobs=knobs))

    def reference(self, steps: int, longest: int) -> LaneSpec:
        """What the run is measured against: DDIM in many even steps, as many as a schedule of ``longest`` has."""
        knobs = dataclasses.replace(self.spec.knobs, steps=min(steps, longest))
        return dataclasses.replace(self, spec=SampleSpec(sampler=DDIM(), grid=Uniform(), knobs=knobs))


@dataclass(frozen=True)
class Done:
    """A finished run: samples (B, ...) float32 in the model's range, network evaluations an image, and seconds."""

    x: np.ndarray
    nfe: int
    seconds: float


class Runs:
    """Finished runs, so that none is sampled twice while others are added; the oldest of very many are dropped."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._done: dict[LaneSpec, Done] = {}

    def find(self, lane: LaneSpec) -> Done | None:
        """The run, if it is known."""
        with self._lock:
            return self._done.get(lane)

    def keep(self, lane: LaneSpec, done: Done) -> None:
        """Remember a run."""
        with self._lock:
            self._done.pop(lane, None)
            self._done[lane] = done
            while len(self._done) > _MOST_RUNS:
                self._done.pop(next(iter(self._done)))

    def forget(self, lane: LaneSpec) -> None:
        """Let a run be sampled again."""
        with self._lock:
            self._done.pop(lane, None)

    def only(self, lanes: Collection[LaneSpec]) -> Runs:
        """These runs, as far as they are known, apart from what a job that is about to end still keeps here."""
        found = Runs()
        with self._lock:
            found._done = {lane: done for lane, done in self._done.items() if lane in lanes}
        return found


def has_own_steps(grid: Grid) -> bool:
    """Whether the grid takes a number of steps of its own, also while what is typed for it is no possible list."""
    try:
        return grid.own_steps is not None
    except ValueError:
        return True


def num_steps(spec: SampleSpec) -> int:
    """How many steps a run takes: as many as its grid names, or as were asked for.

    A list that is not possible names none; it is refused when it is sampled.
    """
    try:
        own = spec.grid.own_steps
    except ValueError:
        own = None
    return spec.knobs.steps if own is None else own


def deviation(samples: np.ndarray, reference: np.ndarray) -> float:
    """Root mean square difference of samples from the same noise, (B, ...) each, in the model's range."""
    return float(np.sqrt(np.mean((samples.astype(np.float64) - reference) ** 2)))


@dataclass(frozen=True)
class CompareJob:
    """Sample ``lanes`` from the same noise, those of few steps first, then tell how far each is from its reference.

    ``LaneDone`` comes as soon as a lane is complete and, where there is a reference, once more with the deviation. A
    model that knows a few levels alone has none.
    Frames are told of lanes that ``runs`` does not know; known ones are not sampled again. Lanes whose items have
    different shapes are refused.
    """

    lanes: tuple[LaneSpec, ...]
    seed: int
    count: int
    reference_steps: int | None = None
    runs: Runs = field(default_factory=Runs, compare=False)
    references: Runs = field(default_factory=Runs, compare=False)
    device: str = "auto"

    def __call__(self, control: Control) -> Iterator[events.Event | None]:
        device = choose(self.device)  # type: ignore[arg-type]
        lanes = [lane.started(self.seed, self.count) for lane in self.lanes]
        shape: tuple[int, ...] | None = None
        # Cheap ones first: most of the pictures are there soon.
        for index, lane in sorted(enumerate(lanes), key=lambda item: num_steps(item[1].spec)):
            if self.runs.find(lane) is None:
                yield events.Status(text=f"Sampling lane {index + 1} of {len(lanes)}")
                subject = subject_of(load_model(lane.path, device))
                if shape not in (None, subject.shape):
                    raise ValueError(f"{lane.path.name} makes items of another shape than the lanes before it.")
                shape = subject.shape
                yield from self._sample(index, lane, subject, device, control)
            found = self.runs.find(lane)
            if control.stopping or found is None:
                return
            yield events.LaneDone(lane=index, nfe=found.nfe, seconds=found.seconds)
        if self.reference_steps is not None:
            yield from self._refer(lanes, self.reference_steps, device, control)

    def _sample(
        self, index: int, lane: LaneSpec, subject: Subject, device: torch.device, control: Control
    ) -> Iterator[events.Event | None]:
        began = time.perf_counter()
        share = FRAME_BYTES // max(2, len(self.lanes))
        teller = FrameTeller(subject, began, lane=index, most_bytes=share, field=False)
        for step in sample(subject, lane.spec, device):
            if control.stopping:
                return
            if step.index == step.total:
                x = events.freeze(step.x.float().cpu().numpy().copy())
                self.runs.keep(lane, Done(x, step.nfe, time.perf_counter() - began))
            yield from teller.tell(step)

    def _refer(
        self, lanes: list[LaneSpec], steps: int, device: torch.device, control: Control
    ) -> Iterator[events.Event | None]:
        for index, lane in enumerate(lanes):
            model = load_model(lane.path, device)
            if model.recipe.own_steps is not None:
                continue  # it knows no other levels, and so no run of many steps
            reference = lane.reference(steps, model.recipe.schedule.length)
            if self.references.find(reference) is None:
                yield events.Status(text=f"Sampling the reference in {reference.spec.knobs.steps:,} steps")
                began = time.perf_counter()
                for step in sample(subject_of(model), reference.spec, device):  # noqa: B007
                    if control.stopping:
                        return
                    yield None
                done = Done(step.x.float().cpu().numpy(), step.nfe, time.perf_counter() - began)
                self.references.keep(reference, done)
            found, ideal = self.runs.find(lane), self.references.find(reference)
            assert found is not None
            assert ideal is not None
            yield events.LaneDone(
                lane=index, nfe=found.nfe, seconds=found.seconds, deviation=deviation(found.x, ideal.x)
            )


@dataclass(frozen=True)
class Axis:
    """One side of a table: the name of a setting, as :func:`settings` has it, and its values."""

    name: str
    values: tuple[Value, ...]


def settings(spec: SampleSpec, class_names: Sequence[str], is_image: bool) -> dict[str, Knob]:
    """What can be varied about a run, by name: its common knobs, then ``sampler.`` and ``grid.`` ones.

    What has no effect on this run is left out.
    """
    found = {knob.name: knob for knob in knobs_of(SampleKnobs) if knob.name != "count"}
    if has_own_steps(spec.grid):
        del found["steps"]
    if not class_names:
        del found["label"]
    if not class_names or spec.knobs.label.strip().lower() == "none":
        del found["guidance"]
    if not is_image:
        del found["clip"]
    for part, method in (("sampler", spec.sampler), ("grid", spec.grid)):
        found |= {f"{part}.{knob.name}": knob for knob in knobs_of(type(method)) if knob.kind != "text"}
    return found


def varied(spec: SampleSpec, name: str, value: Value) -> SampleSpec:
    """``spec`` with another value of the setting ``name``. Raises ValueError in the knob's words."""
    part, _, knob = name.rpartition(".")
    part = part or "knobs"
    changed = dataclasses.replace(getattr(spec, part), **{knob: value})
    return dataclasses.replace(spec, **{part: changed})


def parse_values(knob: Knob, text: str, class_names: Sequence[str] = ()) -> tuple[Value, ...]:
    """The values in a typed list such as ``5, 10, 20``, each once. Raises ValueError in the knob's words."""
    words = [word.strip() for word in text.replace(";", ",").split(",") if word.strip()]
    found = tuple(dict.fromkeys(knob.parse(word) for word in words))
    if not found:
        raise ValueError(f"{knob.label}: type at least one value; it takes {knob.allowed}.")
    if len(found) > MOST_VALUES:
        raise ValueError(f"{knob.label}: {len(found)} values are too many for a table; take at most {MOST_VALUES}.")
    if knob.name == "label":
        for value in found:
            labels_of(str(value), class_names, [0])
    return found


@dataclass(frozen=True)
class GridJob:
    """Samples of ``lane`` for every pair of values of two settings, all from the same noise; row by row."""

    lane: LaneSpec
    rows: Axis
    columns: Axis
    device: str = "auto"

    def spec_at(self, row: int, column: int) -> SampleSpec:
        """How one place of the table is sampled."""
        spec = varied(self.lane.spec, self.rows.name, self.rows.values[row])
        return varied(spec, self.columns.name, self.columns.values[column])

    def __call__(self, control: Control) -> Iterator[events.Event | None]:
        yield events.Status(text="Opening the model")
        device = choose(self.device)  # type: ignore[arg-type]
        subject = subject_of(load_model(self.lane.path, device))
        total = len(self.rows.values) * len(self.columns.values)
        for row in range(len(self.rows.values)):
            for column in range(len(self.columns.values)):
                yield events.Status(text=f"Sampling {row * len(self.columns.values) + column + 1} of {total}")
                began = time.perf_counter()
                for step in sample(subject, self.spec_at(row, column), device):  # noqa: B007
                    if control.stopping:
                        return
                    yield None
                caption = f"{step.nfe} calls · {time.perf_counter() - began:.2g} s"
                yield events.Tile(row=row, column=column, images=to_items(step.x, subject), caption=caption)


@dataclass(frozen=True)
class NeighbourJob:
    """Samples of ``lane`` beside the training items nearest to them."""

    lane: LaneSpec
    device: str = "auto"

    def __call__(self, control: Control) -> Iterator[events.Event | None]:
        yield events.Status(text="Sampling")
        device = choose(self.device)  # type: ignore[arg-type]
        model = load_model(self.lane.path, device)
        subject = subject_of(model)
        for step in sample(subject, self.lane.spec, device):  # noqa: B007
            if control.stopping:
                return
            yield None
        samples = to_items(step.x, subject)
        yield events.Status(text=f"Looking through {model.header.data_title}")
        items = _real_items(method_from_dict("dataset", model.header.data))
        found = yield from _nearest(samples, items.train.items, control)
        typical = yield from _typical(items, control)
        if found is None or typical is None:
            return
        rows, distances = found
        yield events.Neighbours(
            samples=samples,
            nearest=events.freeze(items.train.items[rows].copy()),
            distances=events.freeze(distances),
            typical=events.freeze(typical.copy()),
        )


def _nearest(
    items: np.ndarray, train_items: np.ndarray, control: Control
) -> Generator[None, None, tuple[np.ndarray, np.ndarray] | None]:
    """:func:`~studio.core.metrics.memorisation.nearest` in blocks of both sides; None where it is asked to stop."""
    rows, distances = np.zeros(len(items), np.int64), np.full(len(items), np.inf)
    many = max(1, _BLOCK_PRODUCTS // max(1, items[:_BLOCK_ITEMS].size))
    for low in range(0, len(items), _BLOCK_ITEMS):
        part = slice(low, low + _BLOCK_ITEMS)
        for start in range(0, len(train_items), many):
            if control.stopping:
                return None
            found, far = nearest(items[part], train_items[start : start + many])
            nearer = far < distances[part]
            rows[part] = np.where(nearer, start + found, rows[part])
            distances[part] = np.where(nearer, far, distances[part])
            yield None
    return None if control.stopping else (rows, distances)


def _typical(reference: Reference, control: Control) -> Generator[None, None, np.ndarray | None]:
    """What ``typical_distances`` gives, in blocks; worked out once."""
    known: dict[str, np.ndarray] = reference.once("near copies", dict)
    if "typical" not in known:
        total = len(reference.test)
        rows = fixed_rows(total, min(TYPICAL_ITEMS, total // 2))
        found = yield from _nearest(reference.test.items[rows], reference.train.items, control)
        if found is None:
            return None
        known["typical"] = np.quantile(found[1], (0.01, 0.5, 0.99))
    return known["typical"]


@functools.lru_cache(maxsize=4)
def _real_items(spec: DatasetSpec) -> Reference:
    """The real items alone: distances between items need no feature network, so any data set will do."""
    data = spec.load()
    return Reference(
        data=data.title,
        kind=data.kind,
        network="",
        num_modes=0,
        test=Evidence(items=data.test),
        train=Evidence(items=data.train),
        look=lambda real: real,
    )


def command(lane: LaneSpec, out: str) -> str:
    """The ``denoising-studio sample`` command that makes the run again; what is as by default is left out."""
    words = ["denoising-studio", "sample", str(lane.path)]
    for part, method in (("sampler", lane.spec.sampler), ("grid", lane.spec.grid)):
        words += [f"--{part}", name_of(part, type(method))]
        words += _flags(method, part + ".", ())
    skipped = ["steps"] if has_own_steps(lane.spec.grid) else []
    if lane.spec.knobs.label.strip().lower() == "none":
        skipped.append("guidance")
    words += _flags(lane.spec.knobs, "", ("steps", "seed", "count"), skipped)
    return shlex.join([*words, "--out", out])


def _flags(knobbed: object, prefix: str, always: Sequence[str], skipped: Sequence[str] = ()) -> list[str]:
    words: list[str] = []
    for knob in knobs_of(type(knobbed)):
        value = getattr(knobbed, knob.name)
        if knob.name not in skipped and (knob.name in always or value != knob.default):
            words += [f"--{prefix}{knob.name.replace('_', '-')}", str(value)]
    return words
