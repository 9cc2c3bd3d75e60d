"""Which file a word means: a path, a run folder, or the name of a model that ships. Loads no torch."""

from __future__ import annotations

import os
from pathlib import Path

from studio.core import resources
from studio.core.checkpoints.header import NotACheckpoint
from studio.core.runs import Run

_ORDER = ("mnist-ddpm", "fashion-ddpm", "swiss-roll", "mnist-ddgan", "fashion-ddgan")
"""Of what ships: the one to begin with, the plain ones, and those of a few big steps."""


def shipped() -> list[Path]:
    """Checkpoints that came with the studio, in the order to meet them; others after that, by name."""
    found = resources.shipped_checkpoints().glob("*.safetensors")
    return sorted(found, key=lambda path: (_ORDER.index(path.stem) if path.stem in _ORDER else len(_ORDER), path.name))


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
    """The checkpoint that a word means: a model that ships, by name, or else a path (from ``near``) or run folder."""
    known = _shipped_as(word)
    return known or resolve(Path(word) if near is None else near / word).absolute()


def anchored(word: str, near: Path | None = None) -> str:
    """A word for the same checkpoint from any folder: the name of a model that ships, or else an absolute path.

    "" stays; a path is one from ``near``, or from the working folder.
    """
    return word if not word or _shipped_as(word) else os.path.abspath(Path(near or "", word))


def named(word: str) -> Path:
    """The path that a word on the command line stands for: of a model that ships, or as it is; looks at no file."""
    return _shipped_as(word) or Path(word)


def _shipped_as(word: str) -> Path | None:
    return next((known for known in shipped() if word in (known.stem, known.name)), None)
