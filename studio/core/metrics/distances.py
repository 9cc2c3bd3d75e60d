"""Tables of distances between two sets, a block of rows at a time: |a - b|**2 = |a|**2 + |b|**2 - 2 a.b.

A whole table of 10,000 x 10,000 float64 numbers takes 800 MB; a block takes at most 32 MB.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

_BLOCK_NUMBERS = 4_000_000


def row_blocks(rows: int, columns: int) -> Iterator[slice]:
    """Slices that cover ``rows``, each of at most some four million numbers of a table with ``columns`` columns."""
    step = max(_BLOCK_NUMBERS // max(columns, 1), 1)
    for start in range(0, rows, step):
        yield slice(start, min(start + step, rows))


def squared_distances(a: np.ndarray, b: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """Squared Euclidean distances of ``a`` (N, F) to ``b`` (M, F): slices of a's rows with their (rows, M) part.

    float64, never negative. The caller may overwrite a block.
    """
    a, b = a.astype(np.float64, copy=False), b.astype(np.float64, copy=False)
    b_norms = np.einsum("ij,ij->i", b, b)
    for rows in row_blocks(len(a), len(b)):
        part = a[rows]
        # The factor goes first: it makes a new array, so that a block against itself takes the same path in BLAS as
        # any other, and equal rows get equal distances.
        block = (-2.0 * part) @ b.T
        block += np.einsum("ij,ij->i", part, part)[:, None]
        block += b_norms
        yield rows, np.maximum(block, 0.0, out=block)
