"""train@set-model: the model of every seed, on pairs; resumes after the last seed that was finished."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from dualprior.common import device, io
from dualprior.common.params import DDPM
from dualprior.common.progress import track
from dualprior.diffusion import checkpoint, schedule
from dualprior.diffusion.training import TrainState, check_finite, train
from studies.super_resolution.models import MODELS
from studies.super_resolution.pairs import read_condition, read_images
from studies.super_resolution.params import Pairs

if TYPE_CHECKING:
    from dualprior.common.paths import Paths
    from dualprior.pipeline.config import Config

PARAMS = ("ddpm", "seeds", "pairs")


def run(config: Config, paths: Paths, key: str) -> None:
    ddpm: DDPM = config.ddpm
    pairs: Pairs = config.pairs
    kind, name = key.split("-")
    model, where, own = MODELS[name], device.pick(), paths.inside(kind)
    images, given = read_images(own, "train"), read_condition(own, "train", pairs.factor)
    channels = images.shape[1]
    about = ddpm.of_the_checkpoint(image_channels=channels, condition_channels=channels, blind=model.blind)
    arguments = ddpm.training.of_the_loop()
    levels = schedule.noise_levels(**about["schedule"])
    settings = {"ddpm": ddpm.model_dump(), "model": model._asdict(), "seeds": config.seeds}
    with io.CheckpointFolder(paths.scratch / "train" / io.fingerprint(settings, images, given)) as saved:
        finished = (saved.load() or {"weights": {}})["weights"]
        for seed in config.seeds:
            torch.manual_seed(seed)
            state = TrainState.fresh(checkpoint.build(about["network"], model.prediction, about["precision"], where), ddpm.training.lr)
            if seed not in finished:
                steps = train(state, images, levels, seed=seed, images=given, loss_of=model.loss, turned=kind == "photographs", **arguments)
                for done in track(steps, f"{key}, seed {seed}", arguments["steps"]):
                    check_finite(float(done.loss), done.step, ddpm.training.lr)
                finished[seed] = checkpoint.weights(state.averaged)
                saved.save({"weights": finished})
            checkpoint.save(paths.inside(f"{key}/{seed}").models, state.averaged, finished[seed], **about)
        saved.clear()
