"""Jobs: everything that takes longer than a moment, as generators of messages.

A job takes a :class:`~studio.session.control.Control` and yields messages (or None, where there is nothing to say but
whoever drives it may look around). It ends early when ``control.stopping``. :func:`drive` adds what every job shares:
a failure told in plain words, and a ``Finished`` at the very end.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import torch

from studio.core import events
from studio.core.checkpoints.beginning import take_weights
from studio.core.checkpoints.native import Model, load
from studio.core.config import TrainConfig
from studio.core.data.base import Batches, DatasetSpec
from studio.core.device import choose
from studio.core.files import explain
from studio.core.levels import CLEAN, beta_between, log_snr
from studio.core.networks.base import num_parameters
from studio.core.noise import Noise, Stream
from studio.core.recipes.base import DataFacts
from studio.core.runs import Run, RunLog
from studio.core.samplers.base import Step
from studio.core.sampling import SampleSpec, Subject, begin, conditioned, levels_of, sample, slerp, subject_of, to_uint8
from studio.core.trainer import Trainer
from studio.session.control import Control

Job = Callable[[Control], Iterator[events.Event | None]]
FRAME_BYTES = 96 << 20
MOST_FRAMES = 121
ESTIMATE_STEPS = 3
MOST_MODELS = 6
"""Checkpoints that stay loaded: as many as lanes can be compared, so that a change to one reloads none."""


def drive(job: Job, control: Control, job_id: int = 0) -> Iterator[events.Event | None]:
    """Iterate a job to its end. Failures become ``Failed``; ``Finished`` is always last. Messages get ``job_id``."""
    began = time.perf_counter()
    outcome = "done"
    messages = job(control)
    try:
        for event in messages:
            yield None if event is None else dataclasses.replace(event, job_id=job_id)
        if control.stopping:
            outcome = "stopped"
    except Exception as error:
        outcome = "failed"
        yield events.Failed(summary=_summary(error), details=traceback.format_exc(), job_id=job_id)
    finally:
        messages.close()  # type: ignore[attr-defined]
    yield events.Finished(outcome=outcome, seconds=time.perf_counter() - began, job_id=job_id)  # type: ignore[arg-type]


def _summary(error: Exception) -> str:
    """The failure in the person's words; our own ValueErrors already are."""
    if isinstance(error, ValueError):
        return str(error)
    if isinstance(error, OSError):
        return explain(error, Path(error.filename or "The file"))
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "allocate memory" in str(error):
        return "There is not enough memory. Take a smaller batch, fewer images or a smaller network."
    return f"Something went wrong inside the studio: {error or type(error).__name__}. Copy the details to report it."


@dataclass(frozen=True)
class TrainJob:
    """Train ``config`` into ``run``, or continue it there."""

    config: TrainConfig
    run: Run
    resume: bool = False

    def __call__(self, control: Control) -> Iterator[events.Event | None]:
        yield events.Status(text=f"Loading {self.config.data.title}")
        try:
            _check_memory(self.config)
            trainer = Trainer(self.config.anchored(), self.run, resumes=self.resume)
            if self.resume:
                self.run.cut_back(trainer.step)
        except Exception:
            self.run.discard_if_empty()
            raise
        log = _Log(self.run)
        try:
            for event in trainer.run(control):
                yield event
                yield from log.write(event)
        except Exception as error:
            if trainer.step and not isinstance(error, (ValueError, OSError)):
                # What was learned up to here is good: only the step that failed is lost.
                with contextlib.suppress(OSError, ValueError):
                    yield trainer.save()
            yield from log.write(events.Failed(summary=_summary(error)))
            raise
        finally:
            log.close()
            self.run.discard_if_empty()


class _Log:
    """A run's log that never stops the training: where it cannot be written, that is said once."""

    def __init__(self, run: Run) -> None:
        self._log: RunLog | None = RunLog(run)

    def write(self, event: events.Event | None) -> Iterator[events.Event]:
        if self._log is None or event is None:
            return
        try:
            self._log.write(event)
        except OSError as error:
            self._log = None
            yield events.Warned(
                summary=f"The run's curves are no longer recorded. {explain(error, Path(error.filename or 'The log'))}"
            )

    def close(self) -> None:
        if self._log is not None:
            with contextlib.suppress(OSError):
                self._log.flush()


def _check_memory(config: TrainConfig) -> None:
    """Raise ValueError for a network that cannot fit: the system would end the studio without a word."""
    data = config.data.load()
    count = config.network.count(data.shape, data.num_classes, config.recipe.latent_size)
    # Weights, gradients, average, and at least one number of optimiser state for each weight.
    needed = 4 * 4 * count + 4 * config.run.batch * math.prod(data.shape)
    there = psutil.virtual_memory().available
    if config.run.device in ("auto", "cpu") and needed > there:
        raise ValueError(
            f"This network has {count / 1e6:,.0f} M parameters and would need {needed / 1e9:,.0f} GB at least; "
            f"{there / 1e9:,.0f} GB are free. Take a smaller network or batch."
        )


