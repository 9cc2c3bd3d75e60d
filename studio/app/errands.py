"""Errands: one short function in a thread of its own, whose result comes back to the window."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, QThread, Signal

from studio.core.files import explain


class Errand(QThread):
    """Runs ``work`` and emits ``done`` with its result, or ``failed`` with a summary and details."""

    done = Signal(object)
    failed = Signal(str, str)

    def __init__(self, work: Callable[[], Any], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._work = work

    def run(self) -> None:
        try:
            self.done.emit(self._work())
        except OSError as error:
            self.failed.emit(explain(error, Path(error.filename or "The file")), traceback.format_exc())
        except Exception as error:
            self.failed.emit(str(error) or type(error).__name__, traceback.format_exc())
