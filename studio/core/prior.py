"""Where sampling starts: x_T, drawn from a mixture of normal distributions that is fitted to the data.

Noise ends a forward process only in the limit. At a last level that leaves something of the data standing,

    x0 ~ sum_k w_k N(mu_k, C_k)   =>   x_T = alpha x0 + sigma eps ~ sum_k w_k N(alpha mu_k, alpha**2 C_k + sigma**2 I),

so a mixture that is only roughly the data's is close to exact once the noise is on it, and the noise may end sooner: a
few steps are smaller then. A start that knows the data is that of arXiv 2106.06406, a forward process cut short that of
arXiv 2202.09671. The components are probabilistic principal components (Tipping and Bishop 1999): a few directions with
variances of their own, and one variance for all the others.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from studio.core.data.base import Dataset
from studio.core.levels import Level
from studio.core.networks.base import fresh_weights
from studio.core.noise import Noise, Stream

RANK = 16
"""Directions of a component that have a variance of their own."""
_SEED = 0
_ROUNDS = 25
_LEAST_ITEMS = 2 * RANK
_MOST_NUMBERS = 60_000_000
"""Of the data, for a fit in seconds: all of MNIST, and a subset of sets that are larger."""


class Prior(nn.Module):
    """A mixture for x0, ``components`` in each class, from which x at any level can be drawn.

    ``classes`` is 0 for data without labels, which are one class here. As buffers, and so in files: ``of_all`` (C,) is
    each class's share of the data and ``shares`` (C, K) each component's of its class; ``means`` (C, K, D),
    orthonormal ``directions`` (C, K, D, R), ``variances`` (C, K, R) along them and ``rest`` (C, K) across them, with D
    numbers an item and R = min(D, RANK).
    """

    of_all: Tensor
    shares: Tensor
    means: Tensor
    directions: Tensor
    variances: Tensor
    rest: Tensor

    def __init__(self, components: int, shape: Sequence[int], classes: int) -> None:
        super().__init__()
        size, parts = math.prod(shape), (max(classes, 1), components)
        rank = min(size, RANK)
        self.register_buffer("of_all", torch.full(parts[:1], 1.0 / parts[0]))
        self.register_buffer("shares", torch.full(parts, 1.0 / components))
        self.register_buffer("means", torch.zeros(*parts, size))
        self.register_buffer("directions", torch.zeros(*parts, size, rank))
        self.register_buffer("variances", torch.zeros(*parts, rank))
        self.register_buffer("rest", torch.zeros(parts))

    @property
    def size(self) -> int:
        """How many numbers it is made of."""
        return sum(buffer.numel() for buffer in self.buffers())

    def draw(self, noise: Noise, shape: Sequence[int], level: Level, cond: Tensor | None) -> Tensor:
        """x at ``level``, (B, *shape): a normal draw of ``noise``, taken where an item's class has its data.

        The component is drawn as well, among those of the class ``cond`` (B,) or, for NO_CLASS, of all classes.
        """
        alpha, sigma = level
        chosen = self._choose(noise.uniform(0, Stream.COMPONENT), cond)
        eps = noise.normal(shape, 0, Stream.START).flatten(1)
        directions = self.directions.flatten(0, 1)[chosen]
        across = (alpha**2 * self.rest.flatten()[chosen] + sigma**2).sqrt()[:, None]
        along = (alpha**2 * self.variances.flatten(0, 1)[chosen] + sigma**2).sqrt()
        inside = torch.einsum("bd,bdr->br", eps, directions)
        shaped = across * eps + torch.einsum("br,bdr->bd", (along - across) * inside, directions)
        return (alpha * self.means.flatten(0, 1)[chosen] + shaped).unflatten(1, tuple(shape))

    def _choose(self, uniform: Tensor, cond: Tensor | None) -> Tensor:
        """The component of each item, (B,), as a place among those of all classes."""
        anywhere = _place((self.of_all[:, None] * self.shares).reshape(1, -1), uniform)
        if cond is None:
            return anywhere
        known = cond.clamp(min=0)
        within = known * self.shares.shape[1] + _place(self.shares[known], uniform)
        return torch.where(cond < 0, anywhere, within)


def _place(shares: Tensor, uniform: Tensor) -> Tensor:
    """Which of the parts (B, K), or (1, K), each number (B,) in (0, 1] falls into, (B,); in none that is empty."""
    sums = shares.cumsum(1)
    return (sums / sums[:, -1:] < uniform[:, None]).sum(1)


def fit(prior: Prior, dataset: Dataset) -> Iterator[None]:
    """Fit to a data set's training items: k-means in each class, then each cluster's principal components.

    A class with few items has fewer components, and one without any has those of all items. The same data always give
    the same prior, whatever the seed of the training. Takes seconds, and yields often.
    """
    components = prior.shares.shape[1]
    order = np.random.default_rng(_SEED).permutation(len(dataset.train))
    order = order[: max(_LEAST_ITEMS, _MOST_NUMBERS // math.prod(dataset.shape))]
    labels = None if dataset.train_labels is None else dataset.train_labels[order]
    draw = torch.Generator().manual_seed(_SEED)
    for number in range(len(prior.shares)):
        own = order if labels is None else order[labels == number]
        items = _as_floats(dataset, own if len(own) else order)
        prior.of_all[number] = len(own) / len(order)
        count = max(1, min(components, len(items) // _LEAST_ITEMS))
        nearest = yield from _clusters(items, count, draw)
        for place in range(components):
            cluster = items[nearest == place]
            prior.shares[number, place] = len(cluster) / len(items)
            if len(cluster):
                _fit_component(prior, number, place, cluster)
            yield
    # Files keep half precision: what is trained with is what will be loaded.
    for buffer in prior.buffers():
        buffer.copy_(buffer.half())


def _as_floats(dataset: Dataset, indices: np.ndarray) -> Tensor:
    items = torch.from_numpy(dataset.train[indices]).float().flatten(1)
    return items / 127.5 - 1.0 if dataset.kind == "image" else items


def _clusters(items: Tensor, count: int, draw: torch.Generator) -> Generator[None, None, Tensor]:
    """Which of ``count`` clusters each item (N, D) belongs to, (N,), by k-means from random items.

    A few items by themselves, which a component would only repeat, join the clusters that are large enough. Yields
    after every round.
    """
    centres = items[torch.randperm(len(items), generator=draw)[:count]]
    nearest = torch.zeros(len(items), dtype=torch.int64)
    for _ in range(_ROUNDS if count > 1 else 0):
        nearest = torch.cdist(items, centres).argmin(1)
        own = nn.functional.one_hot(nearest, count).float()
        counts = own.sum(0)[:, None]
        centres = torch.where(counts > 0.0, own.T @ items / counts.clamp(min=1.0), centres)
        yield
    large = torch.bincount(nearest, minlength=count) >= _LEAST_ITEMS
    if count == 1 or large.all():
        return nearest
    return torch.cdist(items, centres[large]).argmin(1)


def _fit_component(prior: Prior, number: int, place: int, items: Tensor) -> None:
    """Probabilistic principal components of one cluster's items (N, D), by their singular values."""
    mean = items.mean(0)
    centred = items - mean
    rank = min(len(items), prior.variances.shape[-1])
    with fresh_weights(_SEED):  # the randomised decomposition draws from the global generator
        values, directions = torch.svd_lowrank(centred, min(rank + 8, *centred.shape), niter=4)[1:]
    variances = values[:rank].square() / len(items)
    others = centred.shape[1] - rank
    prior.means[number, place] = mean
    prior.directions[number, place, :, :rank] = directions[:, :rank]
    prior.variances[number, place, :rank] = variances
    if others:
        total = centred.square().sum(1).mean()
        prior.rest[number, place] = (total - variances.sum()).clamp(min=0.0) / others
