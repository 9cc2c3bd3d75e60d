"""The search for short schedules: where Algorithm 3 begins decides what it emits (BDDM, arXiv 2203.13508, section 4).

Every start (alpha_N, beta_N) of a table emits a schedule for each driver, a judge says what it is worth, and the best
of each number of steps is kept. Then the best are bettered: their starts are tried again a little elsewhere, a number
of steps that is wanted is also taken from its neighbours and from plain grids, and at last the betas themselves descend
on the judge's score, which takes neither gradients nor the schedule network:

    lambda_n <- lambda_n +- h cos(pi k (n - 1/2) / N),   k = 0 ... min(N, 5) - 1,   and lambda_1 alone,

lambda_n the log-SNR of the n-th noisy level from the cleanest. A move is kept only where the score falls. The score of
what won so many comparisons on one noise flatters it a little: a claim takes other seeds.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeVar

import numpy as np
import torch

from studio.core import events
from studio.core.config import method_to_dict
from studio.core.data.base import Dataset
from studio.core.grids import Grid, LogSNR, Quadratic, Uniform
from studio.core.knobs import Knobbed, knob
from studio.core.levels import CLEAN, betas_along, from_log_snr
from studio.core.loops import Pausable, rest
from studio.core.networks.schedule_net import ScheduleNetwork
from studio.core.noise import Noise
from studio.core.recipes.bilateral import Emission, emit
from studio.core.registry import find
from studio.core.samplers.ancestral import Ancestral
from studio.core.samplers.base import Sampler, sampler_title
from studio.core.samplers.ddim import DDIM
from studio.core.sampling import SampleKnobs, Subject, conditioned
from studio.core.schedule_judges import Judge, Jury
from studio.core.schedules import Cosine, NoiseSchedule
from studio.core.short_schedule import ShortSchedule, fewest_steps

PLAIN: tuple[tuple[Grid, NoiseSchedule | None], ...] = (
    (Uniform(), None),
    (Quadratic(), None),
    (LogSNR(), None),
    (Uniform(), Cosine()),
)
"""Grids that are candidates too, each over a schedule, None for the model's own."""
MODES = 5
FIRST_MOVE = 0.4
"""In log-SNR; halved after every round that found nothing better."""
_SPREAD = 0.05
_MOST_PART = 0.999
_MOST_LOG_SNR, _LEAST_GAP = 24.0, 1e-2  # the cosine schedule begins at -20

