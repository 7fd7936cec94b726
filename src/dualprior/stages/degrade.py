"""degrade@task: the measurements y = A x + n of the validation and test crops, and the masks behind them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from dualprior import artifacts
from dualprior.images import to_unit
from dualprior.operators import box_mask, make_operator, random_mask
from dualprior.seeding import generator
from dualprior.settings.tasks import Measure, Task

if TYPE_CHECKING:
    from dualprior.config import Config
    from dualprior.paths import Paths

PARAMS = ("measure", "tasks.{key}")
log = logging.getLogger(__name__)

_MASKS = {
    "random_mask": lambda shape, task, rng: random_mask(shape, task.keep, rng),
    "box_mask": lambda shape, task, rng: box_mask(shape, task.box, rng),
}


def run(config: Config, paths: Paths, key: str | None = None) -> None:
    task: Task = config.task(key)
    settings: Measure = config.measure
    manifest, tensors = artifacts.read_table(paths.manifest), {}
    for split, path in (("val", paths.val), ("test", paths.test)):
        rows = manifest[manifest["split"] == split].sort_values("index")
        x = to_unit(artifacts.read_array(path))
        y, mask = measure(x, task, settings.seed, key, list(rows["image"]))
        tensors[f"{split}_y"] = y
        if mask is not None:
            tensors[f"{split}_mask"] = mask
        log.info("%s: %d %s images, measurements %s", key, len(x), split, "x".join(map(str, y.shape[1:])))
    artifacts.write_tensors(paths.measurement(key), tensors)


def measure(x: torch.Tensor, task: Task, seed: int, name: str, images: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Measurements of clean images, and the masks [n,1,H,W] where the task has them.

    x: [n,3,H,W] in [-1, 1]; images: one id each. The mask and the noise of an image come from streams of their own,
    (seed, "degrade", name, id), so they do not depend on the other images. Noise is Gaussian, not clipped, and
    falls on known pixels only.
    """
    shape = tuple(x.shape[-2:])
    mask = None
    if task.operator in _MASKS:
        draw = _MASKS[task.operator]
        mask = torch.cat([draw(shape, task, generator(seed, "degrade", name, image, "mask")) for image in images])
    y = make_operator(task.operator, shape=shape, factor=task.factor, blur_std=task.blur_std, mask=mask).A(x)
    noise = torch.stack([torch.randn(y.shape[1:], generator=generator(seed, "degrade", name, image, "noise")) for image in images])
    return y + task.sigma_y * (noise if mask is None else mask * noise), mask
