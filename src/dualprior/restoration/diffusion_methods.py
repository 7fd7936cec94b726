"""Methods of the diffusion model alone, its weights frozen, and the pieces that hybrid methods share with them.

A method takes a `Problem` and what was restored before, and gives a `Restoration`. It never sees a clean image.
"""

from functools import partial

import numpy as np
import torch
from torch import Tensor

from dualprior.common.device import Stopwatch
from dualprior.degradation.data_consistency import DataConsistency, proximal
from dualprior.diffusion import schedule
from dualprior.diffusion.samplers import Split, ddpm_split, last, restart, reverse, zeta_split
from dualprior.restoration.problem import Problem, Restoration

SMALLEST_START = 0.02  # in [-1, 1] units; below it a restart changes nothing


def one_step(problem: Problem, past: dict, start: str, level: float) -> Restoration:
    """One call of the denoiser on a cheap start taken to be at noise level `level`, then data consistency.

    For denoising D(y, sigma_y) alone, near-optimal in PSNR.
    """
    schedule.check_start(level, problem.levels, "restore.one_step_levels")
    measured, begin = problem.measured, past[start]
    with Stopwatch(len(measured.y)) as watch:
        x = problem.denoise(begin.x, level)
        if measured.op.hides:
            x = proximal(measured.op, measured.y, measured.sigma_y)(x, torch.tensor(level))
    return Restoration(x, watch.seconds, nfe=1).after(begin)


def chain(
    problem: Problem, past: dict, calls: int, zeta: float | None, data_weight: float, grid: str = "schedule", purpose: str = "chain"
) -> Restoration:
    """The reverse process from pure noise with data consistency (DiffPIR; DDNM when there is no noise).

    zeta: DiffPIR's share of fresh noise; None for DDPM's own ancestral noise. grid: "schedule" (levels of the schedule,
    evenly spaced in t) or "few_step" (Karras et al. 2022, Eq. 5).
    """
    sigmas = schedule.schedule_grid(problem.levels, min(calls, len(problem.levels)))
    if grid == "few_step":
        sigmas = schedule.few_step_grid(float(problem.levels[-1]), calls)
    return from_noise(problem, sigmas, split_of(zeta), data_step(problem, data_weight), purpose)


def split_of(zeta: float | None) -> Split:
    """How the noise of the next level is made up; None is DDPM's own way."""
    return ddpm_split if zeta is None else partial(zeta_split, zeta=zeta)


def data_step(problem: Problem, weight: float) -> DataConsistency:
    """What draws a guess of the image towards the measurement; the guess is clipped, so that no chain can run away."""
    towards_y = proximal(problem.measured.op, problem.measured.y, problem.measured.sigma_y, weight)
    return lambda x0, sigma: towards_y(x0.clamp(-1, 1), sigma)


def from_noise(problem: Problem, sigmas: np.ndarray, split: Split, data_consistency: DataConsistency, purpose: str) -> Restoration:
    noise = problem.noise(purpose)
    with Stopwatch(len(problem.measured.y)) as watch:
        x = float(sigmas[0]) * noise(problem.blank())
        end = last(reverse(problem.denoise, x, sigmas, split=split, data_consistency=data_consistency, noise=noise))
    return Restoration(end.x0, watch.seconds, nfe=end.nfe)


def mean_of_chains(problem: Problem, past: dict, samples: int, **setting) -> Restoration:
    """The mean of several independent chains: (1 + 1/K) times the least error instead of twice."""
    return mean_of([chain(problem, past, **setting, purpose=f"mean-{k}") for k in range(samples)])


def mean_of(runs: list[Restoration]) -> Restoration:
    return Restoration(torch.stack([run.x for run in runs]).mean(0)).after(*runs)


def restarted(problem: Problem, past: dict, start: str, start_scale: float, calls: int, data_weight: float) -> Restoration:
    """Few deterministic steps from a start that is taken to be at noise level start_scale * its predicted error.

    A start's errors are not white: to the denoiser they are more noise than their RMSE says, so start_scale may be above 1;
    nothing is added.
    """
    begin = past[start]
    level = start_level(problem, begin, start_scale)
    return restart_at(problem, begin, level, level, calls, data_weight)


def start_level(problem: Problem, begin: Restoration, start_scale: float) -> Tensor:
    """[n], the start rule, within the levels that the denoiser was trained at."""
    return (start_scale * begin.error).clamp(max(SMALLEST_START, problem.levels[0]), problem.levels[-1])


def restart_at(
    problem: Problem,
    begin: Restoration,
    level: Tensor,
    error: Tensor,
    calls: int,
    data_weight: float,
    zeta: float | None = 0.0,
    purpose: str = "restart",
) -> Restoration:
    """level: [n], where each image's reverse process starts; error: [n], the part of it that the start brings along.

    zeta: as for `chain`. A start that comes with a tuned denoiser goes on with it.
    """
    noise = problem.noise(purpose)
    grid = schedule.few_step_grid(level.double().cpu().numpy(), calls)
    with Stopwatch(len(problem.measured.y)) as watch:
        x = restart(begin.x, error, level, noise(begin.x))
        steps = reverse(
            begin.denoise or problem.denoise, x, grid, split=split_of(zeta), data_consistency=data_step(problem, data_weight), noise=noise
        )
        end = last(steps)
    return Restoration(end.x0, watch.seconds, nfe=end.nfe, denoise=begin.denoise).after(begin)
