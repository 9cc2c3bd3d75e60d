"""Feature networks: right answers on real digits, the same whatever the chunk; refusals; a cache that is exact."""

import dataclasses
import hashlib
import json
import pickle
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from studio.core import resources
from studio.core.data.base import Dataset
from studio.core.data.images import MNIST
from studio.core.data.points import PointsSpec, SwissRoll
from studio.core.data.stacked import NUM_TEST, NUM_TRAIN, StackedMNIST, mode_of
from studio.core.features import FeatureNetwork, judge, network_for, prepare, reference_for, references
from studio.core.features import general as general_networks
from studio.core.features.classifiers import KEY, ClassifierFeatures, file_of
from studio.core.features.general import InceptionFeatures, RandomFeatures
from studio.core.metrics.base import floor, measure
from studio.core.metrics.frechet import FrechetDistance, frechet
from studio.core.networks.base import num_parameters
from studio.core.registry import find, methods

SHIPPED = {"mnist": 0.993, "fashion_mnist": 0.92}
"""The least accuracy a shipped classifier may have."""


@pytest.fixture(autouse=True)
def _forget(monkeypatch: pytest.MonkeyPatch) -> None:
    references._of_images.cache_clear()


def some(data: Dataset, count: int = 200, test: int = 100) -> Dataset:
    """The first items of a data set."""
    return dataclasses.replace(
        data,
        train=data.train[:count].copy(),
        train_labels=None if data.train_labels is None else data.train_labels[:count].copy(),
        test=data.test[:test].copy(),
        test_labels=None if data.test_labels is None else data.test_labels[:test].copy(),
    )


def colour(count: int = 60, shape: tuple[int, int, int] = (3, 20, 24)) -> Dataset:
    """Pictures of no data set that is known."""
    rng = np.random.default_rng(0)
    items = rng.integers(0, 256, (2, count, *shape), np.uint8)
    return Dataset(
        name="folder",
        title="Holidays",
        kind="image",
        train=items[0],
        train_labels=None,
        test=items[1],
        test_labels=None,
        licence="",
        source="",
    )


# The classifiers that ship


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_classifiers_are_as_good_as_they_say(name: str) -> None:
    network = network_for(name)
    assert network.accuracy is not None
    assert network.accuracy >= SHIPPED[name]
    spec = find("dataset", name)()
    if not spec.available():
        pytest.skip(f"{spec.title} is not here")
    data = spec.load()
    rows = np.random.default_rng(0).choice(len(data.test), 2000, replace=False)
    found = network.judge(data.test[rows], data.test_labels[rows])
    assert found.labels is not None
    # Three standard errors of 2,000 draws.
    error = np.sqrt(network.accuracy * (1.0 - network.accuracy) / 2000)
    assert (found.modes == found.labels).mean() == pytest.approx(network.accuracy, abs=3.0 * error)


@pytest.mark.parametrize("name", SHIPPED)
def test_files_are_small_and_describe_themselves(name: str) -> None:
    path = file_of(name)
    assert path.stat().st_size < 3_000_000
    with safe_open(path, "pt") as file:
        facts = json.loads(file.metadata()[KEY])
    network = network_for(name)
    assert isinstance(network, ClassifierFeatures)
    assert facts["parameters"] == num_parameters(network)
    assert (facts["data"], facts["accuracy"], facts["features"]) == (name, network.accuracy, network.num_features)
    assert len(facts["classes"]) == network.num_classes == network.num_modes == 10
    assert {"epochs", "seed"} <= set(facts["made"])
    assert f"{network.accuracy:.2%}" in (resources.assets() / "features.md").read_text(encoding="utf-8")
    assert str(facts["version"]) in network.title


def test_evidence_of_digits() -> None:
    data = MNIST().load()
    assert data.test_labels is not None
    found = network_for(MNIST()).judge(data.test[:300], data.test_labels[:300])
    assert found.features is not None
    assert found.probabilities is not None
    assert found.features.shape == (300, 128)
    assert found.features.dtype == found.probabilities.dtype == np.float64
    assert found.modes is not None
    assert found.modes.dtype == np.int64
    np.testing.assert_allclose(found.probabilities.sum(1), 1.0, rtol=1e-12)
    np.testing.assert_array_equal(found.modes, found.probabilities.argmax(1))
    assert found.features.min() >= 0.0
    # The features are the head's input: they and the file's own matrix give the probabilities again.
    with safe_open(file_of("mnist"), "np") as file:
        logits = found.features @ file.get_tensor("head.weight").astype(np.float64).T + file.get_tensor("head.bias")
    again = np.exp(logits - np.log(np.exp(logits).sum(1, keepdims=True)))
    np.testing.assert_allclose(found.probabilities, again, atol=1e-5)


