"""Denoising Diffusion GAN: its schedule, why it needs z, one alternation by hand, exact resume, and its watch."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from train_controls import StopAt, Unhurried

from studio.core import events
from studio.core.checkpoints.native import load
from studio.core.config import RunKnobs, TrainConfig
from studio.core.data.base import Batch
from studio.core.data.points import Gaussians25
from studio.core.data.stacked import StackedMNIST
from studio.core.denoisers import Denoiser, Direct, Latent
from studio.core.exact import GaussianDenoiser
from studio.core.grids import Betas
from studio.core.levels import CLEAN, Level, log_snr, posterior
from studio.core.networks.base import NetworkSpec
from studio.core.networks.discriminator import discriminator, with_spread
from studio.core.networks.layers import latent_parts
from studio.core.networks.mlp import MLPSpec
from studio.core.networks.unet import UNetSpec
from studio.core.noise import Noise, Stream
from studio.core.optimizers import AdamSpec
from studio.core.prediction import Prediction, from_x0
from studio.core.prior import Prior
from studio.core.recipes.adversarial import BETWEEN, Adversarial, AdversarialLearner, Pairs, _evenly, gradient_penalty
from studio.core.recipes.balance import SIGNS
from studio.core.recipes.base import DataFacts
from studio.core.runs import Run
from studio.core.samplers.ancestral import Ancestral
from studio.core.samplers.base import start
from studio.core.sampling import own_spec, sample, subject_of
from studio.core.schedules import BigSteps
from studio.core.trainer import Trainer

CPU = torch.device("cpu")
POINTS = DataFacts(shape=(2,), num_classes=0, mean=0.0, std=1.0)
SMALL_POINTS, SMALL_IMAGES = MLPSpec(width=16, blocks=1), UNetSpec(width=8, depth=2)
# The paper's continuous schedule, 0.1 to 20, cut into T steps.
BETAS = {
    1: (0.999957,),
    2: (0.921324, 0.999451),
    4: (0.478255, 0.849206, 0.956418, 0.987404),
    8: (0.156445, 0.381493, 0.546501, 0.667488, 0.756197, 0.82124, 0.86893, 0.903898),
}


def learner_of(recipe: Adversarial, data: DataFacts = POINTS, network: NetworkSpec | None = None) -> AdversarialLearner:
    network = network or (SMALL_POINTS if len(data.shape) == 1 else SMALL_IMAGES)
    return recipe.learner(network, AdamSpec(learning_rate=1e-3), data, seed=0, device=CPU)


def batch_of(shape: tuple[int, ...], size: int = 8, classes: int = 0) -> Batch:
    x0 = Noise(5, range(size)).normal(shape, 0)
    labels = torch.arange(size) % classes if classes else None
    return Batch(x0, labels, torch.arange(size))


class TestSteps:
    @pytest.mark.parametrize("steps", BETAS)
    def test_betas_are_the_papers(self, steps: int) -> None:
        assert BigSteps(num_steps=steps).betas() == pytest.approx(BETAS[steps], abs=1e-6)

    def test_less_noise_is_the_same_process_with_a_smaller_rate(self) -> None:
        recipe = Adversarial(num_steps=2, beta_max=7.0)
        # -ln alpha_bar(1) = (7 - 0.1) / 2 + 0.1, but for what it is at the time of the data, 0.001.
        expected = math.exp(-(3.55 - 0.5 * 6.9e-6 - 1e-4))
        assert recipe.schedule.alpha_bar[-1] == pytest.approx(expected)
        tables = learner_of(recipe)._tables
        assert float(tables.alpha[-1]) == pytest.approx(math.sqrt(expected))

    def test_four_steps_have_the_papers_levels_and_posterior(self) -> None:
        schedule = BigSteps(num_steps=4)
        assert schedule.alpha_bar == pytest.approx((0.521745, 0.078676, 0.003429, 4.319e-5), rel=1e-3)
        levels = [CLEAN, *(schedule.level((step + 1) / 4) for step in range(4))]
        variances = [posterior(t, s).var for s, t in itertools.pairwise(levels)]
        assert variances == pytest.approx([0.0, 0.440819, 0.884202, 0.984061], abs=1e-6)
        last = posterior(levels[1], CLEAN)
        assert (last.of_x0, last.of_x) == pytest.approx((1.0, 0.0))

    def test_the_learner_makes_steps_as_the_posterior_says(self) -> None:
        """q(x_s | x_t, x0) from alpha_bar alone, as the paper writes it, against what the generator's x0 becomes."""
        learner = learner_of(Adversarial(latent=0))
        noise, batch = Noise(1, range(8)), batch_of((2,))
        pairs = learner._pairs(batch.x0, noise, 3)
        fake, x0 = learner._fake(learner._generator, pairs, None, noise, 3)
        bar = np.concatenate([[1.0], np.cumprod(1.0 - np.array(BigSteps().betas()))])
        for item, place in enumerate(pairs.place.tolist()):
            beta, of_t, of_s = 1.0 - bar[place + 1] / bar[place], bar[place + 1], bar[place]
            mean = math.sqrt(of_s) * beta / (1.0 - of_t) * x0[item]
            mean = mean + math.sqrt(1.0 - beta) * (1.0 - of_s) / (1.0 - of_t) * pairs.x_t[item]
            std = math.sqrt(beta * (1.0 - of_s) / (1.0 - of_t))
            fresh = noise.like(x0, 3, Stream.STEP)[item]
            assert torch.allclose(fake[item], mean.float() + std * fresh, atol=1e-5)

    def test_every_step_has_its_share_of_a_batch_and_x_t_follows_from_x_s(self) -> None:
        learner = learner_of(Adversarial())
        pairs = learner._pairs(batch_of((2,)).x0, Noise(1, range(8)), 0)
        assert pairs.place.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
        kept = torch.tensor([math.sqrt(1.0 - BETAS[4][place]) for place in pairs.place.tolist()])
        added = torch.tensor([math.sqrt(BETAS[4][place]) for place in pairs.place.tolist()])
        jump = (pairs.x_t - kept[:, None] * pairs.x_s) / added[:, None]
        assert torch.allclose(jump, Noise(1, range(8)).normal((2,), 0, Stream.JUMP), atol=1e-4)


