"""prepare: photographs to training patches, validation crops and test crops, with a manifest and a contact sheet."""

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
from matplotlib.figure import Figure

from dualprior import artifacts, data
from dualprior.errors import UserError
from dualprior.images import read_photograph
from dualprior.seeding import numpy_generator
from dualprior.settings.data import Data
from dualprior.sheets import Panel, sheet

if TYPE_CHECKING:
    from dualprior.config import Config
    from dualprior.paths import Paths

PARAMS = ("data",)
log = logging.getLogger(__name__)

SHEET_COLUMNS, SHEET_PATCHES = 12, 24  # the contact sheet: pieces in a row, training patches shown


def run(config: Config, paths: Paths, key: str | None = None) -> None:
    settings: Data = config.data
    found = photographs(settings, paths.root)
    pieces = cut(found, settings)
    tables = {split: manifest(split, crops) for split, crops in pieces.items()}
    for split, path in (("train", paths.train), ("val", paths.val), ("test", paths.test)):
        artifacts.write_array(path, np.stack([crop.pixels for crop in pieces[split]]))
        named = [photograph.name for photograph in found[split]]
        log.info("%s: %d pieces from %d photographs: %s", split, len(pieces[split]), len(named), _listed(named))
    artifacts.write_table(paths.manifest, pd.concat(tables.values(), ignore_index=True))
    artifacts.write_figure(paths.contact_sheet, contact_sheet(pieces, tables))


def _listed(names: list[str], most: int = 8) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def cut(photographs: dict[str, list[data.Photograph]], settings: Data) -> dict[str, list[data.Crop]]:
    """The pieces of each split: training patches, then validation and test crops."""
    rng = numpy_generator(settings.seed, "prepare", "train")
    patches = data.training_patches(photographs["train"], settings.scales, settings.patch_size, settings.train_patches, rng)
    return {"train": patches, "val": crops(photographs, settings, "val"), "test": crops(photographs, settings, "test")}


def crops(photographs: dict[str, list[data.Photograph]], settings: Data, split: str) -> list[data.Crop]:
    """The crops of a split, "val" or "test"."""
    rng = numpy_generator(settings.seed, "prepare", split)
    count = settings.val_images if split == "val" else settings.test_images
    return data.evaluation_crops(photographs[split], settings.scales, settings.image_size, count, rng)


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


# --- manifest and contact sheet --------------------------------------------------------------------------------


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


def contact_sheet(pieces: dict[str, list[data.Crop]], tables: dict[str, pd.DataFrame]) -> Figure:
    """Some training patches, and every validation and test crop, each under its id and scale."""
    spread = np.linspace(0, len(pieces["train"]) - 1, min(SHEET_PATCHES, len(pieces["train"]))).astype(int)
    shown = {"train": spread, "val": range(len(pieces["val"])), "test": range(len(pieces["test"]))}
    titles = {
        "train": f"Training patches ({len(spread)} of {len(pieces['train'])})",
        "val": "Validation crops",
        "test": "Test crops",
    }
    blocks = {titles[split]: [_panel(tables[split]["image"][i], pieces[split][i]) for i in indices] for split, indices in shown.items()}
    return sheet(blocks, SHEET_COLUMNS, side=1.15, above=0.0, below=0.4, font=7)


def _panel(name: str, crop: data.Crop) -> Panel:
    return Panel(crop.pixels, below=f"{_short(name.partition('_')[2])}\nscale {crop.scale:g}")


def _short(text: str, width: int = 20) -> str:
    return text if len(text) <= width else f"{text[:7]}...{text[-(width - 10) :]}"
