"""prepare: photographs to training patches, validation crops and test crops, with a manifest."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from dualprior.common import io
from dualprior.common.errors import UserError
from dualprior.common.params import Data
from dualprior.common.seeding import numpy_generator
from dualprior.data import crops as data
from dualprior.data import sources
from dualprior.data.pixels import read_photograph

if TYPE_CHECKING:
    from dualprior.common.paths import Paths
    from dualprior.pipeline.config import Config

PARAMS = ("data",)
SPLITS = ("train", "val", "test")
log = logging.getLogger(__name__)


def run(config: Config, paths: Paths) -> None:
    settings: Data = config.data
    found = photographs(settings, paths.root, paths.scratch)
    pieces = cut(found, settings)
    tables = {split: manifest(split, crops) for split, crops in pieces.items()}
    arrays = {split: np.stack([crop.pixels for crop in pieces[split]]) for split in SPLITS}
    for split in SPLITS:
        io.write_array(paths.split(split), arrays[split])
        named = [photograph.name for photograph in found[split]]
        log.info("%s: %d pieces from %d photographs: %s", split, len(pieces[split]), len(named), _listed(named))
    io.write_table(paths.manifest, pd.concat(tables.values(), ignore_index=True))
    io.write_json(paths.metrics("data_card.json"), card(found, arrays))


def _listed(names: list[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def cut(photographs: dict[str, list[data.Photograph]], settings: Data) -> dict[str, list[data.Crop]]:
    """The pieces of each split: training patches, then validation and test crops."""
    rng = numpy_generator(settings.seed, "prepare", "train")
    patches = data.training_patches(photographs["train"], settings.scales, settings.patch_size, settings.train_patches, rng)
    return {"train": patches, "val": crops(photographs, settings, "val"), "test": crops(photographs, settings, "test")}


def crops(photographs: dict[str, list[data.Photograph]], settings: Data, split: str) -> list[data.Crop]:
    """The crops of a split, "val" or "test"."""
    count = settings.val_images if split == "val" else settings.test_images
    return data.evaluation_crops(photographs[split], max(settings.scales), settings.image_size, count)


# --- sources ---------------------------------------------------------------------------------------------------


def photographs(settings: Data, root: Path, scratch: Path) -> dict[str, list[data.Photograph]]:
    """The photographs of each split: those of the settings' source, or those that are shipped."""
    if settings.source == "photos":
        return {
            split: [measured(name, files, [read_photograph(file) for file in files], settings) for name, files in named.items()]
            for split, named in data.shipped_photographs().items()
        }
    folder = sources.folder_of(settings.source, settings.folder, root, scratch)
    found = sources.survey(folder, lambda name, file, pixels: measured(name, (file,), [pixels], settings))
    if not found:
        raise UserError(f"data.folder={settings.folder} holds no usable photograph; see above what was skipped, and why")
    if settings.split in ("photograph", "folder"):
        wanted = {"val": settings.val_images, "test": settings.test_images}
        return data.split_photographs(found, wanted, settings.seed, settings.split == "folder")
    return _listed_split(found, root / Path(settings.split).expanduser())


def measured(name: str, files: tuple[Path, ...], pixels: Sequence[np.ndarray], settings: Data) -> data.Photograph:
    return data.measured(name, files, pixels, settings.scales, settings.image_size, settings.patch_size)


def _listed_split(found: list[data.Photograph], file: Path) -> dict[str, list[data.Photograph]]:
    """As a table with the columns photograph (its path in the folder) and split says; others are left out."""
    table = io.read_table(file)
    if not {"photograph", "split"} <= set(table) or not set(table["split"]) <= set(SPLITS):
        raise UserError(f"{file} must have the columns photograph and split, with {', '.join(SPLITS)} in the second")
    said = dict(zip(table["photograph"], table["split"], strict=True))
    for name in sorted(set(said) - {photograph.name for photograph in found}):
        log.warning("%s names %s, which is not among the usable photographs", file, name)
    dealt = {split: [photograph for photograph in found if said.get(photograph.name) == split] for split in SPLITS}
    empty = [split for split, part in dealt.items() if not part]
    if empty:
        raise UserError(f"{file} names no usable photograph for {', '.join(empty)}")
    return dealt


def card(found: dict[str, list[data.Photograph]], pieces: dict[str, np.ndarray]) -> dict[str, dict]:
    """What the data are, split by split; channel means and standard deviations of the pieces, in [0, 1]."""
    return {
        split: {
            "photographs": len(found[split]),
            "copies": sum(len(photograph.files) - 1 for photograph in found[split]),
            "pieces": len(pixels),
            "mean": np.round(pixels.mean((0, 1, 2)) / 255, 3).tolist(),
            "std": np.round(pixels.std((0, 1, 2)) / 255, 3).tolist(),
        }
        for split, pixels in pieces.items()
    }


# --- manifest --------------------------------------------------------------------------------


def manifest(split: str, crops: Sequence[data.Crop]) -> pd.DataFrame:
    """One row a piece, in the order of the array; `image` is its id, unique over all splits."""
    counts, rows = Counter(), []
    for index, crop in enumerate(crops):
        slug = re.sub(r"[^a-z0-9]+", "-", Path(crop.photograph).stem.lower()).strip("-") or "photograph"
        rows.append(
            {
                "split": split,
                "index": index,
                "image": f"{split}_{slug}_{counts[slug]:02d}",
                "photograph": crop.photograph,
                "file": crop.file,
                "scale": crop.scale,
                "x": crop.x,
                "y": crop.y,
                "size": crop.pixels.shape[0],
                "sha256": crop.sha256,
            }
        )
        counts[slug] += 1
    return pd.DataFrame(rows)
