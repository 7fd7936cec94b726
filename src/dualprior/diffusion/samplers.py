"""One reverse loop for DDPM, DDIM, restarts, DDNM and DiffPIR: they differ in start, grid, noise split and data consistency only."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

DataConsistency = Callable[[Tensor, Tensor], Tensor]  # (guess of the clean image, sigma) -> the guess drawn towards the data

Denoise = Callable[[Tensor, Tensor], Tensor]
Split = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
Noise = Callable[[Tensor], Tensor]


def ddpm_split(sigma: Tensor, sigma_next: Tensor, eta: float = 1.0) -> tuple[Tensor, Tensor]:
    """Split the next noise level into the part kept and the part drawn afresh: (down, up).

    DDIM (Song et al. 2021, Eq. 16) in sigma coordinates; eta = 1 is DDPM's posterior, eta = 0 is DDIM.
    Invariant: down^2 + up^2 = sigma_next^2. sigma, sigma_next: same shape, sigma > sigma_next >= 0.
    """
    up = eta * sigma_next * (1 - (sigma_next / sigma) ** 2).clamp(min=0).sqrt()
    return (sigma_next**2 - up**2).clamp(min=0).sqrt(), up


def zeta_split(sigma: Tensor, sigma_next: Tensor, zeta: float = 0.3) -> tuple[Tensor, Tensor]:
    """DiffPIR's split (Zhu et al. 2023, Algorithm 1): the share zeta of the next level's variance is fresh noise.

    Invariant: down^2 + up^2 = sigma_next^2. 0 <= zeta <= 1.
    """
    return (1 - zeta) ** 0.5 * sigma_next, zeta**0.5 * sigma_next


# By name, for unconditional samples: a new sampler is one entry.
SAMPLERS: dict[str, Split] = {"ddpm": ddpm_split, "ddim": partial(ddpm_split, eta=0.0)}


class ReverseStep(NamedTuple):
    x: Tensor  # [B, C, H, W] at noise level sigma
    x0: Tensor  # [B, C, H, W], the guess of the clean image after data consistency
    sigma: Tensor  # [] or [B], the level just reached; 0 after the last step
    nfe: int  # network calls made so far


def reverse(
    denoise: Denoise,
    x: Tensor,
    sigmas: np.ndarray,
    *,
    split: Split = ddpm_split,
    data_consistency: DataConsistency | None = None,
    noise: Noise | None = None,
) -> Iterator[ReverseStep]:
    """Run the reverse process from x at sigmas[0], yielding after every step.

    x: [B, C, H, W] at noise level sigmas[0]; sigmas: [nfe + 1] or, a grid for every image, [nfe + 1, B]; strictly
    falling, the last 0. noise(x) draws fresh unit noise shaped like x; needed only if the split draws any.
    Each step: x0 = data_consistency(D(x, sigma), sigma); eps = (x - x0) / sigma; x = x0 + down*eps + up*noise.
    Raises ValueError for a grid that does not fall to 0.
    """
    grid = torch.as_tensor(sigmas, dtype=torch.float64)
    if (grid[-1] != 0).any() or (grid.diff(dim=0) >= 0).any():
        raise ValueError(f"a sampling grid falls strictly and ends at 0; this one is {grid.tolist()}")
    grid = grid.to(x)
    for nfe, (sigma, sigma_next) in enumerate(zip(grid, grid[1:], strict=False), start=1):
        level = sigma.view(-1, 1, 1, 1)
        x0 = denoise(x, sigma)
        x0 = x0 if data_consistency is None else data_consistency(x0, level)
        down, up = split(level, sigma_next.view(-1, 1, 1, 1))
        x = x0 + down * ((x - x0) / level)
        if (up > 0).any():
            x = x + up * noise(x)
        yield ReverseStep(x, x0, sigma_next, nfe)


def last(steps: Iterator[ReverseStep]) -> ReverseStep:
    """Run a reverse process to its end."""
    for step in steps:
        pass
    return step


def restart(x: Tensor, error: Tensor, start: Tensor, z: Tensor) -> Tensor:
    """Variance-matched restart: x + sqrt(max(0, start^2 - error^2)) z is at noise level `start`.

    The start image's own error counts as part of the noise. x, z: [B, C, H, W]; error, start: [B], the image's RMSE
    and the level to start at. error = 0 gives the plain restart of SDEdit (Meng et al. 2022) and CCDF
    (Chung et al. 2022).
    """
    added = (start**2 - error**2).clamp(min=0).sqrt()
    return x + added.to(x).view(-1, 1, 1, 1) * z
