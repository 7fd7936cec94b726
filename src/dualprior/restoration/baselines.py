"""Restorations without a learned or fitted prior: what every method is held against, and cheap starts of a restart."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from dualprior.common.device import Stopwatch
from dualprior.restoration.problem import Problem, Restoration


def interpolation(problem: Problem, past: dict) -> Restoration:
    """The operator's own cheap start: y, A†y, bicubic or biharmonic."""
    measured = problem.measured
    with Stopwatch(len(measured.y)) as watch:
        x = measured.op.cheap_start(measured.y)
    return Restoration(x, watch.seconds)


def total_variation(problem: Problem, past: dict, weight: float) -> Restoration:
    """Total variation (Rudin et al. 1992; Chambolle 2004, scikit-image's) of the operator's cheap start; weight as there, on [0, 1]."""
    from skimage.restoration import denoise_tv_chambolle

    return _classical(problem, lambda image: denoise_tv_chambolle(image, weight=weight, channel_axis=-1))


def non_local_means(problem: Problem, past: dict, strength: float) -> Restoration:
    """Non-local means (Buades et al. 2005, scikit-image's) of the operator's cheap start; strength: h, in units of the noise."""
    from skimage.restoration import denoise_nl_means

    sigma = max(problem.measured.sigma_y / 2, 1 / 255)  # [0, 1] units
    settings = {"patch_size": 5, "patch_distance": 6, "h": strength * sigma, "sigma": sigma, "fast_mode": True, "channel_axis": -1}
    return _classical(problem, lambda image: denoise_nl_means(image, **settings))


def _classical(problem: Problem, denoise: Callable[[np.ndarray], np.ndarray]) -> Restoration:
    """denoise: [H, W, C] in [0, 1] units, not clipped, to the same. Exact data are kept."""
    measured = problem.measured
    with Stopwatch(len(measured.y)) as watch:
        start = measured.op.cheap_start(measured.y)
        images = ((start.movedim(1, -1).cpu().numpy() + 1) / 2).astype(np.float64)
        x = torch.from_numpy(np.stack([denoise(image) for image in images])).movedim(-1, 1).to(start) * 2 - 1
        x = _keep_exact_data(problem, x)
    return Restoration(x, watch.seconds)


def _keep_exact_data(problem: Problem, x: Tensor) -> Tensor:
    measured = problem.measured
    return x if problem.noisy else measured.op.prox(x, measured.y, 0.0)
