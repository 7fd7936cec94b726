"""train@problem: every variant, once for every seed, with its quality on validation patches against the seconds of its training.

Resumes after the last training that was finished.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

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
from studies.training.given import Given, read_given
from studies.training.params import Initialise, Variant, Variants

if TYPE_CHECKING:
    from dualprior.common.paths import Paths
    from dualprior.pipeline.config import Config

PARAMS = ("ddpm", "variants", "initialise", "calls", "seeds", "ablated")


def run(config: Config, paths: Paths, key: str) -> None:
    """key: the problem. Writes the curve of every training, and its model."""
    trainer = Trainer(config.ddpm, config.initialise, config.calls, device.pick())
    clean = {split: to_unit(io.read_array(paths.split(split))) for split in ("train", "val")}
    variants = chosen(config.variants, key == config.ablated)
    given = {name: {split: read_given(paths, key, split, variant) for split in clean} for name, variant in variants.items()}
    settings = {**trainer.settings, "variants": {name: variant.model_dump() for name, variant in variants.items()}, "seeds": config.seeds}
    seen = [guess for own in given.values() for part in own.values() for guess in (part.condition, part.mean) if guess is not None]
    mark = io.fingerprint(settings, *clean.values(), *seen)
    with io.CheckpointFolder(paths.scratch / "train" / mark) as saved:
        finished = saved.load() or {}
        for (name, variant), seed in product(variants.items(), config.seeds):
            place = f"{key}/{name}/{seed}"
            if place not in finished:
                denoiser, rows = trainer(variant, clean, given[name], seed, place)
                rows = [{**row, "variant": name, "seed": seed} for row in rows]
                finished[place] = {"rows": rows, "weights": checkpoint.weights(denoiser)}
                saved.save(finished)
            checkpoint.save(paths.inside(place).models, trainer.fresh(variant), finished[place]["weights"], **trainer.about(variant))
        rows = [row for own in finished.values() for row in own["rows"]]
        io.write_table(paths.inside("curves").data / f"{key}.csv", pd.DataFrame(rows))
        saved.clear()  # the result is written; a forced rerun starts afresh


def chosen(variants: Variants, ablated: bool) -> dict[str, Variant]:
    return {name: variant for name, variant in variants.every.items() if ablated or name in variants.compared}


@dataclass(frozen=True)
class Trainer:
    ddpm: DDPM
    initialise: Initialise
    calls: int  # of the restorations that are judged on the way
    where: torch.device

    @property
    def settings(self) -> dict:
        return {"ddpm": self.ddpm.model_dump(), "initialise": self.initialise.model_dump(), "calls": self.calls}

    def about(self, variant: Variant) -> dict:
        return self.ddpm.of_the_checkpoint(condition_channels=3 * len(variant.condition))

    def fresh(self, variant: Variant) -> Denoiser:
        return checkpoint.build(self.about(variant)["network"], self.ddpm.prediction, self.ddpm.training.precision, self.where)

    def __call__(
        self, variant: Variant, clean: dict[str, Tensor], given: dict[str, Given], seed: int, what: str
    ) -> tuple[Denoiser, list[dict]]:
        """The averaged model, and rows of step, seconds (of training alone, the initial fit included), PSNR on validation patches, error.

        clean, given: of training and validation patches, [N, C, H, W] in [-1, 1].
        """
        torch.manual_seed(seed)
        denoiser, levels = self.fresh(variant), schedule.noise_levels(**self.ddpm.schedule.model_dump())
        training = self.ddpm.training
        arguments = training.of_the_loop()
        arguments["steps"] *= variant.times
        frame = Frame.of(variant, clean["val"], given["val"])
        x, known = clean["val"].to(self.where), given["val"].to(self.where)
        z = ImageNoise(0, "training", range(len(x)))(x)
        rows, seconds, begin = [], 0.0, time.perf_counter()
        if variant.initialised:
            fitted_as_dip(denoiser, clean["train"][: variant.patches].to(self.where), float(levels[-1]), self.initialise, seed)
        state = TrainState.fresh(denoiser, training.lr)
        target = frame.to(clean["train"][: variant.patches], given["train"])
        steps = train(state, target, trained_levels(variant, levels), seed=seed, images=given["train"].condition, **arguments)
        for done in track(steps, what, arguments["steps"]):
            check_finite(float(done.loss), done.step, training.lr)
            if done.step % training.log_every == 0 or done.step == arguments["steps"]:
                seconds += time.perf_counter() - begin
                restored = restore(state.averaged.eval(), variant, frame, levels, known, self.calls, z)
                rows.append({"step": done.step, "seconds": seconds, "psnr": mean_psnr(restored, x), "error": frame.error})
                begin = time.perf_counter()
        return state.averaged, rows


def fitted_as_dip(denoiser: Denoiser, images: Tensor, sigma: float, settings: Initialise, seed: int) -> None:
    """min over theta of |D(sigma z_i; sigma) - x_i|², z_i fixed noise: the weights after a short fit to training images, as one DIP.

    The condition is noise as well, so that both inputs are used. sigma: the largest level, where D is all network.
    """
    rng = generator(seed, "initialise")
    z = torch.randn(images.shape, generator=rng).to(images)  # the plain condition has as many channels
    optimizer = torch.optim.Adam(denoiser.parameters(), settings.lr)
    for step in track(range(settings.steps), "initial fit"):
        part = torch.randperm(len(images), generator=rng)[:32].to(images.device)
        loss = (denoiser(sigma * z[part], sigma, {"image": z[part]}) - images[part]).square().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        check_finite(float(loss.detach()), step, settings.lr)


def read_curve(paths: Paths, problem: str) -> pd.DataFrame:
    return io.read_table(paths.inside("curves").data / f"{problem}.csv")
