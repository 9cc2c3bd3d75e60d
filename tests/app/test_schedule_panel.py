"""The schedule workspace under real clicks and keys: its numbers, its selection, its edits, and the spec it shares."""

import csv
import dataclasses
import io
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import QEvent, QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDropEvent, QMouseEvent
from PySide6.QtWidgets import QAbstractButton, QApplication, QCheckBox, QFileDialog, QLineEdit, QScrollArea, QWidget
from pytestqt.qtbot import QtBot

from studio.app import theme
from studio.app.controls import Choice
from studio.app.panels import schedule_edit
from studio.app.panels.schedule import SchedulePanel
from studio.app.panels.schedule_live import IMAGES as LIVE_IMAGES
from studio.app.panels.schedule_live import POINTS as LIVE_POINTS
from studio.app.panels.schedule_settings import prior_mismatch
from studio.app.panels.schedule_table import to_csv, visits
from studio.app.widgets.plots import LivePlot
from studio.app.words import leftover
from studio.core import events
from studio.core.checkpoints.header import Header
from studio.core.config import method_to_dict
from studio.core.files import explain
from studio.core.grids import Betas, Exact, LogSNR, Quadratic, Uniform
from studio.core.levels import Level, from_alpha_bar
from studio.core.recipes.adversarial import Adversarial
from studio.core.samplers.ancestral import Ancestral
from studio.core.samplers.ddim import DDIM
from studio.core.sampling import SampleKnobs, SampleSpec, own_spec
from studio.core.schedule_files import read_schedules, write_json
from studio.core.schedules import Cosine, DiscreteSchedule, Linear, Tabulated
from studio.core.short_schedule import ShortSchedule
from studio.session.jobs import SampleJob

IMAGES = np.zeros((1, 1, 2, 2), np.float32)
MESSAGES: list[events.Event] = [
    events.Status(text="Sampling"),
    events.Progress(step=1, total=2, images=3, seconds=1.0, images_per_second=3.0, eta_seconds=1.0),
    events.HeldOut(step=1, loss=0.1),
    events.Preview(step=1, images=IMAGES),
    events.Frame(
        index=0, total=1, alpha=0.1, sigma=0.9, time=1.0, beta=0.1, nfe=1, seconds=0.1,
        x=IMAGES, x0=IMAGES, eps=IMAGES, eps_norm=1.0, x0_change=0.0,
    ),
    events.Quality(step=1, scores={"fd": 2.0}, floor={"fd": 1.0}, network="MNIST classifier", count=500),
    events.LaneDone(lane=0, nfe=1, seconds=0.1),
    events.TableShape(rows=("1",), columns=("2",), row_title="a", column_title="b"),
    events.Tile(row=0, column=0, images=IMAGES),
    events.Neighbours(samples=IMAGES, nearest=IMAGES, distances=np.zeros(1), typical=np.ones(3)),
    events.EvaluationProgress(done=0, total=1, fraction=0.0, eta_seconds=1.0, text=""),
    events.CellScored(row={"fd": 2.0}, floor={"fd": 1.0}),
    events.Field(index=0, points=np.zeros((1, 2)), arrows=np.zeros((1, 2))),
    events.DataPreview(title="MNIST", summary="digits", images=IMAGES),
    events.Estimate(seconds_per_step=0.1, memory=1, num_parameters=1, steps=1),
    events.Saved(path="x"),
    events.Paused(paused=True),
    events.Warned(summary="careful"),
    events.LatentPad(items=None, result=IMAGES[0], path=None, num_steps=4, seconds=0.1),
    events.LatentDraws(row=0, items=IMAGES, spread=0.1),
    events.LatentWalk(first=0, total=2, items=IMAGES),
    events.StepLaw(
        index=0, x_t=0.0, log_snr=(-2.0, 1.0), x=np.arange(3.0), exact=np.ones(3), gaussian=(0.0, 1.0),
        best=(0.0, 1.0), own_mean=True, edges=np.arange(3.0), distances={"gaussian": 0.1, "best": 0.1},
    ),
    events.RatioCurve(
        step=1, log_snr=np.arange(3.0), learned=np.ones(3), optimum=np.ones(3), error=np.ones(3), cap=np.ones(3)
    ),
    events.Emitted(index=0, alpha=0.5, beta=0.3, ratio=None, images=IMAGES),
    events.SearchProgress(done=1, total=2, fraction=0.5, eta_seconds=1.0, text="1 of 2 starts"),
    events.ScheduleFound(schedule=None, score=None, judge="FD"),
    events.Failed(summary="it failed"),
    events.Finished(outcome="failed"),
]  # fmt: skip


SHORT = (0.001, 0.02, 0.2, 0.4, 0.5, 0.6)
LEARNED = ShortSchedule(betas=SHORT, origin="learned", model="digits", sampler={"name": "ancestral"})


@pytest.fixture
def empty(qtbot: QtBot) -> SchedulePanel:
    panel = SchedulePanel()
    qtbot.addWidget(panel)
    panel.resize(1042, 710)
    panel.errand_requested.connect(lambda work, then: run_errand(panel, work, then))
    with qtbot.waitExposed(panel):
        panel.show()
    return panel


def run_errand(panel: SchedulePanel, work: Callable[[], Any], then: Callable[[Any], None]) -> None:
    """What the window does in a thread, here at once."""
    try:
        result = work()
    except OSError as error:
        panel.show_problem(explain(error, Path(error.filename)), "details")
    else:
        then(result)


@pytest.fixture
def panel(empty: SchedulePanel) -> SchedulePanel:
    empty.set_spec(uniform(10))
    show(empty, Linear())
    return empty


def header_of(kept: Sequence[ShortSchedule] = (), shape: tuple[int, ...] = (1, 28, 28)) -> Header:
    nothing: dict[str, Any] = {}
    return Header(
        title="Digits",
        family="DDPM",
        data=nothing,
        data_title="MNIST",
        facts={"shape": shape, "mean": -0.74, "std": 0.6},
        class_names=(),
        recipe=nothing,
        network=nothing,
        optimizer=nothing,
        run=nothing,
        step=1,
        images=1,
        seconds=1.0,
        num_parameters=1,
        schedules=tuple(kept),
    )


def show(
    panel: SchedulePanel, schedule: DiscreteSchedule, kept: Sequence[ShortSchedule] = (), name: str = "digits"
) -> None:
    panel.set_model(f"/models/{name}.safetensors", header_of(kept), schedule)


def uniform(steps: int) -> SampleSpec:
    return SampleSpec(sampler=Ancestral(), grid=Uniform(), knobs=SampleKnobs(steps=steps, seed=7))


