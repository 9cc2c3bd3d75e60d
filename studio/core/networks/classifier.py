"""A small convolutional classifier, whose activations and opinions measure samples (``studio.core.features``).

features = relu(W body(x)),   p(class | x) = softmax(V features)
"""

from __future__ import annotations

from torch import Tensor, nn


class Classifier(nn.Module):
    """(B, 1, 28, 28) in [-1, 1] -> logits (B, num_classes)."""

    def __init__(self, num_classes: int, num_features: int = 128) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_stage(1, 32, 2),
            *_stage(32, 64, 1),
            *_stage(64, 96, 2),
            nn.Flatten(),
            nn.Linear(96 * 7 * 7, num_features),
            nn.ReLU(),
        )
        self.dropout = nn.Dropout(0.4)
        self.head = nn.Linear(num_features, num_classes)

    def features(self, x: Tensor) -> Tensor:
        """The activations below the logits: (B, num_features), never negative."""
        return self.body(x)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.dropout(self.features(x)))


def _stage(before: int, after: int, stride: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU()
