"""Short schedules in files: our checkpoints, CSV, JSON, diffusers' schedulers, and BDDM's released ``.ns`` files.

A list of betas is all that a schedule needs, and ``alpha_n = prod(sqrt(1 - beta_i), i <= n)`` follows from it. What is
written reads back with every digit; JSON and checkpoints keep the rest of a schedule, too. Nothing is unpickled but the
tensors of an ``.ns`` file.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
import pickle
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from studio.core.checkpoints.header import read_header
from studio.core.files import explain, write_text
from studio.core.short_schedule import ShortSchedule

DIFFUSERS_FILE = "scheduler_config.json"
SUFFIXES = (".safetensors", ".csv", ".json", ".ns")
_MOST_BYTES = 16 << 20  # far more than the longest schedule takes
_SAMPLERS = {"DDPMScheduler": {"name": "ancestral"}, "DDIMScheduler": {"name": "ddim"}}
_TRAINED_ON = {
    # The training schedules of the released ones: BDDM's egs/*/conf.yml, and FastDiff's configuration.
    "linear, T = 200": np.linspace(1e-4, 0.02, 200),
    "linear, T = 1000, up to 0.01": np.linspace(1e-6, 0.01, 1000),
}


def read_schedules(path: Path) -> list[ShortSchedule]:
    """The schedules in a file of one of :data:`SUFFIXES` or in a diffusers scheduler's folder; one at least.

    A schedule comes as it was written, with the model that it was found for; what a file does not say is "imported".
    Raises ValueError that names the file and what to do: it holds none, its betas are not possible, or it is another
    kind of file.
    """
    try:
        if path.is_dir():
            return _read_folder(path)
        match path.suffix.lower():
            case ".safetensors":
                found = list(read_header(path).schedules)
            case ".csv":
                found = [_read_csv(path)]
            case ".json":
                found = _read_json(path)
            case ".ns":
                found = [_read_ns(path)]
            case _:
                raise ValueError(
                    f"{path.name} is no file of schedules: open one that ends in {', '.join(SUFFIXES)}, "
                    "or the folder of a diffusers scheduler."
                )
    except OSError as error:
        raise ValueError(explain(error, path)) from error
    if not found:
        raise ValueError(f"{path.name} holds no schedules. Find some for its model first, or open another file.")
    return found


def adopted(schedule: ShortSchedule, model: str) -> ShortSchedule:
    """The schedule as the model with the fingerprint ``model`` may keep it.

    One that was found for another model becomes an imported one of no model, without the scores it had there.
    """
    if schedule.model in ("", model):
        return schedule
    return dataclasses.replace(schedule, origin="imported", model="", scores={})


def write_json(path: Path, schedules: Sequence[ShortSchedule]) -> None:
    """Everything that is known of some schedules. Raises OSError where it cannot be written."""
    table = {"schedules": [schedule.to_dict() for schedule in schedules]}
    write_text(path, json.dumps(table, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_csv(path: Path, schedule: ShortSchedule) -> None:
    """A table with a row for each step from the cleanest on: n, beta and the level after n steps. Raises OSError."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["n", "beta", "alpha", "sigma", "log_snr"])
    for index, (beta, log_alpha_bar) in enumerate(zip(schedule.betas, schedule.log_alpha_bars, strict=True)):
        # Not by way of alpha, which rounds to 1 after a tiny beta.
        variance = -math.expm1(log_alpha_bar)
        log_snr = log_alpha_bar - math.log(variance)
        writer.writerow([index + 1, beta, math.exp(0.5 * log_alpha_bar), math.sqrt(variance), log_snr])
    write_text(path, out.getvalue())


