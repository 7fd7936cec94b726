"""Write a trained model as another library reads it."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import torch

from dualprior.common import io
from dualprior.common.errors import UserError, choices
from dualprior.diffusion import checkpoint, denoiser, unet
from dualprior.diffusion.checkpoint import TrainedModel

NAMES_AT_DIFFUSERS = {"eps": "epsilon", "x0": "sample", "v": "v_prediction"}


def export(model_folder: Path, library: str, target: Path) -> None:
    """library: a key of `LIBRARIES`. Raises UserError for another one, a target that exists, or a network that is not our own."""
    if library not in LIBRARIES:
        raise UserError(f"--to {library} is unknown; {choices(library, LIBRARIES)}")
    if target.exists():
        raise UserError(f"{target} exists; name a new folder with -o")
    model = checkpoint.load(model_folder, torch.device("cpu"))
    if not isinstance(model.denoise.network, unet.UNet):
        raise UserError(f"{model_folder} holds a model that came from diffusers; use it from there")
    network = io.read_about(model_folder / checkpoint.FILE)["network"]
    LIBRARIES[library](model, network, target)


def _to_diffusers(model: TrainedModel, network: dict, target: Path) -> None:
    """A DDPMPipeline; it brings its network's source, so `DDPMPipeline.from_pretrained(folder, trust_remote_code=True)` loads it."""
    from diffusers import DDPMScheduler, __version__

    from dualprior.export.for_diffusers import DualpriorUNet

    wrapped = DualpriorUNet(network, model.levels.tolist())
    wrapped.body.load_state_dict(model.denoise.network.state_dict())
    alpha_bar = 1 / (1 + np.concatenate([[0.0], model.levels]) ** 2)
    betas = 1 - alpha_bar[1:] / alpha_bar[:-1]
    kind = NAMES_AT_DIFFUSERS[model.denoise.prediction]
    scheduler = DDPMScheduler(len(betas), trained_betas=betas.tolist(), prediction_type=kind)
    wrapped.save_pretrained(target / "unet")
    scheduler.save_pretrained(target / "scheduler")
    io.write_text(target / "unet" / "dualprior_unet.py", _standalone("for_diffusers", unet))
    parts = {"unet": ["dualprior_unet", "DualpriorUNet"], "scheduler": ["diffusers", "DDPMScheduler"]}
    io.write_json(target / "model_index.json", {"_class_name": "DDPMPipeline", "_diffusers_version": __version__, **parts})


def _to_deepinv(model: TrainedModel, network: dict, target: Path) -> None:
    """A module to be imported from the folder: `from dualprior_denoiser import load`."""
    import safetensors.torch

    weights = {name: tensor.contiguous() for name, tensor in model.denoise.network.state_dict().items()}
    config = {"network": network, "prediction": model.denoise.prediction, "least": float(model.levels[0])}
    io.write_json(target / "config.json", config)
    with io.replacing(target / "model.safetensors") as file:
        file.write(safetensors.torch.save(weights))
    io.write_text(target / "dualprior_denoiser.py", _standalone("for_deepinv", unet, denoiser))


def _standalone(wrapper: str, *modules) -> str:
    """The sources of the modules and of the wrapper, one after another, without what they import of dualprior."""
    sources = [io.read_text(Path(module.__file__)) for module in modules]
    own = io.read_text(Path(importlib.util.find_spec(f"dualprior.export.{wrapper}").origin))
    sources.append("\n".join(line for line in own.splitlines() if "dualprior." not in line) + "\n")
    return "\n\n".join(sources)


LIBRARIES = {write.__name__.removeprefix("_to_"): write for write in (_to_diffusers, _to_deepinv)}
