"""Feature networks for images that no classifier of the studio knows: Inception at best, else random features.

Inception (the network of FID, arXiv 1706.08500) needs the optional package torch-fidelity, which has the network as it
was first converted from TensorFlow, and the weights that it publishes. Nothing is downloaded unasked: they are used
where they lie already. Without them, an untrained convolutional network looks. Features of random networks rank
generative models much as trained ones do (arXiv 2208.09218; arXiv 2002.09797 uses them for data far from ImageNet),
but they see texture and layout rather than meaning, so small differences of such scores mean little.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import itertools
import math
import pickle
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from studio.core import resources
from studio.core.features.base import FeatureNetwork, Findings
from studio.core.files import explain

INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth"
INCEPTION_SHA256 = "6726825d"
"""How the file's SHA-256 begins; its name says so, as is the custom of torch's hub."""

_CHANNELS = (3, 32, 64, 96, 128)
_SIDE = 32


def inception_weights() -> Path | None:
    """Inception's weights in the studio's data folder or torch's hub cache; None without them or torch-fidelity."""
    if importlib.util.find_spec("torch_fidelity") is None:
        return None
    folders = resources.data_folder(), Path(torch.hub.get_dir()) / "checkpoints"
    return next((path for folder in folders if (path := folder / INCEPTION_FILE).is_file()), None)


class RandomFeatures(FeatureNetwork):
    """Channel means after each of four random convolutions: features (N, 320) of grey or colour images of any size.

    Images are scaled to 32×32 first. Weights are N(0, 2 / fan-in) from a fixed seed (arXiv 1502.01852). Each layer's
    output is normalised per image: otherwise brightness, by far its largest variance, hides missing classes.
    """

    name = "random-features-1"
    title = "Random features 1 (untrained)"

    def __init__(self) -> None:
        super().__init__()
        rng = np.random.default_rng(0)
        self.convolutions = nn.ParameterList()
        for before, after in itertools.pairwise(_CHANNELS):
            weights = rng.standard_normal((after, before, 3, 3)) * math.sqrt(2.0 / (9 * before))
            self.convolutions.append(nn.Parameter(torch.from_numpy(weights.astype(np.float32)), requires_grad=False))

    def forward(self, images: Tensor) -> Tensor:
        x = _colour(images).float().div_(127.5).sub_(1.0)
        if x.shape[2:] != (_SIDE, _SIDE):
            x = functional.interpolate(x, (_SIDE, _SIDE), mode="bilinear", antialias=True)
        means = []
        for weights in self.convolutions:
            x = functional.relu(functional.conv2d(x, weights, padding=1))
            x = functional.layer_norm(x, x.shape[1:])
            means.append(x.mean((2, 3)))
            x = functional.avg_pool2d(x, 2)
        return torch.cat(means, 1)

    def read(self, activations: np.ndarray) -> Findings:
        return Findings(activations.astype(np.float64), None, None)

    def takes(self, shape: tuple[int, ...]) -> str:
        return _grey_or_colour(shape)


class InceptionFeatures(FeatureNetwork):
    """The 2,048 pooled activations that FID is defined on, of grey or colour images of any size.

    Its classes are ImageNet's, not the data's, so it tells no probabilities and no modes.
    """

    name = "inception-2015-12-05"
    title = "Inception 2015-12-05"
    chunk = 50

    def __init__(self, path: Path) -> None:
        """Raises ValueError where the file is not the published one or the package cannot be loaded."""
        try:
            from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
        except (ImportError, RuntimeError) as error:  # torchvision's own, where it was built for another torch
            raise ValueError(
                f"torch-fidelity cannot be loaded ({error}). Install torchvision from the same place as torch, "
                f"or remove {path}: then random features are used."
            ) from error
        super().__init__()
        # The package unpickles whatever lies in the file. So the published bytes alone are read, by torch's loader of
        # plain tensors, and the package gets what we wrote ourselves.
        safe = io.BytesIO()
        torch.save(_tensors(path), safe)
        safe.seek(0)
        self.inception = FeatureExtractorInceptionV3("inception", ["2048"], feature_extractor_weights_path=safe)
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        return self.inception(_colour(images))[0]

    def read(self, activations: np.ndarray) -> Findings:
        return Findings(activations.astype(np.float64), None, None)

    def takes(self, shape: tuple[int, ...]) -> str:
        return _grey_or_colour(shape)


def _tensors(path: Path) -> dict[str, Tensor]:
    """The state of a published file, told by its checksum."""
    try:
        content = path.read_bytes()
        if not hashlib.sha256(content).hexdigest().startswith(INCEPTION_SHA256):
            raise ValueError("other checksum")
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except OSError as error:
        raise ValueError(explain(error, path)) from error
    except (ValueError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise ValueError(
            f"{path} is not the published file of Inception's weights: it is damaged or another. "
            "Delete it, or get it again from torch-fidelity's releases."
        ) from error


def _colour(images: Tensor) -> Tensor:
    return images.expand(-1, 3, -1, -1)


def _grey_or_colour(shape: tuple[int, ...]) -> str:
    return "" if shape[0] in (1, 3) else "grey or colour images"
