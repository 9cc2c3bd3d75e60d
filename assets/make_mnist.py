"""Make ``mnist.npz``, ``mnist.json`` and ``mnist-LICENSE.md`` from the four published files of MNIST.

    python assets/make_mnist.py FOLDER

FOLDER holds train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, t10k-images-idx3-ubyte.gz and
t10k-labels-idx1-ubyte.gz, as they are or unpacked. Their contents must have the published checksums. The store keeps
every bit: for each split the *ink* (one bit a pixel: is it not black), the values under the ink, and the labels.

Why this form: it must be small, load fast, and open with numpy alone. Of one and the same minute, on one core:

    gzip, as published     11.4 MB   0.23 s
    npz of the pixels      11.5 MB   0.22 s
    png, one picture       11.6 MB   0.35 s
    npz of ink and values  10.2 MB   0.25 s   <- chosen
    webp, lossless         10.7 MB   1.13 s
    xz of the pixels        9.4 MB   0.91 s
    xz of ink and values    8.9 MB   0.71 s
"""

from __future__ import annotations

import hashlib
import io
import json
import struct
import sys
import zipfile
from pathlib import Path

import numpy as np

from studio.core.data.images import IDX_FILES, read_idx, read_store
from studio.core.files import replacing, write_text

PUBLISHED = {  # sha256 of the unpacked files
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}

LICENCE = """\
# MNIST

`mnist.npz` holds the MNIST database of handwritten digits: 60,000 images to train on and 10,000 to test on, each
28 x 28 pixels, grey.

- Made by Yann LeCun, Corinna Cortes and Christopher J. C. Burges from NIST's Special Databases 1 and 3.
- Licence: Creative Commons Attribution-ShareAlike 3.0, <https://creativecommons.org/licenses/by-sa/3.0/>.
  It covers `mnist.npz` only; the program has its own licence.
- Paper: Y. LeCun, L. Bottou, Y. Bengio, P. Haffner, "Gradient-based learning applied to document recognition",
  Proceedings of the IEEE 86(11), 1998.
- Changed: the four published files were packed losslessly into one by `make_mnist.py`. Every pixel and label is the
  published one: `mnist.json` has the published SHA-256 of each file, and the tests rebuild and check them.
"""


def idx_bytes(array: np.ndarray) -> bytes:
    """The unpacked IDX file of a uint8 array."""
    return struct.pack(f">I{array.ndim}I", 0x0800 | array.ndim, *array.shape) + array.tobytes()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def pack(images: np.ndarray, labels: np.ndarray, split: str) -> dict[str, np.ndarray]:
    ink = images.ravel() != 0
    return {f"{split}_ink": np.packbits(ink), f"{split}_values": images.ravel()[ink], f"{split}_labels": labels}


def write_store(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """An npz at the highest compression, which ``numpy.savez_compressed`` does not offer; same bytes each time."""
    with replacing(path) as part, zipfile.ZipFile(part, "w") as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, np.ascontiguousarray(array), allow_pickle=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), member.getvalue(), zipfile.ZIP_DEFLATED, 9)


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: python assets/make_mnist.py FOLDER")
    source, assets = Path(sys.argv[1]), Path(__file__).resolve().parent
    arrays = []
    for name in IDX_FILES:
        path = next((p for p in (source / name, source / f"{name}.gz") if p.is_file()), None)
        if path is None:
            sys.exit(f"{source} holds neither {name} nor {name}.gz.")
        arrays.append(read_idx(path))
        if sha256(idx_bytes(arrays[-1])) != PUBLISHED[name]:
            sys.exit(f"{path} is not the published file: its checksum differs.")

    store = assets / "mnist.npz"
    write_store(store, pack(arrays[0], arrays[1], "train") | pack(arrays[2], arrays[3], "test"))
    for original, packed in zip(arrays, read_store(store), strict=True):
        assert np.array_equal(original.ravel(), packed.ravel())
    facts = {"mnist.npz": sha256(store.read_bytes()), "published": PUBLISHED}
    write_text(assets / "mnist.json", json.dumps(facts, indent=2) + "\n")
    write_text(assets / "mnist-LICENSE.md", LICENCE)
    print(f"{store}: {store.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