def curve(plot: LivePlot, label: str) -> list[tuple[float, float]]:
    """The points of a curve, read from the plot's own export."""
    rows = list(csv.DictReader(io.StringIO(plot.to_csv())))
    first = next(iter(rows[0]))
    return [(float(row[first]), float(row[label])) for row in rows if row[label]]


def retype(qtbot: QtBot, edit: QLineEdit, text: str, *, enter: bool = False) -> None:
    edit.setFocus()
    edit.selectAll()
    qtbot.keyClicks(edit, text)
    if enter:
        qtbot.keyClick(edit, Qt.Key.Key_Return)


def click_plot(qtbot: QtBot, plot: LivePlot, t: float) -> None:
    """Click where time t is, halfway up; the plot area is found from the axes' own places."""
    view = plot._view
    across = view.from_axis(t, 0.0).x()
    where = QPointF(across, view.plot_area().center().y()).toPoint()
    qtbot.mouseClick(view.viewport(), Qt.MouseButton.LeftButton, pos=where)


# Numbers


def test_visits_have_the_numbers_of_ddpm() -> None:
    """Against the products of DDPM's own table of betas."""
    schedule = Linear()
    alpha_bar = np.cumprod(1.0 - np.linspace(1e-4, 0.02, 1000))
    found = visits(schedule, Uniform().levels(schedule, 10))
    taus = [999, 888, 777, 666, 555, 444, 333, 222, 111, 0]
    assert [visit.k for visit in found] == list(range(11))
    assert [visit.tau for visit in found[:-1]] == pytest.approx(taus, abs=1e-6)
    assert [visit.t for visit in found[:-1]] == pytest.approx([(tau + 1) / 1000 for tau in taus])
    for visit, tau, after in zip(found, taus, [*taus[1:], None], strict=False):
        here, there = alpha_bar[tau], 1.0 if after is None else alpha_bar[after]
        beta = 1.0 - here / there
        assert visit.alpha == pytest.approx(np.sqrt(here))
        assert visit.sigma == pytest.approx(np.sqrt(1.0 - here))
        assert visit.log_snr == pytest.approx(np.log(here / (1.0 - here)))
        assert visit.beta == pytest.approx(beta)
        assert visit.std == pytest.approx(np.sqrt(beta * (1.0 - there) / (1.0 - here)), abs=1e-9)
    last = found[-1]
    assert (last.tau, last.t, last.alpha, last.sigma, last.log_snr, last.beta, last.std) == (
        None, 0.0, 1.0, 0.0, float("inf"), None, None,
    )  # fmt: skip


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (-0.74, 0.6), (0.0, 2.0)])
@pytest.mark.parametrize("alpha_bar", [0.5, 1e-2, 4e-5])
def test_prior_mismatch_is_the_divergence_of_two_gaussians(alpha_bar: float, mean: float, std: float) -> None:
    """By quadrature of q ln(q / p)."""
    level = from_alpha_bar(alpha_bar)
    x = np.linspace(-14, 14, 400_001)
    spread = np.sqrt(level.alpha**2 * std**2 + level.sigma**2)
    log_q = -0.5 * ((x - level.alpha * mean) / spread) ** 2 - np.log(spread)
    log_p = -0.5 * x**2
    expected = float((np.exp(log_q) * (log_q - log_p)).sum() * (x[1] - x[0]) / np.sqrt(2 * np.pi))
    assert prior_mismatch(level, mean, std) == pytest.approx(expected, rel=1e-5, abs=1e-13)


def test_leftover_signal_in_words() -> None:
    assert leftover(0.0064) == "0.64 % of the signal's amplitude is left there: as good as pure noise."
    assert "pure noise is close to it" in leftover(0.018)
    assert "30 % of the signal" in leftover(0.3)
    assert "not what the model expects" in leftover(0.3)
    assert "the model's own prior" in leftover(0.3, fitted=True)


def test_where_a_prior_is_fitted_pure_noise_plays_no_part(panel: SchedulePanel) -> None:
    facts, recipe = panel.settings.facts, Adversarial(beta_max=2.0, prior=3)
    header = dataclasses.replace(header_of(), recipe=method_to_dict("recipe", recipe))
    panel.set_spec(own_spec(recipe))
    panel.set_model("/models/gan.safetensors", header, recipe.schedule)
    assert facts.texts()["Prior mismatch"] == "fitted"
    assert facts.sentence.text().startswith("59 % of the signal's amplitude is left there: x_T is drawn from the model")


def test_facts_are_those_of_the_schedule(panel: SchedulePanel) -> None:
    facts = panel.settings.facts.texts()
    assert facts["Kind"] == "linear"
    assert facts["Steps T"] == "1000"
    assert facts["ᾱ at T"] == "4.036e-5"
    assert facts["log-SNR"] == "9.2 to −10.1"
    assert facts["Prior mismatch"] == "1.105e-5 nats"
    assert facts["α at the start"] == "0.006353"
    panel.set_spec(dataclasses.replace(uniform(10), grid=Quadratic()))
    assert float(panel.settings.facts.texts()["α at the start"]) == pytest.approx(Linear().level(0.801).alpha, rel=1e-3)
    assert "pure noise is close to it" in panel.settings.facts.sentence.text()


# Views


def test_plots_show_training_and_the_steps_by_their_position(panel: SchedulePanel) -> None:
    curves, table = panel.curves, panel.visits()
    betas = Linear().betas()
    training = curve(curves.beta, "training, T 1000")
    assert len(training) == 1000
    assert training[499] == pytest.approx((0.5, betas[499]), rel=1e-6)
    assert curve(curves.alpha_bar, "training, T 1000")[0] == (0.0, 1.0)
    assert curve(curves.alpha_bar, "training, T 1000")[500] == pytest.approx((0.5, 0.0785872), rel=1e-5)
    noisy = table[-2::-1]
    for plot, values in (
        (curves.beta, [visit.beta for visit in noisy]),
        (curves.alpha_bar, [visit.alpha**2 for visit in noisy]),
        (curves.log_snr, [visit.log_snr for visit in noisy]),
    ):
        xs, ys = zip(*curve(plot, "the sampler’s, 10"), strict=True)
        assert xs == pytest.approx([(n + 1) / 10 for n in range(10)])
        assert ys == pytest.approx(values, rel=1e-6)


