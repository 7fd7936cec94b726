"""Stage: draw images from the diffusion model without any measurement, by DDPM and DDIM at several numbers of calls."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from dualprior import artifacts, device, plots, pretrained, schedule
from dualprior.denoiser import Denoiser
from dualprior.device import Stopwatch
from dualprior.images import to_uint8
from dualprior.sampling import Split, ddpm_split, last, reverse
from dualprior.seeding import ImageNoise
from dualprior.settings.generate import Generate

if TYPE_CHECKING:
    from dualprior.config import Config
    from dualprior.paths import Paths

PARAMS = ("generate",)
ETA = {"ddpm": 1.0, "ddim": 0.0}
BATCH = 256  # images at a time; each has its own noise, so the pictures do not depend on it
log = logging.getLogger(__name__)


@torch.no_grad()
def run(config: Config, paths: Paths, key: str | None = None) -> None:
    settings: Generate = config.generate
    where = device.pick()
    model = pretrained.load(paths, where)
    pictures, info = {}, {}
    batches = torch.arange(settings.images).split(BATCH)
    for sampler in settings.samplers:
        for calls in settings.calls:
            name, split = f"{sampler}_{calls}", partial(ddpm_split, eta=ETA[sampler])
            grid = schedule.schedule_grid(model.levels, calls)
            with Stopwatch(settings.images) as watch:
                drawn = [draw(model.denoise, grid, split, settings.seed, some, settings.size, where) for some in batches]
            pictures[name] = to_uint8(torch.cat(drawn))
            info[name] = {"sampler": sampler, "calls": calls, "seconds": watch.seconds}
            log.info("%s: %.3f s an image", name, watch.seconds)
    artifacts.write_arrays(paths.generated, pictures)
    artifacts.write_json(paths.generated_info, info)
    artifacts.write_figure(paths.generate_plot, plots.generation_sheet(pictures))


def draw(denoise: Denoiser, grid: np.ndarray, split: Split, seed: int, images: Tensor, size: int, where: torch.device) -> Tensor:
    """One image for every index in `images`: [len(images), 3, size, size] on the CPU."""
    noise = ImageNoise(seed, "generate", images.tolist())
    x = float(grid[0]) * noise(torch.zeros(len(images), 3, size, size, device=where))
    return last(reverse(denoise, x, grid, split=split, noise=noise)).x0.cpu()
