"""Restore one measured picture with both priors, and predict the error without the clean picture."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from dualprior.common.device import Pace
from dualprior.common.params import DIP
from dualprior.common.progress import track
from dualprior.common.seeding import ImageNoise
from dualprior.degradation.measurement import Measurement
from dualprior.diffusion.checkpoint import TrainedModel
from dualprior.dip.risk import mean_square
from dualprior.evaluation import image_metrics
from dualprior.photograph.damage import Damage, clipped_share, coloured
from dualprior.photograph.tiling import OVERLAP, TILE, TiledDenoiser, mixed, starts
from dualprior.pipeline.fit_dip import FitResult, fit_measurement, trial_step
from dualprior.restoration.diffusion_methods import chain
from dualprior.restoration.problem import Problem
from dualprior.restoration.registry import HYBRID

PIECE = 512  # side of what one DIP fits, pixels
LEAST_STEPS = 60  # of a DIP
PROBE = 0.01  # width of the probe of SURE, in units of the noise
NOTICED, CUT = 0.001, 1.5  # share of clipped values that is noticed; how near to black and white, in units of the noise
SMOOTH, KNOWN = 8.0, 0.1  # of the error map: standard deviation of its window, pixels; share of values that must count
ROUNDS = 4  # of the noise level's refinement
FEWEST, CALLS, CHAINS = 8, 20, 4  # calls of reverse diffusion, at least and at most; chains at most
log = logging.getLogger(__name__)


class Effort(NamedTuple):
    """How long a picture may take: seconds of each prior for each megapixel, and at least so many."""

    diffusion: float
    dip: float
    least: float


EFFORTS = {"fast": Effort(10, 0, 5), "normal": Effort(60, 100, 20)}


class Found(NamedTuple):
    """One restoration."""

    x: Tensor  # [1, C, H, W] in [-1, 1]
    mse: float | None = None  # predicted, of denoising only
    error_map: Tensor | None = None  # [1, 1, H, W], the predicted squared error around every pixel, or NaN; elsewhere, how chains differ


@dataclass(frozen=True)
class Restored:
    found: dict[str, Found]  # "diffusion", "DIP", "hybrid"; the last one is the answer
    trace: list[dict]  # of the first DIP fitted: step, loss, error_estimate; [] without one
    stop_step: int | None
    about: dict  # what was used

    @property
    def answer(self) -> Found:
        return list(self.found.values())[-1]


@torch.no_grad()
def restore(
    y: Tensor, damage: Damage, model: TrainedModel | None, dip: DIP, choices: Mapping, effort: Effort, whole: bool, seed: int
) -> Restored:
    """y: [1, C, H, W] in [-1, 1]; model: None leaves the untrained prior alone; choices: what validation photographs chose for the task."""
    height, width = (side * damage.factor for side in y.shape[-2:])
    level = damage.level(y)
    damage, y = damage.padded(y)
    measured = damage.measured(y, level, "picture")
    if model is not None and damage.noise is None and not measured.op.hides:
        measured = measured._replace(sigma_y=_finer_level(measured, model, seed))
    megapixels = measured.size[0] * measured.size[1] / 1e6
    about = {"task": damage.task, "noise": round(measured.sigma_y * 127.5, 2), "megapixels": round(megapixels, 3)}
    if damage.kernel is not None:
        about["blur"] = damage.kernel.what
    found, fit = {}, None
    if model is not None:
        seconds = max(effort.diffusion * megapixels, effort.least)
        hides = measured.op.hides
        found["diffusion"] = _sampled(measured, damage, model, choices, seconds, seed) if hides else _denoised(measured, model, seed)
    if model is None or (effort.dip and (damage.task == "denoise" or choices.get("dip_weight"))):  # not one that counts for nothing
        found["DIP"], fit = _fitted(measured, damage, dip, max(effort.dip * megapixels, effort.least), whole)
    if len(found) == 2:
        usual = choices.get("dip_weight", 0.0) if fit.steps[-1] >= dip.steps else 0.0  # learned for fits of full length
        weight, found[HYBRID] = _blended(found["diffusion"], found["DIP"], usual)
        about["weight of the DIP"] = round(weight, 3)
    found = {
        name: Found(*(each[..., :height, :width] if isinstance(each, Tensor) else each for each in one)) for name, one in found.items()
    }
    return Restored(found, fit.trace if fit else [], fit.stop.step.tolist()[0] if fit else None, about)


class Denoised(NamedTuple):
    """One call, clipped to what a picture can hold, and all that Stein's estimate of its error needs."""

    x: Tensor
    residual: Tensor  # (x - y)²
    divergence: Tensor  # sigma² dx/dy by a random probe (Ramani et al. 2008, Eq. 14), of every value
    counted: Tensor  # ones and zeros: values whose noise was not cut off at black or white


