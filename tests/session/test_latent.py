"""A z in hand, without Qt: what is given fixes the sample, what is locked stays, and a shared z comes back whole."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from studio.core import events
from studio.core.checkpoints.header import read_header
from studio.core.config import RunKnobs, TrainConfig, method_to_dict
from studio.core.data.base import DatasetSpec
from studio.core.data.images import MNIST
from studio.core.data.points import SwissRoll
from studio.core.networks.base import NetworkSpec
from studio.core.networks.mlp import MLPSpec
from studio.core.networks.unet import UNetSpec
from studio.core.optimizers import AdamSpec
from studio.core.recipes.adversarial import Adversarial
from studio.core.recipes.denoising import Denoising
from studio.core.runs import Run
from studio.core.sampling import sample, subject_of, to_uint8
from studio.session.control import Control
from studio.session.jobs import Job, TrainJob, drive, load_model
from studio.session.latent import (
    SIDE,
    Held,
    PadJob,
    Plane,
    StripJob,
    WalkJob,
    draw_directions,
    draw_z,
    draws_of,
    grid_places,
    run,
    spread,
    walk,
)
from studio.session.latent_files import Kept, changed_since, from_text, latent_shape, misfit, read, to_text, write

STEPS, SIZE = 3, 6
CPU = torch.device("cpu")


def trained(folder: Path, data: DatasetSpec, network: NetworkSpec, **recipe: Any) -> Path:
    config = TrainConfig(
        title="Tiny",
        data=data,
        recipe=Adversarial(num_steps=STEPS, latent=SIZE, d_width=8, **recipe),
        network=network,
        optimizer=AdamSpec(learning_rate=0.05),  # so that a few steps make z matter
        run=RunKnobs(steps=6, batch=8, preview_every=0.0),
    )
    made = Run(folder / "run")
    assert list(drive(TrainJob(config, made), Control()))[-1].outcome == "done"  # type: ignore[union-attr]
    return made.model


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("digits"), MNIST(), UNetSpec(width=8, patch=4))


@pytest.fixture(scope="module")
def roll(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("roll"), SwissRoll(num_points=300), MLPSpec(width=16, blocks=1))


@pytest.fixture(scope="module")
def direct(tmp_path_factory: pytest.TempPathFactory) -> Path:
    data = SwissRoll(num_points=300)
    return trained(tmp_path_factory.mktemp("direct"), data, MLPSpec(width=16, blocks=1), predict="x_s")


def held(seed: int = 5, **changes: Any) -> Held:
    whole = Held(z=draw_z(seed, STEPS, SIZE), start_seed=seed, noise_seeds=(seed,) * STEPS)
    return dataclasses.replace(whole, **changes)


def plane(z: np.ndarray, reach: float = 1.5) -> Plane:
    a, b = draw_directions(1, *z.shape)
    return Plane(a, b, reach)


def told(job: Job) -> list[Any]:
    found = [event for event in drive(job, Control(), 7) if event is not None]
    assert not [event for event in found if isinstance(event, events.Failed)], found
    return found[:-1]


def end_of(path: Path, kept: Held, z: np.ndarray) -> torch.Tensor:
    return list(run(subject_of(load_model(path, CPU)), kept, z, CPU))[-1].x


class TestOneSample:
    @pytest.mark.parametrize("name", ["digits", "roll", "direct"])
    def test_z_and_seeds_give_what_sampling_the_seed_gives(self, name: str, request: pytest.FixtureRequest) -> None:
        path = request.getfixturevalue(name)
        subject = subject_of(load_model(path, CPU))
        spec = subject.own.at(seed=5, count=4, label="none")
        plain = list(sample(subject, spec, CPU))[-1].x[:1]
        mine = held(5)
        torch.testing.assert_close(end_of(path, mine, mine.z[None]), plain, atol=1e-5, rtol=1e-5)

    def test_it_is_the_same_at_any_batch_size(self, digits: Path) -> None:
        mine = held(label="3")
        many = np.stack([mine.z, *(draw_z(seed, STEPS, SIZE) for seed in range(10, 17)), mine.z])
        whole = end_of(digits, mine, many)
        alone = end_of(digits, mine, mine.z[None])
        torch.testing.assert_close(whole[:1], alone, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(whole[-1:], alone, atol=1e-5, rtol=1e-5)
        assert (whole[1:-1] - alone).abs().amax((1, 2, 3)).min() > 1e-3, "another z is another picture"

    @pytest.mark.parametrize("change", ["z", "noise", "start", "class"])
    def test_each_part_that_is_held_matters(self, digits: Path, change: str) -> None:
        mine = held()
        z = mine.z.copy()
        z[1] += 1.0
        others = {
            "z": mine.at(z),
            "noise": dataclasses.replace(mine, noise_seeds=(5, 6, 5)),
            "start": dataclasses.replace(mine, start_seed=6),
            "class": dataclasses.replace(mine, label="7"),
        }
        other = others[change]
        assert (end_of(digits, other, other.z[None]) - end_of(digits, mine, mine.z[None])).abs().max() > 1e-3

    def test_the_last_step_adds_no_noise(self, roll: Path) -> None:
        mine, other = held(), held(noise_seeds=(5, 5, 99))
        torch.testing.assert_close(end_of(roll, mine, mine.z[None]), end_of(roll, other, other.z[None]))


class TestPad:
    def test_the_middle_is_z_itself_and_up_is_b(self) -> None:
        z, places = draw_z(2, STEPS, SIZE), grid_places()
        flat = plane(z, reach=2.0)
        latents = flat.through(z, places)
        assert latents.shape == (SIDE * SIDE, STEPS, SIZE)
        np.testing.assert_array_equal(latents[SIDE * SIDE // 2], z)
        np.testing.assert_allclose(latents[SIDE // 2], z + 2.0 * flat.b, rtol=1e-6)
        np.testing.assert_allclose(latents[SIDE * SIDE // 2 + SIDE // 2], z + 2.0 * flat.a, rtol=1e-6)

    def test_its_pictures_and_the_result_come_in_one_message(self, digits: Path) -> None:
        mine = held(label="4")
        (pad,) = told(PadJob(digits, mine, plane(mine.z), (0.5, -1.0)))
        assert pad.items.shape == (25, 1, 28, 28)
        assert pad.items.dtype == np.uint8
        assert pad.num_steps == STEPS
        at = int(np.flatnonzero((grid_places() == (0.5, -1.0)).all(1))[0])
        assert np.abs(pad.result.astype(int) - pad.items[at]).max() <= 1
        (alone,) = told(PadJob(digits, mine, plane(mine.z), (0.5, -1.0), whole=False))
        assert alone.items is None
        assert np.abs(alone.result.astype(int) - pad.result).max() <= 1

    def test_a_particle_has_a_path(self, roll: Path) -> None:
        mine = held()
        (pad,) = told(PadJob(roll, mine, plane(mine.z), (0.0, 0.0)))
        assert pad.items.shape == (25, 2)
        assert pad.path.shape == (STEPS + 1, 2)
        np.testing.assert_allclose(pad.path[-1], pad.result)
        np.testing.assert_allclose(pad.items[12], pad.result, atol=1e-5)

    def test_a_file_that_changed_is_refused(self, digits: Path) -> None:
        mine = held(z=draw_z(0, STEPS, SIZE + 1))
        found = list(drive(PadJob(digits, mine, plane(mine.z), (0.0, 0.0)), Control()))
        failed = next(event for event in found if isinstance(event, events.Failed))
        assert "does not take a z of 3 steps with 7 numbers" in failed.summary


class TestStrip:
    def test_spread_equals_a_hand_computation(self, digits: Path) -> None:
        mine = held()
        rows = told(StripJob(digits, mine, seed=9, count=4))
        assert [row.row for row in rows] == [0, 1, 2]
        std = float(read_header(digits).facts["std"])
        for row in rows:
            x = end_of(digits, mine, draws_of(mine, row.row, 9, 4)).numpy().astype(np.float64)
            mean = sum(x[i] for i in range(4)) / 4
            by_hand = (sum(((x[i] - mean) ** 2).sum() for i in range(4)) / x.size) ** 0.5 / std
            assert row.spread == pytest.approx(by_hand, rel=1e-5)
            assert row.spread > 0.0
            np.testing.assert_array_equal(row.items, to_uint8(torch.from_numpy(x)).numpy())

    def test_spread_of_two_numbers(self) -> None:
        assert spread(np.array([[1.0], [5.0]]), 4.0) == pytest.approx(0.5)
        assert spread(np.ones((3, 2)), 1.0) == 0.0

    def test_only_one_step_is_drawn_anew(self) -> None:
        mine = held()
        drawn = draws_of(mine, 1, 5, 4)
        np.testing.assert_array_equal(drawn[:, [0, 2]], np.repeat(mine.z[None], 4, 0)[:, [0, 2]])
        assert len(np.unique(drawn[:, 1], axis=0)) == 4
        assert not (drawn[:, 1] == mine.z[1]).all(1).any(), "not even for the seed that z is from"


class TestWalk:
    def test_it_goes_from_one_to_the_other_and_keeps_the_length(self) -> None:
        first, second = draw_z(1, STEPS, 64), draw_z(2, STEPS, 64)
        latents = walk(first, second, 9)
        np.testing.assert_allclose(latents[0], first, atol=1e-5)
        np.testing.assert_allclose(latents[-1], second, atol=1e-5)
        lengths = np.linalg.norm(latents, axis=2)
        ends = np.linalg.norm(np.stack([first, second]), axis=2)
        assert (lengths > 0.9 * ends.min(0)).all()
        assert (lengths < 1.1 * ends.max(0)).all()
        moves = np.linalg.norm(np.diff(latents, axis=0), axis=(1, 2))
        assert moves[0] < 0.5 * moves[4], "it sets out slowly"

    def test_its_frames_come_in_order(self, roll: Path) -> None:
        first, second = draw_z(1, STEPS, SIZE), draw_z(2, STEPS, SIZE)
        parts = told(WalkJob(roll, held(), first, second, 20))
        assert [part.first for part in parts] == [0, 16]
        assert {part.total for part in parts} == {20}
        whole = np.concatenate([part.items for part in parts])
        np.testing.assert_allclose(whole[0], end_of(roll, held(), first[None])[0], atol=1e-5)
        np.testing.assert_allclose(whole[-1], end_of(roll, held(), second[None])[0], atol=1e-5)


class TestStopping:
    @pytest.mark.parametrize("kind", ["pad", "strip", "walk"])
    def test_every_job_stops_within_a_step(self, roll: Path, kind: str) -> None:
        mine = held()
        job = {
            "pad": PadJob(roll, mine, plane(mine.z), (0.0, 0.0)),
            "strip": StripJob(roll, mine, 0),
            "walk": WalkJob(roll, mine, mine.z, -mine.z, 30),
        }[kind]
        control = Control()
        messages = drive(job, control)
        assert next(messages) is None
        control.stop()
        rest = [event for event in messages if event is not None]
        assert [type(event) for event in rest] == [events.Finished]
        assert rest[0].outcome == "stopped"  # type: ignore[union-attr]


class TestFiles:
    def kept(self) -> Kept:
        return Kept("z 5", held(label="3", noise_seeds=(1, 2, 3)), "Tiny", 400)

    def test_a_kept_z_comes_back_bit_by_bit(self, tmp_path: Path) -> None:
        kept = self.kept()
        write(tmp_path / "a.json", kept)
        for found in (read(tmp_path / "a.json"), from_text(to_text(kept))):
            assert (found.name, found.model, found.step) == ("z 5", "Tiny", 400)
            np.testing.assert_array_equal(found.held.z, kept.held.z)
            assert found.held.z.dtype == np.float32
            same = dataclasses.replace(found.held, z=kept.held.z)
            assert dataclasses.astuple(same)[1:] == dataclasses.astuple(kept.held)[1:]

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (lambda table: table.update(kind="else"), "another kind"),
            (lambda table: table.update(format=2), "Update the studio"),
            (lambda table: table.pop("z"), "damaged"),
            (lambda table: table.update(z=[[1.0], ["a"], [2.0]]), "no number"),
            (lambda table: table.update(z=[[1e300] * SIZE] * STEPS), "too large"),
            (lambda table: table["z"].pop(), "not the size"),
            (lambda table: table["z"][0].pop(), "not the size"),
            (lambda table: table.update(noise_seeds=[1]), "seeds"),
            (lambda table: table.update(start_seed=-1), "seeds"),
            (lambda table: table.update(name=3), "no text"),
            (lambda table: table.update(model_step="1"), "no step"),
        ],
    )
    def test_what_is_damaged_is_refused_in_words(self, change: Callable[[Any], Any], words: str) -> None:
        table = json.loads(to_text(self.kept()))
        change(table)
        with pytest.raises(ValueError, match=words):
            from_text(json.dumps(table))

    @pytest.mark.parametrize("text", ["", "hello", "[1, 2]", "{}", "[" * 100_000])
    def test_what_is_no_z_is_refused_in_words(self, text: str) -> None:
        with pytest.raises(ValueError, match="no shared z"):
            from_text(text)

    def test_a_file_of_bytes_is_refused_by_its_name(self, tmp_path: Path) -> None:
        (tmp_path / "noise.json").write_bytes(bytes(range(256)))
        with pytest.raises(ValueError, match=r"noise\.json.*no text"):
            read(tmp_path / "noise.json")

    def test_what_does_not_fit_says_what_would(self) -> None:
        kept, names = self.kept(), tuple("0123456789")
        assert misfit(kept, "Tiny", STEPS, SIZE, names) == ""
        sized = misfit(kept, "Tiny", 4, 1, names)
        assert "3 steps of 6 numbers" in sized
        assert "4 steps of 1 number." in sized
        assert "belongs to the model Tiny" in misfit(kept, "Other", STEPS, SIZE, names)
        assert "class “3”" in misfit(kept, "Tiny", STEPS, SIZE, ())

    def test_a_model_that_trained_on_is_told_of(self) -> None:
        assert changed_since(self.kept(), 400) == ""
        assert "400 steps of training; this one had 1,200" in changed_since(self.kept(), 1200)
        table = json.loads(to_text(self.kept()))
        del table["model_step"]  # as it was written before steps were told
        assert "may be another one" in changed_since(from_text(json.dumps(table)), 1200)

    def test_which_models_take_a_latent(self, digits: Path) -> None:
        header = read_header(digits)
        assert latent_shape(header) == (STEPS, SIZE)
        without = dataclasses.replace(header, recipe=method_to_dict("recipe", Adversarial(latent=0)))
        assert latent_shape(without) == (0, 0)
        plain = dataclasses.replace(header, recipe=method_to_dict("recipe", Denoising()))
        assert latent_shape(plain) == (0, 0)
