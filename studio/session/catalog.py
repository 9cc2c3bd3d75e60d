"""The models at hand: what ships, what was trained here, what was opened before. Loads no torch."""

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


_ORDER = ("mnist-ddpm", "fashion-ddpm", "swiss-roll", "mnist-ddgan", "fashion-ddgan")
"""Of what ships: the one to begin with, the plain ones, and those of a few big steps."""


def shipped() -> list[Path]:
    """Checkpoints that came with the studio, in the order to meet them; others after that, by name."""
    found = resources.shipped_checkpoints().glob("*.safetensors")
    return sorted(found, key=lambda path: (_ORDER.index(path.stem) if path.stem in _ORDER else len(_ORDER), path.name))


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


def resolve(path: Path) -> Path:
    """The checkpoint that a path means: itself, or a run folder's model. Raises NotACheckpoint for other folders."""
    if not path.is_dir():
        return path
    run = Run(path)
    if run.model.is_file():
        return run.model
    if Run.is_run(path):
        raise NotACheckpoint(f"{path} is a run that has saved no checkpoint yet.")
    raise NotACheckpoint(f"{path} is no run folder: it has no config.toml and no checkpoint.")


def locate(word: str, near: Path | None = None) -> Path:
    """The checkpoint that a word means: a path (from ``near``), a run folder, or the name of a model that ships."""
    path = Path(word) if near is None else near / word
    if not path.exists():
        for known in shipped():
            if word in (known.stem, known.name):
                return known
    return resolve(path).absolute()
