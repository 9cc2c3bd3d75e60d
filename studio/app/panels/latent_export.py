"""What the latent workspace writes: pad, result, a step's draws and a walk as pictures, the walk as an animation too.

Everything here runs in a thread of its own, on arrays alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from studio.app.panels.compare_export import write_csv, write_png
from studio.core.files import replacing
from studio.core.pictures import mosaic, scatter
from studio.session.latent import SIDE
from studio.session.latent_files import Kept, write

FRAME_MILLISECONDS = 40
_LEAST_SIDE, _POINTS_SIDE = 256, 256


@dataclass(frozen=True, eq=False)
class Shown:
    """What is in sight: the pad's items (SIDE**2, ...), the result, the draws of each step with their spread, a walk.

    Images are uint8, points float32; the walk is (F, ...), in order.
    """

    kept: Kept
    pad: np.ndarray
    result: np.ndarray
    draws: Sequence[tuple[np.ndarray, float]]
    walk: np.ndarray


def write_shown(folder: Path, shown: Shown) -> str:
    """Write all of it into ``folder``; returns what to say of it. Raises OSError where that cannot be written."""
    write(folder / "z.json", shown.kept)
    write_png(folder / "pad.png", _sheet(shown.pad, SIDE))
    write_png(folder / "result.png", _sheet(shown.result[None], 1))
    write_png(folder / "walk.png", _sheet(shown.walk, 12))
    write_animation(folder / "walk.gif", shown.walk)
    if shown.draws:
        num_steps = len(shown.draws)
        items = np.concatenate([found for found, _ in shown.draws])
        write_png(folder / "draws.png", _sheet(items, len(shown.draws[0][0])))
        rows = [(num_steps - index, f"{spread:.6g}") for index, (_, spread) in enumerate(shown.draws)]
        write_csv(folder / "spread.csv", ("step", "spread"), rows)
    return f"Exported to {folder}: the pad, the result, the draws, the walk as picture and animation, and z.json."


def write_animation(path: Path, walk: np.ndarray) -> None:
    """A walk (F, ...) to and fro as an animated GIF without end."""
    frames = [_frame(walk, index) for index in [*range(len(walk)), *range(len(walk) - 2, 0, -1)]]
    # Colours of its own for each frame: the fixed palette that GIF falls back on has six greys.
    pictures = [Image.fromarray(frame).quantize() for frame in frames]
    with replacing(path) as part:
        pictures[0].save(
            part, "GIF", save_all=True, append_images=pictures[1:], duration=FRAME_MILLISECONDS, loop=0, disposal=1
        )


def _frame(walk: np.ndarray, index: int) -> np.ndarray:
    """One frame as a picture (H, W, 3); of points, all those up to it."""
    return _sheet(walk[: index + 1] if walk.ndim == 2 else walk[index : index + 1], 1)


def _sheet(items: np.ndarray, columns: int) -> np.ndarray:
    """Images (B, C, H, W) or points (B, D) as one picture (H, W, 3), large enough to look at."""
    if items.ndim == 2:
        return mosaic(scatter(items, _POINTS_SIDE)[None], 1, 0)
    whole = mosaic(items, columns)
    times = max(2, round(_LEAST_SIDE / min(whole.shape[:2])))
    return whole.repeat(times, 0).repeat(times, 1)
