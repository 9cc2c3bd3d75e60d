"""The Train workspace with a training of two players: their curves, their balance, and settings that have no effect."""

from __future__ import annotations

import csv
import math
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from pytestqt.qtbot import QtBot

from studio.app.panels.smoothing import Smoother
from studio.app.panels.train import TrainPanel
from studio.app.panels.train_balance import ENOUGH, BalanceView
from studio.core import events
from studio.core.config import RunKnobs, TrainConfig
from studio.core.data.points import Mixture1D
from studio.core.networks.mlp import MLPSpec
from studio.core.recipes.adversarial import Adversarial
from studio.core.recipes.balance import IN_BALANCE

EDGES = np.linspace(-10, 10, 26, dtype=np.float32)
HEALTHY = {
    "loss": 0.8,
    "d_loss": 1.2,
    "real_logit": 0.4,
    "fake_logit": -0.3,
    "d_right": 0.7,
    "r1": 0.02,
    "grad_norm": 0.5,
    "d_grad_norm": 0.3,
    "z_spread": 0.4,
    "diversity": 0.95,
    "learning_rate": 1e-3,
}
CONFIG = TrainConfig(recipe=Adversarial(), run=RunKnobs(steps=2000))
LINE = TrainConfig(data=Mixture1D(), recipe=Adversarial(), network=MLPSpec(), run=RunKnobs(steps=2000))


@pytest.fixture
def panel(qtbot: QtBot) -> TrainPanel:
    made = TrainPanel()
    qtbot.addWidget(made)
    made.resize(1168, 824)
    with qtbot.waitExposed(made):
        made.show()
    return made


def told(step: int, total: int = 2000, count: int = 10, **more: Any) -> events.Progress:
    scalars = HEALTHY | more
    level_loss = np.full(25, np.nan, np.float32)
    level_loss[[0, 5, 9, 12]] = 1.3
    return events.Progress(
        step=step,
        total=total,
        images=32 * step,
        seconds=0.1 * step,
        images_per_second=320.0,
        eta_seconds=1.0,
        scalars={name: value for name, value in scalars.items() if value is not None},
        steps=np.arange(step - count, step),
        losses=np.full(count, scalars["loss"], np.float32),
        level_loss=level_loss,
        level_edges=EDGES,
    )


def seen(panel: TrainPanel) -> set[str]:
    return {name for name, part in panel.views._parts.items() if part.isVisible()}


def labels(panel: TrainPanel, group: str) -> list[str]:
    return [series.label for series in panel.views.game[group].plot.series() if not series.beside]


def column(panel: TrainPanel, group: str, label: str) -> list[float]:
    """What a plot exports of one curve."""
    rows = list(csv.reader(panel.views.game[group].plot.to_csv().splitlines()))
    place = rows[0].index(label)
    return [float(row[place]) for row in rows[1:] if row[place]]


def begin(panel: TrainPanel, config: TrainConfig, qtbot: QtBot) -> None:
    panel.set_config(config)
    qtbot.mouseClick(panel.settings.buttons.primary, Qt.MouseButton.LeftButton)
    panel.set_state("running")


@pytest.mark.parametrize(
    ("config", "samples"),
    [(CONFIG, np.zeros((30, 1, 28, 28), np.uint8)), (LINE, np.zeros((50, 1), np.float32))],
    ids=["images", "points"],
)
def test_a_game_shows_its_own_curves_and_nothing_empty(
    panel: TrainPanel, qtbot: QtBot, config: TrainConfig, samples: np.ndarray
) -> None:
    begin(panel, config, qtbot)
    assert seen(panel) == {"loss", "levels", "gradient", "rate", "speed", "samples"}
    for step in range(10, 210, 10):
        panel.receive(told(step))
    panel.receive(events.HeldOut(step=200, loss=0.9, scalars={"real_logit": 0.1, "fake_logit": -0.2}))
    panel.receive(events.Preview(step=200, images=samples))
    assert seen(panel) == {"losses", "logits", "balance", "norms", "r1", "levels", "speed", "samples"}
    assert labels(panel, "losses") == ["G", "D", "G held out"]
    assert labels(panel, "logits") == ["real", "fake", "real held out"]
    assert labels(panel, "norms") == ["G", "D"]
    assert not any(stage.is_empty() for name, stage in panel.views._stages.items() if name in seen(panel))
    assert column(panel, "losses", "G") == pytest.approx([0.8] * 20)
    assert column(panel, "logits", "real held out") == [pytest.approx(0.1)]
    assert column(panel, "r1", "R1")[-1] == pytest.approx(0.02)
    assert panel.views._tiles[1].number() == "0.8000"
    assert panel.views._tiles[1].caption() == "generator's loss"
    assert panel.views.levels.training.means().shape == (20, 4), "the four levels fill the picture"
    panel.receive(events.Quality(step=200, scores={"fd": 12.0}, floor={"fd": 1.8}, network="", count=500))
    assert "scores" in seen(panel)
    assert "speed" not in seen(panel)
    panel.grab()


