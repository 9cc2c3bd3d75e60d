"""The description inside a checkpoint, read without torch.

A safetensors file is an 8-byte little-endian length, that many bytes of JSON, then raw numbers; the JSON's
``__metadata__`` holds our description under the key ``studio``. Everything is checked before it is believed.
"""

from __future__ import annotations

import base64
import binascii
import json
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

FORMAT = 1
_KEY = "studio"
_MOST_HEADER = 64 << 20
_PICKLES = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


class NotACheckpoint(ValueError):
    """The file is no checkpoint of the studio; the message says why and what to do."""


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a checkpoint says of itself. ``recipe``, ``network`` and ``data`` are tables as in ``config.toml``.

    ``facts`` has the data's shape, num_classes, mean and std; ``history`` is {"step": [...], "loss": [...]};
    ``scores`` maps a measure's name to its value; ``thumbnail`` is a PNG.
    """

    title: str
    family: str
    data: Mapping[str, Any]
    data_title: str
    facts: Mapping[str, Any]
    class_names: tuple[str, ...]
    recipe: Mapping[str, Any]
    network: Mapping[str, Any]
    optimizer: Mapping[str, Any]
    run: Mapping[str, Any]
    step: int
    images: int
    seconds: float
    num_parameters: int
    history: Mapping[str, list[float]] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)
    data_licence: str = ""
    created: str = ""
    thumbnail: bytes = b""

    @property
    def kind(self) -> str:
        """ "image" or "points"."""
        return "image" if len(self.facts["shape"]) == 3 else "points"

    def to_metadata(self) -> dict[str, str]:
        """The safetensors metadata that carries this description."""
        table = asdict(self)
        table["thumbnail"] = base64.b64encode(self.thumbnail).decode("ascii")
        return {_KEY: json.dumps({"format": FORMAT, **table}, allow_nan=False)}


def read_header(path: Path) -> Header:
    """The description in a checkpoint. Raises :class:`NotACheckpoint` for anything else, OSError where unreadable."""
    size = path.stat().st_size if path.is_file() else -1
    if size < 0:
        raise NotACheckpoint(f"{path} is not there. Was it moved or deleted?")
    with open(path, "rb") as file:
        start = file.read(8)
        if start[:4] == _PICKLES[0] or start[:2] in _PICKLES:
            raise NotACheckpoint(
                f"{path.name} is a pickled PyTorch file. Such files can run code when opened, so the studio does not "
                "open them. Save the weights as .safetensors where the file came from."
            )
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
        if not 2 <= length <= _MOST_HEADER:
            raise NotACheckpoint(f"{path.name} is no checkpoint: it is not a .safetensors file.")
        text = file.read(length)
    if len(text) < length:
        raise NotACheckpoint(f"{path.name} is cut short: the file ends within its header. Copy it again.")
    try:
        table = json.loads(text)
        metadata = table.pop("__metadata__", {})
        ends = [entry["data_offsets"][1] for entry in table.values()]
    except (ValueError, KeyError, TypeError, AttributeError, IndexError):
        raise NotACheckpoint(f"{path.name} is no checkpoint: its header makes no sense.") from None
    due = 8 + length + max(ends, default=0)
    if due != size:
        raise NotACheckpoint(f"{path.name} is cut short: {size:,} bytes where {due:,} are due. Copy it again.")
    if not isinstance(metadata, dict) or _KEY not in metadata:
        raise NotACheckpoint(
            f"{path.name} is a .safetensors file, but not one of the studio: it does not describe its network."
        )
    return _parse(path.name, metadata[_KEY])


def _parse(name: str, text: str) -> Header:
    try:
        table = json.loads(text)
        version = table.pop("format")
        if version != FORMAT:
            raise NotACheckpoint(
                f"{name} has format {version}; this studio reads format {FORMAT}. Update the studio to open it."
            )
        table["thumbnail"] = base64.b64decode(table["thumbnail"])
        table["class_names"] = tuple(table["class_names"])
        table["facts"] = table["facts"] | {"shape": tuple(int(size) for size in table["facts"]["shape"])}
        return Header(**table)
    except NotACheckpoint:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, binascii.Error) as error:
        raise NotACheckpoint(
            f"{name} does not describe itself fully ({error}). It was not written by the studio."
        ) from None
