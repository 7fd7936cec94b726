"""short_fits: DIP fits of few steps from fresh weights and from a Reptile initialisation, and restarts from them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dualprior.common import device, io
from dualprior.common.device import Stopwatch
from dualprior.common.params import Restore
from dualprior.common.progress import track
from dualprior.data.pixels import to_unit
from dualprior.degradation.data_consistency import project_on_exact_data
from dualprior.dip import fit as dip
from dualprior.dip.fit import DIPStep
from dualprior.restoration import diffusion_methods as diffusion
from dualprior.restoration.problem import Problem, Restoration, overall_rmse, with_error
from studies.hybrid import problems, reptile
from studies.hybrid.params import Reptile

if TYPE_CHECKING:
    from dualprior.common.paths import Paths
    from dualprior.pipeline.config import Config

PARAMS = ("reptile", "restore", "tasks.{key}")


@torch.no_grad()
def run(config: Config, paths: Paths, key: str) -> None:
    """key: the task; its initialisation is learned first, on the default experiment's training patches."""
    wanted: Reptile = config.reptile
    restore: Restore = config.restore
    val, test, clean_val = problems.load(config, paths, key, wanted.images)
    images, costs = {}, {}
    for start, state in (("fresh", None), ("reptile", learned(wanted, test, to_unit(io.read_array(paths.default.split("train")))))):
        fits = {split: fitted(each, wanted.kept, state) for split, each in (("val", val), ("test", test))}
        for step in wanted.kept:
            fit = with_error(fits["test"][step], overall_rmse(fits["val"][step].x, clean_val))
            level = diffusion.start_level(test, fit, 1.0)
            restarted = diffusion.restart_at(test, fit, level, level, restore.restart.calls[-1], restore.data_weight)
            images |= {f"{start}/fit@{step}": fit.x.half(), f"{start}/restart@{step}": restarted.x.half()}
            costs |= {f"{start}/fit@{step}": fit.cost.seconds, f"{start}/restart@{step}": restarted.cost.seconds}
    io.write_tensors(paths.folder("short_fits") / key / "images.safetensors", images)
    io.write_json(paths.folder("short_fits") / key / "seconds.json", costs)


def learned(wanted: Reptile, given: Problem, images: Tensor) -> reptile.State:
    arguments = {"outer": wanted.outer, "inner": wanted.inner, "batch": wanted.batch, "rate": wanted.rate, "noise": 2 * wanted.noise / 255}
    for done in track(reptile.learn(given.fits.recipe, images.to(device.pick()), **arguments), "Reptile", wanted.outer):
        pass
    return done.state


def fitted(whole: Problem, kept: tuple[int, ...], state: reptile.State | None) -> dict[int, Restoration]:
    """{step: the averaged output}, of one fit an image to all of y; state: where it starts, None for fresh weights."""
    measured = whole.measured
    with Stopwatch(len(measured.y)) as watch:
        images = {done.step: done.average for done in _steps(whole, max(kept), state) if done.step in kept}
    seconds = watch.seconds / max(kept)
    exact = {step: project_on_exact_data(measured.op, x, measured.y, measured.sigma_y) for step, x in images.items()}
    return {step: Restoration(x, step * seconds, dip_passes=step) for step, x in exact.items()}


def _steps(whole: Problem, steps: int, state: reptile.State | None) -> Iterator[DIPStep]:
    measured, recipe = whole.measured, whole.fits.recipe
    op, y = measured.op.fit_target(measured.y)
    if state is None:
        return dip.fit_images(recipe, op, y, measured.names, measured.size, steps, device=y.device)
    return reptile.fit_from(state, recipe, op, y, measured.names, measured.size, steps)
