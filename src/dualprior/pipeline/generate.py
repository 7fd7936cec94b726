"""generate: draw images from the diffusion model without any measurement, by several samplers and numbers of calls."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from dualprior.common import device, io
from dualprior.common.device import Stopwatch
from dualprior.common.errors import UserError
from dualprior.common.params import Generate
from dualprior.common.progress import track
from dualprior.common.seeding import ImageNoise
from dualprior.data.pixels import to_uint8
from dualprior.diffusion import checkpoint, schedule
from dualprior.diffusion.denoiser import Denoiser
from dualprior.diffusion.samplers import SAMPLERS, Split, last, reverse

if TYPE_CHECKING:
    from dualprior.common.paths import Paths
    from dualprior.pipeline.config import Config

PARAMS = ("generate",)
BATCH = 256  # images at a time; each has its own noise, so the pictures do not depend on it
log = logging.getLogger(__name__)


@torch.no_grad()
def run(config: Config, paths: Paths) -> None:
    settings: Generate = config.generate
    unknown = [name for name in settings.samplers if name not in SAMPLERS]
    if unknown:
        raise UserError(f"params.yaml: generate.samplers names {unknown[0]}; choose of {', '.join(SAMPLERS)}")
    where = device.pick()
    model = checkpoint.load(paths.models, where)
    pictures, info = {}, {}
    batches = torch.arange(settings.images).split(BATCH)
    for sampler, calls in track([(s, c) for s in settings.samplers for c in settings.calls], "generate"):
        grid = schedule.schedule_grid(model.levels, calls)
        with Stopwatch(settings.images) as watch:
            drawn = [draw(model.denoise, grid, SAMPLERS[sampler], settings.seed, some, settings.size, where) for some in batches]
        pictures[f"{sampler}_{calls}"] = to_uint8(torch.cat(drawn))
        info[f"{sampler}_{calls}"] = {"sampler": sampler, "calls": calls, "seconds": watch.seconds}
    io.write_arrays(paths.folder("generated") / "samples.npz", pictures)
    io.write_json(paths.folder("generated") / "samples.json", info)


def draw(denoise: Denoiser, grid: np.ndarray, split: Split, seed: int, images: Tensor, size: int, where: torch.device) -> Tensor:
    """One image for every index in `images`: [len(images), 3, size, size] on the CPU."""
    noise = ImageNoise(seed, "generate", images.tolist())
    x = float(grid[0]) * noise(torch.zeros(len(images), 3, size, size, device=where))
    return last(reverse(denoise, x, grid, split=split, noise=noise)).x0.cpu()
