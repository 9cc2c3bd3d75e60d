"""Checkpoints: they rebuild what was saved, and refuse what they must with a reason."""

from __future__ import annotations

import dataclasses
import json
import pickle
import struct
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from studio.core.checkpoints.header import NotACheckpoint, read_header
from studio.core.checkpoints.native import load, write, write_schedules, write_scores
from studio.core.checkpoints.resume import load_resume
from studio.core.config import RunKnobs, TrainConfig
from studio.core.data.points import TwoMoons
from studio.core.evaluation import fingerprint
from studio.core.levels import Level
from studio.core.networks.mlp import MLPSpec
from studio.core.optimizers import AdamSpec
from studio.core.runs import Run
from studio.core.short_schedule import ShortSchedule
from studio.core.trainer import Trainer


@pytest.fixture
def trainer(tmp_path: Path) -> Trainer:
    config = TrainConfig(
        title="Moons ☾",
        data=TwoMoons(num_points=500),
        network=MLPSpec(width=16, blocks=1),
        optimizer=AdamSpec(),
        run=RunKnobs(steps=3, batch=16, preview_every=0.0),
    )
    made = Trainer(config, Run(tmp_path / "run"))
    for _ in range(3):
        made.train_step()
    made.save()
    return made


@pytest.fixture
def path(trainer: Trainer) -> Path:
    return trainer.run_folder.model


def test_a_loaded_model_predicts_as_the_average_did(trainer: Trainer, path: Path) -> None:
    model = load(path, torch.device("cpu"))
    x, level = torch.randn(5, 2, generator=torch.Generator().manual_seed(1)), Level(0.8, 0.6)
    with torch.no_grad():
        assert torch.equal(model.denoiser(x, level).x0, trainer.ema.average(x, level).x0)
        assert not torch.equal(model.denoiser(x, level).x0, trainer.learner.denoiser(x, level).x0)
    assert model.recipe == trainer.config.recipe


def test_the_header_tells_the_whole_story(trainer: Trainer, path: Path) -> None:
    header = read_header(path)
    assert (header.title, header.family, header.step) == ("Moons ☾", "DDPM", 3)
    assert header.facts["shape"] == (2,)
    assert header.kind == "points"
    assert header.class_names == trainer.dataset.class_names
    assert header.network == {"name": "mlp", "width": 16, "blocks": 1}
    assert header == read_header(path)


def test_reading_a_header_does_not_read_the_weights(path: Path) -> None:
    whole = path.read_bytes()
    length = struct.unpack("<Q", whole[:8])[0]
    path.write_bytes(whole[: 8 + length] + bytes(len(whole) - 8 - length))
    assert read_header(path).step == 3


def refused(path: Path) -> str:
    with pytest.raises(NotACheckpoint) as caught:
        load(path, torch.device("cpu"))
    return str(caught.value)


def test_missing(tmp_path: Path) -> None:
    assert "is not there" in refused(tmp_path / "none.safetensors")


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_cut_short(path: Path, keep: int) -> None:
    path.write_bytes(path.read_bytes()[:keep])
    assert "cut short" in refused(path) or "no checkpoint" in refused(path)


def test_a_picture_is_no_checkpoint(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(1000))
    assert "not in the safetensors format" in refused(tmp_path / "a.safetensors")


def test_header_that_is_no_json(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", 40) + b"{" * 40)
    assert "makes no sense" in refused(tmp_path / "a.safetensors")


@pytest.mark.parametrize("container", ["pickle", "torch"])
def test_a_hostile_pickle_is_refused_and_never_run(tmp_path: Path, container: str) -> None:
    class Hostile:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "it ran",)  # type: ignore[return-value]

    bad = tmp_path / "model.pt"
    if container == "pickle":
        bad.write_bytes(pickle.dumps(Hostile()))
    else:
        torch.save(Hostile(), bad)
    assert "can run code" in refused(bad)
    assert not (tmp_path / "it ran").exists()


def test_foreign_safetensors(tmp_path: Path) -> None:
    save_file({"weight": torch.zeros(2)}, tmp_path / "a.safetensors")
    assert "not one of the studio" in refused(tmp_path / "a.safetensors")


def rewritten(path: Path, **changes: object) -> None:
    header = read_header(path).to_metadata()
    table = json.loads(header["studio"]) | changes
    write(path, load_file(path), {"studio": json.dumps(table)})


def test_wrong_shapes(path: Path) -> None:
    rewritten(path, network={"name": "mlp", "width": 24, "blocks": 1})
    assert "does not fit its own description" in refused(path)


def test_a_newer_format(path: Path) -> None:
    rewritten(path, format=2)
    assert "Update the studio" in refused(path)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("step", "abc"),
        ("step", -1),
        ("title", 5),
        ("recipe", []),
        ("network", None),
        ("network", {"name": ["mlp"]}),
        ("seconds", None),
        ("scores", [1]),
        ("class_names", ["one"] * 16),
        ("history", {"loss": "low"}),
        ("facts", {"shape": [1, -28, 10**9], "num_classes": 0, "mean": 0.0, "std": 1.0}),
        ("facts", {"shape": [], "num_classes": 0, "mean": 0.0, "std": 1.0}),
        ("facts", {"shape": [2], "num_classes": 2, "mean": None, "std": 1.0}),
        ("facts", {"shape": [2], "num_classes": 2, "mean": 0.0, "std": 1.0, "more": 1}),
    ],
)
def test_every_field_is_checked_before_it_is_believed(path: Path, field: str, value: object) -> None:
    rewritten(path, **{field: value})
    with pytest.raises(NotACheckpoint, match="does not describe itself as it should"):
        read_header(path)


