"""crops: more crops of the default experiment's photographs; each test crop stands once for every seed.

Test crops that the method may have been fitted to are passed over: `crops.skip`.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from dualprior.common import io
from dualprior.common.params import Data
from dualprior.pipeline import prepare
from studies.hybrid.params import Crops

if TYPE_CHECKING:
    from dualprior.common.paths import Paths
    from dualprior.pipeline.config import Config

PARAMS = ("data", "crops")
log = logging.getLogger(__name__)


def run(config: Config, paths: Paths) -> None:
    data: Data = config.data
    wanted: Crops = config.crops
    settings = data.model_copy(update={"val_images": wanted.val, "test_images": wanted.skip + wanted.test})
    photographs, tables = prepare.photographs(data, paths.root), []  # dealt as by default
    for split, skip, seeds in (("val", 0, 1), ("test", wanted.skip, wanted.seeds)):
        cut = prepare.crops(photographs, settings, split)
        io.write_array(paths.split(split), np.stack([crop.pixels for crop in cut[skip:]] * seeds))
        tables.append(repeated(prepare.manifest(split, cut)[skip:], seeds))
        log.info("%s: %d crops, %d seeds", split, len(cut) - skip, seeds)
    io.write_table(paths.manifest, pd.concat(tables, ignore_index=True))


def repeated(manifest: pd.DataFrame, seeds: int) -> pd.DataFrame:
    """Every row once for each seed, all of one seed together. image: "crop~seed", which all random streams hang on; crop,
    seed: its parts."""
    rows = pd.concat([manifest.assign(crop=manifest["image"], seed=seed) for seed in range(seeds)], ignore_index=True)
    return rows.assign(index=rows.index, image=rows["crop"] + "~" + rows["seed"].astype(str))