def test_the_losses_stand_over_what_chance_would_lose(panel: TrainPanel, qtbot: QtBot) -> None:
    begin(panel, CONFIG, qtbot)
    panel.receive(told(10))
    assert column(panel, "losses", "G, chance") == pytest.approx([math.log(2)] * 2, rel=1e-6)
    assert column(panel, "losses", "D, chance") == pytest.approx([2 * math.log(2)] * 2, rel=1e-6)


@pytest.mark.parametrize(
    ("loss", "chance"),
    [("non_saturating", (math.log(2), 2 * math.log(2))), ("hinge", (0.0, 2.0)), ("wasserstein", (0.0, 0.0))],
)
def test_chance_follows_from_what_is_played_for(loss: Any, chance: tuple[float, float]) -> None:
    found = Adversarial(loss=loss).chance
    assert (found["loss"], found["d_loss"]) == pytest.approx(chance, rel=1e-6)


ALONE = dict.fromkeys(HEALTHY, None) | {"loss": 3.0, "grad_norm": 1.0, "learning_rate": 1e-3}
WITH_D = HEALTHY | {"loss": 3.0, "diversity": None, "z_spread": None}
OPENING = WITH_D | {"energy_score": 3.0}


@pytest.mark.parametrize("warm", [ALONE, WITH_D, OPENING], ids=["alone", "while G waits", "while z opens"])
@pytest.mark.parametrize("opened", [False, True], ids=["live", "opened"])
def test_what_comes_before_the_game_has_curves_of_its_own(
    panel: TrainPanel, qtbot: QtBot, warm: dict[str, Any], opened: bool
) -> None:
    messages: list[events.Event] = [told(10, **warm), events.HeldOut(step=10, loss=0.7), told(20), told(30)]
    if opened:
        panel.show_run(CONFIG, messages)
    else:
        begin(panel, CONFIG, qtbot)
        for message in messages[:2]:
            panel.receive(message)
        assert ("losses" in seen(panel)) == (warm is not ALONE)
        assert panel.views._tiles[1].number() == "3.0000"
        assert panel.views._tiles[1].caption() == "loss, smoothed"
        whose = {id(ALONE): "Loss by noise level", id(OPENING): "Energy score by level"}.get(id(warm))
        assert panel.views._levels_title == (whose or "D's loss by level")
        assert panel.views.levels.training.means().shape[0] == 1, "it is shown from the first step"
        for message in messages[2:]:
            panel.receive(message)
    assert "losses" in seen(panel)
    before = {id(ALONE): "warm start", id(OPENING): "energy score"}.get(id(warm))
    if before:
        assert column(panel, "losses", before) == [pytest.approx(3.0)]
    assert len(column(panel, "losses", "G")) == (2 if before else 3), "while it waits, too, it loses to D"
    if before:
        assert column(panel, "losses", "G")[-1] == pytest.approx(0.8)
    assert len(column(panel, "losses", "D")) == (2 if warm is ALONE else 3)
    assert "G held out" not in labels(panel, "losses"), "it was measured before there was a game"
    shape = panel.views.levels.training.means().shape
    assert shape == (2 if before else 3, 4), "D's losses alone go on one scale of colours"
    assert panel.views._tiles[1].number() == ("0.8000" if before else "1.3244")


def test_a_run_that_is_opened_shows_what_it_showed_live(panel: TrainPanel, qtbot: QtBot) -> None:
    messages: list[events.Event] = [told(step, loss=1.0 - step / 1000) for step in range(10, 510, 10)]
    messages += [events.HeldOut(step=300, loss=0.9, scalars={"real_logit": 0.1})]
    begin(panel, CONFIG, qtbot)
    for message in messages:
        panel.receive(message)
    live = {name: group.plot.to_csv() for name, group in panel.views.game.items()}
    balance = {name: gauge.text() for name, gauge in panel.views.balance.gauges.items()}
    panel.set_state("idle")
    panel.show_run(TrainConfig(), [])
    assert "balance" not in seen(panel), "another run, without a game"
    panel.show_run(CONFIG, messages)
    assert {name: group.plot.to_csv() for name, group in panel.views.game.items()} == live
    assert {name: gauge.text() for name, gauge in panel.views.balance.gauges.items()} == balance
    assert panel.views.balance.word() == IN_BALANCE


