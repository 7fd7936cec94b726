"""The literature's stopping rules on trajectories whose right answer is known."""

import numpy as np
import pytest
import tiny
import torch

from dualprior.common.errors import UserError
from dualprior.common.seeding import generator
from dualprior.dip.early_stopping import Iterate
from studies.stopping.published_rules import (
    DiffusionScore,
    Discrepancy,
    ExponentialVariance,
    MonteCarloSURE,
    SelfValidation,
    WindowedVariance,
)
from studies.theory.gaussian_theory import gaussian_denoiser


def trajectory(steps, count=2, side=4):
    """Outputs of a make-believe fit: [steps, count, 1, side, side]."""
    return torch.randn(steps, count, 1, side, side, generator=torch.Generator().manual_seed(steps))


def feed(rule, outputs, residual=None, every=1):
    """Every `every`-th step of a fit."""
    for step in range(every, len(outputs) + 1, every):
        out = outputs[step - 1]
        rule.update(Iterate(step, out, out, torch.zeros(len(out)) if residual is None else residual[step - 1]))
    return rule.stop


# --- rules that know the noise level -----------------------------------------------------------------------


def test_discrepancy_stops_where_the_residual_first_reaches_the_noise():
    residual = torch.tensor([[0.9, 0.9], [0.05, 0.5], [0.01, 0.3], [0.2, 0.3]])
    pick = feed(Discrepancy(sigma_y=0.3), trajectory(4), residual)
    assert pick.step.tolist() == [2, 4]  # 0.09 is reached at step 2, and never
    assert feed(Discrepancy(0.3, factor=4.0), trajectory(4), residual).step.tolist() == [2, 3]


def test_discrepancy_is_known_at_once():
    residual = torch.tensor([[0.9, 0.9], [0.05, 0.5], [0.01, 0.3], [0.2, 0.3]])
    assert feed(Discrepancy(sigma_y=0.3), trajectory(4), residual).decided_step.tolist() == [2, 4]


@pytest.mark.parametrize("sigma_y", [0.0, -0.1, float("nan")])
@pytest.mark.parametrize("rule", [Discrepancy, lambda s: MonteCarloSURE(s, torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2), 1e-3)])
def test_rules_that_need_the_noise_level_refuse_to_do_without(rule, sigma_y):
    with pytest.raises(UserError, match="needs the noise level, above 0, and was given sigma_y="):
        rule(sigma_y)


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
    measured = Iterate(1, smooth(y), smooth(y), torch.zeros(count), {"probe": smooth(y + width * probe)})
    gap = rule.estimate(measured) - (smooth(y) - x).square().mean((1, 2, 3))
    assert abs(float(gap.mean() / gap.std() * count**0.5)) < 4
    assert float((rule.estimate(measured) - rule.sigma_y**2 * 2 * 0.5 - (smooth(y) - y).square().mean((1, 2, 3))).mean()) == pytest.approx(
        -(sigma**2), abs=0.02
    )  # the divergence of S is half of d: its diagonal is 1/2


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