def write_diffusers(folder: Path, schedule: ShortSchedule) -> str:
    """A scheduler of the diffusers library, as a folder for ``from_pretrained``; returns the call that samples with it.

    It is DDIM's where the schedule was found with DDIM and DDPM's elsewhere. Over all N steps diffusers' own pipelines
    then take the very steps of our samplers: DDIM's must be told to keep eps true to the clipped x0, as ours does.
    Step t of this scheduler is the level sqrt(alphas_cumprod[t]), so a network that was trained on steps of its own
    wants that level's place among them: :func:`fractional_steps`. Raises OSError where it cannot be written.
    """
    sampler = schedule.sampler
    is_ddim = sampler.get("name") == "ddim"
    config: dict[str, Any] = {
        "_class_name": "DDIMScheduler" if is_ddim else "DDPMScheduler",
        "num_train_timesteps": schedule.steps,
        "trained_betas": list(schedule.betas),
        "prediction_type": "epsilon",
        "clip_sample": True,
        "clip_sample_range": 1.0,
        "timestep_spacing": "leading",
        "steps_offset": 0,
    }
    if is_ddim:
        config["set_alpha_to_one"] = True
    else:
        config["variance_type"] = "fixed_large" if sampler.get("variance") == "large" else "fixed_small"
    write_text(folder / DIFFUSERS_FILE, json.dumps(config, indent=2) + "\n")
    if is_ddim:
        eta = float(sampler.get("eta", 0.0))
        options = f"num_inference_steps={schedule.steps}, eta={eta:g}, use_clipped_model_output=True"
    else:
        options = f"num_inference_steps={schedule.steps}"
    family = "DDIM" if is_ddim else "DDPM"
    return f'{family}Pipeline(unet, {family}Scheduler.from_pretrained("{folder}"))({options})'


def fractional_steps(betas: Sequence[float], table: Sequence[float] | np.ndarray) -> np.ndarray:
    """(N,): where the levels of ``betas`` (N,) lie among the steps of a training schedule with betas ``table`` (T,).

    Steps count from 0, and lie between two whole ones as alpha lies between theirs: linear in alpha, as BDDM's code
    maps a level to the step its network is asked at (arXiv 2203.13508, section 4; bddm/utils/diffusion_utils.py).
    Levels beyond the ends are at 0 or T - 1. Our own schedules interpolate ln alpha instead.
    """
    alphas, trained = (np.exp(0.5 * np.cumsum(np.log1p(-np.asarray(part, np.float64)))) for part in (betas, table))
    return np.interp(-alphas, -trained, np.arange(len(trained), dtype=np.float64))


# Reading


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Put the file's name before, and what to do behind, what is wrong with its betas."""
    try:
        yield
    except (ValueError, OverflowError) as error:
        raise ValueError(f"{path.name}: {error} {_MEND}") from None


_MEND = "Mend the file, or open another one."


def _imported(path: Path, betas: Sequence[Any], **other: Any) -> ShortSchedule:
    with _naming(path):
        return ShortSchedule(betas=tuple(betas), origin="imported", **{"title": path.stem, **other})


def _text_of(path: Path) -> str:
    if path.stat().st_size > _MOST_BYTES:
        raise ValueError(f"{path.name} is too large to be a schedule: {path.stat().st_size:,} bytes. Open another one.")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{path.name} is no text. Save it as CSV or JSON in UTF-8.") from None


def _read_folder(folder: Path) -> list[ShortSchedule]:
    for path in (folder / DIFFUSERS_FILE, folder / "scheduler" / DIFFUSERS_FILE):
        if path.is_file():
            return [dataclasses.replace(found, title=folder.name) for found in _read_json(path)]
    raise ValueError(f"{folder} is no folder of a diffusers scheduler: it has no {DIFFUSERS_FILE}. Choose another one.")


def _read_csv(path: Path) -> ShortSchedule:
    text = _text_of(path)
    mark = next((mark for mark in ";\t" if mark in text), ",")
    rows = [[cell.strip() for cell in row] for row in csv.reader(io.StringIO(text), delimiter=mark)]
    rows = [row for row in rows if any(row)]
    heads = [cell.lower() for cell in rows[0]] if rows else []
    if "beta" in heads:
        return _imported(path, _column(path, heads, rows[1:]))
    if len(rows) > 1 and any(len(row) > 1 for row in rows):
        raise ValueError(f'{path.name} has several columns and none is named "beta": name the one of the betas so.')
    return _imported(path, [_number(path, cell) for row in rows for cell in row if cell])


