"""What the study's own restoring stages start from: the problems of one task on its crops, with the default model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from dualprior import artifacts, device, pretrained, problem
from dualprior.images import to_unit
from dualprior.problem import Problem
from dualprior.settings.restore import Restore
from dualprior.studies.hybrid import places

if TYPE_CHECKING:
    from dualprior.config import Config
    from dualprior.paths import Paths


def load(config: Config, paths: Paths, key: str, images: int) -> tuple[Problem, Problem, Tensor]:
    """The first `images` test measurements, all validation measurements, and the clean validation crops [n, C, H, W]."""
    restore: Restore = config.restore
    where, inside, task = device.pick(), places.crops(paths), config.task(key)
    model = pretrained.load(paths, where)
    clean_val = to_unit(artifacts.read_array(inside.val)).to(where)
    test, val = (problem.load(inside, key, task, split, restore.seed, model, where) for split in ("test", "val"))
    return problem.first(test, images), val, clean_val
