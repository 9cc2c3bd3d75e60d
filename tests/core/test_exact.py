"""The closed-form denoisers against Bayes' rule by quadrature and autograd, and guidance against its score."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from studio.core.data.base import Mixture
from studio.core.data.points import Gaussians8, Mixture1D
from studio.core.denoisers import Clipped, Guided
from studio.core.exact import GaussianDenoiser, MixtureDenoiser, moments, step_distribution
from studio.core.levels import CLEAN, Level, diffuse, from_alpha_bar, posterior
from studio.core.metrics.density import log_density
from studio.core.noise import Noise, Stream
from studio.core.schedules import BigSteps

LEVELS = [from_alpha_bar(0.99), from_alpha_bar(0.3), from_alpha_bar(1e-4), Level(1.0, 3.0)]
WEIGHTS, MEANS, STDS = (0.3, 0.7), (-1.0, 0.8), (0.25, 0.5)


def line() -> MixtureDenoiser:
    weights, means, stds = (torch.tensor(values, dtype=torch.float64) for values in (WEIGHTS, MEANS, STDS))
    return MixtureDenoiser(weights, means.view(2, 1), stds)


def plane() -> MixtureDenoiser:
    means = torch.tensor([[-1.0, 0.5], [0.8, 0.0], [0.0, -1.0]], dtype=torch.float64)
    weights, stds = (torch.tensor(values, dtype=torch.float64) for values in ((0.2, 0.5, 0.3), (0.3, 0.1, 0.5)))
    return MixtureDenoiser(weights, means, stds)


def points(dims: int, count: int = 9) -> Tensor:
    return 1.5 * Noise(0, range(count)).normal((dims,), 0).double()


def moments_by_quadrature(density: np.ndarray, grid: np.ndarray, x: float, level: Level) -> tuple[float, float]:
    """E[x0|x] and Var[x0|x] from the prior's density on a fine grid."""
    alpha, sigma = level
    weight = density * np.exp(-0.5 * ((x - alpha * grid) / sigma) ** 2)
    weight /= weight.sum()
    mean = float((weight * grid).sum())
    return mean, float((weight * (grid - mean) ** 2).sum())


def normal(grid: np.ndarray, mean: float, std: float) -> np.ndarray:
    return np.exp(-0.5 * ((grid - mean) / std) ** 2) / std


@pytest.mark.parametrize("level", LEVELS)
def test_gaussian_is_bayes_rule(level: Level) -> None:
    grid = np.linspace(-8, 8, 40_001)
    for x in (-1.3, 0.2, 2.0):
        mean, var = moments_by_quadrature(normal(grid, 0.4, 0.7), grid, x, level)
        found = GaussianDenoiser(0.4, 0.7)(torch.tensor([[x]], dtype=torch.float64), level)
        assert float(found.x0) == pytest.approx(mean, rel=1e-7)
        assert found.x0_var == pytest.approx(var, rel=1e-6)
        assert level.alpha * float(found.x0) + level.sigma * float(found.eps) == pytest.approx(x)


@pytest.mark.parametrize("level", LEVELS)
def test_mixture_is_bayes_rule(level: Level) -> None:
    grid = np.linspace(-8, 8, 40_001)
    density = sum(w * normal(grid, m, s) for w, m, s in zip(WEIGHTS, MEANS, STDS, strict=True))
    x = points(1)
    found = line()(x, level)
    assert isinstance(found.x0_var, Tensor)
    for row, value in enumerate(x[:, 0].tolist()):
        mean, var = moments_by_quadrature(np.asarray(density), grid, value, level)
        assert float(found.x0[row, 0]) == pytest.approx(mean, rel=1e-6, abs=1e-9)
        assert float(found.x0_var[row, 0]) == pytest.approx(var, rel=1e-5)


@pytest.mark.parametrize("level", LEVELS)
def test_mixture_noise_is_minus_sigma_times_the_score(level: Level) -> None:
    x = points(2).requires_grad_()
    (score,) = torch.autograd.grad(plane().log_density(x, level).sum(), x)
    torch.testing.assert_close(plane()(x, level).eps, -level.sigma * score)


