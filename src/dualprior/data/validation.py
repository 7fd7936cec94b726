"""Errors against clean validation images, by which settings are chosen; clean test images never reach these."""

import torch
from torch import Tensor


def overall_rmse(x: Tensor, clean: Tensor) -> Tensor:
    """[], the RMSE over all images."""
    return rmse(x, clean).square().mean().sqrt()


def mean_psnr(x: Tensor, clean: Tensor) -> float:
    """Mean over images, dB."""
    return float((20 * torch.log10(2 / rmse(x, clean))).mean())


def rmse(x: Tensor, clean: Tensor) -> Tensor:
    """[n] in [-1, 1] units, x clipped."""
    return (x.clamp(-1, 1) - clean).square().mean((1, 2, 3)).sqrt()