@dataclass(frozen=True)
class Interpolation:
    """Two starting noises, each a (seed, image index); the samples start from the arc between them."""

    first: tuple[int, int]
    second: tuple[int, int]


@dataclass(frozen=True)
class SampleJob:
    """Sample from the checkpoint at ``path`` and tell every visited level, or evenly chosen ones of very many."""

    path: Path
    spec: SampleSpec
    device: str = "auto"
    between: Interpolation | None = None

    def __call__(self, control: Control) -> Iterator[events.Event | None]:
        yield events.Status(text="Opening the model")
        device = choose(self.device)  # type: ignore[arg-type]
        model = load_model(self.path, device)
        subject = subject_of(model)
        spec, start, indices = self.spec, None, range(self.spec.knobs.count)
        if self.between is not None:
            # Only the starts may differ along the arc: class and fresh noise are the same for all.
            indices = range(0, 1)
            spec = spec.at(label="none" if spec.knobs.label == "each" else spec.knobs.label)
            start = self._arc(subject, spec, device)
        began = time.perf_counter()
        steps = sample(
            subject, spec, device, indices=list(indices) * (len(start) if start is not None else 1), x_start=start
        )
        teller = FrameTeller(subject, began)
        for step in steps:
            if control.stopping:
                return
            yield from teller.tell(step)

    def _arc(self, subject: Subject, spec: SampleSpec, device: torch.device) -> torch.Tensor:
        """Starts on the arc between two noises; where a prior shapes either end its own way, one becomes the other."""
        assert self.between is not None
        count = max(2, spec.knobs.count)
        weights = torch.linspace(0.0, 1.0, count, device=device)
        ends = [Noise(seed, [index] * count, device) for seed, index in (self.between.first, self.between.second)]
        first, second = (end.normal(subject.shape, 0, Stream.START)[0] for end in ends)
        arc = slerp(first, second, weights)
        level = levels_of(spec, subject.schedule)[0]
        # Each end keeps the class that its image was asked for: a prior starts it there.
        a, b = (
            begin(
                subject,
                Noise(end.seed, end.indices, device, given={(Stream.START, 0): arc}),
                level,
                conditioned(subject, self.spec.knobs, end.indices.tolist(), device)[1],
            )
            for end in ends
        )
        return torch.lerp(a, b, weights.view(-1, *(1,) * len(subject.shape)))


class FrameTeller:
    """Turns a sampler's steps into frames, and for flat point sets adds the score field unless ``field`` is False.

    Where all steps of a run would take more than ``most_bytes``, evenly chosen ones are told; ``lane`` marks them.
    """

    def __init__(
        self, subject: Subject, began: float, *, lane: int = 0, most_bytes: int = FRAME_BYTES, field: bool = True
    ) -> None:
        self._subject, self._began = subject, began
        self._lane, self._most_bytes, self._with_field = lane, most_bytes, field
        self._last: tuple[Step, torch.Tensor] | None = None

    def tell(self, step: Step) -> Iterator[events.Event]:
        """The messages about one step, the next of the run."""
        change = 0.0
        if self._last is not None:
            change = float((step.x0 - self._last[1]).square().mean().sqrt())
        beta = 0.0 if self._last is None else beta_between(self._last[0].level, step.level)
        self._last = (step, step.x0)
        if step.index not in _shown(step.total, step.x.numel(), self._most_bytes):
            return
        eps = step.eps
        yield events.Frame(
            index=step.index,
            total=step.total,
            alpha=float(step.level.alpha),
            sigma=float(step.level.sigma),
            time=0.0 if step.level == CLEAN else self._subject.schedule.time(float(log_snr(step.level))),
            beta=beta,
            nfe=step.nfe,
            seconds=time.perf_counter() - self._began,
            x=to_array(step.x),
            x0=to_array(step.x0),
            eps=to_array(eps),
            eps_norm=float(eps.square().mean().sqrt()),
            x0_change=change,
            lane=self._lane,
        )
        # A model with a latent has no one score: what it believes at a place is drawn anew.
        has_field = self._with_field and self._subject.shape == (2,) and self._subject.own_steps is None
        if has_field and step.level.sigma > 0.0:
            yield self._field(step)

    def _field(self, step: Step) -> events.Field:
        """The score times sigma, which is -eps, on a grid of points; of the data as a whole, whatever the class."""
        axis = torch.linspace(-2.7, 2.7, 19, device=step.x.device)
        points = torch.cartesian_prod(axis, axis)
        with torch.no_grad():
            eps = self._subject.denoiser(points, step.level).eps
        return events.Field(index=step.index, points=to_array(points), arrows=to_array(-eps))


