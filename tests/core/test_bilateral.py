"""BDDM: the loss against its closed form, the ratio learned on Gaussian data, emission by hand, the cache."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from studio.core import events
from studio.core.checkpoints.header import Header
from studio.core.checkpoints.native import Model
from studio.core.data.base import Batch, Dataset
from studio.core.denoisers import Clipped, Denoiser, Guided
from studio.core.exact import GaussianDenoiser
from studio.core.levels import Level, diffuse
from studio.core.networks.base import fresh_weights, num_parameters
from studio.core.networks.mlp import MLPSpec
from studio.core.networks.schedule_net import FIRST_RATIO, AttentionSpec, CNNSpec, ScheduleNetwork, ScheduleNetworkSpec
from studio.core.noise import Noise
from studio.core.prediction import Prediction
from studio.core.recipes.base import DataFacts
from studio.core.recipes.bilateral import (
    Bilateral,
    BilateralLearner,
    Emission,
    EmissionStep,
    LogTerm,
    check_start,
    emit,
    optimal_ratio,
    step_loss,
)
from studio.core.recipes.denoising import Denoising
from studio.core.registry import methods
from studio.core.samplers.ancestral import Ancestral
from studio.core.samplers.ddim import DDIM
from studio.core.schedule_training import ScheduleTrainer, cached, trained
from studio.core.schedules import Linear, Tabulated
from studio.core.short_schedule import ShortSchedule, fewest_steps
from studio.session.control import Control

CPU = torch.device("cpu")
QUARTER, HALF = 0.25, 0.5
SPECS = [cls() for cls in methods("schedule_network").values()]
SHAPES = [(1, 28, 28), (3, 32, 32), (1, 4, 4), (3, 5, 11), (1,), (2,), (64,)]

every_network = pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.title)


class Constant(ScheduleNetwork):
    """Says the same ratio of everything."""

    def __init__(self, ratio: float) -> None:
        super().__init__()
        self.ratio = ratio

    def forward(self, x: Tensor) -> Tensor:
        return torch.full((len(x),), self.ratio)


class ByItem(ScheduleNetwork):
    """Says one ratio of each place in the batch, whatever is there."""

    def __init__(self, *ratios: float) -> None:
        super().__init__()
        self.ratios = torch.tensor(ratios)

    def forward(self, x: Tensor) -> Tensor:
        return self.ratios


class Mean(ScheduleNetwork):
    """A ratio that depends on x, in (0.3, 0.9)."""

    def forward(self, x: Tensor) -> Tensor:
        return 0.3 + 0.6 * torch.sigmoid(x.flatten(1).mean(1))


def follow(
    network: ScheduleNetwork,
    start: tuple[float, float],
    emission: Emission | None = None,
    *,
    seed: int = 0,
    shape: tuple[int, ...] = (2,),
    denoiser: Denoiser | None = None,
    cond: Tensor | None = None,
) -> list[EmissionStep]:
    emission = emission or Emission()
    noise = Noise(seed, range(emission.images))
    denoiser = denoiser or GaussianDenoiser(0.1, 0.5)
    return list(emit(network, denoiser, emission, start, shape=shape, cond=cond, noise=noise))


# --- The networks


@every_network
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_networks_take_any_size_and_are_counted_without_building(
    spec: ScheduleNetworkSpec, shape: tuple[int, ...]
) -> None:
    network = spec.build(shape)
    assert spec.count(shape) == num_parameters(network)
    assert spec.count((3, 32, 32)) <= 60_000
    found = network(torch.randn(3, *shape))
    assert found.shape == (3,)
    torch.testing.assert_close(found, torch.full((3,), FIRST_RATIO))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.normal_(std=0.2, generator=torch.Generator().manual_seed(1))
        x = torch.randn(4, *shape, generator=torch.Generator().manual_seed(2))
        whole = network(x)
        assert ((whole > 0.0) & (whole < 1.0)).all()
        assert whole.std() > 0.0
        for index in range(4):
            part = slice(index, index + 1)
            torch.testing.assert_close(network(x[part]), whole[part], atol=1e-5, rtol=1e-4)


@every_network
def test_networks_refuse_what_is_neither_image_nor_point(spec: ScheduleNetworkSpec) -> None:
    for make in (spec.build, spec.count):
        with pytest.raises(ValueError, match=r"takes images \(C, H, W\) or points \(D,\)"):
            make((5, 5))


@pytest.mark.parametrize("spec", [CNNSpec(width=24, blocks=1, patch=1), AttentionSpec(width=48, blocks=3, patch=2)])
def test_networks_of_other_settings_are_counted_too(spec: ScheduleNetworkSpec) -> None:
    for shape in SHAPES:
        assert spec.count(shape) == num_parameters(spec.build(shape))


# --- The loss and its optimum


@pytest.mark.parametrize(
    ("error", "half", "quarter", "printed"),
    [
        (0.5, 0.4563, 0.3177, 0.00064),
        (0.1, 0.7212, 0.6228, 0.00318),
        (0.03, 0.8393, 0.7786, 0.0105),
        (0.01, 0.9045, 0.8672, 0.0309),
    ],
)
def test_optimum_has_the_values_worked_out_by_hand(error: float, half: float, quarter: float, printed: float) -> None:
    """Roots of m r (1 + (1 - r)**-2) = 2 c, from an independent root finder; D = 784 where as printed."""
    found = [float(optimal_ratio(error, c)) for c in (HALF, QUARTER, 0.25 / 784)]
    assert found == pytest.approx([half, quarter, printed], rel=4e-3, abs=5e-5)


def test_optimum_solves_its_equation_over_the_whole_range() -> None:
    error = np.geomspace(1e-7, 1.0, 200).reshape(20, 10)
    for c in (HALF, QUARTER, 0.25 / 784, 0.25 / 3072):
        ratio = optimal_ratio(error, c)
        assert ratio.shape == error.shape
        assert ((ratio > 0.0) & (ratio < 1.0)).all()
        assert (np.diff(ratio.ravel()) < 0.0).all(), "a worse denoiser allows smaller steps"
        np.testing.assert_allclose(error * ratio * (1.0 + (1.0 - ratio) ** -2), 2.0 * c, rtol=1e-8)


@pytest.mark.parametrize(("error", "c"), [(0.0, 0.25), (-1.0, 0.25), (float("nan"), 0.25), (0.1, 0.0)])
def test_optimum_refuses_errors_that_are_none(error: float, c: float) -> None:
    with pytest.raises(ValueError, match="above 0 only"):
        optimal_ratio(error, c)


@pytest.mark.parametrize("ratio", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("log_weight", [QUARTER, HALF])
def test_loss_has_the_expectation_of_the_closed_form(ratio: float, log_weight: float) -> None:
    """For an optimal denoiser of N(0, 0.5**2) at alpha = 0.8: m = alpha**2 c0**2 / (alpha**2 c0**2 + sigma**2)."""
    generator = torch.Generator().manual_seed(0)
    x0, eps = 0.5 * torch.randn(400, 1000, generator=generator), torch.randn(400, 1000, generator=generator)
    level = Level(0.8, 0.6)
    believed = GaussianDenoiser(0.0, 0.5)(diffuse(x0, level, eps), level).eps
    error = 0.16 / (0.16 + 0.36)
    assert float((believed - eps).square().mean()) == pytest.approx(error, rel=0.01)
    found = float(step_loss(eps, believed, torch.full((400,), ratio), log_weight).mean())
    expected = error * (2.0 * ratio - ratio**2) / (2.0 * (1.0 - ratio)) - log_weight * math.log(ratio)
    assert found == pytest.approx(expected, abs=4e-3 / (1.0 - ratio))


def test_loss_is_least_at_the_optimum() -> None:
    error, ratios = 0.3077, np.linspace(0.01, 0.99, 9801)
    for c in (HALF, QUARTER):
        loss = error * (2.0 * ratios - ratios**2) / (2.0 * (1.0 - ratios)) - c * np.log(ratios)
        assert ratios[loss.argmin()] == pytest.approx(float(optimal_ratio(error, c)), abs=2e-4)


# --- The span


def test_span_is_a_third_of_the_schedule_and_can_be_set() -> None:
    assert Bilateral().resolve_span(Linear()) == 333
    assert Bilateral(span=66).resolve_span(Linear(num_steps=200)) == 66
    assert Bilateral(span=499).resolve_span(Linear()) == 499


def test_span_too_large_is_refused() -> None:
    with pytest.raises(ValueError, match=r"span = 500 is too large .* T = 1000 steps: it takes 1 to 499"):
        Bilateral(span=500).resolve_span(Linear())
    with pytest.raises(ValueError, match="2 steps is too short"):
        Bilateral().resolve_span(Tabulated((0.1, 0.2)))
    with pytest.raises(ValueError, match="span = 0 is not possible"):
        Bilateral(span=0)


def test_cap_is_the_beta_of_the_step_before() -> None:
    schedule, bilateral = Tabulated((0.1, 0.2, 0.3, 0.4, 0.5)), Bilateral(span=2)
    level = schedule.level(2 / 5)
    # Over the next two steps alpha**2 falls by (1 - 0.3)(1 - 0.4); sigma**2 = 1 - 0.9 * 0.8.
    assert bilateral.cap(schedule, level) == pytest.approx(1.0)
    assert bilateral.cap(schedule, schedule.level(4 / 5)) == pytest.approx(0.5 / (1.0 - 0.9 * 0.8 * 0.7 * 0.6))
    assert bilateral.cap(schedule, Level(2.0 * level.alpha, 2.0 * level.sigma)) == pytest.approx(1.0)


def test_training_sees_each_item_at_its_own_level_and_cap() -> None:
    """The mean ratio of a network that says 1/2 is half the mean cap of the levels; a shared one would be less."""
    schedule, bilateral = Tabulated((0.1, 0.05, 0.2, 0.15, 0.1, 0.2, 0.3)), Bilateral(span=1)
    batch = Batch(torch.zeros(600, 3), None, np.arange(600))
    network = CNNSpec().build((3,))
    learner = BilateralLearner(bilateral, network, GaussianDenoiser(0.0, 1.0), schedule)
    found = learner.loss(Constant(0.5), batch, noise=Noise(0, range(600)), index=0)
    caps = [bilateral.cap(schedule, schedule.level((step + 1) / 7)) for step in range(6)]
    assert float(found["ratio"]) == pytest.approx(0.5 * np.mean(caps), rel=1e-4)
    counts = np.unique(found["log_snr"].numpy().round(4), return_counts=True)[1]
    assert counts.tolist() == [100] * 6, "stratified: evenly over the steps 0 to T - 1 - tau"
    inner = BilateralLearner(Bilateral(span=1, clean_levels=False), network, GaussianDenoiser(0.0, 1.0), schedule)
    found = inner.loss(Constant(0.5), batch, noise=Noise(0, range(600)), index=0)
    assert len(np.unique(found["log_snr"].numpy().round(4))) == 5, "the first tau are left out"


# --- Learning


def _train(
    spec: ScheduleNetworkSpec, shape: tuple[int, ...], bilateral: Bilateral, std: float = 0.3
) -> tuple[BilateralLearner, list[float]]:
    with fresh_weights(0):
        network = spec.build(shape)
    learner = BilateralLearner(bilateral, network, GaussianDenoiser(0.0, std), Linear())
    noise, losses, generator = Noise(0, range(bilateral.batch)), [], torch.Generator().manual_seed(7)
    for index in range(bilateral.steps):
        x0 = std * torch.randn(bilateral.batch, *shape, generator=generator)
        losses.append(float(learner.step(Batch(x0, None, np.arange(len(x0))), noise=noise, index=index)["loss"]))
    return learner, losses


def _deviation(network: ScheduleNetwork, shape: tuple[int, ...], log_weight: float, std: float = 0.3) -> np.ndarray:
    """What the network says less the optimum, at levels where training's cap is inactive."""
    found = []
    for alpha in (0.3, 0.45, 0.6, 0.75, 0.9):
        level = Level(alpha, math.sqrt(1.0 - alpha**2))
        assert Bilateral().cap(Linear(), level) == 1.0, "inactive"
        noise = Noise(99, range(256))
        x = diffuse(std * noise.normal(shape, 0), level, noise.normal(shape, 1))
        error = alpha**2 * std**2 / (alpha**2 * std**2 + level.sigma**2)
        with torch.no_grad():
            found.append(float(network(x).mean()) - float(optimal_ratio(error, log_weight)))
    return np.array(found)


