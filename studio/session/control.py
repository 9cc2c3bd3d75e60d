"""Steering a job from another thread: stop, pause, one single step, save."""

from __future__ import annotations

import threading


class Control:
    """Flags that a job looks at between two steps. Every method may be called from any thread."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._stopping = False
        self._paused = False
        self._single_steps = 0
        self._save = False

    @property
    def stopping(self) -> bool:
        """Whether the job shall end after its present step, keeping what it has."""
        return self._stopping

    @property
    def paused(self) -> bool:
        """Whether the job shall wait after its present step."""
        return self._paused

    def stop(self) -> None:
        """End the job at the next step, also a paused one."""
        self._set(_stopping=True)

    def pause(self) -> None:
        """Let the job wait at the next step."""
        self._set(_paused=True, _single_steps=0)

    def resume(self) -> None:
        """Let a paused job go on."""
        self._set(_paused=False, _single_steps=0)

    def step_once(self) -> None:
        """Let a paused job take one step more and wait again."""
        with self._changed:
            if self._paused:
                self._single_steps += 1
                self._changed.notify_all()

    def ask_save(self) -> None:
        """Ask for a checkpoint at the next step, also of a paused job."""
        self._set(_save=True)

    def take_save(self) -> bool:
        """Whether a checkpoint was asked for since the last look."""
        with self._changed:
            asked, self._save = self._save, False
            return asked

    def wait(self) -> None:
        """Block until the job shall do something: go on, take one step, save or stop."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopping or not self._paused or self._save or self._single_steps)
            if self._single_steps and not self._save:
                self._single_steps -= 1

    def _set(self, **flags: bool | int) -> None:
        with self._changed:
            for name, value in flags.items():
                setattr(self, name, value)
            self._changed.notify_all()
