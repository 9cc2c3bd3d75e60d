"""Files of short schedules: what is written comes back, what others wrote is read, and the rest is refused in words.

The exported scheduler runs in diffusers' own pipelines with our network and our noise, and must give our images.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from studio.core import resources
from studio.core.checkpoints.native import load, write_schedules
from studio.core.config import method_to_dict
from studio.core.denoisers import Clipped, Denoiser
from studio.core.evaluation import fingerprint
from studio.core.grids import Betas, LogSNR
from studio.core.levels import from_alpha_bar
from studio.core.noise import Noise
from studio.core.samplers.ancestral import Ancestral
from studio.core.samplers.base import Sampler, start
from studio.core.samplers.ddim import DDIM
from studio.core.schedule_files import (
    adopted,
    fractional_steps,
    read_schedules,
    write_csv,
    write_diffusers,
    write_json,
)
from studio.core.schedules import Linear
from studio.core.short_schedule import ShortSchedule

DIGITS = resources.shipped_checkpoints() / "mnist-ddpm.safetensors"
BDDM_TABLE = np.linspace(1e-4, 0.02, 200)
LJ7 = (0.000136, 0.00101, 0.008778, 0.135964, 0.277557, 0.28931, 0.3)
LJ12 = (
    *(0.000124, 0.000911, 0.007485, 0.093312, 0.143495, 0.152081),
    *(0.159706, 0.166829, 0.173713, 0.180449, 0.187136, 0.193823),
)
VCTK8 = (0.000354, 0.000722, 0.001472, 0.003004, 0.006145, 0.012615, 0.026042, 0.576755)
FAST_DIFF = (3.2176e-4, 2.5743e-3, 2.5376e-2, 0.70414)
FULL = ShortSchedule(
    betas=(0.1 + 0.2, 1 / 3, 1e-7, 0.7),
    origin="learned",
    title="Mine ☾",
    sampler={"name": "ddim", "eta": 0.2},
    start=(0.05, 0.7),
    seed=11,
    scores={"FD · MNIST classifier · 500 samples · DDIM 4": 1.05},
    model="0123",
)


def drawn(betas: Sequence[float], **other: Any) -> ShortSchedule:
    return ShortSchedule(betas=tuple(betas), origin="drawn", **other)


# What others released


@pytest.mark.parametrize(
    ("betas", "stored"),
    [
        (LJ7, {0: 0.178, 1: 3.291, 2: 12.613, 3: 54.324, 4: 96.444, 5: 126.502, 6: 151.692}),
        (LJ12, {11: 176.594}),
        (VCTK8, {7: 133.149}),
    ],
    ids=["LJ7", "LJ12", "VCTK8"],
)
def test_released_schedules_map_to_their_stored_steps(betas: Sequence[float], stored: Mapping[int, float]) -> None:
    """The steps t beside the betas in BDDM's released files (tencent-ailab/bddm, egs/*/noise_schedules).

    Trained with T = 200 betas from 1e-4 to 0.02. The betas above are rounded to six decimals, t to three: t must lie
    where betas half a digit smaller and larger map to. Near data that is 0.0025 to either side; elsewhere 0.0004.
    """
    low, middle, high = (fractional_steps(np.add(betas, move), BDDM_TABLE) for move in (-5e-7, 0.0, 5e-7))
    for index, t in stored.items():
        assert low[index] - 5e-4 <= t <= high[index] + 5e-4
        assert middle[index] == pytest.approx(t, abs=3e-3)


def test_the_signal_left_by_a_released_schedule() -> None:
    """alpha_N of LJ12 as stored in its file, tencent-ailab/bddm."""
    assert drawn(LJ12).alphas[-1] == pytest.approx(0.450376, abs=1e-6)


def test_fractional_steps_are_the_steps_themselves() -> None:
    assert fractional_steps(BDDM_TABLE, BDDM_TABLE) == pytest.approx(np.arange(200), abs=1e-9)
    assert fractional_steps([1e-9, 0.999], BDDM_TABLE).tolist() == [0.0, 199.0], "levels beyond the ends are at them"
    halfway = 1.0 - (0.5 * (np.sqrt(1 - 0.1) + np.sqrt((1 - 0.1) * (1 - 0.2)))) ** 2
    assert fractional_steps([halfway], [0.1, 0.2]) == pytest.approx([0.5]), "linear in alpha"


def released(path: Path, betas: Sequence[float], table: np.ndarray, **changes: Any) -> Path:
    """A file as BDDM's code saves it: (step, alpha, beta, sigma), float32."""
    beta = torch.tensor(betas, dtype=torch.float64)
    alpha = (1.0 - beta).cumprod(0).sqrt()
    before = torch.cat([torch.ones(1, dtype=torch.float64), alpha[:-1]])
    parts = {
        "t": torch.from_numpy(fractional_steps(betas, table)),
        "alpha": alpha,
        "beta": beta,
        "sigma": (beta * (1.0 - before**2) / (1.0 - alpha**2)).sqrt(),
    } | changes
    torch.save(tuple(part.float() if isinstance(part, Tensor) else part for part in parts.values()), path)
    return path


