"""Grids: which steps are visited, to the number, and what every grid must keep."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
import torch

from studio.core.exact import MixtureDenoiser
from studio.core.grids import Betas, Exact, Grid, LogSNR, Quadratic, Uniform
from studio.core.levels import CLEAN, Level, log_snr
from studio.core.noise import Noise
from studio.core.registry import methods
from studio.core.samplers.ancestral import Ancestral
from studio.core.samplers.base import start
from studio.core.schedules import Cosine, DiscreteSchedule, Linear, NoiseSchedule, Tabulated
from studio.core.short_schedule import ShortSchedule

SCHEDULES = {"linear": Linear(), "cosine": Cosine(), "short": Linear(num_steps=30)}


def steps(levels: list[Level], schedule: NoiseSchedule) -> list[float]:
    """The steps tau of the noisy levels, from the noisiest."""
    assert levels[-1] == CLEAN
    return [schedule.time(log_snr(level)) * schedule.length - 1.0 for level in levels[:-1]]


def grid_of(name: str) -> Grid:
    return Exact(steps="29, 12.5 3 0") if name == "exact" else methods("grid")[name]()


@pytest.mark.parametrize("name", methods("grid"))
@pytest.mark.parametrize("count", [1, 2, 4, 30])
@pytest.mark.parametrize("schedule", SCHEDULES.values(), ids=SCHEDULES)
def test_every_grid_descends_to_clean_data(name: str, count: int, schedule: NoiseSchedule) -> None:
    levels = grid_of(name).levels(schedule, count)
    own = grid_of(name).own_steps
    assert len(levels) == (count if own is None else own) + 1
    assert levels[-1] == CLEAN
    ratios = [log_snr(level) for level in levels]
    assert all(after > before for before, after in pairwise(ratios))
    if name == "betas":
        return  # they are a schedule of their own, whatever the model's reaches
    lowest = log_snr(schedule.level(1.0))
    highest = log_snr(schedule.level(1.0 / schedule.length))
    assert lowest - 1e-9 <= ratios[0]
    assert ratios[-2] <= highest + 1e-9


@pytest.mark.parametrize("name", [name for name in methods("grid") if grid_of(name).own_steps is None])
@pytest.mark.parametrize("count", [0, -3, 10_001])
def test_impossible_number_of_steps_is_refused(name: str, count: int) -> None:
    with pytest.raises(ValueError, match=rf"steps = {count} is not possible: this schedule allows 1 to \d+"):
        grid_of(name).levels(Linear(), count)


def test_uniform_visits_both_ends_evenly() -> None:
    """The respacing of improved DDPM ("10" of 1000 steps)."""
    found = steps(Uniform().levels(Linear(), 10), Linear())
    assert found == pytest.approx([999, 888, 777, 666, 555, 444, 333, 222, 111, 0], abs=1e-6)
    assert steps(Uniform().levels(Linear(), 3), Linear()) == pytest.approx([999, 500, 0], abs=1e-6)
    assert steps(Uniform().levels(Linear(), 1), Linear()) == pytest.approx([999])


def test_uniform_never_repeats_a_step_and_takes_all_when_asked() -> None:
    schedule = Linear(num_steps=50)
    for count in range(1, 51):
        found = np.array(steps(Uniform().levels(schedule, count), schedule))
        assert len(np.unique(np.round(found))) == count
        np.testing.assert_allclose(found, np.round(found), atol=1e-6)
    assert found == pytest.approx(np.arange(50)[::-1], abs=1e-6)


def test_quadratic_crowds_towards_the_data() -> None:
    """tau = linspace(0, sqrt(0.8 T), N)**2: 0, 50, 200, 450, 800 for T = 1000 and N = 5."""
    assert steps(Quadratic().levels(Linear(), 5), Linear()) == pytest.approx([800, 450, 200, 50, 0], abs=1e-6)
    assert steps(Quadratic().levels(Linear(), 1), Linear()) == pytest.approx([800])


def test_log_snr_steps_are_even_between_the_bounds() -> None:
    found = [log_snr(level) for level in LogSNR(noisiest=-6.0, cleanest=3.0).levels(Linear(), 10)[:-1]]
    assert found == pytest.approx(np.linspace(-6.0, 3.0, 10))


def test_log_snr_bounds_stay_within_the_schedule() -> None:
    schedule = Linear()
    found = [log_snr(level) for level in LogSNR(noisiest=-14.0, cleanest=14.0).levels(schedule, 3)[:-1]]
    # ln(alpha_bar / (1 - alpha_bar)) of DDPM's first and last step.
    assert found[0] == pytest.approx(np.log(4.0358e-5), abs=1e-3)
    assert found[-1] == pytest.approx(np.log(0.9999 / 1e-4), abs=1e-6)


@pytest.mark.parametrize("cleanest", [0.5, 5.0])
def test_log_snr_on_a_schedule_that_hardly_adds_noise(cleanest: float) -> None:
    """Its noisiest level may be cleaner than the grid's cleanest: the levels must descend all the same."""
    levels = LogSNR(cleanest=cleanest).levels(Tabulated((1e-3, 1e-3, 1e-3)), 3)
    assert all(log_snr(after) > log_snr(before) for before, after in pairwise(levels))


