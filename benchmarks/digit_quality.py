"""How good are a model's digits? Label accuracy and Frechet distance (FD) of its samples, as a table.

    python benchmarks/digit_quality.py MODEL [MODEL ...] --count 1000 --sampler ddim --steps 25 --guidance 0

FD is on the 128 features of ``digit_classifier.py`` against the 10,000 test images; the floor is as many real training
images, averaged over several draws. Samples take the ten classes in turn.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from digit_classifier import features, frechet, load, to_float

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", type=Path)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--sampler", choices=SAMPLERS, default="ddim")
    parser.add_argument("--grid", choices=GRIDS, default="log_snr")
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--guidance", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.manual_seed(0)
    classifier = load()
    data = MNIST().load()
    reference = features(classifier, to_float(data.test))
    draws = np.random.default_rng(0).permutation(len(data.train))[: 5 * options.count].reshape(5, -1)
    floor = np.mean([frechet(features(classifier, to_float(data.train[rows])), reference) for rows in draws])
    spec = SampleSpec(
        sampler=SAMPLERS[options.sampler],
        grid=GRIDS[options.grid],
        knobs=SampleKnobs(
            steps=options.steps, seed=options.seed, count=options.count, guidance=options.guidance, label="each"
        ),
    )
    print(f"{options.count} samples, {options.sampler} {options.steps} on {options.grid}, w {options.guidance:g}")
    print(f"{'model':40} {'FD':>8} {'labels':>8} {'seconds':>8}")
    print(f"{'real training images (floor)':40} {floor:8.2f}")
    for path in options.models:
        model = load_model(resolve(path), torch.device("cpu"))
        began, found = time.perf_counter(), []
        for start in range(0, options.count, BATCH):
            indices = range(start, min(start + BATCH, options.count))
            *_, last = sample(subject_of(model), spec, torch.device("cpu"), indices=indices)
            found.append(last.x)
        seconds = time.perf_counter() - began
        images = torch.cat(found)
        labels = torch.arange(options.count) % 10
        with torch.no_grad():
            right = float((classifier(images).argmax(1) == labels).float().mean())
        distance = frechet(features(classifier, images), reference)
        print(
            f"{path.parent.parent.name + '/' + path.name:40.40} {distance:8.2f} {right:8.1%} {seconds:8.1f}", flush=True
        )


if __name__ == "__main__":
    main()
