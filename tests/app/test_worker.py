"""Lanes and their workers: one job at a time, the newest wins, and every thread ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from PySide6.QtTest import QTest
from pytestqt.qtbot import QtBot

from studio.app.errands import Errand
from studio.app.worker import Lane, Worker
from studio.core import events
from studio.session.control import Control
from studio.session.jobs import Job
from studio.session.mailbox import Mailbox

WAIT = 10_000


@pytest.fixture
def lane(qtbot: QtBot) -> Iterator[Lane]:
    made = Lane()
    yield made
    assert made.close()


@pytest.fixture
def said(lane: Lane) -> list[Any]:
    """The messages that arrive, and True or False where the lane becomes busy or idle."""
    found: list[Any] = []
    lane.received.connect(found.append)
    lane.busy_changed.connect(found.append)
    return found


def endless(name: str, log: list[str] | None = None) -> Job:
    """A job that talks until it is stopped, and logs when it starts and is closed."""

    def job(control: Control) -> Iterator[events.Event | None]:
        if log is not None:
            log.append(f"{name} begins")
        try:
            while not control.stopping:
                yield events.Status(text=name)
                time.sleep(0.002)
        finally:
            if log is not None:
                log.append(f"{name} ends")

    return job


def short(*texts: str, error: Exception | None = None) -> Job:
    def job(control: Control) -> Iterator[events.Event | None]:
        for index, text in enumerate(texts):
            yield events.Saved(path=text, step=index)
        if error is not None:
            raise error

    return job


def idle(qtbot: QtBot, lane: Lane) -> None:
    qtbot.waitUntil(lambda: not lane.busy, timeout=WAIT)


def names(said: list[Any]) -> list[str]:
    return [item.__class__.__name__ if isinstance(item, events.Event) else str(item) for item in said]


class TestOrder:
    def test_messages_come_in_order_and_finished_is_last(self, qtbot: QtBot, lane: Lane, said: list[Any]) -> None:
        lane.submit(short("a", "b", "c"))
        assert lane.busy
        assert said == [True]
        idle(qtbot, lane)
        assert names(said) == ["True", "Saved", "Saved", "Saved", "Finished", "False"]
        assert [event.path for event in said[1:4]] == ["a", "b", "c"]
        assert said[-2].outcome == "done"
        assert len({event.job_id for event in said[1:-1]}) == 1

    def test_a_failure_is_told_in_words_and_then_it_finishes(self, qtbot: QtBot, lane: Lane, said: list[Any]) -> None:
        lane.submit(short("a", error=RuntimeError("a bolt came loose")))
        idle(qtbot, lane)
        assert names(said) == ["True", "Saved", "Failed", "Finished", "False"]
        assert "a bolt came loose" in said[2].summary
        assert "RuntimeError" in said[2].details
        assert said[3].outcome == "failed"
        lane.submit(short("b"))
        idle(qtbot, lane)
        assert said[-2].outcome == "done", "a lane outlives a failure"

    def test_messages_arrive_in_the_thread_of_the_window(self, qtbot: QtBot, lane: Lane) -> None:
        threads: set[int] = set()
        ran: list[int] = []

        def job(control: Control) -> Iterator[events.Event | None]:
            ran.append(threading.get_ident())
            yield events.Status(text="")

        lane.received.connect(lambda _: threads.add(threading.get_ident()))
        lane.submit(job)
        idle(qtbot, lane)
        assert threads == {threading.get_ident()}
        assert ran != [threading.get_ident()]

    def test_job_numbers_grow(self, qtbot: QtBot, lane: Lane, said: list[Any]) -> None:
        for name in "ab":
            lane.submit(short(name))
            idle(qtbot, lane)
        first, second = (event.job_id for event in said if isinstance(event, events.Saved))
        assert second > first


class TestNewestWins:
    def test_of_three_quick_requests_only_the_last_is_heard(self, qtbot: QtBot, lane: Lane, said: list[Any]) -> None:
        log: list[str] = []
        for name in ("one", "two"):
            lane.submit(endless(name, log))
        lane.submit(short("three"))
        idle(qtbot, lane)
        assert [event.path for event in said if isinstance(event, events.Saved)] == ["three"]
        assert not [event for event in said if isinstance(event, events.Status)]
        assert "two begins" not in log, "what was replaced before it began never runs"
        assert log in (["one begins", "one ends"], [])

    def test_the_older_job_ends_before_the_newer_begins(self, qtbot: QtBot, lane: Lane) -> None:
        log: list[str] = []
        lane.submit(endless("one", log))
        qtbot.waitUntil(lambda: bool(log), timeout=WAIT)
        lane.submit(endless("two", log))
        qtbot.waitUntil(lambda: len(log) == 3, timeout=WAIT)
        assert log == ["one begins", "one ends", "two begins"]

    def test_it_is_busy_from_the_first_to_the_end_of_the_last(self, qtbot: QtBot, lane: Lane, said: list[Any]) -> None:
        lane.submit(endless("one"))
        qtbot.waitUntil(lambda: any(isinstance(item, events.Status) for item in said), timeout=WAIT)
        lane.submit(endless("two"))
        lane.submit(short("three"))
        idle(qtbot, lane)
        changes = [item for item in said if isinstance(item, bool)]
        assert changes == sorted(changes, reverse=True), "no idle moment in between"
        assert changes[-1] is False
        assert len(set(changes)) == 2

    def test_a_hundred_requests_as_from_a_moving_slider(self, qtbot: QtBot, lane: Lane, said: list[Any]) -> None:
        for number in range(100):
            lane.submit(short(str(number)))
            if number % 10 == 0:
                QTest.qWait(1)
        idle(qtbot, lane)
        assert [event.path for event in said if isinstance(event, events.Saved)][-1] == "99"
        assert isinstance(said[-2], events.Finished)


class TestStopping:
    def test_stop_takes_effect_within_one_item(self, qtbot: QtBot, lane: Lane, said: list[Any]) -> None:
        begun = threading.Event()
        after: list[bool] = []

        def job(control: Control) -> Iterator[events.Event | None]:
            while not control.stopping:
                begun.set()
                yield None
                after.append(control.stopping)
                time.sleep(0.002)

        lane.submit(job)
        assert begun.wait(10)
        lane.stop()
        idle(qtbot, lane)
        assert sum(after) <= 1
        assert said[-2].outcome == "stopped"

    def test_stop_forgets_the_waiting_job(self, qtbot: QtBot, lane: Lane) -> None:
        log: list[str] = []
        lane.submit(endless("one", log))
        lane.submit(endless("two", log))
        lane.stop()
        idle(qtbot, lane)
        assert "two begins" not in log

    def test_stop_of_an_idle_lane_does_nothing(self, lane: Lane, said: list[Any]) -> None:
        lane.stop()
        assert not lane.busy
        assert lane.control is None
        assert said == []

    def test_the_control_steers_the_running_job(self, qtbot: QtBot, lane: Lane, said: list[Any]) -> None:
        def job(control: Control) -> Iterator[events.Event | None]:
            while not control.take_save():
                yield None
                time.sleep(0.002)
            yield events.Saved(path="here")

        lane.submit(job)
        assert lane.control is not None
        lane.control.ask_save()
        idle(qtbot, lane)
        assert "Saved" in names(said)

    def test_close_while_busy_waits_for_the_end(self, qtbot: QtBot) -> None:
        lane, log = Lane(), []  # type: tuple[Lane, list[str]]
        lane.submit(endless("one", log))
        qtbot.waitUntil(lambda: bool(log), timeout=WAIT)
        lane.submit(endless("two", log))
        assert lane.close()
        assert not lane.busy
        assert log == ["one begins", "one ends"]

    def test_close_says_where_a_job_does_not_end(self, qtbot: QtBot) -> None:
        release = threading.Event()

        def job(control: Control) -> Iterator[events.Event | None]:
            yield None
            release.wait(10)

        lane = Lane()
        lane.submit(job)
        QTest.qWait(20)
        assert not lane.close(10)
        release.set()
        assert lane.close()


class TestThreads:
    def test_a_worker_posts_until_finished(self, qtbot: QtBot) -> None:
        mailbox = Mailbox()
        worker = Worker(short("a"), mailbox)
        worker.start()
        assert worker.wait(WAIT)
        told = mailbox.drain()
        assert names(told) == ["Saved", "Finished"]
        assert {event.job_id for event in told} == {worker.job_id}

    @pytest.mark.parametrize(
        ("work", "summary"),
        [
            (lambda: 1 / 0, "division by zero"),
            (lambda: open("/nowhere/at/all"), "/nowhere/at/all does not exist."),  # noqa: SIM115 - it fails
        ],
    )
    def test_an_errand_tells_what_went_wrong(self, qtbot: QtBot, work: Callable[[], Any], summary: str) -> None:
        errand = Errand(work)
        with qtbot.waitSignal(errand.failed, timeout=WAIT) as blocker:
            errand.start()
        assert errand.wait(WAIT)
        assert blocker.args[0] == summary
        assert "Traceback" in blocker.args[1]

    def test_an_errand_brings_its_result_to_the_window(self, qtbot: QtBot) -> None:
        errand = Errand(lambda: [1, 2])
        with qtbot.waitSignal(errand.done, timeout=WAIT) as blocker:
            errand.start()
        assert errand.wait(WAIT)
        assert blocker.args == [[1, 2]]