@pytest.mark.parametrize(
    ("betas", "table", "title"),
    [
        (LJ7, BDDM_TABLE, "7steps, for a model of linear, T = 200"),
        (LJ12, BDDM_TABLE, "7steps, for a model of linear, T = 200"),
        (VCTK8, BDDM_TABLE, "7steps, for a model of linear, T = 200"),
        (FAST_DIFF, np.linspace(1e-6, 0.01, 1000), "7steps, for a model of linear, T = 1000, up to 0.01"),
        (LJ7, np.linspace(1e-3, 0.3, 50), "7steps"),
    ],
)
def test_a_released_file_is_read(tmp_path: Path, betas: Sequence[float], table: np.ndarray, title: str) -> None:
    (found,) = read_schedules(released(tmp_path / "7steps.ns", betas, table))
    assert found.betas == tuple(torch.tensor(betas).double().tolist()), "as float32 has them"
    assert (found.title, found.origin, found.model) == (title, "imported", "")


def test_a_released_file_may_go_from_noise_to_data(tmp_path: Path) -> None:
    turned = [part.flip(0) for part in torch.load(released(tmp_path / "a.ns", LJ7, BDDM_TABLE), weights_only=True)]
    torch.save(tuple(turned), tmp_path / "b.ns")
    assert read_schedules(tmp_path / "b.ns")[0].betas == read_schedules(tmp_path / "a.ns")[0].betas


# There and back


def test_json_keeps_everything(tmp_path: Path) -> None:
    schedules = [FULL, drawn([0.25])]
    write_json(tmp_path / "a.json", schedules)
    assert read_schedules(tmp_path / "a.json") == schedules


@pytest.mark.parametrize("betas", [FULL.betas, LJ7, Linear().betas().tolist(), [0.5]])
def test_csv_keeps_every_digit(tmp_path: Path, betas: Sequence[float]) -> None:
    write_csv(tmp_path / "my schedule.csv", drawn(betas))
    (found,) = read_schedules(tmp_path / "my schedule.csv")
    assert found == ShortSchedule(betas=tuple(betas), origin="imported", title="my schedule")


