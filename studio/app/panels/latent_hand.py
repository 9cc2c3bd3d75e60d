"""The z in hand, without Qt: the middle of the pad, the plane through it, the marker, and each step's noise.

What the marker is at, z + reach (u A + v B), is the z that counts; :meth:`Hand.centre` makes it the middle.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from studio.session.latent import Array, Held, Plane, draw_z


class Hand:
    """A z of ``size`` numbers at each of ``num_steps`` steps, and what goes with it."""

    def __init__(self, num_steps: int, size: int, z_seed: int, noise_seed: int) -> None:
        self.shape = (num_steps, size)
        self.at = (0.0, 0.0)
        self.origin = ""
        """Where z comes from, if not from the seed alone."""
        self.plane = Plane(np.zeros(self.shape, np.float32), np.zeros(self.shape, np.float32), 1.0)
        self.draw(z_seed)
        self.set_noise(noise_seed)

    def current(self) -> Array:
        """(T, size): the z under the marker."""
        return self.plane.through(self.z, np.array([self.at]))[0]

    def held(self, start_seed: int, label: str, *, centre: bool = False) -> Held:
        """What a job needs: with the z under the marker, or with that in the middle."""
        return Held(self.z if centre else self.current(), start_seed, tuple(self.noise_seeds), label)

    def span(self, a: Array, b: Array, reach: float, moved: Sequence[bool]) -> None:
        """Lay the plane along ``a`` and ``b`` (T, size) through the steps that ``moved`` names."""
        mask = np.array(moved, np.float32)[:, None]
        self.plane = Plane(a * mask, b * mask, reach)

    def draw(self, seed: int) -> None:
        """Take the z of a seed at every step."""
        self.z = draw_z(seed, *self.shape)
        self.at, self.origin = (0.0, 0.0), ""

    def set_noise(self, seed: int) -> None:
        """Take the noise of a seed at every step."""
        self.noise_seeds = [seed] * self.shape[0]

    def centre(self) -> None:
        """Make the z under the marker the middle; the sample stays."""
        if self.at != (0.0, 0.0):
            self.z, self.at, self.origin = self.current(), (0.0, 0.0), "moved on the pad"

    def take(self, step: int, z: Array) -> None:
        """Take another z (size,) for one step."""
        self.centre()
        self.z = self.z.copy()
        self.z[step] = z
        self.origin = f"step {self.shape[0] - step} taken from its draws"

    def redraw(self, step: int, seed: int, *, z: bool, noise: bool) -> None:
        """Draw one step's z, its noise or both anew, from ``seed``."""
        if z:
            self.z = self.z.copy()
            self.z[step] = draw_z(seed, *self.shape)[step]
            self.origin = "redrawn"
        if noise:
            self.noise_seeds[step] = seed

    def recall(self, held: Held, name: str) -> None:
        """Take a kept z in hand, with the noise of its steps."""
        self.z, self.noise_seeds = held.z, list(held.noise_seeds)
        self.at, self.origin = (0.0, 0.0), f"this is {name}"

    def odd_noise(self, seed: int) -> list[int]:
        """The numbers of the steps whose noise is not of ``seed``; the last step adds none."""
        num_steps = self.shape[0]
        return [num_steps - step for step in range(num_steps - 1) if self.noise_seeds[step] != seed]
