"""Early stopping: objects fed a batch of fits step by step, one decision an image, no clean image.

A rule sees what the fits show while they run (`Iterate`) and remembers, for every image, the step it would have stopped
at and the image of that step. It never halts the batch: fits whose rule has decided run on, for the other rules. The
running error that a fit's own data tell is in `risk`; `LeastEstimate` makes a rule of it. Published rules are in the
study of stopping rules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import torch
from torch import Tensor


class Iterate(NamedTuple):
    """What the fits of a batch show after one step."""

    step: int  # optimiser steps done, from 1
    output: Tensor  # [n, C, H, W], the network's output (of paired fits: the mean of the two)
    average: Tensor  # [n, C, H, W], what would be kept if the fit stopped here
    residual: Tensor  # [n], mean squared residual of the output to the measurement, [-1, 1] units
    paired: Mapping[str, Tensor] = {}  # averages of other fits of the batch, by name


class Rule(Protocol):
    """`update` with every step in turn; `stop` holds the decision so far."""

    stop: StopState

    def update(self, iterate: Iterate) -> None: ...


def follow(rules: Iterable[Rule], fit: Iterable[Iterate]) -> None:
    """Feed every step of a fit, running or kept, to every rule."""
    for iterate in fit:
        for rule in rules:
            rule.update(iterate)


@dataclass
class StopState:
    """For every image the step of the least score, the image of that step, and whether the search is over.

    patience: steps without a new least score after which an image is decided; None looks at the whole fit.
    """

    patience: int | None = None
    step: Tensor | None = None  # [n] int64, 0 before any score
    score: Tensor | None = None  # [n]
    image: Tensor | None = None  # [n, C, H, W]
    decided: Tensor | None = None  # [n] bool
    decided_step: Tensor | None = None  # [n] int64, the step at which the decision was made; of the undecided, the last step so far

    def _begin(self, image: Tensor) -> None:
        if self.step is None:
            count = len(image)
            self.step = torch.zeros(count, dtype=torch.int64, device=image.device)
            self.decided_step = torch.zeros(count, dtype=torch.int64, device=image.device)
            self.score = torch.full((count,), torch.inf, device=image.device)
            self.image = torch.zeros_like(image)
            self.decided = torch.zeros(count, dtype=torch.bool, device=image.device)

    def offer(self, step: int, score: Tensor, image: Tensor) -> None:
        """score: [n], lower is better; a NaN never wins."""
        self._begin(image)
        self.decided_step[~self.decided] = step
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
        self.decided_step[where] = step
        self.decided |= where

    def _take(self, where: Tensor, step: int, score: Tensor, image: Tensor) -> None:
        self.step[where] = step
        self.score = torch.where(where, score, self.score)
        self.image[where] = image[where]


# --- rules -----------------------------------------------------------


@dataclass
class Last:
    """The last step: no early stopping."""

    stop: StopState = field(default_factory=StopState)

    def update(self, iterate: Iterate) -> None:
        self.stop.follow(iterate.step, iterate.average)


@dataclass
class FixedStep:
    """The same step for every image, chosen elsewhere; a fit that ends before it is stopped at its end."""

    step: int
    stop: StopState = field(default_factory=StopState)

    def update(self, iterate: Iterate) -> None:
        if iterate.step <= self.step:
            self.stop.follow(iterate.step, iterate.average)


@dataclass
class LeastEstimate:
    """The least of the estimates that `estimate(iterate)` [n] gives of the error of what is kept, or of any score.

    With patience (steps) the decision is made while the fit runs; without, at its end.
    """

    estimate: Callable[[Iterate], Tensor]
    patience: int | None = None
    stop: StopState = field(init=False)
    last: Tensor | None = None  # [n], the latest estimate

    def __post_init__(self) -> None:
        self.stop = StopState(self.patience)

    def update(self, iterate: Iterate) -> None:
        self.last = self.estimate(iterate)
        self.stop.offer(iterate.step, self.last, iterate.average)
