"""Does the window stay fluid while it trains, and does the training stay fast? The real window, at 1280 x 800.

    python benchmarks/window_latency.py --seconds 60
    python benchmarks/window_latency.py --preset swiss-roll        many steps a second: plots at their full rate

One training runs in the window, on the Train workspace with its live plots, and the same one headless in another
process, as ``denoising-studio train`` runs it, previews and checkpoints included. They take turns (window, headless,
window, ...) in slices; whoever rests is paused. The first seconds of both (--warm-up) are not measured.

A precise timer of 5 ms tells how late the event loop comes to it while the window trains. Frames are paints of the loss
plot; there are at most as many as messages from the training, which come with a step and 20 times a second at most.
"""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from common import isolate, parser, platform_name, print_header, print_table
from PySide6.QtCore import QEventLoop, Qt, QTimer

from studio.app.main import application
from studio.app.window import MainWindow
from studio.core import events

TICK_SECONDS = 0.005
SETTLE_SECONDS = 3.0
PATIENCE_SECONDS = 120.0
MARGIN = 2.0
"""The run is planned this much longer than the measurement, so that it does not end first."""


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--preset", default="digits", help="a name that `denoising-studio train --preset` knows")
    options.add_argument("--seconds", type=float, default=60.0, help="how long to measure the window, and headless too")
    options.add_argument("--slice", type=float, default=15.0, help="seconds of one turn")
    options.add_argument("--warm-up", type=float, default=5.0, help="seconds of training before the first turn")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as home:
        isolate(Path(home))
        application()
        config = plan(chosen.preset, chosen.seconds + 2.0 * chosen.warm_up)
        print_header(f"window on {platform_name()}")
        print(
            f"{config.title}, batch {config.run.batch}: {chosen.seconds:g} s in the window and as many headless, in "
            f"turns of {chosen.slice:g} s, after {chosen.warm_up:g} s of warm-up each",
            flush=True,
        )
        with headless(config, Path(home)) as other, Window(config) as window:
            window.turn(chosen.warm_up)
            other.turn(chosen.warm_up)
            window.begin_measuring()
            turns = []
            for _ in range(max(1, round(chosen.seconds / chosen.slice))):
                inside = window.turn(chosen.slice)
                turns.append((inside, other.turn(chosen.slice)))
            report(window, np.array(turns))


def plan(preset: str, seconds: float) -> Any:
    """The preset, with steps for longer than ``seconds`` of training."""
    from studio.core.presets import presets
    from studio.session.control import Control
    from studio.session.jobs import EstimateJob, drive

    config = presets()[preset]
    (cost,) = [event for event in drive(EstimateJob(config), Control()) if isinstance(event, events.Estimate)]
    steps = max(config.run.steps, round(MARGIN * seconds / cost.seconds_per_step))
    return dataclasses.replace(config, run=dataclasses.replace(config.run, steps=steps))


def report(window: Window, turns: np.ndarray) -> None:
    """Print what was found; ``turns`` (N, 2) are images a second in the window and headless."""
    late = 1000.0 * np.array(window.lateness)
    ratios = turns[:, 0] / turns[:, 1]
    p50, p95, p99 = np.percentile(late, (50, 95, 99))
    print_table(
        ("", "measured", "target"),
        (
            ("event loop late, p50", f"{p50:.1f} ms", ""),
            ("event loop late, p95", f"{p95:.1f} ms", ""),
            ("event loop late, p99", f"{p99:.1f} ms", "16 ms"),
            ("event loop late, max", f"{late.max():.1f} ms", "100 ms"),
            ("loss plot, frames", f"{window.frames / window.seconds:.1f} /s", ""),
            ("training, steps in the window", f"{window.steps / window.seconds:.1f} /s", ""),
            ("images, in the window", f"{turns[:, 0].mean():.1f} /s", ""),
            ("images, headless", f"{turns[:, 1].mean():.1f} /s", ""),
            ("window to headless", f"{turns[:, 0].sum() / turns[:, 1].sum():.1%}", "95 %"),
        ),
    )
    print("each turn: " + ", ".join(f"{a:.0f} / {b:.0f} = {r:.0%}" for (a, b), r in zip(turns, ratios, strict=True)))


