"""A conditional diffusion model that is given a first guess: what it is trained on, and how it restores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from dualprior.diffusion.denoiser import Denoiser
from dualprior.diffusion.samplers import ddpm_split, reverse
from dualprior.diffusion.schedule import few_step_grid
from studies.training.params import Variant

Handed = Callable[[Tensor, int], Tensor]  # (guess of the clean image, calls done) -> what goes on


@dataclass(frozen=True)
class Frame:
    """x = mean + scale u: what is diffused is u. Without a residual it is the image itself."""

    residual: bool
    scale: float

    @classmethod
    def of(cls, variant: Variant, clean: Tensor, guess: Tensor) -> Frame:
        """scale: the RMSE of the guesses of training patches, so that u has about unit variance."""
        return cls(variant.residual, float((clean - guess).square().mean().sqrt()) if variant.residual else 1.0)

    def to(self, x: Tensor, guess: Tensor) -> Tensor:
        return (x - guess) / self.scale if self.residual else x

    def back(self, u: Tensor, guess: Tensor) -> Tensor:
        return guess + self.scale * u if self.residual else u


def trained_levels(variant: Variant, levels: np.ndarray) -> np.ndarray:
    """All of a schedule, or those up to sigma_max (TDPM, Zheng et al. 2023; ES-DDPM, Lyu et al. 2022)."""
    return levels if variant.sigma_max is None else levels[levels <= variant.sigma_max]


@torch.no_grad()
def restore(
    denoiser: Denoiser,
    variant: Variant,
    frame: Frame,
    levels: np.ndarray,
    guess: Tensor,
    calls: int,
    z: Tensor,
    handed: Handed | None = None,
) -> Tensor:
    """A deterministic chain (DDIM) from noise z, or from the guess noised to sigma_max: [N, C, H, W].

    guess: the condition; handed: changes the guess of the clean image on the way.
    """
    top = float(trained_levels(variant, levels)[-1])
    start = top * z if variant.sigma_max is None else frame.to(guess, guess) + top * z
    done = 0

    def consistent(u: Tensor, sigma: Tensor) -> Tensor:
        nonlocal done
        done += 1
        x = frame.back(u, guess).clamp(-1, 1)
        return frame.to(x if handed is None else handed(x, done), guess)

    def denoise(u: Tensor, sigma: Tensor) -> Tensor:
        return denoiser(u, sigma, {"image": guess})

    for step in reverse(
        denoise, start, few_step_grid(top, calls), split=lambda a, b: ddpm_split(a, b, eta=0.0), data_consistency=consistent
    ):
        pass
    return frame.back(step.x, guess)
