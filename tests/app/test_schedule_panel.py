"""The schedule workspace under real clicks and keys: its numbers, its one selection, and the spec it shares."""

import csv
import dataclasses
import io
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtWidgets import QApplication, QFileDialog, QLineEdit, QScrollArea
from pytestqt.qtbot import QtBot

from studio.app import theme
from studio.app.controls import Choice
from studio.app.panels.schedule import SchedulePanel, ScheduleViews, prior_mismatch, to_csv, visits
from studio.app.widgets.plots import LivePlot
from studio.app.words import leftover
from studio.core import events
from studio.core.checkpoints.header import Header
from studio.core.grids import Exact, LogSNR, Quadratic, Uniform
from studio.core.levels import Level, from_alpha_bar
from studio.core.samplers.ancestral import Ancestral
from studio.core.sampling import SampleKnobs, SampleSpec
from studio.core.schedules import Cosine, DiscreteSchedule, Linear, Tabulated

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
    events.Failed(summary="it failed"),
    events.Finished(outcome="failed"),
]  # fmt: skip


@pytest.fixture
def empty(qtbot: QtBot) -> SchedulePanel:
    panel = SchedulePanel()
    qtbot.addWidget(panel)
    panel.resize(1042, 710)
    with qtbot.waitExposed(panel):
        panel.show()
    return panel


@pytest.fixture
def panel(empty: SchedulePanel) -> SchedulePanel:
    empty.set_spec(uniform(10))
    show(empty, Linear())
    return empty


def show(panel: SchedulePanel, schedule: DiscreteSchedule) -> None:
    nothing: dict[str, Any] = {}
    header = Header(
        title="Digits",
        family="DDPM",
        data=nothing,
        data_title="MNIST",
        facts={"shape": (1, 28, 28), "mean": -0.74, "std": 0.6},
        class_names=(),
        recipe=nothing,
        network=nothing,
        optimizer=nothing,
        run=nothing,
        step=1,
        images=1,
        seconds=1.0,
        num_parameters=1,
    )
    panel.set_model("/models/digits.safetensors", header, schedule)


def uniform(steps: int) -> SampleSpec:
    return SampleSpec(sampler=Ancestral(), grid=Uniform(), knobs=SampleKnobs(steps=steps, seed=7))


def views_of(panel: SchedulePanel) -> ScheduleViews:
    assert panel.views is not None
    return panel.views


def curve(plot: LivePlot, label: str) -> list[tuple[float, float]]:
    """The points of a curve, read from the plot's own export."""
    rows = list(csv.DictReader(io.StringIO(plot.to_csv())))
    first = next(iter(rows[0]))
    return [(float(row[first]), float(row[label])) for row in rows if row[label]]


def shown_names(plot: LivePlot) -> set[str]:
    return {series.label for series in plot.series() if series.visible}


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


def test_plots_show_training_and_visits(panel: SchedulePanel) -> None:
    views, table = views_of(panel), panel.visits()
    betas = Linear().betas()
    training = curve(views.beta, "training")
    assert len(training) == 1000
    assert training[499] == pytest.approx((0.5, betas[499]), rel=1e-6)
    assert curve(views.alpha_bar, "training")[0] == (0.0, 1.0)
    assert curve(views.alpha_bar, "training")[500] == pytest.approx((0.5, 0.0785872), rel=1e-5)
    noisy = table[-2::-1]
    for plot, values in (
        (views.beta, [visit.beta for visit in noisy]),
        (views.alpha_bar, [visit.alpha**2 for visit in noisy]),
        (views.log_snr, [visit.log_snr for visit in noisy]),
    ):
        xs, ys = zip(*curve(plot, "visited"), strict=True)
        assert xs == pytest.approx([visit.t for visit in noisy])
        assert ys == pytest.approx(values, rel=1e-6)
        assert all(b > a for a, b in pairwise(xs))


