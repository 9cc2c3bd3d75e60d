"""The latent workspace: the z of a Denoising Diffusion GAN, held in hand.

The pad shows a plane through z and the marker on it what the result shows; below, each step's z is varied alone. The
panel asks for jobs on three lanes, "pad", "draws" and "walk"; on each the newest wins. While the marker is dragged
there is one request on its way, and the newest place is asked for when its answer is there: so the result keeps
following, however fast the hand is.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QMimeData, QSignalBlocker, QStandardPaths, Qt, QTimer, Signal
from PySide6.QtGui import QDragEnterEvent, QDropEvent, QGuiApplication, QHideEvent, QKeyEvent, QShowEvent
from PySide6.QtWidgets import QApplication, QFileDialog, QHBoxLayout, QPushButton, QStackedWidget, QVBoxLayout, QWidget

from studio.app.controls import Banner, Panel
from studio.app.panels.latent_controls import IN_HAND, NEXT, LatentControls, new_seed
from studio.app.panels.latent_export import Shown, write_shown
from studio.app.panels.latent_hand import Hand
from studio.app.panels.latent_shelf import Entry, entry_from
from studio.app.panels.latent_views import NoLatent, ResultView, StripView
from studio.app.timers import single_shot
from studio.app.widgets.z_pad import ZPad
from studio.core import events
from studio.core.checkpoints.header import Header
from studio.core.config import method_from_dict
from studio.core.pictures import mosaic, png
from studio.core.schedules import NoiseSchedule
from studio.session.latent import (
    NUM_DRAWS,
    NUM_POINT_DRAWS,
    SIDE,
    Array,
    Held,
    PadJob,
    StripJob,
    WalkJob,
    draw_directions,
    draw_z,
    draws_of,
)
from studio.session.latent_files import Kept, changed_since, from_text, latent_shape, misfit, read, to_text, write

LANES = ("pad", "draws", "walk")
DEBOUNCE_MILLISECONDS, CALM_MILLISECONDS = 60, 250
FRAMES_PER_SECOND = 25


class LatentPanel(QWidget):
    """The workspace. Arrows move the marker, Space plays the walk, N draws another z, K keeps it, F5 redraws.

    Ctrl+C copies the z in hand as text and Ctrl+V takes one; a shared z that is dropped as a file is taken, too.
    """

    job_requested = Signal(str, object)
    """A lane of :data:`LANES`, and the job that shall replace the one before on it."""
    stop_requested = Signal(str)
    errand_requested = Signal(object, object)
    """Work for a thread of its own, and what takes its result."""
    model_requested = Signal(str)
    train_requested = Signal()
    starts_requested = Signal()
    """The person wants to walk between starting noises, which is done elsewhere."""
    told = Signal(str)
    """A line for the status bar."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.controls = LatentControls()
        self.shelf = self.controls.shelf
        self.pad, self.result, self.strip = ZPad(SIDE), ResultView(), StripView()
        self.empty = NoLatent()
        self.banner = Banner()
        self.hand = Hand(1, 1, 0, 0)
        self._path = Path()
        self._header: Header | None = None
        self._headers: dict[str, Header] = {}
        self._busy = dict.fromkeys(LANES, False)
        self._newest = dict.fromkeys(LANES, -1)
        self._drag_waits = self._draws_wait = False
        self._due = False  # something is to be asked for as soon as the panel shows
        self._entries: list[Entry] = []
        self._shown: list[Entry] = []  # those of the model at hand
        self._unseen: Entry | None = None  # the one in hand, if it still has no picture
        self._points: NDArray = np.empty((0, 2), np.float32)
        self._landed: NDArray | None = None
        self._sample: NDArray | None = None
        self._way: NDArray | None = None
        self._draws: dict[int, tuple[NDArray, float]] = {}
        self._taken: tuple[int, int] | None = None
        self._walk: list[NDArray] = []
        self._walk_asked = False
        self._phase = 0
        self._export_to: Path | None = None
        self._pad_timer = single_shot(self, DEBOUNCE_MILLISECONDS, self._ask_pad)
        self._strip_timer = single_shot(self, CALM_MILLISECONDS, self._ask_draws)
        self._play_timer = QTimer(self, interval=round(1000 / FRAMES_PER_SECOND))
        self._play_timer.timeout.connect(self._advance)
        self._arrange()
        self._connect()

    # What the window says

    def set_models(self, headers: Mapping[Path, Header]) -> None:
        """All models of the library: those with a latent are offered where the chosen one has none."""
        self._headers = {str(path): header for path, header in headers.items()}
        if self._header is None or not self._is_open:
            self._offer()

    def set_model(self, path: str, header: Header, schedule: NoiseSchedule) -> None:
        """Show another model, with the z that the seed gives there; what was held before goes."""
        for lane in LANES:
            self.stop_requested.emit(lane)
        self._stop_playing()
        self._path, self._header = Path(path), header
        self.banner.hide()
        num_steps, size = latent_shape(header)
        self._is_open = num_steps > 0 and (header.kind == "image" or tuple(header.facts["shape"]) in ((1,), (2,)))
        from_empty = self.empty.has_focus()
        self._stack.setCurrentIndex(int(self._is_open))
        if from_empty and self._is_open:
            self.pad.setFocus()
        self.controls.setVisible(self._is_open)
        self._draws, self._landed, self._sample, self._way, self._taken = {}, None, None, None, None
        self._forget_walk()
        if not self._is_open:
            self._offer()
            return
        recipe = method_from_dict("recipe", header.recipe)
        self.controls.set_model(num_steps, size, header.class_names, adds_noise=not recipe.is_direct)
        self.hand = Hand(num_steps, size, self.controls.z_seed.value(), self.controls.noise_seed.value())
        is_image = header.kind == "image"
        self.result.set_kind(is_image)
        self.strip.set_steps(num_steps, is_image)
        self._points = np.empty((0, 2), np.float32)
        if is_image:
            self.pad.clear()
        else:
            self.pad.set_dots()
        self._list_kept()
        self._follow_hand()
        self._ask_pad()
        self._strip_timer.start()

    def set_data_points(self, points: NDArray) -> None:
        """The real data of a point set, (M, D), drawn faintly behind what lands."""
        if points.ndim == 2 and points.shape[1] in (1, 2):
            self._points = points
            self.result.particles.set_data_points(points)
            self.strip.set_data_points(points)

    def receive(self, event: events.Event) -> None:
        """Take any message of the panel's lanes; those of older jobs, or of another kind of item, are passed over."""
        match event:
            case events.LatentPad() if self._is_new("pad", event) and self._fits(event.result):
                self._take_pad(event)
            case events.LatentDraws() if self._is_new("draws", event) and self._fits(event.items[0]):
                self._draws[event.row] = event.items, event.spread
                self.strip.show_draws(event.row, event.items, event.spread)
                if self._taken is not None and self._taken[0] == event.row:
                    self.strip.set_taken(*self._taken)
            case events.LatentWalk() if self._is_new("walk", event) and self._fits(event.items[0]):
                self._take_walk(event)
            case events.Failed():
                if len(self._walk) < int(self.controls.frames.value()):
                    self._forget_walk()  # it may be the one that failed: the next try asks for it anew
                self.show_problem(event.summary, event.details)

    def set_busy(self, lane: str, busy: bool) -> None:
        """A job goes on in a lane, or none does."""
        self._busy[lane] = busy
        if lane != "pad" or busy:
            return
        if self._drag_waits:
            self._ask_result()
        elif self._draws_wait:
            self._ask_draws()

    def show_problem(self, summary: str, details: str = "") -> None:
        """Say what went wrong."""
        self._export_to = None
        self.banner.show_error(summary, details)

    def state(self) -> dict[str, Any]:
        """Settings and what is kept, as plain values for the settings file."""
        return self.controls.state() | {"kept": json.dumps([entry.to_dict() for entry in self._entries])}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what :meth:`state` gave; what is missing or impossible is left as it is."""
        self.controls.restore(state)
        try:
            tables = json.loads(str(state.get("kept", "[]")))
        except ValueError:
            tables = []
        found = [entry_from(table) for table in tables] if isinstance(tables, list) else []
        self._entries = [entry for entry in found if entry is not None]
        self._list_kept()

    # The z in hand

    def _new_z(self, seed: int) -> None:
        self.hand.draw(seed)
        self._changed()

    def _new_noise(self, seed: int) -> None:
        self.hand.set_noise(seed)
        self._changed()

    def _locks_changed(self) -> None:
        """Another part of z follows the pad: go on from the z under the marker, so that the result stays."""
        self.hand.centre()
        self._changed()

    def centre(self) -> None:
        """Make the z under the marker the middle of the pad."""
        if self._is_open and self.hand.at != (0.0, 0.0):
            self.hand.centre()
            self._changed()

    def redraw(self, step: int = -1) -> None:
        """Draw anew what is free in a step, by its index, or in all (-1)."""
        if not self._is_open:
            return
        drawn = False
        for index, row in enumerate(self.controls.rows):
            z, noise = row.z.isChecked(), row.noise.isChecked() and row.noise.isEnabled()
            if step in (-1, index) and (z or noise):
                self.hand.redraw(index, new_seed(), z=z, noise=noise)
                drawn = True
        if drawn:
            self._changed()

    def _take(self, step: int, draw: int) -> None:
        """Take a draw of the strip: what it shows becomes the result."""
        held = self._held()
        count = len(self._draws[step][0])
        self.hand.take(step, draws_of(held, step, self.controls.z_seed.value(), count)[draw, step])
        self._changed(taken=(step, draw))

    def _changed(self, *_: object, taken: tuple[int, int] | None = None) -> None:
        """Something else than the marker is different: all pictures follow."""
        if not self._is_open:
            return
        self._taken, self._unseen = taken, None
        self.strip.set_taken(*(taken or (None,)))
        self._forget_walk()
        self._follow_hand()
        self._pad_timer.start()
        self._strip_timer.start()

    def _moved(self, u: float, v: float) -> None:
        if not self._is_open:
            return
        self.hand.at = (u, v)
        self._taken = self._unseen = None
        self.strip.set_taken(None)
        self._forget_walk()
        self._follow_hand()
        if self._busy["draws"]:
            self.stop_requested.emit("draws")  # what it draws is of another z by now, and the result needs the cores
        self._ask_result()
        self._strip_timer.start()

    def _follow_hand(self) -> None:
        """Bring plane, marker and words in line with the z in hand."""
        controls = self.controls
        right, top = self._directions()
        self.hand.span(right, top, float(controls.reach.value()), controls.moved())
        controls.say_flat(not right.any(), not top.any())
        self.pad.set_at(*self.hand.at)
        self._centre_button.setEnabled(self.hand.at != (0.0, 0.0))
        controls.say_origin(self.hand.origin)
        controls.say_noise(self.hand.odd_noise(controls.noise_seed.value()))
        moved = [self.hand.shape[0] - index for index, on in enumerate(controls.moved()) if on]
        whose = f"step {moved[0]}" if len(moved) == 1 else f"steps {', '.join(map(str, moved))}" if moved else "no step"
        whose = "every step" if len(moved) == self.hand.shape[0] > 1 else whose
        self._pad_panel.set_subtitle(f"through z of {whose}")
        still = not self.hand.origin and self.hand.at == (0.0, 0.0)
        self.shelf.suggest(f"z {controls.z_seed.value()}{'' if still else ' moved'}")

    def _directions(self) -> tuple[Array, Array]:
        controls = self.controls
        if not controls.is_chosen():
            return draw_directions(controls.plane_seed.value(), *self.hand.shape)
        ends = {entry.kept.name: entry.kept.held.z for entry in self._shown}
        return ends[str(controls.right.value())] - self.hand.z, ends[str(controls.top.value())] - self.hand.z

    def _held(self, *, centre: bool = False) -> Held:
        return self.hand.held(self.controls.start_seed.value(), str(self.controls.label.value()), centre=centre)

    # Asking

    def _ask_pad(self) -> None:
        """Ask for the pad's pictures and the result, as soon as someone looks."""
        self._pad_timer.stop()
        self._due = self._due or not self.isVisible()
        if self.isVisible() and self._is_open:
            self._drag_waits = False
            self.job_requested.emit("pad", PadJob(self._path, self._held(centre=True), self.hand.plane, self.hand.at))

    def _ask_result(self) -> None:
        """Ask for what is under the marker alone, once the answer before is there."""
        self._drag_waits = self._busy["pad"]
        if self._pad_timer.isActive() or self._drag_waits or not self.isVisible():
            return  # the whole pad, which is about to be asked for, brings the result with it
        held = self._held(centre=True)
        self.job_requested.emit("pad", PadJob(self._path, held, self.hand.plane, self.hand.at, whole=False))

    def _ask_draws(self) -> None:
        self._strip_timer.stop()
        self._due = self._due or not self.isVisible()
        self._draws_wait = self._busy["pad"]  # what is under the hand comes first
        if self.isVisible() and self._is_open and self._header is not None and not self._draws_wait:
            count = NUM_DRAWS if self._header.kind == "image" else NUM_POINT_DRAWS
            job = StripJob(self._path, self._held(), self.controls.z_seed.value(), count)
            self.job_requested.emit("draws", job)

    # Answers

    def _is_new(self, lane: str, event: events.Event) -> bool:
        if not self._is_open or event.job_id < self._newest[lane]:
            return False
        self._newest[lane] = event.job_id
        return True

    def _fits(self, item: NDArray) -> bool:
        """Whether an item is of the model's kind: an answer may come after another model was chosen."""
        return self._header is not None and item.shape == tuple(self._header.facts["shape"])

    def _take_pad(self, event: events.LatentPad) -> None:
        self._sample, self._way = event.result, event.path
        if event.items is not None:
            self._landed = event.items
            if event.items.ndim == 4:
                self.pad.set_images(event.items)
        steps = f"{event.num_steps} step{'s' * (event.num_steps != 1)}"
        self._result_words = f"{steps} · {event.seconds:.2f} s · follows the pad"
        if self._unseen is not None and not self._pad_timer.isActive():
            self._picture(self._unseen, event.result)
        if not self._play_timer.isActive():
            self._show_result()

    def _show_result(self) -> None:
        if self._sample is None:
            return
        if self._way is not None:
            self.result.show_points(self._landed, self._way)
        else:
            self.result.show_image(self._sample)
        self.result.set_subtitle(self._result_words)

    # Walking

    def toggle_play(self) -> None:
        """Play the walk to and fro, or stop."""
        if self._play_timer.isActive():
            self._stop_playing()
        elif self._is_open and self.controls.play_button.isEnabled():
            self._phase = 0
            self._ask_walk()
            self._play_timer.start()
            self.controls.set_playing(True)

    def _ask_walk(self) -> None:
        if self._walk_asked:
            return
        self._walk_asked, self._walk = True, []
        first, second = self._end(self.controls.first.value()), self._end(self.controls.second.value())
        frames = int(self.controls.frames.value())
        self.job_requested.emit("walk", WalkJob(self._path, self._held(), first, second, frames))

    def _end(self, name: object) -> Array:
        """The z at an end of the walk."""
        if name == IN_HAND:
            return self.hand.current()
        if name == NEXT:
            return draw_z(self.controls.z_seed.value() + 1, *self.hand.shape)
        return next(entry.kept.held.z for entry in self._shown if entry.kept.name == name)

    def _take_walk(self, event: events.LatentWalk) -> None:
        if not self._walk_asked or event.first != len(self._walk):
            return
        self._walk += list(event.items)
        if len(self._walk) == event.total and self._export_to is not None:
            self._write()

    def _advance(self) -> None:
        """Show the next frame that is there; after the last one they come back the same way."""
        total = int(self.controls.frames.value())
        place = self._phase if self._phase < total else 2 * (total - 1) - self._phase
        if place >= len(self._walk):
            self.result.set_subtitle(f"walk · sampling {len(self._walk)} of {total}…")
            return
        shown = self._walk[place]
        if shown.ndim == 3:
            self.result.show_image(shown)
        else:
            self.result.show_points(None, np.stack(self._walk[: place + 1]))
        self.result.set_subtitle(f"walk · frame {place + 1} of {total}")
        self._phase = (self._phase + 1) % (2 * (total - 1))

    def _stop_playing(self) -> None:
        if self._play_timer.isActive():
            self._play_timer.stop()
            self.controls.set_playing(False)
            self._show_result()

    def _forget_walk(self) -> None:
        """The walk is another one now."""
        self._stop_playing()
        if self._walk_asked:
            self.stop_requested.emit("walk")
        self._walk, self._walk_asked, self._export_to = [], False, None

    # Keeping, sharing, exporting

    def keep(self, name: str) -> None:
        """Keep the z in hand under a name; of two equal names the later one gets a number."""
        if not self._is_open or self._header is None or self._sample is None:
            return
        self._add(Entry(replace(self._in_hand(), name=self._unused(name)), _thumbnail(self._sample)))

    def _add(self, entry: Entry) -> None:
        self._entries.append(entry)
        self._list_kept()
        self._follow_hand()
        if self.controls.plane.value() == "chosen":
            self._changed()
        self.told.emit(f"Kept {entry.kept.name}")

    def _picture(self, entry: Entry, sample: NDArray) -> None:
        """Give an entry that came without a picture its own."""
        self._unseen = None
        seen = Entry(entry.kept, _thumbnail(sample))
        self._entries = [seen if other is entry else other for other in self._entries]
        self._list_kept()

    def _unused(self, name: str) -> str:
        names = {entry.kept.name for entry in self._shown} | {IN_HAND, NEXT}
        found, number = name, 1
        while found in names:
            number += 1
            found = f"{name} {number}"
        return found

    def recall(self, index: int) -> None:
        """Take a kept z in hand, with its start, noise and class."""
        entry = self._shown[index]
        kept = entry.kept
        self.hand.recall(kept.held, kept.name)
        with QSignalBlocker(self.controls):
            self.controls.start_seed.setValue(kept.held.start_seed)
            self.controls.noise_seed.setValue(kept.held.noise_seeds[0])
            self.controls.label.setValue(kept.held.label)
        self._changed()
        note = changed_since(kept, self._header.step) if self._header is not None else ""
        self._unseen = None if entry.picture and not note else entry
        if note:
            self.banner.show_info(note)
        else:
            self.banner.hide()

    def _delete(self, index: int) -> None:
        gone = self._shown[index]
        self._entries = [entry for entry in self._entries if entry is not gone]
        used = {self.controls.right.value(), self.controls.top.value()}
        self._list_kept()
        if self.controls.plane.value() == "chosen" and gone.kept.name in used:
            self._changed()
        self.told.emit(f"Deleted {gone.kept.name}")

    def _list_kept(self) -> None:
        """Show what is kept for the model at hand."""
        if self._header is None or not self._is_open:
            return
        self._shown = [entry for entry in self._entries if not self._misfit(entry.kept)]
        self.shelf.set_entries(self._shown)
        self.controls.set_kept([entry.kept.name for entry in self._shown])

    def _in_hand(self) -> Kept:
        """The z under the marker, under the name that it would be kept by."""
        assert self._header is not None
        return Kept(self.shelf.name.placeholderText(), self._held(), self._header.title, self._header.step)

    def _misfit(self, kept: Kept) -> str:
        assert self._header is not None
        return misfit(kept, self._header.title, *self.hand.shape, self._header.class_names)

    def _copy(self, kept: Kept) -> None:
        QGuiApplication.clipboard().setText(to_text(kept))
        self.told.emit(f"{kept.name} is on the clipboard: paste it wherever you like")

    def _paste(self) -> None:
        try:
            self._welcome(from_text(QGuiApplication.clipboard().text()))
        except ValueError as error:
            self.banner.show_error(f"The clipboard holds no z that can be taken. {error}")

    def _welcome(self, kept: Kept) -> None:
        """List a shared z and take it in hand, or say why it does not fit."""
        if not self._is_open:
            self.banner.show_error(
                f"“{kept.name}” belongs to the model {kept.model}. Choose that in the library first."
            )
            return
        problem = self._misfit(kept)
        if problem:
            self.banner.show_error(problem)
            return
        self.banner.hide()
        self._add(Entry(replace(kept, name=self._unused(kept.name))))
        self.recall(len(self._shown) - 1)

    def _open(self) -> None:
        folder = QStandardPaths.writableLocation(QStandardPaths.StandardLocation.DocumentsLocation)
        chosen, _ = QFileDialog.getOpenFileName(self, "Open a z", folder, "Shared z (*.json);;All files (*)")
        if chosen:
            self.errand_requested.emit(lambda: read(Path(chosen)), self._welcome)

    def _save(self, index: int) -> None:
        kept = self._shown[index].kept
        folder = Path(QStandardPaths.writableLocation(QStandardPaths.StandardLocation.DocumentsLocation))
        name = f"{kept.model}, {kept.name}.json".replace("/", "-")
        chosen, _ = QFileDialog.getSaveFileName(self, "Save z", str(folder / name), "Shared z (*.json)")
        if chosen:
            path = Path(chosen if chosen.lower().endswith(".json") else f"{chosen}.json")
            self.errand_requested.emit(lambda: write(path, kept), lambda _: self.told.emit(f"Saved {path}"))

    def export(self) -> None:
        """Ask where, and have what is shown written there; a walk that is not sampled yet is sampled first."""
        if not self._is_open or self._sample is None:
            return
        start = QStandardPaths.writableLocation(QStandardPaths.StandardLocation.DocumentsLocation)
        chosen = QFileDialog.getExistingDirectory(self, "Export pad, result and walk into a folder", start)
        if not chosen:
            return
        self._export_to = Path(chosen)
        if len(self._walk) == int(self.controls.frames.value()):
            self._write()
        else:
            self.told.emit("Sampling the walk to export it")
            self._ask_walk()

    def _write(self) -> None:
        folder, self._export_to = self._export_to, None
        if folder is None or self._landed is None or self._sample is None or self._header is None:
            return
        kept = self._in_hand()
        rows = range(self.hand.shape[0])
        draws = [self._draws[row] for row in rows] if all(row in self._draws for row in rows) else []
        shown = Shown(kept, self._landed, self._sample, draws, np.stack(self._walk), self._points)
        self.errand_requested.emit(lambda: write_shown(folder, shown), self.banner.show_info)

    # Making

    def _arrange(self) -> None:
        self._is_open = False
        self._result_words = ""
        self._centre_button = QPushButton("Centre here")
        self._centre_button.setProperty("chip", True)
        self._centre_button.setToolTip("Make the z under the marker the middle of the pad (Enter or a double click)")
        self._pad_panel = Panel("z pad")
        self._pad_panel.add_header_widget(self._centre_button)
        self._pad_panel.content.addWidget(self.pad, 1)
        top = QHBoxLayout()
        top.setSpacing(12)
        top.addWidget(self._pad_panel, 1)
        top.addWidget(self.result, 1)
        body = QWidget()
        whole = QVBoxLayout(body)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.setSpacing(12)
        whole.addLayout(top, 3)
        whole.addWidget(self.strip, 2)
        self._stack = QStackedWidget()
        self._stack.addWidget(self.empty)
        self._stack.addWidget(body)
        column = QVBoxLayout()
        column.setContentsMargins(16, 16, 16, 16)
        column.setSpacing(12)
        column.addWidget(self.banner)
        column.addWidget(self._stack, 1)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(0)
        row.addLayout(column, 1)
        row.addWidget(self.controls)
        self.controls.hide()
        self.setFocusProxy(self.pad)
        self.setAcceptDrops(True)

    def _connect(self) -> None:
        controls, shelf = self.controls, self.shelf
        self.pad.moved.connect(self._moved)
        self.pad.centre_requested.connect(self.centre)
        self._centre_button.clicked.connect(self.centre)
        self.strip.taken.connect(self._take)
        controls.z_seed_changed.connect(self._new_z)
        controls.noise_seed_changed.connect(self._new_noise)
        controls.plane_changed.connect(self._changed)
        controls.locks_changed.connect(self._locks_changed)
        controls.start_changed.connect(self._changed)
        controls.redraw_requested.connect(self.redraw)
        controls.walk_changed.connect(self._forget_walk)
        controls.play_requested.connect(self.toggle_play)
        controls.export_requested.connect(self.export)
        shelf.keep_requested.connect(self.keep)
        self.result.keep_button.clicked.connect(shelf.keep_button.click)
        shelf.recall_requested.connect(self.recall)
        shelf.delete_requested.connect(self._delete)
        shelf.copy_requested.connect(lambda index: self._copy(self._shown[index].kept))
        shelf.save_requested.connect(self._save)
        shelf.open_requested.connect(self._open)
        shelf.paste_requested.connect(self._paste)
        self.empty.model_requested.connect(self.model_requested)
        self.empty.train_requested.connect(self.train_requested)
        self.empty.starts_requested.connect(self.starts_requested)

    def _offer(self) -> None:
        """Say on the empty page which models would do."""
        found = []
        for path, header in self._headers.items():
            try:
                num_steps, _ = latent_shape(header)
            except ValueError:
                continue  # a method that this studio does not have
            if num_steps:
                found.append((path, header.title))
        title, kind = (self._header.title, self._header.kind) if self._header is not None else ("", "")
        self.empty.offer(found, title, has_starts=kind == "image")

    # Qt

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        if self._due:
            self._due = False
            self._pad_timer.start(0)
            self._strip_timer.start()
        self._focus_pad()

    def _focus_pad(self) -> None:
        """Keys move the marker at once, unless they are of use elsewhere, as in the model library."""
        if self.isVisible() and self._is_open and QApplication.focusWidget() is None:
            self.pad.setFocus()

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self._stop_playing()

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Shared z are for this workspace; other files go on to the window, which opens them as models."""
        event.setAccepted(bool(_shared_z(event.mimeData())))

    def dropEvent(self, event: QDropEvent) -> None:
        event.acceptProposedAction()
        for path in _shared_z(event.mimeData()):
            self.errand_requested.emit(functools.partial(read, path), self._welcome)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        # Not shortcuts of the window: these keys belong to the Trajectory workspace while that one is in front.
        key, control = event.key(), event.modifiers() == Qt.KeyboardModifier.ControlModifier
        plain = event.modifiers() == Qt.KeyboardModifier.NoModifier
        if not self._is_open:
            super().keyPressEvent(event)
        elif key == Qt.Key.Key_F5 or (control and key == Qt.Key.Key_R):
            self.redraw()
        elif control and key == Qt.Key.Key_E:
            self.export()
        elif control and key == Qt.Key.Key_C:
            self._copy(self._in_hand())
        elif control and key == Qt.Key.Key_V:
            self._paste()
        elif plain and key == Qt.Key.Key_Space:
            self.toggle_play()
        elif plain and key == Qt.Key.Key_N:
            self.controls.z_seed.draw()
        elif plain and key == Qt.Key.Key_K:
            self.shelf.keep_button.click()
        else:
            super().keyPressEvent(event)


def _shared_z(dragged: QMimeData) -> list[Path]:
    """The files that are dragged, if all of them may each hold a z."""
    paths = [Path(url.toLocalFile()) for url in dragged.urls()]
    return paths if all(path.suffix.lower() == ".json" for path in paths) else []


def _thumbnail(sample: NDArray) -> bytes:
    """An image (C, H, W) uint8 as PNG bytes; nothing for a point."""
    return png(mosaic(sample[None], 1, 0)) if sample.ndim == 3 else b""