@pytest.mark.parametrize("every", [2, 3, 4])
def test_windowed_variance_fed_every_few_steps_is_that_of_the_thinned_fit(every):
    outputs = trajectory(36, count=3)
    thinned = feed(WindowedVariance(12 // every, patience=4), outputs[every - 1 :: every])
    pick = feed(WindowedVariance(12, patience=4 * every, every=every), outputs, every=every)
    assert pick.step.tolist() == [every * step for step in thinned.step.tolist()]
    assert pick.decided_step.tolist() == [every * step for step in thinned.decided_step.tolist()]
    torch.testing.assert_close(pick.score, thinned.score, rtol=0, atol=0)


@pytest.mark.parametrize(("window", "every"), [(1, 1), (7, 4), (3, 5)])
def test_a_window_too_short_for_the_steps_fed_is_refused(window, every):
    with pytest.raises(UserError, match=f"a window of {window} steps fed every {every} steps holds no variance; widen it"):
        WindowedVariance(window, every=every)


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


@pytest.mark.parametrize("every", [2, 5])
def test_exponential_variance_fed_every_few_steps_forgets_as_fast_a_step(every):
    """What is left of a weight after `every` steps of the slow recursion is left after one of the fast one."""
    outputs = trajectory(40, count=3)
    fast = ExponentialVariance(1 - 0.9**every, patience=4, burn_in=4)
    pick = feed(ExponentialVariance(0.1, patience=4 * every, burn_in=4 * every, every=every), outputs, every=every)
    thinned = feed(fast, outputs[every - 1 :: every])
    assert pick.step.tolist() == [every * step for step in thinned.step.tolist()]
    torch.testing.assert_close(pick.score, thinned.score)


@pytest.mark.parametrize(("rate", "first"), [(0.1, 10), (0.25, 4)])
def test_exponential_variance_waits_until_it_has_filled(rate, first):
    """On a fit that moves ever more the first offer is the least."""
    outputs = trajectory(20) * torch.arange(20).view(-1, 1, 1, 1, 1).exp2()
    assert feed(ExponentialVariance(rate), outputs).step.tolist() == [first, first]


# --- self-validation ---------------------------------------------------------------------------------------


def noisy_fit(x, entry, steps):
    """A fit in which the clean image appears slowly and noise, fresh at every step, grows from step `entry` on."""
    rng = torch.Generator().manual_seed(0)
    t = torch.arange(1, steps + 1).view(-1, 1, 1, 1, 1)
    noise = torch.randn(steps, 1, *x.shape[1:], generator=rng)
    return (1 - torch.exp(-t / 15)) * x + 0.01 * (t - entry).clamp(min=0) * noise


def validator(count, **changes):
    return SelfValidation([generator(0, "self-validation", i) for i in range(count)], **changes)


@pytest.mark.parametrize("entry", [50, 70])
def test_self_validation_stops_where_noise_begins_to_enter(entry):
    pick = feed(validator(2), noisy_fit(tiny.images(2), entry, entry + 50))
    assert all(entry - 5 <= step <= entry + 15 for step in pick.step.tolist())


def test_self_validation_takes_the_end_of_a_fit_that_only_gets_better():
    assert min(feed(validator(2), noisy_fit(tiny.images(2), 99, 60)).step.tolist()) > 50


def test_self_validation_does_not_depend_on_batch_mates():
    outputs = noisy_fit(tiny.images(3), 15, 30)
    whole, few = feed(validator(3), outputs), feed(validator(2), outputs[:, :2])
    assert few.step.tolist() == whole.step.tolist()[:2]
    torch.testing.assert_close(few.score, whole.score[:2], rtol=1e-3, atol=1e-5)


def test_self_validation_is_patient():
    pick = feed(validator(2, patience=10), noisy_fit(tiny.images(2), 20, 60))
    assert pick.decided_step.tolist() == [step + 10 for step in pick.step.tolist()]


@pytest.mark.parametrize(("height", "width"), [(4, 4), (6, 8), (8, 6)])
def test_self_validation_refuses_images_that_it_cannot_halve_twice(height, width):
    with pytest.raises(UserError, match=f"sides that are multiples of 4, not both 4; these are {height} x {width}"):
        feed(validator(2), torch.zeros(1, 2, 1, height, width))


def test_self_validation_takes_the_least_image_with_something_to_normalise():
    assert feed(validator(2), trajectory(3, side=8)[..., :4]).step.min() >= 1


# --- a score by the diffusion model ------------------------------------------------------------------------

MEAN, VARIANCE, LEVELS = 0.2, 0.01, (0.1, 0.3)


def exact(x, sigma):
    return gaussian_denoiser(MEAN, VARIANCE)(x, torch.tensor(sigma))


def score(count, side=64):
    return DiffusionScore(exact, LEVELS, torch.randn(len(LEVELS), count, 3, side, side, generator=torch.Generator().manual_seed(1)))


def sample(count, side=64):
    """Images of the prior that `exact` is the denoiser of."""
    return MEAN + VARIANCE**0.5 * torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_the_diffusion_score_is_that_of_the_closed_form(noise):
    """f - D(f + s eps) = (1 - g) (f - mean) - g s eps, g = v / (v + s^2)."""
    x = sample(1) + noise * torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(3))
    shares = [(s, VARIANCE / (VARIANCE + s**2)) for s in LEVELS]
    expected = np.mean([(1 - g) ** 2 * (VARIANCE + noise**2) / s**2 + g**2 for s, g in shares])
    assert score(1)(x).item() == pytest.approx(expected, rel=0.05)


def test_the_diffusion_score_tells_a_clean_image_from_noisy_ones():
    noise = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(3))
    scores = torch.stack([score(2)(sample(2) + level * noise) for level in (0.0, 0.05, 0.1, 0.2, 0.4)])
    assert (scores.diff(dim=0) > 0).all()


def test_the_diffusion_score_says_the_same_of_an_image_twice_and_whatever_its_batch_mates():
    x, eps = sample(3, 8), torch.randn(len(LEVELS), 3, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    whole = DiffusionScore(exact, LEVELS, eps)
    torch.testing.assert_close(whole(x), whole(x), rtol=0, atol=0)
    torch.testing.assert_close(DiffusionScore(exact, LEVELS, eps[:, :1])(x[:1]), whole(x)[:1])


@pytest.mark.parametrize("levels", [[], [0.0], [0.2, -0.1], [float("nan")], [0.2, float("nan")]])
def test_levels_that_are_not_above_0_are_refused(levels):
    with pytest.raises(UserError, match="the diffusion score needs noise levels above 0 and was given"):
        DiffusionScore(exact, levels, torch.zeros(len(levels), 1, 3, 4, 4))


# --- all of them -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [lambda: WindowedVariance(3, 4), lambda: ExponentialVariance(0.3, 4), lambda: Discrepancy(0.3)])
def test_no_decision_depends_on_batch_mates(make):
    outputs, residual = trajectory(10, count=3), torch.rand(10, 3, generator=torch.Generator().manual_seed(0))
    whole, alone = feed(make(), outputs, residual), feed(make(), outputs[:, 1:2], residual[:, 1:2])
    assert (whole.step[1], whole.decided_step[1]) == (alone.step[0], alone.decided_step[0])
    torch.testing.assert_close(whole.image[1:2], alone.image)
