"""Few-step DIP fits for one task, from fresh weights and from the meta-learned state, and restarts from them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dualprior import artifacts, dip, problem, reptile
from dualprior import restorers as r
from dualprior.back_projection import data_term
from dualprior.consistency import lay_data
from dualprior.device import Stopwatch
from dualprior.dip import DIPStep, Recipe
from dualprior.problem import Estimate, Problem
from dualprior.settings.dip import DIP
from dualprior.settings.hybrid_study import Meta
from dualprior.settings.restore import Hybrid
from dualprior.settings.tasks import Task
from dualprior.studies.hybrid import given

if TYPE_CHECKING:
    from dualprior.config import Config
    from dualprior.paths import Paths

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
    learned = artifacts.read_tensors(paths.meta)
    state = {name.removeprefix(head): weight.to(clean_val.device) for name, weight in learned.items() if name.startswith(head)}
    images, costs = {}, {}
    for start, begin in (("fresh", None), ("meta", state)):
        fits = {split: fitted(each, recipe, fitting, wanted.kept, begin) for split, each in (("val", val), ("test", test))}
        for step in wanted.kept:
            fit = problem.with_error(fits["test"][step], problem.spread(fits["val"][step].x, clean_val))
            level = r.start_level(test, fit, hybrid.start_scale)
            images[f"{start}/fit@{step}"] = fit.x.half()
            restarted = r.restart_at(test, fit, level, hybrid.calls, hybrid.data_weight, r.OWN)
            images[f"{start}/restart@{step}"] = restarted.x.half()
            costs |= {f"{start}/fit@{step}": fit.cost.seconds, f"{start}/restart@{step}": restarted.cost.seconds}
    artifacts.write_tensors(paths.quick(key), images)
    artifacts.write_json(paths.quick_info(key), costs)


def fitted(whole: Problem, recipe: Recipe, settings: DIP, kept: tuple[int, ...], state: dict[str, Tensor] | None) -> dict[int, Estimate]:
    """{step: the averaged output}, of one fit an image to all of y; state: where it starts, None for fresh weights."""
    seen = whole.seen
    op, y = data_term(seen.op, seen.y, settings.data_term)
    with Stopwatch(len(seen.y)) as watch:
        images = {done.step: done.average for done in _steps(whole, recipe, op, y, max(kept), state) if done.step in kept}
    seconds = watch.seconds / max(kept)
    return {step: Estimate(lay_data(seen.op, x, seen.y, seen.sigma_y), step * seconds, iterations=step) for step, x in images.items()}


def _steps(whole: Problem, recipe: Recipe, op, y: Tensor, steps: int, state: dict[str, Tensor] | None) -> Iterator[DIPStep]:
    names, size = whole.seen.names, whole.seen.size
    if state is None:
        return dip.fit_images(recipe, op, y, names, size, steps, device=y.device)
    return reptile.fit_from(state, recipe, op, y, names, size, steps)
