"""Schedules out of files and into files: the buttons, the dialogs, and what may be dropped onto the workspace."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from PySide6.QtCore import QObject, QStandardPaths, Signal
from PySide6.QtGui import QDropEvent
from PySide6.QtWidgets import QFileDialog, QMenu, QPushButton, QWidget

from studio.app.controls import Banner
from studio.app.panels.schedule_table import Visit, to_csv
from studio.core.config import method_to_dict
from studio.core.files import write_text
from studio.core.samplers.base import Sampler
from studio.core.schedule_files import SUFFIXES, read_schedules, write_csv, write_diffusers, write_json
from studio.core.short_schedule import ShortSchedule

_DROPPED = (".json", ".csv", ".ns")
_FILTER = f"Schedules ({' '.join(f'*{suffix}' for suffix in SUFFIXES)});;All files (*)"


@dataclass(frozen=True, kw_only=True)
class Outgoing:
    """What can be exported: a schedule, its table, the model's name, and the sampler that it is sampled with here."""

    schedule: ShortSchedule
    visits: list[Visit]
    model: str
    sampler: Sampler


class Exchange(QObject):
    """The buttons "Import…" and "Export" of ``owner``; ``outgoing`` says what there is to export, if there is anything.

    Files are read and written by errands; ``banner`` tells how that went.
    """

    errand_requested = Signal(object, object)
    """A function to run in a thread of its own, and one to call here with its result."""
    imported = Signal(object)
    """The schedules that could be read, as a list that is not empty."""

    def __init__(self, owner: QWidget, banner: Banner, outgoing: Callable[[], Outgoing | None]) -> None:
        super().__init__(owner)
        self._owner, self._banner, self._outgoing = owner, banner, outgoing
        self.import_button, self.export_button = QPushButton("Import…"), QPushButton("Export")
        self.import_button.setToolTip(
            "Read schedules from CSV, JSON, a released .ns file or another checkpoint\nFiles can be dropped here, too."
        )
        self.import_button.setStyleSheet("padding-left: 8px; padding-right: 8px")
        self.import_button.clicked.connect(self._ask_import)
        menu = QMenu(owner)
        menu.setToolTipsVisible(True)
        for kind, text, tip in (
            ("json", "JSON…", "All that is known of this schedule"),
            ("csv", "CSV…", "Its β and levels, from the cleanest step"),
            ("diffusers", "Scheduler for diffusers…", "A folder that diffusers reads as a scheduler"),
            ("table", "Table of steps…", "The table of visited steps, from noise to data, as CSV"),
        ):
            menu.addAction(text, partial(self._export, kind)).setToolTip(tip)
        self.export_button.setMenu(menu)
        self.export_button.setStyleSheet("padding-left: 8px; padding-right: 22px")

    # Importing

    def import_files(self, paths: list[Path]) -> None:
        """Read schedules from files."""
        self.errand_requested.emit(partial(_read_all, paths), self._take)

    def _ask_import(self) -> None:
        paths, _ = QFileDialog.getOpenFileNames(self._owner, "Import schedules", _documents(), _FILTER)
        if paths:
            self.import_files([Path(path) for path in paths])

    def _take(self, found: tuple[list[ShortSchedule], list[str]]) -> None:
        schedules, problems = found
        if problems:
            self._banner.show_error("\n".join(problems))
        elif len(schedules) > 1:
            self._banner.show_info(f"{len(schedules)} schedules were imported: choose one above the curves.")
        else:
            self._banner.hide()
        if schedules:
            self.imported.emit(schedules)

    # Exporting

    def _export(self, kind: str) -> None:
        """Ask where, and have the schedule written there."""
        out = self._outgoing()
        if out is None:
            return
        schedule = out.schedule
        if kind == "diffusers":
            chosen = QFileDialog.getExistingDirectory(self._owner, "Export as a scheduler of diffusers", _documents())
            if chosen:
                self._write(partial(_write_diffusers, Path(chosen), _with_sampler(out)))
            return
        suffix = ".json" if kind == "json" else ".csv"
        title = "Export table" if kind == "table" else "Export schedule"
        suggested = str(Path(_documents()) / f"{out.model}, {schedule.steps} steps{suffix}")
        files = f"{suffix[1:].upper()} files (*{suffix})"
        chosen, _ = QFileDialog.getSaveFileName(self._owner, title, suggested, files)
        if not chosen:
            return
        path = Path(chosen) if chosen.lower().endswith(suffix) else Path(f"{chosen}{suffix}")
        writers: dict[str, Callable[[], None]] = {
            "table": partial(write_text, path, to_csv(out.visits)),
            "csv": partial(write_csv, path, schedule),
            "json": partial(write_json, path, [schedule]),
        }
        what = f"{len(out.visits)} rows" if kind == "table" else schedule.name
        self._write(partial(_write, writers[kind], f"Exported {what} to {path}."))

    def _write(self, work: Callable[[], str]) -> None:
        self.errand_requested.emit(work, self._banner.show_info)


def dropped(event: QDropEvent) -> list[Path]:
    """The files of schedules among what is dragged; none where there is anything else, too."""
    paths = [Path(url.toLocalFile()) for url in event.mimeData().urls() if url.isLocalFile()]
    return paths if all(path.suffix.lower() in _DROPPED for path in paths) else []


def _read_all(paths: list[Path]) -> tuple[list[ShortSchedule], list[str]]:
    """The schedules of all files that can be read, and what is wrong with the others."""
    found: list[ShortSchedule] = []
    problems = []
    for path in paths:
        try:
            found += read_schedules(path)
        except ValueError as error:
            problems.append(str(error))
    return found, problems


def _with_sampler(out: Outgoing) -> ShortSchedule:
    """The schedule with the sampler that it is sampled with here, where it names none."""
    if out.schedule.sampler:
        return out.schedule
    return dataclasses.replace(out.schedule, sampler=method_to_dict("sampler", out.sampler))


def _write(write: Callable[[], None], done: str) -> str:
    """Write, and return what to say of it."""
    write()
    return done


def _write_diffusers(folder: Path, schedule: ShortSchedule) -> str:
    call = write_diffusers(folder, schedule)
    return f"Exported to {folder}. Sample with {call}"


def _documents() -> str:
    return QStandardPaths.writableLocation(QStandardPaths.StandardLocation.DocumentsLocation)
