"""Parameterisations: what each network output means, EDM's table, and freedom of frame."""

import math
from typing import get_args

import pytest
import torch
from torch import Tensor

from studio.core.exact import GaussianDenoiser
from studio.core.levels import Level, diffuse, from_alpha_bar
from studio.core.prediction import Parameterization, coefficients, from_x0

LEVELS = [from_alpha_bar(0.999), from_alpha_bar(0.3), Level(1.0, 20.0), Level(3.0, 0.2)]
STD = 0.6
ALL = get_args(Parameterization)


def pair() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x0 = torch.randn(4, 3, generator=generator, dtype=torch.float64)
    return x0, torch.randn(4, 3, generator=generator, dtype=torch.float64)


def target(parameterization: Parameterization, level: Level, x0: Tensor, eps: Tensor) -> Tensor:
    """What a perfect network puts out, by each paper's definition."""
    alpha, sigma = level
    match parameterization:
        case "eps":
            return eps
        case "x0":
            return x0
        case "v":
            total = math.hypot(alpha, sigma)
            return alpha / total * eps - sigma / total * x0
    # EDM with alpha divided out: D = c_skip y + c_out F of y = x0 + (sigma / alpha) eps.
    s = sigma / alpha
    return (x0 - STD**2 / (s**2 + STD**2) * (x0 + s * eps)) * math.sqrt(s**2 + STD**2) / (s * STD)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("parameterization", ALL)
def test_perfect_output_gives_x0_back(parameterization: Parameterization, level: Level) -> None:
    x0, eps = pair()
    x = diffuse(x0, level, eps)
    _, c_skip, c_out = coefficients(parameterization, level, STD)
    found = from_x0(x, level, c_skip * x + c_out * target(parameterization, level, x0, eps))
    torch.testing.assert_close(found.x0, x0, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(found.eps, eps, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("sigma", [0.002, 0.5, 80.0])
def test_edm_has_the_numbers_of_its_table(sigma: float) -> None:
    """arXiv 2206.00364, table 1, in the frame alpha = 1 with sigma_data = 0.5."""
    c_in, c_skip, c_out = coefficients("edm", Level(1.0, sigma), 0.5)
    assert c_skip == pytest.approx(0.25 / (sigma**2 + 0.25))
    assert c_out == pytest.approx(sigma * 0.5 / math.sqrt(sigma**2 + 0.25))
    assert c_in == pytest.approx(1.0 / math.sqrt(sigma**2 + 0.25))


@pytest.mark.parametrize("level", LEVELS)
def test_edm_target_and_input_have_unit_variance(level: Level) -> None:
    """x0 and eps are independent, so a linear form's variance is the sum of its squared coefficients."""
    c_in, c_skip, c_out = coefficients("edm", level, STD)
    of_x0 = (1.0 - c_skip * level.alpha) / c_out
    of_eps = -c_skip * level.sigma / c_out
    assert of_x0**2 * STD**2 + of_eps**2 == pytest.approx(1.0)
    assert c_in**2 * (level.alpha**2 * STD**2 + level.sigma**2) == pytest.approx(1.0)


@pytest.mark.parametrize("level", LEVELS)
def test_edm_with_a_silent_network_is_optimal_for_a_gaussian(level: Level) -> None:
    x = torch.linspace(-3, 3, 7, dtype=torch.float64).view(-1, 1)
    _, c_skip, _ = coefficients("edm", level, STD)
    torch.testing.assert_close(c_skip * x, GaussianDenoiser(0.0, STD)(x, level).x0)


@pytest.mark.parametrize("parameterization", ["eps", "x0", "v"])
@pytest.mark.parametrize("level", LEVELS)
def test_input_has_unit_variance_for_unit_data(parameterization: Parameterization, level: Level) -> None:
    c_in = coefficients(parameterization, level, STD).c_in
    assert c_in**2 * (level.alpha**2 + level.sigma**2) == pytest.approx(1.0)


@pytest.mark.parametrize("parameterization", ALL)
def test_coefficients_have_no_frame(parameterization: Parameterization) -> None:
    """x, alpha and sigma times c: the network sees the same, and its output means the same x0."""
    here, there = Level(0.6, 0.8), Level(7 * 0.6, 7 * 0.8)
    one, other = coefficients(parameterization, here, STD), coefficients(parameterization, there, STD)
    assert other == pytest.approx((one.c_in / 7, one.c_skip / 7, one.c_out))


@pytest.mark.parametrize("parameterization", ALL)
def test_tensors_and_floats_agree(parameterization: Parameterization) -> None:
    levels = LEVELS[:3]
    stacked = Level(*(torch.tensor(column, dtype=torch.float64) for column in zip(*levels, strict=True)))
    both = coefficients(parameterization, stacked, STD)
    for row, level in enumerate(levels):
        found = [float(value[row]) if isinstance(value, Tensor) else value for value in both]
        assert found == pytest.approx(list(coefficients(parameterization, level, STD)))


def test_unknown_parameterisation_is_refused() -> None:
    with pytest.raises(ValueError, match="choose eps, x0, v or edm"):
        coefficients("noise", LEVELS[0], STD)  # type: ignore[arg-type]


def test_x0_and_eps_are_two_names_for_one_belief() -> None:
    x0, eps = pair()
    level = Level(torch.tensor([0.9, 0.5, 1.0, 2.0]).double(), torch.tensor([0.1, 0.8, 9.0, 1.0]).double())
    x = diffuse(x0, level, eps)
    torch.testing.assert_close(from_x0(x, level, x0).eps, eps)
