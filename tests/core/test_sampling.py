"""A sampling run, whole: classes, guidance and clipping reach the denoiser, and an image depends on its seed alone."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from studio.core.denoisers import Denoiser
from studio.core.exact import GaussianDenoiser, MixtureDenoiser
from studio.core.grids import Exact, Uniform
from studio.core.knobs import Value
from studio.core.levels import CLEAN, Level
from studio.core.noise import Noise
from studio.core.prediction import Prediction
from studio.core.registry import methods
from studio.core.samplers.ddim import DDIM
from studio.core.sampling import SampleKnobs, SampleSpec, Subject, labels_of, levels_of, sample, slerp, to_uint8
from studio.core.schedules import Linear

CPU = torch.device("cpu")
NAMES = ("left", "right")


class Recorder(Denoiser):
    """Passes on to ``inner`` and keeps what it was asked."""

    def __init__(self, inner: Denoiser) -> None:
        super().__init__()
        self.inner = inner
        self.labels: list[Tensor | None] = []

    def forward(self, x: Tensor, level: Level, cond: Tensor | None = None, *, noise: Noise | None = None) -> Prediction:
        self.labels.append(cond)
        return self.inner(x, level, cond, noise=noise)


def mixture() -> MixtureDenoiser:
    return MixtureDenoiser([0.5, 0.5], torch.tensor([[-1.0, 0.0], [1.0, 0.0]]), [0.2, 0.3])


def points(denoiser: Denoiser, class_names: tuple[str, ...] = NAMES) -> Subject:
    return Subject(denoiser=denoiser, schedule=Linear(), shape=(2,), class_names=class_names)


def spec_of(sampler: str = "ddim", **knobs: Value) -> SampleSpec:
    values: dict[str, Any] = {"steps": 8, "count": 6} | knobs
    return SampleSpec(sampler=methods("sampler")[sampler](), grid=Uniform(), knobs=SampleKnobs(**values))


def final(subject: Subject, spec: SampleSpec, **extra: Any) -> Tensor:
    *_, last = sample(subject, spec, CPU, **extra)
    return last.x


@pytest.mark.parametrize("name", methods("sampler"))
def test_image_depends_on_seed_and_index_alone(name: str) -> None:
    """Also its class, which "each" gives by the place in the run and not by the place in the batch."""
    whole = final(points(mixture()), spec_of(name, count=9))
    assert whole.shape == (9, 2)
    for indices in ([0], [8, 3], [5, 6, 7]):
        part = final(points(mixture()), spec_of(name, count=9), indices=indices)
        torch.testing.assert_close(part, whole[indices], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(final(points(mixture()), spec_of(name, count=4)), whole[:4], rtol=1e-5, atol=1e-6)
    assert not torch.allclose(final(points(mixture()), spec_of(name, count=9, seed=1)), whole, atol=1e-3)


def test_global_generator_is_left_alone() -> None:
    state = torch.get_rng_state()
    final(points(mixture()), spec_of("ancestral"))
    assert torch.equal(torch.get_rng_state(), state)


def test_classes_reach_the_denoiser() -> None:
    cases = {"each": [0, 1, 0, 1], "right": [1] * 4, "0": [0] * 4, "none": [-1] * 4}
    for label, expected in cases.items():
        recorder = Recorder(mixture())
        final(points(recorder), spec_of(label=label, count=4, guidance=0.0))
        assert [cond.tolist() for cond in recorder.labels if cond is not None] == [expected] * 8
    recorder = Recorder(mixture())
    final(points(recorder, ()), spec_of(count=4))
    assert recorder.labels == [None] * 8


def test_sampled_class_is_the_class() -> None:
    found = final(points(mixture()), spec_of(label="each", count=200))[:, 0]
    assert float(found[0::2].max()) < 0.0 < float(found[1::2].min())


def test_guidance_of_zero_is_plain_and_doubles_the_cost_otherwise() -> None:
    *_, plain = sample(points(mixture()), spec_of(guidance=0.0), CPU)
    *_, guided = sample(points(mixture()), spec_of(guidance=2.0), CPU)
    *_, free = sample(points(mixture()), spec_of(guidance=2.0, label="none"), CPU)
    *_, without = sample(points(mixture()), spec_of(guidance=0.0, label="none"), CPU)
    assert (plain.nfe, guided.nfe, free.nfe) == (8, 16, 8)
    torch.testing.assert_close(free.x, without.x)
    assert float((guided.x - plain.x).abs().max()) > 0.01


def test_clipping_is_for_images() -> None:
    """Data N(0, 3**2): x0 leaves [-1, 1] unless clipped, and a point may lie anywhere."""
    image = Subject(denoiser=GaussianDenoiser(0.0, 3.0), schedule=Linear(), shape=(1, 4, 4), class_names=())
    assert float(final(image, spec_of(clip=False)).abs().max()) > 1.5
    assert float(final(image, spec_of(clip=True)).abs().max()) <= 1.0
    assert float(final(points(GaussianDenoiser(0.0, 3.0), ()), spec_of(clip=True)).abs().max()) > 1.5


def test_start_may_be_given() -> None:
    x = torch.tensor([[0.5, -0.5], [1.0, 2.0]])
    first, *_ = sample(points(mixture()), spec_of(), CPU, indices=[0, 1], x_start=x)
    assert torch.equal(first.x, x)


def test_levels_are_those_of_the_grid() -> None:
    spec = SampleSpec(grid=Exact(steps="999, 10"), knobs=SampleKnobs(steps=50))
    levels = levels_of(spec, Linear())
    assert levels == [Linear().level(1.0), Linear().level(11 / 1000), CLEAN]
    assert [step.level for step in sample(points(mixture()), spec, CPU)] == levels


def test_labels_in_words() -> None:
    digits = tuple("3456")
    assert labels_of("each", digits, [0, 5, 2]) == [0, 1, 2]
    assert labels_of(" Right ", NAMES, [4, 5]) == [1, 1]
    assert labels_of("3", digits, [0]) == [0], "a name goes before a number"
    assert labels_of("1", digits, [0]) == [1]
    assert labels_of("none", NAMES, [0]) is None
    assert labels_of("each", (), [0]) is None


@pytest.mark.parametrize(
    ("text", "names", "message"),
    [
        ("up", NAMES, "label = 'up' is no class; there are each, none, left, right"),
        ("2", NAMES, "is no class"),
        ("-1", NAMES, "is no class"),
        ("left", (), "this model knows no classes"),
    ],
)
def test_unknown_class_is_refused(text: str, names: tuple[str, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        labels_of(text, names, [0])


def test_slerp_goes_along_the_arc() -> None:
    a, b = torch.tensor([2.0, 0.0]), torch.tensor([0.0, 2.0])
    path = slerp(a, b, torch.tensor([0.0, 1 / 3, 0.5, 1.0]))
    root = math.sqrt(2.0)
    expected = torch.tensor([[2.0, 0.0], [2 * math.cos(math.pi / 6), 1.0], [root, root], [0.0, 2.0]])
    torch.testing.assert_close(path, expected, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(slerp(a, a, torch.tensor([0.5]))[0], a)


def test_slerp_keeps_the_length_of_noise_where_a_straight_mix_does_not() -> None:
    a, b = Noise(0, range(2)).normal((3, 16, 16), 0)
    middle = slerp(a, b, torch.tensor([0.5]))[0]
    assert float(middle.std()) == pytest.approx(1.0, abs=0.05)
    assert float((0.5 * (a + b)).std()) < 0.8


def test_bytes_are_rounded_and_limited() -> None:
    x = torch.tensor([-2.0, -1.0, -1.0 + 0.9 / 127.5, 0.0, 1.0, 7.0])
    assert to_uint8(x).tolist() == [0, 0, 1, 128, 255, 255]
    every = torch.arange(256)
    assert torch.equal(to_uint8(every / 127.5 - 1.0), every.to(torch.uint8)), "bytes survive the way there and back"


def test_default_is_deterministic_ddim() -> None:
    assert SampleSpec().sampler == DDIM(eta=0.0)
