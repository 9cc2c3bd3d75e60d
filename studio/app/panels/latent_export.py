"""What the latent workspace writes: pad, result, a step's draws and a walk as pictures, the walk as an animation too.

Everything here runs in a thread of its own, on arrays alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from studio.app.panels.compare_export import labelled, write_csv, write_png
from studio.core.files import replacing
from studio.core.pictures import mosaic, scatter
from studio.session.latent import SIDE
from studio.session.latent_files import Kept, write

FRAME_MILLISECONDS = 40
_LEAST_SIDE, _POINTS_SIDE = 256, 320
_EXTENT = 3.0
_SMOOTH = 2  # points are drawn this many times larger, then averaged
_NIGHT, _DATA, _POINT = (16, 16, 16), (92, 98, 110), (91, 140, 255)


@dataclass(frozen=True, eq=False)
class Shown:
    """What is in sight: the pad's items (SIDE**2, ...), the result, the draws of each step with their spread, a walk.

    Images are uint8, points float32; the walk is (F, ...), in order. ``data`` (M, D) lies behind points.
    """

    kept: Kept
    pad: np.ndarray
    result: np.ndarray
    draws: Sequence[tuple[np.ndarray, float]]
    walk: np.ndarray
    data: np.ndarray


def write_shown(folder: Path, shown: Shown) -> str:
    """Write all of it into ``folder``; returns what to say of it. Raises OSError where that cannot be written."""
    write(folder / "z.json", shown.kept)
    if shown.pad.ndim == 2:
        _write_points(folder, shown)
    else:
        _write_images(folder, shown)
    if shown.draws:
        rows = [(len(shown.draws) - index, f"{spread:.6g}") for index, (_, spread) in enumerate(shown.draws)]
        write_csv(folder / "spread.csv", ("step", "spread"), rows)
    return f"Exported to {folder}: the pad, the result, the draws, the walk as picture and animation, and z.json."


def _write_images(folder: Path, shown: Shown) -> None:
    write_png(folder / "pad.png", _sheet(shown.pad, SIDE))
    write_png(folder / "result.png", _sheet(shown.result[None], 1))
    write_png(folder / "walk.png", _sheet(shown.walk, 12))
    write_animation(folder / "walk.gif", [_sheet(image[None], 1) for image in shown.walk])
    if shown.draws:
        items = np.concatenate([found for found, _ in shown.draws])
        write_png(folder / "draws.png", _sheet(items, len(shown.draws[0][0])))


def _write_points(folder: Path, shown: Shown) -> None:
    backdrop = _dotted(None, shown.data, _DATA, 1.2)
    write_png(folder / "pad.png", _points(backdrop, shown.pad))
    write_png(folder / "result.png", _points(backdrop, shown.result[None]))
    write_png(folder / "walk.png", _points(backdrop, shown.walk))
    write_animation(folder / "walk.gif", [_points(backdrop, point[None]) for point in shown.walk])
    if shown.draws:
        titles = [f"step {len(shown.draws) - i} · spread {spread:.2f}" for i, (_, spread) in enumerate(shown.draws)]
        write_png(folder / "draws.png", labelled([_points(backdrop, found) for found, _ in shown.draws], titles))


def write_animation(path: Path, frames: Sequence[np.ndarray]) -> None:
    """Pictures (H, W, 3) to and fro as an animated GIF without end."""
    # Colours of its own for each frame: the fixed palette that GIF falls back on has six greys.
    pictures = [Image.fromarray(frame).quantize() for frame in [*frames, *frames[-2:0:-1]]]
    with replacing(path) as part:
        pictures[0].save(
            part, "GIF", save_all=True, append_images=pictures[1:], duration=FRAME_MILLISECONDS, loop=0, disposal=1
        )


def _sheet(images: np.ndarray, columns: int) -> np.ndarray:
    """Images (B, C, H, W) as one picture (H, W, 3), large enough to look at."""
    whole = mosaic(images, columns)
    times = max(2, round(_LEAST_SIDE / min(whole.shape[:2])))
    return whole.repeat(times, 0).repeat(times, 1)


def _points(backdrop: Image.Image, points: np.ndarray) -> np.ndarray:
    """Points (B, 2) over the data, or the density of (B, 1), as a picture (H, W, 3)."""
    if points.shape[1] == 1:
        return mosaic(scatter(points, _POINTS_SIDE)[None], 1, 0)
    whole = _dotted(backdrop, points, _POINT, 3.5 if len(points) < 100 else 2.0)
    return np.asarray(whole.resize((_POINTS_SIDE, _POINTS_SIDE), Image.Resampling.BOX))


def _dotted(below: Image.Image | None, points: np.ndarray, color: tuple[int, int, int], radius: float) -> Image.Image:
    """Dots at points (B, 2) on a picture, or on an empty one."""
    side = _SMOOTH * _POINTS_SIDE
    whole = Image.new("RGB", (side, side), _NIGHT) if below is None else below.copy()
    draw, reach = ImageDraw.Draw(whole), _SMOOTH * radius
    if points.shape[1] == 2:
        for x, y in (side / 2 * (1.0 + points * (1.0, -1.0) / _EXTENT)).tolist():
            draw.ellipse((x - reach, y - reach, x + reach, y + reach), fill=color)
    return whole
