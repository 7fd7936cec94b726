"""The trained diffusion model on disk: weights as safetensors, everything needed to rebuild it as JSON."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from dualprior import artifacts, schedule
from dualprior.denoiser import Denoiser
from dualprior.device import autocast_type
from dualprior.nets.unet import UNet

if TYPE_CHECKING:
    from dualprior.paths import Paths


@dataclass(frozen=True)
class Pretrained:
    denoise: Denoiser
    levels: np.ndarray  # [T] noise levels of the schedule it was trained on


def build(network: dict, prediction: str, precision: str, device: torch.device) -> Denoiser:
    """A fresh denoiser; network holds UNet's arguments."""
    return Denoiser(UNet(**network), prediction, autocast_type(precision, device)).to(device)


def save(paths: Paths, denoiser: Denoiser, network: dict, precision: str, kind: str, timesteps: int) -> None:
    artifacts.write_tensors(paths.model, {k: v.cpu().contiguous() for k, v in denoiser.network.state_dict().items()})
    description = {
        "network": network,
        "prediction": denoiser.prediction,
        "precision": precision,
        "arithmetic": str(denoiser.autocast or torch.float32).removeprefix("torch."),  # what training really used
        "schedule": {"kind": kind, "timesteps": timesteps},
    }
    artifacts.write_json(paths.model_config, description)


def load(paths: Paths, device: torch.device) -> Pretrained:
    """Raises UserError if training has not run."""
    description = artifacts.read_json(paths.model_config)
    denoiser = build(description["network"], description["prediction"], description["precision"], device)
    denoiser.network.load_state_dict(artifacts.read_tensors(paths.model))
    return Pretrained(denoiser.eval().requires_grad_(False), schedule.noise_levels(**description["schedule"]))
