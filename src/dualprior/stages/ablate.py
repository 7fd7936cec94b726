"""Stage: vary one setting of the restart and tabulate PSNR on the test images. Nothing is chosen from these tables.

Everything not varied keeps the value that stage restore chose on validation images.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

import pandas as pd
import torch

from dualprior import artifacts, device, metrics, plots, tables
from dualprior import restorers as r
from dualprior.artifacts import Paths
from dualprior.config import Config
from dualprior.images import to_01, to_unit
from dualprior.methods import cheap_starts
from dualprior.restorers import Estimate, Problem
from dualprior.stages.restore import problem, rmse

PARAMS = ("ablate", "evaluate", "restore", "tasks")


class Row(NamedTuple):
    value: float | str
    series: str
    estimate: Estimate


class Bench(NamedTuple):
    """One task on the test images, with the settings chosen for it."""

    problem: Problem
    start: Estimate  # the stopped DIP, with its predicted error
    scale: float
    calls: int
    data_weight: float
    val: Problem
    clean_val: torch.Tensor
    choices: dict


@torch.no_grad()
def run(config: Config, paths: Paths, key: str | None = None) -> None:
    clean, judge = to_01(to_unit(artifacts.read_array(paths.test))), config.evaluate
    rows = []
    for task in config.ablate.tasks:
        bench = _bench(config, paths, task)
        for row in KNOBS[key](bench, getattr(config.ablate, key)):
            psnr = metrics.psnr(clean, to_01(row.estimate.x))
            mean, low, high = metrics.bootstrap_mean(psnr, judge.bootstrap, judge.confidence, judge.seed)
            rows.append({"task": task, "series": row.series, "value": row.value, "psnr": mean, "psnr_lo": low, "psnr_hi": high})
    table = pd.DataFrame(rows)
    artifacts.write_table(paths.ablation(key, "csv"), table)
    artifacts.write_text(paths.ablation(key, "md"), tables.markdown(table))
    artifacts.write_figure(paths.ablation(key, "png"), plots.ablation(table, key))


def _bench(config: Config, paths: Paths, task: str) -> Bench:
    test, val = (problem(config, paths, task, split) for split in ("test", "val"))
    clean_val = to_unit(artifacts.read_array(paths.val)).to(device.pick())
    choices = artifacts.read_json(paths.restored_info(task))["choices"]
    chosen = choices["restart_dip"]
    start = _calibrated(r.dip_stopped, test, val, clean_val, **choices["dip_stopped"])
    return Bench(test, start, chosen["scale"], chosen["calls"], chosen["data_weight"], val, clean_val, choices)


def _calibrated(run: Callable[..., Estimate], test: Problem, val: Problem, clean_val: torch.Tensor, **setting) -> Estimate:
    """An estimate on the test images; its error is the witness's or else the RMSE seen on validation images."""
    estimate = run(test, {}, **setting)
    if estimate.error is not None:
        return estimate
    spread = rmse(run(val, {}, **setting).x, clean_val).square().mean().sqrt()
    return replace(estimate, error=spread.expand(len(estimate.x)))


def _restart(bench: Bench, start: Estimate, scale: float | None = None, calls: int | None = None, weight: float | None = None):
    level = ((scale or bench.scale) * start.error).clamp(min=r.SMALLEST_START)
    return r.restart_at(bench.problem, start, level, calls or bench.calls, weight or bench.data_weight)


def _start_level(bench: Bench, values) -> Iterator[Row]:
    """The same absolute level for every image, in [-1, 1] units."""
    for value in values:
        level = torch.full_like(bench.start.error, value)
        matched = r.restart_at(bench.problem, bench.start, level, bench.calls, bench.data_weight)
        yield Row(value, "variance-matched", matched)
        as_if_clean = replace(bench.start, error=torch.zeros_like(level))
        yield Row(value, "plain", r.restart_at(bench.problem, as_if_clean, level, bench.calls, bench.data_weight))


def _dip_steps(bench: Bench, values) -> Iterator[Row]:
    """The snapshot nearest to each number of fit steps, as it is and restarted."""
    steps = bench.problem.fits.steps
    for step in sorted({min(steps, key=lambda s: abs(s - value)) for value in values}):
        start = _calibrated(r.dip_at, bench.problem, bench.val, bench.clean_val, step=step)
        yield Row(step, "DIP", start)
        yield Row(step, "restart", _restart(bench, start))


def _calls(bench: Bench, values) -> Iterator[Row]:
    best = bench.choices["ddpm_best"]
    for value in values:
        yield Row(value, "restart", _restart(bench, bench.start, calls=value))
        yield Row(value, "DDPM", r.chain(bench.problem, {}, value, best["zeta"], best["data_weight"]))


def _data_weight(bench: Bench, values) -> Iterator[Row]:
    best = bench.choices["ddpm_best"]
    for value in values:
        yield Row(value, "restart", _restart(bench, bench.start, weight=value))
        yield Row(value, "DDPM", r.chain(bench.problem, {}, 20, best["zeta"], value))


def _start_kind(bench: Bench, values) -> Iterator[Row]:
    """Every start before and after the same restart."""
    for value in values:
        start = _start(bench, value)
        if start is None:
            continue
        yield Row(value, "start", start)
        yield Row(value, "restart", _restart(bench, start))


def _start(bench: Bench, kind: str) -> Estimate | None:
    """A start of this kind, or None where the task has none."""
    if kind == "dip":
        return bench.start
    procedures = {"input": r.as_image, "bicubic": r.bicubic, "blurred": r.blurred, "one_step": _one_step(bench)}
    if kind != "one_step" and kind not in cheap_starts(bench.problem):
        return None
    return _calibrated(procedures[kind], bench.problem, bench.val, bench.clean_val, **bench.choices.get(kind, {}))


def _one_step(bench: Bench) -> Callable[..., Estimate]:
    procedures = {"input": r.as_image, "bicubic": r.bicubic, "blurred": r.blurred, "pinv": r.pseudo_inverse}

    def run(problem: Problem, past: dict, start: str, level: float) -> Estimate:
        begin = procedures[start](problem, {}, **bench.choices.get(start, {}))
        return r.one_step(problem, {start: begin}, start, level)

    return run


KNOBS = {
    "start_level": _start_level,
    "dip_steps": _dip_steps,
    "calls": _calls,
    "data_weight": _data_weight,
    "start_kind": _start_kind,
}
