"""Runs an evaluation into a folder, cell by cell, so that nothing measured is measured again.

``cells/KEY.json`` has what a cell cost and its scores, ``samples/KEY.npz`` its samples, ``samples/KEY/`` the batches of
a cell that is not complete. Seconds are of sampling alone: without loading, scoring and writing.
"""

from __future__ import annotations

import json
import math
import shutil
import time
import zipfile
import zlib
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch

from studio.core import events, features
from studio.core.checkpoints.header import Header
from studio.core.checkpoints.native import load
from studio.core.config import method_from_dict, method_to_dict
from studio.core.data.base import DatasetSpec
from studio.core.device import choose, describe, forget_peak, memory_in_use
from studio.core.evaluation import Cell, Entrant, Evaluation, fingerprint, metrics_for
from studio.core.files import replacing, write_text
from studio.core.knobs import knobs_of
from studio.core.metrics.base import (
    FLOOR_DRAWS,
    Evidence,
    Metric,
    Reference,
    Score,
    floor,
    floor_draw,
    measure,
    warning,
)
from studio.core.networks.base import Network
from studio.core.report import write_report
from studio.core.runs import model_name
from studio.core.sampling import (
    Subject,
    asked_of,
    labels_of,
    levels_of,
    sample,
    subject_of,
    to_uint8,
)

PROGRESS_SECONDS = 0.2
FORMAT = 1
Row = dict[str, float | int | str | None]


class EvaluationControl(Protocol):
    """What is looked at between two sampler steps."""

    @property
    def stopping(self) -> bool:
        """End now, keeping every complete batch."""


class Stopped(Exception):
    """The evaluation was asked to end."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Of sampling one cell. ``nfe`` are network evaluations an image; ``peak`` is in bytes."""

    nfe: int
    seconds: float
    peak: int


class _Opened(NamedTuple):
    header: Header
    subject: Subject
    contents: str


