"""Early-stopping rules on trajectories whose right answer is known."""

import numpy as np
import pytest
import torch

from dualprior.errors import UserError
from dualprior.rules import Discrepancy, ExponentialVariance, FixedStep, Judged, Last, MonteCarloSURE, Pick, Seen, WindowedVariance

RNG = torch.Generator().manual_seed(0)


def trajectory(steps, count=2, side=4):
    """Outputs of a make-believe fit: [steps, count, 1, side, side]."""
    return torch.randn(steps, count, 1, side, side, generator=torch.Generator().manual_seed(steps))


def feed(rule, outputs, residual=None):
    for step, out in enumerate(outputs, start=1):
        rule.update(Seen(step, out, out, torch.zeros(len(out)) if residual is None else residual[step - 1]))
    return rule.pick


def scores(rule, values):
    """Feed a rule-like pick the scores of one image."""
    pick = Pick(rule)
    for step, value in enumerate(values, start=1):
        pick.offer(step, torch.tensor([value]), torch.full((1, 1, 1, 1), float(step)))
    return pick


# --- the pick ----------------------------------------------------------------------------------------------


def test_without_patience_the_least_score_of_the_whole_fit_wins():
    pick = scores(None, [5.0, 2.0, 3.0, 4.0, 1.0])
    assert (pick.step.item(), pick.image.item()) == (5, 5.0)


def test_patience_ends_the_search_after_so_many_steps_without_a_better_score():
    assert scores(3, [5.0, 2.0, 3.0, 4.0, 1.0]).step.item() == 5  # better just before patience runs out
    assert scores(2, [5.0, 2.0, 3.0, 4.0, 1.0]).step.item() == 2


def test_a_score_that_is_not_a_number_never_wins():
    assert scores(None, [np.nan, 2.0, np.nan]).step.item() == 2


def test_images_are_decided_one_by_one():
    pick = Pick(patience=1)
    for step, row in enumerate([[1.0, 9.0], [2.0, 8.0], [0.0, 7.0]], start=1):
        pick.offer(step, torch.tensor(row), torch.full((2, 1, 1, 1), float(step)))
    assert pick.step.tolist() == [1, 3]


def test_the_kept_image_is_a_copy():
    pick, image = Pick(), torch.zeros(1, 1, 1, 1)
    pick.offer(1, torch.tensor([0.0]), image)
    image += 7
    assert pick.image.item() == 0


# --- rules that look at nothing, or at the residual ---------------------------------------------------------


def test_last_and_fixed_step():
    outputs = trajectory(6)
    assert feed(Last(), outputs).step.tolist() == [6, 6]
    fixed = feed(FixedStep(4), outputs)
    assert fixed.step.tolist() == [4, 4]
    torch.testing.assert_close(fixed.image, outputs[3])
    assert feed(FixedStep(9), outputs).step.tolist() == [6, 6]


def test_discrepancy_stops_where_the_residual_first_reaches_the_noise():
    residual = torch.tensor([[0.9, 0.9], [0.05, 0.5], [0.01, 0.3], [0.2, 0.3]])
    pick = feed(Discrepancy(sigma_y=0.3), trajectory(4), residual)
    assert pick.step.tolist() == [2, 4]  # 0.09 is reached at step 2, and never
    assert feed(Discrepancy(0.3, factor=4.0), trajectory(4), residual).step.tolist() == [2, 3]


@pytest.mark.parametrize("sigma_y", [0.0, -0.1, float("nan")])
@pytest.mark.parametrize("rule", [Discrepancy, lambda s: MonteCarloSURE(s, torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2), 1e-3)])
def test_rules_that_need_the_noise_level_refuse_to_do_without(rule, sigma_y):
    with pytest.raises(UserError, match="needs the noise level, above 0, and was given sigma_y="):
        rule(sigma_y)


# --- moving variances --------------------------------------------------------------------------------------


def windows(outputs, width):
    """Variance of every full window, written out: {last step: [n]}."""
    x = outputs.double().flatten(2)  # [steps, n, d]
    return {end: ((x[end - width : end] - x[end - width : end].mean(0)) ** 2).mean((0, 2)) for end in range(width, len(x) + 1)}


@pytest.mark.parametrize("width", [2, 5, 12])
def test_windowed_variance_stops_at_the_quietest_window(width):
    outputs = trajectory(12, count=3)
    expected = windows(outputs, width)
    pick = feed(WindowedVariance(width, patience=100), outputs)
    table = torch.stack(list(expected.values()))
    torch.testing.assert_close(pick.score.double(), table.min(0).values, rtol=1e-5, atol=1e-7)
    assert pick.step.tolist() == [list(expected)[i] for i in table.argmin(0)]


def test_windowed_variance_survives_a_large_common_brightness():
    """The running sums are in float64: in float32 the variance of bright still images would drown."""
    outputs = 100 + 1e-3 * trajectory(8)
    expected = torch.stack(list(windows(outputs, 4).values()))
    pick = feed(WindowedVariance(4, patience=100), outputs)
    torch.testing.assert_close(pick.score.double(), expected.min(0).values, rtol=1e-3, atol=0)


