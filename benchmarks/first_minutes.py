"""A newcomer's first minutes: the default preset, trained headless; how good are its digits after one, and at the end?

    python benchmarks/first_minutes.py --out first-minutes

Copies of the checkpoint are kept while it trains and scored afterwards, as in ``digit_quality.py``: 1,000 samples with
DDIM 25, the ten classes in turn, without guidance (w 0) and with it (w 1). "Training" is time spent in training steps
alone; "since start" adds loading the data, previews and saves. The pictures of each row, ten by ten, go to --out.
"""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from common import parser, print_header, print_table
from digit_quality import Judge, draw

from studio.core import pictures
from studio.core.config import TrainConfig
from studio.core.data.images import MNIST
from studio.core.presets import DEFAULT, presets
from studio.core.runs import Run, RunLog
from studio.core.sampling import SampleKnobs, SampleSpec
from studio.core.trainer import Trainer
from studio.session.control import Control

GUIDANCE = (0.0, 1.0)


@dataclasses.dataclass(frozen=True)
class Kept:
    """A copy of the checkpoint, and what it took to get there."""

    path: Path
    step: int
    images: int
    seconds: float
    since_start: float


def main() -> None:
    options = parser(__doc__)
    of_digits = [name for name, preset in presets().items() if preset.data == MNIST()]
    options.add_argument("--preset", choices=of_digits, default=DEFAULT)
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
    log = RunLog(trainer.run_folder)
    waiting, last = sorted(marks), -1
    kept = lambda: copy(trainer, folder, time.perf_counter() - began)  # noqa: E731
    for event in trainer.run(control):
        if event is not None:
            log.write(event)
        if waiting and waiting[0] <= trainer.seconds < limit:
            waiting.pop(0)
            trainer.save()
            last = trainer.step
            yield kept()
        if trainer.seconds >= limit:
            control.stop()
    if trainer.step != last:
        yield kept()


def copy(trainer: Trainer, folder: Path, since_start: float) -> Kept:
    """A copy of the checkpoint as it was last saved, which is now."""
    path = folder / f"step-{trainer.step}.safetensors"
    shutil.copy(trainer.run_folder.model, path)
    print(f"step {trainer.step:,} after {trainer.seconds:.0f} s", flush=True)
    return Kept(path, trainer.step, trainer.images, trainer.seconds, since_start)


def report(kept: list[Kept], count: int, out: Path) -> None:
    """Score every copy at every guidance and print the table."""
    judge, rows = Judge(), []
    for one in kept:
        row = [f"step {one.step:,}", f"{one.images:,}", f"{one.seconds:.0f} s", f"{one.since_start:.0f} s"]
        for guidance in GUIDANCE:
            knobs = SampleKnobs(steps=25, count=count, guidance=guidance, label="each")
            images = draw(one.path, SampleSpec(knobs=knobs))
            pictures.save_png(out / f"step-{one.step}-w{guidance:g}.png", images[:100])
            distance, right = judge.scores(images)
            row += [f"{distance:.2f}", f"{right:.1%}"]
        rows.append(row)
    print(f"\n{count} samples, DDIM 25; pictures in {out}")
    print(f"FD to the 10,000 test images and labels named rightly, both by {judge.network}")
    print(f"floor (as many real training images): FD {judge.floor(count):.2f}")
    scores = [f"{name}, w {guidance:g}" for guidance in GUIDANCE for name in ("FD", "labels")]
    print_table(("", "images", "training", "since start", *scores), rows)


if __name__ == "__main__":
    main()
