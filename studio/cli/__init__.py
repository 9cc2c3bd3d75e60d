"""The command line: the window by default, and ``train``, ``sample``, ``schedule``, ``evaluate``, ``inspect``
without one.

    denoising-studio [MODEL ...]
    denoising-studio train --preset digits --steps 3000
    denoising-studio sample MODEL --sampler ddim --steps 10 --out digits.png
    denoising-studio schedule MODEL --judge fd --wanted 8,12
    denoising-studio evaluate MODEL --samplers ddim,ancestral --steps 10,20,50 --out results
    denoising-studio inspect MODEL

Flags are made from the same knobs as the window's forms.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import studio
from studio.cli.notes import complain

_HEADLESS = "Without a window, use denoising-studio train, sample, schedule, evaluate or inspect; each has --help."


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status: 0 done, 1 failed, 2 for wrong words, 130 interrupted."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        return _run(words)
    except BrokenPipeError:
        return _leave_pipe()


def _run(words: list[str]) -> int:
    try:
        match words:
            case ["train", *rest]:
                from studio.cli import train

                return train.main(rest)
            case ["sample", *rest]:
                from studio.cli import sample

                return sample.main(rest)
            case ["schedule", *rest]:
                from studio.cli import schedule

                return schedule.main(rest)
            case ["evaluate", *rest]:
                from studio.cli import evaluate

                return evaluate.main(rest)
            case ["inspect", *rest]:
                from studio.cli import inspect

                return inspect.main(rest)
        return _window(words)
    except BrokenPipeError:
        raise
    except OSError as error:
        from studio.core.files import explain

        return complain(explain(error, Path(error.filename or "The file")))
    except ValueError as error:
        return complain(str(error))
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


def _window(words: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="denoising-studio",
        description="Train denoising diffusion models, watch them learn, look inside every step.",
        epilog=_HEADLESS,
        allow_abbrev=False,
    )
    known = "checkpoint, run folder, or name of a model that ships"
    parser.add_argument("paths", nargs="*", metavar="MODEL", help=known)
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
        return complain(f"{reason}. {_HEADLESS}")
    try:
        from studio.app.main import run
    except ImportError as error:
        if not (error.name or "").startswith(("PySide6", "shiboken6")):
            raise
        return complain(f"the window cannot be loaded ({error}). {_HEADLESS}")
    from studio.core.checkpoints.places import named

    return run([named(word) for word in options.paths])
