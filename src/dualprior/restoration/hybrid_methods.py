"""Methods of both priors: chains guided by a DIP, and gain tuning."""

from __future__ import annotations

import torch
from torch import Tensor

from dualprior.common.device import Stopwatch
from dualprior.common.params import GainTuning
from dualprior.common.seeding import ImageNoise
from dualprior.diffusion import schedule
from dualprior.diffusion.gain_tuning import tune_gains, with_gains
from dualprior.diffusion.guidance import towards
from dualprior.dip import paired_fits
from dualprior.dip.risk import recorrupted_split
from dualprior.restoration.diffusion_methods import data_step, from_noise, mean_of, restart_at, split_of, start_level
from dualprior.restoration.problem import Problem, Restoration


def guided(problem: Problem, past: dict, start: str, calls: int, data_weight: float, gamma: float, samples: int) -> Restoration:
    """The mean of several chains from pure noise (zeta = 1), each drawn towards another restoration, the more the noisier the level."""
    return mean_of([guided_chain(problem, past[start], calls, data_weight, gamma, f"guided-{start}-{k}") for k in range(samples)])


def guided_chain(problem: Problem, guide: Restoration, calls: int, data_weight: float, gamma: float, purpose: str) -> Restoration:
    sigmas = schedule.schedule_grid(problem.levels, calls)
    data_consistency = towards(guide.x, guide.error, gamma, data_step(problem, data_weight))
    return from_noise(problem, sigmas, split_of(1.0), data_consistency, purpose).after(guide)


def gain_tuned(problem: Problem, past: dict, start_scale: float, calls: int, data_weight: float, settings: GainTuning) -> Restoration:
    """The denoiser fitted to the measurement (`tuned_denoiser`) and a restart with it; denoising only."""
    if "gains" not in problem.memo:
        problem.memo["gains"] = tuned_denoiser(problem, settings)
    begin = problem.memo["gains"]
    level = start_level(problem, begin, start_scale)
    return restart_at(problem, begin, level, level, calls, data_weight)


def tuned_denoiser(problem: Problem, settings: GainTuning) -> Restoration:
    """D(y; sigma_y) with gains fitted to the one image, stopped at the least estimated error as a DIP is.

    Two fits, each to its part of the split; what is kept is one call with the mean of their gains. Its predicted error is the
    estimate for the mean of the two parts' own images, which is a little larger.
    """
    measured = problem.measured
    count, alpha = len(measured.y), settings.alpha
    noise = ImageNoise(problem.seed, "adapt", paired_fits.paired_names(measured.names))
    risk = recorrupted_split(measured.op, measured.y, measured.sigma_y, alpha, problem.noise("adapt-split"))
    level = measured.sigma_y * (1 + alpha**2) ** 0.5
    rule = paired_fits.stopped_by(risk, settings.patience)
    looks: list[list[Tensor]] = []
    last_step = -(-settings.steps // settings.check_every) * settings.check_every
    fit = {"steps": last_step, "every": settings.check_every, "lr": settings.lr, "alpha": settings.alpha, "noise": noise}
    with Stopwatch(count) as watch:
        for now in tune_gains(problem.denoise, risk.y, level, **fit):
            looks.append([paired_fits.mean(gain) for gain in now.gains])
            rule.update(paired_fits.show(now.step, now.output, now.output, now.output.new_zeros(2 * count)))
            if bool(rule.stop.decided.all()):
                break
        at = torch.div(rule.stop.step, settings.check_every, rounding_mode="floor")
        gains = [torch.stack(each)[at, torch.arange(count, device=at.device)] for each in zip(*looks, strict=True)]
        denoise = with_gains(problem.denoise, gains)
        x = denoise(measured.y, measured.sigma_y)
    run = 2 * (2 * now.step + len(looks))  # both fits; a backward pass, the weights being frozen, counts as one call
    paid = float(rule.stop.decided_step.float().mean()) / max(now.step, 1)  # up to where the rule was sure, as for a DIP
    error = paired_fits.rmse(rule.stop.score, measured.sigma_y)
    return Restoration(x, paid * watch.seconds, nfe=round(paid * run) + 1, error=error, denoise=denoise)
