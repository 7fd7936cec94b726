"""Stage: draw images from the diffusion model without any measurement, by DDPM and DDIM at several numbers of calls."""

import logging
from functools import partial

import torch

from dualprior import artifacts, device, plots, pretrained, schedule
from dualprior.artifacts import Paths
from dualprior.config import Config
from dualprior.images import to_uint8
from dualprior.restorers import Stopwatch
from dualprior.sampling import ImageNoise, ddpm_split, last, reverse

PARAMS = ("generate",)
ETA = {"ddpm": 1.0, "ddim": 0.0}
log = logging.getLogger(__name__)


@torch.no_grad()
def run(config: Config, paths: Paths, key: str | None = None) -> None:
    settings, where = config.generate, device.pick()
    model = pretrained.load(paths, where)
    pictures, info = {}, {}
    for sampler in settings.samplers:
        for calls in settings.calls:
            noise = ImageNoise(settings.seed, "generate", range(settings.images))
            grid = schedule.schedule_grid(model.levels, calls)
            with Stopwatch(settings.images) as watch:
                blank = torch.zeros(settings.images, 3, settings.size, settings.size, device=where)
                x = float(grid[0]) * noise(blank)
                end = last(reverse(model.denoise, x, grid, split=partial(ddpm_split, eta=ETA[sampler]), noise=noise))
            name = f"{sampler}_{calls}"
            pictures[name] = to_uint8(end.x0)
            info[name] = {"sampler": sampler, "calls": calls, "seconds": watch.seconds}
            log.info("%s: %.3f s an image", name, watch.seconds)
    artifacts.write_arrays(paths.generated, pictures)
    artifacts.write_json(paths.generated_info, info)
    artifacts.write_figure(paths.generate_plot, plots.generation_grid(pictures))
