"""How fast do the presets' networks train and sample, against well-known U-Nets and against the machine's limit?

    pip install -e '.[benchmark]'
    python benchmarks/speed.py

The peers are diffusers' UNet2DModel and the Unet of lucidrains' denoising-diffusion-pytorch, with channels (1, 2, 2)
times 32 or 64. All take the same 28 x 28 grey images. Training is one whole step: noising, forward, backward,
optimiser (the preset's own; fused Adam for peers), average of the weights. Sampling is counted in evaluations of the
network without gradients: divide by the sampler's steps for images a second.

All networks take turns within every round, because machines drift; numbers are medians over the rounds. The limit is
the best that this machine did on square float32 matrix products in the same rounds. Shares of it count 2 FLOP a
multiply-add, and a training step as three forward passes.
"""

from __future__ import annotations

import abc
import importlib
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from unittest.mock import MagicMock

import numpy as np
import torch
from common import parser, print_header, print_table
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from studio.core.config import TrainConfig
from studio.core.data.base import Batch
from studio.core.ema import EMA
from studio.core.levels import Level
from studio.core.noise import Noise
from studio.core.presets import DEFAULT, presets
from studio.core.recipes.base import DataFacts

SHAPE = (1, 28, 28)
NUM_CLASSES = 10
LEVEL = Level(0.8, 0.6)
FORWARDS = {"training": 3, "sampling": 1}
"""Forward passes that one image costs: the backward pass counts as two."""


class Rival(abc.ABC):
    """A network to be timed."""

    name: str
    network: nn.Module

    @abc.abstractmethod
    def train(self, images: Tensor) -> None:
        """One whole training step on images (B, 1, 28, 28)."""

    @abc.abstractmethod
    def evaluate(self, images: Tensor) -> None:
        """One evaluation as a sampler makes it."""

    def num_parameters(self) -> int:
        """How many numbers the network learns."""
        return sum(parameter.numel() for parameter in self.network.parameters())

    def mflop(self) -> float:
        """Of one forward pass on one image."""
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            self.evaluate(torch.zeros(1, *SHAPE))
        return counter.get_total_flops() / 1e6


class Ours(Rival):
    """A preset, through its own recipe."""

    def __init__(self, name: str, config: TrainConfig) -> None:
        self.name = name
        facts = DataFacts(shape=SHAPE, num_classes=NUM_CLASSES, mean=-0.74, std=0.6)
        self._learner = config.recipe.learner(
            config.network, config.optimizer, facts, seed=0, device=torch.device("cpu")
        )
        self.network = self._learner.denoiser
        self._ema = EMA(self.network, None, 10.0)
        self._step = 0

    def train(self, images: Tensor) -> None:
        self._step += 1
        count = len(images)
        batch = Batch(images, torch.arange(count) % NUM_CLASSES, np.arange(count))
        self._learner.step(batch, noise=Noise(0, range(count), images.device), index=self._step)
        self._ema.update(self._step)

    @torch.no_grad()
    def evaluate(self, images: Tensor) -> None:
        self._ema.average(images, LEVEL, torch.arange(len(images)) % NUM_CLASSES)


class Peer(Rival):
    """Someone else's U-Net, trained to tell the noise."""

    def __init__(self, name: str, network: nn.Module, output: Callable[..., Tensor]) -> None:
        self.name, self.network, self._output = name, network, output
        self._optimizer = torch.optim.Adam(network.parameters(), lr=1e-4, fused=True)
        self._ema = EMA(network, 0.999, 0.0)
        self._step = 0

    def train(self, images: Tensor) -> None:
        self._step += 1
        eps = torch.randn_like(images)
        predicted = self._output(self.network, LEVEL.alpha * images + LEVEL.sigma * eps, self._times(images))
        self._optimizer.zero_grad(set_to_none=True)
        nn.functional.mse_loss(predicted, eps).backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self._optimizer.step()
        self._ema.update(self._step)

    @torch.no_grad()
    def evaluate(self, images: Tensor) -> None:
        self._output(self._ema.average, images, self._times(images))

    @staticmethod
    def _times(images: Tensor) -> Tensor:
        return torch.arange(len(images)) * 7 % 1000


def ours() -> list[Rival]:
    """The image presets; those that differ in the data alone are one."""
    named: dict[tuple, list[str]] = {}
    for name, config in presets().items():
        if config.data.kind == "image":
            named.setdefault((config.recipe, config.network, config.optimizer), []).append(name)
    return [Ours(", ".join(names), presets()[names[0]]) for names in named.values()]


def peers() -> list[Rival]:
    """Those whose packages are installed; says which are not."""
    found: list[Rival] = []
    for make in (_diffusers, _lucidrains):
        try:
            found += make()
        except (ImportError, RuntimeError) as error:
            print(f"{make.__name__[1:]} is not measured: {error}. Install it with pip install -e '.[benchmark]'.")
    return found


