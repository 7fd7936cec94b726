"""prepare: photographs to training patches, validation crops and test crops, with a manifest."""

from __future__ import annotations

import hashlib
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
from dualprior.data.pixels import read_photograph

if TYPE_CHECKING:
    from dualprior.common.paths import Paths
    from dualprior.pipeline.config import Config

PARAMS = ("data",)
log = logging.getLogger(__name__)


def run(config: Config, paths: Paths) -> None:
    settings: Data = config.data
    found = photographs(settings, paths.root)
    pieces = cut(found, settings)
    tables = {split: manifest(split, crops) for split, crops in pieces.items()}
    for split in ("train", "val", "test"):
        io.write_array(paths.split(split), np.stack([crop.pixels for crop in pieces[split]]))
        named = [photograph.name for photograph in found[split]]
        log.info("%s: %d pieces from %d photographs: %s", split, len(pieces[split]), len(named), _listed(named))
    io.write_table(paths.manifest, pd.concat(tables.values(), ignore_index=True))


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


def photographs(settings: Data, root: Path) -> dict[str, list[data.Photograph]]:
    """The photographs of each split, those in the folder of the settings or those that are shipped."""
    if settings.source == "folder":
        found = _survey(root / Path(settings.folder).expanduser(), settings)
        return data.split_photographs(found, {"val": settings.val_images, "test": settings.test_images}, settings.seed)
    return {
        split: [measured(name, files, [read_photograph(file) for file in files], settings) for name, files in named.items()]
        for split, named in data.shipped_photographs().items()
    }


def measured(name: str, files: tuple[Path, ...], pixels: Sequence[np.ndarray], settings: Data) -> data.Photograph:
    return data.measured(name, files, pixels, settings.scales, settings.image_size, settings.patch_size)


def _survey(folder: Path, settings: Data) -> list[data.Photograph]:
    """Every usable photograph below `folder`, named by its path in it. What is skipped is logged with the reason.

    Raises UserError for a folder that is missing or holds no usable photograph, and for a photograph too small.
    """
    if not folder.is_dir():
        raise UserError(f"data.folder={settings.folder} is not a folder; name a folder of photographs in params.yaml")
    files = sorted(f for f in folder.rglob("*") if f.suffix.lower() in data.EXTENSIONS and f.is_file())
    usable, skipped, seen = [], [], {}
    for file in files:
        name = file.relative_to(folder).as_posix()
        try:
            pixels = read_photograph(file)
        except UserError as error:
            skipped.append(str(error))
            continue
        digest = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).digest()
        if digest in seen:
            skipped.append(f"{file} is the same picture as {seen[digest]}")
            continue
        seen[digest] = name
        photograph = measured(name, (file,), [pixels], settings)
        if photograph.capacity:
            usable.append(photograph)
        else:
            skipped.append(f"{file} has no piece with contrast")
    for reason in skipped:
        log.warning("skipped: %s", reason)
    log.info("%s: %d photographs, %d of %d files skipped", folder, len(usable), len(skipped), len(files))
    if not usable:
        raise UserError(
            f"data.folder={settings.folder} holds no usable photograph ({len(files)} image files, all skipped); "
            "name a folder of photographs in params.yaml"
        )
    return usable


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