@pytest.mark.parametrize(
    ("spec", "log_term", "log_weight"),
    [
        (CNNSpec(width=16, blocks=1, patch=2), "quarter", QUARTER),
        (CNNSpec(width=16, blocks=1, patch=2), "half", HALF),
        (AttentionSpec(width=16, blocks=1, patch=2), "quarter", QUARTER),
    ],
    ids=["CNN, 1/4", "CNN, 1/2", "attention, 1/4"],
)
def test_learned_ratio_meets_the_closed_form_optimum(
    spec: ScheduleNetworkSpec, log_term: LogTerm, log_weight: float
) -> None:
    """Within 0.05 at every level where the cap is inactive, on Gaussian data with its exact denoiser."""
    shape = (1, 12, 12)
    learner, losses = _train(spec, shape, Bilateral(steps=300, batch=32, log_term=log_term, learning_rate=6e-3))
    before = _deviation(spec.build(shape), shape, log_weight)
    after = _deviation(learner.average, shape, log_weight)
    assert abs(before).max() > 0.15
    assert abs(after).max() < 0.05, after
    assert np.mean(losses[-50:]) < np.mean(losses[:20])


def test_log_term_as_printed_collapses_the_ratio() -> None:
    """c = 1/(4 D) makes every step tiny, which is why it is not the default."""
    shape = (1, 8, 8)
    learner, _ = _train(
        CNNSpec(width=8, blocks=1, patch=2),
        shape,
        Bilateral(steps=120, batch=16, log_term="printed", learning_rate=1e-2),
    )
    noise = Noise(3, range(64))
    x = diffuse(0.3 * noise.normal(shape, 0), Level(0.6, 0.8), noise.normal(shape, 1))
    assert float(learner.average(x).mean()) < 0.08
    assert Bilateral(log_term="printed").log_weight(shape) == 0.25 / 64


