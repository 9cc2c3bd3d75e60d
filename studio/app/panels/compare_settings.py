"""The right column of the lanes: which ones there are, how each is sampled, and the start they share."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtWidgets import (
    QCheckBox,
    QFrame,
    QHBoxLayout,
    QPushButton,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from studio.app import theme
from studio.app.controls import Choice, Field, LabeledSlider, make_label
from studio.app.forms import KnobForm
from studio.app.panels.compare_page import left_aligned, section
from studio.app.panels.learned import offers, own_offers, sampler_for
from studio.app.panels.method_picker import MethodPicker, parsed
from studio.app.widgets.score_plot import marker_icon
from studio.core.checkpoints.header import Header
from studio.core.config import method_from_dict, method_to_dict
from studio.core.grids import LogSNR
from studio.core.knobs import build, knobs_of, values_of
from studio.core.samplers.ancestral import Ancestral
from studio.core.samplers.ddim import DDIM
from studio.core.sampling import SampleKnobs, SampleSpec, few_steps, levels_of
from studio.session.compare import MOST_LANES, LaneSpec, has_own_steps, num_steps

MOST_IMAGES, NUM_IMAGES = 64, 24
MOST_POINTS, NUM_POINTS = 5000, 1000
_KNOBS = {knob.name: knob for knob in knobs_of(SampleKnobs)}
_STEPS = dataclasses.replace(_KNOBS["steps"], low=20, high=1000, default=200)
_IMAGES = dataclasses.replace(_KNOBS["count"], high=MOST_IMAGES, default=NUM_IMAGES, log=False)
_POINTS = dataclasses.replace(_KNOBS["count"], label="Points", high=MOST_POINTS, default=NUM_POINTS)


@dataclass(frozen=True)
class LaneChoice:
    """A lane as the person set it: ``model`` is a checkpoint's path, or "" for the one chosen in the library."""

    spec: SampleSpec
    model: str = ""

    def at(self, chosen: Path, seed: int, count: int) -> LaneSpec:
        """The run, where ``chosen`` is the library's model."""
        return LaneSpec(Path(self.model) if self.model else chosen, self.spec).started(seed, count).as_of_now()

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "model": self.model,
            "sampler": method_to_dict("sampler", self.spec.sampler),
            "grid": method_to_dict("grid", self.spec.grid),
            "knobs": values_of(self.spec.knobs),
        }

    @staticmethod
    def from_dict(table: Mapping[str, Any]) -> LaneChoice:
        """What :meth:`to_dict` gave. Raises ValueError, KeyError or TypeError for anything else."""
        spec = SampleSpec(
            sampler=method_from_dict("sampler", table["sampler"]),
            grid=method_from_dict("grid", table["grid"]),
            knobs=build(SampleKnobs, table["knobs"]),
        )
        return LaneChoice(spec, str(table["model"]))


def default_lanes() -> list[LaneChoice]:
    """Cheap lanes that show something: many noisy steps, few straight ones, very few, and DDIM with fresh noise."""
    return [
        LaneChoice(SampleSpec(sampler=sampler, grid=LogSNR(), knobs=SampleKnobs(steps=steps)))
        for sampler, steps in ((Ancestral(), 100), (DDIM(), 12), (DDIM(), 5), (DDIM(eta=1.0), 12))
    ]


def lanes_for(header: Header) -> list[LaneChoice]:
    """Lanes to begin with for a model: for one that knows a few levels alone, its own steps in three ways."""
    own = few_steps(header)
    if own is None:
        return default_lanes()
    samplers = dict.fromkeys((own.sampler, DDIM(), Ancestral(variance="large")))
    return [LaneChoice(dataclasses.replace(own, sampler=sampler)) for sampler in samplers]


def shape_words(header: Header) -> str:
    """What a model makes: ``28×28 images``, ``2-D points``."""
    shape = header.facts["shape"]
    if header.kind == "points":
        return f"{shape[0]}-D points"
    colour = "" if shape[0] == 1 else "colour "
    return f"{shape[2]}×{shape[1]} {colour}images"


