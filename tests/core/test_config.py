"""Configurations: TOML and back, and refusals in plain words."""

from __future__ import annotations

import dataclasses
import tomllib
from pathlib import Path

import pytest

from studio.core.config import TrainConfig, load_toml, to_toml
from studio.core.presets import presets


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
        ('[recipe]\nname = "adversarial"\nprocess = "one_shot"\nwarm_start = 5', "not possible in one shot"),
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
