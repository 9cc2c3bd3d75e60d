"""How soon is the studio there? Times from the start of the process, of a first launch on a warm disk cache.

    python benchmarks/startup.py --runs 5

Each run is a fresh interpreter with fresh settings that runs the command without arguments and closes the window again.
"Window painted" is the end of its first paint, "workspaces ready" when the Trajectory workspace stands, "first sample
grid" the end of the paint that shows the last frame of the shipped model's first run, "training ready" when the form of
the Train workspace stands too. One run before the measured ones warms the cache.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from common import isolate, parser, platform_name, print_header, print_table

if TYPE_CHECKING:
    from studio.app.window import MainWindow

STARTED, HOME = "BENCHMARK_STARTED", "BENCHMARK_HOME"
MILESTONES = {
    "window painted": "1.5 s",
    "workspaces ready": "",
    "first sample grid": "4 s",
    "training ready": "",
}
PATIENCE_SECONDS = 120


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--runs", type=int, default=5)
    runs = options.parse_args().runs
    print_header(f"window on {platform_name()}", f"{runs} runs")
    measure()
    found = [measure() for _ in range(runs)]
    rows = []
    for name, target in MILESTONES.items():
        times = [run[name] for run in found]
        numbers = (min(times), statistics.median(times), max(times))
        rows.append((name, *(f"{number:.2f} s" for number in numbers), target))
    print_table(("", "min", "median", "max", "target"), rows)


def measure() -> dict[str, float]:
    """Seconds from the start of a process to each milestone."""
    with tempfile.TemporaryDirectory() as home:
        # The wall clock is the one that both processes share.
        environment = os.environ | {HOME: home, STARTED: repr(time.time())}
        done = subprocess.run(
            [sys.executable, __file__], env=environment, stdout=subprocess.PIPE, timeout=PATIENCE_SECONDS, check=True
        )
    return json.loads(done.stdout)


def launch() -> int:
    """Be the measured process: run the command with a window that is watched."""
    isolate(Path(os.environ[HOME]))
    from PySide6.QtCore import QEvent, QObject, QTimer

    from studio import cli
    from studio.app import main as entry

    class Watcher(QObject):
        """Notes the milestones, tells them, and closes the window."""

        def __init__(self, window: MainWindow) -> None:
            super().__init__(window)
            self.window, self.found = window, dict[str, float]()
            self.grid: QObject | None = None
            window.installEventFilter(self)
            window.stack.currentChanged.connect(self.look_at_workspaces)
            window.actions_by_name["start"].enabledChanged.connect(lambda: self.mark("training ready"))

        def mark(self, name: str) -> None:
            if name in self.found:
                return
            self.found[name] = time.time() - float(os.environ[STARTED])
            if len(self.found) == len(MILESTONES):
                print(json.dumps(self.found), flush=True)
                QTimer.singleShot(0, self.window.close)

        def mark_soon(self, name: str) -> None:
            # The rest of the frame is painted, or of the workspace built, before the event loop comes to a timer.
            if name not in self.found:
                QTimer.singleShot(0, lambda: self.mark(name))

        def eventFilter(self, watched: QObject, event: QEvent) -> bool:
            if event.type() == QEvent.Type.Paint:
                if watched is self.window:
                    self.mark_soon("window painted")
                elif watched is self.grid and self.sampled():
                    self.mark_soon("first sample grid")
            return False

        def look_at_workspaces(self) -> None:
            if self.window.trajectory is not None and self.grid is None:
                self.grid = self.window.trajectory.images.grids["x"]
                self.grid.installEventFilter(self)
                self.mark_soon("workspaces ready")

        def sampled(self) -> bool:
            assert self.window.trajectory is not None
            place, _, total = self.window.trajectory.images.transport.where().partition(" / ")
            return place == total and total.isdecimal()

    make = entry.MainWindow

    def watched() -> MainWindow:
        window = make()
        Watcher(window)
        return window

    entry.MainWindow = watched  # type: ignore[assignment,misc]
    return cli.main([])


if __name__ == "__main__":
    if STARTED in os.environ:
        sys.exit(launch())
    main()
