"""degrade@problem: measure photographs of the study of the hybrid anew, with Gaussian and with photon noise.

A problem marked `leaks` has the clean image itself for a measurement.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from dualprior.common import io
from dualprior.common.errors import UserError
from dualprior.common.paths import Paths
from dualprior.common.seeding import generator
from dualprior.data.pixels import to_unit
from dualprior.degradation.measurement import measure, write_measurement
from studies.stopping.params import Images, Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

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
        measured = _measured(to_unit(pixels), problem, wanted.seed, key, names[split])
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


def _measured(x: Tensor, problem: Problem, seed: int, key: str, names: list[str]) -> dict[str, Tensor]:
    """x: [n, C, H, W]; names: one id a measurement, which its streams are drawn from."""
    if problem.leaks:
        return {"y": x}
    if problem.kind == "gaussian":
        return measure(x, problem, seed, key, names)
    return {"y": poisson(x, problem.peak, [generator(seed, "degrade", key, name, "noise") for name in names])}


def poisson(x: Tensor, peak: float, rngs: Sequence[torch.Generator]) -> Tensor:
    """Photon counts over the peak: u = (x + 1) / 2, k ~ Poisson(peak u), back to [-1, 1] by 2 k / peak - 1.

    Variance 4 u / peak in [-1, 1] units. peak: photons at white, > 0.
    """
    if not peak > 0:
        raise UserError(f"Poisson noise of peak {peak:g} has no photons; give a peak above 0")
    rates = peak * (x.clamp(-1, 1) + 1) / 2
    counts = torch.stack([torch.poisson(rate, generator=rng) for rate, rng in zip(rates, rngs, strict=True)])
    return 2 * counts / peak - 1
