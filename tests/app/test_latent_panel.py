"""The Latent workspace under real clicks and keys, with its jobs run in lanes as the window runs them."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDropEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QFileDialog, QWidget
from pytestqt.qtbot import QtBot

from studio.app.panels.latent import LANES, LatentPanel
from studio.app.panels.latent_controls import LatentControls
from studio.app.panels.latent_hand import Hand
from studio.app.widgets.z_pad import ZPad
from studio.app.worker import Lane
from studio.core import events
from studio.core.checkpoints.header import Header, read_header
from studio.core.config import RunKnobs, TrainConfig, method_from_dict, method_to_dict
from studio.core.data.base import DatasetSpec
from studio.core.data.images import MNIST
from studio.core.data.points import SwissRoll
from studio.core.networks.base import NetworkSpec
from studio.core.networks.mlp import MLPSpec
from studio.core.networks.unet import UNetSpec
from studio.core.optimizers import AdamSpec
from studio.core.recipes.adversarial import Adversarial
from studio.core.recipes.denoising import Denoising
from studio.core.runs import Run
from studio.session.control import Control
from studio.session.jobs import TrainJob, drive
from studio.session.latent import PadJob, StripJob, WalkJob, draw_z
from studio.session.latent_files import from_text, write

LONG = 30_000
STEPS, SIZE = 3, 4
Models = dict[str, tuple[Path, Header]]


def trained(folder: Path, title: str, data: DatasetSpec, network: NetworkSpec) -> tuple[Path, Header]:
    config = TrainConfig(
        title=title,
        data=data,
        recipe=Adversarial(num_steps=STEPS, latent=SIZE, d_width=8),
        network=network,
        optimizer=AdamSpec(learning_rate=0.05),
        run=RunKnobs(steps=4, batch=8, preview_every=0.0),
    )
    run = Run(folder / "run")
    assert list(drive(TrainJob(config, run), Control()))[-1].outcome == "done"  # type: ignore[union-attr]
    return run.model, read_header(run.model)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    """Small models with a latent, of digits and of points; what two others would say of themselves."""
    points = SwissRoll(num_points=300)
    found = {
        "digits": trained(tmp_path_factory.mktemp("digits"), "Digits", MNIST(), UNetSpec(width=8, patch=4)),
        "roll": trained(tmp_path_factory.mktemp("roll"), "Roll", points, MLPSpec(width=16, blocks=1)),
    }
    path, header = found["roll"]
    direct = header.recipe | {"predict": "x_s"}  # type: ignore[operator]
    found["direct"] = path, dataclasses.replace(header, title="Direct", recipe=direct)
    found["plain"] = path, dataclasses.replace(header, title="Plain", recipe=method_to_dict("recipe", Denoising()))
    return found


class Bench:
    """The workspace with its lanes, as the window has it."""

    def __init__(self, qtbot: QtBot, models: Models) -> None:
        self.qtbot, self.models = qtbot, models
        self.panel = LatentPanel()
        qtbot.addWidget(self.panel)
        self.jobs: list[tuple[str, Any]] = []
        self.heard: list[events.Event] = []
        self.said: list[str] = []
        self.panel.told.connect(self.said.append)
        self.lanes = {name: Lane() for name in LANES}
        for name, lane in self.lanes.items():
            lane.received.connect(self.heard.append)
            lane.received.connect(self.panel.receive)
            lane.busy_changed.connect(functools.partial(self.panel.set_busy, name))
        self.panel.job_requested.connect(lambda name, job: self.jobs.append((name, job)))
        self.panel.job_requested.connect(lambda name, job: self.lanes[name].submit(job))
        self.panel.stop_requested.connect(lambda name: self.lanes[name].stop())
        self.panel.errand_requested.connect(self.run_errand)
        self.panel.resize(1204, 820)

    def run_errand(self, work: Callable[[], Any], then: Callable[[Any], None]) -> None:
        try:
            then(work())
        except (ValueError, OSError) as error:
            self.panel.show_problem(str(error))

    def open(self, name: str = "digits") -> LatentPanel:
        self.choose(name)
        with self.qtbot.waitExposed(self.panel):
            self.panel.show()
        self.settle()
        return self.panel

    def choose(self, name: str) -> None:
        path, header = self.models[name]
        self.panel.set_model(str(path), header, method_from_dict("recipe", header.recipe).schedule)

    def settle(self) -> None:
        """Wait until everything asked for is there."""
        timers = (self.panel._pad_timer, self.panel._strip_timer)

        def still() -> bool:
            busy = any(lane.busy for lane in self.lanes.values())
            return not busy and not any(timer.isActive() for timer in timers)

        self.qtbot.waitUntil(still, timeout=LONG)
        QTest.qWait(5)

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.heard if isinstance(event, kind)]

    def asked(self, kind: type) -> list[Any]:
        return [job for _, job in self.jobs if isinstance(job, kind)]

    def sample(self) -> np.ndarray:
        return self.of(events.LatentPad)[-1].result


@pytest.fixture
def bench(qtbot: QtBot, models: Models) -> Iterator[Bench]:
    made = Bench(qtbot, models)
    yield made
    made.panel.hide()
    for lane in made.lanes.values():
        assert lane.close()
        lane.deleteLater()


def click(widget: QWidget) -> None:
    QTest.mouseClick(widget, Qt.MouseButton.LeftButton)


def press(widget: QWidget, key: Qt.Key, modifier: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier) -> None:
    QTest.keyClick(widget, key, modifier)


def drop(target: QWidget, *paths: Path) -> bool:
    """Drag files over a widget and let them go; False if it does not take them."""
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    state = (Qt.DropAction.CopyAction, mime, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier)
    enter = QDragEnterEvent(QPoint(5, 5), *state)
    QApplication.sendEvent(target, enter)
    if enter.isAccepted():
        QApplication.sendEvent(target, QDropEvent(QPointF(5, 5), *state))
    return enter.isAccepted()


def point(pad: ZPad, u: float, v: float) -> QPoint:
    return pad.place_of(u, v).toPoint()


class TestPad:
    def test_pictures_result_and_draws_are_there_at_once(self, bench: Bench) -> None:
        panel = bench.open()
        assert panel.pad.has_images()
        pad, *more = bench.of(events.LatentPad)
        assert not more, "one batch brings all"
        np.testing.assert_array_equal(pad.items[12], pad.result)
        assert len(panel.result.picture) == 1
        assert [len(sheet) for sheet in panel.strip.sheets] == [11] * STEPS
        assert all(label.text().startswith("spread ") for label in panel.strip.spreads)
        assert f"{STEPS} steps · " in panel.result.subtitle_label.fullText()
        assert {sheet.height() for sheet in panel.strip.sheets} == {panel.strip.sheets[0].height()}

    def test_the_result_follows_the_drag_and_then_the_draws(self, bench: Bench) -> None:
        panel = bench.open()
        panel.controls.label.setValue("none")
        bench.settle()
        before = bench.sample()
        bench.jobs.clear()
        QTest.mousePress(panel.pad, Qt.MouseButton.LeftButton, pos=point(panel.pad, 0, 0))
        for share in np.linspace(0, 1, 30):
            QTest.mouseMove(panel.pad, point(panel.pad, share, -0.5 * share))
        QTest.mouseRelease(panel.pad, Qt.MouseButton.LeftButton, pos=point(panel.pad, 1, -0.5))
        bench.settle()
        u, v = panel.hand.at
        assert (u, v) == (pytest.approx(1.0, abs=0.02), pytest.approx(-0.5, abs=0.02))
        asked = bench.asked(PadJob)
        assert len(asked) < 30, "one is on its way at a time"
        assert asked[-1].at == (u, v)
        assert not any(job.whole for job in asked), "the pad's pictures stay as they are"
        assert np.abs(bench.sample().astype(int) - before).max() > 1
        np.testing.assert_allclose(bench.asked(StripJob)[-1].held.z, panel.hand.current())

    def test_it_keeps_up_while_the_hand_moves_faster_than_sampling(self, bench: Bench) -> None:
        panel = bench.open()
        bench.heard.clear()
        for place in range(1, 60):
            panel.pad.moved.emit(place / 100, 0.0)
            QTest.qWait(8)
        seen = len(bench.of(events.LatentPad))
        assert seen >= 3, "no answer is held back until the hand rests"
        panel.pad.set_at(0.59, 0.0)
        bench.settle()
        assert bench.asked(PadJob)[-1].at == (0.59, 0.0)

    def test_arrows_move_the_marker_and_home_brings_it_back(self, bench: Bench) -> None:
        panel = bench.open("roll")
        panel.pad.setFocus()
        press(panel.pad, Qt.Key.Key_Right)
        press(panel.pad, Qt.Key.Key_Up, Qt.KeyboardModifier.ShiftModifier)
        assert panel.hand.at == (pytest.approx(0.05), pytest.approx(0.5))
        for _ in range(4):
            press(panel.pad, Qt.Key.Key_Up, Qt.KeyboardModifier.ShiftModifier)
        assert panel.hand.at[1] == 1.0, "it stays on the pad"
        press(panel.pad, Qt.Key.Key_Home)
        assert panel.hand.at == (0.0, 0.0)

    def test_enter_makes_the_place_the_middle_and_the_sample_stays(self, bench: Bench) -> None:
        panel = bench.open()
        QTest.mouseClick(panel.pad, Qt.MouseButton.LeftButton, pos=point(panel.pad, 0.5, 0.5))
        bench.settle()
        z, before = panel.hand.current(), bench.sample()
        press(panel.pad, Qt.Key.Key_Return)
        bench.settle()
        assert panel.hand.at == (0.0, 0.0)
        np.testing.assert_array_equal(panel.hand.current(), z)
        assert np.abs(bench.sample().astype(int) - before).max() <= 1
        assert np.abs(bench.of(events.LatentPad)[-1].items[12].astype(int) - before).max() <= 1

    def test_newest_request_wins(self, bench: Bench) -> None:
        panel = bench.open()
        bench.heard.clear()
        for seed in (1, 2, 3):
            panel.controls.z_seed.setValue(seed)
            panel._ask_pad()
        bench.settle()
        np.testing.assert_array_equal(bench.asked(PadJob)[-1].held.z, draw_z(3, STEPS, SIZE))
        (alone,) = [e for e in drive(bench.asked(PadJob)[-1], Control()) if isinstance(e, events.LatentPad)]
        assert np.abs(bench.sample().astype(int) - alone.result).max() <= 1
        older = dataclasses.replace(bench.of(events.LatentPad)[-1], job_id=0, seconds=99.0)
        panel.receive(older)
        assert "99" not in panel.result.subtitle_label.fullText()


class TestSteps:
    def test_a_redraw_changes_what_is_free_and_nothing_else(self, bench: Bench) -> None:
        panel = bench.open("roll")
        controls, hand = panel.controls, panel.hand
        assert not controls.redraw_button.isEnabled()
        assert not controls.rows[0].redraw.isEnabled()
        z, noise = hand.z.copy(), list(hand.noise_seeds)
        click(controls.rows[1].z)
        click(controls.rows[0].noise)
        assert controls.rows[1].z.text() == "z free"
        click(controls.redraw_button)
        np.testing.assert_array_equal(hand.z[[0, 2]], z[[0, 2]])
        assert (hand.z[1] != z[1]).all()
        assert hand.noise_seeds[1:] == noise[1:]
        assert hand.noise_seeds[0] != noise[0]
        z, noise = hand.z.copy(), list(hand.noise_seeds)
        click(controls.rows[1].redraw)
        assert hand.noise_seeds == noise, "of this step alone"
        assert (hand.z[1] != z[1]).all()
        bench.settle()

    def test_f5_redraws_and_locked_ones_stay(self, bench: Bench) -> None:
        panel = bench.open("roll")
        z = panel.hand.z
        press(panel.pad, Qt.Key.Key_F5)
        assert panel.hand.z is z
        click(panel.controls.rows[2].z)
        press(panel.pad, Qt.Key.Key_F5)
        np.testing.assert_array_equal(panel.hand.z[:2], z[:2])
        assert (panel.hand.z[2] != z[2]).all()

    def test_the_pad_moves_what_is_locked_or_one_step(self, bench: Bench) -> None:
        panel = bench.open("roll")
        click(panel.controls.rows[0].z)
        assert [bool(step.any()) for step in panel.hand.plane.a] == [False, True, True]
        assert panel._pad_panel.subtitle_label.fullText() == "through z of steps 2, 1"
        panel.controls.moves.setValue("2")
        assert [bool(step.any()) for step in panel.hand.plane.a] == [False, False, True]
        panel.controls.moves.setValue("0")
        assert panel.controls._moves_field.note() == "this z is free: lock it to move it"

    def test_the_last_step_has_no_noise_to_free(self, bench: Bench) -> None:
        panel = bench.open()
        assert [row.noise.isEnabled() for row in panel.controls.rows] == [True, True, False]
        bench.choose("direct")
        assert not any(row.noise.isEnabled() for row in panel.controls.rows)
        assert not panel.controls.noise_seed.isEnabled()
        bench.settle()

    def test_a_click_takes_a_draw(self, bench: Bench) -> None:
        panel = bench.open()
        drawn = panel._draws[0][0][4]
        sheet = panel.strip.sheets[0]
        QTest.mouseClick(sheet, Qt.MouseButton.LeftButton, pos=sheet.place_of(4).center().toPoint())
        bench.settle()
        assert np.abs(bench.sample().astype(int) - drawn).max() <= 1
        assert sheet.selected() == 4
        np.testing.assert_array_equal(panel.hand.z[1:], draw_z(0, STEPS, SIZE)[1:])
        panel.controls.z_seed.edit.setFocus()
        press(panel.controls.z_seed.edit, Qt.Key.Key_Return)
        np.testing.assert_array_equal(panel.hand.z, draw_z(0, STEPS, SIZE))
        assert sheet.selected() is None


class TestSeeds:
    def test_each_seed_changes_its_part(self, bench: Bench) -> None:
        panel = bench.open("roll")
        controls = panel.controls
        for edit, read in (
            (controls.z_seed, lambda: bench.asked(PadJob)[-1].held.z.tolist()),
            (controls.start_seed, lambda: bench.asked(PadJob)[-1].held.start_seed),
            (controls.noise_seed, lambda: bench.asked(PadJob)[-1].held.noise_seeds),
        ):
            before = read()
            edit.edit.setFocus()
            edit.edit.selectAll()
            QTest.keyClicks(edit.edit, "12")
            bench.settle()
            assert read() != before
        assert bench.asked(PadJob)[-1].held.start_seed == 12

    def test_the_class_is_asked_for(self, bench: Bench) -> None:
        panel = bench.open()
        panel.controls.label.setValue("7")
        panel._ask_pad()
        assert bench.asked(PadJob)[-1].held.label == "7"
        bench.choose("roll")
        assert not panel.controls.label.isEnabled()

    def test_what_is_no_seed_is_said(self, bench: Bench) -> None:
        panel = bench.open("roll")
        edit = panel.controls.z_seed.edit
        edit.selectAll()
        QTest.keyClicks(edit, "x")
        assert "whole number" in panel.controls._z_field.note()
        assert panel.controls.z_seed.value() == 0

    def test_n_draws_another_z(self, bench: Bench) -> None:
        panel = bench.open("roll")
        press(panel.pad, Qt.Key.Key_N)
        np.testing.assert_array_equal(panel.hand.z, draw_z(panel.controls.z_seed.value(), STEPS, SIZE))


class TestWalk:
    def test_it_plays_to_and_fro_and_stops(self, bench: Bench) -> None:
        panel = bench.open("roll")
        panel.controls.frames.setValue(8)
        press(panel.pad, Qt.Key.Key_Space)
        assert panel.controls.play_button.text() == "Stop"
        bench.settle()
        assert len(panel._walk) == 8
        panel._phase = 0
        seen = []
        for _ in range(16):
            panel._advance()
            seen.append(panel.result.subtitle_label.fullText())
        places = [int(text.split()[3]) for text in seen]
        assert places == [1, 2, 3, 4, 5, 6, 7, 8, 7, 6, 5, 4, 3, 2, 1, 2]
        click(panel.controls.play_button)
        assert panel.controls.play_button.text() == "Play walk"
        assert "follows the pad" in panel.result.subtitle_label.fullText()

    def test_a_moved_marker_ends_it(self, bench: Bench) -> None:
        panel = bench.open("roll")
        press(panel.pad, Qt.Key.Key_Space)
        press(panel.pad, Qt.Key.Key_Left)
        assert panel.controls.play_button.text() == "Play walk"
        bench.settle()
        assert panel._walk == []

    def test_one_that_failed_is_asked_for_anew(self, bench: Bench) -> None:
        panel = bench.open("roll")
        path = panel._path
        panel._path = path.with_name("gone.safetensors")
        press(panel.pad, Qt.Key.Key_Space)
        bench.settle()
        assert "gone" in panel.banner.text()
        assert panel.controls.play_button.text() == "Play walk"
        panel._path = path
        press(panel.pad, Qt.Key.Key_Space)
        bench.settle()
        assert len(panel._walk) == panel.controls.frames.value()

    def test_from_a_z_to_itself_there_is_none(self, bench: Bench) -> None:
        panel = bench.open("roll")
        panel.controls.second.setValue("in hand")
        assert not panel.controls.play_button.isEnabled()

    def test_export_samples_the_walk_and_writes_all(
        self, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        panel = bench.open()
        panel.controls.frames.setValue(8)
        monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(tmp_path))
        click(panel.controls.export_button)
        bench.settle()
        names = {path.name for path in tmp_path.iterdir()}
        assert names == {"z.json", "pad.png", "result.png", "walk.png", "walk.gif", "draws.png", "spread.csv"}
        with Image.open(tmp_path / "walk.gif") as animation:
            assert animation.n_frames in range(2, 15)  # Pillow joins equal frames
            times = animation.width // 28
            first = np.asarray(animation.convert("L"))[::times, ::times]
        np.testing.assert_array_equal(first, panel._walk[0][0], "all greys are there")
        with Image.open(tmp_path / "result.png") as picture:
            assert min(picture.size) >= 224
        np.testing.assert_array_equal(from_text((tmp_path / "z.json").read_text()).held.z, panel.hand.z)
        assert str(tmp_path) in panel.banner.text()

    def test_points_are_exported_over_the_data(
        self, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        panel = bench.open("roll")
        panel.set_data_points(np.array([[-2.0, 2.0]], np.float32))
        panel.controls.frames.setValue(8)
        monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(tmp_path))
        click(panel.controls.export_button)
        bench.settle()
        with Image.open(tmp_path / "result.png") as picture:
            pixels = np.asarray(picture).astype(int)
        side = len(pixels)
        x, y = np.clip((1 + panel._sample * (1, -1) / 3) * side / 2, 0, side - 1).astype(int)
        assert pixels[y, x, 2] > 200, "the sample, in blue"
        assert 60 < pixels[side // 6, side // 6].mean() < 140, "the data, in grey"


class TestKeeping:
    def test_a_kept_z_comes_back_with_its_sample(self, bench: Bench) -> None:
        panel = bench.open()
        assert panel.controls.label.value() == "0", "the first class, until one is chosen"
        panel.controls.label.setValue("3")
        press(panel.pad, Qt.Key.Key_Right, Qt.KeyboardModifier.ShiftModifier)
        bench.settle()
        before, z = bench.sample(), panel.hand.current()
        QTest.keyClicks(panel.shelf.name, "mine")
        press(panel.shelf.name, Qt.Key.Key_Return)
        assert [button.text().strip() for button in panel.shelf.rows] == ["mine"]
        panel.controls.z_seed.setValue(9)
        panel.controls.start_seed.setValue(9)
        panel.controls.label.setValue("none")
        bench.settle()
        click(panel.shelf.rows[0])
        bench.settle()
        np.testing.assert_array_equal(panel.hand.current(), z)
        assert (panel.controls.start_seed.value(), panel.controls.label.value()) == (0, "3")
        assert np.abs(bench.sample().astype(int) - before).max() <= 1

    def test_two_kept_ones_span_a_plane_and_a_walk(self, bench: Bench) -> None:
        panel = bench.open("roll")
        controls = panel.controls
        controls.plane.setValue("chosen")
        assert "until two z are kept" in controls._plane_field.note()
        press(panel.pad, Qt.Key.Key_K)
        kept = panel.hand.current()
        controls.z_seed.setValue(5)
        press(panel.pad, Qt.Key.Key_K)
        assert "in hand" in controls._top_field.note(), "from a z to itself there is no way"
        controls.z_seed.setValue(7)
        assert controls._top_field.note() == ""
        assert (controls.right.value(), controls.top.value()) == ("z 0", "z 5")
        controls.reach.setValue(1.0)
        panel.pad.moved.emit(1.0, 0.0)
        np.testing.assert_allclose(panel.hand.current(), kept, atol=1e-6)
        panel.pad.moved.emit(0.0, 1.0)
        np.testing.assert_allclose(panel.hand.current(), draw_z(5, STEPS, SIZE), atol=1e-6)
        controls.first.setValue("z 0")
        controls.second.setValue("z 5")
        click(controls.play_button)
        bench.settle()
        job = bench.asked(WalkJob)[-1]
        np.testing.assert_array_equal(job.first, kept)
        np.testing.assert_array_equal(job.second, draw_z(5, STEPS, SIZE))
        panel.shelf.menus[0].actions()[-1].trigger()
        assert [button.text().strip() for button in panel.shelf.rows] == ["z 5"]
        assert controls.first.value() != "z 0"
        assert not controls.is_chosen()
        bench.settle()

    def test_equal_names_are_told_apart(self, bench: Bench) -> None:
        panel = bench.open("roll")
        for _ in range(3):
            panel.keep("a")
        assert [button.text().strip() for button in panel.shelf.rows] == ["a", "a 2", "a 3"]

    def test_it_is_shared_through_clipboard_and_file(
        self, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        panel = bench.open("roll")
        panel.keep("mine")
        copy, save = panel.shelf.menus[0].actions()[:2]
        copy.trigger()
        click(panel.shelf.paste_button)
        monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(tmp_path / "mine"), ""))
        save.trigger()
        monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(tmp_path / "mine.json"), ""))
        click(panel.shelf.open_button)
        assert [button.text().strip() for button in panel.shelf.rows] == ["mine", "mine 2", "mine 3"]
        for entry in panel._entries[1:]:
            np.testing.assert_array_equal(entry.kept.held.z, panel._entries[0].kept.held.z)
        bench.settle()

    def test_keys_copy_the_z_in_hand_and_take_it_back(self, bench: Bench) -> None:
        panel = bench.open()
        press(panel.pad, Qt.Key.Key_Right, Qt.KeyboardModifier.ShiftModifier)
        bench.settle()
        before, z = bench.sample(), panel.hand.current()
        press(panel.pad, Qt.Key.Key_C, Qt.KeyboardModifier.ControlModifier)
        panel.controls.z_seed.setValue(9)
        bench.settle()
        press(panel.pad, Qt.Key.Key_V, Qt.KeyboardModifier.ControlModifier)
        assert panel.shelf.rows[0].icon().isNull()
        bench.settle()
        np.testing.assert_array_equal(panel.hand.current(), z)
        assert np.abs(bench.sample().astype(int) - before).max() <= 1
        assert not panel.shelf.rows[0].icon().isNull(), "it has its picture as soon as that is sampled"

    def test_a_dropped_z_is_taken_and_models_are_left_to_the_window(self, bench: Bench, tmp_path: Path) -> None:
        panel = bench.open("roll")
        panel.keep("mine")
        write(tmp_path / "a.json", panel._entries[0].kept)
        (tmp_path / "b.json").write_text("[]")
        assert drop(panel, tmp_path / "a.json")
        assert [button.text().strip() for button in panel.shelf.rows] == ["mine", "mine 2"]
        assert drop(panel, tmp_path / "b.json")
        assert "b.json" in panel.banner.text()
        assert not drop(panel, tmp_path / "model.safetensors")
        assert not drop(panel, tmp_path / "a.json", tmp_path / "model.safetensors")
        bench.choose("plain")
        assert drop(panel, tmp_path / "a.json")
        assert "Choose that in the library" in panel.banner.text()

    def test_what_does_not_fit_is_refused_in_words(
        self, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        panel = bench.open("roll")
        panel.keep("mine")
        panel.shelf.menus[0].actions()[0].trigger()
        sound = json.loads(QApplication.clipboard().text())
        short = {"z": [row[1:] for row in sound["z"]], "latent": SIZE - 1}
        for text, words in (
            ("hello", "no shared z"),
            (json.dumps(sound | short), "3 steps of 3 numbers"),
            (json.dumps(sound | {"model": "Another"}), "Another"),
            (json.dumps(sound | {"class": "9"}), "class “9”"),
        ):
            QApplication.clipboard().setText(text)
            click(panel.shelf.paste_button)
            assert words in panel.banner.text()
        assert len(panel.shelf.rows) == 1
        QApplication.clipboard().setText(json.dumps(sound | {"model_step": 10**6}))
        click(panel.shelf.paste_button)
        assert "1,000,000 steps" in panel.banner.text()
        assert len(panel.shelf.rows) == 2, "it is taken, and one is told that it looks different"
        panel.recall(0)
        assert panel.banner.isHidden(), "this one is of the model as it is"
        (tmp_path / "bad.json").write_text("{}")
        monkeypatch.setattr(QFileDialog, "getOpenFileName", lambda *_: (str(tmp_path / "bad.json"), ""))
        click(panel.shelf.open_button)
        assert "bad.json" in panel.banner.text()
        assert len(panel.shelf.rows) == 2

    def test_settings_and_kept_ones_outlive_the_window(self, bench: Bench, qtbot: QtBot) -> None:
        panel = bench.open()
        panel.controls.z_seed.setValue(3)
        panel.controls.label.setValue("4")
        panel.controls.reach.setValue(2.5)
        bench.settle()
        panel.keep("mine")
        second = LatentPanel()
        qtbot.addWidget(second)
        second.restore(panel.state())
        path, header = bench.models["digits"]
        second.set_model(str(path), header, method_from_dict("recipe", header.recipe).schedule)
        assert second.controls.state() == panel.controls.state()
        assert [button.text().strip() for button in second.shelf.rows] == ["mine"]
        assert not second.shelf.rows[0].icon().isNull()
        np.testing.assert_array_equal(second.hand.z, draw_z(3, STEPS, SIZE))
        path, header = bench.models["roll"]
        second.set_model(str(path), header, method_from_dict("recipe", header.recipe).schedule)
        assert second.shelf.rows == [], "it is of another model"
        assert json.loads(second.state()["kept"])

    def test_damaged_settings_are_passed_over(self, bench: Bench) -> None:
        for kept in ("", "[", "[1]", '[{"text": "x", "picture": ""}]', "3"):
            bench.panel.restore({"kept": kept, "z_seed": "x", "reach": None, "frames": "many", "plane": 4})
            assert bench.panel.controls.z_seed.value() == 0
        bench.open("roll")


class TestModels:
    @pytest.mark.parametrize(("chosen", "shown"), [("3", "Trouser"), ("none", "none"), ("Bag", "Bag")])
    def test_a_class_that_the_next_model_does_not_know_gives_way_to_its_first(
        self, qtbot: QtBot, chosen: str, shown: str
    ) -> None:
        controls = LatentControls()
        qtbot.addWidget(controls)
        controls.set_model(4, 8, ("0", "3", "Bag"), adds_noise=True)
        controls.label.setValue(chosen)
        controls.set_model(4, 8, ("Trouser", "Bag"), adds_noise=True)
        assert controls.label.value() == shown

    def test_without_a_latent_it_says_what_it_is_for(self, bench: Bench) -> None:
        panel = bench.panel
        panel.set_models(dict(bench.models.values()))
        bench.open("plain")
        assert bench.jobs == []
        assert "Plain has no latent" in panel.empty._title.text()
        assert panel.controls.isHidden()
        chosen: list[str] = []
        panel.model_requested.connect(chosen.append)
        click(panel.empty.buttons[0])
        assert chosen == [str(bench.models["digits"][0])]
        train: list[bool] = []
        panel.train_requested.connect(lambda: train.append(True))
        click(panel.empty.train_button)
        assert train == [True]
        assert panel.empty.starts_button.isHidden(), "Trajectory walks between starts of images alone"
        path, header = bench.models["digits"]
        plain = dataclasses.replace(header, recipe=method_to_dict("recipe", Denoising()))
        panel.set_model(str(path), plain, Denoising().schedule)
        with bench.qtbot.waitSignal(panel.starts_requested):
            click(panel.empty.starts_button)
        for key in (Qt.Key.Key_Space, Qt.Key.Key_F5, Qt.Key.Key_N, Qt.Key.Key_K):
            press(panel, key)
        assert bench.jobs == []

    def test_points_land_and_have_a_way(self, bench: Bench) -> None:
        panel = bench.open("roll")
        panel.set_data_points(np.zeros((20, 2), np.float32))
        assert not panel.pad.has_images()
        particles = panel.result.particles
        assert len(particles._x) == 26
        assert particles._trails is not None
        assert len(particles._trails) == 11
        assert [len(cloud._x) for cloud in panel.strip.clouds] == [200] * STEPS
        press(panel.pad, Qt.Key.Key_Right)
        panel.keep("a")
        press(panel.pad, Qt.Key.Key_Space)
        bench.settle()
        panel._advance()
        panel.grab()
        assert not bench.of(events.Failed)

    def test_models_change_without_a_trace(self, bench: Bench) -> None:
        panel = bench.open("digits")
        late = bench.of(events.LatentPad)[-1]
        for name in ("roll", "plain", "digits", "roll"):
            bench.choose(name)
        panel.receive(late)
        assert panel._sample is None, "a picture is no particle"
        bench.settle()
        assert bench.sample().shape == (2,)

    def test_nothing_is_asked_for_before_someone_looks(self, bench: Bench) -> None:
        bench.choose("roll")
        QTest.qWait(320)
        assert bench.jobs == []
        bench.open("roll")
        assert {name for name, _ in bench.jobs} == {"pad", "draws"}

    def test_any_message_is_taken_at_any_time(self, bench: Bench) -> None:
        some = np.zeros((2, 5), np.float32)
        every = (
            events.Status(text="now"),
            events.Failed(summary="it broke"),
            events.Finished(outcome="stopped"),
            events.Preview(step=1, images=some),
            events.LatentPad(items=None, result=some[0], path=None, num_steps=1, seconds=0.1),
            events.LatentDraws(row=99, items=some, spread=0.1),
            events.LatentWalk(first=40, total=2, items=some),
        )
        for event in every:
            bench.panel.receive(event)
        panel = bench.open("roll")
        for event in every:
            panel.receive(dataclasses.replace(event, job_id=10**9))
        assert panel.banner.text() == "it broke"


class TestHand:
    def test_what_is_taken_goes_on_from_the_marker(self) -> None:
        hand = Hand(2, 3, 0, 0)
        ones = np.ones((2, 3), np.float32)
        hand.span(ones, -ones, 2.0, [True, False])
        hand.at = (0.5, 0.0)
        z = draw_z(0, 2, 3)
        np.testing.assert_allclose(hand.current(), z + np.array([[1.0], [0.0]]))
        hand.take(1, np.zeros(3, np.float32))
        assert hand.at == (0.0, 0.0)
        np.testing.assert_allclose(hand.z[0], z[0] + 1.0)
        np.testing.assert_array_equal(hand.z[1], np.zeros(3))
        assert hand.origin == "step 1 taken from its draws"
