"""The command line: the window by default, and ``train``, ``sample``, ``inspect`` without one.

    denoising-studio [CHECKPOINT or RUN ...]
    denoising-studio train --preset digits --steps 3000
    denoising-studio sample MODEL --sampler ddim --steps 10 --out digits.png
    denoising-studio inspect MODEL

Flags are made from the same knobs as the window's forms.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import studio

if TYPE_CHECKING:
    from studio.core import events
    from studio.core.knobs import Knob
    from studio.session.control import Control

_HEADLESS = "Without a window, use denoising-studio train, sample or inspect; each has --help."


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status: 0 done, 1 failed, 2 for wrong words, 130 interrupted."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        return _run(words)
    except BrokenPipeError:
        return _leave_pipe()


def _run(words: list[str]) -> int:
    commands: dict[str, Callable[[list[str]], int]] = {"train": _train, "sample": _sample, "inspect": _inspect}
    try:
        if words and words[0] in commands:
            return commands[words[0]](words[1:])
        return _window(words)
    except BrokenPipeError:
        raise
    except OSError as error:
        from studio.core.files import explain

        return _complain(explain(error, Path(error.filename or "The file")))
    except ValueError as error:
        return _complain(str(error))
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return 130  # as shells count it: 128 and the number of the signal
    finally:
        if sys.stdout is not None:  # a window started without a console has none
            sys.stdout.flush()  # a reader that is gone shows here, not when Python ends


def _leave_pipe() -> int:
    """Nobody reads what is printed any more, as after ``| head``: end without a word."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(nowhere, stream.fileno())  # what is still buffered goes there, else Python complains as it ends
    os.close(nowhere)
    return 141  # as shells count it: 128 and the number of SIGPIPE


def _complain(message: str) -> int:
    _note(message)
    return 1


def _note(message: str) -> None:
    print(f"denoising-studio: {message}", file=sys.stderr)


def _window(words: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="denoising-studio",
        description="Train denoising diffusion models, watch them learn, look inside every step.",
        epilog=_HEADLESS,
        allow_abbrev=False,
    )
    parser.add_argument("paths", nargs="*", type=Path, metavar="PATH", help="checkpoint or run folder to open")
    parser.add_argument("--version", action="version", version=studio.__version__)
    parser.add_argument("--install-desktop", action="store_true", help="put the studio into the desktop's launcher")
    parser.add_argument("--uninstall-desktop", action="store_true", help="take it out of the launcher")
    options = parser.parse_args(words)
    if options.install_desktop or options.uninstall_desktop:
        from studio import desktop

        for path in desktop.install() if options.install_desktop else desktop.uninstall():
            print(path)
        return 0
    from studio.display import why_no_window

    if reason := why_no_window():
        return _complain(f"{reason}. {_HEADLESS}")
    try:
        from studio.app.main import run
    except ImportError as error:
        if not (error.name or "").startswith(("PySide6", "shiboken6")):
            raise
        return _complain(f"the window cannot be loaded ({error}). {_HEADLESS}")
    return run(options.paths)


# Training


def _train(words: list[str]) -> int:
    from studio.core.config import PARTS, RunKnobs, TrainConfig
    from studio.core.knobs import knobs_of
    from studio.core.registry import find
    from studio.core.resources import runs
    from studio.core.runs import Run
    from studio.session.jobs import TrainJob

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
        _add_flags(group, knobs_of(cls), tables[part], owners, part, prefix=f"{part}.")
    _add_flags(parser.add_argument_group("run"), knobs_of(RunKnobs), tables["run"], owners, "run")
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
    print(f"{config.title}: {config.data.title}, {config.recipe.title}, {config.network.title} -> {run.folder}")
    return _drive(TrainJob(config, run, chosen.resume is not None), _TrainingLine())


