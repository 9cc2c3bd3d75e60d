"""What a search found: schedules with what a judge said of them, by the start that they came from, and in words."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from studio.app.widgets.start_map import Place
from studio.core.short_schedule import ShortSchedule, fewest_steps

_SAMPLERS = {"ancestral": "ancestral", "ddim": "DDIM"}


@dataclass(frozen=True)
class Found:
    """One schedule with what a judge said of it, in the judge's own quantity."""

    schedule: ShortSchedule
    score: float | None
    judge: str
    bound: float | None

    @property
    def sampler(self) -> str:
        return str(self.schedule.sampler.get("name", ""))

    @property
    def rank(self) -> float:
        return math.inf if self.score is None else self.score


@dataclass
class Tried:
    """What came from one start."""

    found: list[Found] = field(default_factory=list)
    reason: str = ""
    bound: float | None = None

    def best(self, steps: int | None) -> Found | None:
        """The best schedule, of a number of steps or of any."""
        fit = [one for one in self.found if one.score is not None and steps in (None, one.schedule.steps)]
        return min(fit, key=lambda one: one.rank, default=None)


def bound_of(schedule: ShortSchedule) -> float | None:
    """N_min of its start. None for one that was moved on, or that ended before clean data: it is not bound by it."""
    if schedule.start is None or schedule.origin != "learned" or schedule.is_cut_short:
        return None
    return fewest_steps(*schedule.start)


def place_of(tried: Tried, found: Found | None, steps: int | None, by_steps: bool) -> Place:
    """What the map shows of a start whose best schedule is ``found``."""
    if found is None:
        if not tried.found:
            return Place(None, reason=tried.reason or "No schedule came from here.", skipped=True)
        judged = any(one.score is not None for one in tried.found)
        return Place(None, reason=f"No schedule of {_steps(steps or 0)} came from here." if judged else tried.reason)
    count, score = found.schedule.steps, brief(found.rank)
    sampler = _SAMPLERS.get(found.sampler, found.sampler)
    judge = found.judge or "score"
    pairs = [("steps", str(count)), ("sampler", sampler or "–"), (judge, score)]
    line = [_steps(count), sampler, f"{judge} {score}"]
    if tried.bound is not None:
        pairs.append(("fewest steps", f"{tried.bound:.1f}"))
        line.append(f"fewest {tried.bound:.1f}")
    value, text = (float(count), str(count)) if by_steps else (found.rank, score.removeprefix("0"))
    return Place(value, text, tuple(pairs), " · ".join(filter(None, line)))


def told(found: Found) -> str:
    """A schedule in full, for a tool tip."""
    schedule = found.schedule
    lines = [f"{_steps(schedule.steps)}, {schedule.origin}"]
    if found.score is not None:
        sampler = _SAMPLERS.get(found.sampler, found.sampler)
        lines[0] += f" · {found.judge or 'score'} {found.score:.4g}" + (f" with {sampler}" if sampler else "")
    if schedule.start is not None:
        lines.append(f"from α {schedule.start[0]:.4g}, β {schedule.start[1]:.4g}")
    shown = [f"{beta:.3g}" for beta in schedule.betas[:12]]
    lines.append(f"β {', '.join(shown)}{', …' if len(schedule.betas) > 12 else ''}")
    return "\n".join(lines)


def brief(value: float) -> str:
    """A score in three digits, also where they are zeros, so that scores stand below each other: "4.90", "15.0"."""
    return f"{value:,.0f}" if abs(value) >= 1000.0 else f"{value:#.3g}".removesuffix(".")


def _steps(count: int) -> str:
    return f"{count} step{'s' * (count != 1)}"
