"""Restore the study's measurements of one task with one prior, by every method of the default experiment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from studies.hybrid import places
from studies.hybrid.params import FULL, Run

from dualprior.common import device
from dualprior.common.params import Restore
from dualprior.diffusion import checkpoint
from dualprior.pipeline import restore

if TYPE_CHECKING:
    from dualprior.common.config import Config

    from dualprior.common.paths import Paths

PARAMS = ("runs.{key}", "restore", "hybrid", "dip", "tasks.{task}")


@torch.no_grad()
def run(config: Config, paths: Paths, key: str | None = None) -> None:
    """key: the run, a task and a prior."""
    wanted: Run = config.entry("runs", key)
    settings: Restore = config.restore
    inside = places.crops(paths)
    model = checkpoint.load(paths if wanted.prior == FULL else places.prior(paths, wanted.prior), device.pick())
    task = config.task(wanted.task)
    restored = restore.restore(inside, wanted.task, task, settings, config.hybrid, config.dip, model, wanted.images)
    restore.write(inside, key, settings.seed, restored)
