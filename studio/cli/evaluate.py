"""``denoising-studio evaluate``: models and samplers scored side by side."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from studio.cli.flags import add_flags
from studio.cli.progress import Line, drive, left
from studio.core import events
from studio.core.checkpoints.header import score_key
from studio.core.checkpoints.native import write_scores
from studio.core.checkpoints.places import locate
from studio.core.evaluation import Evaluation, EvaluationKnobs, read_tables
from studio.core.knobs import knobs_of
from studio.core.metrics.base import Score
from studio.core.registry import methods
from studio.core.report import pivot, points, quantities, written
from studio.session.evaluate import EvaluateJob, default_folder


def main(words: list[str]) -> int:
    """Run the command with its words; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="denoising-studio evaluate",
        usage="denoising-studio evaluate EVALUATION.toml | MODEL ... [--samplers A,B] [--steps N,N] [--out DIR] [...]",
        description="Score models, samplers and numbers of steps side by side; goes on where it stopped.",
        epilog="A list is written with commas. A sampler's settings follow its name: ancestral:variance=large.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "what", nargs="+", metavar="EVALUATION.toml or MODEL", help="a file, or checkpoints, run folders, shipped names"
    )
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="where results go (default: your own folder)")
    parser.add_argument("--title", help="the heading of the report")
    parser.add_argument("--samplers", type=_words, help=f"of {', '.join(methods('sampler'))} (default: ddim)")
    parser.add_argument("--grids", type=_words, help=f"of {', '.join(methods('grid'))} (default: uniform)")
    parser.add_argument("--eta", type=_numbers, help="for the samplers that have it")
    parser.add_argument("--guidance", type=_numbers, help="weights of guidance (default: 0)")
    parser.add_argument("--steps", type=_numbers, help="numbers of steps (default: 10,20,50)")
    parser.add_argument("--seeds", type=_numbers, help="one sampling each; scores get their spread (default: 0)")
    parser.add_argument("--metrics", type=_words, help=f"of {', '.join(methods('metric'))} (default: all that apply)")
    parser.add_argument("--keep", action="store_true", help="write each model's best FD into its description")
    owners: dict[str, tuple[str, str]] = {}
    add_flags(parser.add_argument_group("cells"), knobs_of(EvaluationKnobs), {}, owners, "knobs")
    options = vars(parser.parse_args(words))
    files = [word for word in options["what"] if word.endswith(".toml")]
    if len(files) > 1 or (files and len(options["what"]) > 1):
        parser.error(f"{files[0]} names its own models: leave out the rest")
    tables = read_tables(Path(files[0])) if files else {"models": options["what"]}
    for name in ("title", "samplers", "grids", "eta", "guidance", "steps", "seeds", "metrics"):
        if options[name] is not None:
            tables[name] = options[name]
    for flag, (_, name) in owners.items():
        if options[flag] is not None:
            tables[name] = options[flag].value
    if "entrants" in tables and (
        idle := [f"--{name}" for name in ("samplers", "grids", "eta", "guidance") if options[name]]
    ):
        parser.error(f"{files[0]} lists its entrants: leave out {', '.join(idle)}")
    near = Path(files[0]).absolute().parent if files else None
    try:
        evaluation = Evaluation.from_dict(tables, lambda word: locate(word, near))
    except ValueError as error:
        raise ValueError(f"{files[0]}: {error}") if files else error from None
    if options["keep"] and evaluation.knobs.label.strip().lower() not in ("each", "none"):
        parser.error("--keep is for samples of all classes: leave out --label")
    # A file that an evaluation left is asked about where its cells are.
    beside = near if near is not None and (near / "cells").is_dir() else None
    folder = options["out"] or beside or default_folder(evaluation)
    total = len(evaluation.cells())
    print(f"{evaluation.title}: {total} cells of {evaluation.knobs.count:,} samples -> {folder}")
    show = _EvaluationLine()
    status = drive(EvaluateJob(evaluation, folder), show)
    if show.rows:
        _print_scores(show.rows, show.floor)
    if show.outcome == "stopped":
        print(f"\n{len(show.rows)} of {total} cells are measured; the same command goes on with the rest.")
    if options["keep"] and status == 0:
        _keep_scores(evaluation, show.rows)
    return status


def _words(text: str) -> list[Any]:
    """``ddim,ancestral:variance=large`` as names, and tables where settings follow."""
    found: list[Any] = []
    for word in filter(None, text.split(",")):
        name, *settings = word.strip().split(":")
        table: dict[str, Any] = {"name": name}
        for setting in settings:
            key, _, value = setting.partition("=")
            table[key.replace("-", "_")] = _plain_value(value)
        found.append(table if settings else name)
    return found


def _plain_value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _numbers(text: str) -> list[float | int]:
    try:
        return [float(word) if "." in word or "e" in word else int(word) for word in text.split(",") if word.strip()]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not possible: it takes numbers with commas between.") from None


def _print_scores(rows: Sequence[Mapping[str, Any]], floors: Mapping[str, Mapping[str, float]]) -> None:
    """Each quantity as a table of entrants over steps."""

    found = points(rows)
    for data, floor in floors.items():
        mine = [point for point in found if point.data == data]
        network = next(row["network"] for row in rows if row["data"] == data)
        for quantity in quantities().values():
            if not any(quantity.name in point.values for point in mine):
                continue
            real = f", real items {written(Score(floor[quantity.name]), quantity)}" if quantity.name in floor else ""
            print(f"\n{data}: {quantity.title}{f' on {network}' if network else ''}{real}")
            head, lines = pivot(mine, quantity)
            widths = [max(map(len, column)) for column in zip(head, *lines, strict=True)]
            for line in (head, *lines):
                first, *rest = (cell.rjust(width) for cell, width in zip(line, widths, strict=True))
                print("  ".join((line[0].ljust(len(first)), *rest)))


def _keep_scores(evaluation: Evaluation, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the lowest FD of each model, the mean over its seeds, into its description."""
    found = points(rows)
    for path in dict.fromkeys(entrant.model for entrant in evaluation.entrants):
        mine = {entrant.id: entrant for entrant in evaluation.entrants if entrant.model == path}
        scored = [point for point in found if point.id in mine and "fd" in point.values]
        if not scored:
            print(f"{path}: no FD was measured, so no score is kept.")
            continue
        best = min(scored, key=lambda point: point.values["fd"].value)
        row = next(row for row in rows if row["id"] == best.id)
        key = score_key("FD", row["network"], row["count"], f"{row['entrant']}, {row['grid']}, {best.steps} steps")
        write_scores(path, {key: best.values["fd"].value})
        print(f"{path}: {key} {best.values['fd'].value:.2f}")


class _EvaluationLine(Line):
    """An evaluation's; gathers its rows and floors."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[Mapping[str, Any]] = []
        self.floor: dict[str, Mapping[str, float]] = {}

    def show(self, event: events.Event) -> None:

        match event:
            case events.EvaluationProgress():
                self._bar.show(event.fraction, f"{event.text}  {left(event.eta_seconds)}")
            case events.CellScored():
                self.rows.append(event.row)
                self.floor[str(event.row["data"])] = event.floor
            case events.Saved():
                self._say(f"written: {event.path}")
