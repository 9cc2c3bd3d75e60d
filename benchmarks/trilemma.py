"""Quality, cover of the data, and speed of every way to sample: which two does each have, and which one does it lack?

    python benchmarks/trilemma.py --out FOLDER               trains what does not ship; goes on where it stopped
    python benchmarks/trilemma.py --out FOLDER --others      trains none: only what ships

DDPM with all 1,000 steps, DDIM with 50 and 10, the short schedules that the checkpoint keeps (BDDM) with 16 and 8, the
Denoising Diffusion GAN that ships, of 4 steps, and others of 8, 4 and 2 steps and of one, trained here on the budget of
``ddgan_ablations.py`` (with the same ``--out`` nothing is trained twice). All are asked for the ten classes in turn,
without guidance. Seconds are taken apart from the samples that are scored: 100 images at a time, all ways in turn,
medians over the rounds. What a training took is worked out from the seconds of a step in the same run, since one
trained on a busy machine took longer. Writes the tables into docs/results.md, between its two marks.
"""

from __future__ import annotations

import signal
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from common import between, parser, print_header
from ddgan_ablations import ONE_SHOT, VARIANTS, folder_of, trained, variant
from learned_schedules import kept

from studio.core import events
from studio.core.checkpoints.header import read_header
from studio.core.checkpoints.native import load
from studio.core.checkpoints.places import locate
from studio.core.config import PARTS, TrainConfig
from studio.core.evaluation import Cell, Entrant, Evaluation, EvaluationKnobs, metrics_for
from studio.core.evaluator import Evaluator
from studio.core.grids import Betas, Uniform
from studio.core.metrics.base import Score
from studio.core.presets import presets
from studio.core.report import Point, markdown, points, quantities, written
from studio.core.runs import Run
from studio.core.samplers.ancestral import Ancestral
from studio.core.samplers.ddim import DDIM
from studio.core.sampling import few_steps, sample, subject_of
from studio.core.trainer import Trainer
from studio.session.control import Control

SETS = {"mnist-ddpm": ("mnist-ddgan", "digits-gan"), "fashion-ddpm": ("fashion-ddgan", "fashion-gan")}
"""Of each shipped DDPM, the DDGAN beside it and the preset that others are trained by."""
OTHERS = {"DDGAN-8": "T = 8", "DDGAN-4": "T = 4, as in the preset", "DDGAN-2": "T = 2", "one-shot GAN": ONE_SHOT}
SCORES = ("fd", "precision", "recall")
TIMED, TIMED_STEPS = 100, 32
RESULTS = Path(__file__).parent.parent / "docs" / "results.md"
MARKS = "<!-- trilemma: begin -->\n", "<!-- trilemma: end -->\n"


@dataclass(frozen=True)
class Way:
    """One row: a name, what samples, and in how many steps."""

    name: str
    entrant: Entrant
    steps: int


def shipped(model: Path, gan: Path) -> list[Way]:
    """The ways that need no training."""
    header = read_header(model)
    found = [Way("DDPM-1000", Entrant(model=model, sampler=Ancestral(), grid=Uniform()), 1000)]
    found += [Way(f"DDIM-{steps}", Entrant(model=model, sampler=DDIM(), grid=Uniform()), steps) for steps in (50, 10)]
    for steps in (16, 8):
        if best := kept(header, "ancestral", steps):
            found.append(Way(f"BDDM-{steps}", Entrant(model=model, sampler=Ancestral(), grid=Betas.of(best)), steps))
    few = own_way("DDGAN", gan)
    return [*found, replace(few, name=f"DDGAN-{few.steps}, ships")]


def own_way(name: str, model: Path) -> Way:
    """A model of few big steps, sampled over them."""
    own = few_steps(read_header(model))
    assert own is not None
    return Way(name, Entrant(model=model, sampler=own.sampler, grid=own.grid), own.knobs.steps)


def others(preset: str, out: Path, steps: int, batch: int) -> list[Way]:
    """The ways whose models are trained here, where they were not yet."""
    found = []
    for name, changed in OTHERS.items():
        folder = folder_of(out, preset, changed, steps, 0, batch)
        config = variant(presets()[preset], VARIANTS[changed], steps, 0, batch)
        print(f"{preset}, {name}: trained in {trained(config, folder):.0f} s", flush=True)
        found.append(own_way(name, Run(folder).model))
    return found


def scored(way: Way, out: Path, seeds: Sequence[int], count: int, control: Control) -> tuple[Point, dict[str, float]]:
    """A way's scores over the seeds, and those of as many real images."""
    asked = Evaluation(
        title="Trilemma",
        entrants=(way.entrant,),
        steps=(way.steps,),
        seeds=tuple(seeds),
        knobs=EvaluationKnobs(count=count),
        metrics=metrics_for(["fd", "manifold"]),
    )
    rows, floor, told = [], {}, time.monotonic()
    for event in Evaluator(asked, out).run(control):
        match event:
            case events.CellScored():
                rows.append(dict(event.row))
                floor = dict(event.floor)
            case events.EvaluationProgress() if time.monotonic() - told > 60.0:
                told = time.monotonic()
                print(f"{way.name}: {event.fraction:.0%} · {event.text}", flush=True)
            case events.Warned():
                print(event.summary, flush=True)
    if control.stopping:
        raise SystemExit("stopped: the tables are written by a complete run")
    return points(rows)[0], floor


