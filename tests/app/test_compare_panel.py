"""The Compare workspace under real clicks and keys, with its jobs run in lanes as the window runs them."""

from __future__ import annotations

import csv
import dataclasses
import itertools
import os
import shlex
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PySide6.QtCore import QPoint, Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QFileDialog, QLineEdit, QPushButton, QWidget
from pytestqt.qtbot import QtBot

from studio import cli
from studio.app import theme
from studio.app.panels.compare import ComparePanel
from studio.app.panels.compare_lanes import best_columns
from studio.app.panels.compare_nearest import pair_pictures
from studio.app.panels.compare_page import Page
from studio.app.panels.compare_quality import read_steps
from studio.app.panels.compare_settings import LaneChoice, LaneEditor, default_lanes, lanes_for
from studio.app.widgets.score_plot import Curve, ScorePlot
from studio.app.worker import Lane
from studio.core import events
from studio.core.checkpoints.header import Header, read_header
from studio.core.checkpoints.places import locate
from studio.core.config import RunKnobs, TrainConfig, method_from_dict
from studio.core.data.points import SwissRoll
from studio.core.evaluation import Evaluation, read_tables
from studio.core.grids import Betas, Exact, Grid, LogSNR
from studio.core.networks.mlp import MLPSpec
from studio.core.optimizers import AdamSpec
from studio.core.recipes.adversarial import Adversarial
from studio.core.runs import Run
from studio.core.samplers.ancestral import Ancestral
from studio.core.samplers.ddim import DDIM
from studio.core.sampling import SampleKnobs, SampleSpec, own_spec
from studio.core.short_schedule import ShortSchedule
from studio.session.compare import CompareJob, NeighbourJob
from studio.session.control import Control
from studio.session.jobs import TrainJob, drive

LONG = 30_000
LEARNED = (
    ShortSchedule(betas=(0.05, 0.4, 0.9), origin="learned", sampler={"name": "ancestral"}, scores={"FD": 1.5}),
    ShortSchedule(betas=(0.1, 0.5, 0.8), origin="learned", sampler={"name": "ddim"}),
    ShortSchedule(betas=(0.1, 0.2, 0.6, 0.9), origin="learned"),
)
EVERY_EVENT: tuple[events.Event, ...] = (
    events.Status(text="now"),
    events.Warned(summary="careful"),
    events.Failed(summary="it broke"),
    events.Finished(outcome="stopped"),
    events.Paused(paused=True),
    events.Saved(path="x"),
    events.LaneDone(lane=9, nfe=1, seconds=1.0),
    events.Tile(row=9, column=9, images=np.zeros((1, 2), np.float32)),
    events.Preview(step=1, images=np.zeros((1, 2), np.float32)),
    events.HeldOut(step=1, loss=1.0),
    events.EvaluationProgress(done=1, total=2, fraction=0.5, eta_seconds=3.0, text="1 of 2 cells"),
    events.Estimate(seconds_per_step=1.0, memory=1, num_parameters=1, steps=1),
    events.Quality(step=1, scores={}, floor={}, network="", count=1),
    events.DataPreview(title="t", summary="s", images=np.zeros((1, 2), np.float32)),
    events.Progress(step=1, total=2, images=1, seconds=1.0, images_per_second=1.0, eta_seconds=1.0),
    events.Field(index=0, points=np.zeros((1, 2)), arrows=np.zeros((1, 2))),
)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, Header]:
    """Two small models of points in two dimensions, and one of one dimension, by their paths."""
    found = {}
    for name, data in (("first", SwissRoll(num_points=400)), ("second", SwissRoll(num_points=401))):
        config = TrainConfig(
            title=name.capitalize(),
            data=data,
            network=MLPSpec(width=16, blocks=1),
            optimizer=AdamSpec(),
            run=RunKnobs(steps=3, batch=16, preview_every=0.0),
        )
        run = Run(tmp_path_factory.mktemp(name) / "run")
        assert list(drive(TrainJob(config, run), Control()))[-1].outcome == "done"  # type: ignore[union-attr]
        path = run.model.rename(run.folder / f"{name}.safetensors")
        found[path] = read_header(path)
    return found


