"""The rewind view under real clicks and keys: a finished training is scrubbed along both axes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from studio.app.panels.rewind import RewindView
from studio.core import events
from studio.core.checkpoints.header import read_header
from studio.core.config import RunKnobs, TrainConfig
from studio.core.data.points import TwoMoons
from studio.core.networks.mlp import MLPSpec
from studio.core.runs import Run
from studio.session.control import Control
from studio.session.jobs import TrainJob, drive
from studio.session.rewind import NO_SNAPSHOTS, RewindJob

ROWS, COLUMNS = ("3", "40", "1,234"), ("−8.0", "0.4", "sample")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    made = Run(tmp_path_factory.mktemp("runs") / "run")
    config = TrainConfig(
        data=TwoMoons(num_points=500),
        network=MLPSpec(width=16, blocks=1),
        run=RunKnobs(steps=12, batch=16, preview_every=0.0),
    )
    for _ in drive(TrainJob(config, made), Control()):
        pass
    return made


@pytest.fixture
def view(qtbot: QtBot, run: Run) -> RewindView:
    made = RewindView()
    qtbot.addWidget(made)
    made.resize(1044, 700)
    with qtbot.waitExposed(made):
        made.show()
    made.set_model(str(run.model), read_header(run.model))
    return made


def images(row: int, column: int) -> np.ndarray:
    return np.full((4, 1, 28, 28), 40 * row + 10 * column, np.uint8)


def feed(view: RewindView, kind: str = "image", job_id: int = 1, until: int = 9) -> None:
    view.receive(events.Status(text="Rewinding", job_id=job_id))
    view.receive(
        events.TableShape(rows=ROWS, columns=COLUMNS, row_title="training step", column_title="log-SNR", job_id=job_id)
    )
    for place in range(until):
        row, column = divmod(place, 3)
        made = images(row, column) if kind == "image" else np.full((50, 2), 0.1 * place, np.float32)
        caption = f"after step {ROWS[row]}, at log-SNR {COLUMNS[column]}: what the network believes"
        view.receive(events.Tile(row=row, column=column, images=made, caption=caption, job_id=job_id))


def shown(view: RewindView) -> int:
    return view.grid.picture(0).pixelColor(5, 5).red()


def as_images(view: RewindView, run: Run) -> None:
    """Turn to a model of images; its description is all that the view looks at."""
    header = read_header(run.model)
    facts = {"shape": (1, 28, 28), "num_classes": 10, "mean": 0.0, "std": 1.0}
    view.set_model(str(run.model), dataclasses.replace(header, facts=facts, class_names=tuple("0123456789")))


def test_a_rewind_is_asked_for_and_shown(view: RewindView, run: Run, qtbot: QtBot) -> None:
    asked: list[RewindJob] = []
    view.requested.connect(asked.append)
    qtbot.mouseClick(view.button, Qt.MouseButton.LeftButton)
    assert [job.path for job in asked] == [run.model]
    assert asked[0].spec.knobs.guidance == 0.0
    view.set_busy(True)
    for event in drive(asked[0], Control(), 1):
        if event is not None:
            view.receive(event)
    assert view.table.num_rows() > 3
    assert all(view.table.has_tile(row, 0) for row in range(view.table.num_rows()))
    assert view.current() == (view.table.num_rows() - 1, view.table.num_columns() - 1)
    assert view.caption.text() == "After step 12, without noise: the sample."
    assert view.button.text() == "Rewind"


def test_sliders_table_and_captions_go_together(view: RewindView, run: Run, qtbot: QtBot) -> None:
    as_images(view, run)
    feed(view)
    assert view.current() == (2, 2), "the newest is followed"
    qtbot.keyClick(view.training, Qt.Key.Key_Left)
    assert view.current() == (1, 2)
    qtbot.keyClick(view.noise, Qt.Key.Key_Home)
    assert view.current() == (1, 0)
    assert shown(view) == 40
    assert view.caption.text() == "After step 40, at log-SNR −8.0: what the network believes."
    assert [label.text() for label in view._where] == ["step 40", "log-SNR −8.0"]
    qtbot.mouseClick(view.table, Qt.MouseButton.LeftButton, pos=view.table.place_of(2, 1).center().toPoint())
    assert (view.training.value(), view.noise.value()) == (2, 1)
    assert shown(view) == 90
    qtbot.keyClick(view.table, Qt.Key.Key_Right)
    assert view.noise.value() == 2
    assert view._where[1].text() == "sample"


def test_the_table_follows_the_image_that_was_clicked(view: RewindView, run: Run, qtbot: QtBot) -> None:
    as_images(view, run)
    feed(view)
    different = images(0, 0).copy()
    different[2] = 222
    view.receive(events.Tile(row=0, column=0, images=different, job_id=1))
    view.grid.clicked.emit(2)
    picture = view.table.to_image(1.0)
    assert picture.pixelColor(view.table.place_of(0, 0).center().toPoint()).red() == 222
    assert "number 3" in view._all_panel.subtitle_label.fullText()


def test_who_went_somewhere_is_left_there(view: RewindView, run: Run, qtbot: QtBot) -> None:
    as_images(view, run)
    feed(view, until=4)
    qtbot.keyClick(view.table, Qt.Key.Key_Up)
    before = view.current()
    view.receive(events.Tile(row=1, column=1, images=images(1, 1), job_id=1))
    assert view.current() == before
    feed(view, job_id=2)
    assert view.current() == before, "the same table again: another seed, say"


def test_play_walks_through_the_training(view: RewindView, run: Run, qtbot: QtBot) -> None:
    as_images(view, run)
    feed(view)
    view._play_timer.setInterval(5)
    qtbot.keyClick(view, Qt.Key.Key_Space)
    assert view.play_button.text() == "Pause"
    assert view.current() == (0, 2), "from the start, where this was the end"
    qtbot.waitUntil(lambda: view.play_button.text() == "Play")
    assert view.current() == (2, 2)
    view.toggle_play()
    view.hide()
    assert not view._play_timer.isActive()


def test_stop_is_offered_while_a_run_goes_on(view: RewindView, qtbot: QtBot) -> None:
    view.set_busy(True)
    with qtbot.waitSignal(view.stop_requested):
        qtbot.mouseClick(view.button, Qt.MouseButton.LeftButton)
    view.receive(events.Finished(outcome="stopped", job_id=5))
    assert view.button.text() == "Rewind"
    assert view.button.isEnabled()


def test_a_model_without_snapshots_says_so(view: RewindView, run: Run, tmp_path: Path) -> None:
    copy = tmp_path / "model.safetensors"
    copy.write_bytes(run.model.read_bytes())
    view.set_model(str(copy), read_header(copy))
    assert view.table._empty_text == NO_SNAPSHOTS
    assert not view.button.isEnabled()
    assert view.button.toolTip() == "There are no snapshots of this model's training."
    view.set_model(str(tmp_path / "checkpoints" / "model.safetensors"), read_header(run.model))
    assert view.table._empty_text == NO_SNAPSHOTS
    assert not view.button.isEnabled()


def test_choosing_a_model_reads_no_file(
    view: RewindView, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    header = read_header(run.model)
    monkeypatch.setattr("studio.session.rewind.read_header", lambda path: pytest.fail(f"{path} was read"))
    view.set_model(str(run.model), header)
    assert view.button.isEnabled()
    view.set_model(str(run.model), dataclasses.replace(header, step=0))
    assert not view.button.isEnabled(), "as if it had just begun"
    view.look_again(header)
    assert view.button.isEnabled(), "the newer description counts"


def test_messages_of_the_model_before_are_passed_over(view: RewindView, run: Run) -> None:
    feed(view, "points", job_id=4)
    view.set_model(str(run.model), read_header(run.model))
    view.receive(events.Tile(row=0, column=0, images=np.zeros((5, 2), np.float32), job_id=4))
    assert view.table.num_rows() == 0
    assert not view.training.isEnabled()


def test_every_message_can_come_at_any_time(view: RewindView) -> None:
    for event in (
        events.Tile(row=0, column=0, images=np.zeros((5, 2), np.float32)),
        events.Status(text="x"),
        events.Warned(summary="x"),
        events.HeldOut(step=1, loss=1.0),
        events.Failed(summary="The disk is gone."),
        events.Finished(outcome="failed"),
    ):
        view.receive(dataclasses.replace(event, job_id=3))
    assert view.hint.fullText() == "The disk is gone."
    assert view.table._empty_text == "The disk is gone."
    feed(view, "points", job_id=4)
    assert view.particles.isVisible()
    view.receive(events.Finished(outcome="done", job_id=4))
    assert view.hint.fullText() == ""
