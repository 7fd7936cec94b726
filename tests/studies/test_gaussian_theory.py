"""The closed forms for Gaussian data, each against a simulation or a numerical minimisation of what it describes."""

import gaussian_oracles
import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar

from dualprior.degradation.data_consistency import proximal
from dualprior.degradation.operators import Identity
from dualprior.diffusion.samplers import ddpm_split, last, restart, reverse, zeta_split
from dualprior.diffusion.schedule import noise_levels, schedule_grid
from studies.theory import gaussian_theory

MEAN, VARIANCE = 0.3, 0.25
PIXELS = 400_000  # the variance of so many normal draws is known to 0.22 %
LEVELS = noise_levels("lognormal", 1000)
CASES = [(0.5, 0.5, 0.2), (0.4, 0.6, 0.5), (0.3, 0.6, 0.6), (0.7, 0.5, -0.3), (0.2, 0.25, 0.78)]  # a, b, correlation


def normal(seed: int, pixels: int = PIXELS):
    return torch.randn(1, 1, 1, pixels, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def start(grid, pixels: int = PIXELS):
    """Data and noise at the first level."""
    return MEAN + (VARIANCE + grid[0] ** 2) ** 0.5 * normal(0, pixels)


def sample(x, grid, split, noise=None):
    return last(reverse(gaussian_theory.gaussian_denoiser(MEAN, VARIANCE), x, grid, split=split, noise=noise)).x


def fresh():
    rng = torch.Generator().manual_seed(1)
    return lambda x: torch.randn(x.shape, generator=rng, dtype=x.dtype)


def ddim(sigma, after):
    return ddpm_split(sigma, after, eta=0.0)


def test_exact_denoiser_is_the_regression_of_the_clean_on_the_noisy_pixels():
    x0, sigma = MEAN + VARIANCE**0.5 * normal(0), 0.7
    x = x0 + sigma * normal(1)
    slope, intercept = np.polyfit(x.flatten(), x0.flatten(), 1)
    points = torch.tensor([-1.0, 0.0, 2.0], dtype=torch.float64).view(1, 1, 1, 3)
    predicted = gaussian_theory.gaussian_denoiser(MEAN, VARIANCE)(points, torch.tensor(sigma))
    torch.testing.assert_close(predicted, slope * points + intercept, rtol=0, atol=5e-3)


@pytest.mark.parametrize("calls", [1, 4, 25])
def test_ddim_end_variance_is_that_of_the_sampler(calls):
    """The sampler is linear here, so one deviation tells the variance exactly."""
    grid = schedule_grid(LEVELS, calls)
    x = torch.full((1, 1, 1, 1), MEAN + (VARIANCE + grid[0] ** 2) ** 0.5, dtype=torch.float64)
    assert (sample(x, grid, ddim).item() - MEAN) ** 2 == pytest.approx(gaussian_oracles.ddim_end_variance(VARIANCE, grid), rel=1e-9)


@pytest.mark.parametrize("calls", [1, 4, 25])
def test_ddpm_end_variance_is_that_of_the_sampler(calls):
    grid = schedule_grid(LEVELS, calls)
    end = sample(start(grid), grid, ddpm_split, fresh())
    assert end.var().item() == pytest.approx(gaussian_oracles.ddpm_end_variance(VARIANCE, grid), rel=0.01)


@pytest.mark.parametrize("law", [gaussian_oracles.ddim_end_variance, gaussian_oracles.ddpm_end_variance])
def test_many_steps_reach_the_variance_of_the_data(law):
    errors = [abs(law(VARIANCE, schedule_grid(LEVELS, calls)) / VARIANCE - 1) for calls in (10, 100, 1000)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.01


@pytest.mark.parametrize("split", [ddim, ddpm_split])
def test_samples_have_the_mean_of_the_data(split):
    grid = schedule_grid(LEVELS, 20)
    assert sample(start(grid), grid, split, fresh()).mean().item() == pytest.approx(MEAN, abs=5e-3)


def test_sampling_of_many_steps_has_the_variance_of_the_data():
    end = sample(start(LEVELS[-1:], 20_000), schedule_grid(LEVELS, 1000), ddpm_split, fresh())
    assert end.var().item() == pytest.approx(VARIANCE, rel=0.04)


def test_drawing_all_noise_afresh_at_many_steps_halves_the_variance():
    """zeta = 1 keeps the level of the noise but not the law of the image: why a full chain takes DDPM's split."""
    end = sample(start(LEVELS[-1:], 20_000), schedule_grid(LEVELS, 1000), lambda s, after: zeta_split(s, after, 1.0), fresh())
    assert 0.4 < end.var().item() / VARIANCE < 0.7


# --- restart -----------------------------------------------------------------------------------------------


def simulated_restart(error: float, level: float, *, matched: bool) -> float:
    """MSE of one denoiser call after a restart from the truth plus white error; v = 1."""
    x0 = normal(0)
    known = torch.tensor([error if matched else 0.0])
    x = restart(x0 + error * normal(1), known, torch.tensor([level]), normal(2))
    return (gaussian_theory.gaussian_denoiser(0.0, 1.0)(x, torch.tensor(level)) - x0).square().mean().item()


@pytest.mark.parametrize("matched", [True, False])
@pytest.mark.parametrize("level", [0.5, 0.7, 1.3])
def test_restart_mse_is_that_of_a_restart(level, matched):
    assert simulated_restart(0.45, level, matched=matched) == pytest.approx(
        gaussian_theory.restart_mse(1.0, 0.45, level, matched=matched), rel=0.01
    )


def test_at_its_own_error_a_matched_restart_gains_and_a_plain_one_loses():
    error = 0.2**0.5
    matched, plain = (gaussian_theory.restart_mse(1.0, error, error, matched=m) for m in (True, False))
    assert matched == pytest.approx(1 / 6)
    assert plain == pytest.approx(0.3056, abs=1e-4)
    assert matched < error**2 < plain


def test_a_matched_restart_is_best_at_its_own_error():
    error = 0.45
    mse = [gaussian_theory.restart_mse(1.0, error, level, matched=True) for level in np.linspace(error, 3, 50)]
    assert mse[0] == min(mse)
    assert mse == sorted(mse)


def test_a_matched_restart_below_its_own_error_does_not_exist():
    with pytest.raises(ValueError, match="cannot start at 0.1, below its own error 0.2"):
        gaussian_theory.restart_mse(1.0, 0.2, 0.1, matched=True)


# --- fusion ------------------------------------------------------------------------------------------------


def blend_mse(weight, a, b, correlation):
    """Written out: the variance of weight * error_a + (1 - weight) * error_b."""
    return weight**2 * a**2 + (1 - weight) ** 2 * b**2 + 2 * weight * (1 - weight) * correlation * a * b


@pytest.mark.parametrize(("a", "b", "correlation"), CASES)
def test_blend_weight_minimises_the_blend(a, b, correlation):
    best = minimize_scalar(blend_mse, args=(a, b, correlation))
    assert gaussian_oracles.blend_weight(a, b, correlation) == pytest.approx(best.x, abs=1e-6)
    assert gaussian_oracles.blend_mse(a, b, correlation) == pytest.approx(best.fun, rel=1e-9)


@pytest.mark.parametrize(("a", "b", "correlation"), CASES)
def test_blend_mse_is_that_of_blended_images(a, b, correlation):
    shared, own = normal(0), normal(1)
    first, second = a * shared, b * (correlation * shared + (1 - correlation**2) ** 0.5 * own)
    weight = gaussian_oracles.blend_weight(a, b, correlation)
    mse = (weight * first + (1 - weight) * second).square().mean().item()
    assert mse == pytest.approx(gaussian_oracles.blend_mse(a, b, correlation), rel=0.01)


@pytest.mark.parametrize("ratio", [0.5, 0.8, 1.0])
@pytest.mark.parametrize("correlation", [-0.5, 0.0, 0.45, 0.55, 0.75, 0.85, 0.99])
def test_a_mean_of_two_beats_both_just_where_they_correlate_less_than_their_ratio(ratio, correlation):
    a, b = 0.4, 0.4 * ratio
    blends = blend_mse(np.linspace(0, 1, 2001), a, b, correlation)
    beats_both = blends.min() < min(a, b) ** 2 * (1 - 1e-9)
    assert beats_both == (correlation < min(a / b, b / a))
    assert beats_both == (0 < gaussian_oracles.blend_weight(a, b, correlation) < 1)


@pytest.mark.parametrize("weight", [1.0, 2.0])
@pytest.mark.parametrize(("gain", "sigma"), [(1.05, 0.1), (1.3, 0.1), (1.05, 0.4), (1.5, 0.4), (3.0, 0.4)])
def test_an_error_is_multiplied_at_every_call_as_the_stability_law_says(gain, sigma, weight):
    """A linear denoiser D(x) = gain x in the real reverse loop, all noise fresh: two runs whose guesses differ a little."""
    sigma_y, calls = 0.2, 8
    sigmas = np.append(np.linspace(sigma * (1 + 1e-6), sigma, calls), 0.0)  # as good as constant, and falling
    y = torch.zeros(1, 1, 4, 4, dtype=torch.float64)
    ends = []
    for error in (0.0, 1.0):
        steps = reverse(
            lambda x, s: gain * x,
            torch.full_like(y, error),
            sigmas,
            split=lambda a, b: (torch.zeros_like(b), torch.zeros_like(b)),  # zeta = 1 without the noise, which both runs share
            data_consistency=proximal(Identity(), y, sigma_y, weight),
        )
        ends.append(torch.stack([step.x0.mean() for step in steps]))
    change = ends[1] - ends[0]
    factor = gaussian_oracles.error_factor(gain, sigma, sigma_y, weight)
    torch.testing.assert_close(change[1:] / change[:-1], torch.full((calls - 1,), factor, dtype=torch.float64), rtol=1e-4, atol=0)
    assert (factor < 1) == (gain < 1 + sigma**2 / (weight * sigma_y**2))
