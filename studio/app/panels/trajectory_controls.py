"""The right column of the trajectory workspace: which sampler, over which levels, from which noise.

Everything comes from the knobs of :class:`~studio.core.sampling.SampleKnobs` and of the registered samplers and grids.
What has no effect on the model at hand is dimmed and says why.
"""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from PySide6.QtCore import QSignalBlocker, QSize, Signal
from PySide6.QtGui import QIcon, QKeyEvent, QPixmap
from PySide6.QtWidgets import (
    QCheckBox,
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLineEdit,
    QPushButton,
    QScrollArea,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from studio.app import theme
from studio.app.controls import Choice, Field, LabeledSlider, make_label, scroll_down
from studio.app.panels.learned import offers, own_offers, sampler_for
from studio.app.panels.method_picker import MethodPicker, parsed
from studio.app.panels.trajectory_formula import FormulaBox
from studio.app.words import CLEAN_START, leftover
from studio.core.checkpoints.header import Header
from studio.core.grids import Grid, LogSNR
from studio.core.knobs import Knob, knobs_of
from studio.core.levels import Level
from studio.core.samplers.ddim import DDIM
from studio.core.sampling import SampleKnobs, SampleSpec, few_steps, levels_of
from studio.core.schedules import NoiseSchedule
from studio.core.short_schedule import ShortSchedule
from studio.session.compare import has_own_steps
from studio.session.jobs import Interpolation

WIDTH = 280
MOST_IMAGES, MOST_POINTS = 256, 10_000
_NUM_POINTS = 2000
_KNOBS = {knob.name: knob for knob in knobs_of(SampleKnobs)}


@dataclass(frozen=True)
class Kept:
    """A starting noise that is kept: its seed and image index, and its sample as a small picture."""

    seed: int
    index: int
    picture: QPixmap


class Walk(QWidget):
    """Two kept starting noises, A and B, and whether to sample the arc between them."""

    changed = Signal()
    keep_requested = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self._kept: dict[str, Kept] = {}
        self._buttons = {name: QPushButton(f"Keep {name}") for name in ("A", "B")}
        self._check = QCheckBox("Walk from A to B")
        self._check.setObjectName("walk")
        self._check.toggled.connect(self._walked)
        self._note = make_label("", "faint", wrap=True)
        row = QHBoxLayout()
        row.setSpacing(8)
        for name, button in self._buttons.items():
            button.setObjectName(f"keep {name}")
            button.setIconSize(QSize(24, 24))
            button.clicked.connect(lambda _=False, name=name: self.keep_requested.emit(name))
            row.addWidget(button, 1)
        column = _column(self, 6)
        column.addLayout(row)
        column.addWidget(self._check)
        column.addWidget(self._note)
        self._refresh()

    def keep(self, name: str, kept: Kept) -> None:
        """Keep a noise as "A" or "B"."""
        self._kept[name] = kept
        self._refresh()

    def clear(self) -> None:
        """Forget both."""
        self._kept.clear()
        with QSignalBlocker(self._check):
            self._check.setChecked(False)
        self._refresh()

    def between(self) -> Interpolation | None:
        """The walk, or None where there is none."""
        if not self._check.isChecked():
            return None
        first, second = self._kept["A"], self._kept["B"]
        return Interpolation((first.seed, first.index), (second.seed, second.index))

    def note(self) -> str:
        """The line that explains what to do."""
        return self._note.text()

    def _walked(self) -> None:
        self._refresh()
        self.changed.emit()

    def _refresh(self) -> None:
        walking, both = self._check.isChecked(), len(self._kept) == 2
        self._check.setEnabled(both)
        for name, button in self._buttons.items():
            kept = self._kept.get(name)
            button.setIcon(QIcon(kept.picture) if kept else QIcon())
            button.setText(f"  Keep {name}" if kept else f"Keep {name}")
            button.setEnabled(not walking)
            holds = f"{name} is seed {kept.seed}, image {kept.index + 1}. " if kept else ""
            button.setToolTip(
                "Every picture of a walk starts between A and B, so none can be kept."
                if walking
                else f"{holds}Keep the starting noise of the followed image as {name}."
            )
        if walking:
            text = "Starts lie evenly on the arc from A to B."
        elif both:
            text = "Samples the arc between the two starting noises."
        else:
            missing = " and ".join(name for name in ("A", "B") if name not in self._kept)
            text = f"Follow an image, then keep its starting noise as {missing}."
        self._note.setText(text)


class CalmScrollArea(QScrollArea):
    """Scrolls up and down where the window is low; leaves the keys that step through the run to the workspace."""

    def __init__(self, body: QWidget) -> None:
        super().__init__()
        scroll_down(self, body)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        event.ignore()


class TrajectoryControls(QFrame):
    """All controls, the formula and the buttons. ``changed`` follows every change of a value at once."""

    changed = Signal()
    again_requested = Signal()
    save_requested = Signal()
    keep_requested = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.setProperty("surface", "right")
        self.setFixedWidth(WIDTH)
        self._schedule: NoiseSchedule | None = None
        self._class_names: tuple[str, ...] = ()
        self._is_image = True
        self._seed_problem = ""
        self._bad: dict[str, str] = {}
        self._schedules: Sequence[ShortSchedule] = ()
        self._own: list[tuple[str, Grid]] = []  # the chosen model's few levels, where it knows those alone
        self._before: SampleSpec | None = None  # what was set until such a model was chosen
        self._label = "each"
        self.formula = FormulaBox()
        self.walk = Walk()
        self._make_controls()
        self._arrange()
        for changing in (self.sampler.changed, self.grid.changed, self.walk.changed, self._clip.toggled):
            changing.connect(self._refresh)
        for valued in (self._steps, self._images, self._points, self._class, self._guidance):
            valued.valueChanged.connect(self._refresh)
        self._seed.textChanged.connect(self._refresh)
        self.walk.keep_requested.connect(self.keep_requested)
        self._refresh(quiet=True)

    # Values

    def spec(self) -> SampleSpec:
        """What is set. Text that is no seed leaves the last possible one."""
        return SampleSpec(
            sampler=self.sampler.value(),
            grid=self.grid.value(),
            knobs=SampleKnobs(
                steps=int(self._steps.value()),
                seed=self._last_seed,
                count=int((self._images if self._is_image else self._points).value()),
                label=self._label if self._class_names else "each",
                guidance=float(self._guidance.value()),
                clip=self._clip.isChecked(),
            ),
        )

    def set_spec(self, spec: SampleSpec) -> None:
        """Set every control; ``changed`` is emitted once if that changes anything."""
        if spec == self.spec():
            return
        with QSignalBlocker(self):
            self.sampler.set_value(spec.sampler)
            self.grid.set_value(spec.grid)
            self._steps.setValue(spec.knobs.steps)
            self._seed.setText(str(spec.knobs.seed))
            (self._images if self._is_image else self._points).setValue(spec.knobs.count)
            self._class.setValue(spec.knobs.label)
            self._guidance.setValue(spec.knobs.guidance)
            self._clip.setChecked(spec.knobs.clip)
        self._refresh()

    def set_model(self, header: Header, schedule: NoiseSchedule) -> None:
        """Fit the controls to another model, quietly; the values stay as far as they are possible.

        A model that knows a few levels alone is sampled over those; after it, the values before come back.
        """
        own = few_steps(header)
        if own is not None and not self._own:
            now = self.spec()
            self._before = SampleSpec() if now.grid == own.grid else now
        with QSignalBlocker(self):
            self._own = own_offers(header)
            self._schedule, self._class_names = schedule, header.class_names
            self._is_image = header.kind == "image"
            self._longest = max(schedule.length, 2)
            self._steps.setRange(1, self._longest)
            self.set_schedules(header.schedules)
            before = self._label
            self._class.set_options(
                [("each", "each in turn"), ("none", "none"), *((name, name) for name in header.class_names)]
                if header.class_names
                else [("each", "any")]
            )
            self._class.setValue(before)
            self.walk.clear()
            method = own or self._before
            if method is not None:
                kept = self.spec().knobs
                self.set_spec(method.at(seed=kept.seed, count=kept.count, label=kept.label))
            if own is None:
                self._before = None
        self._refresh(quiet=True)

    def set_schedules(self, schedules: Sequence[ShortSchedule]) -> None:
        """The short schedules that the model keeps by now, to choose from; the values stay."""
        self._schedules = schedules
        self.grid.offer_values([*self._own, *offers(schedules)])

    def problem(self) -> str:
        """Why what is set cannot be sampled; "" if it can."""
        if self._schedule is None:
            return "No model is open."
        found = (self._seed_problem, *self._bad.values())
        return next((problem for problem in found if problem), "") or self._levels()[0]

    def new_seed(self) -> None:
        """Draw another seed, short enough to be told to someone; where none has an effect, keep it."""
        if not self._seed.isEnabled():
            return
        self._seed.setText(str(secrets.randbelow(100_000)))

    def state(self) -> dict[str, Any]:
        """Every control as plain values."""
        return {
            **self.sampler.state(),
            **self.grid.state(),
            "steps": self._steps.value(),
            "seed": self._last_seed,
            "images": self._images.value(),
            "points": self._points.value(),
            "label": self._label,
            "guidance": self._guidance.value(),
            "clip": self._clip.isChecked(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what :meth:`state` gave, as far as it is possible, quietly."""
        with QSignalBlocker(self):
            self.sampler.restore(state)
            self.grid.restore(state)
            sliders = {"steps": self._steps, "images": self._images, "points": self._points, "guidance": self._guidance}
            for name, slider in sliders.items():
                knob = _KNOBS["count" if name in ("images", "points") else name]
                value = parsed(knob, state.get(name))
                if value is not None:
                    slider.setValue(value)
            seed = parsed(_KNOBS["seed"], state.get("seed"))
            self._seed.setText(str(self._last_seed if seed is None else seed))
            self._label = str(state.get("label", self._label))
            self._class.setValue(self._label)
            clip = parsed(_KNOBS["clip"], state.get("clip"))
            self._clip.setChecked(self._clip.isChecked() if clip is None else bool(clip))
        self._refresh(quiet=True)

    # Making

    def _make_controls(self) -> None:
        self.sampler = MethodPicker(
            "sampler", "Method", "Method\nHow to go from one noise level to the next.", DDIM, spacing=6
        )
        self.grid = MethodPicker(
            "grid", "Steps from", "Steps from\nWhich of the schedule's noise levels to visit.", LogSNR, spacing=6
        )
        self.grid.picked.connect(self._take_sampler)
        self.start_note = make_label("", "warning", wrap=True)
        self.start_note.hide()
        self._steps = _slider(_KNOBS["steps"], high=1000)
        self._images = _slider(_KNOBS["count"], high=MOST_IMAGES, name="images")
        self._points = _slider(_KNOBS["count"], high=MOST_POINTS, value=_NUM_POINTS, name="points")
        self._guidance = _slider(_KNOBS["guidance"], step=0.1)
        self._clip = QCheckBox()
        self._clip.setObjectName("clip")
        self._clip.setChecked(bool(_KNOBS["clip"].default))
        self._class = Choice([("each", "any")])
        self._class.setObjectName("label")
        self._seed = QLineEdit(str(_KNOBS["seed"].default))
        self._seed.setObjectName("seed")
        self._seed.setAccessibleName("Seed")
        self._last_seed = int(self._seed.text())
        self.dice_button = QToolButton()
        self.dice_button.setToolTip("New seed (N)")
        self.dice_button.setAccessibleName("New seed")
        theme.set_icon(self.dice_button, "dice")
        self.dice_button.clicked.connect(self.new_seed)
        seed_row = QWidget()
        row = QHBoxLayout(seed_row)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(4)
        row.addWidget(self._seed, 1)
        row.addWidget(self.dice_button)
        seed_row.setFocusProxy(self._seed)
        self._steps_field = _field(_KNOBS["steps"], self._steps)
        self._seed_field = _field(_KNOBS["seed"], seed_row)
        self._images_field = _field(_KNOBS["count"], self._images)
        self._points_field = _field(dataclasses.replace(_KNOBS["count"], label="Points"), self._points)
        self._class_field = _field(dataclasses.replace(_KNOBS["label"], label="Class"), self._class)
        self._guidance_field = _field(_KNOBS["guidance"], self._guidance)
        self._clip_field = _field(_KNOBS["clip"], self._clip)
        self._longest = 1000
        count = _KNOBS["count"]
        for field, slider, knob in (
            (self._images_field, self._images, dataclasses.replace(count, high=MOST_IMAGES)),
            (self._points_field, self._points, dataclasses.replace(count, high=MOST_POINTS)),
            (self._guidance_field, self._guidance, _KNOBS["guidance"]),
        ):
            slider.invalid.connect(partial(self._say_range, field, knob))
        self._steps.invalid.connect(self._say_steps)

    def _arrange(self) -> None:
        body = QWidget()
        column = QVBoxLayout(body)
        column.setContentsMargins(15, 8, 11, 12)
        column.setSpacing(6)
        self._walk_title = make_label("Interpolate", "section")
        for widget in (
            make_label("Sampler", "section"),
            self.sampler,
            self._steps_field,
            self.grid,
            self.start_note,
            make_label("Start", "section"),
            self._seed_field,
            self._images_field,
            self._points_field,
            self._class_field,
            self._guidance_field,
            self._clip_field,
            self._walk_title,
            self.walk,
        ):
            column.addWidget(widget)
        column.addSpacing(4)
        column.addWidget(self.formula)
        column.addStretch(1)
        whole = QVBoxLayout(self)
        whole.setContentsMargins(0, 0, 0, 0)
        whole.setSpacing(0)
        whole.addWidget(CalmScrollArea(body), 1)
        whole.addLayout(self._make_buttons())

    def _make_buttons(self) -> QGridLayout:
        self.again_button = QPushButton("Sample again")
        self.again_button.setProperty("primary", True)
        self.again_button.clicked.connect(self.again_requested)
        self.seed_button = QPushButton("New seed")
        self.seed_button.clicked.connect(self.new_seed)
        self.save_button = QPushButton("Save picture…")
        self.save_button.setToolTip("Save x̂₀ of this step as a PNG (Ctrl+E)")
        self.save_button.clicked.connect(self.save_requested)
        grid = QGridLayout()
        grid.setContentsMargins(15, 8, 11, 16)
        grid.setSpacing(8)
        grid.addWidget(self.again_button, 0, 0, 1, 2)
        grid.addWidget(self.seed_button, 1, 0)
        grid.addWidget(self.save_button, 1, 1)
        return grid

    # Keeping it true

    def _refresh(self, *_: object, quiet: bool = False) -> None:
        """Read the seed, dim what has no effect, say what is wrong, and tell that something changed."""
        self._read_seed()
        if self._class_names and self._class.value() is not None:
            self._label = str(self._class.value())
        problem, levels = self._levels()
        self.grid.set_error(problem)
        self._dim(levels)
        self._show_start(levels)
        self._set_buttons()
        if not quiet:
            self.changed.emit()

    def _read_seed(self) -> None:
        try:
            self._last_seed = int(_KNOBS["seed"].parse(self._seed.text()))  # type: ignore[arg-type]
            self._seed_problem = ""
        except ValueError:
            self._seed_problem = f"It takes {_KNOBS['seed'].allowed}."
        self._seed_field.set_error(self._seed_problem)
        theme.restyle(self._seed, bad=bool(self._seed_problem))

    def _say_steps(self, text: str) -> None:
        self._say_range(self._steps_field, dataclasses.replace(_KNOBS["steps"], high=self._longest), text)

    def _say_range(self, field: Field, knob: Knob, text: str) -> None:
        """``text`` was typed into a slider's number and is none it takes; "" once it is."""
        problem = f"It takes {knob.allowed}." if text else ""
        field.set_error(problem)
        self._bad[knob.label] = f"{knob.label}: {problem}" if problem else ""
        self._set_buttons()

    def _levels(self) -> tuple[str, list[Level]]:
        """Why no levels can be visited ("" if some can), and those that will be."""
        if self._schedule is None:
            return "", []
        try:
            return "", levels_of(self.spec(), self._schedule)
        except ValueError as error:
            return str(error), []

    def _show_start(self, levels: list[Level]) -> None:
        """Warn of levels that the model does not know, and where a start is far from pure noise.

        Schedules that the model keeps were judged by samples that start so.
        """
        text = ""
        if levels and self._own and self._own[0][1] != self.grid.possible():
            text = f"This model knows {self._own[0][0]} alone: at other levels it guesses."
        elif levels and levels[0].alpha >= CLEAN_START and not self.grid.is_offered():
            text = leftover(float(levels[0].alpha))
        self.start_note.setText(text)
        self.start_note.setVisible(bool(text))

    def _take_sampler(self) -> None:
        """A short schedule was chosen: it is good with the sampler that it was found with."""
        sampler = sampler_for(self.grid.value(), self._schedules) if self.grid.is_offered() else None
        if sampler is not None:
            self.sampler.set_value(sampler)

    def _set_buttons(self) -> None:
        problem = self.problem()
        self.again_button.setEnabled(not problem)
        self.again_button.setToolTip(problem or "Sample with the same seed (F5 or Ctrl+R)")
        unseeded = "" if self._seed.isEnabled() else f"No seed has an effect: {self._seed_field.note()}."
        self.seed_button.setEnabled(not unseeded)
        self.seed_button.setToolTip(unseeded or "Sample with another seed (N)")

    def _dim(self, levels: list[Level]) -> None:
        grid = self.grid.possible()
        listed = grid is not None and has_own_steps(grid)
        self._steps_field.set_enabled(not listed, "follows from the list")
        self._steps.set_shown(len(levels) - 1 if listed and levels else None)
        walking = self.walk.between() is not None
        sampler = self.sampler.value()
        seeded = not (walking and isinstance(sampler, DDIM) and sampler.eta == 0.0)
        self._seed_field.set_enabled(seeded, "the starts are A and B")
        knows_classes, label = bool(self._class_names), self._class.value()
        self._class_field.set_enabled(knows_classes, "this model has no classes")
        if knows_classes:
            self._class_field.set_hint("walks use no class: choose one" if walking and label == "each" else "")
        one_class = label != "none" and not (walking and label == "each")
        reason = "a walk needs one class" if walking and knows_classes else "needs a class"
        self._guidance_field.set_enabled(knows_classes and one_class, reason)
        self._clip_field.set_enabled(self._is_image, "points have no fixed range")
        self._images_field.setVisible(self._is_image)
        self._points_field.setVisible(not self._is_image)
        self._walk_title.setVisible(self._is_image)
        self.walk.setVisible(self._is_image)


def _slider(
    knob: Knob, *, high: float | None = None, value: float | None = None, step: float | None = None, name: str = ""
) -> LabeledSlider:
    top = high if high is not None else knob.high
    assert knob.low is not None
    assert top is not None
    assert isinstance(knob.default, (int, float))
    slider = LabeledSlider(
        knob.low,
        top,
        integer=knob.kind == "int",
        log=knob.log,
        step=step,
        value=knob.default if value is None else value,
    )
    slider.setObjectName(name or knob.name)
    return slider


def _field(knob: Knob, control: QWidget) -> Field:
    name = f"{knob.label} {knob.symbol}".strip()
    return Field(knob.label, control, symbol=knob.symbol, tooltip=f"{name}\n{knob.help}")


def _column(owner: QWidget, spacing: int) -> QVBoxLayout:
    column = QVBoxLayout(owner)
    column.setContentsMargins(0, 0, 0, 0)
    column.setSpacing(spacing)
    return column