def stir(module: nn.Module) -> None:
    """Give every weight a value: networks begin with zeros where they end, and so say nothing."""
    draw = torch.Generator().manual_seed(1)
    for weight in module.parameters():
        weight.data = 0.3 * torch.randn(weight.shape, generator=draw)


class TestRollouts:
    SIZE = 16

    def rolled_out(self, learner: AdversarialLearner) -> tuple[Pairs, Pairs, Noise]:
        noise, batch = Noise(1, range(self.SIZE)), batch_of(POINTS.shape, self.SIZE)
        pairs = learner._pairs(batch.x0, noise, 3)
        return pairs, learner._rolled_out(learner._generator, pairs, None, noise, 3), noise

    @pytest.mark.parametrize("predict", ["x0", "x_s"])
    def test_the_generators_own_steps_lead_from_x_t_of_the_end_to_theirs(self, predict: Any) -> None:
        learner = learner_of(Adversarial(rollout=0.5, predict=predict, latent=4))
        stir(learner._generator)
        pairs, found, noise = self.rolled_out(learner)
        schedule = learner.recipe.schedule
        levels = [CLEAN, *(schedule.level((step + 1) / 4) for step in range(4))]
        for row in range(1, self.SIZE, 2):
            own = noise.of(torch.tensor([row]))
            x = own.normal((2,), 3, Stream.START)
            for step in range(3, int(pairs.place[row]), -1):
                z = own.normal((4,), 3 * 4 + step, Stream.ROLLOUT_LATENT)
                with torch.no_grad():
                    made = learner._generator.inner.believe(x, levels[step + 1], None, z)
                law = posterior(levels[step + 1], levels[step])
                fresh = own.normal((2,), 3 * 4 + step, Stream.ROLLOUT)
                x = made if predict == "x_s" else law.of_x0 * made + law.of_x * x + math.sqrt(law.var) * fresh
            assert torch.allclose(found.x_t[row], x[0], atol=1e-5)

    def test_d_sees_their_x_s_alone_and_the_others_stay_pairs(self) -> None:
        pairs, found, _ = self.rolled_out(learner_of(Adversarial(rollout=0.5)))
        assert torch.equal(found.x_t[::2], pairs.x_t[::2])
        assert torch.equal(found.beside[::2], pairs.x_t[::2])
        assert not found.beside[1::2].any()
        assert torch.equal(found.x_s, pairs.x_s)
        # Every step has its share of them, and all of them start where sampling does.
        assert torch.bincount(found.place[1::2]).tolist() == [2, 2, 2, 2]

    @pytest.mark.parametrize(("share", "count"), [(0.0, 0), (0.25, 4), (1.0, 16)])
    def test_so_many_as_the_share_says(self, share: float, count: int) -> None:
        learner = learner_of(Adversarial(rollout=share, score_weight=1.0))
        pairs, found, noise = self.rolled_out(learner)
        assert int((found.beside != pairs.beside).any(1).sum()) == count
        told = learner.step(batch_of(POINTS.shape, self.SIZE), noise=noise, index=0)
        # Only where there is a truth can a score be given.
        assert ("energy_score" in told) == (count < 16)
        assert math.isfinite(float(told["loss"]))

    def test_they_begin_at_the_prior(self) -> None:
        learner = learner_of(Adversarial(rollout=1.0, num_steps=1, prior=1, beta_max=1.0))
        learner.prior = Prior(1, POINTS.shape, 0)
        learner.prior.means += 50.0
        _, found, noise = self.rolled_out(learner)
        level = learner.recipe.schedule.level(1.0)
        assert torch.equal(found.x_t, learner.prior.draw(noise, POINTS.shape, level, None, 3))
        assert float(found.x_t.min()) > 20.0

    def test_held_out_items_are_judged_as_the_others_are(self) -> None:
        """By the generator that is asked about, where all of a batch is rolled out and D knows no pairs."""
        learner = learner_of(Adversarial(rollout=1.0))
        noise, batch = Noise(1, range(self.SIZE)), batch_of(POINTS.shape, self.SIZE)
        stir(learner._judge)
        other = learner_of(Adversarial(rollout=1.0))
        stir(other._generator)
        before = learner.loss(learner.denoiser, batch, noise=noise, index=0)
        told = learner.loss(other.denoiser, batch, noise=noise, index=0)
        other._judge.load_state_dict(learner._judge.state_dict())
        own = other.loss(other.denoiser, batch, noise=noise, index=0)
        assert torch.equal(told["fake_logit"], own["fake_logit"])
        assert float(told["fake_logit"]) != float(before["fake_logit"])
        pairs = learner._pairs(batch.x0, noise, 0)
        alone = learner._judge(pairs.x_s, torch.zeros_like(pairs.x_s), learner._tables.log_snr[pairs.place], None)
        assert float(told["real_logit"]) == pytest.approx(float(alone.detach().mean()), rel=1e-5)

    def test_labels_go_with_them(self) -> None:
        facts = dataclasses.replace(POINTS, num_classes=2)
        learner = learner_of(Adversarial(rollout=0.5), facts)
        noise, batch = Noise(1, range(8)), batch_of((2,), classes=2)
        pairs = learner._pairs(batch.x0, noise, 0)
        stir(learner._generator)
        generator, other = learner._generator, None if batch.labels is None else 1 - batch.labels
        one, two = (learner._rolled_out(generator, pairs, labels, noise, 0).x_t for labels in (batch.labels, other))
        moved = (one - two).abs().amax(1) > 1e-6
        assert moved.tolist() == [False, True, False, True, False, True, False, False]

    def test_few_of_many_steps_may_have_no_step_before_theirs(self) -> None:
        facts = DataFacts(shape=(1, 8, 8), num_classes=0, mean=0.0, std=1.0)
        learner = learner_of(Adversarial(rollout=0.5, num_steps=4), facts)
        noise, batch = Noise(1, range(2)), batch_of((1, 8, 8), 2)
        pairs = learner._pairs(batch.x0, noise, 0)
        found = learner._rolled_out(learner._generator, pairs, None, noise, 0)
        assert int((found.beside == 0.0).flatten(1).all(1).sum()) == 1

    def test_one_shot_has_none(self) -> None:
        with pytest.raises(ValueError, match="not possible in one shot"):
            learner_of(Adversarial(process="one_shot", rollout=0.5))