def test_windowed_variance_is_patient():
    loud, still = trajectory(8, 1, 2), torch.zeros(4, 1, 1, 2, 2)
    outputs = torch.cat([loud[:3], 1e-2 * loud[:2], loud[3:], still])  # quiet at step 5, still from step 12
    assert feed(WindowedVariance(2, patience=50), outputs).step.item() == 12
    assert feed(WindowedVariance(2, patience=3), outputs).step.item() == 5


def test_a_fit_that_stands_still_is_stopped_at_its_first_window():
    """As with an image of one colour: every variance is 0, never a rounding error below it."""
    pick = feed(WindowedVariance(3), torch.full((9, 2, 1, 2, 2), 0.3))
    assert pick.step.tolist() == [3, 3]
    assert pick.score.tolist() == [0.0, 0.0]


def test_a_fit_shorter_than_the_window_is_refused_and_never_decided():
    rule = WindowedVariance(window=100)
    with pytest.raises(UserError, match="a fit of 60 steps never fills the window of 100; raise dip.steps or lower the window"):
        rule.check_steps(60)
    rule.check_steps(100)
    assert feed(rule, trajectory(5)).step is None


@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_exponential_variance_is_its_recursion_unrolled(rate):
    outputs = trajectory(15, count=2)
    x = outputs.double().flatten(2).numpy()
    means = [x[0]]
    for row in x[1:]:
        means.append((1 - rate) * means[-1] + rate * row)
    far = [((row - mean) ** 2).mean(1) for row, mean in zip(x[1:], means, strict=False)]  # step 2 on
    # v_k = sum over j <= k of rate (1 - rate)^(k - j + 1) far_j
    variance = {k: sum(rate * (1 - rate) ** (k - j + 1) * far[j - 2] for j in range(2, k + 1)) for k in range(2, 16)}
    pick = feed(ExponentialVariance(rate, burn_in=4), outputs)
    steps = [k for k in variance if k >= 4]
    table = np.stack([variance[k] for k in steps])
    assert pick.step.tolist() == [steps[i] for i in table.argmin(0)]
    np.testing.assert_allclose(pick.score.numpy(), table.min(0), rtol=1e-4)


# --- unbiased risk -----------------------------------------------------------------------------------------


def test_sure_is_unbiased_for_a_linear_smoother():
    """f(y) = S y with S a circulant blur: the estimate's mean is the true error, probe and noise drawn afresh."""
    count, sigma, width = 4000, 0.5, 1e-2
    rng = torch.Generator().manual_seed(1)
    x = torch.linspace(-1, 1, 64, dtype=torch.float64).view(1, 1, 8, 8).expand(count, -1, -1, -1)
    y = x + sigma * torch.randn(x.shape, generator=rng, dtype=torch.float64)
    probe = torch.randn(x.shape, generator=rng, dtype=torch.float64)

    def smooth(image):
        return (2 * image + image.roll(1, 3) + image.roll(-1, 3)) / 4

    rule = MonteCarloSURE(sigma, y, probe, width)
    seen = Seen(1, smooth(y), smooth(y), torch.zeros(count), {"probe": smooth(y + width * probe)})
    gap = rule.estimate(seen) - (smooth(y) - x).square().mean((1, 2, 3))
    assert abs(float(gap.mean() / gap.std() * count**0.5)) < 4
    assert float((rule.estimate(seen) - rule.sigma_y**2 * 2 * 0.5 - (smooth(y) - y).square().mean((1, 2, 3))).mean()) == pytest.approx(
        -(sigma**2), abs=0.02
    )  # the divergence of S is half of d: its diagonal is 1/2


# --- judges ------------------------------------------------------------------------------------------------


def test_a_judged_rule_stops_at_the_least_estimate_and_keeps_the_image_asked_for():
    def judge(image):
        return (image.mean((1, 2, 3)) - 3).abs()

    for keep_companion, expected in ((False, [30.0, 30.0]), (True, [3.0, 3.0])):
        rule = Judged(judge, "part", keep_companion)
        for step in range(1, 6):
            whole, part = (torch.full((2, 1, 2, 2), factor * step) for factor in (10.0, 1.0))
            rule.update(Seen(step, whole, whole, torch.zeros(2), {"part": part}))
        assert rule.pick.step.tolist() == [3, 3]
        assert rule.pick.image[:, 0, 0, 0].tolist() == expected


def test_smoothing_a_judge_passes_over_a_single_lucky_step():
    values = torch.tensor([5.0, 4.0, 0.5, 4.0, 3.0, 2.0, 1.5, 1.2, 1.1, 1.0, 1.0, 1.0])
    picked = []
    for smooth in (0.0, 0.8):
        estimates = iter(values)
        rule = Judged(lambda image, estimates=estimates: next(estimates).expand(len(image)), None, smooth=smooth)
        picked.append(feed(rule, trajectory(len(values), 1)).step.item())
    assert picked[0] == 3
    assert picked[1] > 8


@pytest.mark.parametrize("make", [Last, lambda: FixedStep(3), lambda: WindowedVariance(3, 4), lambda: ExponentialVariance(0.3, 4)])
def test_no_decision_depends_on_batch_mates(make):
    outputs = trajectory(10, count=3)
    whole, alone = feed(make(), outputs), feed(make(), outputs[:, 1:2])
    assert whole.step[1] == alone.step[0]
    torch.testing.assert_close(whole.image[1:2], alone.image)