@pytest.mark.parametrize("name", ["mnist", "stacked_mnist", "random"])
def test_chunks_do_not_matter(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    network = RandomFeatures() if name == "random" else network_for(name)
    items = (StackedMNIST() if name == "stacked_mnist" else MNIST()).load().test[:130]
    whole, again = network.activations(items), network.activations(items)
    np.testing.assert_array_equal(whole, again)
    for chunk in (1, 7, 130):
        monkeypatch.setattr(network, "chunk", chunk)
        np.testing.assert_allclose(network.activations(items), whole, rtol=1e-4, atol=1e-4)


def test_nothing_is_learned_and_the_global_generator_is_untouched() -> None:
    before = torch.get_rng_state()
    network = ClassifierFeatures(file_of("mnist"))
    network.judge(MNIST().load().test[:3])
    assert torch.equal(before, torch.get_rng_state())
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert not any(module.training for module in network.modules())


def test_networks_are_told_apart() -> None:
    networks = [network_for("mnist"), network_for("fashion_mnist"), network_for("stacked_mnist"), RandomFeatures()]
    for kind in ("name", "title", "fingerprint"):
        assert len({getattr(network, kind) for network in networks}) == len(networks)
    assert network_for("mnist") is network_for(MNIST()) is network_for(MNIST().load())
    assert ClassifierFeatures(file_of("mnist")).fingerprint == network_for("mnist").fingerprint
    with torch.no_grad():
        changed = ClassifierFeatures(file_of("mnist"))
        changed.classifier.head.bias[0] += 1e-4
    assert changed.fingerprint != network_for("mnist").fingerprint


# Files that are missing or damaged


def test_a_missing_or_damaged_file_says_what_to_do(tmp_path: Path) -> None:
    whole = file_of("mnist").read_bytes()
    path = tmp_path / "features-mnist.safetensors"
    with pytest.raises(ValueError, match=r"does not exist.*Install the studio again"):
        ClassifierFeatures(path)
    for content in (b"", b"no network", whole[:100_000], pickle.dumps({"a": 1})):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"features-mnist\.safetensors is damaged\. Install the studio again"):
            ClassifierFeatures(path)


def test_a_file_that_does_not_fit_its_description_is_refused(tmp_path: Path) -> None:
    with safe_open(file_of("mnist"), "pt") as file:
        facts = json.loads(file.metadata()[KEY])
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    path = tmp_path / "odd.safetensors"
    rest = {name: value for name, value in weights.items() if name != "head.bias"}
    for tensors, metadata, message in (
        (weights, None, "is damaged"),
        (weights, {KEY: "no json"}, "is damaged"),
        (weights, {KEY: json.dumps({"title": "?"})}, "is damaged"),
        (weights, {KEY: json.dumps(facts | {"format": 9})}, "has format 9"),
        (weights, {KEY: json.dumps(facts | {"features": 64})}, "is damaged"),
        (rest, {KEY: json.dumps(facts)}, "is damaged"),
    ):
        save_file(tensors, path, metadata=metadata)
        with pytest.raises(ValueError, match=f"{message}.*Install the studio again"):
            ClassifierFeatures(path)


# Refusals


