"""The reverse loop, restarts and the noise of a batch."""

from functools import partial

import numpy as np
import pytest
import tiny
import torch

from dualprior.common.seeding import ImageNoise
from dualprior.degradation.data_consistency import proximal
from dualprior.degradation.operators import Mask
from dualprior.diffusion.samplers import ddpm_split, last, restart, reverse, zeta_split
from studies.theory.gaussian_theory import gaussian_denoiser

GRID = np.array([2.0, 0.7, 0.2, 0.0])
NAMES = ["a", "b", "c"]
deterministic = partial(zeta_split, zeta=0.0)
exact = gaussian_denoiser(0.0, 0.25)


def unit(count=3, seed=0):
    return torch.randn(count, 3, 8, 8, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("grid", [[1.0, 0.5], [1.0, 1.0, 0.0], [0.5, 1.0, 0.0], [[1.0, 1.0], [0.5, 1.0], [0.0, 0.0]]])
def test_a_grid_that_does_not_fall_to_0_is_refused(grid):
    with pytest.raises(ValueError, match="falls strictly and ends at 0"):
        next(reverse(exact, unit(2), np.array(grid)))


def test_steps_count_the_calls_and_name_the_level_reached():
    steps = list(reverse(exact, 2 * unit(), GRID, split=deterministic))
    assert [step.nfe for step in steps] == [1, 2, 3]
    assert [step.sigma.item() for step in steps] == pytest.approx([0.7, 0.2, 0.0])


def test_the_end_is_the_last_guess_of_the_clean_image():
    end = last(reverse(exact, 2 * unit(), GRID, split=ddpm_split, noise=ImageNoise(0, "t", NAMES)))
    torch.testing.assert_close(end.x, end.x0, rtol=0, atol=0)


def test_a_step_moves_along_the_line_to_the_guess():
    x = 2 * unit()
    step = next(reverse(exact, x, GRID, split=deterministic))
    x0 = x * 0.25 / (0.25 + 4)
    torch.testing.assert_close(step.x, x0 + 0.7 / 2.0 * (x - x0))


def test_a_grid_for_every_image_is_their_own_runs_side_by_side():
    starts = np.array([2.0, 0.5, 1.0])
    grid = np.stack([starts, 0.3 * starts, 0 * starts])
    x = unit() * torch.from_numpy(starts).float().view(-1, 1, 1, 1)
    together = last(reverse(exact, x, grid, split=deterministic)).x
    alone = [last(reverse(exact, x[i : i + 1], grid[:, i], split=deterministic)).x for i in range(3)]
    torch.testing.assert_close(together, torch.cat(alone))


@pytest.mark.parametrize("split", [ddpm_split, partial(zeta_split, zeta=0.3)])
def test_a_noisy_run_of_an_image_does_not_depend_on_batch_mates_or_their_order(split):
    denoise, x = tiny.denoiser(), 2 * unit()

    def run(order):
        noise = ImageNoise(0, "t", [NAMES[i] for i in order])
        return last(reverse(denoise, x[order], GRID, split=split, noise=noise)).x

    torch.testing.assert_close(run([2, 0]), run([0, 1, 2])[[2, 0]], rtol=1e-4, atol=1e-4)


def test_rectified_runs_meet_noiseless_data_exactly():
    mask = tiny.mask(3, 0.5, side=8)
    y = mask * unit(seed=1)
    end = last(reverse(exact, 2 * unit(), GRID, split=deterministic, data_consistency=proximal(Mask(mask), y, 0.0)))
    torch.testing.assert_close(mask * end.x, y)


def test_a_matched_restart_adds_what_is_missing_to_the_level():
    x, z = torch.zeros(3, 1, 100, 100), torch.ones(3, 1, 100, 100)
    added = restart(x, torch.tensor([0.0, 0.3, 0.9]), torch.tensor([0.5, 0.5, 0.5]), z)[:, 0, 0, 0]
    torch.testing.assert_close(added, torch.tensor([0.5, 0.4, 0.0]))  # plain; 3-4-5; already noisier than the level
