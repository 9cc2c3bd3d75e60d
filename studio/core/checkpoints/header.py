"""The description inside a checkpoint, read without torch.

A safetensors file is an 8-byte little-endian length, that many bytes of JSON, then raw numbers; the JSON's
``__metadata__`` holds our description under the key ``studio``. Everything is checked before it is believed.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import re
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from studio.core.short_schedule import ShortSchedule

FORMAT = 1
_KEY = "studio"
_MOST_HEADER = 64 << 20
_DOT = " · "
_COUNT, _STEP = re.compile(r"[\d,]+ samples"), re.compile(r"step [\d,]+")
_SPEAKING = ("FD", "Sliced W2")
_PICKLES = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


class NotACheckpoint(ValueError):
    """The file is no checkpoint of the studio; the message says why and what to do."""


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a checkpoint says of itself. ``recipe``, ``network`` and ``data`` are tables as in ``config.toml``.

    ``facts`` has the data's shape, num_classes, mean and std; ``history`` is {"step": [...], "loss": [...]};
    ``scores`` maps what :func:`score_key` writes to a value; ``thumbnail`` is a PNG. A history with scores also has
    "score_step" and one list a quantity, such as "fd". ``schedules`` are the short ones found for these weights.
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
    schedules: tuple[ShortSchedule, ...] = ()

    @property
    def kind(self) -> str:
        """ "image" or "points"."""
        return "image" if len(self.facts["shape"]) == 3 else "points"

    def to_metadata(self) -> dict[str, str]:
        """The safetensors metadata that carries this description."""
        table = asdict(self)
        table["thumbnail"] = base64.b64encode(self.thumbnail).decode("ascii")
        table["schedules"] = [schedule.to_dict() for schedule in self.schedules]
        return {_KEY: json.dumps({"format": FORMAT, **table}, allow_nan=False)}


def score_key(quantity: str, network: str, count: int, sampler: str, step: int | None = None) -> str:
    """What a score is of, as :attr:`Header.scores` names it: "FD · MNIST classifier · 500 samples · DDIM 12".

    ``network`` names the feature network, "" where none is used. ``step`` is told where the score is of other weights
    than those in the file: of an earlier step of the same training.
    """
    parts = [quantity, network, f"{count:,} samples", sampler, "" if step is None else f"step {step:,}"]
    return _DOT.join(part for part in parts if part)


def dated(scores: Mapping[str, float], step: int, now: int) -> dict[str, float]:
    """Scores of a file of ``step`` as a file of the same training at step ``now`` keeps them: with their step."""
    if step == now:
        return dict(scores)
    return {key if _step_of(key) else f"{key}{_DOT}step {step:,}": value for key, value in scores.items()}


def undated(key: str) -> str:
    """A key of :attr:`Header.scores` without its step."""
    return key.removesuffix(f"{_DOT}{_step_of(key)}")


def brief(value: float) -> str:
    """A score in about three digits: 0.0123, 1.42, 1,033."""
    return f"{value:,.0f}" if abs(value) >= 100.0 else f"{value:.3g}"


def in_full(key: str, value: float) -> str:
    """A score as it is told: "FD 1.42 · MNIST classifier · 500 samples · DDIM 12"."""
    quantity, *rest = key.split(_DOT)
    return _DOT.join([f"{quantity} {brief(value)}", *rest])


def best_score(header: Header) -> tuple[str, str]:
    """The score that speaks for a model, short ("FD 1.42") and in full; ("", "") where it has none.

    FD comes before the measures of points and these before others, the present weights before earlier ones, and then
    more samples before fewer.
    """
    if not header.scores:
        return "", ""
    key = min(header.scores, key=_rank)
    full = in_full(key, header.scores[key])
    return full.split(_DOT)[0], full


def _rank(key: str) -> tuple[int, bool, int, str]:
    quantity, *rest = key.split(_DOT)
    counts = [int(part.removesuffix(" samples").replace(",", "")) for part in rest if _COUNT.fullmatch(part)]
    place = _SPEAKING.index(quantity) if quantity in _SPEAKING else len(_SPEAKING)
    return place, bool(_step_of(key)), -max(counts, default=0), key


def _step_of(key: str) -> str:
    last = key.split(_DOT)[-1]
    return last if _STEP.fullmatch(last) else ""


def read_header(path: Path) -> Header:
    """The description in a checkpoint. Raises :class:`NotACheckpoint` for anything else, OSError where unreadable."""
    size = path.stat().st_size if path.is_file() else -1
    if size < 0:
        raise NotACheckpoint(f"{path} is not there. Was it moved or deleted?")
    with open(path, "rb") as file:
        start = file.read(9)
        length = struct.unpack("<Q", start[:8])[0] if len(start) == 9 else 0
        if not 2 <= length <= _MOST_HEADER or start[8:] != b"{":
            raise NotACheckpoint(_what_else(path.name, start))
        text = start[8:] + file.read(length - 1)
    if len(text) < length:
        raise NotACheckpoint(f"{path.name} is cut short: the file ends within its header. Copy it again.")
    try:
        table = json.loads(text)
        metadata = table.pop("__metadata__", {})
        due = 8 + length + max((int(entry["data_offsets"][1]) for entry in table.values()), default=0)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        raise NotACheckpoint(f"{path.name} is no checkpoint: its header makes no sense.") from None
    if due != size:
        raise NotACheckpoint(f"{path.name} is cut short: {size:,} bytes where {due:,} are due. Copy it again.")
    if not isinstance(metadata, dict) or not isinstance(metadata.get(_KEY), str):
        raise NotACheckpoint(
            f"{path.name} is a .safetensors file, but not one of the studio: it does not describe its network."
        )
    return _parse(path.name, metadata[_KEY])


def _what_else(name: str, start: bytes) -> str:
    """Why a file that does not begin like safetensors is refused."""
    if start[:4] == b"PK\x03\x04" or start[:2] in _PICKLES:
        return (
            f"{name} is a pickled PyTorch file. Such files can run code when opened, so the studio does not open them. "
            "Save the weights as .safetensors where the file came from."
        )
    return f"{name} is no checkpoint: its contents are not in the safetensors format. Was it downloaded whole?"


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
        table["schedules"] = tuple(map(ShortSchedule.from_dict, table.get("schedules", ())))
        table["facts"] = table["facts"] | {"shape": tuple(table["facts"]["shape"])}
        header = Header(**table)
        _check(header)
        return header
    except NotACheckpoint:
        raise
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, binascii.Error) as error:
        raise NotACheckpoint(
            f"{name} does not describe itself as it should ({error}). It was damaged or not written by the studio."
        ) from None


def _check(header: Header) -> None:
    """Raise ValueError where a field is not what it must be: what comes after relies on every one."""

    def require(right: bool, what: str) -> None:
        if not right:
            raise ValueError(what)

    for field_name in ("title", "family", "data_title", "data_licence", "created"):
        require(isinstance(getattr(header, field_name), str), f"{field_name} is no text")
    for field_name in ("data", "recipe", "network", "optimizer"):
        value = getattr(header, field_name)
        require(isinstance(value, dict) and isinstance(value.get("name"), str), f"{field_name} names no method")
    require(isinstance(header.run, dict), "run is no table")
    for field_name in ("step", "images", "num_parameters"):
        value = getattr(header, field_name)
        require(type(value) is int and 0 <= value < 2**63, f"{field_name} is no count")
    require(_is_number(header.seconds), "seconds is no number")
    shape, classes = header.facts["shape"], header.facts["num_classes"]
    sizes = all(type(size) is int and 1 <= size <= 4096 for size in shape)
    require(len(shape) in (1, 3) and sizes and math.prod(shape) <= 2**24, f"shape {list(shape)} is no item's")
    require(type(classes) is int and 0 <= classes <= 100_000, "num_classes is no count")
    require(_is_number(header.facts["mean"]) and _is_number(header.facts["std"]), "mean or std is no number")
    require(set(header.facts) == {"shape", "num_classes", "mean", "std"}, "facts hold other things")
    names = header.class_names
    require(all(isinstance(item, str) for item in names) and len(names) == classes, "class names do not fit classes")
    require(isinstance(header.scores, dict) and all(map(_is_number, header.scores.values())), "scores are no numbers")
    history = header.history
    require(
        isinstance(history, dict)
        and all(isinstance(values, list) and all(map(_is_number, values)) for values in history.values()),
        "history is no lists of numbers",
    )


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