class Sampled(Denoiser):
    """The perfect generator of Gaussian data: its x0 is drawn from p(x0 | x), by its latent."""

    def __init__(self, std: float) -> None:
        super().__init__()
        self.std = std

    def forward(self, x: Tensor, level: Level, cond: Any = None, *, noise: Noise | None = None) -> Prediction:
        assert noise is not None
        alpha, sigma = level
        v = self.std**2 * alpha**2 + sigma**2
        z = noise.latent(x.shape[1])
        return from_x0(x, level, self.std**2 * alpha / v * x + self.std * sigma / math.sqrt(v) * z)


class TestWhyZ:
    @pytest.mark.parametrize(("steps", "std"), [(1, 1.0), (2, 1.0), (4, 1.0), (2, 0.5), (4, 2.0)])
    def test_without_z_the_spread_collapses_as_the_closed_form_says(self, steps: int, std: float) -> None:
        spread = self.spread(GaussianDenoiser(0.0, std), steps)
        levels = self.levels(steps)
        variance = levels[0].sigma ** 2
        for t, s in itertools.pairwise(levels):
            step = posterior(t, s)
            gain = std**2 * t.alpha / (std**2 * t.alpha**2 + t.sigma**2)
            variance = (step.of_x + step.of_x0 * gain) ** 2 * variance + step.var
        assert spread == pytest.approx(math.sqrt(variance), rel=0.03)
        assert spread < 0.95 * std
        if std == 1.0 and steps <= 2:
            assert spread == pytest.approx({1: 0.0066, 2: 0.27}[steps], abs=0.01)

    @pytest.mark.parametrize("steps", BETAS)
    @pytest.mark.parametrize("std", [0.5, 1.0])
    def test_with_z_it_is_the_datas_at_any_number_of_steps(self, steps: int, std: float) -> None:
        assert self.spread(Sampled(std), steps) == pytest.approx(std, rel=0.03)

    def levels(self, steps: int) -> list[Level]:
        return Betas.listed(BigSteps(num_steps=steps).betas().tolist()).levels(BigSteps(), steps)

    def spread(self, denoiser: Denoiser, steps: int) -> float:
        noise, levels = Noise(0, range(4000)), self.levels(steps)
        *_, last = Ancestral().run(denoiser, start(noise, (2,), levels[0]), levels, noise=noise)
        return float(last.x.std())


