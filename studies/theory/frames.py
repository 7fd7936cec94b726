"""What the sliders of the report show and no other stage keeps: restarts of one test crop at many levels."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from studies.theory.params import Pictures

from dualprior.common import device, io
from dualprior.common.params import Hybrid, Restore
from dualprior.data.pixels import to_uint8, to_unit
from dualprior.diffusion import checkpoint
from dualprior.restoration import diffusion_methods as r
from dualprior.restoration import problem

if TYPE_CHECKING:
    from dualprior.common.config import Config

    from dualprior.common.paths import Paths

PARAMS = ("pictures", "restore", "hybrid", "tasks")


@torch.no_grad()
def run(config: Config, paths: Paths, key: str | None = None) -> None:
    wanted: Pictures = config.pictures
    restore: Restore = config.restore
    hybrid: Hybrid = config.hybrid
    where = device.pick()
    model = checkpoint.load(paths, where)
    clean_val = to_unit(np.asarray(io.read_array(paths.val))).to(where)
    frames = {}
    for name in config.task_names():
        test, val = (problem.load(paths, name, config.task(name), split, restore.seed, model, where) for split in ("test", "val"))
        test = problem.first(test, wanted.image + 1)
        start = problem.with_validation_error(r.dip_stopped, test, val, clean_val)
        restarted = []
        for level in wanted.levels:
            levels = torch.full((wanted.image + 1,), level, device=where)
            done = r.restart_at(test, start, levels, hybrid.calls, hybrid.data_weight, "pictures.levels")
            restarted.append(done.x[wanted.image])
        frames[f"{name}/restarts"] = to_uint8(torch.stack(restarted))
        frames[f"{name}/predicted"] = start.error[wanted.image].cpu().numpy()
    io.write_arrays(paths.report_frames, frames)
