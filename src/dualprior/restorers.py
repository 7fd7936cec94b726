"""The procedures behind the catalogue of methods: each takes a `Problem` and gives an `Estimate`.

A restorer sees measurements, the trained denoiser and the DIP fits. It never sees a clean image. Those without either prior
are in `starts`, those that go on fitting a DIP in `coupling`.
"""

from functools import partial

import numpy as np
import torch
from torch import Tensor

from dualprior import pair, schedule
from dualprior.adaptation import adapt, with_gains
from dualprior.consistency import Rectify, proximal
from dualprior.device import Stopwatch
from dualprior.fusion import weighted_mean
from dualprior.noise_guidance import towards
from dualprior.operators import Identity
from dualprior.problem import Estimate, Problem
from dualprior.sampling import Split, ddpm_split, last, restart, reverse, zeta_split
from dualprior.seeding import ImageNoise
from dualprior.settings.restore import Adapt
from dualprior.witness import coupled_pair

OWN = "hybrid.start_scale"  # the parameter behind a start level, unless another is named
SMALLEST_START = 0.02  # in [-1, 1] units; below it a restart changes nothing


# --- the diffusion model alone -------------------------------------------------------------------------------


def one_step(problem: Problem, past: dict, start: str, level: float) -> Estimate:
    """One call of the denoiser on a cheap start taken to be at noise level `level`, then data consistency.

    For denoising D(y, sigma_y) alone, near-optimal in PSNR.
    """
    schedule.check_start(level, problem.levels, "restore.one_step_levels")
    seen, begin = problem.seen, past[start]
    with Stopwatch(len(seen.y)) as watch:
        x0 = problem.denoise(begin.x, level)
        x = proximal(seen.op, seen.y, seen.sigma_y)(x0, torch.tensor(level)) if not isinstance(seen.op, Identity) else x0
    return Estimate(x, watch.seconds, nfe=1).after(begin)


def chain(
    problem: Problem, past: dict, calls: int, zeta: float | None, data_weight: float, grid: str = "schedule", purpose: str = "chain"
) -> Estimate:
    """The reverse process from pure noise with data consistency (DiffPIR; DDNM when there is no noise).

    zeta: DiffPIR's share of fresh noise; None for DDPM's own ancestral noise (over many steps zeta = 1 shrinks the variance of
    samples to half of the data's). grid: "schedule" (levels of the schedule, evenly spaced in t) or "few_step" (Karras et al.
    2022, Eq. 5).
    """
    sigmas = schedule.schedule_grid(problem.levels, calls)
    if grid == "few_step":
        sigmas = schedule.few_step_grid(float(problem.levels[-1]), calls)
    return _reverse_from_noise(problem, sigmas, split_of(zeta), data_step(problem, data_weight), purpose)


def split_of(zeta: float | None) -> Split:
    """How the noise of the next level is made up; None is DDPM's own way."""
    return ddpm_split if zeta is None else partial(zeta_split, zeta=zeta)


def data_step(problem: Problem, weight: float) -> Rectify:
    """What draws a guess of the image towards the measurement."""
    return proximal(problem.seen.op, problem.seen.y, problem.seen.sigma_y, weight)


def _reverse_from_noise(problem: Problem, sigmas: np.ndarray, split: Split, rectify: Rectify, purpose: str) -> Estimate:
    seen, noise = problem.seen, problem.noise(purpose)
    with Stopwatch(len(seen.y)) as watch:
        x = float(sigmas[0]) * noise(problem.blank())
        end = last(reverse(problem.denoise, x, sigmas, split=split, rectify=rectify, noise=noise))
    return Estimate(end.x0, watch.seconds, nfe=end.nfe)


def mean_of_chains(problem: Problem, past: dict, samples: int, calls: int, zeta: float, data_weight: float) -> Estimate:
    """The mean of several independent chains: (1 + 1/K) times the least error instead of twice."""
    runs = [chain(problem, past, calls, zeta, data_weight, purpose=f"mean-{k}") for k in range(samples)]
    return _mean_of(runs)


