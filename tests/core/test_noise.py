"""Noise: the published answers of Philox, and normals that depend on (seed, index, step, stream) alone."""

import math
from itertools import combinations

import pytest
import torch

from studio.core.noise import Noise, Stream, philox

WORD = 0xFFFFFFFF


@pytest.mark.parametrize(
    ("counter", "key", "answer"),
    [
        ([0] * 4, 0, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ([WORD] * 4, 2**64 - 1, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            0x299F31D0A4093822,
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
)
def test_philox_gives_the_published_answers(counter: list[int], key: int, answer: str) -> None:
    """Random123 1.14, kat_vectors, "philox4x32 10"."""
    words = philox(tuple(torch.tensor([word]) for word in counter), key)  # type: ignore[arg-type]
    assert " ".join(f"{int(word):08x}" for word in words) == answer


def test_same_image_in_any_batch() -> None:
    """Bitwise: index 5 of a run gets the same draws alone, in a batch, and whatever its place there."""
    alone = Noise(7, [5])
    for indices in (range(8), [9, 5], [5, 2**40, 0]):
        many = Noise(7, indices)
        place = list(indices).index(5)
        assert torch.equal(many.normal((3, 5), 4)[place], alone.normal((3, 5), 4)[0])
        assert torch.equal(many.uniform(4, Stream.LEVEL)[place], alone.uniform(4, Stream.LEVEL)[0])


def test_that_of_some_images_is_theirs_in_the_batch() -> None:
    held = torch.arange(5.0)[:, None]
    whole = Noise(3, range(10, 15), given={(Stream.LATENT, 2): held}, step=2)
    some = whole.of(torch.tensor([4, 1]))
    assert torch.equal(some.normal((6,), 7), whole.normal((6,), 7)[[4, 1]])
    assert torch.equal(some.latent(1), held[[4, 1]])


def test_draws_do_not_depend_on_what_was_drawn_before() -> None:
    one, other = Noise(1, [0, 1]), Noise(1, [0, 1])
    for step in range(5):
        one.normal((17,), step)
    assert torch.equal(one.normal((4,), 9), other.normal((4,), 9))


def test_global_generator_is_neither_used_nor_moved() -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = Noise(0, range(3)).normal((4,), 0)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert torch.equal(Noise(0, range(3)).normal((4,), 0), first)


def test_normals_have_the_moments_of_normals() -> None:
    draws = Noise(3, range(64)).normal((2, 64, 64), 0).double().flatten()
    n = len(draws)
    for power, expected, variance in ((1, 0, 1), (2, 1, 2), (3, 0, 15), (4, 3, 96)):
        assert float((draws**power).mean()) == pytest.approx(expected, abs=4 * math.sqrt(variance / n))
    ranks = torch.special.ndtr(draws.sort().values)
    gap = (ranks - (torch.arange(n) + 0.5) / n).abs().max()
    assert float(gap) < 1.63 / math.sqrt(n)  # Kolmogorov-Smirnov at 1 %
    assert draws.isfinite().all()


def test_places_within_an_image_are_independent() -> None:
    """Also the pairs and fours that one Philox block and one Box-Muller turn give, and their squares."""
    draws = Noise(5, range(40_000)).normal((8,), 0).double()
    bound = 4.5 / math.sqrt(len(draws))
    for values in (draws, draws**2):
        correlation = torch.corrcoef(values.T)
        off = correlation - torch.eye(8).double()
        assert float(off.abs().max()) < bound


def test_steps_streams_images_and_seeds_are_independent() -> None:
    count = 20_000
    sources = [
        Noise(0, range(count)).normal((1,), 0, Stream.START),
        Noise(0, range(count)).normal((1,), 1, Stream.START),
        Noise(0, range(count)).normal((1,), 0, Stream.STEP),
        Noise(0, range(count)).normal((1,), 0, Stream.EPS),
        Noise(0, range(1, count + 1)).normal((1,), 0, Stream.START),
        Noise(0, range(2**32, 2**32 + count)).normal((1,), 0, Stream.START),
        Noise(1, range(count)).normal((1,), 0, Stream.START),
        Noise(2**32, range(count)).normal((1,), 0, Stream.START),
    ]
    table = torch.stack([source.flatten().double() for source in sources])
    for values in (table, table**2):
        for a, b in combinations(range(len(sources)), 2):
            correlation = float(torch.corrcoef(values[[a, b]])[0, 1])
            assert abs(correlation) < 4.5 / math.sqrt(count), (a, b)


def test_no_two_draws_coincide() -> None:
    """Every stream, step, image and place has its own: float32 leaves room for few collisions by chance."""
    parts = [Noise(0, range(50)).normal((7,), step, stream) for step in range(20) for stream in Stream]
    draws = torch.cat(parts).flatten()
    assert len(draws.unique()) > 0.995 * len(draws)
    rows = torch.cat(parts)
    assert len(rows.unique(dim=0)) == len(rows)


def test_uniforms_are_uniform_and_never_zero() -> None:
    draws = Noise(11, range(100_000)).uniform(3, Stream.LEVEL).double()
    assert draws.shape == (100_000,)
    assert 0.0 < float(draws.min()) < 1e-4
    assert 1.0 - 1e-4 < float(draws.max()) <= 1.0
    expected = (torch.arange(len(draws)) + 0.5) / len(draws)
    assert float((draws.sort().values - expected).abs().max()) < 1.63 / math.sqrt(len(draws))


def test_like_takes_shape_and_type() -> None:
    noise = Noise(0, range(3))
    drawn = noise.like(torch.zeros(3, 2, 5, dtype=torch.float64), 6)
    assert drawn.dtype == torch.float64
    assert torch.equal(drawn, noise.normal((2, 5), 6).double())


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_impossible_seed_is_refused(seed: int) -> None:
    with pytest.raises(ValueError, match=rf"seed = {seed} is not possible: it takes a whole number from 0 to"):
        Noise(seed, [0])
