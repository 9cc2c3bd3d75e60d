"""Rewinding a training: the table is what sampling from each snapshot gives, whatever is asked of it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from studio.core import events
from studio.core.checkpoints.native import load
from studio.core.config import RunKnobs, TrainConfig
from studio.core.data.images import MNIST
from studio.core.data.points import TwoMoons
from studio.core.networks.mlp import MLPSpec
from studio.core.networks.unet import UNetSpec
from studio.core.runs import Run
from studio.core.sampling import SampleKnobs, SampleSpec, sample, subject_of, to_uint8
from studio.session.control import Control
from studio.session.jobs import TrainJob, drive
from studio.session.rewind import RewindJob, snapshots_of

SPEC = SampleSpec(knobs=SampleKnobs(steps=4, count=6, seed=3, guidance=0.0))


def train(folder: Path, **changes: object) -> Run:
    config = TrainConfig(
        data=TwoMoons(num_points=500),
        network=MLPSpec(width=16, blocks=1),
        run=RunKnobs(steps=30, batch=16, preview_every=0.0),
    )
    run = Run(folder)
    *_, last = drive(TrainJob(dataclasses.replace(config, **changes), run), Control())  # type: ignore[arg-type]
    assert isinstance(last, events.Finished)
    assert last.outcome == "done"
    return run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return train(tmp_path / "run")


def told(job: RewindJob, control: Control | None = None) -> list[events.Event]:
    return [event for event in drive(job, control or Control()) if event is not None]


def tiles(found: list[events.Event]) -> list[events.Tile]:
    return [event for event in found if isinstance(event, events.Tile)]


def test_every_tile_is_what_sampling_from_its_snapshot_gives(run: Run) -> None:
    found = told(RewindJob(run.model, SPEC, most_rows=4))
    shape = next(event for event in found if isinstance(event, events.TableShape))
    assert len(shape.rows) == 4
    assert shape.rows[-1] == "30"
    assert shape.columns[-1] == "sample"
    assert shape.columns[0].startswith("−")
    assert [(tile.row, tile.column) for tile in tiles(found)] == [(r, c) for r in range(4) for c in range(5)]
    paths = {f"{step:,}": path for step, path in snapshots_of(run.model, 30)} | {"30": run.model}
    for row, name in enumerate(shape.rows):
        steps = sample(subject_of(load(paths[name], torch.device("cpu"))), SPEC, torch.device("cpu"))
        for column, step in enumerate(steps):
            tile = tiles(found)[5 * row + column]
            assert np.array_equal(tile.images, step.x0.numpy())
            assert tile.caption.startswith(f"after step {name}")
            assert not tile.images.flags.writeable
    assert tiles(found)[-1].caption == "after step 30, without noise: the sample"


def test_images_come_as_bytes(tmp_path: Path) -> None:
    run = train(
        tmp_path / "run",
        data=MNIST(),
        network=UNetSpec(width=8, depth=2),
        run=RunKnobs(steps=3, batch=4, preview_every=0.0),
    )
    found = tiles(told(RewindJob(run.model, SPEC, most_rows=2)))
    assert {tile.row for tile in found} == {0, 1}
    assert all(tile.images.dtype == np.uint8 and tile.images.shape == (6, 1, 28, 28) for tile in found)
    *_, last = sample(subject_of(load(run.model, torch.device("cpu"))), SPEC, torch.device("cpu"))
    assert np.array_equal(found[-1].images, to_uint8(last.x).numpy())


def test_of_many_levels_and_snapshots_evenly_chosen_ones_are_told(run: Run) -> None:
    spec = dataclasses.replace(SPEC, knobs=dataclasses.replace(SPEC.knobs, steps=40))
    found = told(RewindJob(run.model, spec, most_rows=3, most_columns=6))
    shape = next(event for event in found if isinstance(event, events.TableShape))
    assert (len(shape.rows), len(shape.columns)) == (3, 6)
    assert len(tiles(found)) == 18
    assert shape.columns[-1] == "sample"


def test_a_stop_is_heard_between_two_steps(run: Run) -> None:
    control = Control()
    found = []
    for event in drive(RewindJob(run.model, SPEC), control):
        found.append(event)
        if isinstance(event, events.Tile) and (event.row, event.column) == (1, 2):
            control.stop()
    last = [event for event in found if isinstance(event, events.Tile)][-1]
    assert (last.row, last.column) == (1, 2)
    assert isinstance(found[-1], events.Finished)
    assert found[-1].outcome == "stopped"


def test_a_model_without_snapshots_says_so(tmp_path: Path) -> None:
    run = train(tmp_path / "none", run=RunKnobs(steps=3, batch=16, preview_every=0.0, rewind_mb=0))
    elsewhere = tmp_path / "model.safetensors"
    elsewhere.write_bytes(run.model.read_bytes())
    for path in (run.model, elsewhere):
        failed = [event for event in told(RewindJob(path, SPEC)) if isinstance(event, events.Failed)]
        assert len(failed) == 1
        assert "has no snapshots of its training" in failed[0].summary


def test_snapshots_of_steps_after_the_model_are_left_out(run: Run) -> None:
    (run.snapshots / "step-0000031.safetensors").write_bytes(run.model.read_bytes())
    assert [step for step, _ in snapshots_of(run.model, 30)][-1] < 30
    assert [step for step, _ in snapshots_of(run.model, 32)][-1] == 31


def test_listing_snapshots_opens_no_file(run: Run) -> None:
    before = snapshots_of(run.model, 30)
    run.model.unlink()
    assert snapshots_of(run.model, 30) == before != []
