"""The training loop: exact resume, falling loss, floors, failures that leave what was there."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from train_controls import StopAt, Unhurried

from studio.core import events, pictures
from studio.core.checkpoints import resume
from studio.core.config import RunKnobs, TrainConfig
from studio.core.data.images import MNIST
from studio.core.data.points import Gaussians8, SwissRoll
from studio.core.loops import EARLY_SHARE, Turn
from studio.core.networks.mlp import MLPSpec
from studio.core.networks.unet import UNetSpec
from studio.core.optimizers import AdamSpec, MuonSpec
from studio.core.recipes.adversarial import Adversarial
from studio.core.recipes.denoising import Denoising
from studio.core.runs import Run, RunLog
from studio.core.trainer import PREVIEW_SHARE, Diverged, Trainer


def small(steps: int, **recipe: object) -> TrainConfig:
    return TrainConfig(
        data=SwissRoll(num_points=2000),
        recipe=Denoising(**recipe),  # type: ignore[arg-type]
        network=MLPSpec(width=32, blocks=1),
        optimizer=MuonSpec(),
        run=RunKnobs(steps=steps, batch=64, preview_every=0.0),
    )


def weights(trainer: Trainer) -> list[torch.Tensor]:
    return [*trainer.learner.denoiser.state_dict().values(), *trainer.ema.average.state_dict().values()]


def finish(trainer: Trainer) -> list[events.Event]:
    return [event for event in trainer.run(Unhurried()) if event is not None]


@pytest.mark.parametrize("optimizer", [MuonSpec(), AdamSpec()])
@pytest.mark.parametrize("data", ["points", "images"])
def test_stopping_and_resuming_equals_not_stopping(tmp_path: Path, optimizer: object, data: str) -> None:
    config = small(10)
    if data == "images":
        config = dataclasses.replace(
            config, data=MNIST(), network=UNetSpec(width=8, depth=2), run=RunKnobs(steps=6, batch=4, preview_every=0.0)
        )
    config = dataclasses.replace(config, optimizer=optimizer)
    whole = Trainer(config, Run(tmp_path / "whole"))
    finish(whole)
    first = Trainer(config, Run(tmp_path / "parts"))
    list(first.run(StopAt(first, config.run.steps // 2)))
    second = Trainer(config, Run(tmp_path / "parts"), resumes=True)
    assert second.step == config.run.steps // 2
    finish(second)
    assert second.step == whole.step == config.run.steps
    for one, other in zip(weights(whole), weights(second), strict=True):
        assert torch.equal(one, other)


def test_the_global_generator_is_left_alone(tmp_path: Path) -> None:
    before = torch.get_rng_state()
    finish(Trainer(small(3), Run(tmp_path / "run")))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("parameterization", ["eps", "x0", "v", "edm"])
def test_the_loss_falls_towards_the_exact_floor(tmp_path: Path, parameterization: str) -> None:
    """On one Gaussian the best loss is known; a trained net comes near it and, on fresh data, not below."""
    torch.manual_seed(0)
    config = dataclasses.replace(
        small(600, parameterization=parameterization, level_choice="schedule", weighting="eps"),
        data=Gaussians8(),
        optimizer=AdamSpec(learning_rate=3e-3),
        run=RunKnobs(steps=600, batch=256, preview_every=0.0),
    )
    trainer = Trainer(config, Run(tmp_path / "run"))
    finish(trainer)
    from studio.core.exact import MixtureDenoiser
    from studio.core.levels import Level, diffuse
    from studio.core.noise import Noise, Stream

    mixture = trainer.dataset.mixture
    assert mixture is not None
    exact = MixtureDenoiser(*(torch.as_tensor(part, dtype=torch.float32) for part in mixture))
    batch = trainer.batches.held_out(4000)
    noise = Noise(99, range(4000))
    alpha_bar = torch.as_tensor(config.recipe.schedule.alpha_bar).float()
    place = (noise.uniform(0, Stream.LEVEL) * 1000).long().clamp(max=999)
    level = Level(alpha_bar[place].sqrt(), (1.0 - alpha_bar[place]).sqrt())
    eps = noise.like(batch.x0, 0, Stream.EPS)
    x = diffuse(batch.x0, level, eps)
    floor = float((exact(x, level).eps - eps).square().mean())
    with torch.no_grad():
        reached = float((trainer.ema.average(x, level, batch.labels * 0 - 1).eps - eps).square().mean())
        untrained = float(eps.square().mean())
    assert floor * 0.98 < reached < floor + 0.25 * (untrained - floor)


def test_a_stopped_run_ends_with_samples_of_its_last_step(tmp_path: Path) -> None:
    """What the library shows of a model must not be an older, noisier preview."""
    config = dataclasses.replace(small(50), run=RunKnobs(steps=50, batch=8, preview_every=0.001))
    trainer = Trainer(config, Run(tmp_path / "run"))
    told = list(trainer.run(StopAt(trainer, 7)))
    shown = [event for event in told if isinstance(event, events.Preview)]
    assert shown[-1].step == 7
    assert trainer.header().thumbnail == pictures.thumbnail(shown[-1].images)


def test_a_diverging_loss_is_told_and_keeps_the_last_good_state(tmp_path: Path) -> None:
    config = small(400)
    run = Run(tmp_path / "run")
    trainer = Trainer(config, run)
    list(trainer.run(StopAt(trainer, 5)))
    good = run.model.read_bytes(), run.resume.read_bytes()
    again = Trainer(config, run, resumes=True)
    next(iter(again.learner.denoiser.parameters())).data.fill_(float("nan"))
    with pytest.raises(Diverged, match="Lower the rate"):
        finish(again)
    assert (run.model.read_bytes(), run.resume.read_bytes()) == good


def test_a_gradient_that_is_no_number_never_reaches_the_file(tmp_path: Path) -> None:
    """A finite loss with an infinite gradient turns the weights to NaN; the good file must survive that."""
    run = Run(tmp_path / "run")
    first = Trainer(small(400), run)
    list(first.run(StopAt(first, 5)))
    good = run.model.read_bytes()
    trainer = Trainer(small(400), run, resumes=True)
    next(iter(trainer.ema.average.parameters())).data.fill_(float("inf"))
    with pytest.raises(Diverged, match="The state of step 5 is kept"):
        trainer.save()
    assert run.model.read_bytes() == good


@pytest.mark.parametrize(
    "change",
    [
        {"recipe": Denoising(parameterization="v")},
        {"run": RunKnobs(steps=10, batch=32, preview_every=0.0)},
        {"optimizer": AdamSpec()},
        {"data": SwissRoll(num_points=3000)},
    ],
)
def test_a_continuation_with_other_settings_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    run = Run(tmp_path / "run")
    first = Trainer(small(10), run)
    list(first.run(StopAt(first, 4)))
    good = run.model.read_bytes(), run.config.read_bytes()
    other = dataclasses.replace(small(10), **change)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="does not continue this run"):
        Trainer(other, run, resumes=True)
    assert (run.model.read_bytes(), run.config.read_bytes()) == good


def test_a_complete_run_says_so(tmp_path: Path) -> None:
    finish(Trainer(small(4), Run(tmp_path / "run")))
    with pytest.raises(ValueError, match="it is complete"):
        Trainer(small(4), Run(tmp_path / "run"), resumes=True)


def test_weights_follow_from_the_seed_whatever_other_threads_build(tmp_path: Path) -> None:
    import threading

    expected = weights(Trainer(small(4), Run(tmp_path / "run")))
    ended = threading.Event()

    def busy() -> None:
        while not ended.is_set():
            Trainer(small(4), Run(tmp_path / "other"))

    thread = threading.Thread(target=busy)
    thread.start()
    try:
        for _ in range(10):
            found = weights(Trainer(small(4), Run(tmp_path / "run")))
            assert all(torch.equal(one, other) for one, other in zip(expected, found, strict=True))
    finally:
        ended.set()
        thread.join()


def test_a_full_disk_warns_and_training_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import studio.core.checkpoints.native as native

    config = dataclasses.replace(small(30), run=RunKnobs(steps=30, batch=8, preview_every=0.0, save_every=1.0))
    run = Run(tmp_path / "run")
    trainer = Trainer(config, run)
    real = native.save_file

    class AskOnce(Unhurried):
        asked = 0

        def take_save(self) -> bool:
            self.asked += 1
            return self.asked in (3, 6)

    def full(*args: object, **kwargs: object) -> None:
        Path(str(args[1])).write_bytes(b"half a file")
        raise native.SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    told: list[events.Event] = []
    for event in trainer.run(AskOnce()):
        if isinstance(event, events.Saved) and not any(isinstance(item, events.Warned) for item in told):
            good = run.model.read_bytes()
            monkeypatch.setattr(native, "save_file", full)
        if isinstance(event, events.Warned):
            assert run.model.read_bytes() == good
            monkeypatch.setattr(native, "save_file", real)
        if event is not None:
            told.append(event)
    warned = [event for event in told if isinstance(event, events.Warned)]
    assert len(warned) == 1
    assert "disk is full" in warned[0].summary
    assert isinstance(told[-1], events.Saved)
    assert told[-1].step == 30
    assert not list((run.folder / "checkpoints").glob(".*"))


def test_messages_carry_every_step_once(tmp_path: Path) -> None:
    told = finish(Trainer(small(60), Run(tmp_path / "run")))
    progress = [event for event in told if isinstance(event, events.Progress)]
    assert np.concatenate([event.steps for event in progress]).tolist() == list(range(60))
    assert all(len(event.steps) == len(event.losses) for event in progress)
    assert progress[-1].step == progress[-1].total == 60
    assert {"loss", "grad_norm", "learning_rate"} <= set(progress[-1].scalars)
    assert not any(array.flags.writeable for event in progress for array in (event.steps, event.losses))


def test_the_loss_by_level_averages_to_the_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import studio.core.trainer as module

    monkeypatch.setattr(module, "LEVEL_SECONDS", 0.0)
    monkeypatch.setattr(module, "REPORT_SECONDS", 0.0)
    told = finish(Trainer(small(5), Run(tmp_path / "run")))
    first = next(event for event in told if isinstance(event, events.Progress))
    assert first.level_loss is not None
    seen = ~np.isnan(first.level_loss)
    assert 3 < seen.sum() < len(seen)
    # At the start all levels have about the same EDM loss, 1, so bins and total agree without their counts.
    assert abs(np.nanmean(first.level_loss) - first.losses.mean()) < 0.4


def test_a_finished_run_reads_back(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    log = RunLog(run)
    for event in Trainer(small(5), run).run(Unhurried()):
        if event is not None:
            log.write(event)
    with open(run.messages, "a", encoding="utf-8") as file:
        file.write('{"event": "Progress", "st')
    read = list(run.read())
    assert sum(len(event.steps) for event in read if isinstance(event, events.Progress)) == 5
    assert isinstance(read[-1], events.Saved)


def test_the_preview_comes_from_the_average_at_a_fixed_seed(tmp_path: Path) -> None:
    config = dataclasses.replace(small(6), run=RunKnobs(steps=6, batch=8, preview_every=1.0))
    told = finish(Trainer(config, Run(tmp_path / "one"))), finish(Trainer(config, Run(tmp_path / "two")))
    first, second = ([event for event in run if isinstance(event, events.Preview)][-1] for run in told)
    assert first.step == 6
    assert np.array_equal(first.images, second.images)
    assert [event.loss for event in told[0] if isinstance(event, events.HeldOut)][-1] > 0.0


@pytest.mark.parametrize(("decay", "expected"), [("linear", [0.5, 0.9, 0.8]), ("constant", [0.5, 1.0, 1.0])])
def test_the_rate_rises_then_falls_or_stays(tmp_path: Path, decay: str, expected: list[float]) -> None:
    config = dataclasses.replace(small(10), run=RunKnobs(steps=10, warmup=2, decay=decay))  # type: ignore[arg-type]
    trainer = Trainer(config, Run(tmp_path / "run"))
    assert [round(trainer.rate(step), 3) for step in range(3)] == expected


def test_warm_start_opening_and_game_have_a_fall_of_their_own(tmp_path: Path) -> None:
    recipe = Adversarial(warm_start=6, opening=2, opening_rate=0.1, game_rate=0.5, d_rate=0.1)
    config = dataclasses.replace(small(12), recipe=recipe, run=RunKnobs(steps=12, warmup=0))
    trainer = Trainer(config, Run(tmp_path / "run"))
    seen = []
    for step in (0, 3, 5, 6, 7, 8, 10):
        trainer.learner.set_rates(trainer.rate(step), step)
        first, *_, last = (optimizer.param_groups[0] for optimizer in trainer.learner.optimizers)
        seen.append((round(first["lr"] / first["initial_lr"], 3), round(last["lr"] / 0.1, 3)))
    assert seen == [(1.0, 1.0), (0.5, 1.0), (0.167, 1.0), (0.1, 1.0), (0.05, 1.0), (0.5, 1.0), (0.25, 0.5)]


def test_no_report_holds_steps_of_two_kinds(tmp_path: Path) -> None:
    """Neither as it comes nor as the run's folder keeps it: each span's means and losses by level are its own."""
    recipe = Adversarial(warm_start=5, opening=3, score_weight=1.0, d_width=8, latent=4)
    config = dataclasses.replace(small(20), recipe=recipe, run=RunKnobs(steps=20, batch=16, preview_every=0.0))
    run = Run(tmp_path / "run")
    told, log = finish(Trainer(config, run)), RunLog(run)
    for event in told:
        log.write(event)
    log.flush()
    for messages in (told, run.read()):
        reports = [event for event in messages if isinstance(event, events.Progress)]
        spans = [[event for event in reports if event.span == span] for span in range(3)]
        assert [event for span in spans for event in span] == reports
        steps = [np.concatenate([event.steps for event in span]).tolist() for span in spans]
        assert steps == [[*range(5)], [5, 6, 7], [*range(8, 20)]]
        players = [
            {"d_loss", "energy_score", "diversity"} & set().union(*(event.scalars for event in span)) for span in spans
        ]
        assert players == [set(), {"d_loss", "energy_score"}, {"d_loss", "energy_score", "diversity"}]
        assert all(span[-1].level_loss is not None for span in spans)


def test_a_run_from_before_a_setting_was_known_had_its_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(tmp_path / "run")
    finish(Trainer(small(4), run))
    read = resume.read_facts

    def older(path: Path) -> dict[str, Any]:
        found = read(path)
        del found["config"]["run"]["start_from"], found["config"]["recipe"]["label_dropout"]
        return found

    monkeypatch.setattr("studio.core.checkpoints.resume.read_facts", older)
    assert Trainer(small(8), run, resumes=True).step == 4


def test_guidance_needs_labels_that_were_sometimes_hidden(tmp_path: Path) -> None:
    config = dataclasses.replace(small(5, label_dropout=1.0), data=Gaussians8(num_points=1000))
    trainer = Trainer(config, Run(tmp_path / "run"))
    finish(trainer)
    table = trainer.learner.denoiser.network.embedding.classes.weight.grad  # type: ignore[attr-defined]
    assert table[-1].abs().sum() > 0
    assert table[:-1].abs().sum() == 0


def test_pictures_come_more_often_in_the_first_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr("studio.core.loops.time.perf_counter", lambda: clock[0])

    def wait_after(turn: Turn) -> float:
        """Seconds until the next one is due, after one that took 1.2 s."""

        def work() -> Iterator[None]:
            clock[0] += 1.2
            yield None

        list(turn.timed(work))
        done = clock[0]
        while not turn.due():
            clock[0] += 0.1
        return clock[0] - done

    early = Turn(15.0, PREVIEW_SHARE, 3.0)
    assert wait_after(early) == pytest.approx(1.2 / EARLY_SHARE, abs=0.2)
    clock[0] += 60.0
    assert wait_after(early) == pytest.approx(1.2 / PREVIEW_SHARE, abs=0.2)
    assert wait_after(Turn(15.0, PREVIEW_SHARE)) == pytest.approx(1.2 / PREVIEW_SHARE, abs=0.2)