def mean_of_more_chains(problem: Problem, past: dict, like: str, total: int, usual: int) -> Estimate:
    """The mean of as many chains as `total` network calls pay for, each with the setting of `like` (and `usual` calls, if it has none)."""
    setting = {"calls": usual, **past[like].setting}
    runs = [chain(problem, past, **setting, purpose=f"long-{k}") for k in range(max(1, total // setting["calls"]))]
    return _mean_of(runs)


def _mean_of(runs: list[Estimate]) -> Estimate:
    return Estimate(torch.stack([run.x for run in runs]).mean(0)).after(*runs)


# --- Deep Image Prior alone ----------------------------------------------------------------------------------


def dip_at(problem: Problem, past: dict, step: int) -> Estimate:
    """The fit's averaged output at a snapshot step, exact data laid over it by stage fit_dip."""
    fits = problem.fits
    return Estimate(fits.snapshots[fits.steps.index(step)], step * fits.seconds_per_step, iterations=step)


def dip_stopped(problem: Problem, past: dict) -> Estimate:
    """Where the judges said stop; every step is paid for until they were sure."""
    fits = problem.fits
    seconds = fits.seconds_per_step * float(np.mean(fits.decided_step))
    return Estimate(fits.stopped, seconds, iterations=fits.stop_step, error=fits.error)


# --- both ----------------------------------------------------------------------------------------------------


def restarted(
    problem: Problem, past: dict, start: str, inflation: float, scale: float, calls: int, data_weight: float, asked_by: str = OWN
) -> Estimate:
    """Variance-matched restart at level scale * inflated error, then few deterministic steps.

    With scale <= 1 nothing is added: the start is taken to be at the level of its own error, or, below 1, at less.
    """
    begin = inflated(past[start], inflation)
    return restart_at(problem, begin, start_level(problem, begin, scale), calls, data_weight, asked_by)


def inflated(begin: Estimate, by: float) -> Estimate:
    """The start with `by` times its predicted error.

    Errors that are not white, gathered in a hole or at low frequencies, are to the denoiser more noise than their RMSE says.
    """
    return Estimate(begin.x, error=by * begin.error, denoise=begin.denoise).after(begin)


def start_level(problem: Problem, begin: Estimate, scale: float) -> Tensor:
    """[n], the start rule: scale (kappa) times the error predicted for each image."""
    return (scale * begin.error).clamp(min=max(SMALLEST_START, problem.levels[0]))


def restart_at(
    problem: Problem,
    begin: Estimate,
    level: Tensor,
    calls: int,
    data_weight: float,
    asked_by: str,
    zeta: float | None = 0.0,
    purpose: str = "restart",
    rectify: Rectify | None = None,
) -> Estimate:
    """level: [n], where each image's reverse process starts; asked_by: the parameter to name when it is outside.

    zeta: as for `chain`. rectify: in place of the usual `data_step`. A start that comes with an adapted denoiser goes on with it.
    """
    seen, noise = problem.seen, problem.noise(purpose)
    schedule.check_start(float(level.min()), problem.levels, asked_by)
    schedule.check_start(float(level.max()), problem.levels, asked_by)
    grid = schedule.few_step_grid(level.double().cpu().numpy(), calls)
    with Stopwatch(len(seen.y)) as watch:
        x = restart(begin.x, begin.error, level, noise(begin.x))
        rectify = rectify or data_step(problem, data_weight)
        end = last(reverse(begin.denoise or problem.denoise, x, grid, split=split_of(zeta), rectify=rectify, noise=noise))
    return Estimate(end.x0, watch.seconds, nfe=end.nfe, denoise=begin.denoise).after(begin)


def mean_of_restarts(
    problem: Problem, past: dict, start: str, inflation: float, scale: float, calls: int, data_weight: float, samples: int
) -> Estimate:
    """The mean of several restarts in which all of every step's noise is fresh (zeta = 1)."""
    begin = inflated(past[start], inflation)
    level = start_level(problem, begin, scale)
    runs = [restart_at(problem, begin, level, calls, data_weight, OWN, zeta=1.0, purpose=f"restart-{start}-{k}") for k in range(samples)]
    return _mean_of(runs)


def guided_chain(problem: Problem, guide: Estimate, calls: int, data_weight: float, gamma: float, purpose: str = "guided") -> Estimate:
    """The chain from pure noise (zeta = 1) drawn towards another restoration, the more the noisier the level."""
    sigmas = schedule.schedule_grid(problem.levels, calls)
    rectify = towards(guide.x, guide.error, gamma, data_step(problem, data_weight))
    return _reverse_from_noise(problem, sigmas, split_of(1.0), rectify, purpose).after(guide)


def mean_of_guided(problem: Problem, past: dict, start: str, calls: int, data_weight: float, gamma: float, samples: int) -> Estimate:
    """The mean of several chains guided by one restoration."""
    runs = [guided_chain(problem, past[start], calls, data_weight, gamma, f"guided-{start}-{k}") for k in range(samples)]
    return _mean_of(runs)


def blended(problem: Problem, past: dict, weights: dict[str, float], share: float) -> Estimate:
    """The weighted mean of several estimates; share: its error as a part of the weighted mean of theirs."""
    parts = {name: past[name] for name in weights}
    x, error = (weighted_mean(weights, {name: getattr(part, of) for name, part in parts.items()}) for of in ("x", "error"))
    adapted = next((part.denoise for part in parts.values() if part.denoise is not None), None)  # the same in all that have one
    return Estimate(x, error=share * error, denoise=adapted).after(*parts.values())


def adapted(problem: Problem, past: dict, settings: Adapt) -> Estimate:
    """The denoiser fitted to the measurement as a pair (`adaptation`), stopped where the judges say; denoising only.

    Each of the two is fitted to its part of the split; what is kept is D(y; sigma_y) with the mean of their gains. Its
    predicted error is the judges' estimate for the mean of the two parts' own images, which is a little larger.
    """
    seen = problem.seen
    count, alpha = len(seen.y), settings.split_alpha
    noise = ImageNoise(problem.seed, "adapt", pair.twins(seen.names))
    judges = coupled_pair(seen.op, seen.y, seen.sigma_y, alpha, problem.noise("adapt-split"))
    level = seen.sigma_y * (1 + alpha**2) ** 0.5
    rule = pair.stopped_by(judges, settings.patience)
    looks: list[list[Tensor]] = []
    last_step = -(-settings.steps // settings.every) * settings.every
    fit = {"steps": last_step, "every": settings.every, "lr": settings.lr, "alpha": settings.alpha, "noise": noise}
    with Stopwatch(count) as watch:
        for now in adapt(problem.denoise, judges.y, level, **fit):
            looks.append([pair.mean(gain) for gain in now.gains])
            rule.update(pair.show(now.step, now.output, now.output, now.output.new_zeros(2 * count)))
            if bool(rule.pick.decided.all()):
                break
        at = torch.div(rule.pick.step, settings.every, rounding_mode="floor")
        gains = [torch.stack(each)[at, torch.arange(count, device=at.device)] for each in zip(*looks, strict=True)]
        denoise = with_gains(problem.denoise, gains)
        x = denoise(seen.y, seen.sigma_y)
    run = 2 * (2 * now.step + len(looks))  # both of the pair; a backward pass, the weights being frozen, counts as one call
    paid = float(rule.pick.known.float().mean()) / max(now.step, 1)  # up to where the rule was sure, as for a DIP
    error = pair.rmse(rule.pick.score, seen.sigma_y)
    return Estimate(x, paid * watch.seconds, nfe=round(paid * run) + 1, error=error, denoise=denoise)


def fused(problem: Problem, past: dict, first: str, second: str, weight: float) -> Estimate:
    """weight * first + (1 - weight) * second; what they share is paid for once."""
    a, b = past[first], past[second]
    return Estimate(weight * a.x + (1 - weight) * b.x).after(a, b)
