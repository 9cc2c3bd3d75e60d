"""The page of one step under real clicks: what it asks for, and what it shows of the answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import QPoint, Qt
from pytestqt.qtbot import QtBot

from studio.app.panels.step_distribution import StepDistribution
from studio.app.panels.trajectory import TrajectoryPanel
from studio.app.widgets.plots import LivePlot
from studio.core import events
from studio.core.checkpoints.header import Header
from studio.core.config import method_from_dict, method_to_dict
from studio.core.data.base import DatasetSpec
from studio.core.data.points import Mixture1D, SwissRoll
from studio.core.networks.mlp import MLPSpec
from studio.core.optimizers import AdamSpec
from studio.core.recipes.adversarial import Adversarial
from studio.core.recipes.base import Recipe
from studio.core.recipes.denoising import Denoising
from studio.session.step_distribution import StepJob, StepOf

PLACES = np.linspace(-3.2, 3.2, 101)
EDGES = np.linspace(-3.2, 3.2, 17)


def header(recipe: Recipe, data: DatasetSpec | None = None) -> Header:
    data = data or Mixture1D()
    return Header(
        title="Line",
        family=recipe.family,
        data_title=data.title,
        data=method_to_dict("dataset", data),
        recipe=method_to_dict("recipe", recipe),
        network=method_to_dict("network", MLPSpec()),
        optimizer=method_to_dict("optimizer", AdamSpec()),
        facts={"shape": [2 if isinstance(data, SwissRoll) else 1], "num_classes": 0, "mean": 0.0, "std": 1.0},
        class_names=(),
        run={},
        step=10,
        images=320,
        seconds=1.0,
        num_parameters=1000,
    )


GAN, DDPM = header(Adversarial(num_steps=4)), header(Denoising())


def law(index: int = 0, drawn: bool = True, **more: Any) -> events.StepLaw:
    exact = np.exp(-0.5 * (PLACES / 0.5) ** 2) / (0.5 * np.sqrt(2 * np.pi))
    distances = {"gaussian": 0.41, "best": 0.23} | ({"drawn": 0.05, "chance": 0.03} if drawn else {})
    told: dict[str, Any] = {
        "x_t": 0.3,
        "log_snr": (-2.5, float("inf")),
        "x": PLACES,
        "exact": exact,
        "gaussian": (0.2, 0.0),
        "best": (0.2, 0.6),
        "own_mean": not drawn,
        "edges": EDGES,
        "distances": distances,
        "drawn": np.full(16, 0.15) if drawn else None,
    }
    return events.StepLaw(index=index, **(told | more))


@pytest.fixture
def page(qtbot: QtBot) -> StepDistribution:
    made = StepDistribution()
    qtbot.addWidget(made)
    qtbot.addWidget(made.side)
    made.resize(860, 700)
    made.side.resize(280, 700)
    made.side.show()
    with qtbot.waitExposed(made):
        made.show()
    return made


@pytest.fixture
def asked(page: StepDistribution) -> list[StepJob]:
    found: list[StepJob] = []
    page.job_requested.connect(found.append)
    return found


def test_a_model_is_asked_for_its_own_step_and_a_small_one(
    page: StepDistribution, asked: list[StepJob], qtbot: QtBot
) -> None:
    page.set_model("gan.safetensors", GAN)
    qtbot.waitUntil(lambda: bool(asked))
    assert asked == [StepJob(Path("gan.safetensors"), -0.4, (StepOf(4, 1), StepOf(1000, 250)), count=5000)]
    page.start.setValue(3)
    page.place.slider.setFocus()
    qtbot.keyClick(page.place.slider, Qt.Key.Key_Right)
    qtbot.waitUntil(lambda: len(asked) == 2)
    assert asked[-1].steps == (StepOf(4, 3), StepOf(1000, 750))
    assert asked[-1].x == pytest.approx(-0.35), "quick changes are asked for once"


def test_the_laws_are_drawn_with_their_distances(page: StepDistribution, asked: list[StepJob], qtbot: QtBot) -> None:
    page.set_model("gan.safetensors", GAN)
    qtbot.waitUntil(lambda: bool(asked))
    page.receive(law())
    page.receive(law(1, drawn=False, gaussian=(0.1, 0.2), log_snr=(-2.5, -2.49)))
    assert page.large.title_label.text() == "Large step: 1 → 0 of 4"
    assert page.large.subtitle_label.fullText() == "log-SNR −2.5 → ∞"
    assert page.small.title_label.text() == "Small step: 250 → 249 of 1,000"
    assert [tile.number() for tile in page.large.tiles.values()] == ["0.41", "0.23", "0.05"]
    assert page.large.tiles["drawn"].caption() == "GAN, ≥ 0.03"
    assert not page.small.tiles["drawn"].isVisible()
    assert page.large.plot.marker() == pytest.approx(0.3)
    _, (low, high) = page.large.plot.home()
    assert low == 0.0
    assert 0.8 < high < 1.5, "the point of the DDPM's last step leaves the view"
    page.grab()


def test_x_t_is_dragged_in_the_plot(page: StepDistribution, asked: list[StepJob], qtbot: QtBot) -> None:
    page.set_model("gan.safetensors", GAN)
    qtbot.waitUntil(lambda: bool(asked))
    page.receive(law())
    view = page.large.plot._view
    place = view.from_axis(1.0, 0.5).toPoint()
    qtbot.mousePress(view.viewport(), Qt.MouseButton.LeftButton, pos=place)
    qtbot.mouseRelease(view.viewport(), Qt.MouseButton.LeftButton, pos=place + QPoint(0, 1))
    qtbot.waitUntil(lambda: len(asked) == 2)
    assert asked[-1].x == pytest.approx(1.0, abs=0.03)
    assert page.place.value() == asked[-1].x


def test_what_has_no_effect_says_why(page: StepDistribution, asked: list[StepJob], qtbot: QtBot) -> None:
    page.set_model("gan.safetensors", GAN)
    assert page._steps_field.note() == ""
    page.steps.setValue(8)
    assert "own T = 4" in page._steps_field.note()
    page.steps.setValue(1)
    assert not page.start.isEnabled()
    assert "one step" in page._start_field.note()
    page.steps.setValue(1000)
    assert not page.small.isVisible(), "it would be the same"
    assert page.job().steps == (StepOf(1000, 250),), "the level stays"
    page.set_model("ddpm.safetensors", DDPM)
    assert not page.count.isEnabled()
    assert "no latent" in page._count_field.note()
    page.set_model("gan.safetensors", GAN)
    assert page.count.isEnabled()
    assert page.steps.value() == 4


def test_a_failure_is_told_and_settings_come_back(page: StepDistribution, asked: list[StepJob], qtbot: QtBot) -> None:
    page.set_model("gan.safetensors", GAN)
    qtbot.waitUntil(lambda: bool(asked))
    page.receive(events.Failed(summary="The file is damaged."))
    assert page.banner.text() == "The file is damaged."
    page.receive(law())
    assert not page.banner.isVisible()
    page.steps.setValue(8)
    page.start.setValue(5)
    page.seed.setValue(7)
    other = StepDistribution()
    qtbot.addWidget(other)
    qtbot.addWidget(other.side)
    other.restore({name: str(value) for name, value in page.state().items()})
    assert other.state() == page.state()
    other.restore({"steps": "many", "place": None, "seed": "-3"})
    assert other.step() == StepOf(8, 5)


def test_the_trajectory_offers_the_page_where_the_law_is_known(qtbot: QtBot) -> None:
    panel = TrajectoryPanel()
    qtbot.addWidget(panel)
    panel.resize(1180, 780)
    asked: list[StepJob] = []
    panel.steps.job_requested.connect(asked.append)
    with qtbot.waitExposed(panel):
        panel.show()
    panel.set_model("gan.safetensors", GAN, method_from_dict("recipe", GAN.recipe).schedule)
    qtbot.mouseClick(panel.switch.button("step"), Qt.MouseButton.LeftButton)
    assert panel.steps.isVisible()
    assert panel.steps.side.isVisible()
    assert not panel.controls.isVisible()
    qtbot.waitUntil(lambda: bool(asked))
    panel.grab()
    roll = header(Denoising(), SwissRoll())
    panel.set_model("roll.safetensors", roll, method_from_dict("recipe", roll.recipe).schedule)
    assert panel.page() == "run"
    assert not panel.switch.isVisible()
    assert panel.controls.isVisible()
    assert StepDistribution.problem(roll)


def test_nothing_is_asked_for_while_the_page_is_hidden(qtbot: QtBot) -> None:
    page, asked = StepDistribution(), []
    qtbot.addWidget(page)
    qtbot.addWidget(page.side)
    page.job_requested.connect(asked.append)
    page.set_model("gan.safetensors", GAN)
    qtbot.wait(50)
    assert not asked
    page.show()
    qtbot.waitUntil(lambda: bool(asked))


def test_a_framed_plot_shows_just_that(qtbot: QtBot) -> None:
    plot = LivePlot("x", "density")
    qtbot.addWidget(plot)
    plot.resize(300, 200)
    plot.add_series("y", "y", "text")
    plot.show()
    plot.set_frame((-1.0, 1.0), (0.0, 2.0))
    plot.set_data("y", [-5.0, 5.0], [0.0, 100.0])
    assert plot.home() == ((-1.0, 1.0), (0.0, 2.0))
    plot.reset_view()
    assert plot.home() == ((-1.0, 1.0), (0.0, 2.0))