def timed(ways: Sequence[Way], rounds: int) -> dict[str, float]:
    """Median seconds for 100 images, by the way's name."""
    taken: dict[str, list[float]] = {way.name: [] for way in ways}
    cpu = torch.device("cpu")
    subjects = {way.name: subject_of(load(way.entrant.model, cpu)) for way in ways}
    for _ in range(rounds):
        for way in ways:
            cell = Cell(entrant=way.entrant, steps=way.steps, seed=0, knobs=EvaluationKnobs(count=TIMED))
            began = time.perf_counter()
            for _ in sample(subjects[way.name], cell.spec, cpu):
                pass
            taken[way.name].append(time.perf_counter() - began)
    return {name: statistics.median(values) for name, values in taken.items()}


def training(model: Path) -> float:
    """Seconds that a model's training takes by the clock of this run: of every kind of step, times their number.

    That of the model that it started from counts, too.
    """
    header = read_header(model)
    config = TrainConfig.from_dict({part: getattr(header, part) for part in (*PARTS, "run")})
    total = training(locate(config.run.start_from)) if config.run.start_from else 0.0
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(config, Run(Path(folder)))
        for first, count in config.recipe.spans(header.step):
            trainer.step, taken = first, []
            for _ in range(TIMED_STEPS):
                began = time.perf_counter()
                trainer.train_step()
                taken.append(time.perf_counter() - began)
            # The mean, since some steps cost more than others; the first of a kind pays for what comes once.
            total += count * statistics.fmean(taken[TIMED_STEPS // 4 :])
    return total


def chapter(
    title: str,
    ways: Sequence[Way],
    found: Sequence[Point],
    floor: dict[str, float],
    seconds: dict[str, float],
    trained_in: dict[Path, float],
    about: str,
) -> str:
    """The table of one data set."""
    head = ["", "evaluations", *(quantities()[name].title for name in SCORES), "seconds for 100 images", "training"]
    real = ["real training images", "", *(written(Score(floor[name]), quantities()[name]) for name in SCORES), "", ""]
    lines = [real]
    for way, point in zip(ways, found, strict=True):
        cells = [written(point.values[name], quantities()[name]) for name in SCORES]
        lines.append(
            [way.name, str(point.nfe), *cells, f"{seconds[way.name]:.3g}", f"{trained_in[way.entrant.model]:,.0f} s"]
        )
    return f"\n### {title}\n\n{about}\n\n{markdown(head, lines)}"


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--out", type=Path, required=True, help="folder of runs, samples and scores; it is added to")
    options.add_argument("--models", nargs="+", default=list(SETS), choices=list(SETS))
    options.add_argument(
        "--others", nargs="*", default=list(SETS), choices=list(SETS), help="train others beside these models alone"
    )
    options.add_argument("--steps", type=int, default=1200, help="training steps of the others")
    options.add_argument("--batch", type=int, default=0, help="images a training step of theirs; 0 for the preset's")
    options.add_argument("--count", type=int, default=1000)
    options.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    options.add_argument("--rounds", type=int, default=3, help="how often each way is timed")
    options.add_argument("--threads", type=int, default=torch.get_num_threads())
    chosen = options.parse_args()
    torch.set_num_threads(chosen.threads)
    print_header(f"{chosen.count:,} samples a cell")
    between(RESULTS, MARKS)
    control = Control()
    signal.signal(signal.SIGINT, lambda *_: control.stop())
    parts: list[str] = []
    for name in chosen.models:
        gan, preset = SETS[name]
        ways = shipped(locate(name), locate(gan))
        if name in chosen.others:
            ways += others(preset, chosen.out, chosen.steps, chosen.batch)
        results = [scored(way, chosen.out / "scores", chosen.seeds, chosen.count, control) for way in ways]
        about = (
            f"{chosen.count:,} samples from each of the seeds {', '.join(map(str, chosen.seeds))}, the ten classes in "
            f"turn; ± is over seeds. Threads: {torch.get_num_threads()}."
        )
        trained_in = {model: training(model) for model in dict.fromkeys(way.entrant.model for way in ways)}
        title = read_header(locate(name)).data_title
        parts.append(
            chapter(
                title,
                ways,
                [point for point, _ in results],
                results[0][1],
                timed(ways, chosen.rounds),
                trained_in,
                about,
            )
        )
        print(parts[-1], flush=True)
    between(RESULTS, MARKS, "".join(parts))


if __name__ == "__main__":
    main()