class Evaluator:
    """Measures an :class:`~studio.core.evaluation.Evaluation` into ``folder``, which may hold parts of it already.

    With ``sampled_only`` it scores and tells the cells whose samples are there, and draws none. ``compiled`` networks
    take half a minute each at first and are then a quarter faster on a CPU; their samples differ by rounding alone.
    """

    def __init__(
        self, evaluation: Evaluation, folder: Path, *, sampled_only: bool = False, compiled: bool = False
    ) -> None:
        self.evaluation, self.folder, self._sampled_only = evaluation, folder, sampled_only
        self._compiled = compiled
        self.device = choose(evaluation.knobs.device)
        self._store = _Store(folder)
        self._opened: dict[Path, _Opened] = {}
        self._judges: dict[str, _Judge] = {}

    def run(self, control: EvaluationControl) -> Iterator[events.Event | None]:
        """Measure what is missing and tell every cell; last come the files of the whole table.

        Raises ValueError, before anything is sampled, for cells that cannot be; OSError where the folder cannot be
        written. A cell that breaks down on the way is a warning, and the others go on.
        """
        yield events.Status(text="Opening the models")
        cells = [replace(cell, contents=self._open(cell.entrant).contents) for cell in self.evaluation.cells()]
        for cell in cells:
            self._check(cell)
        for judge in self._judges.values():
            for share in judge.prepare():
                yield events.Status(text=f"Looking at the real items · {share:.0%}")
                if control.stopping:
                    return
        yield from self._warn(cells)
        self.folder.mkdir(parents=True, exist_ok=True)
        table: dict[str, Any] = {
            "title": self.evaluation.title,
            "rows": [],
            "floors": {},
            "toml": self.evaluation.to_toml(),
        }
        yield events.Status(text="Measuring")
        clock = _Clock(len(cells), [*cells, *self._references(cells)], self._store)
        done, broken = 0, 0
        for cell in cells:
            try:
                row, found = yield from self._cell(cell, clock, control, f"{done} of {len(cells)} cells")
            except Stopped:
                continue  # what was measured before still belongs into the table
            except ValueError as error:
                broken += 1
                yield events.Warned(summary=f"{self._name(cell)}: {error}")
                continue
            done += 1
            table["rows"].append(row)
            table["floors"][row["data"]] = {"network": row["network"], "count": row["count"], "values": found}
            yield events.CellScored(row=row, floor={name: score.value for name, score in found.items()})
            yield clock.complete(f"{done} of {len(cells)} cells")
        if table["rows"]:
            table["machine"] = f"{describe(self.device)}, torch {torch.__version__}"
            table["missing"] = len(cells) - done
            yield events.Status(text="Writing the report")
            yield events.Saved(path=str(write_report(self.folder, table)))
        if broken and not done:
            raise ValueError("No cell could be measured; the warnings above say why.")

    # Before anything is sampled

    def _open(self, entrant: Entrant) -> _Opened:
        while entrant.model not in self._opened:
            contents = fingerprint(entrant.model)
            model = load(entrant.model, self.device)
            # A training may save it anew meanwhile: what was read must be what it is known by.
            if contents == fingerprint(entrant.model):
                subject = subject_of(model)
                if self._compiled:
                    _compile(subject, self.evaluation.knobs.batch, self.device)
                self._opened[entrant.model] = _Opened(model.header, subject, contents)
        return self._opened[entrant.model]

    def _check(self, cell: Cell) -> None:
        """Raise ValueError for a cell that cannot be sampled or scored."""
        header, subject, _ = self._open(cell.entrant)
        try:
            levels_of(cell.spec, subject.schedule)
            labels_of(cell.knobs.label, subject.class_names, ())
            if reference := cell.reference():
                levels_of(reference.spec, subject.schedule)
        except ValueError as error:
            raise ValueError(f"{self._name(cell)}: {error}") from None
        judge = self._judge(header)
        for metric in self.evaluation.metrics:
            if metric.applies(judge.reference) and cell.knobs.count < (fewest := metric.fewest_for(judge.reference)):
                raise ValueError(f"count = {cell.knobs.count:,} is too small for {metric.title}: it needs {fewest:,}.")
        judge.metrics(self.evaluation, cell.knobs.count)

    def _warn(self, cells: list[Cell]) -> Iterator[events.Event]:
        count = self.evaluation.knobs.count
        found: list[str] = []
        for judge in self._judges.values():
            chosen = judge.metrics(self.evaluation, count)
            found += [warning(metric, count, judge.reference) for metric in chosen]
            found += judge.left_out(self.evaluation, count)
        for text in dict.fromkeys(filter(None, found)):
            yield events.Warned(summary=text)
        label = self.evaluation.knobs.label.strip().lower()
        if label not in ("each", "none"):
            yield events.Warned(summary=f"Samples of class {label} alone are compared with data of all classes.")
        if any(cell.entrant.guidance and not self._open(cell.entrant).subject.class_names for cell in cells):
            yield events.Warned(summary="Guidance has no effect on models that know no classes.")

    def _judge(self, header: Header) -> _Judge:
        """Who scores samples of a model's data."""
        name = json.dumps(header.data, sort_keys=True)
        if name not in self._judges:
            self._judges[name] = _Judge(method_from_dict("dataset", header.data))
        return self._judges[name]

    def _references(self, cells: list[Cell]) -> list[Cell]:
        found = {found.key: found for cell in cells if (found := cell.reference()) is not None}
        return [found[key] for key in found.keys() - {cell.key for cell in cells}]

    def _name(self, cell: Cell) -> str:
        return f"{model_name(cell.entrant.model)}, {cell.entrant.title}, {cell.steps} steps, seed {cell.seed}"

    # One cell

    def _cell(
        self, cell: Cell, clock: _Clock, control: EvaluationControl, text: str
    ) -> Generator[events.Event | None, None, tuple[Row, dict[str, Score]]]:
        header, subject, _ = self._open(cell.entrant)
        judge = self._judge(header)
        labels = asked_of(subject, cell.spec.knobs)
        record = self._store.read(cell)
        wanted = judge.metrics(self.evaluation, cell.knobs.count)
        missing = [metric for metric in wanted if judge.key(metric) not in record.get("scores", {})]
        reference = cell.reference()
        deviation = record.get("deviations", {}).get(str(cell.knobs.reference_steps))
        if missing or not record or (reference is not None and deviation is None):
            if control.stopping:
                raise Stopped
            items, cost = yield from self._samples(cell, clock, control, text)
            if reference is not None and deviation is None:
                others, _ = yield from self._samples(reference, clock, control, f"{text}, reference")
                deviation = _rms(items, others)
                record.setdefault("deviations", {})[str(cell.knobs.reference_steps)] = deviation
            evidence = judge.look(items, labels)
            for metric in missing:
                yield clock.progress(f"{text} · {metric.title}")
                record.setdefault("scores", {})[judge.key(metric)] = judge.score(metric, evidence)
            record |= {"settings": cell.settings, "cost": vars(cost), "device": describe(self.device)}
            self._store.write(cell, record)
        clock.finish(cell)
        yield from judge.measure_floors(wanted, cell.knobs.count, labels)
        real = judge.floors(wanted, cell.knobs.count, labels)
        return self._row(cell, header, judge, record, wanted, deviation), real

    def _row(
        self,
        cell: Cell,
        header: Header,
        judge: _Judge,
        record: Mapping[str, Any],
        wanted: list[Metric],
        deviation: float | None,
    ) -> Row:
        cost = record["cost"]
        row: Row = {
            "id": cell.entrant.id,
            "entrant": cell.entrant.title,
            "model": model_name(cell.entrant.model),
            "title": header.title,
            "data": judge.title,
            "sampler": method_to_dict("sampler", cell.entrant.sampler)["name"],
            "grid": with_settings("grid", cell.entrant.grid),
            "guidance": cell.entrant.guidance,
            "steps": cell.steps,
            "seed": cell.seed,
            "count": cell.knobs.count,
            "network": judge.network,
            "device": record.get("device", ""),
            "nfe": cost["nfe"],
            "seconds": round(cost["seconds"], 3),
            "images_per_second": round(cell.knobs.count / max(cost["seconds"], 1e-9), 2),
            "peak_mb": round(cost["peak"] / 1e6, 1),
        }
        for metric in wanted:
            for name, (value, error) in record["scores"][judge.key(metric)].items():
                row[name] = value
                if error is not None:
                    row[f"{name}_error"] = error
        if cell.knobs.reference_steps:
            row["deviation"] = deviation
        return row

    def _samples(
        self, cell: Cell, clock: _Clock, control: EvaluationControl, text: str
    ) -> Generator[events.Event | None, None, tuple[np.ndarray, Cost]]:
        """The samples (N, ...) and their cost, from the folder or drawn now batch by batch."""
        if (stored := self._store.samples(cell)) is not None:
            return stored
        if self._sampled_only:
            raise Stopped
        subject = self._open(cell.entrant).subject
        spec, count = cell.spec, cell.knobs.count
        for begin in range(0, count, cell.knobs.batch):
            indices = range(begin, min(begin + cell.knobs.batch, count))
            if self._store.has_batch(cell, indices):
                continue
            forget_peak(self.device)
            seconds, peak, mark = 0.0, 0, time.perf_counter()
            for step in sample(subject, spec, self.device, indices=indices):
                peak = max(peak, memory_in_use(self.device))
                seconds += time.perf_counter() - mark
                share = (begin + len(indices) * step.index / step.total) / count
                yield clock.tick(cell, share, f"{text} · {self._name(cell)}")
                if control.stopping:
                    raise Stopped
                mark = time.perf_counter()
            x = step.x.float()
            if not bool(x.isfinite().all()):
                raise ValueError("the samples are no numbers (NaN or infinite). Take more steps or another model.")
            items = (to_uint8(x) if subject.is_image else x).cpu().numpy()
            seconds += time.perf_counter() - mark
            self._store.write_batch(cell, indices, items, Cost(nfe=step.nfe, seconds=seconds, peak=peak))
        return self._store.join(cell)