_Kind = Literal["prepare", "emit", "judge"]
Y = TypeVar("Y")
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class SearchKnobs(Knobbed):
    """Which starts are tried, and what is done to better the best schedules."""

    starts: int = knob(9, help="Starts along each axis of the table: alpha_N down, beta_N across.", low=1, high=50)
    most: int = knob(
        16,
        help="Schedules of more steps are not looked for.",
        label="Most steps",
        symbol="N",
        low=1,
        high=1000,
        log=True,
    )
    floor: float = knob(
        0.02,
        help="A schedule ends before a beta smaller than this: steps that near clean data hardly change an image. "
        "0.02 leaves noise of 0.14 for the last jump to remove.",
        label="Smallest beta",
        symbol="ρ",
        low=1e-6,
        high=0.5,
        log=True,
    )
    drivers: Literal["both", "ancestral", "ddim"] = knob(
        "both", help="Samplers that schedules are looked for with; each has its own best ones."
    )
    eta: float = knob(0.0, help="Fresh noise of the DDIM driver: 0 is none.", symbol="η", low=0.0, high=1.0)
    wanted: str = knob(
        "4, 6, 8, 12, 16",
        help="Numbers of steps that must come out, and that are bettered; none means all that were found.",
        label="Wanted steps",
    )
    retries: int = knob(
        10,
        help="How often the best start of each number of steps is tried again, up to 5 % elsewhere.",
        low=0,
        high=1000,
    )
    descent: int = knob(
        2,
        help="Rounds in which the betas of the best schedules are moved by themselves; 0 makes none.",
        label="Descent rounds",
        low=0,
        high=100,
    )
    seeds: int = knob(
        1,
        help="Starting noises that each start is tried with: what is emitted depends on them.",
        label="Seeds",
        low=1,
        high=100,
        advanced=True,
    )
    images: int = knob(
        1, help="Items that share one schedule; their ratios are averaged.", low=1, high=1024, log=True, advanced=True
    )
    label: str = knob(
        "each", help='Class to sample: its name or number, "each" in turn, or "none".', symbol="y", advanced=True
    )
    guidance: float = knob(
        0.3,
        help="Pull towards the class, as sampling will have it; errors and the bound are of the plain model.",
        symbol="w",
        low=0.0,
        high=20.0,
        advanced=True,
    )
    clip: bool = knob(True, help="Keep x0-hat within the range of images.", label="Clip x̂₀", advanced=True)

    @property
    def wanted_steps(self) -> tuple[int, ...]:
        """The numbers of steps that are wanted, ascending. Raises ValueError where the text is no list of them."""
        words = self.wanted.replace(",", " ").split()
        if not all(word.isdecimal() for word in words) or not all(1 <= int(word) <= self.most for word in words):
            raise ValueError(
                f"wanted = {self.wanted!r} is not possible: type whole numbers from 1 to {self.most}, the most steps "
                "that are looked for, with commas between."
            )
        return tuple(sorted({int(word) for word in words}))

    @property
    def samplers(self) -> dict[str, Sampler]:
        """What drives an emission, and then samples with what came out, by name."""
        found: dict[str, Sampler] = {"ancestral": Ancestral(), "ddim": DDIM(eta=self.eta)}
        return {name: sampler for name, sampler in found.items() if self.drivers in ("both", name)}

    @property
    def sampling(self) -> SampleKnobs:
        """Class, guidance and clipping as sampling takes them."""
        return SampleKnobs(label=self.label, guidance=self.guidance, clip=self.clip)


class Place(NamedTuple):
    """A start (alpha_N, beta_N), and where it stands in the table; None for one beside its places."""

    alpha: float
    beta: float
    row: int | None = None
    column: int | None = None

    def refusal(self, most: int) -> str:
        """Why no schedule of at most ``most`` steps leads from here to clean data; "" where one may.

        One that ends at the floor long before clean data may be shorter than the bound, but is of no use: its levels
        are worked out anew from its betas, and then begin far from noise.
        """
        if self.alpha > math.sqrt(1.0 - self.beta):
            limit = math.sqrt(1.0 - self.beta)
            return f"The first step would leave more than the whole signal: alpha is at most {limit:.2f} here."
        bound = fewest_steps(self.alpha, self.beta)
        return f"From here to clean data it takes {math.ceil(bound)} steps at least." if bound > most else ""


class _Stopped(Exception):
    """Told to end; what was found so far stays."""


