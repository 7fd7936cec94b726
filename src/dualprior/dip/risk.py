"""The running error of a Deep Image Prior fit, estimated from a part of the measurement that it never saw.

A measurement is split twice, each time into a part to fit and a part to estimate that fit's error from; the two fits run
side by side, by networks of their own, and what is kept is their mean. With f_1, f_2 the fits and m their mean,

    |m - x|^2 = (|f_1 - x|^2 + |f_2 - x|^2) / 2 - |f_1 - f_2|^2 / 4        (Krogh & Vedelsby 1995),

whose first term is estimated without bias and whose second is known. Averaging two fits repays what the split costs
(the part that is fitted is noisier than the measurement). Where the operator shows nothing, |f_1 - f_2|^2 / 4 itself
stands for the error: it is the variance of the mean over networks. Images in [-1, 1]; errors are mean squares.
Nothing here ever receives a clean image.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from dualprior.common.errors import UserError
from dualprior.common.seeding import ImageNoise
from dualprior.degradation.operators import Operator

Risk = Callable[[Tensor], Tensor]  # image [n, C, H, W] -> its estimated mean squared error [n], may dip below zero
PairedImages = Sequence[Tensor]  # the images of the two fits, [n, C, H, W] each


class MeasurementSplit(NamedTuple):
    """What one of the two fits is given."""

    y: Tensor  # [n, C, h, w], to fit
    keep: Tensor | None = None  # which of its values to fit (ones and zeros that broadcast to y); None: all
    risk: Risk | None = None  # of a fit to y; None where nothing was held back


@dataclass(frozen=True)
class RiskEstimate:
    """Two splits of one measurement, and the error of the mean of their two fits.

    estimate: images of the two fits -> [n], squared error, may be slightly negative. unbiased: whether it is the error of
    the whole image in the mean over the noise; otherwise it is a score whose minimum is looked for.
    """

    splits: tuple[MeasurementSplit, MeasurementSplit]
    estimate: Callable[[PairedImages], Tensor]
    unbiased: bool

    @property
    def y(self) -> Tensor:
        """[2n, C, h, w], both parts to fit, the images of the first one first."""
        return torch.cat([split.y for split in self.splits])

    @property
    def keep(self) -> Tensor | None:
        keeps = [split.keep for split in self.splits]
        return None if keeps[0] is None else torch.cat(keeps)


def mean_risk(splits: Sequence[MeasurementSplit], fits: PairedImages) -> Tensor:
    """Mean of the two fits' estimated errors: [n]."""
    return sum(split.risk(image) for split, image in zip(splits, fits, strict=True)) / 2


def half_difference(fits: PairedImages) -> Tensor:
    """f_1 - m = (f_1 - f_2) / 2."""
    return (fits[0] - fits[1]) / 2


def mean_square(x: Tensor) -> Tensor:
    """[n, C, H, W] to [n]."""
    return x.square().mean((1, 2, 3))


class RecorruptedRisk:
    """Running error of a fit to y1 = y + alpha*omega, estimated from y2 = y - omega/alpha; alpha of either sign.

    With omega ~ N(0, sigma_y^2 I) the noises of y1 and y2 are independent, so for any f computed from y1
    E||A†(A f - y2)||^2 = E||A†A(f - x)||^2 + E||A†(noise of y2)||^2; for denoising A = A† = I and the first term is the
    whole error. The part of y2's noise that was drawn here is known and taken out exactly, instead of its mean.
    (Recorrupted-to-recorrupted: Pang et al. 2021, Eq. 5-9; the projected error: Eldar 2009, Sec. IV.)
    sigma_y: one level or one an image, [n, 1, 1, 1]. omega: drawn at that level, shaped like y.
    """

    def __init__(self, op: Operator, y: Tensor, sigma_y: float | Tensor, alpha: float, omega: Tensor):
        self._op, self._y2 = op, y - omega / alpha
        variance = torch.as_tensor(sigma_y).to(y).square().view(-1)
        self._noise = variance * op.noise_gain(y) + mean_square(op.A_dagger(omega)) / alpha**2

    def __call__(self, image: Tensor) -> Tensor:
        return mean_square(self._op.A_dagger(self._op.A(image) - self._y2)) - self._noise


def recorrupted_split(op: Operator, y: Tensor, sigma_y: float | Tensor, alpha: float, noise: ImageNoise) -> RiskEstimate:
    """The antithetic pair: fits to y + alpha*omega and to y - alpha*omega, each judged on its y2.

    With P = A†A what the operator shows of an image, the estimate of the mean m of the fits is
        |P(m - x)|^2, without bias,  +  |(I - P)(f_1 - f_2)|^2 / 4, how far the fits agree elsewhere.
    The drawn noise, +-omega/alpha, cancels where the two fits agree, so that what is left of it in the first term is
    2 <m - x, n> / d and a remainder that shrinks with |f_1 - f_2|. Without noise (sigma_y = 0) both fits are to y
    itself, the kept image is projected on the exact data, and the second term is all.
    Raises UserError for a negative noise level, and for denoising without noise, where there is nothing to stop for.
    """
    sigma = torch.as_tensor(sigma_y, dtype=y.dtype, device=y.device).view(-1, 1, 1, 1)
    _check_level(sigma, op)
    if (sigma == 0).all():
        both = (MeasurementSplit(y), MeasurementSplit(y))
        return RiskEstimate(both, lambda fits: mean_square(_hidden(op, half_difference(fits))), unbiased=False)
    omega = sigma * noise(y)
    first, second = (MeasurementSplit(y + a * omega, None, RecorruptedRisk(op, y, sigma, a, omega)) for a in (alpha, -alpha))

    def estimate(fits: PairedImages) -> Tensor:
        half = half_difference(fits)
        shown = op.A_dagger(op.A(half))
        return mean_risk((first, second), fits) - mean_square(shown) + mean_square(half - shown)

    return RiskEstimate((first, second), estimate, unbiased=not op.hides)


def _check_level(sigma: Tensor, op: Operator) -> None:
    low = float(sigma.min())
    if not low >= 0 or (low == 0 and float(sigma.max()) > 0):
        raise UserError(f"the noise level sigma_y={low:g} is not one; give it, above 0, or estimate it (measurement.estimate_level)")
    if low == 0 and not op.hides:
        raise UserError("denoising with noise level 0 has nothing to stop for; give a level above 0")


def _hidden(op: Operator, x: Tensor) -> Tensor:
    """(I - A†A) x: what the operator does not show."""
    return x - op.A_dagger(op.A(x))
