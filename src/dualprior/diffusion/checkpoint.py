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


def weights(denoiser: Denoiser) -> dict[str, torch.Tensor]:
    """The network's weights as they are kept: in the type of its matrix products, which loses nothing that those would use."""
    learned = {name for name, _ in denoiser.network.named_parameters()}
    state = denoiser.network.state_dict()
    return {name: x.to(denoiser.autocast or x.dtype).clone() if name in learned else x.clone() for name, x in state.items()}


def save(folder: Path, denoiser: Denoiser, kept: dict[str, torch.Tensor], network: dict, precision: str, kind: str, timesteps: int) -> None:
    """Write ddpm.safetensors into the folder: weights kept of this denoiser, and all that rebuilds the network as its metadata."""
    description = {
        "network": network,
        "prediction": denoiser.prediction,
        "precision": precision,
        "arithmetic": str(denoiser.autocast or torch.float32).removeprefix("torch."),  # what training really used
        "schedule": {"kind": kind, "timesteps": timesteps},
    }
    io.write_tensors(folder / "ddpm.safetensors", kept, description)


def load(folder: Path, device: torch.device) -> TrainedModel:
    """Raises UserError if training has not run."""
    description = io.read_about(folder / "ddpm.safetensors")
    denoiser = build(description["network"], description["prediction"], description["precision"], device)
    denoiser.network.load_state_dict(io.read_tensors(folder / "ddpm.safetensors"))
    return TrainedModel(denoiser.eval().requires_grad_(False), schedule.noise_levels(**description["schedule"]))
