"""What the pages of the schedule workspace that start jobs have in common: buttons, progress, and what went wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QProgressBar, QPushButton, QVBoxLayout, QWidget

from studio.app.controls import Banner, ElidedLabel
from studio.app.words import duration
from studio.core import events
from studio.core.checkpoints.header import Header
from studio.core.schedules import NoiseSchedule

_MOST_WARNINGS = 6
_STEPS = 1000
_ENDS = {"done": "Done", "stopped": "Stopped", "failed": "Failed"}
RunState = Literal["idle", "running", "paused", "stopping"]


class RunBar(QWidget):
    """How far a job is, over buttons that start, pause and stop one. It follows the job's messages.

    Without a job the buttons are those that start one, given as (name, label) pairs, the first of them the main one;
    with one they give way to Pause and Stop.
    """

    start_requested = Signal(str)
    """The name of the button that was pressed."""
    pause_requested = Signal(bool)
    stop_requested = Signal()

    def __init__(self, starts: tuple[tuple[str, str], ...]) -> None:
        super().__init__()
        self.state: RunState = "idle"
        self._text = ""
        self.progress = QProgressBar()
        self.progress.setRange(0, _STEPS)
        self.progress.setTextVisible(False)
        self.progress.setAccessibleName("Progress")
        self.caption = ElidedLabel("", "muted")
        self.pause_button, self.stop_button = QPushButton("Pause"), QPushButton("Stop")
        self.pause_button.setProperty("primary", True)
        self._starts = {name: QPushButton(label) for name, label in starts}
        buttons = QHBoxLayout()
        buttons.setSpacing(8)
        for index, (name, button) in enumerate(self._starts.items()):
            button.setProperty("primary", index == 0)
            button.clicked.connect(lambda *_, name=name: self.start_requested.emit(name))
            buttons.addWidget(button, 1)
        buttons.addWidget(self.pause_button, 1)
        buttons.addWidget(self.stop_button)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(6)
        column.addWidget(self.progress)
        column.addWidget(self.caption)
        column.addSpacing(2)
        column.addLayout(buttons)
        self.pause_button.clicked.connect(lambda: self.pause_requested.emit(self.state != "paused"))
        self.stop_button.clicked.connect(self._stop)
        self.set_state("idle")
        self.caption.hide()

    @property
    def busy(self) -> bool:
        """Whether a job goes on."""
        return self.state != "idle"

    def start_button(self, name: str) -> QPushButton:
        """The button of a name."""
        return self._starts[name]

    def set_busy(self, busy: bool) -> None:
        """A job begins, or none goes on."""
        if busy == self.busy:
            return
        if busy:
            self.progress.setValue(0)
            self._text = ""
            self.say("Starting…")
        self.set_state("running" if busy else "idle")

    def set_state(self, state: RunState) -> None:
        """Show the buttons that have a meaning now."""
        self.state = state
        busy = state != "idle"
        for button in self._starts.values():
            button.setVisible(not busy)
        self.progress.setVisible(busy)
        self.pause_button.setVisible(busy)
        self.stop_button.setVisible(busy)
        self.pause_button.setText("Go on" if state == "paused" else "Pause")
        self.pause_button.setEnabled(state in ("running", "paused"))
        self.stop_button.setEnabled(state in ("running", "paused"))

    def say(self, text: str) -> None:
        """The line under the bar; "" takes it away."""
        self.caption.setText(text)
        self.caption.setVisible(bool(text))

    def show_progress(self, fraction: float, text: str, eta_seconds: float) -> None:
        """``fraction`` in [0, 1] is done; ``eta_seconds`` are left where above 0."""
        self.progress.setValue(round(_STEPS * min(max(fraction, 0.0), 1.0)))
        self._text = text
        left = f" · {duration(eta_seconds)} left" if eta_seconds > 0 else ""
        self.say(" · ".join(filter(None, ["Paused", text])) if self.state == "paused" else f"{text}{left}")
        self.progress.setAccessibleDescription(self.caption.fullText())

    def receive(self, event: events.Event) -> None:
        """Follow the job."""
        match event:
            case events.Status():
                self.say(f"{event.text}…")
            case events.Progress():
                text = f"step {event.step:,} of {event.total:,}"
                self.show_progress(event.step / max(event.total, 1), text, event.eta_seconds)
            case events.SearchProgress():
                self.show_progress(event.fraction, event.text, event.eta_seconds)
            case events.Paused() if self.state in ("running", "paused"):
                self.set_state("paused" if event.paused else "running")
                self.say(" · ".join(filter(None, ["Paused" if event.paused else "", self._text])))
            case events.Finished():
                self.say(_ENDS[event.outcome])

    def _stop(self) -> None:
        self.set_state("stopping")
        self.say("Stopping…")
        self.stop_requested.emit()


class Notices(Banner):
    """Says what a job warned of, and why it failed."""

    def __init__(self) -> None:
        super().__init__()
        self._warnings: dict[str, None] = {}
        self._job = -1

    def clear(self) -> None:
        """Forget everything."""
        self._warnings = {}
        self.hide()

    def receive(self, event: events.Event) -> None:
        """Take any message."""
        if isinstance(event, (events.Warned, events.Failed)) and event.job_id != self._job:
            self._job, self._warnings = event.job_id, {}
        match event:
            case events.Warned():
                self._warnings[event.summary] = None
                self.show_info(self._gathered())
            case events.Failed():
                # The failure may speak of the warnings that came before.
                self.show_error("\n".join(filter(None, [self._gathered(), event.summary])), event.details)

    def _gathered(self) -> str:
        lines = list(self._warnings)
        more = len(lines) - _MOST_WARNINGS
        return "\n".join([*lines[:_MOST_WARNINGS], *([f"… and {more} more warnings."] if more > 0 else [])])


class RunPage(QWidget):
    """A page with jobs of its own: itself is the centre, ``settings`` the right column. It runs nothing: it asks.

    Abstract: a page makes its settings, with ``run`` below them, and draws what its jobs tell.
    """

    start_requested = Signal(object)
    """The main job of the page, as the page's own kind of request."""
    stop_requested = Signal()
    pause_requested = Signal(bool)
    chosen = Signal(object)
    """The :class:`ShortSchedule` that is to be used."""

    settings: QWidget

    def __init__(self, starts: tuple[tuple[str, str], ...], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._path: Path | None = None
        self._schedule: NoiseSchedule | None = None
        self._job_id = -1
        self.banner = Notices()
        self.run = RunBar(starts)
        self.run.pause_requested.connect(self.pause_requested)
        self.run.stop_requested.connect(self.stop_requested)

    def set_model(self, path: str, header: Header, schedule: NoiseSchedule) -> None:
        """Speak of another model; what was shown is of the one before, and goes."""
        raise NotImplementedError

    def receive(self, event: events.Event) -> None:
        """Take any message of the page's own jobs; what an older one still tells is left."""
        if event.job_id < self._job_id:
            return
        self._job_id = event.job_id
        self.banner.receive(event)
        self.run.receive(event)
        self._take(event)

    def set_busy(self, busy: bool) -> None:
        """A job of this page goes on, or none does."""
        self.run.set_busy(busy)

    def _take(self, event: events.Event) -> None:
        """Draw what a job of the page tells."""
        raise NotImplementedError
