"""A table of samples over any two settings of a lane, every place from the same noise."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import QLineEdit, QPushButton, QWidget

from studio.app import theme
from studio.app.controls import Choice, ElidedLabel, Field, Panel, format_number
from studio.app.forms import KnobForm
from studio.app.panels.compare_export import slug, write_png, write_script
from studio.app.panels.compare_page import Lineup, Page, pixels, section
from studio.app.panels.method_picker import LABELS, parsed
from studio.app.widgets.image_table import ImageTable
from studio.core import events
from studio.core.config import method_from_dict
from studio.core.grids import Grid
from studio.core.knobs import Knob, Value, knobs_of
from studio.core.sampling import SampleKnobs
from studio.core.schedules import NoiseSchedule
from studio.session.compare import Axis, GridJob, LaneSpec, command, parse_values, settings

_COUNT = dataclasses.replace(
    next(knob for knob in knobs_of(SampleKnobs) if knob.name == "count"),
    help="How many images each place shows.",
    label="Images each",
    low=1,
    high=16,
    default=4,
    log=False,
)
_POINTS_EACH = 500
_DEFAULTS = {
    "steps": "5, 10, 20, 50",
    "guidance": "0, 0.3, 1, 3",
    "seed": "0, 1, 2, 3",
    "label": "each, none",
    "clip": "yes, no",
    "sampler.eta": "0, 0.5, 1",
    "sampler.variance": "small, large",
    "grid.noisiest": "-10, -8, -6",
    "grid.cleanest": "3, 5, 8",
}


class _Side(QWidget):
    """Which setting a side of the table varies, and over which values."""

    def __init__(self, title: str, name: str) -> None:
        super().__init__()
        self.knobs: dict[str, Knob] = {}
        self.choice = Choice()
        self.choice.setObjectName(f"{title.lower()} setting")
        self.edit = QLineEdit()
        self.edit.setObjectName(f"{title.lower()} values")
        self.edit.setAccessibleName(f"{title}: values")
        self.choice_field = Field(
            title, self.choice, tooltip=f"{title}\nThe setting that differs from one to the next."
        )
        self.edit_field = Field("Values", self.edit, tooltip="Values\nWith commas between, such as 5, 10, 20.")
        self.texts = dict(_DEFAULTS)
        self.wanted = name

    def set_knobs(self, knobs: Mapping[str, Knob]) -> None:
        """The settings to choose from; the choice stays if it is among them."""
        self.knobs = dict(knobs)
        self.choice.blockSignals(True)
        self.choice.set_options([(name, knob.label) for name, knob in knobs.items()])
        self.choice.setValue(self.wanted)
        self.choice.blockSignals(False)
        self.show_values()

    def name(self) -> str:
        """The chosen setting."""
        return str(self.choice.value())

    def show_values(self) -> None:
        """Show the values last typed for the chosen setting."""
        knob = self.knobs.get(self.name())
        text = self.texts.get(self.name(), "" if knob is None else _some_values(knob))
        if self.edit.text() != text:
            self.edit.blockSignals(True)
            self.edit.setText(text)
            self.edit.setCursorPosition(0)
            self.edit.blockSignals(False)

    def axis(self, class_names: tuple[str, ...]) -> Axis:
        """Setting and values. Raises ValueError in the knob's words."""
        return Axis(self.name(), parse_values(self.knobs[self.name()], self.edit.text(), class_names))

    def caption(self) -> str:
        """The setting with its symbol."""
        knob = self.knobs[self.name()]
        return f"{knob.label} {knob.symbol}".strip()

    def set_error(self, text: str) -> None:
        """Say what is wrong with the values; "" takes it back."""
        self.edit_field.set_error(text)
        theme.restyle(self.edit, bad=bool(text))


