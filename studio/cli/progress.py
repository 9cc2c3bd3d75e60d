"""Progress on the terminal, and a job driven there."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable
from typing import Any

from studio.cli.notes import complain
from studio.core import events
from studio.session import jobs
from studio.session.control import Control


class Bar:
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


class Line:
    """Shows a job's messages on the terminal; remembers how it ended."""

    def __init__(self) -> None:
        self._bar = Bar()
        self.outcome = "failed"

    def __call__(self, event: events.Event) -> None:
        match event:
            case events.Warned():
                self._say(event.summary)
            case events.Failed():
                self._bar.close()
                complain(event.summary)
            case events.Finished():
                self._bar.close()
                self.outcome = event.outcome
                print(f"{event.outcome} after {event.seconds:.0f} s")
            case _:
                self.show(event)

    def show(self, event: events.Event) -> None:
        """What a kind of job tells beside that."""
        raise NotImplementedError

    def _say(self, text: str) -> None:
        self._bar.close()
        print(text, flush=True)


def left(seconds: float) -> str:
    """How long it will still take; "" where that is not known."""
    return f"{seconds / 60.0:.1f} min left" if seconds else ""


def drive(job: Callable[[Control], Any], show: Line) -> int:
    """Run a job here; the first Ctrl+C ends it in good order, the second at once."""

    control = Control()

    def interrupt(*_: object) -> None:
        if control.stopping:
            raise KeyboardInterrupt
        print("\nStopping after this step; press Ctrl+C again to end at once.", file=sys.stderr)
        control.stop()

    before = signal.signal(signal.SIGINT, interrupt)
    try:
        for event in jobs.drive(job, control):
            if event is not None:
                show(event)
    finally:
        signal.signal(signal.SIGINT, before)
    return 1 if show.outcome == "failed" else 0
