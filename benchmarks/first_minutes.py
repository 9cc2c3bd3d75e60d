"""A newcomer's first minutes: the default preset, trained headless, and how good its digits are after a minute and at the end.

    python benchmarks/first_minutes.py --out first-minutes

Copies of the checkpoint are kept while it trains and scored afterwards, as in ``digit_quality.py``: 1,000 samples with
DDIM 25, the ten classes in turn, without guidance (w 0) and with it (w 1). "Seconds" is time spent in training steps,
"with previews" adds sample previews and saves, which a person who watches pays too. The pictures of each row, ten by
ten, go to --out.
"""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from common import parser, print_header, print_table
from digit_classifier import features, frechet, load, to_float
from digit_quality import BATCH, GRIDS, SAMPLERS
from torch import Tensor

from studio.core import pictures
from studio.core.checkpoints import native
from studio.core.config import TrainConfig
from studio.core.data.images import MNIST
from studio.core.presets import DEFAULT, presets
from studio.core.runs import Run
from studio.core.sampling import SampleKnobs, SampleSpec, sample, to_uint8
from studio.core.trainer import Trainer
from studio.session.control import Control
from studio.session.jobs import subject_of

GUIDANCE = (0.0, 1.0)


@dataclasses.dataclass(frozen=True)
class Kept:
    """A copy of the checkpoint, and what it took to get there."""

    path: Path
    step: int
    images: int
    seconds: float
    with_previews: float


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--preset", choices=presets(), default=DEFAULT)
    options.add_argument("--steps", type=int, help="plan as many steps (default: the preset's plan)")
    options.add_argument("--seconds", type=float, default=float("inf"), help="stop after as many, whatever the plan")
    options.add_argument("--keep", type=float, nargs="*", default=[60.0], help="seconds after which to keep a copy")
    options.add_argument("--count", type=int, default=1000, help="samples to score")
    options.add_argument("--out", type=Path, default=Path("first-minutes"), help="folder for the pictures")
    chosen = options.parse_args()
    config = presets()[chosen.preset]
    steps = chosen.steps or config.run.steps
    config = dataclasses.replace(config, run=dataclasses.replace(config.run, steps=steps))
    print_header(f"{config.title}, {config.run.steps:,} steps of {config.run.batch}")
    chosen.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        kept = list(train(config, Path(folder), chosen.keep, chosen.seconds))
        report(kept, chosen.count, chosen.out)


def train(config: TrainConfig, folder: Path, marks: list[float], limit: float) -> Iterator[Kept]:
    """Train to the plan's end or the limit; keep a copy after each of ``marks`` seconds of training, and at the end."""
    began = time.perf_counter()
    trainer, control = Trainer(config, Run(folder / "run")), Control()
    waiting = sorted(marks)
    kept = lambda: copy(trainer, folder, time.perf_counter() - began)  # noqa: E731
    for event in trainer.run(control):
        if event is not None:
            trainer.run_folder.log(event)
        if waiting and waiting[0] <= trainer.seconds < limit:
            waiting.pop(0)
            trainer.save()
            yield kept()
        if trainer.seconds >= limit:
            control.stop()
    yield kept()


def copy(trainer: Trainer, folder: Path, with_previews: float) -> Kept:
    """A copy of the checkpoint as it was last saved, which is now."""
    path = folder / f"step-{trainer.step}.safetensors"
    shutil.copy(trainer.run_folder.model, path)
    print(f"step {trainer.step:,} after {trainer.seconds:.0f} s", flush=True)
    return Kept(path, trainer.step, trainer.images, trainer.seconds, with_previews)


def report(kept: list[Kept], count: int, out: Path) -> None:
    """Score every copy at every guidance and print the table."""
    torch.manual_seed(0)
    classifier = load()
    reference = features(classifier, to_float(MNIST().load().test))
    labels = torch.arange(count) % 10
    rows = []
    for one in kept:
        row = [f"step {one.step:,}", f"{one.images:,}", f"{one.seconds:.0f}", f"{one.with_previews:.0f}"]
        for guidance in GUIDANCE:
            images = digits(one.path, count, guidance)
            pictures.save_png(out / f"{one.seconds:.0f}s-w{guidance:g}.png", to_uint8(images[:100]).numpy())
            with torch.no_grad():
                right = float((classifier(images).argmax(1) == labels).float().mean())
            row += [f"{frechet(features(classifier, images), reference):.1f}", f"{right:.1%}"]
        rows.append(row)
    print(f"\n{count} samples, DDIM 25; FD to the 10,000 test images, labels named rightly; pictures in {out}")
    scores = [f"{name}, w {guidance:g}" for guidance in GUIDANCE for name in ("FD", "labels")]
    print_table(("", "images", "seconds", "with previews", *scores), rows)


def digits(path: Path, count: int, guidance: float) -> Tensor:
    """(count, 1, 28, 28) samples of a checkpoint in [-1, 1]."""
    device = torch.device("cpu")
    subject = subject_of(native.load(path, device))
    knobs = SampleKnobs(steps=25, count=count, guidance=guidance, label="each")
    spec = SampleSpec(sampler=SAMPLERS["ddim"], grid=GRIDS["log_snr"], knobs=knobs)
    found = []
    for start in range(0, count, BATCH):
        *_, last = sample(subject, spec, device, indices=range(start, min(start + BATCH, count)))
        found.append(last.x)
    return torch.cat(found)


if __name__ == "__main__":
    main()
