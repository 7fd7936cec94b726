"""Blur of a photograph: what was blurred lay partly outside the frame, so the frame is not taken to be periodic."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from scipy.ndimage import gaussian_gradient_magnitude
from torch import Tensor
from torch.nn.functional import conv2d, conv_transpose2d, pad

from dualprior.common.errors import UserError
from dualprior.degradation.operator import Operator, Size
from dualprior.photograph.picture import read_picture

WIDEST = 65  # side of a kernel, pixels
UNIT = 8  # what the networks want the sides of an image to be multiples of
ITERATIONS, CLOSE = 30, 1e-3  # of conjugate gradients; relative residual that ends them
EDGE_WIDTHS, STEEP = (1.0, 2.0), 0.99  # smoothings of an edge, pixels; quantile of slopes
LEAST, SHARP, BROADEST = 0.3, 0.5, WIDEST / 6  # standard deviations: the least given, the least told from none, the largest
DAMPING = 0.04  # rho of A†: singular values far below 0.2 are not inverted


@dataclass(frozen=True, eq=False)
class Convolution(Operator):
    """y = M K x: a convolution, of which only the part inside the frame is measured.

    kernel: [k, k], k odd, sum 1; size: (h, w) of y. The image has k - 1 rows and columns more, and a few to make multiples of 8.
    """

    kernel: Tensor
    size: Size

    @property
    def offset(self) -> int:
        """Where the frame begins in the image, from the top and from the left."""
        return len(self.kernel) // 2

    @property
    def full_size(self) -> Size:
        return tuple(-(-(side + 2 * self.offset) // UNIT) * UNIT for side in self.size)

    def A(self, x):
        return conv2d(x, self._each(x), groups=x.shape[1])[..., : self.size[0], : self.size[1]]

    def A_adjoint(self, y):
        spread = conv_transpose2d(y, self._each(y), groups=y.shape[1])
        below, right = (full - done for full, done in zip(self.full_size, spread.shape[-2:], strict=True))
        return pad(spread, (0, right, 0, below))

    def A_dagger(self, y):
        """Regularised: (AᵀA + rho)⁻¹ Aᵀ y."""
        return self._solve(self.A_adjoint(y), DAMPING)

    def prox(self, x0, y, rho):
        return x0 + self._solve(self.A_adjoint(y - self.A(x0)), rho)

    def noise_gain(self, y):
        impulse = torch.zeros_like(y[:1, :1])
        impulse[..., y.shape[-2] // 2, y.shape[-1] // 2] = 1.0
        return float(self.A_dagger(impulse).square().sum()) * y[0, 0].numel() / (self.full_size[0] * self.full_size[1])

    def inside(self, x: Tensor) -> Tensor:
        """The part of an image that lies in the frame."""
        return x[..., self.offset : self.offset + self.size[0], self.offset : self.offset + self.size[1]]

    def _each(self, x: Tensor) -> Tensor:
        return self.kernel.to(x).flip(0, 1).expand(x.shape[1], 1, -1, -1)  # conv2d correlates

    def _solve(self, b: Tensor, rho: float | Tensor) -> Tensor:
        """(AᵀA + rho)⁻¹ b by conjugate gradients (Hestenes & Stiefel 1952)."""
        x, r = torch.zeros_like(b), b
        p, energy = r, r.square().sum()
        enough = CLOSE**2 * energy
        for _ in range(ITERATIONS):
            if energy <= enough:
                break
            ahead = self.A_adjoint(self.A(p)) + rho * p
            step = energy / (p * ahead).sum()
            x, r = x + step * p, r - step * ahead
            before, energy = energy, r.square().sum()
            p = r + energy / before * p
        return x


class Kernel(NamedTuple):
    values: Tensor  # [k, k], k odd, sum 1
    what: str  # in words


def gaussian(std: float) -> Tensor:
    """[k, k], sampled to three standard deviations. std: pixels."""
    reach = min(max(1, math.ceil(3 * std)), WIDEST // 2)
    line = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, dtype=torch.float32) / std) ** 2)
    return (line[:, None] * line) / line.sum() ** 2


def motion(length: float, angle: float) -> Tensor:
    """[k, k], a line of `length` pixels at `angle` degrees, anticlockwise from the right; each of its points shared out to four pixels."""
    reach = min(max(1, math.ceil(length / 2)), WIDEST // 2)
    along = torch.linspace(-(length - 1) / 2, (length - 1) / 2, 16 * reach + 1) if length > 1 else torch.zeros(1)
    turned = math.radians(angle)
    rows, columns = reach - along * math.sin(turned), reach + along * math.cos(turned)
    place = torch.arange(2 * reach + 1)
    near = [(1 - (place[:, None] - at).abs()).clamp(min=0) for at in (rows, columns)]  # [k, points]
    return near[0] @ near[1].T / len(along)


def from_file(path: Path) -> Tensor:
    """A picture of the kernel, as bright as it is strong; made square and odd, and its sum 1."""
    values = torch.from_numpy(read_picture(path).values.mean(2))
    if max(values.shape) > WIDEST or values.sum() <= 0:
        raise UserError(f"{path} is no kernel: it must not be black, and have at most {WIDEST} pixels a side")
    side = max(values.shape) // 2 * 2 + 1
    top, left = ((side - length) // 2 for length in values.shape)
    square = pad(values, (left, side - values.shape[1] - left, top, side - values.shape[0] - top))
    return square / square.sum()


def estimated_std(y: Tensor) -> float:
    """The standard deviation, in pixels, of the Gaussian that blurred y [1, C, H, W], from its strongest edges.

    A step blurred by s has, smoothed further by a, a slope of 1/sqrt(s² + a²): the ratio of two slopes tells s
    (Zhuo & Sim 2011, Eq. 6). The median over the steepest hundredth of the pixels; 0 where those are sharp.
    """
    grey = y[0].mean(0).double().cpu().numpy()
    less, more = (gaussian_gradient_magnitude(grey, a) for a in EDGE_WIDTHS)
    steep = less >= max(np.quantile(less, STEEP), 1e-12)
    ratio = float(np.median((less[steep] / more[steep]) ** 2)) if steep.any() else math.inf
    a, b = (width**2 for width in EDGE_WIDTHS)
    return math.sqrt(max(b - ratio * a, 0.0) / (ratio - 1)) if 1 < ratio < b / a else 0.0


def kernel_of(text: str | None, y: Tensor) -> Kernel:
    """The kernel that the command line names: "1.6", "motion:LENGTH:ANGLE", a file, or None to estimate."""
    if text is None:
        std = min(estimated_std(y), BROADEST)
        if std < SHARP:
            raise UserError("the strongest edges are sharp; say what the blur is with --blur, or choose another --task")
        return Kernel(gaussian(std), f"Gaussian of {std:.2f} pixels, estimated")
    if Path(text).is_file():
        return Kernel(from_file(Path(text)), f"kernel {Path(text).name}")
    parts = text.split(":")
    moved = parts[0] == "motion"
    try:
        numbers = [float(part) for part in parts[moved:]]
    except ValueError:
        numbers = []
    if not moved and len(numbers) == 1 and LEAST <= numbers[0] <= BROADEST:
        return Kernel(gaussian(numbers[0]), f"Gaussian of {numbers[0]:.2f} pixels")
    if moved and len(numbers) == 2 and 1 < numbers[0] <= WIDEST and math.isfinite(numbers[1]):
        return Kernel(motion(*numbers), f"motion of {numbers[0]:g} pixels at {numbers[1]:g} degrees")
    known = f"a number of pixels from {LEAST} to {BROADEST:.1f}, motion:LENGTH:ANGLE with a length of 1 to {WIDEST}"
    raise UserError(f"--blur {text} is neither {known}, nor a file")