class TestPenalty:
    def test_its_gradient_is_that_of_finite_differences(self) -> None:
        torch.manual_seed(0)
        judge = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1)).double()
        x = torch.randn(4, 3, dtype=torch.float64)

        def penalty() -> Tensor:
            leaf = x.clone().requires_grad_()
            return gradient_penalty(judge(leaf).squeeze(1), leaf)

        value = penalty()
        slopes = torch.zeros(4, 3, dtype=torch.float64)
        for place in range(3):
            step = torch.zeros(3, dtype=torch.float64)
            step[place] = 1e-5
            slopes[:, place] = (judge(x + step) - judge(x - step)).squeeze(1).detach() / 2e-5
        assert float(value.detach()) == pytest.approx(float(slopes.square().sum(1).mean()), rel=1e-8)
        value.backward()
        weight = judge[0].weight
        assert weight.grad is not None
        for place in ((0, 0), (2, 1), (4, 2)):
            found = []
            for step in (1e-5, -1e-5):
                with torch.no_grad():
                    weight[place] += step
                found.append(float(penalty().detach()))
                with torch.no_grad():
                    weight[place] -= step
            assert float(weight.grad[place]) == pytest.approx((found[0] - found[1]) / 2e-5, rel=1e-5)

    def test_the_penalty_comes_at_its_interval_and_is_of_real_steps_alone(self) -> None:
        learner = learner_of(Adversarial(r1_every=3))
        told = [learner.step(batch_of((2,)), noise=Noise(0, range(8)), index=index) for index in range(7)]
        assert [index for index, found in enumerate(told) if "r1" in found] == [0, 3, 6]
        without = learner_of(Adversarial(r1=0.0))
        assert "r1" not in without.step(batch_of((2,)), noise=Noise(0, range(8)), index=0)


