"""Noise of several kinds has the moments it should, image by image."""

import math

import pytest
import tiny
import torch

from dualprior.common.errors import UserError
from dualprior.common.seeding import generator
from studies.stopping import degrade


def rngs(count, name="noise"):
    return [generator(0, name, i) for i in range(count)]


def flat(value, side=200):
    return torch.full((1, 3, side, side), value)


@pytest.mark.parametrize("level", [0, 15, 50])
def test_gaussian_noise_is_measured_in_grey_levels(level):
    y = degrade.gaussian(flat(0.2), level, rngs(1))
    assert y.std().item() == pytest.approx(2 * level / 255, rel=0.01, abs=1e-6)
    assert y.mean().item() == pytest.approx(0.2, abs=0.005)


@pytest.mark.parametrize("value", [-1.0, -0.5, 0.0, 1.0])
@pytest.mark.parametrize("peak", [4.0, 60.0])
def test_poisson_noise_keeps_the_mean_and_its_variance_grows_with_brightness(value, peak):
    y = degrade.poisson(flat(value), peak, rngs(1))
    variance = 4 * ((value + 1) / 2) / peak
    assert y.mean().item() == pytest.approx(value, abs=6 * math.sqrt(variance / y.numel()) + 1e-6)
    assert y.var().item() == pytest.approx(variance, rel=0.03, abs=1e-9)
    counts = (y + 1) / 2 * peak
    torch.testing.assert_close(counts, counts.round(), rtol=0, atol=1e-3)


def test_impulses_hit_their_share_half_black_half_white():
    y = degrade.impulses(flat(0.2), 0.1, rngs(1))
    for value in (-1.0, 1.0):
        assert (y == value).float().mean().item() == pytest.approx(0.05, abs=0.003)
    assert set(y.unique().tolist()) == {-1.0, 1.0, flat(0.2)[0, 0, 0, 0].item()}


@pytest.mark.parametrize(("kind", "level"), [(degrade.gaussian, 25), (degrade.poisson, 30), (degrade.impulses, 0.1)])
def test_the_noise_of_an_image_is_its_own(kind, level):
    x = tiny.images(3)
    torch.testing.assert_close(kind(x, level, rngs(3))[:1], kind(x[:1], level, rngs(1)), rtol=0, atol=0)
    same = x[:1].expand(2, -1, -1, -1)
    first, second = kind(same, level, rngs(2))
    assert (first != second).any()


@pytest.mark.parametrize(
    ("kind", "level", "message"),
    [
        (degrade.gaussian, -1, "level -1 is outside 0 to 255"),
        (degrade.poisson, 0, "peak 0 has no photons"),
        (degrade.impulses, 1.0, "share of 1 of the values leave no picture"),
        (degrade.impulses, -0.1, "share of -0.1"),
    ],
)
def test_a_level_that_makes_no_sense_is_refused(kind, level, message):
    with pytest.raises(UserError, match=message):
        kind(tiny.images(1), level, rngs(1))
