"""Threads of the window: a worker runs one job, a lane runs one job at a time for one purpose.

Messages wait in a mailbox until the window's timer drains them, so a busy window delays neither the job nor itself.
"""

from __future__ import annotations

import itertools

from PySide6.QtCore import QObject, QThread, QTimer, Signal

from studio.core.events import Failed, Finished, Paused
from studio.session.control import Control
from studio.session.jobs import Job, drive
from studio.session.mailbox import Mailbox

DRAIN_MILLISECONDS = 33
_numbers = itertools.count(1)


class Worker(QThread):
    """Runs one job to its end; messages go to ``mailbox``, the last one is always ``Finished``."""

    def __init__(self, job: Job, mailbox: Mailbox, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.job_id = next(_numbers)
        self.control = Control()
        self._job, self._mailbox = job, mailbox

    def run(self) -> None:
        for event in drive(self._job, self.control, self.job_id):
            if event is not None:
                self._mailbox.post(event)


class Lane(QObject):
    """One job at a time: a newer one stops the older, and starts when that has ended.

    ``received`` brings every message of the newest job, in the window's thread.
    """

    received = Signal(object)
    busy_changed = Signal(bool)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._mailbox = Mailbox()
        self._worker: Worker | None = None
        self._next: Job | None = None
        self._ended = self._closed = False
        self._timer = QTimer(self)
        self._timer.setInterval(DRAIN_MILLISECONDS)
        self._timer.timeout.connect(self._drain)

    @property
    def busy(self) -> bool:
        """Whether a job runs or waits."""
        return self._worker is not None

    @property
    def control(self) -> Control | None:
        """Steers the running job."""
        return self._worker.control if self._worker else None

    def submit(self, job: Job) -> None:
        """Run ``job`` now, or as soon as the one before has stopped. Only the newest waiting job is kept.

        A lane that was closed takes no more jobs.
        """
        if self._closed:
            return
        if self._worker is not None:
            self._next = job
            self._worker.control.stop()
            return
        self._begin(job)

    def stop(self) -> None:
        """Ask the running job to stop and forget the waiting one."""
        self._next = None
        if self._worker is not None:
            self._worker.control.stop()

    def close(self, milliseconds: int = 20_000) -> bool:
        """Stop for good, and wait for the thread to end. Returns whether it has; if not, the lane must not go yet."""
        self._closed = True
        self.stop()
        self._timer.stop()
        if self._worker is None:
            return True
        ended = self._worker.wait(milliseconds)
        if ended:
            self._worker.deleteLater()
            self._worker = None
        return ended

    def _begin(self, job: Job) -> None:
        self._ended = False
        self._worker = Worker(job, self._mailbox, self)
        self._worker.start()
        self._timer.start()
        self.busy_changed.emit(True)

    def _drain(self) -> None:
        worker = self._worker
        for event in self._mailbox.drain():
            if worker is not None and event.job_id == worker.job_id:
                self._ended = self._ended or isinstance(event, Finished)
                # A job that is being replaced has nothing more to show, but its end still counts.
                if self._next is None or isinstance(event, (Finished, Failed, Paused)):
                    self.received.emit(event)
        # Finished is posted just before the thread ends; it is let go only when it really has.
        if self._ended and worker is not None and worker.wait(0):
            self._retire(worker)

    def _retire(self, worker: Worker) -> None:
        worker.deleteLater()
        self._worker = None
        following, self._next = self._next, None
        if following is not None:
            self._begin(following)
        else:
            self._timer.stop()
            self.busy_changed.emit(False)
