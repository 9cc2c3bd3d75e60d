"""Data sets: bit-exact images, exact moments of the point sets, and batches that depend on (seed, step) alone."""

import gzip
import hashlib
import json
import math
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from studio.core import resources
from studio.core.data import base, images
from studio.core.data.base import Batch, Batches, Dataset, DatasetSpec
from studio.core.data.images import IDX_FILES, MNIST, FashionMNIST, read_idx, read_store
from studio.core.data.points import NUM_TEST, Checkerboard, PointsSpec, Rings, SwissRoll, TwoMoons
from studio.core.registry import methods

POINT_SETS = {name: cls for name, cls in methods("dataset").items() if issubclass(cls, PointsSpec)}
MIXTURES = {name: cls for name, cls in POINT_SETS.items() if cls().mixture is not None}


def idx_bytes(array: np.ndarray) -> bytes:
    return struct.pack(f">I{array.ndim}I", 0x0800 | array.ndim, *array.shape) + array.astype(np.uint8).tobytes()


def tiny(count: int = 10, num_test: int = 7) -> Dataset:
    """Item i is filled with i, so that a batch shows which items it holds."""
    train = np.repeat(np.arange(count, dtype=np.uint8), 4).reshape(count, 1, 2, 2)
    return Dataset(
        name="tiny",
        title="Tiny",
        kind="image",
        train=train,
        train_labels=np.arange(count),
        test=train[:num_test].copy(),
        test_labels=np.arange(num_test),
        class_names=tuple(map(str, range(count))),
        licence="",
        source="",
    )


# Images


def test_mnist_is_bit_identical_to_the_published_files() -> None:
    facts = json.loads((resources.assets() / "mnist.json").read_text())
    store = resources.assets() / "mnist.npz"
    assert hashlib.sha256(store.read_bytes()).hexdigest() == facts["mnist.npz"]
    train, train_labels, test, test_labels = read_store(store)
    for name, array in zip(IDX_FILES, (train[:, 0], train_labels, test[:, 0], test_labels), strict=True):
        assert hashlib.sha256(idx_bytes(array)).hexdigest() == facts["published"][name]
    # The published checksum of the training images, from another place than the json.
    assert facts["published"]["train-images-idx3-ubyte"].startswith("ba891046e6505d7a")


def test_mnist_describes_itself() -> None:
    data = MNIST().load()
    assert MNIST().available()
    assert data.summary == "60,000 images · 28×28 · grey · 10 classes"
    assert (data.name, data.shape, data.train.dtype) == ("mnist", (1, 28, 28), np.uint8)
    assert data.train_labels is not None
    assert data.train_labels.dtype == np.int64
    # How often each digit occurs in the training set, as its authors published it.
    assert np.bincount(data.train_labels).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    # Well known in [0, 1]: mean 0.1307, std 0.3081.
    assert data.mean == pytest.approx(2 * 0.1307 - 1, abs=0.005)
    assert data.std == pytest.approx(2 * 0.3081, abs=0.005)
    assert MNIST().load() is data
    with pytest.raises(ValueError, match="read-only"):
        data.train[0] = 0


def test_damaged_store_says_what_to_do(tmp_path: Path) -> None:
    whole = (resources.assets() / "mnist.npz").read_bytes()
    path = tmp_path / "mnist.npz"
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    for content in (b"", b"no store", whole[:100_000], bytes(flipped)):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"mnist\.npz is damaged\. Install the studio again"):
            read_store(path)
    with pytest.raises(ValueError, match=r"does not exist.*Install the studio again"):
        read_store(tmp_path / "absent.npz")


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_idx_reads_what_was_written(tmp_path: Path, suffix: str) -> None:
    array = np.random.default_rng(0).integers(0, 256, (5, 4, 3), np.uint8)
    path = tmp_path / f"some{suffix}"
    path.write_bytes(gzip.compress(idx_bytes(array)) if suffix else idx_bytes(array))
    np.testing.assert_array_equal(read_idx(path), array)


