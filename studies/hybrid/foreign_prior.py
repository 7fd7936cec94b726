"""foreign_prior: a diffusion model trained on images of another kind, as the study's own is trained, for fewer steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from dualprior.common import io
from dualprior.common.params import DDPM
from dualprior.common.seeding import numpy_generator
from dualprior.data.crops import Photograph, packaged, training_patches
from dualprior.pipeline import train_ddpm
from studies.hybrid.params import FOREIGN, Foreign, Photographs

if TYPE_CHECKING:
    from dualprior.common.paths import Paths
    from dualprior.pipeline.config import Config

PARAMS = ("photographs", "ddpm", "foreign")


def run(config: Config, paths: Paths) -> None:
    photographs: Photographs = config.photographs
    ddpm: DDPM = config.ddpm
    foreign: Foreign = config.foreign
    inside = paths.inside(FOREIGN)
    images = [Photograph(file, (packaged(file),), 0) for file in foreign.files]
    rng = numpy_generator(0, "photographs", FOREIGN)
    patches = training_patches(images, photographs.scales, photographs.patch_size, foreign.patches, rng)
    io.write_array(inside.split("train"), np.stack([patch.pixels for patch in patches]))
    io.write_array(inside.split("val"), io.read_array(paths.split("val")))
    shorter = ddpm.training.model_copy(update={"steps": foreign.steps, "keep": ()})
    train_ddpm.fit(ddpm.model_copy(update={"training": shorter}), inside)
