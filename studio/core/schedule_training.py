"""Training a schedule network for a model, as a generator of messages, and the cache of those already trained.

As in :mod:`studio.core.trainer`, whoever iterates ``ScheduleTrainer.run`` may pause, stop or look at any yield. A
finished network is kept in the cache under a hash of the model's weights and of every setting, since the same settings
give the same network.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from studio.core import events, resources
from studio.core.checkpoints import native
from studio.core.checkpoints.native import Model
from studio.core.config import method_to_dict
from studio.core.data.base import Batches, Dataset
from studio.core.device import autocast
from studio.core.files import explain
from studio.core.knobs import values_of
from studio.core.levels import Level, diffuse, from_log_snr
from studio.core.loops import Every, Meter, Pausable, Turn, rest
from studio.core.networks.base import fresh_weights
from studio.core.networks.schedule_net import ScheduleNetwork, ScheduleNetworkSpec
from studio.core.noise import Noise, Stream
from studio.core.recipes.bilateral import Bilateral, BilateralLearner, optimal_ratio

REPORT_SECONDS = 0.08
CURVE_SECONDS = 1.0
CURVE_SHARE = 0.08
"""The share of the time that the curves may cost."""
CURVE_LEVELS = 24
CURVE_IMAGES, CURVE_POINTS = 16, 256
"""The held-out items that are looked at, the same at each level."""
_HELD_OUT_SEED = 2**40 + 1


class ScheduleTrainer:
    """Trains a schedule network for a model's denoiser on a data set; the denoiser stays as it is.

    Raises ValueError where the data do not fit the model, or the span its schedule.
    """

    def __init__(
        self,
        model: Model,
        dataset: Dataset,
        network_spec: ScheduleNetworkSpec,
        bilateral: Bilateral,
        device: torch.device,
        seed: int = 0,
    ) -> None:
        check_levels_known(model)
        _check_fit(model, dataset)
        self.model, self.dataset, self.bilateral = model, dataset, bilateral
        self.path = cached(model, dataset, network_spec, bilateral, seed)
        """Where the finished network is kept."""
        self.schedule, self.device = model.recipe.schedule, device
        with fresh_weights(seed):
            network = network_spec.build(tuple(model.shape))
        denoiser = model.denoiser.to(device)
        self.learner = BilateralLearner(bilateral, network.to(device), denoiser, self.schedule)
        self.batches = Batches(dataset, bilateral.batch, seed, device)
        self.noise = Noise(seed, range(bilateral.batch), device)
        self.step = 0
        self.seconds = 0.0
        self._meter = Meter()
        self._curve = _Curve(self)

    @property
    def network(self) -> ScheduleNetwork:
        """The averaged network as it is now, frozen."""
        return self.learner.average

    def run(self, control: Pausable) -> Iterator[events.Event | None]:
        """Train to the planned end, or until told to stop; only a network trained to the end is kept in the cache.

        Yields :class:`~studio.core.events.Progress`, :class:`~studio.core.events.RatioCurve` or None. Raises ValueError
        where the loss is no number.
        """
        yield events.Status(text="Measuring the denoiser's error")
        yield from self._curve.measure(control)
        yield from self._curve.look(control)
        reports, curves = Every(REPORT_SECONDS), Turn(CURVE_SECONDS, CURVE_SHARE)
        while self.step < self.bilateral.steps and not control.stopping:
            began = time.perf_counter()
            batch = self.batches.at(self.step)
            self._meter.add(self.step, self.learner.step(batch, noise=self.noise, index=self.step))
            self.step += 1
            # A report waits for the device, so its time belongs to the steps that it waits for.
            report = self._report(began) if reports.due() else None
            self.seconds += time.perf_counter() - began
            yield report
            if curves.due():
                yield from curves.timed(lambda: self._curve.look(control))
            if control.paused and not control.stopping:
                yield from self._rest(control)
        if not self._meter.empty:
            yield self._report(time.perf_counter())
        if self.step == self.bilateral.steps:
            yield from self._curve.look(control)
            yield from self._keep()

    def _rest(self, control: Pausable) -> Iterator[events.Event | None]:
        """Wait while paused, with numbers and curves as of now."""
        if not self._meter.empty:
            yield self._report(time.perf_counter())
        yield from self._curve.look(control)
        yield from rest(control)

    def _report(self, now: float) -> events.Progress:
        """What happened since the last report. Raises ValueError for a loss that is no number."""
        steps, losses, scalars = self._meter.take()
        if not np.isfinite([*losses, *scalars.values()]).all():
            raise ValueError(
                f"The loss became infinite or no number at step {self.step:,}. Lower learning_rate, which was "
                f"{self.bilateral.learning_rate:g}."
            )
        seconds = max(self.seconds + time.perf_counter() - now, 1e-9)
        return events.Progress(
            step=self.step,
            total=self.bilateral.steps,
            images=self.step * self.bilateral.batch,
            seconds=seconds,
            images_per_second=self.step * self.bilateral.batch / seconds,
            eta_seconds=(self.bilateral.steps - self.step) * seconds / max(self.step, 1),
            scalars=scalars | {"learning_rate": self.learner.rate(self.step - 1)},
            steps=events.freeze(steps),
            losses=events.freeze(losses),
        )

    def _keep(self) -> Iterator[events.Event]:
        try:
            native.write(self.path, native.portable(self.network.state_dict()), {})
        except OSError as error:
            yield events.Warned(summary=f"{explain(error, self.path)} The schedule network will be trained again.")


class _Curve:
    """The ratio by noise level on held-out items and fixed noise, beside what the denoiser's error makes the best."""

    def __init__(self, trainer: ScheduleTrainer) -> None:
        self._trainer = trainer
        schedule, device = trainer.schedule, trainer.device
        count = CURVE_POINTS if len(trainer.model.shape) == 1 else CURVE_IMAGES
        self._batch = trainer.batches.held_out(count)
        self._eps = Noise(_HELD_OUT_SEED, range(len(self._batch.x0)), device).like(self._batch.x0, 0, Stream.EPS)
        self._log_snr = np.linspace(*schedule.ends, CURVE_LEVELS)
        self._levels = [from_log_snr(float(value)) for value in self._log_snr]
        self._cap = np.array([trainer.bilateral.cap(schedule, level) for level in self._levels])
        self._error = np.full(CURVE_LEVELS, np.nan)

    def measure(self, control: Pausable) -> Iterator[None]:
        """The denoiser's error, which does not change: once, a level at a time, yielding between."""
        for index, level in enumerate(self._levels):
            if control.stopping:
                return
            self._error[index] = self._error_at(level)
            if not np.isfinite(self._error[index]):
                raise ValueError(
                    f"What the model says is no number at log-SNR {self._log_snr[index]:.1f}, so no step can be "
                    "learned for it. Choose another model."
                )
            yield None

    def look(self, control: Pausable) -> Iterator[events.Event | None]:
        """The curve of the averaged network now; nothing when told to stop before it is whole."""
        learned = np.zeros(CURVE_LEVELS)
        for index, level in enumerate(self._levels):
            if control.stopping:
                return
            learned[index] = self._cap[index] * self._ratio_at(level)
            yield None
        trainer = self._trainer
        best = optimal_ratio(self._error, trainer.bilateral.log_weight(trainer.model.shape))
        curves = (self._log_snr, learned, best, self._error, self._cap)
        log_snrs, ratios, bests, errors, caps = (events.freeze(curve.astype(np.float32)) for curve in curves)
        yield events.RatioCurve(
            step=trainer.step, log_snr=log_snrs, learned=ratios, optimum=bests, error=errors, cap=caps
        )

    @torch.no_grad()
    def _error_at(self, level: Level) -> float:
        x = diffuse(self._batch.x0, level, self._eps)
        noise = Noise(_HELD_OUT_SEED, range(len(x)), self._trainer.device)
        with autocast(x.device):
            found = self._trainer.learner.denoiser(x, level, self._batch.labels, noise=noise)
        return float((found.eps.float() - self._eps).square().mean())

    @torch.no_grad()
    def _ratio_at(self, level: Level) -> float:
        x = diffuse(self._batch.x0, level, self._eps)
        with autocast(x.device):
            return float(self._trainer.network(x).mean())


