"""patches: training, validation and test patches, each split of photographs of its own.

groups.npy: the photograph that each test patch is of, the unit of intervals.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dualprior.common import io
from dualprior.common.seeding import derive_seed, numpy_generator
from dualprior.data import crops as data
from studies.hybrid.photographs import listed, shuffled, tested
from studies.training.params import Patches

if TYPE_CHECKING:
    from dualprior.common.paths import Paths
    from dualprior.pipeline.config import Config

PARAMS = ("patches",)


def run(config: Config, paths: Paths) -> None:
    wanted: Patches = config.patches
    files = sorted(listed(paths.root, wanted.train), key=lambda file: derive_seed(0, "photographs", file.name))
    sources = [data.Photograph(file.name, (file,), 0) for file in files[wanted.validation :]]
    rng = numpy_generator(0, "training", "patches")
    patches = data.training_patches(sources, wanted.scales, wanted.size, wanted.count, rng)
    cut = {
        "train": [patches[k] for k in rng.permutation(len(patches))],
        "val": [crop for file in files[: wanted.validation] for crop in data.crops_of(file.name, file, 1.0, wanted.size, 2)],
    }
    for split, own in cut.items():
        io.write_array(paths.split(split), np.stack([patch.pixels for patch in own]))
    crops = [crop for file in tested(paths.root, wanted) for crop in data.crops_of(file.name, file, 1.0, wanted.size, wanted.each)]
    test, groups = shuffled(crops, numpy_generator(0, "training", "order"))
    io.write_array(paths.split("test"), test)
    io.write_array(paths.folder("groups.npy"), groups)
