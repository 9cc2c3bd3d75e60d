"""Schedule jobs without Qt: a network trained or remembered, schedules emitted, found and kept, nothing lost."""

from __future__ import annotations

import dataclasses
import errno
import shutil
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from studio.core import events
from studio.core.checkpoints.header import read_header
from studio.core.config import RunKnobs, TrainConfig
from studio.core.data.points import SwissRoll
from studio.core.evaluation import fingerprint
from studio.core.grids import Betas
from studio.core.networks.mlp import MLPSpec
from studio.core.networks.schedule_net import AttentionSpec, CNNSpec
from studio.core.optimizers import AdamSpec
from studio.core.recipes.bilateral import Bilateral, Emission
from studio.core.runs import Run
from studio.core.samplers.ddim import DDIM
from studio.core.sampling import SampleKnobs, SampleSpec
from studio.core.schedule_judges import ByBound, ByError, BySamples
from studio.core.schedule_search import SearchKnobs
from studio.core.short_schedule import ShortSchedule, fewest_steps
from studio.session import schedule as jobs
from studio.session.control import Control
from studio.session.jobs import Job, SampleJob, TrainJob, drive
from studio.session.schedule import EmitJob, KeepJob, ScheduleNetJob, SearchJob, job_of, merged

NETWORK, BILATERAL = CNNSpec(width=8, blocks=1), Bilateral(steps=6, batch=8)
KNOBS = SearchKnobs(starts=2, wanted="3, 4", retries=1, descent=1, most=8)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model of points, hardly trained."""
    config = TrainConfig(
        data=SwissRoll(num_points=500),
        network=MLPSpec(width=16, blocks=1),
        optimizer=AdamSpec(),
        run=RunKnobs(steps=20, batch=16, preview_every=0.0),
    )
    run = Run(tmp_path_factory.mktemp("roll") / "run")
    assert list(drive(TrainJob(config, run), Control()))[-1].outcome == "done"  # type: ignore[union-attr]
    return run.model


@pytest.fixture
def roll(trained: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may write."""
    return Path(shutil.copy(trained, tmp_path / "roll.safetensors"))


def search(path: Path, **other: Any) -> SearchJob:
    values = {"judge": ByError(count=32), "knobs": KNOBS, "network": NETWORK, "bilateral": BILATERAL, **other}
    return SearchJob(path, **values)


def told(job: Job, control: Control | None = None) -> list[events.Event]:
    return [event for event in drive(job, control or Control(), 7) if event is not None]


def of(kind: type, found: list[events.Event]) -> list[Any]:
    return [event for event in found if isinstance(event, kind)]


def outcome(found: list[events.Event]) -> str:
    assert isinstance(found[-1], events.Finished)
    return found[-1].outcome


class TestNetwork:
    def test_it_is_trained_live(self, roll: Path) -> None:
        found = told(ScheduleNetJob(roll, NETWORK, BILATERAL))
        assert outcome(found) == "done"
        assert of(events.Progress, found)[-1].step == 6
        assert of(events.RatioCurve, found)[-1].step == 6
        assert {event.job_id for event in found} == {7}

    def test_a_span_that_does_not_fit_is_refused(self, roll: Path) -> None:
        found = told(ScheduleNetJob(roll, NETWORK, Bilateral(span=900)))
        assert "span = 900 is too large for a schedule of T = 1000 steps" in of(events.Failed, found)[0].summary


