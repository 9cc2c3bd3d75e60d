"""Numbers in words, as the window says them."""

from __future__ import annotations

import math


def duration(seconds: float) -> str:
    """A duration at a glance: "42 s", "2.1 min", "12 min", "1.4 h", "3.2 days"."""
    if not math.isfinite(seconds):
        return "–"
    for limit, size, unit in ((60.0, 1.0, "s"), (3600.0, 60.0, "min"), (36 * 3600.0, 3600.0, "h")):
        if seconds < limit - size / 2:
            amount = seconds / size
            return f"{amount:.1f} {unit}" if size > 1 and amount < 9.95 else f"{amount:.0f} {unit}"
    return f"{seconds / 86400:.1f} days"
