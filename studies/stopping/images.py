"""Which photographs the study measures, and how often: those of the study of the hybrid."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from dualprior.common import io
from dualprior.common.paths import Paths

if TYPE_CHECKING:
    from studies.stopping.params import Images, Problem


def hybrid(paths: Paths) -> Paths:
    """Where the study of the hybrid keeps its photographs and its diffusion model."""
    return Paths(paths.root, "hybrid")


def chosen(paths: Paths, split: str, problem: Problem, wanted: Images) -> tuple[pd.DataFrame, np.ndarray]:
    """One row a measurement: image, seed, name ("image~seed"); and the clean pixels of each, uint8 [n, side, side, 3].

    The middle of the first crops of the split, test crops once for every seed; of a problem on whole photographs the test
    images are those.
    """
    whole = problem.whole_photographs and split == "test"
    source = "whole" if whole else split
    manifest, count = io.read_table(hybrid(paths).manifest), wanted.test if split == "test" else wanted.val
    rows = manifest[manifest["split"] == source].drop_duplicates("crop").sort_values("index").head(count)
    pixels = io.read_array(hybrid(paths).split(source))[rows["index"].to_numpy()]
    if not whole:
        edge = (pixels.shape[1] - wanted.crop) // 2
        pixels = np.ascontiguousarray(pixels[:, edge : edge + wanted.crop, edge : edge + wanted.crop])
    seeds = range(wanted.seeds if split == "test" else 1)
    every = pd.concat([pd.DataFrame({"image": rows["crop"], "seed": seed}) for seed in seeds], ignore_index=True)
    return every.assign(name=every["image"] + "~" + every["seed"].astype(str)), np.tile(pixels, (len(seeds), 1, 1, 1))