def test_the_checkpoint_keeps_everything(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(DIGITS.read_bytes())
    model = fingerprint(path)
    mine = [ShortSchedule.from_dict(FULL.to_dict() | {"model": model}), drawn([0.25])]
    write_schedules(path, lambda _: mine, model)
    assert read_schedules(path) == sorted(mine, key=lambda schedule: schedule.steps)


@pytest.mark.parametrize("sampler", [Ancestral(), Ancestral(variance="large"), DDIM(), DDIM(eta=0.5)])
def test_diffusers_folder_keeps_betas_and_family(tmp_path: Path, sampler: Sampler) -> None:
    table = method_to_dict("sampler", sampler)
    write_diffusers(tmp_path / "mine", drawn(FULL.betas, sampler=table))
    for place in (tmp_path / "mine", tmp_path / "mine" / "scheduler_config.json"):
        (found,) = read_schedules(place)
        assert found.betas == FULL.betas
        assert found.sampler["name"] == table["name"]
        assert found.sampler.get("variance", "small") == table.get("variance", "small")
    (tmp_path / "pipeline").mkdir()
    (tmp_path / "mine").rename(tmp_path / "pipeline" / "scheduler")
    assert read_schedules(tmp_path / "pipeline")[0].title == "pipeline"


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", [FULL])
    before = (tmp_path / "a.json").read_bytes()
    with pytest.raises(ValueError, match="Out of range float values"):
        write_json(tmp_path / "a.json", [drawn([0.1], sampler={"name": "ddim", "eta": float("nan")})])
    assert (tmp_path / "a.json").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


# What else is read


@pytest.mark.parametrize(
    "text",
    [
        "0.1\n0.2\n0.7\n",
        "\ufeff0.1\r\n0.2\r\n\r\n0.7",
        "0.1, 0.2, 0.7",
        "beta\n0.1\n0.2\n0.7\n",
        "N;Beta;what\n1;0.1;a\n2;0.2;b\n3;0.7;c\n",
        "k,step,t,alpha,sigma,log_snr,beta,posterior_std\n"
        "0,900,0.9,0.46,0.88,-1.3,0.7,0.3\n1,50,0.1,0.84,0.52,0.9,0.2,0.1\n2,9,0,0.94,0.31,2.2,0.1,0\n3,,0,1,0,inf,,\n",
    ],
)
def test_lists_of_other_programs_are_read(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.csv").write_text(text, encoding="utf-8", newline="")
    assert read_schedules(tmp_path / "a.csv")[0].betas == (0.1, 0.2, 0.7)


def test_the_window_s_table_is_read_as_the_levels_it_shows(tmp_path: Path) -> None:
    from studio.app.panels.schedule_table import to_csv, visits

    schedule = Linear()
    levels = LogSNR().levels(schedule, 9)
    (tmp_path / "table.csv").write_text(to_csv(visits(schedule, levels)), encoding="utf-8")
    (found,) = read_schedules(tmp_path / "table.csv")
    again = Betas.of(found).levels(schedule, 9)
    np.testing.assert_allclose(again, levels, rtol=1e-12)


@pytest.mark.parametrize(
    "table",
    [
        [0.1, 0.2],
        {"betas": [0.1, 0.2]},
        [{"betas": [0.1, 0.2]}],
        {"schedules": [{"betas": [0.1, 0.2], "origin": "drawn"}]},
        {"_class_name": "PNDMScheduler", "num_train_timesteps": 2, "trained_betas": [0.1, 0.2]},
    ],
)
def test_json_of_other_programs_is_read(tmp_path: Path, table: Any) -> None:
    (tmp_path / "a.JSON").write_text(json.dumps(table), encoding="utf-8")
    assert read_schedules(tmp_path / "a.JSON")[0].betas == (0.1, 0.2)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.csv", "", "a.csv: A schedule needs at least one beta. Mend the file"),
        ("a.csv", "beta\n", "at least one beta"),
        ("a.csv", "0.1\n1.5\n", r"a.csv: beta\[1\] = 1.5 is not possible: every beta lies between 0 and 1"),
        ("a.csv", "0.1\nnan\n", r"beta\[1\] = nan"),
        ("a.csv", "0.1\nhello\n", "a.csv: 'hello' is no number. A list of betas has one on each line"),
        ("a.csv", "1,0.1\n2,0.2\n", 'a.csv has several columns and none is named "beta"'),
        ("a.csv", "0.001\n" * 10_001, "10,001 betas are too many"),
        ("a.csv", "0.9\n" * 400, "leave no signal"),
        ("a.json", "[0.1, Infinity]", r"a.json: beta\[1\] = inf"),
        ("a.json", "[0.1, 1" + "0" * 400 + "]", "a.json: .* Mend the file"),
        ("a.json", "[]", "a.json: A schedule needs at least one beta"),
        ("a.json", '{"schedules": []}', "a.json holds no schedules. Find some for its model first"),
        ("a.json", '{"schedules": [{"betas": [2]}]}', r"a.json: beta\[0\] = 2 is not possible"),
        ("a.json", '{"schedules": [3]}', "a.json: A schedule is a table"),
        ("a.json", "[[0.1]]", "a.json: "),
        ("a.json", "{", "a.json is no JSON"),
        ("a.json", "[" * 200_000, "a.json is nested too deeply|is no JSON"),
        ("a.json", '"0.1"', "a.json holds no schedule: it takes a list of betas"),
        ("a.json", '{"num_train_timesteps": 9, "trained_betas": null}', "a.json has no trained_betas"),
        ("a.txt", "0.1", r"a.txt is no file of schedules: open one that ends in .safetensors, .csv, .json, .ns"),
        ("a.ns", "0.1", "a.ns is no .ns file that can be read. Was it downloaded whole?"),
        ("a.safetensors", "0.1", "a.safetensors is no checkpoint"),
    ],
)
def test_bad_files_are_refused_by_name(tmp_path: Path, name: str, text: str, said: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=said):
        read_schedules(tmp_path / name)


