"""Axes that people can read: extents that grow in steps, ticks at round numbers, short labels.

A range [lo, hi] stays until data leaves it, then grows to round numbers some way beyond the data, so that a plot of n
points changes its axes about log(n) times. Logarithmic axes live in log10 units; only their labels are in data units.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

Range = tuple[float, float]

_OVERSHOOT = 0.2  # of the span: how far a range grows beyond the data that left it
_LEAST_DECADES = 0.6
_MARKS = (0.0, math.log10(2), math.log10(5))
_MANTISSAS: tuple[tuple[float, ...], ...] = ((1, 1.5, 2, 3, 4, 6, 8), (1, 2, 5), (1, 3), (1,))


def round_step(span: float, count: int) -> float:
    """The largest of 1, 2, 5 times a power of ten that divides ``span`` (> 0) into at least ``count`` parts."""
    raw = span / max(count, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    return max((m for m in (1, 2, 5) if m * power <= raw * (1 + 1e-9)), default=1) * power


def fit_linear(lo: float, hi: float) -> Range:
    """A round range around finite data; it starts at 0 where the data is not far from it."""
    if hi <= lo:
        room = 0.5 * abs(lo) or 1.0
        lo, hi = lo - room, hi + room
    if 0 <= lo < 0.5 * hi:
        lo = 0.0
    if lo / 2 < hi <= 0:
        hi = 0.0
    step = round_step(hi - lo, 5)
    return math.floor(lo / step + 1e-9) * step, math.ceil(hi / step - 1e-9) * step


def fit_log(lo: float, hi: float) -> Range:
    """A range in log10 units around positive data, between numbers of 1, 2 or 5 times a power of ten."""
    low, high = _mark_below(math.log10(lo)), _mark_above(math.log10(hi))
    while high - low < _LEAST_DECADES:
        low, high = _mark_below(low - 0.05), _mark_above(high + 0.05)
    return low, high


def grow(current: Range, lo: float, hi: float, *, log: bool = False) -> Range:
    """``current``, or a larger round range if [lo, hi] leaves it. ``log``: ranges are in log10 units, data is not."""
    if log:
        low, high = fit_log(lo, hi)
        slack = 1e-9
        return (
            current[0] if math.log10(lo) >= current[0] - slack else low,
            current[1] if math.log10(hi) <= current[1] + slack else high,
        )
    slack = 1e-9 * (current[1] - current[0])
    below, above = lo < current[0] - slack, hi > current[1] + slack
    if not (below or above):
        return current
    span = max(hi, current[1]) - min(lo, current[0])
    step = round_step(span, 5)
    low, high = current
    if below:
        # Data that is nowhere negative needs no room below zero.
        low = math.floor(max(lo - _OVERSHOOT * span, 0.0 if lo >= 0 else -math.inf) / step) * step
    if above:
        high = math.ceil(min(hi + _OVERSHOOT * span, 0.0 if hi <= 0 else math.inf) / step) * step
    return low, high


def linear_ticks(lo: float, hi: float, most: int, *, whole: bool = False) -> list[float]:
    """At most about ``most`` round numbers within [lo, hi]; ``whole`` ones only, where fractions mean nothing."""
    if hi <= lo:
        return [lo]
    step = round_step(hi - lo, 1)
    while (hi - lo) / _finer(step) <= most:
        step = _finer(step)
    while whole and step % 1.0:
        step = _coarser(step)
    first, last = math.ceil(lo / step - 1e-6), math.floor(hi / step + 1e-6)
    return [k * step for k in range(first, last + 1)]


def log_ticks(lo: float, hi: float, pixels: float, gap: float) -> list[float]:
    """Data values within the log10 range [lo, hi], drawn over ``pixels``, at least ``gap`` pixels apart."""
    per_decade = pixels / max(hi - lo, 1e-9)
    decades = range(math.floor(lo), math.ceil(hi) + 1)
    for mantissas in _MANTISSAS:
        logs = [math.log10(m) for m in mantissas]
        tightest = min(b - a for a, b in zip(logs, [*logs[1:], 1.0], strict=True))
        if tightest * per_decade >= gap:
            found = [k + m for k in decades for m in logs if lo - 1e-9 <= k + m <= hi + 1e-9]
            return [10.0**v for v in found]
    every = math.ceil(gap / per_decade)
    return [10.0**k for k in decades if k % every == 0 and lo - 1e-9 <= k <= hi + 1e-9]


def linear_labels(ticks: Sequence[float]) -> list[str]:
    """Short labels that tell the ticks apart: ``0``, ``0.5``, ``1,500``, ``20k``, ``−9``."""
    if not ticks:
        return []
    step = min((b - a for a, b in pairwise(ticks)), default=max(abs(ticks[0]), 1.0))
    largest = max(abs(v) for v in ticks)
    if largest and not 1e-3 <= largest < 1e4:
        power = math.floor(math.log10(largest) + 1e-9)
        unit, suffix = (10.0**power, f"e{power}")
        for size, letter in ((1e3, "k"), (1e6, "M"), (1e9, "G")):
            if 1 <= largest / size < 1e3:
                unit, suffix = size, letter
        digits = max(0, -math.floor(math.log10(step / unit) + 1e-6))
        return [_fixed(v / unit, digits, suffix) for v in ticks]
    digits = max(0, -math.floor(math.log10(step) + 1e-6))
    return [_fixed(v, digits, "") for v in ticks]


def log_labels(ticks: Sequence[float]) -> list[str]:
    """Short labels of positive numbers: ``1e-3``, ``.05``, ``.2``, ``1``, ``2,000``, ``10k``."""
    return [_log_label(v) for v in ticks]


def number(value: float) -> str:
    """A measured value for a read-out, to four significant digits."""
    if not math.isfinite(value):
        return "–"
    if value == 0 or 1e-3 <= abs(value) < 1e4:
        return _minus(f"{value:.4g}")
    if float(value).is_integer() and abs(value) < 1e9:
        return _minus(f"{value:,.0f}")
    mantissa, power = f"{value:.3e}".split("e")
    return _minus(f"{mantissa.rstrip('0').rstrip('.')}e{int(power)}")


def _finer(step: float) -> float:
    lead = step / 10.0 ** math.floor(math.log10(step) + 1e-9)
    return step / (2.5 if round(lead) == 5 else 2)


def _coarser(step: float) -> float:
    lead = step / 10.0 ** math.floor(math.log10(step) + 1e-9)
    return step * (2.5 if round(lead) == 2 else 2)


def _mark_below(value: float) -> float:
    """The greatest log10 of 1, 2 or 5 times a power of ten that is at most ``value``."""
    base = math.floor(value + 1e-9)
    return max(base + m for m in _MARKS if base + m <= value + 1e-9)


def _mark_above(value: float) -> float:
    """The least log10 of 1, 2 or 5 times a power of ten that is at least ``value``."""
    base = math.floor(value)
    return min(base + m for m in (*_MARKS, 1.0) if base + m >= value - 1e-9)


def _log_label(value: float) -> str:
    power = math.floor(math.log10(value) + 1e-9)
    if power < -2 or power >= 9:
        lead = value / 10.0**power
        return f"{lead:.1f}".removesuffix(".0") + f"e{power}"
    for size, letter, least in ((1e6, "M", 1e6), (1e3, "k", 1e4)):
        if value >= least * (1 - 1e-9):
            return f"{value / size:.3g}{letter}"
    if value >= 1e3 * (1 - 1e-9):
        return f"{value:,.0f}"
    text = f"{value:.3g}"
    return text.removeprefix("0") if text != "0" else text


def _fixed(value: float, digits: int, suffix: str) -> str:
    text = f"{value:,.{digits}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("0", "-0") else _minus(text + suffix)


def _minus(text: str) -> str:
    return text.replace("-", "−", 1) if text.startswith("-") else text
