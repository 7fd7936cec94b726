"""The measurements of one split of one task, with the operator that made them: all a restorer may know of a test image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from dualprior import artifacts
from dualprior.operators import Operator, make_operator
from dualprior.settings.tasks import Task

if TYPE_CHECKING:
    from dualprior.paths import Paths


class Observation(NamedTuple):
    op: Operator
    y: Tensor  # [n, C, h, w] in [-1, 1] units, not clipped
    sigma_y: float
    names: list[str]  # image ids
    size: tuple[int, int]  # of the image to restore

    def first(self, count: int) -> Observation:
        """The first `count` images."""
        return self._replace(op=self.op[:count], y=self.y[:count], names=self.names[:count])


def read(paths: Paths, key: str, task: Task, split: str, device: torch.device) -> Observation:
    """split: "val" or "test". Raises UserError if the measurement or the manifest is missing."""
    tensors = artifacts.read_tensors(paths.measurement(key))
    manifest = artifacts.read_table(paths.manifest)
    names = list(manifest[manifest["split"] == split].sort_values("index")["image"])
    return observe(tensors, split, task, names, device)


def observe(tensors: Mapping[str, Tensor], split: str, task: Task, names: list[str], device: torch.device) -> Observation:
    """The tensors of a measurement file as an observation: "<split>_y" and, for masks, "<split>_mask"."""
    y = tensors[f"{split}_y"].to(device)
    mask = tensors.get(f"{split}_mask")
    scale = task.factor if task.operator == "block_average" else 1
    size = (y.shape[-2] * scale, y.shape[-1] * scale)
    mask = mask.to(device) if mask is not None else None
    op = make_operator(task.operator, shape=size, factor=task.factor, blur_std=task.blur_std, mask=mask)
    return Observation(op, y, task.sigma_y, names, size)
