"""The search for short schedules: judges against closed forms, and a search that only ever gets better."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Generator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch

from studio.core import events
from studio.core.data.base import Batch, Dataset
from studio.core.data.points import SwissRoll
from studio.core.exact import GaussianDenoiser
from studio.core.grids import Betas, Grid
from studio.core.levels import Level, from_log_snr, log_snr, prior_mismatch
from studio.core.metrics.base import measure
from studio.core.networks.schedule_net import CNNSpec, ScheduleNetwork
from studio.core.prediction import Prediction, from_x0
from studio.core.registry import find, methods
from studio.core.samplers.ancestral import Ancestral
from studio.core.samplers.base import Sampler
from studio.core.samplers.ddim import DDIM
from studio.core.sampling import SampleKnobs, SampleSpec, Subject, sample
from studio.core.schedule_judges import (
    ByBound,
    ByError,
    BySamples,
    ErrorCurve,
    Judge,
    Jury,
    conditions,
    discretised,
    measured,
)
from studio.core.schedule_search import (
    FIRST_MOVE,
    PLAIN,
    Place,
    Search,
    SearchKnobs,
    betas_of,
    directions,
    is_path,
    log_snrs,
    resampled,
)
from studio.core.schedules import Linear, NoiseSchedule, Tabulated
from studio.core.short_schedule import ShortSchedule, fewest_steps
from studio.session.control import Control

CPU = torch.device("cpu")
MEAN, STD = 0.4, 0.6
SUBJECT = Subject(denoiser=GaussianDenoiser(MEAN, STD), schedule=Linear(), shape=(2,), class_names=())
SMALL = SearchKnobs(starts=3, wanted="3, 5", retries=2, descent=2, most=8)


@pytest.fixture(scope="module")
def gaussian() -> Dataset:
    """Points from N(0.4, 0.6**2)."""
    draws = MEAN + STD * np.random.default_rng(0).standard_normal((8000, 2)).astype(np.float32)
    facts = {"name": "gaussian", "title": "Gaussian", "licence": "", "source": ""}
    return Dataset(kind="points", train=draws[:4000], train_labels=None, test=draws[4000:], test_labels=None, **facts)


def returned(work: Generator[Any, None, Any]) -> Any:
    """What a generator returns."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            return end.value


def jury_of(judge: Judge, dataset: Dataset, subject: Subject = SUBJECT) -> Jury:
    return returned(judge.prepare(subject, dataset, CPU, SampleKnobs()))


def score(jury: Jury, betas: tuple[float, ...], sampler: Sampler | None = None) -> float:
    return returned(jury.score(betas, sampler or Ancestral()))


def evenly(steps: int, noisiest: float = -8.0, cleanest: float = 6.0) -> tuple[float, ...]:
    """Betas whose levels are evenly spaced in log-SNR."""
    return betas_of(np.linspace(cleanest, noisiest, steps))


def levels_of(betas: tuple[float, ...]) -> list[Level]:
    table = Tabulated(betas)
    return [table.level(index / table.length) for index in range(table.length, -1, -1)]


