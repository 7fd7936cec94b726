"""Diffusion posterior sampling, the slow classic, for one task; its strength is chosen on validation images."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import torch
from studies.hybrid import given
from studies.hybrid.dps import dps
from studies.hybrid.params import Classic

from dualprior.common import io
from dualprior.common.device import Stopwatch
from dualprior.degradation.data_consistency import project_on_exact_data
from dualprior.diffusion import schedule
from dualprior.diffusion.samplers import last
from dualprior.restoration import problem
from dualprior.restoration.problem import Problem, Restoration

if TYPE_CHECKING:
    from dualprior.common.config import Config

    from dualprior.common.paths import Paths

PARAMS = ("classic", "restore", "tasks.{key}")
log = logging.getLogger(__name__)


@torch.no_grad()
def run(config: Config, paths: Paths, key: str | None = None) -> None:
    """key: the task."""
    wanted: Classic = config.classic
    test, val, clean_val = given.load(config, paths, key, wanted.images)
    scores = {strength: problem.mean_psnr(sampled(val, wanted.calls, strength).x, clean_val) for strength in wanted.strengths}
    best = max(scores, key=scores.__getitem__)
    log.info("%s: strength %g chosen of %s", key, best, scores)
    done = sampled(test, wanted.calls, best)
    io.write_tensors(paths.classic(key), {"dps": done.x.float()})
    cost = {"seconds": done.seconds, "nfe": done.nfe, "iterations": 0}
    io.write_json(paths.classic_info(key), {"dps": {**cost, "setting": {"calls": wanted.calls, "strength": best}}})


def sampled(given: Problem, calls: int, strength: float) -> Restoration:
    """One posterior sample of every image; a backward pass counts as a call."""
    measured, noise = given.measured, given.noise("dps")
    grid = schedule.schedule_grid(given.levels, calls)
    with Stopwatch(len(measured.y)) as watch:
        end = last(dps(given.denoise, float(grid[0]) * noise(given.blank()), grid, measured.op, measured.y, strength, noise))
    return Restoration(project_on_exact_data(measured.op, end.x, measured.y, measured.sigma_y), watch.seconds, nfe=2 * end.nfe)
