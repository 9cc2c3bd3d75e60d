"""Short learned schedules against plain ones: FD at a few steps, and against the whole 1,000.

    denoising-studio schedule mnist-ddpm        first: finds the schedules, and keeps them in the checkpoint
    python benchmarks/learned_schedules.py --out FOLDER              goes on where it stopped
    python benchmarks/learned_schedules.py --out FOLDER --measured   no sampling: tables of what the folder holds

For each model, sampler and number of steps: the schedule that the checkpoint keeps, and as many steps taken evenly and
quadratically from the training schedule's linear betas, evenly from a cosine schedule, and evenly in log-SNR.
The same number of samples in every cell and the same seeds for all; none of them is the one that the search judged by.
Writes the tables into docs/results.md, between its two marks.
"""

from __future__ import annotations

import math
import signal
import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from common import between, parser, print_header

from studio.core import events
from studio.core.checkpoints.header import Header, read_header
from studio.core.checkpoints.places import locate
from studio.core.evaluation import Entrant, Evaluation, EvaluationKnobs, metrics_for
from studio.core.evaluator import Evaluator
from studio.core.grids import Betas, Grid, LogSNR, Quadratic, Uniform
from studio.core.levels import beta_between
from studio.core.samplers.ancestral import Ancestral
from studio.core.samplers.base import Sampler
from studio.core.samplers.ddim import DDIM
from studio.core.schedules import Cosine
from studio.core.short_schedule import ShortSchedule
from studio.session.control import Control

STEPS = (4, 6, 8, 12, 16)
PLAIN = ("linear", "quadratic", "cosine", "log-SNR")
WHOLE = 1000
SAMPLERS: dict[str, Sampler] = {"ancestral": Ancestral(), "ddim": DDIM()}
TITLES = {"ancestral": "Ancestral small", "ddim": "DDIM η 0"}
RESULTS = Path(__file__).parent.parent / "docs" / "results.md"
MARKS = "<!-- learned schedules: begin -->\n", "<!-- learned schedules: end -->\n"


@dataclass(frozen=True)
class Runner:
    """One way to take ``steps`` steps: the schedule's name, the sampler's, and the entrant that does it."""

    schedule: str
    sampler: str
    steps: int
    entrant: Entrant


def cosine(steps: int) -> Betas:
    """Every so-many-th level of the cosine schedule of 1,000 steps."""
    levels = Uniform().levels(Cosine(), steps)
    return Betas.of(ShortSchedule(betas=tuple(beta_between(t, s) for t, s in pairwise(levels))[::-1], origin="drawn"))


def runners(model: Path, header: Header) -> list[Runner]:
    """All that are measured of a model; the last one takes every step."""
    found = []
    for name, sampler in SAMPLERS.items():
        for steps in STEPS:
            plain: dict[str, Grid] = {
                "linear": Uniform(),
                "quadratic": Quadratic(),
                "cosine": cosine(steps),
                "log-SNR": LogSNR(),
            }
            grids = {"learned": Betas.of(best)} if (best := kept(header, name, steps)) else {}
            for schedule, grid in (grids | plain).items():
                entrant = Entrant(model=model, sampler=sampler, grid=grid)
                found.append(Runner(schedule, name, steps, entrant))
    found.append(Runner("linear", "ancestral", WHOLE, Entrant(model=model, sampler=Ancestral(), grid=Uniform())))
    return found


def kept(header: Header, sampler: str, steps: int) -> ShortSchedule | None:
    """The schedule of so many steps that a checkpoint keeps for a sampler."""
    mine = [each for each in header.schedules if each.steps == steps and each.sampler.get("name") == sampler]
    return mine[0] if mine else None


def measure(
    found: Sequence[Runner], folder: Path, seeds: Sequence[int], count: int, control: Control, **how: bool
) -> tuple[dict[tuple[str, int], list[float]], float]:
    """FD by entrant and steps over the seeds, and of as many real items."""
    scores: dict[tuple[str, int], list[float]] = {}
    real, told = math.nan, 0.0
    for steps in sorted({runner.steps for runner in found}):
        asked = Evaluation(
            title="Learned schedules",
            entrants=tuple(runner.entrant for runner in found if runner.steps == steps),
            steps=(steps,),
            seeds=tuple(seeds),
            knobs=EvaluationKnobs(count=count),
            metrics=metrics_for(["fd"]),
        )
        for event in Evaluator(asked, folder, **how).run(control):
            match event:
                case events.CellScored():
                    scores.setdefault((str(event.row["id"]), steps), []).append(float(event.row["fd"]))  # type: ignore[arg-type]
                    real = event.floor["fd"]
                case events.EvaluationProgress() if time.monotonic() - told > 60.0:
                    told = time.monotonic()
                    print(f"{steps} steps: {event.fraction:.0%} · {event.text}", flush=True)
                case events.Warned():
                    print(event.summary, flush=True)
    return scores, real


