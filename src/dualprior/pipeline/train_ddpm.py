"""train_ddpm: train the diffusion model on the training patches; resumes from its own checkpoint.

Reads training patches and, for the curve only, validation crops. Never the measurement settings.
"""

from __future__ import annotations

import logging
import math
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING

import pandas as pd
import torch
from torch import Tensor

from dualprior.common import device, io
from dualprior.common.errors import UserError
from dualprior.common.params import DDPM
from dualprior.common.progress import track
from dualprior.common.seeding import ImageNoise
from dualprior.data.pixels import to_unit
from dualprior.diffusion import checkpoint, schedule
from dualprior.diffusion.denoiser import Denoiser
from dualprior.diffusion.pretrained import read_pipeline
from dualprior.diffusion.training import TrainState, check_finite, denoising_loss, train

if TYPE_CHECKING:
    from dualprior.common.paths import Paths
    from dualprior.pipeline.config import Config

PARAMS = ("ddpm",)
VALIDATION_LEVELS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
log = logging.getLogger(__name__)


def run(config: Config, paths: Paths) -> None:
    if config.ddpm.pretrained is None:
        fit(config.ddpm, paths)
    else:
        take(paths.root / Path(config.ddpm.pretrained).expanduser(), paths)


def take(folder: Path, paths: Paths) -> None:
    """Use a model of diffusers instead of training one."""
    description, state = read_pipeline(folder)
    io.write_tensors(paths.models / checkpoint.FILE, state, description)
    where = device.pick()
    denoiser = checkpoint.load(paths.models, where).denoise
    _write_metrics(denoiser, _validate(denoiser, to_unit(io.read_array(paths.split("val"))).to(where)), [], paths)


def fit(ddpm: DDPM, paths: Paths) -> None:
    """Train on the patches of these paths, and write the model and its curve there."""
    where = device.pick()
    torch.manual_seed(ddpm.seed)
    about = ddpm.of_the_checkpoint()
    denoiser = checkpoint.build(about["network"], ddpm.prediction, about["precision"], where)
    state = TrainState.fresh(denoiser, ddpm.training.lr)
    patches = torch.from_numpy(io.read_array(paths.split("train"))).permute(0, 3, 1, 2)
    val = to_unit(io.read_array(paths.split("val"))).to(where)
    folder = paths.scratch / "train_ddpm" / io.fingerprint(ddpm.model_dump(), patches, val)
    with io.CheckpointFolder(folder) as checkpoints:
        curve, kept = _train(state, patches, val, ddpm, checkpoints)
        _write_metrics(state.averaged, _validate(state.averaged, val), curve, paths)
        checkpoint.save(paths.models, state.averaged, checkpoint.weights(state.averaged), **about)
        for step, weights in kept.items():
            checkpoint.save(paths.kept_model(step), state.averaged, weights, **about)
        checkpoints.clear()  # the result is written; a forced rerun starts afresh


def _write_metrics(denoiser: Denoiser, scores: dict[float, float], curve: list[dict], paths: Paths) -> None:
    if not all(math.isfinite(score) for score in scores.values()):
        raise UserError("the trained model gives values that are not numbers; lower ddpm.training.lr, or take another ddpm.pretrained")
    final = {f"val_psnr_at_{s:g}": round(p, 3) for s, p in scores.items()}
    parameters = sum(p.numel() for p in denoiser.parameters())
    io.write_json(paths.metrics("train.json"), {**final, "million_parameters": parameters / 1e6})
    io.write_table(paths.metrics("train_curve.csv"), pd.DataFrame(curve, columns=["step", "what", "sigma", "value"]))
    log.info("validation PSNR of the averaged weights: %s", final)


def _train(state: TrainState, patches: Tensor, val: Tensor, ddpm: DDPM, folder: io.CheckpointFolder) -> tuple[list[dict], dict[int, dict]]:
    """Train to the end from wherever the checkpoint stands.

    Returns rows of step, what ("loss" or "psnr"), sigma and value, and the averaged weights after each of the steps to keep.
    """
    settings = ddpm.training
    levels = schedule.noise_levels(**ddpm.schedule.model_dump())
    curve, losses, kept = [], [], {}
    saved = folder.load()
    pace = device.Pace(lambda: _trial(state.denoiser, patches, settings.batch_size), "training", saved and saved["threads"])
    if saved is not None:
        state.load_state_dict(saved["state"])
        curve, losses, kept = saved["curve"], saved["losses"], saved["kept"]
        log.info("resumed at step %d of %d", state.step, settings.steps)
    steps = train(state, patches, levels, seed=ddpm.seed, **settings.of_the_loop())
    for done in track(steps, "train", settings.steps, state.step):
        pace.step()
        losses.append(check_finite(float(done.loss), done.step, settings.lr))
        last = done.step == settings.steps
        if done.step % settings.log_every == 0 or last:
            curve.append({"step": done.step, "what": "loss", "sigma": None, "value": round(fmean(losses), 5)})
            losses = []
        if done.step in settings.keep:
            kept[done.step] = checkpoint.weights(state.averaged)
        if done.step % settings.checkpoint_every == 0 or last:
            scores = _validate(state.averaged, val)
            curve += [{"step": done.step, "what": "psnr", "sigma": s, "value": round(p, 3)} for s, p in scores.items()]
            so_far = {"curve": curve, "losses": losses, "kept": kept}
            folder.save({"state": state.state_dict(), **so_far, "threads": pace.threads})
            state.denoiser.train()
    return curve, kept


def _trial(denoiser: Denoiser, patches: Tensor, batch: int) -> None:
    """The work of a training step, for timing; nothing is kept of it."""
    where = next(denoiser.parameters()).device
    x0 = (patches[:batch].float() / 127.5 - 1).to(where)
    denoising_loss(denoiser, x0, torch.full((len(x0),), 0.5, device=where), torch.zeros_like(x0)).backward()
    denoiser.zero_grad(set_to_none=True)


@torch.no_grad()
def _validate(denoiser: Denoiser, x0: Tensor) -> dict[float, float]:
    """Mean denoising PSNR in dB at each validation noise level, the same noise every time."""
    unit = ImageNoise(0, "validation-noise", range(len(x0)))(x0)
    denoiser.eval()
    scores = {}
    for sigma in VALIDATION_LEVELS:
        mse = (denoiser(x0 + sigma * unit, sigma).clamp(-1, 1) - x0).square().mean((1, 2, 3))
        scores[sigma] = float((10 * torch.log10(4 / mse)).mean())
    return scores
