"""A model that knows a few big steps alone is sampled over those wherever nobody says otherwise."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from studio.cli import main
from studio.core import events
from studio.core.config import RunKnobs, TrainConfig
from studio.core.data.points import SwissRoll
from studio.core.evaluation import Cell, Evaluation, EvaluationKnobs
from studio.core.grids import Betas, Uniform
from studio.core.networks.mlp import MLPSpec
from studio.core.recipes.adversarial import Adversarial
from studio.core.runs import Run
from studio.core.samplers.ancestral import Ancestral
from studio.core.samplers.ddim import DDIM
from studio.core.sampling import SampleKnobs, SampleSpec, own_spec
from studio.core.schedule_judges import BySamples
from studio.core.schedules import BigSteps
from studio.session.compare import CompareJob, LaneSpec
from studio.session.control import Control
from studio.session.jobs import SampleJob, TrainJob, drive
from studio.session.schedule import SearchJob

OWN = own_spec(Adversarial(num_steps=3))


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[events.Event]]:
    """A small model of three steps, and what its training said."""
    config = TrainConfig(
        title="Few",
        data=SwissRoll(num_points=400),
        recipe=Adversarial(num_steps=3, latent=4, d_width=8),
        network=MLPSpec(width=16, blocks=1),
        run=RunKnobs(steps=3, batch=16, preview_every=0.001),
    )
    run = Run(tmp_path_factory.mktemp("few") / "run")
    found = [event for event in drive(TrainJob(config, run), Control()) if event is not None]
    assert outcome(found) == "done"
    return run.model, found


@pytest.fixture(scope="module")
def model(told: tuple[Path, list[events.Event]]) -> Path:
    return told[0]


def outcome(found: Sequence[events.Event | None]) -> str:
    last = found[-1]
    assert isinstance(last, events.Finished)
    return last.outcome


def test_its_own_way_are_the_levels_it_was_trained_at() -> None:
    assert OWN.sampler == Ancestral()
    assert OWN.grid.own_steps == 3
    assert OWN.grid == Betas.listed(BigSteps(num_steps=3).betas().tolist())
    assert (OWN.knobs.steps, OWN.knobs.guidance, OWN.title) == (3, 0.0, "Ancestral 3")
    assert own_spec(Adversarial(predict="x_s")).sampler == DDIM()


def test_previews_say_how_they_were_sampled(told: tuple[Path, list[events.Event]]) -> None:
    captions = {event.caption for event in told[1] if isinstance(event, events.Preview)}
    assert captions == {"EMA · seed 0 · Ancestral 3"}


def test_a_run_has_its_steps_and_no_score_field(model: Path) -> None:
    """What such a model believes at a place is drawn anew each time: it has no one score to draw."""
    found = list(drive(SampleJob(model, OWN.at(count=6)), Control()))
    frames = [event for event in found if isinstance(event, events.Frame)]
    assert [frame.index for frame in frames] == [0, 1, 2, 3]
    assert frames[-1].nfe == 3
    assert not any(isinstance(event, events.Field) for event in found)


def test_lanes_of_it_have_no_reference_of_many_steps(model: Path) -> None:
    lanes = (LaneSpec(model, OWN), LaneSpec(Path("checkpoints/swiss-roll.safetensors").absolute(), SampleSpec()))
    found = list(drive(CompareJob(lanes, 0, 5, reference_steps=20), Control()))
    assert outcome(found) == "done"
    measured = {event.lane for event in found if isinstance(event, events.LaneDone) and event.deviation is not None}
    assert measured == {1}


def test_an_evaluation_takes_its_own_way_unless_told_another(model: Path) -> None:
    (plain,) = Evaluation.from_dict({"models": [str(model)], "steps": [5, 6]}).cells()
    assert (plain.entrant.sampler, plain.entrant.grid, plain.steps) == (OWN.sampler, OWN.grid, 3)
    other = Evaluation.from_dict({"models": [str(model)], "samplers": ["ddim"], "grids": ["uniform"], "steps": [5]})
    assert [(cell.entrant.sampler, cell.entrant.grid, cell.steps) for cell in other.cells()] == [(DDIM(), Uniform(), 5)]
    (listed,) = Evaluation.from_dict({"entrants": [{"model": str(model)}]}).entrants
    assert listed == plain.entrant
    compared = Cell(entrant=plain.entrant, steps=3, seed=0, knobs=EvaluationKnobs(reference_steps=50))
    assert compared.reference() is None


class TestCommandLine:
    def draw(self, model: Path, *words: str) -> np.ndarray:
        out = model.parent / "drawn.npz"
        assert main(["sample", str(model), "--count", "5", "--device", "cpu", "--out", str(out), *words]) == 0
        with np.load(out) as table:
            return table["samples"]

    def test_sample_takes_its_own_way(self, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
        plain = self.draw(model)
        assert "3 network calls each" in capsys.readouterr().out
        betas = ", ".join(map(repr, BigSteps(num_steps=3).betas().tolist()))
        words = ("--sampler", "ancestral", "--grid", "betas", "--grid.betas", betas, "--guidance", "0")
        assert np.array_equal(plain, self.draw(model, *words))
        assert "trained for its own" not in capsys.readouterr().err

    def test_other_levels_are_possible_and_a_note_says_so(
        self, model: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.draw(model, "--steps", "7")
        written = capsys.readouterr()
        assert "7 network calls each" in written.out
        assert "Few was trained for its own 3 steps alone" in written.err

    def test_no_schedule_is_sought_for_it(self, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["schedule", str(model), "--device", "cpu"]) == 1
        assert "knows the levels of its own 3 steps alone" in capsys.readouterr().err


def test_a_search_says_why_it_cannot(model: Path) -> None:
    found = list(drive(SearchJob(model, BySamples()), Control()))
    failed = next(event for event in found if isinstance(event, events.Failed))
    assert "Choose a model that was trained at all noise levels" in failed.summary


def test_the_knobs_of_its_own_way_are_those_of_all() -> None:
    assert OWN.knobs == SampleKnobs(steps=3, guidance=0.0)
