"""fit_dip@task: Deep Image Prior fits to every measurement of a task, stopped by their own estimated error.

The measurement is split twice (`dip.risk`), two fits run side by side, their mean is what is kept, and the running estimate
of the mean's error says when to stop. Where the data are exact, every kept image is projected on them, as the diffusion
methods do. The network is chosen on validation images.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

import pandas as pd
import torch
from torch import Tensor

from dualprior.common import device, io
from dualprior.common.device import Stopwatch
from dualprior.common.params import DIP, DIPNetwork
from dualprior.common.progress import track
from dualprior.common.seeding import ImageNoise
from dualprior.data.pixels import to_unit
from dualprior.data.validation import mean_psnr
from dualprior.degradation.data_consistency import project_on_exact_data
from dualprior.degradation.measurement import Measurement, read_measurement
from dualprior.dip import fit as dip
from dualprior.dip import paired_fits
from dualprior.dip.early_stopping import StopState
from dualprior.dip.risk import RiskEstimate, recorrupted_split

if TYPE_CHECKING:
    from dualprior.common.paths import Paths
    from dualprior.pipeline.config import Config

PARAMS = ("dip",)
log = logging.getLogger(__name__)


def run(config: Config, paths: Paths, key: str) -> None:
    """key: the task."""
    settings: DIP = config.dip
    where = device.pick()
    clean_val = to_unit(io.read_array(paths.split("val"))).to(where)
    val, test = (read_measurement(paths.measurements(key), split, where) for split in ("val", "test"))
    pace = device.Pace(trial_step(val, settings), f"fits of {key}")
    tried = {name: fit_measurement(val, settings, network, pace, f"{key}, {name}") for name, network in settings.networks.items()}
    scores = {name: round(mean_psnr(result.stopped, clean_val), 3) for name, result in tried.items()}
    best = max(scores, key=scores.__getitem__)
    network = settings.networks[best]
    log.info("%s: network %s chosen by validation PSNR %s", key, best, scores)
    results = {"val": tried[best], "test": fit_measurement(test, settings, network, pace, f"{key}, test")}
    info = {"steps": tried[best].steps, "network": best, "val_psnr": scores, "recipe": asdict(recipe(settings, network, test))}
    io.write_tensors(paths.dip(key) / "fits.safetensors", {name: x for split, r in results.items() for name, x in r.tensors(split).items()})
    io.write_json(paths.dip(key) / "fits.json", info | {split: result.info() for split, result in results.items()})
    traces = pd.concat(pd.DataFrame(result.trace).assign(split=split) for split, result in results.items())
    io.write_table(paths.dip(key) / "trace.csv", traces[["split", "image", "step", "loss", "error_estimate"]])


@dataclass
class FitResult:
    stop: StopState
    steps: list[int]  # of the snapshots
    seconds_per_step: float = 0.0  # wall seconds of one step of both fits of one image, the stopping rule included
    snapshots: list[Tensor] = field(default_factory=list)  # [n, C, H, W] each, on the CPU
    trace: list[dict] = field(default_factory=list)
    stopped: Tensor | None = None  # [n, C, H, W]
    error: Tensor | None = None  # [n], its estimated RMSE, where the whole image is measured

    def tensors(self, split: str) -> dict[str, Tensor]:
        return {f"{split}_snapshots": torch.stack(self.snapshots).half(), f"{split}_stopped": self.stopped.half()}

    def info(self) -> dict:
        return {
            "stop_step": self.stop.step.tolist(),
            "decided_step": self.stop.decided_step.tolist(),
            "error": None if self.error is None else self.error.tolist(),
            "seconds_per_step": self.seconds_per_step,
        }


def recipe(settings: DIP, network: DIPNetwork, measured: Measurement) -> dip.Recipe:
    cell = settings.input_cell if measured.op.hides else settings.input_cell_denoising
    return dip.Recipe.of(settings.model_dump() | {"input_cell": cell}, network.model_dump())


def trial_step(measured: Measurement, settings: DIP) -> Callable[[], object]:
    """One step of fits that nothing is kept of, to be timed."""
    network = next(iter(settings.networks.values()))
    op, y = measured.op.fit_target(measured.y)
    own = recipe(settings, network, measured)
    steps = dip.fit_images(own, op, y, measured.names, measured.size, 10**6, device=measured.y.device)
    return lambda: next(steps)


def fit_measurement(measured: Measurement, settings: DIP, network: DIPNetwork, pace: device.Pace, what: str) -> FitResult:
    """Fit all images of one split by the recipe for its operator, stopped by the recorrupted split."""
    noise = ImageNoise(settings.seed, "witness", measured.names)
    risk = recorrupted_split(measured.op, measured.y, measured.sigma_y, settings.split_alpha, noise)
    settings = settings.model_copy(update={"steps": network.steps or settings.steps})
    return fit(measured, risk, settings, recipe(settings, network, measured), pace, what)


def fit(
    measured: Measurement,
    risk: RiskEstimate,
    settings: DIP,
    recipe: dip.Recipe,
    pace: device.Pace,
    what: str,
) -> FitResult:
    """Fit all images of one split twice; the second fits are to the other part, by networks and inputs of their own."""
    count = len(measured.y)
    op, y = measured.op[paired_fits.paired_index(count)].fit_target(risk.y)
    names = paired_fits.paired_names(measured.names)
    steps = dip.fit_images(recipe, op, y, names, measured.size, settings.steps, device=measured.y.device, keep=risk.keep)
    # exact data hold no noise to be fitted: late costs less than early, when two fits agree as both are still flat
    patience, first = (settings.patience, 1) if measured.sigma_y > 0 else (None, settings.least_step)
    rule = paired_fits.stopped_by(risk, patience)
    result = FitResult(rule.stop, dip.snapshot_steps(settings.steps, settings.snapshots))
    wanted = set(result.steps)
    with Stopwatch(count) as watch:
        for done in track(steps, f"fit {what}", settings.steps):
            pace.step()
            checked = done.step >= first and (done.step % settings.check_every == 0 or done.step == settings.steps)
            if not checked and done.step not in wanted:
                continue
            now = paired_fits.show(done.step, done.output, done.average, done.loss)
            if checked:
                rule.update(now)
                result.trace += _trace_rows(done.step, now.residual, rule.last)
            if done.step in wanted:
                result.snapshots.append(project_on_exact_data(measured.op, now.average, measured.y, measured.sigma_y).float().cpu())
    result.seconds_per_step = watch.seconds / settings.steps
    result.stopped = project_on_exact_data(measured.op, result.stop.image, measured.y, measured.sigma_y)
    result.error = paired_fits.rmse(result.stop.score, measured.sigma_y) if risk.unbiased else None
    return result


def _trace_rows(step: int, losses: Tensor, estimates: Tensor) -> list[dict]:
    rows = zip(losses.tolist(), estimates.tolist(), strict=True)
    return [{"image": i, "step": step, "loss": loss, "error_estimate": e} for i, (loss, e) in enumerate(rows)]
