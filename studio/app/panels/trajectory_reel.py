"""What one sampling run has shown so far: its frames, as pictures and as curves.

x_t is drawn from -r to r with r = sqrt(alpha**2 + (2 sigma)**2), so that two standard deviations of the noise and all
of a clean image fit; eps-hat from -2 to 2; x0-hat from -1 to 1. Frames may leave out steps: a *position* counts the
frames that came, ``frame.index`` is the true step.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from studio.core.events import Field, Frame
from studio.core.levels import Level, log_snr
from studio.session.jobs import SampleJob

EPS_REACH = 2.0
Pictures = tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint8]]


def to_bytes(values: NDArray, reach: float) -> NDArray[np.uint8]:
    """Numbers in [-reach, reach] as bytes; what lies beyond is clipped, and what is no number is black."""
    scaled = np.nan_to_num(values * np.float32(127.5 / reach) + np.float32(127.5), nan=0.0)
    return np.rint(np.clip(scaled, 0, 255)).astype(np.uint8)


@dataclass(eq=False)
class Reel:
    """The frames of ``job``, which visits ``levels`` (N + 1)."""

    job: SampleJob
    levels: list[Level]
    frames: list[Frame] = field(default_factory=list)
    fields: dict[int, Field] = field(default_factory=dict)
    _pictures: dict[int, Pictures] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def total(self) -> int:
        """N: the number of steps of the run."""
        return self.frames[-1].total if self.frames else len(self.levels) - 1

    @property
    def count(self) -> int:
        """How many images or points each frame has."""
        return len(self.frames[0].x) if self.frames else 0

    def position_at(self, index: float) -> int:
        """The position of the first frame at the true step ``index`` or after; the last one if none came yet."""
        found = next((at for at, frame in enumerate(self.frames) if frame.index >= index - 1e-9), None)
        return len(self.frames) - 1 if found is None else found

    def nearest(self, index: float) -> int:
        """The position of the frame whose true step is nearest to ``index``."""
        return int(np.abs(np.array([frame.index for frame in self.frames]) - index).argmin())

    def jump(self, position: int) -> tuple[Level, Level] | None:
        """The levels that the sampler goes between after this frame; None at the sample itself."""
        index = self.frames[position].index
        return (self.levels[index], self.levels[index + 1]) if index + 1 < len(self.levels) else None

    def pictures(self, position: int) -> Pictures:
        """x_t, x0-hat and eps-hat of all images, (B, C, H, W) each; made once."""
        if position not in self._pictures:
            frame = self.frames[position]
            self._pictures[position] = (
                to_bytes(frame.x, _reach(frame)),
                to_bytes(frame.x0, 1.0),
                to_bytes(frame.eps, EPS_REACH),
            )
        return self._pictures[position]

    def strip(self, image: int, start: int = 0) -> list[NDArray[np.uint8]]:
        """x_t above x0-hat of one image for every frame from position ``start``, (2, C, H, W) each."""
        return [
            np.stack([to_bytes(frame.x[image], _reach(frame)), to_bytes(frame.x0[image], 1.0)])
            for frame in self.frames[start:]
        ]

    def curves(self) -> dict[str, NDArray[np.float64]]:
        """(frames,) each: ``step``, ``log_snr`` scaled to [0, 1] over the run, ``x0_change`` and ``eps_norm``.

        NaN where there is nothing to tell: the clean end has no eps and no log-SNR, the start no change.
        """
        steps = np.array([frame.index for frame in self.frames], float)
        ratios = np.array([frame_log_snr(frame) for frame in self.frames])
        ends = [value for level in self.levels if math.isfinite(value := float(log_snr(level)))]
        low, high = min(ends, default=0.0), max(ends, default=1.0)
        scaled = (ratios - low) / max(high - low, 1e-9)
        changes = np.array([frame.x0_change if frame.index else math.nan for frame in self.frames])
        norms = np.array([frame.eps_norm if frame.sigma > 0.0 else math.nan for frame in self.frames])
        return {
            "step": steps,
            "log_snr": np.where(np.isfinite(scaled), scaled, np.nan),
            "x0_change": changes,
            "eps_norm": norms,
        }


def frame_log_snr(frame: Frame) -> float:
    """ln(alpha**2 / sigma**2) of a frame; infinite at its ends."""
    return float(log_snr(Level(frame.alpha, frame.sigma)))


def _reach(frame: Frame) -> float:
    return math.hypot(frame.alpha, 2.0 * frame.sigma)
