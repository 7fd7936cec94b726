"""Noise annealing: every image is at a level of its own and goes down when it stalls."""

import pytest
import torch

from dualprior.common.errors import UserError
from studies.stopping.noise_annealing import NoiseAnnealing, noised

TAUS = (0.5, 0.2, 0.0)


def fed(annealing, estimates, every=1):
    """Feed estimates, a row a step: the levels after every step."""
    levels = []
    for i, row in enumerate(estimates, start=1):
        annealing.update(i * every, torch.tensor(row))
        levels.append(annealing.level.tolist())
    return levels


def test_all_images_begin_at_the_heaviest_noise():
    annealing = NoiseAnnealing(TAUS, 3, patience=1)
    assert annealing.level.tolist() == [0, 0, 0]
    torch.testing.assert_close(annealing.tau, torch.full((3,), 0.5))


def test_an_image_whose_estimate_keeps_falling_stays():
    assert fed(NoiseAnnealing(TAUS, 1, patience=1), [[1.0 / step] for step in range(1, 20)])[-1] == [0]


def test_an_image_descends_exactly_when_its_estimate_has_stalled_for_its_patience():
    levels = fed(NoiseAnnealing(TAUS, 1, patience=3), [[5.0], [4.0], [4.0], [4.5], [9.0], [9.0]])  # least at step 2
    assert levels == [[0], [0], [0], [0], [1], [1]]


def test_patience_counts_steps_not_estimates():
    assert fed(NoiseAnnealing(TAUS, 1, patience=10), [[1.0], [2.0], [2.0]], every=5) == [[0], [0], [1]]


def test_a_new_rung_has_a_least_estimate_and_a_patience_of_its_own():
    """After the descent at step 3 estimates are worse than ever, but falling."""
    levels = fed(NoiseAnnealing(TAUS, 1, patience=2), [[1.0], [2.0], [2.0], [9.0], [8.0], [7.0], [7.5], [7.5]])
    assert levels == [[0], [0], [1], [1], [1], [1], [1], [2]]


def test_images_descend_one_by_one_and_are_told():
    annealing = NoiseAnnealing(TAUS, 2, patience=2)
    left = [annealing.update(step, torch.tensor(row)).tolist() for step, row in enumerate([[1.0, 3.0], [2.0, 2.0], [2.0, 1.0]], start=1)]
    assert left == [[False, False], [False, False], [True, False]]
    assert annealing.level.tolist() == [1, 0]
    torch.testing.assert_close(annealing.tau, torch.tensor([0.2, 0.5]))


def test_the_last_rung_is_never_left():
    annealing = NoiseAnnealing(TAUS, 1, patience=1)
    levels = fed(annealing, [[1.0]] * 9)
    assert levels[-1] == [2]
    assert not annealing.update(10, torch.tensor([1.0])).any()
    assert annealing.tau.item() == 0


def test_an_estimate_that_is_not_a_number_is_no_progress():
    assert fed(NoiseAnnealing(TAUS, 1, patience=2), [[1.0], [float("nan")], [float("nan")]]) == [[0], [0], [1]]


def test_images_are_sent_down_whatever_their_estimate_but_not_off_the_ladder():
    annealing = NoiseAnnealing(TAUS, 3, patience=100)
    asked = ([True, False, False], [True, True, False], [True, True, False])
    moved = [annealing.step_down(torch.tensor(where)).tolist() for where in asked]
    assert moved == [[True, False, False], [True, True, False], [False, True, False]]
    assert annealing.level.tolist() == [2, 2, 0]


def test_a_ladder_of_one_rung_adds_no_noise():
    assert fed(NoiseAnnealing([0.0], 1, patience=1), [[1.0]] * 4)[-1] == [0]


@pytest.mark.parametrize("taus", [[], [0.5], [0.5, 0.2], [0.2, 0.5, 0.0], [0.5, 0.5, 0.0], [0.0, 0.0], [0.0, -0.1]])
def test_rungs_that_do_not_fall_to_0_are_refused(taus):
    with pytest.raises(UserError, match="the levels of noise annealing fall strictly and end at 0; these are"):
        NoiseAnnealing(taus, 1, patience=1)


@pytest.mark.parametrize("taus", [[float("nan")], [float("nan"), 0.0], [0.5, float("nan"), 0.0]])
def test_a_rung_that_is_not_a_number_is_refused(taus):
    with pytest.raises(UserError, match="fall strictly"):
        NoiseAnnealing(taus, 1, patience=1)


def test_every_image_has_the_noise_of_its_own_rung():
    y = torch.zeros(3, 1, 2, 2)
    frozen = torch.tensor([[10 * k + i for i in range(3)] for k in range(3)]).float().view(3, 3, 1, 1, 1).expand(-1, -1, 1, 2, 2)
    found = noised(y + 1, torch.tensor([0.5, 0.0, 0.2]), frozen, torch.tensor([0, 2, 1]))
    assert found[:, 0, 0, 0].tolist() == pytest.approx([1 + 0.5 * 0, 1.0, 1 + 0.2 * 12])
