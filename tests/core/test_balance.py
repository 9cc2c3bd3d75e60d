"""The balance of two players: what is said, when, and how often."""

import pytest

from studio.core.recipes.balance import IN_BALANCE, PATIENCE, SIGNS, Balance, verdict

HEALTHY = {"d_right": 0.7, "z_spread": 0.3, "diversity": 1.0}
WRONG = {
    "Discriminator ahead": {"d_right": 0.99},
    "Generator ahead": {"d_right": 0.2},
    "z is ignored": {"z_spread": 0.01},
    "Modes lost": {"diversity": 0.3},
    "Samples stray": {"diversity": 2.0},
}


def test_every_sign_has_a_case_here() -> None:
    assert {sign.word for sign in SIGNS} == set(WRONG)


@pytest.mark.parametrize("word", WRONG)
def test_what_is_wrong_for_long_is_said_once(word: str) -> None:
    balance, scalars = Balance(has_latent=True), HEALTHY | WRONG[word]
    assert verdict(HEALTHY)[0] == IN_BALANCE
    assert verdict(scalars)[0] == word
    assert balance.complaint(0, scalars) is None
    assert balance.complaint(PATIENCE - 1, scalars) is None
    assert balance.complaint(PATIENCE, scalars) == verdict(scalars)[1]
    assert balance.complaint(3 * PATIENCE, scalars) is None


def test_what_recovers_is_not_said() -> None:
    balance = Balance(has_latent=True)
    balance.complaint(0, HEALTHY | {"d_right": 0.99})
    balance.complaint(PATIENCE // 2, HEALTHY)
    assert balance.complaint(PATIENCE, HEALTHY | {"d_right": 0.99}) is None
    assert balance.complaint(2 * PATIENCE, HEALTHY | {"d_right": 0.99}) is not None


def test_what_is_not_measured_neither_counts_nor_recovers() -> None:
    balance = Balance(has_latent=True)
    assert balance.complaint(0, {"z_spread": 0.0}) is None
    assert balance.complaint(10, {}) is None
    assert "latent" in (balance.complaint(PATIENCE, {"z_spread": 0.0}) or "")
    without = Balance(has_latent=False)
    assert [without.complaint(step, {"z_spread": 0.0}) for step in (0, PATIENCE)] == [None, None]