def test_exact_visits_what_was_typed() -> None:
    schedule = Linear()
    found = steps(Exact(steps="5, 999 12.5,250, 5").levels(schedule, 77), schedule)
    assert found == pytest.approx([999, 250, 12.5, 5], abs=1e-6)


@pytest.mark.parametrize("text", ["", " , ", "-1", "1000", "5, 1e9", "nan", "inf"])
def test_exact_refuses_steps_outside(text: str) -> None:
    with pytest.raises(ValueError, match="type numbers from 0 to 999"):
        Exact(steps=text).levels(Linear(), 1)


def test_exact_refuses_words() -> None:
    with pytest.raises(ValueError, match=r"'ten' is no number: type numbers"):
        Exact(steps="5, ten").levels(Linear(), 1)


def of(betas: Sequence[float]) -> Betas:
    return Betas.of(ShortSchedule(betas=tuple(betas), origin="drawn"))


@pytest.mark.parametrize(
    "schedule", [Linear(), Linear(num_steps=137), Cosine(), Tabulated((0.3, 0.1, 0.7))], ids=lambda found: found.title
)
def test_the_training_betas_are_the_training_schedule(schedule: DiscreteSchedule) -> None:
    """Bit for bit: also through the text that a settings file, a checkpoint or the command line keeps."""
    grid = Betas(betas=of(schedule.betas()).betas)
    assert grid.own_steps == schedule.length
    assert grid.levels(Linear(num_steps=30), 3) == Uniform().levels(schedule, schedule.length)


def test_the_training_betas_reproduce_ancestral_sampling() -> None:
    """BDDM's sampling (arXiv 2203.13508, algorithm 4) with beta-hat = beta is DDPM's, to the last bit."""
    schedule = Linear(num_steps=100)
    denoiser = MixtureDenoiser(torch.ones(2), torch.tensor([[-1.0, 0.5], [1.0, 0.0]]), [0.1, 0.2])
    found = []
    for levels in (Uniform().levels(schedule, 100), of(schedule.betas()).levels(schedule, 100)):
        noise = Noise(3, range(16))
        steps = list(Ancestral().run(denoiser, start(noise, (2,), levels[0]), levels, noise=noise))
        found.append(torch.stack([step.x for step in steps]))
    assert torch.equal(*found)


def test_levels_of_betas_are_their_products() -> None:
    """alpha_bar = 0.9, 0.9 * 0.8, 0.9 * 0.8 * 0.5, by hand."""
    levels = Betas(betas="0.1 0.2, 0.5").levels(Linear(), 99)
    assert [level.alpha**2 for level in levels] == pytest.approx([0.36, 0.72, 0.9, 1.0], rel=1e-14)
    assert [level.sigma**2 for level in levels] == pytest.approx([0.64, 0.28, 0.1, 0.0], rel=1e-14)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "at least one beta"),
        ("0.1, 1.0", r"beta\[1\] = 1.0 is not possible: every beta lies between 0 and 1"),
        ("0", r"beta\[0\] = 0.0 is not possible"),
        ("-0.2", "between 0 and 1"),
        ("0.1 nan", "between 0 and 1"),
        ("0.1, ten", "type numbers with commas between"),
        (" ".join(["0.5"] * 10_001), "10,001 betas are too many"),
        (" ".join(["0.9"] * 400), "leave no signal at all"),
    ],
)
def test_impossible_betas_are_refused(text: str, said: str) -> None:
    for use in (lambda grid: grid.own_steps, lambda grid: grid.levels(Linear(), 8)):
        with pytest.raises(ValueError, match=said):
            use(Betas(betas=text))


def test_a_list_has_its_own_number_of_steps() -> None:
    assert Exact(steps="5, 999 12.5,250, 5").own_steps == 4
    assert Betas().own_steps == 8
    assert all(methods("grid")[name]().own_steps is None for name in ("uniform", "quadratic", "log_snr"))