class GridPage(Page):
    """The table, and its settings at the right."""

    def __init__(self) -> None:
        super().__init__()
        self._job: GridJob | None = None
        self._job_id = -1
        self._lane = 0
        self._tiles: dict[tuple[int, int], events.Tile] = {}
        self._captions = ("", "")  # of the table that is shown, whatever is chosen since
        self.table = ImageTable("Samples over two settings")
        self.table.set_empty_text("No table yet")
        self.table.current_changed.connect(lambda *_: self._describe())
        self.caption = ElidedLabel("", "muted")
        self.panel = Panel("Samples over two settings", "")
        self.panel.content.addWidget(self.table, 1)
        self.panel.content.addWidget(self.caption)
        self.body.addWidget(self.panel, 1)
        self.lane = Choice()
        self.lane.setObjectName("grid lane")
        self.rows, self.columns = _Side("Rows", "steps"), _Side("Columns", "guidance")
        self.count = KnobForm((_COUNT,))
        self.note = ElidedLabel("", "faint")
        self.sample_button = QPushButton("Sample table")
        self.sample_button.setProperty("primary", True)
        self.sample_button.clicked.connect(self._sample_or_stop)
        self.side.add(section("Table"), Field("Lane", self.lane, tooltip="Lane\nEvery other setting is this lane's."))
        for one in (self.rows, self.columns):
            self.side.add(one.choice_field, one.edit_field)
        self.side.add(self.count, self.note)
        self.side.buttons.addWidget(self.sample_button, 1)
        self.side.buttons.addWidget(self.export_button)
        self._connect()

    def set_lineup(self, lineup: Lineup) -> None:
        super().set_lineup(lineup)
        self._lane = min(self._lane, max(len(lineup.lanes) - 1, 0))
        self.lane.blockSignals(True)
        self.lane.set_options([(order, title) for order, title in enumerate(lineup.titles)])
        self.lane.setValue(self._lane)
        self.lane.blockSignals(False)
        self._list_settings()

    def receive(self, event: events.Event) -> None:
        super().receive(event)
        if isinstance(event, events.Tile) and self._job is not None and event.job_id >= self._job_id:
            self._job_id = event.job_id
            if event.row < self.table.num_rows() and event.column < self.table.num_columns():
                self._tiles[event.row, event.column] = event
                self.table.set_tile(event.row, event.column, event.images, None, event.caption)
                self._describe()

    def set_busy(self, busy: bool) -> None:
        super().set_busy(busy)
        self.sample_button.setText("Stop" if busy else "Sample table")
        theme.restyle(self.sample_button, primary=not busy)
        self._check()

    def refresh(self) -> None:
        """Sample the table again."""
        self._sample()

    # Asking

    def job(self) -> GridJob:
        """What is set. Raises ValueError, after saying under the field what is wrong."""
        if not self.lineup.lanes:
            raise ValueError("Choose a model in the library.")
        names = self.lineup.header(self._lane).class_names
        axes = []
        for side in (self.rows, self.columns):
            try:
                axes.append(side.axis(names))
            except ValueError as error:
                side.set_error(str(error))
                raise
            side.set_error("")
        if axes[0].name == axes[1].name:
            text = "Rows and columns vary the same setting: choose another for one of them."
            self.columns.set_error(text)
            raise ValueError(text)
        job = GridJob(self._lane_spec(), axes[0], axes[1])
        schedule = method_from_dict("recipe", self.lineup.header(self._lane).recipe).schedule
        for row in range(len(axes[0].values)):
            for column in range(len(axes[1].values)):
                spec = job.spec_at(row, column)
                if problem := _problem(spec.grid, spec.knobs.steps, schedule):
                    side = self.columns if axes[1].name == "steps" else self.rows
                    side.set_error(problem)
                    raise ValueError(problem)
        return job

    def _lane_spec(self) -> LaneSpec:
        lane = self.lineup.lanes[self._lane]
        count = int(self.count.values()["count"] or 1) if self.lineup.is_image else _POINTS_EACH
        return lane.started(lane.spec.knobs.seed, count)

    def _sample_or_stop(self) -> None:
        if self.busy:
            self.stop_requested.emit()
        else:
            self._sample()

    def _sample(self) -> None:
        try:
            job = self.job()
        except ValueError:
            self._check()
            return
        self._job, self._tiles = job, {}
        self.banner.hide()
        captions = [[_words(value) for value in axis.values] for axis in (job.rows, job.columns)]
        self._captions = (self.rows.caption(), self.columns.caption())
        self.table.set_table(captions[0], captions[1], *self._captions)
        same = "" if "seed" in (job.rows.name, job.columns.name) else ", all from the same noise"
        self.panel.set_subtitle(f"{self.lineup.titles[self._lane]}{same}")
        self.job_requested.emit(job)
        self._check()

    # Keeping it true

    def _list_settings(self) -> None:
        if not self.lineup.lanes:
            return
        header = self.lineup.header(self._lane)
        knobs = settings(self.lineup.lanes[self._lane].spec, header.class_names, header.kind == "image")
        for side in (self.rows, self.columns):
            side.set_knobs(knobs)
        if self.rows.name() == self.columns.name():
            self.columns.choice.setValue(next(name for name in knobs if name != self.rows.name()))
        self.count.setVisible(self.lineup.is_image)
        self._check()

    def _check(self, *_: object) -> None:
        """Say what is wrong, and whether the table shows what is set, as soon as someone looks."""
        if not self.isVisible():
            return
        try:
            job, problem = self.job(), ""
        except ValueError as error:
            job, problem = None, str(error)
        self.sample_button.setEnabled(self.busy or not problem)
        self.sample_button.setToolTip(problem or ("End after this step" if self.busy else "Sample every place (F5)"))
        stale = self._job is not None and job is not None and job != self._job
        self.note.setText("The table is of other settings" if stale else "")

    def _describe(self) -> None:
        row, column = self.table.current
        tile = self._tiles.get((row, column))
        if self._job is None or row >= len(self._job.rows.values) or column >= len(self._job.columns.values):
            self.caption.setText("")
            return
        words = [
            f"{self._captions[0]} {_words(self._job.rows.values[row])}",
            f"{self._captions[1]} {_words(self._job.columns.values[column])}",
        ]
        self.caption.setText(" · ".join([*words, tile.caption if tile is not None else "not sampled yet"]))

    def _picked(self, side: _Side) -> None:
        side.wanted = side.name()
        side.show_values()
        self._check()

    def _typed(self, side: _Side) -> None:
        side.texts[side.name()] = side.edit.text()
        self._check()

    def _lane_picked(self, lane: object) -> None:
        self._lane = int(lane) if isinstance(lane, int) else 0
        self._list_settings()

    def _connect(self) -> None:
        self.lane.valueChanged.connect(self._lane_picked)
        self.count.changed.connect(self._check)
        for side in (self.rows, self.columns):
            side.choice.valueChanged.connect(lambda _, side=side: self._picked(side))
            side.edit.textChanged.connect(lambda _, side=side: self._typed(side))
            side.edit.returnPressed.connect(self._sample)

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        if self._job is None and self.lineup.lanes and not self.busy:
            self._sample()
        self._check()

    # Export and state

    def export(self) -> None:
        """Write the table as a picture, and the command for each place."""
        if self._job is None or not self._tiles:
            self.banner.show_info("There is no table yet: sample it first.")
            return
        folder = self.ask_folder("the table")
        if folder is None:
            return
        job, picture = self._job, pixels(self.table.to_image(2.0))
        places = sorted(self._tiles)

        def write() -> str:
            write_png(folder / "table.png", picture)
            lines = []
            for row, column in places:
                values = (job.rows.values[row], job.columns.values[column])
                name = f"{row + 1}-{column + 1}-{slug('-'.join(_words(value) for value in values))}.png"
                lines.append(command(LaneSpec(job.lane.path, job.spec_at(row, column)), name))
            write_script(folder / "reproduce.sh", "Makes the samples of every place of the table again.", lines)
            return f"Exported the table to {folder}: a picture, and reproduce.sh with {len(lines)} commands."

        self.errand_requested.emit(write)

    def state(self) -> dict[str, Any]:
        return {
            "lane": self._lane,
            "rows": self.rows.wanted,
            "columns": self.columns.wanted,
            "row_values": self.rows.texts,
            "column_values": self.columns.texts,
            "count": self.count.values()["count"],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        for side, name in ((self.rows, "row"), (self.columns, "column")):
            side.wanted = str(state.get(f"{name}s", side.wanted))
            texts = state.get(f"{name}_values")
            side.texts |= {str(k): str(v) for k, v in texts.items()} if isinstance(texts, Mapping) else {}
        count = parsed(_COUNT, state.get("count"))
        if count is not None:
            self.count.set_values({"count": count})
        if isinstance(state.get("lane"), int):
            self._lane = max(int(state["lane"]), 0)


@functools.lru_cache(maxsize=1024)
def _problem(grid: Grid, steps: int, schedule: NoiseSchedule) -> str:
    """Why a run cannot visit so many levels, or "". Kept: most places of a table, and most keystrokes, ask the same."""
    try:
        grid.levels(schedule, steps)
    except ValueError as error:
        return str(error)
    return ""


def _some_values(knob: Knob) -> str:
    """Values to begin with."""
    if knob.kind == "bool":
        return "yes, no"
    if knob.kind == "choice":
        return ", ".join(knob.choices)
    return _words(knob.default)


def _words(value: Value) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)):
        return format_number(value)
    return LABELS.get(str(value), str(value))
