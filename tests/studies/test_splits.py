"""Held-out values: estimates of the error of the mean of two fits, without bias."""

from itertools import product

import pytest
import tiny
import torch
from tiny_splits import (
    DRAWS,
    SIDE,
    SIGMA_Y,
    bias,
    filled,
    neighbours,
    noise,
    randn,
    repeated,
    two_fits,
)

from dualprior.common.errors import UserError
from dualprior.degradation.operators import BlockAverage, GaussianBlur, Identity, Mask
from dualprior.dip.risk import recorrupted_split
from studies.stopping.splits import HeldOutRisk, held_out_split

OPERATORS = {
    "mask": lambda count: Mask(tiny.mask(1, 0.4, SIDE).expand(count, -1, -1, -1)),
    "average": lambda count: BlockAverage(2),
    "blur": lambda count: GaussianBlur(1.0, (SIDE, SIDE)),
}


# --- held-out values ---------------------------------------------------------------------------------------


def test_the_held_out_risk_is_unbiased_for_the_error_on_held_out_values():
    x, y = repeated()
    held_out = tiny.mask(DRAWS, 0.3, SIDE)
    image = neighbours((1 - held_out) * y) / 6
    truth = (held_out * (image - x).square()).sum((1, 2, 3)) / held_out.expand_as(x).sum((1, 2, 3))
    assert bias(HeldOutRisk(Identity(), y, held_out, SIGMA_Y)(image), truth) < 4


def test_the_held_out_risk_looks_at_held_out_values_only():
    x, held_out = tiny.images(4), tiny.mask(4, 0.3)
    image = randn(x.shape)
    for elsewhere in (0.0, 9.0):
        measured = torch.where(held_out > 0, image, elsewhere)
        expected = [squared_of_known(image[i] - x[i], held_out[i]) for i in range(4)]
        torch.testing.assert_close(HeldOutRisk(Identity(), x, held_out, 0.0)(measured), torch.stack(expected))


def squared_of_known(error, mask):
    return error[:, mask[0] > 0].square().mean()


def test_the_held_out_risk_sees_through_the_operator():
    x, op = tiny.images(2), BlockAverage(4)
    risk = HeldOutRisk(op, op.A(x), torch.ones(2, 1, 4, 4), 0.0)
    checks = torch.tensor([1.0, -1.0]).repeat(8)  # of which no block shows anything
    torch.testing.assert_close(risk(x + checks + 0.3), torch.full((2,), 0.09))


@pytest.mark.parametrize("kind", ["identity", "mask"])
def test_the_held_out_splits_score_is_the_mean_error_of_each_fit_where_it_sees_nothing(kind):
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


# --- all of them -------------------------------------------------------------------------------------------

SPLITS = {
    "recorrupted": lambda y: recorrupted_split(Identity(), y, SIGMA_Y, 0.5, noise(len(y))),
    "recorrupted, blur": lambda y: recorrupted_split(GaussianBlur(1.0, (tiny.SIDE, tiny.SIDE)), y, SIGMA_Y, 0.5, noise(len(y))),
    "recorrupted, mask": lambda y: recorrupted_split(Mask(tiny.mask(len(y), 0.4)), y, SIGMA_Y, 0.5, noise(len(y))),
    "held out": lambda y: held_out_split(Identity(), y, SIGMA_Y, 0.2, noise(len(y))),
}


@pytest.mark.parametrize("kind", SPLITS)
def test_an_image_does_not_depend_on_its_batch_mates(kind):
    y = tiny.images(3)
    whole, alone = SPLITS[kind](y), SPLITS[kind](y[:1])
    for part, own in zip(whole.splits, alone.splits, strict=True):
        torch.testing.assert_close(own.y, part.y[:1], rtol=0, atol=0)
        assert own.keep is None or torch.equal(own.keep, part.keep[:1])
    torch.testing.assert_close(alone.estimate(two_fits(alone.splits)), whole.estimate(two_fits(whole.splits))[:1])


@pytest.mark.parametrize(("kind", "colour"), list(product(SPLITS, (0.0, -1.0))))
def test_an_image_of_one_colour_has_a_finite_estimate(kind, colour):
    y = torch.full((2, 3, tiny.SIDE, tiny.SIDE), colour)
    assert torch.isfinite(SPLITS[kind](y).estimate([y, y])).all()


@pytest.mark.parametrize("kind", SPLITS)
def test_the_parts_are_fitted_together_those_of_the_first_split_first(kind):
    y = tiny.images(3)
    both = SPLITS[kind](y)
    first, second = both.splits
    torch.testing.assert_close(both.y, torch.cat([first.y, second.y]), rtol=0, atol=0)
    assert (both.keep is None) == (first.keep is None) == (second.keep is None)
    assert both.keep is None or torch.equal(both.keep, torch.cat([first.keep, second.keep]))
