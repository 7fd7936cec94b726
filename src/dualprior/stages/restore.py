"""Stage: restore the test images of one task with every method of the catalogue.

Every setting is chosen on validation images; the only clean images this stage reads are those. The clean test images
are not among its dependencies.
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dualprior import artifacts, device, pretrained, problem
from dualprior.dip import Recipe
from dualprior.images import to_unit
from dualprior.methods import HYBRID, PARTS, Method, catalogue
from dualprior.pretrained import Pretrained
from dualprior.problem import CoupledSettings, Estimate, Problem, mean_psnr
from dualprior.settings.dip import DIP
from dualprior.settings.restore import Coupled, Hybrid, Restore
from dualprior.settings.tasks import Task

if TYPE_CHECKING:
    from dualprior.config import Config
    from dualprior.paths import Paths

PARAMS = ("restore", "hybrid", "dip", "tasks.{key}")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Restored:
    """Every method of the catalogue on one task."""

    labels: dict[str, str]  # {method: its name for readers}
    test: dict[str, Estimate]
    val: dict[str, Estimate]


@torch.no_grad()
def run(config: Config, paths: Paths, key: str | None = None) -> None:
    """key: the task."""
    settings: Restore = config.restore
    task: Task = config.task(key)
    model = pretrained.load(paths, device.pick())
    write(paths, key, settings.seed, restore(paths, key, task, settings, config.hybrid, config.dip, model))


def restore(
    paths: Paths, key: str, task: Task, settings: Restore, hybrid: Hybrid, dip: DIP, model: Pretrained, images: int | None = None
) -> Restored:
    """key: the task; images: only the first so many test images."""
    where = device.pick()
    clean = to_unit(artifacts.read_array(paths.val)).to(where)
    val, test = (problem.load(paths, key, task, split, settings.seed, model, where) for split in ("val", "test"))
    test = test if images is None else problem.first(test, images)
    few_val, few_test = (problem.first(whole, settings.full.images) for whole in (val, test))
    coupled = coupled_settings(hybrid.coupled, dip, task, val, clean)
    _warm_up(test)
    done_val, done = {}, {}
    methods = catalogue(val, settings, hybrid, coupled)
    for name, method in methods.items():
        if method.few:
            best = choose(method, few_val, done_val, clean[: settings.full.images])
            _warm_up(few_test)
            done[name] = replace(method.run(few_test, done, **best.setting), setting=best.setting)
            continue
        best = choose(method, val, done_val, clean)
        expected = problem.spread(best.x, clean)  # one number, from validation images
        done_val[name] = problem.with_error(best, expected)
        done[name] = problem.with_error(replace(method.run(test, done, **best.setting), setting=best.setting), expected)
        log.info("%s: %s chose %s, %.2f dB on validation", key, name, best.setting or "nothing", mean_psnr(best.x, clean))
    return Restored({name: method.label for name, method in methods.items()}, done, done_val)


def _warm_up(given: Problem) -> None:
    """One call at the shapes that are about to be timed."""
    given.denoise(given.blank(), 1.0)


def coupled_settings(coupled: Coupled, dip: DIP, task: Task, val: Problem, clean: Tensor) -> CoupledSettings:
    """The DIP's settings with the denoiser's; the expected error at each snapshot comes from validation images."""
    errors = [float(problem.spread(x, clean)) for x in val.fits.snapshots]
    expected = tuple(zip(val.fits.steps, errors, strict=True))
    recipe = Recipe.of(dip.recipe(task.operator))
    return CoupledSettings(**coupled.model_dump(), recipe=recipe, data_term=dip.data_term, expected_error=expected)


def choose(method: Method, val: Problem, past: dict[str, Estimate], clean: Tensor) -> Estimate:
    """What the method learns from validation images, or the best of its settings by mean PSNR there, round after round."""
    if method.learn is not None:
        setting = method.learn(past, clean)
        return replace(method.run(val, past, **setting), setting=setting)
    best, best_score = None, float("-inf")
    held: dict = {}
    for values in method.rounds:
        for setting in _combinations({**{k: [v] for k, v in held.items()}, **values}):
            if best is not None and setting == best.setting:
                continue
            estimate = replace(method.run(val, past, **setting), setting=setting)
            score = mean_psnr(estimate.x, clean)
            if score > best_score:
                best, best_score = estimate, score
        held = best.setting
    return best


def _combinations(values: dict[str, list]) -> Iterator[dict]:
    for row in itertools.product(*values.values()):
        yield dict(zip(values, row, strict=True))


def write(paths: Paths, key: str, seed: int, restored: Restored) -> None:
    """The restored test images, and of what is blended the validation images too, for the ablation of the blend."""
    images = {name: e.x.float() for name, e in restored.test.items()}
    images |= {f"val_{name}": restored.val[name].x.float() for name in (*PARTS, HYBRID) if name in restored.val}
    artifacts.write_tensors(paths.restored(key), images)
    rows = {name: {"label": restored.labels[name], **asdict(e.cost)} for name, e in restored.test.items()}
    choices = {name: e.setting for name, e in restored.test.items() if e.setting}
    artifacts.write_json(paths.restored_info(key), {"seed": seed, "methods": rows, "choices": choices})
