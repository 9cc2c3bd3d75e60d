"""``denoising-studio schedule``: find short schedules for a model, and carry them in and out of it."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from studio.cli.flags import add_flags
from studio.cli.notes import note
from studio.cli.progress import Line, drive, left
from studio.core import events
from studio.core.checkpoints.header import Header, brief, read_header
from studio.core.checkpoints.native import write_schedules
from studio.core.checkpoints.places import locate
from studio.core.config import method_from_dict
from studio.core.evaluation import fingerprint
from studio.core.files import replacing
from studio.core.knobs import build, knobs_of
from studio.core.recipes.bilateral import Bilateral
from studio.core.registry import find, methods
from studio.core.samplers.base import sampler_title
from studio.core.schedule_files import adopted, read_schedules, write_csv, write_diffusers, write_json
from studio.core.schedule_search import SearchKnobs
from studio.core.short_schedule import ShortSchedule, best_of, fewest_steps, quantity_of
from studio.session.schedule import SearchJob

_SHORT = "*"
_OTHERS = ("list", "import", "export")
"""What the command does in place of a search."""


def main(words: list[str]) -> int:
    """Run the command with its words; returns the exit status."""
    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--judge", choices=methods("judge"), default="fd", help="what schedules are judged by")
    first.add_argument(
        "--network", choices=methods("schedule_network"), default="cnn", help="which schedule network is trained"
    )
    chosen, _ = first.parse_known_args([word for word in words if word not in ("-h", "--help")])
    parser = argparse.ArgumentParser(
        prog="denoising-studio schedule",
        usage="denoising-studio schedule MODEL [--judge NAME] [--out FILE] [...]\n"
        "       denoising-studio schedule MODEL --list | --import FILE ... | --export FILE --steps N",
        parents=[first],
        description="Search short schedules for a model (BDDM) and keep the best of each number of steps in it.",
        epilog="A file of schedules ends in .csv or .json; any other name is a folder for diffusers.",
        allow_abbrev=False,
    )
    parser.add_argument("model", help="checkpoint, run folder, or the name of a model that ships")
    parser.add_argument("--out", type=Path, metavar="FILE", help="keep them in a copy of the model there instead")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), help="what computes (default: auto)")
    parser.add_argument("--list", action="store_true", help="tell the schedules that the model keeps")
    parser.add_argument("--import", type=Path, nargs="+", metavar="FILE", help="keep schedules from files in it too")
    parser.add_argument("--export", type=Path, metavar="FILE", help="write one that it keeps into a file")
    parser.add_argument("--steps", type=int, metavar="N", help="which one --export writes")
    parser.add_argument("--sampler", choices=methods("sampler"), help="of several with these steps, the one for it")
    owners: dict[str, tuple[str, str]] = {}
    add_flags(parser.add_argument_group("search"), knobs_of(SearchKnobs), {}, owners, "knobs")
    parts: dict[str, type] = {
        "judge": find("judge", chosen.judge),
        "network": find("schedule_network", chosen.network),
        "training": Bilateral,
    }
    for part, cls in parts.items():
        add_flags(parser.add_argument_group(part), knobs_of(cls), {}, owners, part, prefix=f"{part}.")
    options = vars(parser.parse_args(words))
    values: dict[str, dict[str, Any]] = {"knobs": {}, **{part: {} for part in parts}}
    for flag, (part, name) in owners.items():
        if options[flag] is not None:
            values[part][name] = options[flag].value
    if problem := _contradiction(options, any(values.values())):
        parser.error(problem)
    path = locate(options["model"])
    if options["list"]:
        return _list(path)
    if options["export"]:
        return _export(path, options["export"], options["steps"], options["sampler"])
    if options["import"]:
        return _import(path, options["out"], options["import"])
    built: dict[str, Any] = {part: build(cls, values[part]) for part, cls in parts.items()}
    knobs = build(SearchKnobs, values["knobs"])
    _ = knobs.wanted_steps  # refused before a copy is made
    job = SearchJob(
        _target(path, options["out"]),
        built["judge"],
        knobs,
        network=built["network"],
        bilateral=built["training"],
        device=options["device"] or "auto",
    )
    return _search(job, read_header(path), is_copy=options["out"] is not None)


def _contradiction(options: Mapping[str, Any], search_settings: bool) -> str:
    """What of the words has no effect beside the rest; "" where all has one."""
    asked = [name for name in _OTHERS if options[name]]
    if len(asked) > 1:
        return f"--{asked[0]} and --{asked[1]} are done one at a time; leave out one"
    if asked and (search_settings or options["device"]):
        return f"--{asked[0]} searches nothing; leave out the settings of the search"
    if options["out"] and asked and asked[0] != "import":
        return f"--out has no effect with --{asked[0]}; leave it out"
    if options["export"] and options["steps"] is None:
        return "--export needs --steps: how many steps the schedule has"
    if not options["export"] and (idle := [f"--{name}" for name in ("steps", "sampler") if options[name] is not None]):
        return f"{idle[0]} says which schedule --export writes and has no effect here; --wanted names steps to search"
    return ""


def _target(path: Path, out: Path | None) -> Path:
    """The file that is changed: the model, or its copy. Raises ValueError for a name where something is already."""
    if out is None:
        return path
    if out.suffix != ".safetensors":
        raise ValueError(f"{out} is not possible: the copy of a model must end in .safetensors.")
    if out.exists():
        raise ValueError(f"{out} is there already. Choose another name for the copy.")
    with replacing(out) as part:
        shutil.copyfile(path, part)
    return out.absolute()


def _search(job: SearchJob, header: Header, *, is_copy: bool) -> int:
    print(f"{header.title}: schedules of up to {job.knobs.most} steps, judged by {job.judge.title} -> {job.path}")
    show = _SearchLine()
    status = drive(job, show)
    if show.best:
        _print_table([show.best[key] for key in sorted(show.best)])
    if not show.saved and is_copy:
        job.path.unlink(missing_ok=True)  # it would be the model once more
    if show.outcome == "stopped":
        print(f"Stopped early; what was found is {'kept' if show.saved else 'nothing'}.")
    return status


def _list(path: Path) -> int:
    found = read_header(path).schedules
    if not found:
        print(f"{path.name} keeps no schedules; denoising-studio schedule {path} searches some.")
        return 0
    _print_table(found)
    return 0


def _import(path: Path, out: Path | None, files: Sequence[Path]) -> int:
    """Keep the schedules of all files beside those that are there; those of other models as imported ones."""
    mark = fingerprint(path)
    # All are read before a copy is made.
    found = [adopted(schedule, mark) for file in files for schedule in read_schedules(file)]
    target = _target(path, out)
    new: list[ShortSchedule] = []

    def change(kept: Sequence[ShortSchedule]) -> list[ShortSchedule]:
        for schedule in found:
            known = [*kept, *new]
            if not any(each.betas == schedule.betas and each.sampler == schedule.sampler for each in known):
                new.append(schedule)
        return [*kept, *new]

    write_schedules(target, change, mark)
    there = f", {len(found) - len(new)} there already" if len(new) < len(found) else ""
    print(f"{len(new)} imported{there} -> {target}")
    return 0


def _export(path: Path, target: Path, steps: int, sampler: str | None) -> int:
    kept = read_header(path).schedules
    fitting = [each for each in kept if each.steps == steps and sampler in (None, each.sampler.get("name"))]
    if not fitting:
        lengths = ", ".join(str(steps) for steps in sorted({each.steps for each in kept})) or "none at all"
        raise ValueError(
            f"{path.name} keeps no schedule of {steps} steps{f' for {sampler}' if sampler else ''}; it keeps {lengths}."
        )
    schedule = best_of(fitting)
    if len(fitting) > 1:
        note(f"{len(fitting)} schedules have {steps} steps; this is {_sampler(schedule) or 'the first'}'s.")
    match target.suffix.lower():
        case ".csv":
            write_csv(target, schedule)
        case ".json":
            write_json(target, [schedule])
        case "":
            print(write_diffusers(target, schedule))
        case _:
            raise ValueError(
                f"{target} is not possible: it ends in .csv or .json, or is a folder's name for diffusers."
            )
    print(f"{schedule.name} -> {target}")
    return 0


def _print_table(schedules: Sequence[ShortSchedule]) -> None:
    rows = [("steps", "sampler", "score", "N_min", "origin", "betas, from the cleanest")]
    for each in schedules:
        score = next((f"{quantity_of(key)} {brief(value)}" for key, value in each.scores.items()), "")
        # Betas that were moved no longer follow from their start, and its bound does not hold for them.
        bound = f"{fewest_steps(*each.start):.1f}" if each.start and each.origin == "learned" else ""
        bound += _SHORT * each.is_cut_short
        rows.append((str(each.steps), _sampler(each), score, bound, each.origin, _in_brief(each.betas)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    if any(each.is_cut_short for each in schedules):
        print(f"{_SHORT} ended at the smallest beta, before clean data, which takes N_min steps from their start.")


def _sampler(schedule: ShortSchedule) -> str:
    """Its sampler in words; "" where it was found with none, its plain name where this studio does not know it."""
    if not schedule.sampler:
        return ""
    try:
        return sampler_title(method_from_dict("sampler", schedule.sampler), defaults=False)
    except ValueError:
        return str(schedule.sampler.get("name"))


def _in_brief(betas: Sequence[float], most: int = 6) -> str:
    """The betas in three digits, close to 1 by what is missing; of very many the ends."""
    words = [f"{beta:.3g}" if beta < 0.9995 else f"1-{1.0 - beta:.0e}" for beta in betas]
    return " ".join(words if len(words) <= most else [*words[: most // 2], "…", *words[-most // 2 :]])


class _SearchLine(Line):
    """A search's; gathers the best schedules."""

    def __init__(self) -> None:
        super().__init__()
        self.best: dict[tuple[int, str], ShortSchedule] = {}
        self.saved = False

    def show(self, event: events.Event) -> None:
        match event:
            case events.Status():
                self._bar.show(0.0, event.text)
            case events.Progress():
                text = f"schedule network, step {event.step:,} of {event.total:,}  {left(event.eta_seconds)}"
                self._bar.show(event.step / event.total, text)
            case events.SearchProgress():
                self._bar.show(event.fraction, f"{event.text}  {left(event.eta_seconds)}")
            case events.ScheduleFound(schedule=ShortSchedule() as schedule) if event.best:
                self.best[schedule.steps, str(schedule.sampler.get("name"))] = schedule
            case events.Saved():
                self.saved = True
                self._say(f"kept in {event.path}")
