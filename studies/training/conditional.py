"""A conditional diffusion model with a first guess: what it is trained on, and how it restores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dualprior.diffusion.denoiser import Denoiser
from dualprior.diffusion.samplers import ddpm_split, reverse
from dualprior.diffusion.schedule import few_step_grid
from studies.training.given import Given
from studies.training.params import Variant

Handed = Callable[[Tensor, int], Tensor]  # (guess of the clean image, calls done) -> what goes on
IMAGE_RMS = 0.5  # of photographs in [-1, 1], which the schedule is made for


@dataclass(frozen=True)
class Frame:
    """x = mean + scale u: what is diffused is u. Without a residual it is the image itself.

    error: RMSE of the mean on validation patches, 0 without one; by it a residual is scaled to the RMS of images.
    """

    residual: bool
    error: float

    @classmethod
    def of(cls, variant: Variant, clean: Tensor, given: Given) -> Frame:
        return cls(variant.residual, 0.0 if given.mean is None else float((clean - given.mean).square().mean().sqrt()))

    @property
    def scale(self) -> float:
        return self.error / IMAGE_RMS

    def to(self, x: Tensor, given: Given) -> Tensor:
        return (x - given.mean) / self.scale if self.residual else x

    def back(self, u: Tensor, given: Given) -> Tensor:
        return given.mean + self.scale * u if self.residual else u


def trained_levels(variant: Variant, levels: np.ndarray) -> np.ndarray:
    """All of a schedule, or those up to sigma_max (TDPM, Zheng et al. 2023; ES-DDPM, Lyu et al. 2022)."""
    return levels if variant.sigma_max is None else levels[levels <= variant.sigma_max]


@torch.no_grad()
def restore(
    denoiser: Denoiser,
    variant: Variant,
    frame: Frame,
    levels: np.ndarray,
    given: Given,
    calls: int,
    z: Tensor,
    handed: Handed | None = None,
) -> Tensor:
    """A deterministic chain (DDIM) from noise z, or from the mean noised to sigma_max, its own error included: [N, C, H, W].

    handed: changes the guess of the clean image on the way.
    """
    top = float(trained_levels(variant, levels)[-1])
    start = top * z if variant.sigma_max is None else given.mean + max(0.0, top**2 - frame.error**2) ** 0.5 * z
    done = 0

    def consistent(u: Tensor, sigma: Tensor) -> Tensor:
        nonlocal done
        done += 1
        x = frame.back(u, given).clamp(-1, 1)
        return frame.to(x if handed is None else handed(x, done), given)

    def denoise(u: Tensor, sigma: Tensor) -> Tensor:
        return denoiser(u, sigma, {"image": given.condition})

    for step in reverse(
        denoise, start, few_step_grid(top, calls), split=lambda a, b: ddpm_split(a, b, eta=0.0), data_consistency=consistent
    ):
        pass
    return frame.back(step.x, given)
