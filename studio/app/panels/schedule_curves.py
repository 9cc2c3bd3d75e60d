"""Schedules drawn over each other, in beta, alpha_bar and log-SNR, with the points of one of them to be pulled.

Step n of N lies at n / N whatever schedule it belongs to, so that schedules of different lengths can be compared (over
the time of the training schedule they would all lie on one curve, but for beta). beta is that of one step: that of a
short schedule's long steps lies above the training schedule's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
from PySide6.QtCore import QObject, Signal

from studio.app.controls import Panel
from studio.app.panels.schedule_edit import MOST_POINTS, View, points
from studio.app.widgets.plots import LivePlot

_POSITION = "position n / N, data to noise"
_CURRENT = "current"
VIEWS: tuple[View, ...] = ("beta", "alpha_bar", "log_snr")
Style = Literal["training", "reference", "learned", "current"]


@dataclass(frozen=True)
class Curve:
    """A schedule to draw: its name in the legend, its colour (a role of the theme), and its betas."""

    label: str
    role: str
    betas: tuple[float, ...]
    style: Style


class Curves(QObject):
    """The three plots, one for each view, with one selection through all of them.

    Points count from 0, the cleanest. Nothing is moved here: the signals say what the person wants.
    """

    picked = Signal(object)
    """A point by its index; None means clean data, where there is none."""
    dragged = Signal(str, int, float)
    """In this view, this point is being pulled to this value."""
    let_go = Signal(str, int)
    nudged = Signal(str, int, float)
    wanted = Signal(str, float, float)
    """In this view, one more point is wanted at this position and value."""
    unwanted = Signal(int)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.beta = LivePlot(
            _POSITION, "β, log", log_y=True, x_range=(0.0, 1.0), y_range=(1e-4, 1.0), title="β, noise added in a step"
        )
        self.alpha_bar = LivePlot(
            _POSITION, "ᾱ", x_range=(0.0, 1.0), y_range=(-0.03, 1.03), title="ᾱ, signal power left", legend=False
        )
        self.log_snr = LivePlot(
            _POSITION,
            "log-SNR",
            x_range=(0.0, 1.0),
            y_range=(-10.0, 10.0),
            title="log-SNR, ln(ᾱ / (1 − ᾱ))",
            legend=False,
        )
        self.plots: dict[View, LivePlot] = dict(zip(VIEWS, (self.beta, self.alpha_bar, self.log_snr), strict=True))
        self._others: tuple[Curve, ...] = ()
        self._current: Curve | None = None
        self._point: int | None = None
        self._editable = False
        for view, plot in self.plots.items():
            plot.marker_moved.connect(self._marker_moved)
            plot.point_picked.connect(self.picked.emit)
            plot.point_dragged.connect(partial(self.dragged.emit, view))
            plot.point_let_go.connect(partial(self.let_go.emit, view))
            plot.point_nudged.connect(partial(self.nudged.emit, view))
            plot.point_wanted.connect(partial(self.wanted.emit, view))
            plot.point_unwanted.connect(self.unwanted)

    def show_curves(self, others: Sequence[Curve], current: Curve | None) -> None:
        """Draw ``current`` with its points over the others; None where there is none."""
        others = tuple(others)
        anew = _looks(others, current) != _looks(self._others, self._current)
        for view, plot in self.plots.items():
            if anew:
                # One after the other: later series lie on top, and the legend keeps their order.
                plot.drop_series()
                for index, curve in enumerate(others):
                    _add(plot, f"other {index}", curve)
                if current is not None:
                    _add(plot, _CURRENT, current)
            for index, curve in enumerate(others):
                if anew or curve.betas != self._others[index].betas:
                    plot.set_data(f"other {index}", *_xy(curve, view))
            if current is not None and (anew or self._current is None or current.betas != self._current.betas):
                plot.set_data(_CURRENT, *_xy(current, view))
        self._others, self._current = others, current
        self.select(self._point)

    def show_betas(self, betas: tuple[float, ...]) -> None:
        """Move the points of the current schedule, as while one is being pulled; their number stays."""
        if self._current is not None:
            self.show_curves(self._others, Curve(self._current.label, self._current.role, betas, self._current.style))

    def set_editable(self, on: bool) -> None:
        """Whether the points of the current schedule can be pulled."""
        self._editable = on
        self.select(self._point)

    def select(self, point: int | None) -> None:
        """Mark a point in all plots, or clean data where it is None."""
        count = 0 if self._current is None else len(self._current.betas)
        self._point = None if point is None or not count else min(point, count - 1)
        for plot in self.plots.values():
            if count:
                plot.set_marker(0.0 if self._point is None else (self._point + 1) / count, draggable=True)
            else:
                plot.set_marker(None)
            plot.set_handles(_CURRENT if count and self._editable else None, self._point)

    def shown(self) -> list[str]:
        """The labels of the curves, in drawing order."""
        return [curve.label for curve in (*self._others, *([self._current] if self._current else []))]

    def _marker_moved(self, x: float) -> None:
        """A plot was clicked: the step nearest to it is meant."""
        if self._current is not None:
            nearest = round(x * len(self._current.betas))
            self.select(nearest - 1 if nearest else None)
            self.picked.emit(self._point)


def framed(plot: LivePlot, least: int) -> Panel:
    """A plot in a panel that is at least ``least`` pixels high."""
    panel = Panel()
    panel.setMinimumHeight(least)
    panel.content.addWidget(plot)
    panel.set_margins(7, 9, 7, 5)
    return panel


def _looks(others: tuple[Curve, ...], current: Curve | None) -> list[tuple[object, ...]]:
    """All of the curves but their values."""
    curves = [*others, *([current] if current is not None else [])]
    return [(curve.label, curve.role, curve.style, _dotted(curve)) for curve in curves]


def _dotted(curve: Curve) -> bool:
    return curve.style != "training" and len(curve.betas) <= MOST_POINTS


def _add(plot: LivePlot, key: str, curve: Curve) -> None:
    own = curve.style == "current"
    plot.add_series(
        key,
        curve.label,
        curve.role,
        dashed=curve.style == "reference",
        width=2.0 if curve.style in ("current", "training") else 1.5,
        points=_dotted(curve),
        dot=4.25 if own else 2.5,
    )


def _xy(curve: Curve, view: View) -> tuple[np.ndarray, np.ndarray]:
    x = np.arange(1, len(curve.betas) + 1) / len(curve.betas)
    y = np.array(points(curve.betas, view))
    if view == "alpha_bar" and not _dotted(curve):
        return np.append(0.0, x), np.append(1.0, y)
    return x, y
