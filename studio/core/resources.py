"""Where things lie: what ships with the studio, and where a person's own models, runs and data go."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

_PACKAGE = Path(__file__).resolve().parents[1]


def _shipped(name: str) -> Path:
    """Inside the installed package, or beside it in a checkout."""
    inside = _PACKAGE / name
    return inside if inside.is_dir() else _PACKAGE.parent / name


def assets() -> Path:
    """The folder with the icon, the desktop files, MNIST and the feature networks."""
    return _shipped("assets")


def shipped_checkpoints() -> Path:
    """The folder of trained models that ship."""
    return _shipped("checkpoints")


def user_folder() -> Path:
    """A person's own folder: ``runs/``, and ``data/``. DENOISING_STUDIO_HOME overrides the system's place."""
    override = os.environ.get("DENOISING_STUDIO_HOME")
    return Path(override) if override else Path(platformdirs.user_data_dir("denoising-studio", appauthor=False))


def runs() -> Path:
    """Run folders of trainings, newest last by name."""
    return user_folder() / "runs"


def data_folder() -> Path:
    """Where data sets are looked for and downloaded to."""
    return user_folder() / "data"


def cache_folder() -> Path:
    """What can be made again at any time. DENOISING_STUDIO_HOME overrides the system's place here too."""
    override = os.environ.get("DENOISING_STUDIO_HOME")
    return (
        Path(override) / "cache" if override else Path(platformdirs.user_cache_dir("denoising-studio", appauthor=False))
    )
