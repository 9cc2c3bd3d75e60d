"""Evaluations: what is measured, that it resumes to the same numbers, and what is refused."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from studio.core import events, resources
from studio.core.checkpoints.header import read_header
from studio.core.checkpoints.native import load, write, write_scores
from studio.core.checkpoints.places import locate
from studio.core.data.points import SwissRoll
from studio.core.device import choose
from studio.core.evaluation import Entrant, Evaluation, EvaluationKnobs, metrics_for, read_tables
from studio.core.evaluator import Evaluator, _Store, with_settings
from studio.core.features import judge, reference_for
from studio.core.grids import Betas, Exact, LogSNR
from studio.core.metrics.base import Score, measure
from studio.core.report import Point, pivot, plot, points, quantities
from studio.core.runs import Run
from studio.core.samplers.ancestral import Ancestral
from studio.core.samplers.ddim import DDIM
from studio.core.sampling import sample, subject_of

ROLL = resources.shipped_checkpoints() / "swiss-roll.safetensors"
DIGITS = resources.shipped_checkpoints() / "mnist-ddpm.safetensors"


class Control:
    """Stops after a number of looks."""

    def __init__(self, looks: float = float("inf")) -> None:
        self.looks = looks

    @property
    def stopping(self) -> bool:
        self.looks -= 1
        return self.looks < 0


def small(**other: Any) -> Evaluation:
    given: dict[str, Any] = {
        "entrants": (Entrant(model=ROLL), Entrant(model=ROLL, sampler=Ancestral())),
        "steps": (3, 5),
        "seeds": (0, 1),
        "knobs": EvaluationKnobs(count=200, batch=60),
        "metrics": metrics_for(["sliced_wasserstein", "energy"]),
    }
    return Evaluation(**given | other)


def run(evaluation: Evaluation, folder: Path, control: Control | None = None) -> list[events.Event]:
    return [event for event in Evaluator(evaluation, folder).run(control or Control()) if event is not None]


def rows(told: list[events.Event]) -> list[dict[str, Any]]:
    return [dict(event.row) for event in told if isinstance(event, events.CellScored)]


def scores(told: list[events.Event]) -> list[dict[str, Any]]:
    """Rows without what depends on the clock."""
    timed = ("seconds", "images_per_second", "peak_mb")
    return [{name: value for name, value in row.items() if name not in timed} for row in rows(told)]


class TestCells:
    def test_every_combination_once_and_cheap_ones_first(self) -> None:
        cells = small(steps=(5, 3, 5)).cells()
        assert len(cells) == 2 * 2 * 2
        assert [cell.steps for cell in cells] == [3, 3, 5, 5] * 2
        assert [cell.seed for cell in cells] == [0] * 4 + [1] * 4

    def test_the_key_follows_what_the_samples_depend_on(self, tmp_path: Path) -> None:
        first = small().cells()[0]
        same = small(title="Other", metrics=(), knobs=EvaluationKnobs(count=200, batch=7)).cells()[0]
        assert first.key == same.key
        others = [
            small(knobs=EvaluationKnobs(count=201)).cells()[0],
            small(knobs=EvaluationKnobs(count=200, clip=False)).cells()[0],
            small(seeds=(3,)).cells()[0],
            small(entrants=(Entrant(model=ROLL, grid=LogSNR()),)).cells()[0],
            small(entrants=(Entrant(model=ROLL, sampler=DDIM(eta=0.1)),)).cells()[0],
            small(entrants=(Entrant(model=ROLL, guidance=1.0),)).cells()[0],
            small(entrants=(Entrant(model=DIGITS),)).cells()[0],
        ]
        assert len({cell.key for cell in (first, *others)}) == len(others) + 1
        moved = tmp_path / "moved.safetensors"
        moved.write_bytes(ROLL.read_bytes())
        write_scores(moved, {"FD": 1.0})
        assert small(entrants=(Entrant(model=moved),)).cells()[0].key == first.key, "a model is known by its contents"

    def test_titles_tell_what_is_set(self) -> None:
        assert Entrant(model=ROLL, sampler=DDIM(eta=0.2)).title == "DDIM η 0.2"
        assert Entrant(model=ROLL, sampler=Ancestral(variance="large"), guidance=0.5).title == "Ancestral large w 0.5"


class TestToml:
    def test_there_and_back(self, tmp_path: Path) -> None:
        evaluation = small()
        path = tmp_path / "evaluation.toml"
        path.write_text(evaluation.to_toml(), encoding="utf-8")
        assert Evaluation.from_dict(read_tables(path), locate) == evaluation

    def test_a_product_of_lists(self) -> None:
        tables = {
            "models": ["swiss-roll", "mnist-ddpm"],
            "samplers": [{"name": "ancestral", "variance": "large"}, "ddim"],
            "eta": [0.0, 0.5, 1.0],
            "guidance": [0.0, 1.0],
            "count": 64,
        }
        found = Evaluation.from_dict(tables, locate)
        assert len(found.entrants) == 2 * (1 + 3) * 2
        assert found.entrants[0] == Entrant(model=ROLL, sampler=Ancestral(variance="large"))
        assert {entrant.sampler for entrant in found.entrants[2:]} >= {DDIM(eta=0.5), DDIM(eta=1.0)}
        assert found.knobs.count == 64

    @pytest.mark.parametrize(
        ("tables", "said"),
        [
            ({}, "needs entrants"),
            ({"models": ["swiss-roll"], "stpes": [3]}, "'stpes' is no part of an evaluation"),
            ({"models": ["swiss-roll"], "steps": [0]}, "steps = 0 is not possible"),
            ({"models": ["swiss-roll"], "steps": ["many"]}, "steps = 'many' is not possible"),
            ({"models": ["swiss-roll"], "seeds": [-1]}, "seeds = -1 is not possible"),
            ({"models": ["swiss-roll"], "count": 1}, "count = 1 is not possible"),
            ({"models": ["swiss-roll"], "samplers": ["dimd"]}, "'dimd' is no sampler"),
            ({"models": ["swiss-roll"], "metrics": ["fid"]}, "'fid' is no metric"),
            ({"models": ["swiss-roll"], "guidance": [-1]}, "guidance = -1 is not possible"),
            ({"models": ["swiss-roll"], "samplers": ["ancestral"], "eta": [0.5]}, "eta has no effect"),
            ({"models": ["nowhere"]}, "nowhere"),
            ({"entrants": [{"sampler": "ddim"}]}, "needs a model"),
            ({"entrants": [{"model": "swiss-roll", "eta": 1}]}, "'eta' is no setting of an entrant"),
        ],
    )
    def test_what_cannot_be_is_refused_in_words(self, tables: dict[str, Any], said: str) -> None:
        with pytest.raises(ValueError, match=said):
            Evaluation.from_dict(tables, locate).cells()[0].key  # noqa: B018


class TestRun:
    def test_every_cell_has_its_scores_and_cost(self, tmp_path: Path) -> None:
        told = run(small(), tmp_path)
        found = rows(told)
        assert len(found) == 8
        assert {(row["entrant"], row["steps"], row["seed"]) for row in found} == {
            (name, steps, seed) for name in ("DDIM η 0", "Ancestral small") for steps in (3, 5) for seed in (0, 1)
        }
        for row in found:
            assert row["nfe"] == row["steps"]
            assert row["count"] == 200
            assert row["sliced_wasserstein"] > 0.0
            assert row["seconds"] > 0.0
            assert row["images_per_second"] == pytest.approx(200 / row["seconds"], rel=0.2)
            assert row["peak_mb"] > 50.0
        last = [event for event in told if isinstance(event, events.EvaluationProgress)][-1]
        assert (last.done, last.total, last.fraction) == (8, 8, 1.0)

    def test_scores_are_those_of_the_samples_that_this_seed_gives(self, tmp_path: Path) -> None:
        evaluation = small(steps=(4,), seeds=(5,), entrants=(Entrant(model=ROLL, sampler=DDIM(eta=0.5)),))
        (row,) = rows(run(evaluation, tmp_path))
        *_, step = sample(subject_of(load(ROLL, choose("cpu"))), evaluation.cells()[0].spec, choose("cpu"))
        dataset = SwissRoll().load()
        evidence = judge(step.x.numpy(), None, dataset)
        for metric in evaluation.metrics:
            for name, score in measure(metric, evidence, reference_for(dataset)).items():
                assert row[name] == pytest.approx(score.value, rel=1e-4)

    @pytest.mark.parametrize("looks", [1, 6, 14, 25])
    def test_a_stopped_one_resumes_to_the_same_numbers(self, tmp_path: Path, looks: int) -> None:
        whole = scores(run(small(), tmp_path / "whole"))
        stopped = scores(run(small(), tmp_path / "parts", Control(looks)))
        assert len(stopped) < len(whole)
        assert stopped == whole[: len(stopped)]
        assert scores(run(small(), tmp_path / "parts")) == whole

    def test_what_is_measured_is_not_sampled_again(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        before = run(small(), tmp_path)

        def never(*_: object, **__: object) -> None:
            raise AssertionError("sampled again")

        monkeypatch.setattr("studio.core.evaluator.sample", never)
        assert rows(run(small(), tmp_path)) == rows(before)
        more = rows(run(small(metrics=metrics_for(["sliced_wasserstein", "energy", "memorisation"])), tmp_path))
        assert all("copied" in row for row in more), "another measure takes the samples that are there"

    def test_what_is_sampled_can_be_scored_without_more_sampling(self, tmp_path: Path) -> None:
        run(small(steps=(3,)), tmp_path)
        evaluation = small(metrics=metrics_for(["energy"]))
        told = [event for event in Evaluator(evaluation, tmp_path, sampled_only=True).run(Control()) if event]
        assert [row["steps"] for row in rows(told)] == [3, 3, 3, 3]

    def test_damaged_files_are_measured_again(self, tmp_path: Path) -> None:
        evaluation = small(seeds=(0,))
        whole = scores(run(evaluation, tmp_path))
        keys = [cell.key for cell in evaluation.cells()]
        (tmp_path / "cells" / f"{keys[0]}.json").write_text("{", encoding="utf-8")
        (tmp_path / "cells" / f"{keys[1]}.json").unlink()
        (tmp_path / "samples" / f"{keys[1]}.npz").write_bytes(b"PK\x03\x04 not quite")
        assert scores(run(evaluation, tmp_path)) == whole

    def test_deviation_is_the_distance_to_the_many_step_run(self, tmp_path: Path) -> None:
        evaluation = small(
            steps=(5, 40),
            seeds=(0,),
            entrants=(Entrant(model=ROLL),),
            knobs=EvaluationKnobs(count=100, reference_steps=40),
        )
        coarse, fine = rows(run(evaluation, tmp_path))
        assert fine["deviation"] == 0.0, "it is the reference itself"
        assert coarse["deviation"] > 0.01

    def test_a_model_that_breaks_down_does_not_take_the_others_with_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from studio.core import evaluator

        plain = evaluator.sample

        def broken(subject: Any, spec: Any, *rest: Any, **more: Any) -> Any:
            for step in plain(subject, spec, *rest, **more):
                if spec.knobs.steps == 3:
                    step.x.fill_(float("nan"))
                yield step

        monkeypatch.setattr(evaluator, "sample", broken)
        told = run(small(seeds=(0,)), tmp_path)
        assert [row["steps"] for row in rows(told)] == [5, 5]
        said = [event.summary for event in told if isinstance(event, events.Warned) and "NaN" in event.summary]
        assert len(said) == 2
        assert "3 steps" in said[0]
        with pytest.raises(ValueError, match="No cell could be measured"):
            run(small(seeds=(0,), steps=(3,)), tmp_path / "other")

    @pytest.mark.parametrize(
        ("other", "said"),
        [
            ({"steps": (5000,)}, "5000"),
            ({"knobs": EvaluationKnobs(label="7")}, "knows no classes"),
            ({"metrics": metrics_for(["fd"])}, "cannot be measured"),
            ({"knobs": EvaluationKnobs(reference_steps=9999)}, "9999"),
        ],
    )
    def test_cells_that_cannot_be_are_refused_before_sampling(
        self, tmp_path: Path, other: dict[str, Any], said: str
    ) -> None:
        with pytest.raises(ValueError, match=said):
            run(small(**other), tmp_path / "new")
        assert not (tmp_path / "new").exists()

    def test_few_samples_warn(self, tmp_path: Path) -> None:
        told = run(small(seeds=(0,), steps=(3,)), tmp_path)
        said = [event.summary for event in told if isinstance(event, events.Warned)]
        assert any("200 samples are few" in text for text in said)


class TestDigits:
    def test_digits_are_scored_on_the_named_network(self, tmp_path: Path) -> None:
        evaluation = Evaluation(
            entrants=(Entrant(model=DIGITS, grid=LogSNR()),),
            steps=(8,),
            knobs=EvaluationKnobs(count=150),
            metrics=metrics_for(["fd", "classifier", "modes"]),
        )
        told = run(evaluation, tmp_path)
        (row,) = rows(told)
        (floor,) = [event.floor for event in told if isinstance(event, events.CellScored)]
        assert "MNIST" in row["network"]
        assert 0.0 < floor["fd"] < 10.0
        assert 0.0 < row["fd"] < 20.0
        assert 0.8 < row["accuracy"] <= 1.0
        assert row["modes"] == 10


class TestReport:
    def test_the_files_hold_the_same_numbers(self, tmp_path: Path) -> None:
        evaluation = small()
        told = run(evaluation, tmp_path)
        saved = next(event for event in told if isinstance(event, events.Saved))
        table = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
        assert table["rows"] == rows(told)
        with (tmp_path / "results.csv").open(encoding="utf-8", newline="") as file:
            read = list(csv.DictReader(file))
        assert [float(line["energy"]) for line in read] == [row["energy"] for row in rows(told)]
        assert Evaluation.from_dict(read_tables(tmp_path / "evaluation.toml"), locate) == evaluation
        page = Path(saved.path).read_text(encoding="utf-8")
        assert page.count("<img") >= 4
        assert "200 samples in each cell" in page
        assert "standard deviation over 2 seeds" in page
        assert "http://" not in page.replace("http://www.w3.org", "")

    def test_seeds_become_a_mean_and_a_spread(self) -> None:
        row = {"data": "D", "id": "1", "entrant": "E", "model": "m", "grid": "uniform", "steps": 3, "nfe": 3}
        (point,) = points([row | {"fd": 1.0}, row | {"fd": 3.0}])
        assert point.values["fd"].value == 2.0
        assert point.values["fd"].error == pytest.approx(np.sqrt(2.0))
        assert point.seeds == 2
        (alone,) = points([row | {"fd": 1.0, "fd_error": 0.5}])
        assert alone.values["fd"] == (1.0, 0.5)

    def test_a_plot_of_cells_that_took_equal_time_can_be_drawn(self) -> None:
        row = {"data": "D", "id": "1", "entrant": "E", "model": "m", "grid": "uniform", "seconds": 0.01, "fd": 1.0}
        found = points([row | {"steps": 3, "nfe": 3}, row | {"steps": 4, "nfe": 4}])
        assert "<svg" in plot(found, quantities()["fd"], None, "seconds")

    def test_entrants_are_told_apart(self) -> None:
        row = {
            "data": "D",
            "id": "1",
            "entrant": "E",
            "model": "m",
            "grid": "uniform",
            "steps": 3,
            "nfe": 3,
            "seconds": 1.0,
        }
        found = points(
            [row, row | {"id": "2", "model": "n"}, row | {"id": "3", "grid": "quadratic"}, row | {"id": "4"}]
        )
        assert len({point.entrant for point in found}) == 4
        apart = points([row, row | {"id": "5", "data": "Other"}])
        assert [point.entrant for point in apart] == ["E", "E"], "alone in its table it needs no more words"

    def test_a_table_has_a_column_for_each_number_of_steps(self) -> None:
        def at(entrant: str, steps: int, value: float) -> Point:
            values = {"seconds": Score(value)}
            return Point(data="D", entrant=entrant, steps=steps, nfe=steps, seeds=1, values=values)

        head, lines = pivot([at("A", 1000, 9.0), at("A", 10, 1.0), at("B", 10, 2.0)], quantities()["seconds"])
        assert head == ["steps", "10", "1,000"]
        assert lines == [["A", "1.00", "9.00"], ["B", "2.00", "–"]]


class TestIdentity:
    """Numbers of different things are never taken for seeds of one."""

    def model_of_run(self, folder: Path) -> Path:
        path = Run(folder).model
        path.parent.mkdir(parents=True)
        path.write_bytes(ROLL.read_bytes())
        return path

    def test_models_of_two_runs_stay_apart_though_their_files_are_called_alike(self, tmp_path: Path) -> None:
        models = [self.model_of_run(tmp_path / name) for name in ("first", "second")]
        evaluation = small(entrants=tuple(Entrant(model=model) for model in models), seeds=(0,), steps=(3,))
        found = points(rows(run(evaluation, tmp_path / "out")))
        assert [point.seeds for point in found] == [1, 1]
        assert ["first" in point.entrant for point in found] == [True, False]

    def test_grids_that_differ_in_a_setting_stay_apart(self, tmp_path: Path) -> None:
        grids = LogSNR(), LogSNR(noisiest=-5.0)
        evaluation = small(entrants=tuple(Entrant(model=ROLL, grid=grid) for grid in grids), seeds=(0,), steps=(3,))
        found = points(rows(run(evaluation, tmp_path)))
        assert [point.seeds for point in found] == [1, 1]
        assert sum("noisiest -5" in point.entrant for point in found) == 1

    def test_a_model_that_is_saved_anew_while_it_is_opened_is_opened_again(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = self.model_of_run(tmp_path / "run")
        other = load(ROLL, choose("cpu"))
        state = other.denoiser.state_dict()
        tensors = {f"{kind}.{name}": value * 1.5 for kind in ("ema", "raw") for name, value in state.items()}
        opened: list[Path] = []

        def replaced_meanwhile(path: Path, device: Any) -> Any:
            model = load(path, device)
            if not opened:
                write(path, tensors, read_header(path).to_metadata())
            opened.append(path)
            return model

        monkeypatch.setattr("studio.core.evaluator.load", replaced_meanwhile)
        evaluation = small(entrants=(Entrant(model=path),), seeds=(0,), steps=(3,))
        first = scores(run(evaluation, tmp_path / "out"))
        assert len(opened) == 2
        assert scores(run(evaluation, tmp_path / "fresh")) == first, "what is stored is the new model's"

    def test_a_batch_that_another_program_joined_is_no_failure(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        evaluation = small(seeds=(0,), steps=(3,), entrants=(Entrant(model=ROLL),))
        whole = scores(run(evaluation, tmp_path / "whole"))
        plain = _Store.join

        def late(store: _Store, cell: Any) -> Any:
            plain(store, cell)
            return plain(store, cell)

        monkeypatch.setattr(_Store, "join", late)
        assert scores(run(evaluation, tmp_path / "raced")) == whole

    def test_another_batch_size_resumes_to_the_same_scores(self, tmp_path: Path) -> None:
        whole = scores(run(small(), tmp_path / "whole"))
        run(small(), tmp_path / "parts", Control(9))
        found = scores(run(small(knobs=EvaluationKnobs(count=200, batch=45)), tmp_path / "parts"))
        for ours, theirs in zip(found, whole, strict=True):
            assert ours["sliced_wasserstein"] == pytest.approx(theirs["sliced_wasserstein"], rel=1e-4)


def test_a_list_of_betas_is_measured_at_its_own_number_of_steps(tmp_path: Path) -> None:
    grids = (LogSNR(), Betas(betas="0.01, 0.3, 0.6, 0.8"), Exact(steps="900, 300"))
    entrants = tuple(Entrant(model=ROLL, grid=grid) for grid in grids)
    evaluation = small(entrants=entrants, knobs=EvaluationKnobs(count=100))
    assert [(cell.entrant.grid, cell.steps) for cell in evaluation.cells() if cell.seed == 0] == [
        (grids[2], 2),
        (grids[0], 3),
        (grids[1], 4),
        (grids[0], 5),
    ]
    found = [row for row in rows(run(evaluation, tmp_path)) if row["seed"] == 0]
    assert [(row["grid"], row["steps"], row["nfe"]) for row in found] == [
        ("exact (steps 900, 300)", 2, 2),
        ("log_snr", 3, 3),
        ("betas (betas 0.01, 0.3, 0.6, 0.8)", 4, 4),
        ("log_snr", 5, 5),
    ]
    assert Evaluation.from_dict(evaluation.to_dict(), locate) == evaluation


def test_a_long_list_is_told_by_its_length() -> None:
    assert (
        with_settings("grid", Betas(betas=", ".join(["0.123456789"] * 12))) == "betas (0.12345 … 0.12345, 12 numbers)"
    )


def test_a_list_that_is_not_possible_is_refused_before_anything_is_sampled() -> None:
    with pytest.raises(ValueError, match=r"beta\[1\] = 2.0 is not possible"):
        small(entrants=(Entrant(model=ROLL, grid=Betas(betas="0.1, 2")),)).cells()