def _train_starts() -> argparse.ArgumentParser:
    """The flags that are read first: where a training starts from and which methods it has."""
    from studio.core.config import PARTS
    from studio.core.presets import DEFAULT, presets
    from studio.core.registry import methods

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
    from studio.core.config import PARTS, load_toml
    from studio.core.presets import DEFAULT, preset_for, presets
    from studio.core.registry import find
    from studio.core.runs import Run

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
    return tables


class _Given:
    """A flag's value, told apart from "not given" even where the value is None (auto)."""

    def __init__(self, value: Any) -> None:
        self.value = value


def _add_flags(
    group: argparse._ActionsContainer,
    knobs: Sequence[Knob],
    values: Mapping[str, Any],
    owners: dict[str, tuple[str, str]],
    part: str,
    prefix: str = "",
) -> None:
    """A flag for each knob; its destination in ``owners`` says whose value it is."""
    for knob in knobs:
        target = f"{part}.{knob.name}"
        owners[target] = (part, knob.name)
        now = values.get(knob.name, knob.default)
        group.add_argument(
            f"--{prefix}{knob.name.replace('_', '-')}",
            dest=target,
            type=_reader(knob),
            metavar="{" + ",".join(knob.choices) + "}" if knob.choices else knob.kind.upper(),
            help=f"{knob.help} ({knob.allowed}; now {'auto' if now is None else now})".replace("%", "%%"),
        )


def _reader(knob: Knob) -> Callable[[str], _Given]:
    def read(text: str) -> _Given:
        try:
            return _Given(knob.parse(text))
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return read


# Sampling


def _sample(words: list[str]) -> int:
    from studio.core.knobs import knobs_of
    from studio.core.registry import find, methods
    from studio.core.sampling import SampleKnobs

    first = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    first.add_argument("--sampler", choices=methods("sampler"), default="ddim", help="which sampler")
    first.add_argument("--grid", choices=methods("grid"), default="log_snr", help="which levels it visits")
    first.add_argument("--out", type=Path, default=Path("samples.png"), help=".png for a picture, .npz for the numbers")
    first.add_argument("--batch", type=int, default=64, help="images at a time; changes speed, not pictures")
    first.add_argument("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto", help="what computes")
    chosen, _ = first.parse_known_args([word for word in words if word not in ("-h", "--help")])
    parser = argparse.ArgumentParser(
        prog="denoising-studio sample",
        usage="denoising-studio sample MODEL [--sampler NAME] [--steps N] [--out FILE] [...]",
        parents=[first],
        description="Draw samples from a model.",
        allow_abbrev=False,
    )
    parser.add_argument("model", type=Path, help="checkpoint, run folder, or the name of a model that ships")
    owners: dict[str, tuple[str, str]] = {}
    for part, name in (("sampler", chosen.sampler), ("grid", chosen.grid)):
        knobs = knobs_of(find(part, name))
        if knobs:
            _add_flags(parser.add_argument_group(f"{part}: {name}"), knobs, {}, owners, part, prefix=f"{part}.")
    _add_flags(parser.add_argument_group("sampling"), knobs_of(SampleKnobs), {}, owners, "knobs")
    options = vars(parser.parse_args(words))
    values: dict[str, dict[str, Any]] = {"sampler": {}, "grid": {}, "knobs": {}}
    for flag, (part, name) in owners.items():
        if options[flag] is not None:
            values[part][name] = options[flag].value
    given = values["knobs"]
    if given.get("guidance") and given.get("label", "").strip().lower() == "none":
        parser.error("--guidance pulls towards a class and has no effect with --label none; leave out one")
    if "steps" in given and "grid.steps" in owners:
        parser.error(f"--steps has no effect with --grid {chosen.grid}, whose levels --grid.steps names; leave it out")
    if options["batch"] < 1:
        raise ValueError(f"batch = {options['batch']} is not possible: it takes a whole number of at least 1.")
    if options["out"].suffix.lower() not in (".png", ".npz"):
        raise ValueError(f"{options['out']} is not possible: the name must end in .png or .npz.")
    _check_writable(options["out"])
    return _draw(options, values)


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
    import numpy as np
    import torch

    from studio.core import pictures
    from studio.core.checkpoints.native import load
    from studio.core.device import choose
    from studio.core.files import replacing
    from studio.core.knobs import build
    from studio.core.registry import find
    from studio.core.sampling import SampleKnobs, SampleSpec, sample, to_uint8
    from studio.session.jobs import subject_of

    spec = SampleSpec(
        sampler=build(find("sampler", options["sampler"]), values["sampler"]),
        grid=build(find("grid", options["grid"]), values["grid"]),
        knobs=build(SampleKnobs, values["knobs"]),
    )
    device = choose(options["device"])
    model = load(_model_path(options["model"]), device)
    subject = subject_of(model)
    if values["knobs"].get("guidance") and not subject.class_names:
        _note("--guidance has no effect: this model knows no classes.")
    if values["knobs"].get("clip") and not subject.is_image:
        _note("--clip has no effect: this model makes points, not images.")
    bar, began, found = _Bar(), time.perf_counter(), []
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


