"""DDPM training: the loss, the averaged weights, and the loop as a generator of steps.

Every random draw of step k comes from a generator seeded by (seed, k), so a run resumed from a checkpoint of step k
continues exactly as the uninterrupted one.
"""

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from dualprior.common.errors import UserError
from dualprior.common.seeding import generator
from dualprior.diffusion.denoiser import Denoiser


def denoising_loss(denoiser: Denoiser, x0: Tensor, sigma: Tensor, eps: Tensor, cond: Mapping[str, Tensor] | None = None) -> Tensor:
    """Mean squared error of the network's own target (Ho et al. 2020, Eq. 14, for eps prediction): [].

    x0, eps: [B, C, H, W]; sigma: [B], > 0; cond: as the denoiser's.
    """
    x = x0 + sigma.view(-1, 1, 1, 1) * eps
    c_in = denoiser.precondition(sigma).c_in.view(-1, 1, 1, 1)
    return (denoiser.raw(c_in * x, sigma, cond) - denoiser.target(x0, x, sigma)).square().mean()


def lr_factor(step: int, steps: int, warmup: int, decay: str) -> float:
    """Share of the base learning rate at step (0-based): linear warm-up, then cosine, linear or no decay to 0."""
    ramp = min(1.0, (step + 1) / warmup) if warmup else 1.0
    progress = step / steps
    tail = {"cosine": 0.5 * (1 + math.cos(math.pi * progress)), "linear": 1 - progress, "none": 1.0}[decay]
    return ramp * tail


def ema_decay(step: int, decay: float) -> float:
    """EMA with warm-up: min(decay, (1 + step) / (10 + step)), so early averages forget the random start."""
    return min(decay, (1 + step) / (10 + step))


def augment(x: Tensor, rng: torch.Generator) -> Tensor:
    """Flip and turn by quarter circles, per image: x [B, C, H, H] -> same shape."""
    choice = torch.randint(0, 8, (x.shape[0],), generator=rng)
    out = torch.empty_like(x)
    for k in range(8):
        member = choice == k
        turned = torch.rot90(x[member], k % 4, dims=(2, 3))
        out[member] = turned.flip(3) if k >= 4 else turned
    return out


@dataclass
class TrainState:
    """All that training carries from step to step."""

    denoiser: Denoiser
    averaged: Denoiser
    optimizer: torch.optim.Optimizer
    step: int = 0

    @classmethod
    def fresh(cls, denoiser: Denoiser, lr: float) -> "TrainState":
        optimizer = torch.optim.AdamW(denoiser.parameters(), lr=lr, betas=(0.9, 0.99), weight_decay=1e-4, fused=True)
        averaged = copy.deepcopy(denoiser).requires_grad_(False)
        return cls(denoiser, averaged, optimizer)

    def state_dict(self) -> dict:
        return {
            "denoiser": self.denoiser.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
        }

    def load_state_dict(self, state: dict) -> None:
        self.denoiser.load_state_dict(state["denoiser"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]


class TrainStep(NamedTuple):
    step: int  # number of steps done
    loss: Tensor  # []
    lr: float


def train(
    state: TrainState,
    patches: Tensor,
    levels: np.ndarray,
    *,
    steps: int,
    batch_size: int,
    lr: float,
    lr_decay: str,
    warmup_steps: int,
    grad_clip: float,
    ema: float,
    seed: int,
    images: Tensor | None = None,
    loss_of: Callable[..., Tensor] = denoising_loss,
    turned: bool = True,
) -> Iterator[TrainStep]:
    """Train from state.step to `steps`, yielding after every step.

    patches: [N, C, p, p], uint8 (kept small in memory; mapped to [-1, 1] here) or what is to be drawn itself; levels: [T] noise
    levels of the schedule, drawn uniformly. images: [N, k, p, p], likewise: the condition "image" of each patch, turned with it.
    loss_of: a loss of `denoising_loss`'s arguments in its place. turned: whether patches are flipped and turned.
    """
    device = next(state.denoiser.parameters()).device
    sigmas = torch.as_tensor(levels, dtype=torch.float32)
    weights, averages = list(state.denoiser.parameters()), list(state.averaged.parameters())
    parts = [patches] if images is None else [patches, images]
    channels = [part.shape[1] for part in parts]
    state.denoiser.train()
    while state.step < steps:
        rng = generator(seed, "train", state.step)
        index = torch.randint(0, len(patches), (batch_size,), generator=rng)
        drawn = torch.cat([_in_units(part[index]) for part in parts], dim=1)
        x0, *image = (augment(drawn, rng) if turned else drawn).split(channels, dim=1)
        cond = {"image": image[0].to(device)} if image else None
        sigma = sigmas[torch.randint(0, len(sigmas), (batch_size,), generator=rng)]
        eps = torch.randn(x0.shape, generator=rng)
        factor = lr_factor(state.step, steps, warmup_steps, lr_decay)
        for group in state.optimizer.param_groups:
            group["lr"] = lr * factor
        loss = loss_of(state.denoiser, x0.to(device), sigma.to(device), eps.to(device), cond)
        state.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, grad_clip)
        state.optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(averages, weights, 1 - ema_decay(state.step, ema))
        state.step += 1
        yield TrainStep(state.step, loss.detach(), lr * factor)


def _in_units(x: Tensor) -> Tensor:
    return x.float() / 127.5 - 1 if x.dtype == torch.uint8 else x


def check_finite(loss: float, step: int, lr: float) -> float:
    """Refuse to go on from a diverged step."""
    if not math.isfinite(loss):
        raise UserError(f"the training loss is {loss} at step {step}; lower ddpm.training.lr (now {lr:g}) in params.yaml")
    return loss
