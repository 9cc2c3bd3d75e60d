"""Whether the two players of a GAN are still playing, told in plain words.

A generator's loss says little about its pictures. What tells are the share of pairs that the discriminator names
rightly, how far two latents lie apart, and how much the generator's images differ beside the real ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

PATIENCE = 300
"""Steps for which something must have been wrong before it is said."""
RIGHT_RANGE = 0.4, 0.97
SPREAD_LIMIT = 0.02
DIVERSITY_RANGE = 0.5, 1.5
IN_BALANCE = "In balance"


class Sign(NamedTuple):
    """What is wrong where ``scalar`` lies below ``low`` or above ``high``: in a word or two, and what to do then."""

    word: str
    scalar: str
    low: float
    high: float
    text: str

    def wrong(self, value: float) -> bool:
        """Whether ``value`` is outside of what is healthy."""
        return not self.low <= value <= self.high

    def told(self, value: float) -> str:
        """The sentence with the value in it."""
        return self.text.format(value)


_MOST = float("inf")
SIGNS = (
    Sign(
        "Discriminator ahead",
        "d_right",
        0.0,
        RIGHT_RANGE[1],
        "The discriminator wins: it names {:.0%} of the pairs rightly, so the generator learns little. Lower its rate, "
        "raise R1, or make it narrower.",
    ),
    Sign(
        "Generator ahead",
        "d_right",
        RIGHT_RANGE[0],
        1.0,
        "The discriminator is fooled: it names only {:.0%} of the pairs rightly, less than by guessing. Raise its rate "
        "or lower the generator's.",
    ),
    Sign(
        "z is ignored",
        "z_spread",
        SPREAD_LIMIT,
        _MOST,
        "The generator ignores its latent: two z make pictures that differ by {:.3f} of the data's spread. Samples "
        "then lack variety. Raise the generator's rate or lower the discriminator's.",
    ),
    Sign(
        "Modes lost",
        "diversity",
        DIVERSITY_RANGE[0],
        _MOST,
        "The generator's images differ {:.2f} times as much as real ones: it has lost modes. Raise R1 or lower the "
        "generator's rate.",
    ),
    Sign(
        "Samples stray",
        "diversity",
        0.0,
        DIVERSITY_RANGE[1],
        "The generator's images differ {:.2f} times as much as real ones: it strays from the data. Lower the "
        "generator's rate.",
    ),
)
"""The gravest first."""


def verdict(scalars: Mapping[str, float]) -> tuple[str, str]:
    """A word or two for what an adversarial training reports, and a sentence that explains it."""
    for sign in SIGNS:
        if sign.scalar in scalars and sign.wrong(scalars[sign.scalar]):
            return sign.word, sign.told(scalars[sign.scalar])
    return IN_BALANCE, "Generator and discriminator learn from each other: nothing that is measured is amiss."


class Balance:
    """Watches what an adversarial training reports, and says each thing that goes wrong once."""

    def __init__(self, has_latent: bool) -> None:
        self._signs = [sign for sign in SIGNS if has_latent or sign.scalar != "z_spread"]
        self._since: dict[Sign, int] = {}
        self._said: set[Sign] = set()

    def complaint(self, step: int, scalars: Mapping[str, float]) -> str | None:
        """What has been wrong for long, at ``step`` with its scalars; None where nothing new is."""
        for sign in self._signs:
            value = scalars.get(sign.scalar)
            if value is None:
                continue  # not measured since the last report
            if not sign.wrong(value):
                self._since.pop(sign, None)
                continue
            since = self._since.setdefault(sign, step)
            if step - since >= PATIENCE and sign not in self._said:
                self._said.add(sign)
                return sign.told(value)
        return None
