"""Snapshots of the averaged weights by which a training is rewound: which steps are kept, within how much disk.

Of N steps and with s = N / 100, the k-th of K snapshots is of the step nearest to s (101**(k / (K + 1)) - 1): evenly
spaced in log(step + s), dense at the beginning, where samples change fastest. The end of the run is the model itself.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path

MOST = 24
"""Snapshots that a run keeps at most, however small they are."""
_EARLY = 0.01
_NAME = re.compile(r"step-(\d+)\.safetensors")


def planned(steps: int, count: int) -> list[int]:
    """The steps of ``count`` snapshots of a run of ``steps``, ascending, in [1, steps); fewer where they coincide."""
    early = _EARLY * steps
    growth = math.log1p(1.0 / _EARLY) / (count + 1)
    found = {round(early * math.expm1(growth * k)) for k in range(1, count + 1)}
    return sorted(step for step in found if 1 <= step < steps)


def thinned(there: Sequence[int], count: int, steps: int) -> list[int]:
    """Which ``count`` of the ascending steps ``there`` to keep: the closest to their neighbours go, the older first.

    The first and the last stay as long as two are kept.
    """
    kept, early = list(there), _EARLY * steps
    while len(kept) > count:
        gaps = [(after + early) / (before + early) for before, after in zip(kept, kept[2:], strict=False)]
        del kept[1 + gaps.index(min(gaps)) if gaps else 0]
    return kept


def found_in(folder: Path) -> list[tuple[int, Path]]:
    """The snapshots in a folder by step, ascending."""
    names = [(_NAME.fullmatch(path.name), path) for path in folder.iterdir()] if folder.is_dir() else []
    return sorted((int(name[1]), path) for name, path in names if name is not None)


class Series:
    """The snapshots of one run in ``folder``: at most ``budget`` bytes, of which one takes about ``size``."""

    def __init__(self, folder: Path, steps: int, budget: int, size: int) -> None:
        self.folder, self.steps, self.budget, self.size = folder, steps, budget, size
        self.count = min(MOST, budget // size)
        self._due = frozenset(planned(steps, self.count))

    def due(self, step: int) -> bool:
        """Whether a snapshot belongs to ``step``."""
        return step in self._due

    def begin(self, step: int) -> None:
        """Fit what an earlier part of the run left to this: steps after ``step`` are taken again. Raises OSError."""
        for taken, path in found_in(self.folder):
            if taken > step:
                path.unlink()
        self._make_room(0, 0)

    def add(self, step: int, write: Callable[[Path], None]) -> Path:
        """Let ``write`` put the snapshot of ``step`` where it belongs. Raises OSError, leaving the others whole.

        What it would push over the budget goes before it comes, so the folder is never larger than the budget.
        """
        path = self.folder / f"step-{step:07d}.safetensors"
        path.unlink(missing_ok=True)
        self._make_room(1, self.size)
        write(path)
        if path.stat().st_size > self.size:
            self.size = path.stat().st_size
            self._make_room(0, 0)
        return path

    def _make_room(self, more: int, size: int) -> None:
        """Thin the series until ``more`` snapshots of ``size`` bytes fit in as well."""
        there = dict(found_in(self.folder))
        sizes = {step: path.stat().st_size for step, path in there.items()}
        kept = sorted(there)
        while kept and (len(kept) + more > self.count or sum(sizes[step] for step in kept) + size > self.budget):
            kept = thinned(kept, len(kept) - 1, self.steps)
        for step in there.keys() - set(kept):
            with contextlib.suppress(FileNotFoundError):
                there[step].unlink()