class Bench:
    """The workspace with a lane a page, as the window has it."""

    def __init__(self, qtbot: QtBot, models: dict[Path, Header]) -> None:
        self.qtbot, self.models = qtbot, models
        self.panel = ComparePanel()
        qtbot.addWidget(self.panel)
        self.lanes: dict[str, Lane] = {}
        self.jobs: list[Any] = []
        self.heard: list[events.Event] = []
        for name, page in self.panel.pages.items():
            lane = self.lanes[name] = Lane()
            page.job_requested.connect(self.jobs.append)
            page.job_requested.connect(lane.submit)
            page.stop_requested.connect(lane.stop)
            page.errand_requested.connect(lambda work, page=page: page.exported(work()))
            lane.received.connect(self.heard.append)
            lane.received.connect(page.receive)
            lane.busy_changed.connect(page.set_busy)
        self.panel.resize(1044, 780)

    def open(self, **start: Any) -> ComparePanel:
        """Show the first model with few, cheap lanes."""
        path, header = next(iter(self.models.items()))
        choices = [self.choice(Ancestral(), 6), self.choice(DDIM(), 3), self.choice(DDIM(eta=1.0), 4)]
        shape = "x".join(str(size) for size in header.facts["shape"])
        start = {"seed": 3, "points": 20, "reference": True, "reference_steps": 20} | start
        state = {"lanes": {shape: [choice.to_dict() for choice in choices]}, "start": start}
        self.panel.restore({"Lanes": state})
        self.panel.set_models(self.models)
        self.panel.set_model(str(path), header, method_from_dict("recipe", header.recipe).schedule)
        with self.qtbot.waitExposed(self.panel):
            self.panel.show()
        self.settle()
        return self.panel

    @staticmethod
    def choice(sampler: Any, steps: int) -> LaneChoice:
        return LaneChoice(SampleSpec(sampler=sampler, grid=LogSNR(), knobs=SampleKnobs(steps=steps)))

    def settle(self) -> None:
        """Wait until everything asked for is there and drawn."""
        QTest.qWait(160)  # requests wait a moment for more of them
        self.qtbot.waitUntil(lambda: not any(lane.busy for lane in self.lanes.values()), timeout=LONG)
        QTest.qWait(5)

    def frames(self) -> list[events.Frame]:
        return [event for event in self.heard if isinstance(event, events.Frame)]


@pytest.fixture
def bench(qtbot: QtBot, models: dict[Path, Header]) -> Iterator[Bench]:
    made = Bench(qtbot, models)
    yield made
    for lane in made.lanes.values():
        assert lane.close()
        lane.deleteLater()


def with_schedules(models: dict[Path, Header]) -> dict[Path, Header]:
    """The same models, of which the first keeps short schedules."""
    first, *others = models
    return {first: dataclasses.replace(models[first], schedules=LEARNED), **{path: models[path] for path in others}}


def click(widget: QWidget) -> None:
    QTest.mouseClick(widget, Qt.MouseButton.LeftButton)


def retype(edit: QLineEdit, text: str) -> None:
    edit.setFocus()
    edit.selectAll()
    QTest.keyClicks(edit, text)


def positions(panel: ComparePanel) -> list[str]:
    return [card.step.text() for card in panel.lanes.board.cards]


def choose_folder(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: str(folder))
    return folder


