"""Witnesses: estimates of the error of the mean of two fits, without the clean image and without bias."""

import math

import pytest
import tiny
import torch
from torch import nn

from dualprior.common.errors import UserError
from dualprior.common.seeding import ImageNoise, generator
from dualprior.degradation.operators import BlockAverage, GaussianBlur, Identity, Mask
from dualprior.dip.risk import HeldOutRisk, RecorruptedRisk, held_out_split, impulse_split, recorrupted_split, thinned_split
from studies.stopping import noises

SIGMA_Y, DRAWS, SIDE, PEAK = 0.4, 4000, 8, 20.0


def noise(count):
    return ImageNoise(0, "witness", [f"image{i}" for i in range(count)])


def rngs(count, name="thinned"):
    return [generator(0, name, i) for i in range(count)]


def randn(shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def repeated(draws=DRAWS):
    """The same image seen `draws` times with different noise: x and y."""
    x = tiny.images(1, SIDE).expand(draws, -1, -1, -1)
    return x, x + SIGMA_Y * randn(x.shape)


def fitted(y, strength=1.5):
    """A nonlinear stand-in for a fit that follows its measurement, noise included."""
    return torch.tanh(strength * y) + 0.2 * y.roll(1, dims=3)


def two_fits(parts):
    """By two networks that differ."""
    return [fitted(part.y, strength) for part, strength in zip(parts, (1.5, 1.2), strict=True)]


def neighbours(x):
    """Sum over 3 x 3 pixels around each."""
    return sum(x.roll((i, j), dims=(2, 3)) for i in (-1, 0, 1) for j in (-1, 0, 1))


def filled(part, strength=1.5):
    """A nonlinear stand-in for a fit to the values that are kept: a local mean of them, blind to all others."""
    keep = part.keep.expand_as(part.y)
    mean = neighbours(torch.where(keep > 0, part.y, 0.0)) / neighbours(keep).clamp(min=1)
    return torch.tanh(strength * torch.where(keep > 0, (part.y + mean) / 2, mean))


def squared(error):
    return error.square().mean((1, 2, 3))


def mean_of(fits):
    return (fits[0] + fits[1]) / 2


def bias(estimate, truth):
    """Mean of the estimate minus the truth, in standard errors of that mean."""
    gap = (estimate - truth).double()
    return abs(float(gap.mean() / gap.std() * math.sqrt(len(gap))))


# --- the coupled split -------------------------------------------------------------------------------------


@pytest.mark.parametrize("alpha", [0.2, 0.5, 1.0, -0.5])
def test_the_coupled_judge_is_unbiased_for_the_fit_it_judges(alpha):
    x, y = repeated()
    omega = SIGMA_Y * randn(y.shape, seed=1)
    image = fitted(y + alpha * omega)
    assert bias(RecorruptedRisk(Identity(), y, SIGMA_Y, alpha, omega)(image), squared(image - x)) < 4


@pytest.mark.parametrize("alpha", [0.2, 0.5, 1.0])
def test_the_coupled_pair_is_unbiased_for_the_mean_of_its_fits(alpha):
    x, y = repeated()
    both = recorrupted_split(Identity(), y, SIGMA_Y, alpha, noise(DRAWS))
    fits = two_fits(both.splits)
    assert both.unbiased
    assert bias(both.estimate(fits), squared(mean_of(fits) - x)) < 4


def test_the_coupled_pair_knows_that_a_mean_is_better_than_its_fits():
    x, y = repeated()
    both = recorrupted_split(Identity(), y, SIGMA_Y, 0.5, noise(DRAWS))
    fits = two_fits(both.splits)
    assert bias(both.estimate(fits), sum(squared(f - x) for f in fits) / 2) > 20


def test_judging_a_fit_on_what_it_was_fitted_to_is_biased():
    x, y = repeated()
    image = fitted(y)
    assert bias(squared(image - y) - SIGMA_Y**2, squared(image - x)) > 40


def test_judging_each_fit_of_a_coupled_pair_by_the_others_judge_is_biased():
    x, y = repeated()
    both = recorrupted_split(Identity(), y, SIGMA_Y, 0.5, noise(DRAWS))
    fits = [fitted(part.y) for part in both.splits[::-1]]
    assert bias(both.estimate(fits), squared(mean_of(fits) - x)) > 40


def test_the_noises_of_the_two_parts_mirror_each_other():
    y = tiny.images(3)
    first, second = recorrupted_split(Identity(), y, SIGMA_Y, 0.5, noise(3)).parts
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


def test_the_antithetic_pair_is_less_noisy_than_one_judge_where_the_fits_agree():
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
        torch.testing.assert_close(own.estimate(two_fits(own.parts))[i], same.estimate(two_fits(same.parts))[i])
        torch.testing.assert_close(own.parts[0].y[i], same.parts[0].y[i])


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


# --- held-out values ---------------------------------------------------------------------------------------


def test_the_held_out_judge_is_unbiased_for_the_error_on_held_out_values():
    x, y = repeated()
    held_out = tiny.mask(DRAWS, 0.3, SIDE)
    image = neighbours((1 - held_out) * y) / 6
    truth = (held_out * (image - x).square()).sum((1, 2, 3)) / held_out.expand_as(x).sum((1, 2, 3))
    assert bias(HeldOutRisk(Identity(), y, held_out, SIGMA_Y)(image), truth) < 4


def test_the_held_out_judge_looks_at_held_out_values_only():
    x, held_out = tiny.images(4), tiny.mask(4, 0.3)
    image = randn(x.shape)
    for elsewhere in (0.0, 9.0):
        measured = torch.where(held_out > 0, image, elsewhere)
        expected = [squared_of_known(image[i] - x[i], held_out[i]) for i in range(4)]
        torch.testing.assert_close(HeldOutRisk(Identity(), x, held_out, 0.0)(measured), torch.stack(expected))


def squared_of_known(error, mask):
    return error[:, mask[0] > 0].square().mean()


def test_the_held_out_judge_sees_through_the_operator():
    x, op = tiny.images(2), BlockAverage(4)
    judge = HeldOutRisk(op, op.A(x), torch.ones(2, 1, 4, 4), 0.0)
    checks = torch.tensor([1.0, -1.0]).repeat(8)  # of which no block shows anything
    torch.testing.assert_close(judge(x + checks + 0.3), torch.full((2,), 0.09))


@pytest.mark.parametrize("kind", ["identity", "mask"])
def test_the_held_out_pairs_score_is_the_mean_error_of_each_fit_where_it_sees_nothing(kind):
    x, y = repeated()
    op = Identity() if kind == "identity" else OPERATORS["mask"](DRAWS)
    known = torch.ones(DRAWS, 1, SIDE, SIDE) if kind == "identity" else op.mask
    both = held_out_split(op, op.A(y), SIGMA_Y, 0.2, noise(DRAWS))
    fits, truth = [filled(part) for part in both.splits], 0
    for image, part in zip(fits, both.splits, strict=True):
        held = known - part.keep
        truth = truth + (held * (image - x).square()).sum((1, 2, 3)) / (3 * held.sum((1, 2, 3))) / 2
    assert not both.unbiased
    assert bias(both.estimate(fits), truth) < 4


@pytest.mark.parametrize(("keep", "share", "count"), [(0.2, 0.1, 5), (0.5, 0.5, 64), (0.03, 0.01, 1), (0.2, 0.99, 25), (4 / 256, 0.5, 2)])
def test_the_two_held_out_sets_are_disjoint_and_inside_the_known(keep, share, count):
    known = tiny.mask(4, keep)
    both = held_out_split(Mask(known), known * tiny.images(4), 0.0, share, noise(4))
    first, second = (known - part.keep for part in both.splits)
    for held in (first, second):
        assert set(held.unique().tolist()) == {0.0, 1.0}  # a part of the known ones
        assert held.sum((1, 2, 3)).tolist() == [count] * 4
    assert (first * second).sum() == 0


def test_the_held_out_sets_differ_between_images():
    keep = held_out_split(Identity(), tiny.images(1).expand(2, -1, -1, -1), 0.0, 0.1, noise(2)).keep
    assert (keep[0] != keep[1]).any()


@pytest.mark.parametrize("known", [0, 1, 3])
def test_an_image_with_too_few_known_pixels_is_refused(known):
    mask = torch.ones(2, 1, 4, 4)
    mask[1] = 0
    mask[1, 0, 0, :known] = 1
    with pytest.raises(UserError, match=f"an image with {known} known pixels has none to hold out; raise the task's keep"):
        held_out_split(Mask(mask), torch.zeros(2, 3, 4, 4), 0.0, 0.1, noise(2))


# --- photons -----------------------------------------------------------------------------------------------


def photographed(draws=DRAWS):
    x = tiny.images(1, SIDE).expand(draws, -1, -1, -1)
    return x, noises.poisson(x, PEAK, rngs(draws, "photons"))


@pytest.mark.parametrize("share", [0.1, 0.3, 0.45])
def test_the_thinned_pair_is_unbiased_for_the_mean_of_its_fits(share):
    x, y = photographed()
    both = thinned_split(y, PEAK, share, rngs(DRAWS))
    fits = two_fits(both.splits)
    assert both.unbiased
    assert bias(both.estimate(fits), squared(mean_of(fits) - x)) < 4


def test_judging_a_fit_on_photons_it_was_fitted_to_is_biased():
    x, y = photographed()
    both = thinned_split(y, PEAK, 0.3, rngs(DRAWS))
    fits = [fitted(y), fitted(y, 1.2)]
    assert bias(both.estimate(fits), squared(mean_of(fits) - x)) > 40


@pytest.mark.parametrize("share", [0.1, 0.45])
def test_the_photons_held_out_of_one_fit_are_among_those_of_the_other(share):
    _, y = photographed(200)
    photons = (PEAK * (y + 1) / 2).round()
    given = [(1 - share) * PEAK * (part.y + 1) / 2 for part in thinned_split(y, PEAK, share, rngs(200)).parts]
    held = [photons - counts for counts in given]
    for counts in held:
        torch.testing.assert_close(counts, counts.round(), rtol=0, atol=1e-3)
        assert counts.min() > -1e-3
        assert (counts.sum() / photons.sum()).item() == pytest.approx(share, abs=0.01)
    assert (photons - sum(held)).min() > -1e-3  # disjoint: no photon is held out paired_index


def test_a_part_judges_by_the_photons_held_out_of_it():
    """A clean image is judged to have no error; what is held out of it is neither fitted nor biased."""
    x, y = photographed()
    for part in thinned_split(y, PEAK, 0.2, rngs(DRAWS)).parts:
        assert bias(part.risk(x), torch.zeros(DRAWS)) < 4
        assert part.y.mean().item() == pytest.approx(x.mean().item(), abs=2e-3)


@pytest.mark.parametrize("y", [tiny.images(1), torch.full((1, 3, 4, 4), -1 - 2 / PEAK)])
def test_a_measurement_that_holds_no_photon_counts_is_refused(y):
    with pytest.raises(UserError, match="not made of whole photons at a peak of 20; give the peak it was made with"):
        thinned_split(y, PEAK, 0.2, rngs(1))


@pytest.mark.parametrize("peak", [0.0, -PEAK, float("nan"), float("inf")])
def test_a_peak_that_counts_no_photons_is_refused(peak):
    with pytest.raises(UserError, match="not made of whole photons at a peak of"):
        thinned_split(torch.full((1, 3, 4, 4), -1.0), peak, 0.2, rngs(1))


def test_a_measurement_that_is_not_a_number_holds_no_photon_counts():
    with pytest.raises(UserError, match="not made of whole photons"):
        thinned_split(torch.full((1, 3, 4, 4), float("nan")), PEAK, 0.2, rngs(1))


@pytest.mark.parametrize("share", [0.0, -0.1, 0.5, 1.0, float("nan")])
def test_a_share_that_leaves_a_fit_or_a_judge_without_photons_is_refused(share):
    with pytest.raises(UserError, match="of the photons cannot be held out of each of two fits; give more than 0 and less than 0.5"):
        thinned_split(photographed(1)[1], PEAK, share, rngs(1))


# --- impulses ----------------------------------------------------------------------------------------------


def struck(draws=DRAWS, share=0.3):
    x, y = repeated(draws)
    return x, noises.impulses(y, share, rngs(draws, "impulses"))


@pytest.mark.parametrize("alpha", [0.5, 1.0])
@pytest.mark.parametrize("share", [0.1, 0.4])
def test_the_impulse_pair_is_unbiased_for_the_mean_of_its_fits(alpha, share):
    x, y = struck()
    both = impulse_split(y, SIGMA_Y, alpha, share, noise(DRAWS))
    fits = [filled(part, strength) for part, strength in zip(both.splits, (1.5, 1.2), strict=True)]
    assert both.unbiased
    assert bias(both.estimate(fits), squared(mean_of(fits) - x)) < 4


def test_a_fit_that_looks_at_values_held_out_of_it_is_misjudged():
    x, y = struck()
    both = impulse_split(y, SIGMA_Y, 0.5, 0.2, noise(DRAWS))
    fits = [filled(part._replace(keep=(y.abs() != 1).float())) for part in both.splits]
    assert bias(both.estimate(fits), squared(mean_of(fits) - x)) > 20


def test_no_lost_value_is_fitted_and_the_held_out_sets_are_disjoint_and_known():
    _, y = struck(5)
    known = (y.abs() != 1).float()
    first, second = (known - part.keep for part in impulse_split(y, SIGMA_Y, 0.5, 0.2, noise(5)).parts)
    for held in (first, second):
        assert set(held.unique().tolist()) == {0.0, 1.0}
        torch.testing.assert_close(held.sum((1, 2, 3)), (0.2 * known.sum((1, 2, 3))).round())
    assert (first * second).sum() == 0


def test_the_impulse_judges_never_look_at_lost_values():
    x, y = struck(5)
    fits = [filled(part) for part in impulse_split(y, SIGMA_Y, 0.5, 0.2, noise(5)).parts]
    first, turned = (impulse_split(v, SIGMA_Y, 0.5, 0.2, noise(5)).parts for v in (y, torch.where(y.abs() == 1, -y, y)))
    for part, other, image in zip(first, turned, fits, strict=True):
        torch.testing.assert_close(part.risk(image), other.risk(image), rtol=0, atol=0)


def test_an_image_of_lost_values_is_refused():
    with pytest.raises(UserError, match="an image with 0 known pixels has none to hold out"):
        impulse_split(torch.ones(1, 3, 4, 4), SIGMA_Y, 0.5, 0.2, noise(1))


# --- all of them -------------------------------------------------------------------------------------------

PAIRS = {
    "coupled": lambda y: recorrupted_split(Identity(), y, SIGMA_Y, 0.5, noise(len(y))),
    "coupled, blur": lambda y: recorrupted_split(GaussianBlur(1.0, (tiny.SIDE, tiny.SIDE)), y, SIGMA_Y, 0.5, noise(len(y))),
    "coupled, mask": lambda y: recorrupted_split(Mask(tiny.mask(len(y), 0.4)), y, SIGMA_Y, 0.5, noise(len(y))),
    "held out": lambda y: held_out_split(Identity(), y, SIGMA_Y, 0.2, noise(len(y))),
    "thinned": lambda y: thinned_split(y, PEAK, 0.2, rngs(len(y))),
    "impulse": lambda y: impulse_split(y, SIGMA_Y, 0.5, 0.2, noise(len(y))),
}


@pytest.mark.parametrize("kind", PAIRS)
def test_an_image_does_not_depend_on_its_batch_mates(kind):
    y = noises.poisson(tiny.images(3), PEAK, rngs(3, "photons"))
    whole, alone = PAIRS[kind](y), PAIRS[kind](y[:1])
    for part, own in zip(whole.parts, alone.parts, strict=True):
        torch.testing.assert_close(own.y, part.y[:1], rtol=0, atol=0)
        assert own.keep is None or torch.equal(own.keep, part.keep[:1])
    torch.testing.assert_close(alone.estimate(two_fits(alone.parts)), whole.estimate(two_fits(whole.parts))[:1])


@pytest.mark.parametrize(("kind", "colour"), [*((kind, 0.0) for kind in PAIRS), *((kind, -1.0) for kind in PAIRS if kind != "impulse")])
def test_an_image_of_one_colour_has_a_finite_estimate(kind, colour):
    y = torch.full((2, 3, tiny.SIDE, tiny.SIDE), colour)
    assert torch.isfinite(PAIRS[kind](y).estimate([y, y])).all()


@pytest.mark.parametrize("kind", PAIRS)
def test_the_parts_are_fitted_together_those_of_the_first_split_first(kind):
    y = noises.poisson(tiny.images(3), PEAK, rngs(3, "photons"))
    both = PAIRS[kind](y)
    first, second = both.splits
    torch.testing.assert_close(both.y, torch.cat([first.y, second.y]), rtol=0, atol=0)
    assert (both.keep is None) == (first.keep is None) == (second.keep is None)
    assert both.keep is None or torch.equal(both.keep, torch.cat([first.keep, second.keep]))