def test_a_name_in_the_legend_takes_its_background_along(panel: TrainPanel, qtbot: QtBot) -> None:
    begin(panel, CONFIG, qtbot)
    panel.receive(told(10))
    plot = panel.views.game["losses"].plot
    place = next(rect for rect, series in plot._header._places if series.label == "D")
    qtbot.mouseClick(plot._header, Qt.MouseButton.LeftButton, pos=place.center().toPoint())
    hidden = {series.label for series in plot.series() if not series.visible}
    assert hidden == {"D", "D, each step", "D, chance"}
    read = plot.read_out(10.0)
    assert read is not None
    assert [series.label for series, _ in read[1]] == ["G"]


@pytest.mark.parametrize(
    ("scalars", "word"),
    [
        ({}, IN_BALANCE),
        ({"d_right": 0.99}, "Discriminator ahead"),
        ({"d_right": 0.3}, "Generator ahead"),
        ({"z_spread": 0.001}, "z is ignored"),
        ({"diversity": 0.2}, "Modes lost"),
        ({"diversity": 1.8}, "Samples stray"),
        ({"z_spread": None, "d_right": None}, IN_BALANCE),
    ],
)
def test_the_balance_in_a_word(qtbot: QtBot, scalars: dict[str, Any], word: str) -> None:
    view = BalanceView()
    qtbot.addWidget(view)
    view.resize(230, 240)
    view.show()
    view.take_progress([told(ENOUGH // 2, **scalars)])
    assert view.word() == "Too early to say"
    view.take_progress([told(step, **scalars) for step in range(ENOUGH, 600, 10)])
    assert view.word() == word
    assert word in view.toolTip()
    for scalar, gauge in view.gauges.items():
        value = (HEALTHY | scalars)[scalar]
        assert gauge.isVisible() == (value is not None)
        assert value is None or gauge.text() == f"{value:.2f}"
    view.grab()
    view.begin()
    assert view.word() == "Too early to say"


def test_a_trend_counts_the_steps_of_a_message() -> None:
    """A value of n steps weighs as n equal values."""
    one, many = Smoother(50.0), Smoother(50.0)
    for value, steps in ((1.0, 3), (4.0, 7), (2.0, 1)):
        one.take_mean(value, steps)
        for _ in range(steps):
            many.take_mean(value, 1)
    assert one.value == pytest.approx(many.value, rel=1e-12)
    assert math.isnan(Smoother(50.0).value)


def test_settings_of_a_game_without_effect_are_dimmed(panel: TrainPanel, qtbot: QtBot) -> None:
    panel.set_config(CONFIG)
    form = panel.settings._recipe.form()
    assert "γ" in form.field("r1")._label.text()
    assert form.field("r1_every").control.isEnabled()
    edit = form.field("r1").control
    edit.selectAll()
    QTest.keyClicks(edit, "0")
    assert not form.field("r1_every").control.isEnabled()
    assert "no penalty" in form.field("r1_every").note()
    form.field("predict").control.setValue("x_s")
    assert form.field("predict").control.isEnabled()
    form.field("process").control.setValue("one_shot")
    assert not form.field("predict").control.isEnabled()
    form.field("process").control.setValue("denoising")
    assert form.field("predict").control.isEnabled()


@pytest.mark.parametrize(
    ("knobs", "dimmed"),
    [
        ({"opening": 200, "score_weight": 1.0}, set()),
        ({"opening": 0, "score_weight": 1.0}, {"opening_rate"}),
        ({"opening": 200, "score_weight": 0.0}, {"opening_rate", "score_spread"}),
        ({"opening": 200, "score_weight": 1.0, "latent": 0}, {"opening_rate", "score_spread"}),
    ],
)
def test_what_opens_no_z_is_dimmed(panel: TrainPanel, knobs: dict[str, Any], dimmed: set[str]) -> None:
    panel.set_config(TrainConfig(recipe=Adversarial(**knobs), run=RunKnobs(steps=2000)))
    form = panel.settings._recipe.form()
    names = {"opening", "opening_rate", "score_weight", "score_spread"}
    assert {name for name in names if not form.field(name).control.isEnabled()} == dimmed
    assert all(form.field(name).note() for name in dimmed)
