"""Which crops the study uses and how it names their measurements, and reading those back as a restorer sees them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import torch
from studies.stopping.params import Images, Problem

from dualprior.common import io
from dualprior.degradation.measurement import Measurement, observe

if TYPE_CHECKING:
    from dualprior.common.paths import Paths


def chosen(manifest: pd.DataFrame, split: str, images: Images) -> pd.DataFrame:
    """One row a measurement: index of its crop in the split's array, image, seed, name ("image~seed").

    The first crops of the split (which alternate between photographs and scales), test crops once for every seed,
    validation crops once.
    """
    rows = manifest[manifest["split"] == split].sort_values("index").head(images.test if split == "test" else images.val)
    seeds = range(images.seeds if split == "test" else 1)
    every = pd.concat([rows[["index", "image"]].assign(seed=seed) for seed in seeds], ignore_index=True)
    return every.assign(name=every["image"] + "~" + every["seed"].astype(str))


def read(paths: Paths, key: str, problem: Problem, split: str, images: Images, device: torch.device) -> Measurement:
    """The measurements of one problem, with the operator that made them."""
    tensors = io.read_tensors(paths.stopping_measured(key))
    names = list(chosen(io.read_table(paths.manifest), split, images)["name"])
    return observe(tensors, split, problem, names, device)
