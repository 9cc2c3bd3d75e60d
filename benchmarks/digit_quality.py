"""How good are a model's digits? Label accuracy and Frechet distance (FD) of its samples, as a table.

    python benchmarks/digit_quality.py MODEL [MODEL ...] --count 1000 --sampler ddim --steps 25 --guidance 0

FD is on the features of the studio's MNIST classifier against the 10,000 test images; the floor is as many real
training images, averaged over several draws. Samples take the ten classes in turn. `denoising-studio evaluate` measures
more, of any data; this table is for a quick look at digits.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch
from common import parser, print_header, print_table

from studio.core import features
from studio.core.checkpoints.native import load
from studio.core.checkpoints.places import resolve
from studio.core.data.images import MNIST
from studio.core.grids import LogSNR, Quadratic, Uniform
from studio.core.metrics.base import floor, measure
from studio.core.metrics.classifier import Classifier
from studio.core.metrics.frechet import FrechetDistance
from studio.core.samplers.ancestral import Ancestral
from studio.core.samplers.ddim import DDIM
from studio.core.sampling import SampleKnobs, SampleSpec, sample, subject_of, to_uint8

BATCH = 100
SAMPLERS = {"ddim": DDIM(), "ancestral": Ancestral(), "ancestral-large": Ancestral(variance="large")}
GRIDS = {"log_snr": LogSNR(), "uniform": Uniform(), "quadratic": Quadratic()}


class Judge:
    """Scores digits (N, 1, 28, 28), uint8, that take the ten classes in turn."""

    def __init__(self) -> None:
        self._data = MNIST().load()
        self._reference = features.reference_for(self._data)

    @property
    def network(self) -> str:
        """What looks at the digits."""
        return self._reference.network

    def scores(self, images: np.ndarray) -> tuple[float, float]:
        """FD to the 10,000 test images, and the share of images that are named as the class they were asked for."""
        evidence = features.judge(images, np.arange(len(images)) % 10, self._data)
        distance = measure(FrechetDistance(), evidence, self._reference)
        return distance["fd"].value, measure(Classifier(), evidence, self._reference)["accuracy"].value

    def floor(self, count: int) -> float:
        """FD of ``count`` real training images."""
        return floor(FrechetDistance(), self._reference, count)["fd"].value


def draw(path: Path, spec: SampleSpec) -> np.ndarray:
    """uint8 (count, 1, 28, 28) samples of a checkpoint."""
    device = torch.device("cpu")
    subject, count, found = subject_of(load(path, device)), spec.knobs.count, []
    for start in range(0, count, BATCH):
        *_, last = sample(subject, spec, device, indices=range(start, min(start + BATCH, count)))
        found.append(to_uint8(last.x).numpy())
    return np.concatenate(found)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("models", nargs="+", type=Path)
    options.add_argument("--count", type=int, default=1000)
    options.add_argument("--sampler", choices=SAMPLERS, default="ddim")
    options.add_argument("--grid", choices=GRIDS, default="log_snr")
    options.add_argument("--steps", type=int, default=25)
    options.add_argument("--guidance", type=float, default=0.0)
    options.add_argument("--seed", type=int, default=0)
    chosen = options.parse_args()
    judge = Judge()
    print_header(
        f"{chosen.count} samples, {chosen.sampler} {chosen.steps} on {chosen.grid}, w {chosen.guidance:g}",
        judge.network,
    )
    knobs = SampleKnobs(
        steps=chosen.steps, seed=chosen.seed, count=chosen.count, guidance=chosen.guidance, label="each"
    )
    spec = SampleSpec(sampler=SAMPLERS[chosen.sampler], grid=GRIDS[chosen.grid], knobs=knobs)
    rows = [["real training images (floor)", f"{judge.floor(chosen.count):.2f}", "", ""]]
    for path in chosen.models:
        began = time.perf_counter()
        images = draw(resolve(path), spec)
        seconds = time.perf_counter() - began
        distance, right = judge.scores(images)
        rows.append([str(path), f"{distance:.2f}", f"{right:.1%}", f"{seconds:.1f}"])
    print_table(("model", "FD", "labels", "seconds"), rows)


if __name__ == "__main__":
    main()
