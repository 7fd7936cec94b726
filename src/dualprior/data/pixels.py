"""Pixels: photograph files to uint8 RGB, and uint8 to and from the [-1, 1] tensors of the mathematics."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from dualprior.common.errors import UserError

if TYPE_CHECKING:
    import torch

ORIENTATION = 0x0112  # EXIF tag


def to_unit(pixels: np.ndarray) -> torch.Tensor:
    """uint8 [N,H,W,3] to float32 [N,3,H,W] in [-1, 1]: 0 -> -1, 255 -> 1."""
    import torch  # here, as stages that only judge do without it and start seconds sooner

    return torch.from_numpy(pixels.astype(np.float32)).permute(0, 3, 1, 2).contiguous() / 127.5 - 1.0


def to_uint8(x: torch.Tensor | np.ndarray) -> np.ndarray:
    """[N,3,H,W] in [-1, 1] to uint8 [N,H,W,3], clamped and rounded to nearest; the inverse of `to_unit`."""
    return np.round(to_01(x) * 255.0).astype(np.uint8)


def to_01(x: torch.Tensor | np.ndarray) -> np.ndarray:
    """[N,3,H,W] in [-1, 1] to float32 [N,H,W,3] in [0, 1], clamped and not quantised (what metrics see)."""
    values = x.astype(np.float32) if isinstance(x, np.ndarray) else x.detach().float().cpu().numpy()
    unit = (values.clip(-1.0, 1.0) + 1.0) / 2.0
    return np.ascontiguousarray(unit.transpose(0, 2, 3, 1))


def pixels_01(pixels: np.ndarray) -> np.ndarray:
    """uint8 [N,H,W,3] to float32 of the same shape in [0, 1]."""
    return pixels.astype(np.float32) / 255.0


def read_photograph(path: Path) -> np.ndarray:
    """Any image file Pillow decodes, upright, as uint8 RGB [H,W,3]; the first frame of an animation.

    16-bit values are divided by 257, floats are taken as [0, 1], transparency is laid over white, EXIF orientation
    is applied. Raises UserError, one line, for anything that cannot be decoded in full.
    """
    try:
        with Image.open(path) as image:
            return np.ascontiguousarray(upright(np.asarray(_rgb(image)), orientation(image)))
    except Exception as error:  # decoders raise whatever a broken file makes them raise, not one family of errors
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{path} cannot be read as an image ({reason}); mend it or remove it") from None


def orientation(image: Image.Image) -> int:
    """EXIF's, 1 (upright) to 8; 1 where the metadata are damaged, as the pixels may be good."""
    try:
        found = int(image.getexif().get(ORIENTATION, 1))
    except Exception:  # whatever damaged metadata make the decoder raise
        return 1
    return found if 1 <= found <= 8 else 1


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """[H, W, C] as EXIF's orientation says that it is to be seen."""
    turned = pixels.swapaxes(0, 1) if orientation >= 5 else pixels
    down, right = orientation in (3, 4, 7, 8), orientation in (2, 3, 6, 7)  # which axes run backwards
    return turned[:: -1 if down else 1, :: -1 if right else 1]


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith(("I", "F")):
        return _deep(np.asarray(image)).convert("RGB")
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def _deep(values: np.ndarray) -> Image.Image:
    """One channel of 16 bits, or of floats in [0, 1], to 8 bits."""
    top = 1.0 if values.dtype.kind == "f" else 65535.0
    low, high = float(values.min()), float(values.max())
    if not (low >= 0.0 and high <= top):
        raise ValueError(f"its values span {low:g} to {high:g}, outside 0 to {top:g}")
    return Image.fromarray(np.round(values * (255.0 / top)).astype(np.uint8))
