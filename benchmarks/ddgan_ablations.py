"""What makes a Denoising Diffusion GAN work: a preset, trained with one thing changed at a time.

    python benchmarks/ddgan_ablations.py --out FOLDER        goes on where it stopped; about half an hour on one core
    python benchmarks/ddgan_ablations.py --out FOLDER --preset digits-gan --batch 32           an hour on one core
    python benchmarks/ddgan_ablations.py --out FOLDER ... --measured       no training: the table of what is there

Every variant starts from the preset and takes as many training steps from the same seeds. Where the preset starts from
a denoiser's weights, a variant starts from fresh ones and learns the mean first, in a warm start that fills the steps
before the preset's opening and game: not every variant could start from the same denoiser. Writes what its samples are
worth (of points: modes, the share within 3 standard deviations of one, distance; of images: FD, precision, recall) into
docs/results.md, between the two marks of the preset.
"""

from __future__ import annotations

import json
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from common import between, parser, print_header

from studio.core import events
from studio.core.config import TrainConfig, load_toml
from studio.core.evaluation import Evaluation
from studio.core.evaluator import Evaluator
from studio.core.files import write_text
from studio.core.presets import presets
from studio.core.recipes.adversarial import Adversarial
from studio.core.runs import Run
from studio.core.trainer import Trainer
from studio.session.control import Control

ONE_SHOT = "one shot, diffusion as augmentation"
VARIANTS: dict[str, dict[str, Any]] = {
    "T = 4, as in the preset": {},
    "no z": {"latent": 0},
    "T = 8": {"num_steps": 8},
    "T = 2": {"num_steps": 2},
    ONE_SHOT: {"process": "one_shot", "prior": 0, "rollout": 0.0},
    "predicts the noise": {"predict": "noise"},
    "predicts x_s itself": {"predict": "x_s"},
    "T = 1": {"num_steps": 1},
    "hinge loss": {"loss": "hinge"},
    "Wasserstein loss": {"loss": "wasserstein"},
}
BESIDE_THE_PAPER: dict[str, dict[str, Any]] = {
    "noise as in the paper, β_max = 20": {"beta_max": 20.0},
    "no energy score": {"score_weight": 0.0},
    "the discriminator compares 4 items": {"group": 4},
}
"""What the presets of images do otherwise, taken back."""
FURTHER: dict[str, dict[str, Any]] = {
    "half of each batch rolled out": {"rollout": 0.5},
    "x_T from a fitted prior, β_max = 1.5, more z": {
        "prior": 16,
        "beta_max": 1.5,
        "opening_rate": 0.2,
        "score_spread": 1.0,
    },
}
"""What the presets that start from a prior have beside those that start from noise."""
TAKEN_BACK: dict[str, dict[str, Any]] = {
    "no rollouts": {"rollout": 0.0},
    "x_T from N(0, I), β_max = 8": {"prior": 0, "beta_max": 8.0},
}
"""What the presets that start from a prior have beside the others, taken back."""
METRICS = {"points": ("modes", "sliced_wasserstein"), "image": ("fd", "manifold")}
SCORES = {
    "points": {"modes": "modes", "near": "within 3σ", "mode_kl": "KL of modes", "sliced_wasserstein": "sliced W2"},
    "image": {"fd": "FD", "precision": "precision", "recall": "recall"},
}
FORMATS = {"modes": ".1f", "near": ".1%", "mode_kl": ".4f", "sliced_wasserstein": ".3f", "fd": ".2f"}
COUNTS = {"points": 10_000, "image": 1_000}
RESULTS = Path(__file__).parent.parent / "docs" / "results.md"


def marks(preset: str) -> tuple[str, str]:
    """The lines between which the table of a preset stands."""
    return f"<!-- ddgan ablations, {preset}: begin -->\n", f"<!-- ddgan ablations, {preset}: end -->\n"


def variants(preset: TrainConfig) -> dict[str, dict[str, Any]]:
    """What is changed in a preset, by name."""
    if preset.data.kind != "image":
        return VARIANTS
    return VARIANTS | BESIDE_THE_PAPER | (TAKEN_BACK if preset.recipe.prior_components else FURTHER)


