"""Diffusion posterior sampling (DPS, Chung et al. 2023): the chain descends the data residual through the denoiser."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from dualprior.degradation.operators import Operator
from dualprior.diffusion.samplers import Denoise, Noise, ReverseStep, ddpm_split


def dps(denoise: Denoise, x: Tensor, sigmas: np.ndarray, op: Operator, y: Tensor, strength: float, noise: Noise) -> Iterator[ReverseStep]:
    """Algorithm 1 in x = x0 + sigma*eps coordinates, yielding after every step.

    An ancestral step, then x <- x - strength * grad ||y - A D(x; sigma)||: the gradient of the norm, as in the authors'
    code; Algorithm 1 descends its square, with a step size of strength / (2 ||y - A x0||). The paper's step is in
    z = x / sqrt(1 + sigma^2), which puts the factor sqrt(1 + sigma^2) sqrt(1 + sigma_next^2) before it here.
    x: [B, C, H, W] at sigmas[0]; sigmas: [nfe + 1], strictly falling to 0; y: [B, C, h, w]. A step is a pass forwards and a
    pass backwards.
    """
    grid = torch.as_tensor(sigmas, dtype=torch.float64).to(x)
    for nfe, (sigma, sigma_next) in enumerate(zip(grid, grid[1:], strict=False), start=1):
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            x0 = denoise(x, sigma)
            residual = (op.A(x0) - y).square().sum((1, 2, 3)).clamp(min=1e-12).sqrt()
            (slope,) = torch.autograd.grad(residual.sum(), x)
        x, x0 = x.detach(), x0.detach()
        down, up = ddpm_split(sigma, sigma_next)
        x = x0 + down * (x - x0) / sigma - strength * ((1 + sigma**2) * (1 + sigma_next**2)).sqrt() * slope
        if up > 0:
            x = x + up * noise(x)
        yield ReverseStep(x, x0, sigma_next, nfe)
