"""One denoiser, D(x; sigma) -> x0_hat, over a network: the preconditioning table of eps, x0 and v prediction.

x = x0 + sigma*eps with images in [-1, 1]. Everything else in the project sees the diffusion model only through here.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dualprior.common.errors import UserError


class Precondition(NamedTuple):
    """D(x; sigma) = c_skip x + c_out F(c_in x, log sigma) (Karras et al. 2022, Eq. 7); each shaped like sigma."""

    c_skip: Tensor
    c_out: Tensor
    c_in: Tensor


def _eps(sigma: Tensor) -> Precondition:
    """F = eps: x0 = x - sigma F. (Ho et al. 2020, Eq. 15, in sigma coordinates.)"""
    return Precondition(torch.ones_like(sigma), -sigma, (1 + sigma**2).rsqrt())


def _x0(sigma: Tensor) -> Precondition:
    """F = x0."""
    return Precondition(torch.zeros_like(sigma), torch.ones_like(sigma), (1 + sigma**2).rsqrt())


def _v(sigma: Tensor) -> Precondition:
    """F = (eps - sigma x0) / sqrt(1 + sigma^2) (Salimans & Ho 2022, Appendix D, in sigma coordinates)."""
    return Precondition(1 / (1 + sigma**2), -sigma * (1 + sigma**2).rsqrt(), (1 + sigma**2).rsqrt())


PREDICTIONS = {"eps": _eps, "x0": _x0, "v": _v}


class Denoiser(nn.Module):
    """denoise(x, sigma, cond) -> x0_hat.

    x: [B, C, H, W], any H and W (padded by reflection to what the network divides); sigma: [] or [B], > 0. cond: what the
    network declares, {name: channels}, as {name: [B, channels, H, W]} in [-1, 1] units; UserError where it is missing or misshapen.
    autocast: the dtype of the network's matrix products (None: float32); the preconditioning stays in float32.
    """

    def __init__(self, network: nn.Module, prediction: str, autocast: torch.dtype | None = None):
        super().__init__()
        self.network = network
        self.prediction = prediction
        self.autocast = autocast

    def precondition(self, sigma: Tensor) -> Precondition:
        return PREDICTIONS[self.prediction](sigma)

    def forward(self, x: Tensor, sigma: Tensor | float, cond: Mapping[str, Tensor] | None = None) -> Tensor:
        sigma = torch.as_tensor(sigma, dtype=x.dtype, device=x.device).expand(x.shape[0])
        c_skip, c_out, c_in = (c.view(-1, 1, 1, 1) for c in self.precondition(sigma))
        return c_skip * x + c_out * self.raw(c_in * x, sigma, cond)

    def raw(self, scaled: Tensor, sigma: Tensor, cond: Mapping[str, Tensor] | None = None) -> Tensor:
        """F(c_in x, log sigma, cond): [B, C, H, W]."""
        needed = {name: [len(scaled), channels, *scaled.shape[-2:]] for name, channels in self.network.declared.items()}
        given = {name: list(values.shape) for name, values in (cond or {}).items()}
        if given != needed:
            raise UserError(f"the model's condition must be {_told(needed)}; given is {_told(given)}")
        height, width = scaled.shape[-2:]
        unit = self.network.divisor
        pad = (0, -width % unit, 0, -height % unit)
        inputs = {"x": scaled, **(cond or {})}
        if any(pad):
            inputs = {name: nn.functional.pad(values, pad, mode="reflect") for name, values in inputs.items()}
        enabled = self.autocast is not None
        with torch.autocast(scaled.device.type, dtype=self.autocast or torch.bfloat16, enabled=enabled):
            out = self.network(log_sigma=sigma.log(), **inputs)
        return out[..., :height, :width].to(scaled.dtype)

    def target(self, x0: Tensor, x: Tensor, sigma: Tensor) -> Tensor:
        """What F should be: (x0 - c_skip x) / c_out, unit variance for unit-variance data."""
        c_skip, c_out, _ = (c.view(-1, 1, 1, 1) for c in self.precondition(sigma))
        return (x0 - c_skip * x) / c_out


def _told(shapes: Mapping[str, list[int]]) -> str:
    return ", ".join(f"{name} {shape}" for name, shape in shapes.items()) or "none"
