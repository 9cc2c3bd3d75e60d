"""Numbers in words, as the window says them."""

from __future__ import annotations

import math

CLEAN_START = 0.05
"""A share of the signal's amplitude above which a start is too clean for pure noise to stand in for it."""


def duration(seconds: float) -> str:
    """A duration at a glance: "42 s", "2.1 min", "12 min", "1.4 h", "3.2 days"."""
    if not math.isfinite(seconds):
        return "–"
    for limit, size, unit in ((60.0, 1.0, "s"), (3600.0, 60.0, "min"), (36 * 3600.0, 3600.0, "h")):
        if seconds < limit - size / 2:
            amount = seconds / size
            return f"{amount:.1f} {unit}" if size > 1 and amount < 9.95 else f"{amount:.0f} {unit}"
    return f"{seconds / 86400:.1f} days"


def leftover(alpha: float, *, fitted: bool = False) -> str:
    """What it means to start where ``alpha`` of the signal should be left: from pure noise, or a prior ``fitted``."""
    share = f"{100.0 * alpha:.2g} % of the signal's amplitude"
    if fitted:
        return f"{share} is left there: x_T is drawn from the model's own prior, which is fitted to its data."
    if alpha < 0.01:
        return f"{share} is left there: as good as pure noise."
    if alpha < CLEAN_START:
        return f"{share} is left there: pure noise is close to it."
    return f"{share} is left there: pure noise is not what the model expects, so samples may come out grey or off."
