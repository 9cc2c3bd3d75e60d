"""Curves of what a recipe reports beside its loss: which scalars are drawn together, and how.

A :class:`Group` is one plot. Its scalars come as means since the message before; each is drawn as it came, faintly, and
smoothed over about ``horizon`` steps, where a message of n steps counts n times.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from studio.app.controls import Panel
from studio.app.panels.smoothing import Smoother
from studio.app.widgets.plots import LivePlot
from studio.app.widgets.scale import Range
from studio.core.events import HeldOut, Progress


class Curve(NamedTuple):
    """A scalar of :class:`Progress`, and the one of :class:`HeldOut` that belongs to it, if any."""

    scalar: str
    label: str
    role: str
    held_out: str = ""


class Group(NamedTuple):
    """Scalars that are drawn in one plot, over the range ``least`` at least; the tool tip says what to read there."""

    title: str
    y_label: str
    least: Range
    curves: tuple[Curve, ...]
    tooltip: str


GAME = "d_loss"
"""The scalar that tells of two players."""
PLAYED = "diversity"
"""The scalar that tells that the generator plays: before, in a warm start or an opening, it does not."""
WARM = "warm_start"
"""What that loss is called here."""
SCORE = "energy_score"
"""The scalar of the energy score, which is the loss of an opening and stands beside the game's after."""
GAME_GROUPS = {
    "losses": Group(
        "Losses, dashed: chance",
        "loss",
        (0.0, 1.0),
        (
            Curve("loss", "G", "series_gan", held_out="loss"),
            Curve(GAME, "D", "series_smoothed"),
            Curve(SCORE, "energy score", "series_learned"),
            Curve(WARM, "warm start", "series_raw"),
        ),
        "What generator G and discriminator D lose, smoothed. Dashed: what each loses while D can only guess.\n"
        "Neither shall fall to 0: each learns only as long as the other one holds.",
    ),
    "logits": Group(
        "Logits",
        "logit",
        (-1.0, 1.0),
        (
            Curve("real_logit", "real", "series_raw", held_out="real_logit"),
            Curve("fake_logit", "fake", "series_gan"),
        ),
        "What the discriminator says of real steps and of made-up ones: above 0 it takes them for real.\n"
        "Far apart, it is ahead. Held out: real ones it never saw; far below the others, it knows those by heart.",
    ),
    "r1": Group(
        "R1",
        "|∇D|²",
        (0.0, 0.01),
        (Curve("r1", "R1", "series_smoothed"),),
        "The square of the discriminator's gradient at real items, which R1 holds down.\n"
        "Where it soars, raise the weight γ.",
    ),
    "norms": Group(
        "Gradient norms",
        "norm",
        (0.0, 0.1),
        (
            Curve("grad_norm", "G", "series_gan"),
            Curve("d_grad_norm", "D", "series_smoothed"),
        ),
        "How steep the losses of generator G and discriminator D are in their weights.",
    ),
}


class GroupPlot(Panel):
    """One group as a panel with a plot."""

    def __init__(self, group: Group) -> None:
        super().__init__()
        self.set_margins(8, 9, 5, 7)
        self.group = group
        self._horizon, self._total = 2.0, 1
        self._trends: dict[str, Smoother] = {}
        self._last: dict[str, int] = {}
        self._held_out: set[str] = set()
        self._chance: Mapping[str, float] = {}
        self.plot = LivePlot("steps", group.y_label, y_range=group.least, title=group.title, whole_x=True)
        self.plot.setToolTip(group.tooltip)
        self.content.addWidget(self.plot)

    def begin(self, total: int, horizon: float, chance: Mapping[str, float]) -> None:
        """Forget the curves; the next are of a training of ``total`` steps, ``chance`` are lines to compare with."""
        self.plot.clear()
        self.plot.drop_series()
        self.plot.set_marker(None)
        self._trends, self._last, self._held_out = {}, {}, set()
        self._chance = chance
        self.set_total(total, horizon)

    def set_total(self, total: int, horizon: float) -> None:
        """Draw to another planned end."""
        self._total, self._horizon = max(total, 1), horizon
        self.plot.set_x_extent(0, self._total)
        for scalar in self._trends:
            self._draw_chance(scalar)

    def take_progress(self, events: Sequence[Progress]) -> None:
        """Draw what messages tell, oldest first."""
        for curve in self.group.curves:
            told = [(event.step, event.scalars[curve.scalar]) for event in events if curve.scalar in event.scalars]
            if told:
                self._append(curve, told)

    def value(self, scalar: str) -> float:
        """The smoothed value of a scalar by now; NaN before the first."""
        return self._trends[scalar].value if scalar in self._trends else float("nan")

    def take_held_out(self, event: HeldOut) -> None:
        """Draw what a message tells of held-out data."""
        values = {"loss": event.loss, **event.scalars}
        for curve in self.group.curves:
            if curve.held_out in values and curve.scalar in self._trends:
                key = f"{curve.scalar} held out"
                if key not in self._held_out:
                    self._held_out.add(key)
                    label = f"{curve.label} held out"
                    self.plot.add_series(key, label, "series_held_out", dashed=True, points=True)
                self.plot.append(key, event.step, values[curve.held_out])

    def _append(self, curve: Curve, told: list[tuple[int, float]]) -> None:
        scalar = curve.scalar
        if scalar not in self._trends:
            self._add(curve)
        trend, smooth = self._trends[scalar], []
        for step, value in told:
            smooth.append(trend.take_mean(value, max(step - self._last.get(scalar, 0), 1)))
            self._last[scalar] = step
        steps, values = zip(*told, strict=True)
        self.plot.append(f"{scalar} each step", steps, values)
        self.plot.append(scalar, steps, smooth)

    def _add(self, curve: Curve) -> None:
        """Make the curves of a scalar: only what is reported stands in the legend."""
        self._trends[curve.scalar] = Smoother(self._horizon)
        for what, dashed in (("each step", False), ("chance", True)):
            self.plot.add_series(
                f"{curve.scalar} {what}",
                f"{curve.label}, {what}",
                curve.role,
                dashed=dashed,
                width=1.0,
                beside=curve.scalar,
            )
        self.plot.add_series(curve.scalar, curve.label, curve.role, width=2.0)
        self._draw_chance(curve.scalar)

    def _draw_chance(self, scalar: str) -> None:
        if scalar in self._chance:
            value = self._chance[scalar]
            self.plot.set_data(f"{scalar} chance", [0, self._total], [value, value])
