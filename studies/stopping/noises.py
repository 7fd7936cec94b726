"""Measurement noise of several kinds. Images in [-1, 1]; all draws are per image.

Levels are those of the field: Gaussian noise in 8-bit grey levels, Poisson noise by its peak (photons at white), impulses
by the share of pixels hit.
"""

import warnings
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from dualprior.common.errors import UserError


def gaussian(x: Tensor, level: float, rngs: Sequence[torch.Generator]) -> Tensor:
    """x + n, n ~ N(0, (2 level / 255)^2), not clipped. level: grey levels of 255, >= 0. x: [n, C, H, W]."""
    if not 0 <= level <= 255:
        raise UserError(f"Gaussian noise of level {level:g} is outside 0 to 255; give grey levels")
    return x + 2 * level / 255 * torch.stack([torch.randn(image.shape, generator=rng) for image, rng in zip(x, rngs, strict=True)])


def poisson(x: Tensor, peak: float, rngs: Sequence[torch.Generator]) -> Tensor:
    """Photon counts over the peak: u = (x + 1) / 2, k ~ Poisson(peak u), back to [-1, 1] by 2 k / peak - 1.

    Variance 4 u / peak in [-1, 1] units. peak: photons at white, > 0.
    """
    if not peak > 0:
        raise UserError(f"Poisson noise of peak {peak:g} has no photons; give a peak above 0")
    rates = peak * (x.clamp(-1, 1) + 1) / 2
    counts = torch.stack([torch.poisson(rate, generator=rng) for rate, rng in zip(rates, rngs, strict=True)])
    return 2 * counts / peak - 1


def impulses(x: Tensor, share: float, rngs: Sequence[torch.Generator]) -> Tensor:
    """Salt and pepper: every value is with probability `share` replaced by -1 or 1, half and half. 0 <= share < 1."""
    if not 0 <= share < 1:
        raise UserError(f"impulses on a share of {share:g} of the values leave no picture; give at least 0 and less than 1")
    draws = torch.stack([torch.rand(image.shape, generator=rng) for image, rng in zip(x, rngs, strict=True)])
    return torch.where(draws < share, torch.where(draws < share / 2, -1.0, 1.0).to(x), x)


def estimate_level(y: Tensor) -> Tensor:
    """The standard deviation of white Gaussian noise in every image, [n] in [-1, 1] units, from y [n, C, H, W] alone.

    The median of the finest wavelet coefficients over 0.6745 (Donoho & Johnstone 1994), mean of the channels:
    scikit-image's estimate_sigma. 0 for an image of one colour without noise.
    """
    from skimage.restoration import estimate_sigma

    if not torch.isfinite(y).all():
        raise UserError("the noise level of a measurement with values that are not finite cannot be estimated; mend the measurement")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # an image of one colour has no coefficients at all
        levels = [estimate_sigma(image, channel_axis=0, average_sigmas=True) for image in y.double().cpu().numpy()]
    return torch.tensor(np.nan_to_num(levels), dtype=y.dtype, device=y.device)