class TestEmit:
    def test_every_step_is_told_and_then_the_whole(self, roll: Path) -> None:
        job = EmitJob(roll, NETWORK, BILATERAL, Emission(most=30, images=3), (0.3, 0.4), seed=5)
        found = told(job)
        steps, (whole,) = of(events.Emitted, found), of(events.ScheduleFound, found)
        assert [event.index for event in steps] == list(range(len(steps)))
        assert (steps[0].alpha, steps[0].beta, steps[0].ratio) == (pytest.approx(0.3), 0.4, None)
        assert all(event.images.shape == (3, 2) and np.isfinite(event.images).all() for event in steps)
        assert [event.done for event in steps] == [False] * (len(steps) - 1) + [True]
        schedule = whole.schedule
        assert schedule.betas == tuple(event.beta for event in reversed(steps))
        assert (schedule.start, schedule.seed, schedule.model) == ((0.3, 0.4), 5, fingerprint(roll))
        assert schedule.sampler == {"name": "ancestral", "variance": "small"}
        assert (whole.score, whole.bound) == (None, fewest_steps(0.3, 0.4))
        assert whole.reason == steps[-1].reason != ""

    def test_the_driver_is_the_sampler_it_is_for(self, roll: Path) -> None:
        found = told(EmitJob(roll, NETWORK, BILATERAL, Emission(eta=0.25), (0.3, 0.4)))
        assert of(events.ScheduleFound, found)[0].schedule.sampler == {"name": "ddim", "eta": 0.25}

    def test_what_was_emitted_can_be_sampled_with(self, roll: Path) -> None:
        (whole,) = of(events.ScheduleFound, told(EmitJob(roll, NETWORK, BILATERAL, Emission(), (0.3, 0.4))))
        spec = SampleSpec(sampler=DDIM(), grid=Betas.of(whole.schedule), knobs=SampleKnobs(count=4))
        frames = of(events.Frame, told(SampleJob(roll, spec)))
        assert len(frames) == whole.schedule.steps + 1
        assert frames[0].alpha == pytest.approx(whole.schedule.alphas[-1])

    def test_the_network_is_trained_once(self, roll: Path) -> None:
        job = EmitJob(roll, NETWORK, BILATERAL, Emission(), (0.3, 0.4))
        first, again = told(job), told(job)
        assert of(events.Progress, first)
        assert not of(events.Progress, again)
        assert of(events.ScheduleFound, first) == of(events.ScheduleFound, again)

    def test_an_impossible_start_fails_in_plain_words(self, roll: Path) -> None:
        found = told(EmitJob(roll, NETWORK, BILATERAL, Emission(), (0.9, 0.4)))
        assert outcome(found) == "failed"
        assert "the first step would leave more than the whole signal" in of(events.Failed, found)[0].summary
        assert not of(events.RatioCurve, found), "refused before the schedule network is trained"

    def test_a_step_at_a_time(self, roll: Path) -> None:
        told(ScheduleNetJob(roll, NETWORK, BILATERAL))

        class Breather(Control):
            def wait(self) -> None:
                self.resume()

        control, found = Breather(), []
        for event in drive(EmitJob(roll, NETWORK, BILATERAL, Emission(), (0.3, 0.4)), control):
            found.append(event)
            if isinstance(event, events.Emitted):
                control.pause()
        kinds = [type(event) for event in found if isinstance(event, (events.Emitted, events.Paused))]
        assert kinds[:4] == [events.Emitted, events.Paused, events.Paused, events.Emitted]
        assert of(events.ScheduleFound, found)


