"""The training loop, as a generator of messages.

``Trainer.run`` takes whole steps and yields between them, so whoever iterates it may pause, stop or look at the model
at any yield. It knows nothing of threads or windows; what it must be told comes through a :class:`TrainControl`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from studio.core import device as devices
from studio.core import events, pictures
from studio.core.checkpoints import native, resume
from studio.core.checkpoints.beginning import take_weights
from studio.core.checkpoints.header import Header, dated, read_header, undated
from studio.core.config import PARTS, TrainConfig, method_to_dict, to_toml
from studio.core.data.base import Batch, Batches
from studio.core.ema import EMA
from studio.core.files import explain
from studio.core.knobs import values_of
from studio.core.levels import Level, from_log_snr
from studio.core.loops import Every, Meter, Pausable, Turn
from studio.core.networks.base import num_parameters
from studio.core.noise import Noise
from studio.core.prior import Prior, fit
from studio.core.recipes.base import DataFacts
from studio.core.runs import Run
from studio.core.sampling import Subject, own_spec, sample, to_uint8
from studio.core.scoring import Scorer
from studio.core.snapshots import Series

REPORT_SECONDS = 0.05
LEVEL_SECONDS = 1.0
PREVIEW_SHARE = 0.03
SCORE_SHARE = 0.1
HELD_OUT_COUNT = 256
HELD_OUT_LEVELS = events.freeze(np.linspace(-9.0, 9.0, 10, dtype=np.float32))
"""The log-SNRs at which the held-out loss is told, the middles of as many bins over the range of training's."""
HELD_OUT_IMAGES = 16
"""Of the held-out images, how many are looked at at each of those levels; of points, all are."""
LEVEL_EDGES = events.freeze(np.linspace(-10.0, 10.0, 26, dtype=np.float32))
_HELD_OUT_SEED = 2**40
_HEADER_ROOM = 64 << 10
_MAY_CHANGE = {"steps", "preview_every", "score_every", "score_count", "rewind_mb", "save_every", "device"}


class TrainControl(Pausable, Protocol):
    """What the loop looks at between two steps; its ``wait`` also returns when a save is asked for."""

    def take_save(self) -> bool:
        """Whether a checkpoint was asked for since the last look."""


class Diverged(ValueError):
    """The loss is no longer a number."""


