"""Deep Image Prior: N independent fits in one forward pass, as a generator of steps.

min over theta_i of ||A f_i(z_i) - y_i||^2 / m_i for every image i (Ulyanov et al. 2018, Eq. 2), m_i the number of
measured values. The loss is a mean over values and a sum over images, so each fit follows the path it would alone.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torch.optim.adam import adam

from dualprior.device import autocast_type
from dualprior.errors import UserError
from dualprior.nets.skip import SkipNet
from dualprior.operators import Mask, Operator
from dualprior.seeding import generator

# guide(step, average) -> (target [N, C, H, W], weight): pulls the output towards the target
Guide = Callable[[int, Tensor], tuple[Tensor, float]]


class DIPStep(NamedTuple):
    step: int  # optimiser steps done
    average: Tensor  # [N, C, H, W], exponential average of the outputs
    loss: Tensor  # [N], data loss before the step


@dataclass(frozen=True)
class Recipe:
    """All that decides a fit but the measurement and the number of steps."""

    seed: int
    kind: str
    network: Mapping  # arguments of the network's class
    input_cell: int
    lr: float
    input_noise: float
    ema: float
    precision: str

    @classmethod
    def of(cls, values: Mapping) -> "Recipe":
        """From the parameter section `dip` as a plain mapping; what a recipe has no use for is left out."""
        network = dict(values["network"])
        flat = {**values, "kind": network.pop("kind"), "network": network}
        return cls(**{field.name: flat[field.name] for field in fields(cls)})


def fit_images(
    recipe: Recipe, op: Operator, y: Tensor, names: Sequence[str], size: tuple[int, int], steps: int, guide: Guide | None = None
) -> Iterator[DIPStep]:
    """Fit a fresh network to the measurement of every named image, H × W = size, on y's device; see `fit`."""
    network = build(recipe.kind, recipe.seed, names, **recipe.network).to(y.device)
    z = network_input(recipe.seed, names, recipe.network["input_channels"], size, recipe.input_cell).to(y.device)
    return fit(
        network, z, op, y, names=names, steps=steps, lr=recipe.lr, input_noise=recipe.input_noise, ema=recipe.ema,
        seed=recipe.seed, autocast=autocast_type(recipe.precision, y.device), guide=guide,
    )  # fmt: skip


def build(kind: str, seed: int, names: Sequence[str], **network) -> SkipNet:
    """The fitting network of every named image, its weights drawn from (seed, name)."""
    rngs = [generator(seed, "dip-weights", name) for name in names]
    return {"skip": SkipNet}[kind](rngs=rngs, **network)


def network_input(seed: int, names: Sequence[str], channels: int, size: tuple[int, int], cell: int = 1) -> Tensor:
    """z ~ U(0, 0.1) for every named image: [N, channels, H, W] (Ulyanov et al. 2018, Sec. 3).

    cell: drawn at 1/cell of the size and interpolated, so that the input brings no detail of its own into what the
    measurement does not see; 1 is the original's white input.
    """
    coarse = [-(-side // cell) for side in size]
    z = torch.stack([torch.rand(channels, *coarse, generator=generator(seed, "dip-input", name)) for name in names])
    return 0.1 * (z if cell == 1 else interpolate(z, size=size, mode="bicubic"))


def snapshot_steps(steps: int, count: int) -> list[int]:
    """`count` steps, about evenly spaced in log(step), the last one `steps`."""
    grid = np.unique(np.round(np.geomspace(min(8, steps), steps, count)).astype(int))
    return [int(s) for s in grid]


def data_loss(op: Operator, out: Tensor, y: Tensor) -> Tensor:
    """Mean squared residual over the measured values of each image: [N]."""
    residual = (op.A(out) - y).square()
    if isinstance(op, Mask):
        mask = op.mask.to(residual)
        return residual.sum((1, 2, 3)) / (mask.sum((1, 2, 3)) * residual.shape[1])
    return residual.mean((1, 2, 3))


def fit(
    network: nn.Module,
    z: Tensor,
    op: Operator,
    y: Tensor,
    *,
    names: Sequence[str],
    steps: int,
    lr: float,
    input_noise: float,
    ema: float,
    seed: int,
    autocast: torch.dtype | None = None,
    guide: Guide | None = None,
) -> Iterator[DIPStep]:
    """Fit every network to its measurement, yielding after every step.

    z: [N, k, H, W]; y: [N, C, h, w] in [-1, 1] units. input_noise: standard deviation of the noise added to z at
    each step (drawn once a step for all images, so that no fit depends on its batch-mates). ema: decay of the output
    average, with warm-up. Raises UserError when a loss stops being finite, with the name of the image.
    """
    optimizer = _Adam(network.parameters(), lr)
    rng = generator(seed, "dip-noise")
    average = None
    for step in range(1, steps + 1):
        jitter = input_noise * torch.randn(z.shape[1:], generator=rng).to(z)
        with torch.enable_grad():
            with torch.autocast(z.device.type, dtype=autocast or torch.bfloat16, enabled=autocast is not None):
                out = network(z + jitter)
            losses = data_loss(op, out, y)
            total = losses.sum()
            if guide is not None and average is not None:
                target, weight = guide(step, average)
                total = total + weight * (out - target.detach()).square().mean((1, 2, 3)).sum()
            total.backward()
        optimizer.step()
        with torch.no_grad():
            decay = min(ema, step / (step + 9)) if average is not None else 0.0
            average = out.detach() if average is None else torch.lerp(out.detach(), average, decay)
        _check_finite(losses, names, step, lr)
        yield DIPStep(step, average, losses.detach())


class _Adam:
    """Kingma & Ba 2015 through torch's functional form: the first step of the class imports torch's compiler, for 2 s."""

    def __init__(self, weights: Iterable[Tensor], lr: float):
        self._weights, self._lr = list(weights), lr
        self._means = [torch.zeros_like(w) for w in self._weights]
        self._squares = [torch.zeros_like(w) for w in self._weights]
        self._steps = [torch.zeros((), device=w.device) for w in self._weights]

    @torch.no_grad()
    def step(self) -> None:
        """Move the weights, then forget their gradients."""
        adam(
            self._weights, [w.grad for w in self._weights], self._means, self._squares, [], self._steps,
            fused=True, amsgrad=False, beta1=0.9, beta2=0.999, lr=self._lr, weight_decay=0.0, eps=1e-8, maximize=False,
        )  # fmt: skip
        for weight in self._weights:
            weight.grad = None


def _check_finite(losses: Tensor, names: Sequence[str], step: int, lr: float) -> None:
    if not torch.isfinite(losses).all():
        bad = int((~torch.isfinite(losses)).nonzero()[0])
        raise UserError(f"the fit of {names[bad]} has loss {losses[bad]:g} at step {step}; lower dip.lr (now {lr:g})")
