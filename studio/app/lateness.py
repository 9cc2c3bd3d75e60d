"""How late the event loop comes to a timer: the window's own measure of whether it stays fluid."""

from __future__ import annotations

import time

from PySide6.QtCore import QObject, Qt, QTimer, Signal

_EVERY, _TELL = 0.050, 2.0


class LatenessMeter(QTimer):
    """Emits ``measured`` every two seconds with the worst lateness since, in milliseconds."""

    measured = Signal(float)

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._last = self._told = time.perf_counter()
        self._worst = 0.0
        self.setTimerType(Qt.TimerType.PreciseTimer)
        self.timeout.connect(self._tick)
        self.start(int(1000 * _EVERY))

    def _tick(self) -> None:
        now = time.perf_counter()
        self._worst = max(self._worst, now - self._last - _EVERY)
        self._last = now
        if now - self._told > _TELL:
            self.measured.emit(1000.0 * self._worst)
            self._told, self._worst = now, 0.0
