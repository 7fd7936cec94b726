"""sample@set-model: every test image made large, from its low resolution alone."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from dualprior.common import device, io
from dualprior.common.progress import track
from dualprior.common.seeding import ImageNoise
from dualprior.data.pixels import to_uint8
from dualprior.diffusion import checkpoint
from dualprior.diffusion.checkpoint import TrainedModel
from dualprior.diffusion.samplers import last, reverse
from dualprior.diffusion.schedule import few_step_grid
from studies.super_resolution.models import MODELS, at_once
from studies.super_resolution.pairs import read_condition
from studies.super_resolution.params import Pairs, Sample

if TYPE_CHECKING:
    from dualprior.common.paths import Paths
    from dualprior.pipeline.config import Config

PARAMS = ("pairs", "seeds", "sample")
BATCH = 32


@torch.no_grad()
def run(config: Config, paths: Paths, key: str) -> None:
    """Writes one file a seed, uint8 [N, H, W, C] by the number of calls, and "draws" [K * n, H, W, C], image by image."""
    pairs: Pairs = config.pairs
    settings: Sample = config.sample
    kind, name = key.split("-")
    where = device.pick()
    given = read_condition(paths.inside(kind), "test", pairs.factor).to(where)
    few = settings.full_images
    for seed in config.seeds:
        model = checkpoint.load(paths.inside(f"{key}/{seed}").models, where)
        if MODELS[name].power is not None:
            made = {"1": torch.cat([at_once(model.denoise, {"image": part}) for part in given.split(BATCH)])}
        else:
            made = {str(calls): drawn(model, given, calls, seed) for calls in settings.calls}
            if seed == config.seeds[0]:
                made[str(settings.full_calls)] = drawn(model, given[:few], settings.full_calls, seed)
            made["draws"] = drawn(model, given[:few].repeat_interleave(settings.draws, 0), settings.calls[1], seed)
        io.write_arrays(paths.inside(key).folder(f"{seed}.npz"), {calls: to_uint8(x) for calls, x in made.items()})


def drawn(model: TrainedModel, given: Tensor, calls: int, seed: int) -> Tensor:
    """One sample of DDPM's chain for each condition, [N, C, H, W]; the guess of the clean image is clipped at every call."""
    found = []
    names = np.arange(len(given)).tolist()
    for first in track(range(0, len(given), BATCH), f"{calls} calls"):
        part = given[first : first + BATCH]
        noise = ImageNoise(seed, "super-resolution", names[first : first + BATCH])
        denoise = partial(model.denoise, cond={"image": part})
        top = float(model.levels[-1])
        clip = lambda x0, sigma: x0.clamp(-1, 1)  # noqa: E731
        found.append(last(reverse(denoise, top * noise(part), few_step_grid(top, calls), noise=noise, data_consistency=clip)).x)
    return torch.cat(found)
