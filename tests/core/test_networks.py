"""Networks: every legal size works, levels and classes reach the output, and nothing leaks between items."""

from __future__ import annotations

import pytest
import torch

from studio.core.networks.base import fresh_weights, num_parameters
from studio.core.networks.mlp import MLPSpec
from studio.core.networks.unet import UNetSpec


def awake(network: torch.nn.Module) -> torch.nn.Module:
    """The network with every weight drawn, also those that start at zero."""
    generator = torch.Generator().manual_seed(1)
    for parameter in network.parameters():
        parameter.data.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
    return network.eval()


@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize("width", [8, 24, 40, 56, 88, 104])
def test_every_width_and_odd_sizes(width: int, depth: int) -> None:
    network = awake(UNetSpec(width=width, depth=depth).build((1, 13, 10), 0))
    with torch.no_grad():
        out = network(torch.randn(2, 1, 13, 10), torch.zeros(2))
    assert out.shape == (2, 1, 13, 10)
    assert out.isfinite().all()
    assert out.std() > 0.0


@pytest.mark.parametrize(
    "spec",
    [
        UNetSpec(),
        UNetSpec(width=24, depth=3, blocks=2, middle=2, patch=1, attention=False),
        UNetSpec(width=16, depth=1, patch=4),
        MLPSpec(),
        MLPSpec(width=24, blocks=5),
    ],
)
@pytest.mark.parametrize("classes", [0, 7])
def test_parameters_are_counted_without_building(spec: UNetSpec | MLPSpec, classes: int) -> None:
    for shape in ((1, 28, 28), (3, 9, 9)) if spec.kind == "image" else ((1,), (2,)):
        assert spec.count(shape, classes) == num_parameters(spec.build(shape, classes))


@pytest.mark.parametrize("spec", [UNetSpec(width=8), MLPSpec(width=16, blocks=2)])
def test_level_and_class_matter_and_items_do_not_mix(spec: UNetSpec | MLPSpec) -> None:
    shape = (3, 8, 8) if spec.kind == "image" else (2,)
    network = awake(spec.build(shape, 5))
    x = torch.randn(4, *shape, generator=torch.Generator().manual_seed(2))
    log_snr, cond = torch.tensor([-3.0, 0.0, 2.0, 5.0]), torch.tensor([0, 1, -1, 4])
    with torch.no_grad():
        whole = network(x, log_snr, cond)
        for index in range(4):
            part = slice(index, index + 1)
            torch.testing.assert_close(network(x[part], log_snr[part], cond[part]), whole[part], atol=1e-4, rtol=1e-4)
        assert not torch.allclose(network(x, log_snr + 1.0, cond), whole)
        assert not torch.allclose(network(x, log_snr, (cond + 1) % 5), whole)
        none = torch.full_like(cond, -1)
        assert torch.equal(network(x, log_snr, none), network(x, log_snr, None))


@pytest.mark.parametrize("spec", [UNetSpec(width=8), MLPSpec(width=16)])
def test_a_fresh_network_says_nothing_yet(spec: UNetSpec | MLPSpec) -> None:
    """Its raw output is 0, which under EDM's coefficients is already the best linear guess."""
    shape = (1, 8, 8) if spec.kind == "image" else (2,)
    with fresh_weights(0):
        network = spec.build(shape, 0)
    assert not network(torch.randn(3, *shape), torch.zeros(3)).any()


@pytest.mark.parametrize("spec", [UNetSpec(width=8), MLPSpec(width=16)])
def test_muon_gets_only_matrices_between_hidden_layers(spec: UNetSpec | MLPSpec) -> None:
    network = spec.build((1, 8, 8) if spec.kind == "image" else (2,), 3)
    hidden = {id(weight) for weight in network.hidden_matrices()}
    names = {name for name, weight in network.named_parameters() if id(weight) in hidden}
    assert names
    assert not any(name.startswith(("enter", "leave", "embedding")) or name.endswith("bias") for name in names)


def test_a_width_that_groups_cannot_divide_is_refused() -> None:
    with pytest.raises(ValueError, match="a multiple of 8"):
        UNetSpec(width=33)
