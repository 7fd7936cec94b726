"""Judging a running fit by what it never saw, so that no clean image is needed.

A measurement is split twice, each time into a part to fit and a part to judge that fit by; the two fits run side by
side, by networks of their own, and what is kept is their mean. From the judges comes a running estimate of the mean's
squared error: with f_1, f_2 the fits and m their mean,

    |m - x|^2 = (|f_1 - x|^2 + |f_2 - x|^2) / 2 - |f_1 - f_2|^2 / 4        (Krogh & Vedelsby 1995),

whose first term the judges estimate without bias and whose second is known. Averaging two fits repays what the split
costs (the part that is fitted is noisier, or has fewer pixels, than the measurement). Where the operator shows nothing,
|f_1 - f_2|^2 / 4 itself stands for the error: it is the variance of the mean over networks. Images in [-1, 1]; errors
are mean squares. Nothing here ever receives a clean image.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from dualprior.errors import UserError
from dualprior.operators import Identity, Mask, Operator
from dualprior.seeding import ImageNoise

Judge = Callable[[Tensor], Tensor]  # image [n, C, H, W] -> its estimated mean squared error [n], may dip below zero
Pair = Sequence[Tensor]  # the images of the two fits, [n, C, H, W] each


class Part(NamedTuple):
    """One split of the measurement."""

    y: Tensor  # [n, C, h, w], to fit
    keep: Tensor | None = None  # which of its values to fit (ones and zeros that broadcast to y); None: all
    judge: Judge | None = None  # of a fit to y; None where nothing was held back


@dataclass(frozen=True)
class Witness:
    """Two splits, and how to judge the mean of the two fits.

    estimate: Pair -> [n], squared error, may be slightly negative. unbiased: whether it is the error of the whole
    image in the mean over the noise; otherwise it is a score whose minimum is looked for.
    """

    parts: tuple[Part, Part]
    estimate: Callable[[Pair], Tensor]
    unbiased: bool

    @property
    def y(self) -> Tensor:
        """[2n, C, h, w], both parts to fit, the images of the first one first."""
        return torch.cat([part.y for part in self.parts])

    @property
    def keep(self) -> Tensor | None:
        keeps = [part.keep for part in self.parts]
        return None if keeps[0] is None else torch.cat(keeps)


def _judged(parts: tuple[Part, Part], fits: Pair) -> Tensor:
    """Mean of the two judges' estimates: [n]."""
    return sum(part.judge(image) for part, image in zip(parts, fits, strict=True)) / 2


def half_gap(fits: Pair) -> Tensor:
    """f_1 - m = (f_1 - f_2) / 2."""
    return (fits[0] - fits[1]) / 2


def mean_square(x: Tensor) -> Tensor:
    """[n, C, H, W] to [n]."""
    return x.square().mean((1, 2, 3))


# --- Gaussian noise or none: the coupled split ----------------------------------------------------------------


class CoupledJudge:
    """Running error of a fit to y1 = y + alpha*omega, judged on y2 = y - omega/alpha; alpha of either sign.

    With omega ~ N(0, sigma_y^2 I) the noises of y1 and y2 are independent, so for any f computed from y1
    E||A†(A f - y2)||^2 = E||A†A(f - x)||^2 + E||A†(noise of y2)||^2; for denoising A = A† = I and the first term is the
    whole error. The part of y2's noise that was drawn here is known and taken out exactly, instead of its mean.
    (Recorrupted-to-recorrupted: Pang et al. 2021, Eq. 5-9; the projected error: Eldar 2009, Sec. IV.)
    sigma_y: one level or one an image, [n, 1, 1, 1]. omega: drawn at that level, shaped like y.
    """

    def __init__(self, op: Operator, y: Tensor, sigma_y: float | Tensor, alpha: float, omega: Tensor):
        self._op, self._y2 = op, y - omega / alpha
        variance = torch.as_tensor(sigma_y).to(y).square().view(-1)
        self._noise = variance * _amplification(op, y) + mean_square(op.A_dagger(omega)) / alpha**2

    def __call__(self, image: Tensor) -> Tensor:
        return mean_square(self._op.A_dagger(self._op.A(image) - self._y2)) - self._noise


