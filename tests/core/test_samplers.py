"""Samplers against exact laws: closed forms on Gaussians, order on a mixture, identities, frames, seeds.

What is parametrised over the registry holds for every sampler that will ever be written.
"""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from studio.core.denoisers import Clipped, Denoiser, Guided, NetworkDenoiser
from studio.core.exact import GaussianDenoiser, MixtureDenoiser
from studio.core.grids import LogSNR, Quadratic, Uniform
from studio.core.levels import CLEAN, Level, from_alpha_bar, from_log_snr
from studio.core.noise import Noise, Stream
from studio.core.registry import methods
from studio.core.samplers.ancestral import Ancestral
from studio.core.samplers.base import Sampler, Step, start
from studio.core.samplers.ddim import DDIM
from studio.core.schedules import Cosine, Linear

SAMPLERS: dict[str, Sampler] = {name: cls() for name, cls in methods("sampler").items()}
SAMPLERS |= {"ddim, eta 0.7": DDIM(eta=0.7), "ancestral, large": Ancestral(variance="large")}
PATHS = {
    "linear, all": Uniform().levels(Linear(num_steps=200), 200),
    "linear, 1": Uniform().levels(Linear(), 1),
    "linear, 10": Uniform().levels(Linear(), 10),
    "quadratic, 20": Quadratic().levels(Linear(), 20),
    "cosine, log-SNR, 30": LogSNR().levels(Cosine(), 30),
}

every_sampler = pytest.mark.parametrize("sampler", SAMPLERS.values(), ids=SAMPLERS)
every_path = pytest.mark.parametrize("levels", PATHS.values(), ids=PATHS)


class Impulses(Noise):
    """Item 0 starts from one unit of noise; item k + 1 gets one unit in step k. A linear sampler's law is their sum."""

    def like(self, x: Tensor, step: int, stream: Stream = Stream.STEP) -> Tensor:
        drawn = torch.zeros_like(x)
        drawn[step + 1] = 1.0
        return drawn


def variances(sampler: Sampler, std: float, levels: list[Level]) -> list[float]:
    """The exact variance of x at every level, for data N(0, std**2) and a start of unit variance."""
    count = len(levels)
    x = torch.zeros(count, 1, dtype=torch.float64)
    x[0] = 1.0
    steps = sampler.run(GaussianDenoiser(0.0, std), x, levels, noise=Impulses(0, range(count)))
    return [float(step.x.square().sum()) for step in steps]


def run(
    sampler: Sampler, denoiser: Denoiser, levels: list[Level], count: int, dims: int = 1, **extra: Tensor
) -> Tensor:
    noise = Noise(0, range(count))
    *_, last = sampler.run(denoiser, start(noise, (dims,), levels[0]).double(), levels, noise=noise, **extra)
    return last.x


def line(dtype: torch.dtype = torch.float64) -> MixtureDenoiser:
    means = torch.tensor([[-1.0], [0.8]], dtype=dtype)
    return MixtureDenoiser(torch.tensor([0.3, 0.7], dtype=dtype), means, torch.tensor([0.25, 0.5], dtype=dtype))


# Exact laws


def beta_of(t: Level, s: Level) -> float:
    return 1.0 - (t.alpha / s.alpha) ** 2


def beta_tilde(t: Level, s: Level) -> float:
    """DDPM's, from alpha_bar = alpha**2: beta (1 - alpha_bar_s) / (1 - alpha_bar_t)."""
    return beta_of(t, s) * (1.0 - s.alpha**2) / (1.0 - t.alpha**2)


