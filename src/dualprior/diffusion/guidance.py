"""Guidance of the reverse process by an image: at each noise level the denoiser's guess is drawn towards it."""

import torch
from torch import Tensor

from dualprior.diffusion.samplers import DataConsistency


def towards(image: Tensor, error: Tensor, gamma: float, then: DataConsistency) -> DataConsistency:
    """x0 -> then((1 - w) x0 + w image), w = gamma sigma^2 / (sigma^2 + error^2), so that the guide rules at heavy noise.

    That w at gamma = 1 is the best weight of an image with white error `error` beside a guess whose error is the noise
    level itself (inverse variances). image: [n, C, H, W]; error: [n], its RMSE; 0 <= gamma <= 1; then: data consistency.
    """
    variance = error.to(image).square().view(-1, 1, 1, 1)

    def data_consistency(x0: Tensor, sigma: Tensor) -> Tensor:
        square = torch.as_tensor(sigma).to(x0).square()
        return then(torch.lerp(x0, image, (gamma * square / (square + variance)).expand_as(x0)), sigma)

    return data_consistency
