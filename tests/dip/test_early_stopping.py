"""Early stopping: the pick, and the rules that look at nothing but the step or an estimate."""

import numpy as np
import pytest
import torch

from dualprior.dip.early_stopping import FixedStep, Iterate, Last, LeastEstimate, StopState, follow


def trajectory(steps, count=2, side=4):
    """Outputs of a make-believe fit: [steps, count, 1, side, side]."""
    return torch.randn(steps, count, 1, side, side, generator=torch.Generator().manual_seed(steps))


def feed(rule, outputs, every=1):
    for step in range(every, len(outputs) + 1, every):
        out = outputs[step - 1]
        rule.update(Iterate(step, out, out, torch.zeros(len(out))))
    return rule.stop


def flat(step, count=1):
    """An image of the step's number."""
    return torch.full((count, 1, 1, 1), float(step))


def scores(patience, values):
    """Feed a pick the scores of one image."""
    pick = StopState(patience)
    for step, value in enumerate(values, start=1):
        pick.offer(step, torch.tensor([value]), flat(step))
    return pick


# --- the pick ----------------------------------------------------------------------------------------------


def test_without_patience_the_least_score_of_the_whole_fit_wins():
    pick = scores(None, [5.0, 2.0, 3.0, 4.0, 1.0])
    assert (pick.step.item(), pick.score.item(), pick.image.item()) == (5, 1.0, 5.0)


def test_patience_ends_the_search_after_so_many_steps_without_a_better_score():
    assert scores(3, [5.0, 2.0, 3.0, 4.0, 1.0]).step.item() == 5  # better just before patience runs out
    assert scores(2, [5.0, 2.0, 3.0, 4.0, 1.0]).step.item() == 2


@pytest.mark.parametrize(("patience", "known"), [(None, 6), (2, 4), (3, 5), (9, 6)])
def test_a_decision_is_known_when_patience_runs_out_or_the_fit_ends(patience, known):
    assert scores(patience, [5.0, 2.0, 3.0, 4.0, 3.0, 3.0]).decided_step.item() == known


def test_patience_counts_steps_not_offers():
    pick = StopState(patience=20)
    for step, value in zip(range(10, 60, 10), [5.0, 2.0, 3.0, 4.0, 1.0], strict=True):
        pick.offer(step, torch.tensor([value]), flat(step))
    assert (pick.step.item(), pick.decided_step.item()) == (20, 40)


def test_images_are_decided_one_by_one():
    pick = StopState(patience=1)
    for step, row in enumerate([[1.0, 9.0], [2.0, 8.0], [0.0, 7.0]], start=1):
        pick.offer(step, torch.tensor(row), flat(step, 2))
    assert pick.step.tolist() == [1, 3]
    assert pick.decided_step.tolist() == [2, 3]
    assert pick.decided.tolist() == [True, False]
    assert pick.image.flatten().tolist() == [1.0, 3.0]


def test_of_equal_scores_the_first_counts():
    assert scores(None, [1.0, 1.0, 1.0]).step.item() == 1


def test_a_score_that_is_not_a_number_never_wins():
    assert scores(None, [np.nan, 2.0, np.nan]).step.item() == 2


def test_what_is_kept_is_not_overwritten_by_the_fit():
    pick, image, score = StopState(), torch.zeros(1, 1, 1, 1), torch.tensor([1.0])
    pick.offer(1, score, image)
    image += 7
    score += 7
    assert pick.image.item() == 0
    assert pick.score.item() == 1


def test_a_settled_image_keeps_its_step_whatever_comes():
    pick = StopState()
    for step in (1, 2, 3):
        pick.follow(step, flat(step, 2))
        pick.settle(torch.tensor([step >= 2, False]), step, flat(step, 2))
    assert pick.step.tolist() == [2, 3]
    assert pick.decided_step.tolist() == [2, 3]
    assert pick.decided.tolist() == [True, False]


def test_an_image_may_be_settled_before_any_score():
    pick = StopState()
    pick.settle(torch.tensor([True, False]), 4, flat(4, 2))
    assert pick.step.tolist() == [4, 0]


# --- rules -------------------------------------------------------------------------------------------------


def test_the_last_step_is_that_of_the_fit():
    outputs = trajectory(6)
    last = feed(Last(), outputs)
    assert last.step.tolist() == last.decided_step.tolist() == [6, 6]
    torch.testing.assert_close(last.image, outputs[-1], rtol=0, atol=0)


@pytest.mark.parametrize(("wanted", "taken"), [(1, 1), (4, 4), (9, 6)])
def test_a_fixed_step_is_taken_or_the_end_before_it(wanted, taken):
    outputs = trajectory(6)
    fixed = feed(FixedStep(wanted), outputs)
    assert fixed.step.tolist() == fixed.decided_step.tolist() == [taken] * 2
    torch.testing.assert_close(fixed.image, outputs[taken - 1], rtol=0, atol=0)


def test_a_fixed_step_between_two_steps_fed_is_the_one_before_it():
    assert feed(FixedStep(5), trajectory(9), every=2).step.tolist() == [4, 4]


def test_the_least_estimate_keeps_what_would_be_kept_not_the_output():
    rule = LeastEstimate(lambda measured: (measured.average.mean((1, 2, 3)) - 3).abs())
    for step in range(1, 6):
        rule.update(Iterate(step, flat(10 * step, 2), flat(step, 2), torch.zeros(2)))
    assert rule.stop.step.tolist() == [3, 3]
    assert rule.stop.image.flatten().tolist() == [3.0, 3.0]
    assert rule.last.tolist() == [2.0, 2.0]


@pytest.mark.parametrize(("patience", "step", "known"), [(None, 7, 7), (3, 2, 5)])
def test_the_least_estimate_is_as_patient_as_it_is_told(patience, step, known):
    values = iter([5.0, 2.0, 3.0, 4.0, 3.0, 2.5, 1.0])
    rule = LeastEstimate(lambda measured: torch.tensor([next(values)]), patience)
    feed(rule, trajectory(7, 1))
    assert (rule.stop.step.item(), rule.stop.decided_step.item()) == (step, known)


def test_an_estimate_may_look_at_companions():
    rule = LeastEstimate(lambda measured: measured.paired["other"].mean((1, 2, 3)))
    for step in (1, 2, 3):
        rule.update(Iterate(step, flat(step), flat(step), torch.zeros(1), {"other": flat(abs(step - 2))}))
    assert rule.stop.step.item() == 2


def test_every_rule_sees_every_step_of_a_running_fit():
    outputs, rules = trajectory(5), [Last(), FixedStep(2)]
    follow(rules, (Iterate(step, out, out, torch.zeros(2)) for step, out in enumerate(outputs, start=1)))
    assert [rule.stop.step.tolist() for rule in rules] == [[5, 5], [2, 2]]


@pytest.mark.parametrize("make", [Last, lambda: FixedStep(3), lambda: LeastEstimate(lambda measured: measured.average.mean((1, 2, 3)), 2)])
def test_no_decision_depends_on_batch_mates(make):
    outputs = trajectory(10, count=3)
    whole, alone = feed(make(), outputs), feed(make(), outputs[:, 1:2])
    assert (whole.step[1], whole.decided_step[1]) == (alone.step[0], alone.decided_step[0])
    torch.testing.assert_close(whole.image[1:2], alone.image)
