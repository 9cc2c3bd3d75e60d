"""What a command says beside its output. Imports nothing heavy: the window starts through here too."""

from __future__ import annotations

import sys


def complain(message: str) -> int:
    """Say what is wrong; returns the exit status of a failure."""
    note(message)
    return 1


def note(message: str) -> None:
    """Say something beside the output."""
    print(f"denoising-studio: {message}", file=sys.stderr)
