"""Quality against work: scores of every lane's way of sampling over a list of steps, with their spread over seeds.

The same measurement as ``denoising-studio evaluate``; what is measured stays in the person's folder, so that Measure
goes on where it stopped and adds only what is new.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PySide6.QtWidgets import (
    QHeaderView,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QTableView,
    QVBoxLayout,
    QWidget,
)

from studio.app import theme
from studio.app.controls import Choice, ElidedLabel, Field, Panel, make_label
from studio.app.forms import KnobForm
from studio.app.panels.compare_export import write_csv, write_png
from studio.app.panels.compare_page import Lineup, Page, grid_title, pixels, section
from studio.app.panels.learned import told
from studio.app.panels.method_picker import restore_form
from studio.app.widgets.row_table import RowModel, set_up
from studio.app.widgets.score_plot import Curve, ScorePlot
from studio.app.words import duration
from studio.core import events, resources
from studio.core.config import method_from_dict
from studio.core.evaluation import Entrant, Evaluation, EvaluationKnobs
from studio.core.files import write_text
from studio.core.knobs import Knobbed, knob, knobs_of
from studio.core.metrics.base import Quantity, warning
from studio.core.registry import methods
from studio.core.samplers.base import sampler_title
from studio.session.compare import has_own_steps
from studio.session.evaluate import EvaluateJob

DEVIATION = Quantity(
    "deviation", "RMS to the reference", "lower", ".3f", "Root mean square distance to the many-step reference."
)
_FIRST = ("fd", "sliced_wasserstein", "kd", "energy")  # what people ask for most stands first
_REFERENCE_STEPS = 200
_EMPTY = "Nothing measured yet. Measure samples every lane at each number of steps and scores it."
Row = Mapping[str, float | int | str | None]


@dataclass(frozen=True, kw_only=True)
class MeasureKnobs(Knobbed):
    """What is measured."""

    count: int = knob(
        1000,
        help="Samples in each point; scores of different counts do not compare.",
        label="Samples",
        symbol="N",
        low=2,
        high=100_000,
    )
    seeds: int = knob(
        1, help="From how many seeds each point is measured: their spread is the error bar.", low=1, high=10
    )
    steps: str = knob(
        "5, 10, 20, 50", help="The numbers of steps to measure at, with commas between.", label="Steps", symbol="N"
    )


_MEASURE = {item.name: item for item in knobs_of(MeasureKnobs)}


@dataclass(eq=False)
class _Point:
    """One way of sampling at one number of steps: what each seed gave."""

    label: str
    order: int
    steps: int
    rows: list[Row] = field(default_factory=list)

    def mean(self, name: str) -> float:
        """Over seeds; NaN where it was not measured."""
        found = [float(value) for row in self.rows if isinstance(value := row.get(name), (int, float))]
        return float(np.mean(found)) if found else math.nan

    def spread(self, name: str) -> float:
        """Standard deviation over seeds; of a single seed, the measure's own standard error or NaN."""
        found = [float(value) for row in self.rows if isinstance(value := row.get(name), (int, float))]
        if len(found) > 1:
            return float(np.std(found, ddof=1))
        error = self.rows[0].get(f"{name}_error") if self.rows else None
        return float(error) if isinstance(error, (int, float)) else math.nan


class _ScoreTable(RowModel):
    """The points as rows."""

    num_words = 1

    def __init__(self) -> None:
        super().__init__()
        self._cells: list[list[str]] = []

    def show_points(self, points: Sequence[_Point], score: Quantity) -> None:
        """List these points."""
        self.beginResetModel()
        self.heads = ("way", "steps", score.title, "calls", "seconds", "a second", "seeds")
        self._cells = [
            [
                point.label,
                str(point.steps),
                _with_spread(point.mean(score.name), point.spread(score.name), score.style),
                f"{point.mean('nfe'):.0f}",
                f"{point.mean('seconds'):,.1f}",
                f"{point.mean('images_per_second'):,.0f}",
                str(len(point.rows)),
            ]
            for point in points
        ]
        self.endResetModel()

    def num_rows(self) -> int:
        return len(self._cells)

    def text(self, row: int, column: int) -> str:
        return self._cells[row][column]


