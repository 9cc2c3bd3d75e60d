"""The command line in this process: training, sampling and inspecting for real, and every refusal in plain words."""

from __future__ import annotations

import importlib.abc
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from PIL import Image

from studio.cli import main
from studio.core import events, resources
from studio.core.checkpoints.header import read_header
from studio.core.checkpoints.native import write_schedules
from studio.core.config import PARTS, RunKnobs, TrainConfig, load_toml
from studio.core.evaluation import Entrant, Evaluation, EvaluationKnobs, fingerprint, metrics_for
from studio.core.knobs import build, knobs_of
from studio.core.presets import preset_for, presets
from studio.core.recipes.bilateral import Bilateral
from studio.core.registry import find, methods
from studio.core.runs import Run
from studio.core.sampling import SampleKnobs, SampleSpec
from studio.core.schedule_search import SearchKnobs
from studio.core.short_schedule import ShortSchedule
from studio.display import why_no_window
from studio.session.control import Control
from studio.session.evaluate import EvaluateJob
from studio.session.jobs import SampleJob, drive

TINY = ["--preset", "swiss-roll", "--batch", "16", "--preview-every", "0", "--device", "cpu"]
TINY += ["--network.width", "16", "--network.blocks", "1", "--data.num-points", "500"]

SEARCH = ["--judge", "error", "--judge.count", "32", "--starts", "2", "--wanted", "3", "--retries", "0"]
SEARCH += ["--descent", "1", "--most", "8", "--device", "cpu", "--training.steps", "4", "--training.batch", "8"]
SEARCH += ["--network.width", "8", "--network.blocks", "1"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A swiss roll trained on the command line for 30 steps."""
    made = Run(tmp_path_factory.mktemp("cli") / "run")
    assert main(["train", *TINY, "--steps", "30", "--out", str(made.folder)]) == 0
    return made


def errors(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err


def usage(words: list[str]) -> int:
    """Run words that argparse itself ends; its exit code."""
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert isinstance(ended.value.code, int)
    return ended.value.code


class TestTrain:
    def test_it_starts_from_another_models_weights(
        self, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        words = ["train", *TINY, "--steps", "2", "--out", str(tmp_path / "run"), "--start-from", str(run.folder)]
        assert main(words) == 0
        assert f"MLP, from {run.folder} -> {tmp_path / 'run'}" in capsys.readouterr().out
        assert main(["inspect", str(tmp_path / "run")]) == 0
        assert re.search(rf"started from +{re.escape(str(run.folder))}", capsys.readouterr().out)

    def test_it_writes_a_run_folder_as_the_window_does(self, run: Run) -> None:
        header = read_header(run.model)
        assert (header.step, header.title, header.family) == (30, "Swiss roll", "DDPM")
        assert load_toml(run.config).run.batch == 16
        assert load_toml(run.config).network == find("network", "mlp")(width=16, blocks=1)
        told = [event.steps for event in run.read() if isinstance(event, events.Progress)]
        assert np.concatenate(told).tolist() == list(range(30))

    def test_it_says_what_it_does(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        folder = tmp_path / "run"
        assert main(["train", *TINY, "--steps", "3", "--out", str(folder), "--title", "Mine"]) == 0
        out = capsys.readouterr().out
        assert out.startswith("Mine: Swiss roll, ")
        assert str(folder) in out
        assert "step 3: saved" in out
        assert "done after" in out
        assert read_header(Run(folder).model).title == "Mine"

    def test_a_run_without_a_name_goes_to_the_folder_of_runs(self, studio_home: Path) -> None:
        assert main(["train", *TINY, "--steps", "2"]) == 0
        (folder,) = (studio_home / "runs").iterdir()
        assert folder.name.endswith("swiss-roll")
        assert Run(folder).model.is_file()

    def test_a_configuration_file_with_flags_that_change_it(self, run: Run, tmp_path: Path) -> None:
        out = tmp_path / "again"
        assert main(["train", str(run.config), "--steps", "4", "--out", str(out), "--recipe.num-steps", "200"]) == 0
        config = load_toml(Run(out).config)
        assert (config.run.steps, config.run.batch, config.recipe.schedule.length) == (4, 16, 200)

    def test_other_methods_bring_their_own_flags(self, tmp_path: Path) -> None:
        out = tmp_path / "muon"
        words = ["--optimizer", "muon", "--optimizer.adam-rate", "0.01", "--data", "two-moons", "--steps", "2"]
        flags = [word for word in TINY if not word.startswith("--data.") and word != "500"]
        known = methods("dataset")
        name = next(name for name in known if "moons" in name)
        words[words.index("two-moons")] = name
        assert main(["train", *flags, *words, "--out", str(out)]) == 0
        config = load_toml(Run(out).config)
        assert config.optimizer == find("optimizer", "muon")(adam_rate=0.01)
        assert config.data == find("dataset", name)()

    def config(self, folder: Path, *words: str) -> TrainConfig:
        """What ``words`` train, told after a single step."""
        small = ["--steps", "1", "--batch", "2", "--preview-every", "0", "--device", "cpu"]
        assert main(["train", *words, *small, "--out", str(folder)]) == 0
        return load_toml(Run(folder).config)

    def test_other_data_brings_its_name_and_what_suits_its_kind(self, tmp_path: Path) -> None:
        config = self.config(tmp_path / "run", "--data", "swiss_roll", "--seed", "7")
        like = presets()["swiss-roll"]
        assert config.title == "Swiss roll"
        assert (config.data, config.recipe, config.network) == (like.data, like.recipe, like.network)
        assert (config.optimizer, config.run.save_every, config.run.seed) == (like.optimizer, like.run.save_every, 7)

    def test_other_data_of_the_same_kind_keeps_the_rest(self, tmp_path: Path) -> None:
        words = ["--preset", "swiss-roll", "--network.width", "16", "--data", "rings", "--data.num-points", "500"]
        config = self.config(tmp_path / "run", *words)
        assert (config.title, config.network) == ("Rings", find("network", "mlp")(width=16))
        assert config.data == find("dataset", "rings")(num_points=500)

    def test_other_data_start_from_other_weights(self, tmp_path: Path) -> None:
        words = ["--preset", "digits-gan", "--recipe.opening", "0", "--data", "stacked_mnist"]
        assert self.config(tmp_path / "run", *words).run.start_from == ""

    def test_a_model_to_start_from_means_the_same_from_any_folder(
        self, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(run.folder.parent)
        config = self.config(tmp_path / "run", *TINY, "--start-from", run.folder.name)
        assert config.run.start_from == str(run.folder)
        (run.folder.parent / "mine.toml").write_text(f'[run]\nstart_from = "{run.folder.name}"\n')
        monkeypatch.chdir(tmp_path)
        assert load_toml(run.folder.parent / "mine.toml").run.start_from == str(run.folder)

    def test_other_data_than_a_file_says_keeps_seed_and_device(self, tmp_path: Path) -> None:
        file = tmp_path / "digits.toml"
        file.write_text('title = "Mine"\n[data]\nname = "mnist"\n[run]\nseed = 9\ndevice = "cpu"\n')
        config = self.config(tmp_path / "run", str(file), "--data", "two_moons", "--title", "Moons")
        assert (config.title, config.run.seed, config.network.kind) == ("Moons", 9, "points")

    def test_a_value_that_ends_in_toml_is_no_configuration(self, run: Run, tmp_path: Path) -> None:
        assert self.config(tmp_path / "a", *TINY, "--title", "x.toml").title == "x.toml"
        config = self.config(tmp_path / "b.toml", "--title=y.toml", "--recipe.level-mean", "-1.5", str(run.config))
        assert (config.title, config.recipe.level_mean, config.data.title) == ("y.toml", -1.5, "Swiss roll")

    def test_resuming_goes_on_to_the_planned_end(self, tmp_path: Path) -> None:
        """An interrupted run, continued, has the weights of one that was never interrupted."""
        whole, parts = Run(tmp_path / "whole"), Run(tmp_path / "parts")
        words = ["train", *TINY, "--steps", "40"]
        assert main([*words, "--out", str(whole.folder)]) == 0
        from studio.session.jobs import TrainJob

        control = Control()
        for event in drive(TrainJob(load_toml(whole.config), parts), control):
            if isinstance(event, events.Progress):
                control.stop()
        assert 0 < read_header(parts.model).step < 40
        assert main(["train", "--resume", str(parts.folder)]) == 0
        assert read_header(parts.model).step == 40
        from safetensors.torch import load_file

        one, other = load_file(whole.model), load_file(parts.model)
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)


class TestSample:
    def draw(self, run: Run, out: Path, *words: str) -> np.ndarray:
        assert main(["sample", str(run.folder), "--count", "7", "--steps", "5", "--out", str(out), *words]) == 0
        with np.load(out) as table:
            return table["samples"]

    @pytest.mark.parametrize("sampler", ["--sampler ddim --sampler.eta 0.7", "--sampler ancestral"])
    def test_the_batch_changes_speed_not_pictures(self, run: Run, tmp_path: Path, sampler: str) -> None:
        words = (*sampler.split(), "--seed", "3")
        one = self.draw(run, tmp_path / "one.npz", "--batch", "1", *words)
        many = self.draw(run, tmp_path / "many.npz", "--batch", "64", *words)
        assert one.shape == (7, 2)
        np.testing.assert_allclose(one, many, atol=1e-5)
        other = self.draw(run, tmp_path / "other.npz", *sampler.split(), "--seed", "4")
        assert np.abs(one - other).max() > 0.1

    def test_the_window_gives_the_same(self, run: Run, tmp_path: Path) -> None:
        drawn = self.draw(run, tmp_path / "one.npz", "--sampler.eta", "0.5", "--grid", "uniform", "--device", "cpu")
        spec = SampleSpec(
            sampler=find("sampler", "ddim")(eta=0.5),
            grid=build(find("grid", "uniform"), {}),
            knobs=SampleKnobs(count=7, steps=5),
        )
        frames = [e for e in drive(SampleJob(run.model, spec, "cpu"), Control()) if isinstance(e, events.Frame)]
        np.testing.assert_allclose(drawn, frames[-1].x, atol=1e-6)

    def test_a_picture(self, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        out = tmp_path / "new" / "roll.png"
        assert main(["sample", str(run.model), "--count", "50", "--steps", "3", "--out", str(out)]) == 0
        assert "50 samples, 3 network calls each" in capsys.readouterr().out
        with Image.open(out) as picture:
            assert min(picture.size) > 50

    def test_the_ending_may_be_in_capitals(self, run: Run, tmp_path: Path) -> None:
        for name, start in (("roll.PNG", b"\x89PNG"), ("roll.NPZ", b"PK")):
            out = tmp_path / name
            assert main(["sample", str(run.model), "--count", "2", "--steps", "2", "--out", str(out)]) == 0
            assert out.read_bytes().startswith(start)

    @pytest.mark.parametrize(("flag", "why"), [("--guidance 5", "no classes"), ("--clip true", "points"), ("", "")])
    def test_a_flag_without_effect_on_this_model_says_so(
        self, flag: str, why: str, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        self.draw(run, tmp_path / "roll.npz", *flag.split())
        text = errors(capsys)
        assert text.count("has no effect") == bool(flag)
        assert why in text

    def test_a_folder_that_cannot_be_written_is_refused_before_sampling(
        self, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def never(*_: object, **__: object) -> Iterator[None]:
            raise AssertionError("sampled")

        def refuse(*_: object, **__: object) -> None:
            raise PermissionError(13, "Permission denied", "tmp1234")

        (tmp_path / "folder.png").mkdir()
        (tmp_path / "file").write_text("in the way")
        monkeypatch.setattr("studio.core.sampling.sample", never)
        for out in ("folder.png", "file/roll.png"):
            assert main(["sample", str(run.model), "--out", str(tmp_path / out)]) == 1
            assert str(tmp_path / out) in errors(capsys)
        monkeypatch.setattr("tempfile.TemporaryFile", refuse)  # root may write everywhere
        out = tmp_path / "new" / "roll.png"
        assert main(["sample", str(run.model), "--out", str(out)]) == 1
        assert str(out) in errors(capsys)
        assert not out.parent.exists()

    def test_a_model_that_ships_goes_by_its_name(self, tmp_path: Path) -> None:
        out = tmp_path / "digits.png"
        assert main(["sample", "mnist-ddpm", "--count", "2", "--steps", "2", "--label", "3", "--out", str(out)]) == 0
        assert out.is_file()


class TestSampleSchedule:
    """``sample --schedule N`` is the grid of its betas, with the sampler that it was found with."""

    FOUND: ClassVar = {
        "ancestral": ShortSchedule(betas=(0.02, 0.3, 0.6), origin="learned", sampler={"name": "ancestral"}),
        "ddim": ShortSchedule(
            betas=(0.03, 0.2, 0.5), origin="refined", sampler={"name": "ddim", "eta": 0.5}, scores={"FD": 2.5}
        ),
        "drawn": ShortSchedule(betas=(0.1, 0.2), origin="drawn"),
    }

    @pytest.fixture
    def model(self, run: Run, tmp_path: Path) -> Path:
        path = Path(shutil.copy(run.model, tmp_path / "roll.safetensors"))
        write_schedules(path, lambda _: self.FOUND.values(), fingerprint(path))
        return path

    def draw(self, model: Path, *words: str) -> np.ndarray:
        out = model.parent / "drawn.npz"
        assert main(["sample", str(model), "--count", "5", "--device", "cpu", "--out", str(out), *words]) == 0
        with np.load(out) as table:
            return table["samples"]

    @pytest.mark.parametrize(
        ("words", "name", "sampler"),
        [
            ("--schedule 3", "ddim", "ddim --sampler.eta 0.5"),
            ("--schedule 3 --sampler ddim", "ddim", "ddim --sampler.eta 0.5"),
            ("--schedule 3 --sampler.eta 0.2", "ddim", "ddim --sampler.eta 0.2"),
            ("--schedule 3 --sampler ancestral", "ancestral", "ancestral"),
            ("--schedule 2", "drawn", "ddim"),
            ("--schedule 2 --sampler ancestral", "drawn", "ancestral"),
        ],
    )
    def test_it_is_the_grid_of_its_betas(self, model: Path, words: str, name: str, sampler: str) -> None:
        betas = " ".join(map(repr, self.FOUND[name].betas))
        expected = self.draw(model, "--sampler", *sampler.split(), "--grid", "betas", "--grid.betas", betas)
        np.testing.assert_array_equal(self.draw(model, *words.split()), expected)

    def test_it_takes_as_many_calls_as_it_has_steps(self, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.draw(model, "--schedule", "3")
        assert "5 samples, 3 network calls each" in capsys.readouterr().out

    @pytest.mark.parametrize("words", ["--steps 8", "--grid uniform", "--grid betas --grid.betas 0.5"])
    def test_what_it_decides_is_not_asked_for_twice(
        self, words: str, model: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert usage(["sample", str(model), "--schedule", "3", *words.split()]) == 2
        assert "--schedule says which levels are visited; leave out" in errors(capsys)

    @pytest.mark.parametrize("words", ["--schedule 7", "--schedule three"])
    def test_one_that_is_not_kept(self, words: str, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["sample", str(model), *words.split(), "--out", str(model.parent / "a.npz")]) == 1
        said = errors(capsys)
        assert "roll.safetensors keeps no schedule of" in said
        assert "schedule with --list tells those" in said


class TestEvaluate:
    WORDS = ("--steps", "3,4", "--seeds", "0,1", "--count", "150", "--metrics", "sliced_wasserstein,energy")

    def evaluate(self, *words: object) -> int:
        return main(["evaluate", *map(str, words)])

    def test_it_prints_tables_and_leaves_a_report(
        self, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert self.evaluate(run.folder, "--samplers", "ancestral,ddim:eta=0.5", *self.WORDS, "--out", tmp_path) == 0
        said = capsys.readouterr().out
        assert "8 cells of 150 samples" in said
        assert "Ancestral small" in said
        assert "DDIM η 0.5" in said
        assert "real items" in said
        assert {path.name for path in tmp_path.iterdir()} >= {
            "results.json",
            "results.csv",
            "report.html",
            "evaluation.toml",
        }

    def test_the_window_gives_the_same_scores(self, run: Run, tmp_path: Path) -> None:
        assert self.evaluate(run.folder, *self.WORDS, "--out", tmp_path / "line") == 0
        evaluation = Evaluation(
            entrants=(Entrant(model=run.model.absolute()),),
            steps=(3, 4),
            seeds=(0, 1),
            knobs=EvaluationKnobs(count=150),
            metrics=metrics_for(["sliced_wasserstein", "energy"]),
        )
        told = list(drive(EvaluateJob(evaluation, tmp_path / "window"), Control()))
        ours = [event.row for event in told if isinstance(event, events.CellScored)]
        theirs = json.loads((tmp_path / "line" / "results.json").read_text(encoding="utf-8"))["rows"]
        names = ("entrant", "steps", "seed", "sliced_wasserstein", "energy")
        assert [[row[name] for name in names] for row in ours] == [[row[name] for name in names] for row in theirs]

    def test_what_it_wrote_repeats_it_from_any_folder(
        self, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(run.folder.parent)
        assert self.evaluate(run.folder.name, *self.WORDS, "--out", tmp_path / "first") == 0
        monkeypatch.chdir(tmp_path)
        assert self.evaluate(tmp_path / "first" / "evaluation.toml", "--out", tmp_path / "second") == 0
        first, second = (
            [{**row, "seconds": 0, "images_per_second": 0, "peak_mb": 0} for row in json.loads(text)["rows"]]
            for text in ((tmp_path / name / "results.json").read_text(encoding="utf-8") for name in ("first", "second"))
        )
        assert first == second

    def test_keep_writes_the_score_into_the_model(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        model = tmp_path / "digits.safetensors"
        model.write_bytes((resources.shipped_checkpoints() / "mnist-ddpm.safetensors").read_bytes())
        words = ("--steps", "3", "--count", "150", "--metrics", "fd", "--out", tmp_path / "out", "--keep")
        assert self.evaluate(model, *words) == 0
        (kept,) = [(key, value) for key, value in read_header(model).scores.items() if "150" in key]
        assert kept[0].startswith("FD · MNIST classifier 1 · 150 samples")
        assert "3 steps" in kept[0]
        rows = json.loads((tmp_path / "out" / "results.json").read_text(encoding="utf-8"))["rows"]
        assert kept[1] == pytest.approx(rows[0]["fd"])

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["--steps", "many"], "takes numbers with commas"),
            (["--samplers", "dimd"], "'dimd' is no sampler"),
            (["--samplers", "ddim:ate=1"], "'ate' is no setting"),
            (["--metrics", "fid"], "'fid' is no metric"),
            (["--eta", "0.5", "--samplers", "ancestral"], "eta has no effect"),
            (["--count", "1"], "count = '1' is not possible"),
            (["--metrics", "fd"], "cannot be measured"),
        ],
    )
    def test_wrong_words_are_refused(
        self, run: Run, tmp_path: Path, words: list[str], said: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        try:
            status = self.evaluate(run.folder, *words, "--out", tmp_path / "out")
        except SystemExit as error:
            status = int(str(error.code))
        assert status != 0
        assert said in capsys.readouterr().err
        assert not (tmp_path / "out").exists()


class TestInspect:
    def test_it_says_what_a_run_holds(self, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["inspect", str(run.folder)]) == 0
        out = capsys.readouterr().out
        for words in ("Swiss roll", "DDPM", "mlp, width 16", "30 steps", str(run.model)):
            assert words in out

    def test_as_json(self, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["inspect", str(run.model), "--json"]) == 0
        table = json.loads(capsys.readouterr().out)
        assert table["step"] == 30
        assert table["network"] == {"name": "mlp", "width": 16, "blocks": 1}


class TestSchedule:
    @pytest.fixture
    def model(self, run: Run, tmp_path: Path) -> Path:
        """A copy of the trained model that a test may change."""
        return Path(shutil.copy(run.model, tmp_path / "roll.safetensors"))

    @pytest.fixture
    def kept(self, model: Path) -> Path:
        """One with a few schedules."""
        found = [
            ShortSchedule(betas=(0.02, 0.3, 0.6), origin="learned", sampler={"name": "ancestral"}, start=(0.5, 0.6)),
            ShortSchedule(betas=(0.03, 0.2, 0.5), origin="refined", sampler={"name": "ddim"}, scores={"FD": 2.5}),
            ShortSchedule(betas=(0.1, 0.2), origin="drawn", title="mine"),
        ]
        write_schedules(model, lambda _: found, fingerprint(model))
        return model

    def test_what_is_found_is_kept_and_told(self, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["schedule", str(model), *SEARCH]) == 0
        found = read_header(model).schedules
        assert {(3, "ancestral"), (3, "ddim")} <= {(each.steps, each.sampler["name"]) for each in found}
        out = capsys.readouterr().out
        assert out.startswith("Swiss roll: schedules of up to 8 steps, judged by Denoising error")
        assert f"kept in {model}" in out
        table = out[out.index("steps  sampler") :].splitlines()
        assert len(table) == 1 + len(found)
        assert table[1].split()[:4] == ["3", "Ancestral", "Denoising", "error"]

    def test_a_copy_takes_them_instead(self, model: Path, tmp_path: Path) -> None:
        content, out = model.read_bytes(), tmp_path / "fast.safetensors"
        assert main(["schedule", str(model), *SEARCH, "--out", str(out)]) == 0
        assert model.read_bytes() == content
        assert read_header(out).schedules
        assert fingerprint(out) == fingerprint(model)

    def test_a_copy_that_nothing_was_found_for_is_not_left(
        self, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        out = tmp_path / "fast.safetensors"
        assert main(["schedule", str(model), *SEARCH, "--most", "1", "--wanted", "", "--out", str(out)]) == 0
        assert "No start gave a schedule of at most 1 steps" in capsys.readouterr().out
        assert not out.exists()

    def test_list(self, kept: Path, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["schedule", str(kept), "--list"]) == 0
        head, two, one, other = capsys.readouterr().out.splitlines()
        assert head.split() == ["steps", "sampler", "score", "N_min", "origin", "betas,", "from", "the", "cleanest"]
        assert two.split() == ["2", "drawn", "0.1", "0.2"]
        assert one.split() == ["3", "Ancestral", "1.5", "learned", "0.02", "0.3", "0.6"]
        assert other.split() == ["3", "DDIM", "FD", "2.5", "refined", "0.03", "0.2", "0.5"]
        assert main(["schedule", str(run.folder), "--list"]) == 0
        assert "keeps no schedules" in capsys.readouterr().out

    def test_export_and_import_lose_nothing(
        self, kept: Path, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        files = [tmp_path / name for name in ("a.csv", "b.json", "scheduler")]
        for file in files:
            assert main(["schedule", str(kept), "--export", str(file), "--steps", "3", "--sampler", "ancestral"]) == 0
        assert "DDPMPipeline" in capsys.readouterr().out
        assert json.loads((files[2] / "scheduler_config.json").read_text())["trained_betas"] == [0.02, 0.3, 0.6]
        other = Path(shutil.copy(run.model, tmp_path / "other.safetensors"))
        assert main(["schedule", str(other), "--import", *map(str, files)]) == 0
        assert "2 imported, 1 there already" in capsys.readouterr().out  # a list of betas, and one with its sampler
        assert {each.betas for each in read_header(other).schedules} == {(0.02, 0.3, 0.6)}
        assert main(["schedule", str(other), "--import", str(files[1])]) == 0
        assert "0 imported, 1 there already" in capsys.readouterr().out
        assert len(read_header(other).schedules) == 2

    def test_one_that_ended_before_clean_data_is_marked(self, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
        short = ShortSchedule(betas=(0.04, 0.09, 0.23), origin="learned", start=(0.16, 0.23))
        drawn = ShortSchedule(betas=(0.99996,), origin="drawn")
        write_schedules(model, lambda _: [short, drawn], fingerprint(model))
        assert main(["schedule", str(model), "--list"]) == 0
        _, nearly_one, row, said = capsys.readouterr().out.splitlines()
        assert nearly_one.split()[-1] == "1-4e-05", "not 1, which no beta is"
        assert row.split()[:2] == ["3", "14.0*"]
        assert said == "* ended at the smallest beta, before clean data, which takes N_min steps from their start."

    def test_a_sampler_that_is_not_known_here_is_still_listed(
        self, model: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        other = ShortSchedule(betas=(0.3,), origin="imported", sampler={"name": "of tomorrow"})
        write_schedules(model, lambda _: [other], fingerprint(model))
        assert main(["schedule", str(model), "--list"]) == 0
        assert "of tomorrow" in capsys.readouterr().out
        assert main(["sample", str(model), "--schedule", "1", "--out", str(model.parent / "a.npz")]) == 1
        assert "of tomorrow" in errors(capsys)

    def test_of_several_the_judged_one_is_exported(self, kept: Path, tmp_path: Path) -> None:
        assert main(["schedule", str(kept), "--export", str(tmp_path / "a.json"), "--steps", "3"]) == 0
        assert json.loads((tmp_path / "a.json").read_text())["schedules"][0]["betas"] == [0.03, 0.2, 0.5]

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            ("--list --export a.csv --steps 3", "--list and --export are done one at a time"),
            ("--list --starts 3", "--list searches nothing; leave out the settings of the search"),
            ("--list --out copy.safetensors", "--out has no effect with --list"),
            ("--export a.csv", "--export needs --steps"),
            ("--steps 8", "--steps says which schedule --export writes and has no effect here; --wanted"),
            ("--judge taste", "taste"),
            ("--judge error --judge.projections 3", "unrecognized arguments"),
            ("--most 0", "from 1 to 1,000"),
        ],
    )
    def test_wrong_words(self, words: str, said: str, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert usage(["schedule", str(model), *words.split()]) == 2
        assert said in errors(capsys)

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            ("--export a.csv --steps 7", "keeps no schedule of 7 steps; it keeps 2, 3"),
            ("--export a.csv --steps 2 --sampler ddim", "keeps no schedule of 2 steps for ddim"),
            ("--export a.png --steps 3", "a.png is not possible: it ends in .csv or .json"),
            ("--import gone.csv", "gone.csv"),
            ("--import gone.csv --out copy.safetensors", "gone.csv"),
            ("--out copy.pt", "must end in .safetensors"),
            ("--out roll.safetensors", "is there already"),
            ("--wanted 20", "wanted = '20' is not possible: type whole numbers from 1 to 16"),
        ],
    )
    def test_what_cannot_be_done(
        self, words: str, said: str, kept: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.chdir(kept.parent)
        content, there = kept.read_bytes(), {path.name for path in kept.parent.iterdir()}
        assert main(["schedule", kept.name, *words.split()]) == 1
        assert said in errors(capsys)
        assert kept.read_bytes() == content
        assert {path.name for path in kept.parent.iterdir()} == there

    def test_help_lists_every_knob(self, capsys: pytest.CaptureFixture[str]) -> None:
        for judge, cls in methods("judge").items():
            for network, spec in methods("schedule_network").items():
                assert usage(["schedule", "--judge", judge, "--network", network, "--help"]) == 0
                text = capsys.readouterr().out
                parts = {"": SearchKnobs, "judge.": cls, "network.": spec, "training.": Bilateral}
                for prefix, owner in parts.items():
                    for knob in knobs_of(owner):
                        assert f"--{prefix}{knob.name.replace('_', '-')} " in text


class TestRefusals:
    @pytest.mark.parametrize(
        ("words", "said"),
        [
            ("train --preset kittens", "kittens"),
            ("train --steps many", "a whole number"),
            ("train --steps 0", "steps = '0' is not possible"),
            ("train --batch -4", "from 1 to 65,536"),
            ("train --recipe.clip-norm nan", "a number"),
            ("train --no-such-knob 1", "--no-such-knob"),
            ("train notes.txt", "must end in .toml"),
            ("train --step 3", "unrecognized arguments: --step\n"),
            ("train --pre digits", "unrecognized arguments: --pre\n"),
            ("train --preset digits digits.toml", "leave out one"),
            ("train --resume gone --data mnist --out there mine.toml", "leave out --out, --data, mine.toml"),
            ("train --resume gone --preset digits", "leave out --preset"),
            ("sample", "model"),
            ("sample x --samp ddim", "unrecognized arguments: --samp ddim"),
            ("sample x --guidance 5 --label none", "no effect with --label none"),
            ("sample x --steps 3 --grid exact", "no effect with --grid exact"),
            ("sample x --sampler magic", "magic"),
            ("sample x --sampler.eta 2", "from 0 to 1"),
        ],
    )
    def test_wrong_words_end_with_2(self, words: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert usage(words.split()) == 2
        assert said in errors(capsys)

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            ("inspect gone.safetensors", "gone.safetensors is not there"),
            ("sample gone.safetensors", "gone.safetensors is not there"),
            ("inspect notes.txt", "notes.txt is no checkpoint"),
            ("sample notes.txt", "notes.txt is no checkpoint"),
            ("inspect .", "no run folder"),
            ("train gone.toml", "gone.toml cannot be read"),
            ("train bad.toml", "bad.toml: "),
            ("train --resume gone", "gone"),
            ("train --preset swiss-roll --network unet", "for image data"),
            ("train --preset swiss-roll --out new --start-from gone", "gone is not there"),
            ("train --preset swiss-roll --out new --start-from RUN", "has width = 16 where this one has 128"),
            ("sample RUN --count 0", "count"),
            ("sample RUN --label 3", "knows no classes"),
            ("sample RUN --out roll.jpg", ".png or .npz"),
            ("sample RUN --batch 0", "at least 1"),
            ("sample RUN --out notes.txt/roll.png", "notes.txt"),
        ],
    )
    def test_what_cannot_be_done_is_said_and_ends_in_failure(
        self,
        words: str,
        said: str,
        run: Run,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "notes.txt").write_text("Buy milk and eggs.")
        (tmp_path / "bad.toml").write_text("[run]\nsteps = 0\n")
        try:
            code = main(words.replace("RUN", str(run.folder)).split())
        except SystemExit as ended:  # argparse knows of it already
            code = ended.code  # type: ignore[assignment]
        assert code in (1, 2)
        text = errors(capsys)
        assert said in text
        assert "Traceback" not in text
        assert "Errno" not in text
        assert sorted(path.name for path in tmp_path.iterdir() if path.name != "studio-home") == [
            "bad.toml",
            "notes.txt",
        ]

    def test_a_folder_that_holds_a_run_is_not_written_over(self, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
        before = run.model.read_bytes()
        assert main(["train", *TINY, "--steps", "2", "--out", str(run.folder)]) == 1
        assert "--resume" in errors(capsys)
        assert run.model.read_bytes() == before

    def test_a_training_that_fails_ends_with_1(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "file").write_text("in the way")
        assert main(["train", *TINY, "--steps", "2", "--out", str(tmp_path / "file" / "run")]) == 1
        assert "Traceback" not in errors(capsys)


def test_every_data_set_has_a_starting_point() -> None:
    for cls in methods("dataset").values():
        data = cls()
        config = preset_for(data)
        assert (config.data, config.title) == (data, data.title)
        own = [each for each in presets().values() if type(each.data) is cls and each.recipe.own_steps is None]
        assert not own or (config.network, config.run) == (own[0].network, own[0].run)


class TestHelp:
    def help(self, words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
        assert usage([*words, "--help"]) == 0
        return capsys.readouterr().out

    def test_train_lists_every_knob(self, capsys: pytest.CaptureFixture[str]) -> None:
        text = self.help(["train"], capsys)
        config = {"data": "mnist", "recipe": "denoising", "network": "unet", "optimizer": "muon"}
        assert config.keys() == PARTS.keys()
        for part, name in config.items():
            for knob in knobs_of(find(PARTS[part], name)):
                assert f"--{part}.{knob.name.replace('_', '-')}" in text
        for knob in knobs_of(RunKnobs):
            assert f"--{knob.name.replace('_', '-')} " in text

    @pytest.mark.parametrize("part", PARTS)
    def test_train_lists_the_knobs_of_every_method(self, part: str, capsys: pytest.CaptureFixture[str]) -> None:
        for name, cls in methods(PARTS[part]).items():
            text = self.help(["train", f"--{part}", name], capsys)
            for knob in knobs_of(cls):
                assert f"--{part}.{knob.name.replace('_', '-')}" in text

    def test_sample_lists_every_knob(self, capsys: pytest.CaptureFixture[str]) -> None:
        for kind in ("sampler", "grid"):
            for name, cls in methods(kind).items():
                text = self.help(["sample", f"--{kind}", name], capsys)
                for knob in (*knobs_of(cls), *knobs_of(SampleKnobs)):
                    owner = f"{kind}." if knob in knobs_of(cls) else ""
                    assert f"--{owner}{knob.name.replace('_', '-')}" in text

    @pytest.mark.parametrize("words", [[], ["inspect"]])
    def test_every_command_has_help(self, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        assert "denoising-studio" in self.help(words, capsys)


class _Broken(importlib.abc.MetaPathFinder):
    """Stands in the way of the window's modules as a missing library does."""

    def find_spec(self, name: str, *_: object) -> None:
        if name == "studio.app.main":
            raise ImportError("libEGL.so.1: cannot open shared object file", name="PySide6.QtGui")


class TestWindowless:
    @pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only there a display may be missing")
    @pytest.mark.parametrize(
        ("environment", "said"),
        [
            ("", "neither DISPLAY nor WAYLAND_DISPLAY is set"),
            ("DISPLAY=:7777", "DISPLAY is :7777"),
            ("DISPLAY=:7777 WAYLAND_DISPLAY=gone", "WAYLAND_DISPLAY is gone"),
            ("QT_QPA_PLATFORM=xcb", "DISPLAY is not set"),
            ("QT_QPA_PLATFORM=wayland;xcb DISPLAY=:7777", "WAYLAND_DISPLAY is not set"),
        ],
    )
    def test_without_a_display_it_names_the_headless_commands(
        self, environment: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        for name in ("DISPLAY", "WAYLAND_DISPLAY", "WAYLAND_SOCKET", "QT_QPA_PLATFORM"):
            monkeypatch.delenv(name, raising=False)
        for word in environment.split():
            monkeypatch.setenv(*word.split("=", 1))
        assert main([]) == 1
        text = errors(capsys)
        # Where Qt's libraries are missing as well, that is what is said.
        assert said in text or "a library for the window is missing" in text
        for command in ("train", "sample", "schedule", "evaluate", "inspect"):
            assert command in text

    @pytest.mark.skipif(shutil.which("Xvfb") is None, reason="needs an X server")
    def test_a_display_that_answers_is_enough(self, monkeypatch: pytest.MonkeyPatch) -> None:
        reading, writing = os.pipe()
        with subprocess.Popen(
            ["Xvfb", "-displayfd", str(writing), "-nolisten", "tcp", "-noreset"],
            pass_fds=[writing],
            stderr=subprocess.DEVNULL,
        ) as server:
            try:
                os.close(writing)
                with open(reading) as told:
                    display = f":{told.readline().strip()}"
                monkeypatch.setenv("DISPLAY", display)
                monkeypatch.setenv("WAYLAND_DISPLAY", "gone")
                for platform in ("", "xcb"):
                    monkeypatch.setenv("QT_QPA_PLATFORM", platform)
                    assert why_no_window() == ""
            finally:
                server.kill()

    def test_with_one_it_opens_paths_and_what_ships_by_name(self, monkeypatch: pytest.MonkeyPatch) -> None:
        opened: list[Path] = []
        monkeypatch.setattr("studio.display.why_no_window", lambda: "")
        monkeypatch.setattr("studio.app.main.run", lambda paths: opened.extend(paths) or 0)
        assert main(["mnist-ddgan", "runs/mine"]) == 0
        assert opened == [resources.shipped_checkpoints() / "mnist-ddgan.safetensors", Path("runs/mine")]

    def test_a_missing_library_of_qt_is_said_in_words(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.delitem(sys.modules, "studio.app.main", raising=False)
        monkeypatch.setattr(sys, "meta_path", [_Broken(), *sys.meta_path])
        assert main([]) == 1
        text = errors(capsys)
        assert "libEGL.so.1" in text
        assert "inspect" in text


@pytest.mark.skipif(sys.platform == "win32", reason="pipes break in another way there")
@pytest.mark.parametrize("words", [["train", "--help"], ["inspect", "RUN"], ["train", *TINY, "--steps", "3"]])
def test_a_reader_that_leaves_ends_it_quietly(words: list[str], run: Run) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    words = [word.replace("RUN", str(run.folder)) for word in words]
    command = [sys.executable, "-m", "studio", *words]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert done.stderr == ""
    assert done.returncode in (0, 141)  # argparse passes over a help that cannot be printed


@pytest.mark.skipif(sys.platform == "win32", reason="Ctrl+C is another thing there")
class TestInterrupt:
    # A shell without a terminal starts what it starts in the background deaf to Ctrl+C; so may these tests have been.
    _SCRIPT = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from studio.cli import main
sys.exit(main())
"""

    def start(self, *words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", self._SCRIPT, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def interrupt(self, started: subprocess.Popen[str]) -> tuple[str, str]:
        started.send_signal(signal.SIGINT)
        try:
            return started.communicate(timeout=60)
        finally:
            started.kill()

    def test_ctrl_c_ends_a_training_in_good_order(self, tmp_path: Path) -> None:
        run = Run(tmp_path / "run")
        started = self.start("train", *TINY, "--steps", "1000000", "--out", str(run.folder))
        deadline = time.monotonic() + 60
        while not run.messages.is_file() and started.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        out, err = self.interrupt(started)
        assert started.returncode == 0, err
        assert "Stopping after this step" in err
        assert "Traceback" not in err
        assert "stopped after" in out
        assert read_header(run.model).step > 0
        assert run.resume.is_file()
        assert not list(run.folder.rglob("*.part"))

    def test_ctrl_c_keeps_the_schedules_found_so_far(self, run: Run, tmp_path: Path) -> None:
        model = shutil.copy(run.model, tmp_path / "roll.safetensors")
        words = [*SEARCH, "--retries", "1000", "--descent", "100", "--wanted", "3, 4, 5, 6, 7, 8"]
        started = self.start("schedule", str(model), *words)
        cache = Path(os.environ["DENOISING_STUDIO_HOME"]) / "cache" / "schedule_nets"
        deadline = time.monotonic() + 60
        while not list(cache.glob("*.safetensors")) and started.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(0.5)
        out, err = self.interrupt(started)
        assert started.returncode == 0, err
        assert "Traceback" not in err
        assert "what was found is kept" in out
        assert read_header(model).schedules

    def test_ctrl_c_ends_a_sampling_at_once(self, run: Run, tmp_path: Path) -> None:
        out = tmp_path / "roll.npz"
        started = self.start("sample", str(run.folder), "--count", "100000", "--steps", "1000", "--out", str(out))
        time.sleep(1.5)
        _, err = self.interrupt(started)
        assert started.returncode == 130, err
        assert "Traceback" not in err
        assert list(tmp_path.glob("*.npz*")) == []
