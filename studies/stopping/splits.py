"""The split of every kind of problem, drawn again and again the same: by the stage that fits and by the one that stops."""

import torch
from torch import Tensor

from dualprior.common.seeding import ImageNoise, generator
from dualprior.degradation.measurement import Measurement, estimate_level
from dualprior.dip.risk import MeasurementSplit, RiskEstimate, half_difference, mean_square, recorrupted_split
from studies.stopping.other_splits import held_out_split, impulse_split, thinned_split
from studies.stopping.params import Fit, Fitting, Problem

BELIEFS = {"known": 1.0, "low": 0.8, "high": 1.2}


def believed_level(measured: Measurement, fit: Fit) -> float | Tensor:
    """The noise level that the split is made with: the true one, a fifth off, or an estimate for every image [n]."""
    if fit.noise_level == "estimated":
        return estimate_level(measured.y)
    return BELIEFS[fit.noise_level] * measured.sigma_y


def risk_of(measured: Measurement, problem: Problem, fit: Fit, fitting: Fitting) -> RiskEstimate | None:
    """How the measurement is split; None for literal annealing, which splits nothing."""
    if fit.annealing == "literal":
        return None
    if fit.split == "none":
        both = (MeasurementSplit(measured.y), MeasurementSplit(measured.y))
        return RiskEstimate(both, lambda fits: mean_square(half_difference(fits)), unbiased=False)
    noise = ImageNoise(fitting.seed, "witness", measured.names)
    if fit.split == "held_out":
        return held_out_split(measured.op, measured.y, measured.sigma_y, fitting.hold_out, noise)
    if problem.kind == "poisson":
        rngs = [generator(fitting.seed, "witness", name) for name in measured.names]
        return thinned_split(measured.y, problem.peak, fitting.thin, rngs)
    if problem.kind == "impulses":
        return impulse_split(measured.y, measured.sigma_y, fitting.split_alpha, fitting.hold_out, noise)
    return recorrupted_split(measured.op, measured.y, believed_level(measured, fit), fitting.split_alpha, noise)


def whole(measured: Measurement, problem: Problem) -> MeasurementSplit:
    """All of the measurement; of one struck by impulses, the values that are not at either end."""
    keep = (measured.y.abs() != 1).to(measured.y) if problem.kind == "impulses" else None
    return MeasurementSplit(measured.y, keep)


def probe(measured: Measurement, fitting: Fitting) -> Tensor:
    """Monte-Carlo SURE's b: [n, C, H, W]."""
    return ImageNoise(fitting.seed, "probe", measured.names)(measured.y)


def diffusion_noise(measured: Measurement, levels: int, seed: int) -> Tensor:
    """The diffusion score's eps: [levels, n, C, H, W]."""
    noise = ImageNoise(seed, "diffusion-judge", measured.names)
    blank = torch.empty(len(measured.names), measured.y.shape[1], *measured.size, device=measured.y.device)
    return torch.stack([noise(blank) for _ in range(levels)])
