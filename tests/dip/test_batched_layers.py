"""The layers of N fits side by side: how they lie in memory, and what that may not change."""

import pytest
import tiny
import torch
from torch.nn.functional import conv2d
from torch.utils._python_dispatch import TorchDispatchMode

from dualprior.common.seeding import generator
from dualprior.degradation.operators import Identity
from dualprior.dip import fit as dip
from dualprior.dip.networks.batched_layers import BatchedConv, join, one_by_one, side_by_side

NAMES = ["a", "b", "c"]
NETWORKS = {
    "skip": {"channels": [4, 6], "skip_channels": 4},
    "unet": {"channels": [4, 6]},
    "decoder": {"channels": [4, 6]},
}


def images(channels, count=3, side=8):
    return torch.randn(count, channels, side, side, generator=torch.Generator().manual_seed(channels))


class Layouts(TorchDispatchMode):
    """Collects whether the images that a convolution is given, forwards and backwards, lie pixel by pixel."""

    def __init__(self):
        super().__init__()
        self.measured = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        given = {"aten::convolution": args[:1], "aten::convolution_backward": args[:2]}.get(func._schema.name, ())
        self.measured += [(func._schema.name, image.shape[1], image.is_contiguous(memory_format=torch.channels_last)) for image in given]
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("autocast", [None, torch.bfloat16])
@pytest.mark.parametrize("kind", NETWORKS)
def test_every_convolution_is_given_pixels_in_one_piece(kind, autocast):
    """But for the gradient of the image itself, of three channels, which comes as the loss sees it."""
    network = dip.build(kind, 0, NAMES, input_channels=4, **NETWORKS[kind])
    z = dip.network_input(0, NAMES, 4, (tiny.SIDE, tiny.SIDE))
    with Layouts() as layouts:
        settings = {"lr": 0.01, "input_noise": 0.03, "ema": 0.9, "seed": 0, "autocast": autocast}
        next(dip.fit(network, z, Identity(), tiny.images(3), names=NAMES, steps=1, **settings))
    assert {name for name, *_ in layouts.measured} == {"aten::convolution", "aten::convolution_backward"}
    assert [channels for *_, channels, in_one_piece in layouts.measured if not in_one_piece] == [3 * len(NAMES)]


def test_many_networks_in_rows_are_each_what_they_are_alone():
    names = [f"image{i}" for i in range(dip.CHUNK + 3)]
    z = dip.network_input(0, names, 4, (8, 8))
    many = dip.build("skip", 0, names, input_channels=4, **NETWORKS["skip"])
    assert [row.count for row in many.rows] == [dip.CHUNK, 3]
    alone = [dip.build("skip", 0, [name], input_channels=4, **NETWORKS["skip"])(z[i : i + 1]) for i, name in enumerate(names)]
    torch.testing.assert_close(many(z), torch.cat(alone), rtol=1e-5, atol=1e-5)


def test_networks_put_side_by_side_come_back():
    x = images(5)
    assert torch.equal(one_by_one(side_by_side(x), 3), x)


def test_channels_are_joined_network_by_network():
    a, b = images(2), images(5)
    assert torch.equal(one_by_one(join(side_by_side(a), side_by_side(b), 3), 3), torch.cat([a, b], dim=1))


@pytest.mark.parametrize("kernel", [1, 3])
@pytest.mark.parametrize("stride", [1, 2])
def test_a_grouped_convolution_is_each_network_s_own(kernel, stride):
    x, conv = images(4), BatchedConv(4, 6, kernel, [generator(0, "dip-weights", name) for name in NAMES], stride)
    own = [conv2d(x[i : i + 1], w, stride=stride, padding=kernel // 2) for i, w in enumerate(conv.weight.chunk(3))]
    torch.testing.assert_close(one_by_one(conv(side_by_side(x)), 3), torch.cat(own), rtol=1e-5, atol=1e-5)
