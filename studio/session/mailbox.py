"""The bounded hand-over from a worker to whoever shows its messages.

A window that is busy must neither stop a training nor fill the memory: training progress is merged into one message,
previews and status lines are newest-wins, and everything else, ends above all, is kept.
"""

from __future__ import annotations

import threading
from collections import deque

from studio.core.events import DataPreview, Estimate, Event, Preview, Progress, Status, merge

_NEWEST_WINS = (Preview, Status, Estimate, DataPreview)
MOST_POINTS = 20_000
"""Steps that one merged progress message keeps; older ones are thinned."""


class Mailbox:
    """Messages from one thread to another. ``post`` never blocks; ``drain`` takes all there are."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: deque[Event] = deque()

    def post(self, event: Event) -> None:
        """Leave a message; it may take the place of an older one of its kind and job, never of an end."""
        with self._lock:
            for index in range(len(self._waiting) - 1, -1, -1):
                older = self._waiting[index]
                if type(older) is not type(event) or older.job_id != event.job_id:
                    continue
                if isinstance(event, Progress) and isinstance(older, Progress):
                    if older.span == event.span:
                        del self._waiting[index]
                        event = merge(older, event, MOST_POINTS)
                    break
                if isinstance(event, _NEWEST_WINS):
                    del self._waiting[index]
                    break
            self._waiting.append(event)

    def drain(self) -> list[Event]:
        """All messages since the last call, oldest first."""
        with self._lock:
            found = list(self._waiting)
            self._waiting.clear()
        return found
