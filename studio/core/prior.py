"""Where sampling starts: x_T, drawn from a mixture of normal distributions that is fitted to the data.

Noise ends a forward process only in the limit. At a last level that leaves something of the data standing,

    x0 ~ sum_k w_k N(mu_k, C_k)   =>   x_T = alpha x0 + sigma eps ~ sum_k w_k N(alpha mu_k, alpha**2 C_k + sigma**2 I),

so a mixture that is only roughly the data's is close to exact once the noise is on it, and the noise may end sooner: a
few steps are smaller then. A start that knows the data is that of arXiv 2106.06406, a forward process cut short that of
arXiv 2202.09671. Each component is a factor analysis (Bishop, "Pattern Recognition and Machine Learning", section
12.2.4) in the principal directions of all the data: some factors that it varies along, and what is left of the variance
of each direction as noise of its own. The factors are the first principal components of its items.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from studio.core.data.base import Dataset
from studio.core.levels import Level
from studio.core.networks.base import fresh_weights
from studio.core.noise import Noise, Stream

BASIS = 256
"""Principal directions of all the data; what lies across them is noise of one variance a component."""
FACTORS = 64
"""Directions that a component varies along."""
_SEED = 0
_ROUNDS = 25
_LEAST_ITEMS = 32
_MOST_NUMBERS = 60_000_000
"""Of the data, for a fit in seconds: all of MNIST, and a subset of sets that are larger."""
_MOST_ITEMS_OF_BASIS = 10_000


class Prior(nn.Module):
    """A mixture for x0, ``components`` in each class, from which x at any level can be drawn.

    ``classes`` is 0 for data without labels, which are one class here. As buffers, and so in files, with D numbers an
    item, P = min(D, BASIS) and F = min(P, FACTORS): ``class_shares`` (C,) of the data and ``shares`` (C, K) of each
    component in its class; orthonormal ``basis`` (D, P), with zeros for directions that the data do not have; ``means``
    (C, K, D); and the covariance, within the basis ``loadings`` (C, K, P, F) times their transpose and ``own`` (C, K,
    P) on the diagonal, across it ``across`` (C, K).
    """

    class_shares: Tensor
    shares: Tensor
    basis: Tensor
    means: Tensor
    loadings: Tensor
    own: Tensor
    across: Tensor

    def __init__(self, components: int, shape: Sequence[int], classes: int) -> None:
        super().__init__()
        size, parts = math.prod(shape), (max(classes, 1), components)
        width = min(size, BASIS)
        self.register_buffer("class_shares", torch.full(parts[:1], 1.0 / parts[0]))
        self.register_buffer("shares", torch.full(parts, 1.0 / components))
        self.register_buffer("basis", torch.eye(size, width))
        self.register_buffer("means", torch.zeros(*parts, size))
        self.register_buffer("loadings", torch.zeros(*parts, width, min(width, FACTORS)))
        self.register_buffer("own", torch.zeros(*parts, width))
        self.register_buffer("across", torch.zeros(parts))

    @property
    def size(self) -> int:
        """How many numbers it is made of."""
        return sum(buffer.numel() for buffer in self.buffers())

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """As of any module; a prior of another kind raises ValueError, and says so."""
        if state_dict.keys() != self.state_dict().keys():
            raise ValueError("its prior is of another kind than this version of the studio fits: train the model again")
        return super().load_state_dict(state_dict, strict, assign)

    def draw(self, noise: Noise, shape: Sequence[int], level: Level, cond: Tensor | None, index: int = 0) -> Tensor:
        """x at ``level``, (B, *shape): a normal draw of ``noise``, taken where an item's class has its data.

        The component is drawn as well, among those of the class ``cond`` (B,) or, for NO_CLASS, of all classes. Other
        ``index`` make other draws. With sigma > 0, what is drawn is a one-to-one map of the noise.
        """
        alpha, sigma = level
        chosen = self._choose(noise.uniform(index, Stream.COMPONENT), cond)
        eps = noise.normal(shape, index, Stream.START).flatten(1)
        inside = eps @ self.basis
        outside = eps - inside @ self.basis.T
        # Within the basis the covariance is S (I + U U^T) S, with S diagonal. Of I + U U^T, a root is I + U M U^T with
        # M = (I + L)^-1, where L L^T = I + U^T U: a system of F equations, not of P.
        std = (alpha**2 * self.own.flatten(0, 1)[chosen] + sigma**2).clamp(min=1e-8).sqrt()
        loadings = alpha * self.loadings.flatten(0, 1)[chosen] / std[..., None]
        unit = torch.eye(loadings.shape[-1], device=eps.device)
        root = torch.linalg.cholesky(unit + loadings.mT @ loadings)
        factors = torch.linalg.solve_triangular(unit + root, loadings.mT @ inside[..., None], upper=False)
        inside = std * (inside + (loadings @ factors)[..., 0])
        across = (alpha**2 * self.across.flatten()[chosen] + sigma**2).sqrt()[:, None]
        x = alpha * self.means.flatten(0, 1)[chosen] + inside @ self.basis.T + across * outside
        return x.unflatten(1, tuple(shape))

    def _choose(self, uniform: Tensor, cond: Tensor | None) -> Tensor:
        """The component of each item, (B,), as a place among those of all classes."""
        anywhere = _place((self.class_shares[:, None] * self.shares).reshape(1, -1), uniform)
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
    """Fit to a data set's training items: k-means in each class, then a factor analysis of each cluster.

    A class with few items has fewer components, and one without any has those of all items. The same data always give
    the same prior, whatever the seed of the training. Takes seconds, and yields often.
    """
    components = prior.shares.shape[1]
    order = np.random.default_rng(_SEED).permutation(len(dataset.train))
    order = order[: max(_LEAST_ITEMS, _MOST_NUMBERS // math.prod(dataset.shape))]
    labels = None if dataset.train_labels is None else dataset.train_labels[order]
    draw = torch.Generator().manual_seed(_SEED)
    _fit_basis(prior.basis, _as_floats(dataset, order[:_MOST_ITEMS_OF_BASIS]))
    yield
    for number in range(len(prior.shares)):
        own = order if labels is None else order[labels == number]
        items = _as_floats(dataset, own if len(own) else order)
        prior.class_shares[number] = len(own) / len(order)
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


def _fit_basis(basis: Tensor, items: Tensor) -> None:
    """The principal directions (D, P) of items (N, D); all directions as they are where there are no more."""
    size, width = basis.shape
    if size > width:
        basis.zero_()
        with fresh_weights(_SEED):  # the randomised decomposition draws from the global generator
            found = torch.svd_lowrank(items - items.mean(0), min(width + 8, *items.shape), niter=2)[2][:, :width]
        basis[:, : found.shape[1]] = found


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
    """A factor analysis of one cluster's items (N, D): the covariance's first principal factors, and what they leave.

    The variances within the basis and the sum of those across it are the items'.
    """
    mean = items.mean(0)
    centred = items - mean
    inside = (centred @ prior.basis.to(items.device)).double()
    covariance = inside.T @ inside / len(items)
    values, directions = torch.linalg.eigh(covariance)
    factors = prior.loadings.shape[-1]
    loadings = directions[:, -factors:] * values[-factors:].clamp(min=0.0).sqrt()
    prior.means[number, place] = mean
    prior.loadings[number, place] = loadings.float()
    prior.own[number, place] = (covariance.diagonal() - loadings.square().sum(1)).clamp(min=0.0).float()
    if others := len(mean) - len(covariance):
        total = centred.square().sum(1).mean().double()
        prior.across[number, place] = ((total - covariance.trace()).clamp(min=0.0) / others).float()
