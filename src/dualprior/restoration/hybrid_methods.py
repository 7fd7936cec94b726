"""Methods of both priors: restarts and guided chains from a DIP, gain tuning, and a DIP fit pulled by the denoiser."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from dualprior.common.device import Stopwatch
from dualprior.common.params import RED, GainTuning
from dualprior.common.seeding import ImageNoise
from dualprior.degradation.data_consistency import project_on_exact_data
from dualprior.diffusion import schedule
from dualprior.diffusion.gain_tuning import tune_gains, with_gains
from dualprior.diffusion.guidance import towards
from dualprior.dip import fit as dip
from dualprior.dip import paired_fits
from dualprior.dip.risk import recorrupted_split
from dualprior.restoration.diffusion_methods import SMALLEST_START, data_step, from_noise, mean_of, restart_at, split_of, start_level
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


def dip_red(problem: Problem, past: dict, step: int, settings: RED) -> Restoration:
    """DIP regularised by the denoiser (RED: Romano et al. 2017; DeepRED: Mataev et al. 2019), stopped at `step`.

    min over theta of the data term + beta ||f - sg D(f_avg; s)||^2 / d: the denoiser sees the running average of the
    output with no noise added, its target is refreshed every few steps, and s follows down the error that the plain fit
    has at that step on validation images.
    """
    if "red" not in problem.memo:
        problem.memo["red"] = _red_fit(problem, settings)
    kept, seconds_per_step = problem.memo["red"]
    image, calls = kept[step]
    return Restoration(image, seconds_per_step * step, nfe=calls, dip_passes=step)


def red_steps(settings: RED) -> list[int]:
    return dip.snapshot_steps(settings.steps, 12)


def _red_fit(problem: Problem, settings: RED) -> tuple[dict[int, tuple[Tensor, int]], float]:
    """Averaged output and network calls so far at the snapshot steps, and the seconds of one step of one image."""
    measured = problem.measured
    target, calls = None, 0

    def pull(step: int, output: Tensor, average: Tensor | None) -> Tensor:
        nonlocal target, calls
        if average is None:
            return output.new_zeros(len(output))
        if target is None or step % settings.refresh == 0:
            level = expected_error(problem, step)
            with torch.no_grad():
                target, calls = problem.denoise(average, max(level, SMALLEST_START)), calls + 1
        return settings.beta * (output - target).square().mean((1, 2, 3))

    op, y = measured.op.fit_target(measured.y)
    recipe = problem.fits.recipe
    steps = dip.fit_images(recipe, op, y, measured.names, measured.size, settings.steps, device=measured.y.device, extra=pull)
    wanted, kept = set(red_steps(settings)), {}
    with Stopwatch(len(measured.y)) as watch:
        for done in steps:
            if done.step in wanted:
                kept[done.step] = project_on_exact_data(measured.op, done.average, measured.y, measured.sigma_y), calls
    return kept, watch.seconds / settings.steps


def expected_error(problem: Problem, step: int) -> float:
    """The least RMSE that the plain fit has up to this step on validation images, between snapshots by interpolation."""
    return float(np.interp(step, problem.fits.steps, np.minimum.accumulate(problem.expected_error)))