class TestLanes:
    def test_nothing_is_asked_for_before_a_model_is_there(self, bench: Bench) -> None:
        bench.panel.show()
        bench.settle()
        assert bench.jobs == []
        for name in bench.panel.pages:
            bench.panel.show_page(name)
            bench.panel.pages[name].refresh()
            bench.panel.pages[name].export()
        assert bench.jobs == []

    def test_all_lanes_are_sampled_from_the_same_noise_as_soon_as_they_show(self, bench: Bench) -> None:
        panel = bench.open()
        assert [type(job) for job in bench.jobs] == [CompareJob]
        firsts = [frame for frame in bench.frames() if frame.index == 0]
        assert sorted(frame.lane for frame in firsts) == [0, 1, 2]
        for first in firsts:
            np.testing.assert_array_equal(first.x, firsts[0].x)
        cards = panel.lanes.board.cards
        assert [card.title_label.text() for card in cards] == ["Ancestral · 6", "DDIM · 3", "DDIM η 1 · 4"]
        assert all("calls · " in card.subtitle_label.fullText() for card in cards)
        assert all(card.note.text().startswith("Δ ") and "to DDIM 20" in card.note.text() for card in cards)
        assert positions(panel) == ["6 / 6", "3 / 3", "4 / 4"]

    def test_scrubbing_keeps_the_lanes_in_step(self, bench: Bench) -> None:
        panel = bench.open()
        lanes = panel.lanes
        lanes.scrubber.setFocus()
        assert lanes.where.text() == "end"
        QTest.keyClick(lanes.scrubber, Qt.Key.Key_Home)
        assert positions(panel) == ["0 / 6", "0 / 3", "0 / 4"]
        assert lanes.where.text() == "log-SNR −8.00"
        seen = [positions(panel)]
        while lanes.where.text() != "end":
            QTest.keyClick(lanes.scrubber, Qt.Key.Key_Right)
            seen.append(positions(panel))
        assert seen[-1] == ["6 / 6", "3 / 3", "4 / 4"]
        assert all(before != after for before, after in itertools.pairwise(seen)), "each key shows something new"
        for shown in seen[:-1]:
            levels = [_level(panel, order, text) for order, text in enumerate(shown)]
            assert max(levels) - min(levels) <= 13 / 2, "never further apart than the coarsest lane's steps"
        QTest.keyClick(lanes.scrubber, Qt.Key.Key_Left)
        assert lanes.where.text() != "end"
        assert bench.jobs[1:] == [], "scrubbing samples nothing"

    def test_playing_goes_to_the_end_and_stops(self, bench: Bench, qtbot: QtBot) -> None:
        panel = bench.open()
        click(panel.lanes.play_button)
        assert panel.lanes.play_button.text() == "Pause"
        assert panel.lanes.position() == 0
        qtbot.waitUntil(lambda: panel.lanes.play_button.text() == "Play together", timeout=LONG)
        assert panel.lanes.where.text() == "end"

    def test_an_added_lane_is_a_copy_that_costs_nothing_until_it_is_changed(self, bench: Bench) -> None:
        panel = bench.open()
        sampled = len(bench.frames())
        click(panel.lanes.list.add_button)
        bench.settle()
        assert len(panel.lanes.board.cards) == 4
        assert len(bench.frames()) == sampled
        editor = panel.lanes.editor
        assert editor.isVisible()
        editor.steps.set_values({"steps": 2})
        bench.settle()
        new = bench.frames()[sampled:]
        assert {frame.lane for frame in new} == {3}, "the others are known"
        assert positions(panel)[3] == "2 / 2"
        click(editor.done_button)
        assert panel.lanes.list.isVisible()
        assert [row.button.text() for row in panel.lanes.list.rows][3] == "DDIM η 1 · 2"

    def test_a_click_edits_a_lane_and_the_cross_removes_it(self, bench: Bench) -> None:
        panel = bench.open()
        click(panel.lanes.list.rows[1].button)
        panel.lanes.editor.sampler.choice.setValue("ancestral")
        bench.settle()
        assert panel.lanes.board.cards[1].title_label.text() == "Ancestral · 3"
        click(panel.lanes.editor.done_button)
        sampled = len(bench.frames())
        click(panel.lanes.list.rows[0].cross)
        bench.settle()
        assert [card.title_label.text() for card in panel.lanes.board.cards] == ["Ancestral · 3", "DDIM η 1 · 4"]
        assert len(bench.frames()) == sampled
        assert not panel.lanes.list.rows[0].cross.isEnabled(), "two lanes stay"

    def test_six_lanes_are_the_most(self, bench: Bench) -> None:
        panel = bench.open()
        for _ in range(5):
            panel.lanes.add_lane()
            click(panel.lanes.editor.done_button)
        assert len(panel.lanes.choices) == 6
        assert not panel.lanes.list.add_button.isEnabled()
        bench.settle()

    def test_another_seed_samples_everything_again(self, bench: Bench) -> None:
        panel = bench.open(reference=False)
        sampled = len(bench.frames())
        retype(panel.lanes.start.seed.findChild(QLineEdit, "seed"), "11")
        bench.settle()
        new = bench.frames()[sampled:]
        assert {frame.lane for frame in new} == {0, 1, 2}
        assert not np.array_equal(new[0].x, bench.frames()[0].x)
        assert all(card.note.text() == "" for card in panel.lanes.board.cards)
        retype(panel.lanes.start.seed.findChild(QLineEdit, "seed"), "3")
        sampled = len(bench.frames())
        bench.settle()
        assert len(bench.frames()) == sampled, "the first seed's lanes are still known"

    def test_another_model_of_the_same_data_joins_and_one_of_other_data_is_refused(
        self, bench: Bench, models: dict[Path, Header]
    ) -> None:
        panel = bench.open()
        second = list(models)[1]
        odd = dataclasses.replace(models[second], facts=models[second].facts | {"shape": (1,)}, title="Odd")
        panel.set_models({**models, Path("/odd.safetensors"): odd})
        click(panel.lanes.list.rows[0].button)
        editor = panel.lanes.editor
        editor.model.setValue("/odd.safetensors")
        assert "makes 1-D points, the other lanes 2-D points" in editor.model_field.note()
        assert panel.lanes.choices[0].model == ""
        editor.model.setValue(str(second))
        assert editor.model_field.note() == ""
        bench.settle()
        assert panel.lanes.choices[0].model == str(second)
        assert panel.lanes.board.cards[0].title_label.text() == "Second · Ancestral · 6"
        assert panel.lanes.board.cards[1].title_label.text() == "First · DDIM · 3"

    def test_what_is_not_possible_is_said_and_keeps_the_lane(self, bench: Bench) -> None:
        panel = bench.open()
        click(panel.lanes.list.rows[1].button)
        editor = panel.lanes.editor
        editor.grid.choice.setValue("exact")
        bench.settle()
        before = panel.lanes.choices[1]
        retype(editor.grid.findChild(QLineEdit, "steps"), "999, 5000")
        assert "0 to 999" in editor.problem()
        assert isinstance(before.spec.grid, Exact)
        assert "5000" not in panel.lanes.choices[1].spec.grid.steps  # type: ignore[attr-defined]
        bench.settle()

    def test_learned_schedules_are_chosen_and_named(self, bench: Bench, models: dict[Path, Header]) -> None:
        bench.models = with_schedules(models)
        panel = bench.open()
        click(panel.lanes.list.rows[1].button)
        editor = panel.lanes.editor
        grid = editor.grid.choice
        labels = [grid.itemText(index) for index in range(grid.count())]
        assert labels[-3:] == [
            "learned · 3 steps, Ancestral, FD 1.5",
            "learned · 3 steps, DDIM",
            "learned · 4 steps",
        ]
        grid.setValue(Betas.of(LEARNED[2]))
        bench.settle()
        assert panel.lanes.choices[1].spec.grid == Betas.of(LEARNED[2])
        assert panel.lanes.lineup.titles[:2] == ("Ancestral · 6 · by log-SNR", "DDIM · learned, 4 steps")
        assert editor.title.text() == "DDIM · learned, 4 steps"
        assert editor.steps.field("steps").note() == "follows from the list"
        assert editor.steps.field("steps").control.edit.text() == "4"
        assert panel.lanes.board.cards[1].step.text() == "4 / 4"
        grid.setValue(Betas.of(LEARNED[0]))
        assert panel.lanes.lineup.titles[1] == "Ancestral · learned, 3 steps", "with the sampler it was found with"
        assert grid.parentWidget().note() == "Ancestral, FD 1.5"
        editor.sampler.choice.setValue("ddim")
        assert panel.lanes.lineup.titles[1] == "DDIM · learned, 3 steps, for Ancestral", "two have three steps"
        grid.setValue(Betas.of(LEARNED[1]))
        assert panel.lanes.lineup.titles[1] == "DDIM · learned, 3 steps"
        grid.setValue(Betas.of(LEARNED[2]))
        second = str(list(models)[1])
        editor.model.setValue(second)
        assert panel.lanes.choices[1] == LaneChoice(panel.lanes.choices[1].spec, second)
        assert panel.lanes.choices[1].spec.grid == Betas.of(LEARNED[2]), "tried on another model"
        assert grid.value() == "betas"
        assert [grid.itemText(index) for index in range(grid.count())] == labels[:-3]
        assert "learned · 4 steps, from another model" in grid.parentWidget().note()
        assert panel.lanes.lineup.titles[1] == "Second · DDIM · learned for First, 4 steps"
        bench.settle()
        click(panel.lanes.list.rows[0].button)
        click(panel.lanes.list.rows[1].button)
        assert "from another model" in grid.parentWidget().note()
        editor.model.setValue("")
        assert grid.currentText() == "learned · 4 steps"
        kept = [LaneChoice.from_dict(choice.to_dict()) for choice in panel.lanes.choices]
        assert kept == panel.lanes.choices
        bench.settle()

    def test_a_failure_is_told_and_the_next_success_takes_it_back(
        self, bench: Bench, models: dict[Path, Header]
    ) -> None:
        panel = bench.open()
        panel.lanes.receive(events.Failed(summary="no memory", job_id=10**9))
        assert panel.lanes.banner.isVisible()
        QTest.keyClick(panel.lanes.scrubber, Qt.Key.Key_F5)
        bench.settle()
        assert not panel.lanes.banner.isVisible()

    def test_what_was_done_but_never_shown_is_sampled_again(self, bench: Bench) -> None:
        panel = bench.open()
        lanes = panel.lanes
        lanes.job_requested.disconnect(bench.lanes["Lanes"].submit)
        lanes.start.restore({"seed": 8})
        lanes._relist()
        lanes._ask()
        list(drive(bench.jobs[-1], Control(), 10**8))  # its messages are passed over, as those of a replaced job
        lanes.receive(events.Finished(outcome="stopped", job_id=10**8))
        lanes._ask()
        for event in drive(bench.jobs[-1], Control(), 10**9):
            if event is not None:
                lanes.receive(event)
        assert not lanes._missing()
        lanes._draw()
        assert positions(panel) == ["6 / 6", "3 / 3", "4 / 4"]

    def test_after_more_training_lanes_are_sampled_again(self, bench: Bench, models: dict[Path, Header]) -> None:
        panel = bench.open()
        path, sampled = next(iter(models)), len(bench.frames())
        panel.set_models(models)
        bench.settle()
        assert len(bench.frames()) == sampled, "nothing has changed"
        moment = path.stat().st_mtime_ns + 1
        os.utime(path, ns=(moment, moment))
        panel.set_models(models)
        bench.settle()
        assert {frame.lane for frame in bench.frames()[sampled:]} == {0, 1, 2}
        assert all(card.note.text().startswith("Δ ") for card in panel.lanes.board.cards)

    def test_sampling_again_takes_the_reference_again(self, bench: Bench) -> None:
        panel = bench.open()
        bench.heard.clear()
        panel.lanes.refresh()
        bench.settle()
        assert any(isinstance(event, events.Status) and "reference" in event.text for event in bench.heard)

    def test_warnings_of_a_job_stand_together(self, bench: Bench) -> None:
        panel = bench.open()
        for job_id, text in ((10**8, "old"), (10**9, "one"), (10**9, "two"), (10**9, "one")):
            panel.lanes.receive(events.Warned(summary=text, job_id=job_id))
        assert panel.lanes.banner.text() == "one\ntwo"
        panel.lanes.receive(events.Failed(summary="See above.", job_id=10**9))
        assert panel.lanes.banner.text() == "one\ntwo\nSee above."

    def test_lanes_are_laid_out_for_the_largest_pictures(self) -> None:
        assert best_columns(4, 900, 700) == 2
        assert best_columns(2, 900, 500) == 2
        assert best_columns(6, 900, 600) == 3
        assert best_columns(4, 1600, 400) == 4

    def test_settings_survive(self, bench: Bench, qtbot: QtBot, models: dict[Path, Header]) -> None:
        panel = bench.open()
        click(panel.lanes.list.rows[2].cross)
        panel.show_page("Grid")
        panel.quality.form.set_values({"count": 77})
        again = ComparePanel()
        qtbot.addWidget(again)
        again.restore(panel.state())
        path, header = next(iter(models.items()))
        again.set_model(str(path), header, method_from_dict("recipe", header.recipe).schedule)
        assert again.page() == "Grid"
        assert again.lanes.choices == panel.lanes.choices
        assert again.lanes.start.value() == (3, 20, 20)
        assert again.quality.form.values()["count"] == 77
        again.restore({"page": "Kitchen", "Lanes": {"lanes": {"2": [{"model": 3}]}, "start": 5}, "Grid": "no"})
        bench.settle()

    def test_export_writes_what_makes_it_again(
        self, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        panel = bench.open()
        folder = choose_folder(monkeypatch, tmp_path / "out")
        click(panel.lanes.export_button)
        assert "Exported 3 lanes" in panel.lanes.banner.text()
        names = {path.name for path in folder.iterdir()}
        pictures = {"1-ancestral-6.png", "2-ddim-3.png", "3-ddim-eta-1-4.png"}
        assert names == {*pictures, "comparison.png", "comparison.gif", "lanes.csv", "reproduce.sh"}
        with Image.open(folder / "comparison.gif") as moving:
            assert moving.n_frames > 5  # type: ignore[attr-defined]
        rows = list(csv.DictReader((folder / "lanes.csv").read_text().splitlines()))
        assert [row["network_calls"] for row in rows] == ["6", "3", "4"]
        assert all(float(row["rms_to_ddim_20"]) > 0 for row in rows)
        before = {name: (folder / name).read_bytes() for name in pictures}
        lines = [line for line in (folder / "reproduce.sh").read_text().splitlines() if line.startswith("denoising")]
        assert len(lines) == 3
        assert subprocess.run(["sh", "-n", str(folder / "reproduce.sh")], check=False).returncode == 0
        monkeypatch.chdir(folder)
        for line in lines:
            assert cli.main(shlex.split(line)[1:]) == 0
        assert {name: (folder / name).read_bytes() for name in pictures} == before


def _level(panel: ComparePanel, order: int, text: str) -> float:
    reel = panel.lanes._reels[panel.lanes.lineup.lanes[order]]
    return min(reel.log_snrs[reel.steps.index(int(text.split(" / ")[0]))], 5.0)


class TestQuality:
    @pytest.fixture(autouse=True)
    def no_report(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Its plots take longer than everything else here, and have tests of their own."""
        monkeypatch.setattr("studio.core.evaluator.write_report", lambda folder, table: folder / "report.html")

    def measured(self, bench: Bench) -> ComparePanel:
        panel = bench.open(reference=False)
        panel.show_page("Quality")
        panel.quality.form.set_values({"count": 100, "seeds": 2, "steps": "2, 4"})
        panel.quality.score.setValue("sliced_wasserstein")
        click(panel.quality.measure_button)
        bench.settle()
        return panel

    def test_measure_fills_the_plot_and_the_table(self, bench: Bench) -> None:
        panel = self.measured(bench)
        quality = panel.quality
        curves = quality.plot.curves()
        assert [curve.label for curve in curves] == ["Ancestral", "DDIM", "DDIM η 1"]
        assert [curve.order for curve in curves] == [0, 1, 2]
        assert all(curve.xs == (2.0, 4.0) for curve in curves)
        assert all(error >= 0 for curve in curves for error in curve.errors)
        assert quality.plot.floor() is not None
        assert quality.table.model().rowCount() == 6
        assert "few" in quality.warning.text()
        quality.against.setValue("seconds")
        assert all(x > 0 for curve in quality.plot.curves() for x in curve.xs)
        quality.score.setValue("deviation")
        assert quality.curves() == []
        click(quality.measure_button)
        bench.settle()
        assert len(quality.curves()) == 3
        assert all(y > 0 for curve in quality.plot.curves() for y in curve.ys)
        assert quality.plot.floor() is None
        quality.score.setValue("sliced_wasserstein")
        quality.against.setValue("nfe")
        assert quality.plot.curves() == tuple(curves), "what was measured before is kept"
        assert quality.caption.fullText() == "Measured · 100 samples · class each · levels by log-SNR · w 0"
        assert quality.estimate.text() == "all measured"

    def test_lists_are_one_point_beside_the_curves(self, bench: Bench, models: dict[Path, Header]) -> None:
        bench.models = with_schedules(models)
        panel = bench.open(reference=False)
        self.put(panel, Betas.of(LEARNED[0]), Betas.of(LEARNED[2]))
        panel.show_page("Quality")
        quality = panel.quality
        quality.form.set_values({"count": 100, "seeds": 1, "steps": "2, 4"})
        quality.score.setValue("sliced_wasserstein")
        assert "is one point" in quality.note.text()
        click(quality.measure_button)
        bench.settle()
        curves = {curve.label: curve for curve in quality.plot.curves()}
        assert {label: curve.xs for label, curve in curves.items()} == {
            "Ancestral · by log-SNR": (2.0, 4.0),
            "DDIM · learned, 3 steps, for Ancestral": (3.0,),
            "DDIM η 1 · learned, 4 steps": (4.0,),
        }
        assert curves["Ancestral · by log-SNR"].captions[0] == "Ancestral · by log-SNR · 2 steps"
        assert curves["DDIM η 1 · learned, 4 steps"].captions == ("DDIM η 1 · learned, 4 steps",)
        assert quality.estimate.text() == "all measured"
        self.put(panel, *(Betas.of(schedule) for schedule in LEARNED))
        assert not quality.form.field("steps").control.isEnabled()
        assert quality.form.field("steps").note() == "every lane visits a list"
        assert [cell.steps for cell in quality.evaluation().cells()] == [3, 3, 4]

    def put(self, panel: ComparePanel, *grids: Grid) -> None:
        """Give the last lanes these grids."""
        lanes = panel.lanes.choices
        for order, grid in zip(range(len(lanes) - len(grids), len(lanes)), grids, strict=True):
            lanes[order] = dataclasses.replace(lanes[order], spec=dataclasses.replace(lanes[order].spec, grid=grid))
        panel.set_models({path: panel.lanes.lineup.headers[path] for path in panel.lanes.lineup.headers})

    def test_it_goes_on_where_it_stopped(self, bench: Bench, models: dict[Path, Header]) -> None:
        panel = self.measured(bench)
        before = panel.quality.curves()
        panel.quality._points.clear()
        bench.heard.clear()
        click(panel.quality.measure_button)
        bench.settle()
        assert panel.quality.curves() == before, "seconds too: nothing was sampled again"

    def test_stop_ends_it_and_keeps_what_is_there(self, bench: Bench, qtbot: QtBot) -> None:
        panel = bench.open(reference=False)
        panel.show_page("Quality")
        panel.quality.form.set_values({"count": 200, "seeds": 5, "steps": "2, 300"})
        click(panel.quality.measure_button)
        assert panel.quality.measure_button.text() == "Stop"
        qtbot.waitUntil(lambda: any(isinstance(e, events.CellScored) for e in bench.heard), timeout=LONG)
        click(panel.quality.measure_button)
        bench.settle()
        assert panel.quality.measure_button.text() == "Measure"
        assert panel.quality.measure_button.isEnabled()
        assert "goes on from here" in panel.quality.caption.text()
        assert panel.quality.table.model().rowCount() >= 1

    def test_impossible_settings_are_said_where_they_stand(self, bench: Bench) -> None:
        panel = bench.open(reference=False)
        panel.show_page("Quality")
        edit = panel.quality.form.findChild(QLineEdit, "steps")
        retype(edit, "5, ten")
        assert "whole numbers" in panel.quality.form.field("steps").note()
        assert not panel.quality.measure_button.isEnabled()
        retype(edit, "5, 10")
        assert panel.quality.form.field("steps").note() == ""
        assert "about" in panel.quality.estimate.text()

    def test_export_is_an_evaluation_that_the_command_takes(
        self, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        panel = self.measured(bench)
        folder = choose_folder(monkeypatch, tmp_path / "out")
        click(panel.quality.export_button)
        assert {path.name for path in folder.iterdir()} == {
            "quality.png",
            "curves.csv",
            "rows.csv",
            "evaluation.toml",
        }
        assert Evaluation.from_dict(read_tables(folder / "evaluation.toml"), locate) == panel.quality._measured
        assert tomllib.loads((folder / "evaluation.toml").read_text())["steps"] == [2, 4]
        rows = list(csv.DictReader((folder / "rows.csv").read_text().splitlines()))
        assert len(rows) == 12
        assert {row["seed"] for row in rows} == {"3", "4"}
        assert len((folder / "curves.csv").read_text().splitlines()) == 7

    def test_a_short_schedule_shortens_the_reference(self, bench: Bench, models: dict[Path, Header]) -> None:
        panel = bench.open(reference=False)
        panel.quality.score.setValue("deviation")
        assert panel.quality.evaluation().knobs.reference_steps == 200
        path, header = next(iter(models.items()))
        short = dataclasses.replace(header, recipe={**header.recipe, "num_steps": 120})
        panel.set_models({**models, path: short})
        assert panel.quality.evaluation().knobs.reference_steps == 120

    def test_models_of_one_file_name_and_grids_of_other_knobs_have_points_of_their_own(
        self, bench: Bench, models: dict[Path, Header], tmp_path: Path
    ) -> None:
        panel = bench.open(reference=False)
        twins = [tmp_path / name / "model.safetensors" for name in ("a", "b")]
        for twin, (path, _) in zip(twins, models.items(), strict=True):
            twin.parent.mkdir()
            twin.write_bytes(path.read_bytes())
        panel.set_models({**models, **{twin: read_header(twin) for twin in twins}})
        one = bench.choice(DDIM(), 3)
        other = dataclasses.replace(one, spec=dataclasses.replace(one.spec, grid=LogSNR(noisiest=-6.0)))
        panel.lanes.choices[:] = [
            *(dataclasses.replace(one, model=str(twin)) for twin in twins),
            dataclasses.replace(other, model=str(twins[0])),
        ]
        panel.lanes._relist()
        panel.show_page("Quality")
        for order in range(3):
            entrant = panel.quality._entrant(order)
            assert entrant is not None
            row = {
                **{"id": entrant.id, "model": "model", "entrant": entrant.title, "grid": "log_snr", "steps": 5},
                **{"seed": 0, "nfe": 5, "seconds": 1.0, "images_per_second": 9.0, "data": "Roll", "energy": order},
            }
            panel.quality.receive(events.CellScored(row=row, floor={}, job_id=10**9))
        panel.quality.score.setValue("energy")
        assert [curve.ys for curve in panel.quality.curves()] == [(0.0,), (1.0,), (2.0,)]
        assert len({curve.label for curve in panel.quality.curves()}) == 3
        bench.settle()

    def test_steps_are_read_in_any_order(self) -> None:
        assert read_steps("20, 5 10,5") == (5, 10, 20)
        with pytest.raises(ValueError, match="1 to 10,000"):
            read_steps("0")


class TestGridPage:
    def test_each_place_of_the_table_fills(self, bench: Bench) -> None:
        panel = bench.open(reference=False)
        grid = panel.grid
        grid.rows.edit.setText("2, 3")
        grid.columns.choice.setValue("seed")
        grid.columns.edit.setText("1, 2, 3")
        panel.show_page("Grid")
        bench.settle()
        assert all(grid.table.has_tile(row, column) for row in range(2) for column in range(3))
        assert "calls" in grid.caption.text()
        retype(grid.rows.edit, "2, 4")
        assert "other settings" in grid.note.text()
        QTest.keyClick(grid.rows.edit, Qt.Key.Key_Return)
        bench.settle()
        assert grid.note.text() == ""
        assert len(bench.jobs) == 3

    def test_the_caption_is_of_the_table_that_is_shown(self, bench: Bench) -> None:
        panel = bench.open(reference=False)
        grid = panel.grid
        grid.rows.edit.setText("2")
        grid.columns.choice.setValue("seed")
        grid.columns.edit.setText("1, 2")
        panel.show_page("Grid")
        bench.settle()
        before = grid.caption.fullText()
        assert "Seed" in before
        grid.columns.choice.setValue("sampler.variance")
        grid.rows.choice.setValue("grid.noisiest")
        grid._describe()
        assert grid.caption.fullText() == before

    def test_a_keystroke_asks_only_what_is_not_known(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        panel = bench.open(reference=False)
        grid, asked, whole = panel.grid, [], LogSNR.levels
        monkeypatch.setattr(LogSNR, "levels", lambda self, *given: (asked.append(given[1]), whole(self, *given))[1])
        grid.columns.choice.setValue("seed")
        grid.columns.edit.setText("1, 2, 3, 4")
        grid.rows.edit.setText("31, 32, 33")
        assert asked == [], "no one looks"
        panel.show_page("Grid")
        bench.settle()
        asked.clear()
        retype(grid.rows.edit, "31, 32, 34")
        assert sorted(set(asked)) == sorted(asked)
        asked.clear()
        grid.columns.edit.setText("1, 2, 3, 5")
        assert asked == []
        bench.settle()

    def test_refusals_stand_under_the_values(self, bench: Bench) -> None:
        panel = bench.open(reference=False)
        panel.show_page("Grid")
        bench.settle()
        grid = panel.grid
        retype(grid.rows.edit, "2, 0")
        assert "from 1 to 10,000" in grid.rows.edit_field.note()
        assert not grid.sample_button.isEnabled()
        retype(grid.rows.edit, "2")
        assert grid.rows.edit_field.note() == ""
        grid.columns.choice.setValue("steps")
        assert "same setting" in grid.columns.edit_field.note()

    def test_export(self, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        panel = bench.open(reference=False)
        panel.grid.rows.edit.setText("2")
        panel.grid.columns.edit.setText("1, 2")
        panel.show_page("Grid")
        bench.settle()
        folder = choose_folder(monkeypatch, tmp_path / "out")
        click(panel.grid.export_button)
        assert {path.name for path in folder.iterdir()} == {"table.png", "reproduce.sh"}
        assert (folder / "reproduce.sh").read_text().count("denoising-studio sample") == 2


class TestNearestPage:
    def test_it_finds_and_tells(self, bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        panel = bench.open(reference=False)
        panel.show_page("Nearest")
        bench.settle()
        assert isinstance(bench.jobs[-1], NeighbourJob)
        assert "of 500 samples are nearer" in panel.nearest.verdict.text()
        assert "distance" in panel.nearest.caption.text()
        folder = choose_folder(monkeypatch, tmp_path / "out")
        click(panel.nearest.export_button)
        assert len((folder / "distances.csv").read_text().splitlines()) == 504

    def test_copies_stand_first_and_are_called_out(self, bench: Bench) -> None:
        panel = bench.open(reference=False)
        nearest = panel.nearest
        nearest._job = NeighbourJob(panel.lanes.lineup.lanes[0])
        panel.show_page("Nearest")
        bench.settle()
        images = np.random.default_rng(0).integers(0, 255, (3, 1, 6, 6)).astype(np.uint8)
        found = events.Neighbours(
            samples=images,
            nearest=images,
            distances=np.array([0.3, 0.0, 0.2]),
            typical=np.array([0.1, 0.25, 0.4]),
        )
        nearest.receive(dataclasses.replace(found, job_id=10**9))
        assert nearest.pairs.selected() == 0
        assert "Sample 2 · distance 0 ·" in nearest.caption.text()
        assert "copy" in nearest.caption.text()
        assert nearest.verdict.text().startswith("1 of 3 samples")
        place = QPoint(round(nearest.strip.place_of(0.3)), 30)
        QTest.mouseClick(nearest.strip, Qt.MouseButton.LeftButton, pos=place)
        assert "Sample 1 · distance 0.3" in nearest.caption.text()
        np.testing.assert_array_equal(pair_pictures(images, images)[..., :6], images)
        np.testing.assert_array_equal(pair_pictures(images, images)[..., 7:], images)


class TestPlot:
    def test_ranges_hold_until_data_leaves_them(self, qtbot: QtBot) -> None:
        plot = ScorePlot("Quality")
        qtbot.addWidget(plot)
        plot.resize(500, 300)
        plot.set_axes("evaluations", "FD")

        def curve(*ys: float) -> Curve:
            xs = tuple(10.0 * (k + 1) for k in range(len(ys)))
            return Curve("a", 0, xs, ys, (0.1,) * len(ys), ("x",) * len(ys))

        plot.set_curves([curve(9.0, 4.0)], 1.0)
        before = plot._ranges()
        plot.set_curves([curve(8.0, 4.0)], 1.0)
        assert plot._ranges() == before
        plot.set_curves([curve(90.0, 4.0)], 1.0)
        assert plot._ranges() != before
        found = plot.read_out(plot.place_of(20.0, 4.0))
        assert found is not None
        assert found[1] == 1
        for scheme in ("light", "dark"):
            theme.set_scheme(scheme)  # type: ignore[arg-type]
            assert not plot.grab().isNull()
        assert plot.to_csv().splitlines()[0] == "curve,evaluations,FD,error"


@pytest.mark.parametrize("name", ["Lanes", "Quality", "Grid", "Nearest"])
def test_every_page_takes_every_message(bench: Bench, name: str) -> None:
    panel = bench.open(reference=False)
    panel.show_page(name)
    bench.settle()
    page: Page = panel.pages[name]
    for event in EVERY_EVENT:
        page.receive(dataclasses.replace(event, job_id=10**9))
        QApplication.processEvents()
    page.grab()
    page.set_busy(True)
    page.set_busy(False)


def test_each_page_has_its_side_and_the_switch_shows_it(bench: Bench) -> None:
    panel = bench.open(reference=False)
    for name, page in panel.pages.items():
        button: QPushButton = panel.switch.button(name)
        click(button)
        assert page.isVisible()
        assert page.side.isVisible() != page.wide
    bench.settle()


def test_scores_of_other_data_stay_out_of_the_plot(bench: Bench, models: dict[Path, Header]) -> None:
    panel = bench.open(reference=False)
    first, second = models
    panel.lanes.choices[1] = dataclasses.replace(panel.lanes.choices[1], model=str(second))
    panel.lanes._relist()
    bench.settle()
    for path, data, score in ((first, "Roll", 2.0), (second, "Other", 9.0)):
        entrant = panel.quality._entrant(0 if path is first else 1)
        assert entrant is not None
        row = {
            **{
                "id": entrant.id,
                "model": path.stem,
                "entrant": entrant.title,
                "grid": "log_snr",
                "steps": 5,
                "seed": 0,
                "nfe": 5,
            },
            **{"seconds": 1.0, "images_per_second": 9.0, "data": data, "network": f"{data} net", "energy": score},
        }
        panel.quality.receive(events.CellScored(row=row, floor={"energy": score / 10}, job_id=10**9))
    panel.quality.score.setValue("energy")
    assert [curve.ys for curve in panel.quality.curves()] == [(2.0,)]
    assert panel.quality.plot.floor() == pytest.approx(0.2)
    assert panel.quality.table.model().rowCount() == 1


class TestFewSteps:
    """Lanes of a model that knows a few levels alone."""

    OWN = own_spec(Adversarial(num_steps=3))

    def headers(self, models: dict[Path, Header]) -> dict[Path, Header]:
        path, header = next(iter(models.items()))
        few = dataclasses.replace(header, title="Few", recipe={"name": "adversarial", "num_steps": 3})
        return {path: header, path.with_name("few.safetensors"): few}

    def test_they_begin_with_its_own_steps(self, models: dict[Path, Header]) -> None:
        plain, few = self.headers(models).values()
        assert lanes_for(plain) == default_lanes()
        assert [choice.spec.grid for choice in lanes_for(few)] == [self.OWN.grid] * 3
        assert [choice.spec.sampler for choice in lanes_for(few)] == [
            Ancestral(),
            DDIM(),
            Ancestral(variance="large"),
        ]

    def test_a_lane_that_turns_to_it_takes_its_way_and_gives_it_back(
        self, qtbot: QtBot, models: dict[Path, Header]
    ) -> None:
        headers = self.headers(models)
        plain, few = headers
        editor = LaneEditor()
        qtbot.addWidget(editor)
        editor.set_models(headers, plain, (2,))
        editor.show_choice(default_lanes()[0], "Lane", True)
        told: list[LaneChoice] = []
        editor.changed.connect(told.append)
        editor.model.setValue(str(few))
        assert told == [LaneChoice(self.OWN, str(few))]
        assert editor.grid.choice.currentText() == "its 3 steps"
        editor.model.setValue("")
        assert told[-1] == LaneChoice(SampleSpec(), "")

    def test_what_can_have_no_reference_is_not_asked_for_again(self, models: dict[Path, Header], bench: Bench) -> None:
        panel = bench.open()
        lanes, (plain, few) = panel.lanes, self.headers(models)
        assert not lanes._missing()
        reel = lanes._reels[lanes.lineup.lanes[0]]
        reel.deviation = None
        assert lanes._missing(), "the distance to the reference is not there"
        lanes._headers[plain] = self.headers(models)[few]
        assert not lanes._missing()
