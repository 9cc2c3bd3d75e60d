"""Control, mailbox and jobs, without Qt: stop, pause, failure, overflow."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from studio.core import events
from studio.core.checkpoints import places
from studio.core.config import RunKnobs, TrainConfig
from studio.core.data.base import Batch
from studio.core.data.images import MNIST
from studio.core.data.points import Gaussians25, SwissRoll
from studio.core.networks.base import num_parameters
from studio.core.networks.discriminator import discriminator
from studio.core.networks.mlp import MLPSpec
from studio.core.networks.unet import UNetSpec
from studio.core.noise import Noise
from studio.core.optimizers import AdamSpec
from studio.core.recipes.adversarial import Adversarial, AdversarialLearner
from studio.core.runs import Run, RunLog
from studio.core.samplers.ancestral import Ancestral
from studio.core.sampling import SampleKnobs, SampleSpec
from studio.session import catalog
from studio.session.control import Control
from studio.session.jobs import DataJob, EstimateJob, Interpolation, SampleJob, TrainJob, _shown, drive
from studio.session.mailbox import MOST_POINTS, Mailbox


def tiny(steps: int = 20) -> TrainConfig:
    return TrainConfig(
        title="Tiny",
        data=SwissRoll(num_points=1000),
        network=MLPSpec(width=16, blocks=1),
        optimizer=AdamSpec(),
        run=RunKnobs(steps=steps, batch=16, preview_every=0.0),
    )


@pytest.fixture
def run(tmp_path: Path) -> Run:
    made = Run(tmp_path / "run")
    outcome = list(drive(TrainJob(tiny(), made), Control()))[-1]
    assert isinstance(outcome, events.Finished)
    assert outcome.outcome == "done"
    return made


def with_prior() -> TrainConfig:
    recipe = Adversarial(d_width=8, latent=4, beta_max=2.0, prior=3)
    return dataclasses.replace(tiny(2), data=Gaussians25(num_points=2500), recipe=recipe)


def trained_with_prior(folder: Path) -> Path:
    made = Run(folder / "prior")
    list(drive(TrainJob(with_prior(), made), Control()))
    return made.model


def collect(job: object, control: Control | None = None) -> list[events.Event]:
    return [event for event in drive(job, control or Control(), 7) if event is not None]  # type: ignore[arg-type]


def test_a_training_stopped_while_its_prior_is_fitted_leaves_nothing(tmp_path: Path) -> None:
    run, control, told = Run.new(tmp_path, "made"), Control(), []
    for event in drive(TrainJob(with_prior(), run), control):
        told.append(event)
        if isinstance(event, events.Status) and "prior" in event.text:
            control.stop()
    assert isinstance(told[-1], events.Finished)
    assert not any(isinstance(event, (events.Saved, events.Failed)) for event in told)
    assert not run.folder.exists()


def test_a_prior_that_cannot_be_fitted_fails_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def fit(*_: object) -> Iterator[None]:
        tried.append(1)
        raise RuntimeError("no decomposition")
        yield

    monkeypatch.setattr("studio.core.trainer.fit", fit)
    told = list(drive(TrainJob(with_prior(), Run.new(tmp_path, "made")), Control()))
    assert tried == [1]
    assert any(isinstance(event, events.Failed) for event in told)


class TestDrive:
    def test_a_failure_is_told_then_finished(self) -> None:
        def job(control: Control) -> Iterator[events.Event]:
            yield events.Status(text="so far so good")
            raise RuntimeError("a bolt came loose")

        told = collect(job)
        assert [type(event).__name__ for event in told] == ["Status", "Failed", "Finished"]
        assert "a bolt came loose" in told[1].summary  # type: ignore[attr-defined]
        assert "RuntimeError" in told[1].details  # type: ignore[attr-defined]
        assert told[2].outcome == "failed"  # type: ignore[attr-defined]
        assert {event.job_id for event in told} == {7}

    def test_a_value_error_is_told_in_its_own_words(self) -> None:
        def job(control: Control) -> Iterator[events.Event]:
            yield events.Status(text="")
            raise ValueError("width = 3 is not possible.")

        assert collect(job)[1].summary == "width = 3 is not possible."  # type: ignore[attr-defined]

    def test_the_job_is_closed_when_its_driver_is(self) -> None:
        closed = []

        def job(control: Control) -> Iterator[events.Event]:
            try:
                while True:
                    yield events.Status(text="on and on")
            finally:
                closed.append(True)

        driver = drive(job, Control())
        next(driver)
        driver.close()  # type: ignore[attr-defined]
        assert closed == [True]


class TestTraining:
    def test_stop_takes_effect_within_a_step_and_saves(self, tmp_path: Path) -> None:
        control, run = Control(), Run(tmp_path / "run")
        steps = 0
        for event in drive(TrainJob(tiny(10_000), run), control):
            if isinstance(event, events.Progress):
                control.stop()
                steps = event.step
        assert catalog.read_header(run.model).step <= steps + 1
        assert event is not None
        assert event.outcome == "stopped"  # type: ignore[attr-defined]

    def test_pause_single_step_save_and_resume(self, tmp_path: Path) -> None:
        control, run = Control(), Run(tmp_path / "run")
        control.pause()
        told: list[events.Event] = []
        thread = threading.Thread(target=lambda: told.extend(collect(TrainJob(tiny(6), run), control)))
        thread.start()

        def steps() -> int:
            return sum(len(event.steps) for event in list(told) if isinstance(event, events.Progress))

        assert thread.is_alive()
        time.sleep(0.3)
        control.ask_save()
        deadline = time.monotonic() + 10
        while not run.model.is_file() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert catalog.read_header(run.model).step == 1, "paused training takes no further step"
        control.step_once()
        time.sleep(0.3)
        control.ask_save()
        time.sleep(0.5)
        assert catalog.read_header(run.model).step == 2
        control.resume()
        thread.join(20)
        assert not thread.is_alive()
        assert steps() == 6
        pauses = [event.paused for event in told if isinstance(event, events.Paused)]
        assert pauses[0]
        assert not pauses[-1]

    def test_stopping_ends_a_pause(self, tmp_path: Path) -> None:
        control = Control()
        control.pause()
        thread = threading.Thread(target=lambda: collect(TrainJob(tiny(50), Run(tmp_path / "run")), control))
        thread.start()
        time.sleep(0.2)
        control.stop()
        thread.join(10)
        assert not thread.is_alive()

    def test_continuing_goes_on_to_the_planned_end(self, tmp_path: Path) -> None:
        control, run = Control(), Run(tmp_path / "run")
        for event in drive(TrainJob(tiny(12), run), control):
            if event is None or isinstance(event, events.Progress):
                control.stop()
        assert catalog.read_header(run.model).step < 12
        told = collect(TrainJob(tiny(12), run, resume=True))
        assert told[-1].outcome == "done"  # type: ignore[attr-defined]
        assert catalog.read_header(run.model).step == 12

    def test_a_log_that_cannot_be_written_warns_and_training_goes_on(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(*_: object) -> None:
            raise OSError(28, "No space left on device", str(tmp_path / "events.jsonl"))

        monkeypatch.setattr(RunLog, "_append", full)
        told = collect(TrainJob(tiny(8), Run(tmp_path / "run")))
        assert [type(event).__name__ for event in told].count("Warned") == 1
        assert told[-1].outcome == "done"  # type: ignore[attr-defined]
        assert catalog.read_header(Run(tmp_path / "run").model).step == 8

    def test_what_was_learned_survives_a_crash(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from studio.core.trainer import Trainer

        real = Trainer.train_step

        def fails(trainer: Trainer) -> object:
            if trainer.step == 5:
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
            return real(trainer)

        monkeypatch.setattr(Trainer, "train_step", fails)
        told = collect(TrainJob(tiny(8), Run(tmp_path / "run")))
        assert "not enough memory" in told[-2].summary  # type: ignore[attr-defined]
        assert catalog.read_header(Run(tmp_path / "run").model).step == 5

    def test_a_network_that_cannot_fit_is_refused_before_it_is_built(self, tmp_path: Path) -> None:
        import dataclasses

        huge = dataclasses.replace(tiny(), data=MNIST(), network=UNetSpec(width=512, depth=6, blocks=8, middle=8))
        for job in (TrainJob(huge, Run(tmp_path / "run")), EstimateJob(huge)):
            told = collect(job)
            assert "Take a smaller network" in told[-2].summary  # type: ignore[attr-defined]
        assert not (tmp_path / "run").exists()

    def test_a_continued_run_logs_every_step_once(self, tmp_path: Path) -> None:
        control, run = Control(), Run(tmp_path / "run")
        for event in drive(TrainJob(tiny(40), run), control):
            if isinstance(event, events.Progress):
                control.stop()
        saved = catalog.read_header(run.model).step
        with open(run.messages, "a", encoding="utf-8") as file:
            # As if it had gone on after its last checkpoint, and then the machine had.
            last = [line for line in run.messages.read_text().splitlines() if "Progress" in line][-1]
            file.write(last.replace(f'"step": {saved},', f'"step": {saved + 9},') + "\n")
        collect(TrainJob(tiny(40), run, resume=True))
        steps = [step for event in run.read() if isinstance(event, events.Progress) for step in event.steps.tolist()]
        assert steps == sorted(set(steps))
        assert steps[-1] == 39

    def test_a_run_folder_that_cannot_be_made_is_told(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("in the way")
        told = collect(TrainJob(tiny(), Run(tmp_path / "file" / "run")))
        assert isinstance(told[-2], events.Failed)
        assert told[-1].outcome == "failed"  # type: ignore[attr-defined]
        assert (tmp_path / "file").read_text() == "in the way"


class TestSampling:
    def test_frames_belong_together(self, run: Run) -> None:
        told = collect(SampleJob(run.model, SampleSpec(knobs=SampleKnobs(steps=5, count=8))))
        frames = [event for event in told if isinstance(event, events.Frame)]
        assert [frame.index for frame in frames] == list(range(6))
        for frame in frames[:-1]:
            mixed = frame.alpha * frame.x0 + frame.sigma * frame.eps
            np.testing.assert_allclose(frame.x, mixed, atol=1e-5)
        assert np.array_equal(frames[-1].x, frames[-1].x0)
        assert len([event for event in told if isinstance(event, events.Field)]) == 5
        assert all(not frame.x.flags.writeable for frame in frames)

    def test_the_same_seed_gives_the_same_points_at_any_count(self, run: Run) -> None:
        def last(count: int) -> np.ndarray:
            spec = SampleSpec(sampler=Ancestral(), knobs=SampleKnobs(steps=6, count=count, seed=4))
            return [event for event in collect(SampleJob(run.model, spec)) if isinstance(event, events.Frame)][-1].x

        np.testing.assert_allclose(last(3), last(50)[:3], atol=1e-5)

    def test_stop_ends_it_within_a_step(self, run: Run) -> None:
        control = Control()
        seen = 0
        for event in drive(SampleJob(run.model, SampleSpec(knobs=SampleKnobs(steps=100, count=2))), control):
            if isinstance(event, events.Frame):
                seen += 1
                control.stop()
        assert seen == 1

    def test_an_arc_starts_and_ends_at_the_kept_noises(self, run: Run) -> None:
        spec = SampleSpec(knobs=SampleKnobs(steps=4, count=9, seed=5))
        plain = [event for event in collect(SampleJob(run.model, spec)) if isinstance(event, events.Frame)]
        job = SampleJob(run.model, spec, between=Interpolation((5, 2), (5, 7)))
        arc = [event for event in collect(job) if isinstance(event, events.Frame)]
        assert arc[-1].x.shape == (9, 2)
        np.testing.assert_allclose(arc[-1].x[0], plain[-1].x[2], atol=1e-5)
        np.testing.assert_allclose(arc[-1].x[-1], plain[-1].x[7], atol=1e-5)

    @pytest.mark.parametrize("label", ["each", "none", "3"])
    def test_so_does_one_of_a_model_whose_prior_shapes_every_start(self, tmp_path: Path, label: str) -> None:
        model = trained_with_prior(tmp_path)
        spec = SampleSpec(sampler=Ancestral(), knobs=SampleKnobs(steps=4, count=9, seed=5, label=label))
        plain = [event for event in collect(SampleJob(model, spec)) if isinstance(event, events.Frame)]
        # The starts alone: what is drawn on the way is that of one image for the whole arc.
        job = SampleJob(model, spec, between=Interpolation((5, 2), (5, 7)))
        arc = next(event for event in collect(job) if isinstance(event, events.Frame))
        np.testing.assert_allclose(arc.x[0], plain[0].x[2], atol=1e-5)
        np.testing.assert_allclose(arc.x[-1], plain[0].x[7], atol=1e-5)

    def test_a_missing_file_fails_in_words(self, tmp_path: Path) -> None:
        told = collect(SampleJob(tmp_path / "gone.safetensors", SampleSpec()))
        failed = next(event for event in told if isinstance(event, events.Failed))
        assert "is not there" in failed.summary

    def test_very_many_steps_are_thinned_to_the_memory_at_hand(self) -> None:
        assert _shown(20, 1000) == frozenset(range(21))
        few = _shown(1000, 64 * 784)
        assert {0, 1000} <= few
        assert len(few) <= 121
        assert len(_shown(1000, 10**9)) == 2


def test_estimate_counts_parameters_and_time() -> None:
    told = collect(EstimateJob(tiny(300)))
    estimate = next(event for event in told if isinstance(event, events.Estimate))
    assert 0.0 < estimate.seconds_per_step < 1.0
    assert estimate.steps == 300
    assert estimate.memory > 12 * estimate.num_parameters > 0


def test_estimate_weighs_every_kind_of_step_by_how_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """A warm start of 150 steps and an opening of 50 before 100 of the game, that take 0, 1 and 10 s each."""
    now = 0.0

    def step(self: AdversarialLearner, batch: Batch, *, noise: Noise, index: int) -> dict[str, torch.Tensor]:
        nonlocal now
        now += 0.0 if index < 150 else 1.0 if index < 200 else 10.0
        return {"loss": torch.zeros(())}

    monkeypatch.setattr(AdversarialLearner, "step", step)
    monkeypatch.setattr("studio.session.jobs.time.perf_counter", lambda: now)
    config = dataclasses.replace(tiny(300), recipe=Adversarial(warm_start=150, opening=50))
    (found,) = [event for event in collect(EstimateJob(config)) if isinstance(event, events.Estimate)]
    assert found.seconds_per_step == pytest.approx((50 * 1.0 + 100 * 10.0) / 300)


def test_estimate_counts_the_discriminator() -> None:
    """Weights, gradients and two numbers of Adam's for each, and what its backward pass keeps of the batch."""
    found = {}
    for width in (8, 256):
        recipe, run = Adversarial(d_width=width), RunKnobs(steps=300, batch=32)
        config = dataclasses.replace(tiny(), recipe=recipe, run=run)
        (found[width],) = [event for event in collect(EstimateJob(config)) if isinstance(event, events.Estimate)]
    assert found[8].num_parameters == found[256].num_parameters
    data = tiny().data.load()
    small, large = (num_parameters(discriminator(data.shape, data.num_classes, width, 4)) for width in (8, 256))
    more = found[256].memory - found[8].memory
    assert 16 * (large - small) < more < 1.5 * 16 * (large - small)


