"""The Train workspace under real clicks and keys: settings become a run, messages curves, states buttons."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication, QCheckBox, QLineEdit, QPushButton, QScrollArea, QWidget
from pytestqt.qtbot import QtBot

from studio.app.controls import Choice
from studio.app.panels.smoothing import Smoother
from studio.app.panels.train import TrainPanel
from studio.app.panels.train_views import MOST_PREVIEWS
from studio.app.words import duration
from studio.core import events
from studio.core.config import RunKnobs, TrainConfig
from studio.core.data.images import MNIST, FashionMNIST
from studio.core.data.points import SwissRoll
from studio.core.networks.mlp import MLPSpec
from studio.core.optimizers import AdamSpec
from studio.core.presets import presets
from studio.core.recipes.denoising import Denoising

EDGES = np.linspace(-10, 10, 26, dtype=np.float32)
DIGITS = np.zeros((20, 1, 28, 28), np.uint8)


@pytest.fixture
def hidden(qtbot: QtBot) -> TrainPanel:
    made = TrainPanel()
    qtbot.addWidget(made)
    made.resize(1025, 720)
    return made


@pytest.fixture
def asked(hidden: TrainPanel) -> list[Any]:
    """The data sets and configurations that the panel asks about from before it is shown, in order."""
    found: list[Any] = []
    hidden.data_requested.connect(found.append)
    hidden.estimate_requested.connect(found.append)
    return found


@pytest.fixture
def panel(hidden: TrainPanel, qtbot: QtBot) -> TrainPanel:
    with qtbot.waitExposed(hidden):
        hidden.show()
    return hidden


def control(panel: TrainPanel, name: str, kind: type = Choice) -> Any:
    """The control of a knob that is in sight; methods share names of knobs."""
    found = [widget for widget in panel.settings.findChildren(kind, name) if widget.isVisible()]
    assert len(found) == 1, (name, found)
    return found[0]


def retype(qtbot: QtBot, edit: QLineEdit, text: str) -> None:
    edit.selectAll()
    qtbot.keyClicks(edit, text)


def press(qtbot: QtBot, button: QPushButton) -> None:
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)


def progress(step: int, total: int = 3000, *, count: int = 10, loss: float = 0.1, **more: Any) -> events.Progress:
    """What the trainer tells after ``step`` steps, the last ``count`` of which are new."""
    told: dict[str, Any] = {
        "images": 32 * step,
        "seconds": 0.02 * step,
        "images_per_second": 1500.0,
        "eta_seconds": 0.02 * (total - step),
        "scalars": {"loss": loss, "grad_norm": 0.5, "learning_rate": 0.01},
        "steps": np.arange(step - count, step),
        "losses": np.full(count, loss, np.float32),
    }
    return events.Progress(step=step, total=total, **(told | more))


def every_message() -> list[events.Event]:
    x = np.zeros((2, 1, 28, 28), np.float32)
    points = np.zeros((5, 2), np.float32)
    level_loss = np.full(25, 0.1, np.float32)
    level_loss[0] = np.nan
    return [
        events.Event(),
        events.Status(text="Loading MNIST"),
        progress(10),
        progress(20, level_loss=level_loss, level_edges=EDGES),
        progress(20, count=0, scalars={}),
        progress(30, losses=np.full(10, np.nan, np.float32)),
        events.HeldOut(step=20, loss=0.2),
        events.Preview(step=20, images=DIGITS),
        events.Preview(step=30, images=points),
        events.Preview(step=40, images=points[:, :1]),
        events.Frame(
            index=0,
            total=1,
            alpha=0.0,
            sigma=1.0,
            time=1.0,
            beta=0.0,
            nfe=0,
            seconds=0.0,
            x=x,
            x0=x,
            eps=x,
            eps_norm=1.0,
            x0_change=0.0,
        ),
        events.HeldOut(
            step=30, loss=0.2, level_loss=level_loss, level_log_snr=np.linspace(-9, 9, 25, dtype=np.float32)
        ),
        events.Quality(step=30, scores={"fd": 12.0}, floor={"fd": 1.8}, network="MNIST classifier", count=500),
        events.Quality(step=40, scores={"fd": 11.0}, floor={}, network="", count=500),
        events.LaneDone(lane=0, nfe=12, seconds=1.0),
        events.TableShape(rows=("1",), columns=("0.0",), row_title="training step", column_title="log-SNR"),
        events.Tile(row=0, column=0, images=DIGITS),
        events.Neighbours(samples=DIGITS, nearest=DIGITS, distances=np.zeros(20), typical=np.ones(3)),
        events.EvaluationProgress(done=0, total=1, fraction=0.0, eta_seconds=1.0, text=""),
        events.CellScored(row={"fd": 2.0}, floor={"fd": 1.8}),
        events.LatentPad(items=None, result=DIGITS[0], path=None, num_steps=4, seconds=0.1),
        events.LatentDraws(row=0, items=DIGITS, spread=0.1),
        events.LatentWalk(first=0, total=2, items=DIGITS),
        events.StepLaw(
            index=0,
            x_t=0.0,
            log_snr=(-2.0, 1.0),
            x=EDGES,
            exact=EDGES,
            gaussian=(0.0, 1.0),
            best=(0.0, 1.0),
            own_mean=True,
            edges=EDGES,
            distances={"gaussian": 0.1, "best": 0.1},
        ),
        events.RatioCurve(step=1, log_snr=EDGES, learned=EDGES, optimum=EDGES, error=EDGES, cap=EDGES),
        events.Emitted(index=0, alpha=0.5, beta=0.3, ratio=None, images=DIGITS),
        events.SearchProgress(done=0, total=1, fraction=0.0, eta_seconds=1.0, text=""),
        events.ScheduleFound(schedule=None, score=None, judge="FD"),
        events.Field(index=0, points=points, arrows=points),
        events.DataPreview(title="MNIST", summary="60,000 images", images=DIGITS, class_names=tuple("0123456789")),
        events.DataPreview(title="Swiss roll", summary="50,000 points", images=points),
        events.Estimate(seconds_per_step=0.02, memory=10**8, num_parameters=390_000, steps=3000),
        events.Saved(path="model.safetensors", step=20),
        events.Paused(paused=True),
        events.Paused(paused=False),
        events.Warned(summary="The disk is nearly full."),
        events.Failed(summary="There is not enough memory."),
        events.Finished(outcome="failed"),
    ]


@pytest.mark.parametrize("state", ["idle", "running", "paused", "stopping"])
@pytest.mark.parametrize("visible", [True, False])
def test_every_message_is_taken_in_every_state(panel: TrainPanel, qtbot: QtBot, state: Any, visible: bool) -> None:
    panel.setVisible(visible)
    panel.set_state(state)
    kinds = {type(event) for event in every_message()}
    assert kinds >= {
        kind for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, events.Event)
    }
    for event in every_message():
        panel.receive(event)
    panel.grab()
    panel.clear()
    panel.grab()


def test_the_first_preset_is_shown_and_described(panel: TrainPanel) -> None:
    assert panel.config() == TrainConfig()
    assert control(panel, "preset").currentText() == "Digits"
    assert control(panel, "parameterization").currentText() == "EDM mix"


@pytest.mark.parametrize("name", presets())
def test_a_configuration_comes_back_as_it_went_in(panel: TrainPanel, name: str) -> None:
    config = presets()[name]
    panel.set_config(config)
    assert panel.config() == config
    assert control(panel, "preset").value() == name


def test_a_changed_preset_is_custom_until_changed_back(panel: TrainPanel, qtbot: QtBot) -> None:
    steps = control(panel, "steps", QLineEdit)
    retype(qtbot, steps, "500")
    assert control(panel, "preset").currentText() == "Custom"
    assert panel.config().run.steps == 500
    retype(qtbot, steps, str(RunKnobs().steps))
    assert control(panel, "preset").currentText() == "Digits"


def test_a_name_alone_keeps_the_preset(panel: TrainPanel, qtbot: QtBot) -> None:
    title = control(panel, "title", QLineEdit)
    retype(qtbot, title, "Mine")
    assert panel.config().title == "Mine"
    assert control(panel, "preset").currentText() == "Digits"
    title.clear()
    assert panel.config().title == "MNIST"
    retype(qtbot, title, "Mine")
    control(panel, "dataset").setValue("swiss_roll")
    assert panel.config().title == "Mine"


def test_choosing_a_preset_by_key(panel: TrainPanel, qtbot: QtBot) -> None:
    qtbot.keyClick(control(panel, "preset"), Qt.Key.Key_Down)
    assert panel.config() == presets()["digits-large"]


def test_data_of_another_kind_brings_a_network_that_fits(panel: TrainPanel, qtbot: QtBot) -> None:
    retype(qtbot, control(panel, "seed", QLineEdit), "7")
    control(panel, "dataset").setValue("swiss_roll")
    config = panel.config()
    preset = presets()["swiss-roll"]
    assert config.title == "Swiss roll"
    assert (config.data, config.network, config.optimizer) == (SwissRoll(), MLPSpec(), preset.optimizer)
    assert config.run == dataclasses.replace(preset.run, seed=7)
    assert control(panel, "network").count() == 1
    control(panel, "dataset").setValue("mnist")
    assert panel.config().network == TrainConfig().network
    assert panel.config().data == MNIST()


def test_missing_data_is_dimmed_and_says_why(qtbot: QtBot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FashionMNIST, "_folders", lambda self: ())
    monkeypatch.setattr(FashionMNIST, "read", lambda self: (_ for _ in ()).throw(ValueError("Put the files there.")))
    panel = TrainPanel()
    qtbot.addWidget(panel)
    panel.show()
    for name, value in (("dataset", "fashion_mnist"), ("preset", "fashion")):
        choice = control(panel, name)
        index = choice.findData(value)
        assert not choice.model().item(index).isEnabled()
        assert choice.itemText(index).endswith("not found")
        assert choice.itemData(index, Qt.ItemDataRole.ToolTipRole) == "Put the files there."


def test_what_has_no_effect_is_dimmed_with_its_reason(panel: TrainPanel) -> None:
    form = panel.settings._recipe.form()
    assert form.field("level_mean").control.isEnabled()
    control(panel, "level_choice").setValue("schedule")
    for name in ("level_mean", "level_std"):
        assert not form.field(name).control.isEnabled()
        assert "schedule" in form.field(name).note()
    panel.receive(events.DataPreview(title="", summary="", images=np.zeros((4, 2), np.float32)))
    assert "no classes" in form.field("label_dropout").note()
    panel.receive(events.DataPreview(title="", summary="", images=DIGITS, class_names=("a", "b")))
    assert form.field("label_dropout").note() == ""


def test_an_impossible_value_stops_start_and_is_named(panel: TrainPanel, qtbot: QtBot) -> None:
    batch = control(panel, "batch", QLineEdit)
    retype(qtbot, batch, "0")
    with pytest.raises(ValueError, match=r"Batch is not possible as typed\. It takes a whole number"):
        panel.config()
    assert not panel.settings.buttons.primary.isEnabled()
    assert "Batch" in panel.settings.buttons.primary.toolTip()
    assert "Batch" in panel.settings.note.text()
    retype(qtbot, batch, "64")
    assert panel.settings.buttons.primary.isEnabled()
    assert panel.config().run.batch == 64


def test_data_is_asked_for_once_after_a_pause(asked: list[Any], panel: TrainPanel, qtbot: QtBot) -> None:
    qtbot.waitUntil(lambda: MNIST() in asked)
    choice = control(panel, "dataset")
    with qtbot.waitSignal(panel.data_requested):
        for name in ("two_moons", "rings", "swiss_roll"):
            choice.setValue(name)
    assert [one for one in asked if not isinstance(one, TrainConfig)] == [MNIST(), SwissRoll()]
    panel.receive(events.DataPreview(title="Swiss roll", summary="50,000 points · 2-D", images=np.zeros((9, 2))))
    assert panel.settings._points.isVisible()
    assert panel.settings._summary.text() == "50,000 points · 2-D"


def test_data_that_cannot_be_loaded_says_so(asked: list[Any], panel: TrainPanel, qtbot: QtBot) -> None:
    qtbot.waitUntil(lambda: TrainConfig() in asked)
    panel.receive(events.Failed(summary="The file is damaged."))
    assert panel.settings._summary.text() == "Not loaded: The file is damaged."
    assert panel.settings.note.text() == "Not measured: The file is damaged."


def test_the_cost_is_measured_when_it_may_have_changed(asked: list[Any], panel: TrainPanel, qtbot: QtBot) -> None:
    assert "Measuring" in panel.settings.note.text()
    qtbot.waitUntil(lambda: TrainConfig() in asked)
    panel.receive(events.Estimate(seconds_per_step=0.126, memory=98_000_000, num_parameters=391_000, steps=3000))
    whole = duration(0.126 * RunKnobs().steps)
    expected = f"about 2.1 min for 1,000 steps · {whole} to the end · 0.1 GB · 0.39 M parameters"
    assert panel.settings.note.text() == expected
    # More steps cost no more each: the answer is at hand.
    retype(qtbot, control(panel, "steps", QLineEdit), "6000")
    assert "13 min to the end" in panel.settings.note.text()
    with qtbot.waitSignal(panel.estimate_requested):
        retype(qtbot, control(panel, "batch", QLineEdit), "96")
        assert "Measuring" in panel.settings.note.text()
    panel.receive(events.Failed(summary="There is not enough memory."))
    assert panel.settings.note.text() == "Not measured: There is not enough memory."
    assert panel.settings.note.property("role") == "error"
    panel.receive(events.Saved(path="other"))
    assert "Not measured" in panel.settings.note.text(), "nothing is being measured"
    retype(qtbot, control(panel, "batch", QLineEdit), str(RunKnobs().batch))
    assert "to the end" in panel.settings.note.text()


def test_a_setting_that_only_the_method_refuses_dims_start(panel: TrainPanel, qtbot: QtBot) -> None:
    width = control(panel, "width", QLineEdit)
    retype(qtbot, width, "17")
    start, note = panel.settings.buttons.primary, panel.settings.note
    assert not start.isEnabled()
    assert "multiple of 8" in start.toolTip()
    assert note.text() == start.toolTip()
    assert note.property("role") == "error"
    retype(qtbot, width, "24")
    assert start.isEnabled()
    assert note.property("role") == "muted"


def test_what_was_not_measured_before_a_training_is_measured_after_it(panel: TrainPanel, qtbot: QtBot) -> None:
    with qtbot.waitSignal(panel.estimate_requested):
        panel.set_config(dataclasses.replace(TrainConfig(), run=RunKnobs(batch=48)))
    panel.set_state("running")
    with qtbot.waitSignal(panel.estimate_requested):
        panel.set_state("idle")


def test_a_typed_name_outlives_another_preset(panel: TrainPanel, qtbot: QtBot) -> None:
    name, preset = control(panel, "title", QLineEdit), control(panel, "preset")
    preset.setValue("swiss-roll")
    assert name.text() == presets()["swiss-roll"].title
    retype(qtbot, name, "Mine")
    for other in ("fashion", "swiss-roll"):
        preset.setValue(other)
        assert name.text() == "Mine"


def test_nothing_is_cut_off_in_the_smallest_window(panel: TrainPanel) -> None:
    panel.resize(788, 560)
    for event in every_message():
        panel.receive(event)
    QApplication.processEvents()
    for area in panel.findChildren(QScrollArea):
        assert area.widget().width() <= area.viewport().width()


def test_an_estimate_of_older_settings_is_not_shown(asked: list[Any], panel: TrainPanel, qtbot: QtBot) -> None:
    qtbot.waitUntil(lambda: TrainConfig() in asked)
    retype(qtbot, control(panel, "batch", QLineEdit), "64")
    panel.receive(events.Estimate(seconds_per_step=0.1, memory=1, num_parameters=1, steps=3000))
    assert "Measuring" in panel.settings.note.text()


def test_nothing_is_asked_for_while_the_panel_is_hidden(asked: list[Any], hidden: TrainPanel, qtbot: QtBot) -> None:
    hidden.set_config(presets()["swiss-roll"])
    qtbot.wait(600)
    assert asked == []
    hidden.show()
    qtbot.waitUntil(lambda: asked == [SwissRoll(), presets()["swiss-roll"]])


def test_the_buttons_follow_the_state_and_ask(panel: TrainPanel, qtbot: QtBot) -> None:
    buttons = panel.settings.buttons
    others = (buttons.step, buttons.save, buttons.stop)
    assert [button.isEnabled() for button in others] == [False, False, False]
    with qtbot.waitSignal(panel.start_requested) as started:
        press(qtbot, buttons.primary)
    assert started.args == [TrainConfig()]
    panel.set_state("running")
    assert [button.isEnabled() for button in others] == [False, True, True]
    assert buttons.step.toolTip() == "Pause first."
    for button, asked in (
        (buttons.primary, panel.pause_requested),
        (buttons.save, panel.save_requested),
        (buttons.stop, panel.stop_requested),
    ):
        with qtbot.waitSignal(asked):
            press(qtbot, button)
    panel.receive(events.Paused(paused=True))
    assert buttons.primary.text() == "Resume"
    for button, asked in ((buttons.step, panel.step_requested), (buttons.primary, panel.resume_requested)):
        with qtbot.waitSignal(asked):
            press(qtbot, button)
    panel.receive(events.Paused(paused=False))
    assert buttons.primary.text() == "Pause"
    panel.set_state("stopping")
    assert not any(button.isEnabled() for button in (buttons.primary, *others))
    panel.set_state("idle")
    assert buttons.primary.text() == "Start"
    assert buttons.primary.isEnabled()


def test_settings_are_fixed_while_training(panel: TrainPanel) -> None:
    steps, attention = control(panel, "steps", QLineEdit), control(panel, "attention", QCheckBox)
    panel.set_state("running")
    assert not steps.isEnabled()
    assert not attention.isEnabled()
    assert not control(panel, "preset").isEnabled()
    assert panel.settings.note.text() == "Settings are fixed while training."
    panel.receive(events.Saved(path="x", step=1500))
    assert panel.settings.note.text().endswith("Saved at step 1,500.")
    panel.settings._recipe.form().more.click()
    assert panel.settings._recipe.form().field("level_std").isVisible(), "what is fixed can still be read"
    panel.set_state("idle")
    assert steps.isEnabled()


def test_the_focus_goes_to_the_buttons_when_the_form_is_fixed(panel: TrainPanel, qtbot: QtBot) -> None:
    panel.activateWindow()
    batch = control(panel, "batch", QLineEdit)
    batch.setFocus()
    qtbot.waitUntil(batch.hasFocus)
    panel.set_state("running")
    assert panel.settings.buttons.primary.hasFocus()


def test_progress_becomes_curves_and_numbers(panel: TrainPanel, qtbot: QtBot) -> None:
    press(qtbot, panel.settings.buttons.primary)
    panel.set_state("running")
    views = panel.views
    panel.receive(events.Status(text="Loading MNIST"))
    assert views.loss_stage.text.text() == "Loading MNIST…"
    panel.receive(progress(10, loss=0.5))
    panel.receive(progress(20, loss=0.3, level_loss=np.full(25, 0.2, np.float32), level_edges=EDGES))
    panel.receive(events.HeldOut(step=20, loss=0.4))
    rows = [line.split(",") for line in views.loss.to_csv().splitlines()]
    assert rows[0] == ["steps", "each step", "held out", "smoothed"]
    assert [float(row[0]) for row in rows[1:]] == list(range(1, 21))
    assert float(rows[1][3]) == pytest.approx(0.5)
    assert 0.3 < float(rows[20][3]) < 0.5
    assert rows[20][1:3] == ["0.3", "0.4"] or float(rows[20][1]) == pytest.approx(0.3)
    assert views.loss.home()[0] == (0.0, 3000.0)
    assert views.levels.training.means().shape == (1, 25)
    assert len(views.gradient.to_csv().splitlines()) == 3
    assert [tile.number() for tile in views._tiles] == ["20", rows[20][3][:6], "1,500 /s", "1.0 min"]
    assert views._tiles[0].caption() == "of 3,000 steps"
    assert views.loss.isVisible()
    panel.receive(progress(3000, 3000))
    assert (views._tiles[3].number(), views._tiles[3].caption()) == ("1.0 min", "of training")


def test_a_new_start_begins_with_empty_views(panel: TrainPanel, qtbot: QtBot) -> None:
    for event in every_message():
        panel.receive(event)
    retype(qtbot, control(panel, "steps", QLineEdit), "200")
    press(qtbot, panel.settings.buttons.primary)
    assert len(panel.views.loss.to_csv().splitlines()) == 1
    assert panel.views.loss.home()[0] == (0.0, 200.0)
    assert not panel.views.samples.slider.isVisible()


def test_earlier_samples_come_back_under_the_slider(panel: TrainPanel, qtbot: QtBot) -> None:
    samples, caption = panel.views.samples, "EMA · seed 0 · DDIM 12"
    for number in range(1, 6):
        panel.receive(events.Preview(step=100 * number, images=DIGITS + np.uint8(number), caption=caption))
    assert samples.subtitle_label.fullText() == "EMA · seed 0 · DDIM 12 · step 500"
    qtbot.keyClick(samples.slider, Qt.Key.Key_Home)
    assert samples.subtitle_label.fullText().endswith("step 100")
    assert panel.views.loss.marker() == 100
    panel.receive(events.Preview(step=600, images=DIGITS, caption=caption))
    assert samples.subtitle_label.fullText().endswith("step 100"), "the person is looking at it"
    qtbot.keyClick(samples.slider, Qt.Key.Key_End)
    assert samples.subtitle_label.fullText().endswith("step 600")
    assert panel.views.loss.marker() is None
    for number in range(7, 3 * MOST_PREVIEWS):
        panel.receive(events.Preview(step=100 * number, images=DIGITS[:1]))
    assert samples.slider.maximum() < MOST_PREVIEWS
    assert samples.subtitle_label.fullText() == f"step {100 * (3 * MOST_PREVIEWS - 1):,}"
    qtbot.keyClick(samples.slider, Qt.Key.Key_Home)
    assert samples.subtitle_label.fullText().endswith("step 100")


def test_samples_of_points_lie_over_the_data(panel: TrainPanel, qtbot: QtBot) -> None:
    panel.set_config(presets()["swiss-roll"])
    points = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
    panel.receive(events.DataPreview(title="Swiss roll", summary="", images=points))
    press(qtbot, panel.settings.buttons.primary)
    panel.receive(events.Preview(step=1, images=points))
    assert panel.views.samples.particles.isVisible()
    assert panel.views._tiles[2].caption() == "points"


def test_a_finished_run_is_shown_from_its_messages(panel: TrainPanel) -> None:
    config = TrainConfig(title="Old", recipe=Denoising(), optimizer=AdamSpec(), run=RunKnobs(steps=400, batch=16))
    level_loss = np.full(25, 0.1, np.float32)
    told: list[events.Event] = []
    for step in range(10, 401, 10):
        told.append(progress(step, 400, level_loss=level_loss if step % 100 == 0 else None, level_edges=EDGES))
    told += [events.HeldOut(step=400, loss=0.1), events.Saved(path="x", step=400), events.Finished(outcome="done")]
    before = panel.config()
    panel.show_run(config, iter(told))
    assert panel.config() == before, "what the person has set stays"
    panel.settings.use_run.click()
    assert panel.config() == config
    assert not panel.settings.use_run.isVisible()
    assert len(panel.views.loss.to_csv().splitlines()) == 401
    assert panel.views.levels.training.means().shape == (4, 25)
    assert panel.views._tiles[0].number() == "400"
    assert panel.views._tiles[3].caption() == "of training"
    panel.show_run(config, [])
    assert len(panel.views.loss.to_csv().splitlines()) == 1


def test_a_long_run_is_shown_at_once(panel: TrainPanel) -> None:
    told = [progress(10 * k, 200_000) for k in range(1, 20_001)]
    began = time.thread_time()  # of this thread alone: other tests may run beside this one
    panel.show_run(TrainConfig(run=RunKnobs(steps=200_000)), told)
    assert time.thread_time() - began < 3.0


def test_the_smoothed_loss_is_the_bias_corrected_mean() -> None:
    losses = np.random.default_rng(0).uniform(0.1, 1.0, 1500)
    decay, mean, expected = 1.0 - 1.0 / 50.0, 0.0, []
    for count, loss in enumerate(losses, 1):
        mean = decay * mean + (1.0 - decay) * loss
        expected.append(mean / (1.0 - decay**count))
    smoother = Smoother(50.0)
    parts = np.split(losses, [1, 7, 700, 700, 1499])
    np.testing.assert_allclose(np.concatenate([smoother.take(part) for part in parts]), expected, rtol=1e-10)
    assert smoother.value == pytest.approx(expected[-1])


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "0 s"), (59.4, "59 s"), (59.7, "1.0 min"), (126, "2.1 min"), (720, "12 min"), (3599, "1.0 h"),
        (5040, "1.4 h"), (86400 * 3.2, "3.2 days"), (float("inf"), "–"),
    ],
)  # fmt: skip
def test_durations_read_well(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_tab_reaches_every_setting_and_every_one_says_what_it_is(panel: TrainPanel, qtbot: QtBot) -> None:
    panel.activateWindow()
    first = control(panel, "preset")
    first.setFocus()
    qtbot.waitUntil(first.hasFocus)
    seen: list[QWidget] = []
    while (now := QApplication.focusWidget()) is not None and now not in seen and len(seen) < 200:
        seen.append(now)
        qtbot.keyClick(now, Qt.Key.Key_Tab)
    assert panel.settings.buttons.primary in seen
    for widget in panel.settings.findChildren(QWidget):
        if isinstance(widget, Choice | QLineEdit | QCheckBox) and widget.isVisible() and widget.isEnabled():
            assert widget in seen, widget.objectName()
            assert widget.accessibleName() or isinstance(widget, QLineEdit)
    for widget in seen:
        assert widget.accessibleName() or isinstance(widget, QPushButton), widget


def test_the_panel_fits_the_smallest_window(panel: TrainPanel) -> None:
    for preset in ("digits", "swiss-roll"):
        panel.set_config(presets()[preset])
        panel.views.begin(presets()[preset])
        assert panel.views.minimumSizeHint().width() <= 1025 - panel.settings.width()
        assert panel.minimumSizeHint().width() <= 1025


def quality(step: int, value: float, name: str = "fd") -> events.Quality:
    return events.Quality(
        step=step, scores={name: value}, floor={name: 1.8}, network="MNIST classifier", count=500, caption="DDIM 12"
    )


def test_scores_take_a_place_when_the_first_comes_and_leave_it_with_the_run(panel: TrainPanel, qtbot: QtBot) -> None:
    views = panel.views
    press(qtbot, panel.settings.buttons.primary)
    panel.receive(progress(10))
    assert not views.scores.isVisible()
    assert not views._score_tile.isVisible()
    panel.receive(quality(10, 120.0))
    panel.receive(quality(20, 42.5))
    assert views.scores.isVisible()
    assert (views._score_tile.number(), views._score_tile.caption()) == ("42.5", "FD, real 1.8")
    rows = [line.split(",") for line in views.scores.plots["image"].to_csv().splitlines()]
    assert rows[0] == ["steps", "real", "samples"]
    assert rows[1:] == [["0", "1.8", ""], ["10", "", "120"], ["20", "", "42.5"], ["3000", "1.8", ""]]
    assert "500 samples · MNIST classifier · DDIM 12" in views.scores.plots["image"].toolTip()
    assert panel.views.height() <= panel.height(), "no scrolling at this size"
    panel.set_state("running")
    panel.set_state("idle")
    press(qtbot, panel.settings.buttons.primary)
    assert not views.scores.isVisible()
    assert len(views.scores.plots["image"].to_csv().splitlines()) == 1


def test_scores_of_points_have_a_plot_of_their_own(panel: TrainPanel, qtbot: QtBot) -> None:
    panel.set_config(presets()["swiss-roll"])
    press(qtbot, panel.settings.buttons.primary)
    panel.receive(quality(10, 0.25, "sliced_wasserstein"))
    assert panel.views.scores.plots["points"].isVisible()
    assert not panel.views.scores.plots["image"].isVisible()
    assert panel.views._score_tile.caption() == "W2, real 1.8"
    QApplication.processEvents()
    assert panel.views.height() <= panel.height(), "no scrolling at this size"


def test_the_held_out_loss_by_level_is_one_click_away(panel: TrainPanel, qtbot: QtBot) -> None:
    levels = panel.views.levels
    press(qtbot, panel.settings.buttons.primary)
    panel.receive(progress(20, level_loss=np.full(25, 0.2, np.float32), level_edges=EDGES))
    panel.receive(events.HeldOut(step=20, loss=0.4))
    assert not levels.choice.isVisible(), "this recipe does not tell it level by level"
    centres, losses = np.linspace(-9, 9, 10, dtype=np.float32), np.linspace(0.1, 1.0, 10, dtype=np.float32)
    panel.receive(events.HeldOut(step=30, loss=0.4, level_loss=losses, level_log_snr=centres))
    panel.receive(events.HeldOut(step=40, loss=0.3, level_loss=losses / 2, level_log_snr=centres))
    assert levels.choice.isVisible()
    assert levels.training.isVisible()
    qtbot.mouseClick(levels.choice.button("held_out"), Qt.MouseButton.LeftButton)
    assert levels.held_out.isVisible()
    assert np.allclose(levels.held_out.means(), [losses, losses / 2])
    assert np.allclose(levels.held_out._edges, np.linspace(-10, 10, 11))
    panel.set_state("running")
    panel.set_state("idle")
    press(qtbot, panel.settings.buttons.primary)
    assert not levels.choice.isVisible()
    assert levels.choice.value() == "training"
    assert len(levels.held_out.means()) == 0


def test_a_run_that_is_opened_again_shows_its_scores(panel: TrainPanel) -> None:
    config = TrainConfig(run=RunKnobs(steps=400, score_every=60.0))
    levels = np.full(10, 0.5, np.float32)
    centres = np.linspace(-9, 9, 10, dtype=np.float32)
    held = events.HeldOut(step=400, loss=0.1, level_loss=levels, level_log_snr=centres)
    panel.show_run(config, [progress(400, 400), held, quality(400, 7.5)])
    assert panel.views.scores.isVisible()
    assert panel.views._score_tile.number() == "7.5"
    assert panel.views.levels.held_out.means().shape == (1, 10)
    panel.clear()
    assert not panel.views.scores.isVisible()


def test_a_second_run_on_other_data_is_drawn_over_its_own(panel: TrainPanel, qtbot: QtBot) -> None:
    """The data were looked at while the views still belonged to the run before."""
    press(qtbot, panel.settings.buttons.primary)
    panel.set_state("running")
    panel.set_state("idle")
    panel.set_config(presets()["swiss-roll"])
    points = np.linspace(-1.0, 1.0, 18, dtype=np.float32).reshape(9, 2)
    panel.receive(events.DataPreview(title="Swiss roll", summary="50,000 points", images=points))
    assert not len(panel.views.samples.particles._data), "they are not those of the run that is shown"
    press(qtbot, panel.settings.buttons.primary)
    assert np.array_equal(panel.views.samples.particles._data, points)
