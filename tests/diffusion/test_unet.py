"""The DDPM's network."""

import pytest
import tiny
import torch

from dualprior.diffusion.unet import UNet


def test_a_fresh_network_says_zero():
    assert UNet(**tiny.NETWORK)(torch.randn(2, 3, 8, 8), torch.zeros(2)).abs().max() == 0


@pytest.mark.parametrize(("multipliers", "patch", "divisor"), [((1,), 1, 1), ((1,), 2, 2), ((1, 2), 2, 4), ((1, 1, 2), 1, 4)])
def test_divisor_counts_the_folding_and_the_levels(multipliers, patch, divisor):
    network = tiny.unet(multipliers=multipliers, patch=patch)
    assert network.divisor == divisor
    assert network(torch.randn(2, 3, 3 * divisor, 5 * divisor), torch.zeros(2)).shape == (2, 3, 3 * divisor, 5 * divisor)


def test_every_weight_is_used():
    network = tiny.unet()
    network(tiny.images(2), torch.tensor([-1.0, 1.0])).square().sum().backward()
    assert [name for name, weight in network.named_parameters() if not weight.grad.abs().max() > 0] == []


def test_the_noise_level_matters():
    network, x = tiny.unet(), tiny.images(1)
    assert (network(x, torch.tensor([-3.0])) - network(x, torch.tensor([1.0]))).abs().max() > 1e-3


def test_shifting_the_image_by_the_divisor_shifts_the_answer():
    network = tiny.unet()
    x = torch.randn(1, 3, 100, 100, generator=torch.Generator().manual_seed(0))
    here, there = (network(part, torch.zeros(1)) for part in (x[..., :-4, :-4], x[..., 4:, 4:]))
    torch.testing.assert_close(here[..., 44:52, 44:52], there[..., 40:48, 40:48], rtol=1e-4, atol=1e-5)


def test_detail_passes_by_the_coarse_levels():
    """With nothing coming up from the half-size level, the answer still depends on the image."""
    network, x = tiny.unet(), tiny.images(2)
    torch.nn.init.zeros_(network.grow[0].weight)
    first, second = network(x, torch.zeros(2))
    assert (first - second).abs().max() > 1e-3