def test_denoiser_is_left_as_it_is() -> None:
    denoiser = Denoising().denoiser(MLPSpec(width=8, blocks=1), DataFacts(shape=(2,), num_classes=3, mean=0.0, std=1.0))
    before = {name: value.clone() for name, value in denoiser.state_dict().items()}
    seen: list[Tensor | None] = []
    denoiser.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[2]))
    learner = BilateralLearner(Bilateral(batch=8), CNNSpec(width=8).build((2,)), denoiser, Linear())
    labels = torch.arange(8) % 3
    found = learner.step(Batch(torch.randn(8, 2), labels, np.arange(8)), noise=Noise(0, range(8)), index=0)
    assert {"loss", "grad_norm", "ratio", "sample_loss", "log_snr"} == set(found)
    assert all(parameter.grad is None for parameter in denoiser.parameters())
    assert all(torch.equal(value, before[name]) for name, value in denoiser.state_dict().items())
    assert seen[0] is labels, "a model with classes is asked for the item's own"


def test_same_seed_gives_the_same_network() -> None:
    spec, bilateral = CNNSpec(width=8, blocks=1), Bilateral(steps=3, batch=4)
    first, second = (_train(spec, (1, 8, 8), bilateral)[0].average.state_dict() for _ in range(2))
    assert all(torch.equal(value, second[name]) for name, value in first.items())


