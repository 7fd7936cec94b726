"""Stage: fit a Deep Image Prior to every measurement of one task, all images in one batch.

Reads measurements only, never a clean image and never the diffusion model. Every measurement is split twice
(`witness`), two fits run side by side, their mean is what is kept, and the running estimate of the mean's error says
when to stop. Where the data are exact they are laid over every image that is kept, as the diffusion methods do.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pandas as pd
import torch
from torch import Tensor
from tqdm.auto import tqdm

from dualprior import artifacts, device, dip, observation, pair
from dualprior.back_projection import data_term
from dualprior.consistency import lay_data
from dualprior.device import Stopwatch
from dualprior.observation import Observation
from dualprior.seeding import ImageNoise
from dualprior.settings.dip import DIP
from dualprior.settings.tasks import Task
from dualprior.stopping import Pick
from dualprior.witness import Witness, coupled_pair

if TYPE_CHECKING:
    from dualprior.config import Config
    from dualprior.paths import Paths

PARAMS = ("dip", "tasks.{key}")
log = logging.getLogger(__name__)


def run(config: Config, paths: Paths, key: str | None = None) -> None:
    settings: DIP = config.dip
    task: Task = config.task(key)
    where = device.pick()
    tensors, traces, info = {}, [], {"steps": dip.snapshot_steps(settings.steps, settings.snapshots)}
    for name in ("val", "test"):
        seen = observation.read(paths, key, task, name, where)
        result = fit_measurement(seen, task, settings, info["steps"])
        tensors[f"{name}_snapshots"] = torch.stack(result.snapshots).half()
        tensors[f"{name}_stopped"] = result.stopped.half()
        info[name] = {
            "stop_step": result.pick.step.tolist(),
            "decided_step": result.pick.known.tolist(),
            "error": None if result.error is None else result.error.tolist(),
            "seconds_per_step": result.seconds_per_step,
        }
        traces.append(pd.DataFrame(result.trace).assign(split=name))
        log.info("%s: %d %s images, %.1f ms a step and image", key, len(seen.y), name, 1e3 * result.seconds_per_step)
    info["seconds_per_step"] = info["test"]["seconds_per_step"]
    artifacts.write_tensors(paths.dip(key), tensors)
    artifacts.write_json(paths.dip_info(key), info)
    columns = ["split", "image", "step", "loss", "error_estimate"]
    artifacts.write_table(paths.dip_trace(key), pd.concat(traces)[columns])


@dataclass
class FitResult:
    pick: Pick
    seconds_per_step: float = 0.0  # wall seconds of one step of both fits of one image, the judges' included
    snapshots: list[Tensor] = field(default_factory=list)  # [n, C, H, W] each, on the CPU
    trace: list[dict] = field(default_factory=list)
    stopped: Tensor | None = None  # [n, C, H, W], the pick with exact data laid over it
    error: Tensor | None = None  # [n], its estimated RMSE, where the judges see the whole image


def fit_measurement(seen: Observation, task: Task, settings: DIP, snapshot_steps: Sequence[int] = ()) -> FitResult:
    """Fit all images of one split of a task by the recipe for its operator, judged by the coupled pair."""
    noise = ImageNoise(settings.seed, "witness", seen.names)
    judges = coupled_pair(seen.op, seen.y, seen.sigma_y, settings.split_alpha, noise)
    return fit(seen, judges, settings, dip.Recipe.of(settings.recipe(task.operator)), snapshot_steps)


def fit(seen: Observation, judges: Witness, settings: DIP, recipe: dip.Recipe, snapshot_steps: Sequence[int]) -> FitResult:
    """Fit all images of one split twice; the second fits are to the other part, by networks and inputs of their own."""
    count = len(seen.y)
    op, y = data_term(seen.op[pair.twice(count)], judges.y, settings.data_term)
    steps = dip.fit_images(recipe, op, y, pair.twins(seen.names), seen.size, settings.steps, device=seen.y.device, keep=judges.keep)
    # exact data hold no noise to be fitted: late costs less than early, when two fits agree as both are still flat
    patience, first = (settings.patience, 1) if seen.sigma_y > 0 else (None, settings.least_step)
    rule = pair.stopped_by(judges, patience)
    result, wanted = FitResult(rule.pick), set(snapshot_steps)
    with Stopwatch(count) as watch:
        for done in tqdm(steps, total=settings.steps, unit="step", mininterval=5, disable=None):
            judged = done.step >= first and (done.step % settings.judge_every == 0 or done.step == settings.steps)
            if not judged and done.step not in wanted:
                continue
            now = pair.show(done.step, done.output, done.average, done.loss)
            if judged:
                rule.update(now)
                result.trace += _trace_rows(done.step, now.residual, rule.last)
            if done.step in wanted:
                result.snapshots.append(lay_data(seen.op, now.average, seen.y, seen.sigma_y).float().cpu())
    result.seconds_per_step = watch.seconds / settings.steps
    result.stopped = lay_data(seen.op, result.pick.image, seen.y, seen.sigma_y)
    result.error = pair.rmse(result.pick.score, seen.sigma_y) if judges.unbiased else None
    return result


def _trace_rows(step: int, losses: Tensor, estimates: Tensor) -> list[dict]:
    rows = zip(losses.tolist(), estimates.tolist(), strict=True)
    return [{"image": i, "step": step, "loss": loss, "error_estimate": e} for i, (loss, e) in enumerate(rows)]
