"""What happened to a photograph, as the measurement that the methods ask for."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import pad

from dualprior.common.errors import UserError
from dualprior.common.seeding import ImageNoise
from dualprior.degradation.measurement import Measurement, estimate_level
from dualprior.degradation.operator import Operator, Size
from dualprior.degradation.operators import BlockAverage, Identity, Mask
from dualprior.photograph.blur import UNIT, Convolution, Kernel

TASKS = ("denoise", "sr", "inpaint", "deblur")
LEAST_NOISE = 0.5  # of a blurred picture, of 255: rounding alone makes 0.3
CLIPPED, UNEVEN = 0.02, 1.5  # share of values at an end of the range, and ratio of noise levels, from which a warning is due
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Damage:
    task: Literal["denoise", "sr", "inpaint", "deblur"]
    noise: float | None = None  # standard deviation on the 0-255 scale; None: estimated where the task has noise, else 0
    scale: int = 4  # sr: by how much the picture is to grow
    known: Tensor | None = None  # inpaint: [1, 1, H, W] of ones and zeros (lost)
    kernel: Kernel | None = None  # deblur

    @property
    def factor(self) -> int:
        return self.scale if self.task == "sr" else 1

    def level(self, y: Tensor) -> float:
        """The noise level of y [1, C, H, W], in its [-1, 1] units, given or estimated. Raises UserError where it is 0 and must not be."""
        if self.noise is not None:
            level = 2 * self.noise / 255
        else:
            level = float(estimate_level(y)) if self.task in ("denoise", "deblur") else 0.0
            if self.task == "denoise":
                _warn(y, level)
        if self.task == "deblur":
            return max(level, 2 * LEAST_NOISE / 255)
        if self.task == "denoise" and level <= 0:
            raise UserError("no noise is found in the picture; say how much there is with --noise, or choose another --task")
        return level

    def measured(self, y: Tensor, sigma_y: float, name: str, rows: slice = slice(None), columns: slice = slice(None)) -> Measurement:
        """y: the picture, or the piece of it at these rows and columns."""
        size = (y.shape[-2] * self.factor, y.shape[-1] * self.factor)
        op = self._operator(size, rows, columns)
        return Measurement(op, y, sigma_y, [name], op.full_size if self.task == "deblur" else size)

    def padded(self, y: Tensor, unit: int = UNIT) -> tuple[Damage, Tensor]:
        """Both, with y mirrored below and to the right until its sides are multiples of `unit`, which the networks halve.

        Not where there is blur: what was mirrored is not what was blurred, and its operator finds its own size.
        """
        if self.task == "deblur":
            return self, y
        more = (0, -y.shape[-1] % unit, 0, -y.shape[-2] % unit)
        known = None if self.known is None else pad(self.known, more, mode="reflect")
        return replace(self, known=known), pad(y, more, mode="reflect")

    def framed(self, x: Tensor, op: Operator) -> Tensor:
        """What of a restoration lies in the frame of its measurement."""
        return op.inside(x) if self.task == "deblur" else x

    def _operator(self, size: Size, rows: slice, columns: slice) -> Operator:
        if self.task == "deblur":
            return Convolution(self.kernel.values, size)
        if self.task == "sr":
            return BlockAverage(self.scale)
        if self.task == "inpaint":
            return Mask(self.known[..., rows, columns])
        return Identity()


def coloured(measured: Measurement, seed: int) -> Measurement:
    """A grey measurement in three channels, with noise as a denoiser of colours expects it.

    Grey noise of level s, repeated, is s² 1 1ᵀ between channels. Noise of variance 3 s² is drawn in the two directions that
    grey does not have, so that all three have 3 s²: white noise of level sqrt(3) s, and nothing about the grey is lost.
    """
    if measured.y.shape[1] != 1:
        return measured
    y = measured.y.expand(-1, 3, -1, -1)
    sigma = 3**0.5 * measured.sigma_y
    drawn = ImageNoise(seed, "colour", measured.names)(y)
    drawn = sigma * (drawn - drawn.mean(1, keepdim=True))
    return measured._replace(y=y + (drawn if measured.op.measured is None else measured.op.measured.to(drawn) * drawn), sigma_y=sigma)


def clipped_share(y: Tensor) -> float:
    """Share of values that were cut off at black or white; 0 where some lie beyond."""
    return float((y.abs() == 1).float().mean()) if y.abs().max() <= 1 else 0.0


def _warn(y: Tensor, level: float) -> None:
    """Noise that is not white and Gaussian: its level is not one number."""
    clipped = clipped_share(y)
    if clipped > CLIPPED:
        log.warning("%.0f %% of the values are black or white: their noise is cut off, and the estimated level may be low", 100 * clipped)
    grey = y[..., : y.shape[-2] // 2 * 2, : y.shape[-1] // 2 * 2].mean(1, keepdim=True)
    blocks = grey.unfold(2, 2, 2).unfold(3, 2, 2).flatten(-2)  # [1, 1, h, w, 4]
    detail = (blocks[..., 0] - blocks[..., 1] - blocks[..., 2] + blocks[..., 3]).abs()  # Haar's finest
    light = blocks.mean(-1)
    dark, bright = (torch.median(detail[place]) for place in (light <= light.quantile(1 / 3), light >= light.quantile(2 / 3)))
    if level > 0 and max(dark, bright) > UNEVEN * min(dark, bright) > 0:
        log.warning("the noise is %.1f times as strong in %s parts: one level for all is a compromise",
                    max(dark, bright) / min(dark, bright), "bright" if bright > dark else "dark")  # fmt: skip
