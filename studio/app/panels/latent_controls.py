"""The right column of the latent workspace: which z, which plane, what a redraw changes, the start, and the walk.

Steps are named as in the formulae: step T is the noisiest and comes first, so the sampler's index of step k is T - k.
"""

from __future__ import annotations

import functools
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtWidgets import (
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from studio.app import theme
from studio.app.controls import Choice, Field, LabeledSlider, make_label
from studio.app.panels.compare_page import Side, section
from studio.app.panels.latent_shelf import Shelf
from studio.core.knobs import knobs_of
from studio.core.sampling import SampleKnobs

LEAST_FRAMES, MOST_FRAMES = 8, 96
ALL = "all"
IN_HAND, NEXT = "in hand", "next"
_SEED = next(knob for knob in knobs_of(SampleKnobs) if knob.name == "seed")
_NEW_SEEDS = 100_000  # short enough to be told to someone


class SeedEdit(QWidget):
    """A seed that is typed, or drawn with the die. Text that is no seed leaves the last possible one."""

    valueChanged = Signal(int)
    invalid = Signal(str)

    def __init__(self, name: str, value: int = 0) -> None:
        super().__init__()
        self._value = value
        self.edit = QLineEdit(str(value))
        self.dice = QToolButton()
        self.dice.setToolTip(f"Draw another {name}")
        self.setAccessibleName(name)
        theme.set_icon(self.dice, "dice")
        self.dice.clicked.connect(self.draw)
        self.edit.textChanged.connect(self._read)
        self.edit.returnPressed.connect(self._insist)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(4)
        row.addWidget(self.edit, 1)
        row.addWidget(self.dice)
        self.setFocusProxy(self.edit)

    def setAccessibleName(self, name: str) -> None:
        super().setAccessibleName(name)
        self.edit.setAccessibleName(name)
        self.dice.setAccessibleName(f"Draw another {name}")

    def value(self) -> int:
        """The last possible seed."""
        return self._value

    def setValue(self, value: int) -> None:
        """Show another seed; ``valueChanged`` follows if it is one."""
        self.edit.setText(str(value))

    def draw(self) -> None:
        """Take another seed, short enough to be told to someone."""
        self.setValue(new_seed())

    def _insist(self) -> None:
        """Enter: the seed counts again, whatever became of what it gave."""
        if self.edit.text().strip() == str(self._value):
            self.valueChanged.emit(self._value)

    def _read(self, text: str) -> None:
        try:
            value = _SEED.parse(text)
        except ValueError:
            theme.restyle(self.edit, bad=True)
            self.invalid.emit(f"It takes {_SEED.allowed}.")
            return
        assert isinstance(value, int)
        theme.restyle(self.edit, bad=False)
        self.invalid.emit("")
        if value != self._value:
            self._value = value
            self.valueChanged.emit(value)


def new_seed() -> int:
    """A seed by chance."""
    return secrets.randbelow(_NEW_SEEDS)


class StepRow(QWidget):
    """What a redraw changes in one step: its z, its noise, both or neither."""

    z_toggled = Signal()
    redraw_requested = Signal()

    def __init__(self, number: int, noise_problem: str) -> None:
        super().__init__()
        self.z, self.noise = QPushButton(), QPushButton()
        self._noise_problem = noise_problem
        self.redraw = QToolButton()
        self.redraw.setAccessibleName(f"Redraw step {number}")
        theme.set_icon(self.redraw, "refresh")
        self.redraw.clicked.connect(self.redraw_requested)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(6)
        name = make_label(f"Step {number}", "field")
        name.setMinimumWidth(48)
        row.addWidget(name)
        for button, what, share in ((self.z, "z", 4), (self.noise, "noise", 5)):
            button.setProperty("lock", True)
            button.setCheckable(True)
            button.setAccessibleName(f"{what} of step {number} is free")
            button.toggled.connect(self._refresh)
            # Columns stand under each other, whatever the words on the buttons.
            button.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
            row.addWidget(button, share)
        self.z.toggled.connect(self.z_toggled)
        self.noise.setEnabled(not noise_problem)
        row.addWidget(self.redraw)
        self._refresh()

    def _refresh(self) -> None:
        self.z.setText("z free" if self.z.isChecked() else "z locked")
        self.z.setToolTip(
            "z is drawn anew at each redraw, and the pad does not move it."
            if self.z.isChecked()
            else "z stays as it is held, and follows the pad. Click to free it: a redraw then draws it anew."
        )
        if self._noise_problem:
            self.noise.setText("no noise")
            self.noise.setToolTip(self._noise_problem)
        else:
            self.noise.setText("noise free" if self.noise.isChecked() else "noise locked")
            self.noise.setToolTip(
                "The posterior noise that this step adds is drawn anew at each redraw."
                if self.noise.isChecked()
                else "The posterior noise that this step adds stays. Click to free it."
            )
        free = self.z.isChecked() or self.noise.isChecked()
        self.redraw.setEnabled(free)
        self.redraw.setToolTip("Draw anew what is free in this step" if free else "Nothing in this step is free")


class LatentControls(Side):
    """All settings of the workspace, and its buttons."""

    z_seed_changed = Signal(int)
    plane_changed = Signal()
    locks_changed = Signal()
    """Which z the pad moves is different: a lock, or the choice of one step."""
    start_changed = Signal()
    noise_seed_changed = Signal(int)
    redraw_requested = Signal(int)
    """Draw anew what is free in the step of this index; -1: in all."""
    walk_changed = Signal()
    play_requested = Signal()
    export_requested = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[StepRow] = []
        self.shelf = Shelf()
        self._kept: tuple[str, ...] = ()
        self._title = section("Latent z")
        self._make_controls()
        self._arrange()
        self._connect()

    # Values

    def set_model(self, num_steps: int, size: int, class_names: Sequence[str], *, adds_noise: bool) -> None:
        """Fit the controls to a model whose z has ``size`` numbers at each of ``num_steps`` steps; all is locked."""
        self._title.setText(f"Latent z · {size} number{'s' * (size != 1)}")
        for row in self.rows:
            self._steps.removeWidget(row)
            row.hide()
            row.deleteLater()
        self.rows = []
        for index in range(num_steps):
            problem = "" if adds_noise else "This model says the next x itself: its steps add no noise."
            if adds_noise and index == num_steps - 1:
                problem = "The last step ends on x₀: it adds no noise."
            row = StepRow(num_steps - index, problem)
            row.z_toggled.connect(self.locks_changed)
            row.z_toggled.connect(self._refresh)
            row.noise.toggled.connect(self._refresh)
            row.redraw_requested.connect(functools.partial(self.redraw_requested.emit, index))
            self._steps.addWidget(row)
            self.rows.append(row)
        with QSignalBlocker(self):
            self.moves.set_options(
                [(ALL, "all locked"), *((str(i), f"z of step {num_steps - i}") for i in range(num_steps))]
            )
            before = self.label.value()
            self.label.set_options([("none", "none"), *((name, name) for name in class_names)])
            # A sample of no class in particular is the poorest way to begin.
            stays = self._class_chosen and before in ("none", *class_names)
            self.label.setValue(before if stays else next(iter(class_names), "none"))
            self._class_chosen |= bool(class_names)
        self._class_field.set_enabled(bool(class_names), "this model has no classes")
        self._noise_field.set_enabled(adds_noise and num_steps > 1, "no step of this model adds noise")
        self._refresh()

    def set_kept(self, names: Sequence[str]) -> None:
        """Offer these kept z for planes and walks; what is chosen stays if it is among them."""
        before, self._kept = len(self._kept), tuple(names)
        kept = [(name, name) for name in names]
        ends = [(IN_HAND, "z in hand"), (NEXT, f"z of seed {self.z_seed.value() + 1}"), *kept]
        with QSignalBlocker(self):
            for choice in (self.first, self.second):
                choice.set_options(ends)
            for place, choice in enumerate((self.right, self.top)):
                had = before > place and choice.value() in self._kept
                choice.set_options(kept)
                if not had and len(kept) > place:
                    choice.setCurrentIndex(place)
        self._refresh()

    def moved(self) -> list[bool]:
        """Whether the pad moves the z of each step."""
        wanted = self.moves.value()
        return [
            not row.z.isChecked() and (wanted == ALL or wanted == str(index)) for index, row in enumerate(self.rows)
        ]

    def is_chosen(self) -> bool:
        """Whether two kept z span the plane, rather than two random directions."""
        return self.plane.value() == "chosen" and len(self._kept) > 1

    def state(self) -> dict[str, Any]:
        """Every control that outlives a model, as plain values."""
        return {
            "z_seed": self.z_seed.value(),
            "plane": self.plane.value(),
            "plane_seed": self.plane_seed.value(),
            "reach": self.reach.value(),
            "start_seed": self.start_seed.value(),
            "noise_seed": self.noise_seed.value(),
            "label": self.label.value(),
            "frames": self.frames.value(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Take up what :meth:`state` gave, as far as it is possible, quietly."""
        with QSignalBlocker(self):
            for name in ("z_seed", "plane_seed", "start_seed", "noise_seed"):
                edit: SeedEdit = getattr(self, name)
                edit.setValue(_seed(state.get(name), edit.value()))
            for name in ("reach", "frames"):
                slider: LabeledSlider = getattr(self, name)
                slider.setValue(_number(state.get(name), slider.value()))
            self.plane.setValue(state.get("plane"))
            label = str(state.get("label", "none"))
            self._class_chosen = "label" in state
            if label != "none":  # the classes are known once a model is
                self.label.set_options([("none", "none"), (label, label)])
            self.label.setValue(label)
        self._refresh()

    def say_origin(self, origin: str) -> None:
        """Say under the z seed where z comes from, if not from the seed alone."""
        self._z_field.set_hint(f"{origin}; Enter goes back to the seed’s" if origin else "")

    def say_flat(self, right: bool, top: bool) -> None:
        """Say under the kept z that span the plane which of them is in hand, so that nothing lies that way."""
        for field, flat in ((self._right_field, right), (self._top_field, top)):
            field.set_hint("this is the z in hand: nothing changes this way" if flat else "")

    def say_noise(self, steps: Sequence[int]) -> None:
        """Say under the noise seed which steps have other noise."""
        named = f"step{'s' * (len(steps) > 1)} {', '.join(map(str, steps))}"
        if self.noise_seed.isEnabled():
            self._noise_field.set_hint(f"redrawn since: {named}" if steps else "")

    def set_playing(self, playing: bool) -> None:
        """Offer to stop what plays, or to play."""
        self.play_button.setText("Stop" if playing else "Play walk")

    # Making

    def _make_controls(self) -> None:
        self.z_seed = SeedEdit("z seed")
        self.plane = Choice([("random", "random A, B"), ("chosen", "two kept z")])
        self.plane_seed = SeedEdit("plane seed")
        self.right, self.top = Choice(), Choice()
        self.reach = LabeledSlider(0.1, 4.0, step=0.1, value=1.5)
        self.moves = Choice([(ALL, "all locked")])
        self.redraw_button = QPushButton("Redraw")
        self.redraw_button.setProperty("lock", True)
        self.start_seed, self.noise_seed = SeedEdit("x_T seed"), SeedEdit("noise seed")
        self.label, self._class_chosen = Choice([("none", "none")]), False
        self.first, self.second = Choice([(IN_HAND, "z in hand")]), Choice([(NEXT, "z of seed 1")])
        self.frames = LabeledSlider(LEAST_FRAMES, MOST_FRAMES, integer=True, value=48)
        self.play_button, self.export_button = QPushButton("Play walk"), QPushButton("Export…")
        self.play_button.setProperty("primary", True)
        self.play_button.setToolTip("Show the arc between two z in the result, to and fro (Space)")
        self.export_button.setToolTip("Write pad, result and walk as pictures, the walk as an animation too (Ctrl+E)")
        self._z_field = Field(
            "z seed", self.z_seed, symbol="z", tooltip="z seed z\nThe z of every step is drawn from it."
        )
        self._plane_field = Field(
            "Plane",
            self.plane,
            tooltip="Plane\nThe pad is z + reach (u A + v B), with random A and B or towards kept z.",
        )
        self._plane_seed_field = Field(
            "A, B seed", self.plane_seed, tooltip="A, B seed\nBoth directions of the plane are drawn from it."
        )
        self._right_field = Field("To the right", self.right, symbol="A", tooltip="A leads from z to this kept z.")
        self._top_field = Field("Upwards", self.top, symbol="B", tooltip="B leads from z to this kept z.")
        self._reach_field = Field(
            "Reach", self.reach, tooltip="Reach\nHow far the edge of the pad is, in lengths of A and B."
        )
        self._moves_field = Field(
            "Pad moves", self.moves, tooltip="Pad moves\nWhich steps' z follow the pad. A free z never does."
        )
        self._start_field = Field(
            "Start seed",
            self.start_seed,
            symbol="x<sub>T</sub>",
            tooltip="x_T seed\nThe noise that sampling starts from, and, where the model has a prior of its own, "
            "which of its distributions.",
        )
        self._noise_field = Field(
            "Noise seed",
            self.noise_seed,
            symbol="ε",
            tooltip="Noise seed ε\nThe posterior noise of every step; a redraw gives single steps another one.",
        )
        self._class_field = Field("Class", self.label, symbol="y", tooltip="Class y\nWhat the sample shall show.")
        self._first_field = Field(
            "From", self.first, tooltip="From\nWhere the walk sets out. Only z changes on the way."
        )
        self._second_field = Field("To", self.second, tooltip="To\nWhere the walk turns back.")
        self._frames_field = Field(
            "Frames", self.frames, tooltip="Frames\nSamples on the arc; each step's z keeps its length (slerp)."
        )

    def _arrange(self) -> None:
        steps = QWidget()
        self._steps = QVBoxLayout(steps)
        self._steps.setContentsMargins(0, 0, 0, 0)
        self._steps.setSpacing(4)
        self.add(self._title, self._z_field, self._plane_field, self._plane_seed_field)
        self.add(self._right_field, self._top_field, self._reach_field, self._moves_field)
        self.add(_beside(section("Per step"), self.redraw_button), steps)
        self.add(section("Start"), self._start_field, self._noise_field, self._class_field)
        self.add(section("Kept z"), self.shelf)
        self.add(section("Walk"), self._first_field, self._second_field, self._frames_field)
        self.buttons.addWidget(self.play_button, 1)
        self.buttons.addWidget(self.export_button)

    def _connect(self) -> None:
        for field, edit in (
            (self._z_field, self.z_seed),
            (self._plane_seed_field, self.plane_seed),
            (self._start_field, self.start_seed),
            (self._noise_field, self.noise_seed),
        ):
            edit.invalid.connect(field.set_error)
        for field, slider in ((self._reach_field, self.reach), (self._frames_field, self.frames)):
            slider.invalid.connect(functools.partial(_say_range, field, slider))
        self.z_seed.valueChanged.connect(self._new_z_seed)
        for changing in (self.plane, self.right, self.top, self.reach):
            changing.valueChanged.connect(self._new_plane)
        self.plane_seed.valueChanged.connect(self._new_plane)
        self.moves.valueChanged.connect(self._new_moves)
        self.start_seed.valueChanged.connect(lambda _: self.start_changed.emit())
        self.noise_seed.valueChanged.connect(self.noise_seed_changed)
        self.label.valueChanged.connect(lambda _: self.start_changed.emit())
        for changing in (self.first, self.second, self.frames):
            changing.valueChanged.connect(self._new_walk)
        self.redraw_button.clicked.connect(lambda: self.redraw_requested.emit(-1))
        self.play_button.clicked.connect(self.play_requested)
        self.export_button.clicked.connect(self.export_requested)

    # Keeping it true

    def _new_z_seed(self, seed: int) -> None:
        self.set_kept(self._kept)
        self.z_seed_changed.emit(seed)

    def _new_plane(self, _: object) -> None:
        self._refresh()
        self.plane_changed.emit()

    def _new_moves(self, _: object) -> None:
        self._refresh()
        self.locks_changed.emit()

    def _new_walk(self, _: object) -> None:
        self._refresh()
        self.walk_changed.emit()

    def _refresh(self) -> None:
        """Show what applies, dim what does not, and say why."""
        wanted, enough = self.plane.value() == "chosen", len(self._kept) > 1
        self._plane_field.set_hint("" if enough or not wanted else "random until two z are kept below")
        self._plane_seed_field.setVisible(not self.is_chosen())
        self._right_field.setVisible(self.is_chosen())
        self._top_field.setVisible(self.is_chosen())
        self._moves_field.set_hint("" if any(self.moved()) or not self.rows else "this z is free: lock it to move it")
        free = any(row.z.isChecked() or row.noise.isChecked() for row in self.rows)
        self.redraw_button.setEnabled(free)
        self.redraw_button.setToolTip(
            "Draw every free z and noise anew (F5 or Ctrl+R)"
            if free
            else "Nothing is free: all z and noise are locked."
        )
        walks = self.first.value() != self.second.value()
        self._second_field.set_hint("" if walks else "the same as From: nothing would move")
        self.play_button.setEnabled(walks)


def _beside(title: QLabel, button: QPushButton) -> QWidget:
    """A heading with a button at its right end."""
    line = QWidget()
    row = QHBoxLayout(line)
    row.setContentsMargins(0, 0, 0, 0)
    row.addWidget(title, 1)
    row.addWidget(button, 0, Qt.AlignmentFlag.AlignBottom)
    return line


def _say_range(field: Field, slider: LabeledSlider, text: str) -> None:
    field.set_error("It takes a number within the slider’s range." if text else "")


def _seed(value: object, default: int) -> int:
    try:
        parsed = _SEED.parse(str(value))
    except ValueError:
        return default
    assert isinstance(parsed, int)
    return parsed


def _number(value: object, default: float) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return default
