"""Messages: everything a job may tell the outside.

All are frozen and hold no tensors, only numbers, text and read-only arrays, so they cross threads, go to
``events.jsonl`` and feed a panel or a terminal alike. ``Failed`` is always followed by ``Finished``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from studio.core.short_schedule import ShortSchedule


@dataclass(frozen=True, kw_only=True)
class Event:
    """Base of all messages. ``job_id`` is stamped by whoever runs the job; panels ignore older ids."""

    job_id: int = 0


@dataclass(frozen=True, kw_only=True)
class Status(Event):
    """One line on what the job is doing now."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Progress(Event):
    """Training after ``step`` of ``total`` steps.

    ``scalars`` are means since the last message: ``loss``, ``grad_norm``, ``learning_rate`` and what a recipe adds.
    ``steps`` and ``losses`` hold every single step since then. ``level_loss`` (L,) is the mean loss in each of L
    log-SNR bins (NaN where no sample fell) with ascending edges ``level_edges`` (L + 1,); it comes about once a second.
    All of its steps are of one kind: ``span`` counts a recipe's spans of such steps from 0.
    """

    step: int
    total: int
    images: int
    seconds: float
    images_per_second: float
    eta_seconds: float
    scalars: Mapping[str, float] = field(default_factory=dict)
    steps: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    losses: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    level_loss: np.ndarray | None = None
    level_edges: np.ndarray | None = None
    span: int = 0


@dataclass(frozen=True, kw_only=True)
class HeldOut(Event):
    """Loss of the EMA weights on held-out data at fixed noise, after ``step`` steps; ``scalars`` are what else a
    recipe measures there.

    ``level_loss`` (L,) is that loss at each of L fixed noise levels, whose log-SNRs are ``level_log_snr`` (L,),
    ascending; the same items and the same noise each time, so that only the weights change it.
    """

    step: int
    loss: float
    scalars: Mapping[str, float] = field(default_factory=dict)
    level_loss: np.ndarray | None = None
    level_log_snr: np.ndarray | None = None


@dataclass(frozen=True, kw_only=True)
class Quality(Event):
    """Scores of a small sample of the EMA weights after ``step`` steps, and what real items score, by quantity.

    ``network`` is the feature network's name, ``count`` the number of samples, ``caption`` how they were drawn.
    """

    step: int
    scores: Mapping[str, float]
    floor: Mapping[str, float]
    network: str
    count: int
    caption: str = ""


@dataclass(frozen=True, kw_only=True)
class Preview(Event):
    """Pictures for the window: (B, C, H, W) uint8, or (B, D) float32 points. ``step`` is a training step."""

    step: int
    images: np.ndarray
    caption: str = ""


@dataclass(frozen=True, kw_only=True)
class Frame(Event):
    """One visited level of a sampling run; ``index`` runs from 0 (pure noise) to ``total`` (the sample).

    ``x``, ``x0`` and ``eps`` are (B, C, H, W) or (B, D) float32 in the model's range. ``alpha`` and ``sigma`` are the
    level of x, ``time`` the schedule's time in [0, 1], ``nfe`` the network evaluations an image so far.
    ``eps_norm`` is the root mean square of eps, ``x0_change`` that of x0's change since the frame before. ``lane`` is
    the place of the run among several that are compared.
    """

    index: int
    total: int
    alpha: float
    sigma: float
    time: float
    beta: float
    nfe: int
    seconds: float
    x: np.ndarray
    x0: np.ndarray
    eps: np.ndarray
    eps_norm: float
    x0_change: float
    lane: int = 0


@dataclass(frozen=True, kw_only=True)
class LaneDone(Event):
    """A compared run is complete.

    ``deviation`` is the root mean square distance of its samples to those of the many-step reference from the same
    noise, in the model's range; None where there is no reference.
    """

    lane: int
    nfe: int
    seconds: float
    deviation: float | None = None


