"""Restorations without any learned or fitted prior: cheap starts for a restart, and what every method is held against.

Each takes a `Problem` and gives an `Estimate`, as those in `restorers`.
"""

import numpy as np
import torch
from skimage.restoration import inpaint_biharmonic
from torch import Tensor
from torch.nn.functional import interpolate

from dualprior.device import Stopwatch
from dualprior.observation import Observation
from dualprior.operators import BlockAverage, GaussianBlur, Mask
from dualprior.problem import Estimate, Problem


def as_image(problem: Problem, past: dict) -> Estimate:
    """The measurement at the size of the image: y itself, zero-filled or repeated pixels."""
    op, y = problem.seen.op, problem.seen.y
    return Estimate(y if y.shape[-2:] == problem.seen.size else op.A_dagger(y))


def pseudo_inverse(problem: Problem, past: dict) -> Estimate:
    """A†y."""
    with Stopwatch(len(problem.seen.y)) as watch:
        x = problem.seen.op.A_dagger(problem.seen.y)
    return Estimate(x, watch.seconds)


def bicubic(problem: Problem, past: dict) -> Estimate:
    with Stopwatch(len(problem.seen.y)) as watch:
        x = interpolate(problem.seen.y, size=problem.seen.size, mode="bicubic", antialias=False)
    return Estimate(x, watch.seconds)


def blurred(problem: Problem, past: dict, std: float) -> Estimate:
    """The measurement under a Gaussian of `std` pixels; holes are filled by ever wider ones (normalised convolution)."""
    with Stopwatch(len(problem.seen.y)) as watch:
        x = _fill(problem.seen, std) if isinstance(problem.seen.op, Mask) else _blur(_upright(problem.seen), std)
    return Estimate(x, watch.seconds)


def biharmonic(problem: Problem, past: dict) -> Estimate:
    """The holes of a mask filled by the biharmonic equation (Damelin & Hoang 2018), scikit-image's."""
    seen = problem.seen
    holes = (seen.op.mask == 0)[:, 0].cpu().numpy()
    known = (seen.y * seen.op.mask).movedim(1, -1).cpu().numpy()
    with Stopwatch(len(seen.y)) as watch:
        filled = [inpaint_biharmonic(image, hole, channel_axis=-1) for image, hole in zip(known, holes, strict=True)]
    return Estimate(torch.from_numpy(np.stack(filled)).movedim(-1, 1).to(seen.y), watch.seconds)


def _upright(seen: Observation) -> Tensor:
    return interpolate(seen.y, size=seen.size, mode="bicubic") if isinstance(seen.op, BlockAverage) else seen.y


def _blur(x: Tensor, std: float) -> Tensor:
    return GaussianBlur(std, tuple(x.shape[-2:])).A(x)


def _fill(seen: Observation, std: float) -> Tensor:
    """Knutsson & Westin 1993: blur(mask*y) / blur(mask), the narrowest Gaussian that reaches a known pixel."""
    mask = seen.op.mask
    x = torch.zeros_like(seen.y)
    reached = torch.zeros_like(mask, dtype=torch.bool)
    for width in (std, 2 * std, 4 * std, 8 * std, 16 * std):
        weight = _blur(mask, width)
        now = (weight > 0.02) & ~reached
        x = torch.where(now, _blur(seen.y, width) / weight.clamp(min=1e-6), x)
        reached |= now
    return torch.where(mask > 0, seen.y, x)
