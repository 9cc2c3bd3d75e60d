"""Evaluations as a job, and where their folders are."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from studio.core import events, resources
from studio.core.evaluation import Evaluation
from studio.core.evaluator import Evaluator
from studio.session.control import Control


@dataclass(frozen=True)
class EvaluateJob:
    """Measure ``evaluation`` into ``folder``; what is there already is not measured again."""

    evaluation: Evaluation
    folder: Path

    def __call__(self, control: Control) -> Iterator[events.Event | None]:
        yield from Evaluator(self.evaluation, self.folder).run(control)


def default_folder(evaluation: Evaluation) -> Path:
    """Where an evaluation lies unless a person says otherwise: the same one for the same question."""
    name = hashlib.sha256(evaluation.to_toml().encode()).hexdigest()[:12]
    return resources.user_folder() / "evaluations" / name