class TestSearch:
    def test_the_best_are_kept_in_the_model(self, roll: Path) -> None:
        before, samples = fingerprint(roll), read_header(roll)
        found = told(search(roll))
        assert outcome(found) == "done"
        (saved,) = of(events.Saved, found)
        assert saved.path == str(roll)
        kept = read_header(roll).schedules
        best = {
            (e.schedule.steps, e.schedule.sampler["name"]): e.schedule
            for e in of(events.ScheduleFound, found)
            if e.best
        }
        assert {(each.steps, each.sampler["name"]): each for each in kept} == best
        assert {(3, "ancestral"), (4, "ddim")} <= set(best)
        assert all(each.model == before == fingerprint(roll) for each in kept)
        assert dataclasses.replace(read_header(roll), schedules=()) == samples

    def test_a_network_that_is_known_is_not_trained_again(self, roll: Path) -> None:
        first, again = told(search(roll)), told(search(roll))
        assert of(events.Progress, first)
        assert of(events.RatioCurve, first)
        assert not of(events.Progress, again)
        told_of = [(e.row, e.column, e.score) for e in of(events.ScheduleFound, first)]
        assert told_of == [(e.row, e.column, e.score) for e in of(events.ScheduleFound, again)]

    def test_searching_again_never_makes_it_worse(self, roll: Path) -> None:
        told(search(roll, knobs=dataclasses.replace(KNOBS, descent=3)))
        before = read_header(roll).schedules
        told(search(roll, knobs=dataclasses.replace(KNOBS, descent=0, retries=0)))
        after = {(each.steps, each.sampler["name"]): each for each in read_header(roll).schedules}
        for old in before:
            new = after[old.steps, old.sampler["name"]]
            assert min(new.scores.values()) <= min(old.scores.values())

    def test_another_judge_stands_beside(self, roll: Path) -> None:
        told(search(roll, knobs=dataclasses.replace(KNOBS, drivers="ddim", wanted="3")))
        told(search(roll, judge=ByBound(count=32), knobs=dataclasses.replace(KNOBS, drivers="ddim", wanted="3")))
        keys = [key for each in read_header(roll).schedules if each.steps == 3 for key in each.scores]
        assert sorted(key.split(" · ")[0] for key in keys) == ["Denoising error", "NLL bound, nats/dim"]

    def test_a_stop_keeps_what_was_found(self, roll: Path) -> None:
        control, found = Control(), []
        for event in drive(search(roll), control):
            found.append(event)
            if isinstance(event, events.ScheduleFound) and event.best:
                control.stop()
        assert found[-1].outcome == "stopped"
        assert len(read_header(roll).schedules) == 1
        assert of(events.Saved, found)

    def test_a_stop_while_the_network_learns_changes_nothing(self, roll: Path) -> None:
        content, control = roll.read_bytes(), Control()
        for event in drive(search(roll), control):
            if isinstance(event, events.RatioCurve):
                control.stop()
        assert roll.read_bytes() == content

    def test_a_failure_on_the_way_keeps_what_was_found(self, roll: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(*_: object) -> None:
            raise RuntimeError("the device is gone")

        monkeypatch.setattr("studio.core.schedule_search.Search._fill_in", broken)
        found = told(search(roll))
        assert outcome(found) == "failed"
        assert "the device is gone" in of(events.Failed, found)[0].summary
        assert read_header(roll).schedules

    def test_a_model_that_cannot_be_written_is_a_warning(self, roll: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(path: Path, *_: object) -> None:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))

        monkeypatch.setattr(jobs, "write_schedules", refuse)
        found = told(search(roll))
        assert outcome(found) == "done"
        (warned,) = of(events.Warned, found)
        assert "are not kept in the model" in warned.summary
        assert "permission denied" in warned.summary
        assert "Export them, or search in a copy" in warned.summary

    def test_a_model_trained_on_meanwhile_does_not_get_them(self, roll: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        marks = iter(["of the old weights", "of the new weights"])
        monkeypatch.setattr(jobs, "fingerprint", lambda path: next(marks))
        (warned,) = of(events.Warned, told(search(roll)))
        assert "was found for another model" in warned.summary
        assert not read_header(roll).schedules

    def test_nothing_is_written_unless_wanted(self, roll: Path) -> None:
        content = roll.read_bytes()
        assert of(events.ScheduleFound, told(search(roll, keep=False)))
        assert roll.read_bytes() == content

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"knobs": SearchKnobs(wanted="many")}, "wanted = 'many' is not possible"),
            ({"judge": BySamples(count=50)}, "count = 50 is too few: Sliced Wasserstein needs at least 100"),
            ({"knobs": SearchKnobs(label="seven")}, "this model knows no classes"),
        ],
    )
    def test_refusals_come_before_the_network_is_trained(self, roll: Path, changes: dict[str, Any], said: str) -> None:
        found = told(search(roll, **changes))
        assert outcome(found) == "failed"
        assert not of(events.RatioCurve, found)
        assert said in of(events.Failed, found)[0].summary