# --- Emission


def test_constant_ratio_gives_the_betas_worked_out_by_hand() -> None:
    """alpha**2 0.25, 0.5, 0.5 / 0.7 ...: beta = 0.5, then min(0.5, 1 - 0.5) 0.6 = 0.3, min(0.3, 1 - 5/7) 0.6 = 6/35."""
    steps = follow(Constant(0.6), (0.5, 0.5), Emission(floor=0.05))
    alpha_bar, betas = [0.25, 0.5, 0.5 / 0.7], [0.5, 0.3, 6 / 35]
    alpha_bar.append(alpha_bar[-1] / (1.0 - betas[-1]))
    betas.append(0.6 * min(betas[-1], 1.0 - alpha_bar[-1]))
    alpha_bar.append(alpha_bar[-1] / (1.0 - betas[-1]))
    assert 0.6 * min(betas[-1], 1.0 - alpha_bar[-1]) < 0.05
    assert [step.beta for step in steps] == pytest.approx(betas, rel=1e-6)
    assert [step.level.alpha**2 for step in steps] == pytest.approx(alpha_bar[:-1], rel=1e-6)
    assert [step.reaches**2 for step in steps] == pytest.approx(alpha_bar[1:], rel=1e-6)
    assert [step.ratio for step in steps] == [None, *[pytest.approx(0.6)] * 3]
    assert [step.index for step in steps] == [0, 1, 2, 3]
    assert [step.done for step in steps] == [False, False, False, True]
    assert "below the smallest allowed" in steps[-1].reason
    assert not any(step.reason for step in steps[:-1])


