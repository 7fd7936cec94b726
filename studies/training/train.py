"""train@problem: every variant, once for every seed, with its quality on validation patches against the seconds of its training.

Resumes after the last training that was finished.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from dualprior.common import device, io
from dualprior.common.params import DDPM
from dualprior.common.progress import track
from dualprior.common.seeding import ImageNoise, generator
from dualprior.data.pixels import to_unit
from dualprior.data.validation import mean_psnr
from dualprior.diffusion import checkpoint, schedule
from dualprior.diffusion.denoiser import Denoiser
from dualprior.diffusion.training import TrainState, check_finite, train
from studies.training.conditional import Frame, restore, trained_levels
from studies.training.guesses import read_guess
from studies.training.params import Initialise, Variant, Variants

if TYPE_CHECKING:
    from dualprior.common.paths import Paths
    from dualprior.pipeline.config import Config

PARAMS = ("ddpm", "variants", "initialise", "calls", "seeds", "ablated")


def run(config: Config, paths: Paths, key: str) -> None:
    """key: the problem. Writes the curve of every training, and its model."""
    ddpm: DDPM = config.ddpm
    variants: Variants = config.variants
    where = device.pick()
    clean = {split: to_unit(io.read_array(paths.split(split))) for split in ("train", "val")}
    network = ddpm.network.model_dump() | {"condition_channels": 3}
    about = {"network": network, "precision": ddpm.training.precision, "schedule": ddpm.schedule.model_dump()}
    settings = {"ddpm": ddpm.model_dump(), "initialise": config.initialise.model_dump(), "calls": config.calls, "problem": key}
    tables = []
    for name, variant in chosen(variants, key == config.ablated).items():
        guess = {split: read_guess(paths, key, split, guess_of(variant)) for split in clean}
        frame = Frame.of(variant, clean["train"], guess["train"])
        for seed in config.seeds:
            own = settings | {"variant": variant.model_dump(), "seed": seed}
            with io.CheckpointFolder(paths.scratch / "train" / io.fingerprint(own, clean["train"], guess["train"])) as saved:
                state = saved.load()
                if state is None:
                    denoiser, rows = trained(
                        about,
                        ddpm,
                        config.initialise,
                        variant,
                        frame,
                        clean,
                        guess,
                        config.calls,
                        seed,
                        where,
                        f"{key}, {name}, seed {seed}",
                    )
                    state = {"rows": rows, "weights": checkpoint.weights(denoiser)}
                    saved.save(state)
                folder = paths.inside(f"{key}/{name}/{seed}").models
                checkpoint.save(folder, checkpoint.build(network, ddpm.prediction, about["precision"], where), state["weights"], **about)
                tables.append(pd.DataFrame(state["rows"]).assign(variant=name, seed=seed, scale=frame.scale))
    io.write_table(paths.inside("curves").data / f"{key}.csv", pd.concat(tables, ignore_index=True))


def chosen(variants: Variants, ablated: bool) -> dict[str, Variant]:
    return {name: variant for name, variant in variants.every.items() if ablated or name in variants.compared}


def guess_of(variant: Variant) -> str:
    return "cheap" if variant.mean == "cheap" else f"{variant.network}{variant.length}"


def trained(
    about: dict, ddpm: DDPM, initialise: Initialise, variant: Variant, frame: Frame, clean: dict[str, Tensor], guess: dict[str, Tensor],
    calls: int, seed: int, where: torch.device, what: str,
) -> tuple[Denoiser, list[dict]]:  # fmt: skip
    """The averaged model, and rows of step, seconds (of training alone, the initial fit included) and PSNR on validation patches."""
    torch.manual_seed(seed)
    denoiser = checkpoint.build(about["network"], ddpm.prediction, about["precision"], where)
    levels = schedule.noise_levels(**about["schedule"])
    begin = time.perf_counter()
    if variant.initialised:
        fitted_as_dip(denoiser, clean["train"][: initialise.images].to(where), initialise, seed)
    state = TrainState.fresh(denoiser, ddpm.training.lr)
    arguments = ddpm.training.model_dump(exclude={"precision", "log_every", "checkpoint_every", "keep"})
    arguments["steps"] *= variant.times
    target = frame.to(clean["train"], guess["train"])
    steps = train(state, target, trained_levels(variant, levels), seed=seed, images=guess["train"], **arguments)
    x, mu = clean["val"].to(where), guess["val"].to(where)
    z = ImageNoise(0, "training", range(len(x)))(x)
    rows, seconds = [], time.perf_counter() - begin
    begin = time.perf_counter()
    for done in track(steps, what, arguments["steps"]):
        check_finite(float(done.loss), done.step, ddpm.training.lr)
        if done.step % ddpm.training.log_every == 0 or done.step == arguments["steps"]:
            seconds += time.perf_counter() - begin
            restored = restore(state.averaged.eval(), variant, frame, levels, mu, calls, z)
            rows.append({"step": done.step, "seconds": seconds, "psnr": mean_psnr(restored, x)})
            begin = time.perf_counter()
    return state.averaged, rows


def fitted_as_dip(denoiser: Denoiser, images: Tensor, settings: Initialise, seed: int) -> None:
    """min over theta of |f(z_i) - x_i|², z_i fixed noise: the network's weights after a short fit to training images.

    The condition is the noise as well, so that both inputs are used.
    """
    rng = generator(seed, "initialise")
    z = torch.randn(images.shape, generator=rng).to(images)
    sigma = torch.ones(len(images), device=images.device)
    optimizer = torch.optim.Adam(denoiser.parameters(), settings.lr)
    for step in track(range(settings.steps), "initial fit"):
        part = torch.randperm(len(images), generator=rng)[:32].to(images.device)
        loss = (denoiser.raw(z[part], sigma[part], {"image": z[part]}) - images[part]).square().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        check_finite(float(loss.detach()), step, settings.lr)


def read_curve(paths: Paths, problem: str) -> pd.DataFrame:
    return io.read_table(paths.inside("curves").data / f"{problem}.csv")


def standard_noise(count: int, like: Tensor, seed: int) -> Tensor:
    return ImageNoise(seed, "training-test", np.arange(count).tolist())(like)
