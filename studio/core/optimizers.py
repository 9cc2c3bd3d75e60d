"""Optimisers: Adam, and Muon for the hidden matrices.

Muon (K. Jordan and others, "Muon: an optimizer for hidden layers in neural networks", 2024) replaces a matrix's
momentum by the nearest orthogonal matrix, found with five Newton-Schulz steps. Small denoisers learn several times
faster with it. torch's own takes 2-D parameters only and one at a time; here kernels are flattened and equal shapes go
through one batched product.
"""

from __future__ import annotations

import abc
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from studio.core.knobs import Knobbed, knob
from studio.core.networks.base import Network
from studio.core.registry import register


class OptimizerSpec(Knobbed, abc.ABC):
    """A frozen dataclass of knobs that describes how weights are updated."""

    title: str

    @abc.abstractmethod
    def build(self, network: Network) -> list[torch.optim.Optimizer]:
        """Optimisers that together update every parameter once. Each group keeps its full rate as ``initial_lr``."""


def _with_initial(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
    return optimizer


def adam(
    weights: Iterable[nn.Parameter], rate: float, beta1: float = 0.9, beta2: float = 0.99, *, weight_decay: float = 0.0
) -> torch.optim.Optimizer:
    """Adam with decoupled weight decay."""
    found = torch.optim.AdamW(weights, lr=rate, betas=(beta1, beta2), weight_decay=weight_decay, fused=True)
    return _with_initial(found)


def muon(
    module: nn.Module, matrices: list[nn.Parameter], rate: float, momentum: float
) -> tuple[torch.optim.Optimizer, list[nn.Parameter]]:
    """Muon for the ``matrices`` of a module, and the weights that are left to another optimiser."""
    known = {id(weight) for weight in matrices}
    rest = [weight for weight in module.parameters() if id(weight) not in known]
    return _with_initial(Muon(matrices, lr=rate, momentum=momentum)), rest


def set_rate(optimizers: Iterable[torch.optim.Optimizer], factor: float) -> None:
    """Set every learning rate to ``factor`` in [0, 1] times its full value."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor


@register("optimizer", "muon")
@dataclass(frozen=True, kw_only=True)
class MuonSpec(OptimizerSpec):
    """Muon on the hidden matrices, Adam on the rest."""

    title = "Muon + Adam"
    learning_rate: float = knob(
        0.02, help="Muon's rate, for the matrices.", label="Rate", symbol="η", low=1e-5, high=1.0, log=True
    )
    adam_rate: float = knob(
        2e-3, help="Adam's rate, for all other weights.", label="Adam's rate", low=1e-6, high=0.1, log=True
    )
    momentum: float = knob(0.95, help="How long Muon remembers.", low=0.0, high=0.999, advanced=True)

    def build(self, network: Network) -> list[torch.optim.Optimizer]:
        first, rest = muon(network, network.hidden_matrices(), self.learning_rate, self.momentum)
        return [first, adam(rest, self.adam_rate)]


@register("optimizer", "adam")
@dataclass(frozen=True, kw_only=True)
class AdamSpec(OptimizerSpec):
    """Adam, with decoupled weight decay where it is above 0."""

    title = "Adam"
    learning_rate: float = knob(1e-3, help="Adam's rate.", label="Rate", symbol="η", low=1e-7, high=0.1, log=True)
    beta1: float = knob(
        0.9, help="How long Adam remembers gradients; 0.5 for GANs.", symbol="β₁", low=0.0, high=0.9999, advanced=True
    )
    beta2: float = knob(0.99, help="How long Adam remembers squares.", symbol="β₂", low=0.9, high=0.9999, advanced=True)
    weight_decay: float = knob(0.0, help="Pull of the weights towards 0.", low=0.0, high=1.0, advanced=True)

    def build(self, network: Network) -> list[torch.optim.Optimizer]:
        weights = network.parameters()
        return [adam(weights, self.learning_rate, self.beta1, self.beta2, weight_decay=self.weight_decay)]


class Muon(torch.optim.Optimizer):
    """Momentum, orthogonalised: each weight of two or more dimensions is seen as a matrix (first dim, the rest).

    The update is scaled by sqrt(max(1, rows / columns)), so that one rate fits all shapes.
    """

    def __init__(self, params: Iterable[nn.Parameter], lr: float, momentum: float) -> None:
        super().__init__(list(params), {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            if not weights:
                continue
            grads = [weight.grad for weight in weights]
            for weight in weights:
                if not self.state[weight]:
                    self.state[weight]["momentum"] = torch.zeros_like(weight)
            memory = [self.state[weight]["momentum"] for weight in weights]
            torch._foreach_lerp_(memory, grads, 1.0 - group["momentum"])
            # Nesterov: the update looks ahead by one more mix of the gradient.
            shapes: dict[tuple[int, int], list[tuple[nn.Parameter, Tensor]]] = {}
            for weight, ahead in zip(weights, torch._foreach_lerp(grads, memory, group["momentum"]), strict=True):
                matrix = ahead.reshape(len(weight), -1)
                shapes.setdefault((matrix.shape[0], matrix.shape[1]), []).append((weight, matrix))
            for (rows, columns), pairs in shapes.items():
                updates = orthogonalize(torch.stack([matrix for _, matrix in pairs]))
                scale = -group["lr"] * max(1.0, rows / columns) ** 0.5
                for (weight, _), update in zip(pairs, updates, strict=True):
                    weight.add_(update.view(weight.shape), alpha=scale)


def orthogonalize(matrices: Tensor, steps: int = 5) -> Tensor:
    """(N, R, C) -> the same shape with all singular values near 1: the quintic Newton-Schulz iteration.

    Its coefficients trade exactness for speed: singular values end between about 0.7 and 1.2.
    """
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        gram = torch.baddbmm(gram, gram, gram, beta=-4.7750, alpha=2.0315)
        x = torch.baddbmm(x, gram, x, beta=3.4445)
    return x.mT if tall else x
