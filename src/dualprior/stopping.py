"""When to stop a deep image prior without the clean image.

A witness is a part of the measurement that a fit never sees; from it comes an unbiased estimate of that fit's squared
error (over the image, or over pixels like the held-out ones). `StopAtMinimum` is fed the estimate step by step and
remembers, for every image, the step where it was least and the image of that step. A fit to the whole measurement that
starts from the same weights is stopped where its witness was best: its own error is a little smaller than the
witness's, and the least of many estimates is a little low, so `error` is a scale to be calibrated on validation images.
Nothing here ever receives a clean image.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from dualprior.errors import UserError
from dualprior.operators import Mask, Operator
from dualprior.seeding import ImageNoise


class Split(NamedTuple):
    """A measurement in two parts: one to fit, one to judge the fit by."""

    op: Operator
    y: Tensor  # [N, C, h, w], to fit
    judge: "CoupledJudge | HeldOutJudge"


class CoupledJudge:
    """Running error of a fit to y1 = y + alpha*omega, judged on y2 = y - omega/alpha.

    With omega ~ N(0, sigma_y^2 I) the noises of y1 and y2 are independent, so for any f computed from y1
    E||f - y2||^2 = E||f - x||^2 + d sigma_y^2 (1 + 1/alpha^2). The part of y2's noise that was drawn here,
    ||omega||^2 / alpha^2, is known exactly and taken out instead of its mean. (Recorrupted-to-recorrupted:
    Pang et al. 2021, Eq. 5-9.)
    """

    def __init__(self, y: Tensor, sigma_y: float, alpha: float, omega: Tensor):
        self._y2 = y - omega / alpha
        self._noise = sigma_y**2 + omega.square().mean((1, 2, 3)) / alpha**2

    def __call__(self, image: Tensor) -> Tensor:
        """Estimated mean squared error of every image [N, C, H, W]: [N], may be slightly negative."""
        return (image - self._y2).square().mean((1, 2, 3)) - self._noise


class HeldOutJudge:
    """Running error of a fit to some of the known pixels, judged on the known pixels held out."""

    def __init__(self, y: Tensor, held_out: Tensor, sigma_y: float):
        self._y, self._held_out, self._noise = y, held_out, sigma_y**2
        self._count = held_out.sum((1, 2, 3)) * y.shape[1]

    def __call__(self, image: Tensor) -> Tensor:
        residual = self._held_out * (image - self._y).square()
        return residual.sum((1, 2, 3)) / self._count - self._noise


def coupled_split(op: Operator, y: Tensor, sigma_y: float, alpha: float, noise: ImageNoise) -> Split:
    """y1 = y + alpha*omega to fit, its judge on y2. Denoising only (op the identity); sigma_y > 0."""
    omega = sigma_y * noise(y)
    return Split(op, y + alpha * omega, CoupledJudge(y, sigma_y, alpha, omega))


def held_out_split(op: Mask, y: Tensor, sigma_y: float, share: float, noise: ImageNoise) -> Split:
    """Inpainting: a random `share` of every image's known pixels is taken out of the fit and kept to judge it.

    At least one pixel is held out and at least one is kept. Raises UserError for an image with fewer than two.
    """
    known = op.mask.to(y)
    score = noise(known) + torch.where(known > 0, 0.0, torch.inf)  # the lowest scores among the known are held out
    counts = known.sum((1, 2, 3))
    if (counts < 2).any():
        raise UserError(f"an image with {int(counts.min())} known pixels has none to hold out; raise the task's keep in params.yaml")
    quota = (share * counts).round().clamp(min=1).minimum(counts - 1).long()
    rank = score.flatten(1).argsort(dim=1).argsort(dim=1).view_as(known)
    held_out = (rank < quota.view(-1, 1, 1, 1)).to(known)
    kept = known - held_out
    return Split(Mask(kept), kept * y, HeldOutJudge(y, held_out, sigma_y))


class StopAtMinimum:
    """Per image: the step at which the error estimate was least, and what was to be kept from that step."""

    def __init__(self) -> None:
        self.step: Tensor | None = None  # [N] int64
        self.error: Tensor | None = None  # [N], the least estimate, squared-error units
        self.kept: Tensor | None = None  # [N, C, H, W]

    def update(self, step: int, estimate: Tensor, keep: Tensor) -> None:
        """estimate: [N]; keep: [N, C, H, W], copied where the estimate improves."""
        if self.step is None:
            self.step = torch.full(estimate.shape, step, dtype=torch.int64)
            self.error, self.kept = estimate.clone(), keep.clone()
            return
        better = estimate < self.error
        self.step[better.cpu()] = step
        self.error = torch.where(better, estimate, self.error)
        self.kept[better] = keep[better]
