"""Measures against closed forms, cases worked out by hand, and public implementations where they are installed.

All draws are seeded, so a tolerance is a statement about one fixed sample, not a chance of failing.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
import torch

from studio.core.data.base import Mixture
from studio.core.data.points import Gaussians25, Mixture1D, TwoMoons
from studio.core.metrics.base import (
    Evidence,
    Metric,
    Reference,
    Score,
    fixed_rows,
    floor,
    measure,
    take_block,
    warning,
)
from studio.core.metrics.classifier import Classifier, class_histogram, classifier_score
from studio.core.metrics.density import ExactDensity, cell_probabilities, cell_shares, log_density
from studio.core.metrics.distances import row_blocks, squared_distances
from studio.core.metrics.energy import EnergyDistance, energy_distance
from studio.core.metrics.frechet import FrechetDistance, frechet, frechet_gaussians
from studio.core.metrics.kernel import FACTOR, KernelDistance, kernel_distance
from studio.core.metrics.manifold import Manifold, precision_recall_density_coverage
from studio.core.metrics.memorisation import Memorisation, nearest, typical_distances
from studio.core.metrics.modes import Modes, nearest_component
from studio.core.metrics.sliced import SlicedWasserstein, directions, wasserstein_squared
from studio.core.registry import methods

NUM_CLASSES, NUM_FEATURES = 10, 12
METRICS: dict[str, Metric] = {name: cls() for name, cls in methods("metric").items()}

every_metric = pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)


def images(rng: np.random.Generator, count: int, shift: float = 0.0) -> Evidence:
    """Evidence as a feature network would give it: ten blobs in feature space, pictures that show which blob."""
    labels = rng.integers(0, NUM_CLASSES, count)
    centres = np.random.default_rng(99).standard_normal((NUM_CLASSES, NUM_FEATURES))
    features = 2.0 * centres[labels] + rng.standard_normal((count, NUM_FEATURES)) + shift
    logits = -0.5 * ((features[:, None] - 2.0 * centres) ** 2).sum(2)
    odds = np.exp(logits - logits.max(1, keepdims=True))
    items = rng.integers(0, 200, (count, 1, 4, 4)) + 5 * labels[:, None, None, None]
    return Evidence(
        items=items.astype(np.uint8),
        labels=labels,
        features=features,
        probabilities=odds / odds.sum(1, keepdims=True),
        modes=logits.argmax(1),
    )


def image_reference() -> Reference:
    train, test = images(np.random.default_rng(1), 4_000), images(np.random.default_rng(2), 2_500)
    return Reference(
        data="Blobs",
        kind="image",
        network="blobs v1",
        num_modes=NUM_CLASSES,
        test=test,
        train=train,
        look=lambda real: real,
    )


def point_reference(mixture: Mixture | None) -> Reference:
    def draw(seed: int, count: int) -> Evidence:
        rng = np.random.default_rng(seed)
        if mixture is None:
            return Evidence(items=TwoMoons().sample(rng, count)[0].astype(np.float32))
        return Evidence(items=draw_mixture(mixture, rng, count))

    train, test = draw(1, 5_000), draw(2, 2_500)
    return Reference(
        data="Points",
        kind="points",
        network="",
        num_modes=0,
        test=test,
        train=train,
        look=lambda real: real,
        mixture=mixture,
    )


def draw_mixture(mixture: Mixture, rng: np.random.Generator, count: int) -> np.ndarray:
    chosen = rng.choice(len(mixture.weights), count, p=mixture.weights)
    noise = rng.standard_normal((count, mixture.means.shape[1]))
    return (mixture.means[chosen] + mixture.stds[chosen, None] * noise).astype(np.float32)


IMAGES, GRID, LINE, MOONS = (
    image_reference(),
    point_reference(Gaussians25().mixture),
    point_reference(Mixture1D().mixture),
    point_reference(None),
)


def references_of(metric: Metric) -> list[Reference]:
    return [reference for reference in (IMAGES, GRID, LINE, MOONS) if metric.applies(reference)]


def altered(evidence: Evidence, **changes: Any) -> Evidence:
    return dataclasses.replace(evidence, **changes)


def values(scores: Any) -> dict[str, float]:
    return {name: score.value for name, score in scores.items()}


@every_metric
class TestEveryMeasure:
    """What holds for each registered measure, whatever it computes."""

    def test_describes_what_it_gives(self, metric: Metric) -> None:
        assert metric.title
        assert type(metric).__doc__
        assert 1 <= metric.fewest <= metric.advised
        for quantity in metric.quantities:
            assert quantity.title
            assert quantity.help.endswith(".")
            assert format(0.25, quantity.style)

    def test_gives_no_number_it_did_not_announce(self, metric: Metric) -> None:
        announced = {quantity.name for quantity in metric.quantities}
        for reference in references_of(metric):
            found = measure(metric, metric.real(reference, 500, 0), reference)
            assert found.keys() <= announced
            assert found
            for score in found.values():
                assert type(score.value) is float
                assert math.isfinite(score.value)
                assert score.error is None or (type(score.error) is float and 0.0 <= score.error < math.inf)

    def test_is_deterministic_and_changes_nothing(self, metric: Metric) -> None:
        for reference in references_of(metric):
            samples = metric.real(reference, 400, 1)
            before = [np.copy(each) for each in vars(samples).values() if each is not None]
            torch.manual_seed(0)
            state = torch.get_rng_state()
            first = measure(metric, samples, reference)
            assert measure(metric, samples, dataclasses.replace(reference)) == first
            assert torch.equal(torch.get_rng_state(), state)
            after = [each for each in vars(samples).values() if each is not None]
            assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))

    def test_does_not_depend_on_the_order_of_samples(self, metric: Metric) -> None:
        for reference in references_of(metric):
            samples = metric.real(reference, 400, 0)
            turned = samples.take(np.random.default_rng(5).permutation(400))
            assert values(measure(metric, turned, reference)) == pytest.approx(
                values(measure(metric, samples, reference)), rel=1e-9, abs=1e-9
            )

    def test_floor_is_what_real_items_score(self, metric: Metric) -> None:
        for reference in references_of(metric):
            each = [values(measure(metric, metric.real(reference, 300, draw), reference)) for draw in range(5)]
            for name, score in floor(metric, reference, 300).items():
                found = [one[name] for one in each]
                assert score == Score(float(np.mean(found)), float(np.std(found, ddof=1)))

    def test_broken_samples_score_worse_than_real_ones(self, metric: Metric) -> None:
        for reference in references_of(metric):
            real = floor(metric, reference, 500)
            broken = collapsed(reference, 500)
            found = values(measure(metric, broken, reference))
            worse = {
                quantity.name
                for quantity in metric.quantities
                if quantity.name in found
                and (found[quantity.name] - real[quantity.name].value)
                * {"lower": 1, "higher": -1, "neither": 0}[quantity.better]
                > 3.0 * (real[quantity.name].error or 0.0)
            }
            assert worse, f"{metric.title} does not notice a model that makes one item only"

    def test_refuses_too_few_samples(self, metric: Metric) -> None:
        reference = references_of(metric)[0]
        fewest = metric.fewest_for(reference)
        few = metric.real(reference, fewest, 0).take(np.arange(fewest - 1))
        with pytest.raises(ValueError, match=rf"needs at least {fewest:,} samples; there are {len(few):,}"):
            measure(metric, few, reference)
        assert f"{metric.advised - 1:,} samples are few" in warning(metric, metric.advised - 1)
        assert warning(metric, metric.advised) == ""

    def test_refuses_items_of_another_shape(self, metric: Metric) -> None:
        for reference in references_of(metric):
            samples = metric.real(reference, 300, 0)
            items = np.concatenate([samples.items, samples.items], axis=-1)
            with pytest.raises(ValueError, match="cannot be compared with"):
                measure(metric, altered(samples, items=items), reference)

    def test_refuses_data_it_does_not_apply_to(self, metric: Metric) -> None:
        others = [each for each in (IMAGES, GRID, LINE, MOONS) if not metric.applies(each)]
        for reference in others:
            with pytest.raises(ValueError, match=r"does not apply to (Blobs|Points)\."):
                measure(metric, reference.test, reference)

    def test_refuses_features_of_another_network(self, metric: Metric) -> None:
        if metric.applies(IMAGES):
            samples = metric.real(IMAGES, 300, 0)
            assert samples.features is not None
            with pytest.raises(ValueError, match="features were not made by blobs v1"):
                measure(metric, altered(samples, features=samples.features[:, 1:]), IMAGES)
            with pytest.raises(ValueError, match="probabilities were not made by blobs v1"):
                measure(metric, altered(samples, probabilities=None), IMAGES)


def collapsed(reference: Reference, count: int) -> Evidence:
    """What a model gives that makes one training item only."""
    return reference.train.take(np.zeros(count, np.int64))


def test_quantities_have_names_of_their_own() -> None:
    names = [quantity.name for metric in METRICS.values() for quantity in metric.quantities]
    assert len(names) == len(set(names))


class TestEvidence:
    def test_rows_must_match(self) -> None:
        with pytest.raises(ValueError, match="3 labels do not belong to 4 items"):
            Evidence(items=np.zeros((4, 2), np.float32), labels=np.zeros(3, np.int64))

    @pytest.mark.parametrize("bad", [math.nan, math.inf])
    def test_numbers_must_be_finite(self, bad: float) -> None:
        points = np.zeros((5, 2), np.float32)
        points[[1, 3], 0] = bad
        with pytest.raises(ValueError, match=r"2 of 5 samples hold no numbers .* in their items.*take more steps"):
            Evidence(items=points)
        with pytest.raises(ValueError, match="in their features"):
            Evidence(items=np.zeros((5, 1, 2, 2), np.uint8), features=points.astype(np.float64))

    def test_real_items_come_without_repetition_until_they_are_used_up(self) -> None:
        pool = Evidence(items=np.arange(10, dtype=np.float32)[:, None])
        blocks = [take_block(pool, 3, draw).items.ravel() for draw in range(3)]
        assert len(set(np.concatenate(blocks))) == 9
        assert set(take_block(pool, 10, 0).items.ravel()) == set(range(10))
        assert len(take_block(pool, 25, 1)) == 25

    def test_real_items_come_in_the_classes_of_the_samples(self) -> None:
        labels = np.arange(300) % NUM_CLASSES
        blocks = [take_block(IMAGES.train, 300, draw, labels) for draw in range(2)]
        for block in blocks:
            assert block.labels is not None
            assert (block.labels == labels).all()
        rows = np.concatenate([block.features for block in blocks if block.features is not None])
        assert len(np.unique(rows, axis=0)) == 600, "no item twice"
        balanced = floor(FrechetDistance(), IMAGES, 300, labels)["fd"]
        assert balanced != floor(FrechetDistance(), IMAGES, 300)["fd"]

    def test_fixed_rows(self) -> None:
        rows = fixed_rows(100, 30)
        assert np.array_equal(rows, fixed_rows(100, 30))
        assert len(set(rows)) == 30
        assert (np.diff(rows) > 0).all()
        assert np.array_equal(fixed_rows(5, 30), np.arange(5))

    def test_a_reference_works_things_out_once(self) -> None:
        reference, calls = image_reference(), []
        for _ in range(2):
            assert reference.once("sum", lambda: calls.append(0) or 7) == 7  # type: ignore[func-returns-value]
        assert len(calls) == 1


class TestDistances:
    def test_equal_the_definition_in_any_number_of_blocks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        rng = np.random.default_rng(0)
        a, b = rng.standard_normal((17, 3)), rng.standard_normal((9, 3))
        expected = ((a[:, None] - b) ** 2).sum(2)
        for most in (1, 40, 10_000):
            monkeypatch.setattr("studio.core.metrics.distances._BLOCK_NUMBERS", most)
            found = np.concatenate([table for _, table in squared_distances(a, b)])
            np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)
            assert sum(rows.stop - rows.start for rows in row_blocks(17, 9)) == 17


class TestFrechet:
    def test_equals_the_closed_form_in_one_dimension(self) -> None:
        # N(1, 2**2) and N(4, 5**2): (1 - 4)**2 + (2 - 5)**2
        found = frechet_gaussians(np.array([1.0]), np.array([[4.0]]), np.array([4.0]), np.array([[25.0]]))
        assert found == pytest.approx(18.0, abs=1e-12)

    def test_equals_the_closed_form_where_covariances_commute(self) -> None:
        # One rotation R, S = R diag(l) R^T: |mu|**2 + sum (sqrt(l_a) - sqrt(l_b))**2
        rng = np.random.default_rng(0)
        rotation, _ = np.linalg.qr(rng.standard_normal((6, 6)))
        l_a, l_b, mean = rng.uniform(0.1, 3.0, 6), rng.uniform(0.1, 3.0, 6), rng.standard_normal(6)
        found = frechet_gaussians(
            mean, rotation @ np.diag(l_a) @ rotation.T, np.zeros(6), rotation @ np.diag(l_b) @ rotation.T
        )
        assert found == pytest.approx(mean @ mean + ((np.sqrt(l_a) - np.sqrt(l_b)) ** 2).sum(), rel=1e-10)

    def test_equals_the_closed_form_of_two_by_two_matrices(self) -> None:
        # tr (A B)**(1/2) = sqrt(tr AB + 2 sqrt(det AB)) for 2 x 2, by Cayley and Hamilton; A and B do not commute.
        a, b = np.array([[2.0, 0.5], [0.5, 1.0]]), np.array([[1.0, -0.8], [-0.8, 3.0]])
        cross = math.sqrt(np.trace(a @ b) + 2.0 * math.sqrt(np.linalg.det(a @ b)))
        expected = np.trace(a) + np.trace(b) - 2.0 * cross
        assert frechet_gaussians(np.zeros(2), a, np.zeros(2), b) == pytest.approx(expected, rel=1e-12)

    def test_samples_converge_to_the_closed_form(self) -> None:
        rng = np.random.default_rng(0)
        stds, mean = np.array([1.0, 2.0, 0.5, 1.5]), np.array([0.5, 0.0, -1.0, 0.0])
        exact = mean @ mean + ((stds - 1.0) ** 2).sum()
        errors = {}
        for count in (100, 10_000):
            pairs = [
                (rng.standard_normal((count, 4)) * stds + mean, rng.standard_normal((count, 4))) for _ in range(20)
            ]
            errors[count] = np.sqrt(np.mean([(frechet(a, b) - exact) ** 2 for a, b in pairs]))
        # The error falls with the root of the count: ten times smaller for a hundred times as many, give or take.
        assert errors[10_000] < 0.02 * exact
        assert errors[100] / errors[10_000] == pytest.approx(10.0, rel=0.4)

    def test_bias_is_what_the_docstring_says(self) -> None:
        rng = np.random.default_rng(0)
        spectrum, count = np.array([4.0, 2.0, 1.0, 0.5, 0.25]), 400
        pairs = np.outer(spectrum, spectrum) / np.add.outer(spectrum, spectrum)
        bias = spectrum.sum() + 0.5 * (pairs.sum() + pairs.trace())
        found = []
        for _ in range(300):
            features = rng.standard_normal((count, 5)) * np.sqrt(spectrum)
            cov = np.cov(features, rowvar=False)
            found.append(frechet_gaussians(features.mean(0), cov, np.zeros(5), np.diag(spectrum)))
        assert np.mean(found) * count == pytest.approx(bias, rel=0.05)
        equal = np.full((7, 7), 0.5)
        assert 7 + 0.5 * (equal.sum() + equal.trace()) == pytest.approx((1 + (7 + 1) / 4) * 7)

    def test_identical_sets_are_at_zero(self) -> None:
        assert IMAGES.test.features is not None
        assert frechet(IMAGES.test.features, IMAGES.test.features) == pytest.approx(0.0, abs=1e-9)
        assert measure(FrechetDistance(), IMAGES.test, IMAGES)["fd"].value == pytest.approx(0.0, abs=1e-9)

    def test_symmetric_and_unmoved_by_a_rotation(self) -> None:
        rng = np.random.default_rng(0)
        a, b = rng.standard_normal((300, 5)) * 2.0, rng.standard_normal((200, 5)) + 1.0
        rotation, _ = np.linalg.qr(rng.standard_normal((5, 5)))
        assert frechet(b, a) == pytest.approx(frechet(a, b), rel=1e-10)
        assert frechet(a @ rotation, b @ rotation) == pytest.approx(frechet(a, b), rel=1e-10)

    def test_more_features_than_items_and_constant_features(self) -> None:
        rng = np.random.default_rng(0)
        assert math.isfinite(frechet(rng.standard_normal((5, 8)), rng.standard_normal((6, 8))))
        # Constant features: only the means differ.
        assert frechet(np.zeros((5, 3)), np.ones((5, 3))) == pytest.approx(3.0)

    def test_public_implementation(self) -> None:
        image = pytest.importorskip("torchmetrics.image.fid")
        rng = np.random.default_rng(0)
        a, b = rng.standard_normal((200, 6)) * 1.5, rng.standard_normal((300, 6)) + 0.3
        features = torch.nn.Identity()
        features.num_features = torch.tensor(6)
        theirs = image.FrechetInceptionDistance(feature=features).set_dtype(torch.float64)
        theirs.update(torch.from_numpy(a), real=True)
        theirs.update(torch.from_numpy(b), real=False)
        assert frechet(a, b) == pytest.approx(float(theirs.compute()), rel=1e-8)


class TestKernel:
    def test_by_hand(self) -> None:
        # F = 1, k(a, b) = (a b + 1)**3, x = (0, 1), y = (1, 2): k(0, 1) = 1; k(1, 2) = 27;
        # across: k(0, 1) = 1, k(0, 2) = 1, k(1, 1) = 8, k(1, 2) = 27, mean 37 / 4.
        x, y = np.array([[0.0], [1.0]]), np.array([[1.0], [2.0]])
        assert kernel_distance(x, y) == pytest.approx(1.0 + 27.0 - 2.0 * 37.0 / 4.0, abs=1e-12)

    @pytest.mark.filterwarnings("ignore:.*will save all extracted features in buffer:UserWarning")
    def test_public_implementation(self) -> None:
        image = pytest.importorskip("torchmetrics.image.kid")
        rng = np.random.default_rng(0)
        x, y = rng.standard_normal((150, 7)) + 0.2, rng.standard_normal((150, 7))
        theirs = image.KernelInceptionDistance(feature=torch.nn.Identity(), subsets=1, subset_size=150)
        theirs.update(torch.from_numpy(y), real=True)
        theirs.update(torch.from_numpy(x), real=False)
        expected, _ = theirs.compute()
        assert kernel_distance(x, y) == pytest.approx(float(expected), rel=1e-6)

    def test_public_kernel(self) -> None:
        pairwise = pytest.importorskip("sklearn.metrics.pairwise")
        rng = np.random.default_rng(0)
        x, y = rng.standard_normal((20, 4)), rng.standard_normal((30, 4))
        within = [pairwise.polynomial_kernel(each, degree=3, coef0=1.0) for each in (x, y)]
        across = pairwise.polynomial_kernel(x, y, degree=3, coef0=1.0)
        means = [(table.sum() - table.trace()) / (len(table) * (len(table) - 1)) for table in within]
        assert kernel_distance(x, y) == pytest.approx(sum(means) - 2.0 * across.mean(), rel=1e-10)

    def test_unbiased_and_its_error_is_the_spread_between_draws(self) -> None:
        rng = np.random.default_rng(0)
        scores = [measure(KernelDistance(), images(rng, 200), IMAGES)["kd"] for _ in range(60)]
        spread = float(np.std([score.value for score in scores]))
        mean = float(np.mean([score.value for score in scores]))
        # 60 draws share one reference, whose own deviation is of the order of sqrt(200 / 2500) spreads.
        assert abs(mean) < spread * (3.0 / math.sqrt(60) + math.sqrt(200 / 2_500))
        assert float(np.mean([score.error for score in scores if score.error])) == pytest.approx(spread, rel=0.5)

    def test_error_is_right_where_features_differ(self) -> None:
        rng = np.random.default_rng(0)
        scores = [measure(KernelDistance(), images(rng, 300, shift=0.5), IMAGES)["kd"] for _ in range(40)]
        spread = float(np.std([score.value for score in scores]))
        assert min(score.value for score in scores) > 3.0 * spread
        assert float(np.mean([score.error for score in scores if score.error])) == pytest.approx(spread, rel=0.4)

    def test_value_is_of_all_pairs_whatever_the_subsets(self) -> None:
        samples = images(np.random.default_rng(3), 300)
        assert samples.features is not None
        assert IMAGES.test.features is not None
        plain = kernel_distance(samples.features, IMAGES.test.features)
        for metric in (KernelDistance(), KernelDistance(subsets=5, subset_size=20)):
            assert measure(metric, samples, IMAGES)["kd"].value == pytest.approx(FACTOR * plain, rel=1e-10)


class TestManifold:
    def test_by_hand(self) -> None:
        # Real at 0, 1, 3, 7 on a line: radii of the nearest other (k = 1) are 1, 1, 2, 4. Samples at 0.5, 5, 20, 20.5:
        # radii 4.5, 4.5, 0.5, 0.5.
        # Precision: 0.5 lies in the ball of 0; 5 in those of 3 (closed: |5 - 3| = 2) and 7; 20 and 20.5 in none: 2 / 4.
        # Recall: 0, 1, 3 lie within 4.5 of 0.5, and 7 within 4.5 of 5: 4 / 4.
        # Density: 0.5 lies in the balls of 0 and 1; in that of 3 it does not (2.5 > 2). 5 lies in the ball of 7, and
        # not in the open one of 3: (2 + 1) / 4. Coverage: 0 and 1 have 0.5, 3 has none inside 2, 7 has 5: 3 / 4.
        real, fake = np.array([[0.0], [1.0], [3.0], [7.0]]), np.array([[0.5], [5.0], [20.0], [20.5]])
        assert precision_recall_density_coverage(real, fake, 1, 1) == (0.5, 1.0, 0.75, 0.75)

    def test_k_counts_other_items_only(self) -> None:
        # Real at 0, 1, 10: the second neighbour of 0 is 10 away, of 1 nine, of 10 ten. A sample at -9.5 is in the ball
        # of 0 alone. Samples' own second radii: -9.5 and -9.6 and -9.7 lie 0.2, 0.1 and 0.2 apart.
        real, fake = np.array([[0.0], [1.0], [10.0]]), np.array([[-9.5], [-9.6], [-9.7]])
        assert precision_recall_density_coverage(real, fake, 2, 2) == (1.0, 0.0, 0.5, pytest.approx(1 / 3))

    @pytest.mark.filterwarnings("ignore::DeprecationWarning")
    def test_public_implementation(self, capsys: pytest.CaptureFixture[str]) -> None:
        prdc = pytest.importorskip("prdc")
        rng = np.random.default_rng(0)
        real, fake = rng.standard_normal((300, 5)), 0.8 * rng.standard_normal((250, 5)) + 0.3
        ours = precision_recall_density_coverage(real, fake, 3, 5)
        three, five = (prdc.compute_prdc(real, fake, nearest_k=k) for k in (3, 5))
        assert ours[:2] == pytest.approx((three["precision"], three["recall"]), abs=1e-12)
        assert ours[2:] == pytest.approx((five["density"], five["coverage"]), abs=1e-12)

    def test_identical_sets(self) -> None:
        found = values(measure(Manifold(), IMAGES.test, IMAGES))
        # An open ball around each item has itself and its k - 1 nearest: density is exactly 1.
        assert found == {"precision": 1.0, "recall": 1.0, "density": 1.0, "coverage": 1.0}

    def test_perfect_samples_have_the_density_and_coverage_of_the_docstring(self) -> None:
        found = floor(Manifold(), IMAGES, 1_000)
        assert found["density"].value == pytest.approx(1.0, abs=0.05)
        assert found["coverage"].value == pytest.approx(1.0 - 0.5**5, abs=0.02)

    def test_as_many_real_items_as_samples(self) -> None:
        assert IMAGES.test.features is not None
        samples = IMAGES.train.take(np.arange(200))
        assert samples.features is not None
        expected = precision_recall_density_coverage(IMAGES.test.features[fixed_rows(2_500, 200)], samples.features)
        assert tuple(values(measure(Manifold(), samples, IMAGES)).values()) == expected

    def test_refuses_more_neighbours_than_there_are_items(self) -> None:
        small = dataclasses.replace(IMAGES, test=IMAGES.test.take(np.arange(8)))
        with pytest.raises(ValueError, match="looks for 9 neighbours, but Blobs has only 8 test items"):
            measure(Manifold(k=9), IMAGES.test, small)


class TestClassifier:
    def test_score_by_hand(self) -> None:
        # One hot and even over K classes gives K; the same answer each time gives 1.
        assert classifier_score(np.tile(np.eye(4), (5, 1))).value == pytest.approx(4.0, abs=1e-12)
        assert classifier_score(np.tile([0.7, 0.2, 0.1], (6, 1))) == pytest.approx((1.0, 0.0), abs=1e-12)
        # (1, 0) and (1/2, 1/2): p(y) = (3/4, 1/4), KL ln(4/3) and ln(2/3) / 2 + ln(2) / 2 = ln(4/3) / 2.
        found = classifier_score(np.array([[1.0, 0.0], [0.5, 0.5]]))
        assert found.value == pytest.approx((4.0 / 3.0) ** 0.75, abs=1e-12)

    def test_histogram_accuracy_and_distance(self) -> None:
        modes = np.array([0] * 50 + [1] * 50)
        labels = modes.copy()
        labels[:10] = 1
        odds = np.full((100, NUM_CLASSES), 0.02)
        odds[np.arange(100), modes] = 0.82
        samples = altered(IMAGES.test.take(np.arange(100)), modes=modes, labels=labels, probabilities=odds)
        even = altered(IMAGES.test, modes=np.arange(2_500) % 10)
        found = measure(Classifier(), samples, dataclasses.replace(IMAGES, test=even))
        assert np.array_equal(class_histogram(samples, NUM_CLASSES), [0.5, 0.5] + [0.0] * 8)
        assert found["accuracy"] == Score(0.9, pytest.approx(math.sqrt(0.09 / 99)))
        assert found["confidence"].value == pytest.approx(0.82)
        assert found["class_distance"].value == pytest.approx(0.8)

    def test_says_nothing_of_classes_that_nobody_asked_for(self) -> None:
        without = measure(Classifier(), altered(IMAGES.test, labels=None), IMAGES)
        assert without.keys() == {"classifier_score", "confidence", "class_distance"}
        bare = dataclasses.replace(IMAGES, test=altered(IMAGES.test, modes=None))
        assert measure(Classifier(), bare.test, bare).keys() == {"classifier_score", "confidence"}
        assert not Classifier().applies(dataclasses.replace(IMAGES, test=altered(IMAGES.test, probabilities=None)))

    def test_identical_classes_are_at_distance_zero(self) -> None:
        assert measure(Classifier(), IMAGES.test, IMAGES)["class_distance"].value == 0.0


class TestModes:
    MIXTURE = Mixture(np.array([0.5, 0.25, 0.25]), np.array([[0.0, 0.0], [4.0, 0.0], [0.0, 4.0]]), np.full(3, 0.5))

    def reference(self) -> Reference:
        return dataclasses.replace(GRID, mixture=self.MIXTURE)

    def test_points_by_hand(self) -> None:
        # 60 at the first mean, 20 within 3 deviations of the second (1.4 away), 20 outside those of the third (1.6).
        points = np.array([[0.0, 0.0]] * 60 + [[4.0, 1.4]] * 20 + [[0.0, 5.6]] * 20, np.float32)
        found = values(measure(Modes(), Evidence(items=points), self.reference()))
        assert found["modes"] == 2.0
        assert found["near"] == pytest.approx(0.8)
        assert found["mode_kl"] == pytest.approx(0.6 * math.log(0.6 / 0.5) + 0.4 * math.log(0.2 / 0.25), abs=1e-12)

    def test_nearest_in_each_components_own_deviations(self) -> None:
        mixture = Mixture(np.array([0.5, 0.5]), np.array([[0.0], [2.0]]), np.array([1.0, 0.1]))
        mode, distance = nearest_component(np.array([[1.5], [1.95]]), mixture)
        assert mode.tolist() == [0, 1]
        assert distance == pytest.approx([1.5, 0.5])

    def test_all_of_25_gaussians_are_found_and_lost_ones_missed(self) -> None:
        assert GRID.mixture is not None
        points = draw_mixture(GRID.mixture, np.random.default_rng(7), 4_000)
        found = values(measure(Modes(), Evidence(items=points), GRID))
        assert found["modes"] == 25.0
        assert found["near"] == pytest.approx(1.0 - math.exp(-4.5), abs=0.005)
        assert found["mode_kl"] == pytest.approx(24 / 8_000, abs=0.003)
        mode, _ = nearest_component(points, GRID.mixture)
        lost = values(measure(Modes(), Evidence(items=points[mode < 20]), GRID))
        assert lost["modes"] == 20.0
        assert lost["mode_kl"] == pytest.approx(math.log(25 / 20), abs=0.01)

    def test_near_in_one_dimension(self) -> None:
        assert floor(Modes(), LINE, 1_000)["near"].value == pytest.approx(0.9973, abs=0.002)

    def test_images_by_hand(self) -> None:
        even = dataclasses.replace(IMAGES, test=altered(IMAGES.test, modes=np.arange(2_500) % 10))
        samples = altered(IMAGES.test.take(np.arange(200)), modes=np.arange(200) % 5)
        found = values(measure(Modes(), samples, even))
        assert found == {"modes": 5.0, "mode_kl": pytest.approx(math.log(2.0), abs=1e-12)}

    def test_a_mode_that_test_images_lack_is_not_infinite(self) -> None:
        lacking = dataclasses.replace(IMAGES, test=altered(IMAGES.test, modes=np.zeros(2_500, np.int64)))
        found = values(measure(Modes(), IMAGES.test, lacking))
        assert math.isfinite(found["mode_kl"])

    def test_needs_several_modes(self) -> None:
        one = Mixture(np.ones(1), np.zeros((1, 2)), np.ones(1))
        assert not Modes().applies(dataclasses.replace(GRID, mixture=one))
        assert not Modes().applies(MOONS)
        assert not Modes().applies(dataclasses.replace(IMAGES, num_modes=0))


class TestMemorisation:
    def test_finds_copies_and_says_how_far_others_are(self) -> None:
        rng = np.random.default_rng(0)
        train = rng.integers(0, 256, (9_000, 1, 4, 4)).astype(np.uint8)  # more than two chunks
        rows = np.array([8_999, 0, 4_096, 17])
        samples = train[rows].copy()
        samples[3, 0, 0, 0] ^= 8
        indices, distances = nearest(samples, train)
        assert indices.tolist() == rows.tolist()
        assert distances.tolist() == [0.0, 0.0, 0.0, pytest.approx(math.sqrt(8**2 / 16) / 127.5)]

    @pytest.mark.parametrize("image", [True, False])
    def test_equals_the_definition(self, image: bool) -> None:
        rng = np.random.default_rng(0)
        if image:
            items, train = (rng.integers(0, 256, (n, 2, 3, 3)).astype(np.uint8) for n in (1_100, 300))
            pixels = [each.reshape(len(each), -1) / 127.5 - 1.0 for each in (items, train)]
            table = np.sqrt(((pixels[0][:, None] - pixels[1]) ** 2).mean(2))
        else:
            items, train = (rng.standard_normal((n, 2)).astype(np.float32) for n in (1_100, 5_000))
            table = np.sqrt(((items[:, None].astype(np.float64) - train) ** 2).sum(2))
        indices, distances = nearest(items, train)
        assert np.array_equal(indices, table.argmin(1))
        np.testing.assert_allclose(distances, table.min(1), rtol=1e-12)

    def test_distance_of_black_and_white_is_the_largest(self) -> None:
        black, white = (np.full((1, 1, 2, 2), value, np.uint8) for value in (0, 255))
        assert nearest(black, white)[1].tolist() == [2.0]

    @pytest.mark.parametrize("reference", [IMAGES, GRID], ids=["images", "points"])
    def test_floor_is_one_per_cent_and_copies_are_all_found(self, reference: Reference) -> None:
        metric = Memorisation()
        assert floor(metric, reference, 300)["copied"].value == pytest.approx(0.01, abs=0.01)
        assert measure(metric, reference.train, reference)["copied"].value == 1.0
        assert measure(metric, reference.train, reference)["nearest"].value == 0.0

    def test_floor_is_measured_on_other_items_than_what_is_typical(self) -> None:
        used = fixed_rows(2_500, 1_000)
        floor_items = Memorisation().real(GRID, 1_500, 0).items
        both = np.concatenate([floor_items, GRID.test.items[used]])
        assert len(np.unique(both, axis=0)) == 2_500

    def test_typical_distances(self) -> None:
        _, distances = nearest(GRID.test.items[fixed_rows(2_500, 1_000)], GRID.train.items)
        assert typical_distances(GRID) == pytest.approx(np.quantile(distances, [0.01, 0.5, 0.99]))
        assert typical_distances(GRID) is typical_distances(GRID)


class TestSlicedWasserstein:
    def test_one_dimension_by_hand(self) -> None:
        # Pairs in order: (0, 1), (1, 3), (5, 5): (1 + 4 + 0) / 3.
        a, b = np.array([[0.0], [1.0], [5.0]]), np.array([[1.0], [3.0], [5.0]])
        assert wasserstein_squared(a, b) == pytest.approx([5.0 / 3.0])

    def test_unequal_counts_by_hand(self) -> None:
        # Quantiles of (0, 6) and (0, 3, 9): u in thirds and halves: 1/3 (0-0), 1/6 (0-3), 1/6 (6-3), 1/3 (6-9).
        a, b = np.array([[0.0], [6.0]]), np.array([[0.0], [3.0], [9.0]])
        assert wasserstein_squared(a, b) == pytest.approx([(0 + 9 / 6 + 9 / 6 + 9 / 3)])

    @pytest.mark.parametrize("counts", [(4, 4), (4, 6), (7, 3)])
    def test_unequal_counts_equal_repeated_rows(self, counts: tuple[int, int]) -> None:
        rng = np.random.default_rng(0)
        a, b = (np.sort(rng.standard_normal((count, 3)), axis=0) for count in counts)
        lcm = math.lcm(*counts)
        full = [np.repeat(each, lcm // len(each), axis=0) for each in (a, b)]
        np.testing.assert_allclose(wasserstein_squared(a, b), ((full[0] - full[1]) ** 2).mean(0), rtol=1e-12)

    def test_two_gaussians_in_one_dimension(self) -> None:
        # W2 of N(0, 1) and N(m, s**2) is sqrt(m**2 + (s - 1)**2).
        rng = np.random.default_rng(0)
        test, samples = rng.standard_normal((20_000, 1)), 0.7 + 1.5 * rng.standard_normal((5_000, 1))
        reference = dataclasses.replace(MOONS, test=Evidence(items=test.astype(np.float32)))
        found = measure(SlicedWasserstein(), Evidence(items=samples.astype(np.float32)), reference)
        assert found["sliced_wasserstein"].value == pytest.approx(math.hypot(0.7, 0.5), abs=0.03)

    @pytest.mark.parametrize("dims", [2, 3, 8])
    def test_a_shift_is_seen_at_its_length_over_root_of_the_dimensions(self, dims: int) -> None:
        # E (d.v)**2 = |v|**2 / D over the sphere; the same points shifted by v, so nothing else adds.
        rng = np.random.default_rng(0)
        points = rng.standard_normal((500, dims)).astype(np.float32)
        shift = np.zeros(dims, np.float32)
        shift[0] = 2.0
        reference = dataclasses.replace(MOONS, test=Evidence(items=points))
        metric = SlicedWasserstein(projections=4_000)
        found = measure(metric, Evidence(items=points + shift), reference)["sliced_wasserstein"].value
        assert found == pytest.approx(2.0 / math.sqrt(dims), rel=1e-5 if dims == 2 else 0.05)

    def test_directions_are_unit_vectors(self) -> None:
        for dims in (1, 2, 5):
            assert np.linalg.norm(directions(dims, 16), axis=1) == pytest.approx(1.0)
        assert directions(1, 16).shape == (1, 1)

    def test_identical_points_are_at_zero(self) -> None:
        assert measure(SlicedWasserstein(), GRID.test, GRID)["sliced_wasserstein"].value == 0.0


class TestEnergy:
    def test_by_hand(self) -> None:
        # Across 0, 2 and 1, 5: 1, 5, 1, 3, mean 2.5; within 2 and 4.
        x, y = np.array([[0.0], [2.0]]), np.array([[1.0], [5.0]])
        assert energy_distance(x, y) == pytest.approx(2 * 2.5 - 2 - 4, abs=1e-6)

    def test_two_gaussians_in_one_dimension(self) -> None:
        # E|Z| of Z ~ N(m, v) is sqrt(2 v / pi) exp(-m**2 / 2 v) + m (1 - 2 Phi(-m / sqrt(v))), here v = 2.
        shift = 0.8
        across = 2.0 / math.sqrt(math.pi) * math.exp(-(shift**2) / 4.0)
        across += shift * (1.0 - 2.0 * NormalDist().cdf(-shift / math.sqrt(2.0)))
        exact = 2.0 * across - 4.0 / math.sqrt(math.pi)
        # Evenly spaced quantiles stand for the law without the noise of a draw.
        x = np.array([[NormalDist().inv_cdf((row + 0.5) / 2_000)] for row in range(2_000)])
        assert energy_distance(x, x + shift) == pytest.approx(exact, abs=0.002)

    def test_unbiased_for_equal_laws(self) -> None:
        rng = np.random.default_rng(0)
        found = [energy_distance(rng.standard_normal((60, 2)), rng.standard_normal((80, 2))) for _ in range(400)]
        assert abs(np.mean(found)) < 3.0 * np.std(found) / math.sqrt(400)
        assert min(found) < 0.0

    def test_takes_a_fixed_draw_where_there_are_many(self) -> None:
        samples = Evidence(items=GRID.train.items[:900])
        metric = EnergyDistance(most=200)
        expected = energy_distance(samples.items[fixed_rows(900, 200)], GRID.test.items[fixed_rows(2_500, 200)])
        assert measure(metric, samples, GRID)["energy"].value == pytest.approx(expected, abs=1e-12)

    def test_identical_points(self) -> None:
        # Every point meets its twin at distance 0, which the pairs within leave out: - 2 / (N - 1) of their mean.
        n = len(GRID.test)
        within = sum(np.sqrt(table).sum() for _, table in squared_distances(GRID.test.items, GRID.test.items))
        expected = -2.0 * within / (n * n * (n - 1))
        assert energy_distance(GRID.test.items, GRID.test.items) == pytest.approx(expected, rel=1e-6)


class TestDensity:
    @pytest.mark.parametrize("mixture", [GRID.mixture, LINE.mixture], ids=["2-D", "1-D"])
    def test_log_density_is_that_of_the_oracle(self, mixture: Mixture) -> None:
        from studio.core.exact import MixtureDenoiser
        from studio.core.levels import Level

        points = draw_mixture(mixture, np.random.default_rng(0), 50).astype(np.float64) * 1.3
        oracle = MixtureDenoiser(*(torch.from_numpy(each) for each in mixture))
        expected = oracle.log_density(torch.from_numpy(points), Level(1.0, 0.0))
        np.testing.assert_allclose(log_density(points, mixture), expected.numpy(), rtol=1e-10)

    def test_log_density_far_out_is_finite(self) -> None:
        assert GRID.mixture is not None
        assert np.isfinite(log_density(np.array([[1e6, -1e6]]), GRID.mixture)).all()

    def test_excess_of_a_gaussian_is_the_closed_form(self) -> None:
        # Samples of N(m, s**2) under N(0, 1): (m**2 + s**2 - 1) / 2.
        plain = Mixture(np.ones(1), np.zeros((1, 1)), np.ones(1))
        reference = dataclasses.replace(LINE, mixture=plain)
        points = 0.6 + 1.4 * np.random.default_rng(0).standard_normal((20_000, 1))
        found = measure(ExactDensity(), Evidence(items=points.astype(np.float32)), reference)["excess_nll"]
        assert found.error is not None
        assert found.value == pytest.approx((0.36 + 1.96 - 1.0) / 2.0, abs=3.0 * found.error)

    @pytest.mark.parametrize("reference", [GRID, LINE], ids=["2-D", "1-D"])
    def test_exact_samples_have_no_excess(self, reference: Reference) -> None:
        found = measure(ExactDensity(), reference.train, reference)["excess_nll"]
        assert found.error is not None
        assert abs(found.value) < 3.0 * found.error

    @pytest.mark.parametrize("mixture", [GRID.mixture, LINE.mixture], ids=["2-D", "1-D"])
    def test_cells_hold_the_integral_of_the_density(self, mixture: Mixture) -> None:
        cells, dims, fine = 40, mixture.means.shape[1], 8
        found = cell_probabilities(mixture, cells)
        assert found.sum() == pytest.approx(1.0, abs=1e-12)
        middles = -3.0 + 6.0 * (np.arange(cells * fine) + 0.5) / (cells * fine)
        grid = np.stack(np.meshgrid(*[middles] * dims, indexing="ij"), axis=-1)
        mass = np.exp(log_density(grid.reshape(-1, dims), mixture)) * (6.0 / (cells * fine)) ** dims
        shares = mass.reshape((cells, fine) * dims).sum(axis=tuple(range(1, 2 * dims, 2)))
        np.testing.assert_allclose(found[:-1], shares.ravel(), atol=2e-4)

    def test_shares_of_points_are_ordered_alike(self) -> None:
        shares = cell_shares(np.array([[-2.9, 2.9], [-2.9, 2.9], [5.0, 0.0], [2.9, 2.9]]), 2)
        assert shares.tolist() == [0.0, 0.5, 0.0, 0.25, 0.25]

    def test_histogram_distance_by_hand(self) -> None:
        # All mass at 1 where half of it belongs below 0: the cells [-3, 0] and [0, 3], and next to nothing outside.
        reference = dataclasses.replace(LINE, mixture=Mixture(np.ones(1), np.zeros((1, 1)), np.full(1, 0.5)))
        found = measure(ExactDensity(cells=2), Evidence(items=np.ones((200, 1), np.float32)), reference)
        assert found["density_tv"].value == pytest.approx(0.5, abs=1e-6)

    def test_bias_is_about_what_the_docstring_says(self) -> None:
        assert floor(ExactDensity(), GRID, 1_000)["density_tv"].value == pytest.approx(0.13, abs=0.02)
        assert floor(ExactDensity(), LINE, 1_000)["density_tv"].value == pytest.approx(0.05, abs=0.01)

    def test_no_grid_in_three_dimensions(self) -> None:
        mixture = Mixture(np.ones(1), np.zeros((1, 3)), np.ones(1))
        test = Evidence(items=draw_mixture(mixture, np.random.default_rng(0), 500))
        reference = dataclasses.replace(GRID, test=test, mixture=mixture)
        assert measure(ExactDensity(), test, reference).keys() == {"excess_nll"}


def test_reference_statistics_are_not_worked_out_again(monkeypatch: pytest.MonkeyPatch) -> None:
    reference = image_reference()
    metric = Memorisation()
    samples = metric.real(reference, 50, 0)
    first = measure(metric, samples, reference)
    counted: list[int] = []
    inner: Callable[..., Any] = nearest

    def count(items: np.ndarray, train: np.ndarray) -> Any:
        counted.append(len(items))
        return inner(items, train)

    monkeypatch.setattr("studio.core.metrics.memorisation.nearest", count)
    assert measure(metric, samples, reference) == first
    assert counted == [50]
