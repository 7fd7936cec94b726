"""The models compared: one conditional network, asked for the noise, for the image, or for the image at once."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from dualprior.diffusion.denoiser import Denoiser
from dualprior.diffusion.training import denoising_loss


class Model(NamedTuple):
    prediction: str
    power: int | None = None  # regression: of the absolute error that is minimised; None for diffusion
    blind: bool = False  # not told the noise level

    def loss(self, denoiser: Denoiser, x0: Tensor, sigma: Tensor, eps: Tensor, cond: Mapping[str, Tensor]) -> Tensor:
        """Of regression, the mean of |f(cond) - x0|^power: []."""
        if self.power is None:
            return denoising_loss(denoiser, x0, sigma, eps, cond)
        return (at_once(denoiser, cond) - x0).abs().pow(self.power).mean()


MODELS = {
    "eps": Model("eps"),
    "x0": Model("x0"),
    "blind": Model("x0", blind=True),
    "l2": Model("x0", power=2),
    "l1": Model("x0", power=1),
}


def at_once(denoiser: Denoiser, cond: Mapping[str, Tensor]) -> Tensor:
    """The network's answer in one call: no noisy image, one level."""
    image = cond["image"]
    return denoiser.raw(torch.zeros_like(image), torch.ones(len(image), device=image.device), cond)