class TestError:
    @pytest.mark.parametrize("steps", [1, 4, 30])
    def test_it_is_the_closed_form_of_a_gaussian(self, gaussian: Dataset, steps: int) -> None:
        """The least error is c**2 / (1 + SNR c**2), and its integral over log-SNR c**2 (lambda - ln(1 + SNR c**2))."""
        betas = betas_of(np.linspace(5.0, -8.0, steps) if steps > 1 else np.array([-8.0]))
        levels = levels_of(betas)
        expected = _least_error(levels[-2])

        def integral(place: float) -> float:
            return STD**2 * (place - math.log1p(math.exp(place) * STD**2))

        for t, s in pairwise(levels[:-1]):
            low, high = log_snr(t), log_snr(s)
            expected += _least_error(t) * (high - low) - (integral(high) - integral(low))
        assert score(jury_of(ByError(count=4000), gaussian), betas) == pytest.approx(expected, rel=0.04)

    def test_it_vanishes_as_steps_grow(self, gaussian: Dataset) -> None:
        jury = jury_of(ByError(), gaussian)
        found = [score(jury, evenly(steps, cleanest=9.0)) for steps in (4, 16, 64, 256, 1024)]
        assert all(after < before / 3.0 for before, after in pairwise(found))
        assert found[-1] < 0.005

    def test_more_levels_between_never_make_it_worse(self, gaussian: Dataset) -> None:
        jury, path = jury_of(ByError(), gaussian), np.array([12.0, 3.0, 0.5, -2.0, -12.0])
        best = score(jury, betas_of(path))
        for place in (11.0, 5.0, 2.9, 0.0, -3.0, -11.5):
            assert score(jury, betas_of(np.sort([*path, place])[::-1])) <= best

    def test_beginning_where_the_data_still_show_costs(self) -> None:
        """For data that are +1 or -1, whose least error is known, in a wide range of levels."""
        places = np.linspace(-10.0, 9.0, 48)
        z = np.random.default_rng(0).standard_normal(20_000)
        snr = np.exp(places)[:, None]
        mse = 1.0 - np.tanh(snr + np.sqrt(snr) * z).mean(1)
        curve = ErrorCurve(log_snr=places, mse=np.maximum(mse, 1e-9), mean=0.0, std=1.0, count=1)
        found = [curve.start_error(from_log_snr(place)) for place in (-6.0, -3.0, 0.0, 3.0)]
        assert all(after > 3.0 * before for before, after in pairwise(found))
        assert found[0] < 1e-4
        # KL(q || N(0, 1)) by quadrature, of the mixture of N(+-alpha, sigma**2) at log-SNR 3.
        level = from_log_snr(3.0)
        x = np.linspace(-6.0, 6.0, 20_001)
        density = sum(np.exp(-0.5 * ((x - sign * level.alpha) / level.sigma) ** 2) for sign in (1, -1))
        density /= 2.0 * level.sigma * math.sqrt(2.0 * math.pi)
        divergence = np.trapezoid(density * (np.log(density + 1e-300) + 0.5 * x**2 + 0.5 * math.log(2.0 * math.pi)), x)
        assert found[3] == pytest.approx(2.0 * divergence / level.alpha**2, rel=0.05)

    def test_it_is_the_same_each_time(self, gaussian: Dataset) -> None:
        judge = ByError(count=32)
        assert score(jury_of(judge, gaussian), evenly(5)) == score(jury_of(judge, gaussian), evenly(5))


class TestBound:
    @pytest.mark.parametrize("steps", [1, 3, 10, 100])
    def test_it_is_the_closed_form_of_a_gaussian(self, gaussian: Dataset, steps: int) -> None:
        """Every term is known: prior KL, Gaussians with x0 errors c**2 sigma**2 / v, and a Gaussian at the end."""
        levels = levels_of(betas := evenly(steps))
        alpha_bar = levels[0].alpha ** 2
        expected = 0.5 * (alpha_bar * (MEAN**2 + STD**2) - alpha_bar - math.log(1.0 - alpha_bar))
        for t, s in pairwise(levels[:-1]):
            expected += 0.5 * (math.exp(log_snr(s)) - math.exp(log_snr(t))) * _least_error(t)
        expected += 0.5 * math.log(2.0 * math.pi * math.e * _least_error(levels[-2]))
        assert score(jury_of(ByBound(count=4000), gaussian), betas) == pytest.approx(expected, abs=0.03, rel=0.02)

    def test_it_falls_to_the_entropy(self, gaussian: Dataset) -> None:
        jury = jury_of(ByBound(count=4000), gaussian)
        entropy = 0.5 * math.log(2.0 * math.pi * math.e * STD**2)
        found = [score(jury, evenly(steps)) for steps in (5, 20, 100, 500)]
        assert all(after < before for before, after in pairwise(found))
        assert entropy - 0.03 < found[-1] < entropy + 0.05
        assert jury.quantity.endswith("nats/dim")

    def test_8_bit_values_are_a_distribution(self) -> None:
        values = torch.arange(256) / 127.5 - 1.0
        for belief, std in ((0.3, 0.2), (-0.99, 0.01), (1.0, 0.5), (0.0, 3.0)):
            mass = [math.exp(-discretised(value.view(1), torch.tensor([belief]), std)) for value in values]
            assert sum(mass) == pytest.approx(1.0, abs=1e-4)

    def test_images_are_told_in_bits(self) -> None:
        """Of pixels drawn evenly, beliefs at full noise know nothing: 8 bits each at most, and no fewer than 7.9."""
        pixels = np.random.default_rng(0).integers(0, 256, (64, 1, 8, 8), dtype=np.uint8)
        x0 = torch.from_numpy(pixels).float() / 127.5 - 1.0
        subject = dataclasses.replace(SUBJECT, denoiser=GaussianDenoiser(0.0, 0.58), shape=(1, 8, 8))
        curve = returned(measured(subject, Batch(x0, None, np.arange(64)), 0, SampleKnobs(), with_reconstruction=True))
        assert 7.9 < curve.reconstruction[0] / math.log(2.0) < 8.4
        assert curve.reconstruction[-1] < curve.reconstruction[0]

    def test_the_priors_share(self) -> None:
        level = from_log_snr(-1.0)
        x0, steps = 0.7, np.linspace(-12.0, 12.0, 100_001)
        density = np.exp(-0.5 * ((steps - level.alpha * x0) / level.sigma) ** 2) / (
            level.sigma * math.sqrt(2 * math.pi)
        )
        gap = np.log(density + 1e-300) + 0.5 * steps**2 + 0.5 * math.log(2 * math.pi)
        assert prior_mismatch(level, x0, 0.0) == pytest.approx(np.trapezoid(density * gap, steps), rel=1e-6)