class Trainer:
    """One training run: data, learner, average and run folder.

    Making one loads the data and draws the weights, or takes them from the model that the run starts from; where it
    ``resumes``, from the run's folder. It raises ValueError in plain words where something does not fit.
    """

    def __init__(self, config: TrainConfig, run: Run, *, resumes: bool = False) -> None:
        self.config, self.run_folder = config, run
        self.device = devices.choose(config.run.device)
        self.dataset = config.data.load()
        self.facts = DataFacts(
            shape=self.dataset.shape,
            num_classes=self.dataset.num_classes,
            mean=self.dataset.mean,
            std=self.dataset.std,
        )
        self.learner = config.recipe.learner(
            config.network, config.optimizer, self.facts, seed=config.run.seed, device=self.device
        )
        if config.run.start_from and not resumes:
            take_weights(self.learner.denoiser, config, self.facts, self.device)
        components = config.recipe.prior_components
        prior = Prior(components, self.facts.shape, self.facts.num_classes) if components else None
        self.prior = None if prior is None else prior.to(self.device)
        """What x_T is drawn from; fitted to the data when the run begins."""
        self.learner.prior = self.prior
        self._prior_is_due = prior is not None and not resumes
        self.ema = EMA(self.learner.denoiser, config.run.ema_decay, config.run.ema_exponent)
        self.batches = Batches(self.dataset, config.run.batch, config.run.seed, self.device)
        self.noise = Noise(config.run.seed, range(config.run.batch), self.device)
        self.step = 0
        self.seconds = 0.0
        self.history: dict[str, list[float]] = {"step": [], "loss": []}
        self.scores: dict[str, float] = {}
        """Of the weights after ``scored_step`` steps, named as a checkpoint names them."""
        self.scored_step = 0
        self._held_out = self.batches.held_out(HELD_OUT_COUNT)
        self._scorer = Scorer(self.dataset, config.run.score_count, self.device) if config.run.score_every else None
        size = 2 * num_parameters(self.learner.denoiser) + _HEADER_ROOM
        self._shared_size = 2 * self.prior.size if self.prior else 0
        """Bytes of the prior, of which all snapshots share one copy."""
        room = max(config.run.rewind_mb * 1_000_000 - self._shared_size, 0)
        self._snapshots = Series(run.snapshots, config.run.steps, room, size)
        self._meter, self._level_losses = Meter(), _LevelLosses(self.device)
        self._ends = {first + count for first, count in config.recipe.spans(config.run.steps)}
        """Steps after which others of another kind begin: no report holds both kinds."""
        self._samples: tuple[int, np.ndarray] | None = None
        self._thumbnail = b""
        self._saved_step = -1
        self._snapshot_failed = False
        if resumes:
            self._resume()

    @property
    def images(self) -> int:
        """Items seen so far."""
        return self.step * self.config.run.batch

    def _resume(self) -> None:
        """Continue where the run folder left off. Raises ValueError where it cannot."""
        found = resume.read_facts(self.run_folder.resume)
        if not {"step", "seconds", "history", "config"} <= set(found):
            raise ValueError(f"{self.run_folder.resume} holds no training to continue. Start a new run.")
        self._refuse_other(found["config"])
        if found["step"] >= self.config.run.steps:
            raise ValueError(
                f"This run has taken {found['step']:,} of {self.config.run.steps:,} steps: it is complete. "
                "Set more steps to go on."
            )
        resume.load_resume(self.run_folder.resume, self._modules(), self.learner.optimizers)
        self.step, self.seconds, self.history = found["step"], found["seconds"], found["history"]
        self._saved_step = self.step
        if self.run_folder.model.is_file():
            header = read_header(self.run_folder.model)
            self._thumbnail, self.scores, self.scored_step = header.thumbnail, dict(header.scores), header.step

    def _modules(self) -> dict[str, nn.Module]:
        """All that a continuation needs, under the names that files give it."""
        modules: dict[str, nn.Module] = {"ema": self.ema.average, "raw": self.learner.denoiser}
        if self.learner.companion is not None:
            modules["companion"] = self.learner.companion
        if self.prior is not None:
            modules["prior"] = self.prior
        return modules

    def _refuse_other(self, before: Mapping[str, Any]) -> None:
        """Raise ValueError unless the run is the one that was saved, but for what may change on the way.

        Settings that the studio did not have yet when it was saved had their defaults.
        """
        now = self.config.to_dict()
        before = TrainConfig.from_dict({part: before[part] for part in (*PARTS, "run")}).to_dict()
        for part in (*PARTS, "run"):
            for name in {*now[part], *before[part]} - _MAY_CHANGE:
                if now[part].get(name) != before[part].get(name):
                    raise ValueError(
                        f"{part}.{name} = {now[part].get(name)!r} does not continue this run, which was trained with "
                        f"{before[part].get(name)!r}. Only {', '.join(sorted(_MAY_CHANGE))} may change."
                    )

    def rate(self, step: int) -> float:
        """The learning rate's factor in [0, 1] at a step: a linear rise, then a linear fall or none.

        The fall begins with the steps that are of a run's own kind; those before have rates of their learner's making.
        """
        knobs, warm = self.config.run, self.config.recipe.warm_steps
        rise = min(1.0, (step + 1) / knobs.warmup) if knobs.warmup else 1.0
        fall = (knobs.steps - max(step, warm)) / (knobs.steps - warm)
        return rise * (fall if knobs.decay == "linear" else 1.0)

    def train_step(self) -> Mapping[str, Tensor]:
        """One update of weights and average."""
        self.learner.set_rates(self.rate(self.step), self.step)
        found = self.learner.step(self.batches.at(self.step), noise=self.noise, index=self.step)
        self.step += 1
        self.ema.update(self.step)
        return found

    def run(self, control: TrainControl) -> Iterator[events.Event | None]:
        """Train to the planned end, or until told to stop. Yields a message or None after every whole step.

        Raises :class:`Diverged` where the loss is no number (what was saved before stays good) and OSError where the
        last save fails; a save in between that fails is a warning, and training goes on. Stopped before it has begun,
        it leaves nothing.
        """
        yield from self._fit_prior(control)
        if self._prior_is_due:
            return
        self.run_folder.create(to_toml(self.config.to_dict()))
        self.learner.denoiser.train()
        yield from self._begin_snapshots()
        knobs = self.config.run
        reports, saves = Every(REPORT_SECONDS), Every(knobs.save_every)
        # The first previews come soon, when the pictures change fastest.
        previews, scores = Turn(knobs.preview_every, PREVIEW_SHARE, 3.0), Turn(knobs.score_every, SCORE_SHARE)
        while self.step < self.config.run.steps and not control.stopping:
            began = time.perf_counter()
            found = self.train_step()
            self._meter.add(self.step - 1, found)
            self._level_losses.add(found)
            # A report waits for the device, so its time belongs to the steps that it waits for.
            report = self._report() if reports.due() or self.step in self._ends else None
            self.seconds += time.perf_counter() - began
            yield report
            if report is not None and (complaint := self.learner.complaint(self.step, report.scalars)):
                yield events.Warned(summary=complaint)
            if self._snapshots.due(self.step):
                yield from self._snapshot()
            if previews.due():
                yield from previews.timed(lambda: self._look(control))
            if scores.due():
                yield from scores.timed(lambda: self._score(control))
            if control.take_save() or saves.due():
                yield from self._save_or_warn()
            if control.paused and not control.stopping:
                yield self._report()
                yield from self._rest(control)
        if not self._meter.empty:
            yield self._report()
        if self.step != self._saved_step:
            yield from self._look()
            yield self.save()
            before = self.scored_step
            yield from self._score(control)
            if self.scored_step != before:
                yield self.save()

    def _fit_prior(self, control: TrainControl | None = None) -> Iterator[events.Event | None]:
        """Fit what x_T is drawn from, unless that was done or a stop of ``control`` cuts it short."""
        if self.prior is None or not self._prior_is_due:
            return
        yield events.Status(text="Fitting the prior of x_T")
        for _ in fit(self.prior, self.dataset):
            if control is not None and control.stopping:
                return
            yield None
        self._prior_is_due = False

    def _rest(self, control: TrainControl) -> Iterator[events.Event | None]:
        yield events.Paused(paused=True)
        while control.paused and not control.stopping:
            control.wait()
            if control.take_save():
                yield from self._save_or_warn()
            elif control.paused:
                break
        else:
            yield events.Paused(paused=False)

    def _report(self) -> events.Progress:
        """What happened since the last report. Raises Diverged for a loss that is no number."""
        steps, losses, scalars = self._meter.take()
        levels = self._level_losses.take(0.0 if self.step in self._ends else LEVEL_SECONDS) if len(steps) else None
        if not np.isfinite(losses).all():
            raise Diverged(self._divergence(int(steps[~np.isfinite(losses)][0])))
        if not np.isfinite(list(scalars.values())).all():
            raise Diverged(self._divergence(self.step - 1))
        if len(losses):
            self.history["step"].append(float(steps[-1] + 1))
            self.history["loss"].append(float(losses.mean()))
            if len(self.history["step"]) > 400:
                self.history |= {name: _halve(self.history[name], name) for name in ("step", "loss")}
        speed = self.images / max(self.seconds, 1e-9)
        left = (self.config.run.steps - self.step) * self.config.run.batch
        recent = self._meter.images_per_second(self.images, self.seconds)
        return events.Progress(
            step=self.step,
            total=self.config.run.steps,
            images=self.images,
            seconds=self.seconds,
            images_per_second=recent,
            eta_seconds=left / max(speed, 1e-9),
            scalars=scalars | {"learning_rate": self._first_rate()},
            steps=events.freeze(steps),
            losses=events.freeze(losses),
            level_loss=levels,
            level_edges=None if levels is None else LEVEL_EDGES,
            span=sum(end < self.step for end in self._ends),
        )

    def _first_rate(self) -> float:
        return float(self.learner.optimizers[0].param_groups[0]["lr"])

    def _divergence(self, step: int) -> str:
        kept = (
            f"The state of step {self._saved_step:,} is kept in {self.run_folder.model}."
            if self._saved_step >= 0
            else "Nothing had been saved yet."
        )
        return f"The loss or its gradient became infinite or no number at step {step + 1:,}. Lower the rate. {kept}"

    def _look(self, control: TrainControl | None = None) -> Iterator[events.Event | None]:
        """Samples of the average at a fixed seed, and its loss on held-out data; cut short by a stop of ``control``."""
        count = 1024 if len(self.facts.shape) == 1 else 30
        subject = self._subject()
        spec = subject.own.at(count=count, seed=0, guidance=0.0)
        x = None
        for step in sample(subject, spec, self.device):
            if control is not None and control.stopping:
                return
            x = step.x
            yield None
        assert x is not None
        x = x if x.ndim == 2 else to_uint8(x)
        images = events.freeze(x.cpu().numpy())
        self._samples, self._thumbnail = (self.step, images), pictures.thumbnail(images)
        yield events.Preview(step=self.step, images=images, caption=f"EMA · seed 0 · {spec.title}")
        yield from self._hold_out(control)

    def _hold_out(self, control: TrainControl | None) -> Iterator[events.Event | None]:
        """The average's loss on the same held-out items and noise each time: at random levels, and at fixed ones."""
        batch, few, losses = self._held_out, self._held_out, []
        held = self._held_out_loss(batch)
        if "sample_loss" in held:
            if len(self.facts.shape) == 3:
                few = Batch(
                    batch.x0[:HELD_OUT_IMAGES],
                    None if batch.labels is None else batch.labels[:HELD_OUT_IMAGES],
                    batch.indices[:HELD_OUT_IMAGES],
                )
            for log_snr in HELD_OUT_LEVELS.tolist():
                if control is not None and control.stopping:
                    return
                losses.append(self._held_out_loss(few, from_log_snr(log_snr))["loss"])
                yield None
        yield events.HeldOut(
            step=self.step,
            loss=float(held["loss"]),
            scalars={name: float(value) for name, value in held.items() if value.ndim == 0 and name != "loss"},
            level_loss=events.freeze(torch.stack(losses).float().cpu().numpy()) if losses else None,
            level_log_snr=HELD_OUT_LEVELS if losses else None,
        )

    def _held_out_loss(self, batch: Batch, level: Level | None = None) -> Mapping[str, Tensor]:
        noise = Noise(_HELD_OUT_SEED, range(len(batch.x0)), self.device)
        return self.learner.loss(self.ema.average, batch, noise=noise, index=0, level=level)

    def _score(self, control: TrainControl) -> Iterator[events.Event | None]:
        """What the average is worth now. Where that cannot be measured, it is said once, and training goes on."""
        if self._scorer is None or (self.scores and self.scored_step == self.step) or control.stopping:
            return
        if not self._meter.empty:
            yield self._report()
        try:
            subject = self._subject()
            for event in self._scorer.run(subject, self.step, control):
                if isinstance(event, events.Quality):
                    self._keep_scores(event, self._scorer.keys(event, subject))
                yield event
                if control.take_save():
                    yield from self._save_or_warn()
        except (ValueError, OSError) as error:
            self._scorer = None
            reason = str(error) if isinstance(error, ValueError) else explain(error, self.run_folder.folder)
            yield events.Warned(summary=f"Samples are not scored during this training: {reason} Training goes on.")

    def _keep_scores(self, quality: events.Quality, keys: Mapping[str, float]) -> None:
        older = dated(self.scores, self.scored_step, self.step)
        self.scores = {key: value for key, value in older.items() if undated(key) not in keys} | dict(keys)
        self.scored_step = self.step
        self.history.setdefault("score_step", []).append(float(self.step))
        for name, value in quality.scores.items():
            self.history.setdefault(name, []).append(value)

    def _begin_snapshots(self) -> Iterator[events.Event]:
        """Make ready for snapshots; where none fits the disk space granted, say so."""
        budget, series = self.config.run.rewind_mb, self._snapshots
        try:
            series.begin(self.step)
        except OSError as error:
            yield events.Warned(summary=f"{explain(error, series.folder)} Training goes on.")
        if budget and not series.count:
            least = (series.size + self._shared_size) / 1e6
            yield events.Warned(
                summary=f"This training cannot be rewound: one snapshot takes {least:,.0f} MB, and "
                f"rewind_mb = {budget} allows {budget} MB for all. Grant more, or 0 for none."
            )

    def _snapshot(self) -> Iterator[events.Event]:
        """Keep the averaged weights as they are, in half precision; a failure is told, once, and training goes on."""
        try:
            self._snapshots.add(
                self.step, lambda path: native.save_average(path, self.header(), self.ema.average, self.prior)
            )
        except OSError as error:
            if not self._snapshot_failed:
                yield events.Warned(
                    summary=f"{explain(error, self._snapshots.folder)} A snapshot is missing; training goes on."
                )
            self._snapshot_failed = True

    def _subject(self) -> Subject:
        return Subject(
            denoiser=self.ema.average,
            schedule=self.config.recipe.schedule,
            shape=self.facts.shape,
            class_names=self.dataset.class_names,
            own=own_spec(self.config.recipe),
            own_steps=self.config.recipe.own_steps,
            prior=self.prior,
        )

    def _save_or_warn(self) -> Iterator[events.Event | None]:
        if not self._meter.empty:
            yield self._report()
        try:
            yield self.save()
        except OSError as error:
            yield events.Warned(
                summary=f"{explain(error, self.run_folder.folder)} Training goes on; it will try again."
            )

    def save(self) -> events.Saved:
        """Write the checkpoint and what a continuation needs, each whole or not at all.

        Raises OSError, and :class:`Diverged` rather than write weights that are no numbers over good ones.
        """
        weights: list[Tensor] = [weight for module in self._modules().values() for weight in module.parameters()]
        if not torch.stack(torch._foreach_norm(weights)).isfinite().all():
            raise Diverged(self._divergence(self.step - 1))
        for _ in self._fit_prior():
            pass
        facts = {"step": self.step, "seconds": self.seconds, "history": self.history, "config": self.config.to_dict()}
        resume.save_resume(self.run_folder.resume, facts, self._modules(), self.learner.optimizers)
        native.save(self.run_folder.model, self.header(), self.ema.average, self.learner.denoiser, self.prior)
        if self._samples is not None:
            step, images = self._samples
            pictures.save_png(self.run_folder.samples / f"step-{step:07d}.png", images)
        self._saved_step = self.step
        return events.Saved(path=str(self.run_folder.model), step=self.step)

    def header(self) -> Header:
        """The description that goes into the checkpoint."""
        parts: dict[str, Any] = {part: method_to_dict(kind, getattr(self.config, part)) for part, kind in PARTS.items()}
        return Header(
            title=self.config.title,
            family=self.config.recipe.family,
            data_title=self.dataset.title,
            facts={
                "shape": list(self.facts.shape),
                "num_classes": self.facts.num_classes,
                "mean": self.facts.mean,
                "std": self.facts.std,
            },
            class_names=self.dataset.class_names,
            run=values_of(self.config.run),
            step=self.step,
            images=self.images,
            seconds=round(self.seconds, 1),
            num_parameters=num_parameters(self.learner.denoiser),
            history={name: [round(value, 6) for value in values] for name, values in self.history.items()},
            scores=dated(self.scores, self.scored_step, self.step),
            data_licence=self.dataset.licence,
            created=time.strftime("%Y-%m-%d"),
            thumbnail=self._thumbnail,
            **parts,
        )


