"""The fitted prior: its moments are the data's, its classes are kept apart, and it goes with its model."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor
from train_controls import StopAt, Unhurried

from studio.core import events
from studio.core.checkpoints import native
from studio.core.checkpoints.header import NotACheckpoint
from studio.core.checkpoints.native import load
from studio.core.checkpoints.resume import load_resume
from studio.core.config import RunKnobs, TrainConfig
from studio.core.data.base import Dataset
from studio.core.data.points import Gaussians25
from studio.core.denoisers import NO_CLASS
from studio.core.exact import MixtureDenoiser
from studio.core.grids import Betas
from studio.core.levels import Level
from studio.core.networks.mlp import MLPSpec
from studio.core.noise import Noise, Stream
from studio.core.optimizers import AdamSpec
from studio.core.prior import Prior, fit
from studio.core.recipes.adversarial import Adversarial
from studio.core.recipes.base import DataFacts
from studio.core.runs import Run
from studio.core.samplers.ddim import DDIM
from studio.core.sampling import SampleKnobs, SampleSpec, Subject, sample, subject_of
from studio.core.schedules import Linear
from studio.core.snapshots import found_in
from studio.core.trainer import Trainer

CPU = torch.device("cpu")
HALF_GONE = Level(0.6, 0.8)


def dataset_of(train: np.ndarray, labels: Sequence[int] | np.ndarray | None = None, classes: int = 0) -> Dataset:
    train = train.astype(np.float32)
    known = None if labels is None else np.asarray(labels, np.int64)
    return Dataset(
        name="made",
        title="Made",
        kind="points",
        train=train,
        train_labels=known,
        test=train[:1],
        test_labels=None if known is None else known[:1],
        class_names=tuple(f"class {number}" for number in range(classes)),
        licence="none",
        source="this test",
    )


def fitted(dataset: Dataset, components: int) -> Prior:
    prior = Prior(components, dataset.shape, dataset.num_classes)
    assert len(list(fit(prior, dataset))) >= components * max(dataset.num_classes, 1)
    return prior


def gaussian(size: int, count: int, seed: int = 0) -> np.ndarray:
    draw = np.random.default_rng(seed)
    mixing = draw.normal(size=(size, size)) * np.geomspace(1.0, 0.05, size)
    return draw.normal(size=(count, size)) @ mixing.T + draw.normal(size=size)


def affine_map(prior: Prior, size: int, level: Level) -> tuple[Tensor, Tensor]:
    """What ``draw`` makes of the noise, of one component: x = shift + matrix eps, as (D,) and (D, D)."""
    ends = torch.cat([torch.zeros(1, size), torch.eye(size)])
    made = prior.draw(Noise(0, [0] * (size + 1), given={(Stream.START, 0): ends}), (size,), level, None)
    return made[0], (made[1:] - made[0]).T


class TestOneComponent:
    @pytest.mark.parametrize("level", [HALF_GONE, Level(1.0, 2.0), Level(0.05, 0.9987)], ids=["half", "VE", "noise"])
    def test_its_moments_are_those_of_the_noised_data(self, level: Level) -> None:
        items = gaussian(5, 400)
        shift, matrix = affine_map(fitted(dataset_of(items), 1), 5, level)
        covariance = level.alpha**2 * np.cov(items.T, bias=True) + level.sigma**2 * np.eye(5)
        np.testing.assert_allclose(shift, level.alpha * items.mean(0), atol=2e-3)
        np.testing.assert_allclose(matrix @ matrix.T, covariance, atol=5e-3, rtol=5e-3)

    def test_of_many_dimensions_each_direction_keeps_its_variance(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("studio.core.prior.BASIS", 20)
        monkeypatch.setattr("studio.core.prior.FACTORS", 6)
        items, size = gaussian(40, 3000), 40
        prior = fitted(dataset_of(items), 1)
        _, matrix = affine_map(prior, size, Level(1.0, 0.01))
        true, made = torch.from_numpy(np.cov(items.T, bias=True)).float(), matrix @ matrix.T
        basis = prior.basis
        along = torch.diagonal(basis.T @ true @ basis)
        np.testing.assert_allclose(torch.diagonal(basis.T @ made @ basis), along, rtol=0.02)
        assert float(made.trace()) == pytest.approx(float(true.trace()), rel=0.01)
        # The first factors are the covariance's own, and nothing across the basis is like anything along it.
        np.testing.assert_allclose(
            np.linalg.eigvalsh(made.numpy())[::-1][:3], np.linalg.eigvalsh(true.numpy())[::-1][:3], rtol=0.02
        )
        across = torch.eye(size) - basis @ basis.T
        np.testing.assert_allclose(across @ made @ basis, np.zeros((size, 20)), atol=0.01)

    def test_fewer_items_than_directions(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("studio.core.prior.BASIS", 60)
        items = gaussian(100, 33)
        _, matrix = affine_map(fitted(dataset_of(items), 1), 100, Level(1.0, 0.1))
        covariance = np.cov(items.T, bias=True) + 0.01 * np.eye(100)
        np.testing.assert_allclose(matrix @ matrix.T, covariance, atol=0.02 * covariance.max())

    def test_of_a_point_it_is_plain_noise_around_it(self) -> None:
        shift, matrix = affine_map(fitted(dataset_of(np.full((100, 3), 2.0)), 4), 3, HALF_GONE)
        np.testing.assert_allclose(shift, np.full(3, 1.2), atol=1e-3)
        np.testing.assert_allclose(matrix, 0.8 * np.eye(3), atol=1e-3)

    def test_images_are_taken_in_the_models_range(self) -> None:
        shape = (1, 4, 4)
        pixels = np.random.default_rng(0).integers(0, 256, (300, *shape), dtype=np.uint8)
        data = dataclasses.replace(dataset_of(np.zeros((1, 2))), kind="image", train=pixels)
        prior = fitted(data, 1)
        np.testing.assert_allclose(prior.means.flatten(), (pixels / 127.5 - 1.0).mean(0).ravel(), atol=1e-3)
        assert prior.draw(Noise(0, range(3)), shape, HALF_GONE, None).shape == (3, *shape)


# Class 0 lies left and right, in shares of 3 to 1; class 1 in the middle; class 2 has nothing.
PLACES = np.array([[-4.0, 0.0]] * 300 + [[4.0, 0.0]] * 100 + [[0.0, 5.0]] * 600)
LABELS = [0] * 400 + [1] * 600


@pytest.fixture(scope="module")
def classes() -> Prior:
    scatter = 0.1 * np.random.default_rng(0).normal(size=PLACES.shape)
    return fitted(dataset_of(PLACES + scatter, LABELS, classes=3), 2)


def drawn(prior: Prior, label: int | None, count: int = 4000) -> Tensor:
    cond = None if label is None else torch.full((count,), label)
    return prior.draw(Noise(0, range(count)), (2,), Level(1.0, 0.01), cond)


class TestComponents:
    def test_a_class_is_drawn_from_its_own_in_their_shares(self, classes: Prior) -> None:
        left = drawn(classes, 0)
        assert float((left[:, 0] < 0.0).float().mean()) == pytest.approx(0.75, abs=0.03)
        assert float(left[:, 1].abs().max()) < 1.0
        assert float((drawn(classes, 1) - torch.tensor([0.0, 5.0])).abs().max()) < 1.0

    @pytest.mark.parametrize("label", [None, NO_CLASS])
    def test_no_class_is_all_of_them(self, classes: Prior, label: int | None) -> None:
        found = drawn(classes, label)
        shares = [(found[:, 0] < -2.0), (found[:, 0] > 2.0), (found[:, 1] > 3.0)]
        assert [float(part.float().mean()) for part in shares] == pytest.approx([0.3, 0.1, 0.6], abs=0.03)

    def test_a_class_without_items_is_drawn_from_all(self, classes: Prior) -> None:
        found = drawn(classes, 2)
        assert float((found[:, 1] > 3.0).float().mean()) == pytest.approx(0.6, abs=0.03)

    def test_a_batch_may_ask_for_several(self, classes: Prior) -> None:
        labels = torch.tensor([0, 1, NO_CLASS, 0, 1] * 40)
        together = classes.draw(Noise(3, range(200)), (2,), HALF_GONE, labels)
        parts = [
            classes.draw(Noise(3, range(first, first + 50)), (2,), HALF_GONE, labels[first : first + 50])
            for first in range(0, 200, 50)
        ]
        assert torch.allclose(torch.cat(parts), together, atol=1e-6)

    def test_few_items_have_fewer_components(self) -> None:
        prior = fitted(dataset_of(gaussian(3, 33)), 8)
        assert int((prior.shares > 0.0).sum()) == 1
        assert float(prior.shares.sum()) == pytest.approx(1.0, abs=1e-3)

    def test_an_item_by_itself_has_no_component(self) -> None:
        items = gaussian(20, 400)
        items[7] += 200.0
        prior = fitted(dataset_of(items), 4)
        there = prior.shares > 0.0
        assert float(prior.shares[there].min()) >= 32 / 400 - 1e-3
        assert bool((prior.loadings[there].abs().sum((1, 2)) > 0.0).all())

    def test_the_same_data_give_the_same_prior(self) -> None:
        data = dataset_of(gaussian(20, 500))
        state = torch.get_rng_state()
        one, other = fitted(data, 4), fitted(data, 4)
        assert torch.equal(torch.get_rng_state(), state)
        for name, value in one.state_dict().items():
            assert torch.equal(value, other.state_dict()[name])
            assert torch.equal(value, value.half().float())


def test_from_it_sampling_may_begin_where_much_of_the_data_still_stands() -> None:
    """Of two narrow modes, the ideal denoiser finds each with its share; from N(0, I) at that level it cannot."""
    weights, means, stds = [0.8, 0.2], torch.tensor([[2.0, 0.0], [-1.0, 1.0]]), [0.3, 0.2]
    draw = np.random.default_rng(1)
    of = draw.choice(2, 20_000, p=weights)
    items = means.numpy()[of] + np.array(stds)[of, None] * draw.normal(size=(20_000, 2))
    subject = Subject(
        denoiser=MixtureDenoiser(weights, means, stds),
        schedule=Linear(),
        shape=(2,),
        class_names=(),
        prior=fitted(dataset_of(items), 2),
    )
    down = Betas.listed([1.0 - HALF_GONE.alpha ** (2 / 100)] * 100)
    spec = SampleSpec(sampler=DDIM(eta=1.0), grid=down, knobs=SampleKnobs(count=4000))

    def share_of_first(subject: Subject) -> float:
        *_, last = sample(subject, spec, CPU)
        return float((last.x[:, 0] > 0.5).float().mean())

    assert share_of_first(subject) == pytest.approx(0.8, abs=0.02)
    assert share_of_first(dataclasses.replace(subject, prior=None)) < 0.7


def config_of() -> TrainConfig:
    return TrainConfig(
        data=Gaussians25(num_points=500),
        network=MLPSpec(width=16, blocks=1),
        recipe=Adversarial(d_width=8, latent=4, beta_max=4.0, prior=3),
        run=RunKnobs(steps=4, batch=16, preview_every=0.0),
    )


@pytest.fixture
def trained(tmp_path: Path) -> Trainer:
    trainer = Trainer(config_of(), Run(tmp_path / "run"))
    list(trainer.run(Unhurried()))
    return trainer


class TestOfAModel:
    def test_it_goes_with_the_model_and_sampling_starts_from_it(self, trained: Trainer) -> None:
        model = load(trained.run_folder.model, CPU)
        assert trained.prior is not None
        assert model.prior is not None
        for name, value in trained.prior.state_dict().items():
            assert torch.equal(model.prior.state_dict()[name], value)
        subject = subject_of(model)
        first, *_ = sample(subject, subject.own.at(count=7, seed=2), CPU)
        level, labels = trained.config.recipe.schedule.level(1.0), torch.arange(7)
        assert torch.allclose(first.x, trained.prior.draw(Noise(2, range(7)), (2,), level, labels))

    def test_stopping_and_resuming_equals_not_stopping(self, trained: Trainer, tmp_path: Path) -> None:
        first = Trainer(config_of(), Run(tmp_path / "parts"))
        list(first.run(StopAt(first, 2)))
        second = Trainer(config_of(), Run(tmp_path / "parts"), resumes=True)
        list(second.run(Unhurried()))
        for name, module in trained._modules().items():
            for key, value in module.state_dict().items():
                assert torch.equal(value, second._modules()[name].state_dict()[key])
        assert "prior" in trained._modules()

    def test_saved_without_a_step_it_is_fitted_all_the_same(self, tmp_path: Path) -> None:
        trainer = Trainer(config_of(), Run(tmp_path / "run"))
        trainer.save()
        prior = load(trainer.run_folder.model, CPU).prior
        assert prior is not None
        assert float(prior.loadings.abs().max()) > 0.0

    def test_snapshots_share_one(self, trained: Trainer) -> None:
        folder = trained.run_folder.snapshots
        found = found_in(folder)
        assert len(found) > 1
        assert trained.prior is not None
        for _, path in found:
            with safe_open(path, framework="pt") as file:
                assert not [name for name in file.keys() if name.startswith("prior.")]  # noqa: SIM118
            prior = load(path, CPU).prior
            assert prior is not None
            assert torch.equal(prior.loadings, trained.prior.loadings)
        (folder / "prior.safetensors").unlink()
        with pytest.raises(NotACheckpoint, match="holds no prior"):
            load(found[0][1], CPU)

    def test_one_that_could_not_be_written_is_written_with_the_next_snapshot(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        whole, tries = native.write, []

        def write(path: Path, *rest: Any) -> None:
            if path.name == native.PRIOR_OF_AVERAGES:
                tries.append(path)
                if len(tries) == 1:
                    raise OSError(28, "No space left on device", str(path))
            whole(path, *rest)

        monkeypatch.setattr(native, "write", write)
        trainer = Trainer(config_of(), Run(tmp_path / "run"))
        told = [event.summary for event in trainer.run(Unhurried()) if isinstance(event, events.Warned)]
        assert len(told) == 1
        assert "disk is full" in told[0]
        found = found_in(trainer.run_folder.snapshots)
        assert len(found) >= 1
        assert all(load(path, CPU).prior is not None for _, path in found)

    def test_it_takes_its_room_from_the_snapshots(self, tmp_path: Path) -> None:
        config = config_of()
        small = dataclasses.replace(config, run=dataclasses.replace(config.run, rewind_mb=1))
        trainer = Trainer(small, Run(tmp_path / "run"))
        assert trainer._snapshots.budget == 1_000_000 - trainer._shared_size < 1_000_000

    def test_a_run_with_one_of_another_kind_is_not_resumed(self, trained: Trainer) -> None:
        path = trained.run_folder.resume
        tensors = load_file(path)
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
        tensors["prior.directions"] = tensors.pop("prior.loadings")
        save_file(tensors, path, metadata=metadata)
        with pytest.raises(ValueError, match=r"of another kind.*\. Start a new run"):
            load_resume(path, trained._modules(), trained.learner.optimizers)

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ("gone", "no prior"),
            ("smaller", "size mismatch"),
            ("claimed larger", "size mismatch"),
            ("of another kind", "another kind"),
        ],
    )
    def test_a_file_whose_prior_is_another_is_refused(self, trained: Trainer, change: str, said: str) -> None:
        path = trained.run_folder.model
        tensors = load_file(path)
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata()
        if change == "gone":
            tensors = {name: value for name, value in tensors.items() if not name.startswith("prior.")}
        elif change == "smaller":
            tensors["prior.means"] = tensors["prior.means"][:, :2].contiguous()
        elif change == "of another kind":
            tensors["prior.directions"] = tensors.pop("prior.loadings")
        else:
            told = json.loads(metadata["studio"])
            told["recipe"]["prior"] = 64
            metadata["studio"] = json.dumps(told)
        save_file(tensors, path, metadata=metadata)
        with pytest.raises(NotACheckpoint, match=said):
            load(path, CPU)


def test_one_shot_starts_from_nothing_but_noise() -> None:
    recipe = Adversarial(process="one_shot", prior=2)  # a file may say so, and can be opened
    facts = DataFacts(shape=(2,), num_classes=0, mean=0.0, std=1.0)
    with pytest.raises(ValueError, match="not possible in one shot"):
        recipe.learner(MLPSpec(width=16, blocks=1), AdamSpec(), facts, seed=0, device=CPU)
