"""Stage: vary one setting of the restart and tabulate PSNR on the test images. Nothing is chosen from these tables.

Everything not varied keeps the value that stage restore chose on validation images.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import torch

from dualprior import artifacts, device, fusion, metrics, plots, pretrained, problem, tables
from dualprior import restorers as r
from dualprior.images import pixels_01, to_01, to_unit
from dualprior.methods import CHEAP_STARTS, PARTS, SOURCES, cheap_starts
from dualprior.pretrained import Pretrained
from dualprior.problem import Estimate, Problem
from dualprior.settings.ablate import Ablate
from dualprior.settings.evaluate import Evaluate
from dualprior.settings.restore import Restore
from dualprior.settings.tasks import Task

if TYPE_CHECKING:
    from dualprior.config import Config
    from dualprior.paths import Paths

PARAMS = ("ablate", "evaluate", "restore", "tasks")

NEAR_DB = 0.1  # column near_best: share of the images for which a value is this near to the best one of its series


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
    guided_calls: int
    restored: dict[str, torch.Tensor]  # by stage restore, of test images; what is blended also of validation images


@torch.no_grad()
def run(config: Config, paths: Paths, key: str | None = None) -> None:
    """key: the knob."""
    settings: Ablate = config.ablate
    judge: Evaluate = config.evaluate
    restore: Restore = config.restore
    tasks: dict[str, Task] = {name: config.task(name) for name in settings.tasks}
    model, clean = pretrained.load(paths, device.pick()), pixels_01(artifacts.read_array(paths.test))
    rows = []
    for name, task in tasks.items():
        bench = _bench(paths, name, task, restore.seed, model, settings.guided_calls)
        tried = [(row, metrics.psnr(clean, to_01(row.estimate.x))) for row in KNOBS[key](bench, getattr(settings, key))]
        best = {
            series: np.max([psnr for row, psnr in tried if row.series == series], axis=0) for series in {row.series for row, _ in tried}
        }
        for row, psnr in tried:
            mean, low, high = metrics.bootstrap_mean(psnr, judge.bootstrap, judge.confidence, judge.seed)
            near = float((psnr >= best[row.series] - NEAR_DB).mean())
            numbers = {"psnr": mean, "psnr_lo": low, "psnr_hi": high, "near_best": near}
            rows.append({"task": name, "series": row.series, "value": row.value, **numbers})
    table = pd.DataFrame(rows)
    artifacts.write_table(paths.ablation(key, "csv"), table)
    artifacts.write_text(paths.ablation(key, "md"), tables.markdown(table))
    artifacts.write_figure(paths.ablation(key, "png"), plots.ablation(table, key))


def _bench(paths: Paths, name: str, task: Task, seed: int, model: Pretrained, guided_calls: int) -> Bench:
    where = device.pick()
    test, val = (problem.load(paths, name, task, split, seed, model, where) for split in ("test", "val"))
    clean_val = to_unit(artifacts.read_array(paths.val)).to(where)
    choices = artifacts.read_json(paths.restored_info(name))["choices"]
    chosen = choices["restart_dip"]
    start = problem.calibrated(r.dip_stopped, test, val, clean_val)
    restored = artifacts.read_tensors(paths.restored(name))
    return Bench(
        problem=test, start=start, scale=chosen["scale"], calls=chosen["calls"], data_weight=chosen["data_weight"], val=val,
        clean_val=clean_val, choices=choices, guided_calls=guided_calls, restored=restored,
    )  # fmt: skip


def _restart(bench: Bench, start: Estimate, calls: int | None = None, weight: float | None = None) -> Estimate:
    level = r.start_level(bench.problem, start, bench.scale)
    return r.restart_at(bench.problem, start, level, calls or bench.calls, weight or bench.data_weight, r.OWN)


def _start_level(bench: Bench, values) -> Iterator[Row]:
    """The same absolute level for every image, in [-1, 1] units."""
    for value in values:
        level = torch.full_like(bench.start.error, value)
        as_if_clean = replace(bench.start, error=torch.zeros_like(level))
        for series, start in (("variance-matched", bench.start), ("plain", as_if_clean)):
            done = r.restart_at(bench.problem, start, level, bench.calls, bench.data_weight, "ablate.start_level")
            yield Row(value, series, done)


def _start_scale(bench: Bench, values) -> Iterator[Row]:
    """The start rule: kappa times each image's predicted error."""
    for value in values:
        level = r.start_level(bench.problem, bench.start, value)
        yield Row(value, "restart", r.restart_at(bench.problem, bench.start, level, bench.calls, bench.data_weight, "ablate.start_scale"))


