"""Few-step DIP fits for one task, from fresh weights and from the meta-learned state, and restarts from them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from dualprior.degradation.data_fidelity import data_term
from studies.hybrid import given, reptile
from studies.hybrid.params import Meta
from torch import Tensor

from dualprior.common import io
from dualprior.common.device import Stopwatch
from dualprior.common.params import DIP, Hybrid, Task
from dualprior.degradation.data_consistency import project_on_exact_data
from dualprior.dip import fit as dip
from dualprior.dip.fit import DIPStep, Recipe
from dualprior.restoration import diffusion_methods as r
from dualprior.restoration import problem
from dualprior.restoration.problem import Problem, Restoration

if TYPE_CHECKING:
    from dualprior.common.config import Config

    from dualprior.common.paths import Paths

PARAMS = ("meta", "dip", "restore", "hybrid", "tasks.{key}")


@torch.no_grad()
def run(config: Config, paths: Paths, key: str | None = None) -> None:
    """key: the task."""
    wanted: Meta = config.meta
    fitting: DIP = config.dip
    hybrid: Hybrid = config.hybrid
    task: Task = config.task(key)
    test, val, clean_val = given.load(config, paths, key, wanted.images)
    recipe = Recipe.of(fitting.recipe(task.operator))
    head = f"{recipe.input_cell}/"
    learned = io.read_tensors(paths.meta)
    state = {name.removeprefix(head): weight.to(clean_val.device) for name, weight in learned.items() if name.startswith(head)}
    images, costs = {}, {}
    for start, begin in (("fresh", None), ("meta", state)):
        fits = {split: fitted(each, recipe, fitting, wanted.kept, begin) for split, each in (("val", val), ("test", test))}
        for step in wanted.kept:
            fit = problem.with_error(fits["test"][step], problem.overall_rmse(fits["val"][step].x, clean_val))
            level = r.start_level(test, fit, hybrid.start_scale)
            images[f"{start}/fit@{step}"] = fit.x.half()
            restarted = r.restart_at(test, fit, level, hybrid.calls, hybrid.data_weight, r.OWN)
            images[f"{start}/restart@{step}"] = restarted.x.half()
            costs |= {f"{start}/fit@{step}": fit.cost.seconds, f"{start}/restart@{step}": restarted.cost.seconds}
    io.write_tensors(paths.quick(key), images)
    io.write_json(paths.quick_info(key), costs)


def fitted(whole: Problem, recipe: Recipe, settings: DIP, kept: tuple[int, ...], state: dict[str, Tensor] | None) -> dict[int, Restoration]:
    """{step: the averaged output}, of one fit an image to all of y; state: where it starts, None for fresh weights."""
    measured = whole.measured
    op, y = data_term(measured.op, measured.y, settings.data_term)
    with Stopwatch(len(measured.y)) as watch:
        images = {done.step: done.average for done in _steps(whole, recipe, op, y, max(kept), state) if done.step in kept}
    seconds = watch.seconds / max(kept)
    return {step: Restoration(project_on_exact_data(measured.op, x, measured.y, measured.sigma_y), step * seconds, iterations=step) for step, x in images.items()}


def _steps(whole: Problem, recipe: Recipe, op, y: Tensor, steps: int, state: dict[str, Tensor] | None) -> Iterator[DIPStep]:
    names, size = whole.measured.names, whole.measured.size
    if state is None:
        return dip.fit_images(recipe, op, y, names, size, steps, device=y.device)
    return reptile.fit_from(state, recipe, op, y, names, size, steps)
