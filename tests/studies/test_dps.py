"""DPS against the plain ancestral chain, and one of its steps against the gradient in closed form."""

import pytest
import tiny
import torch

from dualprior.common.seeding import ImageNoise
from dualprior.degradation.operators import Identity
from dualprior.diffusion.samplers import ddpm_split, last, reverse
from dualprior.diffusion.schedule import few_step_grid
from studies.hybrid.posterior_sampling import dps
from studies.theory.gaussian_theory import gaussian_denoiser

SIGMAS = few_step_grid(2.0, 6)
NAMES = ["a", "b"]


def noise():
    return ImageNoise(0, "dps", NAMES)


def start() -> torch.Tensor:
    return 2.0 * ImageNoise(1, "start", NAMES)(torch.zeros(2, 3, tiny.SIDE, tiny.SIDE))


def test_without_strength_it_is_the_ancestral_chain():
    denoise = gaussian_denoiser(0.1, 0.3)
    ours = last(dps(denoise, start(), SIGMAS, Identity(), torch.zeros_like(start()), 0.0, noise()))
    theirs = last(reverse(denoise, start(), SIGMAS, split=ddpm_split, noise=noise()))
    torch.testing.assert_close(ours.x, theirs.x)
    assert ours.nfe == theirs.nfe == 6


def test_a_step_moves_against_the_gradient_of_the_residual():
    """D = g x with g = v / (v + sigma^2), A the identity: the gradient of ||y - g x|| is g (g x - y) / ||y - g x||."""
    sigma, after, strength, variance = 1.5, 0.5, 0.3, 0.8
    x, y = start(), torch.ones(2, 3, tiny.SIDE, tiny.SIDE)
    still = noise()
    (step, _) = dps(gaussian_denoiser(0.0, variance), x, [sigma, after, 0.0], Identity(), y, strength, lambda x: 0 * still(x))
    g = variance / (variance + sigma**2)
    down = (after**2 - after**2 * (1 - after**2 / sigma**2)) ** 0.5
    residual = g * x - y
    slope = g * residual / residual.square().sum((1, 2, 3), keepdim=True).sqrt()
    expected = g * x + down * (x - g * x) / sigma - strength * ((1 + sigma**2) * (1 + after**2)) ** 0.5 * slope
    torch.testing.assert_close(step.x, expected)


@pytest.mark.parametrize("task", ["denoise25", "sr4", "inpaint_random", "deblur"])
def test_strength_brings_the_restoration_nearer_to_the_data(task):
    given = tiny.problem(task, 2, denoise=gaussian_denoiser(0.0, 0.3))
    op, y = given.measured.op, given.measured.y

    def residual(strength):
        end = last(dps(given.denoise, start(), SIGMAS, op, y, strength, noise()))
        return (op.A(end.x0) - y).square().sum()

    assert residual(1.0) < residual(0.2) < residual(0.0)


def test_an_image_does_not_depend_on_its_batch_mates():
    denoise = tiny.denoiser()
    y = torch.zeros_like(start())
    both = last(dps(denoise, start(), SIGMAS, Identity(), y, 0.5, noise())).x
    alone = last(dps(denoise, start()[:1], SIGMAS, Identity(), y[:1], 0.5, ImageNoise(0, "dps", NAMES[:1]))).x
    torch.testing.assert_close(both[:1], alone, rtol=1e-3, atol=1e-4)