@every_path
@pytest.mark.parametrize("std", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
def test_ddim_on_a_gaussian(levels: list[Level], std: float, eta: float) -> None:
    """A = (alpha_s alpha_t c**2 + sqrt(sigma_s**2 - eta**2 beta~) sigma_t) / v_t, fresh variance eta**2 beta~."""
    expected = [1.0]
    for t, s in pairwise(levels):
        fresh = eta**2 * beta_tilde(t, s)
        total = t.alpha**2 * std**2 + t.sigma**2
        gain = (s.alpha * t.alpha * std**2 + math.sqrt(max(s.sigma**2 - fresh, 0.0)) * t.sigma) / total
        expected.append(gain**2 * expected[-1] + fresh)
    assert variances(DDIM(eta=eta), std, levels) == pytest.approx(expected, rel=1e-8)


@every_path
@pytest.mark.parametrize("std", [0.1, 0.5, 1.0])
def test_deterministic_ddim_is_a_product_of_cosines(levels: list[Level], std: float) -> None:
    """phi = atan2(sigma, alpha c): the final std is c prod cos(phi_t - phi_s) / sqrt(v_T)."""
    angles = [math.atan2(level.sigma, level.alpha * std) for level in levels]
    product = math.prod(math.cos(t - s) for t, s in pairwise(angles))
    total = (levels[0].alpha * std) ** 2 + levels[0].sigma ** 2
    found = math.sqrt(variances(DDIM(), std, levels)[-1])
    assert found == pytest.approx(std * product / math.sqrt(total), rel=1e-10)


@every_path
@pytest.mark.parametrize("std", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("variance", ["small", "large"])
def test_ancestral_on_a_gaussian(levels: list[Level], std: float, variance: str) -> None:
    """DDPM's eq. 7 in its own letters at x0 = alpha c**2 x / v; fresh variance beta~ or beta, none at the end."""
    expected = [1.0]
    for t, s in pairwise(levels):
        alpha_bar_t, alpha_bar_s, beta = t.alpha**2, s.alpha**2, beta_of(t, s)
        x0 = t.alpha * std**2 / (alpha_bar_t * std**2 + t.sigma**2)
        gain = math.sqrt(alpha_bar_s) * beta / (1 - alpha_bar_t) * x0
        gain += math.sqrt(1 - beta) * (1 - alpha_bar_s) / (1 - alpha_bar_t)
        fresh = 0.0 if s == CLEAN else beta if variance == "large" else beta_tilde(t, s)
        expected.append(gain**2 * expected[-1] + fresh)
    assert variances(Ancestral(variance=variance), std, levels) == pytest.approx(expected, rel=1e-8)


@every_path
def test_large_variance_is_exact_for_unit_data(levels: list[Level]) -> None:
    """x stays N(0, 1) all the way; the last, noiseless step leaves alpha of the cleanest noisy level."""
    found = variances(Ancestral(variance="large"), 1.0, levels)
    assert found[:-1] == pytest.approx([1.0] * (len(found) - 1), rel=1e-9)
    assert found[-1] == pytest.approx(levels[-2].alpha ** 2, rel=1e-9)


@pytest.mark.parametrize("sampler", [Ancestral(variance="small"), DDIM(eta=0.0), DDIM(eta=0.5), DDIM(eta=1.0)])
def test_small_variances_are_exact_for_data_at_a_point(sampler: Sampler) -> None:
    """For data at 0 the state is sigma**2 at every level, once it started so."""
    levels = [from_alpha_bar(0.0), *PATHS["linear, 10"]]
    for level, variance in zip(levels, variances(sampler, 0.0, levels), strict=True):
        assert variance == pytest.approx(level.sigma**2, abs=1e-12)


def test_std_of_a_thousand_steps_in_digits() -> None:
    """Data N(0, 0.5**2), linear T = 1000; worked out apart from the studio, from DDPM's table of betas."""
    levels = Uniform().levels(Linear(), 1000)
    assert variances(DDIM(), 0.5, levels)[-1] ** 0.5 == pytest.approx(0.498495283, abs=1e-8)
    assert variances(Ancestral(variance="small"), 0.5, levels)[-1] ** 0.5 == pytest.approx(0.496110080, abs=1e-8)
    assert variances(Ancestral(variance="large"), 0.5, levels)[-1] ** 0.5 == pytest.approx(0.500751510, abs=1e-8)


@pytest.mark.parametrize("sampler", [Ancestral(variance="small"), Ancestral(variance="large"), DDIM(eta=0.6)])
def test_real_noise_has_the_variance_of_the_closed_form(sampler: Sampler) -> None:
    levels, count = PATHS["linear, 10"][-5:], 100_000
    found = run(sampler, GaussianDenoiser(0.0, 0.5), levels, count)
    expected = math.sqrt(variances(sampler, 0.5, levels)[-1])
    assert float(found.std()) == pytest.approx(expected, rel=4 / math.sqrt(2 * count))
    assert abs(float(found.mean())) < 4 * expected / math.sqrt(count)


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (0.7, 0.2)])
@every_sampler
def test_every_sampler_finds_a_gaussian(sampler: Sampler, mean: float, std: float) -> None:
    """Within four standard errors and the bias of 250 steps, which the closed forms above put at 6 % or less."""
    count = 10_000
    found = run(sampler, GaussianDenoiser(mean, std), Uniform().levels(Linear(), 250), count)
    assert float(found.mean()) == pytest.approx(mean, abs=4 * std / math.sqrt(count) + 0.01)
    assert float(found.std()) == pytest.approx(std, rel=4 / math.sqrt(2 * count) + 0.06)