def test_table_shows_the_visits_from_noise_to_data(panel: SchedulePanel) -> None:
    rows = panel.steps.rows
    texts = [[rows.data(rows.index(row, column)) for column in range(rows.columnCount())] for row in range(11)]
    assert rows.rowCount() == 11
    assert texts[0] == ["0", "999", "1.0000", "0.00635", "0.99998", "−10.12", "0.87979", "0.93783"]
    assert texts[9][:5] == ["9", "0", "0.0010", "0.99995", "0.01000"]
    assert texts[10] == ["10", "data", "0.0000", "1.00000", "0.00000", "∞", "–", "–"]


def test_a_click_in_a_plot_marks_the_nearest_step_everywhere(panel: SchedulePanel, qtbot: QtBot) -> None:
    curves = panel.curves
    assert panel.selected() == 0
    for plot, x, k in ((curves.beta, 0.52, 5), (curves.log_snr, 0.01, 10), (curves.alpha_bar, 0.66, 3)):
        click_plot(qtbot, plot, x)
        assert panel.selected() == k
        assert [one.marker() for one in curves.plots.values()] == pytest.approx([1 - k / 10] * 3)
        assert panel.steps.table.currentIndex().row() == k


def test_a_row_marks_the_plots(panel: SchedulePanel, qtbot: QtBot) -> None:
    table = panel.steps.table
    where = table.visualRect(panel.steps.rows.index(2, 3)).center()
    qtbot.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=QPoint(where))
    assert panel.selected() == 2
    qtbot.keyClick(table, Qt.Key.Key_Down)
    assert [plot.marker() for plot in panel.curves.plots.values()] == pytest.approx([0.7] * 3)
    panel.set_spec(uniform(2))
    assert panel.selected() == 2, "the selection stays within a shorter table"


def tick(panel: SchedulePanel, key: str) -> None:
    """Tick a box of the menu "Draw beside" as a person does."""
    panel.bar.beside_menu.aboutToShow.emit()
    box = panel.bar.beside_menu.findChild(QCheckBox, key)
    assert isinstance(box, QCheckBox)
    box.click()


def test_other_schedules_are_drawn_beside_with_as_many_steps(panel: SchedulePanel) -> None:
    curves = panel.curves
    assert curves.shown() == ["training, T 1000", "cosine, 10", "the sampler’s, 10"]
    # The last of ten evenly spaced steps of the cosine schedule is its noisiest level.
    alpha_bar = np.cumprod(1.0 - Cosine().betas())
    assert curve(curves.alpha_bar, "cosine, 10")[4][1] == pytest.approx(alpha_bar[444], rel=1e-5)
    for key in ("cosine", "linear", "quadratic", "log_snr"):
        tick(panel, key)
    assert curves.shown() == ["training, T 1000", "linear, 10", "quadratic, 10", "by log-SNR, 10", "the sampler’s, 10"]
    linear, own = curve(curves.beta, "linear, 10"), curve(curves.beta, "the sampler’s, 10")
    assert np.array(linear) == pytest.approx(np.array(own), rel=1e-6), "this is what the sampler visits"
    assert curve(curves.log_snr, "by log-SNR, 10")[-1][1] == pytest.approx(-8.0)
    for plot in curves.plots.values():
        assert [series.label for series in plot.series()] == curves.shown()
    show(panel, Cosine(num_steps=200))
    assert "linear, 10" in curves.shown(), "the choice stays"


def test_kept_schedules_are_drawn_and_chosen(panel: SchedulePanel, qtbot: QtBot) -> None:
    show(panel, Linear(), [LEARNED])
    assert panel.curves.shown() == ["training, T 1000", "cosine, 10", "learned, 6", "the sampler’s, 10"]
    choose(panel, qtbot, 1)
    assert panel.current() == LEARNED
    assert panel.curves.shown() == ["training, T 1000", "cosine, 6", "learned, 6"]
    assert [y for _, y in curve(panel.curves.beta, "learned, 6")] == pytest.approx(SHORT)
    assert len(panel.visits()) == 7
    assert panel.visits()[0].alpha == pytest.approx(LEARNED.alphas[-1])
    assert panel.live.title.text() == "This schedule · 6 steps"
    tick(panel, "sampler")
    assert "the sampler’s, 10" in panel.curves.shown()


def test_a_model_with_another_schedule_takes_the_place_of_the_first(panel: SchedulePanel) -> None:
    show(panel, Cosine(num_steps=200))
    assert len(curve(panel.curves.beta, "training, T 200")) == 200
    assert panel.settings.facts.texts()["Kind"] == "cosine"
    assert [visit.k for visit in panel.visits()] == list(range(11))
    show(panel, Tabulated((0.1, 0.5, 0.9)))
    assert panel.settings.steps.value() == 3


def choose(panel: SchedulePanel, qtbot: QtBot, place: int) -> None:
    """Go to a place of the list of schedules with the keys."""
    choice = panel.bar.choice
    choice.setFocus()
    while choice.currentIndex() != place:
        qtbot.keyClick(choice, Qt.Key.Key_Down if choice.currentIndex() < place else Qt.Key.Key_Up)


# Editing


@pytest.mark.parametrize("view", ["alpha_bar", "log_snr"])
@pytest.mark.parametrize("index", [0, 3, 5])
def test_a_moved_level_leaves_all_others_where_they_are(view: schedule_edit.View, index: int) -> None:
    before = schedule_edit.points(SHORT, view)
    # Halfway to the noisier neighbour; the last one goes by itself.
    value = before[index] + 0.5 * ((before[index + 1] if index < 5 else before[5] - 0.02) - before[index])
    betas = schedule_edit.moved(SHORT, view, index, value)
    after = schedule_edit.points(betas, view)
    assert after[index] == pytest.approx(value, rel=1e-9)
    assert [*after[:index], *after[index + 1 :]] == pytest.approx([*before[:index], *before[index + 1 :]], rel=1e-9)
    assert ShortSchedule(betas=betas, origin="drawn").steps == 6


@pytest.mark.parametrize("view", ["beta", "alpha_bar", "log_snr"])
@pytest.mark.parametrize("value", [-50.0, 0.0, 1.0, 50.0, 1e6, -1e6])
@pytest.mark.parametrize("index", [0, 2, 5])
def test_whatever_is_pulled_where_the_order_is_kept(view: schedule_edit.View, value: float, index: int) -> None:
    betas = schedule_edit.moved(SHORT, view, index, value)
    assert all(0.0 < beta < 1.0 for beta in betas)
    levels = schedule_edit.points(betas, "alpha_bar")
    assert all(noisier < cleaner for cleaner, noisier in pairwise([1.0, *levels]))


