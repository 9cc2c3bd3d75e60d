"""The yardstick of the digit benchmarks: a small classifier of MNIST digits and the Frechet distance.

    python benchmarks/digit_classifier.py        trains it once (some minutes) and prints its test accuracy

Other benchmarks import :func:`load`. The weights lie in the user's cache folder; numbers from other feature networks
are not comparable with these.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import platformdirs
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from studio.core.data.images import MNIST

WEIGHTS = Path(platformdirs.user_cache_dir("denoising-studio", appauthor=False)) / "digit-classifier-1.safetensors"


class DigitClassifier(nn.Module):
    """(B, 1, 28, 28) in [-1, 1] -> logits (B, 10); ``features`` are the 128 activations below them."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_stage(1, 32, 2), *_stage(32, 64, 1), *_stage(64, 96, 2), nn.Flatten(), nn.Linear(96 * 49, 128), nn.ReLU()
        )
        self.head = nn.Sequential(nn.Dropout(0.4), nn.Linear(128, 10))

    def features(self, x: Tensor) -> Tensor:
        return self.body(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


def _stage(before: int, after: int, stride: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()


def to_float(images: np.ndarray) -> Tensor:
    """uint8 images as the studio sees them, in [-1, 1]."""
    return torch.from_numpy(images.astype(np.float32) / 127.5 - 1.0)


def train(epochs: int = 8, batch: int = 128) -> DigitClassifier:
    """Train with shifts of up to two pixels and save the weights."""
    torch.manual_seed(0)
    data = MNIST().load()
    assert data.train_labels is not None
    model = DigitClassifier()
    total = epochs * (len(data.train) // batch)
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3, weight_decay=0.02)
    rates = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=total)
    images, labels = to_float(data.train), torch.from_numpy(data.train_labels)
    for epoch in range(epochs):
        began = time.perf_counter()
        model.train()
        for rows in torch.randperm(len(images))[: total // epochs * batch].split(batch):
            down, right = torch.randint(-2, 3, (2,)).tolist()
            loss = nn.functional.cross_entropy(
                model(images[rows].roll((down, right), (2, 3))), labels[rows], label_smoothing=0.05
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            rates.step()
        print(
            f"epoch {epoch + 1}: test accuracy {accuracy(model):.2%}, {time.perf_counter() - began:.0f} s", flush=True
        )
    WEIGHTS.parent.mkdir(parents=True, exist_ok=True)
    save_file(model.state_dict(), WEIGHTS)
    return model


def load() -> DigitClassifier:
    """The classifier, trained first if it never was."""
    if not WEIGHTS.is_file():
        print("training the digit classifier, once", flush=True)
        train()
    model = DigitClassifier()
    model.load_state_dict(load_file(WEIGHTS))
    return model.eval()


@torch.no_grad()
def accuracy(model: DigitClassifier) -> float:
    """On the 10,000 test images."""
    data = MNIST().load()
    model.eval()
    found = torch.cat([model(part).argmax(1) for part in to_float(data.test).split(500)])
    return float((found.numpy() == data.test_labels).mean())


@torch.no_grad()
def features(model: DigitClassifier, images: Tensor) -> np.ndarray:
    """(B, 128) float64 features of images (B, 1, 28, 28) in [-1, 1]."""
    return torch.cat([model.features(part) for part in images.split(500)]).double().numpy()


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """|mu_a - mu_b|**2 + tr(S_a + S_b - 2 (S_a S_b)**(1/2)) of two sets of features (arXiv 1706.08500, eq. 6)."""
    first, second = np.cov(a, rowvar=False), np.cov(b, rowvar=False)
    # tr (S_a S_b)^(1/2) from the symmetric S_a^(1/2) S_b S_a^(1/2), which has the same eigenvalues.
    values, vectors = np.linalg.eigh(first)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    cross = np.sqrt(np.linalg.eigvalsh(root @ second @ root).clip(0)).sum()
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(first) + np.trace(second) - 2.0 * cross)


if __name__ == "__main__":
    train()
