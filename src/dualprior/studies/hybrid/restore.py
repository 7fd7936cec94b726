"""Restore the study's measurements of one task with one prior, by every method of the default experiment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from dualprior import device, pretrained
from dualprior.settings.hybrid_runs import FULL, Run
from dualprior.settings.restore import Restore
from dualprior.stages import restore
from dualprior.studies.hybrid import places

if TYPE_CHECKING:
    from dualprior.config import Config
    from dualprior.paths import Paths

PARAMS = ("runs.{key}", "restore", "hybrid", "dip", "tasks.{task}")


@torch.no_grad()
def run(config: Config, paths: Paths, key: str | None = None) -> None:
    """key: the run, a task and a prior."""
    wanted: Run = config.entry("runs", key)
    settings: Restore = config.restore
    inside = places.crops(paths)
    model = pretrained.load(paths if wanted.prior == FULL else places.prior(paths, wanted.prior), device.pick())
    task = config.task(wanted.task)
    restored = restore.restore(inside, wanted.task, task, settings, config.hybrid, config.dip, model, wanted.images)
    restore.write(inside, key, settings.seed, restored)
