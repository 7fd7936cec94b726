"""The deep decoder and the plain U-Net: N fits side by side, as with the skip network (test_skip)."""

import pytest
import tiny
import torch

from dualprior.common.errors import UserError
from dualprior.common.seeding import generator
from dualprior.degradation.operators import Identity
from dualprior.dip import fit as dip
from dualprior.dip.networks.decoder import DeepDecoder
from dualprior.dip.networks.unet import PlainUNet

NAMES = ["a", "b", "c"]
NETWORKS = {"decoder": DeepDecoder, "hourglass": PlainUNet}


def build(kind, names, channels=(6, 5)):
    return NETWORKS[kind](channels, 4, [generator(0, "dip-weights", name) for name in names])


def inputs(count=3, side=tiny.SIDE):
    return torch.randn(count, 4, side, side, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", NETWORKS)
def test_side_by_side_is_one_by_one(kind):
    z = inputs()
    alone = torch.cat([build(kind, [name])(z[i : i + 1]) for i, name in enumerate(NAMES)])
    torch.testing.assert_close(build(kind, NAMES)(z), alone, rtol=1e-5, atol=1e-5)
    assert (alone[0] - alone[1]).abs().max() > 1e-3


@pytest.mark.parametrize("kind", NETWORKS)
def test_an_output_depends_on_its_own_input_only(kind):
    z = inputs().requires_grad_()
    build(kind, NAMES)(z)[1].square().sum().backward()
    assert z.grad[1].abs().max() > 0
    assert z.grad[[0, 2]].abs().max() == 0


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("channels", [(4,), (4, 6), (4, 2, 6)])
def test_output_has_the_size_of_the_image(kind, channels):
    assert build(kind, NAMES, channels)(inputs()).shape == (3, 3, 16, 16)


@pytest.mark.parametrize("kind", NETWORKS)
def test_it_fits_a_picture(kind):
    y, z = tiny.images(3), inputs()
    settings = {"lr": 0.03, "input_noise": 0.0, "ema": 0.0, "seed": 0}
    steps = list(dip.fit(build(kind, NAMES, (8, 8)), z, Identity(), y, names=NAMES, steps=150, **settings))
    assert (steps[-1].loss < 0.1 * steps[0].loss).all()


@pytest.mark.parametrize(("kind", "side"), [("decoder", 20), ("decoder", 8), ("hourglass", 18), ("hourglass", 4)])
def test_a_size_that_does_not_fit_is_refused(kind, side):
    unit = {"decoder": 8, "hourglass": 4}[kind]
    message = f"an image of {side} x {side} pixels does not fit 3 .* dip.network.channels or .* multiple of {unit} above it"
    with pytest.raises(UserError, match=message):
        build(kind, ["a"], (4, 4, 4))(inputs(1, side))


# --- what sets each apart -----------------------------------------------------------------------------------


def test_a_deep_decoder_has_the_weights_of_its_paper():
    """k_in k + k k + 3 k for the mixing (no kernel wider than a pixel), here with biases, and 2 for every normalised channel."""
    k, k_in = 6, 4
    mixing = (k_in * k + k) + (k * k + k) + (3 * k + 3)
    assert sum(p.numel() for p in build("decoder", ["a"], (k, k)).parameters()) == mixing + 2 * 2 * k


def test_a_deep_decoder_sees_block_means_only():
    z, network = inputs(), build("decoder", NAMES)
    shuffled = z.clone()
    shuffled[..., 0, 0], shuffled[..., 1, 1] = z[..., 1, 1], z[..., 0, 0]  # within one block of 4 x 4
    torch.testing.assert_close(network(shuffled), network(z), rtol=1e-4, atol=1e-5)


def test_a_deep_decoder_resists_noise_more_than_a_u_net():
    """Heckel & Hand 2019, Fig. 2: after the same steps on pure noise it has explained less of it."""
    noise = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(3))
    left = {}
    for kind in NETWORKS:
        *_, last = dip.fit(
            build(kind, NAMES[:2], (8, 8)),
            inputs(2),
            Identity(),
            noise,
            names=NAMES[:2],
            steps=200,
            lr=0.01,
            input_noise=0.0,
            ema=0.0,
            seed=0,
        )
        left[kind] = float(last.loss.mean())
    assert left["decoder"] > 1.5 * left["hourglass"]
