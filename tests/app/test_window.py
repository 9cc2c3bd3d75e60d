"""The whole window under real clicks, keys and drops: the main job from its start to its end, and what can go wrong."""

from __future__ import annotations

import errno
import functools
import gc
import math
import pickle
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import shiboken6
import torch
from PySide6.QtCore import QKeyCombination, QMimeData, QPoint, QPointF, QSettings, Qt, QTimer, QUrl
from PySide6.QtGui import QAction, QDragEnterEvent, QDropEvent, QKeySequence, QShortcut
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QLabel, QLineEdit, QMessageBox, QProgressBar, QPushButton, QWidget
from pytestqt.qtbot import QtBot

from studio.app import theme
from studio.app.controls import Choice, LabeledSlider
from studio.app.forms import KnobForm
from studio.app.main import application
from studio.app.panels.latent import LatentPanel
from studio.app.panels.schedule import SchedulePanel
from studio.app.panels.train import TrainPanel
from studio.app.panels.trajectory import TrajectoryPanel
from studio.app.window import WORKSPACES, MainWindow
from studio.core import events, resources
from studio.core.checkpoints.header import read_header
from studio.core.checkpoints.native import write_schedules
from studio.core.config import RunKnobs, TrainConfig
from studio.core.data.points import SwissRoll
from studio.core.evaluation import fingerprint
from studio.core.grids import Betas
from studio.core.networks.mlp import MLPSpec
from studio.core.networks.unet import UNetSpec
from studio.core.optimizers import AdamSpec
from studio.core.recipes.adversarial import Adversarial
from studio.core.recipes.denoising import DenoisingLearner
from studio.core.runs import Run
from studio.core.schedules import Linear
from studio.core.short_schedule import ShortSchedule
from studio.core.trainer import Trainer
from studio.session.control import Control
from studio.session.jobs import TrainJob, drive

LONG = 30_000  # milliseconds; torch may share the machine with others

Open = Callable[..., MainWindow]


def train(config: TrainConfig, folder: Path) -> Run:
    run = Run(folder)
    assert list(drive(TrainJob(config, run), Control()))[-1].outcome == "done"  # type: ignore[union-attr]
    return run


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models of a few steps, as they ship: digits.safetensors and roll.safetensors."""
    folder = tmp_path_factory.mktemp("shipped")
    digits = TrainConfig(title="Few digits", network=UNetSpec(width=8), run=RunKnobs(steps=4, batch=8))
    roll = TrainConfig(
        title="Small roll",
        data=SwissRoll(num_points=500),
        network=MLPSpec(width=16, blocks=1),
        optimizer=AdamSpec(),
        run=RunKnobs(steps=4, batch=16),
    )
    for name, config in (("digits", digits), ("roll", roll)):
        train(config, folder / name).model.rename(folder / f"{name}.safetensors")
    return folder


@pytest.fixture
def open_window(
    qapp: QApplication, qtbot: QtBot, models: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., MainWindow]]:
    """Opens windows as ``main`` does, on empty settings; at the end they are closed and deleted."""
    monkeypatch.setattr(resources, "shipped_checkpoints", lambda: models)
    QSettings().clear()
    application()
    qapp.setQuitOnLastWindowClosed(False)
    opened: list[MainWindow] = []

    def open_one(*paths: Path, wait: bool = True) -> MainWindow:
        window = MainWindow()
        opened.append(window)
        window.show()
        window.open_paths([str(path) for path in paths])
        if wait:
            ready(qtbot, window)
        return window

    yield open_one
    for window in opened:
        leave(qtbot, window)
    QSettings().clear()
    qapp.setQuitOnLastWindowClosed(True)


def ready(qtbot: QtBot, window: MainWindow) -> None:
    """Wait until all workspaces are there, a model is shown and nothing is being read or sampled."""
    qtbot.waitUntil(lambda: window.train is not None, timeout=LONG)
    qtbot.waitUntil(lambda: not window._errands and not busy(window), timeout=LONG)


def busy(window: MainWindow) -> list[str]:
    return [name for name, lane in window._lanes.items() if lane.busy]


def leave(qtbot: QtBot, window: MainWindow) -> None:
    """Close without a question, and delete."""
    if not shiboken6.isValid(window):
        return
    for lane in window._lanes.values():
        lane.stop()
    qtbot.waitUntil(lambda: not busy(window), timeout=LONG)
    window.close()
    window.deleteLater()
    QApplication.sendPostedEvents(None, 52)  # DeferredDelete


def button(window: QWidget, text: str) -> QPushButton:
    children: list[Any] = window.findChildren(QPushButton)
    found = [item for item in children if item.text() == text and item.isVisible()]
    assert len(found) == 1, (text, found)
    return found[0]


def click(window: QWidget, text: str) -> None:
    QTest.mouseClick(button(window, text), Qt.MouseButton.LeftButton)


def control(owner: QWidget, name: str, kind: type) -> Any:
    children: list[Any] = owner.findChildren(kind, name)
    found = [item for item in children if item.isVisibleTo(owner)]
    assert len(found) == 1, (name, found)
    return found[0]


def pick(choice: Choice, label: str) -> None:
    """Choose with the keys, as a person does who knows the word."""
    choice.setFocus()
    QTest.qWait(QApplication.keyboardInputInterval() + 50)  # what was typed before starts no word with this
    QTest.keyClicks(choice, label.split()[0])
    assert choice.currentText() == label


def retype(where: QLineEdit | LabeledSlider, text: str) -> None:
    edit = where.edit if isinstance(where, LabeledSlider) else where
    edit.setFocus()
    edit.selectAll()
    QTest.keyClicks(edit, text)
    QTest.keyClick(edit, Qt.Key.Key_Return)


def reveal(panel: TrainPanel, name: str) -> QLineEdit:
    """The text field of an advanced setting, after a click on More where it hides."""
    (edit,) = panel.settings.findChildren(QLineEdit, name)
    form: Any = edit
    while not isinstance(form, KnobForm):
        form = form.parentWidget()
    if not edit.isVisibleTo(form):
        QTest.mouseClick(form.more, Qt.MouseButton.LeftButton)
    return edit


def small_training(window: MainWindow, steps: int, **more: str) -> None:
    """Make the form's training tiny, through its own widgets."""
    assert window.train is not None
    settings = window.train.settings
    retype(control(settings, "width", QLineEdit), "8")
    retype(control(settings, "batch", QLineEdit), "8")
    retype(control(settings, "steps", QLineEdit), str(steps))
    for name, text in more.items():
        retype(reveal(window.train, name), text)


class Heard:
    """Everything a lane of a window says."""

    def __init__(self, window: MainWindow, lane: str) -> None:
        self.events: list[events.Event] = []
        self._lane = window._lanes[lane]
        self._lane.received.connect(self.events.append)

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def steps(self) -> int:
        """Training steps told so far."""
        return sum(len(event.steps) for event in self.of(events.Progress))

    @property
    def idle(self) -> bool:
        return not self._lane.busy


def sampled(qtbot: QtBot, window: MainWindow, act: Callable[[], Any]) -> np.ndarray:
    """The samples that follow from doing something."""
    heard = Heard(window, "sample")
    act()
    qtbot.waitUntil(lambda: bool(heard.of(events.Finished)) and heard.idle, timeout=LONG)
    QTest.qWait(1)  # the last frame is drawn at the next turn of the event loop
    frame = heard.of(events.Frame)[-1]
    assert frame.index == frame.total
    return frame.x


def drop(target: QWidget, *paths: Path) -> bool:
    """Drag files over a widget and let them go; False if it does not take them."""
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    at = target.rect().center()
    state = (Qt.DropAction.CopyAction, mime, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier)
    enter = QDragEnterEvent(at, *state)
    QApplication.sendEvent(target, enter)
    if not enter.isAccepted():
        return False
    QApplication.sendEvent(target, QDropEvent(QPointF(at), *state))
    return True