def _diffusers() -> list[Rival]:
    unet = importlib.import_module("diffusers").UNet2DModel

    def make(width: int) -> Rival:
        network = unet(
            sample_size=SHAPE[1],
            in_channels=1,
            out_channels=1,
            layers_per_block=2,
            block_out_channels=(width, 2 * width, 2 * width),
            down_block_types=("DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
            up_block_types=("AttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
            norm_num_groups=8,
        )
        return Peer(f"diffusers UNet2DModel {width}", network, lambda network, x, t: network(x, t).sample)

    return [make(32), make(64)]


def _lucidrains() -> list[Rival]:
    # The package imports these for its trainer and its scores; its network needs neither, and torchvision does not load
    # beside every build of torch.
    for name in (
        "torchvision",
        "torchvision.transforms",
        "pytorch_fid",
        "pytorch_fid.fid_score",
        "pytorch_fid.inception",
    ):
        sys.modules[name] = MagicMock()
    unet = importlib.import_module("denoising_diffusion_pytorch").Unet
    network = unet(dim=32, dim_mults=(1, 2, 2), channels=1)
    return [Peer("lucidrains Unet 32", network, lambda network, x, t: network(x, t))]


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--only", choices=("ours", "peers"), help="measure only these")
    options.add_argument("--threads", type=int, help="of torch (default: its own choice)")
    options.add_argument("--batches", type=int, nargs="+", default=[32, 64, 128])
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--seconds", type=float, default=1.0, help="of one turn, which takes one step at least")
    chosen = options.parse_args()
    if chosen.threads:
        torch.set_num_threads(chosen.threads)
    torch.manual_seed(0)
    rivals = (ours() if chosen.only != "peers" else []) + (peers() if chosen.only != "ours" else [])
    print_header(f"median of {chosen.rounds} rounds")
    limit, speeds = race(rivals, chosen.batches, chosen.rounds, chosen.seconds)
    print(f"limit: {limit / 1e9:.0f} GFLOP/s")
    for work, unit in (("training", "images/s"), ("sampling", "image evaluations/s")):
        print(f"\n{work}: {unit} at each batch size (share of the limit), and how much faster {DEFAULT} is")
        show(rivals, chosen.batches, limit, speeds[work], FORWARDS[work])


Speeds = dict[tuple[str, int], float]
"""Images a second of a rival, by name, at a batch size."""


def race(rivals: list[Rival], batches: list[int], rounds: int, seconds: float) -> tuple[float, dict[str, Speeds]]:
    """The limit in FLOP/s, and the median speeds of training and sampling."""
    found: dict[str, dict[tuple[str, int], list[float]]] = {work: {} for work in FORWARDS}
    limit = 0.0
    for number in range(rounds + 1):
        limit = max(limit, matrix_speed(seconds))
        for batch in batches:
            images = torch.rand(batch, *SHAPE) * 2.0 - 1.0
            for rival in rivals:
                for work, step in (("training", rival.train), ("sampling", rival.evaluate)):
                    # The first round only warms up: buffers, caches, and the choice of kernels.
                    speed = batch * rate(partial(step, images), seconds if number else 0.0)
                    if number:
                        found[work].setdefault((rival.name, batch), []).append(speed)
    medians = {work: {key: statistics.median(values) for key, values in table.items()} for work, table in found.items()}
    return limit, medians


def matrix_speed(seconds: float, size: int = 1536) -> float:
    """FLOP/s of a product of two square matrices."""
    a, b = torch.rand(2, size, size)
    out = torch.empty(size, size)
    return 2.0 * size**3 * rate(lambda: torch.mm(a, b, out=out), seconds)


def rate(call: Callable[[], object], seconds: float) -> float:
    """Calls a second, over ``seconds`` and one call at least."""
    began, calls = time.perf_counter(), 0
    while True:
        call()
        calls += 1
        spent = time.perf_counter() - began
        if spent >= seconds:
            return calls / spent


def show(rivals: list[Rival], batches: list[int], limit: float, speeds: Speeds, forwards: int) -> None:
    """One table: a row for each network."""
    base = next((rival for rival in rivals if DEFAULT in rival.name.split(", ")), None)
    rows = []
    for rival in rivals:
        mflop = rival.mflop()
        row = [rival.name, f"{rival.num_parameters() / 1e6:.2f} M", f"{mflop:.0f}"]
        for batch in batches:
            speed = speeds[rival.name, batch]
            row += [f"{speed:.0f} ({speed * forwards * mflop * 1e6 / limit:.0%})"]
        if base:
            row += [f"{speeds[base.name, batch] / speeds[rival.name, batch]:.2f}x" for batch in batches]
        rows.append(row)
    head = ["network", "parameters", "MFLOP", *(f"B = {batch}" for batch in batches)]
    print_table(head + [f"at {batch}" for batch in batches if base], rows)


if __name__ == "__main__":
    main()
