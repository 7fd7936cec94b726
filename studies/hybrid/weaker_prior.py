"""weaker_prior@prior: train a weaker diffusion model as the default one is trained, and restore some tasks with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dualprior.common import device, io
from dualprior.common.params import Data, Restore
from dualprior.common.seeding import numpy_generator
from dualprior.data.crops import packaged, training_patches
from dualprior.data.pixels import read_photograph, to_unit
from dualprior.diffusion import checkpoint
from dualprior.pipeline import prepare, train_ddpm
from dualprior.pipeline.restore import write
from dualprior.restoration.problem import read_problems
from dualprior.restoration.selection import restore_all
from studies.hybrid.params import Prior

if TYPE_CHECKING:
    from dualprior.common.paths import Paths
    from dualprior.pipeline.config import Config

PARAMS = ("data", "ddpm", "restore", "priors.{key}", "prior_tasks")


def run(config: Config, paths: Paths, key: str) -> None:
    """key: the prior."""
    data: Data = config.data
    prior: Prior = config.entry("priors", key)
    settings: Restore = config.restore
    inside = paths.inside(f"priors/{key}")
    known = io.read_array(paths.default.split("train"))
    io.write_array(inside.split("train"), thinned(known, prior.share) if prior.share else other(prior.files, data, key))
    io.write_array(inside.split("val"), io.read_array(paths.default.split("val")))
    train_ddpm.run(config, inside)
    where = device.pick()
    model, clean_val = checkpoint.load(inside.models, where), to_unit(io.read_array(paths.split("val"))).to(where)
    for name in config.prior_tasks:
        val, test = read_problems(paths.measurements(name), paths.dip(name), settings.seed, model, clean_val, where)
        write(inside.restored(name), settings.seed, restore_all(val, test, clean_val, settings, f"{name}, prior {key}"))


def thinned(patches: np.ndarray, share: float) -> np.ndarray:
    """Every so many-th patch, so that all photographs keep their shares. patches: [N, p, p, 3]."""
    return patches[:: round(1 / share)]


def other(files: tuple[str, ...], data: Data, name: str) -> np.ndarray:
    """As many patches as the default experiment takes, from other photographs: [N, p, p, 3] uint8."""
    found = [packaged(file) for file in files]
    photographs = [prepare.measured(file.stem, (file,), [read_photograph(file)], data) for file in found]
    rng = numpy_generator(data.seed, "prepare", name)
    return np.stack([crop.pixels for crop in training_patches(photographs, data.scales, data.patch_size, data.train_patches, rng)])