def written(values: Iterable[float]) -> str:
    """Mean and standard deviation over the seeds."""
    values = list(values)
    spread = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.2f}{spread}"


def chapter(
    header: Header, found: Sequence[Runner], scores: dict[tuple[str, int], list[float]], real: float, about: str
) -> str:
    """The tables of one model."""
    by_place = {(r.schedule, r.sampler, r.steps): scores.get((r.entrant.id, r.steps)) for r in found}
    whole = by_place["linear", "ancestral", WHOLE]
    lines = [f"\n### {header.data_title}\n", f"{about}; as many real training images score {real:.2f}."]
    if whole:
        lines[-1] += f" All {WHOLE:,} steps of ancestral sampling: {written(whole)}."
    lines += ["", f"| | {' | '.join(f'{steps} steps' for steps in STEPS)} |", f"|---|{'---|' * len(STEPS)}"]
    for sampler in SAMPLERS:
        for schedule in ("learned", *PLAIN):
            cells = []
            for steps in STEPS:
                mine = by_place.get((schedule, sampler, steps))
                rivals = [by_place.get((other, sampler, steps)) for other in PLAIN]
                text = written(mine) if mine else "–"
                wins = (
                    schedule == "learned"
                    and mine
                    and all(statistics.fmean(mine) < statistics.fmean(each) for each in rivals if each)
                )
                cells.append(f"**{text}**" if wins else text)
            lines.append(f"| {TITLES[sampler]}, {schedule} | {' | '.join(cells)} |")
    if whole:
        lines += ["", *ratios(by_place, whole)]
    return "\n".join(lines) + "\n"


def ratios(by_place: dict[tuple[str, str, int], list[float] | None], whole: list[float]) -> list[str]:
    """Learned schedules against every step: the ratio of mean FDs, and its standard error over the seeds."""
    head = [f"Learned, FD in per cent of all {WHOLE:,} ancestral steps, ± standard error:", ""]
    lines = [f"| | {' | '.join(f'{steps} steps' for steps in STEPS)} |", f"|---|{'---|' * len(STEPS)}"]
    for sampler in SAMPLERS:
        cells = []
        for steps in STEPS:
            mine = by_place.get(("learned", sampler, steps))
            if not mine or min(len(mine), len(whole)) < 2:
                cells.append("–")
                continue
            ratio = statistics.fmean(mine) / statistics.fmean(whole)
            parts = [statistics.stdev(each) / statistics.fmean(each) / math.sqrt(len(each)) for each in (mine, whole)]
            cells.append(f"{100 * ratio:.0f} ± {100 * ratio * math.hypot(*parts):.0f}")
        lines.append(f"| {TITLES[sampler]} | {' | '.join(cells)} |")
    return head + lines


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--out", type=Path, required=True, help="folder of samples and scores; what is there is kept")
    options.add_argument("--models", nargs="+", default=["mnist-ddpm", "fashion-ddpm"])
    options.add_argument("--count", type=int, default=1000)
    options.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    options.add_argument("--threads", type=int, default=torch.get_num_threads())
    options.add_argument("--compile", action="store_true", help="a quarter faster; samples differ by rounding alone")
    options.add_argument("--measured", action="store_true", help="only write down what was measured")
    chosen = options.parse_args()
    torch.set_num_threads(chosen.threads)
    print_header(f"{chosen.count:,} samples a cell, seeds {chosen.seeds}")
    between(RESULTS, MARKS)
    control = Control()
    signal.signal(signal.SIGINT, lambda *_: control.stop())
    parts: list[str] = []
    how: dict[str, Any] = {"compiled": chosen.compile, "sampled_only": chosen.measured}
    for name in chosen.models:
        model = locate(name)
        header = read_header(model)
        found = runners(model, header)
        scores, real = measure(found, chosen.out, chosen.seeds, chosen.count, control, **how)
        about = f"{chosen.count:,} samples from each of the seeds {', '.join(map(str, chosen.seeds))}"
        parts.append(chapter(header, found, scores, real, about))
        print(parts[-1])
    if control.stopping:
        print("stopped: the tables are written by a complete run, or with --measured")
        return
    between(RESULTS, MARKS, "".join(parts))


if __name__ == "__main__":
    main()