def _least_error(level: Level) -> float:
    """Var[x0 | x] of the Gaussian (FACTS: c**2 sigma**2 / v)."""
    return STD**2 * level.sigma**2 / (level.alpha**2 * STD**2 + level.sigma**2)


class TestSamples:
    def test_it_is_the_metric_of_what_is_sampled(self) -> None:
        data = SwissRoll(num_points=1000).load()
        jury = jury_of(BySamples(count=200, seed=3), data)
        betas = evenly(6)
        spec = SampleSpec(
            sampler=DDIM(), grid=Betas(betas=", ".join(map(repr, betas))), knobs=SampleKnobs(count=200, seed=3)
        )
        x = list(sample(SUBJECT, spec, CPU))[-1].x.numpy()
        from studio.core import features

        metric = find("metric", "sliced_wasserstein")()
        expected = measure(metric, features.judge(x, None, data), features.reference_for(data))
        assert score(jury, betas, DDIM()) == expected["sliced_wasserstein"].value
        assert jury.key(DDIM()) == "Sliced W2 · 200 samples · DDIM η 0"

    def test_too_few_are_refused_before_anything_is_sampled(self) -> None:
        with pytest.raises(ValueError, match="count = 99 is too few: Sliced Wasserstein needs at least 100"):
            jury_of(BySamples(count=99), SwissRoll(num_points=1000).load())


@pytest.mark.parametrize("name", methods("judge"))
def test_every_judge_prefers_a_schedule_without_waste_and_says_what_it_measured(name: str, gaussian: Dataset) -> None:
    judge = find("judge", name)()
    jury = jury_of(judge, gaussian)
    wasteful, good = betas_of(np.array([*np.linspace(4.0, 3.0, 7), -3.0])), evenly(8, -3.0, 4.0)
    assert score(jury, good) < score(jury, wasteful) < math.inf
    key = jury.key(Ancestral())
    assert key.startswith(f"{jury.quantity} · ")
    assert f"{judge.count:,} samples" in key


class TestPaths:
    def test_betas_and_log_snrs_are_the_same_thing(self) -> None:
        betas = (1e-6, 0.005, 0.03, 0.13, 0.45, 0.85, 0.999)
        np.testing.assert_allclose(betas_of(log_snrs(betas)), betas, rtol=1e-9)
        expected = [float(log_snr(level)) for level in levels_of(betas)[-2::-1]]
        np.testing.assert_allclose(log_snrs(betas), expected, rtol=1e-9)

    def test_another_number_of_levels_keeps_the_ends(self) -> None:
        path = np.array([4.0, 1.0, 0.0, -3.0])
        np.testing.assert_allclose(resampled(path, 7), [4.0, 2.5, 1.0, 0.5, 0.0, -1.5, -3.0])
        assert resampled(path, 1).tolist() == [-3.0]
        assert resampled(np.array([-3.0]), 3).tolist() == [1.0, -1.0, -3.0]

    def test_moves_are_smooth_and_few(self) -> None:
        assert [len(directions(steps)) for steps in (1, 2, 4, 16)] == [1, 3, 5, 6]
        np.testing.assert_allclose(directions(8)[0], 1.0)
        assert np.linalg.matrix_rank(np.stack(directions(16))) == 6


