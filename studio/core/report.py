"""The files of a finished evaluation: its table as JSON and CSV, what repeats it, and a page with plots.

Rows of one entrant and number of steps from several seeds are one point: their mean, with their standard deviation as
its error bar.
"""

from __future__ import annotations

import base64
import csv
import html
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from studio.core.files import write_text
from studio.core.metrics.base import Quantity, Score
from studio.core.registry import methods

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COSTS = (
    Quantity(
        "deviation",
        "Error to reference",
        "lower",
        ".4f",
        "RMS distance to the many-step run from the same noise; of 8-bit pictures, so up to 0.003 is rounding.",
    ),
    Quantity("seconds", "Seconds", "lower", ".2f", "To sample one cell, without loading and scoring."),
    Quantity("images_per_second", "Images/s", "higher", ".1f", "Sampled."),
    Quantity(
        "peak_mb",
        "Memory, MB",
        "lower",
        ".0f",
        "The most in use: of the process between steps on a CPU, of tensors on a GPU.",
    ),
)
_STYLES = (("#2f6bff", "o"), ("#d946a6", "s"), ("#12a150", "^"), ("#e07a1f", "D"), ("#6b7280", "v"), ("#7c3aed", "P"))
_LINES = ("-", "--", ":", "-.")


def quantities() -> dict[str, Quantity]:
    """Every number that a row may have beside its settings, by name: of the registered measures, then of the cost."""
    found = [quantity for metric in methods("metric").values() for quantity in metric.quantities]  # type: ignore[attr-defined]
    return {quantity.name: quantity for quantity in (*found, *_COSTS)}


@dataclass(frozen=True, kw_only=True)
class Point:
    """One entrant at one number of steps, over its seeds.

    ``values`` has the mean and standard deviation of each number; of a single seed, the measure's own standard error.
    """

    data: str
    entrant: str
    steps: int
    nfe: int
    seeds: int
    values: Mapping[str, Score]
    id: str = ""


def points(rows: Iterable[Mapping[str, Any]]) -> list[Point]:
    """Rows gathered over seeds, in order of entrant and steps. Entrants get as many words as tell them apart."""
    rows = list(rows)
    groups: dict[tuple[str, str, int], list[Mapping[str, Any]]] = {}
    names = _names(rows)
    for row in rows:
        groups.setdefault((row["data"], names[_identity(row)], row["steps"]), []).append(row)
    order = list(dict.fromkeys((data, name) for data, name, _ in groups))
    found = [_point(*key, group) for key, group in groups.items()]
    return sorted(found, key=lambda point: (order.index((point.data, point.entrant)), point.steps))


def _point(data: str, entrant: str, steps: int, group: Sequence[Mapping[str, Any]]) -> Point:
    values = {}
    for name in quantities():
        numbers = [row[name] for row in group if row.get(name) is not None]
        if numbers:
            error = float(np.std(numbers, ddof=1)) if len(numbers) > 1 else group[0].get(f"{name}_error")
            values[name] = Score(float(np.mean(numbers)), error)
    return Point(
        data=data, entrant=entrant, steps=steps, nfe=group[0]["nfe"], seeds=len(group), values=values, id=group[0]["id"]
    )


