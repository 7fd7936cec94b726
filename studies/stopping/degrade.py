"""degrade@problem: measure photographs of the study of the hybrid anew.

A problem marked `leaks` has the clean image itself for a measurement.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from dualprior.common import io
from dualprior.common.paths import Paths
from dualprior.data.pixels import to_unit
from dualprior.degradation.measurement import measure, write_measurement
from studies.stopping.params import Images, Problem

if TYPE_CHECKING:
    from dualprior.pipeline.config import Config

PARAMS = ("images", "problems.{key}")
log = logging.getLogger(__name__)


def run(config: Config, paths: Paths, key: str) -> None:
    """key: the problem."""
    wanted: Images = config.images
    problem: Problem = config.entry("problems", key)
    tensors, names = {}, {}
    for split in ("val", "test"):
        rows, pixels = chosen(paths, split, problem, wanted)
        names[split] = list(rows["name"])
        x = to_unit(pixels)
        measured = {"y": x} if problem.leaks else measure(x, problem, wanted.seed, key, names[split])
        tensors |= {f"{split}_{name}": tensor for name, tensor in measured.items()}
    write_measurement(paths.measurements(key), tensors, names, problem)
    log.info("%s: %d validation and %d test measurements", key, len(names["val"]), len(names["test"]))


def chosen(paths: Paths, split: str, problem: Problem, wanted: Images) -> tuple[pd.DataFrame, np.ndarray]:
    """One row a measurement: image, seed, name ("image~seed"); and the clean pixels of each, uint8 [n, side, side, 3].

    The middle of the first crops of the split, test crops once for every seed; of a problem on whole photographs the test
    images are those.
    """
    whole = problem.whole_photographs and split == "test"
    source = "whole" if whole else split
    hybrid = Paths(paths.root, "hybrid")
    manifest, count = io.read_table(hybrid.manifest), wanted.test if split == "test" else wanted.val
    rows = manifest[manifest["split"] == source].drop_duplicates("crop").sort_values("index").head(count)
    pixels = io.read_array(hybrid.split(source))[rows["index"].to_numpy()]
    if not whole:
        edge = (pixels.shape[1] - wanted.crop) // 2
        pixels = np.ascontiguousarray(pixels[:, edge : edge + wanted.crop, edge : edge + wanted.crop])
    seeds = range(wanted.seeds if split == "test" else 1)
    every = pd.concat([pd.DataFrame({"image": rows["crop"], "seed": seed}) for seed in seeds], ignore_index=True)
    return every.assign(name=every["image"] + "~" + every["seed"].astype(str)), np.tile(pixels, (len(seeds), 1, 1, 1))