def network() -> ScheduleNetwork:
    """A fresh one: it says 0.65 of everything, so what it emits is known."""
    return CNNSpec(width=8, blocks=1).build((2,)).eval()


def search(dataset: Dataset, knobs: SearchKnobs = SMALL, judge: Judge | None = None) -> Search:
    return Search(SUBJECT, dataset, knobs, judge or ByError(count=64), CPU, "of this model")


def told(found: Search, control: Control | None = None) -> list[events.Event]:
    return [event for event in found.run(control or Control(), network()) if event is not None]


def of(kind: type, messages: list[events.Event]) -> list[Any]:
    return [event for event in messages if isinstance(event, kind)]


@pytest.fixture(scope="module")
def done(gaussian: Dataset) -> tuple[Search, list[events.Event]]:
    """A finished search and what it told."""
    finished = search(gaussian)
    return finished, told(finished)


class TestSearch:
    def test_the_table_comes_first_and_every_place_is_told(self, done: tuple[Search, list[events.Event]]) -> None:
        first = done[1][0]
        assert isinstance(first, events.TableShape)
        assert first.columns == ("0.25", "0.5", "0.75")
        assert len(first.rows) == 3
        found = of(events.ScheduleFound, done[1])
        places = {(event.row, event.column): event for event in found if event.row is not None}
        assert set(places) == {(row, column) for row in range(3) for column in range(3)}
        for (row, column), event in places.items():
            alpha, beta = float(first.rows[row]), float(first.columns[column])
            assert event.bound == pytest.approx(fewest_steps(alpha, beta), rel=0.02)
            refused = event.bound > 8 or alpha > math.sqrt(1.0 - beta)
            assert (event.schedule is None) == refused
            assert bool(event.reason) or not refused

    def test_emitted_schedules_are_whole(self, done: tuple[Search, list[events.Event]]) -> None:
        learned = [e for e in of(events.ScheduleFound, done[1]) if e.schedule and e.schedule.origin == "learned"]
        assert {event.schedule.sampler["name"] for event in learned} == {"ancestral", "ddim"}
        for event in learned:
            schedule = event.schedule
            assert schedule.steps <= 8
            assert schedule.betas[-1] == schedule.start[1]
            assert list(schedule.betas) == sorted(schedule.betas)
            assert min(schedule.betas) >= SMALL.floor
            assert schedule.steps >= fewest_steps(schedule.alphas[-1], schedule.betas[-1])
            assert schedule.scores == pytest.approx({next(iter(schedule.scores)): event.score})
            assert (schedule.model, schedule.seed, event.judge) == ("of this model", 0, "Denoising error")

    def test_a_start_is_emitted_as_it_would_be_alone(self, done: tuple[Search, list[events.Event]]) -> None:
        """A fresh network says 0.65 everywhere, so betas follow by hand."""
        event = next(e for e in of(events.ScheduleFound, done[1]) if e.schedule)
        alpha, beta = event.schedule.start
        betas = []
        while True:
            betas.append(beta)
            alpha /= math.sqrt(1.0 - beta)
            beta = min(beta, 1.0 - alpha**2) * 0.65 if alpha < 1.0 else 0.0
            if beta < SMALL.floor or len(betas) == 8:
                break
        np.testing.assert_allclose(event.schedule.betas, betas[::-1], rtol=1e-5)

    def test_wanted_numbers_come_out(self, done: tuple[Search, list[events.Event]]) -> None:
        for steps in (3, 5):
            for driver, sampler in SearchKnobs().samplers.items():
                found = done[0].best[steps, driver]
                assert found.steps == steps
                assert find("sampler", found.sampler["name"]) is type(sampler)

    def test_the_best_only_ever_gets_better(self, done: tuple[Search, list[events.Event]]) -> None:
        best: dict[tuple[int, str], float] = {}
        for event in of(events.ScheduleFound, done[1]):
            if event.schedule is None:
                continue
            key = (event.schedule.steps, event.schedule.sampler["name"])
            assert event.best == (event.score < best.get(key, math.inf))
            best[key] = min(event.score, best.get(key, math.inf))
        kept = {key: next(iter(schedule.scores.values())) for key, schedule in done[0].best.items()}
        assert kept == best

    def test_descent_betters_what_was_emitted(self, gaussian: Dataset) -> None:
        without = search(gaussian, dataclasses.replace(SMALL, descent=0))
        told(without)
        more = search(gaussian, dataclasses.replace(SMALL, descent=6))
        told(more)
        for key in ((3, "ancestral"), (5, "ddim")):
            before, after = (next(iter(each.best[key].scores.values())) for each in (without, more))
            assert after < before
            assert more.best[key].origin == "refined"

    def test_progress_ends_at_the_whole(self, done: tuple[Search, list[events.Event]]) -> None:
        progress = of(events.SearchProgress, done[1])
        assert [event.done for event in progress] == list(range(1, len(progress) + 1))
        assert all(event.done <= event.total and 0.0 <= event.fraction <= 1.0 for event in progress)
        assert (progress[-1].done, progress[-1].fraction, progress[-1].eta_seconds) == (progress[-1].total, 1.0, 0.0)

    def test_the_same_search_finds_the_same(self, done: tuple[Search, list[events.Event]], gaussian: Dataset) -> None:
        again = search(gaussian)
        told(again)
        assert again.best == done[0].best

    def test_stopping_keeps_what_was_found(self, gaussian: Dataset) -> None:
        stopped, control = search(gaussian), Control()
        found = 0
        for event in stopped.run(control, network()):
            found += isinstance(event, events.ScheduleFound) and event.best
            if found == 2:
                control.stop()
        assert len(stopped.best) == 2

    def test_a_pause_changes_nothing(self, done: tuple[Search, list[events.Event]], gaussian: Dataset) -> None:
        class Breather(Control):
            """Goes on as soon as the search waits."""

            def wait(self) -> None:
                super().resume()

        paused, control, pauses = search(gaussian), Breather(), []
        for count, event in enumerate(paused.run(control, network())):
            if isinstance(event, events.Paused):
                pauses.append(event.paused)
            elif count % 10 == 0:
                control.pause()
        assert pauses[:2] == [True, False]
        assert paused.best == done[0].best

    def test_one_driver_and_no_wish(self, gaussian: Dataset) -> None:
        found = search(gaussian, SearchKnobs(starts=2, wanted="", retries=1, descent=1, drivers="ddim", most=8))
        messages = told(found)
        assert found.best
        assert {driver for _, driver in found.best} == {"ddim"}
        assert any(
            event.schedule and event.schedule.origin == "refined" for event in of(events.ScheduleFound, messages)
        )

    def test_where_no_start_fits_it_says_so(self, gaussian: Dataset) -> None:
        found = search(gaussian, SearchKnobs(starts=1, wanted="", most=1))
        (warned,) = of(events.Warned, told(found))
        assert warned.summary.startswith("No start gave a schedule of at most 1 steps. Allow more")

    def test_a_schedule_that_breaks_the_model_ends_nothing(self) -> None:
        class Fragile(GaussianDenoiser):
            def forward(self, x: Any, level: Level, cond: Any = None, *, noise: Any = None) -> Prediction:
                found = super().forward(x, level)
                return found if len(x) == 1 or level.alpha < 0.5 else from_x0(x, level, found.x0 * math.nan)

        data = SwissRoll(num_points=1000).load()
        subject = dataclasses.replace(SUBJECT, denoiser=Fragile(0.0, 1.0))
        knobs = SearchKnobs(starts=2, wanted="", retries=0, descent=0, drivers="ddim", floor=0.5)
        found = Search(subject, data, knobs, BySamples(count=100), CPU)
        judged = [event for event in of(events.ScheduleFound, told(found)) if event.schedule]
        broken = [event for event in judged if event.score is None]
        assert broken
        assert all(event.reason.startswith("100 of 100 samples hold no numbers") for event in broken)
        assert not any(event.best for event in broken)