class QualityPage(Page):
    """The plot over the table; what to measure at the right."""

    def __init__(self) -> None:
        super().__init__()
        self._points: dict[tuple[str, int], _Point] = {}  # by entrant and number of steps
        self._floors: dict[str, Mapping[str, float]] = {}  # by data
        self._rates: dict[Path, float] = {}
        self._evaluation: Evaluation | None = None
        self._measured: Evaluation | None = None
        self._job_id = -1
        self.plot = ScorePlot("Quality against work")
        self.table = _make_table(_ScoreTable())
        self.progress = QProgressBar()
        self.progress.setRange(0, 1000)
        self.progress.setTextVisible(False)
        self.progress.hide()
        self.caption = ElidedLabel("", "muted")
        self.score, self.against = Choice(), Choice([("nfe", "evaluations"), ("seconds", "seconds")])
        self.score.setObjectName("score")
        self.against.setObjectName("against")
        self.form = KnobForm(tuple(_MEASURE.values()))
        self.warning = make_label("", "warning", wrap=True)
        self.note = make_label("", "faint", wrap=True)
        self.estimate = make_label("", "muted", wrap=True)
        self.measure_button = QPushButton("Measure")
        self.measure_button.setProperty("primary", True)
        self._arrange()
        self.form.changed.connect(self._refresh)
        self.form.validity_changed.connect(self._refresh)
        self.score.valueChanged.connect(self._show)
        self.against.valueChanged.connect(self._show)
        self.score.valueChanged.connect(self._refresh)
        self.measure_button.clicked.connect(self._measure_or_stop)
        self._show()
        self._refresh()

    def set_lineup(self, lineup: Lineup) -> None:
        kind = bool(lineup.lanes) and lineup.header(0).kind
        if not self.lineup.lanes or kind != self.lineup.header(0).kind:
            self._list_scores(str(kind))
        super().set_lineup(lineup)
        self._place_points()
        self._show()
        self._refresh()

    def set_rate(self, path: Path, seconds: float) -> None:
        """The seconds that one item of a model takes for one network evaluation."""
        self._rates[path] = seconds
        self._refresh()

    def receive(self, event: events.Event) -> None:
        if isinstance(event, events.Warned) and self._is_known(event.summary):
            return
        super().receive(event)
        match event:
            case events.Status():
                self.caption.setText(f"{event.text}…")
            case events.EvaluationProgress():
                self.progress.setValue(round(1000 * event.fraction))
                left = f" · {duration(event.eta_seconds)} left" if event.eta_seconds > 0 else ""
                self.caption.setText(f"{event.text}{left}")
                self.estimate.setText(f"{event.done} of {event.total} points{left}")
            case events.CellScored():
                self._take(event)
            case events.Finished():
                words = {"done": "Measured", "stopped": "Stopped · Measure goes on from here", "failed": "Failed"}
                self.caption.setText(words[event.outcome] + self._basis())

    def set_busy(self, busy: bool) -> None:
        super().set_busy(busy)
        self.progress.setVisible(busy)
        self.foot.setVisible(busy or bool(self.caption.fullText()))
        if busy:
            self.progress.setValue(0)
        self.plot.set_empty_text("The first point comes soon…" if busy else _EMPTY)
        self.measure_button.setText("Stop" if busy else "Measure")
        theme.restyle(self.measure_button, primary=not busy)
        self._refresh()

    # Asking

    def evaluation(self) -> Evaluation:
        """What is set. Raises ValueError in plain words where it cannot be measured."""
        if not self.lineup.lanes:
            raise ValueError("Choose a model in the library.")
        if not self.form.is_valid():
            raise ValueError("A number above is not possible as typed.")
        entrants = tuple(dict.fromkeys(map(self._entrant, range(len(self.lineup.lanes)))))
        values = self.form.values()
        knobs = self.lineup.lanes[0].spec.knobs
        start = knobs.seed
        return Evaluation(
            title="Quality against work",
            entrants=entrants,
            steps=read_steps(str(values["steps"])) if self._takes_steps() else (1,),  # which no entrant takes
            seeds=tuple(range(start, start + int(values["seeds"] or 1))),
            knobs=EvaluationKnobs(
                count=int(values["count"] or 2),
                label=knobs.label,
                clip=knobs.clip,
                # The reference takes more work than most points: it is sampled where its distance is asked for.
                reference_steps=self._reference_steps() if self.score.value() == DEVIATION.name else 0,
            ),
        )

    def _takes_steps(self) -> bool:
        """Whether any lane can be sampled in other numbers of steps than its own."""
        return not all(has_own_steps(lane.spec.grid) for lane in self.lineup.lanes)

    def _reference_steps(self) -> int:
        """As many steps as every model's schedule has, up to the usual number."""
        recipes = [self.lineup.header(lane).recipe for lane in range(len(self.lineup.lanes))]
        lengths = [method_from_dict("recipe", recipe).schedule.length for recipe in recipes]
        return min([_REFERENCE_STEPS, *lengths])

    def _entrant(self, lane: int) -> Entrant:
        """The lane's way of sampling, at any number of steps or at that of its own list."""
        path, spec = self.lineup.lanes[lane].path, self.lineup.lanes[lane].spec
        plain = not self.lineup.header(lane).class_names or spec.knobs.label.strip().lower() == "none"
        return Entrant(model=path, sampler=spec.sampler, grid=spec.grid, guidance=0.0 if plain else spec.knobs.guidance)

    def _measure_or_stop(self) -> None:
        if self.busy:
            self.measure_button.setEnabled(False)
            self.caption.setText("Stopping…")
            self.stop_requested.emit()
            return
        try:
            evaluation = self.evaluation()
        except ValueError as error:
            self.banner.show_error(str(error))
            return
        if self._measured is None or _terms(self._measured) != _terms(evaluation):
            self._points.clear()  # scores of other counts do not compare
            self._floors = {}
        self._measured = evaluation
        self.banner.hide()
        self.caption.setText("Starting…")
        self._show()
        self.job_requested.emit(EvaluateJob(evaluation, folder()))

    # Scores

    def _take(self, event: events.CellScored) -> None:
        row = event.row
        steps = int(row["steps"] or 0)
        point = self._points.setdefault((str(row["id"]), steps), _Point("", 0, steps))
        known = {old["seed"]: old for old in point.rows}
        known[row["seed"]] = {**known.get(row["seed"], {}), **row}
        point.rows = list(known.values())
        data = str(row["data"])
        self._floors[data] = {**self._floors.get(data, {}), **event.floor}
        self._place_points()
        self._show()

    def _place_points(self) -> None:
        """Give every point the colour and the name of the first lane that samples in its way."""
        ways: dict[str, int] = {}
        for lane in range(len(self.lineup.lanes)):
            ways.setdefault(self._entrant(lane).id, lane)
        lanes = self.lineup.lanes
        models = len({lanes[lane].path for lane in ways.values()}) > 1
        grids = len({lanes[lane].spec.grid for lane in ways.values()}) > 1
        guidance = len({lanes[lane].spec.knobs.guidance for lane in ways.values()}) > 1
        for (way, _), point in self._points.items():
            point.order = ways.get(way, -1)
            if point.order < 0:
                continue  # its lane was taken away; it comes back with it
            spec = lanes[point.order].spec
            words = [self.lineup.header(point.order).title] if models else []
            words += [sampler_title(spec.sampler, defaults=False), *([self._levels_of(point.order)] if grids else [])]
            words += [f"w {spec.knobs.guidance:g}"] if guidance else []
            point.label = " · ".join(words)

    def _levels_of(self, lane: int) -> str:
        """Which levels a lane visits, in words."""
        path, spec = self.lineup.lanes[lane].path, self.lineup.lanes[lane].spec
        return told(spec.grid, spec.sampler, path, self.lineup.headers) or grid_title(spec.grid)

    def _shown(self) -> list[_Point]:
        """The points of the lanes, of one data set: scores by different references or networks do not compare."""
        found = sorted(
            (point for point in self._points.values() if point.order >= 0),
            key=lambda point: (point.order, point.steps),
        )
        return [point for point in found if point.rows[0]["data"] == found[0].rows[0]["data"]]

    def curves(self) -> list[Curve]:
        """What is measured of the lanes, as curves of the chosen score."""
        name, against = str(self.score.value()), str(self.against.value())
        found = []
        for order in dict.fromkeys(point.order for point in self._shown()):
            points = [p for p in self._shown() if p.order == order and math.isfinite(p.mean(name))]
            points.sort(key=lambda point: point.mean(against))
            if points:
                found.append(
                    Curve(
                        label=points[0].label,
                        order=order,
                        xs=tuple(point.mean(against) for point in points),
                        ys=tuple(point.mean(name) for point in points),
                        errors=tuple(point.spread(name) for point in points),
                        captions=tuple(map(_caption, points)),
                    )
                )
        return found

    def _quantity(self) -> Quantity:
        return next((item for item in _quantities(None) if item.name == self.score.value()), DEVIATION)

    def _show(self) -> None:
        quantity = self._quantity()
        x = "network evaluations" if self.against.value() == "nfe" else "seconds for all images"
        shown = self._shown()
        network = str(shown[0].rows[0].get("network") or "") if shown else ""
        on = f", {network}" if network and quantity.name != DEVIATION.name else ""
        self.plot.set_axes(x, f"{quantity.title}{on}")
        floors = self._floors.get(str(shown[0].rows[0]["data"]), {}) if shown else {}
        self.plot.set_curves(self.curves(), floors.get(quantity.name))
        model = self.table.model()
        assert isinstance(model, _ScoreTable)
        model.show_points(self._shown(), quantity)
        heads = self.table.horizontalHeader()
        for column in (1, 3, 4, 5, 6) if model.columnCount() else ():
            heads.setSectionResizeMode(column, QHeaderView.ResizeMode.Fixed)
            heads.resizeSection(column, 84)
        self.table_panel.setVisible(bool(self._shown()))
        self.changed.emit()

    def _list_scores(self, kind: str) -> None:
        self.score.set_options([(item.name, item.title) for item in (*_quantities(kind), DEVIATION)])

    # Keeping it true

    def _refresh(self, *_: object) -> None:
        """Say what is wrong, what is too little, and how long it would take."""
        problem, estimate = "", ""
        try:
            evaluation = self.evaluation()
            self.form.field("steps").set_error("")
            estimate = self._estimate(evaluation)
        except ValueError as error:
            evaluation, problem = None, str(error)
            self.form.field("steps").set_error(problem if self.form.is_valid() and self.lineup.lanes else "")
        self.measure_button.setEnabled(self.busy or not problem)
        self.measure_button.setToolTip(problem or ("End after this step" if self.busy else "Sample and score"))
        if not self.busy:
            self.estimate.setText(estimate)
        quantity = self._quantity()
        metric = next((m for m in _metrics() if quantity in m.quantities), None)
        text = ""
        if metric is not None and evaluation is not None:
            text = warning(metric, evaluation.knobs.count)
            if evaluation.knobs.count < metric.fewest:
                text = f"{metric.title} is not measured: it needs {metric.fewest:,} samples at least."
        self.warning.setText(text)
        self.warning.setVisible(bool(text))
        self.note.setText(self._notes())
        self.note.setVisible(bool(self.note.text()))
        self.form.setEnabled(not self.busy)
        self.form.set_knob_enabled("steps", not self.lineup.lanes or self._takes_steps(), "every lane visits a list")

    def _basis(self) -> str:
        """What all points have in common, for the line under them."""
        if self._measured is None or not self._measured.entrants:
            return ""
        knobs, entrants = self._measured.knobs, self._measured.entrants
        said = [f"{knobs.count:,} samples", f"class {knobs.label}"]
        headers = self.lineup.headers
        grids = {told(each.grid, each.sampler, each.model, headers) or each.grid.title for each in entrants}
        weights = {entrant.guidance for entrant in entrants}
        said += [f"levels {grids.pop()}"] if len(grids) == 1 else []
        said += [f"w {weights.pop():g}"] if len(weights) == 1 else []
        return " · " + " · ".join(said)

    def _is_known(self, text: str) -> bool:
        """Whether a warning is of too few samples: the settings say that of the score that is shown."""
        count = self._measured.knobs.count if self._measured is not None else 0
        return any(text == warning(metric, count) for metric in _metrics())

    def _notes(self) -> str:
        lanes = self.lineup.lanes
        said = []
        if any(has_own_steps(lane.spec.grid) for lane in lanes):
            said.append("A lane that visits a list is one point: the list has its own number of steps.")
        if len({(lane.spec.knobs.label, lane.spec.knobs.clip) for lane in lanes}) > 1:
            said.append("Class and clipping are those of the first lane.")
        if len({self.lineup.header(lane).data_title for lane in range(len(lanes))}) > 1:
            said.append("Lanes of other data than the first one's are not drawn: their scores do not compare.")
        return " ".join(said)

    def _estimate(self, evaluation: Evaluation) -> str:
        known: set[tuple[str, int, int]] = set()
        if self._measured is not None and _terms(self._measured) == _terms(evaluation):
            rows = [row for point in self._points.values() for row in point.rows]
            known = {(str(row["id"]), int(str(row["steps"])), int(str(row["seed"]))) for row in rows}
        cells = [cell for cell in evaluation.cells() if (cell.entrant.id, cell.steps, cell.seed) not in known]
        if not cells:
            return "all measured"
        if any(cell.entrant.model not in self._rates for cell in cells):
            return f"{len(cells)} points · resumes where it stopped"
        seconds = sum(cell.work * self._rates[cell.entrant.model] for cell in cells)
        references = {(cell.entrant.model, cell.entrant.guidance, cell.seed): cell for cell in cells}
        for cell in references.values():
            found = cell.reference()
            seconds += found.work * self._rates[cell.entrant.model] if found is not None else 0.0
        return f"about {duration(seconds)} · resumes where it stopped"

    # Export and state

    def export(self) -> None:
        """Write plot, curves, rows and the evaluation's TOML into a folder of the person's choice."""
        if not self._shown():
            self.banner.show_info("There are no scores yet: measure first.")
            return
        chosen = self.ask_folder("the scores")
        if chosen is None:
            return
        assert self._measured is not None
        image, curves, toml = pixels(self.plot.to_image(2.0)), self.plot.to_csv(), self._measured.to_toml()
        rows = [row for point in self._shown() for row in point.rows]

        def write() -> str:
            write_png(chosen / "quality.png", image)
            write_text(chosen / "curves.csv", curves)
            heads = list(dict.fromkeys(name for row in rows for name in row))
            write_csv(
                chosen / "rows.csv", heads, [["" if row.get(n) is None else row[n] for n in heads] for row in rows]
            )
            write_text(chosen / "evaluation.toml", toml)
            return f"Exported {len(rows)} rows to {chosen}. Made again by: denoising-studio evaluate evaluation.toml"

        self.errand_requested.emit(write)

    def state(self) -> dict[str, Any]:
        return {**self.form.values(), "score": self.score.value(), "against": self.against.value()}

    def restore(self, state: Mapping[str, Any]) -> None:
        restore_form(self.form, _MEASURE.values(), state)
        self._list_scores("image")
        for name, choice in (("score", self.score), ("against", self.against)):
            if state.get(name) is not None:
                choice.setValue(state[name])

    # Making

    def _arrange(self) -> None:
        plot_panel = Panel()
        plot_panel.set_margins(7, 11, 7, 9)
        plot_panel.content.addWidget(self.plot, 1)
        self.foot = QWidget()
        foot = QVBoxLayout(self.foot)
        foot.setContentsMargins(9, 0, 9, 3)
        foot.setSpacing(6)
        foot.addWidget(self.progress)
        foot.addWidget(self.caption)
        self.foot.hide()
        plot_panel.content.addWidget(self.foot)
        self.table_panel = Panel("Points", "")
        self.table_panel.content.addWidget(self.table, 1)
        self.body.addWidget(plot_panel, 3)
        self.body.addWidget(self.table_panel, 2)
        self.plot.set_empty_text(_EMPTY)
        help_text = "Score\nWhat is measured, on the features of a small classifier where it needs one."
        self.side.add(section("Measure"), Field("Score", self.score, tooltip=help_text), self.form)
        self.side.add(Field("Against", self.against, tooltip="Against\nWhat the score is drawn over."))
        self.side.add(self.warning, self.note, self.estimate)
        self.side.buttons.addWidget(self.measure_button, 1)
        self.side.buttons.addWidget(self.export_button)
        self._list_scores("image")


