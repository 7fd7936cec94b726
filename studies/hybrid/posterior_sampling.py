"""posterior_sampling@task: slow ways of diffusion alone.

Diffusion posterior sampling (DPS, Chung et al. 2023): the chain descends the data residual through the denoiser; its strength is
chosen on validation images. Beside it the mean of several long chains of the kind that stage restore chose.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from dualprior.common import io
from dualprior.common.device import Stopwatch
from dualprior.data.validation import mean_psnr
from dualprior.degradation.data_consistency import project_on_exact_data
from dualprior.degradation.operators import Operator
from dualprior.diffusion import schedule
from dualprior.diffusion.samplers import Denoise, Noise, ReverseStep, ddpm_split, last
from dualprior.restoration.diffusion_methods import mean_of_chains
from dualprior.restoration.problem import Problem, Restoration
from dualprior.restoration.registry import CHAIN
from studies.hybrid import prior_strength
from studies.hybrid.params import DPS, FULL

if TYPE_CHECKING:
    from dualprior.common.paths import Paths
    from dualprior.pipeline.config import Config

PARAMS = ("dps", "restore.seed")


@torch.no_grad()
def run(config: Config, paths: Paths, key: str) -> None:
    """key: the task."""
    wanted: DPS = config.dps
    seed: int = config.entry("restore", "seed")
    val, test, clean_val = prior_strength.problems(paths, key, FULL, seed, wanted.validation, wanted.images)
    scores = {strength: mean_psnr(sampled(val, wanted.calls, strength).x, clean_val) for strength in wanted.strengths}
    best = max(scores, key=scores.__getitem__)
    done = sampled(test, wanted.calls, best)
    chosen = io.read_json(paths.restored(key) / "methods.json")["choices"][CHAIN]
    chains = mean_of_chains(test, {}, wanted.chains, **chosen | {"calls": wanted.calls})
    io.write_tensors(paths.folder("dps") / key / "images.safetensors", {"dps": done.x.float(), "chains": chains.x.float()})
    about = {"dps": vars(done.cost), "chains": vars(chains.cost), "strength": best, "val_psnr": scores[best]}
    io.write_json(paths.folder("dps") / key / "methods.json", about)


def sampled(given: Problem, calls: int, strength: float) -> Restoration:
    """One posterior sample of every image; a backward pass counts as a call."""
    measured, noise = given.measured, given.noise("dps")
    grid = schedule.schedule_grid(given.levels, calls)
    with Stopwatch(len(measured.y)) as watch:
        begin = float(grid[0]) * noise(given.blank())
        end = last(dps(given.denoise, begin, grid, measured.op, measured.y, strength, noise))
    return Restoration(project_on_exact_data(measured.op, end.x, measured.y, measured.sigma_y), watch.seconds, nfe=2 * end.nfe)


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
