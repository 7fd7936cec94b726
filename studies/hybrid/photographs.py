"""photographs: training patches, and the crop of most contrast of every validation and test photograph, from the folders
that params.yaml names.

Each test crop stands once for every seed. Split "whole" holds the middle square of every test photograph that is large enough.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from dualprior.common import io
from dualprior.common.errors import UserError
from dualprior.common.seeding import derive_seed, numpy_generator
from dualprior.data import crops as data
from dualprior.data.pixels import read_photograph
from dualprior.pipeline.prepare import manifest
from studies.hybrid.params import Folders, Photographs

if TYPE_CHECKING:
    from dualprior.common.paths import Paths
    from dualprior.pipeline.config import Config

PARAMS = ("photographs",)
log = logging.getLogger(__name__)


def run(config: Config, paths: Paths) -> None:
    wanted: Photographs = config.photographs
    files = sorted(listed(paths.root, wanted.train), key=lambda file: derive_seed(0, "photographs", file.name))
    splits = {"val": files[: wanted.validation], "test": tested(paths.root, wanted)}
    rng = numpy_generator(0, "photographs", "patches")
    sources = [data.Photograph(file.name, (file,), 0) for file in files[wanted.validation :]]
    patches = data.training_patches(sources, wanted.scales, wanted.patch_size, wanted.patches, rng)
    io.write_array(paths.split("train"), np.stack([patch.pixels for patch in patches]))
    tables = []
    for split, seeds in (("val", 1), ("test", wanted.seeds)):
        cut = [data.crops_of(file.name, file, 1.0, wanted.crop, 1)[0] for file in splits[split]]
        io.write_array(paths.split(split), np.stack([each.pixels for each in cut] * seeds))
        tables.append(repeated(manifest(split, cut), seeds))
    squares = [square for file in splits["test"] if (square := middle(file, wanted.whole)) is not None]
    io.write_array(paths.split("whole"), np.stack([each.pixels for each in squares]))
    tables.append(repeated(manifest("whole", squares), 1))
    io.write_table(paths.manifest, pd.concat(tables, ignore_index=True))
    log.info("%d patches of %d photographs; %d validation and %d test crops", len(patches), len(sources), *map(len, splits.values()))


def listed(root: Path, folder: str) -> list[Path]:
    """The image files of a folder, by name. Raises UserError where it is missing or holds none."""
    found = sorted(file for file in (root / folder).glob("*") if file.suffix.lower() in data.EXTENSIONS)
    if not found:
        raise UserError(
            f"studies/hybrid/params.yaml names the folder {folder}, which holds no images; copy some there: the Berkeley segmentation "
            "data set (BSDS500) for training, the set of the Deep Image Prior repository and Set14 for testing"
        )
    return found


def tested(root: Path, wanted: Folders) -> list[Path]:
    return [file for folder in wanted.test for file in listed(root, folder) if file.name not in wanted.leave_out]


def shuffled(crops: list[data.Crop], rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Pixels of the crops, uint8 [N, H, W, 3], in random order, so that the first are of many photographs; and which one each is of."""
    order = rng.permutation(len(crops))
    groups = np.unique([crops[i].photograph for i in order], return_inverse=True)[1]
    return np.stack([crops[i].pixels for i in order]), groups


def middle(file: Path, size: int) -> data.Crop | None:
    """The square in the middle; None of a photograph too small for it."""
    pixels = read_photograph(file)
    y, x = ((side - size) // 2 for side in pixels.shape[:2])
    if min(x, y) < 0:
        return None
    return data.cut_at(file.name, file, 1.0, pixels, x, y, size)


def repeated(rows: pd.DataFrame, seeds: int) -> pd.DataFrame:
    """Every row once for each seed, all of one seed together. image: "crop~seed", which all random streams hang on; crop,
    seed: its parts."""
    every = pd.concat([rows.assign(crop=rows["image"], seed=seed) for seed in range(seeds)], ignore_index=True)
    return every.assign(index=every.index, image=every["crop"] + "~" + every["seed"].astype(str))