def _call(measured: Measurement, model: TrainedModel, seed: int) -> Denoised:
    denoise = TiledDenoiser(model.denoise)

    def call(y: Tensor) -> Tensor:
        given = coloured(measured._replace(y=y), seed)
        out = denoise(given.y, min(max(given.sigma_y, model.levels[0]), model.levels[-1]))
        return (out.mean(1, keepdim=True) if y.shape[1] == 1 else out).clamp(-1, 1)

    y, sigma = measured.y, measured.sigma_y
    probe = ImageNoise(seed, "probe", measured.names)(y)
    x = call(y)
    divergence = sigma / PROBE * probe * (call(y + PROBE * sigma * probe) - x)
    counted = torch.ones_like(y)
    if clipped_share(y) > NOTICED:
        inside = x.abs() < 1 - CUT * sigma
        counted = inside.to(y) if inside.any() else counted
    return Denoised(x, (x - y).square(), divergence, counted)


def _finer_level(measured: Measurement, model: TrainedModel, seed: int) -> float:
    """The noise level at which the denoiser is consistent with itself, from the rough one of the measurement.

    A denoiser that is a posterior mean errs by sigma² div D (Efron 2011, Eq. 2.8), so that Stein's estimate says
    sigma² = |y - D(y; sigma)|² + sigma² div D. A few rounds of that, on the tile that is nearest to mid-grey.
    """
    y = measured.y
    corners = product(starts(y.shape[-2], TILE, 0), starts(y.shape[-1], TILE, 0))
    tiles = [y[..., top : top + TILE, left : left + TILE] for top, left in corners]
    piece = measured._replace(y=min(tiles, key=lambda tile: float(tile.mean().abs())))
    for _ in range(ROUNDS):
        found = _call(piece, model, seed)
        variance = float((found.counted * (found.residual + found.divergence)).sum() / found.counted.sum())
        piece = piece._replace(sigma_y=max(variance, 1e-6) ** 0.5)
    return piece.sigma_y


def _denoised(measured: Measurement, model: TrainedModel, seed: int) -> Found:
    """One call, and Stein's estimate of its error."""
    x, residual, divergence, counted = _call(measured, model, seed)
    squared = residual + 2 * divergence - measured.sigma_y**2
    mse = float((counted * squared).sum() / counted.sum())
    share = _smooth(counted.mean(1, keepdim=True))
    return Found(x, mse, (_smooth((counted * squared).mean(1, keepdim=True)) / share).where(share > KNOWN, torch.nan))