def folder() -> Path:
    """Where what is measured here is kept. Cells are known by their settings, so all requests share one folder."""
    return resources.user_folder() / "evaluations" / "compare"


def _caption(point: _Point) -> str:
    """A point in words: its way of sampling, and its steps unless these are named in it."""
    steps = f"{point.steps} steps"
    return point.label if steps in point.label else f"{point.label} · {steps}"


def read_steps(text: str) -> tuple[int, ...]:
    """Numbers of steps as typed, ascending. Raises ValueError in plain words."""
    words = text.replace(",", " ").split()
    if not words or not all(word.isdecimal() and 1 <= int(word) <= 10_000 for word in words):
        raise ValueError(f"steps = {text!r} is not possible: type whole numbers from 1 to 10,000 with commas between.")
    return tuple(sorted({int(word) for word in words}))


def _metrics() -> list[Any]:
    return [cls() for cls in methods("metric").values()]


def _quantities(kind: str | None) -> list[Quantity]:
    """What is measured of a kind of data."""
    found = [item for metric in _metrics() if kind is None or kind in metric.kinds for item in metric.quantities]
    return sorted(found, key=lambda item: _FIRST.index(item.name) if item.name in _FIRST else len(_FIRST))


def _terms(evaluation: Evaluation) -> tuple[object, ...]:
    """What must be the same for scores to stand in one plot."""
    knobs = evaluation.knobs
    return knobs.count, knobs.label, knobs.clip


def _with_spread(value: float, spread: float, style: str) -> str:
    if not math.isfinite(value):
        return "–"
    return f"{value:{style}} ± {spread:{style}}" if math.isfinite(spread) else f"{value:{style}}"


def _make_table(model: RowModel) -> QTableView:
    table = QTableView()
    model.setParent(table)
    set_up(table, model, "Scores")
    table.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
    heads = table.horizontalHeader()
    heads.setSectionResizeMode(QHeaderView.ResizeMode.Stretch)
    heads.setMinimumSectionSize(60)
    return table
