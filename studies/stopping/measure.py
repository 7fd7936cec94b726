"""Measure the crops of the study anew: several noise kinds, and for each test crop several seeds.

The one stage of the study that reads clean images before the judging; a problem marked `leaks` has the clean image
itself for a measurement.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np
import torch
from studies.stopping import noises
from studies.stopping.crops import chosen
from studies.stopping.params import Images, Problem
from torch import Tensor

from dualprior.common import io
from dualprior.common.seeding import generator
from dualprior.data.pixels import to_unit
from dualprior.pipeline.degrade import measure

if TYPE_CHECKING:
    from dualprior.common.config import Config

    from dualprior.common.paths import Paths

PARAMS = ("images", "problems.{key}")
log = logging.getLogger(__name__)


def run(config: Config, paths: Paths, key: str | None = None) -> None:
    """key: the problem."""
    images: Images = config.images
    problem: Problem = config.entry("problems", key)
    manifest, tensors = io.read_table(paths.manifest), {}
    for split, path in (("val", paths.val), ("test", paths.test)):
        crops = chosen(manifest, split, images)
        x = to_unit(np.asarray(io.read_array(path)))[crops["index"].tolist()]
        y, mask = _measure(x, problem, images.seed, key, list(crops["name"]))
        tensors[f"{split}_y"] = y
        if mask is not None:
            tensors[f"{split}_mask"] = mask
        log.info("%s: %d %s measurements", key, len(y), split)
    io.write_tensors(paths.stopping_measured(key), tensors)


def _measure(x: Tensor, problem: Problem, seed: int, key: str, names: list[str]) -> tuple[Tensor, Tensor | None]:
    """x: [n, C, H, W]; names: one id a measurement, which its streams are drawn from."""
    if problem.leaks:
        return x, None
    if problem.kind == "gaussian":
        return measure(x, problem, seed, key, names)
    rngs = [generator(seed, "degrade", key, name, "noise") for name in names]
    if problem.kind == "poisson":
        return noises.poisson(x, problem.peak, rngs), None
    strikes: list[torch.Generator] = [generator(seed, "degrade", key, name, "impulses") for name in names]
    return noises.impulses(noises.gaussian(x, problem.noise, rngs), problem.share, strikes), None