@every_sampler
def test_every_sampler_finds_a_mixture(sampler: Sampler) -> None:
    """The greatest gap between the cumulative distributions (Kolmogorov-Smirnov); chance alone gives 0.016 at 1 %."""
    count, mixture = 10_000, line()
    found = run(sampler, mixture, Uniform().levels(Linear(), 250), count)[:, 0].sort().values
    below = torch.special.ndtr((found.unsqueeze(1) - mixture.means[:, 0]) / mixture.stds) @ mixture.log_weights.exp()
    assert float((below - (torch.arange(count) + 0.5) / count).abs().max()) < 0.025


# Order


def ode(x: Tensor, high: float, low: float) -> Tensor:
    """The probability-flow ODE dy / d ln s = s eps in the frame alpha = 1, from log-SNR ``low`` to ``high``, by RK4."""

    def slope(y: Tensor, log_s: float) -> Tensor:
        s = math.exp(log_s)
        return s * line()(y, Level(1.0, s)).eps

    y, count = x / from_log_snr(low).alpha, 1000
    step = (low - high) / 2 / count
    for index in range(count):
        at = -low / 2 + index * step
        a = slope(y, at)
        b = slope(y + step / 2 * a, at + step / 2)
        c = slope(y + step / 2 * b, at + step / 2)
        d = slope(y + step * c, at + step)
        y = y + step / 6 * (a + 2 * b + 2 * c + d)
    return y * from_log_snr(high).alpha


def test_deterministic_ddim_is_a_first_order_solver_of_the_flow() -> None:
    low, high = -10.0, 8.0
    x = torch.linspace(-2.0, 2.0, 9, dtype=torch.float64).view(-1, 1)
    exact = ode(x, high, low)
    errors = []
    for count in (80, 160, 320):
        levels = [from_log_snr(value) for value in np.linspace(low, high, count + 1)]
        *_, last = DDIM().run(line(), x, levels, noise=Noise(0, range(9)))
        errors.append(float((last.x - exact).abs().max()))
    assert errors[-1] < 0.03
    slopes = [math.log2(coarse / fine) for coarse, fine in pairwise(errors)]
    assert slopes == pytest.approx([1.0, 1.0], abs=0.2)


# Identities


def test_ddim_with_eta_one_is_ancestral_with_the_small_variance() -> None:
    for levels in PATHS.values():
        one = run(DDIM(eta=1.0), line(), levels, 16)
        other = run(Ancestral(variance="small"), line(), levels, 16)
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_deterministic_ddim_draws_no_noise() -> None:
    levels = PATHS["linear, 10"]
    x = torch.ones(1, 1, dtype=torch.float64)
    *_, one = DDIM().run(line(), x, levels, noise=Noise(0, [0]))
    *_, other = DDIM().run(line(), x, levels, noise=Noise(99, [5]))
    assert torch.equal(one.x, other.x)
    *_, third = DDIM(eta=0.1).run(line(), x, levels, noise=Noise(99, [5]))
    assert not torch.allclose(one.x, third.x, atol=1e-4)