class TestRefusals:
    @pytest.mark.parametrize("wanted", ["4, x", "0, 4", "4, 17", "4.5", "-3"])
    def test_impossible_wishes(self, wanted: str, gaussian: Dataset) -> None:
        with pytest.raises(ValueError, match=r"wanted = .* is not possible: type whole numbers from 1 to 16"):
            search(gaussian, SearchKnobs(wanted=wanted))

    def test_possible_ones(self) -> None:
        assert SearchKnobs(wanted="8 4,4, 16").wanted_steps == (4, 8, 16)
        assert SearchKnobs(wanted=" ").wanted_steps == ()

    def test_places_say_why(self) -> None:
        assert "more than the whole signal: alpha is at most 0.71" in Place(0.8, 0.5).refusal(16)
        assert Place(0.1, 0.1).refusal(16) == "From here to clean data it takes 44 steps at least."
        assert Place(0.5, 0.5).refusal(16) == ""

    def test_an_unknown_class(self, gaussian: Dataset) -> None:
        with pytest.raises(ValueError, match="knows no classes"):
            search(gaussian, SearchKnobs(label="seven"))


def test_without_descent_progress_ends_at_the_whole_too(gaussian: Dataset) -> None:
    progress = of(events.SearchProgress, told(search(gaussian, dataclasses.replace(SMALL, descent=0))))
    assert (progress[-1].done, progress[-1].fraction) == (progress[-1].total, 1.0)


