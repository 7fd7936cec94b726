"""Where photographs of a person's own come from: a folder, or what is unpacked to one; which of them are the same picture."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from dualprior.common.errors import UserError
from dualprior.data.crops import EXTENSIONS, Photograph, as_text
from dualprior.data.pixels import read_photograph

NOT_READ = {".heic", ".heif", ".dng", ".jxl", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2"}  # pictures that Pillow does not open
SYSTEM = ("@eaDir", "__MACOSX", "$RECYCLE.BIN", "System Volume Information")  # folders that systems add
MINIATURE, SAME = (17, 16), 0.98  # pixels; correlation of miniatures from which two pictures are one. Copies as JPEG of quality 60 or of a
# third of the size have 0.997 and more, one with its margins cut off 0.987; no two of 432 photographs reach 0.89.
log = logging.getLogger(__name__)


# --- to a folder -----------------------------------------------------------------------------------------------


def folder_of(source: str, where: str, root: Path, scratch: Path) -> Path:
    """The folder of photographs of a source, unpacked below `scratch` once where it is not one.

    where: the folder, the file (archive, npz), or the name of a class of torchvision.datasets; digits need none. Raises UserError.
    """
    path = root / Path(where or "").expanduser()
    if source == "folder":
        if not path.is_dir():
            raise UserError(f"data.folder={where} is not a folder; name a folder of photographs in params.yaml")
        return path
    stamp = ""
    if source in ("archive", "npz"):
        if not path.is_file():
            raise UserError(f"data.folder={where} is not a file; with data.source={source} name one in params.yaml")
        stamp = f"{path.resolve()} {path.stat().st_size} {path.stat().st_mtime_ns}"
    target = scratch / "sources" / hashlib.sha256(f"{source} {where} {stamp}".encode("utf-8", "surrogateescape")).hexdigest()[:16]
    if not target.is_dir():
        part = target.with_name(f"{target.name}.{os.getpid()}.part")
        part.mkdir(parents=True)
        try:
            UNPACK[source](path, where, part)
            part.rename(target)
        except Exception as error:  # unpackers raise whatever a broken file makes them raise
            if target.is_dir():
                return target  # another process was quicker
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise UserError(f"data.folder={where} cannot be read as data.source={source} ({reason})") from None
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return target


def _archive(path: Path, _name: str, target: Path) -> None:
    """zip, tar and their kin; nothing is written outside the target."""
    shutil.unpack_archive(path, target, **({"format": "zip"} if path.suffix.lower() == ".zip" else {"filter": "data"}))


def _npz(path: Path, _name: str, target: Path) -> None:
    """Every array of images: uint8 [N, H, W] or [N, H, W, 3]."""
    with np.load(path, allow_pickle=False) as arrays:
        for number, array in enumerate(arrays.values()):  # not by their names, which may be paths
            if array.dtype == np.uint8 and (array.ndim == 3 or (array.ndim == 4 and array.shape[3] == 3)):
                _save(array, target, f"array{number}")
    if not any(target.iterdir()):
        raise ValueError("it holds no array of images, uint8 [N, H, W] or [N, H, W, 3]")


def _torchvision(_path: Path, name: str, target: Path) -> None:
    """The training images of a set, which torchvision downloads."""
    from torchvision import datasets

    if name not in datasets.__all__:
        raise ValueError("torchvision.datasets has no such class; one is CIFAR10")
    images = getattr(datasets, name)(target.parent / "torchvision", download=True)
    _save((np.asarray(sample[0].convert("RGB")) for sample in images), target, name)


def _digits(_path: Path, _name: str, target: Path) -> None:
    """scikit-learn's 1,797 digits of 8 pixels, enlarged to 32."""
    from sklearn.datasets import load_digits

    small = [Image.fromarray(np.uint8(digit * 15.9375)) for digit in load_digits().images]
    _save((np.asarray(digit.resize((32, 32), Image.Resampling.BICUBIC)) for digit in small), target, "digit")


def _save(images, target: Path, name: str) -> None:
    for number, pixels in enumerate(images):
        Image.fromarray(pixels).save(target / f"{name}_{number:06d}.png", compress_level=1)


UNPACK: dict[str, Callable[[Path, str, Path], None]] = {"archive": _archive, "npz": _npz, "torchvision": _torchvision, "digits": _digits}


# --- which files, and which are one picture ----------------------------------------------------------------------


def survey(folder: Path, measure: Callable[[str, Path, np.ndarray], Photograph]) -> list[Photograph]:
    """Every usable photograph below `folder`, named by its path in it; the copies of a picture are one photograph.

    measure: (name, file, pixels) to a Photograph, or UserError. What is left out is named in the log, all of it.
    """
    usable, small, left_out = [], [], []
    for file, name in _files(folder, left_out):
        try:
            pixels = read_photograph(file)
            photograph = measure(name, file, pixels)
        except UserError as error:
            left_out.append(str(error))
            continue
        if photograph.capacity:
            usable.append(photograph)
            small.append(miniature(pixels))
        else:
            left_out.append(f"{file} has no piece with contrast")
    for reason in left_out:
        log.warning("skipped: %s", reason)
    found = _joined(usable, small)
    log.info("%s: %d photographs of %d files, %d files skipped", folder, len(found), len(usable), len(left_out))
    return found


def _files(folder: Path, left_out: list[str]) -> Iterator[tuple[Path, str]]:
    """(file, name) of the pictures below a folder; links are followed, hidden and system folders are not."""
    seen, hidden, other = set(), 0, Counter()
    for here, below, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(here)
        if real in seen:  # a link to a folder above
            below.clear()
            continue
        seen.add(real)
        hidden += sum(name.startswith(".") or name in SYSTEM for name in below)
        below[:] = sorted(name for name in below if not (name.startswith(".") or name in SYSTEM))
        for name in sorted(files):
            file = Path(here) / name
            ending = file.suffix.lower()
            if ending in EXTENSIONS and not name.startswith("."):
                yield file, as_text(file.relative_to(folder))
            elif ending in NOT_READ:
                other[ending] += 1
    left_out += [f"{count} files {ending}, which are not read; save them as PNG or JPEG" for ending, count in sorted(other.items())]
    if hidden:
        left_out.append(f"{hidden} hidden or system folders")


def miniature(pixels: np.ndarray) -> np.ndarray:
    """A picture in 272 grey values of mean 0 and length 1. Size and compression hardly change it."""
    small = Image.fromarray(pixels).convert("L").resize(MINIATURE, Image.Resampling.BOX)
    values = np.asarray(small, dtype=np.float32).ravel()
    values = values - values.mean()
    return values / max(float(np.linalg.norm(values)), 1e-6)


def _joined(photographs: list[Photograph], small: list[np.ndarray]) -> list[Photograph]:
    """Copies joined to the one of most crops, in the order in which they were found."""
    rows = np.array(small)
    files, free = {}, np.ones(len(photographs), dtype=bool)
    for index in sorted(range(len(photographs)), key=lambda index: -photographs[index].capacity):
        if not free[index]:
            continue
        copies = np.flatnonzero(free & (rows @ rows[index] >= SAME))
        free[[index, *copies]] = False
        copies = copies[copies != index]
        for copy in copies:
            log.warning("%s is a copy of %s; both stay in one split", photographs[copy].name, photographs[index].name)
        files[index] = sum((photographs[copy].files for copy in copies), photographs[index].files)
    return [replace(photographs[index], files=files[index]) for index in sorted(files)]
