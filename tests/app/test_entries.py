"""What the library shows of a checkpoint: its score in a third line, all of them in the tool tip."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from studio.app.entries import entry
from studio.core.checkpoints.header import Header, score_key
from studio.core.short_schedule import ShortSchedule
from studio.session.catalog import Found

HEADER = Header(
    title="Digits",
    family="DDPM",
    data={"name": "mnist"},
    data_title="MNIST",
    facts={"shape": (1, 28, 28), "num_classes": 0, "mean": 0.0, "std": 1.0},
    class_names=(),
    recipe={"name": "denoising", "num_steps": 1000},
    network={"name": "unet"},
    optimizer={"name": "adam"},
    run={},
    step=1800,
    images=115_200,
    seconds=600.0,
    num_parameters=1_200_000,
)


def shown(scores: dict[str, float]) -> tuple[tuple[str, ...], list[str]]:
    made = entry(
        Found(Path("/models/digits.safetensors"), "shipped", dataclasses.replace(HEADER, scores=scores)), False
    )
    return made.lines, made.tooltip.splitlines()


def test_a_model_without_scores_has_two_lines() -> None:
    lines, told = shown({})
    assert lines == ("DDPM · MNIST", "step 1,800 · T 1000")
    assert len(told) == 4


def test_the_best_known_score_is_the_third_line_and_all_are_told_in_full() -> None:
    few = score_key("FD", "MNIST classifier", 500, "DDIM 12")
    many = score_key("FD", "MNIST classifier", 10_000, "DDIM 50")
    lines, told = shown({"KD · MNIST classifier · 10,000 samples · DDIM 50": 0.0123, few: 3.456, many: 1.4249})
    assert lines == ("DDPM · MNIST", "step 1,800 · T 1000", "FD 1.42")
    assert told[3:6] == [
        "FD 1.42 · MNIST classifier · 10,000 samples · DDIM 50",
        "KD 0.0123 · MNIST classifier · 10,000 samples · DDIM 50",
        "FD 3.46 · MNIST classifier · 500 samples · DDIM 12",
    ]


def test_kept_schedules_are_counted_and_their_steps_told() -> None:
    schedules = tuple(ShortSchedule(betas=(0.1,) * steps, origin="learned") for steps in (4, 8, 8))
    header = dataclasses.replace(HEADER, scores={"FD": 1.4}, schedules=schedules)
    made = entry(Found(Path("/models/digits.safetensors"), "shipped", header), False)
    assert made.lines[-1] == "FD 1.4 · 3 schedules"
    assert "keeps short schedules of 4, 8 steps" in made.tooltip.splitlines()