def _compile(subject: Subject, batch: int, device: torch.device) -> None:
    """Compile the networks of a model, and use them once, so that no cell's seconds hold the work."""
    for part in subject.denoiser.modules():
        if isinstance(part, Network):
            part.compile(options={"freezing": True})
    for _ in sample(subject, subject.own.at(steps=1, count=batch, guidance=0.0), device):
        pass


class _Judge:
    """Scores samples of one data set."""

    def __init__(self, spec: DatasetSpec) -> None:
        self.title = with_settings("dataset", spec, spec.title)
        self._id = method_to_dict("dataset", spec)
        self._dataset = spec.load()

    def prepare(self) -> Iterator[float]:
        """Read or work out what samples are compared with; yields the share done."""
        yield from features.prepare(self._dataset)

    @property
    def reference(self) -> Reference:
        return features.reference_for(self._dataset)

    @property
    def network(self) -> str:
        """The title of the feature network, "" for points."""
        return self.reference.network

    def metrics(self, evaluation: Evaluation, count: int) -> list[Metric]:
        """What is measured: what was asked for and applies, or all that do. Raises ValueError where nothing does."""
        found = [
            metric
            for metric in evaluation.metrics or metrics_for()
            if metric.applies(self.reference) and count >= metric.fewest_for(self.reference)
        ]
        if not found:
            asked = ", ".join(metric.title for metric in evaluation.metrics) or "any measure"
            raise ValueError(f"{self.title} cannot be measured with {count:,} samples by {asked}.")
        return found

    def left_out(self, evaluation: Evaluation, count: int) -> list[str]:
        """What is not measured although it was asked for, or would be with more samples, and why."""
        texts = [
            f"{metric.title} is left out: it does not apply to {self.title}."
            for metric in evaluation.metrics
            if not metric.applies(self.reference)
        ]
        for metric in evaluation.metrics or metrics_for():
            if metric.applies(self.reference) and count < (fewest := metric.fewest_for(self.reference)):
                texts.append(f"{metric.title} is left out: it needs {fewest:,} samples at least.")
        return texts

    def key(self, metric: Metric) -> str:
        """Names a measure, its knobs, the data and the network that it looks through."""
        return json.dumps([method_to_dict("metric", metric), self._id, self.network])

    def look(self, items: np.ndarray, labels: np.ndarray | None) -> Evidence:
        """The samples as the feature network sees them."""
        return features.judge(items, labels, self._dataset)

    def score(self, metric: Metric, evidence: Evidence) -> dict[str, tuple[float, float | None]]:
        return {name: (score.value, score.error) for name, score in measure(metric, evidence, self.reference).items()}

    def measure_floors(self, metrics: list[Metric], count: int, labels: np.ndarray | None) -> Iterator[None]:
        """Score real items of the samples' classes; yields between draws."""
        for draw in range(FLOOR_DRAWS):
            for metric in metrics:
                floor_draw(metric, self.reference, count, draw, labels)
                yield None
            self.reference.forget("real ")

    def floors(self, metrics: list[Metric], count: int, labels: np.ndarray | None) -> dict[str, Score]:
        """What as many real items score, for all measures."""
        found: dict[str, Score] = {}
        for metric in metrics:
            found |= floor(metric, self.reference, count, labels)
        return found


