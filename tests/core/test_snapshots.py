"""Snapshots for rewinding: where they lie, what they cost, and that they open as models."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from train_controls import StopAt, Unhurried

from studio.core import events
from studio.core.checkpoints import native
from studio.core.checkpoints.header import read_header
from studio.core.config import RunKnobs, TrainConfig
from studio.core.data.points import TwoMoons
from studio.core.networks.mlp import MLPSpec
from studio.core.runs import Run
from studio.core.snapshots import MOST, Series, found_in, planned, thinned
from studio.core.trainer import Trainer


def config(steps: int = 40, **run: object) -> TrainConfig:
    knobs = {"steps": steps, "batch": 16, "preview_every": 0.0} | run
    return TrainConfig(
        data=TwoMoons(num_points=500),
        network=MLPSpec(width=16, blocks=1),
        run=RunKnobs(**knobs),  # type: ignore[arg-type]
    )


def test_they_lie_evenly_in_the_logarithm_and_densest_at_the_beginning() -> None:
    steps = planned(100_000, 20)
    assert len(steps) == 20
    assert 1 <= steps[0] < steps[-1] < 100_000
    places = np.log(np.array([0, *steps, 100_000]) + 1000.0)
    assert np.allclose(np.diff(places), math.log(101.0) / 21, rtol=0.01)
    assert sum(step < 10_000 for step in steps) > 9


@pytest.mark.parametrize("steps", [1, 2, 7, 60, 1800])
@pytest.mark.parametrize("count", [0, 1, 5, 24])
def test_the_plan_has_no_step_twice_and_never_the_last(steps: int, count: int) -> None:
    found = planned(steps, count)
    assert found == sorted(set(found))
    assert len(found) <= count
    assert all(1 <= step < steps for step in found)


def test_thinning_keeps_both_ends_and_the_spacing() -> None:
    there = [*planned(2000, 20), 2500, 4000, 8000]
    kept = thinned(there, 12, 10_000)
    assert len(kept) == 12
    assert (kept[0], kept[-1]) == (there[0], there[-1])
    gaps = np.diff(np.log(np.array(kept) + 100.0))
    assert gaps.max() / gaps.min() < 4.0
    assert thinned([10, 20], 1, 100) == [20]
    assert thinned([1, 2, 100], 5, 100) == [1, 2, 100]


def test_the_older_of_two_equal_gaps_is_closed_first() -> None:
    steps = [round(1000 * 2**k) - 1000 for k in range(5)]  # evenly in log(step + 1000)
    assert thinned(steps, 4, 100_000) == [0, 3000, 7000, 15000]


def write_of(size: int):  # type: ignore[no-untyped-def]
    return lambda path: path.write_bytes(bytes(size))


def test_the_folder_never_outgrows_its_budget_even_when_the_plan_changes(tmp_path: Path) -> None:
    for steps, begin in ((1000, 0), (5000, 1000), (50_000, 5000)):
        tmp_path.mkdir(exist_ok=True)
        series = Series(tmp_path, steps, budget=1000, size=100)
        series.begin(begin)
        for step in range(begin, steps):
            if series.due(step):
                series.add(step, write_of(100))
                assert sum(path.stat().st_size for _, path in found_in(tmp_path)) <= 1000
        there = [step for step, _ in found_in(tmp_path)]
        assert 8 <= len(there) <= 10
        assert there[0] < 30


def test_larger_files_than_expected_still_fit(tmp_path: Path) -> None:
    series = Series(tmp_path, 1000, budget=1000, size=100)
    for step in planned(1000, 10):
        series.add(step, write_of(180))
        assert sum(path.stat().st_size for _, path in found_in(tmp_path)) <= 1000
    assert len(found_in(tmp_path)) == 5


def test_a_smaller_budget_thins_what_is_there_and_none_removes_it(tmp_path: Path) -> None:
    for step in planned(1000, 10):
        Series(tmp_path, 1000, 1000, 100).add(step, write_of(100))
    Series(tmp_path, 1000, 400, 100).begin(900)
    assert len(found_in(tmp_path)) == 4
    Series(tmp_path, 1000, 0, 100).begin(900)
    assert found_in(tmp_path) == []


def test_a_continuation_takes_later_steps_again(tmp_path: Path) -> None:
    series = Series(tmp_path, 1000, 1000, 100)
    for step in (10, 50, 300):
        series.add(step, write_of(100))
    (tmp_path / "notes.txt").write_text("mine")
    series.begin(50)
    assert [step for step, _ in found_in(tmp_path)] == [10, 50]
    assert (tmp_path / "notes.txt").is_file()


def test_training_leaves_snapshots_that_open_as_models(tmp_path: Path) -> None:
    trainer = Trainer(config(), Run(tmp_path / "run"))
    kept: dict[int, list[torch.Tensor]] = {}
    for _ in trainer.run(Unhurried()):
        kept[trainer.step] = [value.clone() for value in trainer.ema.average.state_dict().values()]
    found = found_in(trainer.run_folder.snapshots)
    assert [step for step, _ in found] == planned(40, MOST)
    for step, path in found:
        header = read_header(path)
        assert (header.step, header.title) == (step, trainer.config.title)
        model = native.load(path, torch.device("cpu"))
        for one, other in zip(model.denoiser.state_dict().values(), kept[step], strict=True):
            assert one.dtype == torch.float32
            assert torch.equal(one, other.half().float())
        assert path.stat().st_size < 0.5 * trainer.run_folder.model.stat().st_size


def test_stopping_and_resuming_leaves_the_same_snapshots(tmp_path: Path) -> None:
    list(Trainer(config(), Run(tmp_path / "whole")).run(Unhurried()))
    first = Trainer(config(), Run(tmp_path / "parts"))
    list(first.run(StopAt(first, 17)))
    second = Trainer(config(), Run(tmp_path / "parts"), resumes=True)
    list(second.run(Unhurried()))
    whole, parts = (found_in(Run(tmp_path / name).snapshots) for name in ("whole", "parts"))
    assert [step for step, _ in whole] == [step for step, _ in parts]
    for (_, one), (_, other) in zip(whole, parts, strict=True):
        models = [native.load(path, torch.device("cpu")).denoiser.state_dict().values() for path in (one, other)]
        assert all(torch.equal(a, b) for a, b in zip(*models, strict=True))


def test_no_budget_makes_none_and_too_small_a_one_says_so(tmp_path: Path) -> None:
    told = [event for event in Trainer(config(rewind_mb=0), Run(tmp_path / "none")).run(Unhurried()) if event]
    assert not Run(tmp_path / "none").snapshots.exists()
    assert not any(isinstance(event, events.Warned) for event in told)
    wide = dataclasses.replace(config(2, rewind_mb=1), network=MLPSpec(width=512, blocks=2))
    trainer = Trainer(wide, Run(tmp_path / "small"))
    warned = [event.summary for event in trainer.run(Unhurried()) if isinstance(event, events.Warned)]
    assert len(warned) == 1
    assert "rewind_mb = 1" in warned[0]
    assert trainer.step == 2


def test_a_snapshot_that_cannot_be_written_is_told_once_and_training_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object) -> None:
        raise OSError(28, "No space left on device", str(args[0]))

    monkeypatch.setattr(native, "save_average", full)
    trainer = Trainer(config(), Run(tmp_path / "run"))
    told = [event for event in trainer.run(Unhurried()) if event is not None]
    warned = [event.summary for event in told if isinstance(event, events.Warned)]
    assert len(warned) == 1
    assert "disk is full" in warned[0]
    assert isinstance(told[-1], events.Saved)
    assert found_in(trainer.run_folder.snapshots) == []
