"""Timers that fire once, so that what comes together is answered once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PySide6.QtCore import QObject, QTimer


def single_shot(owner: QObject, milliseconds: int, slot: Callable[..., Any]) -> QTimer:
    """A timer of ``owner`` that calls ``slot`` so long after it was started last."""
    timer = QTimer(owner, singleShot=True, interval=milliseconds)
    timer.timeout.connect(slot)
    return timer
