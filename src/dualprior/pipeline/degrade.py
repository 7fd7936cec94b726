"""degrade: the measurements y = A x + n of the validation and test crops, task by task, and the random parts behind them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from dualprior.common import io
from dualprior.common.params import Degrade
from dualprior.data.pixels import to_unit
from dualprior.degradation.measurement import estimate_level, measure, write_measurement
from dualprior.degradation.task import Task

if TYPE_CHECKING:
    from dualprior.common.paths import Paths
    from dualprior.pipeline.config import Config

PARAMS = ("degrade", "tasks")
WARN_AT = 0.2  # relative difference of the estimated noise level and the given one
log = logging.getLogger(__name__)


def run(config: Config, paths: Paths) -> None:
    settings: Degrade = config.degrade
    tasks: dict[str, Task] = config.tasks
    manifest = io.read_table(paths.manifest)
    clean = {split: to_unit(io.read_array(paths.split(split))) for split in ("val", "test")}
    names = {split: list(manifest[manifest["split"] == split].sort_values("index")["image"]) for split in clean}
    for key, task in tasks.items():
        tensors = {}
        for split, x in clean.items():
            measured = measure(x, task, settings.seed, key, names[split])
            tensors |= {f"{split}_{name}": tensor for name, tensor in measured.items()}
            _compare_levels(key, split, task, measured["y"])
        write_measurement(paths.measurements(key), tensors, names, task)
        log.info("%s: %d validation and %d test images", key, len(names["val"]), len(names["test"]))


def _compare_levels(key: str, split: str, task: Task, y) -> None:
    """A wrong noise level costs decibels: set the one estimated from y beside the given one. Denoising only: a blur hides noise."""
    if task.hides:
        return
    estimated = 255 / 2 * float(estimate_level(y).median())
    level = logging.WARNING if abs(estimated / task.noise - 1) > WARN_AT else logging.INFO
    log.log(level, "%s, %s: noise %g as given, %.1f as estimated from the measurements", key, split, task.noise, estimated)
