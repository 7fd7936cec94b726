"""Estimates of the error of the mean of two fits, without the clean image and without bias."""

import pytest
import tiny
import torch
from tiny_splits import DRAWS, SIDE, SIGMA_Y, bias, fitted, mean_of, noise, randn, repeated, squared, two_fits
from torch import nn

from dualprior.common.errors import UserError
from dualprior.degradation.operators import BlockAverage, GaussianBlur, Identity, Mask
from dualprior.dip.risk import RecorruptedRisk, recorrupted_split

# --- the recorrupted split -------------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [0.2, 0.5, 1.0, -0.5])
def test_the_recorrupted_risk_is_unbiased_for_the_fit_it_judges(alpha):
    x, y = repeated()
    omega = SIGMA_Y * randn(y.shape, seed=1)
    image = fitted(y + alpha * omega)
    assert bias(RecorruptedRisk(Identity(), y, SIGMA_Y, alpha, omega)(image), squared(image - x)) < 4


@pytest.mark.parametrize("alpha", [0.2, 0.5, 1.0])
def test_the_paired_estimate_is_unbiased_for_the_mean_of_its_fits(alpha):
    x, y = repeated()
    both = recorrupted_split(Identity(), y, SIGMA_Y, alpha, noise(DRAWS))
    fits = two_fits(both.splits)
    assert both.unbiased
    assert bias(both.estimate(fits), squared(mean_of(fits) - x)) < 4


def test_the_paired_estimate_knows_that_a_mean_is_better_than_its_fits():
    x, y = repeated()
    both = recorrupted_split(Identity(), y, SIGMA_Y, 0.5, noise(DRAWS))
    fits = two_fits(both.splits)
    assert bias(both.estimate(fits), sum(squared(f - x) for f in fits) / 2) > 20


def test_judging_a_fit_on_what_it_was_fitted_to_is_biased():
    x, y = repeated()
    image = fitted(y)
    assert bias(squared(image - y) - SIGMA_Y**2, squared(image - x)) > 40


def test_judging_each_fit_of_a_paired_estimate_by_the_others_risk_is_biased():
    x, y = repeated()
    both = recorrupted_split(Identity(), y, SIGMA_Y, 0.5, noise(DRAWS))
    fits = [fitted(part.y) for part in both.splits[::-1]]
    assert bias(both.estimate(fits), squared(mean_of(fits) - x)) > 40


def test_the_noises_of_the_two_parts_mirror_each_other():
    y = tiny.images(3)
    first, second = recorrupted_split(Identity(), y, SIGMA_Y, 0.5, noise(3)).splits
    torch.testing.assert_close(first.y + second.y, 2 * y)
    assert (first.y - y).std().item() == pytest.approx(0.5 * SIGMA_Y, rel=0.05)


def shown(op, x):
    """What the operator shows of an image, without its A and A†."""
    if isinstance(op, Mask):
        return torch.where(op.mask > 0, x, 0.0)
    if isinstance(op, BlockAverage):
        means = x.unflatten(3, (-1, op.factor)).unflatten(2, (-1, op.factor)).mean((3, 5))
        return nn.functional.interpolate(means, scale_factor=op.factor, mode="nearest")
    return torch.fft.irfft2(torch.fft.rfft2(x) * (op.transfer > op.cutoff), s=op.size)


OPERATORS = {
    "mask": lambda count: Mask(tiny.mask(1, 0.4, SIDE).expand(count, -1, -1, -1)),
    "average": lambda count: BlockAverage(2),
    "blur": lambda count: GaussianBlur(1.0, (SIDE, SIDE)),
}


