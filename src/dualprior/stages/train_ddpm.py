"""Stage: train the diffusion model on the training patches; resumes from its own checkpoint.

Reads training patches and, for the curve only, validation crops. Never the measurement settings.
"""

from __future__ import annotations

import logging
from statistics import fmean
from typing import TYPE_CHECKING

import pandas as pd
import torch
from tqdm.auto import tqdm

from dualprior import artifacts, device, plots, pretrained, schedule
from dualprior.artifacts import CheckpointFolder
from dualprior.denoiser import Denoiser
from dualprior.images import to_unit
from dualprior.seeding import ImageNoise
from dualprior.settings.ddpm import DDPM
from dualprior.training import TrainState, check_finite, train

if TYPE_CHECKING:
    from dualprior.config import Config
    from dualprior.paths import Paths

PARAMS = ("ddpm",)
VALIDATION_LEVELS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
log = logging.getLogger(__name__)


def run(config: Config, paths: Paths, key: str | None = None) -> None:
    ddpm: DDPM = config.ddpm
    where = device.pick()
    torch.manual_seed(ddpm.seed)
    network = ddpm.network.model_dump()
    denoiser = pretrained.build(network, ddpm.prediction, ddpm.training.precision, where)
    state = TrainState.fresh(denoiser, ddpm.training.lr)
    patches = torch.from_numpy(artifacts.read_array(paths.train)).permute(0, 3, 1, 2)
    val = to_unit(artifacts.read_array(paths.val)).to(where)
    with CheckpointFolder(paths.scratch) as folder:
        curve, validation = _train(state, patches, val, ddpm, folder)
    parameters = sum(p.numel() for p in denoiser.parameters())
    final = {f"val_psnr_at_{s:g}": _rounded(p) for s, p in _validate(state.averaged, val).items()}
    pretrained.save(paths, state.averaged, network, ddpm.training.precision, **ddpm.schedule.model_dump())
    artifacts.write_json(paths.train_metrics, {**final, "train_loss": curve[-1]["loss"], "million_parameters": parameters / 1e6})
    artifacts.write_table(paths.train_curve, pd.DataFrame(curve))
    artifacts.write_figure(paths.train_plot, plots.training_curve(pd.DataFrame(curve), pd.DataFrame(validation)))
    log.info("validation PSNR of the averaged weights: %s", final)


def _train(state: TrainState, patches: torch.Tensor, val: torch.Tensor, ddpm: DDPM, folder: CheckpointFolder):
    """Train to the end from wherever the checkpoint stands; the two curves as lists of rows."""
    settings = ddpm.training
    levels = schedule.noise_levels(**ddpm.schedule.model_dump())
    curve, validation, losses = [], [], []
    saved = folder.load()
    if saved is not None:
        state.load_state_dict(saved["state"])
        curve, validation, losses = saved["curve"], saved["validation"], saved["losses"]
        log.info("resumed at step %d of %d", state.step, settings.steps)
    arguments = settings.model_dump(exclude={"precision", "log_every", "checkpoint_every"})
    bar = tqdm(total=settings.steps, initial=state.step, unit="step", mininterval=5, disable=None)
    for done in train(state, patches, levels, seed=ddpm.seed, **arguments):
        bar.update()
        losses.append(check_finite(float(done.loss), done.step, settings.lr))
        last = done.step == settings.steps
        if done.step % settings.log_every == 0 or last:
            curve.append({"step": done.step, "loss": _rounded(fmean(losses), 5), "lr": done.lr})
            losses = []
        if done.step % settings.checkpoint_every == 0 or last:
            scores = _validate(state.averaged, val)
            validation += [{"step": done.step, "sigma": s, "psnr": _rounded(p)} for s, p in scores.items()]
            folder.save({"state": state.state_dict(), "curve": curve, "validation": validation, "losses": losses})
    bar.close()
    return curve, validation


@torch.no_grad()
def _validate(denoiser: Denoiser, x0: torch.Tensor) -> dict[float, float]:
    """Mean denoising PSNR in dB at each validation noise level, the same noise every time."""
    unit = ImageNoise(0, "validation-noise", range(len(x0)))(x0)
    denoiser.eval()
    scores = {}
    for sigma in VALIDATION_LEVELS:
        mse = (denoiser(x0 + sigma * unit, sigma).clamp(-1, 1) - x0).square().mean((1, 2, 3))
        scores[sigma] = float((10 * torch.log10(4 / mse)).mean())
    return scores


def _rounded(value: float, digits: int = 3) -> float:
    return round(value, digits)
