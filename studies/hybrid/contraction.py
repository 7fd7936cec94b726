"""contraction@task: how much of a change of its start a restart passes on, measured on the trained network.

Chung et al. 2022 (CCDF, Theorem 1) bound the error of a restart by a contraction of its start's error, times less with
every step. Here the stopped DIP is changed by a little, the deterministic restart is run on both with the same noise, and
the ratio of the two RMS changes is noted: 1 passes everything on, 0 forgets the start. Data consistency is part of the
restart: what it overwrites counts as forgotten.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pandas as pd
import torch
from torch import Tensor

from dualprior.common import io
from dualprior.common.params import Restore
from dualprior.degradation.operators import GaussianBlur
from dualprior.restoration import diffusion_methods as diffusion
from dualprior.restoration.problem import Problem, Restoration
from studies.hybrid import problems
from studies.hybrid.params import Contraction

if TYPE_CHECKING:
    from dualprior.common.paths import Paths
    from dualprior.pipeline.config import Config

PARAMS = ("contraction", "restore")
SMOOTH_STD = 2.0  # pixels, of the blur that makes a smooth change


@torch.no_grad()
def run(config: Config, paths: Paths, key: str) -> None:
    """key: the task."""
    wanted: Contraction = config.contraction
    restore: Restore = config.restore
    val, test, clean_val = problems.load(config, paths, key, wanted.images)
    start, rows = problems.stopped_dip(val, test, clean_val), []
    for kind, change in changes(test, wanted.size).items():
        for level in wanted.levels:
            ratio = passed_on(test, start, change, level, wanted.calls, restore.data_weight)
            rows += [{"task": key, "change": kind, "level": level, "image": i, "ratio": value} for i, value in enumerate(ratio.tolist())]
    io.write_table(paths.folder("contraction") / f"{key}.csv", pd.DataFrame(rows).round(5))


def changes(given: Problem, size: float) -> dict[str, Tensor]:
    """A white and a smooth change of every image, of RMS `size`: [n, C, H, W] each."""
    white = given.noise("contraction")(given.blank())
    smooth = GaussianBlur(SMOOTH_STD, given.measured.size).A(white)
    return {kind: size * x / _rms(x).view(-1, 1, 1, 1) for kind, x in (("white", white), ("smooth", smooth))}


def passed_on(given: Problem, start: Restoration, change: Tensor, level: float, calls: int, data_weight: float) -> Tensor:
    """RMS change of the restoration over RMS change of its start, [n]; level: where the restart begins, for all images.

    A start worse than `level` is taken to be at it.
    """
    levels = torch.full((len(start.x),), level, device=start.x.device)
    error = torch.minimum(start.error, levels)
    both = (replace(start, x=x) for x in (start.x, start.x + change))
    ends = [diffusion.restart_at(given, begin, levels, error, calls, data_weight).x for begin in both]
    return _rms(ends[1] - ends[0]) / _rms(change)


def _rms(x: Tensor) -> Tensor:
    return x.square().mean((1, 2, 3)).sqrt()