def answer(text: str, shown: list[str]) -> QTimer:
    """Press a button of the next question as soon as it stands; what it asks goes to ``shown``."""
    timer = QTimer()

    def look() -> None:
        box = QApplication.activeModalWidget()
        if isinstance(box, QMessageBox):
            shown.append(box.text())
            timer.stop()
            click(box, text)

    timer.timeout.connect(look)
    timer.start(20)
    return timer


def titles(window: MainWindow, section: str) -> list[str]:
    return [entry.title for entry in window.library._entries if entry.section == section]


def press_key(window: MainWindow, keys: str) -> None:
    """Press keys where the focus is."""
    window.activateWindow()  # a dialog may have been in front
    QTest.qWaitForWindowActive(window)
    combination: QKeyCombination = QKeySequence(keys)[0]  # type: ignore[index]
    QTest.keyClick(
        window.focusWidget() or window, Qt.Key(combination.key()), Qt.KeyboardModifier(combination.keyboardModifiers())
    )


class TestStart:
    def test_it_shows_before_torch_is_imported(self) -> None:
        script = """
import sys
from PySide6.QtCore import QEvent, QObject, QTimer
from studio.app.main import application
app = application()
from studio.app.window import MainWindow
class Watch(QObject):
    def eventFilter(self, watched, event):
        if event.type() == QEvent.Type.Paint and watched is window.library:
            print("torch" in sys.modules, "pyqtgraph" in sys.modules)
            window.library.removeEventFilter(self)
            QTimer.singleShot(0, window.close)
        return False
window, watch = MainWindow(), Watch()
window.library.installEventFilter(watch)
window.show()
app.exec()
"""
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
        assert done.stdout.split() == ["False", "False"], done.stderr
        assert done.returncode == 0
        assert done.stderr == ""

    def test_the_first_launch_shows_the_model_that_ships_and_its_samples(
        self, qtbot: QtBot, open_window: Open, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.undo()
        assert resources.shipped_checkpoints().name == "checkpoints"
        window = open_window()
        assert titles(window, "shipped")
        assert window.workspace() == "Trajectory"
        assert window.library.selected() in {str(path) for path in resources.shipped_checkpoints().iterdir()}
        assert window.trajectory is not None
        assert len(window.trajectory.images.grids["x0"]) == 36
        assert "36 images" in window.status.text()
        assert not window.banner.isVisible()

    def test_paths_on_the_command_line_open(self, open_window: Open, models: Path, tmp_path: Path) -> None:
        QSettings().setValue("workspace", "Train")
        copy = tmp_path / "mine.safetensors"
        copy.write_bytes((models / "roll.safetensors").read_bytes())
        window = open_window(copy)
        assert window.library.selected() == str(copy)
        assert titles(window, "opened") == ["Small roll"]
        assert window.workspace() == "Trajectory", "what was asked for is what is shown"
        assert window.trajectory is not None
        assert window.trajectory.points.isVisible()

    def test_closing_while_it_loads_ends_everything(self, qtbot: QtBot, open_window: Open) -> None:
        window = open_window(wait=False)
        QTest.qWait(1)
        assert window.close()
        assert not window.isVisible()
        QTest.qWait(50)
        assert not [errand for errand in window._errands if errand.isRunning()]


class TestBrokenStart:
    def test_an_engine_that_cannot_be_loaded_is_told(
        self, qtbot: QtBot, open_window: Open, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken() -> str:
            raise ImportError("libtorch.so is not there")

        monkeypatch.setattr("studio.app.window._load_engine", broken)
        window = open_window(wait=False)
        qtbot.waitUntil(lambda: window.banner.isVisible() and not window._errands, timeout=LONG)
        assert "libtorch.so is not there" in window.banner.text()
        assert [bar for bar in window.findChildren(QProgressBar) if bar.isVisible()] == []
        assert any("Reinstall" in label.text() for label in window.stack.currentWidget().findChildren(QLabel))

    def test_runs_that_cannot_be_listed_leave_what_ships(
        self, qtbot: QtBot, open_window: Open, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def denied() -> list[Path]:
            raise PermissionError(errno.EACCES, "Permission denied", "/runs/locked")

        monkeypatch.setattr("studio.session.catalog.trained", denied)
        window = open_window()
        assert "permission denied" in window.banner.text()
        assert window.library.selected() is not None
        assert window._model is not None

    def test_an_unknown_appearance_is_passed_over(self, qapp: QApplication) -> None:
        QSettings().setValue("appearance", "sepia")
        application()
        assert theme.notifier().choice == "system"
        QSettings().clear()


class TestMainJob:
    def test_train_watch_pause_step_resume_save_stop_then_drop_and_sample(
        self, qtbot: QtBot, open_window: Open, studio_home: Path, tmp_path: Path
    ) -> None:
        window = open_window()
        click(window, "Train")
        panel = window.train
        assert panel is not None
        self.choose_data(qtbot, panel)
        small_training(window, 5000, preview_every="1")
        heard = Heard(window, "train")
        click(window, "Start")
        qtbot.waitUntil(lambda: bool(heard.of(events.Preview)), timeout=LONG)
        assert panel.views.loss.isVisible()
        assert len(panel.views.samples.grid) == 30
        assert window.activity.text().startswith("Training · ")
        self.pause_step_resume(qtbot, window, heard)
        model = self.save_and_stop(qtbot, window, heard)
        assert model.is_relative_to(studio_home)
        assert titles(window, "trained") == ["MNIST"]
        assert window.close()
        assert sorted(path.name for path in model.parent.iterdir()) == ["model.safetensors", "resume.safetensors"]

        copy = tmp_path / "elsewhere" / "model.safetensors"
        copy.parent.mkdir()
        copy.write_bytes(model.read_bytes())
        second = open_window()
        assert titles(second, "trained") == ["MNIST"]
        shown = sampled(qtbot, second, lambda: drop(second.library, copy))
        assert shown.shape[1:] == (1, 28, 28)
        assert second.library.selected() == str(copy)
        assert titles(second, "opened") == ["MNIST"]
        self.sample(qtbot, second)

    def choose_data(self, qtbot: QtBot, panel: TrainPanel) -> None:
        """Look at points first, then take the digits."""
        choice = control(panel.settings, "dataset", Choice)
        pick(choice, "Swiss roll")
        qtbot.waitUntil(panel.settings._points.isVisible, timeout=LONG)
        pick(choice, "MNIST")
        qtbot.waitUntil(lambda: panel.settings._pictures.isVisible() and len(panel.settings._pictures) == 16)
        assert "60,000 images" in panel.settings._summary.text()

    def pause_step_resume(self, qtbot: QtBot, window: MainWindow, heard: Heard) -> None:
        assert window.train is not None
        buttons = window.train.settings.buttons
        assert not buttons.step.isEnabled()
        click(window, "Pause")
        qtbot.waitUntil(lambda: buttons.primary.text() == "Resume", timeout=LONG)
        assert window.activity.text() == "Training paused"
        before = heard.steps
        QTest.qWait(300)
        assert heard.steps == before, "a paused training takes no step"
        click(window, "Step")
        qtbot.waitUntil(lambda: heard.steps > before, timeout=LONG)
        QTest.qWait(200)
        assert heard.steps == before + 1
        assert buttons.primary.text() == "Resume"
        click(window, "Resume")
        qtbot.waitUntil(lambda: heard.steps > before + 3, timeout=LONG)
        assert buttons.primary.text() == "Pause"

    def save_and_stop(self, qtbot: QtBot, window: MainWindow, heard: Heard) -> Path:
        click(window, "Save")
        qtbot.waitUntil(lambda: bool(heard.of(events.Saved)), timeout=LONG)
        first = heard.of(events.Saved)[-1]
        qtbot.waitUntil(lambda: titles(window, "trained") == ["MNIST"], timeout=LONG)
        qtbot.waitUntil(lambda: heard.steps > first.step, timeout=LONG)
        click(window, "Stop")
        qtbot.waitUntil(lambda: bool(heard.of(events.Finished)) and heard.idle, timeout=LONG)
        assert heard.of(events.Finished)[-1].outcome == "stopped"
        last = heard.of(events.Saved)[-1]
        header = read_header(Path(last.path))
        assert header.step == last.step == heard.steps > first.step
        assert header.thumbnail
        assert button(window, "Start").isEnabled()
        assert not window.activity.isVisible()
        ready(qtbot, window)
        return Path(last.path)

    def sample(self, qtbot: QtBot, window: MainWindow) -> None:
        """DDIM at 10 steps with eta 0 and 1, then back and forth in the run."""
        panel = window.trajectory
        assert panel is not None
        controls = panel.controls
        sampled(qtbot, window, lambda: retype(control(controls, "steps", LabeledSlider), "10"))
        eta = control(controls, "eta", LabeledSlider)
        plain = sampled(qtbot, window, lambda: click(window, "Sample again"))
        assert np.array_equal(plain, sampled(qtbot, window, lambda: press_key(window, "F5")))
        fresh = sampled(qtbot, window, lambda: retype(eta, "1"))
        assert np.abs(fresh - plain).max() > 0.1
        assert np.array_equal(plain, sampled(qtbot, window, lambda: retype(eta, "0")))
        other = sampled(qtbot, window, lambda: retype(control(controls, "seed", QLineEdit), "7"))
        assert np.abs(other - plain).max() > 0.1
        self.scrub(qtbot, panel)

    def scrub(self, qtbot: QtBot, panel: TrajectoryPanel) -> None:
        transport = panel.images.transport
        scrubber = transport.scrubber
        assert transport.where() == "10 / 10"
        scrubber.setFocus()
        for key, place in ((Qt.Key.Key_Home, 0), (Qt.Key.Key_Right, 1), (Qt.Key.Key_Right, 2), (Qt.Key.Key_Left, 1)):
            QTest.keyClick(scrubber, key)
            assert transport.where() == f"{place} / 10"
        middle = scrubber.rect().center()
        QTest.mousePress(scrubber, Qt.MouseButton.LeftButton, pos=QPoint(8, middle.y()))
        assert transport.where() == "0 / 10"
        QTest.mouseMove(scrubber, middle)
        QTest.mouseRelease(scrubber, Qt.MouseButton.LeftButton, pos=middle)
        assert transport.where() == "5 / 10"
        assert panel.images.step_panel.title_label.text() == "Step 5 of 10"
        QTest.keyClick(scrubber, Qt.Key.Key_Space)
        assert transport.play_button.text() == "Pause"
        qtbot.waitUntil(lambda: transport.where() == "10 / 10", timeout=LONG)
        qtbot.waitUntil(lambda: transport.play_button.text() == "Play")

    def test_what_was_stopped_goes_on_to_its_end(self, qtbot: QtBot, open_window: Open) -> None:
        window = open_window()
        assert window.train is not None
        click(window, "Train")
        pick(control(window.train.settings, "dataset", Choice), "Two moons")
        small_training(window, 300, preview_every="0")
        heard = Heard(window, "train")
        press_key(window, "Ctrl+Return")
        qtbot.waitUntil(lambda: heard.steps > 5, timeout=LONG)
        press_key(window, "Ctrl+Shift+X")
        qtbot.waitUntil(lambda: bool(heard.of(events.Finished)) and heard.idle, timeout=LONG)
        assert 5 < heard.steps < 300
        press_key(window, "Ctrl+Shift+R")
        qtbot.waitUntil(lambda: len(heard.of(events.Finished)) == 2 and heard.idle, timeout=LONG)
        assert heard.of(events.Finished)[-1].outcome == "done"
        assert heard.steps == 300, "each step is taken once"
        assert titles(window, "trained") == ["Two moons"]


class TestRefusals:
    def test_what_is_no_checkpoint_is_refused_in_words_and_changes_nothing(
        self, qtbot: QtBot, open_window: Open, models: Path, tmp_path: Path
    ) -> None:
        window = open_window()
        chosen, samples = window.library.selected(), Heard(window, "sample")
        for path, words in bad_files(models, tmp_path):
            assert drop(window.library, path)
            qtbot.waitUntil(window.banner.isVisible, timeout=LONG)
            text = window.banner.text()
            assert path.name in text
            assert words in text
            assert "Traceback" not in text
            QTest.mouseClick(window.banner.close_button, Qt.MouseButton.LeftButton)
            assert not window.banner.isVisible()
        ready(qtbot, window)
        assert not (tmp_path / "owned").exists(), "a pickle was run"
        assert window.library.selected() == chosen
        assert samples.events == []
        assert titles(window, "opened") == []
        assert len(sampled(qtbot, window, lambda: click(window, "Sample again"))) == 36

    def test_a_drag_without_files_is_not_taken(self, open_window: Open) -> None:
        assert not drop(open_window().library)

    def test_files_may_be_dropped_anywhere_on_the_window(self, qtbot: QtBot, open_window: Open, models: Path) -> None:
        window = open_window()
        sampled(qtbot, window, lambda: drop(window, models / "roll.safetensors"))
        assert window.library.selected() == str(models / "roll.safetensors")

    def test_a_model_that_went_away_is_told(
        self, qtbot: QtBot, open_window: Open, models: Path, tmp_path: Path
    ) -> None:
        copy = tmp_path / "mine.safetensors"
        copy.write_bytes((models / "digits.safetensors").read_bytes())
        window = open_window(copy)
        copy.unlink()
        assert window.trajectory is not None
        click(window, "Sample again")
        qtbot.waitUntil(window.trajectory.banner.isVisible, timeout=LONG)
        assert "is not there" in window.trajectory.banner.text()
        assert len(window.trajectory.images.grids["x0"]) == 36, "the samples before stay"


class Hostile:
    def __init__(self, target: Path) -> None:
        self._target = target

    def __reduce__(self) -> Any:
        return Path.touch, (self._target,)


def bad_files(models: Path, folder: Path) -> list[tuple[Path, str]]:
    """Files that must be refused, and words that the refusal must have."""
    whole = (models / "digits.safetensors").read_bytes()
    contents: dict[str, tuple[bytes, str]] = {
        "notes.txt": (b"Buy milk and eggs.\n", "no checkpoint"),
        "empty.safetensors": (b"", "no checkpoint"),
        "half.safetensors": (whole[: len(whole) // 2], "cut short"),
        "start.safetensors": (whole[:100], "cut short"),
        "hostile.pt": (pickle.dumps(Hostile(folder / "owned")), "can run code"),
        "hostile.safetensors": (pickle.dumps(Hostile(folder / "owned"), protocol=2), "can run code"),
        "foreign.safetensors": (safetensors.numpy.save({"w": np.zeros(3, np.float32)}), "not one of the studio"),
    }
    found = []
    for name, (content, words) in contents.items():
        (folder / name).write_bytes(content)
        found.append((folder / name, words))
    torch.save({"w": torch.zeros(3)}, folder / "weights.pt")
    (folder / "holiday").mkdir()
    return [
        *found,
        (folder / "weights.pt", "can run code"),
        (folder / "holiday", "no run folder"),
        (folder / "gone.safetensors", "is not there"),
    ]


class TestNewestWins:
    def test_of_several_files_the_last_is_shown_unless_another_was_chosen(
        self, qtbot: QtBot, open_window: Open, models: Path, tmp_path: Path
    ) -> None:
        window = open_window()
        copies = [tmp_path / name for name in ("a.safetensors", "b.safetensors")]
        for copy in copies:
            copy.write_bytes((models / "digits.safetensors").read_bytes())
        drop(window.library, *copies)
        ready(qtbot, window)
        assert window.library.selected() == str(copies[1])
        drop(window.library, copies[0])
        window.library.select(str(models / "roll.safetensors"))
        window.choose_model(str(models / "roll.safetensors"))
        ready(qtbot, window)
        assert window.library.selected() == str(models / "roll.safetensors")

    def test_a_path_means_the_same_from_any_folder(
        self, qtbot: QtBot, open_window: Open, models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        copy = tmp_path / "mine.safetensors"
        copy.write_bytes((models / "roll.safetensors").read_bytes())
        monkeypatch.chdir(tmp_path)
        window = open_window(Path("mine.safetensors"), copy)
        assert titles(window, "opened") == ["Small roll"]
        assert window.library.selected() == str(copy)
        assert QSettings().value("opened") == [str(copy)]


class TestRuns:
    def two_runs(self, studio_home: Path) -> list[Run]:
        """Two tiny runs of the person's own, oldest first."""
        found = []
        for steps, name in ((3, "20260101-000000-a"), (5, "20260102-000000-b")):
            config = TrainConfig(
                title=name,
                data=SwissRoll(num_points=500),
                network=MLPSpec(width=16, blocks=1),
                optimizer=AdamSpec(),
                run=RunKnobs(steps=steps, batch=16),
            )
            found.append(train(config, studio_home / "runs" / name))
        return found

    def test_curves_of_the_newest_choice_and_settings_left_alone(
        self, qtbot: QtBot, open_window: Open, studio_home: Path
    ) -> None:
        old, new = self.two_runs(studio_home)
        QSettings().setValue("model", str(old.model))
        window = open_window()
        assert window.train is not None
        assert titles(window, "trained") == [new.folder.name, old.folder.name], "the newest on top"
        assert window.train.views._tiles[0].number() == "3", "shown although it was read before the workspace was there"
        before = window.train.config()
        for run in (old, new):
            window.choose_model(str(run.model))
        ready(qtbot, window)
        assert window.train.views._tiles[0].number() == "5"
        assert [event.step for event in window.train.views.samples._history] == [5], "the samples that it left"
        assert window.train.config() == before
        click(window, "Train")
        click(window, "Use this run's settings")
        assert window.train.config().title == new.folder.name
        assert not window.train.settings.use_run.isVisible()

    def test_an_answer_for_an_older_choice_is_passed_over(
        self, qtbot: QtBot, open_window: Open, studio_home: Path
    ) -> None:
        old, new = self.two_runs(studio_home)
        window = open_window()
        assert window.train is not None
        window.choose_model(str(new.model))
        ready(qtbot, window)
        window._showed_run((str(old.model), old, TrainConfig(), []))
        assert window._run is not None
        assert window._run.folder == new.folder

    def test_a_run_that_ended_elsewhere_and_is_dropped_was_trained_here(
        self, qtbot: QtBot, open_window: Open, studio_home: Path
    ) -> None:
        window = open_window()
        old, new = self.two_runs(studio_home)
        window.open_paths([str(old.folder)])
        ready(qtbot, window)
        assert titles(window, "trained") == [old.folder.name]
        assert titles(window, "opened") == []
        assert new.model.is_file()

    def test_what_was_trained_elsewhere_is_listed_when_the_person_comes_back(
        self, qtbot: QtBot, open_window: Open, studio_home: Path
    ) -> None:
        window, other = open_window(), QWidget()
        qtbot.addWidget(other)
        qtbot.waitUntil(lambda: window._scan_over, timeout=LONG)
        other.show()
        other.activateWindow()
        qtbot.waitUntil(lambda: not window.isActiveWindow())
        train(
            TrainConfig(
                title="Elsewhere", data=SwissRoll(num_points=500), network=MLPSpec(width=16), run=RunKnobs(steps=2)
            ),
            studio_home / "runs" / "20260101-000000-elsewhere",
        )
        assert "Elsewhere" not in titles(window, "trained")
        window.activateWindow()
        qtbot.waitUntil(lambda: "Elsewhere" in titles(window, "trained"), timeout=LONG)
        other.activateWindow()
        qtbot.waitUntil(lambda: not window.isActiveWindow())
        shutil.rmtree(studio_home / "runs" / "20260101-000000-elsewhere")
        window.activateWindow()
        qtbot.waitUntil(lambda: "Elsewhere" not in titles(window, "trained"), timeout=LONG)

    def test_what_was_listed_while_it_looked_is_not_undone(self, open_window: Open, models: Path) -> None:
        window = open_window()
        found = next(found for found in window._found.values() if found.header is not None)
        assert found.header is not None
        older = replace(found, header=replace(found.header, step=found.header.step - 1, title="Older"))
        newer = replace(found, header=replace(found.header, step=found.header.step + 1, title="Newer"))
        window._scanned_again([older])
        assert window._found[str(found.path)] == found
        window._scanned_again([newer])
        assert window._found[str(found.path)] == newer

    def test_deleting_takes_the_whole_run_folder_and_says_so(
        self, qtbot: QtBot, open_window: Open, studio_home: Path
    ) -> None:
        old, new = self.two_runs(studio_home)
        window = open_window()
        (entry,) = [entry for entry in window.library._entries if entry.path == str(old.model)]
        assert entry.run_folder == str(old.folder)
        window.library.delete_requested.emit(entry.path)
        ready(qtbot, window)
        assert not old.folder.exists()
        assert new.model.is_file()
        assert titles(window, "trained") == [new.folder.name]


class TestTrainingOn:
    def ask(self, window: MainWindow, name: str, text: str) -> None:
        path = next(path for path in window._found if Path(path).stem == name)
        menu = window.library.menu_for(path)
        next(action for action in menu.actions() if action.text() == text).trigger()

    def test_a_training_starts_from_a_model_of_the_library(
        self, qtbot: QtBot, open_window: Open, studio_home: Path
    ) -> None:
        window = open_window()
        assert window.train is not None
        self.ask(window, "roll", "Train on from it")
        assert window.workspace() == "Train"
        config = window.train.config()
        assert (config.title, config.network) == ("Small roll", MLPSpec(width=16, blocks=1))
        assert (config.run.start_from, config.run.steps) == ("roll", 4), "models that ship go by their name"
        qtbot.mouseClick(window.train.settings.buttons.primary, Qt.MouseButton.LeftButton)
        qtbot.waitUntil(lambda: titles(window, "trained") == ["Small roll"], timeout=LONG)
        qtbot.waitUntil(lambda: not window._busy("train"), timeout=LONG)
        (run,) = (Run(folder) for folder in (studio_home / "runs").iterdir())
        assert read_header(run.model).run["start_from"] == "roll"

    def test_it_waits_until_the_workspaces_are_there(self, open_window: Open) -> None:
        window = open_window(wait=False)
        assert window.train is None
        self.ask(window, "digits", "Train on from it")
        assert "still loading" in window.banner.text()

    def test_a_denoiser_of_images_becomes_a_ddgan(self, open_window: Open) -> None:
        window = open_window()
        assert window.train is not None
        self.ask(window, "digits", "Make a DDGAN of it")
        config = window.train.config()
        assert isinstance(config.recipe, Adversarial)
        assert (config.title, config.network) == ("Few digits, DDGAN", UNetSpec(width=8))
        assert config.run.start_from == "digits"
        (roll,) = (path for path in window._found if Path(path).stem == "roll")
        assert "Make a DDGAN of it" not in [action.text() for action in window.library.menu_for(roll).actions()]

    def test_weights_that_do_not_fit_are_told_before_the_training(self, qtbot: QtBot, open_window: Open) -> None:
        window = open_window()
        assert window.train is not None
        self.ask(window, "digits", "Make a DDGAN of it")
        window.train.settings._network.set_value(UNetSpec(width=16))
        note = window.train.settings.note
        qtbot.waitUntil(lambda: "width = 8 where this one has 16" in note.text(), timeout=LONG)
        window.train.settings._run.set_values({"start_from": ""})
        qtbot.waitUntil(lambda: "for 1,000 steps" in note.text(), timeout=LONG)
        window.train.settings._run.set_values({"start_from": "gone"})
        qtbot.waitUntil(lambda: "gone is not there" in note.text(), timeout=LONG)
        assert not window.banner.isVisible(), "it is told where it is awaited"


class TestFailingTrainings:
    def start(self, qtbot: QtBot, window: MainWindow) -> Heard:
        assert window.train is not None
        if not window.train.config().title.startswith("Swiss"):
            click(window, "Train")
            pick(control(window.train.settings, "dataset", Choice), "Swiss roll")
            small_training(window, 40, preview_every="0")
        heard = Heard(window, "train")
        click(window, "Start")
        qtbot.waitUntil(lambda: bool(heard.of(events.Finished)) and heard.idle, timeout=LONG)
        return heard

    def test_a_loss_that_is_no_number(
        self, qtbot: QtBot, open_window: Open, monkeypatch: pytest.MonkeyPatch, studio_home: Path
    ) -> None:
        window = open_window()
        whole = DenoisingLearner.step

        def step(self: DenoisingLearner, batch: Any, *, noise: Any, index: int) -> dict[str, torch.Tensor]:
            found = whole(self, batch, noise=noise, index=index)
            return found | {"loss": found["loss"] * math.nan} if index >= 20 else found

        with monkeypatch.context() as patch:
            patch.setattr(DenoisingLearner, "step", step)
            heard = self.start(qtbot, window)
        assert heard.of(events.Finished)[-1].outcome == "failed"
        assert window.banner.isVisible()
        assert "no number at step 21" in window.banner.text()
        assert "Lower the rate" in window.banner.text()
        assert button(window, "Start").isEnabled()
        assert self.start(qtbot, window).of(events.Finished)[-1].outcome == "done"
        assert not window.banner.isVisible()

    def test_a_run_folder_that_cannot_be_made(self, qtbot: QtBot, open_window: Open, studio_home: Path) -> None:
        window = open_window()
        studio_home.mkdir(exist_ok=True)
        (studio_home / "runs").write_text("in the way")
        click(window, "Train")
        click(window, "Start")
        assert window.banner.isVisible()
        assert button(window, "Start").isEnabled()
        assert "runs" in window.banner.text()
        assert "Errno" not in window.banner.text()
        (studio_home / "runs").unlink()
        assert self.start(qtbot, window).of(events.Finished)[-1].outcome == "done"


class TestClosing:
    def test_it_asks_while_a_training_runs_and_saves(self, qtbot: QtBot, open_window: Open, studio_home: Path) -> None:
        window = open_window()
        assert window.train is not None
        click(window, "Train")
        pick(control(window.train.settings, "dataset", Choice), "Rings")
        small_training(window, 100_000, preview_every="0")
        heard = Heard(window, "train")
        click(window, "Start")
        qtbot.waitUntil(lambda: heard.steps > 5, timeout=LONG)
        asked: list[str] = []
        timer = answer("Go on training", asked)
        assert not window.close()
        assert window.isVisible()
        before = heard.steps
        qtbot.waitUntil(lambda: heard.steps > before, timeout=LONG)
        timer = answer("Save and close", asked)
        window.close()
        qtbot.waitUntil(lambda: not window.isVisible(), timeout=LONG)
        assert len(asked) == 2
        assert not timer.isActive()
        (run,) = (studio_home / "runs").iterdir()
        assert read_header(Run(run).model).step == heard.steps

    def test_a_last_save_that_fails_keeps_the_window_open(
        self, qtbot: QtBot, open_window: Open, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        window = open_window()
        assert window.train is not None
        click(window, "Train")
        pick(control(window.train.settings, "dataset", Choice), "Rings")
        small_training(window, 100_000, preview_every="0")
        heard = Heard(window, "train")
        click(window, "Start")
        qtbot.waitUntil(lambda: heard.steps > 5, timeout=LONG)

        def full(self: Trainer) -> events.Saved:
            raise OSError(errno.ENOSPC, "No space left on device", "model.safetensors")

        monkeypatch.setattr(Trainer, "save", full)
        timer = answer("Save and close", [])
        assert not window.close()
        assert not timer.isActive()
        qtbot.waitUntil(lambda: heard.idle, timeout=LONG)
        QTest.qWait(50)
        assert window.isVisible()
        assert "disk is full" in window.banner.text()
        assert window.banner.isVisible()
        assert window.close(), "a second time it goes"

    def test_a_thread_that_does_not_end_is_waited_for(
        self, qtbot: QtBot, open_window: Open, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("studio.app.window._END_MILLISECONDS", 20)
        window = open_window()
        release = threading.Event()

        def stubborn(control: Control) -> Iterator[events.Event | None]:
            release.wait(10)
            yield None

        lane = window._lanes["sample"]
        lane.submit(stubborn)
        assert not window.close()
        assert window.isVisible()
        lane.submit(stubborn)
        release.set()
        qtbot.waitUntil(lambda: not window.isVisible(), timeout=LONG)
        assert not lane.busy, "a lane that was closed takes no more jobs"

    def test_nothing_is_left_behind(
        self, qtbot: QtBot, open_window: Open, studio_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        gc.collect()
        temporary = tmp_path / "temporary"
        temporary.mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(temporary))  # other tests run beside this one
        timers = running_timers()
        window = open_window()
        press_key(window, "F5")
        QTest.qWait(20)
        assert window.trajectory is not None
        window.trajectory.toggle_play()
        window.close()
        assert not busy(window)
        assert not window._errands or not [errand for errand in window._errands if errand.isRunning()]
        assert running_timers() == timers
        assert not list(temporary.iterdir())
        assert not list(studio_home.rglob("*.part"))


def running_timers() -> Counter[str]:
    """Active timers by the class of their owner."""
    found = [item for item in gc.get_objects() if issubclass(type(item), QTimer) and shiboken6.isValid(item)]
    return Counter(type(timer.parent()).__name__ for timer in found if timer.isActive())


class TestState:
    def test_it_comes_back_in_a_second_window(
        self, qtbot: QtBot, open_window: Open, models: Path, tmp_path: Path
    ) -> None:
        copy = tmp_path / "mine.safetensors"
        copy.write_bytes((models / "digits.safetensors").read_bytes())
        first = open_window()
        drop(first.library, copy)
        qtbot.waitUntil(lambda: first.library.selected() == str(copy), timeout=LONG)
        assert first.trajectory is not None
        retype(control(first.trajectory.controls, "steps", LabeledSlider), "7")
        retype(control(first.trajectory.controls, "eta", LabeledSlider), "0.5")
        retype(control(first.trajectory.controls, "seed", QLineEdit), "11")
        click(first, "Train")
        assert first.train is not None
        small_training(first, 321)
        press_key(first, "Ctrl+2")
        press_key(first, "Ctrl+Alt+2")
        first.resize(first.minimumWidth(), 700)  # as large as the screen of these tests allows
        wanted, config = first.trajectory.spec(), first.train.config()
        first.close()

        second = open_window()
        assert second.workspace() == "Schedule"
        assert second.size() == first.size()
        assert second.library.selected() == str(copy)
        assert titles(second, "opened") == ["Few digits"]
        assert second.trajectory is not None
        assert second.trajectory.spec() == wanted
        assert second.train is not None
        assert second.train.config() == config
        assert second.actions_by_name["dark"].isChecked()
        second.recent_menu.aboutToShow.emit()
        assert [action.text() for action in second.recent_menu.actions()] == ["mine.safetensors"]

    def test_settings_that_make_no_sense_are_passed_over(self, open_window: Open) -> None:
        settings = QSettings()
        for name, value in {
            "trajectory": {"steps": "many", "sampler": "magic", "sampler.ddim.eta": "9"},
            "config": "[run]\nsteps = -1",
            "workspace": "Kitchen",
            "model": "/nowhere/at/all.safetensors",
            "opened": ["/nowhere/at/all.safetensors"],
            "geometry": b"xx",
        }.items():
            settings.setValue(name, value)
        window = open_window()
        assert window.workspace() == "Trajectory"
        assert window.trajectory is not None
        assert window.trajectory.controls.problem() == ""
        assert not window.banner.isVisible()


class TestCompare:
    def test_lanes_are_sampled_in_the_workspace_and_come_back(self, qtbot: QtBot, open_window: Open) -> None:
        first = open_window()
        assert first.compare is not None
        lanes = first.compare.lanes
        lanes.start.images.set_values({"count": 2})
        lanes.start.reference.setChecked(False)
        lanes.remove_lane(0)
        heard = Heard(first, "compare lanes")
        assert not heard.events, "nobody looks at it yet"
        press_key(first, "Ctrl+5")
        qtbot.waitUntil(lambda: bool(heard.of(events.Finished)) and heard.idle, timeout=LONG)
        assert len(heard.of(events.LaneDone)) == 3
        assert first.status.text() == "3 lanes from the same noise"
        titles_before = first.compare.lanes.lineup.titles
        first.choose_model(next(str(path) for path in first._found if "roll" in path))
        qtbot.waitUntil(lambda: len(heard.of(events.LaneDone)) == 7 and heard.idle, timeout=LONG)
        assert heard.of(events.Frame)[-1].x.ndim == 2
        click(first.compare, "Grid")
        first.close()
        second = open_window()
        assert second.workspace() == "Compare"
        assert second.compare is not None
        assert second.compare.page() == "Grid"
        second.choose_model(next(str(path) for path in second._found if "digits" in path))
        assert second.compare.lanes.lineup.titles == titles_before


class TestLatent:
    def test_a_latent_is_held_and_kept_until_the_next_start(
        self, qtbot: QtBot, open_window: Open, tmp_path: Path
    ) -> None:
        config = TrainConfig(
            title="Few steps",
            data=SwissRoll(num_points=300),
            recipe=Adversarial(num_steps=2, latent=3, d_width=8),
            network=MLPSpec(width=16, blocks=1),
            optimizer=AdamSpec(),
            run=RunKnobs(steps=2, batch=16),
        )
        model = train(config, tmp_path / "few").model
        first = open_window()
        press_key(first, "Ctrl+4")
        assert first.workspace() == "Latent"
        assert first.latent is not None
        assert not first.latent.empty.isHidden(), "the models that ship here have no latent"
        first.open_paths([str(model)])
        qtbot.waitUntil(lambda: bool(first.latent and first.latent.empty.buttons), timeout=LONG)
        qtbot.waitUntil(lambda: first._model is not None and first._model[0] == str(model), timeout=LONG)
        first.choose_model(next(str(path) for path in first._found if "digits" in path))
        heard = Heard(first, "latent pad")
        qtbot.waitUntil(lambda: any(item.isVisible() for item in first.latent.empty.buttons))  # type: ignore[union-attr]
        click(first.latent, "Open Few steps")
        assert first.library.selected() == str(model)
        qtbot.waitUntil(lambda: bool(heard.of(events.LatentPad)) and heard.idle, timeout=LONG)
        qtbot.waitUntil(lambda: not busy(first), timeout=LONG)
        press_key(first, "K")
        assert first.status.text() == "Kept z 0"
        click(first.latent, "Play walk")
        qtbot.waitUntil(lambda: "frame" in first.latent.result.subtitle_label.fullText(), timeout=LONG)  # type: ignore[union-attr]
        first.close()
        second = open_window()
        assert second.workspace() == "Latent"
        assert second.latent is not None
        assert [row.text().strip() for row in second.latent.shelf.rows] == ["z 0"]


class TestShortcuts:
    def test_every_action_has_one_and_none_is_claimed_twice(self, open_window: Open) -> None:
        window = open_window()
        actions = [item for item in window.findChildren(QAction) if item.menu() is None and not item.isSeparator()]
        named = [item for item in actions if item in window.actions_by_name.values()]
        assert len(named) == len(window.actions_by_name)
        assert [item.text() for item in named if item.shortcut().isEmpty()] == []
        keys = Counter(item.shortcut().toString() for item in actions if not item.shortcut().isEmpty())
        keys += Counter(item.key().toString() for item in window.findChildren(QShortcut))
        # Plain keys that the workspaces take where the focus is.
        keys += Counter(("Left", "Right", "Home", "End", "Space", "N", "Del"))
        assert {key: count for key, count in keys.items() if count > 1} == {}

    def test_keys_do_what_the_list_says(self, qtbot: QtBot, open_window: Open) -> None:
        window = open_window()
        for number, name in enumerate(WORKSPACES, 1):
            press_key(window, f"Ctrl+{number}")
            assert window.workspace() == name
        press_key(window, "Ctrl+3")
        assert window.trajectory is not None
        before = window.trajectory.spec().knobs.seed
        window.trajectory.setFocus()
        for keys in ("N", "F5", "Ctrl+R"):
            sampled(qtbot, window, functools.partial(press_key, window, keys))
        assert window.trajectory.spec().knobs.seed != before
        shown: list[str] = []
        for keys in ("F1", "Shift+F1"):
            timer = answer("OK", shown)
            press_key(window, keys)
            assert not timer.isActive()
        assert "Start training" in shown[0]
        assert "MIT" in shown[1]

    def test_sample_again_works_from_the_library_too(self, qtbot: QtBot, open_window: Open) -> None:
        window = open_window()
        window.library.list.setFocus()
        heard = Heard(window, "sample")
        press_key(window, "F5")
        qtbot.waitUntil(lambda: bool(heard.of(events.Finished)) and heard.idle, timeout=2000)

    def test_every_shortcut_is_in_the_list(self, open_window: Open) -> None:
        window = open_window()
        shown: list[str] = []
        timer = answer("OK", shown)
        window.actions_by_name["shortcuts"].trigger()
        assert not timer.isActive()
        keys = {item.shortcut().toString() for item in window.actions_by_name.values()}
        keys |= {item.key().toString() for item in window.findChildren(QShortcut)}
        assert [key for key in sorted(keys) if key not in shown[0]] == []


CELL: dict[str, float | int | str | None] = {
    "id": "0123456789ab",
    "entrant": "DDIM η 0",
    "model": "digits",
    "title": "Digits",
    "data": "MNIST",
    "sampler": "ddim",
    "grid": "uniform",
    "guidance": 0.0,
    "steps": 5,
    "seed": 0,
    "count": 200,
    "network": "MNIST classifier 1",
    "nfe": 5,
    "seconds": 1.0,
    "images_per_second": 200.0,
    "peak_mb": 400.0,
    "fd": 2.0,
}


class TestSchedules:
    """The lanes of the schedule workspace, and what its files change elsewhere."""

    @pytest.fixture
    def window(self, qtbot: QtBot, open_window: Open, models: Path, tmp_path: Path) -> MainWindow:
        """A window that shows the schedule workspace of a model whose file may be written."""
        shutil.copy(models / "digits.safetensors", tmp_path / "mine.safetensors")
        window = open_window(tmp_path / "mine.safetensors")
        window.show_workspace("Schedule")
        qtbot.waitUntil(lambda: not busy(window), timeout=LONG)
        return window

    def test_a_kept_schedule_is_offered_everywhere_and_nothing_else_changes(
        self, qtbot: QtBot, window: MainWindow, tmp_path: Path
    ) -> None:
        panel, trajectory = window.schedule, window.trajectory
        assert panel is not None
        assert trajectory is not None
        assert len(panel.live.images) == 20
        before = trajectory.spec()
        drawn = ShortSchedule(betas=(0.01, 0.2, 0.6), origin="drawn")
        panel.show_schedule(drawn)
        click(window, "Keep")
        qtbot.waitUntil(lambda: bool(panel.shelf.kept) and not window._errands, timeout=LONG)
        kept = read_header(tmp_path / "mine.safetensors").schedules
        assert [schedule.betas for schedule in kept] == [drawn.betas]
        assert panel.remove_button.isVisible()
        assert trajectory.spec() == before
        grids = [trajectory.controls.grid.choice.itemText(i) for i in range(trajectory.controls.grid.choice.count())]
        assert "drawn · 3 steps" in grids
        qtbot.waitUntil(lambda: not busy(window), timeout=LONG)
        click(window, "Use in Trajectory")
        assert window.workspace() == "Trajectory"
        assert trajectory.spec().grid == Betas.of(drawn)
        assert trajectory.spec().knobs == before.knobs
        qtbot.waitUntil(lambda: not busy(window), timeout=LONG)
        window.show_workspace("Schedule")
        click(window, "Remove")
        qtbot.waitUntil(lambda: not panel.shelf.kept and not window._errands, timeout=LONG)
        assert panel.current() is not None, "it is still in sight"
        assert trajectory.spec().grid == Betas.of(drawn)

    def test_no_kept_schedule_is_lost_to_another_that_is_kept_meanwhile(
        self, qtbot: QtBot, window: MainWindow, tmp_path: Path
    ) -> None:
        panel, path = window.schedule, tmp_path / "mine.safetensors"
        assert panel is not None
        found = ShortSchedule(betas=(0.3, 0.7), origin="imported")
        # As by a search that has just ended, of which the window knows nothing yet.
        write_schedules(path, lambda kept: [*kept, found], fingerprint(path))
        first, second, third = (ShortSchedule(betas=(0.01, beta), origin="imported") for beta in (0.2, 0.3, 0.4))
        for schedule in (first, second, third):
            panel.show_schedule(schedule)
            panel.keep_button.click()
        qtbot.waitUntil(lambda: len(panel.shelf.kept) == 4 and not window._errands, timeout=LONG)
        assert {schedule.betas for schedule in read_header(path).schedules} == {
            schedule.betas for schedule in (found, first, second, third)
        }
        panel.show_schedule(first)
        panel.remove_button.click()
        qtbot.waitUntil(lambda: len(panel.shelf.kept) == 3 and not window._errands, timeout=LONG)
        assert found.betas in {schedule.betas for schedule in read_header(path).schedules}

    def test_a_file_that_cannot_be_written_is_told(
        self, qtbot: QtBot, window: MainWindow, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        panel = window.schedule
        assert panel is not None

        def refuse(*_: object) -> None:
            raise OSError(errno.ENOSPC, "no space", str(tmp_path / "mine.safetensors"))

        monkeypatch.setattr("studio.session.schedule.write_schedules", refuse)
        panel.show_schedule(ShortSchedule(betas=(0.01, 0.2), origin="drawn"))
        click(window, "Keep")
        qtbot.waitUntil(panel.banner.isVisible, timeout=LONG)
        assert "The disk is full" in panel.banner.text()

    def test_files_are_read_in_a_thread(self, qtbot: QtBot, window: MainWindow, tmp_path: Path) -> None:
        panel = window.schedule
        assert panel is not None
        (tmp_path / "short.csv").write_text("beta\n0.1\n0.5\n")
        panel.exchange.import_files([tmp_path / "short.csv"])
        qtbot.waitUntil(lambda: panel.current() is not None, timeout=LONG)
        panel.exchange.import_files([tmp_path / "none.csv"])
        qtbot.waitUntil(panel.banner.isVisible, timeout=LONG)
        assert "none.csv" in panel.banner.text()

    def test_a_search_goes_on_elsewhere_for_its_own_model_and_ends_with_the_window(
        self, qtbot: QtBot, window: MainWindow, models: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        panel = window.schedule
        assert panel is not None
        tell = threading.Semaphore(0)

        def search(control: Control) -> Iterator[events.Event | None]:
            yield events.TableShape(rows=("0.5",), columns=("0.1", "0.2"), row_title="a", column_title="b")
            for index in range(100):
                while not control.stopping and not tell.acquire(timeout=0.02):
                    yield None
                if control.stopping:
                    return
                yield events.SearchProgress(
                    done=index, total=100, fraction=index / 100, eta_seconds=60.0, text=f"{index} of 100 starts"
                )
                yield events.ScheduleFound(
                    schedule=ShortSchedule(betas=(0.1, 0.5 + index / 1000), origin="learned"),
                    score=3.0 - index / 100,
                    judge="FD",
                    row=0,
                    column=index % 2,
                    best=True,
                )

        monkeypatch.setattr("studio.session.schedule.job_of", lambda request: search)
        heard = Heard(window, "schedule search")
        panel.search.start_requested.emit(panel.search.request())
        tell.release()
        qtbot.waitUntil(lambda: len(panel.shelf.listed()) == 1, timeout=LONG)
        assert window.status.fullText().startswith("Search · 0 of 100 starts")
        window.choose_model(str(models / "roll.safetensors"))
        window.show_workspace("Compare")
        tell.release()
        host = panel._hosts["Search"]
        qtbot.waitUntil(lambda: len(heard.of(events.ScheduleFound)) == 2, timeout=LONG)
        assert host.path.endswith("mine.safetensors")
        assert panel.shelf.listed() == []
        assert window._lanes["schedule search"].busy
        panel.search.stop_requested.emit()
        qtbot.waitUntil(lambda: not window._lanes["schedule search"].busy, timeout=LONG)
        panel.search.start_requested.emit(panel.search.request())
        qtbot.waitUntil(lambda: window._lanes["schedule search"].busy, timeout=LONG)
        window.close()
        qtbot.waitUntil(lambda: not window.isVisible(), timeout=LONG)
        assert not busy(window)

    def test_a_job_is_paused_and_goes_on(
        self, qtbot: QtBot, window: MainWindow, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        panel = window.schedule
        assert panel is not None

        def train(control: Control) -> Iterator[events.Event | None]:
            while not control.stopping:
                time.sleep(0.01)
                yield None

        monkeypatch.setattr("studio.session.schedule.job_of", lambda request: train)
        panel.learn.start_requested.emit(panel.learn.request())
        lane = window._lanes["schedule network"]
        assert lane.control is not None
        panel.learn.pause_requested.emit(True)
        assert lane.control.paused
        panel.learn.pause_requested.emit(False)
        assert not lane.control.paused
        panel.learn.stop_requested.emit()
        qtbot.waitUntil(lambda: not lane.busy, timeout=LONG)


def every_message(job_id: int = 0) -> list[events.Event]:
    """One or more of each kind of message, with values as jobs send them and at their limits."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (4, 1, 28, 28), np.uint8)
    points = rng.normal(size=(50, 2)).astype(np.float32)
    level_loss = np.where(np.arange(25) % 5, 0.1, np.nan).astype(np.float32)

    def progress(step: int, **more: Any) -> events.Progress:
        told: dict[str, Any] = {
            "scalars": {"loss": 0.2, "grad_norm": 0.5, "learning_rate": 1e-3, "of its own": 1.0},
            "steps": np.arange(step - 5, step),
            "losses": np.full(5, 0.2, np.float32),
        }
        return events.Progress(
            step=step,
            total=100,
            images=8 * step,
            seconds=0.1 * step,
            images_per_second=80.0,
            eta_seconds=9.0,
            job_id=job_id,
            **(told | more),
        )

    def frame(x: np.ndarray, index: int, total: int = 2) -> events.Frame:
        alpha = index / total
        return events.Frame(
            index=index,
            total=total,
            alpha=alpha,
            sigma=math.sqrt(1 - alpha**2),
            time=1 - alpha,
            beta=0.1,
            nfe=index,
            seconds=0.1,
            x=x,
            x0=x,
            eps=x,
            eps_norm=1.0,
            x0_change=0.1,
            job_id=job_id,
        )

    digits = images.astype(np.float32) / 127.5 - 1.0
    return [
        events.Event(job_id=job_id),
        events.Status(text="Opening the model", job_id=job_id),
        progress(5),
        progress(10, level_loss=level_loss, level_edges=np.linspace(-10, 10, 26, dtype=np.float32)),
        progress(10, steps=np.zeros(0, np.int64), losses=np.zeros(0, np.float32), scalars={}),
        progress(15, losses=np.array([0.1, np.nan, np.inf, 0.1, 0.0], np.float32)),
        events.HeldOut(step=10, loss=0.3, job_id=job_id),
        events.HeldOut(step=11, loss=math.nan, job_id=job_id),
        events.HeldOut(step=12, loss=0.3, level_loss=level_loss[:9], level_log_snr=np.arange(-4.0, 5.0), job_id=job_id),
        events.Quality(
            step=12, scores={"fd": 2.0}, floor={"fd": 1.0}, network="MNIST classifier 1", count=500, job_id=job_id
        ),
        *[events.Preview(step=10, images=shown, caption="EMA", job_id=job_id) for shown in (images, points)],
        events.Preview(step=12, images=points[:, :1], job_id=job_id),
        *[frame(digits, index) for index in range(3)],
        *[frame(points, index) for index in range(3)],
        *[frame(points[:, :1], index) for index in range(3)],
        frame(digits * math.nan, 0),
        events.LaneDone(lane=0, nfe=2, seconds=0.2, job_id=job_id),
        events.LaneDone(lane=5, nfe=2, seconds=0.2, deviation=0.1, job_id=job_id),
        events.TableShape(rows=("1", "2"), columns=("3",), row_title="a", column_title="b", job_id=job_id),
        events.Tile(row=0, column=0, images=images, caption="a", job_id=job_id),
        events.Tile(row=1, column=0, images=points, job_id=job_id),
        events.Neighbours(
            samples=images,
            nearest=images,
            distances=np.array([0.0, 0.1, 0.2, 2.0]),
            typical=np.array([0.1, 0.3, 0.5]),
            job_id=job_id,
        ),
        events.LatentPad(
            items=np.repeat(images[:1], 25, 0), result=images[0], path=None, num_steps=4, seconds=0.1, job_id=job_id
        ),
        events.LatentPad(items=None, result=points[0], path=points[:5], num_steps=4, seconds=0.1, job_id=job_id),
        events.LatentDraws(row=0, items=images, spread=0.5, job_id=job_id),
        events.LatentDraws(row=99, items=points, spread=math.nan, job_id=job_id),
        events.LatentWalk(first=0, total=4, items=images, job_id=job_id),
        events.LatentWalk(first=99, total=4, items=points, job_id=job_id),
        events.EvaluationProgress(done=0, total=4, fraction=0.1, eta_seconds=9.0, text="a cell", job_id=job_id),
        events.CellScored(row=CELL, floor={"fd": 1.0}, job_id=job_id),
        events.Field(index=1, points=points, arrows=points, job_id=job_id),
        events.Field(index=99, points=points, arrows=points, job_id=job_id),
        events.DataPreview(
            title="MNIST", summary="some", images=images, class_names=tuple("0123456789"), job_id=job_id
        ),
        events.DataPreview(title="Swiss roll", summary="some", images=points, job_id=job_id),
        events.Estimate(seconds_per_step=0.01, memory=10**8, num_parameters=10**5, steps=100, job_id=job_id),
        events.StepLaw(
            index=0,
            x_t=0.0,
            log_snr=(-2.0, 1.0),
            x=np.arange(3.0),
            exact=np.arange(3.0),
            gaussian=(0.0, 1.0),
            best=(0.0, 1.0),
            own_mean=True,
            edges=np.arange(3.0),
            distances={"gaussian": 0.1, "best": 0.1},
            job_id=job_id,
        ),
        events.RatioCurve(
            step=10,
            log_snr=np.arange(-3.0, 4.0),
            learned=np.full(7, 0.2),
            optimum=np.array([0.1, 0.2, np.nan, 0.4, 0.5, 0.6, 1.0]),
            error=np.full(7, 0.1),
            cap=np.linspace(1.0, 0.5, 7),
            job_id=job_id,
        ),
        *[
            events.Emitted(index=index, alpha=0.5, beta=0.3 / (index + 1), ratio=ratio, images=shown, job_id=job_id)
            for index, ratio, shown in ((0, None, images), (1, 0.4, images), (0, None, points), (7, math.nan, points))
        ],
        events.Emitted(
            index=2, alpha=0.9, beta=0.05, ratio=0.1, images=images, done=True, reason="clean", job_id=job_id
        ),
        events.SearchProgress(done=1, total=4, fraction=0.25, eta_seconds=9.0, text="1 of 4 starts", job_id=job_id),
        events.SearchProgress(done=0, total=0, fraction=0.0, eta_seconds=math.nan, text="", job_id=job_id),
        events.ScheduleFound(schedule=None, score=None, judge="FD", row=0, column=0, reason="too clean", job_id=job_id),
        events.ScheduleFound(
            schedule=ShortSchedule(betas=(0.1, 0.5), origin="learned", sampler={"name": "ddim"}),
            score=2.5,
            judge="FD",
            row=1,
            column=0,
            bound=1.5,
            best=True,
            job_id=job_id,
        ),
        events.ScheduleFound(
            schedule=ShortSchedule(betas=(0.1, 0.4), origin="refined"), score=math.inf, judge="FD", job_id=job_id
        ),
        events.Saved(path="/nowhere/model.safetensors", step=10, job_id=job_id),
        events.Paused(paused=True, job_id=job_id),
        events.Paused(paused=False, job_id=job_id),
        events.Warned(summary="The disk is full.", job_id=job_id),
        events.Failed(summary="It went wrong.", details="Traceback", job_id=job_id),
        events.Finished(outcome="done", job_id=job_id),
        events.Finished(outcome="stopped", job_id=job_id),
        events.Finished(outcome="failed", job_id=job_id),
    ]


def kinds(base: type[events.Event] = events.Event) -> list[type[events.Event]]:
    """Every kind of message there is."""
    found = [base]
    for child in base.__subclasses__():
        found += kinds(child)
    return found


class TestMessages:
    @pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.__name__)
    def test_each_kind_of_message_has_samples_here(self, kind: type) -> None:
        assert [event for event in every_message() if type(event) is kind]

    @pytest.mark.parametrize("model", ["none", "digits", "roll"])
    @pytest.mark.parametrize("panel", [TrainPanel, SchedulePanel, TrajectoryPanel, LatentPanel])
    def test_every_panel_takes_every_message(self, qtbot: QtBot, models: Path, panel: type, model: str) -> None:
        application()
        made = panel()
        qtbot.addWidget(made)
        made.resize(1100, 800)
        made.show()
        if model != "none" and panel is not TrainPanel:
            made.set_model(f"{model}.safetensors", read_header(models / f"{model}.safetensors"), Linear())
        for state in ("idle", "running", "stopping") if panel is TrainPanel else ("",):
            if state:
                made.set_state(state)
            for event in [*every_message(), *every_message(job_id=7), *every_message(job_id=3)]:
                made.receive(event)
                QApplication.processEvents()
        made.grab()

    def test_the_window_takes_every_message_from_every_lane(self, qtbot: QtBot, open_window: Open) -> None:
        window = open_window()
        for lane in window._lanes.values():
            for event in every_message(job_id=10_000):
                lane.received.emit(event)
                QApplication.processEvents()
        ready(qtbot, window)
        window.banner.dismiss()
        assert len(sampled(qtbot, window, lambda: click(window, "Sample again"))) == 36