def _identity(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return row["data"], row["id"]


def _names(rows: Sequence[Mapping[str, Any]]) -> dict[tuple[Any, ...], str]:
    """A name for each entrant, with model and grid where several share a table, and its id where all else is alike."""
    found: dict[tuple[Any, ...], str] = {}
    for data in {row["data"] for row in rows}:
        mine = [row for row in rows if row["data"] == data]
        several = {part: len({row[part] for row in mine}) > 1 for part in ("model", "grid")}
        for row in mine:
            words = [row["model"]] if several["model"] else []
            words += [row["entrant"]]
            words += [row["grid"]] if several["grid"] else []
            found.setdefault(_identity(row), " · ".join(words))
    named = [(key[0], name) for key, name in found.items()]
    return {key: f"{name} · {key[1]}" if named.count((key[0], name)) > 1 else name for key, name in found.items()}


def write_report(folder: Path, table: Mapping[str, Any]) -> Path:
    """Write results.json, results.csv, evaluation.toml and report.html into ``folder``; returns the last one's path.

    ``table`` has ``title``, ``rows``, ``floors`` by data, ``machine``, ``toml`` and how many cells are ``missing``.
    Raises OSError.
    """
    rows = table["rows"]
    floors = {data: {**floor, "values": _plain(floor["values"])} for data, floor in table["floors"].items()}
    write_text(folder / "results.json", json.dumps({**table, "floors": floors}, indent=1))
    names = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(folder / "results.csv", text.getvalue())
    write_text(folder / "evaluation.toml", table["toml"])
    page = folder / "report.html"
    write_text(page, _page(table))
    return page


def _plain(values: Mapping[str, Score]) -> dict[str, list[float | None]]:
    return {name: [score.value, score.error] for name, score in values.items()}


def pivot(found: Sequence[Point], quantity: Quantity) -> tuple[list[str], list[list[str]]]:
    """A table of one quantity: the head, and a line for each entrant with its value at each number of steps."""
    steps = sorted({point.steps for point in found})
    lines = []
    for entrant in dict.fromkeys(point.entrant for point in found):
        mine = {point.steps: point.values.get(quantity.name) for point in found if point.entrant == entrant}
        lines.append([entrant, *(written(mine.get(step), quantity) for step in steps)])
    return ["steps", *(f"{step:,}" for step in steps)], lines


def written(score: Score | None, quantity: Quantity) -> str:
    """A score as text, with its error where it has one."""
    if score is None or not math.isfinite(score.value):
        return "–"
    text = f"{score.value:{quantity.style}}"
    return text if score.error is None else f"{text} ± {score.error:{quantity.style}}"


def markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n"


def plot(
    found: Sequence[Point], quantity: Quantity, floor: Score | None = None, against: str = "nfe", *, title: str = ""
) -> str:
    """Curves of one quantity over network evaluations or seconds, as SVG; one line and marker for each entrant."""
    import matplotlib
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"svg.hashsalt": "studio", "font.size": 9, "svg.fonttype": "none"}):
        figure = Figure(figsize=(6.4, 3.6))
        axes = figure.add_axes((0.105, 0.14, 0.88, 0.78))
        entrants = list(dict.fromkeys(point.entrant for point in found))
        for index, entrant in enumerate(entrants):
            mine = [point for point in found if point.entrant == entrant and quantity.name in point.values]
            _draw_line(axes, mine, quantity, against, index)
        if floor is not None:
            axes.axhline(floor.value, color="#c2410c", dashes=(3, 3), linewidth=1, label="real against real")
        _dress(axes, found, quantity, against, title)
        file = io.BytesIO()
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    text = file.getvalue().decode("utf-8")
    return text[text.index("<svg") :]


