"""The command `restore`: files and options in, restored files and what is known about them out."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageColor
from torch import Tensor

from dualprior.common import device, io
from dualprior.common.errors import UserError
from dualprior.common.errors import choices as one_of
from dualprior.common.params import DIP
from dualprior.data.pixels import to_01
from dualprior.diffusion import checkpoint
from dualprior.diffusion.checkpoint import TrainedModel
from dualprior.photograph.blur import kernel_of
from dualprior.photograph.damage import TASKS, Damage
from dualprior.photograph.picture import DEEP, Picture, check_target, read_picture, write_picture
from dualprior.photograph.restore import EFFORTS, predicted_psnr, restore

SMALLEST = 16  # side of a picture, pixels


@dataclass(frozen=True)
class Wish:
    """What was asked on the command line."""

    task: str
    output: Path | None
    noise: float | None
    scale: int
    mask: Path | None
    mask_color: str | None
    blur: str | None
    effort: str
    whole: bool
    model: str
    seed: int
    report: bool
    as_json: bool
    force: bool


def restore_files(source: Path, wish: Wish, choices_file: Path, dip: DIP) -> None:
    """Restore a picture, or every picture of a folder. Raises UserError for anything that cannot be done."""
    if wish.task not in TASKS:
        raise UserError(f"--task {wish.task} is unknown; {one_of(wish.task, TASKS)}")
    jobs = _jobs(source, wish.output)
    where = device.pick()
    model = None if wish.model == "none" else checkpoint.load(Path(wish.model), where)
    choices = io.read_json(choices_file)
    for file, target in jobs:
        _restore_one(file, target, wish, model, choices, dip, where)


def _jobs(source: Path, output: Path | None) -> list[tuple[Path, Path]]:
    """(picture, where to write it) of everything to do. Hidden files are left out."""
    if not source.is_dir():
        name = f"{source.stem}-restored{source.suffix if source.suffix.lower() in DEEP else '.png'}"
        return [(source, source.with_name(name) if output is None else output / name if output.is_dir() else output)]
    kinds = Image.registered_extensions()
    files = sorted(f for f in source.iterdir() if f.is_file() and f.suffix.lower() in kinds and not f.name.startswith("."))
    if not files:
        raise UserError(f"{source} holds no pictures; give a picture or a folder of pictures")
    target = output or source.with_name(f"{source.name}-restored")
    if target.exists() and not target.is_dir():
        raise UserError(f"{target} is a file; name a folder with -o")
    return [(file, target / f"{file.stem}.png") for file in files]


def _restore_one(file: Path, target: Path, wish: Wish, model: TrainedModel | None, choices: dict, dip: DIP, where: torch.device) -> None:
    picture = read_picture(file)
    fills_transparency = wish.task == "inpaint" and wish.mask is None and wish.mask_color is None
    check_target(target, picture.alpha is not None and not fills_transparency, wish.force)
    if min(picture.values.shape[:2]) < SMALLEST:
        raise UserError(f"{file} is {picture.values.shape[1]} x {picture.values.shape[0]} pixels; {SMALLEST} a side are needed")
    known = _known(picture, wish) if wish.task == "inpaint" else None
    y = torch.from_numpy(picture.values * 2 - 1).movedim(-1, 0)[None].to(where)
    kernel = kernel_of(wish.blur, y) if wish.task == "deblur" else None
    damage = Damage(wish.task, wish.noise, wish.scale, None if known is None else known.to(where), kernel)
    begin = time.perf_counter()
    usual = choices.get(wish.task, {})
    restored = restore(y, damage, model, dip, usual, EFFORTS[wish.effort], wish.whole, wish.seed)
    alpha = None if fills_transparency else _grown(picture.alpha, damage.factor)
    write_picture(target, Picture(to_01(restored.answer.x)[0], alpha, picture.deep, picture.beside), wish.force)
    psnr = predicted_psnr(restored.answer)
    about = {"input": str(file), "output": str(target), **restored.about, "predicted_psnr_db": None if psnr is None else round(psnr, 2),
             "seconds": round(time.perf_counter() - begin, 1)}  # fmt: skip
    if wish.report:
        from dualprior.photograph.sheet import sheet

        io.write_figure(target.with_name(f"{target.stem}-report.png"), sheet(file.name, y, restored))
    told = "" if psnr is None else f", predicted PSNR {psnr:.1f} dB{' if the noise is that' if wish.noise is None else ''}"
    print(json.dumps(about) if wish.as_json else f"{file} -> {target}: noise {about['noise']:g} of 255{told}, {about['seconds']:.0f} s")


def _known(picture: Picture, wish: Wish) -> Tensor:
    """[1, 1, H, W] of ones and zeros: what is not lost, by a mask file (white is lost), a colour, or transparency."""
    height, width = picture.values.shape[:2]
    if wish.mask is not None:
        lost = read_picture(wish.mask).values.mean(2) >= 0.5
        if lost.shape != (height, width):
            raise UserError(f"{wish.mask} is {lost.shape[1]} x {lost.shape[0]} pixels, the picture {width} x {height}; make them equal")
    elif wish.mask_color is not None:
        try:
            colour = np.array(ImageColor.getrgb(wish.mask_color)[:3]) / 255
        except ValueError:
            raise UserError(f"--mask-color {wish.mask_color} is not a colour; write it as #ff00ff or magenta") from None
        lost = (np.abs(picture.values - colour).max(2) < 1 / 255).reshape(height, width)
    elif picture.alpha is not None:
        lost = picture.alpha < 0.5
    else:
        raise UserError("--task inpaint needs to know what is lost: --mask FILE (white), --mask-color, or a transparent part")
    if lost.all() or not lost.any():
        raise UserError(f"{'all' if lost.all() else 'nothing'} of the picture is marked as lost; mend the mask")
    return torch.from_numpy(~lost).float()[None, None]


def _grown(alpha: np.ndarray | None, factor: int) -> np.ndarray | None:
    """Transparency at the size of the restored picture."""
    if alpha is None or factor == 1:
        return alpha
    image = Image.fromarray(alpha, mode="F")
    return np.asarray(image.resize((image.width * factor, image.height * factor), Image.Resampling.BICUBIC)).clip(0, 1)
