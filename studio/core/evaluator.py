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
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from studio.core import events, features
from studio.core.checkpoints.header import Header
from studio.core.checkpoints.native import load
from studio.core.config import method_from_dict, method_to_dict
from studio.core.data.base import Dataset
from studio.core.device import choose, describe, forget_peak, memory_in_use
from studio.core.evaluation import Cell, Entrant, Evaluation, metrics_for
from studio.core.files import replacing, write_text
from studio.core.metrics.base import Evidence, Metric, Reference, Score, floor, measure, warning
from studio.core.report import write_report
from studio.core.sampling import Subject, labels_of, levels_of, sample, subject_of, to_uint8

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


class Evaluator:
    """Measures an :class:`~studio.core.evaluation.Evaluation` into ``folder``, which may hold parts of it already."""

    def __init__(self, evaluation: Evaluation, folder: Path) -> None:
        self.evaluation, self.folder = evaluation, folder
        self.device = choose(evaluation.knobs.device)
        self._store = _Store(folder)
        self._opened: dict[Path, tuple[Header, Subject]] = {}
        self._judges: dict[str, _Judge] = {}

    def run(self, control: EvaluationControl) -> Iterator[events.Event | None]:
        """Measure what is missing and tell every cell; last come the files of the whole table.

        Raises ValueError, before anything is sampled, for cells that cannot be; OSError where the folder cannot be
        written. A cell that breaks down on the way is a warning, and the others go on.
        """
        yield events.Status(text="Opening the models")
        cells = self.evaluation.cells()
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
            yield events.Status(text="Writing the report")
            yield events.Saved(path=str(write_report(self.folder, table)))
        if broken and not done:
            raise ValueError("No cell could be measured; the warnings above say why.")

    # Before anything is sampled

    def _open(self, entrant: Entrant) -> tuple[Header, Subject]:
        if entrant.model not in self._opened:
            model = load(entrant.model, self.device)
            self._opened[entrant.model] = (model.header, subject_of(model))
        return self._opened[entrant.model]

    def _check(self, cell: Cell) -> None:
        """Raise ValueError for a cell that cannot be sampled or scored."""
        header, subject = self._open(cell.entrant)
        try:
            levels_of(cell.spec, subject.schedule)
            labels_of(cell.knobs.label, subject.class_names, ())
            if reference := cell.reference():
                levels_of(reference.spec, subject.schedule)
        except ValueError as error:
            raise ValueError(f"{self._name(cell)}: {error}") from None
        for metric in self.evaluation.metrics:
            if cell.knobs.count < metric.fewest:
                raise ValueError(
                    f"count = {cell.knobs.count:,} is too small for {metric.title}: it needs {metric.fewest:,}."
                )
        self._judge(header)

    def _warn(self, cells: list[Cell]) -> Iterator[events.Event]:
        count = self.evaluation.knobs.count
        told = set()
        for judge in self._judges.values():
            for metric in judge.metrics(self.evaluation, count):
                if (text := warning(metric, count)) and text not in told:
                    told.add(text)
                    yield events.Warned(summary=text)
        label = self.evaluation.knobs.label.strip().lower()
        if label not in ("each", "none"):
            yield events.Warned(summary=f"Samples of class {label} alone are compared with data of all classes.")
        seen = {cell.entrant.guidance > 0.0 for cell in cells if not self._open(cell.entrant)[1].class_names}
        if True in seen:
            yield events.Warned(summary="Guidance has no effect on models that know no classes.")

    def _judge(self, header: Header) -> _Judge:
        """Who scores samples of a model's data."""
        if header.data_title not in self._judges:
            self._judges[header.data_title] = _Judge(method_from_dict("dataset", header.data).load())
        return self._judges[header.data_title]

    def _references(self, cells: list[Cell]) -> list[Cell]:
        found = {found.key: found for cell in cells if (found := cell.reference()) is not None}
        return [found[key] for key in found.keys() - {cell.key for cell in cells}]

    def _name(self, cell: Cell) -> str:
        return f"{cell.entrant.model.stem}, {cell.entrant.title}, {cell.steps} steps, seed {cell.seed}"

    # One cell

    def _cell(
        self, cell: Cell, clock: _Clock, control: EvaluationControl, text: str
    ) -> Generator[events.Event | None, None, tuple[Row, dict[str, Score]]]:
        header, subject = self._open(cell.entrant)
        judge = self._judge(header)
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
            labels = labels_of(cell.knobs.label, subject.class_names, range(len(items)))
            evidence = judge.look(items, None if labels is None else np.array(labels, np.int64))
            for metric in missing:
                yield clock.progress(f"{text} · {metric.title}")
                record.setdefault("scores", {})[judge.key(metric)] = judge.score(metric, evidence)
            record |= {"settings": cell.settings, "cost": vars(cost)}
            self._store.write(cell, record)
        clock.finish(cell)
        real: dict[str, Score] = {}
        for metric in wanted:
            real |= floor(metric, judge.reference, cell.knobs.count)
            yield None
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
            "entrant": cell.entrant.title,
            "model": cell.entrant.model.stem,
            "title": header.title,
            "data": header.data_title,
            "sampler": method_to_dict("sampler", cell.entrant.sampler)["name"],
            "grid": method_to_dict("grid", cell.entrant.grid)["name"],
            "guidance": cell.entrant.guidance,
            "steps": cell.steps,
            "seed": cell.seed,
            "count": cell.knobs.count,
            "network": judge.network,
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
        _, subject = self._open(cell.entrant)
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


class _Judge:
    """Scores samples of one data set."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset

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
            if metric.applies(self.reference) and count >= metric.fewest
        ]
        if not found:
            asked = ", ".join(metric.title for metric in evaluation.metrics) or "any measure"
            raise ValueError(f"{self._dataset.title} cannot be measured with {count:,} samples by {asked}.")
        return found

    def key(self, metric: Metric) -> str:
        """Names a measure, its knobs and the network that it looks through."""
        return json.dumps([method_to_dict("metric", metric), self.network])

    def look(self, items: np.ndarray, labels: np.ndarray | None) -> Evidence:
        """The samples as the feature network sees them."""
        return features.judge(items, labels, self._dataset)

    def score(self, metric: Metric, evidence: Evidence) -> dict[str, tuple[float, float | None]]:
        return {name: (score.value, score.error) for name, score in measure(metric, evidence, self.reference).items()}


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
        assert len(found) == len(parts)
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