class _LaneRow(QFrame):
    """A lane in the list: a click edits it, the cross removes it."""

    def __init__(self, title: str, order: int, removable: bool) -> None:
        super().__init__()
        self.setProperty("segmented", True)
        self._order = order
        self.button = left_aligned(QPushButton(title))
        self.button.setProperty("segment", True)
        self.button.setToolTip(f"{title}\nClick to change this lane.")
        self.button.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.cross = QToolButton()
        self.cross.setAccessibleName(f"Remove {title}")
        self.cross.setToolTip("Remove this lane" if removable else "At least two lanes make a comparison")
        self.cross.setEnabled(removable)
        theme.set_icon(self.cross, "close")
        row = QHBoxLayout(self)
        row.setContentsMargins(2, 2, 4, 2)
        row.setSpacing(2)
        row.addWidget(self.button, 1)
        row.addWidget(self.cross)
        self._paint()
        theme.notifier().changed.connect(self._paint)

    def _paint(self) -> None:
        self.button.setIcon(marker_icon(self._order))


class LaneList(QWidget):
    """The lanes by title, and a button that adds one."""

    edit_requested = Signal(int)
    remove_requested = Signal(int)
    add_requested = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[_LaneRow] = []
        self.add_button = left_aligned(QPushButton("+ add a lane"))
        self.add_button.setProperty("disclosure", True)
        self.add_button.clicked.connect(self.add_requested)
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(6)
        self._column.addWidget(self.add_button)

    def set_titles(self, titles: tuple[str, ...]) -> None:
        """List these lanes."""
        for row in self.rows:
            self._column.removeWidget(row)
            row.hide()
            row.deleteLater()
        self.rows = [_LaneRow(title, order, len(titles) > 2) for order, title in enumerate(titles)]
        for order, row in enumerate(self.rows):
            row.button.clicked.connect(lambda _=False, order=order: self.edit_requested.emit(order))
            row.cross.clicked.connect(lambda _=False, order=order: self.remove_requested.emit(order))
            self._column.insertWidget(order, row)
        full = len(titles) >= MOST_LANES
        self.add_button.setEnabled(not full and bool(titles))
        self.add_button.setToolTip(f"{MOST_LANES} lanes are the most" if full else "Add a copy of the last lane")


