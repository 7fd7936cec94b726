"""Photographs to training patches and evaluation crops, split by source photograph so that nothing leaks.

A photograph may have several files (the two views of a stereo pair); all of them stay in one split. Positions are
pixels of the photograph shrunk to `scale`, (x, y) the top left corner.
"""

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import chain, zip_longest
from pathlib import Path

import numpy as np
from PIL import Image

from dualprior.common.errors import UserError
from dualprior.common.seeding import derive_seed
from dualprior.data.pixels import read_photograph

EXTENSIONS = {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".jp2", ".tif", ".tiff", ".bmp", ".webp", ".avif", ".gif", ".ppm", ".pgm", ".tga"}
# Patches and crops are taken only where the grey levels (0 to 255) spread at least this much: a flat piece of sky
# teaches nothing and is restored by anything. The same rule for every split and scale.
MIN_CONTRAST = 15.0
STRIP = 256  # rows

# The colour photographs inside scikit-image and scikit-learn. Their files are opened by path, not through
# skimage.data, which may download what it does not find.
SHIPPED = {
    "train": {
        "astronaut": ("skimage/data/astronaut.png",),
        "coffee": ("skimage/data/coffee.png",),
        "motorcycle": ("skimage/data/motorcycle_left.png", "skimage/data/motorcycle_right.png"),
    },
    "val": {"flower": ("sklearn/datasets/images/flower.jpg",), "rocket": ("skimage/data/rocket.jpg",)},
    "test": {"chelsea": ("skimage/data/chelsea.png",), "china": ("sklearn/datasets/images/china.jpg",)},
}


@dataclass(frozen=True)
class Photograph:
    """One source photograph: its name, its files, and how many evaluation crops it can give."""

    name: str
    files: tuple[Path, ...]
    capacity: int


@dataclass(frozen=True)
class Crop:
    """A square piece of one photograph: pixels uint8 [size,size,3] at (x, y) of the file shrunk to `scale`."""

    photograph: str
    file: str
    scale: float
    x: int
    y: int
    pixels: np.ndarray

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.pixels.tobytes()).hexdigest()


# --- which photographs, and in which split ---------------------------------------------------------------------


def shipped_photographs() -> dict[str, dict[str, tuple[Path, ...]]]:
    """The files of `SHIPPED`, where the installed packages keep them: {split: {photograph: files}}."""
    return {split: {name: tuple(packaged(file) for file in files) for name, files in named.items()} for split, named in SHIPPED.items()}


def packaged(file: str) -> Path:
    package, _, rest = file.partition("/")
    return Path(find_spec(package).origin).parent / rest


def measured(
    name: str, files: tuple[Path, ...], pixels: Sequence[np.ndarray], scales: Sequence[float], crop: int, patch: int
) -> Photograph:
    """A photograph whose crops of `crop` pixels are counted; capacity 0 when it lacks contrast for crops or patches.

    pixels: uint8 [H,W,3] of each file. Raises UserError for a file too small for a crop or a patch.
    """
    for file, image in zip(files, pixels, strict=True):
        _check_size(file, image, max(scales), max(crop, patch))
    if not any(grid(level, patch) for image in pixels for _, level in levels(image, scales, min(crop, patch))):
        return Photograph(name, files, 0)
    return Photograph(name, files, len(grid(shrink(pixels[0], max(scales)), crop)))


def _check_size(file: Path, pixels: np.ndarray, scale: float, size: int) -> None:
    height, width = pixels.shape[:2]
    if round(min(height, width) * scale) < size:
        raise UserError(
            f"{file.name} is {width} x {height} pixels, at scale {scale:g} too small for pieces of {size} pixels; "
            "lower data.image_size and data.patch_size in params.yaml, or use larger photographs"
        )


def split_photographs(
    photographs: Sequence[Photograph], wanted: dict[str, int], seed: int, by_folder: bool = False
) -> dict[str, list[Photograph]]:
    """Deal photographs into test, val and train, each photograph, or each folder of them, to one of the three.

    They are ordered by a hash of (seed, name), so the order of the folder does not matter. Test and val take a
    quarter each (at least one, at most one per crop wanted), and more until they hold their `wanted` crops; train
    takes the rest. Raises UserError when nothing is left for train.
    """
    groups: dict[str, list[Photograph]] = {}
    for photograph in photographs:
        groups.setdefault(photograph.name.rpartition("/")[0] if by_folder else photograph.name, []).append(photograph)
    waiting = [groups[name] for name in sorted(groups, key=lambda name: derive_seed(seed, "prepare", "split", name))]
    dealt = {}
    for split in ("test", "val"):
        taken = min(wanted[split], max(1, len(groups) // 4))
        while taken < len(waiting) and sum(p.capacity for group in waiting[:taken] for p in group) < wanted[split]:
            taken += 1
        dealt[split], waiting = list(chain(*waiting[:taken])), waiting[taken:]
    if not waiting:
        raise UserError(
            f"{len(photographs)} photographs are too few for training, {wanted['val']} validation crops and "
            f"{wanted['test']} test crops from photographs of their own; add photographs, or lower data.val_images, "
            "data.test_images or data.image_size in params.yaml"
        )
    return {"train": list(chain(*waiting)), "val": dealt["val"], "test": dealt["test"]}


def as_text(path: Path | str) -> str:
    """A path that any text file can hold: bytes that are no UTF-8 as \\xe9."""
    return os.fsencode(Path(path).as_posix()).decode("utf-8", "backslashreplace")


# --- scales and contrast ---------------------------------------------------------------------------------------


def shrink(pixels: np.ndarray, scale: float) -> np.ndarray:
    """uint8 [H,W,3] at `scale` <= 1 of its size, antialiased (Pillow's Lanczos filter, widened by 1/scale)."""
    height, width = (max(1, round(side * scale)) for side in pixels.shape[:2])
    if (height, width) == pixels.shape[:2]:
        return pixels
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.LANCZOS))


