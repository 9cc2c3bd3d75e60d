"""What makes a Denoising Diffusion GAN work: a preset, trained with one thing changed at a time.

    python benchmarks/ddgan_ablations.py --out FOLDER        goes on where it stopped; about half an hour on one core

Every variant starts from the preset and takes as many training steps from the same seeds. Writes what its samples are
worth (of points: modes, the share within 3 standard deviations of one, distance; of images: FD, precision, recall)
into docs/results.md, between the two marks of the preset.
"""

from __future__ import annotations

import json
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from common import parser, print_header

from studio.core import events
from studio.core.config import TrainConfig
from studio.core.evaluation import Evaluation
from studio.core.evaluator import Evaluator
from studio.core.files import write_text
from studio.core.presets import presets
from studio.core.runs import Run
from studio.core.trainer import Trainer
from studio.session.control import Control

VARIANTS: dict[str, dict[str, Any]] = {
    "T = 4, as in the preset": {},
    "T = 1": {"num_steps": 1},
    "T = 2": {"num_steps": 2},
    "T = 8": {"num_steps": 8},
    "no z": {"latent": 0},
    "predicts x_s itself": {"predict": "x_s"},
    "predicts the noise": {"predict": "noise"},
    "one shot, diffusion as augmentation": {"process": "one_shot"},
    "hinge loss": {"loss": "hinge"},
    "Wasserstein loss": {"loss": "wasserstein"},
}
METRICS = {"points": ("modes", "sliced_wasserstein"), "image": ("fd", "manifold")}
SCORES = {
    "points": {"modes": "modes", "near": "within 3σ", "mode_kl": "KL of modes", "sliced_wasserstein": "sliced W2"},
    "image": {"fd": "FD", "precision": "precision", "recall": "recall"},
}
FORMATS = {"modes": ".1f", "near": ".1%", "mode_kl": ".4f", "sliced_wasserstein": ".3f", "fd": ".2f"}
DOCS = Path(__file__).parent.parent / "docs"


def marks(preset: str) -> tuple[str, str]:
    """The lines between which the table of a preset stands."""
    return f"<!-- ddgan ablations, {preset}: begin -->\n", f"<!-- ddgan ablations, {preset}: end -->\n"


def variant(preset: TrainConfig, changes: dict[str, Any], steps: int, seed: int) -> TrainConfig:
    """The preset with some knobs of its recipe changed."""
    run = replace(preset.run, steps=steps, seed=seed, preview_every=0.0, rewind_mb=0, score_every=0.0)
    return replace(preset, recipe=replace(preset.recipe, **changes), run=run)


def trained(config: TrainConfig, folder: Path) -> float:
    """Train to the end unless that was done; returns the seconds it took."""
    run, done = Run(folder), folder / "seconds.json"
    if not done.is_file():
        trainer = Trainer(config, run)
        for event in trainer.run(Control()):
            if isinstance(event, events.Warned):
                print(f"  {event.summary}", flush=True)
        write_text(done, json.dumps(trainer.seconds))
    return float(json.loads(done.read_text()))


def scored(folder: Path, kind: str, count: int) -> dict[str, float]:
    """The measures of a trained model's samples, taken its own way."""
    batch = min(count, 100 if kind == "image" else count)
    asked = Evaluation.from_dict(
        {"models": [str(Run(folder).model)], "count": count, "batch": batch, "metrics": list(METRICS[kind])}
    )
    found = [
        event for event in Evaluator(asked, folder / "scores").run(Control()) if isinstance(event, events.CellScored)
    ]
    return {name: float(found[0].row[name]) for name in SCORES[kind]}  # type: ignore[arg-type]


def written(values: list[float], form: str) -> str:
    """The mean, and the range over seeds where it is one."""
    text = format(statistics.fmean(values), form)
    ends = format(min(values), form), format(max(values), form)
    return text if ends[0] == ends[1] else f"{text} ({ends[0]} to {ends[1]})"


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--out", type=Path, required=True, help="folder of runs and scores; what is there is kept")
    options.add_argument("--preset", default="gaussians-gan")
    options.add_argument("--steps", type=int, default=1200, help="training steps of each variant")
    options.add_argument("--seeds", nargs="+", type=int, default=[0])
    options.add_argument("--count", type=int, default=10_000)
    options.add_argument("--threads", type=int, default=1)
    chosen = options.parse_args()
    torch.set_num_threads(chosen.threads)
    print_header(f"{chosen.steps:,} training steps each, {chosen.count:,} samples")
    path = DOCS / "results.md"
    before = path.read_text(encoding="utf-8")
    ends = marks(chosen.preset)
    if not all(before.count(mark) == 1 for mark in ends):
        raise SystemExit(f"{path} must have the lines {ends[0].strip()} and {ends[1].strip()}, once each.")
    preset = presets()[chosen.preset]
    kind, columns = preset.data.kind, SCORES[preset.data.kind]
    lines = [f"| | {' | '.join(columns.values())} | evaluations | training |", f"|---|{'---|' * (len(columns) + 2)}"]
    for name, changes in VARIANTS.items():
        rows, seconds = [], []
        for seed in chosen.seeds:
            config = variant(preset, changes, chosen.steps, seed)
            folder = chosen.out / f"{chosen.preset} {name} {chosen.steps} {seed}".replace(",", "").replace(
                " ", "-"
            ).replace("=", "")
            seconds.append(trained(config, folder))
            rows.append(scored(folder, kind, chosen.count))
        cells = [written([row[score] for row in rows], FORMATS.get(score, ".3f")) for score in columns]
        lines.append(
            f"| {name} | {' | '.join(cells)} | {config.recipe.own_steps} | {statistics.fmean(seconds):.0f} s |"
        )
        print(lines[-1], flush=True)
    seeds = f"seed{'s' * (len(chosen.seeds) > 1)} {', '.join(map(str, chosen.seeds))}"
    head = f"{chosen.steps:,} training steps of {preset.run.batch} items, {seeds}, {chosen.count:,} samples of each."
    begin, end = (before.index(mark) for mark in ends)
    text = f"{before[: begin + len(ends[0])]}\n{head}\n\n" + "\n".join(lines) + f"\n\n{before[end:]}"
    write_text(path, text)
    print(f"written: {path}")


if __name__ == "__main__":
    main()