@pytest.mark.parametrize(
    ("items", "message"),
    [
        (np.zeros((0, 1, 28, 28), np.uint8), "no images to judge"),
        (np.zeros((5, 2), np.float32), "Points are measured without"),
        (np.zeros((5, 28, 28), np.uint8), r"\(N, C, H, W\)"),
        (np.full((5, 1, 28, 28), np.nan, np.float32), "hold no numbers"),
        (np.zeros((5, 1, 28, 28), np.float32), "uint8"),
        (np.zeros((5, 3, 28, 28), np.uint8), "grey images of 28×28; these have 3 channels of 28×28"),
        (np.zeros((5, 1, 32, 30), np.uint8), "these have 1 channel of 30×32"),
    ],
)
def test_other_items_are_refused(items: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        network_for("mnist").judge(items)


def test_labels_must_belong_to_the_items() -> None:
    with pytest.raises(ValueError, match="3 labels do not belong to 5 items"):
        network_for("mnist").judge(np.zeros((5, 1, 28, 28), np.uint8), np.zeros(3, np.int64))


def test_points_have_no_network_and_unknown_data_neither() -> None:
    with pytest.raises(ValueError, match=r"Swiss roll has no feature network.*energy distance"):
        network_for(SwissRoll())
    with pytest.raises(ValueError, match="'nothing' is no dataset"):
        network_for("nothing")


def test_a_network_for_other_data_is_refused() -> None:
    digits, clothes = some(MNIST().load()), network_for("fashion_mnist")
    with pytest.raises(ValueError, match=r"Fashion-MNIST classifier \d was made for other data than MNIST"):
        reference_for(digits, clothes)
    with pytest.raises(ValueError, match="was made for other data"):
        judge(digits.test, None, digits, clothes)
    with pytest.raises(ValueError, match=r"shape \(3, 28, 28\) cannot be compared with MNIST"):
        judge(np.zeros((2, 3, 28, 28), np.uint8), None, digits)
    # A network for any data is not refused.
    assert reference_for(digits, RandomFeatures()).network == RandomFeatures.title


# References


def counted(network: FeatureNetwork, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many images each pass of the network gets from now on."""
    passes: list[int] = []
    real = network.activations

    def activations(items: np.ndarray, device: torch.device | str = "cpu") -> np.ndarray:
        passes.append(len(items))
        return real(items, device)

    monkeypatch.setattr(network, "activations", activations)
    return passes


def test_reference_is_worked_out_once_and_read_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    data, network = some(MNIST().load()), network_for("mnist")
    passes = counted(network, monkeypatch)
    first = reference_for(data)
    assert passes == [100]
    assert reference_for(data) is first
    references._of_images.cache_clear()
    second = reference_for(data)
    for name in ("features", "probabilities", "modes", "labels", "items"):
        np.testing.assert_array_equal(getattr(first.test, name), getattr(second.test, name))
    assert passes == [100]
    assert (second.data, second.kind, second.num_modes) == ("MNIST", "image", 10)
    assert second.network == network.title


def test_a_reference_can_be_prepared_in_steps_and_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    data, network = some(MNIST().load()), network_for("mnist")
    monkeypatch.setattr(network, "chunk", 50)
    steps = prepare(data)
    assert next(steps) == pytest.approx(0.5)
    steps.close()  # type: ignore[attr-defined]
    assert not resources.cache_folder().exists()
    assert list(prepare(data)) == pytest.approx([0.5, 1.0])
    passes = counted(network, monkeypatch)
    assert len(reference_for(data).test) == 100
    assert (passes, list(prepare(data)), list(prepare(SwissRoll(num_points=500).load()))) == ([], [], [])


def test_cache_is_keyed_by_data_and_network(monkeypatch: pytest.MonkeyPatch) -> None:
    data, network = some(MNIST().load()), network_for("mnist")
    passes = counted(network, monkeypatch)
    reference_for(data)
    other = dataclasses.replace(data, test=255 - data.test)
    assert not np.allclose(reference_for(other).test.features, reference_for(data).test.features)  # type: ignore[arg-type]
    assert passes == [100, 100]
    assert len(list((resources.cache_folder() / "references").iterdir())) == 2
    assert references.cached(data.test, network) != references.cached(data.test, RandomFeatures())


def test_a_damaged_cache_is_made_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    data, network = some(MNIST().load()), network_for("mnist")
    passes = counted(network, monkeypatch)
    features = reference_for(data).test.features
    path = references.cached(data.test, network)
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    assert resources.cache_folder() in path.parents
    for content in (b"", b"nothing", whole[:5000], bytes(flipped), pickle.dumps([1])):
        path.write_bytes(content)
        references._of_images.cache_clear()
        np.testing.assert_array_equal(reference_for(data).test.features, features)
        assert path.read_bytes() == whole
    np.savez(path, activations=np.full((100, 138), np.nan, np.float32))
    references._of_images.cache_clear()
    np.testing.assert_array_equal(reference_for(data).test.features, features)
    assert passes == [100] * 7


def test_a_cache_that_cannot_be_written_is_no_error(studio_home: Path) -> None:
    data = some(MNIST().load())
    studio_home.mkdir()
    (studio_home / "cache").write_text("in the way")
    assert len(reference_for(data).test) == 100


def test_identical_items_give_a_distance_of_zero() -> None:
    data = some(MNIST().load(), 400, 400)
    reference = reference_for(data)
    found = measure(FrechetDistance(), judge(data.test, data.test_labels, data), reference)
    assert found["fd"].value == pytest.approx(0.0, abs=1e-6)
    assert floor(FrechetDistance(), reference, 200)["fd"].value > 0.1


def test_points_are_their_own_reference() -> None:
    for spec in (SwissRoll(num_points=500), _a_mixture()):
        data = spec.load()
        reference = reference_for(data)
        assert (reference.kind, reference.network) == ("points", "")
        np.testing.assert_array_equal(reference.test.items, data.test)
        np.testing.assert_array_equal(reference.train.items, data.train)
        assert reference.num_modes == (0 if data.mixture is None else len(data.mixture.weights))
        found = judge(data.test[:9].astype(np.float64), None, data)
        assert found.items.dtype == np.float32
        assert found.features is None
    with pytest.raises(ValueError, match="hold no numbers"):
        judge(np.full((3, 2), np.nan), None, data)


def _a_mixture() -> PointsSpec:
    found = (cls() for cls in methods("dataset").values() if issubclass(cls, PointsSpec))
    return next(spec for spec in found if spec.mixture is not None)


# Stacked digits


def test_stacked_mnist_is_fixed_triples_of_digits() -> None:
    data = StackedMNIST().load()
    assert data.summary == "30,000 images · 28×28 · colour"
    assert (len(data.train), len(data.test), data.shape) == (NUM_TRAIN, NUM_TEST, (3, 28, 28))
    assert data.train.nbytes + data.test.nbytes < 120e6
    assert (data.num_classes, data.train_labels, data.test_labels) == (0, None, None)
    digits = MNIST().load()
    for stacked, single in ((data.train, digits.train), (data.test, digits.test)):
        known = {image.tobytes() for image in single}
        assert all(channel.tobytes() in known for picture in stacked[:50] for channel in picture)
    np.testing.assert_array_equal(StackedMNIST().read().test, data.test)


def test_stacked_modes_are_the_three_digits() -> None:
    digits = MNIST().load()
    assert digits.test_labels is not None
    rows = np.random.default_rng(1).integers(len(digits.test), size=(600, 3))
    found = network_for("stacked_mnist").judge(digits.test[rows, 0])
    modes = mode_of(digits.test_labels[rows])
    assert modes[0] == int("".join(str(digits.test_labels[row]) for row in rows[0]))
    assert found.modes is not None
    assert (found.modes == modes).mean() > 0.97
    assert found.probabilities is not None
    assert found.features is not None
    assert found.probabilities.shape == (600, 1000)
    np.testing.assert_array_equal(found.probabilities.argmax(1), found.modes)
    np.testing.assert_allclose(found.probabilities.sum(1), 1.0, rtol=1e-5)
    # Channel by channel it is MNIST's classifier.
    second = network_for("mnist").judge(digits.test[rows[:, 1]])
    np.testing.assert_allclose(found.features[:, 128:256], second.features, rtol=1e-4, atol=1e-4)
    summed = found.probabilities.reshape(600, 10, 10, 10).sum((1, 3))
    np.testing.assert_allclose(summed, second.probabilities, atol=1e-5)


# Any other images


def test_other_images_are_judged_by_random_features_that_say_so() -> None:
    data = colour()
    network = network_for(data)
    assert isinstance(network, RandomFeatures)
    assert "untrained" in network.title
    assert network is network_for(data)
    reference = reference_for(data)
    assert (reference.network, reference.num_modes) == (network.title, 0)
    assert (reference.test.probabilities, reference.test.modes) == (None, None)
    assert reference.test.features is not None
    assert reference.test.features.shape == (60, 320)
    with pytest.raises(ValueError, match="grey or colour images; these have 2 channels of 5×4"):
        network.judge(np.zeros((1, 2, 4, 5), np.uint8))


def test_random_features_take_grey_as_colour_and_any_size() -> None:
    network = RandomFeatures()
    grey = np.random.default_rng(0).integers(0, 256, (4, 1, 40, 9), np.uint8)
    np.testing.assert_array_equal(network.activations(grey), network.activations(np.repeat(grey, 3, 1)))
    assert np.isfinite(network.activations(np.zeros((2, 1, 1, 1), np.uint8))).all()


def test_random_features_are_the_same_everywhere() -> None:
    # Noted from numpy 2 and torch 2.13 on a CPU; a change would make scores incomparable under one title.
    ramp = np.arange(32 * 32 * 3, dtype=np.uint32).reshape(1, 3, 32, 32) % 251
    found = RandomFeatures().activations(ramp.astype(np.uint8))[0]
    expected = [-0.23821, 0.45548, -0.24823, -0.28085, -0.57847]
    np.testing.assert_allclose(found[[0, 1, 40, 120, 319]], expected, rtol=1e-3)


def test_random_features_rank_damage() -> None:
    digits, network, rng = MNIST().load(), RandomFeatures(), np.random.default_rng(0)
    assert digits.train_labels is not None
    reference = network.judge(rng.permutation(digits.test)[:500]).features
    rows = rng.permutation(len(digits.train))[:500]
    real, labels = digits.train[rows], digits.train_labels[rows]
    assert reference is not None

    def distance(items: np.ndarray) -> float:
        found = network.judge(items).features
        assert found is not None
        return frechet(found, reference)

    def noisy(sigma: float) -> np.ndarray:
        return np.clip(real + rng.normal(0.0, sigma, real.shape), 0, 255).astype(np.uint8)

    clean, little, much = distance(real), distance(noisy(30)), distance(noisy(90))
    assert clean < little < much / 4
    assert distance(real[labels < 7]) > 1.5 * clean


# Inception


class TinyInception(nn.Module):
    """In place of torch-fidelity's: the same constructor and call, which unpickles the file it is given."""

    def __init__(self, name: str, features_list: list[str], feature_extractor_weights_path: Any) -> None:
        super().__init__()
        assert features_list == ["2048"]
        self.fc = nn.Linear(3, 2048, bias=False)
        self.load_state_dict(torch.load(feature_extractor_weights_path, weights_only=False))

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor]:
        assert images.dtype == torch.uint8
        assert images.shape[1] == 3
        return (self.fc(images.float().mean((2, 3))),)


@pytest.fixture
def fidelity(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if torch-fidelity were installed."""
    package, module = types.ModuleType("torch_fidelity"), types.ModuleType("inception")
    package.__spec__ = types.SimpleNamespace(name="torch_fidelity")  # type: ignore[assignment]
    module.FeatureExtractorInceptionV3 = TinyInception  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch_fidelity", package)
    monkeypatch.setitem(sys.modules, "torch_fidelity.feature_extractor_inceptionv3", module)


def put_weights(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = folder / general_networks.INCEPTION_FILE
    folder.mkdir(parents=True, exist_ok=True)
    torch.save({"fc.weight": torch.arange(2048.0 * 3).reshape(2048, 3)}, path)
    monkeypatch.setattr(general_networks, "INCEPTION_SHA256", hashlib.sha256(path.read_bytes()).hexdigest()[:8])
    return path


@pytest.mark.usefixtures("fidelity")
@pytest.mark.parametrize("place", ["data", "hub"])
def test_inception_is_taken_where_its_weights_are(place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    data = colour(shape=(1, 8, 8))
    assert isinstance(network_for(data), RandomFeatures)
    put_weights(resources.data_folder() if place == "data" else tmp_path / "hub" / "checkpoints", monkeypatch)
    network = network_for(data)
    assert network.title == "Inception 2015-12-05"
    found = judge(data.test, None, data)
    assert found.features is not None
    grey = data.test.astype(np.float64).mean((1, 2, 3))
    np.testing.assert_allclose(found.features[:, 1], 12.0 * grey, rtol=1e-5)
    assert reference_for(data).network == network.title
    assert isinstance(network_for("mnist"), ClassifierFeatures)


@pytest.mark.usefixtures("fidelity")
def test_inception_reads_the_published_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put_weights(tmp_path, monkeypatch)
    InceptionFeatures(path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"6726825d\.pth is not the published file"):
        InceptionFeatures(path)
    with pytest.raises(ValueError, match="does not exist"):
        InceptionFeatures(tmp_path / "absent.pth")


@pytest.mark.usefixtures("fidelity")
def test_code_in_a_weights_file_never_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, mark = tmp_path / "evil.pth", tmp_path / "ran"
    torch.save({"fc.weight": _Evil(mark)}, path)
    monkeypatch.setattr(general_networks, "INCEPTION_SHA256", hashlib.sha256(path.read_bytes()).hexdigest()[:8])
    with pytest.raises(ValueError, match="not the published file"):
        InceptionFeatures(path)
    assert not mark.exists()


class _Evil:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


def test_a_package_that_cannot_be_loaded_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch_fidelity", None)
    with pytest.raises(ValueError, match="Install torchvision from the same place as torch"):
        InceptionFeatures(put_weights(tmp_path, monkeypatch))