def _samples(bench: Bench, values) -> Iterator[Row]:
    """The mean of K stochastic restarts: (1 + 1/K) times the least error, in theory."""
    setting = bench.choices["restart_dip_mean"]
    for value in values:
        yield Row(value, "mean of restarts", r.mean_of_restarts(bench.problem, {setting["start"]: bench.start}, **setting, samples=value))


def _gamma(bench: Bench, values) -> Iterator[Row]:
    """Guidance of a chain from pure noise by the stopped DIP; gamma = 0 is the chain alone."""
    best = bench.choices["ddpm_best"]
    for value in values:
        yield Row(value, "guided chain", r.guided_chain(bench.problem, bench.start, bench.guided_calls, best["data_weight"], value))


def _left_out(bench: Bench, values) -> Iterator[Row]:
    """The blend with one of its sources taken away, weights learned anew on validation images; without the last restart."""
    present = [name for name in PARTS if f"val_{name}" in bench.restored]
    for value in values:
        gone = SOURCES.get(value, ())
        parts = [name for name in present if name not in gone]
        if gone and parts == present:
            continue
        weights = fusion.learn_weights({name: bench.restored[f"val_{name}"] for name in parts}, bench.clean_val.cpu())
        yield Row(value, "blend", Estimate(fusion.weighted_mean(weights, bench.restored)))


def _dip_steps(bench: Bench, values) -> Iterator[Row]:
    """The snapshot nearest to each number of fit steps, as it is and restarted."""
    steps = bench.problem.fits.steps
    for step in sorted({min(steps, key=lambda s: abs(s - value)) for value in values}):
        start = problem.calibrated(r.dip_at, bench.problem, bench.val, bench.clean_val, step=step)
        yield Row(step, "DIP", start)
        yield Row(step, "restart", _restart(bench, start))


def _calls(bench: Bench, values) -> Iterator[Row]:
    for value in values:
        yield Row(value, "restart", _restart(bench, bench.start, calls=value))
        yield Row(value, "DDPM", r.chain(bench.problem, {}, **{**bench.choices["ddpm_best"], "calls": value}))


def _data_weight(bench: Bench, values) -> Iterator[Row]:
    """Without measurement noise the data are met exactly whatever the weight, so such tasks have no row."""
    if bench.problem.seen.sigma_y == 0:
        return
    for value in values:
        yield Row(value, "restart", _restart(bench, bench.start, weight=value))
        yield Row(value, "DDPM", r.chain(bench.problem, {}, **{**bench.choices["ddpm_best"], "data_weight": value}))


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
    if kind == "one_step":
        return problem.calibrated(partial(_one_step, bench.choices), bench.problem, bench.val, bench.clean_val, **bench.choices[kind])
    if kind not in cheap_starts(bench.problem):
        return None
    return problem.calibrated(CHEAP_STARTS[kind].run, bench.problem, bench.val, bench.clean_val, **bench.choices.get(kind, {}))


def _one_step(choices: dict, given: Problem, past: dict, start: str, level: float) -> Estimate:
    begin = CHEAP_STARTS[start].run(given, {}, **choices.get(start, {}))
    return r.one_step(given, {start: begin}, start, level)


KNOBS = {
    "start_level": _start_level,
    "start_scale": _start_scale,
    "dip_steps": _dip_steps,
    "calls": _calls,
    "samples": _samples,
    "data_weight": _data_weight,
    "start_kind": _start_kind,
    "gamma": _gamma,
    "left_out": _left_out,
}