def test_data_preview_shows_real_items() -> None:
    spec = SwissRoll(num_points=3000)
    preview = next(event for event in collect(DataJob(spec)) if isinstance(event, events.DataPreview))
    assert np.array_equal(preview.images, spec.load().train[:2000])


class TestMailbox:
    def progress(self, step: int, levels: bool = False) -> events.Progress:
        level_loss = np.ones(3, np.float32) if levels else None
        return events.Progress(
            step=step + 1,
            total=10,
            images=0,
            seconds=0.0,
            images_per_second=0.0,
            eta_seconds=0.0,
            scalars={"loss": float(step)},
            steps=np.array([step]),
            losses=np.array([step], np.float32),
            level_loss=level_loss,
        )

    def test_progress_is_merged_without_losing_a_step(self) -> None:
        box = Mailbox()
        for step in range(5):
            box.post(self.progress(step, levels=step == 1))
        (merged,) = box.drain()
        assert isinstance(merged, events.Progress)
        assert merged.steps.tolist() == [0, 1, 2, 3, 4]
        assert merged.step == 5
        assert merged.scalars["loss"] == pytest.approx(2.0), "the mean over all steps, not the last message's"
        assert merged.level_loss is not None
        assert box.drain() == []

    def test_progress_of_another_kind_of_steps_stays_apart(self) -> None:
        box = Mailbox()
        for step in range(6):
            box.post(dataclasses.replace(self.progress(step), span=step // 4))
        assert [event.steps.tolist() for event in box.drain()] == [[0, 1, 2, 3], [4, 5]]  # type: ignore[attr-defined]

    def test_a_window_that_never_looks_does_not_fill_the_memory(self) -> None:
        box = Mailbox()
        for step in range(3 * MOST_POINTS):
            box.post(self.progress(step)) if step % 50 == 0 else None
        for step in range(500):
            box.post(events.Preview(step=step, images=np.zeros((1, 1, 2, 2), np.uint8)))
        waiting = box.drain()
        assert len(waiting) == 2
        assert len(waiting[0].steps) <= MOST_POINTS  # type: ignore[attr-defined]
        assert waiting[1].step == 499  # type: ignore[attr-defined]

    def test_ends_are_never_dropped_or_overtaken(self) -> None:
        box = Mailbox()
        box.post(events.Failed(summary="one", job_id=1))
        box.post(events.Finished(outcome="failed", job_id=1))
        box.post(events.Preview(step=1, images=np.zeros(1), job_id=2))
        box.post(events.Finished(outcome="done", job_id=2))
        assert [type(event).__name__ for event in box.drain()] == ["Failed", "Finished", "Preview", "Finished"]

    def test_frames_are_all_kept(self, run: Run) -> None:
        box = Mailbox()
        for event in collect(SampleJob(run.model, SampleSpec(knobs=SampleKnobs(steps=30, count=2)))):
            box.post(event)
        assert sum(isinstance(event, events.Frame) for event in box.drain()) == 31

    def test_posting_from_a_thread_while_draining_loses_nothing(self) -> None:
        box = Mailbox()
        thread = threading.Thread(target=lambda: [box.post(self.progress(step)) for step in range(2000)])
        thread.start()
        steps: list[int] = []
        while thread.is_alive():
            steps += [step for event in box.drain() for step in event.steps]  # type: ignore[attr-defined]
        steps += [step for event in box.drain() for step in event.steps]  # type: ignore[attr-defined]
        thread.join()
        assert steps == list(range(2000))


class TestCatalog:
    def test_runs_are_found_newest_first(self, studio_home: Path) -> None:
        for name in ("20260101-000000-a", "20260102-000000-b"):
            collect(TrainJob(tiny(2), Run(studio_home / "runs" / name)))
        (studio_home / "runs" / "20260103-000000-empty").mkdir()
        found = list(catalog.look(catalog.trained(), "trained"))
        assert [item.path.parent.parent.name[-1] for item in found] == ["b", "a"]
        assert found[0].header is not None
        assert found[0].header.title == "Tiny"

    def test_a_run_folder_means_its_model(self, run: Run, tmp_path: Path) -> None:
        assert places.resolve(run.folder) == run.model
        with pytest.raises(catalog.NotACheckpoint, match=r"no config\.toml"):
            places.resolve(tmp_path)

    def test_what_ships_comes_in_the_order_to_meet_it(self) -> None:
        names = [path.stem for path in places.shipped()]
        assert names == ["mnist-ddpm", "fashion-ddpm", "swiss-roll", "mnist-ddgan", "fashion-ddgan"]

    def test_a_bad_file_is_listed_with_its_problem(self, tmp_path: Path) -> None:
        bad = tmp_path / "bad.safetensors"
        bad.write_text("nothing")
        (found,) = catalog.look([bad], "opened")
        assert found.header is None
        assert "no checkpoint" in found.problem


def test_threads_do_not_change_the_samples(run: Run) -> None:
    """Sampling beside a busy thread that draws from the global generator gives the same points."""
    spec = SampleSpec(sampler=Ancestral(), knobs=SampleKnobs(steps=5, count=4))
    alone = [event for event in collect(SampleJob(run.model, spec)) if isinstance(event, events.Frame)][-1].x
    ended = threading.Event()

    def noisy() -> None:
        while not ended.is_set():
            torch.randn(100)

    thread = threading.Thread(target=noisy)
    thread.start()
    try:
        beside = [event for event in collect(SampleJob(run.model, spec)) if isinstance(event, events.Frame)][-1].x
    finally:
        ended.set()
        thread.join()
    assert np.array_equal(alone, beside)
