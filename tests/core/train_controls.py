"""Controls for trainings in tests: one that never asks for anything, and one that stops at a step."""

from __future__ import annotations

from studio.core.trainer import Trainer


class Unhurried:
    """A control that never asks for anything."""

    stopping = False
    paused = False

    def wait(self) -> None:
        raise AssertionError("nobody paused")

    def take_save(self) -> bool:
        return False


class StopAt(Unhurried):
    """Stops a trainer once it has taken so many steps."""

    def __init__(self, trainer: Trainer, step: int) -> None:
        self.trainer, self.step = trainer, step

    @property
    def stopping(self) -> bool:  # type: ignore[override]
        return self.trainer.step >= self.step
