"""The right column of the Train workspace: everything a training is made of, what it will cost, and what runs it.

The forms come from the knobs of the registered methods, so a new method appears here by itself. A change is told by
:attr:`TrainSettings.data_requested` and :attr:`TrainSettings.estimate_requested` once the person pauses for a moment.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QShowEvent, QStandardItemModel
from PySide6.QtWidgets import (
    QApplication,
    QFrame,
    QHBoxLayout,
    QLineEdit,
    QPushButton,
    QScrollArea,
    QVBoxLayout,
    QWidget,
)

from studio.app import theme
from studio.app.controls import Choice, Field, make_label, scroll_down
from studio.app.forms import KnobForm
from studio.app.panels.method_picker import LABELS, MethodPicker, read_form
from studio.app.timers import single_shot
from studio.app.widgets.image_grid import ImageGrid
from studio.app.widgets.particles import Particles
from studio.app.words import duration
from studio.core import device
from studio.core.config import RunKnobs, TrainConfig
from studio.core.events import DataPreview, Estimate, Event, Failed, Saved
from studio.core.knobs import knobs_of, values_of
from studio.core.presets import preset_for, presets, start_for
from studio.core.registry import methods

State = Literal["idle", "running", "paused", "stopping"]

WIDTH = 276
DATA_MILLISECONDS, ESTIMATE_MILLISECONDS = 150, 400
PREVIEW_COLUMNS, PREVIEW_ROWS = 8, 2
_CUSTOM = "custom"
_LOADING = "Loading…"


class RunButtons(QWidget):
    """Start, Pause or Resume; Step, Save and Stop. What cannot be used now says why."""

    started = Signal()
    paused = Signal()
    resumed = Signal()
    stepped = Signal()
    saved = Signal()
    stopped = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._state: State = "idle"
        self._problem = ""
        self.primary = QPushButton()
        self.primary.setProperty("primary", True)
        self.step, self.save, self.stop = QPushButton("Step"), QPushButton("Save"), QPushButton("Stop")
        column = _column(self)
        column.addWidget(self.primary)
        row = QHBoxLayout()
        row.setSpacing(8)
        for button in (self.step, self.save, self.stop):
            row.addWidget(button, 1)
        column.addLayout(row)
        self.primary.clicked.connect(self._press)
        self.step.clicked.connect(self.stepped)
        self.save.clicked.connect(self.saved)
        self.stop.clicked.connect(self.stopped)
        self.set_state("idle")

    def set_state(self, state: State, problem: str = "") -> None:
        """Fit the buttons to the state of the training; ``problem`` says why it cannot start."""
        self._state, self._problem = state, problem
        at_work = state in ("running", "paused")
        text, hint = {
            "idle": ("Start", problem or "Start training with these settings."),
            "running": ("Pause", "Wait after the present step."),
            "paused": ("Resume", "Go on training."),
            "stopping": ("Stopping…", "The training ends after the present step."),
        }[state]
        self.primary.setText(text)
        _allow(self.primary, at_work or (state == "idle" and not problem), hint, hint)
        none = "Nothing is being trained." if state == "idle" else "The training is ending."
        _allow(self.step, state == "paused", "Take one step, then wait.", "Pause first." if at_work else none)
        _allow(self.save, at_work, "Write a checkpoint now, and go on.", none)
        _allow(self.stop, at_work, "End the training and keep the model as it is.", none)

    def _press(self) -> None:
        {"idle": self.started, "running": self.paused, "paused": self.resumed}[self._state].emit()


class TrainSettings(QFrame):
    """The settings of a training as a column; see :class:`studio.app.panels.train.TrainPanel` for its signals."""

    start_requested = Signal(object)
    data_requested = Signal(object)
    estimate_requested = Signal(object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("surface", "right")
        self.setFixedWidth(WIDTH)
        self._presets = presets()
        self._state: State = "idle"
        self._quiet = False
        self._num_classes: int | None = None
        self._shown_data: Any = None
        self._cost: tuple[tuple[Any, ...], Estimate] | None = None
        self._asked: tuple[Any, ...] | None = None
        self._not_measured = ""
        self._saved = ""

        self._preset = Choice([(name, preset.title) for name, preset in self._presets.items()] + [(_CUSTOM, "Custom")])
        self._preset.setObjectName("preset")
        self._preset.setAccessibleName("Preset")
        self._preset.setToolTip("Preset\nA named starting point that sets everything below.")
        self._title = QLineEdit()
        self._title.setObjectName("title")
        self._title.setProperty("plain", True)
        self._data = MethodPicker("dataset", "Set", "Data set\nWhat the model learns from.")
        self._pictures = ImageGrid(PREVIEW_COLUMNS, "Some of the data")
        self._pictures.setFixedHeight(29 * PREVIEW_ROWS + 8)
        self._pictures.set_empty_text(_LOADING)
        self._points = Particles()
        self._points.setFixedHeight(176)
        self._points.hide()
        self._summary = make_label(" ", "muted", wrap=True)
        self._recipe = MethodPicker("recipe", "Recipe", "Recipe\nHow the network is taught.", lone=False)
        self._network = MethodPicker(
            "network", "Type", "Network type\nWhat learns; which there are depends on the data."
        )
        self._optimizer = MethodPicker("optimizer", "Type", "Optimiser type\nHow the weights follow the gradient.")
        self._run = KnobForm(knobs_of(RunKnobs), LABELS)
        self.note = make_label("", "muted", wrap=True)
        self.note.setAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop)
        self.note.setMinimumHeight(34)  # two lines: the buttons stay where they are
        self.use_run = QPushButton("Use this run's settings")
        self.use_run.setProperty("flat", True)
        self.use_run.setToolTip("Put the settings of the run that is shown here into the form.")
        self.use_run.clicked.connect(self._take_offered)
        self._offered: TrainConfig | None = None
        self.buttons = RunButtons()
        self._data_timer = single_shot(self, DATA_MILLISECONDS, self._ask_for_data)
        self._estimate_timer = single_shot(self, ESTIMATE_MILLISECONDS, self._ask_for_estimate)
        self._lay_out()
        self._dim_what_is_missing()

        self._preset.valueChanged.connect(self._take_preset)
        self._title.textChanged.connect(self._refresh)
        self._data.picked.connect(self._fit_to_data)
        for part in (self._data, self._recipe, self._network, self._optimizer, self._run):
            part.changed.connect(self._refresh)
        self._run.validity_changed.connect(self._refresh)
        self.buttons.started.connect(self._start)
        self.set_config(next(iter(self._presets.values())))

    # Settings

    def config(self) -> TrainConfig:
        """The training described here. Raises ValueError in plain words."""
        data = self._data.value()
        return TrainConfig(
            title=self._title.text().strip() or data.title,
            data=data,
            recipe=self._recipe.value(),
            network=self._network.value(),
            optimizer=self._optimizer.value(),
            run=read_form(self._run, RunKnobs),
        )

    def set_config(self, config: TrainConfig) -> None:
        """Show another training."""
        self._quiet = True
        self._title.setText(config.title)
        self._title.setCursorPosition(0)  # of a long one the beginning is seen
        self._data.set_value(config.data)
        self._network.offer(_networks_for(config.data.kind))
        self._recipe.set_value(config.recipe)
        self._network.set_value(config.network)
        self._optimizer.set_value(config.optimizer)
        self._run.set_values(values_of(config.run))
        self._quiet = False
        self._refresh()

    def offer(self, config: TrainConfig | None) -> None:
        """Offer another training's settings, which a button takes up; None takes the offer back."""
        self._offered = config
        self._refresh()

    def set_state(self, state: State) -> None:
        """What the training does now; settings are fixed while it runs."""
        if state == "running" and self._state == "idle":
            self._saved = ""
        if state != "idle" and self.isAncestorOf(QApplication.focusWidget() or self):
            # Qt would move the focus, and the form with it, to whatever can still be used.
            self.buttons.primary.setFocus()
        if state == "idle" and self._state != "idle":
            self._asked, self._not_measured = None, ""  # what was not answered before the training is asked again
        self._state = state
        self._refresh()

    def receive(self, event: Event) -> None:
        """Take a message: data, cost, a failed measurement, a saved file. Others mean nothing here."""
        match event:
            case DataPreview():
                self._show_data(event)
            case Estimate() if self._asked and not self._estimate_timer.isActive():
                self._cost, self._not_measured = (self._asked, event), ""
                self._refresh()
            case Failed() if self._state == "idle":
                self._show_failure(event.summary)
            case Saved():
                self._saved = f" Saved at step {event.step:,}."
                self._refresh()

    def data(self) -> Any:
        """The data set chosen, or None while its settings are not possible."""
        try:
            return self._data.value()
        except ValueError:
            return None

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._refresh()

    def _lay_out(self) -> None:
        form = QWidget()
        column = _column(form)
        column.setContentsMargins(16, 8, 8, 12)
        column.addWidget(make_label("Preset", "section"))
        column.addWidget(self._preset)
        column.addWidget(Field("Name", self._title, tooltip="Name\nWhat the model is called in the library."))
        for title, parts in (
            ("Data", (self._data, self._pictures, self._points, self._summary)),
            ("Method", (self._recipe,)),
            ("Network", (self._network,)),
            ("Optimiser", (self._optimizer,)),
            ("Run", (self._run,)),
        ):
            column.addWidget(make_label(title, "section"))
            for part in parts:
                column.addWidget(part)
        column.addStretch(1)
        scroll = QScrollArea()
        scroll_down(scroll, form)
        scroll.setVerticalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOn)
        foot = QFrame()
        foot.setProperty("surface", "bottom")
        below = _column(foot)
        below.setContentsMargins(16, 10, 18, 16)
        below.addWidget(self.use_run)
        below.addWidget(self.note)
        below.addWidget(self.buttons)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(1, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(scroll, 1)
        layout.addWidget(foot)

    def _dim_what_is_missing(self) -> None:
        for name, cls in methods("dataset").items():
            if not cls().available():
                _dim(self._data.choice, name, _why_missing(cls()))
        for name, preset in self._presets.items():
            if not preset.data.available():
                _dim(self._preset, name, _why_missing(preset.data))
        _dim(self._preset, _CUSTOM, "Settings that no preset has.", mark="")
        choice = self._run.field("device").control
        assert isinstance(choice, Choice)
        for name in ("cuda", "mps"):
            try:
                device.choose(name)  # type: ignore[arg-type]
            except ValueError:
                _dim(choice, name, "This machine has none.", mark="none here")

    def _take_preset(self, name: object) -> None:
        """Take up a preset; a name that was typed stays."""
        if name not in self._presets:
            return
        typed = self._title.text() if self._title.isModified() else ""
        self.set_config(self._presets[str(name)])
        if typed.strip():
            self._title.setText(typed)
            self._title.setModified(True)

    def _take_offered(self) -> None:
        if self._offered is not None:
            self.set_config(self._offered)

    def _fit_to_data(self) -> None:
        """After another data set was chosen: its name and, for data of another kind, what suits it."""
        self._quiet = True
        if not self._title.isModified():
            self._title.setText(self._data.method().title)
        kind = self._data.method().kind
        if self._network.method().kind != kind:
            like = preset_for(self._data.method()())
            self._network.offer(_networks_for(kind))
            self._recipe.set_value(like.recipe)
            self._network.set_value(like.network)
            self._optimizer.set_value(like.optimizer)
            kept = {name: value for name, value in self._run.values().items() if name in ("seed", "device")}
            self._run.set_values(values_of(like.run) | kept)
        # Weights are of data.
        self._run.set_values({"start_from": start_for(self._recipe.method()(), self._data.method()())})
        self._quiet = False

    def _refresh(self) -> None:
        """Bring reasons, preset, buttons, note and requests in line with what is set."""
        if self._quiet:
            return
        for field in self.findChildren(Field):
            field.setEnabled(self._state == "idle")
        self._preset.setEnabled(self._state == "idle")
        self._set_reasons()
        data = self.data()
        self._title.setPlaceholderText(self._data.method().title)
        if data is not None and data != self._shown_data and self.isVisible():
            self._data_timer.start()
        try:
            config, problem = self.config(), ""
        except ValueError as error:
            config, problem = None, str(error)
        self._preset.blockSignals(True)
        self._preset.setValue(self._preset_of(config))
        self._preset.blockSignals(False)
        self.use_run.setVisible(self._offered is not None and self._offered != config and self._state == "idle")
        self.buttons.set_state(self._state, problem)
        if self._state != "idle":
            self._say(f"Settings are fixed while training.{self._saved}")
        elif config is None:
            self._estimate_timer.stop()
            self._say(problem, bad=True)
        elif self._cost is not None and self._cost[0] == _what_costs(config):
            self._say(_cost_in_words(self._cost[1], config.run.steps))
        elif self._not_measured and self._asked == _what_costs(config):
            self._estimate_timer.stop()
            self._say(self._not_measured, bad=True)
        else:
            self._say("Measuring time and memory…")
            if self._asked != _what_costs(config) and self.isVisible():
                self._estimate_timer.start()

    def _say(self, text: str, *, bad: bool = False) -> None:
        """Tell the cost, or in red why there is none, above the buttons."""
        theme.restyle(self.note, role="error" if bad else "muted")
        self.note.setText(text)

    def _set_reasons(self) -> None:
        """Dim what has no effect, and say why."""
        recipe, run = self._recipe.form(), self._run
        reasons = {}
        chosen = recipe.values()
        if chosen.get("r1") == 0.0:
            reasons["r1_every"] = "R1 is 0: there is no penalty."
        if chosen.get("score_weight") == 0.0:
            reasons["score_spread"] = reasons["opening_rate"] = "The energy score's weight is 0."
        if chosen.get("latent") == 0:
            reasons["score_spread"] = reasons["opening_rate"] = "There is no z."
        if chosen.get("opening") == 0:
            reasons["opening_rate"] = "There is no opening."
        if chosen.get("process") == "one_shot" and chosen.get("predict") == "x_s":
            reasons["predict"] = "At once, the next x is the image x₀."
        if chosen.get("level_choice") == "schedule":
            reasons["level_mean"] = reasons["level_std"] = "Levels are drawn from the schedule."
        if self._num_classes == 0:
            reasons["label_dropout"] = "This data has no classes."
        if run.values()["ema_decay"] is not None:
            reasons["ema_exponent"] = "The EMA decay is set by hand."
        if run.values()["score_every"] == 0.0:
            reasons["score_count"] = "No scores are made."
        for form in (recipe, run):
            for name in form.values():
                form.set_knob_enabled(name, name not in reasons, reasons.get(name, ""))

    def _preset_of(self, config: TrainConfig | None) -> str:
        for name, preset in self._presets.items():
            if config is not None and replace(config, title=preset.title) == preset:
                return name
        return _CUSTOM

    def _ask_for_data(self) -> None:
        data = self.data()
        if data is not None and data != self._shown_data:
            self._shown_data = data
            self._summary.setText(_LOADING)
            self.data_requested.emit(data)

    def _ask_for_estimate(self) -> None:
        if self._state == "idle":
            config = self.config()
            self._asked, self._not_measured = _what_costs(config), ""
            self.estimate_requested.emit(config)

    def _show_data(self, event: DataPreview) -> None:
        points = event.images.ndim == 2
        self._pictures.setVisible(not points)
        self._points.setVisible(points)
        if points:
            self._points.set_data_points(event.images)
        else:
            self._pictures.set_images(event.images[: PREVIEW_COLUMNS * PREVIEW_ROWS])
        self._summary.setText(event.summary)
        self._num_classes = len(event.class_names)
        self._set_reasons()

    def _show_failure(self, summary: str) -> None:
        """Something could not be loaded or measured: say so where the answer is awaited."""
        if self._summary.text() == _LOADING:
            self._summary.setText(f"Not loaded: {summary}")
        if self._asked is not None and (self._cost is None or self._cost[0] != self._asked):
            self._not_measured = f"Not measured: {summary}"
            self._refresh()

    def _start(self) -> None:
        self.start_requested.emit(self.config())


def _cost_in_words(cost: Estimate, steps: int) -> str:
    thousand, total = duration(1000 * cost.seconds_per_step), duration(steps * cost.seconds_per_step)
    memory = f"{cost.memory / 1e9:.1f} GB" if cost.memory >= 0.95e8 else f"{cost.memory / 1e6:.0f} MB"
    million = cost.num_parameters / 1e6
    learned = f"{million:.2f} M" if million >= 0.1 else f"{cost.num_parameters:,}"
    return f"about {thousand} for 1,000 steps · {total} to the end · {memory} · {learned} parameters"


def _what_costs(config: TrainConfig) -> tuple[Any, ...]:
    """All that changes the cost of a step, or whether there can be one."""
    run, spans = config.run, config.recipe.spans(config.run.steps)
    parts = config.data, config.recipe, config.network, config.optimizer
    return *parts, run.batch, run.device, run.start_from, spans if len(spans) > 1 else None


def _networks_for(kind: str) -> list[str]:
    networks: dict[str, Any] = dict(methods("network"))
    return [name for name, cls in networks.items() if cls.kind == kind]


def _why_missing(data: Any) -> str:
    try:
        data.read()
    except ValueError as error:
        return str(error)
    return ""


def _dim(choice: Choice, value: object, reason: str, mark: str = "not found") -> None:
    """Make an option impossible to choose by hand; its tool tip says why."""
    index = choice.findData(value)
    model = choice.model()
    assert isinstance(model, QStandardItemModel)
    model.item(index).setEnabled(False)
    model.item(index).setToolTip(reason)
    if mark:
        choice.setItemText(index, f"{choice.itemText(index)} · {mark}")


def _allow(button: QPushButton, on: bool, does: str, why_not: str) -> None:
    button.setEnabled(on)
    button.setToolTip(does if on else why_not)
    button.setAccessibleDescription(button.toolTip())


def _column(widget: QWidget) -> QVBoxLayout:
    column = QVBoxLayout(widget)
    column.setContentsMargins(0, 0, 0, 0)
    column.setSpacing(8)
    return column