class TestKeep:
    def test_one_list_takes_the_place_of_another(self, roll: Path) -> None:
        one = ShortSchedule(betas=(0.1, 0.5), origin="drawn", title="mine")
        other = ShortSchedule(betas=(0.5,), origin="imported", model=fingerprint(roll))
        seen: tuple[ShortSchedule, ...] = ()
        for schedules in ((one,), (one, other), ()):
            found = told(KeepJob(roll, schedules, seen))
            assert of(events.Saved, found)[0].path == str(roll)
            assert {each.betas for each in read_header(roll).schedules} == {each.betas for each in schedules}
            seen = schedules

    def test_what_a_search_added_meanwhile_stays(self, roll: Path) -> None:
        one, other = (ShortSchedule(betas=betas, origin="drawn") for betas in ((0.1, 0.5), (0.2, 0.5)))
        told(KeepJob(roll, (one,)))
        told(search(roll, knobs=dataclasses.replace(KNOBS, drivers="ddim", wanted="3", descent=0)))
        found = {each.betas for each in read_header(roll).schedules} - {one.betas}
        assert found
        told(KeepJob(roll, (other,)))
        assert {each.betas for each in read_header(roll).schedules} == found | {one.betas, other.betas}
        told(KeepJob(roll, (), seen=(one,)))
        assert {each.betas for each in read_header(roll).schedules} == found | {other.betas}
        told(KeepJob(roll, (other,)))
        assert len(read_header(roll).schedules) == len(found) + 1, "kept twice is kept once"

    def test_those_who_change_a_file_at_once_undo_nothing(self, roll: Path) -> None:
        schedules = [ShortSchedule(betas=(0.1, 0.01 * n), origin="drawn") for n in range(1, 9)]
        threads = [threading.Thread(target=told, args=(KeepJob(roll, (each,)),)) for each in schedules]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {each.betas for each in read_header(roll).schedules} == {each.betas for each in schedules}

    def test_one_of_another_model_is_refused(self, roll: Path) -> None:
        found = told(KeepJob(roll, (ShortSchedule(betas=(0.5,), origin="learned", model="another"),)))
        assert "was found for another model" in of(events.Failed, found)[0].summary
        assert not read_header(roll).schedules


def made(betas: tuple[float, ...], origin: str = "learned", sampler: str = "ddim", **scores: float) -> ShortSchedule:
    return ShortSchedule(betas=betas, origin=origin, sampler={"name": sampler}, scores=scores)  # type: ignore[arg-type]


class TestMerging:
    A, B, C = (0.1, 0.5), (0.2, 0.5), (0.3, 0.5)

    @pytest.mark.parametrize(("old", "new", "stays"), [(2.0, 1.0, B), (1.0, 2.0, A), (1.0, 1.0, A)])
    def test_of_two_judged_alike_the_better_stays(self, old: float, new: float, stays: tuple[float, ...]) -> None:
        (found,) = merged([made(self.A, FD=old)], [made(self.B, "refined", FD=new)])
        assert found.betas == stays

    def test_other_measures_samplers_and_numbers_of_steps_stand_beside(self) -> None:
        kept = [made(self.A, FD=1.0)]
        for other in (made(self.B, W=9.0), made(self.B, sampler="ancestral", FD=9.0), made((0.5,), FD=9.0)):
            assert merged(kept, [other]) == [*kept, other]

    @pytest.mark.parametrize("origin", ["drawn", "imported"])
    def test_what_a_person_made_stays(self, origin: str) -> None:
        mine, found = made(self.A, origin, FD=9.0), made(self.B, FD=1.0)
        assert merged([mine], [found]) == [mine, found]

    def test_the_same_betas_gain_scores(self) -> None:
        (found,) = merged([made(self.A, FD=1.0)], [made(self.A, W=2.0)])
        assert found.scores == {"FD": 1.0, "W": 2.0}

    def test_one_better_than_several_takes_the_place_of_all(self) -> None:
        assert merged([made(self.A, FD=3.0), made(self.B, FD=2.0)], [made(self.C, FD=1.0)]) == [made(self.C, FD=1.0)]
        kept = [made(self.A, FD=1.0), made(self.B, FD=3.0)]
        assert merged(kept, [made(self.C, FD=2.0)]) == kept


def test_requests_of_the_window_name_their_jobs(tmp_path: Path) -> None:
    @dataclass
    class Learn:
        path: Path = tmp_path
        network: AttentionSpec = dataclasses.field(default_factory=AttentionSpec)
        bilateral: Bilateral = BILATERAL

    @dataclass
    class Watch(Learn):
        emission: Emission = dataclasses.field(default_factory=Emission)
        start: tuple[float, float] = (0.2, 0.3)
        seed: int = 4

    @dataclass
    class Find:
        path: Path = tmp_path
        judge: ByError = dataclasses.field(default_factory=ByError)
        knobs: SearchKnobs = KNOBS

    assert job_of(Learn()) == ScheduleNetJob(tmp_path, AttentionSpec(), BILATERAL)
    assert job_of(Watch()) == EmitJob(tmp_path, AttentionSpec(), BILATERAL, Emission(), (0.2, 0.3), 4)
    assert job_of(Find()) == SearchJob(tmp_path, ByError(), KNOBS)