def with_settings(kind: str, method: Any, name: str = "") -> str:
    """A method's name, and in brackets what differs from its defaults; of a long list, its ends and its length."""
    changed = [
        _ends(str(value)) if item.kind == "text" and len(str(value)) > 40 else f"{item.name} {value}"
        for item in knobs_of(type(method))
        if (value := getattr(method, item.name)) != item.default
    ]
    name = name or method_to_dict(kind, method)["name"]
    return f"{name} ({', '.join(changed)})" if changed else name


def _ends(text: str) -> str:
    words = text.replace(",", " ").split()
    return f"{words[0][:7]} … {words[-1][:7]}, {len(words)} numbers"


class _Store:
    """The files of an evaluation's folder."""

    def __init__(self, folder: Path) -> None:
        self._cells, self._samples = folder / "cells", folder / "samples"

    def read(self, cell: Cell) -> dict[str, Any]:
        """What is known of a cell; nothing where its file is missing, damaged or of another format."""
        path = self._cells / f"{cell.key}.json"
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            sound = record["format"] == FORMAT and isinstance(record["scores"], dict) and {"nfe"} <= set(record["cost"])
        except (OSError, ValueError, KeyError, TypeError):
            return {}
        return record if sound else {}

    def write(self, cell: Cell, record: Mapping[str, Any]) -> None:
        write_text(self._cells / f"{cell.key}.json", json.dumps({"format": FORMAT, **record}, indent=1))

    def samples(self, cell: Cell) -> tuple[np.ndarray, Cost] | None:
        """A complete cell's samples; None where they are not there or damaged."""
        return _read_npz(self._samples / f"{cell.key}.npz", cell.knobs.count)

    def has_batch(self, cell: Cell, indices: range) -> bool:
        return _read_npz(self._batch(cell, indices), len(indices)) is not None

    def write_batch(self, cell: Cell, indices: range, items: np.ndarray, cost: Cost) -> None:
        _write_npz(self._batch(cell, indices), items, cost)

    def join(self, cell: Cell) -> tuple[np.ndarray, Cost]:
        """Make one file of a cell's batches."""
        count, size = cell.knobs.count, cell.knobs.batch
        paths = [self._batch(cell, range(begin, min(begin + size, count))) for begin in range(0, count, size)]
        parts = [_read_npz(path) for path in paths]
        found = [part for part in parts if part is not None]
        if len(found) < len(parts):
            # Another program works in this folder, and was quicker with this cell.
            if (stored := self.samples(cell)) is not None:
                return stored
            raise ValueError(f"its batches in {self._samples} were removed. Evaluate again.")
        items = np.concatenate([part[0] for part in found])
        costs = [part[1] for part in found]
        cost = Cost(
            nfe=costs[0].nfe,
            seconds=math.fsum(each.seconds for each in costs),
            peak=max(each.peak for each in costs),
        )
        _write_npz(self._samples / f"{cell.key}.npz", items, cost)
        shutil.rmtree(self._samples / cell.key, ignore_errors=True)
        return items, cost

    def _batch(self, cell: Cell, indices: range) -> Path:
        return self._samples / cell.key / f"{indices.start:06d}-{indices.stop:06d}.npz"


