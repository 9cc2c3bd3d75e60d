"""Pictures as arrays and files: mosaics of images, small drawings of point sets, PNG bytes."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
from PIL import Image

from studio.core.files import replacing

_GROUND = 16
"""The near-black around and between pictures."""
_SCALE = 2
"""How much larger samples are drawn in a file."""


def mosaic(images: np.ndarray, columns: int | None = None, gap: int = 1) -> np.ndarray:
    """(B, C, H, W) uint8, C 1 or 3, as one (rows * H', columns * W', 3) picture on near-black, row by row."""
    count, _, height, width = images.shape
    columns = columns or math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    sheet = np.full((rows * columns, height + gap, width + gap, 3), _GROUND, np.uint8)
    sheet[:count, :height, :width] = np.broadcast_to(images.transpose(0, 2, 3, 1), (count, height, width, 3))
    whole = sheet.reshape(rows, columns, height + gap, width + gap, 3).swapaxes(1, 2)
    return whole.reshape(rows * (height + gap), columns * (width + gap), 3)[: -gap or None, : -gap or None]


def pieces(picture: np.ndarray, shape: tuple[int, int, int], gap: int = 1) -> np.ndarray:
    """The images (B, C, H, W) of ``shape`` that a :func:`mosaic` was made of; places that were left empty are left out.

    Raises ValueError for a picture that is none of such images.
    """
    channels, height, width = shape
    rows, columns = (picture.shape[0] + gap) // (height + gap), (picture.shape[1] + gap) // (width + gap)
    whole = np.full((rows * (height + gap), columns * (width + gap), 3), _GROUND, np.uint8)
    if not rows or not columns or whole[: -gap or None, : -gap or None].shape != picture.shape:
        raise ValueError(f"a picture of {picture.shape[1]} x {picture.shape[0]} is no mosaic of {width} x {height}")
    whole[: -gap or None, : -gap or None] = picture
    cells = whole.reshape(rows, height + gap, columns, width + gap, 3).swapaxes(1, 2)[:, :, :height, :width]
    found = cells.reshape(-1, height, width, 3).transpose(0, 3, 1, 2)[:, :channels]
    used = (found != _GROUND).any((1, 2, 3))
    return found[: int(used.nonzero()[0].max(initial=-1)) + 1].copy()


def scatter(points: np.ndarray, size: int = 64, extent: float = 2.8) -> np.ndarray:
    """(B, D) points as a (1, size, size) uint8 picture: density in a square for D >= 2, bars for D = 1."""
    edges = np.linspace(-extent, extent, size + 1)
    if points.shape[1] == 1:
        heights = np.histogram(points[:, 0], edges)[0]
        rows = np.arange(size)[::-1, None]
        return np.where(rows < heights / max(heights.max(), 1) * size * 0.9, 230, 16).astype(np.uint8)[None]
    density = np.histogram2d(-points[:, 1], points[:, 0], (edges, edges))[0]
    level = np.sqrt(density / max(np.quantile(density, 0.99), 1.0)).clip(0, 1)
    return (16 + 230 * level).astype(np.uint8)[None]


def png(picture: np.ndarray) -> bytes:
    """(H, W, 3) uint8 as PNG bytes."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def thumbnail(items: np.ndarray) -> bytes:
    """PNG bytes that stand for a model in the library: four of its images, or its points."""
    if items.ndim == 2:
        return png(mosaic(scatter(items)[None], 1, 0))
    return png(mosaic(items[:4], 2))


def read_png(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """What :func:`save_png` wrote: images (B, C, H, W) uint8 of ``shape``; of points their drawing, (1, 1, H, W).

    Raises OSError and ValueError for what it did not write.
    """
    with Image.open(path) as file:
        picture = np.asarray(file.convert("RGB"))
    if len(shape) == 1:
        return picture[None, None, :, :, 0]
    channels, height, width = shape
    return pieces(picture[::_SCALE, ::_SCALE], (channels, height, width))


def save_png(path: Path, items: np.ndarray) -> None:
    """Write samples, images (B, C, H, W) uint8 or points (B, D), as a picture, whole or not at all."""
    if items.ndim == 2:
        sheet = mosaic(scatter(items, 256)[None], 1, 0)
    else:
        sheet = mosaic(items).repeat(_SCALE, 0).repeat(_SCALE, 1)
    with replacing(path) as part:
        part.write_bytes(png(sheet))
