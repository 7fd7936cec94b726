"""The split of every kind of problem, drawn again and again the same: by the stage that fits and by the one that stops."""

import torch
from torch import Tensor

from dualprior.common.errors import UserError
from dualprior.common.seeding import ImageNoise
from dualprior.degradation.measurement import Measurement, estimate_level
from dualprior.degradation.operators import Operator
from dualprior.dip.risk import MeasurementSplit, RiskEstimate, half_difference, mean_risk, mean_square, recorrupted_split
from studies.stopping.params import Fit, Fitting

BELIEFS = {"known": 1.0, "low": 0.8, "high": 1.2}


def believed_level(measured: Measurement, fit: Fit) -> float | Tensor:
    """The noise level that the split is made with: the true one, a fifth off, or an estimate for every image [n]."""
    if fit.noise_level == "estimated":
        return estimate_level(measured.y)
    return BELIEFS[fit.noise_level] * measured.sigma_y


def risk_of(measured: Measurement, fit: Fit, fitting: Fitting) -> RiskEstimate | None:
    """How the measurement is split; None for literal annealing, which splits nothing."""
    if fit.annealing == "literal":
        return None
    if fit.split == "none":
        both = (MeasurementSplit(measured.y), MeasurementSplit(measured.y))
        return RiskEstimate(both, lambda fits: mean_square(half_difference(fits)), unbiased=False)
    noise = ImageNoise(fitting.seed, "witness", measured.names)
    if fit.split == "held_out":
        return held_out_split(measured.op, measured.y, measured.sigma_y, fitting.hold_out, noise)
    return recorrupted_split(measured.op, measured.y, believed_level(measured, fit), fitting.split_alpha, noise)


def probe(measured: Measurement, fitting: Fitting) -> Tensor:
    """Monte-Carlo SURE's b: [n, C, H, W]."""
    return ImageNoise(fitting.seed, "probe", measured.names)(measured.y)


def diffusion_noise(measured: Measurement, levels: int, seed: int) -> Tensor:
    """The diffusion score's eps: [levels, n, C, H, W]."""
    noise = ImageNoise(seed, "diffusion-judge", measured.names)
    blank = torch.empty(len(measured.names), measured.y.shape[1], *measured.size, device=measured.y.device)
    return torch.stack([noise(blank) for _ in range(levels)])


# --- held-out values: any noise that is independent from value to value ---------------------------------------


class HeldOutRisk:
    """Running error of a fit to some of the measured values, estimated from values held out: their mean squared residual,
    less the noise's variance."""

    def __init__(self, op: Operator, y: Tensor, held_out: Tensor, sigma_y: float):
        self._op, self._y, self._noise = op, y, sigma_y**2
        self._held_out = held_out.to(y).expand_as(y)
        self._count = self._held_out.sum((1, 2, 3))

    def __call__(self, image: Tensor) -> Tensor:
        residual = self._held_out * (self._op.A(image) - self._y).square()
        return residual.sum((1, 2, 3)) / self._count - self._noise


def held_out_split(op: Operator, y: Tensor, sigma_y: float, share: float, noise: ImageNoise) -> RiskEstimate:
    """Two disjoint random sets of the measured pixels, each a `share`, held out of one fit and kept to estimate its error.

    The score is the mean of the two residuals on held-out pixels: the error that each fit makes where it sees nothing.
    Raises UserError for an image with fewer than four measured pixels.
    """
    known = torch.ones_like(y[:, :1]) if op.measured is None else op.measured.to(y)
    first, second = _two_sets(known, share, noise)
    splits = tuple(MeasurementSplit(y, known - held, HeldOutRisk(op, y, held, sigma_y)) for held in (first, second))
    return RiskEstimate(splits, lambda fits: mean_risk(splits, fits), unbiased=False)


def _two_sets(known: Tensor, share: float, noise: ImageNoise) -> tuple[Tensor, Tensor]:
    """Two disjoint sets of the values known, [n, c, h, w] of ones and zeros; each leaves at least half to the fit."""
    counts = known.sum((1, 2, 3))
    if (counts < 4).any():
        raise UserError(f"an image with {int(counts.min())} known pixels has none to hold out; raise the task's keep in params.yaml")
    score = noise(known) + torch.where(known > 0, 0.0, torch.inf)  # the lowest scores among the known are held out
    quota = (share * counts).round().clamp(min=1).minimum((counts / 2).floor()).view(-1, 1, 1, 1)
    rank = score.flatten(1).argsort(dim=1).argsort(dim=1).view_as(known)
    return (rank < quota).to(known), ((rank >= quota) & (rank < 2 * quota)).to(known)
