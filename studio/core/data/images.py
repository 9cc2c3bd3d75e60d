"""Image sets: MNIST, which ships with the studio, and Fashion-MNIST where it is found.

Both come as four IDX files: a magic number ``00 00 08 d``, d big-endian 32-bit sizes, then the bytes. MNIST ships
smaller: four of five of its pixels are black, so ``mnist.npz`` keeps one bit a pixel (*ink*) and the values under it.
"""

from __future__ import annotations

import gzip
import math
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from studio.core import resources
from studio.core.data.base import Dataset, DatasetSpec
from studio.core.files import explain
from studio.core.registry import register

MNIST_SHAPE = (1, 28, 28)
IDX_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
SYSTEM_FASHION = Path("/usr/share/datasets/fashion-mnist")

_IDX_LIMIT = 1 << 31  # bytes; no set of this kind comes near, a damaged header easily does
_DAMAGED = (EOFError, zlib.error, gzip.BadGzipFile, zipfile.BadZipFile)


@register("dataset", "mnist")
@dataclass(frozen=True, kw_only=True)
class MNIST(DatasetSpec):
    """70,000 handwritten digits, 28 x 28 grey."""

    title = "MNIST"
    kind = "image"

    def available(self) -> bool:
        return (resources.assets() / "mnist.npz").is_file()

    def read(self) -> Dataset:
        arrays = read_store(resources.assets() / "mnist.npz")
        return Dataset(
            name=self.name,
            title=self.title,
            kind="image",
            train=arrays[0],
            train_labels=arrays[1].astype(np.int64),
            test=arrays[2],
            test_labels=arrays[3].astype(np.int64),
            class_names=tuple("0123456789"),
            licence="CC BY-SA 3.0",
            source="Yann LeCun, Corinna Cortes and Christopher Burges, from NIST's databases",
        )


@register("dataset", "fashion_mnist")
@dataclass(frozen=True, kw_only=True)
class FashionMNIST(DatasetSpec):
    """70,000 pictures of clothes, 28 x 28 grey; found in the data folder or in Debian's."""

    title = "Fashion-MNIST"
    kind = "image"

    def available(self) -> bool:
        return any(_present(folder) for folder in self._folders())

    def read(self) -> Dataset:
        files = next((found for folder in self._folders() if (found := _present(folder))), None)
        if files is None:
            raise ValueError(
                "Fashion-MNIST was not found. On Debian install the package dataset-fashion-mnist; elsewhere put "
                f"{', '.join(IDX_FILES)} (as they are or as .gz) into {self._folders()[0]}."
            )
        train, train_labels = _images_and_labels(files[0], files[1], num_classes=10)
        test, test_labels = _images_and_labels(files[2], files[3], num_classes=10)
        if train.shape[1:] != test.shape[1:]:
            raise ValueError(f"{files[0]} and {files[2]} hold images of different sizes. Get the files again.")
        return Dataset(
            name=self.name,
            title=self.title,
            kind="image",
            train=train,
            train_labels=train_labels,
            test=test,
            test_labels=test_labels,
            class_names=(
                "T-shirt",
                "Trousers",
                "Pullover",
                "Dress",
                "Coat",
                "Sandal",
                "Shirt",
                "Sneaker",
                "Bag",
                "Ankle boot",
            ),
            licence="MIT",
            source="Zalando SE: Han Xiao, Kashif Rasul, Roland Vollgraf (arXiv 1708.07747)",
        )

    @staticmethod
    def _folders() -> tuple[Path, ...]:
        return resources.data_folder() / "fashion-mnist", SYSTEM_FASHION


def _present(folder: Path) -> list[Path] | None:
    """The four IDX files of a folder, plain or .gz; None unless all are there."""
    found = [next((p for p in (folder / name, folder / f"{name}.gz") if p.is_file()), None) for name in IDX_FILES]
    return None if None in found else cast(list[Path], found)


def read_idx(path: Path) -> np.ndarray:
    """The uint8 array of an IDX file, plain or gzip by its name's ``.gz``; any number of dimensions from 1 to 4.

    Raises ValueError naming the file where it is missing, damaged, cut short, too long or no IDX file of bytes.
    """
    try:
        with cast(BinaryIO, gzip.open(path) if path.suffix == ".gz" else path.open("rb")) as file:
            return _parse_idx(file, path)
    except _DAMAGED as error:
        raise ValueError(f"{path} is damaged or cut short ({error}). Get the file again.") from error
    except OSError as error:
        raise ValueError(explain(error, path)) from error


def _parse_idx(file: BinaryIO, path: Path) -> np.ndarray:
    magic = file.read(4)
    if len(magic) < 4 or magic[:3] != b"\0\0\x08" or not 1 <= magic[3] <= 4:
        raise ValueError(f"{path} is no IDX file of bytes: it begins with {magic.hex(' ') or 'nothing'}.")
    header = file.read(4 * magic[3])
    if len(header) < 4 * magic[3]:
        raise ValueError(f"{path} is cut short: its header ends early. Get the file again.")
    shape = struct.unpack(f">{magic[3]}I", header)
    size = math.prod(shape)
    if size > _IDX_LIMIT:
        raise ValueError(f"{path} is damaged: its header announces {size:,} bytes. Get the file again.")
    body = file.read(size + 1)
    if len(body) < size:
        raise ValueError(f"{path} is cut short: {len(body):,} of {size:,} bytes are there. Get the file again.")
    if len(body) > size:
        raise ValueError(f"{path} is longer than the {size:,} bytes its header announces. Get the file again.")
    return np.frombuffer(body, np.uint8).reshape(shape)


def _images_and_labels(images: Path, labels: Path, num_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """uint8 (N, 1, H, W) and int64 (N,); raises ValueError where the two do not belong together."""
    x, y = read_idx(images), read_idx(labels)
    if x.ndim != 3 or not x.size:
        raise ValueError(f"{images} holds no grey images: its sizes are {x.shape}.")
    if y.shape != x.shape[:1]:
        raise ValueError(f"{labels} does not belong to {images}: it has sizes {y.shape} for {len(x):,} images.")
    if y.max() >= num_classes:
        raise ValueError(f"{labels} holds the label {y.max()}; there are {num_classes} classes, from 0.")
    return x[:, None], y.astype(np.int64)


def read_store(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """MNIST as ``assets/make_mnist.py`` packed it: train images uint8 (N, 1, 28, 28) and labels uint8 (N,), then test.

    Raises ValueError where the file is missing or damaged; the zip's checksums guard every byte.
    """
    try:
        # Opened here: numpy leaves a damaged file open.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as store:
            return (
                _unpack(store["train_ink"], store["train_values"], len(store["train_labels"])),
                store["train_labels"],
                _unpack(store["test_ink"], store["test_values"], len(store["test_labels"])),
                store["test_labels"],
            )
    except OSError as error:
        raise ValueError(f"{explain(error, path)} Install the studio again.") from error
    except (*_DAMAGED, KeyError, ValueError) as error:
        raise ValueError(f"{path} is damaged. Install the studio again.") from error


def _unpack(ink: np.ndarray, values: np.ndarray, count: int) -> np.ndarray:
    pixels = np.zeros(count * math.prod(MNIST_SHAPE), np.uint8)
    pixels[np.unpackbits(ink, count=pixels.size).view(bool)] = values
    return pixels.reshape(count, *MNIST_SHAPE)
