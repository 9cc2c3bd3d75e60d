"""Long use in short: thousands of messages and repaints lose no reference to None and fill no memory.

PySide releases that lose references to None end the process after minutes of repainting on Python 3.11 ("deallocating
None"); ones that keep too many leak. From 3.12 on None is immortal and its count says nothing.
"""

from __future__ import annotations

import dataclasses
import gc
import math
import sys
from collections.abc import Callable, Iterator

import numpy as np
import psutil
import pytest
from PySide6.QtWidgets import QApplication, QWidget
from pytestqt.qtbot import QtBot

from studio.app import theme
from studio.app.panels.latent import LatentPanel
from studio.app.panels.schedule import SchedulePanel
from studio.app.panels.train import TrainPanel
from studio.app.panels.trajectory import TrajectoryPanel
from studio.core import events, resources
from studio.core.checkpoints.header import Header, read_header
from studio.core.config import TrainConfig, method_to_dict
from studio.core.recipes.adversarial import Adversarial
from studio.core.schedules import Linear

ROUNDS = 100
EDGES = np.linspace(-10, 10, 26, dtype=np.float32)

Feed = Callable[[int], None]


@pytest.fixture(autouse=True)
def installed(qapp: QApplication) -> Iterator[None]:
    theme.install(qapp, "light")
    yield
    theme.set_scheme("system")


@pytest.fixture(scope="module")
def header() -> Header:
    return read_header(resources.shipped_checkpoints() / "mnist-ddpm.safetensors")


def train_feed(panel: TrainPanel) -> Feed:
    """A training as the window hears it: thirty messages a second, now and then curves by level and samples."""
    panel.settings.start_requested.emit(TrainConfig())
    panel.set_state("running")
    images = np.zeros((30, 1, 28, 28), np.uint8)

    def feed(number: int) -> None:
        step = 2 * number + 2
        panel.receive(
            events.Progress(
                step=step,
                total=3000,
                images=32 * step,
                seconds=0.03 * step,
                images_per_second=1000.0,
                eta_seconds=60.0,
                scalars={"loss": 0.2, "grad_norm": 0.5, "learning_rate": 0.01},
                steps=np.arange(step - 2, step),
                losses=np.full(2, 0.2 + 0.1 * math.sin(step), np.float32),
                level_loss=np.full(25, 0.1, np.float32) if number % 10 == 0 else None,
                level_edges=EDGES if number % 10 == 0 else None,
            )
        )
        if number % 25 == 0:
            panel.receive(events.Preview(step=step, images=images, caption="EMA"))
            panel.receive(events.HeldOut(step=step, loss=0.3))

    return feed


def trajectory_feed(panel: TrajectoryPanel, header: Header) -> Feed:
    """Runs of ten steps, one after the other, as from a moving slider."""
    panel.set_model("digits.safetensors", header, Linear())
    x = np.zeros((9, 1, 28, 28), np.float32)

    def feed(number: int) -> None:
        job, index = divmod(number, 11)
        if index == 0:
            panel.set_spec(panel.spec())
            panel._ask()
        alpha = index / 10
        sigma = math.sqrt(1 - alpha**2)
        panel.receive(
            events.Frame(
                index=index,
                total=10,
                alpha=alpha,
                sigma=sigma,
                time=1 - alpha,
                beta=0.1,
                nfe=index,
                seconds=0.1,
                x=x,
                x0=x,
                eps=x,
                eps_norm=1.0,
                x0_change=0.1,
                job_id=job + 1,
            )
        )
        if index == 10:
            panel.receive(events.Finished(outcome="done", job_id=job + 1))
            panel.go_to(5)

    return feed


def schedule_feed(panel: SchedulePanel, header: Header) -> Feed:
    """Steps that change, and a selection that moves."""
    panel.set_model("digits.safetensors", header, Linear())

    def feed(number: int) -> None:
        if number % 10 == 0:
            panel.settings.steps.setValue(5 + number // 10 % 30)
        panel.select(number % 5)

    return feed


def latent_feed(panel: LatentPanel, header: Header) -> Feed:
    """A marker that is dragged: results all the time, now and then a whole pad with its draws."""
    recipe = Adversarial()
    panel.set_model("gan.safetensors", dataclasses.replace(header, recipe=method_to_dict("recipe", recipe)), Linear())
    images = np.zeros((25, 1, 28, 28), np.uint8)

    def feed(number: int) -> None:
        panel.pad.moved.emit(number % 20 / 10 - 1, 0.5)
        items = images if number % 10 == 0 else None
        panel.receive(events.LatentPad(items=items, result=images[0], path=None, num_steps=4, seconds=0.1))
        if items is not None:
            for row in range(recipe.num_steps):
                panel.receive(events.LatentDraws(row=row, items=images[:11], spread=0.1))

    return feed


def soak(panel: QWidget, feed: Feed, first: int, rounds: int) -> None:
    """Feed and repaint; everything in the panel is drawn each time."""
    for number in range(first, first + rounds):
        feed(number)
        panel.update()
        QApplication.processEvents()


@pytest.mark.parametrize("name", ["train", "trajectory", "schedule", "latent"])
def test_none_and_memory_do_not_drift(qtbot: QtBot, header: Header, name: str) -> None:
    panel: QWidget
    if name == "train":
        panel = TrainPanel()
        feed = train_feed(panel)
    elif name == "trajectory":
        panel = TrajectoryPanel()
        feed = trajectory_feed(panel, header)
    elif name == "latent":
        panel = LatentPanel()
        feed = latent_feed(panel, header)
    else:
        panel = SchedulePanel()
        feed = schedule_feed(panel, header)
    qtbot.addWidget(panel)
    panel.resize(1100, 800)
    with qtbot.waitExposed(panel):
        panel.show()
    soak(panel, feed, 0, 50)
    gc.collect()
    nones, memory = sys.getrefcount(None), psutil.Process().memory_info().rss
    soak(panel, feed, 50, ROUNDS)
    gc.collect()
    drift, grown = sys.getrefcount(None) - nones, psutil.Process().memory_info().rss - memory
    if sys.version_info < (3, 12):
        # Each round repaints dozens of widgets: a reference lost or kept in a paint would show in thousands.
        assert abs(drift) < ROUNDS, drift
    assert grown < 40e6, f"{grown / 1e6:.0f} MB more after {ROUNDS} rounds"
