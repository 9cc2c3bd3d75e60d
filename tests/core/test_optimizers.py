"""Muon: orthogonal updates, one rate for all shapes."""

from __future__ import annotations

import pytest
import torch

from studio.core.optimizers import Muon, orthogonalize, set_rate


@pytest.mark.parametrize("shape", [(3, 16, 40), (2, 40, 16), (1, 32, 32)])
def test_singular_values_come_near_one(shape: tuple[int, int, int]) -> None:
    matrices = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    before, after = torch.linalg.svdvals(matrices), torch.linalg.svdvals(orthogonalize(matrices))
    assert before.max() / before.min() > 2.0
    assert float(after.min()) > 0.5
    assert float(after.max()) < 1.3


def test_singular_vectors_stay() -> None:
    u, _, vt = torch.linalg.svd(torch.randn(12, 20, generator=torch.Generator().manual_seed(1)), full_matrices=False)
    skewed = u @ torch.diag(torch.linspace(0.2, 3.0, 12)) @ vt
    inner = u.mT @ orthogonalize(skewed.unsqueeze(0))[0] @ vt.mT
    off = inner - torch.diag(inner.diagonal())
    assert float(off.abs().max()) < 1e-3


def test_equal_shapes_in_one_product_are_as_each_alone() -> None:
    matrices = torch.randn(4, 8, 24, generator=torch.Generator().manual_seed(2))
    each = torch.stack([orthogonalize(matrix.unsqueeze(0))[0] for matrix in matrices])
    torch.testing.assert_close(orthogonalize(matrices), each, atol=1e-4, rtol=1e-4)


def test_first_step_follows_the_gradient_at_the_rate() -> None:
    weight = torch.nn.Parameter(torch.zeros(6, 2, 3, 3))
    weight.grad = torch.randn(weight.shape, generator=torch.Generator().manual_seed(3))
    optimizer = Muon([weight], lr=0.1, momentum=0.9)
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
    set_rate([optimizer], 0.5)
    optimizer.step()
    expected = -0.05 * orthogonalize(weight.grad.reshape(1, 6, 18)).view_as(weight)
    torch.testing.assert_close(weight.data, expected, atol=1e-5, rtol=1e-4)