def test_mixture_density_is_the_density() -> None:
    """It integrates to 1 at any level, and where clean it is the mixture's own formula."""
    grid = torch.linspace(-25, 25, 10_001, dtype=torch.float64).view(-1, 1)
    for level in LEVELS:
        total = line().log_density(grid, level).exp().sum() * 50 / 10_000
        assert float(total) == pytest.approx(1.0, rel=1e-9)
    axis = torch.linspace(-8, 8, 401, dtype=torch.float64)
    total = plane().log_density(torch.cartesian_prod(axis, axis), LEVELS[1]).exp().sum() * (16 / 400) ** 2
    assert float(total) == pytest.approx(1.0, rel=1e-9)
    at = 0.3
    parts = zip(WEIGHTS, MEANS, STDS, strict=True)
    expected = sum(w * math.exp(-0.5 * ((at - m) / s) ** 2) / (s * math.sqrt(2 * math.pi)) for w, m, s in parts)
    found = line().log_density(torch.tensor([[at]], dtype=torch.float64), Level(1.0, 0.0)).exp()
    assert float(found) == pytest.approx(expected, rel=1e-6)


def test_class_of_a_mixture_is_its_component_and_a_negative_label_is_all() -> None:
    x, level = points(2), LEVELS[1]
    for label, (mean, std) in enumerate(zip(plane().means, plane().stds, strict=True)):
        found = plane()(x, level, torch.full((len(x),), label))
        gain = level.alpha * std**2 / (level.alpha**2 * std**2 + level.sigma**2)
        torch.testing.assert_close(found.x0, mean + gain * (x - level.alpha * mean))
    torch.testing.assert_close(plane()(x, level, torch.full((len(x),), -1)).x0, plane()(x, level).x0)
    mixed = torch.tensor([0, -1] + [2] * (len(x) - 2))
    torch.testing.assert_close(plane()(x, level, mixed).x0[1], plane()(x, level).x0[1])


def test_levels_may_differ_within_a_batch() -> None:
    x = points(2, len(LEVELS))
    stacked = Level(*(torch.tensor(column, dtype=torch.float64) for column in zip(*LEVELS, strict=True)))
    for denoiser in (plane(), GaussianDenoiser(0.2, 0.4)):
        both = denoiser(x, stacked)
        for row, level in enumerate(LEVELS):
            alone = denoiser(x[row : row + 1], level)
            torch.testing.assert_close(both.x0[row], alone.x0[0])
            torch.testing.assert_close(both.eps[row], alone.eps[0])


@pytest.mark.parametrize("level", LEVELS[:3])
def test_no_denoiser_beats_the_known_floor(level: Level) -> None:
    """E|eps - eps*|**2 = alpha**2 c**2 / v and E|eps*|**2 = sigma**2 / v a dimension."""
    std, count = 0.5, 200_000
    noise = Noise(1, range(count))
    x0, eps = std * noise.normal((1,), 0).double(), noise.normal((1,), 0, Stream.EPS).double()
    found = GaussianDenoiser(0.0, std)(diffuse(x0, level, eps), level).eps
    total = level.alpha**2 * std**2 + level.sigma**2
    assert float((found - eps).square().mean()) == pytest.approx(level.alpha**2 * std**2 / total, rel=0.02)
    assert float(found.square().mean()) == pytest.approx(level.sigma**2 / total, rel=0.02)


def test_guidance_of_zero_is_the_plain_model() -> None:
    x, level = points(2), LEVELS[1]
    labels = torch.arange(len(x)) % 3
    guided = Guided(plane(), 0.0)
    assert torch.equal(guided(x, level, labels).x0, plane()(x, level, labels).x0)
    assert torch.equal(Guided(plane(), 3.0)(x, level).x0, plane()(x, level).x0)
    assert (guided.nfe, Guided(plane(), 3.0).nfe) == (1, 2)


@pytest.mark.parametrize("scale", [0.5, 1.0, 4.0])
@pytest.mark.parametrize("level", LEVELS)
def test_guidance_adds_the_gradient_of_the_class(level: Level, scale: float) -> None:
    """score + w grad ln p(y|x) with p(y|x) = p(x|y) p(y) / p(x), all by autograd of exact densities."""
    mixture, label = plane(), 1
    single = MixtureDenoiser(torch.ones(1).double(), mixture.means[[label]], mixture.stds[[label]])
    x = points(2).requires_grad_()
    of_class = single.log_density(x, level)
    (score,) = torch.autograd.grad((of_class + scale * (of_class - mixture.log_density(x, level))).sum(), x)
    found = Guided(mixture, scale)(x, level, torch.full((len(x),), label))
    torch.testing.assert_close(found.eps, -level.sigma * score)
    torch.testing.assert_close(level.alpha * found.x0 + level.sigma * found.eps, x)


