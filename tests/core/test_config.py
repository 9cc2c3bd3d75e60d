"""Configurations: TOML and back, and refusals in plain words."""

from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path

import pytest

from studio.core.checkpoints.header import read_header
from studio.core.checkpoints.places import locate
from studio.core.config import TrainConfig, load_toml, method_to_dict, to_toml
from studio.core.data.base import DatasetSpec
from studio.core.data.images import MNIST, FashionMNIST
from studio.core.data.stacked import StackedMNIST
from studio.core.presets import ddgan_of, presets, start_for, trained_on
from studio.core.recipes.adversarial import Adversarial
from studio.core.recipes.denoising import Denoising


@pytest.mark.parametrize("name", ["mnist-ddpm", "mnist-ddgan"])
def test_a_model_is_trained_on_from_its_weights(name: str) -> None:
    header = read_header(locate(name))
    found = trained_on(header, name)
    assert (found.run.start_from, found.title) == (name, header.title)
    assert method_to_dict("network", found.network) == header.network
    if name == "mnist-ddgan":
        assert isinstance(found.recipe, Adversarial)
        assert (found.recipe.warm_start, found.recipe.opening) == (0, 240), "the mean is known, a new D knows nothing"
        before = header.recipe["warm_start"] + header.recipe.get("opening", 0)
        assert found.run.steps - 240 == header.run["steps"] - before, "the game is as long"
    else:
        assert method_to_dict("recipe", found.recipe) == header.recipe
        assert found.run.steps == header.run["steps"]


@pytest.mark.parametrize(
    ("data", "preset"),
    [(MNIST(), "digits-gan-prior"), (FashionMNIST(), "fashion-gan"), (StackedMNIST(), "digits-gan")],
)
def test_a_ddgan_of_a_denoiser_is_the_preset_of_its_data(data: DatasetSpec, preset: str) -> None:
    header = dataclasses.replace(read_header(locate("mnist-ddpm")), data=method_to_dict("dataset", data))
    found = ddgan_of(header, "mnist-ddpm")
    assert (found.recipe, found.data) == (presets()[preset].recipe, data)
    assert found.run.start_from == "mnist-ddpm"


def test_a_preset_of_other_data_starts_from_a_model_of_those() -> None:
    gan = presets()["digits-gan"].recipe
    assert start_for(gan, FashionMNIST()) == "fashion-ddpm"
    assert start_for(gan, StackedMNIST()) == ""
    assert start_for(Denoising(), MNIST()) == ""


@pytest.mark.parametrize("name", presets())
def test_presets_survive_toml(name: str) -> None:
    config = presets()[name]
    assert TrainConfig.from_dict(tomllib.loads(to_toml(config.to_dict()))) == config


@pytest.mark.parametrize("title", ["plain", 'a "quoted" \\ title', "😀 ᾱ ☾", "tab\tand\nline", "\x7f\x01", ""])
def test_any_title_survives_toml(title: str) -> None:
    config = dataclasses.replace(presets()["digits"], title=title)
    assert TrainConfig.from_dict(tomllib.loads(to_toml(config.to_dict()))).title == title


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("run = 5", "run is no table"),
        ('[data]\nname = ["x"]', "a name"),
        ('[data]\nname = "cats"', "there are"),
        ("[run]\nsteps = " + "9" * 400, "steps"),
        ("[run]\nstep = 5", "'step' is no setting"),
        ('[network]\nname = "unet"\nwidth = 33', "a multiple of 8"),
        ('[network]\nname = "mlp"', "is for points data"),
        ('[recipe]\nname = "adversarial"\nwarm_start = 30\nopening = 20\n[run]\nsteps = 50', "leave none of 50 to"),
        ("surprise = 1", "no part of a training configuration"),
        ("= 1", "Invalid"),
    ],
)
def test_bad_files_are_refused_in_plain_words(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "config.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=words) as caught:
        load_toml(path)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        load_toml(tmp_path / "none.toml")