def _amplification(op: Operator, y: Tensor) -> float | Tensor:
    """E||A†w||^2 / d for unit noise w. But for masks, A† is the same everywhere and one impulse tells."""
    if isinstance(op, Identity):
        return 1.0
    if isinstance(op, Mask):
        return op.mask.to(y).mean((1, 2, 3))
    impulse = torch.zeros_like(y[:1, :1])
    impulse[..., 0, 0] = 1.0
    answer = op.A_dagger(impulse)
    return float(answer.square().sum() * impulse[0, 0].numel() / answer[0, 0].numel())


def coupled_pair(op: Operator, y: Tensor, sigma_y: float | Tensor, alpha: float, noise: ImageNoise) -> Witness:
    """The antithetic pair: fits to y + alpha*omega and to y - alpha*omega, each judged on its y2.

    With P = A†A what the operator shows of an image, the estimate of the mean m of the fits is
        |P(m - x)|^2, by the judges and without bias,  +  |(I - P)(f_1 - f_2)|^2 / 4, how far the fits agree elsewhere.
    The noise of the judges, +-omega/alpha, cancels where the two fits agree, so that what is left of it in the first
    term is 2 <m - x, n> / d and a remainder that shrinks with |f_1 - f_2|. Without noise (sigma_y = 0) both fits are to
    y itself, the data are laid over what is kept, and the second term is all.
    Raises UserError for a negative noise level, and for denoising without noise, where there is nothing to judge by.
    """
    sigma = torch.as_tensor(sigma_y, dtype=y.dtype, device=y.device).view(-1, 1, 1, 1)
    _check_level(sigma, op)
    if (sigma == 0).all():
        return Witness((Part(y), Part(y)), lambda fits: mean_square(_unseen(op, half_gap(fits))), unbiased=False)
    omega = sigma * noise(y)
    first, second = (Part(y + a * omega, None, CoupledJudge(op, y, sigma, a, omega)) for a in (alpha, -alpha))
    parts = (first, second)

    def estimate(fits: Pair) -> Tensor:
        half = half_gap(fits)
        if isinstance(op, Identity):
            return _judged(parts, fits) - mean_square(half)
        seen = op.A_dagger(op.A(half))
        return _judged(parts, fits) - mean_square(seen) + mean_square(half - seen)

    return Witness(parts, estimate, unbiased=isinstance(op, Identity))


def _check_level(sigma: Tensor, op: Operator) -> None:
    low = float(sigma.min())
    if not low >= 0 or (low == 0 and float(sigma.max()) > 0):
        raise UserError(f"the noise level sigma_y={low:g} is not one; give it, above 0, or estimate it (noises.estimate_level)")
    if low == 0 and isinstance(op, Identity):
        raise UserError("denoising with noise level 0 has nothing to stop for; give a level above 0")


def _unseen(op: Operator, x: Tensor) -> Tensor:
    """(I - A†A) x: what the operator does not show."""
    return x - op.A_dagger(op.A(x))


# --- held-out values: any noise that is independent from value to value ---------------------------------------


class HeldOutJudge:
    """Running error of a fit to some of the measured values, judged on values held out: their mean squared residual,
    less the noise's variance."""

    def __init__(self, op: Operator, y: Tensor, held_out: Tensor, sigma_y: float):
        self._op, self._y, self._noise = op, y, sigma_y**2
        self._held_out = held_out.to(y).expand_as(y)
        self._count = self._held_out.sum((1, 2, 3))

    def __call__(self, image: Tensor) -> Tensor:
        residual = self._held_out * (self._op.A(image) - self._y).square()
        return residual.sum((1, 2, 3)) / self._count - self._noise


def held_out_pair(op: Operator, y: Tensor, sigma_y: float, share: float, noise: ImageNoise) -> Witness:
    """Two disjoint random sets of the measured pixels, each a `share`, held out of one fit and kept to judge it.

    The score is the mean of the two residuals on held-out pixels: the error that each fit makes where it sees nothing.
    Raises UserError for an image with fewer than four measured pixels.
    """
    known = op.mask.to(y) if isinstance(op, Mask) else torch.ones_like(y[:, :1])
    first, second = _two_sets(known, share, noise)
    parts = tuple(Part(y, known - held, HeldOutJudge(op, y, held, sigma_y)) for held in (first, second))
    return Witness(parts, lambda fits: _judged(parts, fits), unbiased=False)