def _write_npz(path: Path, items: np.ndarray, cost: Cost) -> None:
    with replacing(path) as part, open(part, "wb") as file:
        np.savez_compressed(file, items=items, cost=np.array([cost.nfe, cost.seconds, cost.peak], np.float64))


def _read_npz(path: Path, count: int | None = None) -> tuple[np.ndarray, Cost] | None:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as store:
            items, (nfe, seconds, peak) = store["items"], store["cost"]
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return None
    if count is not None and len(items) != count:
        return None
    return items, Cost(nfe=int(nfe), seconds=float(seconds), peak=int(peak))


def _rms(items: np.ndarray, others: np.ndarray) -> float:
    """Root mean square difference in the model's range."""
    scale = 127.5 if items.dtype == np.uint8 else 1.0
    return float(np.sqrt(np.square((items.astype(np.float64) - others) / scale).mean()))


class _Clock:
    """How much of the work is done, and when the rest will be."""

    def __init__(self, count: int, cells: list[Cell], store: _Store) -> None:
        self._left = {cell.key: float(cell.work) for cell in cells}
        self._total = math.fsum(self._left.values())
        self._began, self._worked = time.perf_counter(), 0.0
        self._told = 0.0
        self._counts = (0, count)
        for cell in cells:
            if store.read(cell) or store.samples(cell) is not None:
                self._left[cell.key] = 0.0

    def tick(self, cell: Cell, share: float, text: str) -> events.EvaluationProgress | None:
        """After ``share`` of a cell; a message only now and then."""
        left = cell.work * (1.0 - share)
        self._worked += max(0.0, self._left[cell.key] - left)
        self._left[cell.key] = min(self._left[cell.key], left)
        now = time.perf_counter()
        if now - self._told < PROGRESS_SECONDS:
            return None
        self._told = now
        return self.progress(text)

    def finish(self, cell: Cell) -> None:
        self._left[cell.key] = 0.0

    def complete(self, text: str) -> events.EvaluationProgress:
        """After one more cell."""
        self._counts = (self._counts[0] + 1, self._counts[1])
        return self.progress(text)

    def progress(self, text: str) -> events.EvaluationProgress:
        left = math.fsum(self._left.values())
        spent = time.perf_counter() - self._began
        return events.EvaluationProgress(
            done=self._counts[0],
            total=self._counts[1],
            fraction=1.0 - left / self._total,
            eta_seconds=left * spent / self._worked if self._worked else 0.0,
            text=text,
        )
