"""``denoising-studio train``: a training into a run folder."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from studio.cli.flags import add_flags
from studio.cli.progress import Line, drive
from studio.core import events
from studio.core.config import PARTS, RunKnobs, TrainConfig, load_toml
from studio.core.knobs import knobs_of
from studio.core.presets import DEFAULT, preset_for, presets, start_for
from studio.core.registry import find, methods
from studio.core.resources import runs
from studio.core.runs import Run
from studio.session.jobs import TrainJob


def main(words: list[str]) -> int:
    """Run the command with its words; returns the exit status."""
    first = _train_starts()
    # Which knobs there are depends on the methods chosen, so those are read first.
    chosen, rest = first.parse_known_args([word for word in words if word not in ("-h", "--help")])
    tables = _starting_point(first, chosen, next((word for word in _loose(rest) if word.endswith(".toml")), None))
    parser = argparse.ArgumentParser(
        prog=first.prog,
        usage=first.usage,
        parents=[first],
        description="Train a model into a run folder.",
        allow_abbrev=False,
    )
    parser.add_argument("config", nargs="?", metavar="CONFIG.toml", help="a configuration; flags change what it says")
    owners: dict[str, tuple[str, str]] = {}
    for part, kind in PARTS.items():
        name = getattr(chosen, part)
        if name is not None and name != tables[part]["name"]:
            tables[part] = {"name": name}
        cls = find(kind, tables[part]["name"])
        group = parser.add_argument_group(f"{part}: {tables[part]['name']}")
        add_flags(group, knobs_of(cls), tables[part], owners, part, prefix=f"{part}.")
    add_flags(parser.add_argument_group("run"), knobs_of(RunKnobs), tables["run"], owners, "run")
    options = vars(parser.parse_args(words))
    if options["config"] and not options["config"].endswith(".toml"):
        parser.error(f"{options['config']} is no configuration: its name must end in .toml")
    for flag, (part, name) in owners.items():
        if options[flag] is not None:
            tables[part][name] = options[flag].value
    config = TrainConfig.from_dict(tables | ({"title": chosen.title} if chosen.title else {}))
    if chosen.resume is not None:
        run = Run(chosen.resume)
    else:
        run = Run(chosen.out) if chosen.out else Run.new(runs(), config.title)
        if Run.is_run(run.folder):
            raise ValueError(f"{run.folder} holds a run already. Continue it with --resume, or choose another folder.")
    start = f", from {config.run.start_from}" if config.run.start_from else ""
    print(f"{config.title}: {config.data.title}, {config.recipe.title}, {config.network.title}{start} -> {run.folder}")
    return drive(TrainJob(config, run, chosen.resume is not None), _TrainingLine())


def _train_starts() -> argparse.ArgumentParser:
    """The flags that are read first: where a training starts from and which methods it has."""
    first = argparse.ArgumentParser(
        prog="denoising-studio train",
        usage="denoising-studio train [CONFIG.toml] [--preset NAME] [--steps N] [--network.width N] [...]",
        add_help=False,
        allow_abbrev=False,
    )
    first.add_argument("--preset", choices=presets(), help=f"starting point without a config.toml (default: {DEFAULT})")
    first.add_argument("--resume", type=Path, metavar="RUN", help="continue the training in a run folder")
    first.add_argument("--out", type=Path, metavar="FOLDER", help="run folder to make (default: a new one by time)")
    first.add_argument("--title", help="name of the model in the library")
    for part, kind in PARTS.items():
        first.add_argument(f"--{part}", choices=methods(kind), help=f"which {kind}")
    return first


def _loose(words: Sequence[str]) -> list[str]:
    """The words that are no flags, nor the values that follow them; each flag takes one."""
    found, follows = [], False
    for word in words:
        if not follows and not word.startswith("--"):
            found.append(word)
        follows = not follows and word.startswith("--") and word != "--" and "=" not in word
    return found


def _starting_point(first: argparse.ArgumentParser, chosen: argparse.Namespace, file: str | None) -> dict[str, Any]:
    """The configuration that flags then change, as tables. Ends the program where words contradict each other."""

    if chosen.resume is not None:
        idle = [f"--{name}" for name in ("preset", "out", *PARTS) if getattr(chosen, name) is not None]
        if idle := idle + ([file] if file else []):
            first.error(f"--resume continues a run with its own settings; leave out {', '.join(idle)}")
        return load_toml(Run(chosen.resume).config).to_dict()
    if file and chosen.preset:
        first.error(f"--preset {chosen.preset} and {file} are two starting points; leave out one")
    base = load_toml(Path(file)) if file else presets()[chosen.preset or DEFAULT]
    tables = base.to_dict()
    if chosen.data not in (None, tables["data"]["name"]):
        # As in the window: other data brings its name and, where it is of another kind, what suits it.
        data = find("dataset", chosen.data)()
        if data.kind != base.data.kind:
            kept = {name: tables["run"][name] for name in ("seed", "device")}
            tables = preset_for(data).to_dict()
            tables["run"] |= kept
        tables |= {"title": data.title, "data": {"name": chosen.data}}
        # Weights are of data.
        tables["run"]["start_from"] = start_for(base.recipe, data)
    return tables


class _TrainingLine(Line):
    """A training's."""

    def __init__(self) -> None:
        super().__init__()
        self._loss = 0.0

    def show(self, event: events.Event) -> None:

        match event:
            case events.Progress():
                loss = event.scalars.get("loss", self._loss)
                self._loss = loss if self._loss == 0.0 else 0.9 * self._loss + 0.1 * loss
                left = f"{event.eta_seconds / 60.0:.1f} min left"
                text = f"step {event.step:,} of {event.total:,}  loss {self._loss:.4f}"
                self._bar.show(event.step / event.total, f"{text}  {event.images_per_second:.0f} images/s  {left}")
            case events.Saved():
                self._say(f"step {event.step:,}: saved {event.path}")
            case events.HeldOut():
                self._say(f"step {event.step:,}: held-out loss {event.loss:.4f}")
            case events.Quality():
                found = ", ".join(f"{name} {value:.4g}" for name, value in event.scores.items())
                self._say(f"step {event.step:,}: {found} ({event.count:,} samples, {event.caption})")
