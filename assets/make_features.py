"""Train the small classifiers that measure samples, and write ``features-mnist.safetensors`` and its like.

    python assets/make_features.py mnist
    python assets/make_features.py fashion_mnist

One thread and one seed: the same machine makes the same file again. Weights are kept as float16, and the accuracy in
the file's description is that of the rounded weights on the 10,000 test images.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from studio.core.checkpoints.native import portable, write
from studio.core.data.base import Dataset
from studio.core.features.classifiers import FORMAT, KEY, file_of
from studio.core.networks.base import num_parameters
from studio.core.networks.classifier import Classifier
from studio.core.registry import find

VERSION = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """How a classifier is trained: AdamW under a one-cycle rate, images shifted and, for clothes, mirrored."""

    epochs: int
    shift: int
    flip: bool
    batch: int = 128
    peak_rate: float = 4e-3
    weight_decay: float = 0.02
    label_smoothing: float = 0.05
    seed: int = 0


SETTINGS = {"mnist": Settings(epochs=6, shift=2, flip=False), "fashion_mnist": Settings(epochs=9, shift=1, flip=True)}


def train(data: Dataset, settings: Settings) -> Classifier:
    """The classifier after all epochs; prints its test accuracy after each."""
    torch.manual_seed(settings.seed)
    assert data.train_labels is not None
    images, labels = to_float(data.train), torch.from_numpy(data.train_labels)
    model = Classifier(data.num_classes)
    per_epoch = len(images) // settings.batch
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=settings.weight_decay)
    rates = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.peak_rate, total_steps=settings.epochs * per_epoch, pct_start=0.25
    )
    for epoch in range(settings.epochs):
        began = time.perf_counter()
        model.train()
        for rows in torch.randperm(len(images))[: per_epoch * settings.batch].split(settings.batch):
            logits = model(moved(images[rows], settings))
            loss = functional.cross_entropy(logits, labels[rows], label_smoothing=settings.label_smoothing)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            rates.step()
        print(f"epoch {epoch + 1}: {accuracy(model, data):.2%}, {time.perf_counter() - began:.0f} s", flush=True)
    return model


def moved(x: Tensor, settings: Settings) -> Tensor:
    """Each image of x (B, 1, H, W) shifted by up to ``shift`` pixels either way, and mirrored half of the time."""
    if settings.flip:
        x = torch.where(torch.rand(len(x), 1, 1, 1) < 0.5, x.flip(3), x)
    height, width = x.shape[2:]
    down, right = torch.randint(0, 2 * settings.shift + 1, (2, len(x)))
    padded = functional.pad(x, (settings.shift,) * 4, value=-1.0)
    rows = (down[:, None] + torch.arange(height))[:, :, None]
    columns = (right[:, None] + torch.arange(width))[:, None, :]
    return padded[torch.arange(len(x))[:, None, None], 0, rows, columns].unsqueeze(1)


@torch.inference_mode()
def accuracy(model: nn.Module, data: Dataset) -> float:
    """The share of test images that the model names rightly."""
    assert data.test_labels is not None
    model.eval()
    found = torch.cat([model(part).argmax(1) for part in to_float(data.test).split(500)])
    return float((found.numpy() == data.test_labels).mean())


def to_float(images: np.ndarray) -> Tensor:
    """uint8 images in [-1, 1]."""
    return torch.from_numpy(images.copy()).float().div_(127.5).sub_(1.0)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("data", choices=SETTINGS)
    options.add_argument("--out", type=Path, help="where to write (default: beside this script)")
    chosen = options.parse_args()
    torch.set_num_threads(1)
    data, settings = find("dataset", chosen.data)().load(), SETTINGS[chosen.data]
    model = train(data, settings)
    model.load_state_dict({name: value.half().to(value.dtype) for name, value in model.state_dict().items()})
    facts = {
        "format": FORMAT,
        "version": VERSION,
        "title": f"{data.title} classifier",
        "data": data.name,
        "classes": data.class_names,
        "features": model.head.in_features,
        "parameters": num_parameters(model),
        "accuracy": round(accuracy(model, data), 4),
        "made": dataclasses.asdict(settings),
    }
    tensors = {
        name: value.half() if value.is_floating_point() else value
        for name, value in portable(model.state_dict()).items()
    }
    path = chosen.out or file_of(data.name)
    write(path, tensors, {KEY: json.dumps(facts)})
    print(f"{path}: {path.stat().st_size:,} bytes, test accuracy {facts['accuracy']:.2%}")


if __name__ == "__main__":
    main()