def _model_path(path: Path) -> Path:
    """The checkpoint that a word means: a path, a run folder, or the name of a model that ships."""
    from studio.session import catalog

    if not path.exists():
        for shipped in catalog.shipped():
            if str(path) in (shipped.stem, shipped.name):
                return shipped
    return catalog.resolve(path)


# Inspecting


def _inspect(words: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="denoising-studio inspect",
        description="Say what a checkpoint or a run folder holds.",
        allow_abbrev=False,
    )
    parser.add_argument("model", type=Path, help="checkpoint, run folder, or the name of a model that ships")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    options = parser.parse_args(words)
    from dataclasses import asdict

    from studio.core.checkpoints.header import read_header

    path = _model_path(options.model)
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
    rows |= {name: f"{value:g}" for name, value in header.scores.items()}
    for name, value in rows.items():
        print(f"{name:>13}  {value}")
    return 0


def _knob_line(table: Mapping[str, Any]) -> str:
    return table["name"] + "".join(f", {key} {value}" for key, value in table.items() if key != "name")


# Progress


class _Bar:
    """A progress bar on a terminal; a line every ten seconds elsewhere."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._last = time.perf_counter() if not self._live else 0.0

    def show(self, fraction: float, text: str) -> None:
        now = time.perf_counter()
        if now - self._last < (0.1 if self._live else 10.0):
            return
        self._last = now
        if self._live:
            full = int(24 * fraction)
            print(
                f"\r\033[K{'█' * full}{'░' * (24 - full)} {fraction:4.0%}  {text}", end="", file=sys.stderr, flush=True
            )
        else:
            print(f"{fraction:4.0%}  {text}", file=sys.stderr, flush=True)

    def close(self) -> None:
        if self._live:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


class _TrainingLine:
    """Shows a training's messages on the terminal; remembers how it ended."""

    def __init__(self) -> None:
        self._bar = _Bar()
        self._loss = 0.0
        self.outcome = "failed"

    def __call__(self, event: events.Event) -> None:
        from studio.core import events

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
            case events.Warned():
                self._say(event.summary)
            case events.Failed():
                self._bar.close()
                _complain(event.summary)
            case events.Finished():
                self._bar.close()
                self.outcome = event.outcome
                print(f"{event.outcome} after {event.seconds:.0f} s")

    def _say(self, text: str) -> None:
        self._bar.close()
        print(text, flush=True)


def _drive(job: Callable[[Control], Any], show: _TrainingLine) -> int:
    """Run a job here; the first Ctrl+C ends it in good order, the second at once."""
    from studio.session.control import Control
    from studio.session.jobs import drive

    control = Control()

    def interrupt(*_: object) -> None:
        if control.stopping:
            raise KeyboardInterrupt
        print("\nStopping after this step; press Ctrl+C again to end at once.", file=sys.stderr)
        control.stop()

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        for event in drive(job, control):
            if event is not None:
                show(event)
    finally:
        signal.signal(signal.SIGINT, before)
    return 1 if show.outcome == "failed" else 0
