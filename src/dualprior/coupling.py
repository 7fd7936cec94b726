"""Fits of a Deep Image Prior that the denoiser takes part in, as restorers: pulled by it, or inside its restart."""

import torch
from torch import Tensor

from dualprior import dip
from dualprior.back_projection import data_term
from dualprior.consistency import lay_data
from dualprior.device import Stopwatch
from dualprior.problem import CoupledSettings, Estimate, Problem
from dualprior.restorers import OWN, SMALLEST_START, data_step, inflated, restart_at, start_level


def coupled(problem: Problem, past: dict, step: int, settings: CoupledSettings) -> Estimate:
    """DIP regularised by the denoiser (RED: Romano et al. 2017; DeepRED: Mataev et al. 2019), stopped at `step`.

    min over theta of the data term (`data_term`, a mean over its values) + beta ||f - sg D(f_avg; s)||^2 / d: the
    denoiser sees the running average of the output with no noise added, its target is refreshed every few steps, and s
    follows down the error that the plain fit has at that step on validation images.
    """
    if "coupled" not in problem.memo:
        problem.memo["coupled"] = _coupled_fit(problem, settings)
    kept, seconds_per_step = problem.memo["coupled"]
    image, calls = kept[step]
    return Estimate(image, seconds_per_step * step, nfe=calls, iterations=step)


def coupled_steps(settings: CoupledSettings) -> list[int]:
    return dip.snapshot_steps(settings.steps, 12)


def _coupled_fit(problem: Problem, c: CoupledSettings) -> tuple[dict[int, tuple[Tensor, int]], float]:
    """Averaged output and network calls so far at the snapshot steps, and the seconds of one step of one image."""
    seen = problem.seen
    target, calls = None, 0

    def pull(step: int, output: Tensor, average: Tensor | None) -> Tensor:
        nonlocal target, calls
        if average is None:
            return output.new_zeros(len(output))
        if target is None or step % c.refresh == 0:
            level = c.level_scale * c.error_at(step)
            with torch.no_grad():
                target, calls = problem.denoise(average, max(level, SMALLEST_START)), calls + 1
        return c.beta * (output - target).square().mean((1, 2, 3))

    op, y = data_term(seen.op, seen.y, c.data_term)
    steps = dip.fit_images(c.recipe, op, y, seen.names, seen.size, c.steps, device=seen.y.device, extra=pull)
    wanted, kept = set(coupled_steps(c)), {}
    with Stopwatch(len(seen.y)) as watch:
        for done in steps:
            if done.step in wanted:
                kept[done.step] = lay_data(seen.op, done.average, seen.y, seen.sigma_y), calls
    return kept, watch.seconds / c.steps


def interleaved(
    problem: Problem,
    fitting: CoupledSettings,
    weight: float,
    *,
    steps: int,
    refit: int,
    inflation: float,
    scale: float,
    calls: int,
    data_weight: float,
) -> Estimate:
    """A restart whose every guess x0 passes through the DIP: intermediate priors.

    A plain fit of `steps` is restarted at `scale` times its expected, inflated error. At each level it goes on for `refit` steps with
    the pull beta ||f - x0||^2 / d towards the guess D(x; s), data laid over it, and weight * f_avg + (1 - weight) * x0
    takes the guess's place.
    """
    seen, target = problem.seen, None

    def pull(step: int, output: Tensor, average: Tensor | None) -> Tensor:
        return output.new_zeros(len(output)) if target is None else fitting.beta * (output - target).square().mean((1, 2, 3))

    def through_the_fit(x0: Tensor, sigma: Tensor) -> Tensor:
        nonlocal target
        target = rectify(x0, sigma)
        average = _after(refit)
        return rectify(torch.lerp(target, average, weight), sigma)

    def _after(count: int) -> Tensor:
        for _ in range(count):
            done = next(fit)
        return done.average

    op, y = data_term(seen.op, seen.y, fitting.data_term)
    total = steps + calls * refit
    fit = dip.fit_images(fitting.recipe, op, y, seen.names, seen.size, total, device=seen.y.device, extra=pull)
    rectify = data_step(problem, data_weight)
    error = torch.full((len(seen.y),), fitting.error_at(steps), device=seen.y.device)
    with Stopwatch(len(seen.y)) as watch:
        x = lay_data(seen.op, _after(steps), seen.y, seen.sigma_y)
    begin = inflated(Estimate(x, watch.seconds, iterations=total, error=error), inflation)
    level = start_level(problem, begin, scale)
    return restart_at(problem, begin, level, calls, data_weight, OWN, purpose="interleaved", rectify=through_the_fit)
