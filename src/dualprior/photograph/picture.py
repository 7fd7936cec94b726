"""A picture file: its pixels in full depth, and all that is kept beside them when it is written again."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import imagecodecs
import numpy as np
import tifffile
from PIL import Image

from dualprior.common.errors import UserError
from dualprior.common.io import replacing
from dualprior.data.pixels import ORIENTATION, orientation, upright

DEEP = (".png", ".tif", ".tiff")  # formats of 16 bits
JPEG = (".jpg", ".jpeg", ".jpe", ".jfif")
OPAQUE = (*JPEG, ".bmp", ".ppm", ".pgm")  # formats without transparency
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Picture:
    values: np.ndarray  # float32 [H, W, C] in [0, 1], upright; C = 1 (grey) or 3
    alpha: np.ndarray | None = None  # float32 [H, W] in [0, 1]; 1 is opaque
    deep: bool = False  # 16 bits a value
    beside: dict = field(default_factory=dict)  # icc_profile and exif, as Pillow saves them


def read_picture(path: Path) -> Picture:
    """Any picture file that Pillow opens, of 8 or 16 bits; the first frame of an animation.

    Raises UserError, one line, for a file that is missing or cannot be decoded in full.
    """
    try:
        values, turned, beside = _deep_tiff(Path(path)) or _decoded(Path(path))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; give a picture or a folder of pictures") from None
    except Exception as error:  # decoders raise whatever a broken file makes them raise
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{path} cannot be read as a picture ({reason}); mend it or leave it out") from None
    deep = values.dtype == np.uint16
    values = upright(values if values.ndim == 3 else values[..., None], turned).astype(np.float32) / (65535 if deep else 255)
    colours = 1 if values.shape[2] <= 2 else 3
    alpha = values[..., colours] if values.shape[2] > colours else None
    return Picture(np.ascontiguousarray(values[..., :colours]), alpha, deep, beside)


def check_target(path: Path, see_through: bool, overwrite: bool) -> None:
    """Raises UserError for an unknown ending, a format without transparency where there is some, or a file that exists."""
    ending = path.suffix.lower()
    if path.exists() and not overwrite:
        raise UserError(f"{path} exists; give another name with -o, or --force to replace it")
    if ending not in Image.registered_extensions():
        raise UserError(f"{path}: '{ending}' is not a kind of picture; let the name end with .png, .jpg or .tif")
    if see_through and ending in OPAQUE:
        raise UserError(f"{path}: {ending} holds no transparency; let the name end with .png")


def write_picture(path: Path, picture: Picture, overwrite: bool = False) -> None:
    """Write in the format that the name ends with; 16 bits, transparency, colour profile and EXIF data are kept where it can.

    Raises UserError as `check_target` does.
    """
    path, ending = Path(path), Path(path).suffix.lower()
    check_target(path, picture.alpha is not None, overwrite)
    if picture.deep and ending not in DEEP:
        log.warning("%s: %s holds 8 bits a value, the original has 16", path, ending)
    planes = picture.values if picture.alpha is None else np.concatenate([picture.values, picture.alpha[..., None]], axis=2)
    top = 65535 if picture.deep and ending in DEEP else 255
    pixels = np.round(planes.clip(0, 1) * top).astype(np.uint16 if top > 255 else np.uint8)
    pixels = pixels[..., 0] if pixels.shape[2] == 1 else pixels
    with replacing(path) as file:
        if top > 255:
            _write_deep(file, ending, pixels)
        else:
            quality = {"quality": 95, "subsampling": 0} if ending in JPEG else {}
            Image.fromarray(pixels).save(file, format=Image.registered_extensions()[ending], **quality, **picture.beside)


def _decoded(path: Path) -> tuple[np.ndarray, int, dict]:
    """Pixels, orientation, and what is kept beside them."""
    with Image.open(path) as image:
        png = path.read_bytes() if image.format == "PNG" else None
        deep = png is not None and png[24] == 16  # the header's bit depth; Pillow would cut it to 8
        values = imagecodecs.png_decode(png) if deep else _values(image)
        return values, orientation(image), _beside(image)


def _deep_tiff(path: Path) -> tuple[np.ndarray, int, dict] | None:
    """The same of a TIFF file with 16 bits a value, which Pillow opens in grey only; None for all others."""
    with open(path, "rb") as file:
        if file.read(4) not in (b"II*\0", b"MM\0*"):
            return None
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages[0]
        orientation = page.tags.get(274)
        return (page.asarray(), int(orientation.value) if orientation else 1, {}) if page.dtype == np.uint16 else None


def _write_deep(file: BinaryIO, ending: str, pixels: np.ndarray) -> None:
    """pixels: uint16 [H, W] or [H, W, C]."""
    if ending == ".png":
        file.write(imagecodecs.png_encode(pixels))
        return
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    kind = {"photometric": "rgb" if channels >= 3 else "minisblack", "planarconfig": None if channels == 1 else "contig"}
    tifffile.imwrite(file, pixels, extrasamples=["unassalpha"] if channels in (2, 4) else None, **kind)


def _values(image: Image.Image) -> np.ndarray:
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        raise ValueError(f"its pixels are of kind {image.mode}, neither 8 nor 16 bits")
    see_through = "A" in image.getbands() or "transparency" in image.info
    grey = image.mode in ("1", "L", "LA", "La")
    return np.asarray(image.convert(("LA" if see_through else "L") if grey else ("RGBA" if see_through else "RGB")))


def _beside(image: Image.Image) -> dict:
    """Colour profile, and EXIF data with the orientation set to upright; what is damaged is left out."""
    kept = {} if "icc_profile" not in image.info or image.mode == "CMYK" else {"icc_profile": image.info["icc_profile"]}
    try:
        exif = image.getexif()
        if len(exif):
            exif[ORIENTATION] = 1
            kept["exif"] = exif.tobytes()
    except Exception:
        log.warning("the EXIF data are damaged and are left out")
    return kept