def cached(
    model: Model, dataset: Dataset, network_spec: ScheduleNetworkSpec, bilateral: Bilateral, seed: int = 0
) -> Path:
    """Where the schedule network that these make is kept, whether it is there or not.

    Weights and settings alone name it. The device does not: there it differs by rounding.
    """
    settings = {
        "model": [model.header.recipe, model.header.network, model.header.facts],
        "data": dataset.name,
        "network": method_to_dict("schedule_network", network_spec),
        "bilateral": values_of(bilateral),
        "seed": seed,
    }
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    for name, value in sorted(native.portable(model.denoiser.state_dict()).items()):
        digest.update(name.encode())
        digest.update(value.numpy().tobytes())
    return resources.cache_folder() / "schedule_nets" / f"{digest.hexdigest()[:24]}.safetensors"


def trained(
    model: Model,
    dataset: Dataset,
    network_spec: ScheduleNetworkSpec,
    bilateral: Bilateral,
    device: torch.device,
    seed: int = 0,
) -> ScheduleNetwork | None:
    """The network that :class:`ScheduleTrainer` would train, frozen, if it was before; None where none can be read."""
    path = cached(model, dataset, network_spec, bilateral, seed)
    if not path.is_file():
        return None
    with fresh_weights(seed):
        network = network_spec.build(tuple(model.shape))
    try:
        network.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError):
        return None  # A damaged file is made anew.
    if not all(bool(value.isfinite().all()) for value in network.state_dict().values()):
        return None
    return network.to(device).eval().requires_grad_(False)


def check_levels_known(model: Model) -> None:
    """Raise ValueError for a model that knows a few levels alone: no schedule can be sought for it."""
    if model.recipe.own_steps is not None:
        raise ValueError(
            f"{model.header.title} knows the levels of its own {model.recipe.own_steps} steps alone, so no other "
            "schedule can be sought for it. Choose a model that was trained at all noise levels."
        )


def _check_fit(model: Model, dataset: Dataset) -> None:
    if tuple(dataset.shape) != tuple(model.shape):
        raise ValueError(
            f"{dataset.title} has items of shape {tuple(dataset.shape)}, but the model makes {tuple(model.shape)}. "
            "Choose the data that it was trained on."
        )
    if model.num_classes and dataset.num_classes != model.num_classes:
        raise ValueError(
            f"{dataset.title} has {dataset.num_classes} classes, but the model knows {model.num_classes}. "
            "Choose the data that it was trained on."
        )
