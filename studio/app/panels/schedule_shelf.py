"""The short schedules at hand: those that the model keeps, found for it since, drawn or imported by the person.

No Qt: what can be chosen, what it is called, and what it can be compared with.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

from studio.app.panels.learned import offers
from studio.app.panels.schedule_curves import Curve
from studio.app.panels.schedule_edit import betas_of
from studio.core.grids import Betas, Grid, LogSNR, Quadratic, Uniform
from studio.core.schedule_files import adopted
from studio.core.schedules import Cosine, DiscreteSchedule, Linear, NoiseSchedule
from studio.core.short_schedule import ShortSchedule

REFERENCES = {
    "training": "the model's training schedule",
    "linear": "evenly spaced steps of DDPM's linear schedule",
    "cosine": "evenly spaced steps of the cosine schedule",
    "quadratic": "steps of the linear schedule that crowd towards the data, as in DDIM",
    "log_snr": "evenly spaced in log-SNR",
}
"""What can be drawn beside any schedule, each with as many steps as it has (but for the training schedule)."""
_ROLES = {"linear": "series_gan", "cosine": "series_held_out", "quadratic": "series_limit", "log_snr": "text_muted"}
_NAMES = {"log_snr": "by log-SNR"}
_LONGEST = 24  # letters of a title in the legend
_LEARNED = ("learned", "refined", "plain")


class Shelf:
    """What can be chosen, for one model after the other."""

    def __init__(self) -> None:
        self._path = ""
        self.kept: tuple[ShortSchedule, ...] = ()
        self._found: dict[str, dict[tuple[object, ...], ShortSchedule]] = {}
        self._own: list[ShortSchedule] = []
        self._marks: dict[str, set[str]] = {}  # the fingerprints of each model, as its schedules have them

    def set_model(self, path: str, kept: Sequence[ShortSchedule]) -> None:
        """Speak of this model, which keeps ``kept``. What was drawn or imported is at hand for any model."""
        self._path, self.kept = path, tuple(kept)
        self._marks.setdefault(path, set()).update(schedule.model for schedule in kept)

    def add_found(self, path: str, schedule: ShortSchedule) -> bool:
        """Take the newest schedule of its length and sampler that was found; whether it is of the model shown."""
        key = (schedule.steps, *sorted((name, str(value)) for name, value in schedule.sampler.items()))
        self._found.setdefault(path, {})[key] = schedule
        self._marks.setdefault(path, set()).add(schedule.model)
        return path == self._path

    def add_own(self, schedule: ShortSchedule) -> None:
        """Take one that was drawn, imported or watched; a drawn one takes the place of the one drawn before."""
        if schedule.origin == "drawn":
            self._own = [other for other in self._own if other.origin != "drawn"]
        if not any(other.betas == schedule.betas for other in self._own):
            self._own.append(schedule)

    def listed(self) -> list[ShortSchedule]:
        """All there are, each list of betas once, kept ones first, then found ones by their length."""
        found = sorted(self._found.get(self._path, {}).values(), key=lambda schedule: schedule.steps)
        once: dict[tuple[float, ...], ShortSchedule] = {}
        for schedule in (*self.kept, *found, *self._own):
            once.setdefault(schedule.betas, schedule)
        return list(once.values())

    def find(self, betas: tuple[float, ...]) -> ShortSchedule | None:
        """The schedule at hand with these betas."""
        return next((schedule for schedule in self.listed() if schedule.betas == betas), None)

    def is_kept(self, schedule: ShortSchedule) -> bool:
        """Whether the model keeps one with the same betas."""
        return any(kept.betas == schedule.betas for kept in self.kept)

    def to_keep(self, schedule: ShortSchedule) -> ShortSchedule:
        """The schedule as the model may keep it: one that was found for another model becomes an imported one."""
        mine = schedule.model in self._marks.get(self._path, ())
        return adopted(schedule, schedule.model if mine else "")

    def names(self) -> list[str]:
        """What each of :meth:`listed` is called in a list, as in the sampler's own list of grids."""
        listed = self.listed()
        labels: Mapping[Grid, str] = {grid: label for label, grid in offers(listed)}
        return [labels[Betas.of(schedule)] for schedule in listed]


def role_of(schedule: ShortSchedule | None) -> str:
    """The colour of a schedule's curve; None stands for the sampler's own steps."""
    if schedule is None:
        return "series_smoothed"
    return "series_learned" if schedule.origin in _LEARNED else "text"


def legend_of(schedule: ShortSchedule | None, steps: int) -> str:
    """The name of a schedule's curve: ``learned, 8``."""
    name = "the sampler’s" if schedule is None else schedule.title or schedule.origin
    return f"{name if len(name) <= _LONGEST else name[: _LONGEST - 1] + '…'}, {steps}"


@functools.lru_cache(maxsize=64)
def reference(name: str, schedule: DiscreteSchedule, steps: int) -> Curve | None:
    """One of :data:`REFERENCES` with ``steps`` steps; None where there is none of this length.

    Remembered, since all of them are asked for again at every move of a point.
    """
    if name == "training":
        betas = tuple(schedule.betas().tolist())
        return Curve(f"training, T {schedule.length}", "series_raw", betas, "training")
    source: dict[str, tuple[Grid, NoiseSchedule]] = {
        "linear": (Uniform(), Linear()),
        "cosine": (Uniform(), Cosine()),
        "quadratic": (Quadratic(), Linear()),
        "log_snr": (LogSNR(), schedule),
    }
    grid, levels_from = source[name]
    try:
        betas = betas_of(grid.levels(levels_from, steps))
    except ValueError:
        return None
    return Curve(f"{_NAMES.get(name, name)}, {steps}", _ROLES[name], betas, "reference")