def _sampled(measured: Measurement, damage: Damage, model: TrainedModel, choices: Mapping, seconds: float, seed: int) -> Found:
    """The mean of as many chains from pure noise as the time allows; how they differ is the map."""
    given = coloured(measured, seed)
    wanted = None if measured.op.measured is None or measured.sigma_y > 0 else measured.op.measured[0, 0] == 0
    problem = Problem(given, TiledDenoiser(model.denoise, wanted), model.levels, None, seed)
    begin = time.perf_counter()
    measured.op.prox(problem.denoise(problem.blank(), 1.0), given.y, 0.01)
    affordable = int(seconds / (time.perf_counter() - begin))
    calls = max(FEWEST, min(CALLS, affordable))
    count = max(1, min(CHAINS, affordable // calls))
    log.info("diffusion: %d chains of %d calls", count, calls)
    setting = {"zeta": choices["zeta"], "data_weight": choices["data_weight"], "grid": "few_step"}
    runs = (chain(problem, {}, calls, purpose=f"chain-{k}", **setting).x for k in track(range(count), "diffusion"))
    runs = torch.cat([damage.framed(run, measured.op) for run in runs])
    x, differ = runs.mean(0, keepdim=True), runs.var(0, unbiased=False).mean(0)[None, None]
    return Found(x.mean(1, keepdim=True) if measured.y.shape[1] == 1 else x, None, _smooth(differ) if count > 1 else None)


def _fitted(measured: Measurement, damage: Damage, dip: DIP, seconds: float, whole: bool) -> tuple[Found, FitResult]:
    """Paired DIP fits, stopped by their own estimate, piece by piece, with as many steps as the time allows."""
    network = next(iter(dip.networks.values()))
    height, width = measured.y.shape[-2:]
    side = max(height, width) if whole else PIECE // damage.factor // 8 * 8
    blurred = 0 if damage.kernel is None else len(damage.kernel.values)  # pixels at a piece's edge that its measurement hardly tells
    overlap = OVERLAP // damage.factor + blurred
    count = len(starts(height, side, overlap)) * len(starts(width, side, overlap))
    first = damage.measured(measured.y[..., :side, :side], measured.sigma_y, "first", slice(0, side), slice(0, side))  # as large as all
    step = trial_step(first, dip)
    pace = Pace(step, "DIP")
    step()
    begin = time.perf_counter()
    step()
    affordable = int(seconds / count / (2 * (time.perf_counter() - begin)))
    network = network.model_copy(update={"steps": max(LEAST_STEPS, min(network.steps or dip.steps, affordable))})
    own = dip.model_copy(update={"snapshots": 2})
    fits: list[FitResult] = []

    def work(y: Tensor, rows: slice, columns: slice) -> Tensor:
        piece = damage.measured(y, measured.sigma_y, f"picture-{rows.start}-{columns.start}", rows, columns)
        fits.append(fit_measurement(piece, own, network, pace, f"DIP, piece {len(fits) + 1} of {count}"))
        return damage.framed(fits[-1].stopped, piece.op)

    x = mixed(measured.y, work, side, overlap, damage.factor)
    mse = None if fits[0].error is None else sum(float(fit.error.square()) for fit in fits) / count
    return Found(x, mse), fits[0]


def _blended(diffusion: Found, dip: Found, usual: float) -> tuple[float, Found]:
    """(1 - w) diffusion + w DIP, with its error (Krogh & Vedelsby 1995; Bates & Granger 1969).

    (1 - w) a² + w b² - w (1 - w) d² with a², b² the predicted errors and d² the mean squared difference; least at
    w = (a² - b² + d²) / 2 d². Where errors are not predicted, w is the usual weight of the task.
    """
    apart = float(mean_square(diffusion.x - dip.x))
    if diffusion.mse is None or dip.mse is None or apart == 0:
        weight, mse = usual, None
    else:
        weight = min(max((diffusion.mse - dip.mse + apart) / (2 * apart), 0.0), 1.0)
        mse = (1 - weight) * diffusion.mse + weight * dip.mse - weight * (1 - weight) * apart
    return weight, Found((1 - weight) * diffusion.x + weight * dip.x, mse, diffusion.error_map)


def predicted_psnr(found: Found) -> float | None:
    """In dB of the range [0, 1]; None where no error is predicted, or one below zero, as by a noise level that is too high."""
    return None if found.mse is None or found.mse <= 0 else float(image_metrics.predicted_psnr(found.mse**0.5))


def _smooth(squared: Tensor) -> Tensor:
    """[1, 1, H, W], averaged over a Gaussian window; not below zero."""
    return torch.from_numpy(gaussian_filter(squared.double().cpu().numpy(), (0, 0, SMOOTH, SMOOTH))).clamp(min=0).to(squared)
