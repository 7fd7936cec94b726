"""dualprior's denoiser as deepinv calls one: `denoiser(x, sigma)`, images and noise levels in the units of [0, 1]."""

import json
from pathlib import Path

import torch
from safetensors.torch import load_file

from dualprior.diffusion.denoiser import Denoiser
from dualprior.diffusion.unet import UNet


class DualpriorDenoiser(torch.nn.Module):
    def __init__(self, network: dict, prediction: str, least: float):
        super().__init__()
        self.denoiser, self.least = Denoiser(UNet(**network), prediction), least

    def forward(self, x, sigma, **_unused):
        """x: [B, 3, H, W] in [0, 1], any size; sigma: a number, or one an image; below the least trained one it is raised to that."""
        sigma = torch.as_tensor(sigma, dtype=x.dtype, device=x.device).flatten()
        return (self.denoiser(2 * x - 1, (2 * sigma).clamp(min=self.least)) + 1) / 2


def load(folder=Path(__file__).parent) -> DualpriorDenoiser:
    denoiser = DualpriorDenoiser(**json.loads((Path(folder) / "config.json").read_text()))
    denoiser.denoiser.network.load_state_dict(load_file(Path(folder) / "model.safetensors"))
    return denoiser.eval().requires_grad_(False)
