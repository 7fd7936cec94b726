"""Deep Image Prior: N independent fits in one forward pass, as a generator of steps.

min over theta_i of ||A f_i(z_i) - y_i||^2 / m_i for every image i (Ulyanov et al. 2018, Eq. 2), m_i the number of
measured values. The loss is a mean over values and a sum over images, so each fit follows the path it would alone.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from dualprior.common.device import autocast_type
from dualprior.common.errors import UserError
from dualprior.common.seeding import generator
from dualprior.degradation.operators import Operator
from dualprior.dip.networks.batched_layers import Chunks
from dualprior.dip.networks.decoder import DeepDecoder
from dualprior.dip.networks.skip import SkipNet
from dualprior.dip.networks.unet import PlainUNet

NETWORKS = {"skip": SkipNet, "unet": PlainUNet, "decoder": DeepDecoder}
CHUNK = 16  # networks side by side; 192 in one row take 2.5 times as long each (measured at 64 px with the default network)


class DIPStep(NamedTuple):
    step: int  # optimiser steps done
    output: Tensor  # [N, C, H, W], the network's output before the step
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
    def of(cls, values: Mapping, network: Mapping) -> "Recipe":
        """From the parameter section `dip` and one of its networks as plain mappings; what a recipe has no use for is left out."""
        own = {name: value for name, value in network.items() if value is not None and name not in ("kind", "lr", "steps")}
        flat = {**values, "kind": network["kind"], "network": own, "lr": network.get("lr") or values["lr"]}
        return cls(**{field.name: flat[field.name] for field in fields(cls)})


def fit_images(
    recipe: Recipe,
    op: Operator,
    y: Tensor | Callable[[int], Tensor],
    names: Sequence[str],
    size: tuple[int, int],
    steps: int,
    *,
    device: torch.device,
    keep: Tensor | None = None,
    input_scale: Callable[[int], Tensor] | None = None,
    network: nn.Module | None = None,
) -> Iterator[DIPStep]:
    """Fit a fresh network, or one given as `build` makes it, to the measurement of every named image, H × W = size; see `fit`."""
    network = (network if network is not None else build(recipe.kind, recipe.seed, names, **recipe.network)).to(device)
    z = network_input(recipe.seed, names, recipe.network["input_channels"], size, recipe.input_cell).to(device)
    return fit(
        network, z, op, y, names=names, steps=steps, lr=recipe.lr, input_noise=recipe.input_noise, ema=recipe.ema,
        seed=recipe.seed, autocast=autocast_type(recipe.precision, device), keep=keep, input_scale=input_scale,
    )  # fmt: skip


def build(kind: str, seed: int, names: Sequence[str], **network) -> nn.Module:
    """The fitting network of every named image, its weights drawn from (seed, name). kind: a key of `NETWORKS`."""
    rngs = [generator(seed, "dip-weights", name) for name in names]
    rows = [NETWORKS[kind](rngs=rngs[first : first + CHUNK], **network) for first in range(0, len(rngs), CHUNK)]
    return rows[0] if len(rows) == 1 else Chunks(rows)


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


def data_loss(op: Operator, out: Tensor, y: Tensor, keep: Tensor | None = None) -> Tensor:
    """Mean squared residual over the measured values of each image, or over those that `keep` marks: [N].

    keep: ones and zeros that broadcast to y. NaN for an image of which nothing is kept, which `check_measured` refuses.
    """
    residual = (op.A(out) - y).square()
    keep = op.measured if keep is None else keep
    if keep is None:
        return residual.mean((1, 2, 3))
    keep = keep.to(residual).expand_as(residual)
    return (keep * residual).sum((1, 2, 3)) / keep.sum((1, 2, 3))


def check_measured(op: Operator, y: Tensor, names: Sequence[str], keep: Tensor | None = None) -> None:
    """Raises UserError, with its name, for an image of which no value is measured."""
    keep = op.measured if keep is None else keep
    empty = [] if keep is None else (keep.expand(len(y), *keep.shape[1:]).sum((1, 2, 3)) == 0).nonzero().flatten().tolist()
    if empty:
        raise UserError(f"nothing of {names[empty[0]]} is known: its mask is all zeros; raise the task's keep in params.yaml")


def fit(
    network: nn.Module,
    z: Tensor,
    op: Operator,
    y: Tensor | Callable[[int], Tensor],
    *,
    names: Sequence[str],
    steps: int,
    lr: float,
    input_noise: float,
    ema: float,
    seed: int,
    autocast: torch.dtype | None = None,
    keep: Tensor | None = None,
    input_scale: Callable[[int], Tensor] | None = None,
) -> Iterator[DIPStep]:
    """Fit every network to its measurement, yielding after every step.

    z: [N, k, H, W]; y: [N, C, h, w] in [-1, 1] units, or a function of the step that gives it. input_noise: standard
    deviation of the noise added to z at each step (drawn once a step for all images, so that no fit depends on its
    batch-mates), times input_scale(step) [N] where given. ema: decay of the output average, with warm-up. keep: the
    measured values that count, see `data_loss`. Raises UserError when a loss stops being finite, with the name of the image.
    """
    measured = y if callable(y) else lambda step: y
    check_measured(op, measured(1), names, keep)
    optimizer = torch.optim.Adam(network.parameters(), lr, fused=True)
    rng = generator(seed, "dip-noise")
    average = None
    for step in range(1, steps + 1):
        jitter = input_noise * torch.randn(z.shape[1:], generator=rng).to(z)
        if input_scale is not None:
            jitter = input_scale(step).to(z).view(-1, 1, 1, 1) * jitter
        with torch.enable_grad():
            with torch.autocast(z.device.type, dtype=autocast or torch.bfloat16, enabled=autocast is not None):
                out = network(z + jitter)
            losses = data_loss(op, out, measured(step), keep)
            losses.sum().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        with torch.no_grad():
            decay = min(ema, step / (step + 9)) if average is not None else 0.0
            average = out.detach() if average is None else torch.lerp(out.detach(), average, decay)
        _check_finite(losses, names, step, lr)
        yield DIPStep(step, out.detach(), average, losses.detach())


def _check_finite(losses: Tensor, names: Sequence[str], step: int, lr: float) -> None:
    if not torch.isfinite(losses).all():
        bad = int((~torch.isfinite(losses)).nonzero()[0])
        raise UserError(f"the fit of {names[bad]} has loss {losses[bad]:g} at step {step}; lower dip.lr (now {lr:g})")
