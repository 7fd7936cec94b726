"""The preconditioning table and what the denoiser adds to a network."""

from typing import ClassVar

import pytest
import tiny
import torch
from torch import nn

from dualprior.common.errors import UserError
from dualprior.diffusion.denoiser import PREDICTIONS, Denoiser

SIGMAS = torch.tensor([0.01, 0.3, 1.0, 20.0], dtype=torch.float64)


class Stub(nn.Module):
    """A network of a given answer that remembers what it was asked."""

    declared: ClassVar[dict] = {}

    def __init__(self, answer, divisor=1):
        super().__init__()
        self.answer, self.divisor = answer, divisor

    def forward(self, x, log_sigma):
        self.x, self.log_sigma = x, log_sigma
        return self.answer(x)


def noisy_pair(side=64):
    """Unit-variance data and noise, one image for each level: x0, eps, x."""
    rng = torch.Generator().manual_seed(0)
    x0, eps = (torch.randn(len(SIGMAS), 3, side, side, generator=rng, dtype=torch.float64) for _ in range(2))
    return x0, eps, x0 + SIGMAS.view(-1, 1, 1, 1) * eps


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_a_network_that_meets_its_target_gives_the_clean_image(prediction):
    x0, _, x = noisy_pair(8)
    denoise = Denoiser(nn.Identity(), prediction)
    denoise.network = Stub(lambda _: denoise.target(x0, x, SIGMAS))
    torch.testing.assert_close(denoise(x, SIGMAS), x0)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_target_has_unit_variance_for_unit_variance_data(prediction):
    x0, _, x = noisy_pair()
    target = Denoiser(nn.Identity(), prediction).target(x0, x, SIGMAS)
    torch.testing.assert_close(target.var((1, 2, 3)), torch.ones(len(SIGMAS), dtype=torch.float64), rtol=0.05, atol=0)


@pytest.mark.parametrize("prediction", PREDICTIONS)
def test_network_sees_unit_variance_and_the_log_level(prediction):
    _, _, x = noisy_pair()
    network = Stub(torch.zeros_like)
    Denoiser(network, prediction)(x, SIGMAS)
    torch.testing.assert_close(network.x.var((1, 2, 3)), torch.ones(len(SIGMAS), dtype=torch.float64), rtol=0.05, atol=0)
    torch.testing.assert_close(network.log_sigma, SIGMAS.log())


def test_targets_are_what_they_are_named_after():
    x0, eps, x = noisy_pair(8)
    s = SIGMAS.view(-1, 1, 1, 1)
    alpha, sigma = 1 / (1 + s**2).sqrt(), s / (1 + s**2).sqrt()  # the variance-preserving view
    expected = {"eps": eps, "x0": x0, "v": alpha * eps - sigma * x0}
    for prediction, target in expected.items():
        torch.testing.assert_close(Denoiser(nn.Identity(), prediction).target(x0, x, SIGMAS), target)


@pytest.mark.parametrize(("height", "width"), [(13, 16), (16, 9), (5, 7)])
def test_sizes_the_network_does_not_divide_are_padded_and_cropped(height, width):
    network = Stub(lambda x: x, divisor=4)
    x = torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(0))
    out = Denoiser(network, "x0")(x, 1.0)
    assert network.x.shape[-2:] == (-(-height // 4) * 4, -(-width // 4) * 4)
    torch.testing.assert_close(out, x / 2**0.5)  # c_in at sigma = 1


def test_an_image_does_not_depend_on_its_batch_mates():
    denoise, x, sigma = tiny.denoiser(), tiny.images(3), torch.tensor([0.1, 0.5, 3.0])
    alone = torch.cat([denoise(x[i : i + 1], sigma[i : i + 1]) for i in range(3)])
    torch.testing.assert_close(denoise(x, sigma), alone, rtol=1e-5, atol=1e-5)


def test_one_level_is_that_level_for_every_image():
    denoise, x = tiny.denoiser(), tiny.images(2)
    torch.testing.assert_close(denoise(x, 0.5), denoise(x, torch.tensor([0.5, 0.5])), rtol=0, atol=0)


def test_autocast_touches_the_network_only():
    x, network = tiny.images(1), Stub(lambda x: torch.zeros_like(x, dtype=torch.bfloat16))
    out = Denoiser(network, "eps", autocast=torch.bfloat16)(x, 0.01)
    torch.testing.assert_close(out, x, rtol=0, atol=0)


def test_a_condition_is_padded_with_the_image_and_decides_the_answer():
    denoise, x = tiny.denoiser(condition_channels=1), tiny.images(2, 16)[..., :13, :9]
    image = x[:, :1].abs()
    out = denoise(x, 0.5, {"image": image})
    assert out.shape == x.shape
    assert (denoise(x, 0.5, {"image": 1 - image}) - out).abs().max() > 1e-3


@pytest.mark.parametrize(
    "cond", [None, {"image": torch.zeros(1, 1, 16, 16)}, {"image": torch.zeros(2, 1, 8, 8)}, {"label": torch.zeros(2)}]
)
def test_a_condition_that_is_missing_or_misshapen_is_one_line_of_error(cond):
    with pytest.raises(UserError, match=r"condition must be image \[2, 1, 16, 16\]; given is"):
        tiny.denoiser(condition_channels=1)(tiny.images(2, 16), 0.5, cond)


def test_a_condition_that_the_network_has_no_use_for_is_refused():
    with pytest.raises(UserError, match="condition must be none; given is image"):
        tiny.denoiser()(tiny.images(1), 0.5, {"image": tiny.images(1)})