class Search:
    """One search for a model's short schedules.

    ``best`` has the best schedule so far of each number of steps with each sampler (its name in
    :attr:`SearchKnobs.samplers`), also where the search was stopped. ``fingerprint`` is the model's, which the
    schedules carry. Raises ValueError in plain words where the settings do not fit each other or the model.
    """

    def __init__(
        self,
        subject: Subject,
        dataset: Dataset,
        knobs: SearchKnobs,
        judge: Judge,
        device: torch.device,
        fingerprint: str = "",
    ) -> None:
        self.subject, self.dataset = subject, dataset
        self.knobs, self.judge, self.device, self.fingerprint = knobs, judge, device, fingerprint
        self.best: dict[tuple[int, str], ShortSchedule] = {}
        self._wanted = knobs.wanted_steps
        self._denoiser, self._cond = conditioned(subject, knobs.sampling, range(knobs.images), device)
        self._samplers = knobs.samplers
        # The paper spaces alpha evenly, so that all but the first places begin at levels that are far from noise and
        # only one or two are of use; here they are even in log-SNR, from the noisiest level to as much signal as noise.
        noisiest, _ = subject.schedule.ends
        self._alphas = [from_log_snr(place).alpha for place in _interior(noisiest, 0.0, knobs.starts)]
        self._betas = _interior(0.0, 1.0, knobs.starts)
        self._known: dict[tuple[tuple[float, ...], str], tuple[float, str]] = {}
        self._prepared: Jury | None = None
        self._pace = _Pace(knobs.most)

    def prepare(self, control: Pausable) -> Iterator[events.Event | None]:
        """Prepare the judge, before there is a schedule network; :meth:`run` does it where that was not done.

        Raises ValueError in plain words where the judge cannot judge this model.
        """
        self._control = control
        try:
            self._prepared = yield from self._prepare()
        except _Stopped:
            return

    def run(self, control: Pausable, network: ScheduleNetwork) -> Iterator[events.Event | None]:
        """Search until nothing is left to try, or until told to stop. Yields a message or None after every step.

        ``network`` is the trained schedule network. The table's axes come first, then a ``ScheduleFound`` for every
        candidate and a ``SearchProgress`` after it. Raises ValueError as :meth:`prepare`.
        """
        self._control, self._network = control, network
        yield events.TableShape(
            rows=tuple(f"{alpha:.3g}" for alpha in self._alphas),
            columns=tuple(f"{beta:.3g}" for beta in self._betas),
            row_title="α_N",
            column_title="β_N",
        )
        self._plan()
        try:
            self._jury = self._prepared or (yield from self._prepare())
            yield from self._try_starts()
            yield from self._try_again()
            yield from self._fill_in()
            yield from self._descend()
        except _Stopped:
            return
        if not self.best:
            yield events.Warned(
                summary=f"No start gave a schedule of at most {self.knobs.most} steps. Allow more steps, "
                "try more starts, or train the schedule network longer."
            )

    # Phases

    def _prepare(self) -> Generator[events.Event | None, None, Jury]:
        work, told = self.judge.prepare(self.subject, self.dataset, self.device, self.knobs.sampling), -1

        def tell(share: float) -> events.Event | None:
            nonlocal told
            before, told = told, int(20.0 * share)
            return events.Status(text=f"Preparing the judge: {share:.0%}") if told > before else None

        return (yield from self._attend(work, "prepare", tell))

    def _try_starts(self) -> Iterator[events.Event | None]:
        """Every place of the table with every driver and seed."""
        for row, alpha in enumerate(self._alphas):
            for column, beta in enumerate(self._betas):
                place = Place(alpha, beta, row, column)
                if reason := place.refusal(self.knobs.most):
                    yield self._refused(place, reason)
                    continue
                for driver in self.knobs.samplers:
                    for seed in range(self.knobs.seeds):
                        yield from self._try_place(place, driver, seed)
                        yield self._progress("starts", f"Start {place.alpha:.2g}, {place.beta:.2g}")

    def _try_again(self) -> Iterator[events.Event | None]:
        """Starts close to the best one of each number of steps: each part times U(0.95, 1.05), as BDDM's code does."""
        draws, found = np.random.default_rng(0), sorted(self.best)
        self._pace.plan("retries", len(found) * self.knobs.retries, emits=True)
        for key in found:
            for factors in draws.uniform(1.0 - _SPREAD, 1.0 + _SPREAD, (self.knobs.retries, 2)).tolist():
                begun = self.best[key]
                assert begun.start is not None
                assert begun.seed is not None
                alpha, beta = (part * factor for part, factor in zip(begun.start, factors, strict=True))
                place = Place(min(alpha, _MOST_PART), min(beta, _MOST_PART))
                if not place.refusal(self.knobs.most):
                    yield from self._try_place(place, key[1], begun.seed)
                yield self._progress("retries", f"Near the best start of {_words(*key)}")

    def _fill_in(self) -> Iterator[events.Event | None]:
        """Each wanted number of steps from its nearest neighbours and from plain grids, kept where it is better.

        A search whose schedules lose to evenly spaced steps would be of no use, so those are candidates like others.
        """
        for driver in self.knobs.samplers:
            for steps in self._wanted:
                counts = [count for count, name in self.best if name == driver]
                fewer = max((count for count in counts if count < steps), default=None)
                more = min((count for count in counts if count > steps), default=None)
                for neighbour in (fewer, more):
                    if neighbour is not None:
                        yield from self._try_neighbour(steps, neighbour, driver)
                    yield self._progress("fill", f"{_words(steps, driver)} from its neighbours")
                for grid, schedule in PLAIN:
                    yield from self._try_plain(steps, grid, schedule or self.subject.schedule, driver)
                    yield self._progress("fill", f"{_words(steps, driver)} {grid.title}")

    def _descend(self) -> Iterator[events.Event | None]:
        """Pattern search on the log-SNRs of the levels; a round without success halves the moves of the next.

        All candidates meet the same noise, so the score is a plain function of the betas. The low cosines move the path
        as a whole and bend it; its last level, which decides how much noise the last jump must remove at once, also
        moves alone. Before a number of steps is moved, the path of the one that was moved before it is tried there.
        """
        found = sorted(self.best, key=_by_driver) if self.knobs.descent else []
        found = [key for key in found if key[0] in self._wanted or not self._wanted]
        moves = sum(2 * self.knobs.descent * len(directions(steps)) for steps, _ in found)
        self._pace.plan("descent", moves + len(found))
        before: tuple[int, str] | None = None
        for steps, driver in found:
            if before is not None and before[1] == driver:
                yield from self._try_neighbour(steps, before[0], driver)
            yield self._progress("descent", f"Moving the betas of {_words(steps, driver)}")
            before, move = (steps, driver), FIRST_MOVE
            for _ in range(self.knobs.descent):
                begun = self.best[steps, driver]
                for direction in directions(steps):
                    yield from self._try_move(move * direction, steps, driver)
                if self.best[steps, driver] is begun:
                    move /= 2.0

    def _try_move(self, direction: np.ndarray, steps: int, driver: str) -> Iterator[events.Event | None]:
        """One move of the best betas, there or else back."""
        done = False
        for sign in (1.0, -1.0):
            now = self.best[steps, driver]
            if not done:
                yield from self._try_path(log_snrs(now.betas) + sign * direction, now, driver)
                done = self.best[steps, driver] is not now
            yield self._progress("descent", f"Moving the betas of {_words(steps, driver)}")

    # One candidate

    def _try_place(self, place: Place, driver: str, seed: int) -> Iterator[events.Event | None]:
        """Emit a schedule from a start, and judge it."""
        betas, reason = yield from self._attend(self._emit(place, self._samplers[driver], seed), "emit")
        schedule = ShortSchedule(
            betas=betas,
            origin="learned",
            sampler=method_to_dict("sampler", self._samplers[driver]),
            start=(place.alpha, place.beta),
            seed=seed,
            model=self.fingerprint,
        )
        yield from self._judge(schedule, driver, place, reason)

    def _emit(self, place: Place, sampler: Sampler, seed: int) -> Generator[None, None, tuple[tuple[float, ...], str]]:
        """The betas of Algorithm 3, and why they end."""
        emission = Emission(
            floor=self.knobs.floor,
            most=self.knobs.most,
            images=self.knobs.images,
            eta=sampler.eta if isinstance(sampler, DDIM) else 1.0,
        )
        noise, betas, reason = Noise(seed, range(self.knobs.images), self.device), [], ""
        for step in emit(
            self._network,
            self._denoiser,
            emission,
            (place.alpha, place.beta),
            shape=self.subject.shape,
            cond=self._cond,
            noise=noise,
        ):
            betas.append(step.beta)
            reason = step.reason
            yield None
        return tuple(reversed(betas)), reason

    def _try_neighbour(self, steps: int, neighbour: int, driver: str) -> Iterator[events.Event | None]:
        """Judge the best path of another number of steps with as many levels as are wanted."""
        near = self.best[neighbour, driver]
        yield from self._try_path(resampled(log_snrs(near.betas), steps), near, driver)

    def _try_plain(self, steps: int, grid: Grid, schedule: NoiseSchedule, driver: str) -> Iterator[events.Event | None]:
        """Judge a plain grid over a schedule; nothing where it cannot have so many steps."""
        try:
            levels = grid.levels(schedule, steps)
        except ValueError:
            return
        betas = betas_along(levels)
        sampler = method_to_dict("sampler", self._samplers[driver])
        yield from self._judge(
            ShortSchedule(betas=betas, origin="plain", sampler=sampler, model=self.fingerprint), driver
        )

    def _try_path(self, path: np.ndarray, origin: ShortSchedule, driver: str) -> Iterator[events.Event | None]:
        """Judge the schedule with these log-SNRs (N,), moved on from ``origin``; nothing where they are none."""
        if is_path(path):
            moved = dataclasses.replace(origin, betas=betas_of(path), origin="refined", scores={})
            yield from self._judge(moved, driver)

    def _judge(
        self, schedule: ShortSchedule, driver: str, place: Place | None = None, reason: str = ""
    ) -> Iterator[events.Event | None]:
        """Tell what a schedule is worth, and keep it where it is the best."""
        sampler, known = self._samplers[driver], (schedule.betas, driver)
        if known not in self._known:
            try:
                work = self._jury.score(schedule.betas, sampler)
                self._known[known] = (yield from self._attend(work, "judge")), ""
            except ValueError as error:
                # One schedule under which the model breaks down is no reason to give up all others.
                self._known[known] = math.inf, str(error)
        (score, problem), key = self._known[known], (schedule.steps, driver)
        self._pace.judged(schedule.steps)
        is_best = math.isfinite(score) and score < self._score_of(key)
        if math.isfinite(score):
            schedule = dataclasses.replace(schedule, scores={self._jury.key(sampler): score})
        if is_best:
            self.best[key] = schedule
        yield events.ScheduleFound(
            schedule=schedule,
            score=score if math.isfinite(score) else None,
            judge=self._jury.quantity,
            row=place.row if place else None,
            column=place.column if place else None,
            bound=fewest_steps(place.alpha, place.beta) if place else None,
            best=is_best,
            reason=problem or reason,
        )

    def _score_of(self, key: tuple[int, str]) -> float:
        return next(iter(self.best[key].scores.values())) if key in self.best else math.inf

    def _refused(self, place: Place, reason: str) -> events.ScheduleFound:
        return events.ScheduleFound(
            schedule=None,
            score=None,
            judge=self._jury.quantity,
            row=place.row,
            column=place.column,
            bound=fewest_steps(place.alpha, place.beta),
            reason=reason,
        )

    # Control and pace

    def _attend(
        self, work: Generator[Y, None, T], kind: _Kind, tell: Callable[[Y], events.Event | None] = lambda _: None
    ) -> Generator[events.Event | None, None, T]:
        """What ``work`` returns. Between its steps it waits while paused, and raises :class:`_Stopped` when told to."""
        try:
            while True:
                if self._control.paused and not self._control.stopping:
                    yield from rest(self._control)
                if self._control.stopping:
                    raise _Stopped
                began = time.perf_counter()
                try:
                    message = tell(next(work))
                except StopIteration as end:
                    return end.value
                finally:
                    self._pace.seconds[kind] += time.perf_counter() - began
                yield message
        finally:
            work.close()

    def _plan(self) -> None:
        """What the phases will cost, as far as it can be known before."""
        knobs, drivers = self.knobs, len(self.knobs.samplers)
        places = [Place(alpha, beta) for alpha in self._alphas for beta in self._betas]
        viable = sum(not place.refusal(knobs.most) for place in places)
        self._pace.plan("starts", viable * drivers * knobs.seeds, emits=True)
        self._pace.plan("retries", min(viable, knobs.most) * drivers * knobs.retries, emits=True)
        self._pace.plan("fill", (2 + len(PLAIN)) * len(self._wanted) * drivers)
        moves = sum(len(directions(steps)) for steps in self._wanted or range(1, knobs.most + 1))
        self._pace.plan("descent", 2 * knobs.descent * moves * drivers)

    def _progress(self, phase: str, text: str) -> events.SearchProgress:
        self._pace.done(phase)
        return self._pace.told(text)