def test_clipped_keeps_x0_within_bounds_and_eps_in_agreement() -> None:
    x, level = 5 * points(2), LEVELS[1]
    plain, clipped = GaussianDenoiser(0.0, 2.0)(x, level), Clipped(GaussianDenoiser(0.0, 2.0))(x, level)
    assert float(plain.x0.abs().max()) > 1.0
    assert torch.equal(clipped.x0, plain.x0.clamp(-1.0, 1.0))
    torch.testing.assert_close(level.alpha * clipped.x0 + level.sigma * clipped.eps, x)
    assert Clipped(Guided(plane(), 1.0)).nfe == 2


STEPS = [
    (BigSteps(num_steps=4).level(0.75), BigSteps(num_steps=4).level(0.5)),
    (BigSteps(num_steps=1).level(1.0), CLEAN),
    (from_alpha_bar(0.3), from_alpha_bar(0.302)),
    (Level(1.0, 3.0), Level(2.0, 0.4)),  # the frames differ, too
]


@pytest.mark.parametrize("x_t", [-2.5, 0.1, 1.3])
@pytest.mark.parametrize(("t", "s"), STEPS)
def test_a_step_backwards_is_what_bayes_rule_gives_by_quadrature(t: Level, s: Level, x_t: float) -> None:
    """q(x_t | x_s) q(x_s) / q(x_t), q(x_s) itself by quadrature over x0 where the end of the step has noise."""
    data = Mixture1D().mixture
    found = step_distribution(data, np.array([x_t]), t, s)
    x_s = np.linspace(-8.0, 8.0, 4001)
    ratio = t.alpha / s.alpha
    if s == CLEAN:
        prior = np.exp(log_density(x_s[:, None], data))
    else:
        x0 = np.linspace(-3.0, 3.0, 1201)
        spread = np.exp(-0.5 * ((x_s[:, None] - s.alpha * x0) / s.sigma) ** 2)
        prior = spread @ np.exp(log_density(x0[:, None], data))
    joint = prior * np.exp(-0.5 * (x_t - ratio * x_s) ** 2 / (t.sigma**2 - ratio**2 * s.sigma**2))
    exact = joint / (joint.sum() * (x_s[1] - x_s[0]))
    np.testing.assert_allclose(np.exp(log_density(x_s[:, None], found)), exact, atol=1e-6 * exact.max())


@pytest.mark.parametrize(("t", "s"), STEPS)
def test_a_step_backwards_has_the_moments_of_the_posterior_mean(t: Level, s: Level) -> None:
    """E[x_s | x_t] puts E[x0 | x_t] into the posterior, and the variance is beta-tilde + b**2 Var[x0 | x_t]."""
    data = Gaussians8().mixture
    x_t = np.array([0.4, -0.7])
    step = posterior(t, s)
    exact = MixtureDenoiser(*(torch.from_numpy(part) for part in data))(torch.from_numpy(x_t)[None], t)
    mean, variance = moments(step_distribution(data, x_t, t, s))
    np.testing.assert_allclose(mean, step.of_x * x_t + step.of_x0 * exact.x0[0].numpy(), atol=1e-12)
    assert exact.x0_var is not None
    assert variance == pytest.approx(step.var + step.of_x0**2 * float(exact.x0_var[0].mean()), rel=1e-9)


def test_a_step_from_one_gaussian_is_one_gaussian() -> None:
    data = Mixture(np.ones(1), np.array([[0.5]]), np.array([2.0]))
    t, s = STEPS[0]
    found = step_distribution(data, np.array([0.3]), t, s)
    believed = GaussianDenoiser(0.5, 2.0)(torch.tensor([[0.3]], dtype=torch.float64), t)
    assert believed.x0_var is not None
    step = posterior(t, s)
    assert found.means.item() == pytest.approx(step.of_x * 0.3 + step.of_x0 * believed.x0.item(), rel=1e-12)
    assert found.stds.item() ** 2 == pytest.approx(step.var + step.of_x0**2 * float(believed.x0_var), rel=1e-12)