GOOD = idx_bytes(np.arange(60).reshape(5, 4, 3))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "begins with nothing"),
        (b"\x89PNG" + GOOD, "no IDX file of bytes"),
        (b"\0\0\x0d\x03" + GOOD[4:], "no IDX file of bytes"),  # floats
        (GOOD[:10], "header ends early"),
        (GOOD[:-1], "59 of 60 bytes"),
        (GOOD + b"\0", "longer than the 60 bytes"),
        (struct.pack(">I3I", 0x0803, 2**31, 2**31, 2**31), "header announces"),
    ],
)
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_bad_idx_is_refused_by_name(tmp_path: Path, content: bytes, message: str, suffix: str) -> None:
    path = tmp_path / f"bad-idx{suffix}"
    path.write_bytes(gzip.compress(content) if suffix else content)
    with pytest.raises(ValueError, match=message) as caught:
        read_idx(path)
    assert str(path) in str(caught.value)


def test_damaged_gzip_is_refused_by_name(tmp_path: Path) -> None:
    packed = gzip.compress(GOOD)
    flipped = bytearray(packed)
    flipped[-6] ^= 1  # in the checksum
    path = tmp_path / "bad.gz"
    for content in (packed[:-9], bytes(flipped), b"not gzip at all"):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"bad\.gz is damaged or cut short"):
            read_idx(path)
    with pytest.raises(ValueError, match="does not exist"):
        read_idx(tmp_path / "absent.gz")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A person's own folder, and a system without Fashion-MNIST; what was loaded there is forgotten afterwards."""
    monkeypatch.setenv("DENOISING_STUDIO_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(images, "SYSTEM_FASHION", tmp_path / "system")
    monkeypatch.setattr(base, "_load", lambda spec: spec.read())
    return tmp_path / "home"


def put_fashion(folder: Path, suffix: str = "") -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    folder.mkdir(parents=True)
    arrays = dict(zip(IDX_FILES, (rng.integers(0, 256, (6, 28, 28)), np.arange(6)) * 2, strict=True))
    for name, array in arrays.items():
        content = idx_bytes(array)
        (folder / f"{name}{suffix}").write_bytes(gzip.compress(content) if suffix else content)
    return arrays


def test_missing_fashion_says_what_to_install_and_where_to_put_files(home: Path) -> None:
    assert not FashionMNIST().available()
    with pytest.raises(ValueError, match="dataset-fashion-mnist") as caught:
        FashionMNIST().load()
    for name in (*IDX_FILES, str(home / "data" / "fashion-mnist")):
        assert name in str(caught.value)


@pytest.mark.parametrize(("place", "suffix"), [("home/data/fashion-mnist", ""), ("system", ".gz")])
def test_fashion_is_found_in_either_place(home: Path, place: str, suffix: str) -> None:
    arrays = put_fashion(home.parent / place, suffix)
    assert FashionMNIST().available()
    data = FashionMNIST().load()
    assert data.summary == "6 images · 28×28 · grey · 10 classes"
    np.testing.assert_array_equal(data.train[:, 0], arrays[IDX_FILES[0]])
    np.testing.assert_array_equal(data.train_labels, np.arange(6))


def test_fashion_refuses_files_that_do_not_belong_together(home: Path) -> None:
    folder = home / "data" / "fashion-mnist"
    put_fashion(folder)
    labels = folder / IDX_FILES[1]
    labels.write_bytes(idx_bytes(np.arange(5)))
    with pytest.raises(ValueError, match="does not belong"):
        FashionMNIST().load()
    labels.write_bytes(idx_bytes(np.full(6, 10)))
    with pytest.raises(ValueError, match="label 10"):
        FashionMNIST().load()
    labels.unlink()
    assert not FashionMNIST().available()


# Points


@pytest.mark.parametrize("name", POINT_SETS)
def test_points_are_standardised_by_geometry(name: str) -> None:
    data = POINT_SETS[name]().load()
    assert data.train.shape == (50_000, *data.shape)
    assert data.test.shape == (NUM_TEST, *data.shape)
    assert data.train.dtype == np.float32
    assert data.shape == ((1,) if name.endswith("1d") else (2,))
    # Exact in law, so within five standard errors in a sample; points have a kurtosis below that of a Gaussian.
    assert np.abs(data.train.mean(axis=0, dtype=np.float64)).max() < 5 * 1.5 / math.sqrt(50_000)
    assert data.train.astype(np.float64).var(axis=0).mean() == pytest.approx(1.0, abs=5 * math.sqrt(2 / 50_000))
    assert np.abs(data.train).max() < 2.6
    assert data.std == pytest.approx(1.0, abs=0.05)
    assert data.mean == pytest.approx(0.0, abs=0.05)


@pytest.mark.parametrize("name", POINT_SETS)
def test_points_depend_on_their_knobs_alone(name: str) -> None:
    cls = POINT_SETS[name]
    spec = cls(num_points=500)
    first, again, other = spec.read(), spec.read(), cls(num_points=500, seed=1).read()
    np.testing.assert_array_equal(first.train, again.train)
    for independent in (other.train, first.test[:500]):
        assert np.abs(np.mean(first.train * independent, dtype=np.float64)) < 5 / math.sqrt(500)
    assert spec.load() is cls(num_points=500).load()
    assert spec.load().name == name
    labels = first.train_labels
    assert (labels is None) == (first.num_classes == 0)
    if labels is not None:
        assert labels.dtype == np.int64
        assert set(labels) == set(range(first.num_classes))


@pytest.mark.parametrize("name", MIXTURES)
def test_mixture_is_the_law_of_the_sample(name: str) -> None:
    data = MIXTURES[name](num_points=200_000).read()
    assert data.mixture is not None
    weights, means, stds = data.mixture
    assert weights.sum() == pytest.approx(1.0, abs=1e-12)
    assert len(weights) == data.num_classes
    # Zero mean and unit variance hold exactly for the parameters, not only for the sample.
    assert weights @ means == pytest.approx(np.zeros(data.shape), abs=1e-12)
    assert weights @ (stds**2 + (means**2).mean(axis=1)) == pytest.approx(1.0, abs=1e-12)
    for k, (weight, mean, std) in enumerate(zip(weights, means, stds, strict=True)):
        part = data.train[data.train_labels == k].astype(np.float64)
        assert len(part) / 200_000 == pytest.approx(weight, abs=5 * math.sqrt(weight / 200_000))
        assert np.abs(part.mean(axis=0) - mean).max() < 5 * std / math.sqrt(len(part))
        assert np.abs(part.std(axis=0) / std - 1).max() < 5 / math.sqrt(2 * len(part))


def test_swiss_roll_without_noise_lies_on_the_spiral() -> None:
    points = SwissRoll(noise=0.0).read().train.astype(np.float64)
    # Centre and scale come from a fine numerical average here, from antiderivatives in the set itself.
    t = np.linspace(1.5 * np.pi, 4.5 * np.pi, 20_001)
    curve = np.stack([t * np.cos(t), t * np.sin(t)], axis=1)
    curve -= curve.mean(axis=0)
    curve /= math.sqrt((curve**2).mean())
    distance = np.sqrt(((points[:200, None] - curve) ** 2).sum(axis=-1)).min(axis=1)
    assert distance.max() < 2e-3


def test_noise_is_a_deviation_in_the_finished_set() -> None:
    clean, noisy = Rings(noise=0.0).read(), Rings(noise=0.1).read()
    for ring, share in enumerate((1, 2, 3)):
        radius = np.hypot(*clean.train[clean.train_labels == ring].T)
        assert np.ptp(radius) < 1e-5
        assert radius[0] == pytest.approx(share * math.sqrt(2 / 6), rel=1e-5)  # E[k^2] = 36 / 6 for weights k / 6
        away = np.hypot(*noisy.train[noisy.train_labels == ring].T) - radius[0] * math.sqrt(1 - 0.1**2)
        assert away.std() == pytest.approx(0.1, rel=0.03)


def test_moons_are_half_circles_that_mirror_each_other() -> None:
    data = TwoMoons(noise=0.0).read()
    upper, lower = (data.train[data.train_labels == label].astype(np.float64) for label in (0, 1))
    scale = math.sqrt(2 / (1.3125 - 1 / math.pi))
    for points in (upper, -lower):
        from_centre = points + scale * np.array([0.5, 0.25])
        np.testing.assert_allclose(np.hypot(*from_centre.T), scale, rtol=1e-5)
        assert from_centre[:, 1].min() > -1e-5


def test_checkerboard_fills_dark_squares_only() -> None:
    data = Checkerboard().read()
    board = data.train.astype(np.float64) * math.sqrt(16 / 12) + 2
    column, row = np.floor(board).astype(int).T
    assert ((column + row) % 2 == 0).all()
    labels = data.train_labels
    assert labels is not None
    assert len(set(zip(column, row, labels, strict=True))) == len(set(zip(column, row, strict=True))) == 8
    np.testing.assert_allclose(np.bincount(labels), 50_000 / 8, rtol=0.06)


def test_points_refuse_knobs_out_of_range() -> None:
    with pytest.raises(ValueError, match=r"noise = 0\.6"):
        SwissRoll(noise=0.6)
    with pytest.raises(ValueError, match="num_points = 0"):
        SwissRoll(num_points=0)


@pytest.mark.parametrize("cls", methods("dataset").values(), ids=methods("dataset"))
def test_every_set_names_itself(cls: type[DatasetSpec]) -> None:
    assert cls.title
    assert cls.kind == ("points" if issubclass(cls, PointsSpec) else "image")
    assert len({cls(), cls()}) == 1


# Batches


def labels_of(batch: Batch) -> torch.Tensor:
    assert batch.labels is not None
    return batch.labels


@pytest.mark.parametrize("batch_size", [1, 3, 5, 10, 25])
def test_each_epoch_visits_each_item_once(batch_size: int) -> None:
    batches = Batches(tiny(), batch_size, seed=3)
    seen = np.concatenate([batches.at(step).indices for step in range(6 * 10 // batch_size + 1)])
    epochs = seen[: len(seen) // 10 * 10].reshape(-1, 10)
    assert len(epochs) >= 6
    for epoch in epochs:
        assert sorted(epoch) == list(range(10))
    assert len({tuple(epoch) for epoch in epochs}) == len(epochs)


def test_batches_are_functions_of_seed_and_step() -> None:
    walked = Batches(tiny(), 4, seed=7)
    history = [walked.at(step) for step in range(12)]
    for step in (11, 2, 7, 2):
        jumped = Batches(tiny(), 4, seed=7).at(step)
        again = walked.at(step)
        for batch in (jumped, again):
            assert torch.equal(batch.x0, history[step].x0)
            assert torch.equal(labels_of(batch), labels_of(history[step]))
            np.testing.assert_array_equal(batch.indices, history[step].indices)
    others = [Batches(tiny(), 4, seed=8).at(step).indices for step in range(12)]
    assert any((other != batch.indices).any() for other, batch in zip(others, history, strict=True))


def test_items_and_labels_stay_together_and_in_range() -> None:
    batch = Batches(tiny(256), 64).at(5)
    labels = labels_of(batch)
    assert (batch.x0.dtype, labels.dtype, batch.x0.shape) == (torch.float32, torch.int64, (64, 1, 2, 2))
    assert torch.equal(batch.x0[:, 0, 0, 0], labels.float() / 127.5 - 1)
    everything = Batches(tiny(256), 256).at(0).x0
    assert (everything.min(), everything.max()) == (-1.0, 1.0)
    assert torch.equal(((everything + 1) * 127.5).round().sort(dim=0).values[:, 0, 0, 0], torch.arange(256.0))


def test_points_pass_unchanged() -> None:
    data = SwissRoll(num_points=100).read()
    batch = Batches(data, 8).at(3)
    assert batch.labels is None
    np.testing.assert_array_equal(batch.x0.numpy(), data.train[batch.indices])
    batch.x0.zero_()
    assert data.train.any()


def test_held_out_is_fixed_and_strided() -> None:
    data = tiny(10, num_test=7)
    first, second = Batches(data, 4, seed=0).held_out(3), Batches(data, 9, seed=5).held_out(3)
    assert first.indices.tolist() == second.indices.tolist() == [0, 2, 4]
    assert labels_of(first).tolist() == [0, 2, 4]
    assert torch.equal(first.x0, second.x0)
    assert Batches(data, 4).held_out(100).indices.tolist() == list(range(7))


def test_test_split_can_be_walked() -> None:
    assert sorted(Batches(tiny(10, num_test=7), 7, split="test").at(0).indices) == list(range(7))


def test_impossible_batches_are_refused() -> None:
    with pytest.raises(ValueError, match="batch_size = 0"):
        Batches(tiny(), 0)
    with pytest.raises(ValueError, match="no test items"):
        Batches(tiny(10, num_test=0), 4, split="test")


def test_listing_data_sets_loads_no_torch() -> None:
    code = "import sys; from studio.core.registry import methods; methods('dataset'); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
