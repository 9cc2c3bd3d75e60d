"""What the library shows of a checkpoint."""

from __future__ import annotations

from pathlib import Path

from studio.app.library import Entry
from studio.app.words import duration
from studio.core import resources
from studio.core.checkpoints.header import Header, best_score, in_full
from studio.core.runs import Run, model_name
from studio.session.catalog import Found


def entry(found: Found, training: bool) -> Entry:
    """The library's row for a checkpoint; ``training`` marks the one that is being written now."""
    header = found.header
    folder = str(run_folder(found.path) or "") if found.section == "trained" else ""
    if header is None:
        name = found.path.name
        return Entry(str(found.path), name, ("cannot be read",), None, found.section, found.problem, "bad", folder)
    score, _ = best_score(header)
    kept = len(header.schedules)
    marks = [score] if score else []
    marks += [f"{kept} schedule{'s' * (kept != 1)}"] if kept else []
    lines = f"{header.family} · {header.data_title}", _told_apart(found, header), " · ".join(marks)
    return Entry(
        path=str(found.path),
        title=header.title,
        lines=tuple(filter(None, lines)),
        thumbnail=header.thumbnail or None,
        section=found.section,
        tooltip=_tooltip(found.path, header),
        state="training" if training else "ok",
        run_folder=folder,
        can_be_ddgan=_can_be_ddgan(header),
    )


def run_folder(path: Path) -> Path | None:
    """The run that a model belongs to, where it lies in the person's own folder of runs; None elsewhere."""
    folder = path.parent.parent
    return folder if folder.parent == resources.runs().absolute() and path == Run(folder).model else None


def _can_be_ddgan(header: Header) -> bool:
    """Whether it is a denoiser of images, whose network predicts as a generator's does."""
    recipe = header.recipe
    return header.kind == "image" and recipe["name"] == "denoising" and recipe.get("parameterization") == "edm"


def _told_apart(found: Found, header: Header) -> str:
    """What tells a model from others of its title: its file or run where it was opened, its training elsewhere."""
    return model_name(found.path) if found.section == "opened" else _trained(header)


def _trained(header: Header) -> str:
    length = header.recipe.get("num_steps")
    return f"step {header.step:,}" + (f" · T {length}" if length else "")


def _scores(header: Header) -> list[str]:
    """Every score in full, the one that the row shows first."""
    _, best = best_score(header)
    told = [in_full(key, value) for key, value in header.scores.items()]
    return sorted(told, key=lambda line: line != best)


def _lengths(header: Header) -> str:
    return ", ".join(str(steps) for steps in sorted({schedule.steps for schedule in header.schedules}))


def _tooltip(path: Path, header: Header) -> str:
    lines = [
        header.title,
        f"{header.family} on {header.data_title}, {header.num_parameters:,} parameters",
        f"{header.step:,} steps, {header.images:,} items, {duration(header.seconds)}",
        *_scores(header),
        *([f"keeps short schedules of {_lengths(header)} steps"] if header.schedules else []),
        str(path),
    ]
    return "\n".join(lines)
