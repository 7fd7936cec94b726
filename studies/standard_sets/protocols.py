"""The published protocols of the field's test sets, as trials of one damaged image each."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from skimage.color import rgb2ycbcr
from torch import Tensor

from dualprior.common.errors import UserError
from dualprior.common.seeding import ImageNoise, generator
from dualprior.data.pixels import to_01
from dualprior.photograph.damage import Damage
from dualprior.photograph.picture import read_picture
from studies.standard_sets.params import Protocols

SHAVED = 4  # pixels at every side, in super-resolution
# Half of the pixels lost, dB: Deep Image Prior and Papyan et al. 2017, both from Table 1 of Ulyanov et al. 2018
HALF_LOST = {
    "01": ("cameraman", 29.80, 27.90), "02": ("house", 39.16, 34.58), "03": ("peppers", 33.05, 31.11),
    "08": ("lena", 36.16, 35.04), "09": ("barbara", 32.22, 28.14), "10": ("boat", 33.06, 31.44),
    "11": ("man", 32.20, 31.92), "12": ("couple", 32.52, 31.18),
}  # fmt: skip


class Trial(NamedTuple):
    image: str
    y: Tensor  # [1, C, h, w] in [-1, 1]
    damage: Damage
    psnr: Callable[[Tensor], float]  # of a restoration, by the protocol's measure
    beside: dict[str, float] = {}  # published values, and a bicubic enlargement


def sets_folder() -> Path:
    """DUALPRIOR_SETS, a folder that holds cset9, set12_gray, selfexsr_set5_x4 and selfexsr_set14_x4 as they are published."""
    folder = Path(os.environ.get("DUALPRIOR_SETS") or "../shared/data/sets")
    if not (folder / "cset9").is_dir():
        raise UserError(f"DUALPRIOR_SETS={folder} does not hold the standard sets (cset9, set12_gray, ...); name their folder")
    return folder


def _read(file: Path) -> Tensor:
    return torch.from_numpy(read_picture(file).values * 2 - 1).movedim(-1, 0)[None]


def _psnr(x: Tensor, clean: Tensor) -> float:
    return float(-10 * np.log10(np.square(to_01(x).astype(np.float64) - to_01(clean)).mean()))


def denoise(sets: Path, settings: Protocols) -> Iterator[Trial]:
    for file in sorted((sets / "cset9").iterdir()):
        x = _read(file)
        y = (x + 2 * settings.noise / 255 * ImageNoise(settings.seed, "standard-sets", [file.stem])(x)).clamp(-1, 1)
        yield Trial(file.stem, y, Damage("denoise", settings.noise), lambda out, x=x: _psnr(out, x))


def inpaint(sets: Path, settings: Protocols) -> Iterator[Trial]:
    for number, (name, dip, papyan) in HALF_LOST.items():
        x = _read(sets / "set12_gray" / f"{number}.png")
        known = torch.zeros(x[0, 0].numel())
        places = torch.randperm(len(known), generator=generator(settings.seed, "standard-sets", name))
        known[places[: round(settings.keep * len(known))]] = 1
        known = known.view(1, 1, *x.shape[-2:])
        yield Trial(
            name,
            known * x,
            Damage("inpaint", known=known),
            lambda out, x=x: _psnr(out, x),
            {"published DIP": dip, "published Papyan": papyan},
        )


def enlarge(folder: Path, settings: Protocols) -> Iterator[Trial]:
    for large in sorted(folder.glob("*_HR.png")):
        small = large.with_name(large.name.replace("_HR", "_LR"))
        x, y = _read(large), _read(small)
        bicubic = np.asarray(Image.open(small).convert("RGB").resize(Image.open(large).size, Image.Resampling.BICUBIC))
        simple = torch.from_numpy(bicubic / 127.5 - 1).movedim(-1, 0)[None].float()
        measure = lambda out, x=x: _luma_psnr(out, x)  # noqa: E731
        yield Trial(large.stem[:7], y, Damage("sr", scale=settings.scale), measure, {"bicubic": measure(simple)})


def _luma_psnr(out: Tensor, clean: Tensor) -> float:
    """On luma of 8-bit images, a frame shaved off."""
    inside = slice(SHAVED, -SHAVED)
    luma = [rgb2ycbcr(np.round(to_01(x.expand(-1, 3, -1, -1))[0] * 255) / 255)[inside, inside, 0] / 255 for x in (out, clean)]
    return float(-10 * np.log10(np.square(luma[0] - luma[1]).mean()))


PROTOCOLS: dict[str, Callable[[Path, Protocols], Iterator[Trial]]] = {
    "denoise": denoise,
    "inpaint": inpaint,
    "sr_set5": lambda sets, settings: enlarge(sets / "selfexsr_set5_x4", settings),
    "sr_set14": lambda sets, settings: enlarge(sets / "selfexsr_set14_x4", settings),
}
