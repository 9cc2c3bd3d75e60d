"""The trajectory workspace: every step of a sampling run, from noise to sample.

The panel asks for runs (``sample_requested``) and shows the frames of the newest one as they come. A *position* counts
frames; it follows the newest frame until the person goes elsewhere, and a newer run then halts at the same share of its
way. The older run stays until the first frame of the newer one is there.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PySide6.QtCore import QByteArray, QStandardPaths, Qt, QTimer, Signal
from PySide6.QtGui import QHideEvent, QImageWriter, QKeyEvent, QKeySequence, QPixmap, QShortcut, QShowEvent
from PySide6.QtWidgets import QApplication, QFileDialog, QHBoxLayout, QStackedWidget, QVBoxLayout, QWidget

from studio.app.controls import Banner, ElidedLabel, Segmented
from studio.app.panels.step_distribution import StepDistribution
from studio.app.panels.trajectory_controls import CalmScrollArea, Kept, TrajectoryControls
from studio.app.panels.trajectory_formula import update_rule
from studio.app.panels.trajectory_reel import Reel
from studio.app.panels.trajectory_views import ImagesView, PointsView, View
from studio.app.timers import single_shot
from studio.core import events
from studio.core.checkpoints.header import Header
from studio.core.files import explain, replacing
from studio.core.sampling import SampleSpec, few_steps, levels_of
from studio.core.schedules import NoiseSchedule
from studio.session.jobs import SampleJob

DEBOUNCE_MILLISECONDS = 80
FRAMES_PER_SECOND = 12
_ABOUT = {
    "run": "all steps from noise to data",
    "step": "where one step may lead, in truth and as models have it",
}


class TrajectoryPanel(QWidget):
    """The workspace. Left and Right step, Space plays, Home and End go to the ends, N draws another seed."""

    sample_requested = Signal(object)
    """A :class:`~studio.session.jobs.SampleJob` that shall replace the one before."""
    spec_changed = Signal(object)
    """The :class:`~studio.core.sampling.SampleSpec` as the controls have it now."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.controls = TrajectoryControls()
        self.images, self.points = ImagesView(), PointsView()
        self.steps = StepDistribution()
        self.banner = Banner()
        self._path = ""
        self._header: Header | None = None
        self._schedule: NoiseSchedule | None = None
        self._view: View = self.images
        self._asked: Reel | None = None
        self._reel: Reel | None = None
        self._job_id = -1
        self._running = False
        self._position = 0
        self._image = 0
        self._share: float | None = None  # of the way, where the person went; None follows the newest frame
        self._ask_timer = single_shot(self, DEBOUNCE_MILLISECONDS, self._ask)
        # Frames that come together, as after a busy moment, are drawn once.
        self._draw_timer = single_shot(self, 0, self._draw)
        self._play_timer = QTimer(self, interval=round(1000 / FRAMES_PER_SECOND))
        self._play_timer.timeout.connect(self._advance)
        self._arrange()
        self._connect()
        self._tell("")

    # What the window says

    def set_model(self, path: str, header: Header, schedule: NoiseSchedule) -> None:
        """Show another model: empty the views, fit the controls to it, and ask for samples at once."""
        self._path, self._header, self._schedule = path, header, schedule
        self._stop_playing()
        self.controls.set_model(header, schedule)
        self._view = self.images if header.kind == "image" else self.points
        self._stack.setCurrentWidget(self._view)
        self.points.set_flat(tuple(header.facts["shape"]) == (1,), has_field=few_steps(header) is None)
        self._offer_steps(path, header)
        if self._reel is not None:
            self._job_id += 1  # what the model before still sends is older than anything of this one
        self._reel, self._share, self._position, self._image = None, None, 0, 0
        for view in (self.images, self.points):
            view.clear()
        self.controls.formula.set_lines(())
        self.banner.hide()
        self._focus_scrubber()
        self.spec_changed.emit(self.spec())
        self._ask()

    def look_again(self, path: str, header: Header) -> None:
        """The model's file keeps other schedules now: offer them; what is set and shown stays."""
        if path == self._path:
            self._header = header
            self.controls.set_schedules(header.schedules)

    def set_data_points(self, points: np.ndarray) -> None:
        """The real data of a point set, (M, D), drawn faintly behind the particles."""
        if points.ndim == 2 and points.shape[1] in (1, 2):
            self.points.set_data(points)

    def receive(self, event: events.Event) -> None:
        """Show a message of the newest job; those of an older job, or that say nothing here, are passed over."""
        if event.job_id < self._job_id:
            return
        match event:
            case events.Frame():
                self._take(event)
            case events.Field():
                if self._reel is not None:
                    self._reel.fields[event.index] = event
                    self._draw_timer.start()
            case events.Status():
                self._tell(event.text)
            case events.Warned():
                self.banner.show_info(event.summary)
            case events.Failed():
                self.banner.show_error(event.summary, event.details)
            case events.Finished():
                self._running = False
                self._view.finish()
                self._tell("")

    def set_busy(self, busy: bool) -> None:
        """A run goes on, or none does."""
        self._running = busy
        self._tell("Sampling" if busy else "")

    # Values

    def spec(self) -> SampleSpec:
        """What the controls say."""
        return self.controls.spec()

    def set_spec(self, spec: SampleSpec) -> None:
        """Set the controls, and sample again if that changes them."""
        self.controls.set_spec(spec)

    def state(self) -> dict[str, Any]:
        """The controls as plain values, for the settings file."""
        shown = {"field": self.points.field_check.isChecked(), "links": self.points.links_check.isChecked()}
        return self.controls.state() | shown | {f"step.{name}": value for name, value in self.steps.state().items()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what :meth:`state` gave; what is missing or impossible is left as it is."""
        self.controls.restore(state)
        self.steps.restore({name.removeprefix("step."): value for name, value in state.items() if "step." in name})
        for name, check in (("field", self.points.field_check), ("links", self.points.links_check)):
            check.setChecked(str(state.get(name, check.isChecked())).lower() == "true")

    # Pages

    def page(self) -> str:
        """What is in front: the "run", or one "step" of it."""
        return str(self.switch.value())

    def _offer_steps(self, path: str, header: Header) -> None:
        """Offer the laws of one step where they are known; else show the run."""
        offered = not self.steps.problem(header)
        self._top.setVisible(offered)
        if offered:
            self.steps.set_model(path, header)
        else:
            self.switch.setValue("run")

    def _turn_page(self) -> None:
        run = self.page() == "run"
        if not run:
            self._stop_playing()
        self._centre.setCurrentIndex(0 if run else 1)
        self._sides.setCurrentIndex(0 if run else 1)
        self._about.setText(_ABOUT[self.page()])

    # Asking for runs

    def _changed(self) -> None:
        self.spec_changed.emit(self.spec())
        self._ask_timer.start()

    def _ask(self) -> None:
        """Ask for a run of what the controls say, if that is possible; they say it where it is not."""
        self._ask_timer.stop()
        if self._schedule is None or self.controls.problem():
            return
        spec = self.spec()
        job = SampleJob(path=Path(self._path), spec=spec, between=self.controls.walk.between())
        self._asked = Reel(job, levels_of(spec, self._schedule))
        self._stop_playing()
        self.sample_requested.emit(job)

    # Frames

    def _take(self, frame: events.Frame) -> None:
        if (frame.x.ndim == 4) != (self._view is self.images):
            return  # of the model before
        last = self._reel.frames[-1] if self._reel else None
        if last is None or frame.job_id > self._job_id or frame.index <= last.index:
            if self._asked is None:
                return
            self._reel = Reel(self._asked.job, self._asked.levels)
            self._job_id, self._running = frame.job_id, True
            self._tell("Sampling")
            self._image = min(self._image, len(frame.x) - 1)
            self.banner.hide()
        assert self._reel is not None
        self._reel.frames.append(frame)
        self._draw_timer.start()

    def _draw(self) -> None:
        """Draw the run as it is by now, at the newest frame or where the person is."""
        if self._reel is None or not len(self._reel):
            return
        newest = len(self._reel) - 1
        if self._view.transport.scrubber.isSliderDown():
            self._position = min(self._position, newest)  # nothing moves under the person's hand
        elif self._share is None:
            self._position = newest
        else:
            self._position = self._reel.position_at(self._share * self._reel.total)
        self._view.show_reel(self._reel, self._position, self._image)
        if not self._running:
            self._view.finish()
        self._show_rule()

    def go_to(self, position: int) -> None:
        """Show the frame at ``position``, kept within the run; the newest one is followed from then on."""
        if self._reel is None or not len(self._reel):
            return
        self._position = min(max(position, 0), len(self._reel) - 1)
        at_end = self._position == len(self._reel) - 1
        self._share = None if at_end else self._reel.frames[self._position].index / self._reel.total
        self._show()

    def follow(self, image: int) -> None:
        """Follow another image in the filmstrip and in all sheets."""
        self._image = image
        if self._reel is not None and len(self._reel):
            self._show()

    def _show(self) -> None:
        """Draw the frame at the position, and all that came before it if that is still to be drawn."""
        assert self._reel is not None
        if self._draw_timer.isActive():
            self._draw_timer.stop()
            self._position = min(self._position, len(self._reel) - 1)
            self._view.show_reel(self._reel, self._position, self._image)
        else:
            self._view.show_position(self._position, self._image)
        self._show_rule()

    def _show_rule(self) -> None:
        assert self._reel is not None
        jump = self._reel.jump(self._position)
        frame = self._reel.frames[self._position]
        lines: tuple[str, ...] = ()
        if jump is not None:
            lines = update_rule(self._reel.job.spec.sampler, *jump)
        elif frame.index == frame.total:
            lines = ("x<sub>s</sub> = x<sub>0</sub>", "this is the sample")
        self.controls.formula.set_lines(lines)

    # Playing

    def toggle_play(self) -> None:
        """Play from here, or from the start if this is the end; or stop."""
        if self._play_timer.isActive():
            self._stop_playing()
        elif self._reel is not None and len(self._reel) > 1:
            if self._position == len(self._reel) - 1:
                self.go_to(0)
            self._play_timer.start()
            self._view.transport.set_playing(True)

    def _advance(self) -> None:
        if self._reel is not None:
            self.go_to(self._position + 1)
        if not self._running and (self._reel is None or self._position == len(self._reel) - 1):
            self._stop_playing()

    def _stop_playing(self) -> None:
        self._play_timer.stop()
        for view in (self.images, self.points):
            view.transport.set_playing(False)

    # Keeping and saving

    def _keep(self, name: str) -> None:
        """Keep the starting noise of the followed image."""
        if self._reel is None or not len(self._reel) or self._reel.job.between is not None:
            return
        picture = QPixmap.fromImage(self.images.thumbnail(self._image))
        self.controls.walk.keep(name, Kept(self._reel.job.spec.knobs.seed, self._image, picture))

    def _save(self) -> None:
        """Ask where, and write what the step shows as a PNG, whole or not at all."""
        if self._reel is None or not len(self._reel) or self._header is None:
            self.banner.show_info("There is no picture yet: sample first.")
            return
        folder = Path(QStandardPaths.writableLocation(QStandardPaths.StandardLocation.PicturesLocation))
        index = self._reel.frames[self._position].index
        suggested = folder / f"{self._header.title}, step {index} of {self._reel.total}.png"
        chosen, _ = QFileDialog.getSaveFileName(self, "Save picture", str(suggested), "Pictures (*.png)")
        if not chosen:
            return
        path = Path(chosen) if chosen.lower().endswith(".png") else Path(f"{chosen}.png")
        try:
            with replacing(path) as part:
                if not QImageWriter(str(part), QByteArray(b"png")).write(self._view.picture()):
                    raise OSError(None, "it could not be written", str(path))
        except OSError as error:
            self.banner.show_error(explain(error, path))

    # Making

    def _arrange(self) -> None:
        self._stack = QStackedWidget()
        self._stack.addWidget(self.images)
        self._stack.addWidget(self.points)
        body = QWidget()
        inner = QVBoxLayout(body)
        inner.setContentsMargins(16, 0, 16, 16)
        inner.addWidget(self._stack)
        above = QVBoxLayout()
        above.setContentsMargins(16, 0, 16, 0)
        above.addWidget(self.banner)
        page = QWidget()
        inset = QVBoxLayout(page)
        inset.setContentsMargins(16, 0, 16, 16)
        inset.addWidget(self.steps)
        self._centre, self._sides = QStackedWidget(), QStackedWidget()
        for stack, pages in (
            (self._centre, (CalmScrollArea(body), page)),
            (self._sides, (self.controls, self.steps.side)),
        ):
            for widget in pages:
                stack.addWidget(widget)
        self._sides.setFixedWidth(self.controls.width())
        self._make_switch()
        column = QVBoxLayout()
        column.setContentsMargins(0, 16, 0, 0)
        column.setSpacing(12)
        column.addWidget(self._top)
        column.addLayout(above)
        column.addWidget(self._centre, 1)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(0)
        row.addLayout(column, 1)
        row.addWidget(self._sides)

    def _make_switch(self) -> None:
        self.switch = Segmented([("run", "Run"), ("step", "One step")])
        self._about = ElidedLabel(_ABOUT["run"])
        self._top = QWidget()
        line = QHBoxLayout(self._top)
        line.setContentsMargins(16, 0, 16, 0)
        line.setSpacing(12)
        line.addWidget(self.switch)
        line.addWidget(self._about, 1)
        self._top.hide()
        self.switch.valueChanged.connect(self._turn_page)

    def _connect(self) -> None:
        for view in (self.images, self.points):
            view.moved.connect(self._moved)
            view.followed.connect(self.follow)
            view.transport.play_toggled.connect(self.toggle_play)
        self.controls.changed.connect(self._changed)
        self.controls.again_requested.connect(self._ask)
        self.controls.save_requested.connect(self._save)
        self.controls.keep_requested.connect(self._keep)
        for keys, slot in (("F5", self._ask), ("Ctrl+R", self._ask), ("Ctrl+E", self._save)):
            # They reach this workspace from the model library too, and rest while another one is in front.
            shortcut = QShortcut(QKeySequence(keys), self, context=Qt.ShortcutContext.WindowShortcut)
            shortcut.activated.connect(slot)

    def _moved(self, position: int) -> None:
        self._stop_playing()
        self.go_to(position)

    def _tell(self, text: str) -> None:
        waiting = f"{text}…" if text else "No samples yet"
        self.images.set_waiting(waiting)
        self.images.hint.setText(f"{text}…" if text else "click a picture above to follow it")
        self.points.hint.setText(f"{text}…" if text else "")

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._focus_scrubber()

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self._stop_playing()

    def _focus_scrubber(self) -> None:
        """Keys step through the run at once, unless they are of use elsewhere, as in the model library."""
        self.setFocusProxy(self._view.transport.scrubber)
        now = QApplication.focusWidget()
        if self.isVisible() and (now is None or self._stack.isAncestorOf(now)):
            self._view.transport.scrubber.setFocus()

    def keyPressEvent(self, event: QKeyEvent) -> None:
        if event.modifiers() & ~Qt.KeyboardModifier.KeypadModifier or self.page() == "step":
            super().keyPressEvent(event)
            return
        last = len(self._reel) - 1 if self._reel is not None else 0
        places = {
            Qt.Key.Key_Left: self._position - 1,
            Qt.Key.Key_Right: self._position + 1,
            Qt.Key.Key_Home: 0,
            Qt.Key.Key_End: last,
        }
        key = Qt.Key(event.key())
        if key in places:
            self._moved(places[key])
        elif key == Qt.Key.Key_Space:
            self.toggle_play()
        elif key == Qt.Key.Key_N:
            self.controls.new_seed()
        else:
            super().keyPressEvent(event)
