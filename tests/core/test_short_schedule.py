"""Short schedules: what they are made of, what they refuse, and that tables bring every field back."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import pytest

from studio.core.short_schedule import MOST_STEPS, ShortSchedule, best_of, check_betas, fewest_steps

FULL = ShortSchedule(
    betas=(0.1 + 0.2, 1 / 3, 0.7),
    origin="refined",
    title="Mine ☾",
    sampler={"name": "ddim", "eta": 0.2},
    start=(0.05, 0.7),
    seed=11,
    scores={"FD · MNIST classifier · 500 samples · DDIM 3": 1.05},
    model="0123456789",
)


@pytest.mark.parametrize("schedule", [FULL, ShortSchedule(betas=(5e-324, 1e-9), origin="drawn")], ids=["full", "bare"])
def test_tables_bring_every_field_back(schedule: ShortSchedule) -> None:
    table = json.loads(json.dumps(schedule.to_dict(), allow_nan=False))
    assert ShortSchedule.from_dict(table) == schedule
    assert {field.name for field in dataclasses.fields(ShortSchedule)} == set(FULL.to_dict()), "no field is forgotten"


def test_alphas_are_the_products() -> None:
    schedule = ShortSchedule(betas=(0.1, 0.2, 0.5), origin="drawn")
    assert [alpha**2 for alpha in schedule.alphas] == pytest.approx([0.9, 0.72, 0.36], rel=1e-14)
    assert schedule.steps == 3


def test_names() -> None:
    assert FULL.name == "Mine ☾"
    assert ShortSchedule(betas=(0.1,), origin="imported").name == "1 step, imported"
    assert ShortSchedule(betas=(0.1, 0.2), origin="learned").name == "2 steps, learned"


@pytest.mark.parametrize(
    ("betas", "said"),
    [
        ((), "at least one beta"),
        ((0.1,) * (MOST_STEPS + 1), "10,001 betas are too many: a schedule takes at most 10,000"),
        ((0.1, 0.0), r"beta\[1\] = 0.0 is not possible"),
        ((1.0,), r"beta\[0\] = 1.0 is not possible"),
        ((-0.1,), "between 0 and 1"),
        ((math.nan,), "between 0 and 1"),
        ((math.inf,), "between 0 and 1"),
        (("0.1",), "between 0 and 1"),
        ((True,), "between 0 and 1"),
        ((None,), "between 0 and 1"),
        ((0.999,) * 120, "leave no signal at all"),
    ],
)
def test_impossible_betas_are_refused(betas: tuple[Any, ...], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        check_betas(betas)
    with pytest.raises(ValueError, match=said):
        ShortSchedule(betas=betas, origin="drawn")


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({}, "a table with a list of betas"),
        ([0.1], "a table with a list of betas"),
        ({"betas": 0.1}, "a table with a list of betas"),
        ({"betas": "0.1"}, "betas = '0.1' is not what a schedule has there"),
        ({"betas": [0.1, "b"]}, r"beta\[1\] = 'b' is not possible"),
        ({"betas": [0.1], "origin": "found"}, "origin = 'found' is not possible: it is one of learned"),
        ({"betas": [0.1], "origin": None}, "origin = None is not what"),
        ({"betas": [0.1], "title": 3}, "title = 3 is not what"),
        ({"betas": [0.1], "sampler": "ddim"}, "sampler = 'ddim' is not what"),
        ({"betas": [0.1], "scores": {"FD": math.nan}}, "FD = nan is no score"),
        ({"betas": [0.1], "scores": {"FD": "good"}}, "FD = 'good' is no score"),
        ({"betas": [0.1], "start": 0.5}, "start = 0.5 is not possible: it is an alpha and a beta"),
        ({"betas": [0.1], "start": [0.5]}, "start = .* is not possible"),
        ({"betas": [0.1], "start": [0.5, 1.5]}, r"start = \(0.5, 1.5\) is not possible"),
        ({"betas": [0.1], "seed": 1.5}, "seed = 1.5 is not possible: it takes a whole number"),
        ({"betas": [0.1], "seed": True}, "seed = True is not possible"),
        ({"betas": [0.1], "model": 5}, "model = 5 is not what"),
        ({"betas": [0.1], "beta": [0.1]}, "'beta' is no part of a schedule; there are betas, origin"),
    ],
)
def test_other_tables_are_refused(table: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ShortSchedule.from_dict(table)


def test_the_bound_of_a_linear_schedule_s_end() -> None:
    """Started at the end of linear schedules from 1e-4 to 0.02, no schedule network gets below hundreds of steps.

    250.4 for T = 500, 100.2 for T = 200, 500.8 for T = 1000, as alpha_T follows from the betas alone.
    """
    for count, bound in ((200, 100.2), (500, 250.4), (1000, 500.8)):
        betas = [1e-4 + (0.02 - 1e-4) * index / (count - 1) for index in range(count)]
        alpha = ShortSchedule(betas=tuple(betas), origin="drawn").alphas[-1]
        assert fewest_steps(alpha, betas[-1]) == pytest.approx(bound, abs=0.05)
    assert fewest_steps(math.sqrt(0.25), 0.5) == pytest.approx(2.0), "two halvings take alpha_bar from 1 to 1/4"


def test_one_that_ends_at_the_floor_is_shorter_than_its_start_s_bound() -> None:
    """From (0.16, 0.23) clean data are 14 steps away; a floor may end it before, and then sampling begins elsewhere."""
    short = ShortSchedule(betas=(0.037, 0.087, 0.232), origin="learned", start=(0.16, 0.232))
    whole = ShortSchedule(betas=(0.1, 0.4, 0.75), origin="learned", start=(0.36, 0.75))
    assert short.steps < fewest_steps(0.16, 0.232)
    assert short.is_cut_short
    assert not whole.is_cut_short
    for each in (short, whole):
        assert each.steps >= fewest_steps(each.alphas[-1], each.betas[-1]), "this one holds always"
    assert not dataclasses.replace(short, origin="refined").is_cut_short, "its start says nothing of it any more"


def test_the_best_is_of_the_measure_that_most_were_judged_by() -> None:
    by_fd, worse, by_error, unjudged = (
        ShortSchedule(betas=(0.1 * n,), origin="learned", scores=scores)
        for n, scores in enumerate(
            ({"FD · 500 samples · DDIM": 2.0}, {"FD · 500 samples · Ancestral": 3.0}, {"Denoising error": 0.1}, {}), 1
        )
    )
    assert best_of([unjudged, worse, by_error, by_fd]) == by_fd
    assert best_of([unjudged, by_error]) == by_error
    assert best_of([unjudged]) == unjudged