def test_a_step_more_and_less_leaves_the_other_levels() -> None:
    alpha_bar = schedule_edit.points(SHORT, "alpha_bar")
    grown = schedule_edit.with_point(SHORT, 3)
    assert len(grown) == 7
    assert schedule_edit.points(grown, "alpha_bar")[3] == pytest.approx((alpha_bar[2] * alpha_bar[3]) ** 0.5)
    assert schedule_edit.without_point(grown, 3) == pytest.approx(SHORT, rel=1e-12)
    assert schedule_edit.without_point(SHORT, 5) == SHORT[:-1]
    assert schedule_edit.without_point((0.5,), 0) == (0.5,)
    placed = schedule_edit.with_point(SHORT, 6, "beta", 0.7)
    assert placed == (*SHORT, 0.7)


def test_betas_of_levels_are_those_they_came_from() -> None:
    levels = Betas.of(LEARNED).levels(Linear(), 0)
    assert schedule_edit.betas_of(levels) == pytest.approx(SHORT, rel=1e-9)


def pull(qtbot: QtBot, panel: SchedulePanel, plot: LivePlot, point: int, pixels: float, moves: int = 4) -> None:
    """Pull a point up by real mouse events, in a few moves, and let go."""
    view = plot._view
    start = plot._handle_places()[point]
    qtbot.mousePress(view.viewport(), Qt.MouseButton.LeftButton, pos=start.toPoint())
    for move in range(1, moves + 1):
        drag_to(view.viewport(), start - QPointF(0.0, pixels * move / moves))
    qtbot.mouseRelease(view.viewport(), Qt.MouseButton.LeftButton, pos=(start - QPointF(0.0, pixels)).toPoint())


def drag_to(widget: QWidget, where: QPointF) -> None:
    at = QPointF(widget.mapToGlobal(where.toPoint()))
    event = QMouseEvent(
        QEvent.Type.MouseMove, where, at, Qt.MouseButton.NoButton, Qt.MouseButton.LeftButton, Qt.KeyboardModifier(0)
    )
    QApplication.sendEvent(widget, event)


@pytest.fixture
def learned(panel: SchedulePanel) -> SchedulePanel:
    """The workspace with a kept schedule in sight, and nothing to undo."""
    show(panel, Linear(), [LEARNED])
    panel.show_schedule(LEARNED)
    panel.undo_stack.clear()
    panel.live.set_busy(False)
    return panel


def test_a_pulled_point_changes_one_beta_and_asks_for_samples(learned: SchedulePanel, qtbot: QtBot) -> None:
    jobs: list[SampleJob] = []
    learned.live.sample_requested.connect(jobs.append)
    plot = learned.curves.beta
    before = plot._view.to_axis(plot._handle_places()[2]).y()
    pull(qtbot, learned, plot, 2, 12.0)
    found = learned.current()
    assert found is not None
    assert found.origin == "drawn"
    assert [index for index in range(6) if found.betas[index] != SHORT[index]] == [2]
    per_pixel = plot._view.to_axis(QPointF(0, 0)).y() - plot._view.to_axis(QPointF(0, 1)).y()
    assert np.log10(found.betas[2]) == pytest.approx(before + 12.0 * per_pixel, abs=1.5 * per_pixel)
    assert jobs, "samples are asked for at once"
    last = jobs[-1].spec
    assert last.grid == Betas.of(found)
    assert (last.knobs.seed, last.knobs.count, last.sampler) == (7, LIVE_IMAGES, Ancestral())
    assert learned.curves.shown()[-1] == "drawn, 6"
    assert learned.shelf.kept == (LEARNED,), "the kept one is as it was"
    assert learned.selected() == 3, "the point that was pulled is selected"


def test_while_a_run_goes_on_a_pull_waits_and_the_release_does_not(learned: SchedulePanel, qtbot: QtBot) -> None:
    jobs: list[SampleJob] = []
    learned.live.sample_requested.connect(lambda job: (jobs.append(job), learned.live.set_busy(True)))
    pull(qtbot, learned, learned.curves.beta, 2, 12.0, moves=6)
    assert len(jobs) == 2, "one at the first move, the newest once it is let go"
    found = learned.current()
    assert found is not None
    assert jobs[-1].spec.grid == Betas.of(found)
    learned.live.set_busy(False)
    assert len(jobs) == 2, "what is asked for is not asked for again"


def test_pulls_in_the_other_views_move_one_level(learned: SchedulePanel, qtbot: QtBot) -> None:
    for view, plot in learned.curves.plots.items():
        if view == "beta":
            continue
        learned.show_schedule(LEARNED)
        before = schedule_edit.points(SHORT, view)
        pull(qtbot, learned, plot, 3, -9.0)
        found = learned.current()
        assert found is not None
        after = schedule_edit.points(found.betas, view)
        assert after[3] < before[3]
        assert [*after[:3], *after[4:]] == pytest.approx([*before[:3], *before[4:]], rel=1e-9)


def test_a_click_on_a_point_selects_and_changes_nothing(learned: SchedulePanel, qtbot: QtBot) -> None:
    plot = learned.curves.beta
    qtbot.mouseClick(plot._view.viewport(), Qt.MouseButton.LeftButton, pos=plot._handle_places()[1].toPoint())
    assert learned.selected() == 4
    assert learned.current() == LEARNED
    assert not learned.undo_stack.canUndo()


def test_a_pull_beyond_the_plot_stops_at_its_edge(learned: SchedulePanel, qtbot: QtBot) -> None:
    plot = learned.curves.beta
    shown = plot.view_range()
    pull(qtbot, learned, plot, 3, -2000.0, moves=3)
    assert plot.view_range() == shown
    found = learned.current()
    assert found is not None
    assert np.log10(found.betas[3]) == pytest.approx(plot.home()[1][0], abs=1e-6)


