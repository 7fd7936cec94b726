"""Schedules and reverse steps against the schedulers of diffusers.

diffusers works in the variance-preserving view, x_vp = sqrt(alpha_bar) x; ours is x = x0 + sigma*eps. It stores
alpha_bar in float32; where steps are compared its own code runs on our float64 values, so the comparison is exact.
"""

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler

from dualprior.diffusion.samplers import ddpm_split, last, reverse
from dualprior.diffusion.schedule import alpha_bar, noise_levels, schedule_grid

NAMES = {"linear": "linear", "cosine": "squaredcos_cap_v2"}  # ours: diffusers'
STEPS = 1000


def scheduler(cls, kind):
    """diffusers' scheduler without clipping, in float64."""
    theirs = cls(num_train_timesteps=STEPS, beta_schedule=NAMES[kind], clip_sample=False)
    theirs.alphas_cumprod = torch.from_numpy(alpha_bar(kind, STEPS))
    theirs.one = theirs.final_alpha_cumprod = torch.tensor(1.0, dtype=torch.float64)  # the last step ends at sigma = 0
    return theirs


def unit(seed):
    return torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def eps_hat(x_vp):
    """A fixed nonlinear stand-in for a network, of the variance-preserving image."""
    return torch.tanh(1.3 * x_vp) + 0.1


def denoise(x, sigma):
    return x - sigma * eps_hat(x / (1 + sigma**2) ** 0.5)


@pytest.mark.parametrize("kind", NAMES)
def test_schedules_are_equal(kind):
    theirs = DDPMScheduler(num_train_timesteps=STEPS, beta_start=1e-4, beta_end=0.02, beta_schedule=NAMES[kind])
    np.testing.assert_allclose(alpha_bar(kind, STEPS), theirs.alphas_cumprod, rtol=2e-4, atol=1e-12)  # 1000 float32 products


@pytest.mark.parametrize("t", [1, 2, 50, 500, 998])
@pytest.mark.parametrize("kind", NAMES)
def test_ddpm_step_has_the_same_mean_and_the_same_fresh_noise(kind, t):
    """Their step drew a known noise: ours with that noise ends at the same place."""
    theirs, share, levels = scheduler(DDPMScheduler, kind), alpha_bar(kind, STEPS), noise_levels(kind, STEPS)
    x_vp = unit(0)
    expected = theirs.step(eps_hat(x_vp), t, x_vp, generator=torch.Generator().manual_seed(1)).prev_sample
    grid = np.array([levels[t], levels[t - 1], 0.0])
    step = next(reverse(denoise, x_vp / share[t] ** 0.5, grid, split=ddpm_split, noise=lambda x: unit(1)))
    torch.testing.assert_close(share[t - 1] ** 0.5 * step.x, expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("t", [1, 50, 998])
@pytest.mark.parametrize("kind", NAMES)
def test_ddpm_posterior_variance_is_equal(kind, t):
    share, levels = alpha_bar(kind, STEPS), torch.from_numpy(noise_levels(kind, STEPS))
    _, up = ddpm_split(levels[t], levels[t - 1], eta=1.0)
    theirs = scheduler(DDPMScheduler, kind)._get_variance(t)
    torch.testing.assert_close(share[t - 1] * up**2, theirs, rtol=1e-7, atol=0)


@pytest.mark.parametrize("kind", NAMES)
def test_last_ddpm_step_is_the_guess_of_the_clean_image(kind):
    theirs, share, levels = scheduler(DDPMScheduler, kind), alpha_bar(kind, STEPS), noise_levels(kind, STEPS)
    x_vp = unit(0)
    expected = theirs.step(eps_hat(x_vp), 0, x_vp).prev_sample
    end = last(reverse(denoise, x_vp / share[0] ** 0.5, np.array([levels[0], 0.0])))
    torch.testing.assert_close(end.x, expected)


@pytest.mark.parametrize("eta", [0.0, 0.5])
@pytest.mark.parametrize("kind", NAMES)
def test_ddim_chains_end_at_the_same_image(kind, eta):
    """All 50 calls, on the steps that diffusers visits."""
    theirs, share, levels = scheduler(DDIMScheduler, kind), alpha_bar(kind, STEPS), noise_levels(kind, STEPS)
    theirs.set_timesteps(50)
    x_vp = unit(0)
    grid = np.append(levels[theirs.timesteps.numpy()], 0.0)
    draws = iter(range(100, 200))
    split = lambda sigma, after: ddpm_split(sigma, after, eta)  # noqa: E731
    first = x_vp / share[theirs.timesteps[0].item()] ** 0.5
    ours = last(reverse(denoise, first, grid, split=split, noise=lambda x: unit(next(draws)))).x
    noises = iter(range(100, 200))
    for t in theirs.timesteps:
        x_vp = theirs.step(eps_hat(x_vp), t.item(), x_vp, eta=eta, variance_noise=unit(next(noises))).prev_sample
    torch.testing.assert_close(ours, x_vp, rtol=1e-7, atol=1e-9)


def test_a_whole_ddim_chain_visits_the_same_steps():
    theirs = DDIMScheduler(num_train_timesteps=STEPS)
    theirs.set_timesteps(STEPS)
    levels = noise_levels("linear", STEPS)
    np.testing.assert_array_equal(schedule_grid(levels, STEPS)[:-1], levels[theirs.timesteps.numpy()])
