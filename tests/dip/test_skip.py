"""The skip network: N fits side by side."""

import pytest
import tiny
import torch

from dualprior.common.errors import UserError
from dualprior.dip.networks.batched_layers import PixelNorm

NAMES = ["a", "b", "c"]


def inputs(count=3, side=tiny.SIDE):
    return torch.randn(count, 4, side, side, generator=torch.Generator().manual_seed(0))


def test_side_by_side_is_one_by_one():
    z = inputs()
    alone = torch.cat([tiny.skipnet([name])(z[i : i + 1]) for i, name in enumerate(NAMES)])
    torch.testing.assert_close(tiny.skipnet(NAMES)(z), alone, rtol=1e-5, atol=1e-5)


def test_an_output_depends_on_its_own_input_only():
    z = inputs().requires_grad_()
    tiny.skipnet(NAMES)(z)[1].square().sum().backward()
    assert z.grad[1].abs().max() > 0
    assert z.grad[[0, 2]].abs().max() == 0


def test_names_give_different_weights():
    z = inputs(1).expand(2, -1, -1, -1)
    first, second = tiny.skipnet(["a", "b"])(z)
    assert (first - second).abs().max() > 1e-3


@pytest.mark.parametrize("channels", [(4,), (4, 4), (4, 2, 6)])
@pytest.mark.parametrize("skip_channels", [0, 1, 3])
def test_output_has_the_size_of_the_image(channels, skip_channels):
    network = tiny.skipnet(NAMES, channels=channels, skip_channels=skip_channels)
    assert network(inputs(3, 16)).shape == (3, 3, 16, 16)


def test_every_weight_that_a_normalisation_does_not_undo_is_used():
    network = tiny.skipnet(NAMES)
    network(inputs()).square().sum().backward()
    assert [name for name, weight in network.named_parameters() if "conv.bias" not in name and not weight.grad.abs().max() > 0] == []


def test_pixel_norm_is_over_the_pixels_of_a_channel():
    x = 3 + 2 * torch.randn(1, 5, 32, 32, generator=torch.Generator().manual_seed(0))
    out = PixelNorm(5)(x)
    torch.testing.assert_close(out.mean((0, 2, 3)), torch.zeros(5), rtol=0, atol=1e-5)
    torch.testing.assert_close(out.var((0, 2, 3), correction=0), torch.ones(5), rtol=1e-4, atol=0)


@pytest.mark.parametrize("side", [20, 8])
def test_a_size_that_does_not_fit_the_scales_is_refused(side):
    message = f"an image of {side} x {side} pixels does not fit 3 scales; take entries out of dip.network.channels or .* multiple of 8"
    with pytest.raises(UserError, match=message):
        tiny.skipnet(["a"], channels=(4, 4, 4))(inputs(1, side))
