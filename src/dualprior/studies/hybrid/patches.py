"""The training patches of a weaker prior, beside the validation crops that its training curve is drawn on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dualprior import artifacts
from dualprior.data import packaged, training_patches
from dualprior.images import read_photograph
from dualprior.seeding import numpy_generator
from dualprior.settings.data import Data
from dualprior.settings.hybrid_runs import Prior
from dualprior.stages import prepare
from dualprior.studies.hybrid import places

if TYPE_CHECKING:
    from dualprior.config import Config
    from dualprior.paths import Paths

PARAMS = ("data", "priors.{key}")


def run(config: Config, paths: Paths, key: str | None = None) -> None:
    """key: the prior."""
    data: Data = config.data
    prior: Prior = config.entry("priors", key)
    inside = places.prior(paths, key)
    patches = thinned(artifacts.read_array(paths.train), prior.share) if prior.share else other(prior.files, data, key)
    artifacts.write_array(inside.train, patches)
    artifacts.write_array(inside.val, artifacts.read_array(paths.val))


def thinned(patches: np.ndarray, share: float) -> np.ndarray:
    """Every so many-th patch, so that all photographs keep their shares. patches: [N, p, p, 3]."""
    return patches[:: round(1 / share)]


def other(files: tuple[str, ...], data: Data, name: str) -> np.ndarray:
    """As many patches as the default experiment takes, from other photographs: [N, p, p, 3] uint8."""
    found = [packaged(file) for file in files]
    photographs = [prepare.measured(file.stem, (file,), [read_photograph(file)], data) for file in found]
    rng = numpy_generator(data.seed, "prepare", name)
    return np.stack([crop.pixels for crop in training_patches(photographs, data.scales, data.patch_size, data.train_patches, rng)])
