"""Training, rewound: the same noise denoised by one model at several steps of its training.

The answer is a table of what the network believes (x0-hat): a row for each snapshot, the model itself last, and a
column for each noise level that the sampler visits, from pure noise to the sample.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from studio.core import events, snapshots
from studio.core.checkpoints.header import read_header
from studio.core.checkpoints.native import load
from studio.core.device import choose
from studio.core.levels import Level, log_snr
from studio.core.runs import Run, spread
from studio.core.sampling import SampleSpec, levels_of, sample, subject_of
from studio.session.control import Control
from studio.session.jobs import to_items

MOST_ROWS, MOST_COLUMNS = 10, 13
NO_SNAPSHOTS = (
    "This model has no snapshots of its training. Models trained here have some, unless their setting Rewind was 0 MB."
)


def snapshots_of(model: Path, last: int) -> list[tuple[int, Path]]:
    """The snapshots of the run that a checkpoint of step ``last`` belongs to, (step, file) ascending, before ``last``.

    Empty for a checkpoint outside a run. Only the folder is listed. Raises OSError where it cannot be.
    """
    run = Run(model.parent.parent)
    if model != run.model:
        return []
    return [(step, path) for step, path in snapshots.found_in(run.snapshots) if step < last]


@dataclass(frozen=True)
class RewindJob:
    """Sample as ``spec`` says from at most ``most_rows`` - 1 snapshots of the training of ``path``, and from ``path``.

    ``path`` is a run's checkpoint. Of more levels than ``most_columns``, evenly chosen ones are told. Raises
    ValueError where there are no snapshots.
    """

    path: Path
    spec: SampleSpec
    most_rows: int = MOST_ROWS
    most_columns: int = MOST_COLUMNS
    device: str = "auto"

    def __call__(self, control: Control) -> Iterator[events.Event | None]:
        yield events.Status(text="Looking for snapshots")
        last = read_header(self.path).step
        found = snapshots_of(self.path, last)
        if not found:
            raise ValueError(NO_SNAPSHOTS)
        device = choose(self.device)  # type: ignore[arg-type]
        rows = [found[k] for k in spread(len(found), self.most_rows - 1)]
        rows.append((last, self.path))
        for row, (trained, path) in enumerate(rows):
            yield events.Status(text=f"Rewinding · training step {trained:,} · {row + 1} of {len(rows)}")
            subject = subject_of(load(path, device))
            levels = levels_of(self.spec, subject.schedule)
            shown = spread(len(levels), self.most_columns)
            if row == 0:
                yield events.TableShape(
                    rows=tuple(f"{step:,}" for step, _ in rows),
                    columns=tuple(_name(levels[index]) for index in shown),
                    row_title="training step",
                    column_title="log-SNR, from noise to sample",
                )
            for step in sample(subject, self.spec, device):
                if control.stopping:
                    return
                if step.index not in shown:
                    yield None
                    continue
                yield events.Tile(
                    row=row,
                    column=shown.index(step.index),
                    images=to_items(step.x0, subject),
                    caption=_caption(trained, levels[step.index]),
                )


def _name(level: Level) -> str:
    ratio = float(log_snr(level))
    return f"{ratio:.1f}".replace("-", "−") if math.isfinite(ratio) else "sample" if ratio > 0 else "noise"


def _caption(trained: int, level: Level) -> str:
    ratio = float(log_snr(level))
    if ratio == math.inf:
        return f"after step {trained:,}, without noise: the sample"
    return f"after step {trained:,}, at log-SNR {_name(level)}: what the network believes"
