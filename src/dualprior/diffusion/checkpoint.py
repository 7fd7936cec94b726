"""The trained diffusion model on disk: one safetensors file."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from dualprior.common import io
from dualprior.common.device import autocast_type
from dualprior.diffusion.denoiser import Denoiser
from dualprior.diffusion.pretrained import FromDiffusers, read_pipeline
from dualprior.diffusion.schedule import noise_levels
from dualprior.diffusion.unet import UNet

FILE = "ddpm.safetensors"


@dataclass(frozen=True)
class TrainedModel:
    denoise: Denoiser
    levels: np.ndarray  # [T] noise levels of the schedule it was trained on


def build(network: dict, prediction: str, precision: str, device: torch.device) -> Denoiser:
    """A fresh denoiser; network: arguments of UNet, or of FromDiffusers."""
    kind = FromDiffusers if "unet" in network else UNet
    return Denoiser(kind(**network), prediction, autocast_type(precision, device)).to(device)


def weights(denoiser: Denoiser) -> dict[str, torch.Tensor]:
    """The network's weights as they are kept: in the type of its matrix products, which loses nothing that those would use."""
    learned = {name for name, _ in denoiser.network.named_parameters()}
    state = denoiser.network.state_dict()
    return {name: x.to(denoiser.autocast or x.dtype).clone() if name in learned else x.clone() for name, x in state.items()}


def save(folder: Path, denoiser: Denoiser, kept: dict[str, torch.Tensor], network: dict, precision: str, schedule: dict) -> None:
    """Write ddpm.safetensors into the folder: weights kept of this denoiser, and all that rebuilds the network as its metadata.

    schedule: arguments of noise_levels, or {"levels": [...]}.
    """
    description = {
        "network": network,
        "prediction": denoiser.prediction,
        "precision": precision,
        "arithmetic": str(denoiser.autocast or torch.float32).removeprefix("torch."),  # what training really used
        "schedule": schedule,
    }
    io.write_tensors(folder / FILE, kept, description)


def load(folder: Path, device: torch.device) -> TrainedModel:
    """What `save` wrote, or a folder of diffusers. Raises UserError if training has not run."""
    if not (folder / FILE).exists() and ((folder / "unet").is_dir() or (folder / "config.json").exists()):
        description, state = read_pipeline(folder)
    else:
        description, state = io.read_about(folder / FILE), io.read_tensors(folder / FILE)
    denoiser = build(description["network"], description["prediction"], description["precision"], device)
    denoiser.network.load_state_dict(state)
    own = description["schedule"]
    return TrainedModel(denoiser.eval().requires_grad_(False), np.array(own["levels"]) if "levels" in own else noise_levels(**own))