def test_a_header_nested_without_end_is_refused(tmp_path: Path) -> None:
    text = b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", len(text)) + text)
    assert "makes no sense" in refused(tmp_path / "a.safetensors")


def test_offsets_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    text = b'{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,"x"]}}'
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", len(text)) + text)
    assert "makes no sense" in refused(tmp_path / "a.safetensors")


@pytest.mark.parametrize("length", [0x10280, 0x10380, 0x10480, 0x10580])
def test_a_header_whose_length_looks_like_a_pickle_is_read(path: Path, length: int) -> None:
    whole = path.read_bytes()
    before = struct.unpack("<Q", whole[:8])[0]
    padded = whole[8 : 8 + before] + b" " * (length - before)
    path.write_bytes(struct.pack("<Q", length) + padded + whole[8 + before :])
    assert read_header(path).step == 3


def test_a_small_file_that_claims_a_huge_network_is_refused_without_building_it(path: Path) -> None:
    rewritten(path, network={"name": "mlp", "width": 2048, "blocks": 16})
    assert "weights where the network it names has" in refused(path)


def test_unknown_network(path: Path) -> None:
    rewritten(path, network={"name": "transformer"})
    assert "there are" in refused(path)


def test_a_description_with_holes(path: Path) -> None:
    header = read_header(path)
    table = json.loads(header.to_metadata()["studio"])
    del table["recipe"]
    write(path, load_file(path), {"studio": json.dumps(table)})
    assert "does not describe itself as it should" in refused(path)


def test_a_damaged_continuation_is_refused(trainer: Trainer) -> None:
    resume = trainer.run_folder.resume
    resume.write_bytes(resume.read_bytes()[:-10])
    with pytest.raises(ValueError, match="cannot be continued from"):
        load_resume(resume, trainer._modules(), trainer.learner.optimizers)


def found(path: Path, steps: int, **other: Any) -> ShortSchedule:
    """A schedule with digits that text can lose, found for the model at ``path``."""
    betas = tuple((index + 1) / 3 / steps for index in range(steps))
    return ShortSchedule(betas=betas, origin="learned", model=fingerprint(path), seed=steps, **other)


def test_schedules_are_kept_shortest_first_and_nothing_else_changes(path: Path) -> None:
    before, header, model = path.read_bytes(), read_header(path), fingerprint(path)
    kept = [found(path, 8, scores={"FD": 0.1 + 0.2}, start=(0.3, 1 / 3), title="☾"), found(path, 4), found(path, 8)]
    write_schedules(path, lambda _: kept, model)
    told = read_header(path)
    assert told.schedules == (kept[1], kept[0], kept[2]), "every field, to the last digit; a sort that keeps order"
    assert dataclasses.replace(told, schedules=()) == header
    assert fingerprint(path) == model, "what was measured of the model stays its own"
    assert weights(path.read_bytes()) == weights(before)
    assert load(path, torch.device("cpu")).header == told
    write_scores(path, {"FD": 1.0})
    assert read_header(path).schedules == told.schedules
    write_schedules(path, lambda _: [], model)
    assert read_header(path).schedules == ()
    assert weights(path.read_bytes()) == weights(before)
    assert [entry.name for entry in path.parent.iterdir() if entry.name.endswith(".part")] == []


def weights(whole: bytes) -> bytes:
    return whole[8 + struct.unpack("<Q", whole[:8])[0] :]


def test_another_model_s_schedule_is_not_kept(path: Path) -> None:
    model, before = fingerprint(path), path.read_bytes()
    other = dataclasses.replace(found(path, 4), model="another")
    with pytest.raises(ValueError, match=r"4 steps, learned was found for another model, so .* does not keep it"):
        write_schedules(path, lambda _: [found(path, 3), other], model)
    assert path.read_bytes() == before
    write_schedules(path, lambda _: [dataclasses.replace(other, model="")], model)
    assert len(read_header(path).schedules) == 1


def test_a_header_without_schedules_is_an_older_one(path: Path) -> None:
    table = json.loads(read_header(path).to_metadata()["studio"])
    del table["schedules"]
    write(path, load_file(path), {"studio": json.dumps(table)})
    assert read_header(path).schedules == ()


@pytest.mark.parametrize(
    ("schedules", "said"),
    [
        (3, "does not describe itself as it should"),
        ("betas", "a table with a list of betas"),
        ([{"origin": "learned"}], "a table with a list of betas"),
        ([{"betas": []}], "at least one beta"),
        ([{"betas": [0.1, 1.0]}], r"beta[1] = 1.0 is not possible"),
        ([{"betas": [0.1], "seed": "x"}], "seed = 'x' is not possible"),
        ([{"betas": [0.1], "scores": {"FD": "low"}}], "FD = 'low' is no score"),
    ],
)
def test_damaged_schedules_are_refused_with_the_file_s_name(path: Path, schedules: object, said: str) -> None:
    rewritten(path, schedules=schedules)
    message = refused(path)
    assert message.startswith(path.name)
    assert said in message
