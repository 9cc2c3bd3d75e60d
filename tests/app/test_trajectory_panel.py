"""The trajectory workspace under real clicks and keys: what it asks for, and what it shows of every message."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QApplication, QCheckBox, QFileDialog, QLineEdit, QPushButton, QScrollArea
from pytestqt.qtbot import QtBot

from studio.app.controls import Choice, LabeledSlider
from studio.app.panels.learned import own_offers
from studio.app.panels.learned import told as words_of
from studio.app.panels.trajectory import TrajectoryPanel
from studio.app.panels.trajectory_formula import update_rule
from studio.app.panels.trajectory_reel import Reel, to_bytes
from studio.app.words import CLEAN_START
from studio.core import events
from studio.core.checkpoints.header import Header
from studio.core.grids import Betas, Exact, LogSNR, Uniform
from studio.core.levels import Level, beta_between, from_log_snr
from studio.core.recipes.adversarial import Adversarial
from studio.core.registry import methods
from studio.core.samplers.ancestral import Ancestral
from studio.core.samplers.ddim import DDIM
from studio.core.sampling import SampleKnobs, SampleSpec, few_steps, levels_of, own_spec
from studio.core.schedules import BigSteps, Cosine, Linear
from studio.core.short_schedule import ShortSchedule
from studio.session.jobs import Interpolation, SampleJob

DIGITS = tuple("0123456789")


@pytest.fixture
def panel(qtbot: QtBot) -> TrajectoryPanel:
    """On screen, with a model of digits; the first request has gone out."""
    made = TrajectoryPanel()
    qtbot.addWidget(made)
    made.resize(1025, 720)
    with qtbot.waitExposed(made):
        made.show()
    made.set_model("digits.safetensors", header((1, 8, 8), DIGITS), Linear())
    return made


def header(shape: tuple[int, ...], class_names: tuple[str, ...] = ()) -> Header:
    tables: dict[str, Any] = {part: {} for part in ("data", "network", "optimizer", "run")}
    tables["recipe"] = {"name": "denoising"}
    if shape == (1,):
        tables["data"] = {"name": "mixture_1d"}
    return Header(
        title="Test",
        family="DDPM",
        data_title="Data",
        facts={"shape": shape},
        class_names=class_names,
        step=1,
        images=1,
        seconds=1.0,
        num_parameters=1,
        **tables,
    )


def frames(shape: tuple[int, ...], total: int, job_id: int = 0, every: int = 1, count: int = 9) -> list[events.Frame]:
    """A run that was never sampled: arrays tell their step by their values."""
    levels = levels_of(SampleSpec(grid=LogSNR(), knobs=SampleKnobs(steps=total)), Linear())
    return [
        events.Frame(
            index=index,
            total=total,
            alpha=float(levels[index].alpha),
            sigma=float(levels[index].sigma),
            time=1 - index / total,
            beta=0.1,
            nfe=min(index + 1, total),
            seconds=0.1 * index,
            x=events.freeze(np.full((count, *shape), index / total, np.float32)),
            x0=events.freeze(np.full((count, *shape), index / total, np.float32)),
            eps=events.freeze(np.zeros((count, *shape), np.float32)),
            eps_norm=1.0,
            x0_change=0.1,
            job_id=job_id,
        )
        for index in sorted({*range(0, total + 1, every), total})
    ]


def play_in(panel: TrajectoryPanel, told: list[events.Frame], *, end: bool = True) -> None:
    """Hand over messages as the window does: all that came, then a turn of the event loop."""
    for frame in told:
        panel.receive(frame)
    if end:
        panel.receive(events.Finished(outcome="done", job_id=told[-1].job_id))
    QApplication.processEvents()


def find(panel: TrajectoryPanel, kind: type, name: str) -> Any:
    found = panel.controls.findChild(kind, name)
    assert found is not None, name
    return found


def where(panel: TrajectoryPanel) -> str:
    view = panel.points if panel.points.isVisible() else panel.images
    return view.transport.where()


def asked(qtbot: QtBot, panel: TrajectoryPanel, act: Any) -> SampleJob:
    with qtbot.waitSignal(panel.sample_requested, timeout=2000) as blocker:
        act()
    (job,) = blocker.args
    assert isinstance(job, SampleJob)
    return job


def button(panel: TrajectoryPanel, text: str) -> QPushButton:
    return next(b for b in panel.findChildren(QPushButton) if b.text().strip() == text and b.isVisible())


# What it asks for


def test_a_model_is_sampled_at_once(qtbot: QtBot, panel: TrajectoryPanel) -> None:
    job = asked(qtbot, panel, lambda: panel.set_model("m.safetensors", header((1, 8, 8), DIGITS), Cosine()))
    assert job.path == Path("m.safetensors")
    assert job.spec == panel.spec()
    assert job.spec.knobs.count == 36
    assert job.between is None


def test_a_slider_that_moves_far_asks_once_for_where_it_ends(qtbot: QtBot, panel: TrajectoryPanel) -> None:
    eta = find(panel, LabeledSlider, "eta")
    seen: list[SampleJob] = []
    panel.sample_requested.connect(seen.append)
    with qtbot.waitSignal(panel.sample_requested):
        eta.slider.setFocus()
        for _ in range(5):
            qtbot.keyClick(eta.slider, Qt.Key.Key_Right)
    qtbot.wait(120)
    assert [job.spec.sampler for job in seen] == [DDIM(eta=eta.value())]
    assert eta.value() > 0


@pytest.mark.parametrize(
    ("kind", "name", "value", "read"),
    [
        (LabeledSlider, "steps", 77, lambda spec: spec.knobs.steps),
        (LabeledSlider, "images", 12, lambda spec: spec.knobs.count),
        (LabeledSlider, "guidance", 2.5, lambda spec: spec.knobs.guidance),
        (Choice, "label", "7", lambda spec: spec.knobs.label),
        (Choice, "label", "none", lambda spec: spec.knobs.label),
    ],
)
def test_each_control_sets_its_knob(
    qtbot: QtBot, panel: TrajectoryPanel, kind: type, name: str, value: Any, read: Any
) -> None:
    job = asked(qtbot, panel, lambda: find(panel, kind, name).setValue(value))
    assert read(job.spec) == value


def test_methods_and_grids_bring_their_own_knobs(qtbot: QtBot, panel: TrajectoryPanel) -> None:
    sampler, grid = find(panel, Choice, "sampler"), find(panel, Choice, "grid")
    assert [sampler.itemData(k) for k in range(sampler.count())] == list(methods("sampler"))
    assert [grid.itemText(k) for k in range(grid.count())] == [cls.title for cls in methods("grid").values()]
    assert panel.controls.findChild(Choice, "variance") is None
    job = asked(qtbot, panel, lambda: sampler.setValue("ancestral"))
    assert job.spec.sampler == Ancestral()
    assert find(panel, Choice, "variance").isVisible()
    job = asked(qtbot, panel, lambda: find(panel, Choice, "variance").setValue("large"))
    assert job.spec.sampler == Ancestral(variance="large")
    job = asked(qtbot, panel, lambda: grid.setValue("uniform"))
    assert job.spec.grid == Uniform()


def test_a_typed_list_replaces_the_number_of_steps(qtbot: QtBot, panel: TrajectoryPanel) -> None:
    asked(qtbot, panel, lambda: find(panel, Choice, "grid").setValue("exact"))
    edit, steps = panel.controls.grid.findChild(QLineEdit, "steps"), find(panel, LabeledSlider, "steps")
    assert not steps.isEnabled()
    assert edit.cursorPosition() == 0
    assert steps.edit.text() == "9", "the number of the list"
    edit.setFocus()
    edit.selectAll()
    with qtbot.assertNotEmitted(panel.sample_requested, wait=150):
        qtbot.keyClicks(edit, "999, 2000")
    assert "0 to 999" in panel.controls.problem()
    again = button(panel, "Sample again")
    assert not again.isEnabled()
    assert again.toolTip() == panel.controls.problem()
    for _ in range(4):
        qtbot.keyClick(edit, Qt.Key.Key_Backspace)
    job = asked(qtbot, panel, lambda: qtbot.keyClicks(edit, "40"))
    assert job.spec.grid == Exact(steps="999, 40")
    assert panel.controls.problem() == ""
    assert again.isEnabled()
    assert steps.edit.text() == "2"
    asked(qtbot, panel, lambda: find(panel, Choice, "grid").setValue("log_snr"))
    assert steps.value() == 12
    assert steps.edit.text() == "12", "its own number again"


def test_a_number_out_of_range_dims_sampling(qtbot: QtBot, panel: TrajectoryPanel) -> None:
    images, again = find(panel, LabeledSlider, "images"), button(panel, "Sample again")
    images.edit.setFocus()
    images.edit.selectAll()
    qtbot.keyClicks(images.edit, "9999")
    assert not again.isEnabled()
    assert "1 to 256" in again.toolTip()
    qtbot.keyClick(images.edit, Qt.Key.Key_Escape)
    assert again.isEnabled()


def test_a_start_that_is_too_clean_is_warned_of(qtbot: QtBot, panel: TrajectoryPanel) -> None:
    assert not panel.controls.start_note.isVisible()
    asked(qtbot, panel, lambda: panel.set_spec(SampleSpec(grid=Exact(steps="400, 100"))))
    assert panel.controls.start_note.isVisible()
    assert "of the signal's amplitude is left" in panel.controls.start_note.text()


def test_a_seed_is_typed_drawn_and_refused(qtbot: QtBot, panel: TrajectoryPanel) -> None:
    edit = find(panel, QLineEdit, "seed")
    edit.setFocus()
    edit.selectAll()
    assert asked(qtbot, panel, lambda: qtbot.keyClicks(edit, "1234")).spec.knobs.seed == 1234
    with qtbot.assertNotEmitted(panel.sample_requested, wait=150):
        qtbot.keyClicks(edit, "x")
    assert "whole number" in panel.controls.problem()
    dice = panel.controls.dice_button
    job = asked(qtbot, panel, lambda: qtbot.mouseClick(dice, Qt.MouseButton.LeftButton))
    assert job.spec.knobs.seed != 1234
    scrubber = panel.images.transport.scrubber
    other = asked(qtbot, panel, lambda: qtbot.keyClick(scrubber, Qt.Key.Key_N))
    assert other.spec.knobs.seed != job.spec.knobs.seed


def test_sampling_again_keeps_the_seed(qtbot: QtBot, panel: TrajectoryPanel) -> None:
    before = panel.spec()
    again = button(panel, "Sample again")
    assert asked(qtbot, panel, lambda: qtbot.mouseClick(again, Qt.MouseButton.LeftButton)).spec == before
    panel.activateWindow()
    assert asked(qtbot, panel, lambda: qtbot.keyClick(panel, Qt.Key.Key_F5)).spec == before


def test_what_has_no_effect_is_dimmed_and_says_why(panel: TrajectoryPanel) -> None:
    guidance, label = find(panel, LabeledSlider, "guidance"), find(panel, Choice, "label")
    assert guidance.isEnabled()
    label.setValue("none")
    assert not guidance.isEnabled()
    assert panel.controls._guidance_field.note() == "needs a class"
    panel.set_model("m", header((1, 8, 8)), Linear())
    assert not label.isEnabled()
    assert panel.controls._class_field.note() == "this model has no classes"
    assert panel.spec().knobs.label == "each"


def test_spec_goes_in_and_comes_out(qtbot: QtBot, panel: TrajectoryPanel) -> None:
    spec = SampleSpec(
        sampler=Ancestral(variance="large"),
        grid=LogSNR(noisiest=-6.0, cleanest=4.0),
        knobs=SampleKnobs(steps=33, seed=5, count=16, label="3", guidance=1.5, clip=False),
    )
    with qtbot.waitSignal(panel.spec_changed) as changed:
        assert asked(qtbot, panel, lambda: panel.set_spec(spec)).spec == spec
    assert changed.args == [spec]
    with qtbot.assertNotEmitted(panel.spec_changed, wait=100):
        panel.set_spec(spec)


def test_controls_come_back_as_text_from_a_settings_file(qtbot: QtBot, panel: TrajectoryPanel) -> None:
    spec = SampleSpec(
        sampler=DDIM(eta=0.5), grid=Exact(steps="900, 30"), knobs=SampleKnobs(steps=9, seed=8, label="4", clip=False)
    )
    panel.set_spec(spec)
    panel.points.links_check.setChecked(True)
    state = panel.state()
    assert all(isinstance(value, (bool, int, float, str)) for value in state.values())
    other = TrajectoryPanel()
    qtbot.addWidget(other)
    other.restore({name: str(value) for name, value in state.items()} | {"seed": "8", "steps": "nonsense"})
    other.set_model("m", header((1, 8, 8), DIGITS), Linear())
    assert other.spec() == dataclasses.replace(spec, knobs=dataclasses.replace(spec.knobs, steps=SampleKnobs().steps))
    assert other.points.links_check.isChecked()
    other.restore({})


LEARNED = (
    ShortSchedule(betas=(0.01, 0.2, 0.5, 0.7), origin="learned", scores={"NLL": 2.0, "FD · MNIST classifier": 1.254}),
    ShortSchedule(betas=(0.02, 0.1, 0.3, 0.6), origin="refined", sampler={"name": "ddim"}),
    ShortSchedule(betas=(0.1, 1 / 3), origin="drawn", title="By hand"),
)
NAMES = ["learned · 4 steps, FD 1.25", "learned · 4 steps, DDIM", "By hand · 2 steps"]


def learned(panel: TrajectoryPanel, model: str = "learned.safetensors") -> Choice:
    """The list of grids, with a model open that keeps short schedules."""
    panel.set_model(model, dataclasses.replace(header((1, 8, 8), DIGITS), schedules=LEARNED), Linear())
    return find(panel, Choice, "grid")


def options(choice: Choice) -> list[str]:
    return [choice.itemText(index) for index in range(choice.count())]


def test_learned_schedules_are_chosen_like_any_grid(qtbot: QtBot, panel: TrajectoryPanel) -> None:
    plain = options(find(panel, Choice, "grid"))
    grid, steps = learned(panel), find(panel, LabeledSlider, "steps")
    assert options(grid) == plain + NAMES
    job = asked(qtbot, panel, lambda: grid.setCurrentIndex(len(plain)))
    assert job.spec.grid == Betas(betas="0.01, 0.2, 0.5, 0.7")
    assert len(levels_of(job.spec, Linear())) == 5
    assert not steps.isEnabled()
    assert steps.edit.text() == "4"
    assert steps.parentWidget().note() == "follows from the list"  # type: ignore[attr-defined]
    assert not any(edit.isVisible() for edit in panel.controls.grid.findChildren(QLineEdit)), "nothing to type"
    job = asked(qtbot, panel, lambda: grid.setCurrentIndex(len(plain) + 2))
    assert job.spec.grid == Betas.of(LEARNED[2])
    asked(qtbot, panel, lambda: grid.setValue("betas"))
    edit = panel.controls.grid.findChild(QLineEdit, "betas")
    assert edit.isVisible()
    assert edit.text() == Betas().betas, "the typed list is as it was"
    asked(qtbot, panel, lambda: panel.set_spec(SampleSpec(grid=Betas.of(LEARNED[1]))))
    assert grid.currentText() == NAMES[1], "an equal list is the learned one"
    assert panel.spec().grid == Betas.of(LEARNED[1])


def test_a_learned_schedule_brings_its_sampler_and_no_warning(qtbot: QtBot, panel: TrajectoryPanel) -> None:
    grid, sampler = learned(panel), find(panel, Choice, "sampler")
    sampler.setValue("ancestral")
    job = asked(qtbot, panel, lambda: grid.setValue(Betas.of(LEARNED[1])))
    assert job.spec.sampler == DDIM()
    assert job.spec.grid == Betas.of(LEARNED[1])
    assert job.spec.grid.levels(Linear(), 4)[0].alpha >= CLEAN_START
    assert not panel.controls.start_note.isVisible(), "it was judged by samples that start so"
    asked(qtbot, panel, lambda: sampler.setValue("ancestral"))
    assert panel.spec().sampler == Ancestral(), "the person may think otherwise"
    asked(qtbot, panel, lambda: grid.setValue(Betas.of(LEARNED[0])))
    assert panel.spec().sampler == Ancestral(), "found with none in particular"
    asked(qtbot, panel, lambda: grid.setValue("betas"))
    find(panel, QLineEdit, "betas").setText("0.02, 0.1, 0.3, 0.61")
    assert panel.controls.start_note.isVisible()


def test_a_learned_schedule_goes_along_to_another_model(qtbot: QtBot, panel: TrajectoryPanel) -> None:
    grid = learned(panel)
    asked(qtbot, panel, lambda: grid.setValue(Betas.of(LEARNED[0])))
    field = grid.parentWidget()
    job = asked(qtbot, panel, lambda: panel.set_model("other", header((1, 8, 8), DIGITS), Cosine()))
    assert job.spec.grid == Betas.of(LEARNED[0])
    assert grid.value() == "betas"
    assert field.note() == f"{NAMES[0]}, from another model"  # type: ignore[attr-defined]
    edit = panel.controls.grid.findChild(QLineEdit, "betas")
    assert edit.text() == "0.01, 0.2, 0.5, 0.7"
    asked(qtbot, panel, lambda: edit.setText("0.01, 0.2, 0.5"))
    assert field.note() == "", "no longer that one"  # type: ignore[attr-defined]
    asked(qtbot, panel, lambda: edit.setText("0.01, 0.2, 0.5, 0.7"))
    learned(panel)
    assert grid.currentText() == NAMES[0], "back where it belongs"
    assert field.note() == "FD 1.25"  # type: ignore[attr-defined]


def test_schedules_found_while_the_model_is_open_join_quietly(qtbot: QtBot, panel: TrajectoryPanel) -> None:
    grid, before = find(panel, Choice, "grid"), panel.spec()
    with qtbot.assertNotEmitted(panel.controls.changed):
        panel.controls.set_schedules(LEARNED)
    assert options(grid)[-3:] == NAMES
    assert panel.spec() == before


def test_a_learned_schedule_comes_back_from_a_settings_file(qtbot: QtBot, panel: TrajectoryPanel) -> None:
    asked(qtbot, panel, lambda: learned(panel).setValue(Betas.of(LEARNED[2])))
    state = panel.state()
    assert all(isinstance(value, (bool, int, float, str)) for value in state.values())
    other = TrajectoryPanel()
    qtbot.addWidget(other)
    other.restore({name: str(value) for name, value in state.items()})
    assert other.spec() == panel.spec(), "also before the model is there"
    assert learned(other).currentText() == NAMES[2]
    other.restore(state)
    assert find(other, Choice, "grid").currentText() == NAMES[2]
    assert other.spec() == panel.spec()


# What it shows


def test_every_message_is_taken(panel: TrajectoryPanel) -> None:
    array = events.freeze(np.zeros((2, 1, 8, 8), np.uint8))
    for event in (
        events.Status(text="Opening the model"),
        events.Progress(step=1, total=2, images=1, seconds=1, images_per_second=1, eta_seconds=1),
        events.HeldOut(step=1, loss=0.1),
        events.Preview(step=1, images=array),
        events.Field(index=0, points=np.zeros((1, 2)), arrows=np.zeros((1, 2))),
        events.DataPreview(title="D", summary="s", images=array),
        events.Estimate(seconds_per_step=1, memory=1, num_parameters=1, steps=1),
        events.Saved(path="p"),
        events.Paused(paused=True),
        events.Warned(summary="careful"),
        *frames((1, 8, 8), 3),
        events.Failed(summary="no"),
        events.Finished(outcome="failed"),
    ):
        panel.receive(event)
        QApplication.processEvents()
    assert where(panel) == "3 / 3"


def test_frames_are_followed_to_the_end_and_told(panel: TrajectoryPanel) -> None:
    told = frames((1, 8, 8), 4)
    play_in(panel, told[:3], end=False)
    assert where(panel) == "2 / 4"
    play_in(panel, told[3:])
    assert where(panel) == "4 / 4"
    assert panel.images.step_panel.title_label.text() == "Step 4 of 4"
    panel.go_to(2)
    line = panel.images.step_panel.subtitle_label.fullText()
    level = from_log_snr(-8.0 + 13.0 * 2 / 3)
    assert f"α {level.alpha:.3f} · σ {level.sigma:.3f} · log-SNR 0.67" in line
    assert "network calls 3" in line


def test_beta_is_that_of_the_jump_to_the_next_step(qtbot: QtBot, panel: TrajectoryPanel) -> None:
    asked(qtbot, panel, lambda: find(panel, LabeledSlider, "steps").setValue(4))
    play_in(panel, frames((1, 8, 8), 4))
    levels = levels_of(panel.spec(), Linear())
    for position in range(4):
        panel.go_to(position)
        told = f"jump β {beta_between(levels[position], levels[position + 1]):.3f}"
        assert told in panel.images.step_panel.subtitle_label.fullText()
    panel.go_to(4)
    assert "jump β –" in panel.images.step_panel.subtitle_label.fullText()


def test_the_sample_says_that_nothing_is_left(panel: TrajectoryPanel) -> None:
    play_in(panel, frames((1, 8, 8), 4))
    views = panel.images
    title = views._sheets[0].title_label
    assert len(views.grids["eps"]) == 0
    assert views.grids["eps"]._empty_text == "nothing is left to remove"
    assert title.text() == "x<sub>0</sub>"
    panel.go_to(1)
    assert len(views.grids["eps"]) == 9
    assert title.text() == "x<sub>t</sub>"


def test_a_new_run_fits_its_curves_anew(qtbot: QtBot, panel: TrajectoryPanel) -> None:
    play_in(panel, [dataclasses.replace(frame, eps_norm=40.0) for frame in frames((1, 8, 8), 4, job_id=1)])
    plot = panel.images.curves.plot
    assert plot.home()[1][1] >= 40.0
    asked(qtbot, panel, button(panel, "Sample again").click)
    play_in(panel, frames((1, 8, 8), 4, job_id=2))
    assert plot.home()[1] == (0.0, 1.0)


@pytest.mark.parametrize(("shape", "names"), [((1, 8, 8), DIGITS), ((2,), ()), ((1,), ())])
def test_nothing_is_cut_off_in_the_smallest_window(
    panel: TrajectoryPanel, shape: tuple[int, ...], names: tuple[str, ...]
) -> None:
    panel.set_model("m", header(shape, names), Linear())
    panel.resize(788, 560)
    play_in(panel, frames(shape, 12))
    for area in panel.findChildren(QScrollArea):
        assert area.widget().width() <= area.viewport().width()


def test_scrubbing_by_click_key_and_film(qtbot: QtBot, panel: TrajectoryPanel) -> None:
    play_in(panel, frames((1, 8, 8), 10))
    transport = panel.images.transport
    middle = transport.scrubber.rect().center()
    qtbot.mouseClick(transport.scrubber, Qt.MouseButton.LeftButton, pos=middle)
    assert where(panel) == "5 / 10"
    qtbot.mouseClick(transport.back_button, Qt.MouseButton.LeftButton)
    assert where(panel) == "4 / 10"
    qtbot.mouseClick(transport.forward_button, Qt.MouseButton.LeftButton)
    qtbot.keyClick(transport.scrubber, Qt.Key.Key_Right)
    assert where(panel) == "6 / 10"
    for key, place in ((Qt.Key.Key_Home, "0"), (Qt.Key.Key_Right, "1"), (Qt.Key.Key_End, "10"), (Qt.Key.Key_Left, "9")):
        qtbot.keyClick(panel, key)
        assert where(panel) == f"{place} / 10"
    film = panel.images.filmstrip
    third = film.place_of(3, 0, len(film.steps())).center().toPoint()
    qtbot.mouseClick(film, Qt.MouseButton.LeftButton, pos=third)
    assert where(panel) == "3 / 10"
    assert panel.images.curves.plot.marker() == 3
    panel.images.curves.plot.marker_moved.emit(7.4)
    assert where(panel) == "7 / 10"
    assert panel.images.curves.plot.marker() == 7


def test_dragging_holds_the_place_while_frames_come(qtbot: QtBot, panel: TrajectoryPanel) -> None:
    told = frames((1, 8, 8), 10)
    play_in(panel, told[:5], end=False)
    scrubber = panel.images.transport.scrubber
    qtbot.mousePress(scrubber, Qt.MouseButton.LeftButton, pos=QPoint(scrubber.width() - 1, 10))
    play_in(panel, told[5:8], end=False)
    assert where(panel) == "4 / 10"
    qtbot.mouseRelease(scrubber, Qt.MouseButton.LeftButton)


def test_playing_goes_to_the_end_and_stops(qtbot: QtBot, panel: TrajectoryPanel) -> None:
    play_in(panel, frames((1, 8, 8), 4))
    play = panel.images.transport.play_button
    qtbot.mouseClick(play, Qt.MouseButton.LeftButton)
    assert where(panel) == "0 / 4"
    assert play.text() == "Pause"
    qtbot.waitUntil(lambda: play.text() == "Play", timeout=3000)
    assert where(panel) == "4 / 4"
    qtbot.keyClick(panel.images.transport.scrubber, Qt.Key.Key_Space)
    assert play.text() == "Pause"
    qtbot.keyClick(panel.images.transport.scrubber, Qt.Key.Key_Space)
    assert play.text() == "Play"


def test_playing_stops_with_the_workspace_out_of_sight(panel: TrajectoryPanel) -> None:
    play_in(panel, frames((1, 8, 8), 5))
    panel.toggle_play()
    assert panel._play_timer.isActive()
    panel.hide()
    assert not panel._play_timer.isActive()


def test_impossible_settings_are_not_taken_up(panel: TrajectoryPanel) -> None:
    before = panel.spec()
    panel.restore({"seed": "-3", "clip": "perhaps", "steps": "0"})
    assert panel.spec() == before
    assert panel.controls.problem() == ""


def test_the_older_run_stays_until_the_newer_comes(panel: TrajectoryPanel) -> None:
    play_in(panel, frames((1, 8, 8), 10, job_id=1))
    panel.go_to(5)
    panel.receive(events.Status(text="Opening the model", job_id=2))
    assert where(panel) == "5 / 10"
    newer = frames((1, 8, 8), 20, job_id=2)
    play_in(panel, newer[:4], end=False)
    assert where(panel) == "3 / 20"
    play_in(panel, newer[4:])
    assert where(panel) == "10 / 20", "a newer run halts at the same share of its way"
    play_in(panel, frames((1, 8, 8), 10, job_id=1)[:1])
    assert where(panel) == "10 / 20", "an older job says nothing any more"


def test_the_film_keeps_older_pictures_until_they_are_replaced(panel: TrajectoryPanel) -> None:
    play_in(panel, frames((1, 8, 8), 6, job_id=1))
    play_in(panel, frames((1, 8, 8), 6, job_id=2)[:2], end=False)
    assert len(panel.images.filmstrip) == 7
    panel.receive(events.Finished(outcome="stopped", job_id=2))
    assert len(panel.images.filmstrip) == 2


def test_frames_that_leave_out_steps_keep_their_numbers(qtbot: QtBot, panel: TrajectoryPanel) -> None:
    asked(qtbot, panel, lambda: find(panel, LabeledSlider, "steps").setValue(100))
    play_in(panel, frames((1, 8, 8), 100, every=7))
    assert panel.images.transport.scrubber.maximum() == 15
    panel.go_to(2)
    assert where(panel) == "14 / 100"
    assert panel.images.curves.plot.marker() == 14
    panel.images.curves.plot.marker_moved.emit(48.0)
    assert where(panel) == "49 / 100"
    labels = panel.images.filmstrip.labels()
    assert labels == [7 * step if step < 15 else 100 for step in panel.images.filmstrip.steps()]
    assert "η" in panel.controls.formula.text().text()


def test_a_click_follows_an_image_everywhere(qtbot: QtBot, panel: TrajectoryPanel) -> None:
    play_in(panel, frames((1, 8, 8), 3))
    panel.go_to(2)
    grid = panel.images.grids["x0"]
    qtbot.mouseClick(grid, Qt.MouseButton.LeftButton, pos=grid.place_of(5).center().toPoint())
    assert [sheet.selected() for sheet in panel.images.grids.values()] == [5, 5, 5]
    assert "image 6 followed" in panel.images.step_panel.subtitle_label.fullText()
    assert panel.images.transport.scrubber.hasFocus()
    play_in(panel, frames((1, 8, 8), 3, job_id=1, count=2))
    assert grid.selected() == 1


def test_a_failure_is_told_and_the_pictures_stay(panel: TrajectoryPanel) -> None:
    play_in(panel, frames((1, 8, 8), 3, job_id=1))
    panel.receive(events.Failed(summary="There is not enough memory.", details="trace", job_id=2))
    panel.receive(events.Finished(outcome="failed", job_id=2))
    assert panel.banner.isVisible()
    assert panel.banner.text() == "There is not enough memory."
    assert len(panel.images.grids["x0"]) == 9
    play_in(panel, frames((1, 8, 8), 3, job_id=3))
    assert not panel.banner.isVisible()


def test_another_model_empties_the_views(panel: TrajectoryPanel) -> None:
    play_in(panel, frames((1, 8, 8), 3, job_id=1))
    panel.set_model("points", header((2,)), Linear())
    panel.receive(frames((1, 8, 8), 3, job_id=1)[0])
    QApplication.processEvents()
    assert panel.points.isVisible()
    assert len(panel.images.grids["x0"]) == 0
    assert where(panel) == "– / –"


# Interpolation


def test_two_kept_noises_are_walked_between(qtbot: QtBot, panel: TrajectoryPanel) -> None:
    play_in(panel, frames((1, 8, 8), 3))
    walk = find(panel, QCheckBox, "walk")
    assert not walk.isEnabled()
    assert "A and B" in panel.controls.walk.note()
    panel.follow(2)
    qtbot.mouseClick(button(panel, "Keep A"), Qt.MouseButton.LeftButton)
    panel.follow(7)
    qtbot.mouseClick(button(panel, "Keep B"), Qt.MouseButton.LeftButton)
    job = asked(qtbot, panel, walk.click)
    assert job.between == Interpolation((0, 2), (0, 7))
    assert not button(panel, "Keep A").isEnabled()
    assert not find(panel, LabeledSlider, "guidance").isEnabled()
    assert panel.controls._class_field.note() == "walks use no class: choose one"
    seed = panel.spec().knobs.seed
    panel.controls.new_seed()
    assert panel.spec().knobs.seed == seed
    assert panel.controls._seed_field.note() == "the starts are A and B"
    assert not panel.controls.seed_button.isEnabled()
    asked(qtbot, panel, lambda: find(panel, LabeledSlider, "eta").setValue(0.5))
    assert panel.controls.dice_button.isEnabled(), "fresh noise follows from the seed"
    find(panel, Choice, "label").setValue("3")
    assert panel.controls._class_field.note() == ""
    assert find(panel, LabeledSlider, "guidance").isEnabled()
    assert asked(qtbot, panel, walk.click).between is None


# Points


@pytest.mark.parametrize("dimensions", [1, 2])
def test_points_have_particles_and_a_field(qtbot: QtBot, panel: TrajectoryPanel, dimensions: int) -> None:
    job = asked(qtbot, panel, lambda: panel.set_model("points", header((dimensions,)), Linear()))
    assert job.spec.knobs.count == 2000
    assert not panel.controls.walk.isVisible()
    panel.set_data_points(np.random.default_rng(0).normal(size=(50, dimensions)))
    told = frames((dimensions,), 4)
    for frame in told:
        panel.receive(frame)
        if dimensions == 2 and frame.index < 4:
            panel.receive(events.Field(index=frame.index, points=np.eye(2), arrows=np.eye(2)))
    panel.receive(events.Finished(outcome="done"))
    QApplication.processEvents()
    assert where(panel) == "4 / 4"
    assert not panel.points.field_check.isEnabled(), "the sample has no score"
    qtbot.keyClick(panel, Qt.Key.Key_Left)
    assert where(panel) == "3 / 4"
    assert panel.points.field_check.isEnabled()
    assert panel.points.field_check.isVisible() == (dimensions == 2)
    before = panel.points.particles.grab().toImage()
    panel.points.links_check.click()
    assert panel.points.particles.grab().toImage() != before


# Saving


def test_the_picture_is_saved_whole_or_not_at_all(
    qtbot: QtBot, panel: TrajectoryPanel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play_in(panel, frames((1, 8, 8), 3))
    answers = iter([str(tmp_path / "grid"), str(tmp_path / "grid.png" / "below.png"), ""])
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_, **__: (next(answers), ""))
    save = button(panel, "Save picture…")
    qtbot.mouseClick(save, Qt.MouseButton.LeftButton)
    saved = QImage(str(tmp_path / "grid.png"))
    assert saved.width() == 4 * (3 * 9 - 1)
    qtbot.mouseClick(save, Qt.MouseButton.LeftButton)
    assert panel.banner.isVisible()
    assert [path.name for path in tmp_path.iterdir() if path.name != "studio-home"] == ["grid.png"]
    qtbot.mouseClick(save, Qt.MouseButton.LeftButton)


# Numbers


def test_the_rule_has_the_sampler_s_own_numbers() -> None:
    t, s = Level(0.6, 0.8), Level(0.8, 0.6)
    # beta~ = (0.36 / 0.64) (1 - 0.36 / 0.64) = 0.5625 * 0.4375 = 0.24609375
    lines = update_rule(DDIM(eta=0.5), t, s)
    assert lines[2].endswith("= 0.50·0.496 = 0.248")
    assert lines[1].startswith("α<sub>s</sub> = 0.800")
    small = update_rule(Ancestral(), t, s)
    assert small[1] == "a = 0.422, b = 0.547"
    assert small[2] == "σ̃ = √β̃ = √0.246 = 0.496"
    assert update_rule(Ancestral(variance="large"), t, s)[2] == "σ̃ = √β = √0.438 = 0.661"
    assert "belief" in update_rule(DDIM(), t, Level(1.0, 0.0))[1]


def test_noise_fills_the_range_and_the_sample_keeps_its_own() -> None:
    assert to_bytes(np.array([-2.0, 0.0, 2.0, 9.0, np.nan]), 2.0).tolist() == [0, 128, 255, 255, 0]
    told = frames((1, 8, 8), 4)
    reel = Reel(SampleJob(path=Path(), spec=SampleSpec()), [Level(f.alpha, f.sigma) for f in told], told)
    at_noise, at_sample = reel.pictures(0)[0], reel.pictures(4)
    assert np.all(at_noise == 128)
    assert np.array_equal(at_sample[0], at_sample[1]), "a clean x is drawn as x0 is"
    assert reel.curves()["log_snr"][:4].tolist() == pytest.approx([0.0, 1 / 3, 2 / 3, 1.0])
    assert np.isnan(reel.curves()["eps_norm"][4])
    assert reel.jump(4) is None


def test_a_model_of_few_levels_is_sampled_over_those_and_the_values_before_come_back(panel: TrajectoryPanel) -> None:
    before = panel.spec()
    few = dataclasses.replace(header((1, 8, 8), DIGITS), recipe={"name": "adversarial", "num_steps": 3})
    own = own_spec(Adversarial(num_steps=3))
    panel.set_model("few.safetensors", few, BigSteps(num_steps=3))
    controls = panel.controls
    assert panel.spec() == own.at(count=before.knobs.count)
    assert controls.grid.choice.currentText() == "its 3 steps"
    assert not controls.start_note.isVisible()
    controls.grid.choice.setValue("uniform")
    assert controls.start_note.text() == "This model knows its 3 steps alone: at other levels it guesses."
    panel.set_model("digits.safetensors", header((1, 8, 8), DIGITS), Linear())
    assert panel.spec() == before
    assert not controls.start_note.isVisible()


def test_a_score_field_is_offered_only_where_there_is_one_score(panel: TrajectoryPanel) -> None:
    """What a generator with a latent believes at a place is drawn anew each time."""
    panel.set_model("points.safetensors", header((2,)), Linear())
    assert panel.points.field_check.isVisible()
    few = dataclasses.replace(header((2,)), recipe={"name": "adversarial", "num_steps": 3})
    panel.set_model("few.safetensors", few, BigSteps(num_steps=3))
    assert not panel.points.field_check.isVisible()


def test_own_steps_are_told_and_a_method_unknown_here_breaks_nothing() -> None:
    few = dataclasses.replace(header((2,)), recipe={"name": "adversarial", "num_steps": 3}, title="Few")
    unknown = dataclasses.replace(header((2,)), recipe={"name": "of another version"})
    paths = Path("/few.safetensors"), Path("/unknown.safetensors")
    headers = dict(zip(paths, (few, unknown), strict=True))
    own = own_spec(Adversarial(num_steps=3))
    assert words_of(own.grid, own.sampler, paths[0], headers) == "its own 3 steps"
    assert words_of(own.grid, own.sampler, paths[1], headers) == "3 steps of Few"
    assert own_offers(unknown) == []
    assert few_steps(unknown) is None