def _draw_line(axes: Axes, mine: Sequence[Point], quantity: Quantity, against: str, index: int) -> None:
    if not mine:
        return
    colour, marker = _STYLES[index % len(_STYLES)]
    x = [point.nfe if against == "nfe" else point.values["seconds"].value for point in mine]
    scores = [point.values[quantity.name] for point in mine]
    axes.errorbar(
        x,
        [score.value for score in scores],
        yerr=[score.error or 0.0 for score in scores],
        label=mine[0].entrant,
        color=colour,
        marker=marker,
        linestyle=_LINES[index // len(_STYLES) % len(_LINES)],
        markersize=4,
        linewidth=1.3,
        capsize=2,
    )


def _dress(axes: Axes, found: Sequence[Point], quantity: Quantity, against: str, title: str) -> None:
    from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator, PercentFormatter, ScalarFormatter

    axes.set_xscale("log")
    low, high = axes.dataLim.intervalx
    if high < 1.1 * low:
        axes.set_xlim(low / 2.0, high * 2.0)  # all at one place: there would be no width to draw in
    if against == "nfe":
        axes.xaxis.set_major_locator(FixedLocator(sorted({point.nfe for point in found})))
        axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_formatter(NullFormatter())
    if quantity.style.endswith("%"):
        axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    values = [point.values[quantity.name].value for point in found if quantity.name in point.values]
    if values and min(values) > 0 and max(values) / min(values) > 20:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(ScalarFormatter())
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("network evaluations, log" if against == "nfe" else "seconds for all samples, log")
    axes.set_ylabel(quantity.title)
    if title:
        axes.set_title(title, fontsize=10, loc="left")
    axes.grid(color="#e5e7eb", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8)


def _page(table: Mapping[str, Any]) -> str:
    """The report: for each data set its tables and plots; nothing is loaded from elsewhere."""
    found = points(table["rows"])
    body = [f"<h1>{html.escape(table['title'])}</h1>"]
    for data in dict.fromkeys(point.data for point in found):
        body.append(_chapter(data, [point for point in found if point.data == data], table))
    body.append("<h2>What repeats this</h2><p><code>denoising-studio evaluate evaluation.toml</code> with:</p>")
    body.append(f"<pre>{html.escape(table['toml'])}</pre>")
    title = html.escape(table["title"])
    head = f'<meta charset="utf-8"><title>{title}</title><style>{_CSS}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(body)}</body></html>\n'


def _chapter(data: str, mine: Sequence[Point], table: Mapping[str, Any]) -> str:
    floor = table["floors"][data]
    seeds = max(point.seeds for point in mine)
    spread = f"mean ± standard deviation over {seeds} seeds" if seeds > 1 else "one seed"
    network = f"on the features of {floor['network']}, " if floor["network"] else ""
    facts = f"{floor['count']:,} samples in each cell, {network}{spread}; {table['machine']}."
    if table["missing"]:
        facts += f" {table['missing']} cells are not measured yet."
    parts = [f"<h2>{html.escape(data)}</h2><p>{html.escape(facts)}</p>"]
    for quantity in quantities().values():
        if not any(quantity.name in point.values for point in mine):
            continue
        real = floor["values"].get(quantity.name)
        parts.append(f"<h3>{html.escape(quantity.title)}</h3><p>{html.escape(_about(quantity, real))}</p>")
        parts.append(_html_table(*pivot(mine, quantity)))
        if quantity.better != "neither" and len({point.steps for point in mine}) > 1:
            parts.append(_figure(plot(mine, quantity, real), f"{quantity.title} against evaluations"))
            # One clock for all: against time the others look as they do against evaluations.
            if quantity.name == _first(mine):
                parts.append(_figure(plot(mine, quantity, real, "seconds"), f"{quantity.title} against seconds"))
    return "".join(parts)


def _first(mine: Sequence[Point]) -> str:
    """The measure that stands for quality: the first there is."""
    return next((name for name in quantities() if any(name in point.values for point in mine)), "")


def _about(quantity: Quantity, real: Score | None) -> str:
    better = {"lower": "Lower is better.", "higher": "Higher is better.", "neither": ""}[quantity.better]
    floor = "" if real is None else f"As many real items score {written(real, quantity)}."
    return " ".join(filter(None, (quantity.help, better, floor)))


def _figure(svg: str, name: str) -> str:
    # As an image of its own: the ids within several drawings would clash in one page.
    data = base64.b64encode(svg.encode()).decode("ascii")
    return f'<figure><img alt="{html.escape(name)}" src="data:image/svg+xml;base64,{data}"></figure>'


def _html_table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    def row(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    return f"<table>{row(head, 'th')}{''.join(row(line, 'td') for line in lines)}</table>"


_CSS = (
    "body{font:14px/1.5 Inter,system-ui,sans-serif;max-width:880px;margin:32px auto;padding:0 16px;color:#111827;"
    "background:#fff}h1{font-size:22px}h2{font-size:17px;margin-top:36px}h3{font-size:14px;margin:24px 0 0}"
    "p{margin:4px 0 8px;color:#4b5563}table{border-collapse:collapse;font-variant-numeric:tabular-nums}"
    "td,th{padding:3px 12px;border-bottom:1px solid #e5e7eb;text-align:right;font-weight:400}th{color:#6b7280}"
    "td:first-child,th:first-child{text-align:left;padding-left:0}figure{margin:12px 0}figure img{max-width:100%}"
    "pre{background:#f3f4f6;padding:12px;border-radius:8px;overflow-x:auto}"
)
