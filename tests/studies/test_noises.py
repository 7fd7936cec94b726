"""Photon noise has the moments it should, image by image."""

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


@pytest.mark.parametrize("value", [-1.0, -0.5, 0.0, 1.0])
@pytest.mark.parametrize("peak", [4.0, 60.0])
def test_poisson_noise_keeps_the_mean_and_its_variance_grows_with_brightness(value, peak):
    y = degrade.poisson(flat(value), peak, rngs(1))
    variance = 4 * ((value + 1) / 2) / peak
    assert y.mean().item() == pytest.approx(value, abs=6 * math.sqrt(variance / y.numel()) + 1e-6)
    assert y.var().item() == pytest.approx(variance, rel=0.03, abs=1e-9)
    counts = (y + 1) / 2 * peak
    torch.testing.assert_close(counts, counts.round(), rtol=0, atol=1e-3)


def test_the_noise_of_an_image_is_its_own():
    x = tiny.images(3)
    torch.testing.assert_close(degrade.poisson(x, 30, rngs(3))[:1], degrade.poisson(x[:1], 30, rngs(1)), rtol=0, atol=0)
    first, second = degrade.poisson(x[:1].expand(2, -1, -1, -1), 30, rngs(2))
    assert (first != second).any()


def test_a_peak_without_photons_is_refused():
    with pytest.raises(UserError, match="peak 0 has no photons"):
        degrade.poisson(tiny.images(1), 0, rngs(1))
