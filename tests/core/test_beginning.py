"""A training that starts from a trained model's weights."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from train_controls import StopAt, Unhurried

from studio.core.checkpoints.native import load
from studio.core.checkpoints.places import locate
from studio.core.config import RunKnobs, TrainConfig
from studio.core.data.points import Gaussians8, Gaussians25, Mixture1D
from studio.core.denoisers import innermost
from studio.core.exact import GaussianDenoiser
from studio.core.levels import Level
from studio.core.networks.layers import latent_parts
from studio.core.networks.mlp import MLPSpec
from studio.core.networks.unet import UNetSpec
from studio.core.noise import Noise
from studio.core.optimizers import AdamSpec
from studio.core.recipes.adversarial import Adversarial
from studio.core.recipes.denoising import Denoising
from studio.core.runs import Run
from studio.core.trainer import Trainer

CPU = torch.device("cpu")
GAN = Adversarial(latent=4, d_width=8, opening=2, score_weight=1.0)


def config(**changes: Any) -> TrainConfig:
    plain = TrainConfig(
        title="Eight",
        data=Gaussians8(num_points=500),
        recipe=Denoising(),
        network=MLPSpec(width=16, blocks=1),
        optimizer=AdamSpec(learning_rate=0.05),
        run=RunKnobs(steps=4, batch=16, preview_every=0.0),
    )
    return dataclasses.replace(plain, **changes)


def starting_from(source: Path | str, **changes: Any) -> TrainConfig:
    run = RunKnobs(steps=4, batch=16, warmup=0, preview_every=0.0, start_from=str(source))
    return config(run=run, **changes)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A short training of a plain denoiser."""
    run = Run(tmp_path_factory.mktemp("source") / "run")
    list(Trainer(config(), run).run(Unhurried()))
    return run


def test_it_begins_with_the_averaged_weights(tmp_path: Path, source: Run) -> None:
    trainer = Trainer(starting_from(source.folder), Run(tmp_path / "run"))
    theirs = load(source.model, CPU).denoiser.state_dict()
    for denoiser in (trainer.learner.denoiser, trainer.ema.average):
        own = denoiser.state_dict()
        assert all(torch.equal(own[name], weight) for name, weight in theirs.items())
    assert trainer.step == 0


@pytest.mark.parametrize("network", ["points", "images"])
def test_a_generator_begins_as_the_denoiser_that_it_starts_from(tmp_path: Path, source: Run, network: str) -> None:
    """Until training gives z a voice, x0 is the denoiser's but for a whisper."""
    word, changes = str(source.model), {}
    if network == "images":
        word = "mnist-ddpm"
        changes = {"data": TrainConfig().data, "network": UNetSpec()}
    trainer = Trainer(starting_from(word, recipe=GAN, **changes), Run(tmp_path / "run"))
    plain = load(source.model, CPU) if network == "points" else load(locate(word), CPU)
    x = torch.randn(4, *plain.shape)
    level, labels = Level(torch.full((4,), 0.6), torch.full((4,), 0.8)), torch.tensor([0, 1, 2, -1])
    with torch.no_grad():
        expected = plain.denoiser(x, level, labels).x0
        for seed in (0, 1):
            found = trainer.learner.denoiser(x, level, labels, noise=Noise(seed, range(4))).x0
            assert (found - expected).square().mean().sqrt() < 0.02


@pytest.mark.parametrize("changes", [{}, {"opening": 0, "score_weight": 0.0}, {"opening": 5}], ids=str)
def test_it_continues_exactly_without_the_model_that_it_started_from(
    tmp_path: Path, source: Run, changes: dict[str, Any]
) -> None:
    moved = tmp_path / "moved.safetensors"
    moved.write_bytes(source.model.read_bytes())
    run = RunKnobs(steps=6, batch=16, preview_every=0.0, start_from=str(moved))
    plan = config(run=run, recipe=dataclasses.replace(GAN, **changes))
    whole = Trainer(plan, Run(tmp_path / "whole"))
    list(whole.run(Unhurried()))
    parts = Run(tmp_path / "parts")
    first = Trainer(plan, parts)
    list(first.run(StopAt(first, 3)))
    moved.unlink()
    again = Trainer(plan, parts, resumes=True)
    list(again.run(Unhurried()))
    assert (first.step, again.step) == (3, 6)
    for name, module in whole._modules().items():
        for one, other in zip(module.parameters(), again._modules()[name].parameters(), strict=True):
            assert torch.equal(one, other)


def test_z_counts_as_much_as_the_recipe_lets_an_untaught_one(tmp_path: Path, source: Run) -> None:
    """Hardly where the energy score will open it, else enough for the game to take it up."""
    heard = []
    for number, changes in enumerate(({}, {"score_weight": 0.0}, {"opening": 0})):
        plan = starting_from(source.folder, recipe=dataclasses.replace(GAN, **changes))
        (mapping,), _ = latent_parts(Trainer(plan, Run(tmp_path / str(number))).learner.denoiser)
        with torch.no_grad():
            heard.append(float(mapping(torch.randn(200, 4)).std()))
    assert heard[1] / heard[0] == pytest.approx(10.0, rel=0.2)
    assert heard[2] / heard[1] == pytest.approx(1.0, rel=0.2)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"data": Mixture1D()}, "knows items of 2 numbers, these data are 1 numbers"),
        ({"data": Gaussians25(num_points=500)}, "knows 8 classes, these data have"),
        ({"network": MLPSpec(width=32, blocks=1)}, "has width = 16 where this one has 32"),
        ({"recipe": Denoising(parameterization="eps")}, "taught to predict something else"),
        ({"recipe": Adversarial(predict="x_s")}, "taught to predict something else"),
    ],
)
def test_a_model_that_does_not_fit_is_refused(tmp_path: Path, source: Run, changes: Any, words: str) -> None:
    with pytest.raises(ValueError, match=f"start_from = .* does not fit: .*{words}"):
        Trainer(starting_from(source.folder, **changes), Run(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_latent_of_another_size_is_refused(tmp_path: Path) -> None:
    run = Run(tmp_path / "gan")
    list(Trainer(config(recipe=GAN), run).run(Unhurried()))
    with pytest.raises(ValueError, match="a latent of 4 numbers and this recipe one of 8"):
        Trainer(starting_from(run.folder, recipe=dataclasses.replace(GAN, latent=8)), Run(tmp_path / "run"))
    with pytest.raises(ValueError, match="a latent of 4 numbers and this recipe one of 0"):
        Trainer(starting_from(run.folder), Run(tmp_path / "run"))
    assert Trainer(starting_from(run.folder, recipe=GAN), Run(tmp_path / "run")).step == 0


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"is not there.*leave start_from empty"):
        Trainer(starting_from("nowhere"), Run(tmp_path / "run"))
    (tmp_path / "x.safetensors").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="no checkpoint"):
        Trainer(starting_from(tmp_path / "x.safetensors"), Run(tmp_path / "run"))


def test_a_denoiser_without_a_network_has_none_within() -> None:
    with pytest.raises(TypeError, match="no network within"):
        innermost(GaussianDenoiser(0.0, 1.0))
