"""Which network looks at a data set, and what it says of the real items: worked out once, then read from a cache.

A cached file is named by a hash of the images and of the network's weights, so other data or another network can never
be taken for it. The cache only saves time: a damaged file is made anew, and where it cannot be written all goes on.
"""

from __future__ import annotations

import functools
import hashlib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from studio.core import resources
from studio.core.data.base import Dataset, DatasetSpec
from studio.core.features.base import FeatureNetwork
from studio.core.features.classifiers import ClassifierFeatures, StackedFeatures, file_of
from studio.core.features.general import InceptionFeatures, RandomFeatures, inception_weights
from studio.core.files import replacing
from studio.core.metrics.base import Evidence, Reference
from studio.core.registry import find

_UNREADABLE = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)


def network_for(data: DatasetSpec | Dataset | str) -> FeatureNetwork:
    """The network that looks at images of a data set, given as such or by its registered name; made once.

    Raises ValueError for points, for an unknown name and where the network's file is missing or damaged.
    """
    if isinstance(data, str):
        data = find("dataset", data)()
        assert isinstance(data, DatasetSpec)
    if data.kind == "points":
        raise ValueError(
            f"{data.title} has no feature network: points are measured as they are. Choose a measure of points, "
            "such as the energy distance, or an image data set."
        )
    if data.name == "stacked_mnist":
        return _stacked()
    return _classifier(file_of(data.name)) if data.name in ("mnist", "fashion_mnist") else _general()


@functools.lru_cache
def _classifier(path: Path) -> ClassifierFeatures:
    return ClassifierFeatures(path)


@functools.lru_cache
def _stacked() -> StackedFeatures:
    return StackedFeatures(_classifier(file_of("mnist")))


def _general() -> FeatureNetwork:
    """Looked for each time: the person may have put the weights there meanwhile."""
    path = inception_weights()
    return _random() if path is None else _inception(path)


@functools.lru_cache
def _random() -> RandomFeatures:
    return RandomFeatures()


@functools.lru_cache(maxsize=1)
def _inception(path: Path) -> InceptionFeatures:
    return InceptionFeatures(path)


def judge(
    items: np.ndarray,
    labels: np.ndarray | None,
    dataset: Dataset,
    network: FeatureNetwork | None = None,
    device: torch.device | str = "cpu",
) -> Evidence:
    """Evidence of samples: uint8 images (N, C, H, W) seen by the data's network or by ``network``, or points (N, D).

    Raises ValueError for items that are not of the data set's shape, hold NaN, or a network made for other data.
    """
    if items.shape[1:] != dataset.shape:
        raise ValueError(
            f"Samples of shape {items.shape[1:]} cannot be compared with {dataset.title}, "
            f"whose items have shape {dataset.shape}. Choose a model of that data."
        )
    if dataset.kind == "points":
        return Evidence(items=items.astype(np.float32), labels=labels)
    return _suitable(dataset, network).judge(items, labels, device)


def reference_for(
    dataset: Dataset, network: FeatureNetwork | None = None, device: torch.device | str = "cpu"
) -> Reference:
    """The real items of a data set as the data's network sees them, or ``network``; points are taken as they are.

    The first call for a data set runs the network over its test images. Equal calls share one reference. Raises
    ValueError for a network made for other data.
    """
    if dataset.kind == "points":
        return _of_points(dataset)
    return _of_images(dataset, _suitable(dataset, network), torch.device(device))


def prepare(
    dataset: Dataset, network: FeatureNetwork | None = None, device: torch.device | str = "cpu"
) -> Iterator[float]:
    """Work out what :func:`reference_for` will ask for, and cache it; seconds to minutes, once.

    Yields the share done, up to 1, after every chunk, so that a job can be stopped; nothing for points and for what is
    cached. Raises ValueError as :func:`reference_for` does.
    """
    if dataset.kind == "points":
        return
    network = _suitable(dataset, network)
    path, total = cached(dataset.test, network), len(dataset.test)
    if _recall(path, total) is not None:
        return
    network.check(dataset.test)
    found, done = [], 0
    for part in network.passes(dataset.test, device):
        found.append(part)
        done += len(part)
        yield done / total
    _remember(path, np.concatenate(found))


def _suitable(dataset: Dataset, network: FeatureNetwork | None) -> FeatureNetwork:
    if network is None:
        return network_for(dataset)
    if network.data not in ("", dataset.name):
        raise ValueError(
            f"{network.title} was made for other data than {dataset.title}: its numbers would mean nothing. "
            "Leave the network out, so that the data's own is taken."
        )
    return network


@functools.lru_cache(maxsize=4)
def _of_images(dataset: Dataset, network: FeatureNetwork, device: torch.device) -> Reference:
    path = cached(dataset.test, network)
    found = _recall(path, len(dataset.test))
    if found is None:
        network.check(dataset.test)
        found = network.activations(dataset.test, device)
        _remember(path, found)
    return Reference(
        data=dataset.title,
        kind="image",
        network=network.title,
        num_modes=network.num_modes,
        test=network.evidence(dataset.test, dataset.test_labels, found),
        train=Evidence(items=dataset.train, labels=dataset.train_labels),
        look=lambda real: network.judge(real.items, real.labels, device),
    )


@functools.lru_cache(maxsize=4)
def _of_points(dataset: Dataset) -> Reference:
    return Reference(
        data=dataset.title,
        kind="points",
        network="",
        num_modes=0 if dataset.mixture is None else len(dataset.mixture.weights),
        test=Evidence(items=dataset.test, labels=dataset.test_labels),
        train=Evidence(items=dataset.train, labels=dataset.train_labels),
        look=lambda real: real,
        mixture=dataset.mixture,
    )


def cached(items: np.ndarray, network: FeatureNetwork) -> Path:
    """Where the activations of these images are kept."""
    digest = hashlib.sha256(f"{network.fingerprint} {items.shape}".encode())
    digest.update(np.ascontiguousarray(items).data)
    return resources.cache_folder() / "references" / f"{network.name}-{digest.hexdigest()[:24]}.npz"


def _recall(path: Path, count: int) -> np.ndarray | None:
    """The cached activations; None where there are none, or none that can be trusted."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as store:
            found = store["activations"]
    except _UNREADABLE:
        return None
    sound = found.dtype == np.float32 and found.ndim == 2 and len(found) == count and np.isfinite(found).all()
    return found if sound else None


def _remember(path: Path, activations: np.ndarray) -> None:
    try:
        with replacing(path) as part, open(part, "wb") as file:
            np.savez(file, activations=activations)
    except OSError:
        pass  # It will be worked out again next time.