def test_emission_ends_where_no_noise_is_left() -> None:
    (step,) = follow(Constant(0.9), (math.sqrt(0.3), 0.7), Emission(floor=1e-6))
    assert step.done
    assert step.reason == "no noise is left"
    assert step.reaches == pytest.approx(1.0)


def test_emission_ends_at_the_most_steps() -> None:
    steps = follow(Constant(0.99), (0.1, 0.1), Emission(most=7))
    assert len(steps) == 7
    assert steps[-1].done
    assert "7 steps are the most" in steps[-1].reason


def test_last_steps_go_with_a_higher_floor() -> None:
    low, high = (follow(Mean(), (0.2, 0.6), Emission(floor=floor)) for floor in (1e-4, 1e-2))
    assert len(high) < len(low)
    assert [step.beta for step in high] == [step.beta for step in low][: len(high)]
    assert high[-1].beta >= 1e-2 > low[len(high)].beta


@pytest.mark.parametrize("eta", [0.0, 1.0])
@pytest.mark.parametrize("network", [Constant(0.97), Constant(0.4), Mean()], ids=["0.97", "0.4", "by x"])
def test_bound_holds_on_every_emitted_schedule(network: ScheduleNetwork, eta: float) -> None:
    """N_min, for the way that a schedule really goes: one that stops before clean data may do with fewer steps."""
    reached = []
    for alpha in np.linspace(0.01, 0.95, 6):
        for beta in np.linspace(0.05, 0.95, 6):
            if alpha > math.sqrt(1.0 - beta):
                continue
            steps = follow(network, (alpha, beta), Emission(most=600, eta=eta))
            schedule = ShortSchedule(betas=tuple(step.beta for step in steps)[::-1], origin="learned")
            assert list(schedule.betas) == sorted(schedule.betas), "cleanest first: on the way they only shrink"
            assert schedule.alphas[-1] == pytest.approx(alpha / steps[-1].reaches, rel=1e-6)
            assert schedule.steps >= fewest_steps(schedule.alphas[-1], schedule.betas[-1]) - 1e-6
            if steps[-1].reaches > 0.9999:
                reached.append(schedule.steps >= fewest_steps(alpha, beta) - 0.01)
    assert all(reached)


