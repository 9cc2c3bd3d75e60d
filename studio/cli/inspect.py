"""``denoising-studio inspect``: what a checkpoint says of itself."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from studio.core.checkpoints.header import read_header
from studio.core.checkpoints.places import locate


def main(words: list[str]) -> int:
    """Run the command with its words; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="denoising-studio inspect",
        description="Say what a checkpoint or a run folder holds.",
        allow_abbrev=False,
    )
    parser.add_argument("model", type=Path, help="checkpoint, run folder, or the name of a model that ships")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    options = parser.parse_args(words)

    path = locate(str(options.model))
    header = read_header(path)
    if options.json:
        table = asdict(header)
        table["thumbnail"] = f"{len(header.thumbnail)} bytes of PNG"
        print(json.dumps(table, indent=2))
        return 0
    shape = "x".join(str(size) for size in header.facts["shape"])
    rows = {
        "title": header.title,
        "file": f"{path} ({path.stat().st_size:,} bytes)",
        "family": header.family,
        "data": f"{header.data_title}, items of {shape}, {header.facts['num_classes']} classes",
        "data licence": header.data_licence,
        "network": _knob_line(header.network) + f"; {header.num_parameters:,} parameters",
        "recipe": _knob_line(header.recipe),
        "optimiser": _knob_line(header.optimizer),
        "trained": f"{header.step:,} steps, {header.images:,} items, {header.seconds:,.0f} s, {header.created}",
        "last loss": f"{header.history['loss'][-1]:.4f}" if header.history.get("loss") else "not recorded",
    }
    if header.run.get("start_from"):
        rows["started from"] = str(header.run["start_from"])
    rows |= {name: f"{value:g}" for name, value in header.scores.items()}
    for name, value in rows.items():
        print(f"{name:>13}  {value}")
    return 0


def _knob_line(table: Mapping[str, Any]) -> str:
    return table["name"] + "".join(f", {key} {value}" for key, value in table.items() if key != "name")
