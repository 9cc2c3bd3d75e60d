"""The network and search pages of the schedule workspace: real clicks and keys, and every message a job may tell."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from PySide6.QtCore import QModelIndex, QPoint, Qt
from PySide6.QtGui import QHelpEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QLineEdit, QToolTip
from pytestqt.qtbot import QtBot

from studio.app import theme
from studio.app.controls import Choice, LabeledSlider
from studio.app.panels.schedule_learn import LearnPage, LearnRequest, WatchRequest
from studio.app.panels.schedule_search import SearchPage, SearchRequest
from studio.app.widgets.emission import EmissionStrip
from studio.app.widgets.start_map import Place, StartMap
from studio.core import events
from studio.core.checkpoints.header import Header
from studio.core.networks.schedule_net import AttentionSpec, CNNSpec
from studio.core.recipes.bilateral import Bilateral
from studio.core.schedule_judges import ByError, BySamples
from studio.core.schedule_search import SearchKnobs
from studio.core.schedules import Linear
from studio.core.short_schedule import ShortSchedule, fewest_steps
from studio.session.schedule import EmitJob, ScheduleNetJob, SearchJob, job_of

LEFT = Qt.MouseButton.LeftButton
PICTURES = np.zeros((2, 1, 4, 4), np.uint8)
LEVELS = np.linspace(-8.0, 8.0, 5)
REFUSAL = "The first step would leave more than the whole signal: α is at most 0.71."


def header(schedules: tuple[ShortSchedule, ...] = (), step: int = 1) -> Header:
    nothing: dict[str, Any] = {}
    return Header(
        title="Digits",
        family="DDPM",
        data=nothing,
        data_title="MNIST",
        facts={"shape": (1, 28, 28), "mean": -0.74, "std": 0.6, "num_classes": 0},
        class_names=(),
        recipe=nothing,
        network=nothing,
        optimizer=nothing,
        run=nothing,
        step=step,
        images=1,
        seconds=1.0,
        num_parameters=1,
        schedules=schedules,
    )


def schedule(steps: int, sampler: str = "ancestral", start: tuple[float, float] = (0.5, 0.3), **other: Any) -> Any:
    betas = tuple(np.geomspace(1e-3, start[1], steps).tolist())
    return ShortSchedule(betas=betas, origin="learned", sampler={"name": sampler}, start=start, seed=0, **other)


def found(row: int | None, column: int | None, steps: int, score: float, **other: Any) -> events.ScheduleFound:
    start = (min(0.2 + 0.2 * (row or 0), 0.9), min(0.2 + 0.2 * (column or 0), 0.9))
    sampler = other.pop("sampler", "ancestral")
    bound = fewest_steps(*start) if row is not None else None
    one = schedule(steps, sampler, start)
    return events.ScheduleFound(schedule=one, score=score, judge="FD", row=row, column=column, bound=bound, **other)


def progress(step: int, total: int = 100) -> events.Progress:
    return events.Progress(
        step=step,
        total=total,
        images=step,
        seconds=1.0,
        images_per_second=9.0,
        eta_seconds=42.0,
        scalars={"loss": 0.3},
        steps=np.arange(step - 10, step),
        losses=np.full(10, 0.3, np.float32),
    )


def emitted(index: int, *, done: bool = False, job_id: int = 0, images: np.ndarray = PICTURES) -> events.Emitted:
    return events.Emitted(
        index=index,
        alpha=0.5 + 0.05 * index,
        beta=0.3 * 0.5**index,
        ratio=None if index == 0 else 0.8,
        images=images,
        done=done,
        reason="no noise is left" if done else "",
        job_id=job_id,
    )


CURVE = events.RatioCurve(
    step=10,
    log_snr=LEVELS,
    learned=np.full(5, 0.5),
    optimum=np.full(5, 0.6),
    error=np.full(5, 0.1),
    cap=np.full(5, 0.9),
)
SHAPE = events.TableShape(
    rows=("0.2", "0.4", "0.6"), columns=("0.2", "0.4", "0.6"), row_title="α_N", column_title="β_N"
)
ALL: list[events.Event] = [
    events.Status(text="Measuring"),
    progress(10),
    CURVE,
    emitted(0),
    emitted(1, done=True),
    emitted(0, images=np.zeros((30, 2), np.float32)),
    SHAPE,
    events.SearchProgress(done=1, total=2, fraction=0.5, eta_seconds=9.0, text="Near the best start"),
    found(0, 0, 4, 3.0),
    found(None, None, 5, 2.0),
    found(9, 9, 5, 2.0),
    events.ScheduleFound(schedule=None, score=None, judge="FD", row=1, column=1, bound=3.0, reason="not possible"),
    events.ScheduleFound(schedule=schedule(3), score=None, judge="FD", row=0, column=1, reason="it broke down"),
    events.HeldOut(step=1, loss=0.1),
    events.Preview(step=1, images=PICTURES),
    events.Quality(step=1, scores={"fd": 2.0}, floor={"fd": 1.0}, network="MNIST classifier", count=500),
    events.Tile(row=0, column=0, images=PICTURES),
    events.EvaluationProgress(done=0, total=1, fraction=0.0, eta_seconds=1.0, text=""),
    events.CellScored(row={"fd": 2.0}, floor={"fd": 1.0}),
    events.DataPreview(title="MNIST", summary="digits", images=PICTURES),
    events.Estimate(seconds_per_step=0.1, memory=1, num_parameters=1, steps=1),
    events.LaneDone(lane=0, nfe=1, seconds=0.1),
    events.Field(index=0, points=np.zeros((1, 2)), arrows=np.zeros((1, 2))),
    events.Saved(path="x"),
    events.Paused(paused=True),
    events.Paused(paused=False),
    events.Warned(summary="careful"),
    events.Failed(summary="it failed", details="trace"),
    events.Finished(outcome="failed"),
]


@pytest.fixture
def learn(qtbot: QtBot) -> LearnPage:
    page = LearnPage()
    _show(qtbot, page)
    page.set_model("/models/digits.safetensors", header(), Linear())
    return page


@pytest.fixture
def search(qtbot: QtBot) -> SearchPage:
    page = SearchPage()
    _show(qtbot, page)
    page.set_model("/models/digits.safetensors", header(), Linear())
    return page


def _show(qtbot: QtBot, page: LearnPage | SearchPage) -> None:
    for widget, size in ((page, (760, 420)), (page.settings, (280, 900))):
        qtbot.addWidget(widget)
        widget.resize(*size)
        with qtbot.waitExposed(widget):
            widget.show()


def _type(page: LearnPage | SearchPage, name: str, text: str) -> None:
    edit = page.settings.findChild(QLineEdit, name)
    if edit is None:
        slider = page.settings.findChild(LabeledSlider, name)
        assert slider is not None
        edit = slider.edit
    edit.setFocus()
    edit.selectAll()
    QTest.keyClicks(edit, text)
    QTest.keyClick(edit, Qt.Key.Key_Return)


def _fill(page: SearchPage) -> None:
    """Two starts with schedules, one refused, the rest to come."""
    page.receive(SHAPE)
    page.receive(found(0, 0, 8, 3.0))
    page.receive(found(0, 0, 6, 5.0, sampler="ddim"))
    page.receive(found(1, 1, 6, 2.5))
    page.receive(
        events.ScheduleFound(schedule=None, score=None, judge="FD", row=2, column=2, bound=1.1, reason=REFUSAL)
    )


# Both


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_message_is_taken_in_any_state_and_scheme(
    learn: LearnPage, search: SearchPage, scheme: theme.Scheme, qapp: QApplication
) -> None:
    theme.install(qapp, scheme)
    for page in (learn, search):
        for busy in (False, True):
            page.set_busy(busy)
            for event in ALL:
                page.receive(event)
        assert "it failed" in page.banner.text()
        assert not page.grab().isNull()
        theme.set_scheme("light" if scheme == "dark" else "dark")
        assert not page.grab().isNull()


def test_warnings_are_gathered_and_told_before_the_failure(learn: LearnPage) -> None:
    for text in ("first", "second"):
        learn.receive(events.Warned(summary=text, job_id=3))
    learn.receive(events.Failed(summary="it failed", job_id=3))
    assert learn.banner.text() == "first\nsecond\nit failed"
    learn.receive(events.Warned(summary="of another job", job_id=4))
    assert learn.banner.text() == "of another job"


def test_pause_and_stop_follow_the_job(search: SearchPage, qtbot: QtBot) -> None:
    run = search.run
    assert not run.pause_button.isVisible()
    search.set_busy(True)
    assert not run.start_button("search").isVisible()
    with qtbot.waitSignal(search.pause_requested) as asked:
        qtbot.mouseClick(run.pause_button, LEFT)
    assert asked.args == [True]
    search.receive(events.Paused(paused=True))
    assert run.pause_button.text() == "Go on"
    assert run.caption.fullText() == "Paused", "nothing is left to be waited for"
    search.receive(events.SearchProgress(done=1, total=2, fraction=0.5, eta_seconds=9.0, text="late news"))
    assert run.caption.fullText() == "Paused · late news"
    with qtbot.waitSignal(search.pause_requested) as asked:
        qtbot.mouseClick(run.pause_button, LEFT)
    assert asked.args == [False]
    search.receive(events.Paused(paused=False))
    assert run.caption.fullText() == "late news"
    with qtbot.waitSignal(search.stop_requested):
        qtbot.mouseClick(run.stop_button, LEFT)
    assert not run.stop_button.isEnabled()
    search.receive(events.Finished(outcome="stopped"))
    search.set_busy(False)
    assert run.start_button("search").isVisible()
    assert run.caption.fullText() == "Stopped"


def test_messages_of_older_jobs_are_left_alone(learn: LearnPage, search: SearchPage) -> None:
    learn.receive(emitted(0, job_id=5))
    learn.receive(emitted(1, job_id=4))
    assert len(learn.strip.steps()) == 1
    search.receive(events.TableShape(rows=("1",), columns=("1",), row_title="", column_title="", job_id=5))
    search.receive(SHAPE)
    assert search.map.num_places() == 1


def test_without_a_model_nothing_can_be_asked_for(qtbot: QtBot) -> None:
    for page in (LearnPage(), SearchPage()):
        qtbot.addWidget(page)
        qtbot.addWidget(page.settings)
        assert not page.settings.isEnabled()
        with pytest.raises(ValueError, match="Choose a model"):
            page.request()


# Network


def test_train_asks_for_what_is_set(learn: LearnPage, qtbot: QtBot) -> None:
    network = learn.settings.findChild(Choice, "schedule_network")
    assert network is not None
    network.setValue("attention")
    _type(learn, "span", "100")
    with qtbot.waitSignal(learn.start_requested) as asked:
        qtbot.mouseClick(learn.run.start_button("train"), LEFT)
    (request,) = asked.args or []
    assert isinstance(request, LearnRequest)
    assert request.network == AttentionSpec()
    assert request.bilateral == Bilateral(span=100)
    assert request.path.name == "digits.safetensors"


def test_the_span_says_what_auto_means_and_what_is_too_large(learn: LearnPage) -> None:
    field = learn.form.field("span")
    assert field.note() == "333 of 1,000 steps"
    _type(learn, "span", "800")
    assert "too large" in field.note()
    assert not learn.run.start_button("train").isEnabled()
    assert "too large" in learn.run.start_button("train").toolTip()
    learn.set_model("/models/long.safetensors", header(), Linear(num_steps=4000))
    assert field.note() == ""
    assert learn.run.start_button("train").isEnabled()


def test_loss_and_ratio_are_drawn_as_they_come(learn: LearnPage) -> None:
    assert learn.loss_stage.is_empty()
    learn.set_busy(True)
    for step in (10, 20, 30):
        learn.receive(progress(step))
    learn.receive(CURVE)
    assert not learn.loss_stage.is_empty()
    assert not learn.ratio_stage.is_empty()
    rows = learn.loss.to_csv().splitlines()
    assert rows[0] == "steps,each step,smoothed"
    assert len(rows) == 31
    read = learn.ratio.read_out(0.0)
    assert read is not None
    assert {series.label: y for series, y in read[1]} == {"cap": 0.9, "optimum": 0.6, "learned": 0.5}
    assert learn.run.caption.fullText() == "step 30 of 100 · 42 s left"
    assert learn.run.progress.value() == 300


def test_a_second_training_begins_its_curves_anew(learn: LearnPage) -> None:
    for step in (10, 20, 10):
        learn.receive(progress(step))
    assert len(learn.loss.to_csv().splitlines()) == 11


def test_the_bound_follows_the_start_and_refusals_say_why(learn: LearnPage) -> None:
    assert learn.bound.text() == f"Fewest steps from here to clean data: {fewest_steps(0.5, 0.3):.1f}."
    _type(learn, "beta", "0.9")
    assert "more than the whole signal" in learn.bound.text()
    assert "0.316" in learn.start_form.field("alpha").note()
    assert not learn.run.start_button("watch").isEnabled()
    assert learn.run.start_button("train").isEnabled()
    _type(learn, "alpha", "0.1")
    assert learn.bound.text() == "Fewest steps from here to clean data: 2.0."
    assert learn.run.start_button("watch").isEnabled()
    _type(learn, "beta", "0.001")
    assert "before clean data" in learn.bound.text()


def test_watch_asks_for_a_start_and_shows_the_steps(learn: LearnPage, qtbot: QtBot) -> None:
    _type(learn, "beta", "0.4")
    _type(learn, "seed", "7")
    with qtbot.waitSignal(learn.watch_requested) as asked:
        qtbot.mouseClick(learn.run.start_button("watch"), LEFT)
    (request,) = asked.args or []
    assert isinstance(request, WatchRequest)
    assert (request.start, request.seed, request.network) == ((0.5, 0.4), 7, CNNSpec())
    for index in range(3):
        learn.receive(emitted(index, done=index == 2))
    assert learn.strip_panel.subtitle_label.fullText() == "3 steps · it ends here: no noise is left"
    assert not learn.use_button.isVisible()
    whole = schedule(3)
    learn.receive(events.ScheduleFound(schedule=whole, score=None, judge="", reason="no noise is left"))
    with qtbot.waitSignal(learn.chosen) as picked:
        qtbot.mouseClick(learn.use_button, LEFT)
    assert picked.args == [whole]
    learn.receive(emitted(0))
    assert len(learn.strip.steps()) == 1
    assert not learn.use_button.isVisible()


def test_another_model_clears_the_network_page(learn: LearnPage) -> None:
    learn.receive(progress(10))
    learn.receive(CURVE)
    learn.receive(emitted(0, done=True))
    learn.set_model("/models/other.safetensors", header(), Linear())
    assert learn.loss_stage.is_empty()
    assert learn.ratio_stage.is_empty()
    assert learn.strip.steps() == []
    assert not learn.use_button.isVisible()


def test_settings_come_back(learn: LearnPage, search: SearchPage, qtbot: QtBot) -> None:
    _type(learn, "span", "50")
    _type(learn, "alpha", "0.25")
    _type(search, "wanted", "4, 8")
    search.judge.choice.setValue("error")
    for page, new in ((learn, LearnPage()), (search, SearchPage())):
        qtbot.addWidget(new)
        qtbot.addWidget(new.settings)
        new.restore({key: None if value is None else str(value) for key, value in page.state().items()})
        assert new.state() == page.state()


def test_the_strip_follows_the_newest_card_and_the_keys(qtbot: QtBot) -> None:
    strip = EmissionStrip()
    qtbot.addWidget(strip)
    strip.resize(500, 170)
    with qtbot.waitExposed(strip):
        strip.show()
    for index in range(20):
        strip.add(emitted(index))
    bar = strip._scroll.horizontalScrollBar()
    qtbot.waitUntil(lambda: bar.maximum() > 0 and bar.value() > 0.9 * bar.maximum())
    cards = strip._cards
    cards.setFocus()
    qtbot.keyClick(cards, Qt.Key.Key_Home)
    assert strip.current == 0
    assert bar.value() < 0.1 * bar.maximum()
    assert cards.accessibleDescription() == "step 1, β 0.3, α 0.5, ratio given"
    strip.add(emitted(20))
    assert strip.current == 0  # the person is looking
    qtbot.mouseClick(cards, LEFT, pos=cards.card(2).center().toPoint())
    assert strip.current == 2
    with pytest.raises(ValueError, match="pictures"):
        strip.add(emitted(0, images=np.zeros(3)))
    assert len(strip.steps()) == 21


# Search


def test_search_asks_for_what_is_set(search: SearchPage, qtbot: QtBot) -> None:
    _type(search, "wanted", "4, 8")
    with qtbot.waitSignal(search.start_requested) as asked:
        qtbot.mouseClick(search.run.start_button("search"), LEFT)
    (request,) = asked.args or []
    assert isinstance(request, SearchRequest)
    assert request.judge == BySamples()
    assert request.knobs == SearchKnobs(wanted="4, 8")
    search.judge.choice.setValue("error")
    assert search.request().judge == ByError()


def test_search_uses_the_network_that_is_set_on_the_other_page(learn: LearnPage, search: SearchPage) -> None:
    learn.network_changed.connect(lambda request: search.set_network(request.network, request.bilateral))
    _type(learn, "span", "120")
    request = search.request()
    assert (request.network, request.bilateral) == (CNNSpec(), Bilateral(span=120))
    search.set_model("/models/short.safetensors", header(), Linear(num_steps=100))
    assert not search.run.start_button("search").isEnabled()
    assert "too large" in search.run.start_button("search").toolTip()


def test_requests_make_jobs(learn: LearnPage, search: SearchPage) -> None:
    assert isinstance(job_of(learn.request()), ScheduleNetJob)
    assert isinstance(job_of(learn.watch_request()), EmitJob)
    assert isinstance(job_of(search.request()), SearchJob)


def test_a_network_trained_before_the_search_is_told(search: SearchPage) -> None:
    search.set_busy(True)
    search.receive(progress(10))
    assert search.run.caption.fullText() == "Schedule network first: step 10 of 100 · 42 s left"


def test_wanted_steps_that_are_none_are_refused_at_their_field(search: SearchPage) -> None:
    _type(search, "wanted", "4, many")
    assert "whole numbers" in search.form.field("wanted").note()
    assert not search.run.start_button("search").isEnabled()
    _type(search, "wanted", "4")
    assert search.form.field("wanted").note() == ""
    assert search.run.start_button("search").isEnabled()


def test_the_map_fills_and_the_best_is_outlined(search: SearchPage) -> None:
    search.set_busy(True)
    _fill(search)
    assert search.map.best == (1, 1)
    first, refused = search.map.place((0, 0)), search.map.place((2, 2))
    assert first is not None
    assert (first.value, first.text) == (3.0, "3.00")
    assert refused is not None
    assert (refused.value, refused.skipped, refused.reason) == (None, True, REFUSAL)
    assert search.map.place((0, 1)) is None
    search.receive(events.SearchProgress(done=4, total=18, fraction=0.3, eta_seconds=30.0, text="Start 0.6, 0.6"))
    assert search.run.caption.fullText() == "3 of 9 starts · 30 s left"
    assert search.bound.text() == f"Fewest steps from the best start: {fewest_steps(0.4, 0.4):.1f}"


def test_a_place_is_chosen_by_click_and_keys(search: SearchPage, qtbot: QtBot) -> None:
    _fill(search)
    with qtbot.waitSignal(search.chosen) as picked:
        qtbot.mouseClick(search.map, LEFT, pos=search.map.place_of((0, 0)).center().toPoint())
    assert (picked.args or [])[0].steps == 8
    assert search.caption.fullText().startswith("α_N 0.2 · β_N 0.2 · 8 steps · ancestral · FD 3.00")
    assert search.table.currentIndex().row() == 1  # its row is marked, too
    assert "the chosen start" in search.bound.text()
    with qtbot.assertNotEmitted(search.chosen):
        qtbot.keyClick(search.map, Qt.Key.Key_Right)  # still to come
    assert search.map.current == (0, 1)
    with qtbot.waitSignal(search.chosen) as picked:
        qtbot.keyClick(search.map, Qt.Key.Key_Down)
    assert (picked.args or [])[0].start == (0.4, 0.4)
    qtbot.keyClick(search.map, Qt.Key.Key_End)
    qtbot.keyClick(search.map, Qt.Key.Key_PageDown)
    assert search.map.current == (2, 2)
    assert REFUSAL in search.caption.fullText()
    assert REFUSAL in search.map.accessibleDescription()
    qtbot.keyClick(search.map, Qt.Key.Key_Down)
    assert search.map.current == (2, 2)


def test_the_map_can_be_of_one_number_of_steps_or_show_it(search: SearchPage, qtbot: QtBot) -> None:
    _fill(search)
    assert [search.steps.itemData(k) for k in range(search.steps.count())] == [None, 6, 8]
    search.steps.setValue(6)
    first = search.map.place((0, 0))
    assert first is not None
    assert first.value == 5.0
    search.steps.setValue(8)
    assert search.map.best == (0, 0)
    other = search.map.place((1, 1))
    assert other is not None
    assert (other.value, other.skipped, other.reason) == (None, False, "No schedule of 8 steps came from here.")
    search.steps.setValue(None)
    qtbot.mouseClick(search.show_what.button("steps"), LEFT)
    first = search.map.place((0, 0))
    assert first is not None
    assert (first.value, first.text) == (8.0, "8")
    assert search.map.best == (1, 1)  # still the best score


def test_hovering_tells_reasons_in_a_tool_tip(search: SearchPage, qtbot: QtBot) -> None:
    _fill(search)
    at = search.map.place_of((2, 2)).center().toPoint()
    help_event = QHelpEvent(QHelpEvent.Type.ToolTip, at, search.map.mapToGlobal(at))
    QApplication.sendEvent(search.map, help_event)
    qtbot.waitUntil(lambda: QToolTip.text() == REFUSAL)
    QToolTip.hideText()
    plain = search.map.grab().toImage()
    QTest.mouseMove(search.map, search.map.place_of((1, 1)).center().toPoint())
    assert search.map.grab().toImage() != plain  # the read-out


def test_the_table_has_the_best_of_each_number_of_steps(search: SearchPage, qtbot: QtBot) -> None:
    search.set_busy(True)
    _fill(search)
    moved = ShortSchedule(
        betas=(0.1, 0.2, 0.3, 0.35, 0.4, 0.45), origin="refined", sampler={"name": "ddim"}, start=(0.2, 0.2)
    )
    search.receive(events.ScheduleFound(schedule=moved, score=2.0, judge="FD"))
    assert [_text(search, 0, column) for column in (4, 5)] == ["–", "refined"]  # it is bound to its start no longer
    search.receive(found(None, None, 6, 2.4, sampler="ddim"))  # worse: it changes nothing
    texts = [[_text(search, row, column) for column in range(3)] for row in range(search.rows.rowCount())]
    assert texts == [["6", "2.50", "2.00"], ["8", "3.00", "–"]]
    index = search.rows.index(0, 1)
    with qtbot.waitSignal(search.chosen) as picked:
        qtbot.mouseClick(search.table.viewport(), LEFT, pos=search.table.visualRect(index).center())
    assert (picked.args or [])[0].sampler == {"name": "ancestral"}
    assert search.map.current == (1, 1)
    with qtbot.waitSignal(search.chosen) as picked:
        qtbot.keyClick(search.table, Qt.Key.Key_Down)
    assert (picked.args or [])[0].steps == 8
    with qtbot.waitSignal(search.chosen):
        qtbot.keyClick(search.table, Qt.Key.Key_Return)  # the same once more
    search.receive(found(None, None, 4, 9.0))
    assert _text(search, search.table.currentIndex().row(), 0) == "8"  # the mark stays with its schedule


def test_what_the_model_keeps_is_listed_until_a_search_begins(search: SearchPage, qtbot: QtBot) -> None:
    assert search.empty.isVisible()
    kept = schedule(4, "ddim", scores={"FD · MNIST classifier · 500 samples · DDIM": 3.456})
    search.set_model("/models/other.safetensors", header((kept,)), Linear())
    assert [_text(search, 0, column) for column in range(5)] == ["4", "–", "3.46", ".50, .30", "3.9"]
    assert search.table_panel.subtitle_label.fullText() == "kept in the model · FD"
    with qtbot.waitSignal(search.chosen) as picked:
        qtbot.mouseClick(search.table.viewport(), LEFT, pos=search.table.visualRect(search.rows.index(0, 0)).center())
    assert picked.args == [kept]
    search.set_busy(True)
    search.receive(SHAPE)
    assert search.rows.rowCount() == 0
    assert search.empty.isVisible()
    search.receive(events.Finished(outcome="failed"))
    search.set_busy(False)
    assert search.rows.rowCount() == 1  # nothing was found: what is kept is there again


def test_the_same_model_may_keep_more_without_losing_the_search(search: SearchPage) -> None:
    _fill(search)
    search.set_model("/models/digits.safetensors", header((schedule(4),)), Linear())
    assert search.map.best == (1, 1)
    assert search.rows.rowCount() == 2
    search.set_model("/models/digits.safetensors", header((schedule(4),), step=2), Linear())
    assert search.map.num_places() == 0
    assert search.rows.rowCount() == 1


def test_time_is_told_where_it_is_known(search: SearchPage) -> None:
    search.resize(1200, 500)
    _fill(search)
    assert search.table.isColumnHidden(6)
    search.set_rate(0.002)
    assert not search.table.isColumnHidden(6)
    assert _text(search, 0, 6) == "0.4 s"
    search.resize(760, 420)
    assert search.table.isColumnHidden(6)
    assert not search.table.isColumnHidden(3)


def test_a_candidate_that_could_not_be_judged_says_why(search: SearchPage) -> None:
    search.receive(SHAPE)
    search.receive(
        events.ScheduleFound(schedule=schedule(3), score=None, judge="FD", row=0, column=0, reason="it broke down")
    )
    place = search.map.place((0, 0))
    assert place is not None
    assert (place.value, place.reason) == (None, "it broke down")
    assert search.map.best is None
    assert search.rows.rowCount() == 0


def _text(page: SearchPage, row: int, column: int) -> str:
    return str(page.rows.data(page.rows.index(row, column, QModelIndex())))


# The map itself


def test_shades_are_even_and_the_best_is_farthest_from_the_panel(qtbot: QtBot, qapp: QApplication) -> None:
    for scheme in ("light", "dark"):
        theme.install(qapp, scheme)
        view = StartMap()
        qtbot.addWidget(view)
        steps = np.diff(view._lightness)
        assert np.allclose(steps, steps[0])
        away = abs(view._lightness - (0.2 if scheme == "dark" else 1.0))
        assert away[-1] == away.max()
        assert view._shades[0] != view._shades[-1]


def test_a_map_of_equal_or_negative_values_is_drawn(qtbot: QtBot) -> None:
    view = StartMap("Scores")
    qtbot.addWidget(view)
    view.resize(400, 300)
    view.set_axes(("1", "2"), ("1", "2"), "a", "b")
    for values in ((1.0, 1.0), (-3.0, 2.0), (0.001, 900.0), (math.inf, 1.0)):
        view.set_places({(0, k): Place(value, f"{value:g}") for k, value in enumerate(values)}, (0, 1), "bits/dim")
        assert not view.grab().isNull()
    with pytest.raises(IndexError, match="2 x 2"):
        view.set_places({(2, 0): Place(1.0)}, None)
    qtbot.mouseClick(view, LEFT, pos=QPoint(2, 2))  # beside the table
    assert view.current is None
    qtbot.keyClick(view, Qt.Key.Key_Left)
    assert view.current == (0, 1)  # the keys begin at the best
    view.clear()
    assert view.current is None
    assert view.num_places() == 0