def test_sampling_one_class_of_a_mixture_is_sampling_its_gaussian() -> None:
    levels = PATHS["quadratic, 20"]
    for sampler in SAMPLERS.values():
        found = run(sampler, Guided(line(), 0.0), levels, 8, cond=torch.ones(8, dtype=torch.int64))
        torch.testing.assert_close(found, run(sampler, GaussianDenoiser(0.8, 0.5), levels, 8))


def test_guidance_sharpens_a_class_and_moves_it_away_from_the_other() -> None:
    levels = Uniform().levels(Linear(), 100)
    labels = torch.ones(4000, dtype=torch.int64)
    plain = run(DDIM(), Guided(line(), 0.0), levels, 4000, cond=labels)
    guided = run(DDIM(), Guided(line(), 3.0), levels, 4000, cond=labels)
    assert float(guided.std()) < 0.85 * float(plain.std())
    assert float(guided.mean()) > float(plain.mean()) + 0.1


# Every sampler: frames, seeds, the contract


class Squash(nn.Module):
    """A fixed network of scaled input, log-SNR and class, to see whether a sampler feeds it the same in each frame."""

    def forward(self, x: Tensor, ratio: Tensor, cond: Tensor | None, z: Tensor | None = None) -> Tensor:
        shift = 0.05 * ratio.clamp(-20, 20).unsqueeze(1)
        return torch.tanh(2.0 * x + shift) + (0.0 if cond is None else 0.1 * cond.unsqueeze(1))


DENOISERS: dict[str, Denoiser] = {
    "mixture": line(),
    "clipped": Clipped(line(), -0.5, 0.5),
    **{kind: NetworkDenoiser(Squash(), kind, 0.3, 0.6) for kind in ("eps", "x0", "v", "edm")},
    "guided": Guided(NetworkDenoiser(Squash(), "edm", 0.3, 0.6), 2.0),
}
every_denoiser = pytest.mark.parametrize("denoiser", DENOISERS.values(), ids=DENOISERS)