class _Pace:
    """How far a search is, from what is left of each phase and what a step of a schedule has cost so far."""

    def __init__(self, most: int) -> None:
        self.seconds: dict[_Kind, float] = {"prepare": 0.0, "emit": 0.0, "judge": 0.0}
        self._left: dict[str, tuple[int, bool]] = {}
        self._steps = self._judged = self._done = 0
        self._most = most

    def plan(self, phase: str, count: int, *, emits: bool = False) -> None:
        """``count`` candidates are left of a phase; ``emits`` where each is emitted before it is judged."""
        self._left[phase] = count, emits

    def done(self, phase: str) -> None:
        """One candidate of a phase was dealt with."""
        count, emits = self._left[phase]
        self._left[phase] = max(count - 1, 0), emits
        self._done += 1

    def judged(self, steps: int) -> None:
        """A schedule of so many steps was judged."""
        self._steps += steps
        self._judged += 1

    def told(self, text: str) -> events.SearchProgress:
        """The search as it is now."""
        left = sum(count for count, _ in self._left.values())
        emitted = sum(count for count, emits in self._left.values() if emits)
        each = 1.0 / max(self._judged, 1)
        eta = each * (left * self.seconds["judge"] + emitted * self.seconds["emit"])
        spent = self.seconds["judge"] + self.seconds["emit"]
        return events.SearchProgress(
            done=self._done,
            total=self._done + left,
            fraction=spent / max(spent + eta, 1e-9) if left else 1.0,
            eta_seconds=eta,
            text=text,
        )


