"""How good are a model's digits? Label accuracy and Frechet distance (FD) of its samples, as a table.

    python benchmarks/digit_quality.py MODEL [MODEL ...] --count 1000 --sampler ddim --steps 25 --guidance 0

FD is on the 128 features of ``digit_classifier.py`` against the 10,000 test images; the floor is as many real training
images, averaged over several draws. Samples take the ten classes in turn.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import torch
from common import parser, print_header, print_table
from digit_classifier import features, frechet, load, to_float
from torch import Tensor

from studio.core.checkpoints.native import load as load_model
from studio.core.data.images import MNIST
from studio.core.grids import LogSNR, Quadratic, Uniform
from studio.core.samplers.ancestral import Ancestral
from studio.core.samplers.ddim import DDIM
from studio.core.sampling import SampleKnobs, SampleSpec, sample
from studio.session.catalog import resolve
from studio.session.jobs import subject_of

BATCH = 100
SAMPLERS = {"ddim": DDIM(), "ancestral": Ancestral(), "ancestral-large": Ancestral(variance="large")}
GRIDS = {"log_snr": LogSNR(), "uniform": Uniform(), "quadratic": Quadratic()}


class Judge:
    """Scores digits that take the ten classes in turn."""

    def __init__(self) -> None:
        self.classifier = load()
        self._data = MNIST().load()
        self._reference = features(self.classifier, to_float(self._data.test))

    def distance(self, images: Tensor) -> float:
        """FD of images (B, 1, 28, 28) in [-1, 1] to the 10,000 test images."""
        return frechet(features(self.classifier, images), self._reference)

    def floor(self, count: int) -> float:
        """FD of ``count`` real training images, averaged over five draws."""
        draws = np.random.default_rng(0).permutation(len(self._data.train))[: 5 * count].reshape(5, -1)
        return float(np.mean([self.distance(to_float(self._data.train[rows])) for rows in draws]))

    @torch.no_grad()
    def right(self, images: Tensor) -> float:
        """Share of images that the classifier names as the class they were asked for."""
        named = torch.cat([self.classifier(part).argmax(1) for part in images.split(500)])
        return float((named == torch.arange(len(images)) % 10).float().mean())


def draw(path: Path, spec: SampleSpec) -> Tensor:
    """(count, 1, 28, 28) samples of a checkpoint, in [-1, 1]."""
    device = torch.device("cpu")
    subject, count, found = subject_of(load_model(path, device)), spec.knobs.count, []
    for start in range(0, count, BATCH):
        *_, last = sample(subject, spec, device, indices=range(start, min(start + BATCH, count)))
        found.append(last.x)
    return torch.cat(found)


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
    print_header(f"{chosen.count} samples, {chosen.sampler} {chosen.steps} on {chosen.grid}, w {chosen.guidance:g}")
    judge = Judge()
    knobs = SampleKnobs(
        steps=chosen.steps, seed=chosen.seed, count=chosen.count, guidance=chosen.guidance, label="each"
    )
    spec = SampleSpec(sampler=SAMPLERS[chosen.sampler], grid=GRIDS[chosen.grid], knobs=knobs)
    rows = [["real training images (floor)", f"{judge.floor(chosen.count):.2f}", "", ""]]
    for path in chosen.models:
        began = time.perf_counter()
        images = draw(resolve(path), spec)
        seconds = time.perf_counter() - began
        rows.append([str(path), f"{judge.distance(images):.2f}", f"{judge.right(images):.1%}", f"{seconds:.1f}"])
    print_table(("model", "FD", "labels", "seconds"), rows)


if __name__ == "__main__":
    main()