def test_more_bad_files(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"none.csv does not exist"):
        read_schedules(tmp_path / "none.csv")
    with pytest.raises(ValueError, match=r"is no folder of a diffusers scheduler: it has no scheduler_config.json"):
        read_schedules(tmp_path)
    with pytest.raises(ValueError, match=r"mnist-ddpm.safetensors holds no schedules"):
        read_schedules(_without_schedules(tmp_path / "mnist-ddpm.safetensors"))
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match=r"a.csv is no text"):
        read_schedules(tmp_path / "a.csv")
    for name in ("big.csv", "big.ns"):
        with open(tmp_path / name, "wb") as file:
            file.truncate(20 << 20)
        with pytest.raises(ValueError, match=rf"{name} is too large to be a schedule"):
            read_schedules(tmp_path / name)


def _without_schedules(path: Path) -> Path:
    path.write_bytes(DIGITS.read_bytes())
    write_schedules(path, lambda _: [], "")
    return path


def test_released_files_that_are_not_what_they_should_be(tmp_path: Path) -> None:
    def refused(name: str) -> str:
        with pytest.raises(ValueError, match=name) as caught:
            read_schedules(tmp_path / name)
        return str(caught.value)

    released(tmp_path / "swapped.ns", LJ7, BDDM_TABLE, alpha=torch.tensor(LJ7), beta=drawn_alphas(LJ7))
    assert "contradicts itself" in refused("swapped.ns")
    released(tmp_path / "short.ns", LJ7, BDDM_TABLE, t=torch.zeros(3))
    assert "four tensors of one length" in refused("short.ns")
    torch.save({"beta": torch.tensor(LJ7)}, tmp_path / "dict.ns")
    assert "four tensors" in refused("dict.ns")
    released(tmp_path / "nan.ns", LJ7, BDDM_TABLE, beta=torch.full((7,), float("nan")))
    assert "beta[0] = nan is not possible" in refused("nan.ns")
    whole = released(tmp_path / "whole.ns", LJ7, BDDM_TABLE).read_bytes()
    (tmp_path / "cut.ns").write_bytes(whole[: len(whole) // 2])
    assert "downloaded whole" in refused("cut.ns")


def drawn_alphas(betas: Sequence[float]) -> Tensor:
    return torch.tensor(drawn(betas).alphas)


def test_code_in_a_released_file_is_never_run(tmp_path: Path) -> None:
    class Hostile:
        def __reduce__(self) -> tuple[object, tuple[Path]]:
            return Path.touch, (tmp_path / "it ran",)

    torch.save((Hostile(),), tmp_path / "a.ns")
    with pytest.raises(ValueError, match=r"a.ns is pickled code, which the studio does not run. Save its betas as CSV"):
        read_schedules(tmp_path / "a.ns")
    (tmp_path / "b.ns").write_bytes(pickle.dumps(Hostile()))
    with pytest.raises(ValueError, match=r"b.ns is no .ns file"):
        read_schedules(tmp_path / "b.ns")
    assert not (tmp_path / "it ran").exists()


def test_another_model_s_schedule_is_adopted_as_an_imported_one() -> None:
    assert adopted(FULL, "0123") is FULL
    assert adopted(drawn([0.1]), "0123") == drawn([0.1])
    other = adopted(FULL, "4567")
    assert (other.betas, other.origin, other.model, other.scores) == (FULL.betas, "imported", "", {})
    assert (other.title, other.sampler) == (FULL.title, FULL.sampler)


# In diffusers


class _Draws:
    """``randn_tensor`` of diffusers, with the draws of our samplers: the start, then one a step."""

    def __init__(self, noise: Noise, shape: tuple[int, ...], level: Any) -> None:
        self._found = self._all(noise, shape, level)

    def __call__(self, *_: Any, **__: Any) -> Tensor:
        return next(self._found)

    @staticmethod
    def _all(noise: Noise, shape: tuple[int, ...], level: Any) -> Iterator[Tensor]:
        x = start(noise, shape, level)
        yield x
        for step in range(1000):
            yield noise.like(x, step)


class _AsUNet(nn.Module):
    """Our denoiser as diffusers' pipelines call a network: at step t of a scheduler, for eps."""

    def __init__(self, denoiser: Denoiser, scheduler: Any, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.inner, self._alpha_bar = denoiser, scheduler.alphas_cumprod
        self.config = SimpleNamespace(sample_size=shape[1:], in_channels=shape[0])
        self.dtype, self.device = torch.float32, torch.device("cpu")

    def forward(self, x: Tensor, t: Tensor) -> SimpleNamespace:
        level = from_alpha_bar(float(self._alpha_bar[t]))
        return SimpleNamespace(sample=self.inner(x, level, None).eps)


@pytest.mark.parametrize(
    "sampler", [Ancestral(), Ancestral(variance="large"), DDIM(), DDIM(eta=0.6)], ids=["small", "large", "0", "0.6"]
)
def test_diffusers_own_pipeline_gives_the_same_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sampler: Sampler
) -> None:
    """Within 2e-5 of a range of 1; float32, in which diffusers keeps alpha_bar, makes about 3e-6."""
    diffusers = pytest.importorskip("diffusers")
    model = load(DIGITS, torch.device("cpu"))
    table = method_to_dict("sampler", sampler)
    schedule = drawn([0.002, 0.03, 0.13, 0.3, 0.5, 0.6, 0.7, 0.8], sampler=table)
    call = write_diffusers(tmp_path / "scheduler", schedule)
    family = "DDIM" if isinstance(sampler, DDIM) else "DDPM"
    assert call.startswith(f"{family}Pipeline(unet, {family}Scheduler.from_pretrained(")

    levels = Betas.of(schedule).levels(model.recipe.schedule, 8)
    noise, shape = Noise(5, range(4)), model.shape
    steps = list(sampler.run(Clipped(model.denoiser), start(noise, shape, levels[0]), levels, noise=noise))
    ours = (steps[-1].x / 2 + 0.5).clamp(0, 1)

    monkeypatch.setattr("tqdm.std.tqdm.monitor_interval", 0)  # no thread that watches progress bars
    draws = _Draws(noise, shape, levels[0])
    name = family.lower()
    for module in (f"pipelines.{name}.pipeline_{name}", f"schedulers.scheduling_{name}"):
        monkeypatch.setattr(f"diffusers.{module}.randn_tensor", draws)
    scheduler = getattr(diffusers, f"{family}Scheduler").from_pretrained(tmp_path / "scheduler")
    assert scheduler.config.num_train_timesteps == 8
    pipeline = getattr(diffusers, f"{family}Pipeline")(_AsUNet(model.denoiser, scheduler, shape), scheduler)
    pipeline.set_progress_bar_config(disable=True)
    options = call.rpartition("(")[2].removesuffix(")")
    given = {key: json.loads(value.lower()) for key, value in (part.split("=") for part in options.split(", "))}
    theirs = pipeline(batch_size=4, output_type="pt", **given).images
    assert ours.std() > 0.1
    torch.testing.assert_close(theirs, ours, rtol=0.0, atol=2e-5)


def test_a_beta_too_small_to_change_alpha_is_written_and_read(tmp_path: Path) -> None:
    schedule = ShortSchedule(betas=(1e-20, 0.5), origin="drawn")
    write_csv(tmp_path / "a.csv", schedule)
    assert read_schedules(tmp_path / "a.csv")[0].betas == schedule.betas


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[1" + "0" * 5000 + "]", "a.json holds a number with too many digits. Mend the file"),
        ('{"betas": [0.1], "sampler": {"name": "nonsense"}}', "a.json: 'nonsense' is no sampler"),
        ('{"schedules": [{"betas": [0.1], "sampler": {"eta": 1.0}}]}', "a.json: A sampler needs a name"),
        ('[{"betas": [0.1], "sampler": {"name": "ddim", "eta": 9}}]', "a.json: eta = 9 is not possible"),
    ],
)
def test_what_could_not_be_sampled_with_later_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=said):
        read_schedules(tmp_path / "a.json")