@pytest.mark.parametrize("kind", OPERATORS)
def test_where_the_operator_shows_the_image_the_error_is_unbiased_elsewhere_it_is_the_disagreement(kind):
    op = OPERATORS[kind](DRAWS)
    x = tiny.images(1, SIDE).expand(DRAWS, -1, -1, -1)
    clean = op.A(x)
    both = recorrupted_split(op, clean + SIGMA_Y * randn(clean.shape), SIGMA_Y, 0.5, noise(DRAWS))
    first, second = (fitted(op.A_dagger(part.y), strength) for part, strength in zip(both.splits, (1.5, 1.2), strict=True))
    fits = [first, second + 0.5 * randn((1, 3, SIDE, SIDE), seed=2)]  # they disagree everywhere
    half = (fits[0] - fits[1]) / 2
    hidden = squared(half - shown(op, half))
    assert not both.unbiased
    assert hidden.min() > 0.01
    assert bias(both.estimate(fits) - hidden, squared(shown(op, mean_of(fits) - x))) < 4


@pytest.mark.parametrize("kind", ["mask", "average"])
def test_without_noise_the_estimate_is_the_disagreement_in_what_the_operator_does_not_show(kind):
    op, x = OPERATORS[kind](3), tiny.images(3, SIDE)
    both, fits = recorrupted_split(op, op.A(x), 0.0, 0.5, noise(3)), [fitted(x), fitted(x, 0.7)]
    half = (fits[0] - fits[1]) / 2
    torch.testing.assert_close(both.estimate(fits), squared(half - shown(op, half)))
    torch.testing.assert_close(both.y, op.A(x).repeat(2, 1, 1, 1), rtol=0, atol=0)  # and both fits are to the measurement itself


@pytest.mark.parametrize("kind", ["mask", "average"])
def test_without_noise_no_disagreement_counts_where_the_image_is_known(kind):
    op, x = OPERATORS[kind](3), tiny.images(3, SIDE)
    fits = [x + shown(op, randn(x.shape)), x]
    assert recorrupted_split(op, op.A(x), 0.0, 0.5, noise(3)).estimate(fits).abs().max() < 1e-9


def test_the_antithetic_estimate_is_less_noisy_than_one_risk_where_the_fits_agree():
    x, y = repeated()
    both, image = recorrupted_split(Identity(), y, SIGMA_Y, 0.5, noise(DRAWS)), 0.9 * x
    single, both = both.splits[0].risk(image), both.estimate([image, image])
    assert both.std() < 0.7 * single.std()


def test_where_the_fits_agree_nothing_of_the_drawn_noise_is_left():
    """The estimate is then |m - y|^2 / d - sigma_y^2, whatever omega."""
    _, y = repeated(5)
    both, image = recorrupted_split(Identity(), y, SIGMA_Y, 0.5, noise(5)), tiny.images(5, SIDE)
    torch.testing.assert_close(both.estimate([image, image]), squared(image - y) - SIGMA_Y**2, rtol=1e-4, atol=1e-5)


def test_a_noise_level_of_its_own_for_every_image_is_the_scalar_one_image_by_image():
    y, levels = tiny.images(3), (0.4, 0.1, 0.25)
    own = recorrupted_split(Identity(), y, torch.tensor(levels), 0.5, noise(3))
    for i, level in enumerate(levels):
        same = recorrupted_split(Identity(), y, level, 0.5, noise(3))
        torch.testing.assert_close(own.estimate(two_fits(own.splits))[i], same.estimate(two_fits(same.splits))[i])
        torch.testing.assert_close(own.splits[0].y[i], same.splits[0].y[i])


@pytest.mark.parametrize("level", [-0.1, float("nan"), [0.0, 0.3], [0.3, -0.1], [0.3, float("nan")]])
@pytest.mark.parametrize("op", [Identity(), BlockAverage(2)])
def test_a_noise_level_that_is_none_is_refused(op, level):
    y = op.A(tiny.images(2))
    with pytest.raises(UserError, match="the noise level sigma_y=.* is not one; give it, above 0, or estimate it"):
        recorrupted_split(op, y, torch.tensor(level), 0.5, noise(2))


@pytest.mark.parametrize("level", [0.0, [0.0, 0.0]])
def test_denoising_without_noise_is_refused(level):
    with pytest.raises(UserError, match="denoising with noise level 0 has nothing to stop for; give a level above 0"):
        recorrupted_split(Identity(), tiny.images(2), torch.tensor(level), 0.5, noise(2))
