"""posterior_sampling@task: diffusion posterior sampling, the slow classic; its strength is chosen on validation images."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from dualprior.common import io
from dualprior.common.device import Stopwatch
from dualprior.data.validation import mean_psnr
from dualprior.degradation.data_consistency import project_on_exact_data
from dualprior.diffusion import schedule
from dualprior.diffusion.samplers import last
from dualprior.restoration.problem import Problem, Restoration
from studies.hybrid import priors
from studies.hybrid.dps import dps
from studies.hybrid.params import DPS, FULL

if TYPE_CHECKING:
    from dualprior.common.paths import Paths
    from dualprior.pipeline.config import Config

PARAMS = ("dps", "restore.seed")


@torch.no_grad()
def run(config: Config, paths: Paths, key: str) -> None:
    """key: the task."""
    wanted: DPS = config.dps
    seed: int = config.entry("restore", "seed")
    val, test, clean_val = priors.problems(paths, key, FULL, seed, wanted.validation, wanted.images)
    scores = {strength: mean_psnr(sampled(val, wanted.calls, strength).x, clean_val) for strength in wanted.strengths}
    best = max(scores, key=scores.__getitem__)
    done = sampled(test, wanted.calls, best)
    io.write_tensors(paths.folder("dps") / key / "images.safetensors", {"dps": done.x.float()})
    io.write_json(paths.folder("dps") / key / "methods.json", {"dps": vars(done.cost), "strength": best, "val_psnr": scores[best]})


def sampled(given: Problem, calls: int, strength: float) -> Restoration:
    """One posterior sample of every image; a backward pass counts as a call."""
    measured, noise = given.measured, given.noise("dps")
    grid = schedule.schedule_grid(given.levels, calls)
    with Stopwatch(len(measured.y)) as watch:
        begin = float(grid[0]) * noise(given.blank())
        end = last(dps(given.denoise, begin, grid, measured.op, measured.y, strength, noise))
    return Restoration(project_on_exact_data(measured.op, end.x, measured.y, measured.sigma_y), watch.seconds, nfe=2 * end.nfe)
