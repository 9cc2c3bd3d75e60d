"""Short schedules: the few betas that a search found, a person drew or a file brought, and where they came from.

N betas make N noisy levels, ``alpha_bar_n = prod(1 - beta_i, i <= n)``, whatever schedule the model was trained with.
A checkpoint's description carries those that were found for it; no torch is needed to read them.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

MOST_STEPS = 10_000
Origin = Literal["learned", "refined", "plain", "drawn", "imported"]


@dataclass(frozen=True, kw_only=True)
class ShortSchedule:
    """A schedule of N steps. Raises ValueError in plain words for one that cannot be.

    ``betas`` (N,) go from the cleanest step to the noisiest, each in (0, 1). ``origin`` is "learned" where a schedule
    network emitted it, "plain" where a search took it from an ordinary grid, "refined" where its betas were moved on
    after that. ``sampler`` is the table of the sampler that it was found with, empty where none was. ``start`` is
    (alpha_N, beta_N), where Algorithm 3 began, and ``seed`` that of the noise it began from. ``scores`` are named as a
    checkpoint's (``checkpoints.header.score_key``). ``model`` is the fingerprint of the model it was found for, ""
    where it belongs to none.
    """

    betas: tuple[float, ...]
    origin: Origin
    title: str = ""
    sampler: Mapping[str, Any] = field(default_factory=dict)
    start: tuple[float, float] | None = None
    seed: int | None = None
    scores: Mapping[str, float] = field(default_factory=dict)
    model: str = ""

    def __post_init__(self) -> None:
        check_betas(self.betas)
        # numpy's numbers are floats too, but their text is no number.
        object.__setattr__(self, "betas", tuple(map(float, self.betas)))
        if self.origin not in get_args(Origin):
            raise ValueError(f"origin = {self.origin!r} is not possible: it is one of {', '.join(get_args(Origin))}.")
        if self.start is not None and not (len(self.start) == 2 and all(0.0 < part < 1.0 for part in self.start)):
            raise ValueError(f"start = {self.start} is not possible: it is an alpha and a beta between 0 and 1.")
        for name, value in self.scores.items():
            if not _is_number(value):
                raise ValueError(f"{name} = {value!r} is no score: it takes a finite number.")

    @property
    def steps(self) -> int:
        """N."""
        return len(self.betas)

    @property
    def alphas(self) -> tuple[float, ...]:
        """(N,): alpha_n, the signal left after n steps, from the cleanest to the noisiest."""
        return tuple(math.exp(0.5 * value) for value in self.log_alpha_bars)

    @property
    def log_alpha_bars(self) -> tuple[float, ...]:
        """(N,): ln alpha_bar_n; it has digits where alpha itself rounds to 1, after a tiny beta."""
        return tuple(itertools.accumulate(math.log1p(-beta) for beta in self.betas))

    @property
    def is_cut_short(self) -> bool:
        """Whether Algorithm 3 ended at its floor before clean data: after fewer steps than N_min of the start."""
        return self.start is not None and self.origin == "learned" and self.steps < fewest_steps(*self.start) - 1e-6

    @property
    def name(self) -> str:
        """What it is called in lists: its title, or its number of steps and where it came from."""
        return self.title or f"{self.steps} step{'s' * (self.steps != 1)}, {self.origin}"

    def to_dict(self) -> dict[str, Any]:
        """A table of plain values; what is empty is left out."""
        table: dict[str, Any] = {"betas": list(self.betas), "origin": self.origin}
        for name in ("title", "sampler", "scores", "model"):
            if value := getattr(self, name):
                table[name] = dict(value) if isinstance(value, Mapping) else value
        if self.start is not None:
            table["start"] = list(self.start)
        if self.seed is not None:
            table["seed"] = self.seed
        return table

    @staticmethod
    def from_dict(table: Mapping[str, Any]) -> ShortSchedule:
        """What :meth:`to_dict` gave. Raises ValueError for anything else, in plain words."""
        if not isinstance(table, Mapping) or not isinstance(table.get("betas"), Sequence):
            raise ValueError("A schedule is a table with a list of betas.")
        known = {"betas": tuple, "origin": str, "title": str, "sampler": dict, "scores": dict, "model": str}
        values: dict[str, Any] = {"origin": "imported"}
        for name, value in table.items():
            if name == "start":
                values[name] = _pair(value)
            elif name == "seed":
                if type(value) is not int:
                    raise ValueError(f"seed = {value!r} is not possible: it takes a whole number.")
                values[name] = value
            elif name in known:
                values[name] = tuple(value) if name == "betas" else value
                if not isinstance(values[name], known[name]) or (name == "betas" and isinstance(value, str)):
                    raise ValueError(f"{name} = {value!r} is not what a schedule has there.")
            else:
                raise ValueError(
                    f"{name!r} is no part of a schedule; there are {', '.join([*known, 'start', 'seed'])}."
                )
        return ShortSchedule(**values)


def best_of(schedules: Sequence[ShortSchedule]) -> ShortSchedule:
    """The one with the lowest score of the measure that most of them were judged by; the first where none was judged.

    Scores of different measures do not compare. ``schedules`` must not be empty.
    """
    measures = Counter(quantity_of(key) for each in schedules for key in each.scores)
    if not measures:
        return schedules[0]
    ((measure, _),) = measures.most_common(1)

    def score(schedule: ShortSchedule) -> float:
        return min((v for key, v in schedule.scores.items() if quantity_of(key) == measure), default=math.inf)

    return min(schedules, key=score)


def quantity_of(key: str) -> str:
    """What a score is of, such as FD, by its name (``checkpoints.header.score_key``)."""
    return key.partition(" · ")[0]


def check_betas(betas: Sequence[float]) -> None:
    """Raise ValueError unless these are betas that can be sampled with: each in (0, 1), some but not too many."""
    if not betas:
        raise ValueError("A schedule needs at least one beta.")
    if len(betas) > MOST_STEPS:
        raise ValueError(f"{len(betas):,} betas are too many: a schedule takes at most {MOST_STEPS:,}.")
    for index, beta in enumerate(betas):
        if not _is_number(beta) or not 0.0 < beta < 1.0:
            raise ValueError(f"beta[{index}] = {beta!r} is not possible: every beta lies between 0 and 1.")
    if sum(map(math.log1p, (-beta for beta in betas))) < -690.0:
        raise ValueError("These betas leave no signal at all (alpha would be 0): take smaller or fewer ones.")


def fewest_steps(alpha: float, beta: float) -> float:
    """N_min: with fewer steps a schedule that starts at (alpha_N, beta_N) cannot end at clean data.

    Algorithm 3 only ever shrinks beta, and each step takes alpha to alpha / sqrt(1 - beta): so N must be at least
    ln(alpha_N**2) / ln(1 - beta_N). One that the floor ends before alpha = 1 may be shorter than the bound of its
    start, never than that of (``alphas[-1]``, ``betas[-1]``), where sampling with it begins. alpha and beta in (0, 1).
    """
    return 2.0 * math.log(alpha) / math.log1p(-beta)


def _pair(value: Any) -> tuple[float, float]:
    if not isinstance(value, Sequence) or len(value) != 2 or not all(map(_is_number, value)):
        raise ValueError(f"start = {value!r} is not possible: it is an alpha and a beta between 0 and 1.")
    return float(value[0]), float(value[1])


def _is_number(value: object) -> bool:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return False
    return abs(value) < 1e300  # math.isfinite fails for whole numbers beyond floats
