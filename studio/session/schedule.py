"""Short schedules as jobs: train a schedule network, watch it emit a schedule, search for good ones, keep some.

A search needs a trained schedule network. Where none is in the cache it is trained first, with the same messages as on
its own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch

from studio.core import events
from studio.core.checkpoints.native import Model, write_schedules
from studio.core.config import method_from_dict, method_to_dict
from studio.core.data.base import Dataset
from studio.core.device import choose
from studio.core.evaluation import fingerprint
from studio.core.files import explain
from studio.core.loops import rest
from studio.core.networks.schedule_net import CNNSpec, ScheduleNetwork, ScheduleNetworkSpec
from studio.core.noise import Noise
from studio.core.recipes.bilateral import Bilateral, Emission, check_start, emit
from studio.core.samplers.ancestral import Ancestral
from studio.core.samplers.ddim import DDIM
from studio.core.sampling import SampleKnobs, conditioned, subject_of
from studio.core.schedule_judges import Judge
from studio.core.schedule_search import Search, SearchKnobs
from studio.core.schedule_training import ScheduleTrainer, check_levels_known, trained
from studio.core.short_schedule import ShortSchedule, fewest_steps
from studio.session.control import Control
from studio.session.jobs import Job, load_model, to_items


@dataclass(frozen=True)
class ScheduleNetJob:
    """Train a schedule network for the checkpoint at ``path``, live, and keep it in the cache."""

    path: Path
    network: ScheduleNetworkSpec = field(default_factory=CNNSpec)
    bilateral: Bilateral = field(default_factory=Bilateral)
    device: str = "auto"

    def __call__(self, control: Control) -> Iterator[events.Event | None]:
        yield events.Status(text="Opening the model")
        yield from _trainer(self, _opened(self.path, self.device)).run(control)


@dataclass(frozen=True)
class EmitJob:
    """Emit one schedule from ``start`` = (alpha_N, beta_N), a step at a time; at last tells it whole, not judged.

    ``knobs`` say how the model is sampled on the way: class, guidance and clipping.
    """

    path: Path
    network: ScheduleNetworkSpec = field(default_factory=CNNSpec)
    bilateral: Bilateral = field(default_factory=Bilateral)
    emission: Emission = field(default_factory=Emission)
    start: tuple[float, float] = (0.5, 0.3)
    seed: int = 0
    knobs: SampleKnobs = field(default_factory=SampleKnobs)
    device: str = "auto"

    def __call__(self, control: Control) -> Iterator[events.Event | None]:
        yield events.Status(text="Opening the model")
        opened, indices = _opened(self.path, self.device), range(self.emission.images)
        mark, subject = fingerprint(self.path), subject_of(opened.model)
        # What is not possible is refused here, not after the schedule network was trained.
        start = check_start(self.start)
        denoiser, cond = conditioned(subject, self.knobs, indices, opened.device)
        network = yield from _network(self, opened, control)
        if network is None:
            return
        noise, betas = Noise(self.seed, indices, opened.device), []
        for step in emit(network, denoiser, self.emission, start, shape=subject.shape, cond=cond, noise=noise):
            betas.append(step.beta)
            yield events.Emitted(
                index=step.index,
                alpha=step.level.alpha,
                beta=step.beta,
                ratio=step.ratio,
                images=to_items(step.x0, subject),
                done=step.done,
                reason=step.reason,
            )
            if control.stopping:
                return
            if control.paused:
                yield from rest(control)
        sampler = Ancestral() if self.emission.eta == 1.0 else DDIM(eta=self.emission.eta)
        schedule = ShortSchedule(
            betas=tuple(reversed(betas)),
            origin="learned",
            sampler=method_to_dict("sampler", sampler),
            start=start,
            seed=self.seed,
            model=mark,
        )
        yield events.ScheduleFound(
            schedule=schedule, score=None, judge="", bound=fewest_steps(*start), reason=step.reason
        )


@dataclass(frozen=True)
class SearchJob:
    """Search for the short schedules of the checkpoint at ``path``.

    With ``keep``, the best of each number of steps and sampler are written into the checkpoint at the end, also of a
    search that was stopped or failed on the way. Where they cannot be, that is a warning: they were all told.
    """

    path: Path
    judge: Judge
    knobs: SearchKnobs = field(default_factory=SearchKnobs)
    network: ScheduleNetworkSpec = field(default_factory=CNNSpec)
    bilateral: Bilateral = field(default_factory=Bilateral)
    keep: bool = True
    device: str = "auto"

    def __call__(self, control: Control) -> Iterator[events.Event | None]:
        yield events.Status(text="Opening the model")
        opened, mark = _opened(self.path, self.device), fingerprint(self.path)
        subject = subject_of(opened.model)
        # What does not fit the model is refused here, not after the schedule network was trained.
        _ = self.bilateral.resolve_span(subject.schedule)
        search = Search(subject, opened.dataset, self.knobs, self.judge, opened.device, mark)
        yield from search.prepare(control)
        network = yield from _network(self, opened, control)
        if network is None:
            return
        try:
            yield from search.run(control, network)
        except Exception:
            yield from self._keep(search)
            raise
        yield from self._keep(search)

    def _keep(self, search: Search) -> Iterator[events.Event]:
        found = [search.best[key] for key in sorted(search.best)]
        if not found or not self.keep:
            return
        try:
            write_schedules(self.path, lambda kept: merged(kept, found), fingerprint(self.path))
        except (OSError, ValueError) as error:
            reason = explain(error, self.path) if isinstance(error, OSError) else str(error)
            yield events.Warned(
                summary=f"The schedules that were found are not kept in the model: {reason} "
                "Export them, or search in a copy of the model where you may write."
            )
        else:
            yield events.Saved(path=str(self.path))


@dataclass(frozen=True)
class KeepJob:
    """Let the checkpoint at ``path`` keep ``schedules``, in place of those with the betas of ``seen``.

    What else it keeps stays, also what a search has put there since the person saw the list: so one more is kept with
    it alone in ``schedules``, and one is removed with it alone in ``seen``. Fails in plain words for a schedule of
    another model and where the file cannot be written.
    """

    path: Path
    schedules: tuple[ShortSchedule, ...]
    seen: tuple[ShortSchedule, ...] = ()

    def __call__(self, control: Control) -> Iterator[events.Event | None]:
        write_schedules(self.path, self._changed, fingerprint(self.path))
        yield events.Saved(path=str(self.path))

    def _changed(self, kept: Sequence[ShortSchedule]) -> list[ShortSchedule]:
        gone = {each.betas for each in self.seen}
        stay = [each for each in kept if each.betas not in gone and each not in self.schedules]
        return [*stay, *self.schedules]


def job_of(request: Any) -> Job:
    """The job that a page of the window asks for by a dataclass whose fields are those of the job."""
    values = {item.name: getattr(request, item.name) for item in dataclasses.fields(request)}
    kind: type = SearchJob if "judge" in values else EmitJob if "emission" in values else ScheduleNetJob
    return kind(**values)


def merged(kept: Iterable[ShortSchedule], found: Iterable[ShortSchedule]) -> list[ShortSchedule]:
    """What a checkpoint keeps after a search.

    Of two with as many steps and the same sampler that were judged by the same measure, the better stays; what a person
    drew or imported stays always. The same betas found again only gain scores.
    """
    result = list(kept)
    for new in found:
        rivals = [old for old in result if _compete(old, new)]
        same = next((old for old in rivals if old.betas == new.betas), None)
        if same is not None:
            result[result.index(same)] = dataclasses.replace(same, scores={**same.scores, **new.scores})
            continue
        judged = [old for old in rivals if old.scores.keys() & new.scores.keys()]
        if all(_is_better(new, old) for old in judged):
            result = [old for old in result if old not in judged] + [new]
    return result


def _compete(old: ShortSchedule, new: ShortSchedule) -> bool:
    by_search = old.origin in ("learned", "refined", "plain")
    return by_search and old.steps == new.steps and dict(old.sampler) == dict(new.sampler)


def _is_better(new: ShortSchedule, old: ShortSchedule) -> bool:
    """By the measures that both have."""
    shared = [key for key in new.scores if key in old.scores]
    return [new.scores[key] for key in shared] < [old.scores[key] for key in shared]


class _Opened(NamedTuple):
    model: Model
    dataset: Dataset
    device: torch.device


def _opened(path: Path, device: str) -> _Opened:
    """A checkpoint and the data that it was trained on. Raises ValueError in plain words where one is not there."""
    chosen = choose(device)  # type: ignore[arg-type]
    model = load_model(path, chosen)
    check_levels_known(model)
    return _Opened(model, method_from_dict("dataset", model.header.data).load(), chosen)


def _trainer(job: ScheduleNetJob | EmitJob | SearchJob, opened: _Opened) -> ScheduleTrainer:
    return ScheduleTrainer(opened.model, opened.dataset, job.network, job.bilateral, opened.device)


def _network(
    job: EmitJob | SearchJob, opened: _Opened, control: Control
) -> Generator[events.Event | None, None, ScheduleNetwork | None]:
    """The trained schedule network, from the cache or trained now; None where that was stopped."""
    known = trained(opened.model, opened.dataset, job.network, job.bilateral, opened.device)
    if known is not None:
        return known
    yield events.Status(text="Training the schedule network")
    trainer = _trainer(job, opened)
    yield from trainer.run(control)
    return None if control.stopping else trainer.network
