"""Measurements drawn again and again, and stand-ins for fits, for tests of risk estimates."""

import math

import tiny
import torch

from dualprior.common.seeding import ImageNoise

SIGMA_Y, DRAWS, SIDE = 0.4, 4000, 8


def noise(count):
    return ImageNoise(0, "witness", [f"image{i}" for i in range(count)])


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


def filled(part):
    """A nonlinear stand-in for a fit to the values that are kept: a local mean of them, blind to all others."""
    keep = part.keep.expand_as(part.y)
    mean = neighbours(torch.where(keep > 0, part.y, 0.0)) / neighbours(keep).clamp(min=1)
    return torch.tanh(1.5 * torch.where(keep > 0, (part.y + mean) / 2, mean))


def squared(error):
    return error.square().mean((1, 2, 3))


def mean_of(fits):
    return (fits[0] + fits[1]) / 2


def bias(estimate, truth):
    """Mean of the estimate minus the truth, in standard errors of that mean."""
    gap = (estimate - truth).double()
    return abs(float(gap.mean() / gap.std() * math.sqrt(len(gap))))
