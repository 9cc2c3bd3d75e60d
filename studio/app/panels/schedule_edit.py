"""Editing a short schedule by hand: its points in three views, and what a pull at one of them does to the betas.

Point n of N (from the cleanest, 1) is the level after n steps, ``ln alpha_bar_n = sum(ln(1 - beta_i), i <= n)``. In the
view of beta a point is one step's beta, and all noisier levels move with it; in the other two it is the level itself:
it stays between its neighbours, and only the jumps to these two change.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal

from PySide6.QtGui import QUndoCommand

from studio.core.levels import Level, beta_between
from studio.core.short_schedule import ShortSchedule, check_betas

View = Literal["beta", "alpha_bar", "log_snr"]
Betas = tuple[float, ...]

MOST_POINTS = 100
"""More steps than this are not edited by hand: their points lie too close together to be told apart."""
LEAST_BETA, MOST_BETA = 1e-7, 0.9999
_LEAST_JUMP, _MOST_JUMP = -math.log1p(-LEAST_BETA), -math.log1p(-MOST_BETA)  # of -ln alpha_bar


def points(betas: Sequence[float], view: View) -> list[float]:
    """(N,): a schedule's points in a view, from the cleanest to the noisiest."""
    if view == "beta":
        return list(betas)
    logs = _logs(betas)
    if view == "alpha_bar":
        return [math.exp(value) for value in logs]
    return [value - math.log(-math.expm1(value)) for value in logs]


def moved(betas: Betas, view: View, index: int, value: float) -> Betas:
    """The betas with point ``index`` moved to ``value``, or as near to it as it may go; unchanged where it cannot."""
    if view == "beta":
        return _possible((*betas[:index], min(max(value, LEAST_BETA), MOST_BETA), *betas[index + 1 :]), betas)
    logs = _logs(betas)
    cleaner = logs[index - 1] if index else 0.0
    lowest, highest = cleaner - _MOST_JUMP, cleaner - _LEAST_JUMP
    if index + 1 < len(logs):
        lowest = max(lowest, logs[index + 1] + _LEAST_JUMP)
        highest = min(highest, logs[index + 1] + _MOST_JUMP)
    if lowest > highest:
        return betas  # its neighbours leave no room
    wanted = min(max(_log_of(view, value), lowest), highest)
    found = list(betas)
    found[index] = -math.expm1(wanted - cleaner)
    if index + 1 < len(logs):
        found[index + 1] = -math.expm1(logs[index + 1] - wanted)
    return _possible(tuple(found), betas)


def with_point(betas: Betas, index: int, view: View | None = None, value: float = 0.0) -> Betas:
    """The betas with one more step, before step ``index`` (from 0, the cleanest).

    It halves the jump that is there, so that no other level moves; with a ``view`` it then goes to ``value`` there.
    Past the last step, that step's beta comes once more.
    """
    if index >= len(betas):
        grown = (*betas, min(betas[-1], MOST_BETA))
    else:
        half = -math.expm1(0.5 * math.log1p(-betas[index]))
        grown = (*betas[:index], half, half, *betas[index + 1 :])
    grown = _possible(grown, betas)
    return grown if view is None or grown is betas else moved(grown, view, index, value)


def without_point(betas: Betas, index: int) -> Betas:
    """The betas without the level ``index``: the two jumps at it become one. The only point stays."""
    if len(betas) == 1:
        return betas
    if index == len(betas) - 1:
        return betas[:-1]
    joined = -math.expm1(math.log1p(-betas[index]) + math.log1p(-betas[index + 1]))
    return _possible((*betas[:index], min(joined, MOST_BETA), *betas[index + 2 :]), betas)


def betas_of(levels: Sequence[Level]) -> Betas:
    """The betas of the jumps between levels (N + 1, descending to clean data), from the cleanest jump.

    Raises ValueError where two levels are the same.
    """
    betas = tuple(beta_between(noisier, cleaner) for noisier, cleaner in pairwise(levels))[::-1]
    check_betas(betas)
    return betas


class Change(QUndoCommand):
    """One schedule in place of another, both None for the sampler's own steps; ``show`` puts one of them there.

    Nudges of the same point, one after the other, are undone together: ``nudged`` names it, "" for other changes.
    """

    def __init__(
        self,
        text: str,
        before: ShortSchedule | None,
        after: ShortSchedule | None,
        show: Callable[[ShortSchedule | None], None],
        nudged: str = "",
    ) -> None:
        super().__init__(text)
        self.after = after
        self.nudged = nudged
        self._before, self._show = before, show

    def redo(self) -> None:
        self._show(self.after)

    def undo(self) -> None:
        self._show(self._before)

    def id(self) -> int:
        return 1 if self.nudged else -1

    def mergeWith(self, other: QUndoCommand) -> bool:
        if not isinstance(other, Change) or other.nudged != self.nudged:
            return False
        self.after = other.after
        return True


def _logs(betas: Sequence[float]) -> list[float]:
    """(N,): ln alpha_bar."""
    found, total = [], 0.0
    for beta in betas:
        total += math.log1p(-beta)
        found.append(total)
    return found


def _log_of(view: View, value: float) -> float:
    """ln alpha_bar of a point's value; for a log-SNR -ln(1 + exp(-value)), without overflow."""
    if view == "alpha_bar":
        return math.log(min(max(value, 1e-300), 1.0))
    return -(max(-value, 0.0) + math.log1p(math.exp(-abs(value))))


def _possible(betas: Betas, before: Betas) -> Betas:
    """``betas``, or those of before where the new ones would leave no signal at all."""
    try:
        check_betas(betas)
    except ValueError:
        return before
    return betas
