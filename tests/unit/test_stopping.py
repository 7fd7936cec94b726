"""Witnesses: unbiased error estimates without the clean image, and stopping at their minimum."""

import math

import pytest
import tiny
import torch

from dualprior.errors import UserError
from dualprior.operators import Identity, Mask
from dualprior.seeding import ImageNoise
from dualprior.stopping import CoupledJudge, HeldOutJudge, StopAtMinimum, coupled_split, held_out_split

SIGMA_Y = 0.4


def noise(count):
    return ImageNoise(0, "witness", [f"image{i}" for i in range(count)])


def repeated(draws):
    """The same image seen `draws` times with different noise: x, y and a stream of more noise."""
    rng = torch.Generator().manual_seed(0)
    x = tiny.images(1, 8).expand(draws, -1, -1, -1)
    return x, x + SIGMA_Y * torch.randn(x.shape, generator=rng), rng


def fitted(y1):
    """A nonlinear stand-in for a fit that follows its measurement, noise included."""
    return torch.tanh(1.5 * y1) + 0.2 * y1.roll(1, dims=3)


def bias(estimate, image, x):
    """Mean of estimate minus true error, in standard errors of that mean."""
    gap = estimate - (image - x).square().mean((1, 2, 3))
    return float(gap.mean() / gap.std() * math.sqrt(len(gap)))


@pytest.mark.parametrize("alpha", [0.2, 0.5, 1.0])
def test_coupled_judge_is_unbiased(alpha):
    x, y, rng = repeated(4000)
    omega = SIGMA_Y * torch.randn(y.shape, generator=rng)
    image = fitted(y + alpha * omega)
    assert abs(bias(CoupledJudge(y, SIGMA_Y, alpha, omega)(image), image, x)) < 4


def test_judging_a_fit_on_what_it_was_fitted_to_is_biased():
    x, y, _ = repeated(4000)
    image = fitted(y)
    assert bias((image - y).square().mean((1, 2, 3)) - SIGMA_Y**2, image, x) < -40


def test_coupled_split_gives_two_parts_with_independent_noise():
    x, y, _ = repeated(500)
    split = coupled_split(Identity(), y, SIGMA_Y, 0.5, noise(500))
    image = fitted(split.y)
    assert abs(bias(split.judge(image), image, x)) < 4
    assert (split.y - x).std().item() == pytest.approx(SIGMA_Y * math.sqrt(1 + 0.5**2), rel=0.01)


@pytest.mark.parametrize("count", [1, 3])
def test_coupled_split_of_an_image_does_not_depend_on_batch_mates(count):
    y = tiny.images(3)
    parts = [coupled_split(Identity(), y[:n], SIGMA_Y, 0.5, noise(n)) for n in (count, 3)]
    torch.testing.assert_close(parts[0].y, parts[1].y[:count], rtol=0, atol=0)


# --- held-out pixels ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("keep", "share"), [(0.2, 0.1), (0.5, 0.5), (0.03, 0.01), (0.01, 0.99)])
def test_held_out_pixels_are_the_stated_share_of_the_known_and_never_fitted(keep, share):
    x, known = tiny.images(4), tiny.mask(4, keep)
    split = held_out_split(Mask(known), known * x, 0.0, share, noise(4))
    held_out = known - split.op.mask
    assert set(held_out.unique().tolist()) == {0.0, 1.0}  # a part of the known ones
    total = int(known[0].sum())
    expected = min(max(1, round(share * total)), total - 1)
    assert held_out.sum((1, 2, 3)).tolist() == [expected] * 4
    assert (held_out * split.y).abs().max() == 0
    torch.testing.assert_close(split.y, split.op.mask * x, rtol=0, atol=0)


def test_held_out_judge_looks_at_held_out_pixels_only():
    x, known = tiny.images(4), tiny.mask(4, 0.3)
    split = held_out_split(Mask(known), known * x, 0.0, 0.2, noise(4))
    held_out = known - split.op.mask
    image = torch.rand(x.shape, generator=torch.Generator().manual_seed(0))
    for elsewhere in (torch.zeros_like(x), 9 * torch.ones_like(x)):
        seen = held_out * image + (1 - held_out) * elsewhere
        expected = [(seen - x)[i][:, held_out[i, 0] > 0].square().mean() for i in range(4)]
        torch.testing.assert_close(split.judge(seen), torch.stack(expected))


def test_held_out_judge_takes_out_the_noise_of_the_measurement():
    x, y, _ = repeated(4000)
    held_out = (torch.rand(4000, 1, 8, 8, generator=torch.Generator().manual_seed(1)) < 0.5).float()
    image = torch.full_like(x, 0.1)
    gap = HeldOutJudge(y, held_out, SIGMA_Y)(image) - HeldOutJudge(x, held_out, 0.0)(image)
    assert abs(gap.mean() / gap.std() * math.sqrt(len(gap))) < 4


def test_held_out_pixels_of_an_image_do_not_depend_on_batch_mates_and_differ_between_images():
    y, known = torch.ones(3, 3, 16, 16), torch.ones(3, 1, 16, 16)
    whole, first = (held_out_split(Mask(known[:n]), y[:n], 0.0, 0.1, noise(n)).op.mask for n in (3, 1))
    torch.testing.assert_close(first, whole[:1], rtol=0, atol=0)
    assert (whole[0] != whole[1]).any()


@pytest.mark.parametrize("known", [0, 1])
def test_an_image_without_two_known_pixels_is_refused(known):
    mask = torch.ones(2, 1, 4, 4)
    mask[1] = 0
    mask[1, 0, 0, :known] = 1
    with pytest.raises(UserError, match=f"an image with {known} known pixels has none to hold out; raise the task's keep"):
        held_out_split(Mask(mask), torch.zeros(2, 3, 4, 4), 0.0, 0.1, noise(2))


# --- stopping ----------------------------------------------------------------------------------------------


def test_every_image_stops_at_its_own_minimum_and_keeps_the_image_of_that_step():
    estimates = torch.tensor([[5.0, 3.0, 1.0], [4.0, 1.0, 2.0], [3.0, 2.0, 0.5], [9.0, 9.0, 0.7]])  # [steps, images]
    stop = StopAtMinimum()
    for step, row in enumerate(estimates, start=1):
        stop.update(step, row, torch.full((3, 1, 2, 2), float(step)))
    assert stop.step.tolist() == [3, 2, 3]
    assert stop.error.tolist() == [3.0, 1.0, 0.5]
    assert stop.kept[:, 0, 0, 0].tolist() == [3.0, 2.0, 3.0]


def test_of_equal_estimates_the_first_counts():
    stop = StopAtMinimum()
    for step in (1, 2):
        stop.update(step, torch.tensor([1.0]), torch.full((1, 1, 1, 1), float(step)))
    assert stop.step.tolist() == [1]


def test_what_is_kept_is_not_overwritten_by_the_fit():
    stop, image, estimate = StopAtMinimum(), torch.zeros(1, 1, 1, 1), torch.tensor([1.0])
    stop.update(1, estimate, image)
    image += 7
    estimate += 7
    assert stop.kept.item() == 0
    assert stop.error.item() == 1
