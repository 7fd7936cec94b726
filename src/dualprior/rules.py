"""Early-stopping rules: objects fed a batch of fits step by step, one decision an image, no clean image.

A rule sees what a fit shows while it runs (`Seen`) and remembers, for every image, the step it would have stopped at
and the image of that step. It never halts the batch: fits whose rule has decided run on, for the other rules. What
estimates an error from a split measurement (`stopping.CoupledJudge`, `stopping.HeldOutJudge`) is a judge; `Judged` makes
a rule of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from dualprior.errors import UserError


class Seen(NamedTuple):
    """What the fits of a batch show after one step."""

    step: int  # optimiser steps done, from 1
    output: Tensor  # [n, C, H, W], the network's output
    average: Tensor  # [n, C, H, W], what would be kept if the fit stopped here
    residual: Tensor  # [n], mean squared residual of the output to the measurement, [-1, 1] units
    companions: dict[str, Tensor] = {}  # averages of fits to other parts or copies of the measurement, by name


class Rule(Protocol):
    """`update` with every step in turn; `pick` holds the decision so far."""

    pick: Pick

    def update(self, seen: Seen) -> None: ...


@dataclass
class Pick:
    """For every image the step of the least score, the image of that step, and whether the search is over.

    patience: steps without a new least score after which an image is decided; None looks at the whole fit.
    """

    patience: int | None = None
    step: Tensor | None = None  # [n] int64, 0 before any score
    score: Tensor | None = None  # [n]
    image: Tensor | None = None  # [n, C, H, W]
    decided: Tensor | None = None  # [n] bool

    def _begin(self, image: Tensor) -> None:
        if self.step is None:
            count = len(image)
            self.step = torch.zeros(count, dtype=torch.int64, device=image.device)
            self.score = torch.full((count,), torch.inf, device=image.device)
            self.image = torch.zeros_like(image)
            self.decided = torch.zeros(count, dtype=torch.bool, device=image.device)

    def offer(self, step: int, score: Tensor, image: Tensor) -> None:
        """score: [n], lower is better; a NaN never wins."""
        self._begin(image)
        self._take((score < self.score) & ~self.decided, step, score, image)
        if self.patience is not None:
            self.decided |= step - self.step >= self.patience

    def follow(self, step: int, image: Tensor) -> None:
        """Take this step for every image not yet decided, as each step is better than the one before."""
        self.offer(step, image.new_full((len(image),), -float(step)), image)

    def settle(self, where: Tensor, step: int, image: Tensor) -> None:
        """Decide the images of `where` [n] for this step."""
        self._begin(image)
        where = where & ~self.decided
        self._take(where, step, torch.zeros_like(self.score), image)
        self.decided |= where

    def _take(self, where: Tensor, step: int, score: Tensor, image: Tensor) -> None:
        self.step[where] = step
        self.score = torch.where(where, score, self.score)
        self.image[where] = image[where]


@dataclass
class Last:
    """The last step: no early stopping."""

    pick: Pick = field(default_factory=Pick)

    def update(self, seen: Seen) -> None:
        self.pick.follow(seen.step, seen.average)


@dataclass
class FixedStep:
    """The same step for every image, chosen elsewhere; a fit that ends before it is stopped at its end."""

    step: int
    pick: Pick = field(default_factory=Pick)

    def update(self, seen: Seen) -> None:
        if seen.step <= self.step:
            self.pick.follow(seen.step, seen.average)


@dataclass
class Discrepancy:
    """Morozov's discrepancy principle: the first step at which the residual has fallen to factor * sigma_y^2.

    An image whose residual never falls so far keeps its last step. Raises UserError for sigma_y not above 0: without
    noise the principle never stops a fit.
    """

    sigma_y: float
    factor: float = 1.0
    pick: Pick = field(default_factory=Pick)

    def __post_init__(self) -> None:
        _check_noise(self.sigma_y, "the discrepancy principle")

    def update(self, seen: Seen) -> None:
        self.pick.follow(seen.step, seen.average)
        self.pick.settle(seen.residual <= self.factor * self.sigma_y**2, seen.step, seen.average)


@dataclass
class WindowedVariance:
    """ES-WMV (Wang et al. 2023, Algorithm 1): the least variance of the last `window` outputs, with patience.

    Variance of a window: the mean over its outputs of the mean squared distance to their mean. The step is the last of
    the window. Nothing is offered before the first full window: a fit with fewer steps has no decision (`pick.step` 0),
    which `check_steps` refuses beforehand.
    """

    window: int = 100
    patience: int = 1000
    pick: Pick = field(init=False)

    def __post_init__(self) -> None:
        self.pick, self._recent, self._sum, self._squares = Pick(self.patience), deque(), None, None

    def check_steps(self, steps: int) -> None:
        """Raises UserError when a fit of so many steps never fills the window."""
        if steps < self.window:
            raise UserError(f"a fit of {steps} steps never fills the window of {self.window}; raise dip.steps or lower the window")

    def update(self, seen: Seen) -> None:
        out = seen.output.double()  # sums of many squares are subtracted below
        power = out.square().mean((1, 2, 3))
        if self._sum is None:
            self._sum, self._squares = torch.zeros_like(out), torch.zeros_like(power)
        self._recent.append((seen.output, power))
        self._sum += out
        self._squares += power
        if len(self._recent) > self.window:
            old, old_power = self._recent.popleft()
            self._sum -= old.double()
            self._squares -= old_power
        if len(self._recent) == self.window:
            mean_power = (self._sum / self.window).square().mean((1, 2, 3))
            variance = self._squares / self.window - mean_power  # mean |x - m|^2 = mean |x|^2 - |m|^2
            self.pick.offer(seen.step, variance.clamp(min=0).to(seen.residual), seen.average)


@dataclass
class ExponentialVariance:
    """ES-EMV (Wang et al. 2023, Algorithm 2): an exponential moving variance in place of the window.

    m_k = (1 - a) m_{k-1} + a x_k;  v_k = (1 - a) (v_{k-1} + a |x_k - m_{k-1}|^2), a = `rate`.
    Steps before `burn_in` are not offered: v starts at 0 and has to fill first (as the window does, 1 / rate steps).
    """

    rate: float = 0.1
    patience: int = 1000
    burn_in: int | None = None
    pick: Pick = field(init=False)

    def __post_init__(self) -> None:
        self.pick, self._mean, self._variance = Pick(self.patience), None, None
        self._first = round(1 / self.rate) if self.burn_in is None else self.burn_in

    def update(self, seen: Seen) -> None:
        if self._mean is None:
            self._mean, self._variance = seen.output.clone(), torch.zeros_like(seen.residual)
            return
        far = (seen.output - self._mean).square().mean((1, 2, 3))
        self._variance = (1 - self.rate) * (self._variance + self.rate * far)
        self._mean = torch.lerp(self._mean, seen.output, self.rate)
        if seen.step >= self._first:
            self.pick.offer(seen.step, self._variance, seen.average)


@dataclass
class MonteCarloSURE:
    """Stein's unbiased risk estimate with its divergence by a random probe (Ramani et al. 2008, Eq. 14).

    mse = |f(y) - y|^2 / d - sigma_y^2 + 2 sigma_y^2 div / d,  div = b' (f(y + h b) - f(y)) / h, b ~ N(0, I).
    The companion "probe" is the same fit (same weights, input and jitter) to y + h b. Denoising of Gaussian noise only.
    """

    sigma_y: float
    y: Tensor  # [n, C, H, W]
    probe: Tensor  # b, [n, C, H, W]
    width: float  # h, in [-1, 1] units
    pick: Pick = field(default_factory=Pick)

    def __post_init__(self) -> None:
        _check_noise(self.sigma_y, "SURE")

    def update(self, seen: Seen) -> None:
        self.pick.offer(seen.step, self.estimate(seen), seen.average)

    def estimate(self, seen: Seen) -> Tensor:
        """Mean squared error of every image's average: [n], may be negative."""
        divergence = (self.probe * (seen.companions["probe"] - seen.average)).mean((1, 2, 3)) / self.width
        residual = (seen.average - self.y).square().mean((1, 2, 3))
        return residual + self.sigma_y**2 * (2 * divergence - 1)


@dataclass
class Judged:
    """The least of a judge's estimates of the error of a companion fit, or of the fit itself (companion None).

    smooth: decay of an exponential average of the estimates (0: none), against the noise of a small image's estimate.
    keep: what the pick keeps, of the companion (True) or of the fit it stands by (False).
    """

    judge: Callable[[Tensor], Tensor]
    companion: str | None
    keep_companion: bool = False
    smooth: float = 0.0
    patience: int | None = None
    pick: Pick = field(init=False)

    def __post_init__(self) -> None:
        self.pick, self._average = Pick(self.patience), None

    def update(self, seen: Seen) -> None:
        judged = seen.average if self.companion is None else seen.companions[self.companion]
        estimate = self.judge(judged)
        self._average = estimate if self._average is None else torch.lerp(estimate, self._average, self.smooth)
        self.pick.offer(seen.step, self._average, judged if self.keep_companion else seen.average)


def _check_noise(sigma_y: float, rule: str) -> None:
    if not sigma_y > 0:
        raise UserError(f"{rule} needs the noise level, above 0, and was given sigma_y={sigma_y:g}; choose another rule")
