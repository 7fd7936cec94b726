"""A photograph as a measurement: noise of grey pictures, noise levels."""

import logging

import pytest
import tiny
import torch

from dualprior.common.errors import UserError
from dualprior.photograph.damage import Damage, coloured


def noisy(sigma, side=96, channels=3):
    smooth = torch.nn.functional.interpolate(tiny.images(1, 12)[:, :channels], size=side, mode="bicubic").clamp(-0.8, 0.8)
    return smooth + sigma * torch.randn(smooth.shape, generator=torch.Generator().manual_seed(0))


def test_grey_noise_becomes_white_in_colours_and_the_grey_stays():
    measured = Damage("denoise", 25).measured(torch.zeros(1, 1, 200, 200) + noisy(0.3, 200, 1) * 0, 0.3, "a")
    grey = 0.3 * torch.randn(1, 1, 200, 200, generator=torch.Generator().manual_seed(1))
    found = coloured(measured._replace(y=grey), 0)
    assert found.sigma_y == pytest.approx(0.3 * 3**0.5)
    torch.testing.assert_close(found.y.mean(1, keepdim=True), grey)
    covariance = torch.cov(found.y[0].flatten(1))
    torch.testing.assert_close(covariance, 3 * 0.09 * torch.eye(3), atol=0.01, rtol=0)


def test_a_colour_measurement_is_left_as_it_is():
    measured = Damage("denoise", 25).measured(noisy(0.3), 0.3, "a")
    assert coloured(measured, 0) is measured


def test_the_level_is_given_or_estimated():
    assert Damage("denoise", 51).level(noisy(0.1)) == pytest.approx(0.4)
    assert Damage("denoise").level(noisy(0.3)) == pytest.approx(0.3, rel=0.05)
    assert Damage("sr").level(noisy(0.3)) == 0
    with pytest.raises(UserError, match="no noise is found"):
        Damage("denoise").level(torch.zeros(1, 3, 32, 32))


def test_uneven_and_clipped_noise_are_told(caplog):
    base = torch.linspace(-0.5, 0.5, 96).view(1, 1, 1, 96).expand(1, 3, 96, 96)
    draw = torch.randn(1, 3, 96, 96, generator=torch.Generator().manual_seed(0))
    with caplog.at_level(logging.WARNING):
        Damage("denoise").level(base + 0.1 * draw)
        assert not caplog.records
        Damage("denoise").level(base + 0.1 * (1 + 2 * (base + 0.5)) * draw)
        assert "as strong in bright parts" in caplog.text
        Damage("denoise").level((2 * base + 0.3 * draw).clamp(-1, 1))
        assert "black or white" in caplog.text


def test_a_piece_has_its_own_part_of_the_mask():
    known = tiny.mask(1, 0.5, 40)
    piece = Damage("inpaint", known=known).measured(torch.zeros(1, 3, 8, 6), 0, "a", slice(4, 12), slice(10, 16))
    torch.testing.assert_close(piece.op.mask, known[..., 4:12, 10:16])
    assert Damage("sr", scale=3).measured(torch.zeros(1, 3, 8, 6), 0, "a").size == (24, 18)


def test_a_padded_picture_is_mirrored_with_its_mask():
    known = tiny.mask(1, 0.5, 16)[..., :13, :]
    damage, y = Damage("inpaint", known=known).padded(noisy(0.1, 16)[..., :13, :])
    assert (y.shape[-2:], damage.known.shape[-2:]) == ((16, 16), (16, 16))
    torch.testing.assert_close(y[..., 13:, :], y[..., 9:12, :].flip(-2))
    torch.testing.assert_close(damage.known[..., 13:, :], known[..., 9:12, :].flip(-2))
