"""Rewind as a page of the Compare workspace: it speaks of the chosen model, not of the lanes."""

from __future__ import annotations

import shlex
from pathlib import Path

from studio.app.panels.compare_export import slug, write_png, write_script
from studio.app.panels.compare_page import Page, pixels
from studio.app.panels.rewind import RewindView
from studio.core import events
from studio.core.checkpoints.header import Header
from studio.session.compare import LaneSpec, command
from studio.session.rewind import RewindJob, snapshots_of


class RewindPage(Page):
    """Holds a :class:`~studio.app.panels.rewind.RewindView`, which has its own settings at its right."""

    wide = True

    def __init__(self) -> None:
        super().__init__()
        self.view = RewindView()
        self.body.addWidget(self.view)
        self.view.add_button(self.export_button)
        self._job: RewindJob | None = None
        self._last = 0
        self.view.requested.connect(self._request)
        self.view.stop_requested.connect(self.stop_requested)

    def set_model(self, path: str, header: Header) -> None:
        """Turn to another model."""
        self._job, self._last = None, header.step
        self.view.set_model(path, header)

    def look_again(self, header: Header) -> None:
        """A training may have left its first snapshots meanwhile; ``header`` is of the chosen model as it is now."""
        self._last = header.step
        self.view.look_again(header)

    def receive(self, event: events.Event) -> None:
        super().receive(event)
        self.view.receive(event)

    def set_busy(self, busy: bool) -> None:
        super().set_busy(busy)
        self.view.set_busy(busy)

    def refresh(self) -> None:
        if not self.busy and self.view.button.isEnabled():
            self.view.button.click()

    def _request(self, job: RewindJob) -> None:
        self._job = job
        self.banner.hide()
        self.job_requested.emit(job)

    def export(self) -> None:
        """Write the table as a picture, and the command for each snapshot."""
        if self._job is None or not self.view.has_tiles():
            self.banner.show_info("There is nothing to export yet: press Rewind first.")
            return
        folder = self.ask_folder("the rewound training")
        if folder is None:
            return
        job, last, picture = self._job, self._last, pixels(self.view.table.to_image(2.0))

        def write() -> str:
            write_png(folder / "rewind.png", picture)
            paths: list[Path] = [path for _, path in snapshots_of(job.path, last)]
            lines = [command(LaneSpec(path, job.spec), f"{slug(path.stem)}.png") for path in (*paths, job.path)]
            write_script(folder / "reproduce.sh", f"Samples with each snapshot of {shlex.quote(job.path.name)}.", lines)
            return f"Exported the table to {folder}: a picture, and reproduce.sh with {len(lines)} commands."

        self.errand_requested.emit(write)