@pytest.mark.parametrize(("eta", "sampler"), [(0.0, DDIM()), (1.0, Ancestral(variance="small"))])
def test_emission_walks_x_as_the_sampler_does(eta: float, sampler: DDIM | Ancestral) -> None:
    denoiser, noise = GaussianDenoiser(0.1, 0.5), Noise(3, range(4))
    steps = follow(Mean(), (0.2, 0.7), Emission(eta=eta, images=4), seed=3, shape=(5,))
    assert len(steps) > 4
    levels = [step.level for step in steps]
    walked = list(sampler.run(denoiser, noise.normal((5,), 0, stream=0), levels, noise=noise))  # type: ignore[arg-type]
    for mine, theirs in zip(steps[:-1], walked[:-1], strict=True):
        torch.testing.assert_close(mine.x, theirs.x, atol=2e-5, rtol=1e-4)
        torch.testing.assert_close(mine.x0, theirs.x0, atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(steps[-1].x, walked[-1].x, atol=2e-5, rtol=1e-4)
    for step in steps[1:]:
        assert step.ratio == pytest.approx(float(Mean()(step.x).log().mean().exp()), rel=1e-5)


def test_several_items_share_the_geometric_mean_of_their_ratios() -> None:
    steps = follow(ByItem(0.2, 0.8), (0.3, 0.5), Emission(images=2))
    assert steps[1].ratio == pytest.approx(0.4)
    assert steps[0].x.shape == (2, 2)
    with pytest.raises(ValueError, match="images = 2 do not fit noise for 1"):
        next(
            emit(
                ByItem(0.2, 0.8),
                GaussianDenoiser(0, 1),
                Emission(images=2),
                (0.3, 0.5),
                shape=(2,),
                noise=Noise(0, [0]),
            )
        )


def test_same_seed_gives_the_same_schedule() -> None:
    def betas(seed: int) -> Sequence[float]:
        return [step.beta for step in follow(Mean(), (0.2, 0.7), seed=seed, shape=(3,))]

    assert betas(1) == betas(1)
    assert betas(1) != betas(2)


def test_classes_and_wrappers_reach_the_denoiser() -> None:
    class Classy(Denoiser):
        def forward(
            self, x: Tensor, level: Level, cond: Tensor | None = None, *, noise: Noise | None = None
        ) -> Prediction:
            assert cond is not None
            return GaussianDenoiser(float(cond[0]), 0.2)(x, level)

    for wrapped in (Classy(), Clipped(Classy(), -5.0, 5.0), Guided(Classy(), 0.0)):
        steps = follow(Mean(), (0.2, 0.7), denoiser=wrapped, cond=torch.tensor([2]))
        assert float(steps[-1].x0.mean()) == pytest.approx(2.0, abs=0.5)


@pytest.mark.parametrize("start", [(0.0, 0.5), (1.0, 0.5), (0.5, 0.0), (0.5, 1.0), (float("nan"), 0.5), (-0.1, 0.2)])
def test_starts_outside_the_range_are_refused(start: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="lies between 0 and 1"):
        follow(Constant(0.5), start)


def test_start_that_would_overshoot_clean_data_is_refused() -> None:
    with pytest.raises(ValueError, match=r"alpha = 0\.8 with beta = 0\.5 .*Take alpha of at most 0\.7071"):
        follow(Constant(0.5), (0.8, 0.5))
    assert check_start((0.7071, 0.5)) == (0.7071, 0.5)


def test_no_autograd_context_is_held_between_steps() -> None:
    steps = emit(Constant(0.5), GaussianDenoiser(0.0, 1.0), Emission(), (0.2, 0.5), shape=(2,), noise=Noise(0, [0]))
    next(steps)
    assert torch.is_grad_enabled()


# --- Training for a model, and the cache


@pytest.fixture
def dataset() -> Dataset:
    items = np.random.default_rng(0).normal(size=(200, 2)).astype(np.float32)
    labels = np.arange(200) % 3
    return Dataset(
        name="tiny",
        title="tiny points",
        kind="points",
        train=items,
        train_labels=labels,
        test=items[:40].copy(),
        test_labels=labels[:40].copy(),
        class_names=("a", "b", "c"),
        licence="",
        source="",
    )


@pytest.fixture
def model(dataset: Dataset) -> Model:
    recipe, network = Denoising(), MLPSpec(width=8, blocks=1)
    facts = DataFacts(shape=(2,), num_classes=3, mean=0.0, std=1.0)
    with fresh_weights(0):
        denoiser = recipe.denoiser(network, facts)
    header = Header(
        title="tiny",
        family="DDPM",
        data_title="tiny points",
        facts={"shape": (2,), "num_classes": 3, "mean": 0.0, "std": 1.0},
        class_names=dataset.class_names,
        run={},
        step=0,
        images=0,
        seconds=0.0,
        num_parameters=1,
        history={},
        scores={},
        data_licence="",
        created="",
        thumbnail=b"",
        recipe={"name": "denoising"},
        network={"name": "mlp", "width": 8, "blocks": 1},
        data={"name": "tiny"},
        optimizer={},
    )
    return Model(header, denoiser.eval().requires_grad_(False), recipe)


SMALL = {"network_spec": CNNSpec(width=8, blocks=1), "bilateral": Bilateral(steps=12, batch=4)}


def test_training_tells_its_loss_and_its_curve_and_is_kept(model: Model, dataset: Dataset) -> None:
    assert trained(model, dataset, **SMALL, device=CPU) is None
    trainer = ScheduleTrainer(model, dataset, **SMALL, device=CPU)
    told = [event for event in trainer.run(Control()) if event is not None]
    progress = [event for event in told if isinstance(event, events.Progress)]
    assert np.concatenate([event.steps for event in progress]).tolist() == list(range(12))
    assert progress[-1].step == progress[-1].total == 12
    assert progress[-1].images == 48
    assert {"loss", "grad_norm", "ratio", "learning_rate"} == set(progress[-1].scalars)
    curves = [event for event in told if isinstance(event, events.RatioCurve)]
    assert [curves[0].step, curves[-1].step] == [0, 12]
    for curve in curves:
        assert (np.diff(curve.log_snr) > 0.0).all()
        assert np.array_equal(curve.error, curves[0].error)
        np.testing.assert_allclose(curve.optimum, optimal_ratio(curve.error.astype(float), QUARTER), rtol=1e-4)
        assert ((curve.cap >= 0.0) & (curve.cap <= 1.0)).all()
        assert (curve.learned <= curve.cap).all()
    np.testing.assert_allclose(curves[0].learned, FIRST_RATIO * curves[0].cap, rtol=1e-4, atol=1e-6)

    again = trained(model, dataset, **SMALL, device=CPU)
    assert again is not None
    x = torch.randn(5, 2)
    assert torch.equal(again(x), trainer.network(x))
    assert not any(parameter.requires_grad for parameter in again.parameters())


def test_other_settings_are_other_networks(model: Model, dataset: Dataset) -> None:
    paths = {cached(model, dataset, CNNSpec(), Bilateral()), cached(model, dataset, CNNSpec(), Bilateral(), seed=1)}
    paths |= {cached(model, dataset, spec, Bilateral()) for spec in (AttentionSpec(), CNNSpec(width=16))}
    paths |= {cached(model, dataset, CNNSpec(), Bilateral(log_term="half"))}
    next(model.denoiser.parameters()).data.add_(1e-3)
    paths |= {cached(model, dataset, CNNSpec(), Bilateral())}
    assert len(paths) == 6


@pytest.mark.parametrize("damage", ["cut", "text", "nan", "another"])
def test_a_damaged_file_in_the_cache_is_ignored(model: Model, dataset: Dataset, damage: str) -> None:
    from safetensors.torch import load_file, save_file

    trainer = ScheduleTrainer(model, dataset, **SMALL, device=CPU)
    list(trainer.run(Control()))
    path = trainer.path
    weights = load_file(path)
    match damage:
        case "cut":
            path.write_bytes(path.read_bytes()[:-20])
        case "text":
            path.write_text("not a network")
        case "nan":
            save_file({name: value * math.nan for name, value in weights.items()}, path)
        case "another":
            save_file({"weight": torch.zeros(2)}, path)
    assert trained(model, dataset, **SMALL, device=CPU) is None
    list(ScheduleTrainer(model, dataset, **SMALL, device=CPU).run(Control()))
    assert trained(model, dataset, **SMALL, device=CPU) is not None


def test_stop_ends_early_and_keeps_nothing(model: Model, dataset: Dataset) -> None:
    control, trainer = Control(), ScheduleTrainer(model, dataset, **SMALL, device=CPU)
    for _ in trainer.run(control):
        if trainer.step == 3:
            control.stop()
    assert trainer.step == 3
    assert not trainer.path.exists()
    assert 0.0 < float(trainer.network(torch.zeros(1, 2))) < 1.0
    list(trainer.run(control))
    assert trainer.step == 3, "stopped while measuring too"


def test_pause_waits_and_changes_nothing(model: Model, dataset: Dataset) -> None:
    class Once(Control):
        """Pauses after the fifth step; waiting first lets one step through, then resumes."""

        waits: tuple[int, ...] = ()

        def wait(self) -> None:
            self.waits = (*self.waits, trainer.step)
            if len(self.waits) == 2:
                self.resume()

    control, trainer = Once(), ScheduleTrainer(model, dataset, **SMALL, device=CPU)
    told = []
    for event in trainer.run(control):
        told.append(event)
        if trainer.step == 5 and not control.waits:
            control.pause()
    assert control.waits == (5, 6)
    assert [event.paused for event in told if isinstance(event, events.Paused)] == [True, True, False]
    straight = ScheduleTrainer(model, dataset, **SMALL, device=CPU)
    list(straight.run(Control()))
    for name, value in straight.network.state_dict().items():
        assert torch.equal(value, trainer.network.state_dict()[name])


def test_where_the_cache_cannot_be_written_it_is_said(
    model: Model, dataset: Dataset, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    monkeypatch.setenv("DENOISING_STUDIO_HOME", str(blocked))
    trainer = ScheduleTrainer(model, dataset, **SMALL, device=CPU)
    told = [event for event in trainer.run(Control()) if isinstance(event, events.Warned)]
    assert len(told) == 1
    assert "will be trained again" in told[0].summary


def test_a_loss_that_is_no_number_is_told(model: Model, dataset: Dataset) -> None:
    model.denoiser.register_forward_hook(lambda module, inputs, out: Prediction(out.x0 * math.nan, out.eps * math.nan))
    trainer = ScheduleTrainer(model, dataset, **SMALL, device=CPU)
    with pytest.raises(ValueError, match="What the model says is no number"):
        list(trainer.run(Control()))


def test_data_and_span_that_do_not_fit_are_refused(model: Model, dataset: Dataset) -> None:
    with pytest.raises(ValueError, match="span = 600 is too large"):
        ScheduleTrainer(model, dataset, CNNSpec(), Bilateral(span=600), CPU)
    other = np.zeros((4, 3), np.float32)
    labels = np.zeros(4, np.int64)
    wide = dict(vars(dataset)) | {"train": other, "test": other, "train_labels": labels, "test_labels": labels}
    with pytest.raises(ValueError, match=r"items of shape \(3,\), but the model makes \(2,\)"):
        ScheduleTrainer(model, Dataset(**wide), CNNSpec(), Bilateral(), CPU)
    fewer = dict(vars(dataset)) | {"class_names": ("a", "b")}
    with pytest.raises(ValueError, match="2 classes, but the model knows 3"):
        ScheduleTrainer(model, Dataset(**fewer), CNNSpec(), Bilateral(), CPU)
