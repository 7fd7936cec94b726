"""Stage: fit a Deep Image Prior to every measurement of one task, all images in one batch.

Reads measurements only, never a clean image and never the diffusion model. Two fits run side by side: the one on the
whole measurement, and, where the task allows a witness (denoising: the coupled split; inpainting: held-out pixels),
one on the part to fit, whose running error estimate says when to stop the first. Where the data are exact they are
laid over every image that is kept, as the diffusion methods do.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pandas as pd
import torch
from torch import Tensor
from tqdm.auto import tqdm

from dualprior import artifacts, device, dip, observation, stopping
from dualprior.consistency import lay_data
from dualprior.observation import Observation
from dualprior.operators import Identity, Mask, Operator
from dualprior.seeding import ImageNoise
from dualprior.settings.dip import DIP
from dualprior.settings.tasks import Task

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
    for split in ("val", "test"):
        seen = observation.read(paths, key, task, split, where)
        result = fit(seen, settings, info["steps"])
        tensors[f"{split}_snapshots"] = torch.stack(result.snapshots).half()
        info[split] = {"stop_step": None, "error": None, "seconds_per_step": result.seconds_per_step}
        info[split]["witness_seconds"] = result.witness_seconds
        if result.stop.step is not None:
            tensors[f"{split}_stopped"] = lay_data(seen.op, result.stop.kept, seen.y, seen.sigma_y).half()
            floor = (0.1 * seen.sigma_y) ** 2 + 1e-4  # the estimate may dip below zero
            info[split]["stop_step"] = result.stop.step
            info[split]["error"] = result.stop.error.clamp(min=floor).sqrt()
        traces.append(pd.DataFrame(result.trace).assign(split=split))
        log.info("%s: %d %s fits, %.1f ms a step and image", key, len(seen.y), split, 1e3 * result.seconds_per_step)
    info["seconds_per_step"] = info["test"]["seconds_per_step"]
    artifacts.write_tensors(paths.dip(key), tensors)
    artifacts.write_json(paths.dip_info(key), info)
    columns = ["split", "image", "step", "loss", "error_estimate"]
    artifacts.write_table(paths.dip_trace(key), pd.concat(traces)[columns])


@dataclass
class FitResult:
    stop: stopping.StopAtMinimum
    seconds_per_step: float = 0.0  # wall seconds of one step of one fit
    witness_seconds: float = 0.0  # wall seconds of the witness's whole fit, per image; 0 without one
    snapshots: list[Tensor] = field(default_factory=list)  # [n, C, H, W] each, on the CPU
    trace: list[dict] = field(default_factory=list)


def witness(seen: Observation, settings: DIP) -> stopping.Split | None:
    """The part of the measurement to fit and the judge on the rest, or None where no part can be spared."""
    noise = ImageNoise(settings.seed, "witness", seen.names)
    if isinstance(seen.op, Identity):
        return stopping.coupled_split(seen.op, seen.y, seen.sigma_y, settings.split_alpha, noise)
    if isinstance(seen.op, Mask):
        return stopping.held_out_split(seen.op, seen.y, seen.sigma_y, settings.hold_out, noise)
    return None


def fit(seen: Observation, settings: DIP, snapshot_steps: list[int]) -> FitResult:
    """Fit all images of one split; the witness fits ride in the same batch and start from the same weights."""
    count, split = len(seen.y), witness(seen, settings)
    op, y, names = seen.op, seen.y, seen.names
    if split is not None:
        op, y, names = _side_by_side(op, split.op), torch.cat([y, split.y]), names * 2
    steps = dip.fit_images(dip.Recipe.of(settings.model_dump()), op, y, names, seen.size, settings.steps)
    result, wanted, begin = FitResult(stopping.StopAtMinimum()), set(snapshot_steps), time.perf_counter()
    for done in tqdm(steps, total=settings.steps, unit="step", mininterval=5, disable=None):
        whole = done.average[:count]
        estimate = None
        if split is not None:
            estimate = split.judge(done.average[count:])
            result.stop.update(done.step, estimate, whole)
        if done.step in wanted:
            result.snapshots.append(lay_data(seen.op, whole, seen.y, seen.sigma_y).float().cpu())
        result.trace += _trace_rows(done.step, done.loss[:count], estimate)
    seconds = (time.perf_counter() - begin) / len(y)
    result.seconds_per_step = seconds / settings.steps
    result.witness_seconds = seconds if split is not None else 0.0
    return result


def _side_by_side(a: Operator, b: Operator) -> Operator:
    """One operator for the images of a followed by those of b."""
    return Mask(torch.cat([a.mask, b.mask])) if isinstance(a, Mask) else a


def _trace_rows(step: int, losses: Tensor, estimate: Tensor | None) -> list[dict]:
    estimates = [None] * len(losses) if estimate is None else estimate.tolist()
    rows = zip(losses.tolist(), estimates, strict=True)
    return [{"image": i, "step": step, "loss": loss, "error_estimate": e} for i, (loss, e) in enumerate(rows)]
