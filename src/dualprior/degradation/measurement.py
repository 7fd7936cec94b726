"""Measurements y = A x + n with the operator that made them: all that a method may know of an image."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from dualprior.common import io
from dualprior.common.errors import UserError
from dualprior.common.seeding import generator
from dualprior.degradation.operators import OPERATORS, Operator, Size, draw_random
from dualprior.degradation.task import Task


class Measurement(NamedTuple):
    op: Operator
    y: Tensor  # [n, C, h, w] in [-1, 1] units, not clipped
    sigma_y: float
    names: list[str]  # image ids
    size: Size  # of the image to restore

    def first(self, count: int) -> Measurement:
        """The first `count` images."""
        return self._replace(op=self.op[:count], y=self.y[:count], names=self.names[:count])


def measure(x: Tensor, task: Task, seed: int, name: str, images: Sequence[str]) -> dict[str, Tensor]:
    """Measurements "y" of clean images, beside the random parts of the operator ("mask" [n,1,H,W]).

    x: [n,3,H,W] in [-1, 1]; images: one id each. Mask and noise of an image come from streams of their own,
    (seed, "degrade", name, id), so they do not depend on the other images. Noise is Gaussian, not clipped, and
    falls on measured values only.
    """
    size = tuple(x.shape[-2:])
    random = draw_random(task.operator, task.settings, size, [generator(seed, "degrade", name, image, "mask") for image in images])
    op = OPERATORS[task.operator].build(task.settings, size, random)
    y = op.A(x)
    noise = torch.stack([torch.randn(y.shape[1:], generator=generator(seed, "degrade", name, image, "noise")) for image in images])
    return {"y": y + task.sigma_y * (noise if op.measured is None else op.measured * noise), **random}


def observe(tensors: Mapping[str, Tensor], task: Task, names: list[str], device: torch.device) -> Measurement:
    """What `measure` gave, as a method sees it."""
    on_device = {name: tensor.to(device) for name, tensor in tensors.items()}
    y = on_device.pop("y")
    kind, settings = OPERATORS[task.operator], task.settings
    size = kind.image_size(settings, tuple(y.shape[-2:]))
    return Measurement(kind.build(settings, size, on_device), y, task.sigma_y, names, size)


def write_measurement(folder: Path, tensors: Mapping[str, Tensor], names: Mapping[str, list[str]], task: Task) -> None:
    """tensors: of both splits, "val_y", "test_y" and the random parts; names: image ids of each split."""
    io.write_tensors(folder / "y.safetensors", tensors)
    io.write_json(folder / "images.json", {"task": task.plain, **names})


def read_measurement(folder: Path, split: str, device: torch.device) -> Measurement:
    """One split, "val" or "test", of what stage degrade wrote for a task."""
    tensors, about = io.read_tensors(folder / "y.safetensors"), io.read_json(folder / "images.json")
    own = {name.removeprefix(f"{split}_"): tensor for name, tensor in tensors.items() if name.startswith(f"{split}_")}
    return observe(own, Task.model_construct(**about["task"]), about[split], device)


def estimate_level(y: Tensor) -> Tensor:
    """The standard deviation of white Gaussian noise in every image, [n] in [-1, 1] units, from y [n, C, H, W] alone.

    The median of the finest wavelet coefficients over 0.6745 (Donoho & Johnstone 1994), mean of the channels:
    scikit-image's estimate_sigma. 0 for an image of one colour without noise.
    """
    from skimage.restoration import estimate_sigma

    if not torch.isfinite(y).all():
        raise UserError("the noise level of a measurement with values that are not finite cannot be estimated; mend the measurement")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # an image of one colour has no coefficients at all
        levels = [estimate_sigma(image, channel_axis=0, average_sigmas=True) for image in y.double().cpu().numpy()]
    return torch.tensor(np.nan_to_num(levels), dtype=y.dtype, device=y.device)
