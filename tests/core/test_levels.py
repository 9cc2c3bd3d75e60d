"""Levels: the Gaussian algebra against Bayes' rule, published posteriors, and exact fractions."""

import math
from fractions import Fraction

import numpy as np
import pytest
import torch

from studio.core.levels import (
    CLEAN,
    Level,
    beta_between,
    diffuse,
    expand,
    from_alpha_bar,
    from_log_snr,
    log_snr,
    posterior,
    variance_preserving,
)

PAIRS = [
    (from_alpha_bar(0.1), from_alpha_bar(0.6)),
    (from_alpha_bar(1e-5), from_alpha_bar(0.9999)),
    (Level(1.0, 80.0), Level(1.0, 0.5)),  # VE
    (Level(0.3, 2.0), Level(5.0, 0.7)),  # no frame at all
]

# The four big steps of denoising diffusion GANs (beta_min 0.1, beta_max 20), worked out from their formula.
BIG_BETAS = [0.478255, 0.849206, 0.956418, 0.987404]
BIG_ALPHA_BARS = [0.521745, 0.078676, 0.003429, 4.319e-5]
BIG_POSTERIOR_VARS = [0.0, 0.440819, 0.884202, 0.984061]


@pytest.mark.parametrize(("t", "s"), PAIRS)
def test_posterior_is_bayes_rule(t: Level, s: Level) -> None:
    """x_s and x_t given x0 are jointly Gaussian with covariance ratio * sigma_s**2: condition x_s on x_t by hand."""
    cross = t.alpha / s.alpha * s.sigma**2
    gain = cross / t.sigma**2
    found = posterior(t, s)
    assert found.of_x == pytest.approx(gain, rel=1e-12)
    assert found.of_x0 == pytest.approx(s.alpha - gain * t.alpha, rel=1e-9)
    assert found.var == pytest.approx(s.sigma**2 - gain * cross, rel=1e-9)


@pytest.mark.parametrize(("t", "s"), PAIRS)
def test_posterior_keeps_the_marginals(t: Level, s: Level) -> None:
    """Noise to t, then step back with the true x0: alpha_s and sigma_s must come out."""
    found = posterior(t, s)
    assert found.of_x * t.alpha + found.of_x0 == pytest.approx(s.alpha, rel=1e-12)
    assert found.of_x**2 * t.sigma**2 + found.var == pytest.approx(s.sigma**2, rel=1e-12)


def test_posterior_of_four_big_steps() -> None:
    levels = [CLEAN, *map(from_alpha_bar, BIG_ALPHA_BARS)]
    for s, t, beta, var in zip(levels, levels[1:], BIG_BETAS, BIG_POSTERIOR_VARS, strict=False):
        assert beta_between(t, s) == pytest.approx(beta, rel=2e-4)
        assert posterior(t, s).var == pytest.approx(var, rel=2e-4)


def test_posterior_of_a_clean_level_is_x0_itself() -> None:
    assert posterior(from_alpha_bar(0.3), Level(2.0, 0.0)) == (0.0, 2.0, 0.0)


def test_posterior_refuses_to_go_towards_noise() -> None:
    with pytest.raises(AssertionError, match="descend"):
        posterior(from_alpha_bar(0.6), from_alpha_bar(0.1))


def test_beta_is_the_share_of_signal_lost() -> None:
    assert beta_between(from_alpha_bar(0.3), from_alpha_bar(0.6)) == pytest.approx(0.5)
    assert beta_between(from_alpha_bar(0.3), CLEAN) == pytest.approx(0.7)
    in_other_frames = beta_between(Level(3 * 0.3**0.5, 3 * 0.7**0.5), Level(0.1 * 0.6**0.5, 0.1 * 0.4**0.5))
    assert in_other_frames == pytest.approx(0.5)


def test_beta_keeps_its_digits_near_clean_data() -> None:
    """1 - alpha_bar_t / alpha_bar_s in floats would lose all but four digits here."""
    t, s = Level(1.0, 3e-6), Level(1.0, 2e-6)
    exact = 1 - (1 / (1 + Fraction(3e-6) ** 2)) / (1 / (1 + Fraction(2e-6) ** 2))
    assert beta_between(t, s) == pytest.approx(float(exact), rel=1e-9, abs=0.0)


@pytest.mark.parametrize("value", [-700.0, -20.0, -1e-3, 0.0, 1.0, 20.0, 36.0, 700.0])
def test_log_snr_and_back(value: float) -> None:
    level = from_log_snr(value)
    assert log_snr(level) == pytest.approx(value, rel=1e-12, abs=1e-12)
    assert level.alpha**2 + level.sigma**2 == pytest.approx(1.0, rel=1e-14)


def test_log_snr_of_the_ends() -> None:
    assert log_snr(CLEAN) == math.inf
    assert log_snr(Level(0.0, 1.0)) == -math.inf
    assert log_snr(Level(1.0, math.exp(-3.0))) == pytest.approx(6.0)
    both = log_snr(Level(torch.tensor([1.0, 1.0]).double(), torch.tensor([1.0, math.e]).double()))
    np.testing.assert_allclose(both, [0.0, -2.0], atol=1e-7)


def test_log_snr_has_no_frame() -> None:
    assert log_snr(Level(7 * 0.3, 7 * 0.8)) == pytest.approx(log_snr(Level(0.3, 0.8)))
    assert variance_preserving(Level(3.0, 4.0)) == pytest.approx((0.6, 0.8))


def test_alpha_bar_is_the_square_of_alpha() -> None:
    assert from_alpha_bar(0.25) == pytest.approx((0.5, math.sqrt(0.75)))


def test_diffuse_takes_a_level_for_each_item() -> None:
    x0 = torch.full((2, 1, 2, 2), 10.0)
    eps = torch.full((2, 1, 2, 2), 1.0)
    each = diffuse(x0, Level(torch.tensor([1.0, 0.5]), torch.tensor([0.0, 3.0])), eps)
    assert each[0].unique().tolist() == [10.0]
    assert each[1].unique().tolist() == [8.0]
    torch.testing.assert_close(diffuse(x0, Level(0.5, 3.0), eps)[0], each[1])


def test_expand_takes_the_type_of_x() -> None:
    grown = expand(torch.tensor([1.0, 2.0], dtype=torch.float64), torch.zeros(2, 3, 4))
    assert (tuple(grown.shape), grown.dtype) == ((2, 1, 1), torch.float32)
    assert expand(0.5, torch.zeros(2)) == 0.5
