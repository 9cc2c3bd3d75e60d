"""One curve's points, and as few of them as show the same picture.

A plot that is P pixels wide shows of each pixel column only its lowest and highest value, so at most 2 P points are
drawn: peaks stay visible, a million points cost as much as a thousand. Blocks of 64 points carry their own extremes, so
a frame looks at single points only where few are on a pixel.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

BLOCK = 64


class SeriesBuffer:
    """Points (x, y) in the order they came. ``append`` is amortised O(k) for k points; ``version`` counts changes.

    Non-finite y are gaps. If x does not ascend, :meth:`columns` returns every point.
    """

    def __init__(self) -> None:
        self.version = 0
        self.clear()

    def __len__(self) -> int:
        return self._count

    @property
    def x(self) -> Floats:
        """(n,) a view, not a copy."""
        return self._x[: self._count]

    @property
    def y(self) -> Floats:
        """(n,) a view, not a copy."""
        return self._y[: self._count]

    def clear(self) -> None:
        self._x = np.empty(256)
        self._y = np.empty(256)
        self._low = np.empty(4)
        self._high = np.empty(4)
        self._count = self._blocks = 0
        self._ascending = True
        self.version += 1

    def append(self, xs: ArrayLike, ys: ArrayLike) -> tuple[Floats, Floats]:
        """Add points, scalars or (k,), and return them as arrays. Raises ValueError if the lengths differ."""
        new_x, new_y = np.atleast_1d(np.asarray(xs, float)), np.atleast_1d(np.asarray(ys, float))
        if new_x.shape != new_y.shape or new_x.ndim != 1:
            raise ValueError(f"x and y of a series need the same length; got {new_x.shape} and {new_y.shape}.")
        if not len(new_x):
            return new_x, new_y
        start, end = self._count, self._count + len(new_x)
        self._x, self._y = _grown(self._x, start, end), _grown(self._y, start, end)
        self._x[start:end], self._y[start:end] = new_x, new_y
        self._count = end
        if self._ascending:
            self._ascending = bool(np.all(np.diff(self._x[max(start - 1, 0) : end]) >= 0))
        self._summarise(start, end)
        self.version += 1
        return new_x, new_y

    def columns(self, edges: Floats) -> tuple[Floats, Floats]:
        """The points to draw for pixel columns between ascending ``edges`` (P + 1,), in units of x.

        Returns x and y, (m,) each: the points themselves, with one neighbour on either side, while they are few; else
        each column's extremes, in the order in which the curve passes them. Where over 2 blocks share a column, an
        extreme may appear one column early.
        """
        if not self._ascending:
            return self.x, self.y
        x, y = self.x, self.y
        first = max(int(np.searchsorted(x, edges[0])) - 1, 0)
        last = min(int(np.searchsorted(x, edges[-1], side="right")) + 1, self._count)
        num_columns = len(edges) - 1
        if last - first <= 2 * num_columns:
            return x[first:last], y[first:last]
        if last - first > 2 * BLOCK * num_columns:
            return self._from_blocks(edges)
        return _reduce(edges, x[first:last], y[first:last], y[first:last])

    def _from_blocks(self, edges: Floats) -> tuple[Floats, Floats]:
        return _reduce(edges, self._x[: self._count : BLOCK], self._low[: self._blocks], self._high[: self._blocks])

    def _summarise(self, start: int, end: int) -> None:
        """Bring the blocks' extremes up to date after the points from ``start`` to ``end`` came."""
        first, whole, blocks = start // BLOCK, end // BLOCK, -(-end // BLOCK)
        self._low, self._high = _grown(self._low, first, blocks), _grown(self._high, first, blocks)
        if whole > first:
            block = self._y[first * BLOCK : whole * BLOCK].reshape(-1, BLOCK)
            self._low[first:whole], self._high[first:whole] = _extremes(block)
        if blocks > whole:
            self._low[whole:blocks], self._high[whole:blocks] = _extremes(self._y[None, whole * BLOCK : end])
        self._blocks = blocks


def _reduce(edges: Floats, x: Floats, low: Floats, high: Floats) -> tuple[Floats, Floats]:
    bounds = np.searchsorted(x, edges)
    bounds[-1] = max(bounds[-1], np.searchsorted(x, edges[-1], side="right"))
    starts, ends = bounds[:-1], bounds[1:]
    used = starts < ends
    starts, ends = starts[used], ends[used]
    if not len(starts):
        return np.empty(0), np.empty(0)
    lowest, highest = np.fmin.reduceat(low[: ends[-1]], starts), np.fmax.reduceat(high[: ends[-1]], starts)
    falls = low[starts] > low[ends - 1]
    out_x, out_y = np.empty(2 * len(starts)), np.empty(2 * len(starts))
    # A smooth curve has its extremes at the ends of a column: placed there, it is drawn without stairs.
    out_x[0::2], out_x[1::2] = x[starts], x[ends - 1]
    out_y[0::2], out_y[1::2] = np.where(falls, highest, lowest), np.where(falls, lowest, highest)
    return out_x, out_y


def _extremes(blocks: Floats) -> tuple[Floats, Floats]:
    return np.fmin.reduce(blocks, axis=1), np.fmax.reduce(blocks, axis=1)


def _grown(values: Floats, used: int, needed: int) -> Floats:
    if needed <= len(values):
        return values
    larger = np.empty(max(needed, 2 * len(values)))
    larger[:used] = values[:used]
    return larger


def finite_bounds(values: Floats) -> tuple[float, float] | None:
    """Least and greatest finite value, or None if there is none."""
    finite = values[np.isfinite(values)]
    return (float(finite.min()), float(finite.max())) if len(finite) else None