def _two_sets(known: Tensor, share: float, noise: ImageNoise) -> tuple[Tensor, Tensor]:
    """Two disjoint sets of the values known, [n, c, h, w] of ones and zeros; each leaves at least half to the fit."""
    counts = known.sum((1, 2, 3))
    if (counts < 4).any():
        raise UserError(f"an image with {int(counts.min())} known pixels has none to hold out; raise the task's keep in params.yaml")
    score = noise(known) + torch.where(known > 0, 0.0, torch.inf)  # the lowest scores among the known are held out
    quota = (share * counts).round().clamp(min=1).minimum((counts / 2).floor()).view(-1, 1, 1, 1)
    rank = score.flatten(1).argsort(dim=1).argsort(dim=1).view_as(known)
    return (rank < quota).to(known), ((rank >= quota) & (rank < 2 * quota)).to(known)


# --- other noises ---------------------------------------------------------------------------------------------


def _of_the_mean(first: Part, second: Part) -> Witness:
    """The witness of two parts whose judges give the error of the whole image."""
    parts = (first, second)
    return Witness(parts, lambda fits: _judged(parts, fits) - mean_square(half_gap(fits)), unbiased=True)


def thinned_pair(y: Tensor, peak: float, share: float, rngs: Sequence[torch.Generator]) -> Witness:
    """Poisson counts k = peak (y + 1) / 2 thinned: two disjoint shares of the photons, each held out of one fit.

    Thinned Poisson counts are independent Poisson counts, so the judge on the held-out photons, rescaled, is unbiased
    as the coupled one is (binomial thinning; Batson & Royer 2019, J-invariance, with a split of every pixel). The
    variance of the held-out measurement, 4 k_out / (share peak)^2, is estimated from itself, without bias.
    Raises UserError for a share that leaves a fit without photons, or a y that holds no counts.
    """
    if not 0 < share < 0.5:
        raise UserError(f"a share of {share:g} of the photons cannot be held out of each of two fits; give more than 0 and less than 0.5")
    counts = peak * (y + 1) / 2
    if not (peak > 0 and (counts - counts.round()).abs().max() <= 1e-2 and counts.min() >= -1e-2):  # nor with NaN
        raise UserError(f"this measurement is not made of whole photons at a peak of {peak:g}; give the peak it was made with")
    counts = counts.round()
    parts, left = [], counts
    for chance in (share, share / (1 - share)):
        p = torch.full_like(left[0], chance)
        out = torch.stack([torch.binomial(k.cpu(), p.cpu(), generator=rng) for k, rng in zip(left, rngs, strict=True)]).to(y)
        left = left - out
        fitted = 2 * (counts - out) / ((1 - share) * peak) - 1
        held = 2 * out / (share * peak) - 1
        noise = (4 * out / (share * peak) ** 2).mean((1, 2, 3))
        parts.append(Part(fitted, None, lambda image, held=held, noise=noise: mean_square(image - held) - noise))
    return _of_the_mean(*parts)


def impulse_pair(y: Tensor, sigma_y: float, alpha: float, share: float, noise: ImageNoise) -> Witness:
    """Salt and pepper over Gaussian noise: values at either end, exactly -1 or 1, are taken for lost.

    Each fit is to the coupled pair at the values that are not lost, less a held-out share of them. At fitted values the
    coupled judge gives the error, at held-out ones their residual, and the lost ones, struck at random like the held-out,
    have the held-out ones' mean error.
    """
    known = (y.abs() != 1).to(y)
    sets = _two_sets(known, share, noise)
    omega = sigma_y * noise(y)
    parts = []
    for held, a in zip(sets, (alpha, -alpha), strict=True):
        keep = known - held
        y2, drawn = y - omega / a, omega.square() / a**2
        lost_and_held = (1 - keep).sum((1, 2, 3)) / held.sum((1, 2, 3))

        def judge(image: Tensor, keep=keep, held=held, y2=y2, drawn=drawn, weight=lost_and_held) -> Tensor:
            fitted = (keep * ((image - y2).square() - sigma_y**2 - drawn)).sum((1, 2, 3))
            unseen = (held * ((image - y).square() - sigma_y**2)).sum((1, 2, 3))
            return (fitted + weight * unseen) / y[0].numel()

        parts.append(Part(y + a * omega, keep, judge))
    return _of_the_mean(*parts)