@pytest.mark.parametrize("loss", ["non_saturating", "hinge", "wasserstein"])
def test_one_alternation_equals_the_same_by_hand(loss: str) -> None:
    """D on real and made-up pairs with R1, then G against the new D with x_t, z and noise of its own."""
    recipe = Adversarial(latent=3, loss=loss, r1=0.7)  # type: ignore[arg-type]
    learner = learner_of(recipe)
    judge, generator = copy.deepcopy(learner._judge), copy.deepcopy(learner._generator)
    noise, x0 = Noise(2, range(8)), batch_of((2,)).x0
    found = learner.step(batch_of((2,)), noise=noise, index=0)

    bar = torch.tensor(np.concatenate([[1.0], np.cumprod(1.0 - BigSteps().betas())]), dtype=torch.float64)
    adams = [
        torch.optim.Adam(judge.parameters(), recipe.d_rate, (0.5, 0.9)),
        torch.optim.Adam(generator.parameters(), 1e-3, (0.9, 0.999)),
    ]

    def turn(draw: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """x_s, x_t, the log-SNR of x_t, and what G makes of it."""
        share = (torch.arange(8) + noise.uniform(draw, Stream.LEVEL)) / 8
        place = (4 * share).long()
        of_s, of_t = bar[place][:, None], bar[place + 1][:, None]
        x_s = of_s.sqrt() * x0 + (1 - of_s).sqrt() * noise.normal((2,), draw, Stream.EPS)
        x_t = (of_t / of_s).sqrt() * x_s + (1 - of_t / of_s).sqrt() * noise.normal((2,), draw, Stream.JUMP)
        x_s, x_t = x_s.float(), x_t.float()
        ratio = torch.log(of_t / (1 - of_t)).squeeze(1).float()
        level = Level(of_t.sqrt().squeeze(1).float(), (1 - of_t).sqrt().squeeze(1).float())
        made = generator.inner.believe(x_t, level, None, noise.normal((3,), draw, Stream.LATENT))
        beta = 1 - of_t / of_s
        mean = of_s.sqrt() * beta / (1 - of_t) * made + (1 - beta).sqrt() * (1 - of_s) / (1 - of_t) * x_t
        fake = mean + (beta * (1 - of_s) / (1 - of_t)).sqrt() * noise.normal((2,), draw, Stream.STEP)
        return x_s, x_t, ratio, fake.float()

    x_s, x_t, ratio, fake = turn(0)
    x_s.requires_grad_()
    real_logit, fake_logit = judge(x_s, x_t, ratio), judge(fake.detach(), x_t, ratio)
    (slope,) = torch.autograd.grad(real_logit.sum(), x_s, create_graph=True)
    penalty = slope.square().sum(1).mean()
    losses = {
        "non_saturating": -functional.logsigmoid(real_logit) - functional.logsigmoid(-fake_logit),
        "hinge": (1 - real_logit).clamp(min=0) + (1 + fake_logit).clamp(min=0),
        "wasserstein": fake_logit - real_logit,
    }
    adams[0].zero_grad()
    (losses[loss].mean() + 0.35 * penalty).backward()
    adams[0].step()
    assert float(found["d_loss"]) == pytest.approx(float(losses[loss].detach().mean()), rel=1e-4, abs=1e-6)
    assert float(found["r1"]) == pytest.approx(float(penalty.detach()), rel=1e-4)

    _, x_t, ratio, fake = turn(1)
    logit = judge(fake, x_t, ratio)
    own = (-functional.logsigmoid(logit) if loss == "non_saturating" else -logit).mean()
    adams[1].zero_grad()
    own.backward()
    adams[1].step()
    assert float(found["loss"]) == pytest.approx(float(own.detach()), rel=1e-4, abs=1e-6)
    for mine, theirs in ((judge, learner._judge), (generator, learner._generator)):
        for one, other in zip(mine.parameters(), theirs.parameters(), strict=True):
            assert torch.allclose(one, other, atol=2e-5)


def test_a_warm_start_teaches_the_mean_and_then_the_discriminator_learns_alone() -> None:
    """EDM's loss of x0 at levels between the recipe's own, without z; G waits for D; then it moves by a share."""
    learner = learner_of(Adversarial(warm_start=1, opening=1, game_rate=0.25))
    noise, batch = Noise(0, range(8)), batch_of((2,))
    level = Level(*(part[_evenly(noise, 1, BETWEEN)] for part in learner._tables.between))
    noisy = level.alpha[:, None] * batch.x0 + level.sigma[:, None] * noise.like(batch.x0, 1, Stream.EPS)
    with torch.no_grad():
        made = learner._generator.inner.believe(noisy, level, None)
    variance = level.sigma**2 / (level.alpha**2 + level.sigma**2)  # c_out squared, of unit data
    expected = ((made - batch.x0).square().mean(1) / variance).mean()
    warm = learner.step(batch, noise=noise, index=0)
    assert float(warm["loss"]) == pytest.approx(float(expected), rel=1e-4)
    assert "d_loss" not in warm
    before = [weight.detach().clone() for weight in learner.denoiser.parameters()]
    waiting = learner.step(batch, noise=noise, index=1)
    assert all(map(torch.equal, learner.denoiser.parameters(), before))
    assert float(waiting["loss"]) == pytest.approx(math.log1p(math.exp(-float(waiting["fake_logit"]))), rel=1e-2)
    assert_moves_by(0.25, learner, dataclasses.replace(learner.recipe, game_rate=1.0), index=2)


def test_the_levels_of_a_warm_start_reach_from_half_a_step_to_the_start_of_sampling() -> None:
    learner = learner_of(Adversarial(beta_max=7.0))
    alpha, sigma = learner._tables.between
    schedule = learner.recipe.schedule
    torch.testing.assert_close(alpha**2 + sigma**2, torch.ones(1000))
    assert (float(alpha[0]), float(alpha[-1])) == pytest.approx((schedule.flow(0.125).alpha, schedule.level(1.0).alpha))
    places = _evenly(Noise(0, range(8)), 3, BETWEEN)
    assert torch.equal(places // 125, torch.arange(8)), "each eighth has its share"


@pytest.mark.parametrize(
    ("warm", "opening", "expected"),
    [
        (0, 0, [(0, 2000)]),
        (300, 0, [(0, 300), (300, 1700)]),
        (0, 200, [(0, 200), (200, 1800)]),
        (1000, 500, [(0, 1000), (1000, 500), (1500, 500)]),
    ],
)
def test_a_run_is_told_in_spans_of_one_kind_of_step(warm: int, opening: int, expected: list[tuple[int, int]]) -> None:
    assert Adversarial(warm_start=warm, opening=opening).spans(2000) == expected


def assert_moves_by(share: float, learner: AdversarialLearner, other: Adversarial, index: int) -> None:
    """Step ``index`` moves the generator by a share of what it does under another recipe."""
    before = [weight.detach().clone() for weight in learner.denoiser.parameters()]
    whole = copy.deepcopy(learner)
    whole.recipe = other
    for each in (learner, whole):
        each.set_rates(1.0, index)
        each.step(batch_of((2,)), noise=Noise(0, range(8)), index=index)
    moved, fully = (
        [weight.detach() - old for weight, old in zip(each.denoiser.parameters(), before, strict=True)]
        for each in (learner, whole)
    )
    for part, all_of_it in zip(moved, fully, strict=True):
        assert torch.allclose(part, share * all_of_it, atol=1e-6)


def test_the_rate_of_a_warm_start_falls_to_its_end() -> None:
    learner = learner_of(Adversarial(warm_start=1000))
    assert_moves_by(0.75, learner, dataclasses.replace(learner.recipe, warm_start=10_000_000), index=250)


def test_the_energy_score_opens_z() -> None:
    """D learns beside it, and z's own weights move down the energy score, with the z that the mean knows nothing of."""
    learner = learner_of(Adversarial(warm_start=1, opening=1, score_weight=0.5))
    noise, batch = Noise(0, range(8)), batch_of((2,))
    first = learner.step(batch, noise=noise, index=0)
    pairs = learner._pairs(batch.x0, noise, 3)
    with torch.no_grad():
        made = learner._make(learner._generator, pairs.x_t, pairs.level, None, learner._z(noise, 3))
        expected = learner._energy_score(made, batch.x0, pairs, None, noise, 3).mean()
    told = learner.step(batch, noise=noise, index=1)
    assert "energy_score" not in first
    assert float(told["loss"]) == float(told["energy_score"]) == pytest.approx(float(expected), rel=1e-6)
    assert "d_loss" in told
    without = learner_of(Adversarial(warm_start=1, opening=1, score_weight=0.5, latent=0))
    assert "energy_score" not in without.step(batch, noise=noise, index=1)


@pytest.mark.parametrize("shape", [(2,), (1, 8, 8)])
def test_the_opening_moves_the_weights_of_z_alone(shape: tuple[int, ...]) -> None:
    """A warm start leaves z's mapping as it was, the opening leaves everything else."""
    facts = DataFacts(shape=shape, num_classes=0, mean=0.0, std=1.0)
    learner = learner_of(Adversarial(warm_start=3, opening=2, score_weight=1.0, d_width=8), facts)
    weights, moved = dict(learner.denoiser.named_parameters()), []
    for index in range(5):
        before = {name: weight.detach().clone() for name, weight in weights.items()}
        learner.step(batch_of(shape), noise=Noise(0, range(8)), index=index)
        moved.append({name for name, weight in weights.items() if not torch.equal(weight, before[name])})
    assert all("mapping" not in name for names in moved[:3] for name in names)
    assert moved[3] | moved[4] == {name for name in weights if "mapping" in name or "style" in name}


def test_one_shot_has_no_mean_to_begin_with() -> None:
    recipe = Adversarial(process="one_shot", warm_start=5)  # a file may say so, and can be opened
    with pytest.raises(ValueError, match="not possible in one shot"):
        learner_of(recipe)


def test_an_opening_is_no_game_that_could_go_wrong() -> None:
    """D may be right for as long as it learns alone; what follows is judged from the game's first step on."""
    learner = learner_of(Adversarial(opening=500))
    winning = {"d_right": 1.0, "d_loss": 0.01, "real_logit": 9.0, "fake_logit": -9.0, "loss": 9.0}
    assert [learner.complaint(step, winning) for step in range(10, 510, 10)] == [None] * 50
    told = [learner.complaint(step, winning) for step in range(510, 1510, 10)]
    assert told[0] is None
    assert any(told)


def test_z_only_whispers_until_it_is_opened() -> None:
    share = {}
    for name, recipe in {
        "fresh": Adversarial(),
        "to be opened": Adversarial(opening=5, score_weight=1.0),
        "never opened": Adversarial(warm_start=5),
    }.items():
        (mapping,), _ = latent_parts(learner_of(recipe).denoiser)
        share[name] = float(mapping(Noise(0, range(200)).normal((32,), 0)).detach().std())
    assert share["to be opened"] / share["fresh"] == pytest.approx(0.02, rel=0.1)
    assert share["never opened"] / share["fresh"] == pytest.approx(0.2, rel=0.1)


@pytest.mark.parametrize("share", [1.0, 0.5])
def test_the_energy_score_is_the_one_by_hand(share: float) -> None:
    """Half the mean distance of two draws is taken off their distance to the truth, over the whole and its patches."""
    facts = DataFacts(shape=(1, 8, 8), num_classes=0, mean=0.0, std=1.0)
    learner = learner_of(Adversarial(latent=4, d_width=8, score_spread=share), facts)
    noise, x0 = Noise(0, range(4)), batch_of((1, 8, 8), 4).x0
    pairs = learner._pairs(x0, noise, 3)

    def believe(stream: Stream) -> Tensor:
        return learner._generator.inner.believe(pairs.x_t, pairs.level, None, noise.normal((4,), 3, stream))

    def apart(a: Tensor, b: Tensor) -> Tensor:
        square = (a - b).square()[:, 0]
        patches = [square[:, i : i + 4, j : j + 4].flatten(1).mean(1).sqrt() for i in (0, 4) for j in (0, 4)]
        whole = square.flatten(1).mean(1).sqrt()
        return (whole + sum(patches) / 4 + whole) / 3  # a patch of 8 pixels is the whole

    with torch.no_grad():
        one, other = believe(Stream.LATENT), believe(Stream.OTHER_LATENT)
        expected = 0.5 * (apart(one, x0) + apart(other, x0)) - 0.5 * share * apart(one, other)
        c_out = pairs.level.sigma / (pairs.level.alpha**2 + pairs.level.sigma**2).sqrt()
        found = learner._energy_score(one, x0, pairs, None, noise, 3)
    assert torch.allclose(found, expected / c_out, rtol=1e-4)


KNOBS: dict[str, dict[str, Any]] = {
    **{f"T = {steps}": {"num_steps": steps} for steps in BETAS},
    "x_s": {"predict": "x_s"},
    "noise": {"predict": "noise"},
    "no z": {"latent": 0},
    "one shot": {"process": "one_shot"},
    "hinge": {"loss": "hinge"},
    "wasserstein": {"loss": "wasserstein"},
    "warm": {"warm_start": 2, "game_rate": 0.1},
    "warm, x_s, opening": {"warm_start": 1, "opening": 1, "predict": "x_s", "score_weight": 0.5},
    "opening, no z": {"opening": 2, "latent": 0, "score_weight": 0.5},
    "energy score": {"score_weight": 0.5},
    "Muon for D": {"d_muon_rate": 0.01},
    "less noise, nobody compared": {"beta_max": 7.0, "group": 1},
    "energy score, x_s, no z": {"score_weight": 0.5, "predict": "x_s", "latent": 0},
}


@pytest.mark.parametrize("knobs", KNOBS.values(), ids=KNOBS)
def test_every_ablation_trains_and_is_sampled_its_own_way(tmp_path: Path, knobs: dict[str, Any]) -> None:
    recipe = Adversarial(**{"latent": 4, "d_width": 8, **knobs})
    config = TrainConfig(
        data=Gaussians25(num_points=500),
        network=SMALL_POINTS,
        recipe=recipe,
        run=RunKnobs(steps=4, batch=16, preview_every=0.0),
    )
    told = [event for event in Trainer(config, Run(tmp_path / "run")).run(Unhurried()) if event is not None]
    assert isinstance(told[-1], events.Saved)
    model = load(Run(tmp_path / "run").model, CPU)
    spec = own_spec(model.recipe).at(count=5)
    *_, last = sample(subject_of(model), spec, CPU)
    steps = 1 if knobs.get("process") == "one_shot" else recipe.num_steps
    assert (last.total, last.nfe, recipe.own_steps) == (steps, steps, steps)
    assert last.x.isfinite().all()


SHAPES = {"digits": (1, 28, 28), "colour": (3, 32, 32), "odd": (3, 9, 14), "plane": (2,), "line": (1,)}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("classes", [0, 3])
def test_it_learns_from_items_of_any_shape(shape: tuple[int, ...], classes: int) -> None:
    facts = DataFacts(shape=shape, num_classes=classes, mean=0.0, std=1.0)
    learner = learner_of(Adversarial(d_width=8, latent=4), facts)
    before = [weight.clone() for weight in learner.denoiser.parameters()]
    batch = batch_of(shape, 6, classes)
    for index in range(2):
        found = learner.step(batch, noise=Noise(0, range(6)), index=index)
    assert all(bool(value.isfinite().all()) for value in found.values())
    assert any(not torch.equal(one, other) for one, other in zip(before, learner.denoiser.parameters(), strict=True))
    held = learner.loss(learner.denoiser, batch, noise=Noise(9, range(6)), index=0)
    assert set(held) == {"loss", "real_logit", "fake_logit"}


def test_stacked_digits_have_three_channels(tmp_path: Path) -> None:
    config = TrainConfig(
        data=StackedMNIST(),
        network=SMALL_IMAGES,
        recipe=Adversarial(d_width=8, latent=4),
        run=RunKnobs(steps=1, batch=4, preview_every=0.0),
    )
    trainer = Trainer(config, Run(tmp_path / "run"))
    trainer.train_step()
    assert trainer.facts.shape[0] == 3


@pytest.mark.parametrize("data", ["points", "images", "in a warm start", "while z opens"])
def test_stopping_and_resuming_equals_not_stopping(tmp_path: Path, data: str) -> None:
    config = TrainConfig(
        data=Gaussians25(num_points=500),
        network=SMALL_POINTS,
        recipe=Adversarial(d_width=8, latent=4, r1_every=2),
        run=RunKnobs(steps=8, batch=16, preview_every=0.0),
    )
    if data == "images":
        network = UNetSpec(width=8, depth=2)
        config = dataclasses.replace(config, data=StackedMNIST(), network=network, run=RunKnobs(steps=4, batch=4))
    elif data != "points":
        # Stopped at step 4, of a warm start of 5 or in an opening from 2 to 6.
        warm, opening = (5, 2) if data == "in a warm start" else (2, 4)
        recipe = dataclasses.replace(config.recipe, warm_start=warm, opening=opening, score_weight=1.0)
        config = dataclasses.replace(config, recipe=recipe)
    whole = Trainer(config, Run(tmp_path / "whole"))
    list(whole.run(Unhurried()))
    first = Trainer(config, Run(tmp_path / "parts"))
    list(first.run(StopAt(first, config.run.steps // 2)))
    second = Trainer(config, Run(tmp_path / "parts"), resumes=True)
    list(second.run(Unhurried()))
    assert second.step == whole.step == config.run.steps
    for name, module in whole._modules().items():
        other = second._modules()[name]
        for one, two in zip(module.parameters(), other.parameters(), strict=True):
            assert torch.equal(one, two)
    assert "companion" in whole._modules()


def test_z_and_seed_determine_the_picture_at_any_batch_size() -> None:
    facts = DataFacts(shape=(1, 8, 8), num_classes=0, mean=0.0, std=1.0)
    learner = learner_of(Adversarial(latent=4, d_width=8), facts)
    with torch.no_grad():
        for weight in learner.denoiser.parameters():
            weight.add_(0.05 * torch.sin(torch.arange(weight.numel(), dtype=torch.float32)).view_as(weight))
    levels = Betas.listed(BigSteps().betas().tolist()).levels(BigSteps(), 4)

    def drawn(indices: range, given: dict[Any, Tensor] | None = None) -> Tensor:
        noise = Noise(3, indices, given=given)
        *_, last = Ancestral().run(learner.denoiser, start(noise, (1, 8, 8), levels[0]), levels, noise=noise)
        return last.x

    together = drawn(range(5))
    assert torch.allclose(torch.cat([drawn(range(2)), drawn(range(2, 5))]), together, atol=1e-5)
    z = Noise(11, range(5)).normal((4,), 0, Stream.LATENT)
    held = drawn(range(5), {(Stream.LATENT, 1): z})
    assert (held - together).abs().max() > 1e-3
    assert torch.allclose(held, drawn(range(5), {(Stream.LATENT, 1): z}))
    assert torch.allclose(drawn(range(3, 4), {(Stream.LATENT, 1): z[3:4]}), held[3:4], atol=1e-5)


def test_a_direct_generators_step_lands_on_what_it_says() -> None:
    """DDIM with eta = 0 over its own levels arrives at the generator's x_s, whatever x0 that stands for."""
    recipe = Adversarial(predict="x_s", latent=0)
    denoiser = learner_of(recipe).denoiser
    assert isinstance(denoiser, Direct)
    spec = own_spec(recipe)
    levels = spec.grid.levels(recipe.schedule, 4)
    noise = Noise(0, range(6))
    walked = list(spec.sampler.run(denoiser, start(noise, (2,), levels[0]), levels, noise=noise))
    for before, after in itertools.pairwise(walked):
        with torch.no_grad():
            said = denoiser.inner.generate(before.x, before.level, None, None)
        assert torch.allclose(after.x, said, atol=1e-4)


def test_a_generator_without_noise_says_what_it_lacks() -> None:
    denoiser = learner_of(Adversarial()).denoiser
    assert isinstance(denoiser, Latent)
    with pytest.raises(ValueError, match="draws a latent z at every step"):
        denoiser(torch.zeros(2, 2), Level(0.5, 0.5))


class TestDiscriminator:
    def test_it_sees_both_ends_the_level_and_the_class(self) -> None:
        judge = discriminator((1, 8, 8), 3, 8, group=4)
        x_s, x_t = (Noise(seed, range(4)).normal((1, 8, 8), 0) for seed in (0, 1))
        plain = (x_s, x_t, torch.zeros(4), torch.zeros(4, dtype=torch.int64))
        other = (x_t, x_s, torch.ones(4), torch.ones(4, dtype=torch.int64))
        found = judge(*plain)
        assert found.shape == (4,)
        for place in range(4):
            changed = [*plain[:place], other[place], *plain[place + 1 :]]
            assert not torch.allclose(judge(*changed), found)

    @pytest.mark.parametrize("shape", [(1, 8, 8), (2,)])
    def test_muon_takes_its_hidden_matrices_and_adam_all_else(self, shape: tuple[int, ...]) -> None:
        facts = DataFacts(shape=shape, num_classes=3, mean=0.0, std=1.0)
        learner = learner_of(Adversarial(d_width=8, d_muon_rate=0.01), facts)
        muon, adam = learner._judge_optimizers
        names = {id(weight): name for name, weight in learner._judge.named_parameters()}
        taken, left = ([names[id(weight)] for weight in each.param_groups[0]["params"]] for each in (muon, adam))
        assert sorted(taken + left) == sorted(names.values())
        assert {name.split(".")[0] for name in taken} == {"blocks", "leave"}
        assert not any(name.endswith("bias") for name in taken)
        assert {name.split(".")[0] for name in left} >= {"enter", "head", "embedding"}

    def test_the_spread_of_a_group_is_one_more_channel(self) -> None:
        x = torch.tensor([[0.0], [1.0], [4.0], [1.0]])
        found = with_spread(x, group=2)
        # Items half a batch apart make a group: (0, 4) and (1, 1).
        assert torch.allclose(found[:, 1], torch.tensor([2.0, 1e-4, 2.0, 1e-4]), atol=1e-5)
        assert with_spread(torch.zeros(5, 3, 2, 2), 4).shape == (5, 4, 2, 2)
        assert torch.allclose(with_spread(x, group=1)[:, 1], torch.tensor(1e-4))


class TestBalance:
    def test_it_reaches_the_person_during_a_training(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("studio.core.recipes.balance.PATIENCE", 2)
        signs = tuple(sign._replace(low=1e9) for sign in SIGNS if sign.word == "Modes lost")
        monkeypatch.setattr("studio.core.recipes.balance.SIGNS", signs)
        monkeypatch.setattr("studio.core.trainer.REPORT_SECONDS", 0.0)
        config = TrainConfig(
            data=Gaussians25(num_points=500),
            network=SMALL_POINTS,
            recipe=Adversarial(d_width=8),
            run=RunKnobs(steps=8, batch=16, preview_every=0.0),
        )
        told = list(Trainer(config, Run(tmp_path / "run")).run(Unhurried()))
        (warned,) = (event for event in told if isinstance(event, events.Warned))
        assert "lost modes" in warned.summary


def test_levels_of_its_own_steps_reach_the_network_as_trained() -> None:
    """The betas that a run visits stand for the very levels that training met."""
    learner = learner_of(Adversarial())
    levels = own_spec(Adversarial()).grid.levels(BigSteps(), 4)[:-1]
    visited = [float(log_snr(level)) for level in levels]
    assert visited == pytest.approx(learner._tables.log_snr.flip(0).tolist(), abs=1e-4)
