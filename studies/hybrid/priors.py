"""The diffusion models of the study, by name, and the problems that their restorations start from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from dualprior.common import device, io
from dualprior.data.pixels import to_unit
from dualprior.diffusion import checkpoint
from dualprior.restoration.problem import Problem, read_problems
from studies.hybrid.params import FOREIGN, FULL

if TYPE_CHECKING:
    from dualprior.common.paths import Paths


def load(paths: Paths, prior: str) -> checkpoint.TrainedModel:
    """The model trained to the end ("full"), the one trained on other images ("foreign"), or one kept on the way: its steps."""
    folder = {FULL: paths.models, FOREIGN: paths.inside(FOREIGN).models}.get(prior)
    return checkpoint.load(paths.kept_model(int(prior)) if folder is None else folder, device.pick())


def problems(paths: Paths, task: str, prior: str, seed: int, validation: int, images: int) -> tuple[Problem, Problem, Tensor]:
    """The first so many validation and test measurements of a task, and those clean validation crops [n, C, H, W]."""
    where = device.pick()
    clean = to_unit(io.read_array(paths.split("val"))).to(where)
    val, test = read_problems(paths.measurements(task), paths.dip(task), seed, load(paths, prior), where)
    return val.first(validation), test.first(images), clean[:validation]
