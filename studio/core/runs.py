"""Run folders: everything one training leaves behind, written as it goes.

``config.toml`` says what was asked, ``events.jsonl`` what happened (one message a line, the same that the window
shows), ``checkpoints/model.safetensors`` is the model so far, ``checkpoints/resume.safetensors`` what an exact
continuation needs, ``samples/`` the previews, and ``snapshots/`` the averaged weights of earlier steps.
"""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from studio.core import events
from studio.core.files import write_text

_LOGGED = (events.Progress, events.HeldOut, events.Quality, events.Saved, events.Warned, events.Failed)
SECONDS = 1.0
MOST_STEPS = 60
"""Steps that one line of progress keeps; more are thinned."""


class Run:
    """A run folder, which need not exist yet."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    config = property(lambda self: self.folder / "config.toml")
    messages = property(lambda self: self.folder / "events.jsonl")
    model = property(lambda self: self.folder / "checkpoints" / "model.safetensors")
    resume = property(lambda self: self.folder / "checkpoints" / "resume.safetensors")
    samples = property(lambda self: self.folder / "samples")
    snapshots = property(lambda self: self.folder / "snapshots")

    @staticmethod
    def new(parent: Path, name: str) -> Run:
        """A new run under ``parent``, named by the time and ``name``; its empty folder is made. Raises OSError."""
        words = "".join(letter if letter.isalnum() else "-" for letter in name.lower()).strip("-")[:60]
        stem = f"{time.strftime('%Y%m%d-%H%M%S')}-{words or 'run'}"
        folder, number = parent / stem, 2
        while True:
            try:
                # Making the folder claims the name: two windows may start a training in the same second.
                folder.mkdir(parents=True)
                return Run(folder)
            except FileExistsError:
                if not folder.is_dir():
                    raise
                folder, number = parent / f"{stem}-{number}", number + 1

    @staticmethod
    def is_run(folder: Path) -> bool:
        """Whether a folder looks like a run."""
        return (folder / "config.toml").is_file()

    def create(self, config: str) -> None:
        """Make the folder and write its configuration. Raises OSError."""
        self.samples.mkdir(parents=True, exist_ok=True)
        write_text(self.config, config)

    def read(self) -> Iterator[events.Event]:
        """The messages so far. A line that is cut short or unknown is passed over."""
        if not self.messages.is_file():
            return
        with open(self.messages, encoding="utf-8", errors="replace") as file:
            for line in file:
                event = _from_plain(line)
                if event is not None:
                    yield event

    def previews(self, shape: tuple[int, ...], most: int) -> Iterator[events.Preview]:
        """The samples so far, oldest first, at most ``most`` of them, evenly; what cannot be read is left out.

        ``shape`` is that of one item; points come as the drawing that was made of them.
        """
        from studio.core import pictures  # the window, which needs this file to start, shows first

        paths = sorted(self.samples.glob("step-*.png"))
        for place in spread(len(paths), most):
            with contextlib.suppress(OSError, ValueError):
                step = int(paths[place].stem.removeprefix("step-"))
                images = events.freeze(pictures.read_png(paths[place], shape))
                yield events.Preview(step=step, images=images, caption="EMA · seed 0")

    def cut_back(self, step: int) -> None:
        """Forget messages of steps after ``step``, which a continuation will take again. Raises OSError."""
        if not self.messages.is_file():
            return
        kept = [event for event in self.read() if getattr(event, "step", 0) <= step]
        write_text(self.messages, "".join(json.dumps(_to_plain(event)) + "\n" for event in kept))

    def discard_if_empty(self) -> None:
        """Remove the folder if nothing was ever put into it."""
        with contextlib.suppress(OSError):
            self.folder.rmdir()


def spread(count: int, most: int) -> list[int]:
    """At most ``most`` of ``count`` places, evenly, with both ends; of one alone, the last."""
    if most < 2:
        return [count - 1][:most]
    return sorted(set(np.linspace(0, count - 1, min(count, most)).round().astype(int).tolist()))


def model_name(path: Path) -> str:
    """A model in a word: its run folder's name, since every run's file is called alike, or its file's."""
    run = Run(path.parent.parent)
    return run.folder.name if path == run.model else path.stem


class RunLog:
    """Writes a run's messages as they come, training progress once a second, so that a day's log stays small."""

    def __init__(self, run: Run) -> None:
        self._path = run.messages
        self._waiting: events.Progress | None = None
        self._since = time.monotonic()

    def write(self, event: events.Event) -> None:
        """Append a message, if it is of a kind that is kept; progress waits until a second's worth has come."""
        if not isinstance(event, _LOGGED):
            return
        if isinstance(event, events.Progress):
            if self._waiting is not None and self._waiting.span != event.span:
                self.flush()
            self._waiting = event if self._waiting is None else events.merge(self._waiting, event, MOST_STEPS)
            if time.monotonic() - self._since >= SECONDS:
                self.flush()
            return
        self.flush()
        self._append(event)

    def flush(self) -> None:
        """Write the progress that waits."""
        if self._waiting is not None:
            self._append(self._waiting)
            self._waiting = None
        self._since = time.monotonic()

    def _append(self, event: events.Event) -> None:
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(json.dumps(_to_plain(event)) + "\n")


def _to_plain(event: events.Event) -> dict[str, Any]:
    table: dict[str, Any] = {"event": type(event).__name__}
    for item in fields(event):
        value = getattr(event, item.name)
        if isinstance(value, np.ndarray):
            value = [float(f"{number:.6g}") if math.isfinite(number) else None for number in value.tolist()]
        table[item.name] = value
    return table


def _from_plain(line: str) -> events.Event | None:
    try:
        table = json.loads(line)
        kind = {cls.__name__: cls for cls in _LOGGED}[table.pop("event")]
        for name in ("losses", "level_loss", "level_edges", "level_log_snr", "steps"):
            if table.get(name) is not None:
                numbers = [np.nan if number is None else number for number in table[name]]
                table[name] = events.freeze(np.array(numbers, np.int64 if name == "steps" else np.float32))
        return kind(**table)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
