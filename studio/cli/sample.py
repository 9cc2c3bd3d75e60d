"""``denoising-studio sample``: samples of a model into a picture or numbers."""

from __future__ import annotations

import argparse
import errno
import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from studio.cli.flags import add_flags
from studio.cli.notes import note
from studio.cli.progress import Bar
from studio.core import pictures
from studio.core.checkpoints.header import read_header
from studio.core.checkpoints.native import load
from studio.core.checkpoints.places import locate
from studio.core.device import choose
from studio.core.files import replacing
from studio.core.grids import Betas
from studio.core.knobs import build, knobs_of, values_of
from studio.core.registry import find, methods
from studio.core.sampling import SampleKnobs, SampleSpec, levels_of, sample, subject_of, to_uint8
from studio.core.short_schedule import best_of


def main(words: list[str]) -> int:
    """Run the command with its words; returns the exit status."""
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument(
        "--sampler", choices=methods("sampler"), help="which sampler (default: ddim, or the model's own)"
    )
    first.add_argument("--grid", choices=methods("grid"), help="which levels it visits (default: log_snr, or its own)")
    first.add_argument("--schedule", metavar="N", help="a short schedule that the model keeps, by its number of steps")
    first.add_argument("--out", type=Path, default=Path("samples.png"), help=".png for a picture, .npz for the numbers")
    first.add_argument("--batch", type=int, default=64, help="images at a time; changes speed, not pictures")
    first.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto", help="what computes")
    chosen, _ = first.parse_known_args([word for word in words if word not in ("-h", "--help")])
    sampler, grid = chosen.sampler or "ddim", chosen.grid or "log_snr"
    parser = argparse.ArgumentParser(
        prog="denoising-studio sample",
        usage="denoising-studio sample MODEL [--sampler NAME] [--steps N] [--out FILE] [...]",
        parents=[first],
        description="Draw samples from a model.",
        allow_abbrev=False,
    )
    parser.add_argument("model", type=Path, help="checkpoint, run folder, or the name of a model that ships")
    owners: dict[str, tuple[str, str]] = {}
    for part, name in (("sampler", sampler), ("grid", grid)):
        knobs = knobs_of(find(part, name))
        if knobs:
            add_flags(parser.add_argument_group(f"{part}: {name}"), knobs, {}, owners, part, prefix=f"{part}.")
    add_flags(parser.add_argument_group("sampling"), knobs_of(SampleKnobs), {}, owners, "knobs")
    options = vars(parser.parse_args(words))
    values: dict[str, dict[str, Any]] = {"sampler": {}, "grid": {}, "knobs": {}}
    for flag, (part, name) in owners.items():
        if options[flag] is not None:
            values[part][name] = options[flag].value
    given = values["knobs"]
    if given.get("guidance") and given.get("label", "").strip().lower() == "none":
        parser.error("--guidance pulls towards a class and has no effect with --label none; leave out one")
    if options["schedule"]:
        _take_schedule(options, values, parser)
    elif "steps" in given and build(find("grid", grid), values["grid"]).own_steps is not None:
        parser.error(f"--steps has no effect with --grid {grid}, which lists its own; leave it out")
    if options["batch"] < 1:
        raise ValueError(f"batch = {options['batch']} is not possible: it takes a whole number of at least 1.")
    if options["out"].suffix.lower() not in (".png", ".npz"):
        raise ValueError(f"{options['out']} is not possible: the name must end in .png or .npz.")
    _check_writable(options["out"])
    return _draw(options, values)


def _asked(own: SampleSpec, options: Mapping[str, Any], values: Mapping[str, dict[str, Any]]) -> SampleSpec:
    """The model's own way to be sampled, but for what was named; a setting without a name is of the default method."""
    sampler = options["sampler"] or ("ddim" if values["sampler"] else None)
    grid = options["grid"] or ("log_snr" if values["grid"] else None)
    if "steps" in values["knobs"] and grid is None and values["knobs"]["steps"] != own.grid.own_steps:
        grid = "log_snr"
    return SampleSpec(
        sampler=own.sampler if sampler is None else build(find("sampler", sampler), values["sampler"]),
        grid=own.grid if grid is None else build(find("grid", grid), values["grid"]),
        knobs=build(SampleKnobs, values_of(own.knobs) | values["knobs"]),
    )


def _take_schedule(options: dict[str, Any], values: dict[str, dict[str, Any]], parser: argparse.ArgumentParser) -> None:
    """Sample over a schedule that the model keeps, with the sampler that it was found with unless one is named."""
    if values["grid"] or "steps" in values["knobs"] or options["grid"]:
        parser.error("--schedule says which levels are visited; leave out --steps, --grid and its settings")
    path = locate(str(options["model"]))
    kept = read_header(path).schedules
    fitting = [each for each in kept if str(each.steps) == options["schedule"]]
    if options["sampler"] or values["sampler"]:
        options["sampler"] = options["sampler"] or "ddim"  # whose settings these are
        fitting = [each for each in fitting if each.sampler.get("name") in (None, options["sampler"])]
    if not fitting:
        raise ValueError(
            f"{path.name} keeps no schedule of {options['schedule']} steps for this sampler; "
            "denoising-studio schedule with --list tells those it keeps, and without it searches some."
        )
    schedule = best_of(fitting)
    options["grid"], values["grid"] = "betas", values_of(Betas.of(schedule))
    if schedule.sampler:
        settings = {name: value for name, value in schedule.sampler.items() if name != "name"}
        options["sampler"], values["sampler"] = schedule.sampler["name"], settings | values["sampler"]


def _check_writable(path: Path) -> None:
    """Raise OSError where the file could not be written later; its folder may have to be made. Leaves nothing."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    nearest = next(folder for folder in path.absolute().parents if folder.exists())
    try:
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        raise OSError(error.errno, os.strerror(error.errno or errno.EACCES), str(path)) from error


def _draw(options: Mapping[str, Any], values: Mapping[str, dict[str, Any]]) -> int:
    device = choose(options["device"])
    model = load(locate(str(options["model"])), device)
    subject = subject_of(model)
    spec = _asked(subject.own, options, values)
    if subject.own_steps is not None and levels_of(spec, subject.schedule) != levels_of(subject.own, subject.schedule):
        note(f"{model.header.title} was trained for its own {subject.own_steps} steps alone, not for these levels.")
    if values["knobs"].get("guidance") and not subject.class_names:
        note("--guidance has no effect: this model knows no classes.")
    if values["knobs"].get("clip") and not subject.is_image:
        note("--clip has no effect: this model makes points, not images.")
    bar, began, found = Bar(), time.perf_counter(), []
    calls = 0
    for start in range(0, spec.knobs.count, options["batch"]):
        indices = range(start, min(start + options["batch"], spec.knobs.count))
        for step in sample(subject, spec, device, indices=indices):
            done = (start + len(indices) * step.index / step.total) / spec.knobs.count
            bar.show(done, f"{start} of {spec.knobs.count}")
        found.append(step.x.cpu())
        calls = step.nfe
    seconds = time.perf_counter() - began
    items = torch.cat(found)
    bar.close()
    if options["out"].suffix.lower() == ".npz":
        with replacing(options["out"]) as part, open(part, "wb") as file:
            np.savez_compressed(file, samples=items.numpy())
    else:
        pictures.save_png(options["out"], (items if items.ndim == 2 else to_uint8(items)).numpy())
    print(f"{len(items)} samples, {calls} network calls each, {seconds:.1f} s -> {options['out']}")
    return 0