class TestKeys:
    """Scores under different names are not compared, so a name has all that changes the measure."""

    @pytest.mark.parametrize(
        ("judge", "knobs", "expected"),
        [
            (ByError(), {}, "DDIM η 0"),
            (ByError(), {"guidance": 2.0, "label": "b"}, "DDIM η 0"),
            (ByError(), {"label": "None", "guidance": 2.0}, "DDIM η 0 label none"),
            (ByBound(), {"label": "none", "clip": False}, "DDIM η 0 label none"),
        ],
    )
    def test_a_class_or_none(self, judge: Judge, knobs: dict[str, Any], expected: str, gaussian: Dataset) -> None:
        subject = dataclasses.replace(SUBJECT, class_names=("a", "b"))
        values = {"guidance": 0.3, **knobs}
        jury = returned(judge.prepare(subject, gaussian, CPU, SampleKnobs(**values)))
        assert jury.key(DDIM()).split(" · ")[-1] == expected

    def test_guidance_counts_where_there_is_a_class(self) -> None:
        subject = dataclasses.replace(SUBJECT, class_names=("a", "b"))
        image = dataclasses.replace(subject, shape=(1, 2, 2))
        assert conditions(subject, SampleKnobs(guidance=0.3)) == " w 0.3"
        assert conditions(subject, SampleKnobs(guidance=0.3, label="none")) == " label none"
        assert conditions(image, SampleKnobs(guidance=0.0, label="B", clip=False)) == " label b not clipped"
        assert conditions(SUBJECT, SampleKnobs(guidance=0.3, clip=False)) == ""


def test_a_schedule_found_is_one_that_can_be_kept(gaussian: Dataset) -> None:
    found = search(gaussian, SearchKnobs(starts=2, wanted="4", retries=0, descent=1, most=8))
    told(found)
    for schedule in found.best.values():
        assert ShortSchedule.from_dict(schedule.to_dict()) == schedule


@pytest.mark.parametrize("steps", [4, 8, 16])
@pytest.mark.parametrize(("grid", "schedule"), PLAIN, ids=[f"{grid.title} {schedule}" for grid, schedule in PLAIN])
def test_descent_can_move_every_plain_grid(grid: Grid, schedule: NoiseSchedule | None, steps: int) -> None:
    levels = grid.levels(schedule or Linear(), steps)
    path = np.array([float(log_snr(level)) for level in levels[:-1]])[::-1]
    assert is_path(path)
    assert any(is_path(path + sign * FIRST_MOVE / 4 * move) for move in directions(steps) for sign in (1.0, -1.0))
    assert is_path(path + FIRST_MOVE), "the whole path may shift"