def test_undo_and_redo_by_their_keys(learned: SchedulePanel, qtbot: QtBot) -> None:
    pull(qtbot, learned, learned.curves.beta, 2, 12.0)
    first = learned.current()
    pull(qtbot, learned, learned.curves.beta, 4, -5.0)
    second = learned.current()
    assert first != second
    learned.bar.button("undo").click()
    assert learned.current() == first
    qtbot.keyClick(learned, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert learned.current() == LEARNED
    assert not learned.bar.button("undo").isEnabled()
    modifiers = Qt.KeyboardModifier.ControlModifier | Qt.KeyboardModifier.ShiftModifier
    qtbot.keyClick(learned, Qt.Key.Key_Z, modifiers)
    assert learned.current() == first
    learned.bar.button("redo").click()
    assert learned.current() == second
    assert "move a point" in learned.bar.button("undo").toolTip()


def test_keys_select_and_move_points_and_nudges_are_undone_together(learned: SchedulePanel, qtbot: QtBot) -> None:
    plot = learned.curves.beta
    plot.setFocus()
    qtbot.keyClick(plot, Qt.Key.Key_Left)
    assert learned.selected() == 1
    for _ in range(3):
        qtbot.keyClick(plot, Qt.Key.Key_Up)
    found = learned.current()
    assert found is not None
    assert found.betas[4] > SHORT[4]
    qtbot.keyClick(plot, Qt.Key.Key_Down)
    qtbot.keyClick(plot, Qt.Key.Key_Left)
    qtbot.keyClick(plot, Qt.Key.Key_Down)
    learned.undo_stack.undo()
    learned.undo_stack.undo()
    assert learned.current() == LEARNED


def test_steps_are_added_and_removed(learned: SchedulePanel, qtbot: QtBot) -> None:
    plot, bar = learned.curves.beta, learned.bar
    learned.select(2)
    bar.button("add").click()
    assert len(learned.visits()) == 8
    assert learned.selected() == 3, "the new step is selected"
    bar.button("remove").click()
    found = learned.current()
    assert found is not None
    assert found.betas == pytest.approx(SHORT, rel=1e-12)
    view = plot._view
    place = view.from_axis(0.4, np.log10(0.05)).toPoint()
    qtbot.mouseDClick(view.viewport(), Qt.MouseButton.LeftButton, pos=place)
    found = learned.current()
    assert found is not None
    assert found.steps == 7
    assert found.betas[2] == pytest.approx(0.05, rel=0.1), "where it was clicked"
    assert learned.selected() == 4
    qtbot.mouseDClick(view.viewport(), Qt.MouseButton.LeftButton, pos=plot._handle_places()[2].toPoint())
    assert len(learned.visits()) == 7
    plot.setFocus()
    qtbot.keyClick(plot, Qt.Key.Key_Insert)
    assert len(learned.visits()) == 8
    qtbot.keyClick(plot, Qt.Key.Key_Delete)
    assert len(learned.visits()) == 7


def test_what_cannot_be_edited_says_why(panel: SchedulePanel) -> None:
    bar = panel.bar
    panel.set_spec(uniform(200))
    assert not bar.button("add").isEnabled()
    assert "up to 100 steps" in bar.button("remove").toolTip()
    assert panel.live.note.fullText().startswith("200 steps take too long")
    panel.set_spec(uniform(1))
    assert bar.button("add").isEnabled()
    assert bar.button("remove").toolTip() == "A schedule has one step at least."
    panel.set_spec(uniform(10))
    panel.select(10)
    assert bar.button("remove").toolTip() == "Select a step first: this is clean data."


def test_the_samplers_own_steps_become_a_drawn_schedule_when_pulled(panel: SchedulePanel, qtbot: QtBot) -> None:
    betas = [visit.beta for visit in panel.visits()[-2::-1]]
    with qtbot.assertNotEmitted(panel.spec_changed):
        pull(qtbot, panel, panel.curves.beta, 5, -10.0)
    found = panel.current()
    assert found is not None
    assert found.betas[:5] == pytest.approx(betas[:5])
    assert found.betas[5] < betas[5]  # type: ignore[operator]
    assert panel.bar.choice.currentText() == "drawn · 10 steps"
    choose(panel, qtbot, 0)
    assert panel.current() is None
    choose(panel, qtbot, 1)
    assert panel.current() == found, "it is still at hand"


def test_another_model_keeps_what_was_drawn_and_no_more(learned: SchedulePanel, qtbot: QtBot) -> None:
    show(learned, Linear(), name="fashion")
    assert learned.current() is None, "what the model before keeps is not of this one"
    pull(qtbot, learned, learned.curves.beta, 5, -10.0)
    drawn = learned.current()
    show(learned, Linear(), [LEARNED])
    assert learned.current() == drawn
    assert not learned.undo_stack.canUndo()
    assert learned.bar.choice.count() == 3


# Live samples


def frame(x: np.ndarray, index: int = 1) -> events.Frame:
    return events.Frame(
        index=index, total=1, alpha=1.0, sigma=0.0, time=0.0, beta=0.0, nfe=2, seconds=0.5,
        x=x, x0=x, eps=x, eps_norm=1.0, x0_change=0.0,
    )  # fmt: skip


def test_live_samples_are_shown_when_they_are_done(panel: SchedulePanel) -> None:
    live = panel.live
    pictures = np.zeros((20, 1, 28, 28), np.float32)
    live.receive(frame(pictures, index=0))
    assert len(live.images) == 0
    live.receive(frame(pictures))
    assert len(live.images) == 20
    assert live.note.fullText() == "20 images · 0.5 s · Ancestral small"
    show(panel, Linear(), name="other")
    assert len(live.images) == 0


def test_nothing_of_the_model_before_is_shown(panel: SchedulePanel, qtbot: QtBot) -> None:
    panel.live.set_busy(True)
    panel.hide()
    with qtbot.waitSignal(panel.live.stop_requested):
        show(panel, Linear(), name="other")
    panel.live.receive(frame(np.zeros((20, 1, 28, 28), np.float32)))
    assert len(panel.live.images) == 0
    with qtbot.waitSignal(panel.live.sample_requested) as asked:
        panel.show()
    assert asked.args[0].path == Path("/models/other.safetensors")


def test_points_are_particles(panel: SchedulePanel, qtbot: QtBot) -> None:
    with qtbot.waitSignal(panel.live.sample_requested) as asked:
        panel.set_model("/models/roll.safetensors", header_of(shape=(2,)), Linear())
    assert asked.args[0].spec.knobs.count == LIVE_POINTS
    assert panel.live.particles.isVisible()
    panel.set_data_points(np.zeros((5, 2)))
    panel.live.receive(frame(np.zeros((7, 2), np.float32)))
    assert panel.live.note.fullText().startswith("7 points")


def test_a_hidden_workspace_samples_nothing(panel: SchedulePanel, qtbot: QtBot) -> None:
    panel.hide()
    with qtbot.assertNotEmitted(panel.live.sample_requested):
        panel.set_spec(uniform(5))
        show(panel, Cosine())


# Keeping, using


def test_a_schedule_is_used_in_trajectory(learned: SchedulePanel, qtbot: QtBot) -> None:
    with qtbot.waitSignals([learned.spec_changed, learned.use_requested]):
        qtbot.mouseClick(learned.use_button, Qt.MouseButton.LeftButton)
    assert not learned.use_button.isEnabled()
    assert "already" in learned.use_button.toolTip()
    assert learned.settings.steps.value() == 10
    assert not learned.settings.steps.isEnabled(), "the list says how many"


def test_a_schedule_is_sampled_with_the_sampler_it_was_found_with(learned: SchedulePanel, qtbot: QtBot) -> None:
    jobs: list[SampleJob] = []
    learned.live.sample_requested.connect(jobs.append)
    learned.set_spec(dataclasses.replace(uniform(10), sampler=DDIM()))
    assert learned.live._wanted is None
    found = ShortSchedule(betas=(0.1, 0.5), origin="learned", model="digits", sampler={"name": "ancestral"})
    learned.shelf.add_own(found)
    learned.show_schedule(found)
    assert jobs[-1].spec.sampler == Ancestral(), "its score is worth nothing with another"
    assert "Ancestral" in learned.use_button.toolTip()
    pull(qtbot, learned, learned.curves.beta, 0, -6.0)
    assert jobs[-1].spec.sampler == Ancestral(), "a pull changes the betas alone"
    with qtbot.waitSignal(learned.spec_changed) as told:
        qtbot.mouseClick(learned.use_button, Qt.MouseButton.LeftButton)
    assert told.args[0].sampler == Ancestral()
    learned.show_schedule(ShortSchedule(betas=(0.1, 0.4), origin="learned", sampler={"name": "unheard of"}))
    assert jobs[-1].spec.sampler == Ancestral(), "the one that is set"


def test_no_frame_is_left_by_the_mouse(learned: SchedulePanel, qtbot: QtBot) -> None:
    plot = learned.curves.beta
    pull(qtbot, learned, plot, 2, 12.0)
    assert plot.hasFocus()
    assert not plot.framed
    qtbot.keyClick(plot, Qt.Key.Key_Up)
    assert plot.framed, "keys go here"
    learned.curves.alpha_bar.setFocus(Qt.FocusReason.TabFocusReason)
    assert learned.curves.alpha_bar.framed
    assert not plot.framed


def test_keep_and_remove_ask_for_one_schedule(learned: SchedulePanel, qtbot: QtBot) -> None:
    assert learned.remove_button.isVisible()
    assert not learned.keep_button.isVisible()
    with qtbot.waitSignal(learned.remove_requested) as asked:
        qtbot.mouseClick(learned.remove_button, Qt.MouseButton.LeftButton)
    assert asked.args == [(LEARNED,)]
    pull(qtbot, learned, learned.curves.beta, 2, 12.0)
    drawn = learned.current()
    with qtbot.waitSignal(learned.keep_requested) as asked:
        qtbot.mouseClick(learned.keep_button, Qt.MouseButton.LeftButton)
    assert asked.args == [drawn]
    assert drawn is not None
    named = dataclasses.replace(drawn, model="digits")
    learned.look_again("/models/digits.safetensors", header_of([LEARNED, named]))
    assert learned.current() == named
    assert learned.remove_button.isVisible()
    assert learned.undo_stack.canUndo(), "nothing else has changed"
    learned.look_again("/models/other.safetensors", header_of())
    assert learned.shelf.kept == (LEARNED, named), "it is another model's file"


def test_a_schedule_of_another_model_is_kept_as_an_imported_one(learned: SchedulePanel, qtbot: QtBot) -> None:
    strange = ShortSchedule(betas=(0.1, 0.5), origin="learned", model="elsewhere", scores={"FD": 1.0})
    learned.shelf.add_own(strange)
    learned.show_schedule(strange)
    with qtbot.waitSignal(learned.keep_requested) as asked:
        qtbot.mouseClick(learned.keep_button, Qt.MouseButton.LeftButton)
    assert asked.args == [ShortSchedule(betas=(0.1, 0.5), origin="imported")]


def test_the_samplers_steps_cannot_be_kept(panel: SchedulePanel) -> None:
    assert not panel.keep_button.isEnabled()
    assert "choose, draw or import" in panel.keep_button.toolTip()


# Searching and learning


def found(betas: tuple[float, ...], *, best: bool = True) -> events.ScheduleFound:
    schedule = ShortSchedule(betas=betas, origin="learned", sampler={"name": "ddim"})
    return events.ScheduleFound(schedule=schedule, score=2.0, judge="FD", best=best)


def test_found_schedules_are_at_hand_and_can_be_drawn(panel: SchedulePanel) -> None:
    panel.receive_for("Search", found((0.1, 0.5)))
    panel.receive_for("Search", found((0.2, 0.4), best=False))
    assert [schedule.betas for schedule in panel.shelf.listed()] == [(0.1, 0.5)]
    panel.receive_for("Search", found((0.2, 0.6)))
    assert [schedule.betas for schedule in panel.shelf.listed()] == [(0.2, 0.6)], "the newest best of its length"
    panel.search.chosen.emit(panel.shelf.listed()[0])
    assert panel.curves.shown()[-1] == "learned, 2"


def test_a_search_goes_on_for_its_own_model(panel: SchedulePanel) -> None:
    panel.show_page("Search")
    panel.set_busy("Search", True)
    show(panel, Linear(), name="fashion")
    host = panel._hosts["Search"]
    assert host.path == "/models/digits.safetensors"
    assert host._note.fullText() == "This goes on for Digits."
    assert not host._turn_button.isEnabled()
    panel.receive_for("Search", found((0.1, 0.5)))
    assert panel.shelf.listed() == [], "it is not of this model"
    panel.set_busy("Search", False)
    assert host._note.fullText() == "This is of Digits."
    assert not panel.search.settings.isEnabled()
    host._turn_button.click()
    assert host.path == "/models/fashion.safetensors"
    assert panel.search.settings.isEnabled()
    show(panel, Linear())
    assert [schedule.betas for schedule in panel.shelf.listed()] == [(0.1, 0.5)]


def test_pages_have_their_settings_at_the_right(panel: SchedulePanel, qtbot: QtBot) -> None:
    for name, side in (("Network", panel.learn.settings), ("Search", panel.search.settings), ("Steps", panel.settings)):
        qtbot.mouseClick(panel.switch.button(name), Qt.MouseButton.LeftButton)
        assert panel.page() == name
        assert side.isVisible()
        assert panel.curves.beta.isVisible()
        assert panel.live.isVisible()
    panel.show_page("Search")
    tick(panel, "linear")
    other = SchedulePanel()
    qtbot.addWidget(other)
    other.restore(panel.state())
    assert other.page() == "Search"
    assert other._beside == {"training", "cosine", "linear"}
    other.restore({"page": "no such", "beside": 3, "Search": "text"})


# The shared spec


def test_typed_steps_are_told_and_shown(panel: SchedulePanel, qtbot: QtBot) -> None:
    with qtbot.waitSignal(panel.spec_changed) as told:
        retype(qtbot, panel.settings.steps.edit, "7", enter=True)
    assert told.args == [uniform(7)], "sampler and seed are handed on as they were"
    assert len(panel.visits()) == 8
    assert len(curve(panel.curves.log_snr, "the sampler’s, 7")) == 7


def test_grid_and_its_knobs_are_told_and_shown(panel: SchedulePanel, qtbot: QtBot) -> None:
    told: list[SampleSpec] = []
    panel.spec_changed.connect(told.append)
    choice = panel.settings.grid.findChild(Choice, "grid")
    assert isinstance(choice, Choice)
    choice.setFocus()
    qtbot.keyClick(choice, Qt.Key.Key_Down)
    assert told[-1].grid == Quadratic()
    assert panel.visits()[0].tau == pytest.approx(800.0, abs=1e-6)
    qtbot.keyClick(choice, Qt.Key.Key_Down)
    assert told[-1].grid == LogSNR()
    assert panel.visits()[0].log_snr == pytest.approx(-8.0)
    assert [spec.knobs.steps for spec in told] == [10, 10]


def test_what_the_sampler_chooses_is_followed_in_silence(panel: SchedulePanel, qtbot: QtBot) -> None:
    with qtbot.assertNotEmitted(panel.spec_changed):
        panel.set_spec(dataclasses.replace(uniform(4), grid=LogSNR(noisiest=-6.0)))
        show(panel, Linear(num_steps=100))
    assert len(panel.visits()) == 5
    assert panel.visits()[0].log_snr == pytest.approx(-6.0)
    assert panel.settings.steps.value() == 4


def test_another_seed_leaves_the_table_alone(panel: SchedulePanel) -> None:
    before = panel.visits()
    panel.set_spec(dataclasses.replace(uniform(10), knobs=SampleKnobs(steps=10, seed=99)))
    assert panel.visits() is before


def test_a_hidden_panel_catches_up_when_shown(panel: SchedulePanel, qtbot: QtBot) -> None:
    panel.hide()
    panel.set_spec(uniform(3))
    assert len(panel.visits()) == 11
    panel.show()
    assert len(panel.visits()) == 4


def test_steps_that_do_not_exist_are_refused_in_words(panel: SchedulePanel, qtbot: QtBot) -> None:
    panel.set_spec(dataclasses.replace(uniform(10), grid=Exact(steps="999, 5")))
    settings = panel.settings
    assert len(panel.visits()) == 3
    assert not settings.steps.isEnabled()
    assert settings.steps.parentWidget().note() == "follows from the list"  # type: ignore[attr-defined]
    edit = next(edit for edit in settings.grid.findChildren(QLineEdit, "steps") if edit.isVisible())
    retype(qtbot, edit, "999, 5000")
    assert panel.visits() == []
    assert not panel.export_button.isEnabled()
    assert edit.property("bad")
    assert [plot.marker() for plot in panel.curves.plots.values()] == [None] * 3
    retype(qtbot, edit, "999, 500, 5")
    assert [visit.tau for visit in panel.visits()[:-1]] == pytest.approx([999, 500, 5], abs=1e-6)
    assert panel.export_button.isEnabled()
    assert not edit.property("bad")


# Files


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the file dialogs were asked, and what they will answer."""
    asked: dict[str, Any] = {"answer": "", "folder": "", "open": []}

    def save(parent: object, title: str, suggested: str, kinds: str) -> tuple[str, str]:
        asked["suggested"] = suggested
        return asked["answer"], kinds

    monkeypatch.setattr(QFileDialog, "getSaveFileName", save)
    monkeypatch.setattr(QFileDialog, "getExistingDirectory", lambda *_: asked["folder"])
    monkeypatch.setattr(QFileDialog, "getOpenFileNames", lambda *_: (asked["open"], ""))
    return asked


def export(panel: SchedulePanel, text: str) -> None:
    menu = panel.export_button.menu()
    assert menu is not None
    next(action for action in menu.actions() if action.text().startswith(text)).trigger()


def test_exported_table_reads_back(panel: SchedulePanel, tmp_path: Path, asked: dict[str, Any]) -> None:
    asked["answer"] = str(tmp_path / "steps")
    export(panel, "Table")
    assert Path(asked["suggested"]).name == "digits, 10 steps.csv"
    rows = list(csv.DictReader(io.StringIO((tmp_path / "steps.csv").read_text(encoding="utf-8"))))
    assert len(rows) == 11
    for row, visit in zip(rows, panel.visits(), strict=True):
        assert float(row["alpha"]) == visit.alpha, "all digits"
        assert row["beta"] == ("" if visit.beta is None else repr(visit.beta))
    assert (rows[-1]["step"], rows[-1]["log_snr"]) == ("", "inf")
    assert str(tmp_path / "steps.csv") in panel.banner.text()
    assert panel.banner.isVisible()


@pytest.mark.parametrize(("kind", "suffix"), [("JSON", ".json"), ("CSV", ".csv")])
def test_exported_schedules_read_back(
    learned: SchedulePanel, tmp_path: Path, asked: dict[str, Any], kind: str, suffix: str
) -> None:
    asked["answer"] = str(tmp_path / "mine")
    export(learned, kind)
    back = read_schedules(tmp_path / f"mine{suffix}")[0]
    assert back.betas == SHORT
    assert (back == LEARNED) == (kind == "JSON")


def test_a_scheduler_for_diffusers_knows_its_sampler(
    panel: SchedulePanel, qtbot: QtBot, tmp_path: Path, asked: dict[str, Any]
) -> None:
    pull(qtbot, panel, panel.curves.beta, 2, 12.0)
    asked["folder"] = str(tmp_path / "scheduler")
    export(panel, "Scheduler")
    drawn = panel.current()
    assert drawn is not None
    back = read_schedules(tmp_path / "scheduler")[0]
    assert back.betas == drawn.betas
    assert "DDPMScheduler" in panel.banner.text()


def test_no_file_is_written_where_the_dialog_is_cancelled(panel: SchedulePanel, asked: dict[str, Any]) -> None:
    for kind in ("Table", "JSON", "CSV", "Scheduler"):
        export(panel, kind)
    assert "suggested" in asked
    assert not panel.banner.isVisible()


def test_an_export_that_fails_is_explained(panel: SchedulePanel, tmp_path: Path, asked: dict[str, Any]) -> None:
    (tmp_path / "taken.csv" / "inside").mkdir(parents=True)
    asked["answer"] = str(tmp_path / "taken.csv")
    export(panel, "Table")
    assert "taken.csv" in panel.banner.text()
    assert panel.banner.property("banner") == "error"
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".part"] == []


def test_imported_schedules_are_shown(
    panel: SchedulePanel, qtbot: QtBot, tmp_path: Path, asked: dict[str, Any]
) -> None:
    write_json(tmp_path / "two.json", [LEARNED, ShortSchedule(betas=(0.1, 0.5), origin="drawn")])
    asked["open"] = [str(tmp_path / "two.json")]
    qtbot.mouseClick(panel.import_button, Qt.MouseButton.LeftButton)
    found = panel.current()
    assert found is not None
    assert found.betas == (0.1, 0.5)
    assert panel.bar.choice.count() == 3
    assert panel.banner.text() == "2 schedules were imported: choose one above the curves."
    panel.undo_stack.undo()
    assert panel.current() is None


def test_bad_files_are_refused_in_words(
    panel: SchedulePanel, qtbot: QtBot, tmp_path: Path, asked: dict[str, Any]
) -> None:
    (tmp_path / "bad.csv").write_text("beta\n0.5\n1.5\n")
    (tmp_path / "good.csv").write_text("beta\n0.1\n0.5\n")
    asked["open"] = [str(tmp_path / name) for name in ("bad.csv", "good.csv", "none.json")]
    qtbot.mouseClick(panel.import_button, Qt.MouseButton.LeftButton)
    assert panel.banner.property("banner") == "error"
    assert "bad.csv" in panel.banner.text()
    assert "none.json" in panel.banner.text()
    found = panel.current()
    assert found is not None
    assert found.betas == (0.1, 0.5), "what can be read is"


def test_files_of_schedules_are_dropped(panel: SchedulePanel, tmp_path: Path) -> None:
    (tmp_path / "good.csv").write_text("beta\n0.1\n0.5\n")
    for name, taken in (("good.csv", True), ("model.safetensors", False)):
        data = QMimeData()
        data.setUrls([QUrl.fromLocalFile(str(tmp_path / name))])
        copy, button, none = Qt.DropAction.CopyAction, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
        enter = QDragEnterEvent(QPoint(50, 50), copy, data, button, none)
        panel.dragEnterEvent(enter)
        assert enter.isAccepted() == taken
        if taken:
            panel.dropEvent(QDropEvent(QPointF(50, 50), copy, data, button, none))
    found = panel.current()
    assert found is not None
    assert found.betas == (0.1, 0.5)


def test_csv_of_one_step() -> None:
    text = to_csv(visits(Tabulated((0.5,)), [Level(0.5**0.5, 0.5**0.5), Level(1.0, 0.0)]))
    head, first, last = text.splitlines()
    assert head == "k,step,t,alpha,sigma,log_snr,beta,posterior_std"
    assert first.startswith("0,0.0,1.0,0.70710678")
    assert last == "1,,0.0,1.0,0.0,inf,,"


# The workspace as a whole


def test_without_a_model_it_says_what_to_do(empty: SchedulePanel) -> None:
    assert not empty.settings.isEnabled()
    assert empty.visits() == []
    empty.set_spec(uniform(5))
    show(empty, Linear())
    assert empty.settings.isEnabled()
    assert len(empty.visits()) == 6


def test_every_message_is_taken(empty: SchedulePanel, panel: SchedulePanel) -> None:
    kinds = {cls for cls in vars(events).values() if isinstance(cls, type) and issubclass(cls, events.Event)}
    assert {type(message) for message in MESSAGES} == kinds - {events.Event}
    before = panel.visits()
    for message in MESSAGES:
        panel.receive(message)
    assert panel.visits() == before


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_small_window(panel: SchedulePanel, scheme: theme.Scheme) -> None:
    """1280 x 800 less the library and the bars: nothing is cut at the right, and the centre needs no scrolling."""
    theme.set_scheme(scheme)
    table, rows = panel.steps.table, panel.steps.rows
    right = max(plot.mapTo(panel, plot.rect().topRight()).x() for plot in panel.curves.plots.values())
    assert right < panel.settings.mapTo(panel, QPoint(0, 0)).x()
    heads = table.horizontalHeader()
    assert heads.length() <= table.viewport().width()
    metrics = heads.fontMetrics()
    for column in range(rows.columnCount()):
        head = rows.headerData(column, Qt.Orientation.Horizontal)
        assert metrics.horizontalAdvance(head) + 16 <= heads.sectionSize(column), head
    assert table.mapTo(panel, table.rect().bottomLeft()).y() < panel.height()
    for button in (panel.use_button, panel.keep_button, panel.import_button, panel.export_button):
        assert button.width() >= button.minimumSizeHint().width(), button.text()
        assert panel.rect().contains(button.mapTo(panel, button.rect().bottomRight()))
    for name in ("Steps", "Network", "Search"):
        panel.show_page(name)
        QApplication.processEvents()
        assert centre_of(panel).verticalScrollBar().maximum() == 0, name
        assert not panel.grab().isNull()


def centre_of(panel: SchedulePanel) -> QScrollArea:
    return next(area for area in panel.findChildren(QScrollArea) if area.isAncestorOf(panel.curves.beta))


def test_the_smallest_window_scrolls_and_its_table_can_be_read(panel: SchedulePanel) -> None:
    panel.resize(788, 560)
    QApplication.processEvents()
    for area in panel.findChildren(QScrollArea):
        assert area.widget().width() <= area.viewport().width() or not area.isVisible()
    assert min(plot.height() for plot in panel.curves.plots.values()) >= 150
    table, rows = panel.steps.table, panel.steps.rows
    shown = [column for column in range(rows.columnCount()) if not table.isColumnHidden(column)]
    for column in shown:
        width = table.fontMetrics().horizontalAdvance(str(rows.index(1, column).data()))
        assert table.columnWidth(column) >= width + 16
    panel.resize(1042, 710)
    assert not any(table.isColumnHidden(column) for column in range(rows.columnCount()))


@pytest.mark.parametrize("page", ["Steps", "Network", "Search"])
def test_every_control_has_a_tool_tip(panel: SchedulePanel, page: str) -> None:
    panel.show_page(page)
    mine = [*panel.bar.findChildren(QAbstractButton), panel.bar.choice, panel.use_button, panel.import_button]
    for control in (*mine, panel.keep_button, panel.remove_button, panel.export_button):
        assert control.toolTip(), control.objectName()