@dataclass(frozen=True, kw_only=True)
class TableShape(Event):
    """A table of pictures begins: what its rows and columns are, in the order of their :class:`Tile` places."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    row_title: str
    column_title: str


@dataclass(frozen=True, kw_only=True)
class Tile(Event):
    """One place of a table of pictures: ``images`` as in :class:`Preview`, at ``row`` and ``column`` from 0."""

    row: int
    column: int
    images: np.ndarray
    caption: str = ""


@dataclass(frozen=True, kw_only=True)
class Neighbours(Event):
    """Samples beside their nearest training items: both (B, C, H, W) uint8 or (B, D) float32.

    ``distances`` (B,) are root mean square pixel differences in [0, 2] (Euclidean for points); ``typical`` (3,) are the
    1 %, 50 % and 99 % points of the same distance from real test items: a sample far below the first is a copy.
    """

    samples: np.ndarray
    nearest: np.ndarray
    distances: np.ndarray
    typical: np.ndarray


@dataclass(frozen=True, kw_only=True)
class LatentPad(Event):
    """What the latents of a pad become: ``items`` (SIDE**2, ...) row by row, or None if only the result was asked for.

    ``result`` is what the latent at the marker becomes. Images are (C, H, W) uint8, points (D,) float32; ``path``
    (N + 1, D) is the result's way from noise, for points. ``seconds`` is what the one batch took.
    """

    items: np.ndarray | None
    result: np.ndarray
    path: np.ndarray | None
    num_steps: int
    seconds: float


@dataclass(frozen=True, kw_only=True)
class LatentDraws(Event):
    """Draws of one step's latent with all else held: ``items`` as in :class:`Preview`; ``row`` 0 is the noisiest step.

    ``spread`` is the root mean square of what they differ from their mean, over the data's standard deviation.
    """

    row: int
    items: np.ndarray
    spread: float


@dataclass(frozen=True, kw_only=True)
class LatentWalk(Event):
    """Some samples of a walk between two latents, in order: ``items`` as in :class:`Preview`, from frame ``first``."""

    first: int
    total: int
    items: np.ndarray


@dataclass(frozen=True, kw_only=True)
class EvaluationProgress(Event):
    """An evaluation after ``done`` of ``total`` cells; ``fraction`` in [0, 1] is the share of the work."""

    done: int
    total: int
    fraction: float
    eta_seconds: float
    text: str


@dataclass(frozen=True, kw_only=True)
class CellScored(Event):
    """One cell of an evaluation: its settings and scores as one flat row, and what real items score, by quantity."""

    row: Mapping[str, float | int | str | None]
    floor: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class RatioCurve(Event):
    """A schedule network after ``step`` training steps, at L noise levels with log-SNRs ``log_snr`` (L,), ascending.

    ``learned`` (L,) is the mean of its ratio beta / sigma**2 on held-out items, ``optimum`` (L,) the closed-form one
    for the denoiser's mean squared error in eps there, ``error`` (L,), and ``cap`` (L,) the largest that the span
    allows.
    """

    step: int
    log_snr: np.ndarray
    learned: np.ndarray
    optimum: np.ndarray
    error: np.ndarray
    cap: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Emitted(Event):
    """One beta of a schedule being emitted, from noise to data: ``index`` 0 is the noisiest.

    ``alpha`` is the level it starts from, ``ratio`` what the network said (None for the first beta, which is given).
    ``images`` are what the denoiser believes there, as in :class:`Preview`. ``done`` marks the last, and ``reason``
    says why the schedule ends there.
    """

    index: int
    alpha: float
    beta: float
    ratio: float | None
    images: np.ndarray
    done: bool = False
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class SearchProgress(Event):
    """A search for schedules after ``done`` of ``total`` candidates; ``fraction`` in [0, 1] is how far the work is."""

    done: int
    total: int
    fraction: float
    eta_seconds: float
    text: str


@dataclass(frozen=True, kw_only=True)
class ScheduleFound(Event):
    """One candidate of a search, judged; lower scores are better.

    ``row`` and ``column`` are its place in the table of starts that a :class:`TableShape` announced, None for schedules
    that came from refining others. ``schedule`` is None where the start gave none, and ``reason`` says why. ``bound``
    is N_min of its start. ``best`` marks the best so far of its number of steps with its sampler.
    """

    schedule: ShortSchedule | None
    score: float | None
    judge: str
    row: int | None = None
    column: int | None = None
    bound: float | None = None
    best: bool = False
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class Field(Event):
    """The score field of a 2-D denoiser at a frame: ``points`` (P, 2) and ``arrows`` (P, 2), the score times sigma."""

    index: int
    points: np.ndarray
    arrows: np.ndarray


@dataclass(frozen=True, kw_only=True)
class StepLaw(Event):
    """Where one denoising step of 1-D data leads from ``x_t``: x_s by its exact law, and as models have it.

    ``log_snr`` are its two ends, t and s (+inf where clean). ``exact`` (P,) is the density at ``x`` (P,). ``gaussian``
    is the mean and deviation of a DDPM's step (0 is a point), with the model's own E[x0 | x_t] where ``own_mean``, else
    the exact one; ``best`` those of the Gaussian with the exact moments. ``drawn`` (C,) is the density of a generator's
    draws in the cells between ``edges`` (C + 1,). ``distances`` are total variations to the exact law over those cells,
    by ``gaussian``, ``best``, ``drawn``, and ``chance`` for as many perfect draws. ``index`` is its place in the job.
    """

    index: int
    x_t: float
    log_snr: tuple[float, float]
    x: np.ndarray
    exact: np.ndarray
    gaussian: tuple[float, float]
    best: tuple[float, float]
    own_mean: bool
    edges: np.ndarray
    distances: Mapping[str, float]
    drawn: np.ndarray | None = None


@dataclass(frozen=True, kw_only=True)
class DataPreview(Event):
    """A data set as the person chose it: some items as in :class:`Preview`, and a line about it."""

    title: str
    summary: str
    images: np.ndarray
    class_names: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Estimate(Event):
    """What a training would cost, measured on a few steps: seconds a step, bytes of memory, learned numbers."""

    seconds_per_step: float
    memory: int
    num_parameters: int
    steps: int


@dataclass(frozen=True, kw_only=True)
class Saved(Event):
    """A file was written whole and renamed into place."""

    path: str
    step: int = 0


@dataclass(frozen=True, kw_only=True)
class Paused(Event):
    """The job waits (True) or goes on (False)."""

    paused: bool


@dataclass(frozen=True, kw_only=True)
class Warned(Event):
    """Something went wrong, and the job goes on all the same."""

    summary: str


@dataclass(frozen=True, kw_only=True)
class Failed(Event):
    """What went wrong and what to do (``summary``, for the person); ``details`` is the traceback."""

    summary: str
    details: str = ""


@dataclass(frozen=True, kw_only=True)
class Finished(Event):
    """The last message of every job. ``outcome`` says how it ended."""

    outcome: Literal["done", "stopped", "failed"]
    seconds: float = 0.0


def freeze(array: np.ndarray) -> np.ndarray:
    """The array, marked read-only, as messages carry it."""
    array.flags.writeable = False
    return array


def merge(older: Progress, newer: Progress, most: int) -> Progress:
    """One message for two in a row, of steps of one kind: means weighted by steps.

    Of more than ``most`` steps every second is left out.
    """
    share = len(newer.steps) / max(len(older.steps) + len(newer.steps), 1)
    scalars = dict(older.scalars)
    for name, value in newer.scalars.items():
        before = older.scalars.get(name, value)
        scalars[name] = value if name == "learning_rate" else before + share * (value - before)
    steps = np.concatenate([older.steps, newer.steps])
    losses = np.concatenate([older.losses, newer.losses])
    if len(steps) > most:
        steps, losses = steps[::2].copy(), losses[::2].copy()
    return replace(
        newer,
        steps=freeze(steps),
        losses=freeze(losses),
        scalars=scalars,
        level_loss=older.level_loss if newer.level_loss is None else newer.level_loss,
        level_edges=older.level_edges if newer.level_edges is None else newer.level_edges,
    )
