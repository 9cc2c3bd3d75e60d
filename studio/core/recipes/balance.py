"""Whether the two players of a GAN are still playing, told in plain words.

A generator's loss says little about its pictures. What tells are the share of pairs that the discriminator names
rightly, how far two latents lie apart, and how much the generator's images differ beside the real ones.
"""

from __future__ import annotations

from collections.abc import Mapping

PATIENCE = 300
"""Steps for which something must have been wrong before it is said."""
RIGHT_LIMIT = 0.97
SPREAD_LIMIT = 0.02
DIVERSITY_LIMIT = 0.5


class Balance:
    """Watches what an adversarial training reports, and says each thing that goes wrong once."""

    def __init__(self, has_latent: bool) -> None:
        self._has_latent = has_latent
        self._since: dict[str, int] = {}
        self._said: set[str] = set()

    def complaint(self, step: int, scalars: Mapping[str, float]) -> str | None:
        """What has been wrong for long, at ``step`` with its scalars; None where nothing new is."""
        right, spread = scalars.get("d_right", 0.5), scalars.get("z_spread")
        diversity = scalars.get("diversity", 1.0)
        signs = {
            f"The discriminator wins: it names {right:.0%} of the pairs rightly, so the generator learns little. Lower "
            "its rate, raise R1, or make it narrower.": right > RIGHT_LIMIT,
            f"The generator ignores its latent: two z make pictures that differ by {spread or 0.0:.3f} of the data's "
            "spread. Samples then lack variety. Raise the generator's rate or lower the discriminator's.": None
            if spread is None
            else self._has_latent and spread < SPREAD_LIMIT,
            f"The generator's images differ {diversity:.2f} times as much as real ones: it has lost modes. Raise R1 or "
            "lower the generator's rate.": diversity < DIVERSITY_LIMIT,
        }
        for number, (text, wrong) in enumerate(signs.items()):
            name = str(number)
            if wrong is False:
                self._since.pop(name, None)
            elif wrong:
                since = self._since.setdefault(name, step)
                if step - since >= PATIENCE and name not in self._said:
                    self._said.add(name)
                    return text
        return None
