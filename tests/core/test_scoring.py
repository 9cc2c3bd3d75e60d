"""Training tells its quality: held-out loss at fixed noise levels, scores of samples, and what a checkpoint keeps."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from train_controls import Unhurried

from studio.core import events, features
from studio.core import trainer as training
from studio.core.checkpoints.header import NotACheckpoint, best_score, dated, in_full, read_header, score_key, undated
from studio.core.checkpoints.native import load, write_scores
from studio.core.config import RunKnobs, TrainConfig
from studio.core.data.images import MNIST
from studio.core.data.points import Gaussians8
from studio.core.metrics.base import floor, measure
from studio.core.networks.mlp import MLPSpec
from studio.core.networks.unet import UNetSpec
from studio.core.recipes.denoising import Denoising
from studio.core.registry import find
from studio.core.runs import Run, RunLog
from studio.core.sampling import SampleKnobs, SampleSpec, sample, subject_of, to_uint8
from studio.core.scoring import Scorer
from studio.core.trainer import Trainer

KEY = "Sliced W2 · 200 samples · DDIM 12"


def config(steps: int = 8, **run: object) -> TrainConfig:
    knobs = {"steps": steps, "batch": 32, "preview_every": 0.0, "score_every": 1e-6, "score_count": 200} | run
    return TrainConfig(
        data=Gaussians8(num_points=2000),
        network=MLPSpec(width=16, blocks=1),
        run=RunKnobs(**knobs),  # type: ignore[arg-type]
    )


def told(trainer: Trainer, control: Unhurried | None = None) -> list[events.Event]:
    return [event for event in trainer.run(control or Unhurried()) if event is not None]


def held_out(trainer: Trainer) -> events.HeldOut:
    found = [event for event in trainer._hold_out(None) if event is not None]
    assert len(found) == 1
    assert isinstance(found[0], events.HeldOut)
    return found[0]


@pytest.mark.parametrize("kind", ["points", "images"])
def test_the_held_out_loss_by_level_changes_through_the_weights_alone(tmp_path: Path, kind: str) -> None:
    made = config(score_every=0.0)
    if kind == "images":
        made = TrainConfig(data=MNIST(), network=UNetSpec(width=8, depth=2), run=RunKnobs(steps=8, batch=4))
    trainer = Trainer(made, Run(tmp_path / "run"))
    trainer.train_step()
    first, again = held_out(trainer), held_out(trainer)
    assert first.level_loss is not None
    assert again.level_loss is not None
    assert first.level_log_snr is not None
    assert np.array_equal(first.level_loss, again.level_loss)
    assert np.array_equal(first.level_log_snr, training.HELD_OUT_LEVELS)
    assert first.level_loss.shape == first.level_log_snr.shape == (10,)
    assert np.isfinite(first.level_loss).all()
    assert not first.level_loss.flags.writeable
    other = Trainer(dataclasses.replace(made, run=dataclasses.replace(made.run, batch=8)), Run(tmp_path / "other"))
    other.ema.average.load_state_dict(trainer.ema.average.state_dict())
    assert np.array_equal(held_out(other).level_loss, first.level_loss)  # type: ignore[arg-type]
    trainer.train_step()
    later = held_out(trainer)
    assert later.level_loss is not None
    assert (later.level_loss != first.level_loss).all()


@pytest.mark.parametrize("weighting", ["output", "eps", "min_snr"])
def test_a_fixed_level_takes_the_place_of_drawn_ones(tmp_path: Path, weighting: str) -> None:
    """The loss at one level is the mean of what the same items would have lost had they drawn that level."""
    made = dataclasses.replace(config(), recipe=Denoising(weighting=weighting))  # type: ignore[arg-type]
    trainer = Trainer(made, Run(tmp_path / "run"))
    learner, batch = trainer.learner, trainer.batches.held_out(64)
    noise = training.Noise(5, range(64))
    drawn = learner.draw_levels(noise, 3)  # type: ignore[attr-defined]
    at_random = learner.loss(learner.denoiser, batch, noise=noise, index=3)
    for item in (0, 17, 63):
        level = training.Level(float(drawn.alpha[item]), float(drawn.sigma[item]))
        fixed = learner.loss(learner.denoiser, batch, noise=noise, index=3, level=level)
        assert torch.allclose(fixed["sample_loss"][item], at_random["sample_loss"][item], rtol=1e-4)
        assert torch.allclose(fixed["log_snr"], at_random["log_snr"][item].expand(64), atol=1e-4)


def test_the_scalar_held_out_loss_is_what_it_was(tmp_path: Path) -> None:
    trainer = Trainer(config(), Run(tmp_path / "run"))
    batch = trainer.batches.held_out(256)
    noise = training.Noise(2**40, range(256))
    expected = float(trainer.learner.loss(trainer.ema.average, batch, noise=noise, index=0)["loss"])
    assert held_out(trainer).loss == expected


def test_a_score_is_the_measure_of_the_same_samples(tmp_path: Path) -> None:
    trainer = Trainer(config(), Run(tmp_path / "run"))
    quality = [event for event in told(trainer) if isinstance(event, events.Quality)][-1]
    assert quality.step == 8
    model = load(trainer.run_folder.model, torch.device("cpu"))
    spec = SampleSpec(knobs=SampleKnobs(steps=12, count=200, seed=0, guidance=0.0))
    *_, last = sample(subject_of(model), spec, torch.device("cpu"))
    data = trainer.dataset
    labels = np.arange(200) % data.num_classes
    evidence, reference = features.judge(last.x.numpy(), labels, data), features.reference_for(data)
    metric = find("metric", "sliced_wasserstein")()
    expected = measure(metric, evidence, reference)["sliced_wasserstein"].value  # type: ignore[arg-type]
    assert quality.scores == {"sliced_wasserstein": expected}
    real = floor(metric, reference, 200)["sliced_wasserstein"].value  # type: ignore[arg-type]
    assert quality.floor == {"sliced_wasserstein": real}
    assert (quality.count, quality.caption) == (200, "EMA · seed 0 · DDIM 12")


def test_images_are_scored_by_the_features_of_a_network(tmp_path: Path) -> None:
    made = TrainConfig(data=MNIST(), network=UNetSpec(width=8, depth=2), run=RunKnobs(steps=8, batch=4))
    trainer = Trainer(made, Run(tmp_path / "run"))
    whole = trainer.dataset
    few = dataclasses.replace(
        whole,
        train=whole.train[:500],
        train_labels=whole.train_labels[:500],  # type: ignore[index]
        test=whole.test[:400],
        test_labels=whole.test_labels[:400],  # type: ignore[index]
    )
    scorer = Scorer(few, 200, torch.device("cpu"))
    *_, quality = scorer.run(trainer._subject(), 5, Unhurried())
    assert isinstance(quality, events.Quality)
    *_, last = sample(trainer._subject(), scorer.spec_for(trainer._subject()), torch.device("cpu"))
    evidence = features.judge(to_uint8(last.x).numpy(), np.arange(200) % 10, few)
    reference = features.reference_for(few)
    expected = measure(find("metric", "fd")(), evidence, reference)["fd"].value  # type: ignore[arg-type]
    assert quality.scores["fd"] == pytest.approx(expected, rel=1e-3), "a batch rounds differently from the whole"
    assert quality.scores["fd"] > 10 * quality.floor["fd"] > 0.0
    (key,) = scorer.keys(quality, trainer._subject())
    assert key == f"FD · {reference.network} · 200 samples · DDIM 12"


def test_scores_are_the_same_each_time_and_leave_the_training_alone(tmp_path: Path) -> None:
    scored, again, plain = (
        Trainer(config(score_every=every), Run(tmp_path / name))
        for name, every in (("one", 1e-6), ("two", 1e-6), ("plain", 0.0))
    )
    first, second = (
        [event for event in told(trainer) if isinstance(event, events.Quality)] for trainer in (scored, again)
    )
    assert first[-1] == second[-1]
    assert not any(isinstance(event, events.Quality) for event in told(plain))
    pairs = zip(scored.ema.average.parameters(), plain.ema.average.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)


def test_a_stop_ends_a_score_at_once(tmp_path: Path) -> None:
    trainer = Trainer(config(50), Run(tmp_path / "run"))

    class StopWhileScoring(Unhurried):
        stopping = False

    control = StopWhileScoring()
    seen: list[events.Event | None] = []
    for event in trainer.run(control):
        seen.append(event)
        if isinstance(event, events.Status):
            control.stopping = True  # type: ignore[misc]
    after = seen[next(index for index, event in enumerate(seen) if isinstance(event, events.Status)) :]
    assert not any(isinstance(event, events.Quality) for event in after)
    assert isinstance(after[-1], events.Saved)
    assert trainer.step < 50


def test_data_that_cannot_be_scored_is_told_once_and_training_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none(dataset: object) -> None:
        raise ValueError("No feature network knows this data.")

    monkeypatch.setattr(features, "reference_for", none)
    trainer = Trainer(config(), Run(tmp_path / "run"))
    found = told(trainer)
    warned = [event.summary for event in found if isinstance(event, events.Warned)]
    assert len(warned) == 1
    assert "No feature network knows this data." in warned[0]
    assert trainer.step == 8
    assert read_header(trainer.run_folder.model).scores == {}


def test_the_checkpoint_keeps_its_last_score_over_stops_and_continuations(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    first = Trainer(config(8), run)
    quality = [event for event in told(first) if isinstance(event, events.Quality)][-1]
    header = read_header(run.model)
    assert header.scores == {KEY: quality.scores["sliced_wasserstein"]}
    assert best_score(header)[0] == f"Sliced W2 {header.scores[KEY]:.3g}"
    write_scores(run.model, {"Sliced W2 · 1,000 samples · DDIM 50": 0.5})
    later = Trainer(config(12, score_every=0.0), run, resumes=True)
    told(later)
    assert read_header(run.model).scores == {
        f"{KEY} · step 8": header.scores[KEY],
        "Sliced W2 · 1,000 samples · DDIM 50 · step 8": 0.5,
    }
    last = Trainer(config(16), run, resumes=True)
    quality = [event for event in told(last) if isinstance(event, events.Quality)][-1]
    header = read_header(run.model)
    assert header.scores == {
        "Sliced W2 · 1,000 samples · DDIM 50 · step 8": 0.5,
        KEY: quality.scores["sliced_wasserstein"],
    }
    assert header.history["score_step"][-1] == 16.0
    assert len(header.history["score_step"]) == len(header.history["sliced_wasserstein"])


def test_scores_and_levels_read_back_from_the_log(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    trainer, log = Trainer(config(), run), RunLog(run)
    found = told(trainer)
    for event in found:
        log.write(event)
    log.flush()
    read = list(run.read())
    assert [event for event in read if isinstance(event, events.Quality)] == [
        event for event in found if isinstance(event, events.Quality)
    ]
    levels = next(event for event in read if isinstance(event, events.HeldOut))
    expected = next(event for event in found if isinstance(event, events.HeldOut))
    assert np.allclose(levels.level_loss, expected.level_loss, rtol=1e-5)  # type: ignore[arg-type]
    assert np.array_equal(levels.level_log_snr, expected.level_log_snr)  # type: ignore[arg-type]


def test_kept_scores_leave_every_weight_as_it_is(tmp_path: Path) -> None:
    trainer = Trainer(config(score_every=0.0), Run(tmp_path / "run"))
    told(trainer)
    path = trainer.run_folder.model
    before, header = path.read_bytes(), read_header(path)
    weights = load_file(path)
    write_scores(path, {"FD · MNIST classifier · 1,000 samples · DDIM 50": 1.25})
    write_scores(path, {"KD · MNIST classifier · 1,000 samples · DDIM 50": 0.5})
    again = load_file(path)
    assert weights.keys() == again.keys()
    assert all(torch.equal(weights[name], again[name]) for name in weights)
    size = int.from_bytes(before[:8], "little")
    now = path.read_bytes()
    assert now.endswith(before[8 + size :])
    assert int.from_bytes(now[:8], "little") % 8 == 0
    kept = read_header(path)
    assert len(kept.scores) == 2
    assert dataclasses.replace(kept, scores={}) == header
    load(path, torch.device("cpu"))


def test_what_is_no_score_is_refused_and_the_file_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = Trainer(config(score_every=0.0), Run(tmp_path / "run"))
    told(trainer)
    path = trainer.run_folder.model
    before = path.read_bytes()
    with pytest.raises(ValueError, match="FD = nan is no score"):
        write_scores(path, {"FD": float("nan")})
    monkeypatch.setattr("shutil.copyfileobj", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        write_scores(path, {"FD": 1.0})
    assert path.read_bytes() == before
    assert not list(path.parent.glob(".*"))
    monkeypatch.undo()
    other = tmp_path / "other.safetensors"
    other.write_bytes(b"hello")
    with pytest.raises(NotACheckpoint):
        write_scores(other, {"FD": 1.0})


def test_keys_say_what_a_score_is_of(tmp_path: Path) -> None:
    key = score_key("FD", "MNIST classifier", 1000, "DDIM 12")
    assert key == "FD · MNIST classifier · 1,000 samples · DDIM 12"
    assert score_key("Sliced W2", "", 500, "DDIM 12", 1800) == "Sliced W2 · 500 samples · DDIM 12 · step 1,800"
    old = dated({key: 1.0}, 100, 1200)
    assert old == {f"{key} · step 100": 1.0}
    assert dated(old, 1200, 5000) == old
    assert dated({key: 1.0}, 100, 100) == {key: 1.0}
    assert [undated(item) for item in (key, *old)] == [key, key]
    assert in_full(key, 1.4234) == "FD 1.42 · MNIST classifier · 1,000 samples · DDIM 12"


def test_the_score_that_speaks_for_a_model(tmp_path: Path) -> None:
    trainer = Trainer(config(), Run(tmp_path / "run"))
    header = trainer.header()
    assert best_score(header) == ("", "")

    def speaks(*keys: str) -> str:
        return best_score(dataclasses.replace(header, scores=dict.fromkeys(keys, 2.0)))[1]

    few, many = (score_key("FD", "MNIST classifier", count, "DDIM 12") for count in (500, 10_000))
    assert speaks("KD · x · 9,000 samples", few, many) == "FD 2 · MNIST classifier · 10,000 samples · DDIM 12"
    assert speaks(few, f"{many} · step 7") == in_full(few, 2.0)
    assert speaks("KD", "Recall") == "KD 2"
