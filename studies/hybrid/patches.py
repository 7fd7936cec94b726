"""The training patches of a weaker prior, beside the validation crops that its training curve is drawn on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from studies.hybrid import places
from studies.hybrid.params import Prior

from dualprior.common import io
from dualprior.common.params import Data
from dualprior.common.seeding import numpy_generator
from dualprior.data.crops import packaged, training_patches
from dualprior.data.pixels import read_photograph
from dualprior.pipeline import prepare

if TYPE_CHECKING:
    from dualprior.common.config import Config

    from dualprior.common.paths import Paths

PARAMS = ("data", "priors.{key}")


def run(config: Config, paths: Paths, key: str | None = None) -> None:
    """key: the prior."""
    data: Data = config.data
    prior: Prior = config.entry("priors", key)
    inside = places.prior(paths, key)
    patches = thinned(io.read_array(paths.train), prior.share) if prior.share else other(prior.files, data, key)
    io.write_array(inside.train, patches)
    io.write_array(inside.val, io.read_array(paths.val))


def thinned(patches: np.ndarray, share: float) -> np.ndarray:
    """Every so many-th patch, so that all photographs keep their shares. patches: [N, p, p, 3]."""
    return patches[:: round(1 / share)]


def other(files: tuple[str, ...], data: Data, name: str) -> np.ndarray:
    """As many patches as the default experiment takes, from other photographs: [N, p, p, 3] uint8."""
    found = [packaged(file) for file in files]
    photographs = [prepare.measured(file.stem, (file,), [read_photograph(file)], data) for file in found]
    rng = numpy_generator(data.seed, "prepare", name)
    return np.stack([crop.pixels for crop in training_patches(photographs, data.scales, data.patch_size, data.train_patches, rng)])
