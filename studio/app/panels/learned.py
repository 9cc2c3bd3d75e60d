"""Short schedules in words: how those that models keep are offered among the grids, and told in titles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from studio.core.checkpoints.header import Header, in_full
from studio.core.config import method_from_dict
from studio.core.grids import Betas, Grid
from studio.core.samplers.base import Sampler, sampler_title
from studio.core.sampling import few_steps
from studio.core.short_schedule import ShortSchedule

_ORIGINS = {"learned": "learned", "refined": "learned", "plain": "plain", "drawn": "drawn", "imported": "imported"}


def offers(schedules: Sequence[ShortSchedule]) -> list[tuple[str, Betas]]:
    """An option of a list for each schedule: ``learned · 8 steps, FD 1.05``, and the grid that it stands for.

    The sampler that it was found with is told where others have as many steps.
    """
    found: dict[Betas, str] = {}
    for schedule in schedules:
        sampler = _sampler(schedule) if _is_one_of_several(schedule, schedules) else ""
        words = [_steps(schedule), *([sampler] if sampler else []), *_score(schedule)]
        found.setdefault(Betas.of(schedule), f"{_origin(schedule)} · {', '.join(words)}")
    return [(label, grid) for grid, label in found.items()]


def own_offers(header: Header) -> list[tuple[str, Grid]]:
    """The option of a model's own big steps, where it knows those alone; none otherwise."""
    few = few_steps(header)
    return [] if few is None else [(f"its {_number(few.knobs.steps)}", few.grid)]


def sampler_for(grid: Grid, schedules: Sequence[ShortSchedule]) -> Sampler | None:
    """The sampler that the schedule of these betas was found with; None where that is none, or it is none of them."""
    schedule = next((each for each in schedules if each.sampler and Betas.of(each) == grid), None)
    if schedule is None:
        return None
    try:
        found = method_from_dict("sampler", schedule.sampler)
    except ValueError:
        return None  # a sampler that this studio does not have
    assert isinstance(found, Sampler)
    return found


def told(grid: Grid, sampler: Sampler, model: Path, headers: Mapping[Path, Header]) -> str:
    """What a list of betas is: ``learned, 8 steps``; "" where no model keeps it.

    The model that keeps it is named where that is not ``model``, and the sampler that it was found with where that is
    not ``sampler`` and others have as many steps.
    """
    if not isinstance(grid, Betas):
        return ""
    for path in sorted(headers, key=lambda path: path != model):  # the model's own come first
        if any(own == grid for _, own in own_offers(headers[path])):
            steps = _number(grid.own_steps)
            return f"its own {steps}" if path == model else f"{steps} of {headers[path].title}"
        for schedule in headers[path].schedules:
            if Betas.of(schedule) != grid:
                continue
            where = "" if path == model else f" for {headers[path].title}"
            words = [f"{_origin(schedule)}{where}", _steps(schedule)]
            found_with = _sampler(schedule) if _is_one_of_several(schedule, headers[path].schedules) else ""
            if found_with not in ("", sampler_title(sampler, defaults=False)):
                words.append(f"for {found_with}")
            return ", ".join(words)
    return ""


def _origin(schedule: ShortSchedule) -> str:
    return schedule.title or _ORIGINS[schedule.origin]


def _steps(schedule: ShortSchedule) -> str:
    return _number(schedule.steps)


def _number(steps: int) -> str:
    return "1 step" if steps == 1 else f"{steps} steps"


def _is_one_of_several(schedule: ShortSchedule, schedules: Sequence[ShortSchedule]) -> bool:
    return sum(other.steps == schedule.steps for other in schedules) > 1


def _sampler(schedule: ShortSchedule) -> str:
    """The sampler it was found with, "" where it was found with none."""
    if not schedule.sampler:
        return ""
    try:
        return sampler_title(method_from_dict("sampler", schedule.sampler), defaults=False)
    except ValueError:
        return str(schedule.sampler.get("name"))  # a sampler that this studio does not have


def _score(schedule: ShortSchedule) -> list[str]:
    """Its score in short: FD where it has one."""
    if not schedule.scores:
        return []
    key = min(schedule.scores, key=lambda key: not key.startswith("FD"))
    return [in_full(key, schedule.scores[key]).partition(" · ")[0]]
