"""Flags made from knobs."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from studio.core.knobs import Knob


class Given:
    """A flag's value, told apart from "not given" even where the value is None (auto)."""

    def __init__(self, value: Any) -> None:
        self.value = value


def add_flags(
    group: argparse._ActionsContainer,
    knobs: Sequence[Knob],
    values: Mapping[str, Any],
    owners: dict[str, tuple[str, str]],
    part: str,
    prefix: str = "",
) -> None:
    """A flag for each knob; its destination in ``owners`` says whose value it is."""
    for knob in knobs:
        target = f"{part}.{knob.name}"
        owners[target] = (part, knob.name)
        now = values.get(knob.name, knob.default)
        group.add_argument(
            f"--{prefix}{knob.name.replace('_', '-')}",
            dest=target,
            type=_reader(knob),
            metavar="{" + ",".join(knob.choices) + "}" if knob.choices else knob.kind.upper(),
            help=f"{knob.help} ({knob.allowed}; now {'auto' if now is None else now})".replace("%", "%%"),
        )


def _reader(knob: Knob) -> Callable[[str], Given]:
    def read(text: str) -> Given:
        try:
            return Given(knob.parse(text))
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return read
