"""Draws the icon: noise on the left turns, in four steps to the right, into a clean white disc.

    python assets/make_icon.py

writes ``icon.svg``, ``icon-256.png`` and ``icon.ico`` beside this file; the same files each time.

The picture is a 16 x 16 grid, so each cell is exactly one pixel at the smallest size. A cell of column band k shows
``(1 - n_k) * disc + n_k * noise``, the forward process of a diffusion with noise share n_k falling from left to right.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from PIL import Image
from PySide6.QtGui import QImage, QPainter
from PySide6.QtSvg import QSvgRenderer

SIZE, CELL = 512, 32
CENTRE, RADIUS = (SIZE * 0.5, SIZE * 0.5), 160.0
# The first column of each band, and its share of noise; from the last band on the disc is drawn as a true curve.
BANDS = ((1, 1.0), (3, 0.8), (5, 0.5), (7, 0.2))
CLEAN_FROM = 9
SEED = 13
OUT = Path(__file__).parent


def coverage(column: int, row: int) -> float:
    """The share of one cell, in [0, 1], that lies inside the disc."""
    offsets = (np.arange(8) + 0.5) / 8
    x = (column + offsets)[None, :] * CELL - CENTRE[0]
    y = (row + offsets)[:, None] * CELL - CENTRE[1]
    return float((x * x + y * y < RADIUS * RADIUS).mean())


def cloud(column: int, row: int) -> float:
    """How far the noise reaches: 1 inside the disc, falling to 0 at the icon's edge."""
    distance = np.hypot((column + 0.5) * CELL - CENTRE[0], (row + 0.5) * CELL - CENTRE[1])
    return float(np.clip((RADIUS + 76 - distance) / 76, 0, 1))


def cells() -> str:
    """The noisy cells as SVG squares, white with an opacity in [0, 1]."""
    noise = np.random.default_rng(SEED).beta(0.4, 0.55, size=(16, 16))
    starts = [start for start, _ in BANDS] + [CLEAN_FROM]
    squares = []
    for (start, share), end in zip(BANDS, starts[1:], strict=True):
        for column in range(start, end):
            for row in range(1, 15):
                grain = cloud(column, row) * float(noise[row, column])
                opacity = (1 - share) * coverage(column, row) + share * grain
                if opacity > 0.04:
                    place = f'x="{column * CELL}" y="{row * CELL}"'
                    squares.append(f'<rect {place} width="{CELL}" height="{CELL}" fill-opacity="{opacity:.2f}"/>')
    return "\n    ".join(squares)


def svg() -> str:
    """The whole icon as SVG text."""
    x, y = CLEAN_FROM * CELL, CENTRE[1]
    reach = math.sqrt(RADIUS**2 - (x - CENTRE[0]) ** 2)
    disc = f"M{x} {y - reach:.1f}A{RADIUS:g} {RADIUS:g} 0 0 1 {x} {y + reach:.1f}Z"
    return f"""<svg xmlns="http://www.w3.org/2000/svg" width="{SIZE}" height="{SIZE}" viewBox="0 0 {SIZE} {SIZE}">
  <defs>
    <linearGradient id="ground" x1="0" y1="0" x2="0" y2="1">
      <stop offset="0" stop-color="#6f9bff"/>
      <stop offset="1" stop-color="#2f5fe8"/>
    </linearGradient>
  </defs>
  <rect width="512" height="512" rx="116" fill="url(#ground)"/>
  <g fill="#ffffff" shape-rendering="crispEdges">
    {cells()}
  </g>
  <path d="{disc}" fill="#ffffff"/>
</svg>
"""


def draw(text: str, size: int) -> Image.Image:
    """The icon at size x size pixels."""
    canvas = QImage(size, size, QImage.Format.Format_ARGB32_Premultiplied)
    canvas.fill(0)
    painter = QPainter(canvas)
    QSvgRenderer(text.encode()).render(painter)
    painter.end()
    canvas.convertTo(QImage.Format.Format_RGBA8888)
    return Image.frombytes("RGBA", (size, size), bytes(canvas.constBits()))


def main() -> None:
    text = svg()
    (OUT / "icon.svg").write_text(text, encoding="utf-8")
    draw(text, 256).save(OUT / "icon-256.png", optimize=True)
    # Each size is drawn on its own: a shrunken large picture would blur the cells.
    images = [draw(text, size) for size in (256, 128, 64, 48, 32, 16)]
    images[0].save(OUT / "icon.ico", sizes=[image.size for image in images], append_images=images[1:])


if __name__ == "__main__":
    main()
