"""Comparing jobs without Qt: the same noise in every lane, nothing sampled twice, and commands that repeat a run."""

from __future__ import annotations

import dataclasses
import os
import shlex
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from studio import cli
from studio.core import events
from studio.core.config import RunKnobs, TrainConfig
from studio.core.data.images import MNIST
from studio.core.data.points import SwissRoll
from studio.core.grids import Exact, LogSNR, Uniform
from studio.core.metrics.memorisation import nearest, typical_distances
from studio.core.networks.mlp import MLPSpec
from studio.core.networks.unet import UNetSpec
from studio.core.optimizers import AdamSpec
from studio.core.pictures import save_png
from studio.core.runs import Run
from studio.core.samplers.ancestral import Ancestral
from studio.core.samplers.ddim import DDIM
from studio.core.sampling import SampleKnobs, SampleSpec
from studio.session import compare, jobs
from studio.session.compare import (
    MOST_LANES,
    Axis,
    CompareJob,
    GridJob,
    LaneSpec,
    NeighbourJob,
    Runs,
    command,
    deviation,
    parse_values,
    settings,
    varied,
)
from studio.session.control import Control
from studio.session.jobs import MOST_MODELS, Job, SampleJob, TrainJob, drive


@pytest.fixture(scope="module")
def roll(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model of points, hardly trained."""
    config = TrainConfig(
        data=SwissRoll(num_points=500),
        network=MLPSpec(width=16, blocks=1),
        optimizer=AdamSpec(),
        run=RunKnobs(steps=4, batch=16, preview_every=0.0),
    )
    return trained(config, tmp_path_factory.mktemp("roll"))


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model of digits, hardly trained."""
    config = TrainConfig(data=MNIST(), network=UNetSpec(width=8), run=RunKnobs(steps=2, batch=8, preview_every=0.0))
    return trained(config, tmp_path_factory.mktemp("digits"))


def trained(config: TrainConfig, folder: Path) -> Path:
    run = Run(folder / "run")
    assert list(drive(TrainJob(config, run), Control()))[-1].outcome == "done"  # type: ignore[union-attr]
    return run.model


def lane(path: Path, steps: int, sampler: object = None, **knobs: object) -> LaneSpec:
    values = SampleKnobs(steps=steps, **knobs)  # type: ignore[arg-type]
    return LaneSpec(path, SampleSpec(sampler=sampler or DDIM(), grid=LogSNR(), knobs=values))  # type: ignore[arg-type]


def told(job: Job, control: Control | None = None) -> list[events.Event]:
    return [event for event in drive(job, control or Control(), 7) if event is not None]


def of(kind: type, found: list[events.Event]) -> list:
    return [event for event in found if isinstance(event, kind)]


class TestLanes:
    def test_all_start_from_the_same_noise_and_each_is_what_sample_gives(self, roll: Path) -> None:
        lanes = (lane(roll, 6, Ancestral()), lane(roll, 3), lane(roll, 6, DDIM(eta=1.0)))
        found = told(CompareJob(lanes, seed=5, count=9))
        frames = of(events.Frame, found)
        firsts = [next(frame for frame in frames if frame.lane == index) for index in range(3)]
        for first in firsts:
            assert first.index == 0
            np.testing.assert_array_equal(first.x, firsts[0].x)
        for index, one in enumerate(lanes):
            last = [frame for frame in frames if frame.lane == index][-1]
            alone = told(SampleJob(roll, one.started(5, 9).spec))
            np.testing.assert_array_equal(last.x, of(events.Frame, alone)[-1].x)
        np.testing.assert_array_equal(of(events.Frame, found)[-1].x0, of(events.Frame, found)[-1].x)

    def test_cheap_lanes_come_first(self, roll: Path) -> None:
        found = told(CompareJob((lane(roll, 9), lane(roll, 2)), seed=0, count=4))
        assert [event.lane for event in of(events.LaneDone, found)] == [1, 0]

    def test_the_deviation_is_the_distance_to_the_many_step_run(self, roll: Path) -> None:
        lanes = (lane(roll, 2), LaneSpec(roll, SampleSpec(grid=Uniform(), knobs=SampleKnobs(steps=50))))
        found = told(CompareJob(lanes, seed=1, count=16, reference_steps=50))
        ends = of(events.LaneDone, found)
        assert [end.deviation is None for end in ends] == [True, True, False, False]
        by_lane = {end.lane: end.deviation for end in ends}
        assert by_lane[1] == pytest.approx(0.0, abs=1e-6), "it is the reference itself"
        samples = [of(events.Frame, told(SampleJob(roll, one.started(1, 16).spec)))[-1].x for one in lanes]
        assert by_lane[0] == pytest.approx(deviation(samples[0], samples[1]), rel=1e-4)
        assert by_lane[0] > 0.01

    def test_a_reference_has_no_more_steps_than_the_schedule(self, roll: Path) -> None:
        assert lane(roll, 2).reference(5000, 1000).spec.knobs.steps == 1000

    def test_what_is_known_is_not_sampled_again(self, roll: Path) -> None:
        runs, references = Runs(), Runs()
        first = CompareJob((lane(roll, 2), lane(roll, 3)), 0, 4, 20, runs, references)
        told(first)
        again = told(dataclasses.replace(first, lanes=(*first.lanes, lane(roll, 5))))
        assert {frame.lane for frame in of(events.Frame, again)} == {2}
        assert len({end.lane for end in of(events.LaneDone, again) if end.deviation is not None}) == 3
        assert not [e for e in of(events.Status, again) if "reference" in e.text]
        runs.forget(lane(roll, 2).started(0, 4))
        assert {frame.lane for frame in of(events.Frame, told(first))} == {0}

    def test_after_more_training_it_is_another_run(self, roll: Path) -> None:
        runs, before = Runs(), lane(roll, 2).as_of_now()
        told(CompareJob((before,), 0, 4, 20, runs, runs))
        os.utime(roll, ns=(before.changed + 1, before.changed + 1))
        after = lane(roll, 2).as_of_now().started(0, 4)
        assert runs.find(after) is None
        assert runs.find(after.reference(20, 1000)) is None
        assert runs.find(before.started(0, 4)) is not None
        assert runs.find(before.started(0, 4).reference(20, 1000)) is not None
        assert lane(Path("/nowhere"), 2).as_of_now() == lane(Path("/nowhere"), 2)

    def test_a_stop_ends_it_within_a_step_and_keeps_nothing_half_done(self, roll: Path) -> None:
        control, runs = Control(), Runs()
        job = CompareJob((lane(roll, 50), lane(roll, 60)), 0, 4, runs=runs)
        seen = 0
        for event in drive(job, control):
            if isinstance(event, events.Frame):
                seen += 1
                control.stop()
        assert seen == 1
        assert runs.find(job.lanes[0].started(0, 4)) is None

    def test_lanes_of_other_items_are_refused(self, roll: Path, digits: Path) -> None:
        found = told(CompareJob((lane(digits, 1), lane(roll, 2)), 0, 2))
        (failed,) = of(events.Failed, found)
        assert "another shape" in failed.summary


class TestGrid:
    def test_each_place_is_its_own_run(self, roll: Path) -> None:
        job = GridJob(lane(roll, 5, count=6), Axis("steps", (2, 4)), Axis("sampler.eta", (0.0, 1.0)))
        tiles = of(events.Tile, told(job))
        assert [(tile.row, tile.column) for tile in tiles] == [(0, 0), (0, 1), (1, 0), (1, 1)]
        spec = varied(varied(job.lane.spec, "steps", 4), "sampler.eta", 1.0)
        alone = of(events.Frame, told(SampleJob(roll, spec)))[-1]
        np.testing.assert_array_equal(tiles[3].images, alone.x)
        assert "calls" in tiles[0].caption

    def test_settings_are_those_that_have_an_effect(self) -> None:
        spec = SampleSpec(sampler=DDIM(), grid=LogSNR(), knobs=SampleKnobs())
        names = set(settings(spec, ("0", "1"), True))
        assert {"steps", "guidance", "label", "seed", "clip", "sampler.eta", "grid.noisiest"} <= names
        assert "count" not in names
        assert not {"guidance", "label", "clip"} & set(settings(spec, (), False))
        typed = dataclasses.replace(spec, grid=Exact())
        assert "steps" not in settings(typed, (), False)

    def test_values_are_refused_in_the_knobs_own_words(self) -> None:
        spec = SampleSpec(sampler=DDIM(), grid=LogSNR(), knobs=SampleKnobs())
        knobs = settings(spec, ("0", "1"), True)
        assert parse_values(knobs["steps"], "5, 10 ,5") == (5, 10)
        assert parse_values(knobs["clip"], "yes, no") == (True, False)
        with pytest.raises(ValueError, match="a number from 0 to 1"):
            parse_values(knobs["sampler.eta"], "0, 2")
        with pytest.raises(ValueError, match="is no class"):
            parse_values(knobs["label"], "each, seven", ("0", "1"))
        with pytest.raises(ValueError, match="at least one"):
            parse_values(knobs["steps"], " , ")
        with pytest.raises(ValueError, match="too many"):
            parse_values(knobs["seed"], ",".join(map(str, range(13))))


def test_neighbours_are_the_nearest_training_points(roll: Path) -> None:
    (found,) = of(events.Neighbours, told(NeighbourJob(lane(roll, 3, count=8))))
    train = SwissRoll(num_points=500).load().train
    distances = np.linalg.norm(found.samples[:, None] - train[None], axis=2)
    np.testing.assert_allclose(found.distances, distances.min(1), rtol=1e-4)
    np.testing.assert_array_equal(found.nearest, train[distances.argmin(1)])
    assert found.typical.shape == (3,)
    assert (np.diff(found.typical) > 0).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_a_search_in_blocks_finds_the_same(monkeypatch: pytest.MonkeyPatch, dtype: type) -> None:
    random = np.random.default_rng(0)
    items, train = (random.integers(0, 256, (count, 1, 4, 4)).astype(dtype) for count in (70, 900))
    if dtype is np.float32:
        items, train = items.reshape(70, 16), train.reshape(900, 16)
    monkeypatch.setattr(compare, "_BLOCK_ITEMS", 30)
    monkeypatch.setattr(compare, "_BLOCK_PRODUCTS", 30 * 16 * 100)
    pauses, found = exhausted(compare._nearest(items, train, Control()))
    assert pauses == 3 * 9
    for ours, whole in zip(found, nearest(items, train), strict=True):
        np.testing.assert_array_equal(ours, whole)


def test_a_search_is_left_between_blocks(roll: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compare, "_BLOCK_ITEMS", 2)
    control, calls = Control(), []

    def look(*given: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        calls.append(len(given[0]))
        control.stop()
        return nearest(*given)

    monkeypatch.setattr(compare, "nearest", look)
    found = told(NeighbourJob(lane(roll, 3, count=8)), control)
    assert calls == [2]
    assert of(events.Neighbours, found) == []
    assert of(events.Finished, found)[0].outcome == "stopped"


def test_typical_distances_are_those_of_the_measure(roll: Path) -> None:
    (found,) = of(events.Neighbours, told(NeighbourJob(lane(roll, 3, count=8))))
    np.testing.assert_array_equal(found.typical, typical_distances(compare._real_items(SwissRoll(num_points=500))))


def exhausted(steps: Iterator[None]) -> tuple[int, Any]:
    """How often it yields, and what it returns."""
    count = 0
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return count, end.value
        count += 1


def test_threads_read_a_model_once_and_every_lane_keeps_its_own(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    read: list[Path] = []

    def slow(path: Path, device: torch.device) -> object:
        time.sleep(0.02)
        read.append(path)
        return object()

    monkeypatch.setattr(jobs, "load", slow)
    models, cpu = jobs._Models(), torch.device("cpu")
    threads = [threading.Thread(target=models.load, args=(tmp_path / "a", cpu)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert read == [tmp_path / "a"]
    assert MOST_MODELS >= MOST_LANES
    paths = [tmp_path / str(number) for number in range(MOST_LANES)]
    for path in paths * 2:
        models.load(path, cpu)
    assert read[1:] == paths


@pytest.mark.parametrize(
    "one",
    [
        lane(Path(), 2, DDIM(eta=0.5), seed=3, count=5, guidance=1.0, label="each"),
        lane(Path(), 3, Ancestral(variance="large"), seed=1, count=4, label="none", clip=False),
        LaneSpec(Path(), SampleSpec(grid=Exact(steps="900, 400, 20"), knobs=SampleKnobs(count=3, label="7"))),
    ],
)
def test_a_command_makes_the_same_picture(digits: Path, tmp_path: Path, one: LaneSpec) -> None:
    one = LaneSpec(digits, one.spec)
    job = CompareJob((one, one), one.spec.knobs.seed, one.spec.knobs.count)
    last = of(events.Frame, told(job))[-1]
    save_png(tmp_path / "lane.png", np.clip(np.rint((last.x + 1) * 127.5), 0, 255).astype(np.uint8))
    line = command(one, str(tmp_path / "again.png"))
    words = shlex.split(line)
    assert words[0] == "denoising-studio"
    assert cli.main(words[1:]) == 0
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "lane.png").read_bytes()
