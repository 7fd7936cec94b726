"""Diffusion posterior sampling, the slow classic, for one task; its strength is chosen on validation images."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import torch

from dualprior import artifacts, problem, schedule
from dualprior.consistency import lay_data
from dualprior.device import Stopwatch
from dualprior.posterior_sampling import dps
from dualprior.problem import Estimate, Problem
from dualprior.sampling import last
from dualprior.settings.hybrid_study import Classic
from dualprior.studies.hybrid import given

if TYPE_CHECKING:
    from dualprior.config import Config
    from dualprior.paths import Paths

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
    artifacts.write_tensors(paths.classic(key), {"dps": done.x.float()})
    cost = {"seconds": done.seconds, "nfe": done.nfe, "iterations": 0}
    artifacts.write_json(paths.classic_info(key), {"dps": {**cost, "setting": {"calls": wanted.calls, "strength": best}}})


def sampled(given: Problem, calls: int, strength: float) -> Estimate:
    """One posterior sample of every image; a backward pass counts as a call."""
    seen, noise = given.seen, given.noise("dps")
    grid = schedule.schedule_grid(given.levels, calls)
    with Stopwatch(len(seen.y)) as watch:
        end = last(dps(given.denoise, float(grid[0]) * noise(given.blank()), grid, seen.op, seen.y, strength, noise))
    return Estimate(lay_data(seen.op, end.x, seen.y, seen.sigma_y), watch.seconds, nfe=2 * end.nfe)