class StartSettings(QWidget):
    """The seed and the number of items of all lanes, and what they are measured against."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.seed = KnobForm((_KNOBS["seed"],))
        self.images, self.points = KnobForm((_IMAGES,)), KnobForm((_POINTS,))
        self.reference = QCheckBox("Distance to a reference")
        self.reference.setChecked(True)
        self.reference.setToolTip(
            "How far the samples are from those of DDIM in many even steps from the same noise:\n"
            "the root mean square difference, in the range from −1 to 1."
        )
        self.steps = KnobForm((_STEPS,))
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(8)
        start: tuple[QWidget, ...] = (section("Same start"), self.seed, self.images, self.points)
        for widget in (*start, section("Reference"), self.reference, self.steps):
            column.addWidget(widget)
        for form in (self.seed, self.images, self.points, self.steps):
            form.changed.connect(self.changed)
        self.reference.toggled.connect(self._toggled)
        self._is_image = True
        self.set_kind(True)

    def set_kind(self, is_image: bool) -> None:
        """Pictures or points."""
        self._is_image = is_image
        self.images.setVisible(is_image)
        self.points.setVisible(not is_image)

    def value(self) -> tuple[int, int, int | None]:
        """Seed, number of items, and the reference's steps or None."""
        count = (self.images if self._is_image else self.points).values()["count"]
        steps = self.steps.values()["steps"] if self.reference.isChecked() else None
        return int(self.seed.values()["seed"] or 0), int(count or 1), None if steps is None else int(steps)

    def state(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "seed": self.seed.values()["seed"],
            "images": self.images.values()["count"],
            "points": self.points.values()["count"],
            "reference": self.reference.isChecked(),
            "reference_steps": self.steps.values()["steps"],
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what :meth:`state` gave, as far as it is possible."""
        forms = {
            "seed": (self.seed, _KNOBS["seed"]),
            "images": (self.images, _IMAGES),
            "points": (self.points, _POINTS),
            "reference_steps": (self.steps, _STEPS),
        }
        for name, (form, knob) in forms.items():
            value = parsed(knob, state.get(name))
            if value is not None:
                form.set_values({knob.name: value})
        self.reference.setChecked(str(state.get("reference", True)).lower() == "true")

    def _toggled(self) -> None:
        self.steps.set_knob_enabled("steps", self.reference.isChecked(), "there is no reference")
        self.changed.emit()


class LaneEditor(QWidget):
    """Every setting of one lane. ``changed`` follows every change that is possible."""

    changed = Signal(object)
    done = Signal()
    remove_requested = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._headers: dict[str, Header] = {}
        self._chosen = ""
        self._shape: tuple[int, ...] = ()
        self._choice = default_lanes()[0]
        self.title = make_label("", "title")
        self.model = Choice()
        self.model.setObjectName("lane model")
        self.model_field = Field("Model", self.model, tooltip="Model\nWhat is sampled from in this lane.")
        self.sampler = MethodPicker(
            "sampler", "Method", "Method\nHow to go from one noise level to the next.", DDIM, spacing=6
        )
        self.grid = MethodPicker(
            "grid", "Steps from", "Steps from\nWhich of the schedule's noise levels to visit.", LogSNR, spacing=6
        )
        self.steps = KnobForm((_KNOBS["steps"],))
        self.label = Choice([("each", "any")])
        self.label.setObjectName("lane label")
        label = _KNOBS["label"]
        self.label_field = Field("Class", self.label, symbol=label.symbol, tooltip=f"Class\n{label.help}")
        self.more = KnobForm((_KNOBS["guidance"], _KNOBS["clip"]))
        self.done_button = QPushButton("Done")
        self.done_button.setProperty("primary", True)
        self.done_button.clicked.connect(self.done)
        self.remove_button = QPushButton("Remove")
        self.remove_button.clicked.connect(self.remove_requested)
        self._arrange()
        for signal in (self.sampler.changed, self.grid.changed, self.steps.changed, self.more.changed):
            signal.connect(self._read)
        self.grid.picked.connect(self._take_sampler)
        for form in (self.steps, self.more):
            form.validity_changed.connect(self._read)
        self.model.valueChanged.connect(self._take_model)
        self.label.valueChanged.connect(self._read)

    def set_models(self, headers: Mapping[Path, Header], chosen: Path, shape: tuple[int, ...]) -> None:
        """The models to choose from; those whose items have another ``shape`` than the lanes' are refused."""
        self._headers = {str(path): header for path, header in headers.items()}
        self._chosen, self._shape = str(chosen), shape
        title = headers[chosen].title
        others = [(str(path), _model_line(header, shape)) for path, header in headers.items() if path != chosen]
        self.model.set_options([("", f"{title} (chosen)"), *others])

    def show_choice(self, choice: LaneChoice, title: str, removable: bool) -> None:
        """Put a lane into the form; emits nothing."""
        self._choice = choice
        with QSignalBlocker(self):
            self.title.setText(title)
            self.model.setValue(choice.model)
            self._offer_schedules()
            self.sampler.set_value(choice.spec.sampler)
            self.grid.set_value(choice.spec.grid)
            knobs = choice.spec.knobs
            self.steps.set_values({"steps": knobs.steps})
            self.more.set_values({"guidance": knobs.guidance, "clip": knobs.clip})
            self._show_classes(knobs.label)
            self._read()
        self.remove_button.setEnabled(removable)

    def set_title(self, title: str) -> None:
        """What the lane is called by now."""
        self.title.setText(title)

    def problem(self) -> str:
        """Why what is typed cannot be sampled; "" if it can."""
        return self.model_field.note() if self._refusal() else self._levels_problem()

    # Keeping it true

    def _header(self) -> Header:
        return self._headers.get(str(self.model.value()), self._headers[self._chosen])

    def _refusal(self) -> str:
        header = self._header()
        if tuple(header.facts["shape"]) == self._shape:
            return ""
        lanes = shape_words(self._headers[self._chosen])
        return f"It makes {shape_words(header)}, the other lanes {lanes}. Choose a model that makes the same."

    def _read(self, *_: object) -> None:
        """Take what is set, unless something of it is not possible."""
        refusal = self._refusal()
        self.model_field.set_error(refusal)
        if not refusal:
            self._offer_schedules()
            self._show_classes(str(self.label.value()))
        problem = "" if refusal else self._levels_problem()
        self.grid.set_error(problem)
        self._dim()
        if refusal or problem or not (self.steps.is_valid() and self.more.is_valid()):
            return
        try:
            choice = self._value()
        except ValueError:
            return  # the form says it under the knob
        if choice != self._choice:
            self._choice = choice
            self.changed.emit(choice)

    def _value(self) -> LaneChoice:
        label = str(self.label.value()) if self._header().class_names else "each"
        values = values_of(self._choice.spec.knobs) | self.steps.values() | self.more.values() | {"label": label}
        knobs = build(SampleKnobs, values)
        spec = SampleSpec(sampler=self.sampler.value(), grid=self.grid.value(), knobs=knobs)
        return LaneChoice(spec, str(self.model.value() or ""))

    def _levels_problem(self) -> str:
        try:
            schedule = method_from_dict("recipe", self._header().recipe).schedule
            levels_of(self._value().spec, schedule)
        except ValueError as error:
            return str(error)
        return ""

    def _take_model(self) -> None:
        """A model that knows a few levels alone is sampled over those; one that knows all, not over another's few."""
        before = few_steps(self._headers.get(self._choice.model, self._headers[self._chosen]))
        few = few_steps(self._header())
        if not self._refusal() and (few or before):
            own, told = few or SampleSpec(), self._choice
            with QSignalBlocker(self):
                self.sampler.set_value(own.sampler)
                self.grid.set_value(own.grid)
                self.steps.set_values({"steps": own.knobs.steps})
                self.more.set_values({"guidance": own.knobs.guidance, "clip": own.knobs.clip})
            self._choice = told  # the forms have had their say, but nobody was told
        self._read()

    def _take_sampler(self) -> None:
        """A short schedule was chosen: it is good with the sampler that it was found with."""
        sampler = sampler_for(self.grid.value(), self._header().schedules) if self.grid.is_offered() else None
        if sampler is not None:
            self.sampler.set_value(sampler)

    def _offer_schedules(self) -> None:
        mine = self._header()
        others = [
            option
            for header in self._headers.values()
            if header is not mine
            for option in (*own_offers(header), *offers(header.schedules))
        ]
        self.grid.offer_values([*own_offers(mine), *offers(mine.schedules)], others)

    def _show_classes(self, label: str) -> None:
        names = self._header().class_names
        options: list[tuple[object, str]] = [("each", "any")]
        if names:
            options = [("each", "each in turn"), ("none", "none"), *((name, name) for name in names)]
        with QSignalBlocker(self.label):
            self.label.set_options(options)
            self.label.setValue(label)

    def _dim(self) -> None:
        header = self._header()
        knows, label = bool(header.class_names), self.label.value()
        grid = self.grid.possible()
        listed = grid is not None and has_own_steps(grid)
        self.steps.set_knob_enabled("steps", not listed, "follows from the list")
        slider = self.steps.field("steps").control
        assert isinstance(slider, LabeledSlider)
        slider.set_shown(num_steps(dataclasses.replace(self._choice.spec, grid=grid)) if listed else None)
        self.label_field.set_enabled(knows, "this model has no classes")
        self.more.set_knob_enabled(
            "guidance", knows and label != "none", "needs a class" if knows else "this model has no classes"
        )
        self.more.set_knob_enabled("clip", header.kind == "image", "points have no fixed range")

    def _arrange(self) -> None:
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(8)
        buttons = QHBoxLayout()
        buttons.setSpacing(8)
        buttons.addWidget(self.done_button, 1)
        buttons.addWidget(self.remove_button)
        for widget in (
            section("Lane"),
            self.title,
            self.model_field,
            self.sampler,
            self.steps,
            self.grid,
            self.label_field,
            self.more,
        ):
            column.addWidget(widget)
        column.addSpacing(4)
        column.addLayout(buttons)
        self.title.setTextInteractionFlags(Qt.TextInteractionFlag.NoTextInteraction)
        self.title.setWordWrap(True)


def _model_line(header: Header, shape: tuple[int, ...]) -> str:
    same = tuple(header.facts["shape"]) == shape
    return header.title if same else f"{header.title} ({shape_words(header)})"