def test_table_shows_the_visits_from_noise_to_data(panel: SchedulePanel) -> None:
    rows = views_of(panel).rows
    texts = [[rows.data(rows.index(row, column)) for column in range(rows.columnCount())] for row in range(11)]
    assert rows.rowCount() == 11
    assert texts[0] == ["0", "999", "1.0000", "0.00635", "0.99998", "−10.12", "0.87979", "0.93783"]
    assert texts[9][:5] == ["9", "0", "0.0010", "0.99995", "0.01000"]
    assert texts[10] == ["10", "data", "0.0000", "1.00000", "0.00000", "∞", "–", "–"]


def test_a_click_in_a_plot_marks_the_nearest_visit_everywhere(panel: SchedulePanel, qtbot: QtBot) -> None:
    views = views_of(panel)
    assert views.selected() == 0
    for plot, t, k in ((views.beta, 0.45, 5), (views.alpha_bar, 0.65, 3), (views.log_snr, 0.004, 9)):
        click_plot(qtbot, plot, t)
        assert views.selected() == k
        assert [one.marker() for one in views.plots] == pytest.approx([panel.visits()[k].t] * 3)
        assert views.table.currentIndex().row() == k


def test_a_row_marks_the_plots(panel: SchedulePanel, qtbot: QtBot) -> None:
    views = views_of(panel)
    where = views.table.visualRect(views.rows.index(2, 3)).center()
    qtbot.mouseClick(views.table.viewport(), Qt.MouseButton.LeftButton, pos=QPoint(where))
    assert views.selected() == 2
    qtbot.keyClick(views.table, Qt.Key.Key_Down)
    assert [plot.marker() for plot in views.plots] == pytest.approx([panel.visits()[3].t] * 3)
    panel.set_spec(uniform(2))
    assert views.selected() == 2, "the selection stays within a shorter table"


def test_another_schedule_is_drawn_beside(panel: SchedulePanel, qtbot: QtBot) -> None:
    views = views_of(panel)
    for plot in views.plots:
        assert shown_names(plot) == {"training", "cosine", "visited"}
    assert curve(views.alpha_bar, "cosine")[500] == pytest.approx((0.5, 0.493844), rel=1e-5)
    choice = panel.settings.other
    choice.setFocus()
    qtbot.keyClick(choice, Qt.Key.Key_Up)
    for plot in views.plots:
        assert shown_names(plot) == {"training", "visited"}
    show(panel, Cosine())
    assert shown_names(views_of(panel).beta) == {"training", "visited"}, "a choice of none stays"


def test_a_model_with_another_schedule_takes_the_place_of_the_first(panel: SchedulePanel, qtbot: QtBot) -> None:
    before = views_of(panel)
    with qtbot.waitSignal(before.destroyed):
        show(panel, Cosine(num_steps=200))
    views = views_of(panel)
    assert shown_names(views.beta) == {"training", "linear", "visited"}
    assert len(curve(views.beta, "training")) == 200
    assert panel.settings.facts.texts()["Kind"] == "cosine"
    assert [visit.k for visit in panel.visits()] == list(range(11))
    show(panel, Tabulated((0.1, 0.5, 0.9)))
    assert shown_names(views_of(panel).beta) == {"training", "cosine", "visited"}, "linear cannot be this short"
    assert panel.settings.steps.value() == 3


# The shared spec


def test_typed_steps_are_told_and_shown(panel: SchedulePanel, qtbot: QtBot) -> None:
    with qtbot.waitSignal(panel.spec_changed) as told:
        retype(qtbot, panel.settings.steps.edit, "7", enter=True)
    assert told.args == [uniform(7)], "sampler and seed are handed on as they were"
    assert len(panel.visits()) == 8
    assert len(curve(views_of(panel).log_snr, "visited")) == 7


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
    assert settings.steps.parentWidget().note() == "follows from the typed list"  # type: ignore[attr-defined]
    edit = next(edit for edit in settings.grid.findChildren(QLineEdit, "steps") if edit.isVisible())
    retype(qtbot, edit, "999, 5000")
    assert panel.visits() == []
    assert not settings.export_button.isEnabled()
    assert edit.property("bad")
    assert [plot.marker() for plot in views_of(panel).plots] == [None] * 3
    retype(qtbot, edit, "999, 500, 5")
    assert [visit.tau for visit in panel.visits()[:-1]] == pytest.approx([999, 500, 5], abs=1e-6)
    assert settings.export_button.isEnabled()
    assert not edit.property("bad")


