"""Noise schedules and sampling grids."""

import numpy as np
import pytest

from dualprior.common.errors import UserError
from dualprior.diffusion.schedule import SCHEDULES, alpha_bar, check_start, few_step_grid, noise_levels, schedule_grid


@pytest.mark.parametrize("timesteps", [10, 1000, 10000])
@pytest.mark.parametrize("kind", SCHEDULES)
def test_signal_share_falls_strictly_inside_0_and_1(kind, timesteps):
    share = alpha_bar(kind, timesteps)
    assert share.shape == (timesteps,)
    assert 0 < share[-1] < share[0] < 1
    assert (np.diff(share) < 0).all()


@pytest.mark.parametrize("kind", SCHEDULES)
def test_noise_levels_are_noise_over_signal(kind):
    np.testing.assert_allclose(1 / (1 + noise_levels(kind, 100) ** 2), alpha_bar(kind, 100), rtol=1e-12)


def test_linear_beta_runs_from_1e_4_to_2e_2():
    share = alpha_bar("linear", 1000)
    np.testing.assert_allclose(1 - share[0], 1e-4, rtol=1e-9)
    np.testing.assert_allclose(1 - share[-1] / share[-2], 0.02, rtol=1e-9)


def test_linear_schedules_of_other_lengths_end_at_about_the_same_noise():
    np.testing.assert_allclose(np.log(alpha_bar("linear", 500)[-1]), np.log(alpha_bar("linear", 4000)[-1]), rtol=0.02)


def test_cosine_is_the_ratio_of_squared_cosines():
    u = np.array([100, 500, 900]) / 1000
    f = lambda v: np.cos((v + 0.008) / 1.008 * np.pi / 2) ** 2  # noqa: E731
    np.testing.assert_allclose(alpha_bar("cosine", 1000)[[99, 499, 899]], f(u) / f(0), rtol=1e-10)


def test_sigmoid_is_one_half_in_the_middle():
    np.testing.assert_allclose(alpha_bar("sigmoid", 1000)[499], 0.5, rtol=1e-12)


def test_lognormal_levels_have_the_mean_and_spread_of_their_law():
    log = np.log(noise_levels("lognormal", 10000))
    np.testing.assert_allclose([log.mean(), log.std()], [-1.2, 1.2], atol=1e-3)


@pytest.mark.parametrize("calls", [1, 2, 3, 7, 50, 99, 100])
def test_a_schedule_grid_falls_strictly_from_the_top_to_0(calls):
    levels = noise_levels("cosine", 100)
    grid = schedule_grid(levels, calls)
    assert grid.shape == (calls + 1,)
    assert grid[0] == levels[-1]
    assert grid[-1] == 0
    assert (np.diff(grid) < 0).all()


def test_a_schedule_grid_of_all_levels_is_the_whole_chain():
    levels = noise_levels("linear", 30)
    np.testing.assert_array_equal(schedule_grid(levels, 30), [*levels[::-1], 0])


@pytest.mark.parametrize("calls", [0, 31])
def test_calls_that_do_not_fit_the_schedule_are_refused(calls):
    with pytest.raises(UserError, match=f"^{calls} network calls do not fit a schedule of 30 noise levels; "):
        schedule_grid(noise_levels("linear", 30), calls)


def test_the_middle_of_three_few_step_levels_is_the_mean_of_seventh_roots():
    grid = few_step_grid(2.0, 3)
    middle = ((2 ** (1 / 7) + 0.02 ** (1 / 7)) / 2) ** 7
    np.testing.assert_allclose(grid, [2, middle, 0.02, 0], rtol=1e-12)


def test_one_call_goes_from_the_start_to_0():
    np.testing.assert_allclose(few_step_grid(0.3, 1), [0.3, 0], rtol=1e-12)


def test_a_low_start_lowers_the_end():
    np.testing.assert_allclose(few_step_grid(0.02, 2), [0.02, 0.005, 0], rtol=1e-12)


def test_a_few_step_grid_of_several_starts_is_theirs_side_by_side():
    starts = [0.03, 0.4, 5.0]
    grid = few_step_grid(np.array(starts), 4)
    np.testing.assert_allclose(grid, np.stack([few_step_grid(s, 4) for s in starts], axis=1), rtol=1e-12)


@pytest.mark.parametrize("start", [0.0, -0.1])
def test_a_few_step_grid_needs_a_start_above_0(start):
    with pytest.raises(UserError, match=f"a start level of {start:g} is not above 0"):
        few_step_grid(np.array([0.5, start]), 3)


@pytest.mark.parametrize("start", [0.001, 90.0])
def test_a_start_outside_the_schedule_is_refused(start):
    with pytest.raises(UserError, match=rf"^hybrid starts at noise level {start:g}, outside the schedule's range \[0\.1, 80\]"):
        check_start(start, np.array([0.1, 80.0]), "hybrid")


def test_a_start_at_either_end_of_the_schedule_is_allowed():
    for start in (0.1, 80.0):
        check_start(start, np.array([0.1, 80.0]), "hybrid")
