"""Guidance by an image: the weight at its limits, and the mean of two Gaussians between them."""

import pytest
import torch

from dualprior.diffusion.guidance import towards


def same(x0, sigma):
    return x0


X0, IMAGE = torch.zeros(2, 3, 4, 4), torch.ones(2, 3, 4, 4)
ERROR = torch.tensor([0.1, 0.3])


def weight(gamma: float, sigma: float) -> torch.Tensor:
    return towards(IMAGE, ERROR, gamma, same)(X0, torch.full((1, 1, 1, 1), sigma))[:, 0, 0, 0]


@pytest.mark.parametrize("sigma", [0.05, 0.2, 1.0])
def test_full_guidance_weighs_by_inverse_variances(sigma):
    """The mean of the guess (error sigma) and the image (error e), each over its variance."""
    precision_guess, precision_image = 1 / sigma**2, 1 / ERROR**2
    torch.testing.assert_close(weight(1.0, sigma), precision_image / (precision_image + precision_guess))


def test_no_guidance_leaves_the_guess_alone():
    torch.testing.assert_close(weight(0.0, 1.0), torch.zeros(2), rtol=0, atol=0)


def test_the_guide_lets_go_as_the_noise_falls():
    assert (weight(1.0, 50.0) > 0.99).all()
    assert (weight(1.0, 1e-3) < 1e-3).all()


def test_data_consistency_comes_last():
    def set_corner(x0, sigma):
        x0 = x0.clone()
        x0[..., 0, 0] = 7.0
        return x0

    guided = towards(IMAGE, ERROR, 1.0, set_corner)(X0, torch.full((1, 1, 1, 1), 0.2))
    assert (guided[..., 0, 0] == 7).all()
    assert (guided[..., 1, 1] < 1).all()
