"""The classic experiment: the Frechet distance (FD) against the number of reverse steps.

    python benchmarks/reverse_steps.py --out FOLDER            hours; goes on where it stopped
    python benchmarks/reverse_steps.py --out FOLDER --measured  no sampling: tables of what the folder holds

The shipped DDPMs of MNIST and Fashion-MNIST, sampled with DDPM's ancestral sampler (small and large variance) and with
DDIM at eta 0, 0.2 and 0.5, over evenly spaced steps of T = 1000; the same number of samples in every cell. DDIM at eta
1 is the ancestral sampler of small variance (a test holds it to that), so one row shows both. Writes the tables and the
plots into docs/results.md, between its two marks, and docs/images/.
"""

from __future__ import annotations

import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from common import between, parser, print_header

from studio.core import events
from studio.core.checkpoints.places import locate
from studio.core.evaluation import Evaluation
from studio.core.evaluator import Evaluator
from studio.core.files import write_text
from studio.core.metrics.base import Score
from studio.core.report import markdown, pivot, plot, points, quantities, written
from studio.session.control import Control

STEPS = (10, 20, 50, 100, 200, 500, 1000)
TITLES = {"Ancestral small": "Ancestral small, DDIM η 1"}
"""What the tables call an entrant that stands for two."""
DOCS = Path(__file__).parent.parent / "docs"
RESULTS = DOCS / "results.md"
MARKS = "<!-- reverse steps: begin -->\n", "<!-- reverse steps: end -->\n"


def evaluation(
    models: list[str], count: int, steps: list[int], seeds: list[int], samplers: list[str] | None
) -> Evaluation:
    """Every sampler of the experiment on every model, or the named ones."""
    tables: dict[str, Any] = {
        "title": "FD against the number of reverse steps",
        "models": models,
        "samplers": ["ancestral", {"name": "ancestral", "variance": "large"}, "ddim"],
        "eta": [0.0, 0.2, 0.5],
        "steps": steps,
        "seeds": seeds,
        "count": count,
        "metrics": ["fd", "manifold", "classifier"],
    }
    found = Evaluation.from_dict(tables, locate)
    if samplers is None:
        return found
    return replace(found, entrants=tuple(entrant for entrant in found.entrants if entrant.title in samplers))


def chapter(rows: list[dict[str, Any]], floors: dict[str, dict[str, float]]) -> str:
    """The part of docs/results.md: for each data set a table, a plot and what they show."""
    parts, found = [], points(rows)
    for data, floor in floors.items():
        mine = [point for point in found if point.data == data]
        first = next(row for row in rows if row["data"] == data)
        name = f"reverse-steps-{data.lower()}.svg"
        fd = quantities()["fd"]
        real = Score(floor["fd"])
        write_text(DOCS / "images" / name, plot(mine, fd, real, title=f"{data}: FD against reverse steps"))
        head, lines = pivot(mine, fd)
        # Network evaluations equal steps here: nothing is guided, and both samplers ask once a step.
        parts.append(
            f"\n### {data}\n\n{first['count']:,} samples in every cell, the ten classes in turn, no guidance; FD on "
            f"the features of {first['network']} against the 10,000 test images. As many real training images score "
            f"{written(real, fd)}.\n\n{markdown(head, lines)}\n![FD against reverse steps](images/{name})\n"
        )
        for extra in ("recall", "accuracy"):
            if any(extra in point.values for point in mine):
                quantity = quantities()[extra]
                head, lines = pivot(mine, quantity)
                note = f", real images {written(Score(floor[extra]), quantity)}" if extra in floor else ""
                parts.append(f"\n{quantity.title}{note}:\n\n{markdown(head, lines)}")
    return "".join(parts)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--out", type=Path, required=True, help="folder of samples and scores; what is there is kept")
    options.add_argument("--models", nargs="+", default=["mnist-ddpm", "fashion-ddpm"])
    options.add_argument("--count", type=int, default=1000)
    options.add_argument("--steps", nargs="+", type=int, default=list(STEPS))
    options.add_argument("--threads", type=int, default=torch.get_num_threads())
    options.add_argument("--seeds", nargs="+", type=int, default=[0], help="the tables show the mean over them")
    options.add_argument("--samplers", nargs="+", help="only these entrants, such as 'Ancestral small'")
    options.add_argument("--compile", action="store_true", help="a quarter faster; samples differ by rounding alone")
    options.add_argument("--measured", action="store_true", help="only write down what was measured")
    chosen = options.parse_args()
    torch.set_num_threads(chosen.threads)
    print_header(f"{chosen.count:,} samples a cell")
    between(RESULTS, MARKS)
    control = Control()
    signal.signal(signal.SIGINT, lambda *_: control.stop())
    rows: list[dict[str, Any]] = []
    floors: dict[str, dict[str, float]] = {}
    told = 0.0
    asked = evaluation(chosen.models, chosen.count, chosen.steps, chosen.seeds, chosen.samplers)
    evaluator = Evaluator(asked, chosen.out, sampled_only=chosen.measured, compiled=chosen.compile)
    for event in evaluator.run(control):
        match event:
            case events.CellScored():
                title = str(event.row["entrant"])
                rows.append({**event.row, "entrant": TITLES.get(title, title)})
                floors[str(event.row["data"])] = dict(event.floor)
                line = f"{event.row['model']}, {event.row['entrant']}, {event.row['steps']} steps"
                print(f"{line}: FD {event.row['fd']:.2f}, {event.row['seconds']:.0f} s", flush=True)
            case events.EvaluationProgress() if time.monotonic() - told > 60.0:
                told = time.monotonic()
                print(f"{event.fraction:.1%}, {event.eta_seconds / 60.0:.0f} min left · {event.text}", flush=True)
            case events.Warned():
                print(event.summary, file=sys.stderr, flush=True)
    if not rows:
        raise SystemExit(f"{chosen.out} holds no complete cell yet.")
    if control.stopping:
        print("stopped: the tables are written by a complete run, or with --measured")
        return
    between(RESULTS, MARKS, chapter(rows, floors))


if __name__ == "__main__":
    main()
