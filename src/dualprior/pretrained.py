"""The trained diffusion model on disk: weights as safetensors, everything needed to rebuild it as JSON."""

from dataclasses import dataclass

import numpy as np
import torch

from dualprior import artifacts, schedule
from dualprior.artifacts import Paths
from dualprior.denoiser import Denoiser
from dualprior.device import PRECISIONS
from dualprior.nets.unet import UNet


@dataclass(frozen=True)
class Pretrained:
    denoise: Denoiser
    levels: np.ndarray  # [T] noise levels of the schedule it was trained on


def build(network: dict, prediction: str, precision: str) -> Denoiser:
    """A fresh denoiser; network holds UNet's arguments."""
    return Denoiser(UNet(**network), prediction, PRECISIONS[precision])


def save(paths: Paths, denoiser: Denoiser, network: dict, precision: str, kind: str, timesteps: int) -> None:
    artifacts.write_tensors(paths.model, {k: v.cpu().contiguous() for k, v in denoiser.network.state_dict().items()})
    description = {
        "network": network,
        "prediction": denoiser.prediction,
        "precision": precision,
        "schedule": {"kind": kind, "timesteps": timesteps},
    }
    artifacts.write_json(paths.model_config, description)


def load(paths: Paths, device: torch.device) -> Pretrained:
    """Raises UserError if training has not run."""
    description = artifacts.read_json(paths.model_config)
    denoiser = build(description["network"], description["prediction"], description["precision"])
    denoiser.network.load_state_dict(artifacts.read_tensors(paths.model))
    denoiser = denoiser.to(device).eval().requires_grad_(False)
    return Pretrained(denoiser, schedule.noise_levels(**description["schedule"]))