def _halve(values: list[float], name: str) -> list[float]:
    pairs = zip(values[::2], values[1::2], strict=False)
    return [second if name == "step" else (first + second) / 2.0 for first, second in pairs]


class _LevelLosses:
    """The loss by noise level, gathered on the device."""

    def __init__(self, device: torch.device) -> None:
        self._edges = torch.from_numpy(LEVEL_EDGES.copy())[1:-1].to(device)
        self._sums = torch.zeros(2, len(LEVEL_EDGES) - 1, device=device)
        self._since = time.perf_counter()

    def add(self, found: Mapping[str, Tensor]) -> None:
        if "sample_loss" in found:
            place = torch.bucketize(found["log_snr"], self._edges)
            self._sums[0].index_add_(0, place, found["sample_loss"].float())
            self._sums[1].index_add_(0, place, torch.ones_like(place, dtype=torch.float32))

    def take(self, seconds: float) -> np.ndarray | None:
        """The mean loss in each bin, NaN where no item was; None before so many seconds have passed."""
        if time.perf_counter() - self._since <= seconds:
            return None
        sums, counts = self._sums.cpu().numpy()
        levels = events.freeze(np.divide(sums, counts, out=np.full_like(sums, np.nan), where=counts > 0))
        self._sums.zero_()
        self._since = time.perf_counter()
        return levels
