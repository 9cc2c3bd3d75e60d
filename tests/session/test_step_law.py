"""One step of 1-D data: the exact law, the Gaussians and the generator's draws, out of real checkpoints."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from studio.core import events
from studio.core.config import RunKnobs, TrainConfig
from studio.core.data.base import Mixture
from studio.core.data.points import Mixture1D, SwissRoll
from studio.core.denoisers import Latent
from studio.core.exact import MixtureDenoiser
from studio.core.levels import Level, log_snr, posterior
from studio.core.metrics.density import log_density
from studio.core.networks.mlp import MLPSpec
from studio.core.noise import Noise
from studio.core.optimizers import AdamSpec
from studio.core.recipes.adversarial import Adversarial
from studio.core.recipes.base import Recipe
from studio.core.recipes.denoising import Denoising
from studio.core.runs import Run
from studio.core.schedules import BigSteps
from studio.session.control import Control
from studio.session.jobs import TrainJob, load_model
from studio.session.step_distribution import StepJob, StepOf, _shares

DATA = Mixture1D()


def trained(folder: Path, recipe: Recipe, data: Mixture1D | SwissRoll = DATA, steps: int = 3) -> Path:
    config = TrainConfig(
        data=data,
        recipe=recipe,
        network=MLPSpec(width=32, blocks=1),
        optimizer=AdamSpec(),
        run=RunKnobs(steps=steps, batch=64, preview_every=0.0),
    )
    run = Run(folder)
    list(TrainJob(config, run)(Control()))
    return run.model


def laws(job: StepJob) -> list[events.StepLaw]:
    return [event for event in job(Control()) if isinstance(event, events.StepLaw)]


def exact_mean(x: float, t: Level) -> float:
    oracle = MixtureDenoiser(*(torch.from_numpy(part) for part in DATA.components()))
    return float(oracle(torch.tensor([[x]], dtype=torch.float64), t).x0)


def test_a_generator_is_drawn_beside_the_exact_law_and_its_gaussians(tmp_path: Path) -> None:
    path = trained(tmp_path, Adversarial(num_steps=4, d_width=8))
    job = StepJob(path, 0.3, (StepOf(4, 2), StepOf(1000, 500)), seed=3, count=2000)
    large, small = laws(job)
    schedule = BigSteps(num_steps=4)
    t, s = schedule.level(0.5), schedule.level(0.25)
    assert large.log_snr == pytest.approx((log_snr(t), log_snr(s)))
    assert small.log_snr[0] == pytest.approx(large.log_snr[0], rel=1e-9), "both start from the same level"
    assert large.exact.sum() * (large.x[1] - large.x[0]) == pytest.approx(1.0, abs=1e-3)
    jump = posterior(t, s)
    assert large.gaussian[0] == pytest.approx(jump.of_x * 0.3 + jump.of_x0 * exact_mean(0.3, t), abs=1e-9)
    assert large.gaussian[1] == pytest.approx(jump.var**0.5)
    assert large.best[0] == pytest.approx(large.gaussian[0]), "a DDPM has the right mean, and too small a variance"
    assert large.best[1] > large.gaussian[1]
    assert not large.own_mean
    assert small.drawn is None, "no generator knows a step of a thousand"
    assert small.distances["gaussian"] < 0.02 < large.distances["gaussian"]

    # The draws are those of the sampler: x0 of a z each, noised by the posterior.
    generator = load_model(path, torch.device("cpu")).denoiser
    assert isinstance(generator, Latent)
    noise, x = Noise(3, range(2000)), torch.full((2000, 1), 0.3)
    with torch.no_grad():
        x0 = generator(x, t, torch.full((2000,), -1), noise=noise).x0
    x_s = (jump.of_x * x + jump.of_x0 * x0 + jump.var**0.5 * noise.like(x, 0))[:, 0].numpy()
    expected = np.histogram(x_s, large.edges)[0] / (2000 * np.diff(large.edges))
    assert large.drawn is not None
    np.testing.assert_allclose(large.drawn, expected, atol=1e-9)
    assert laws(job)[0].distances == large.distances, "the same seed draws the same"


def test_a_ddpm_steps_by_its_own_mean(tmp_path: Path) -> None:
    path = trained(tmp_path, Denoising())
    (law,) = laws(StepJob(path, -0.5, (StepOf(4, 3),)))
    model = load_model(path, torch.device("cpu"))
    t, s = model.recipe.schedule.level(0.75), model.recipe.schedule.level(0.5)
    with torch.no_grad():
        believed = float(model.denoiser(torch.tensor([[-0.5]]), t, torch.tensor([-1])).x0)
    jump = posterior(t, s)
    assert law.own_mean
    assert law.gaussian[0] == pytest.approx(jump.of_x * -0.5 + jump.of_x0 * believed, abs=1e-6)
    assert law.drawn is None
    assert set(law.distances) == {"gaussian", "best"}


def test_the_last_step_of_a_ddpm_is_a_point(tmp_path: Path) -> None:
    (law,) = laws(StepJob(trained(tmp_path, Denoising()), 0.1, (StepOf(1, 1),)))
    assert law.log_snr[1] == float("inf")
    assert law.gaussian[1] == 0.0
    assert law.distances["gaussian"] > 0.8
    expected = np.exp(log_density(law.x[:, None], DATA.components()))
    np.testing.assert_allclose(law.exact, expected, rtol=0.1, atol=0.01, err_msg="noise tells nearly nothing")


def test_data_without_a_line_are_refused(tmp_path: Path) -> None:
    path = trained(tmp_path, Denoising(), SwissRoll(num_points=500))
    with pytest.raises(ValueError, match="one dimension"):
        laws(StepJob(path, 0.0, (StepOf(4, 2),)))


def test_the_shares_of_cells_are_those_of_many_draws() -> None:
    law = DATA.components()
    edges = np.linspace(-3.2, 3.2, 17)
    shares = _shares(law, edges)
    draws = DATA.sample(np.random.default_rng(0), 200_000)[0][:, 0]
    np.testing.assert_allclose(shares[:-1], np.histogram(draws, edges)[0] / 200_000, atol=0.004)
    assert shares.sum() == pytest.approx(1.0)
    point = _shares(Mixture(np.ones(1), np.array([[0.1]]), np.zeros(1)), edges)
    assert point.max() == pytest.approx(1.0)
