"""The trained diffusion model on disk: one safetensors file."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from dualprior.common import io
from dualprior.common.device import autocast_type
from dualprior.diffusion import schedule
from dualprior.diffusion.denoiser import Denoiser
from dualprior.diffusion.unet import UNet


@dataclass(frozen=True)
class TrainedModel:
    denoise: Denoiser
    levels: np.ndarray  # [T] noise levels of the schedule it was trained on


def build(network: dict, prediction: str, precision: str, device: torch.device) -> Denoiser:
    """A fresh denoiser; network holds UNet's arguments."""
    return Denoiser(UNet(**network), prediction, autocast_type(precision, device)).to(device)


def save(folder: Path, denoiser: Denoiser, network: dict, precision: str, kind: str, timesteps: int) -> None:
    """Write ddpm.safetensors into the folder: the weights, and all that rebuilds the network as its metadata."""
    description = {
        "network": network,
        "prediction": denoiser.prediction,
        "precision": precision,
        "arithmetic": str(denoiser.autocast or torch.float32).removeprefix("torch."),  # what training really used
        "schedule": {"kind": kind, "timesteps": timesteps},
    }
    io.write_tensors(folder / "ddpm.safetensors", denoiser.network.state_dict(), description)


def load(folder: Path, device: torch.device) -> TrainedModel:
    """Raises UserError if training has not run."""
    description = io.read_about(folder / "ddpm.safetensors")
    denoiser = build(description["network"], description["prediction"], description["precision"], device)
    denoiser.network.load_state_dict(io.read_tensors(folder / "ddpm.safetensors"))
    return TrainedModel(denoiser.eval().requires_grad_(False), schedule.noise_levels(**description["schedule"]))
