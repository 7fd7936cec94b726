"""fitting@prior: the same fit to one noisy image from random and from trained weights, of all weights or of gains alone.

What a Deep Image Prior does, taken apart: the denoiser's network is fitted to the split measurement, with the split drawn
once, or afresh at every step, which puts noise on the network's input. Learning rate and steps are chosen on validation crops.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from itertools import product
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from dualprior.common import io
from dualprior.common.progress import track
from dualprior.common.seeding import ImageNoise
from dualprior.data.validation import mean_psnr
from dualprior.diffusion.denoiser import Denoiser
from dualprior.diffusion.gain_tuning import recorrupted_fit, tune_gains
from dualprior.restoration.problem import Problem
from studies.hybrid import prior_strength
from studies.hybrid.params import Fitting

if TYPE_CHECKING:
    from dualprior.common.paths import Paths
    from dualprior.pipeline.config import Config

PARAMS = ("fitting", "restore.seed")
WEIGHTS, FITTED, SPLITS = ("trained", "random"), ("all", "gains"), ("fresh", "fixed")


def run(config: Config, paths: Paths, key: str) -> None:
    """key: the prior."""
    wanted: Fitting = config.fitting
    seed: int = config.entry("restore", "seed")
    val, test, clean = prior_strength.problems(paths, wanted.task, key, seed, wanted.validation, wanted.images)
    images, choices = {"untouched": val.denoise(test.measured.y, test.measured.sigma_y)}, {}
    for weights, fitted, split in track(list(product(WEIGHTS, FITTED, SPLITS)), f"fits with prior {key}"):
        denoise = val.denoise if weights == "trained" else redrawn(val.denoise, seed)
        name, scores = f"{weights} {fitted} {split}", {}
        for lr in wanted.lr[fitted]:
            for step, x in outputs(denoise, val, fitted, split, lr, wanted):
                scores[lr, step] = mean_psnr(x, clean)
        lr, last = max(scores, key=scores.__getitem__)
        choices[name] = {"lr": lr, "step": last, "val_psnr": round(scores[lr, last], 3)}
        images[name] = dict(outputs(denoise, test, fitted, split, lr, wanted.model_copy(update={"steps": last})))[last]
    io.write_tensors(paths.folder("fitting") / key / "images.safetensors", images)
    io.write_json(paths.folder("fitting") / key / "choices.json", choices)


def redrawn(denoise: Denoiser, seed: int) -> Denoiser:
    """The same network with random weights: every layer as PyTorch draws it, those that training starts at zero included."""
    fresh = copy.deepcopy(denoise)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for module in fresh.network.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.reset_parameters()
    return fresh


def outputs(denoise: Denoiser, given: Problem, fitted: str, split: str, lr: float, wanted: Fitting) -> Iterator[tuple[int, Tensor]]:
    """(step, restorations [n, C, H, W]) along the fits of all images."""
    measured = given.measured
    steps = {"steps": wanted.steps, "every": wanted.every, "lr": lr, "alpha": wanted.alpha}
    if fitted == "gains":
        draw = fixed(given.noise(f"fitting-{split}"), measured.y, split)
        for now in tune_gains(denoise, measured.y, measured.sigma_y, noise=draw, **steps):
            yield now.step, now.output
        return
    fits = []
    for i in range(len(measured.y)):  # one network at a time: each has weights of its own
        own, y = copy.deepcopy(denoise).requires_grad_(True), measured.y[i : i + 1]
        draw = fixed(ImageNoise(given.seed, f"fitting-{split}", measured.names[i : i + 1]), y, split)
        fits.append(list(recorrupted_fit(own, list(own.parameters()), y, measured.sigma_y, noise=draw, **steps)))
    for each in zip(*fits, strict=True):
        yield each[0][0], torch.cat([x for _, x in each])


def fixed(noise: ImageNoise, y: Tensor, split: str):
    """Noise drawn afresh at every call, or once."""
    if split == "fresh":
        return noise
    once = noise(y)
    return lambda _y: once