@every_sampler
@every_denoiser
def test_samples_have_no_frame(sampler: Sampler, denoiser: Denoiser) -> None:
    """Scale x, alpha and sigma of each level by its own factor: same x0 on the way, same samples."""
    levels = LogSNR().levels(Linear(), 8)
    factors = [5.0, 0.1, 2.0, 30.0, 0.5, 1.0, 7.0, 0.01, 1.0]
    framed = [Level(c * level.alpha, c * level.sigma) for c, level in zip(factors, levels, strict=True)]
    count, cond = 6, torch.arange(6) % 2
    noise = Noise(3, range(count))
    x = start(noise, (1,), levels[0]).double()
    plain = list(sampler.run(denoiser, x, levels, cond=cond, noise=noise))
    scaled = list(sampler.run(denoiser, factors[0] * x, framed, cond=cond, noise=noise))
    for c, one, other in zip(factors, plain, scaled, strict=True):
        torch.testing.assert_close(other.x, c * one.x, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(other.x0, one.x0, rtol=1e-9, atol=1e-9)
        torch.testing.assert_close(other.eps, one.eps, rtol=1e-7, atol=1e-7)


@every_sampler
@every_denoiser
def test_same_seed_is_same_image_at_any_batch_size(sampler: Sampler, denoiser: Denoiser) -> None:
    levels = LogSNR().levels(Linear(), 6)

    def samples(indices: list[int]) -> Tensor:
        noise = Noise(5, indices)
        cond = noise.indices % 2
        *_, last = sampler.run(denoiser, start(noise, (1,), levels[0]).double(), levels, cond=cond, noise=noise)
        return last.x

    whole = samples(list(range(7)))
    for part in ([0], [4, 2], [6, 5, 1, 3]):
        torch.testing.assert_close(samples(part), whole[part], rtol=1e-10, atol=1e-10)
    assert len(whole.unique()) >= 4, "different indices give different images"


@every_sampler
def test_different_seeds_give_different_images(sampler: Sampler) -> None:
    levels = LogSNR().levels(Linear(), 6)
    found = []
    for seed in (0, 1):
        noise = Noise(seed, range(4))
        *_, last = sampler.run(line(), start(noise, (1,), levels[0]).double(), levels, noise=noise)
        found.append(last.x)
    assert not torch.allclose(*found, atol=1e-3)


@every_sampler
def test_every_visited_level_is_told(sampler: Sampler) -> None:
    levels = LogSNR().levels(Linear(), 5)
    noise = Noise(0, range(3))
    x = start(noise, (1,), levels[0]).double()
    before = x.clone()
    steps: list[Step] = []
    for step in sampler.run(line(), x.requires_grad_(), levels, noise=noise):
        assert torch.is_grad_enabled(), "no_grad must not leak to the caller between two steps"
        steps.append(step)
    assert torch.equal(x, before), "the start is not changed in place"
    assert [step.index for step in steps] == list(range(6))
    assert {step.total for step in steps} == {5}
    assert [step.level for step in steps] == levels
    assert all(after.nfe > step.nfe for step, after in pairwise(steps[:-1]))
    assert steps[-1].nfe == steps[-2].nfe
    assert torch.equal(steps[-1].x, steps[-1].x0)
    assert torch.equal(steps[-1].eps, torch.zeros_like(x))
    for step in steps[:-1]:
        torch.testing.assert_close(step.x0, line()(step.x.detach(), step.level).x0)
        torch.testing.assert_close(step.level.alpha * step.x0 + step.level.sigma * step.eps.detach(), step.x.detach())
        assert not step.x0.requires_grad, "a run keeps no graph of what it did"


@pytest.mark.parametrize("sampler", [DDIM(), Ancestral()])
def test_network_evaluations_are_counted(sampler: Sampler) -> None:
    levels = LogSNR().levels(Linear(), 3)
    for scale, each in ((0.0, 1), (2.0, 2)):
        x, labels = torch.zeros(2, 1).double(), torch.zeros(2, dtype=torch.int64)
        steps = list(sampler.run(Guided(line(), scale), x, levels, cond=labels, noise=Noise(0, range(2))))
        assert [step.nfe for step in steps] == [each, 2 * each, 3 * each, 3 * each]


@every_sampler
@pytest.mark.parametrize(
    ("levels", "message"),
    [
        ([], "at least two levels"),
        ([CLEAN], "at least two levels"),
        ([from_alpha_bar(0.5), from_alpha_bar(0.4)], "Level 1 is not cleaner than level 0"),
        ([from_alpha_bar(0.4), from_alpha_bar(0.5), from_alpha_bar(0.5)], "Level 2 is not cleaner than level 1"),
    ],
)
def test_levels_that_do_not_descend_are_refused(sampler: Sampler, levels: list[Level], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        next(sampler.run(line(), torch.zeros(1, 1).double(), levels, noise=Noise(0, [0])))


def test_start_is_a_unit_normal_in_the_frame_of_its_level() -> None:
    noise = Noise(0, range(5))
    unit = noise.normal((2,), 0, Stream.START)
    torch.testing.assert_close(start(noise, (2,), from_alpha_bar(0.2)), unit)
    torch.testing.assert_close(start(noise, (2,), Level(3.0, 4.0)), 5.0 * unit)


def test_start_shares_no_draw_with_the_steps() -> None:
    """Fresh noise equal to the start would make a sampler's variance wrong without any other sign."""
    noise = Noise(0, range(2000))
    begun = start(noise, (1,), from_alpha_bar(0.0))[:, 0]
    for step in range(4):
        fresh = noise.like(torch.zeros(2000, 1), step)[:, 0]
        assert abs(float(torch.corrcoef(torch.stack([begun, fresh]))[0, 1])) < 4.5 / math.sqrt(2000)