# Export


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the file dialog was asked, and what it will answer."""
    asked: dict[str, Any] = {"answer": ""}

    def ask(parent: object, title: str, suggested: str, kinds: str) -> tuple[str, str]:
        asked["suggested"] = suggested
        return asked["answer"], kinds

    monkeypatch.setattr(QFileDialog, "getSaveFileName", ask)
    return asked


def press_export(panel: SchedulePanel, qtbot: QtBot) -> None:
    qtbot.mouseClick(panel.settings.export_button, Qt.MouseButton.LeftButton)


def test_exported_table_reads_back(panel: SchedulePanel, qtbot: QtBot, tmp_path: Path, asked: dict[str, Any]) -> None:
    asked["answer"] = str(tmp_path / "steps")
    press_export(panel, qtbot)
    assert Path(asked["suggested"]).name == "digits, 10 steps.csv"
    rows = list(csv.DictReader(io.StringIO((tmp_path / "steps.csv").read_text(encoding="utf-8"))))
    assert len(rows) == 11
    for row, visit in zip(rows, panel.visits(), strict=True):
        assert float(row["alpha"]) == visit.alpha, "all digits"
        assert row["beta"] == ("" if visit.beta is None else repr(visit.beta))
    assert (rows[-1]["step"], rows[-1]["log_snr"]) == ("", "inf")
    assert str(tmp_path / "steps.csv") in panel.banner.text()
    assert panel.banner.isVisible()


def test_no_file_is_written_where_the_dialog_is_cancelled(
    panel: SchedulePanel, qtbot: QtBot, tmp_path: Path, asked: dict[str, Any]
) -> None:
    press_export(panel, qtbot)
    assert "suggested" in asked
    assert not panel.banner.isVisible()


def test_an_export_that_fails_is_explained(
    panel: SchedulePanel, qtbot: QtBot, tmp_path: Path, asked: dict[str, Any]
) -> None:
    (tmp_path / "taken.csv" / "inside").mkdir(parents=True)
    asked["answer"] = str(tmp_path / "taken.csv")
    press_export(panel, qtbot)
    assert "taken.csv" in panel.banner.text()
    assert panel.banner.property("banner") == "error"
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".part"] == []


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
    """1280 x 800 less the library and the bars: nothing is cut at the right, and nothing needs scrolling."""
    theme.set_scheme(scheme)
    views = views_of(panel)
    right = max(plot.mapTo(panel, plot.rect().topRight()).x() for plot in views.plots)
    assert right < panel.settings.mapTo(panel, QPoint(0, 0)).x()
    heads = views.table.horizontalHeader()
    assert heads.length() <= views.table.viewport().width()
    metrics = heads.fontMetrics()
    for column in range(views.rows.columnCount()):
        head = views.rows.headerData(column, Qt.Orientation.Horizontal)
        assert metrics.horizontalAdvance(head) + 16 <= heads.sectionSize(column), head
    assert views.table.mapTo(panel, views.table.rect().bottomLeft()).y() < panel.height()
    assert not panel.grab().isNull()


def test_the_smallest_window_scrolls_and_its_table_can_be_read(panel: SchedulePanel) -> None:
    panel.resize(788, 560)
    QApplication.processEvents()
    for area in panel.findChildren(QScrollArea):
        assert area.widget().width() <= area.viewport().width()
    views = views_of(panel)
    assert min(plot.height() for plot in views.plots) >= 150
    table, rows = views.table, views.rows
    shown = [column for column in range(rows.columnCount()) if not table.isColumnHidden(column)]
    for column in shown:
        width = table.fontMetrics().horizontalAdvance(str(rows.index(1, column).data()))
        assert table.columnWidth(column) >= width + 16
    panel.resize(1042, 710)
    assert not any(table.isColumnHidden(column) for column in range(rows.columnCount()))
