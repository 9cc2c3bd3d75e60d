"""What the Compare workspace writes: pictures, an animation, numbers, and the commands that make them again.

Everything here runs in a thread of its own, on arrays alone.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from studio.core.files import replacing, write_text
from studio.core.pictures import mosaic, png, save_png, scatter
from studio.session.compare import LaneSpec, command

ANIMATION_FRAMES = 60
_FRAME_MILLISECONDS, _LAST_MILLISECONDS = 60, 1500
_POINTS_SIDE = 256
_TITLE, _GAP, _PAPER, _INK = 26, 12, 255, 27
_LEAST_SIDE = 160


@dataclass(frozen=True, eq=False)
class LaneResult:
    """A complete lane: its frames (B, ...) with their log-SNRs, the last one the samples, and what they cost."""

    title: str
    lane: LaneSpec
    log_snrs: tuple[float, ...]
    frames: tuple[np.ndarray, ...]
    nfe: int
    seconds: float
    deviation: float | None


def write_lanes(folder: Path, results: Sequence[LaneResult], reference_steps: int | None) -> str:
    """A picture of each lane, all of them as picture and animation, a table, and ``reproduce.sh``.

    Returns what to say of it. Raises OSError where the folder cannot be written.
    """
    names = [f"{order}-{slug(result.title)}.png" for order, result in enumerate(results, 1)]
    for name, result in zip(names, results, strict=True):
        save_png(folder / name, result.frames[-1])
    titles = [result.title for result in results]
    write_png(folder / "comparison.png", labelled([_sheet(result.frames[-1]) for result in results], titles))
    write_animation(folder / "comparison.gif", results)
    rows = [
        (
            result.title,
            result.nfe,
            f"{result.seconds:.3f}",
            "" if result.deviation is None else f"{result.deviation:.6g}",
        )
        for result in results
    ]
    head = f"rms_to_ddim_{reference_steps}" if reference_steps is not None else "rms_to_reference"
    write_csv(folder / "lanes.csv", ("lane", "network_calls", "seconds", head), rows)
    lines = [command(result.lane, name) for name, result in zip(names, results, strict=True)]
    write_script(folder / "reproduce.sh", "Makes the pictures of the lanes again.", lines)
    return f"Exported {len(results)} lanes to {folder}: pictures, an animation, a table and reproduce.sh."


def write_animation(path: Path, results: Sequence[LaneResult]) -> None:
    """All lanes from noise to samples at the same noise levels, as an animated GIF that ends on the samples."""
    levels = sorted({level for result in results for level in result.log_snrs})
    chosen = np.unique(np.linspace(0, len(levels) - 1, min(len(levels), ANIMATION_FRAMES)).round().astype(int))
    titles = [result.title for result in results]
    pictures = []
    for level in (levels[index] for index in chosen):
        shown = [result.frames[int(np.abs(np.array(result.log_snrs) - level).argmin())] for result in results]
        # Colours of its own for each frame: the fixed palette that GIF falls back on has six greys.
        pictures.append(Image.fromarray(labelled([_sheet(frame) for frame in shown], titles)).quantize())
    times = [_FRAME_MILLISECONDS] * (len(pictures) - 1) + [_LAST_MILLISECONDS]
    with replacing(path) as part:
        pictures[0].save(part, "GIF", save_all=True, append_images=pictures[1:], duration=times, loop=0)


def write_script(path: Path, purpose: str, lines: Iterable[str]) -> None:
    """A shell script of ``lines`` that runs in its own folder."""
    text = "\n".join(["#!/bin/sh", f"# {purpose}", "set -e", 'cd "$(dirname "$0")"', *lines])
    write_text(path, text + "\n")


def write_csv(path: Path, head: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Comma-separated values."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    write_text(path, out.getvalue())


def write_png(path: Path, picture: np.ndarray) -> None:
    """(H, W, 3) uint8 as a PNG, whole or not at all."""
    with replacing(path) as part:
        part.write_bytes(png(picture))


def labelled(sheets: Sequence[np.ndarray], titles: Sequence[str]) -> np.ndarray:
    """Pictures (H, W, 3) uint8 side by side on white, each under its title."""
    height = max(sheet.shape[0] for sheet in sheets)
    font = ImageFont.load_default(13)
    widths = [
        max(sheet.shape[1], round(font.getlength(title)) + 1) for sheet, title in zip(sheets, titles, strict=True)
    ]
    size = (sum(widths) + _GAP * (len(sheets) + 1), height + _TITLE + 2 * _GAP)
    whole = Image.new("RGB", size, (_PAPER,) * 3)
    draw, left = ImageDraw.Draw(whole), _GAP
    for sheet, title, width in zip(sheets, titles, widths, strict=True):
        draw.text((left, _GAP), title, fill=(_INK,) * 3, font=font)
        whole.paste(Image.fromarray(sheet), (left, _GAP + _TITLE))
        left += width + _GAP
    return np.asarray(whole)


def slug(title: str) -> str:
    """A title as a file name: ``DDIM η 1 · 12`` is ``ddim-eta-1-12``."""
    words = title.lower().replace("η", "eta").replace("σ²", "variance")
    return re.sub(r"[^a-z0-9.]+", "-", words).strip("-") or "lane"


def _sheet(items: np.ndarray) -> np.ndarray:
    """Images (B, C, H, W) uint8 or points (B, D) as one picture (H, W, 3), large enough to look at."""
    if items.ndim == 2:
        return mosaic(scatter(items, _POINTS_SIDE)[None], 1, 0)
    whole = mosaic(items)
    times = max(1, round(_LEAST_SIDE / max(whole.shape[:2])), 2)
    return whole.repeat(times, 0).repeat(times, 1)