def _shown(total: int, numbers: int, most_bytes: int = FRAME_BYTES) -> frozenset[int]:
    """Which steps become frames: all, or evenly chosen ones where all would fill the memory."""
    most = max(2, min(MOST_FRAMES, most_bytes // (12 * numbers)))
    return frozenset(np.linspace(0, total, min(total + 1, most)).round().astype(int).tolist())


def to_array(x: torch.Tensor) -> np.ndarray:
    """A tensor as messages carry it: float32, on the host, read-only."""
    return events.freeze(x.detach().float().cpu().numpy().copy())


def to_items(x: torch.Tensor, subject: Subject) -> np.ndarray:
    """Samples (B, ...) as messages carry them: images as uint8, points as float32; read-only."""
    return events.freeze(to_uint8(x).cpu().numpy().copy()) if subject.is_image else to_array(x)


@dataclass(frozen=True)
class DataJob:
    """Load a data set and show some of it."""

    spec: DatasetSpec
    count: int = 20

    def __call__(self, control: Control) -> Iterator[events.Event | None]:
        data = self.spec.load()
        count = 2000 if data.kind == "points" else self.count
        if data.train_labels is not None and data.kind == "image":
            # One of each class in turn, as far as the first items go.
            order = np.argsort(data.train_labels[:1000], kind="stable")
            firsts = [order[data.train_labels[:1000][order] == label] for label in range(data.num_classes)]
            rows = [firsts[i % len(firsts)][i // len(firsts)] for i in range(count)]
        else:
            rows = list(range(count))
        yield events.DataPreview(
            title=data.title,
            summary=data.summary,
            images=events.freeze(data.train[rows].copy()),
            class_names=data.class_names,
        )


@dataclass(frozen=True)
class EstimateJob:
    """Take a few training steps and tell what a run would cost.

    The backward pass is measured on a small batch first and scaled up: one that would not fit is refused, not tried.
    """

    config: TrainConfig

    def __call__(self, control: Control) -> Iterator[events.Event | None]:
        _check_memory(self.config)
        data = self.config.data.load()
        device = choose(self.config.run.device)
        facts = DataFacts(shape=data.shape, num_classes=data.num_classes, mean=data.mean, std=data.std)
        learner = self.config.recipe.learner(self.config.network, self.config.optimizer, facts, seed=0, device=device)
        if self.config.run.start_from:
            # Costs the same from any weights, but ones that do not fit are better known before the training.
            take_weights(learner.denoiser, self.config, facts, device)
        batch, few = self.config.run.batch, min(self.config.run.batch, 8)
        spans = self.config.recipe.spans(self.config.run.steps)
        companion = [] if learner.companion is None else list(learner.companion.parameters())
        weights = {parameter.data_ptr() for parameter in (*learner.denoiser.parameters(), *companion)}
        kept: dict[int, torch.Tensor] = {}

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            if tensor.data_ptr() not in weights:
                kept[tensor.untyped_storage().data_ptr()] = tensor
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            learner.step(Batches(data, few, 0, device).at(0), noise=Noise(0, range(few), device), index=spans[-1][0])
        activations = sum(tensor.untyped_storage().nbytes() for tensor in kept.values()) * batch // few
        kept.clear()
        yield None
        if device.type == "cpu" and activations > psutil.virtual_memory().available:
            raise ValueError(f"A batch of {batch:,} would need {activations / 1e9:,.0f} GB. Take a smaller one.")
        batches, noise, total = Batches(data, batch, 0, device), Noise(0, range(batch), device), 0.0
        for first, count in spans:
            seconds = []
            for step in range(first + 1, first + ESTIMATE_STEPS + 1):
                if control.stopping:
                    return
                began = time.perf_counter()
                float(learner.step(batches.at(step), noise=noise, index=step)["loss"])
                seconds.append(time.perf_counter() - began)
                yield None
            total += count * float(np.median(seconds))
        parameters = num_parameters(learner.denoiser)
        state = sum(
            value.numel() * value.element_size()
            for optimizer in learner.optimizers
            for entry in optimizer.state.values()
            for value in entry.values()
            if isinstance(value, torch.Tensor)
        )
        # Weights and gradients, and the average of the denoiser's, beside what optimisers and backward pass keep.
        memory = 4 * (3 * parameters + 2 * sum(map(torch.numel, companion))) + state + activations
        yield events.Estimate(
            seconds_per_step=total / self.config.run.steps,
            memory=memory,
            num_parameters=parameters,
            steps=self.config.run.steps,
        )


class _Models:
    """The checkpoints loaded last, so that a moved slider does not read the file again. Several threads ask."""

    def __init__(self, most: int = MOST_MODELS) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._loaded: dict[tuple[Path, str], tuple[int, Model]] = {}

    def load(self, path: Path, device: torch.device) -> Model:
        # Locked while it reads: two threads that want the same file would fill the memory with it twice.
        with self._lock:
            key, changed = (path, str(device)), path.stat().st_mtime_ns if path.is_file() else 0
            known = self._loaded.pop(key, None)
            model = known[1] if known is not None and known[0] == changed else load(path, device)
            self._loaded[key] = (changed, model)
            while len(self._loaded) > self._most:
                self._loaded.pop(next(iter(self._loaded)))
            return model


_models = _Models()


def load_model(path: Path, device: torch.device) -> Model:
    """The checkpoint at ``path``; the last few loaded are kept. Raises NotACheckpoint for damaged or foreign files."""
    return _models.load(path, device)
