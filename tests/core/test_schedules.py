"""Schedules: published numbers of DDPM's and improved DDPM's, and what every schedule must keep."""

import math

import numpy as np
import pytest

from studio.core.levels import CLEAN, log_snr
from studio.core.registry import methods
from studio.core.schedules import BigSteps, Cosine, DiscreteSchedule, Linear, Tabulated

# BDDM's released 12-step speech schedule (egs/lj, noise_schedules) ends at alpha = 0.450376.
BDDM_12 = (0.000124, 0.000911, 0.007485, 0.093312, 0.143495, 0.152081)
BDDM_12 += (0.159706, 0.166829, 0.173713, 0.180449, 0.187136, 0.193823)

SCHEDULES: dict[str, DiscreteSchedule] = {name: cls() for name, cls in methods("schedule").items()}
SCHEDULES |= {"tabulated": Tabulated(BDDM_12), "linear, 50": Linear(num_steps=50), "cosine, 8": Cosine(num_steps=8)}


@pytest.fixture(params=SCHEDULES.values(), ids=SCHEDULES)
def schedule(request: pytest.FixtureRequest) -> DiscreteSchedule:
    return request.param


def test_linear_has_the_numbers_of_ddpm() -> None:
    """T = 1000, beta 1e-4 to 0.02 (hojonathanho/diffusion, scripts/run_cifar.py)."""
    found = Linear()
    assert found.betas()[[0, -1]] == pytest.approx([1e-4, 0.02], rel=1e-12)
    assert np.ptp(np.diff(found.betas())) < 1e-15
    assert found.alpha_bar[-1] == pytest.approx(4.0358e-5, rel=1e-4)
    assert found.alpha_bar[499] == pytest.approx(0.0785872, rel=1e-5)


def test_cosine_has_the_numbers_of_improved_ddpm() -> None:
    """T = 1000, s = 0.008, beta at most 0.999 (openai/improved-diffusion, gaussian_diffusion.py)."""
    found = Cosine()
    betas = found.betas()
    assert betas[0] == pytest.approx(4.12842e-5, rel=1e-5)
    assert betas[499] == pytest.approx(0.00314589, rel=1e-5)
    assert found.alpha_bar[499] == pytest.approx(0.493844, rel=1e-5)
    assert np.flatnonzero(betas == 0.999).tolist() == [999]
    assert found.alpha_bar[-1] == pytest.approx(2.4288e-9, rel=1e-4)


def test_tabulated_is_the_product_of_its_betas() -> None:
    assert Tabulated(BDDM_12).level(1.0).alpha == pytest.approx(0.450376, rel=1e-5)
    assert Tabulated((0.5, 0.5)).alpha_bar == pytest.approx([0.5, 0.25])


def test_linear_ends_scale_so_that_any_length_ends_in_noise() -> None:
    assert Linear(num_steps=100).betas()[[0, -1]] == pytest.approx([1e-3, 0.2], rel=1e-12)
    for length in (50, 200, 4000):
        assert math.log(Linear(num_steps=length).alpha_bar[-1]) == pytest.approx(-10.1, abs=4.5)


def test_steps_sit_at_i_plus_one_over_T(schedule: DiscreteSchedule) -> None:
    product = np.cumprod(1.0 - schedule.betas())
    np.testing.assert_allclose(schedule.alpha_bar, product, rtol=1e-10)
    assert schedule.length == len(product)
    for index in (0, 1, len(product) // 2, len(product) - 1):
        level = schedule.level((index + 1) / len(product))
        assert level.alpha**2 == pytest.approx(product[index], rel=1e-9)
        assert level.sigma**2 == pytest.approx(1.0 - product[index], rel=1e-9)
    assert schedule.level(0.0) == CLEAN


def test_first_sigma_keeps_its_digits(schedule: DiscreteSchedule) -> None:
    assert schedule.level(1.0 / schedule.length).sigma ** 2 == pytest.approx(schedule.betas()[0], rel=1e-13, abs=0.0)


def test_between_steps_ln_alpha_is_straight(schedule: DiscreteSchedule) -> None:
    step = 1.0 / schedule.length
    low, high = schedule.level(step), schedule.level(2 * step)
    assert schedule.level(1.25 * step).alpha == pytest.approx(low.alpha**0.75 * high.alpha**0.25, rel=1e-12)


def test_time_is_the_inverse_of_level(schedule: DiscreteSchedule) -> None:
    times = np.linspace(1e-4, 1.0, 137)
    levels = [schedule.level(t) for t in times]
    assert [schedule.time(log_snr(level)) for level in levels] == pytest.approx(times, abs=1e-9)
    assert np.all(np.diff([log_snr(level) for level in levels]) < 0)


def test_time_is_clamped_to_the_ends(schedule: DiscreteSchedule) -> None:
    assert schedule.time(-1000.0) == 1.0
    assert schedule.time(-math.inf) == 1.0
    assert schedule.time(math.inf) == 0.0
    assert 0.0 <= schedule.time(60.0) < 1e-6


@pytest.mark.parametrize("t", [-1e-9, 1.0001, math.nan])
def test_time_outside_is_refused(schedule: DiscreteSchedule, t: float) -> None:
    with pytest.raises(ValueError, match=r"from 0 \(data\) to 1 \(noise\)"):
        schedule.level(t)


def test_betas_are_possible(schedule: DiscreteSchedule) -> None:
    betas = schedule.betas()
    assert betas.dtype == np.float64
    assert np.all((betas > 0) & (betas < 1))


def test_linear_refuses_a_beta_of_one_and_says_what_to_do() -> None:
    with pytest.raises(ValueError, match=r"num_steps = 20 .* at least 21 steps"):
        Linear(num_steps=20)
    assert Linear(num_steps=21).betas()[-1] < 1.0


@pytest.mark.parametrize(
    ("values", "message"),
    [((), "at least one beta"), ((0.1, 0.0), r"beta\[1\] = 0\.0"), ((1.0,), r"beta\[0\] = 1\.0"), ((math.nan,), "nan")],
)
def test_tabulated_refuses_impossible_betas(values: tuple[float, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Tabulated(values)


def test_tables_cannot_be_changed_by_accident() -> None:
    """One table serves all who ask; equal schedules share it, different ones do not."""
    Linear().betas()[:] = 0.5
    Linear().alpha_bar[:] = 0.5
    assert Linear().alpha_bar[499] == pytest.approx(0.0785872, rel=1e-5)
    assert Linear(beta_end=0.01).alpha_bar[-1] > 100 * Linear().alpha_bar[-1]


@pytest.mark.parametrize("num_steps", [1, 2, 4, 8])
def test_big_steps_lie_on_one_flow(num_steps: int) -> None:
    """Whatever T is, its levels are those of the SDE at its times, and data are clean."""
    schedule = BigSteps(num_steps=num_steps)
    for step in range(num_steps + 1):
        found, flow = schedule.level(step / num_steps), BigSteps(num_steps=3).flow(step / num_steps)
        assert (found.alpha, found.sigma) == pytest.approx((flow.alpha, flow.sigma), rel=1e-12)
