"""What the benchmarks share: the header line, tables, and a home apart from the person's own."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path

from studio.core.files import write_text


def parser(doc: str | None) -> argparse.ArgumentParser:
    """A parser whose help is the script's docstring."""
    return argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)


def print_header(*more: str) -> None:
    """One line on what the numbers below were measured."""
    import torch

    facts = (
        f"{os.cpu_count()} CPUs ({torch.backends.cpu.get_cpu_capability()})",
        f"torch {torch.__version__}, {torch.get_num_threads()} threads",
        f"Python {platform.python_version()} on {platform.system()}",
    )
    print(" · ".join((*facts, *more)), flush=True)


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Columns as wide as they need; the first to the left, the rest to the right."""
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    for row in (head, tuple("-" * width for width in widths), *rows):
        rest = (cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))
        print("  ".join((row[0].ljust(widths[0]), *rest)), flush=True)


def between(path: Path, marks: tuple[str, str], chapter: str | None = None) -> None:
    """Write ``chapter`` between two lines of a file; without one, only look whether both are there, once each."""
    text = path.read_text(encoding="utf-8")
    if not all(text.count(mark) == 1 for mark in marks):
        raise SystemExit(f"{path} must have the lines {marks[0].strip()} and {marks[1].strip()}, once each.")
    if chapter is not None:
        start, rest = text.split(marks[0])
        write_text(path, f"{start}{marks[0]}{chapter}\n{marks[1]}{rest.split(marks[1])[1]}")
        print(f"written: {path}")


def isolate(home: Path) -> None:
    """Keep settings, runs and data of this process under ``home``, and draw offscreen where there is no display.

    Call it before the application object is made.
    """
    os.environ["DENOISING_STUDIO_HOME"] = str(home / "studio")
    for name in ("DATA", "CONFIG", "STATE"):
        os.environ[f"XDG_{name}_HOME"] = str(home / name.lower())
    shown = any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"))
    if sys.platform.startswith("linux") and not shown:
        os.environ["QT_QPA_PLATFORM"] = "offscreen"
    from PySide6.QtCore import QSettings

    # macOS and Windows keep native settings elsewhere than in files.
    QSettings.setDefaultFormat(QSettings.Format.IniFormat)
    QSettings.setPath(QSettings.Format.IniFormat, QSettings.Scope.UserScope, str(home / "settings"))


def platform_name() -> str:
    """Where windows are drawn, for the header."""
    chosen = os.environ.get("QT_QPA_PLATFORM")
    if chosen or not sys.platform.startswith("linux"):
        return chosen or "the system's display"
    return os.environ.get("WAYLAND_DISPLAY") or os.environ.get("DISPLAY") or "offscreen"
