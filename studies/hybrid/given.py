"""What the study's own restoring stages start from: the problems of one task on its crops, with the default model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from studies.hybrid import places
from torch import Tensor

from dualprior.common import device, io
from dualprior.common.params import Restore
from dualprior.data.pixels import to_unit
from dualprior.diffusion import checkpoint
from dualprior.restoration import problem
from dualprior.restoration.problem import Problem

if TYPE_CHECKING:
    from dualprior.common.config import Config

    from dualprior.common.paths import Paths


def load(config: Config, paths: Paths, key: str, images: int) -> tuple[Problem, Problem, Tensor]:
    """The first `images` test measurements, all validation measurements, and the clean validation crops [n, C, H, W]."""
    restore: Restore = config.restore
    where, inside, task = device.pick(), places.crops(paths), config.task(key)
    model = checkpoint.load(paths, where)
    clean_val = to_unit(io.read_array(inside.val)).to(where)
    test, val = (problem.load(inside, key, task, split, restore.seed, model, where) for split in ("test", "val"))
    return problem.first(test, images), val, clean_val