def log_snrs(betas: Sequence[float]) -> np.ndarray:
    """(N,) float64: the log-SNRs of the noisy levels of betas, from the cleanest (largest) to the noisiest."""
    log_alpha_bar = np.cumsum(np.log1p(-np.asarray(betas, np.float64)))
    return log_alpha_bar - np.log(-np.expm1(log_alpha_bar))


def betas_of(path: np.ndarray) -> tuple[float, ...]:
    """The betas whose levels have these log-SNRs (N,), which descend."""
    return betas_along([*(from_log_snr(float(value)) for value in path[::-1]), CLEAN])


def is_path(path: np.ndarray) -> bool:
    """Whether these log-SNRs (N,) can be levels of a schedule: falling, and not beyond what floats can tell apart."""
    return bool(abs(path).max() <= _MOST_LOG_SNR and (np.diff(path) <= -_LEAST_GAP).all())


def resampled(path: np.ndarray, steps: int) -> np.ndarray:
    """A path of log-SNRs (N,) with another number of levels: the same ends, and evenly spread between.

    One level alone is the noisiest, and a path of one level begins 4 above it, where a jump hides most of an image.
    """
    if len(path) == 1:
        path = np.array([path[0] + 4.0, path[0]])
    places = np.linspace(0.0, 1.0, steps) if steps > 1 else np.ones(1)
    return np.interp(places, np.linspace(0.0, 1.0, len(path)), path)


def directions(steps: int) -> list[np.ndarray]:
    """The moves of N levels that descent tries, (N,) each: smooth ones, k = 0 shifting all alike, and level 1 alone."""
    places = (np.arange(steps) + 0.5) / steps
    smooth = [np.cos(math.pi * k * places) for k in range(min(steps, MODES))]
    return smooth if steps == 1 else [*smooth, np.eye(steps)[0]]


def _by_driver(key: tuple[int, str]) -> tuple[str, int]:
    return key[1], key[0]


def _interior(low: float, high: float, count: int) -> list[float]:
    """Evenly spaced between two ends, without them."""
    return np.linspace(low, high, count + 2)[1:-1].tolist()


def _words(steps: int, driver: str) -> str:
    return f"{steps} step{'s' * (steps != 1)}, {sampler_title(find('sampler', driver)(), defaults=False)}"
