"""The two fits that a `RiskEstimate` compares, side by side in one batch of 2n: named, shown to rules, and stopped.

The first n belong to the first split of the measurement, the others to the second; what is kept is their mean.
"""

from collections.abc import Callable, Sequence

from torch import Tensor

from dualprior.dip.early_stopping import Iterate, LeastEstimate
from dualprior.dip.risk import RiskEstimate


def paired_names(names: Sequence[str]) -> list[str]:
    """Names of the 2n fits to n images, so that the second has a network and random streams of its own."""
    return [*names, *(f"{name}/2" for name in names)]


def paired_index(count: int) -> list[int]:
    """Which of `count` images each of the 2n fits is to."""
    return [*range(count), *range(count)]


def mean(images: Tensor) -> Tensor:
    """[2n, ...] to [n, ...]."""
    first, second = images.chunk(2)
    return (first + second) / 2


def show(step: int, output: Tensor, average: Tensor, residual: Tensor) -> Iterate:
    """What a rule sees of paired fits after one step: output and average [2n, C, H, W], residual [2n]."""
    first, second = average.chunk(2)
    return Iterate(step, mean(output), mean(average), mean(residual), {"first": first, "second": second})


def error_of(risk: RiskEstimate) -> Callable[[Iterate], Tensor]:
    """The estimated squared error of the mean of two paired fits: Iterate -> [n]."""
    return lambda now: risk.estimate([now.paired["first"], now.paired["second"]])


def rmse(estimate: Tensor, sigma_y: float) -> Tensor:
    """The root of an estimated squared error, which may dip below zero."""
    return estimate.clamp(min=(0.1 * sigma_y) ** 2 + 1e-4).sqrt()


def stopped_by(risk: RiskEstimate, patience: int | None) -> LeastEstimate:
    """The rule that stops paired fits at the least estimated error; patience in steps, None for the whole fit."""
    return LeastEstimate(error_of(risk), patience)