class Window:
    """The main window with a training that waits, and what is measured while it does not."""

    def __init__(self, config: Any) -> None:
        self.lateness: list[float] = []
        self.frames = self.steps = 0
        self.seconds = 0.0
        self._images = self._step = self._painted = 0
        self._watching = self._measuring = False
        self._config = config
        self._window = MainWindow()
        self._last = time.perf_counter()
        self._timer = QTimer(self._window, interval=round(1000 * TICK_SECONDS))
        self._timer.setTimerType(Qt.TimerType.PreciseTimer)
        self._timer.timeout.connect(self._tick)

    def __enter__(self) -> Window:
        """Show the window and start the training; it waits after its first step or so."""
        self._window.show()
        self._window.resize(1280, 800)
        until(lambda: self._window.train is not None, "the workspaces are there")
        assert self._window.train is not None
        panel = self._panel = self._window.train
        self._window.show_workspace("Train")
        panel.set_config(self._config)
        spin(SETTLE_SECONDS)  # the preview of the data and the estimate of the cost come first
        self._watch(panel.views, "receive", self._receive)
        self._watch(panel.views.loss, "paint_curves", self._paint)
        self._button.click()
        until(lambda: self._images > 0, "the training has begun")
        self._button.click()
        until(self._resting, "the training rests")
        self._timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._timer.stop()
        self._panel.settings.buttons.stop.click()
        until(self._window.actions_by_name["start"].isEnabled, "the training has stopped")
        self._window.close()

    def begin_measuring(self) -> None:
        """From the next turn on, what happens counts."""
        self._measuring = True

    def turn(self, seconds: float) -> float:
        """Train for so long, then rest. Returns images a second."""
        images, step, painted, began = self._images, self._step, self._painted, time.perf_counter()
        self._button.click()
        self._last, self._watching = time.perf_counter(), self._measuring
        spin(seconds)
        self._watching = False
        self._button.click()
        until(self._resting, "the training rests")
        spent = time.perf_counter() - began
        if self._measuring:
            self.frames += self._painted - painted
            self.steps += self._step - step
            self.seconds += spent
        return (self._images - images) / spent

    @property
    def _button(self) -> Any:
        return self._panel.settings.buttons.primary

    def _resting(self) -> bool:
        if self._button.text() == "Start":
            raise SystemExit(f"The training ended too early: {self._window.banner.text() or 'it had too few steps'}")
        return self._button.text() == "Resume"

    @staticmethod
    def _watch(target: Any, name: str, look: Callable[..., None]) -> None:
        """Have ``look`` see what a method of one object is called with."""
        method = getattr(target, name)

        def watched(*args: Any) -> None:
            look(*args)
            method(*args)

        setattr(target, name, watched)

    def _receive(self, event: events.Event) -> None:
        if isinstance(event, events.Progress):
            self._images, self._step = event.images, event.step

    def _paint(self, _: Any) -> None:
        self._painted += 1

    def _tick(self) -> None:
        now = time.perf_counter()
        if self._watching:
            self.lateness.append(max(0.0, now - self._last - TICK_SECONDS))
        self._last = now


def spin(seconds: float) -> None:
    """Let the window live for so long."""
    loop = QEventLoop()
    QTimer.singleShot(round(1000 * seconds), loop.quit)
    loop.exec()


def until(done: Callable[[], bool], what: str) -> None:
    """Let the window live until something has happened."""
    began = time.perf_counter()
    while not done():
        if time.perf_counter() - began > PATIENCE_SECONDS:
            raise SystemExit(f"Waited {PATIENCE_SECONDS:.0f} s in vain until {what}.")
        spin(0.01)


# The headless training, in a process of its own


class Headless:
    """The other process, seen from here."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self, word: str) -> None:
        """Send a command."""
        assert self._process.stdin is not None
        print(word, file=self._process.stdin, flush=True)

    def answer(self) -> float:
        """Images a second of the turn that ended. The process waits after that."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("The headless training ended too early.")
        return float(line)

    def turn(self, seconds: float) -> float:
        """Train for so long, then rest. Returns images a second."""
        self.ask("go")
        spin(seconds)
        self.ask("rest")
        return self.answer()


@contextmanager
def headless(config: Any, home: Path) -> Iterator[Headless]:
    """The headless training, which waits after its first step."""
    from studio.core.config import to_toml

    file = home / "config.toml"
    file.write_text(to_toml(config.to_dict()), encoding="utf-8")
    command = [sys.executable, __file__, "--train", str(file), str(home / "headless")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        other = Headless(process)
        try:
            other.answer()
            yield other
        finally:
            other.ask("end")


def train_headless(config_file: Path, folder: Path) -> None:
    """Be the other process: train by the commands "go", "rest" and "end"; print images a second after each rest."""
    from studio.core.config import load_toml
    from studio.core.runs import Run
    from studio.session.control import Control
    from studio.session.jobs import TrainJob, drive

    control = Control()
    began, images, images_before = time.perf_counter(), 0, 0

    def obey() -> None:
        nonlocal began, images_before
        for line in sys.stdin:
            if line.strip() == "go":
                began, images_before = time.perf_counter(), images
                control.resume()
            elif line.strip() == "rest":
                control.pause()
            else:
                control.stop()

    control.pause()
    threading.Thread(target=obey, daemon=True).start()
    for event in drive(TrainJob(load_toml(config_file), Run(folder)), control):
        match event:
            case events.Progress():
                images = event.images
            case events.Paused(paused=True):
                print((images - images_before) / (time.perf_counter() - began), flush=True)
            case events.Failed():
                print(event.summary, file=sys.stderr)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--train"]:
        train_headless(*map(Path, sys.argv[2:]))
    else:
        main()
