"""What the study's own stages start from: the problems of one task on its crops, with the default model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from dualprior.common import device, io
from dualprior.common.params import Restore
from dualprior.data.pixels import to_unit
from dualprior.data.validation import overall_rmse
from dualprior.diffusion import checkpoint
from dualprior.restoration.dip_methods import dip_stopped
from dualprior.restoration.problem import Problem, Restoration, read_problems, with_error

if TYPE_CHECKING:
    from dualprior.common.paths import Paths
    from dualprior.pipeline.config import Config


def load(config: Config, paths: Paths, key: str, images: int) -> tuple[Problem, Problem, Tensor]:
    """All validation measurements, the first `images` test measurements, and the clean validation crops [n, C, H, W]."""
    restore: Restore = config.restore
    where = device.pick()
    clean_val = to_unit(io.read_array(paths.split("val"))).to(where)
    model = checkpoint.load(paths.default.models, where)
    val, test = read_problems(paths.measurements(key), paths.dip(key), restore.seed, model, clean_val, where)
    return val, test.first(images), clean_val


def stopped_dip(val: Problem, test: Problem, clean_val: Tensor) -> Restoration:
    """The stopped DIP of the test images, its error its own estimate or that of validation images."""
    return with_error(dip_stopped(test, {}), overall_rmse(dip_stopped(val, {}).x, clean_val))
