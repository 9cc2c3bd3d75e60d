"""The models at hand: what was trained here, and what any file says of itself. Loads no torch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from studio.core import resources
from studio.core.checkpoints.header import Header, NotACheckpoint, read_header
from studio.core.runs import Run

Section = Literal["shipped", "trained", "opened"]


@dataclass(frozen=True)
class Found:
    """A checkpoint file: its description, or in ``problem`` why it has none."""

    path: Path
    section: Section
    header: Header | None
    problem: str = ""


def trained() -> list[Path]:
    """Checkpoints in the person's run folders, newest first."""
    folder = resources.runs()
    runs = sorted(folder.iterdir(), reverse=True) if folder.is_dir() else []
    return [model for model in (Run(run).model for run in runs) if _is_there(model)]


def _is_there(path: Path) -> bool:
    """Whether a file is there; one in a folder that may not be read counts, so that its problem is shown."""
    try:
        return path.is_file()
    except OSError:
        return True


def look(paths: Iterable[Path], section: Section) -> Iterator[Found]:
    """Read the description of each checkpoint."""
    for path in paths:
        try:
            yield Found(path, section, read_header(path))
        except (NotACheckpoint, OSError) as error:
            yield Found(path, section, None, str(error))
