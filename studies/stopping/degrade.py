"""degrade@problem: measure the crops of the study anew, with several kinds of noise, and for each test crop several seeds.

A problem marked `leaks` has the clean image itself for a measurement.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dualprior.common import io
from dualprior.common.seeding import generator
from dualprior.data.pixels import to_unit
from dualprior.degradation.measurement import measure, write_measurement
from studies.stopping import noises
from studies.stopping.crops import chosen
from studies.stopping.params import Images, Problem

if TYPE_CHECKING:
    from dualprior.common.paths import Paths
    from dualprior.pipeline.config import Config

PARAMS = ("images", "problems.{key}")
log = logging.getLogger(__name__)


def run(config: Config, paths: Paths, key: str) -> None:
    """key: the problem."""
    images: Images = config.images
    problem: Problem = config.entry("problems", key)
    manifest, tensors, names = io.read_table(paths.default.manifest), {}, {}
    for split in ("val", "test"):
        crops = chosen(manifest, split, images)
        x = to_unit(io.read_array(paths.default.split(split)))[crops["index"].tolist()]
        names[split] = list(crops["name"])
        tensors |= {f"{split}_{name}": tensor for name, tensor in _measured(x, problem, images.seed, key, names[split]).items()}
    write_measurement(paths.measurements(key), tensors, names, problem)
    log.info("%s: %d validation and %d test measurements", key, len(names["val"]), len(names["test"]))


def _measured(x: Tensor, problem: Problem, seed: int, key: str, names: list[str]) -> dict[str, Tensor]:
    """x: [n, C, H, W]; names: one id a measurement, which its streams are drawn from."""
    if problem.leaks:
        return {"y": x}
    if problem.kind == "gaussian":
        return measure(x, problem, seed, key, names)
    rngs = [generator(seed, "degrade", key, name, "noise") for name in names]
    if problem.kind == "poisson":
        return {"y": noises.poisson(x, problem.peak, rngs)}
    strikes: list[torch.Generator] = [generator(seed, "degrade", key, name, "impulses") for name in names]
    return {"y": noises.impulses(noises.gaussian(x, problem.noise, rngs), problem.share, strikes)}
