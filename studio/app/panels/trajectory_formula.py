"""The sampler's update rule with the numbers of one step, as text: from the level t to the cleaner level s.

DDIM: ``x_s = alpha_s x0 + sqrt(sigma_s**2 - sigma~**2) eps + sigma~ n`` with ``sigma~ = eta sqrt(beta~)``.
Ancestral: ``x_s = a x_t + b x0 + sigma~ n``, the posterior's mean, and its variance or DDPM's beta.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QLabel, QVBoxLayout

from studio.app import theme
from studio.app.controls import make_label
from studio.core.levels import Level, beta_between, posterior
from studio.core.samplers.ancestral import Ancestral
from studio.core.samplers.base import Sampler
from studio.core.samplers.ddim import DDIM

_ACCENTED = re.compile("\\w[\u0302\u0303]")
_X0, _EPS, _NOISE = "x̂<sub>0</sub>", "ε̂", "σ̃·n"


def update_rule(sampler: Sampler, t: Level, s: Level) -> tuple[str, ...]:
    """Lines of rich text: the rule, then what its coefficients are now. Empty for a sampler without a known rule."""
    if type(sampler) not in _RULES:
        return ()
    if s.sigma == 0.0:
        return (f"x<sub>s</sub> = {_X0}", "the last step takes the belief")
    return _RULES[type(sampler)](sampler, t, s)


def _ddim(sampler: DDIM, t: Level, s: Level) -> tuple[str, ...]:
    root = math.sqrt(posterior(t, s).var)
    fresh = sampler.eta * root
    kept = math.sqrt(max(s.sigma**2 - fresh**2, 0.0))
    return (
        f"x<sub>s</sub> = α<sub>s</sub>·{_X0} + √(σ<sub>s</sub>²−σ̃²)·{_EPS} + {_NOISE}",
        f"α<sub>s</sub> = {_short(float(s.alpha))}, √(σ<sub>s</sub>²−σ̃²) = {_short(kept)}",
        f"σ̃ = η·√β̃ = {sampler.eta:.2f}·{_short(root)} = {_short(fresh)}",
    )


def _ancestral(sampler: Ancestral, t: Level, s: Level) -> tuple[str, ...]:
    mean = posterior(t, s)
    if sampler.variance == "small":
        name, var = "β̃", mean.var
    else:
        name, var = "β", beta_between(t, s) * math.hypot(s.alpha, s.sigma) ** 2
    return (
        f"x<sub>s</sub> = a·x<sub>t</sub> + b·{_X0} + {_NOISE}",
        f"a = {_short(mean.of_x)}, b = {_short(mean.of_x0)}",
        f"σ̃ = √{name} = √{_short(var)} = {_short(math.sqrt(var))}",
    )


_RULES: dict[type, Callable[[Any, Level, Level], tuple[str, ...]]] = {DDIM: _ddim, Ancestral: _ancestral}


def _short(value: float) -> str:
    return f"{value:.3f}" if value == 0.0 or value >= 0.001 else f"{value:.0e}"


class FormulaBox(QFrame):
    """The rule in text colour and its numbers in the accent's, in an inset frame; hidden while there is none."""

    def __init__(self) -> None:
        super().__init__()
        self.setProperty("inset", True)
        self._lines: tuple[str, ...] = ()
        self._text = make_label("", "mono")
        self._text.setTextFormat(Qt.TextFormat.RichText)
        self._text.setAccessibleName("Update rule of this step")
        column = QVBoxLayout(self)
        column.setContentsMargins(10, 8, 8, 9)
        column.addWidget(self._text)
        self.setToolTip(
            "From the level t of this step to the next, cleaner level s.\n"
            "α and σ: signal and noise. x̂₀: what the network believes. ε̂: the noise it sees. n: fresh noise."
        )
        theme.notifier().changed.connect(self._render)
        self._render()

    def set_lines(self, lines: tuple[str, ...]) -> None:
        """Show other lines."""
        if lines != self._lines:
            self._lines = lines
            self._render()

    def text(self) -> QLabel:
        """The label that shows it."""
        return self._text

    def _render(self) -> None:
        self.setVisible(bool(self._lines))
        if not self._lines:
            return
        family, colors = theme.mono_font().family(), theme.tokens()
        shades = (colors.text, *(colors.accent for _ in self._lines[1:]))
        rows = "".join(
            f"<p style='margin:0 0 5px 0; color:{shade}'>{line}</p>"
            for line, shade in zip(self._lines, shades, strict=True)
        )
        # Few monospaced fonts place accents well over Greek letters; the window's font does, and light it is as dark.
        plain = theme.ui_font().family()
        rows = _ACCENTED.sub(
            lambda found: f"<span style='font-family:\"{plain}\"; font-weight:300'>{found[0]}</span>", rows
        )
        self._text.setText(f"<div style='font-family:\"{family}\"; font-size:11px'>{rows}</div>")