def variant(preset: TrainConfig, changes: dict[str, Any], steps: int, seed: int, batch: int = 0) -> TrainConfig:
    """The preset with some knobs of its recipe changed; ``batch`` 0 leaves its own."""
    assert isinstance(preset.recipe, Adversarial)
    recipe = replace(preset.recipe, **changes)
    if preset.run.start_from:
        warm = steps - preset.run.steps
        if warm <= 0:
            raise SystemExit(f"{steps:,} steps leave none for a warm start before the preset's {preset.run.steps:,}.")
        if recipe.process == "one_shot":
            # Pure noise tells nothing to start from, so it plays from its first step on. A step of a warm start costs a
            # third of one with two players: so many fewer take as long.
            steps -= 2 * warm // 3
            recipe = replace(recipe, opening=0, game_rate=0.25)
        else:
            recipe = replace(recipe, warm_start=warm)
    run = replace(
        preset.run,
        steps=steps,
        batch=batch or preset.run.batch,
        seed=seed,
        start_from="",
        preview_every=0.0,
        rewind_mb=0,
        score_every=0.0,
    )
    return replace(preset, recipe=recipe, run=run)


def folder_of(out: Path, preset: str, name: str, steps: int, seed: int, batch: int = 0) -> Path:
    """Where a variant is trained and scored."""
    words = f"{preset} {name} {steps} {seed}" + f" {batch}" * bool(batch)
    return out / words.replace(",", "").replace(" ", "-").replace("=", "")


def trained(config: TrainConfig, folder: Path) -> float:
    """Train to the end unless that was done; returns the seconds it took."""
    run, done = Run(folder), folder / "seconds.json"
    if done.is_file() and load_toml(run.config) != config:
        raise SystemExit(f"{folder} holds a training with other settings: choose another --out.")
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
    options.add_argument("--batch", type=int, default=0, help="items a training step; 0 for the preset's")
    options.add_argument("--seeds", nargs="+", type=int, default=[0])
    options.add_argument("--count", type=int, help="samples of each: 10,000 points or 1,000 images")
    options.add_argument("--measured", action="store_true", help="only write down what was measured")
    options.add_argument("--threads", type=int, default=1)
    chosen = options.parse_args()
    torch.set_num_threads(chosen.threads)
    between(RESULTS, marks(chosen.preset))
    preset = presets()[chosen.preset]
    kind, columns = preset.data.kind, SCORES[preset.data.kind]
    count = chosen.count or COUNTS[kind]
    print_header(f"{chosen.steps:,} training steps each, {count:,} samples")
    lines = [f"| | {' | '.join(columns.values())} | evaluations | training |", f"|---|{'---|' * (len(columns) + 2)}"]
    for name, changes in variants(preset).items():
        rows, seconds = [], []
        folders = {
            seed: folder_of(chosen.out, chosen.preset, name, chosen.steps, seed, chosen.batch) for seed in chosen.seeds
        }
        if chosen.measured and not all((folder / "scores" / "cells").is_dir() for folder in folders.values()):
            continue
        for seed, folder in folders.items():
            config = variant(preset, changes, chosen.steps, seed, chosen.batch)
            seconds.append(trained(config, folder))
            rows.append(scored(folder, kind, count))
        cells = [written([row[score] for row in rows], FORMATS.get(score, ".3f")) for score in columns]
        lines.append(
            f"| {name} | {' | '.join(cells)} | {config.recipe.own_steps} | {statistics.fmean(seconds):.0f} s |"
        )
        print(lines[-1], flush=True)
    seeds = f"seed{'s' * (len(chosen.seeds) > 1)} {', '.join(map(str, chosen.seeds))}"
    batch = chosen.batch or preset.run.batch
    head = f"{chosen.steps:,} training steps of {batch} items, {seeds}, {count:,} samples of each."
    between(RESULTS, marks(chosen.preset), f"\n{head}\n\n" + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
