"""The witness of every kind of problem, drawn again and again the same: by the stage that fits and by the one that judges."""

import torch
from torch import Tensor

from dualprior import noises
from dualprior.observation import Observation
from dualprior.seeding import ImageNoise, generator
from dualprior.settings.stopping_fits import Fit, Fitting, Problem
from dualprior.witness import Part, Witness, coupled_pair, half_gap, held_out_pair, impulse_pair, mean_square, thinned_pair

BELIEFS = {"known": 1.0, "low": 0.8, "high": 1.2}


def believed_level(seen: Observation, fit: Fit) -> float | Tensor:
    """The noise level that the split is made with: the true one, a fifth off, or an estimate for every image [n]."""
    if fit.noise_level == "estimated":
        return noises.estimate_level(seen.y)
    return BELIEFS[fit.noise_level] * seen.sigma_y


def witness_of(seen: Observation, problem: Problem, fit: Fit, fitting: Fitting) -> Witness | None:
    """How the measurement is split and judged; None for the literal ladder, which splits nothing."""
    if fit.ladder == "literal":
        return None
    if fit.split == "none":
        return Witness((Part(seen.y), Part(seen.y)), lambda fits: mean_square(half_gap(fits)), unbiased=False)
    noise = ImageNoise(fitting.seed, "witness", seen.names)
    if fit.split == "held_out":
        return held_out_pair(seen.op, seen.y, seen.sigma_y, fitting.hold_out, noise)
    if problem.kind == "poisson":
        rngs = [generator(fitting.seed, "witness", name) for name in seen.names]
        return thinned_pair(seen.y, problem.peak, fitting.thin, rngs)
    if problem.kind == "impulses":
        return impulse_pair(seen.y, seen.sigma_y, fitting.split_alpha, fitting.hold_out, noise)
    return coupled_pair(seen.op, seen.y, believed_level(seen, fit), fitting.split_alpha, noise)


def whole(seen: Observation, problem: Problem) -> Part:
    """All of the measurement; of one struck by impulses, the values that are not at either end."""
    keep = (seen.y.abs() != 1).to(seen.y) if problem.kind == "impulses" else None
    return Part(seen.y, keep)


def probe(seen: Observation, fitting: Fitting) -> Tensor:
    """Monte-Carlo SURE's b: [n, C, H, W]."""
    return ImageNoise(fitting.seed, "probe", seen.names)(seen.y)


def judge_noise(seen: Observation, levels: int, seed: int) -> Tensor:
    """The diffusion judge's eps: [levels, n, C, H, W]."""
    noise = ImageNoise(seed, "diffusion-judge", seen.names)
    blank = torch.empty(len(seen.names), seen.y.shape[1], *seen.size, device=seen.y.device)
    return torch.stack([noise(blank) for _ in range(levels)])