def _column(path: Path, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[float]:
    """The betas of a table. One that goes from noise to data, as the window exports it, is turned around."""
    place = heads.index("beta")
    full = [row for row in rows if len(row) > place and row[place]]  # clean data has no beta
    betas = [_number(path, row[place]) for row in full]
    if "alpha" in heads and len(full) > 1:
        alphas = [_number(path, row[heads.index("alpha")]) for row in full if len(row) > heads.index("alpha")]
        if len(alphas) == len(full) and alphas[0] < alphas[-1]:
            betas.reverse()
    return betas


def _number(path: Path, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{path.name}: {text!r} is no number. A list of betas has one on each line.") from None


def _read_json(path: Path) -> list[ShortSchedule]:
    text = _text_of(path)
    try:
        table = json.loads(text)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path.name} is no JSON ({error}). {_MEND}") from None
    except RecursionError:
        raise ValueError(f"{path.name} is nested too deeply to be a schedule. {_MEND}") from None
    except ValueError:  # Python reads no whole number of thousands of digits
        raise ValueError(f"{path.name} holds a number with too many digits. {_MEND}") from None
    if isinstance(table, list):
        return _of_list(path, table)
    if isinstance(table, Mapping) and isinstance(table.get("schedules"), list):
        return [_of_table(path, each) for each in table["schedules"]]
    if isinstance(table, Mapping) and "betas" in table:
        return [_of_table(path, table)]
    if isinstance(table, Mapping) and "num_train_timesteps" in table:
        return [_of_diffusers(path, table)]
    raise ValueError(
        f'{path.name} holds no schedule: it takes a list of betas, or "schedules" as the studio writes it.'
    )


def _of_list(path: Path, values: Sequence[Any]) -> list[ShortSchedule]:
    if values and all(isinstance(value, Mapping) for value in values):
        return [_of_table(path, value) for value in values]
    return [_imported(path, values)]


def _of_table(path: Path, table: Any) -> ShortSchedule:
    from studio.core.config import method_from_dict

    with _naming(path):
        schedule = ShortSchedule.from_dict(table)
        if schedule.sampler:
            method_from_dict("sampler", schedule.sampler)  # one that nobody knows could not be sampled with later
        return schedule


def _of_diffusers(path: Path, config: Mapping[str, Any]) -> ShortSchedule:
    betas = config.get("trained_betas")
    if not isinstance(betas, list):
        raise ValueError(
            f"{path.name} has no trained_betas: it names a schedule for training, not a short one. "
            "Open a scheduler that has them."
        )
    sampler = dict(_SAMPLERS.get(str(config.get("_class_name")), {}))
    if sampler.get("name") == "ancestral" and config.get("variance_type") == "fixed_large":
        sampler["variance"] = "large"
    return _imported(path, betas, sampler=sampler)


def _read_ns(path: Path) -> ShortSchedule:
    """BDDM's released form: a tuple of tensors (step t, alpha, beta, sigma), (N,) each, saved by ``torch.save``."""
    import torch

    if path.stat().st_size > _MOST_BYTES:
        raise ValueError(f"{path.name} is too large to be a schedule: {path.stat().st_size:,} bytes. Open another one.")
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path.name} is no .ns file that can be read. Was it downloaded whole?")
    try:
        found = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError:
        raise ValueError(
            f"{path.name} is pickled code, which the studio does not run. "
            "Save its betas as CSV or JSON where it came from, and open that."
        ) from None
    except (RuntimeError, EOFError, ValueError, KeyError, AttributeError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path.name} is no .ns file that can be read ({error}). Was it downloaded whole?") from None
    if not (
        isinstance(found, (tuple, list))
        and len(found) == 4
        and all(isinstance(part, torch.Tensor) and part.is_floating_point() for part in found)
        and len({part.numel() for part in found}) == 1
    ):
        raise ValueError(f"{path.name} is no .ns file: those hold four tensors of one length: t, alpha, beta, sigma.")
    t, alpha, beta, _ = (part.detach().double().flatten().numpy() for part in found)
    if len(t) > 1 and t[0] > t[-1]:
        t, alpha, beta = t[::-1], alpha[::-1], beta[::-1]
    schedule = _imported(path, beta.tolist())
    if not np.allclose(alpha, schedule.alphas, atol=0.01):
        raise ValueError(f"{path.name} contradicts itself: its alphas are not those of its betas. {_MEND}")
    for name, table in _TRAINED_ON.items():
        if np.allclose(t, fractional_steps(schedule.betas, table), atol=0.01):
            return dataclasses.replace(schedule, title=f"{path.stem}, for a model of {name}")
    return schedule
