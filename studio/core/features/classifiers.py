"""The studio's own feature networks: classifiers of MNIST and Fashion-MNIST that ship, and MNIST's for stacked digits.

A classifier sees each image through its 128 activations below the logits; the mode of an image is its likeliest class.
``assets/make_features.py`` trains them and writes their files, whose header has a JSON description under ``KEY``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from studio.core import resources
from studio.core.data.images import MNIST_SHAPE
from studio.core.data.stacked import DIGITS, mode_of
from studio.core.features.base import FeatureNetwork, Findings
from studio.core.files import explain
from studio.core.networks.base import fresh_weights
from studio.core.networks.classifier import Classifier

FORMAT = 1
KEY = "features"


@dataclass(frozen=True, kw_only=True)
class Facts:
    """The description in a classifier's file; ``made`` are the settings of its training."""

    format: int
    version: int
    title: str
    data: str
    classes: list[str]
    features: int
    parameters: int
    accuracy: float
    made: dict[str, float]


def file_of(data: str) -> Path:
    """Where the classifier of a registered data set lies."""
    return resources.assets() / f"features-{data.replace('_', '-')}.safetensors"


class ClassifierFeatures(FeatureNetwork):
    """A trained classifier of grey 28×28 images: features (N, 128), probabilities (N, 10), modes the likeliest."""

    def __init__(self, path: Path) -> None:
        """Raises ValueError where the file is missing, damaged or from another version of the studio."""
        super().__init__()
        facts, weights = _read(path)
        self.name = f"{facts.data.replace('_', '-')}-classifier-{facts.version}"
        self.title = f"{facts.title} {facts.version}"
        self.data, self.accuracy = facts.data, facts.accuracy
        self.num_classes = self.num_modes = len(facts.classes)
        self.num_features = facts.features
        with fresh_weights(seed=0):
            self.classifier = Classifier(self.num_classes, self.num_features)
        try:
            self.classifier.load_state_dict(weights)
        except RuntimeError as error:
            raise ValueError(f"{path} is damaged. Install the studio again.") from error
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        features = self.classifier.features(images.float().div_(127.5).sub_(1.0))
        return torch.cat([features, self.classifier.head(features)], 1)

    def read(self, activations: np.ndarray) -> Findings:
        features = activations[:, : self.num_features].astype(np.float64)
        probabilities = _softmax(activations[:, self.num_features :].astype(np.float64))
        return Findings(features, probabilities, probabilities.argmax(1).astype(np.int64))

    def takes(self, shape: tuple[int, ...]) -> str:
        return "" if shape == MNIST_SHAPE else "grey images of 28×28"


class StackedFeatures(FeatureNetwork):
    """Three digits as colour channels, each judged by MNIST's classifier: features (N, 384), 1,000 modes abc.

    Probabilities (N, 1000) are products of the three digits', which the data draws independently; float32, since
    they are many.
    """

    def __init__(self, digits: ClassifierFeatures) -> None:
        super().__init__()
        self.digits = digits
        self.name, self.title = f"stacked-{digits.name}", f"{digits.title}, by channel"
        self.data = "stacked_mnist"
        self.accuracy = None if digits.accuracy is None else digits.accuracy**DIGITS
        self.num_classes = self.num_modes = digits.num_classes**DIGITS

    def forward(self, images: Tensor) -> Tensor:
        return self.digits(images.flatten(0, 1).unsqueeze(1)).reshape(len(images), -1)

    def read(self, activations: np.ndarray) -> Findings:
        count = len(activations)
        each = self.digits.read(activations.reshape(DIGITS * count, -1))
        assert each.probabilities is not None
        assert each.modes is not None
        a, b, c = each.probabilities.astype(np.float32).reshape(count, DIGITS, -1).transpose(1, 0, 2)
        return Findings(
            each.features.reshape(count, -1),
            np.einsum("na,nb,nc->nabc", a, b, c).reshape(count, -1),
            mode_of(each.modes.reshape(count, DIGITS)),
        )

    def takes(self, shape: tuple[int, ...]) -> str:
        return "" if shape == (DIGITS, *MNIST_SHAPE[1:]) else "three digits of 28×28 as colour channels"


def _softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def _read(path: Path) -> tuple[Facts, dict[str, Tensor]]:
    """Description and weights, widened to float32."""
    if not path.is_file():
        raise ValueError(f"{path} does not exist. Install the studio again.")
    try:
        with safe_open(path, "pt") as file:
            facts = Facts(**json.loads((file.metadata() or {})[KEY]))
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except OSError as error:
        raise ValueError(f"{explain(error, path)} Install the studio again.") from error
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged. Install the studio again.") from error
    if facts.format != FORMAT:
        raise ValueError(f"{path} has format {facts.format}, not {FORMAT}. Install the studio again.")
    return facts, {name: value.float() if value.is_floating_point() else value for name, value in weights.items()}