def levels(pixels: np.ndarray, scales: Sequence[float], size: int) -> Iterator[tuple[float, np.ndarray]]:
    """(scale, pixels at that scale) for each scale that holds a window of `size`."""
    for scale in scales:
        shrunk = shrink(pixels, scale)
        if min(shrunk.shape[:2]) >= size:
            yield scale, shrunk


def contrast(pixels: np.ndarray, size: int) -> np.ndarray:
    """Standard deviation of the grey levels (0-255) in the window at each position: float64 [H-size+1, W-size+1].

    By integral images, in exact integers: var = E[g²] - E[g]². Strip by strip, as all of a large photograph at once fills the memory.
    """
    grey, rows = _grey(pixels), pixels.shape[0] - size + 1
    return np.concatenate([_contrast(grey[top : min(top + STRIP, rows) + size - 1], size) for top in range(0, rows, STRIP)])


def _contrast(grey: np.ndarray, size: int) -> np.ndarray:
    grey = grey.astype(np.int64)
    mean, square = (_window_sum(values, size) / size**2 for values in (grey, grey * grey))
    return np.sqrt(np.maximum(square - mean**2, 0.0))


def _grey(pixels: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).convert("L"))


def _window_sum(values: np.ndarray, size: int) -> np.ndarray:
    total = np.pad(values.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    return total[size:, size:] - total[:-size, size:] - total[size:, :-size] + total[:-size, :-size]


# --- evaluation crops ------------------------------------------------------------------------------------------


def grid(pixels: np.ndarray, size: int) -> list[tuple[int, int]]:
    """(x, y) of the windows with contrast in the centred grid of non-overlapping windows."""
    grey = _grey(pixels)
    height, width = grey.shape
    rows = range((height % size) // 2, height - size + 1, size)
    columns = range((width % size) // 2, width - size + 1, size)
    return [(x, y) for y in rows for x in columns if grey[y : y + size, x : x + size].std() >= MIN_CONTRAST]


def crops_of(photograph: str, file: Path, scale: float, size: int, count: int) -> list[Crop]:
    """The first `count` windows of the grid, that of most contrast first."""
    pixels = shrink(read_photograph(file), scale)
    spread = contrast(pixels, size)
    corners = sorted(grid(pixels, size), key=lambda corner: -spread[corner[1], corner[0]])
    return [cut_at(photograph, file, scale, pixels, x, y, size) for x, y in corners[:count]]


def evaluation_crops(photographs: Sequence[Photograph], scale: float, size: int, count: int) -> list[Crop]:
    """`count` crops at `scale`, no two of which overlap, spread evenly over photographs, which take turns.

    Of a photograph with several files the first serves, as all show the same scene. Raises UserError when the photographs hold
    fewer crops.
    """
    groups = [crops_of(p.name, p.files[0], scale, size, count) for p in photographs]
    crops = [crop for turn in zip_longest(*groups) for crop in turn if crop is not None]
    if len(crops) < count:
        raise UserError(
            f"{count} crops of {size} pixels are wanted but {', '.join(p.name for p in photographs)} hold "
            f"{len(crops)}; lower data.val_images, data.test_images or data.image_size in params.yaml, or add photographs"
        )
    return crops[:count]


# --- training patches ------------------------------------------------------------------------------------------


def training_patches(
    photographs: Sequence[Photograph],
    scales: Sequence[float],
    size: int,
    count: int,
    rng: np.random.Generator,
) -> list[Crop]:
    """`count` patches at random usable places, spread evenly over photographs, then over their files and scales."""
    return [
        patch
        for photograph, share in zip(photographs, shares(count, len(photographs)), strict=True)
        for patch in _patches(photograph, scales, size, share, rng)
    ]


def _patches(photograph, scales, size, count, rng) -> Iterator[Crop]:
    places = []
    for file in photograph.files:
        for scale, shrunk in levels(read_photograph(file), scales, size):
            usable = contrast(shrunk, size) >= MIN_CONTRAST
            if usable.any():
                places.append((file, scale, shrunk, usable))
    for (file, scale, shrunk, usable), share in zip(places, shares(count, len(places)), strict=True):
        corners = np.flatnonzero(usable)
        for corner in rng.choice(corners, share, replace=share > len(corners)):
            y, x = divmod(int(corner), usable.shape[1])
            yield cut_at(photograph.name, file, scale, shrunk, x, y, size)


def shares(total: int, parts: int) -> list[int]:
    """`total` in `parts` whole numbers that differ by at most one, the larger ones first."""
    return [total // parts + (part < total % parts) for part in range(parts)]


def cut_at(photograph: str, file: Path, scale: float, pixels: np.ndarray, x: int, y: int, size: int) -> Crop:
    piece = np.ascontiguousarray(pixels[y : y + size, x : x + size])
    return Crop(photograph, as_text(file.name), scale, int(x), int(y), piece)
