"""Stage: vary one setting of the hybrid and tabulate PSNR, on the validation images and on the test images.

Everything not varied keeps the value that stage restore chose on validation images. Nothing is chosen from the test
rows; the validation rows show what would have been chosen.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from dualprior import artifacts, coupling, device, fusion, metrics, pretrained, problem, result_plots, tables
from dualprior import restorers as r
from dualprior.images import pixels_01, to_01, to_unit
from dualprior.methods import CHEAP_STARTS, HYBRID, PARTS, SOURCES, cheap_starts
from dualprior.problem import Estimate, Problem
from dualprior.settings.ablate import Ablate, Interleaved
from dualprior.settings.dip import DIP, DIPNetwork
from dualprior.settings.evaluate import Evaluate
from dualprior.settings.restore import Hybrid, Restore
from dualprior.settings.tasks import Task
from dualprior.stages import fit_dip
from dualprior.stages.restore import coupled_settings

if TYPE_CHECKING:
    from dualprior.config import Config
    from dualprior.paths import Paths

PARAMS = ("ablate", "dip", "evaluate", "hybrid", "restore", "tasks")

DDPM = "DDPM"  # a series without any hybrid: the value that the hybrid uses is no mark for it
REFITTED = ("beta", "interleaved", "network")
NEAR_DB = 0.1  # column near_best: share of the images for which a value is this near to the best one of its series


class Row(NamedTuple):
    value: float | str
    series: str
    estimate: Estimate


@dataclass(frozen=True)
class Bench:
    """One split of one task, with the settings chosen for it."""

    task: Task
    problem: Problem
    start: Estimate  # the stopped DIP, with its predicted error
    val: Problem
    clean_val: Tensor
    choices: dict
    restored: dict[str, Tensor]  # by stage restore, of the parts of the blend: {method: [n, C, H, W]}
    restored_val: dict[str, Tensor]
    settings: Ablate
    hybrid: Hybrid
    dip: DIP
    memo: dict  # of the task: what is fitted to the validation images for a value of the knob

    def inflated(self, start: Estimate, like: str = "restart_dip") -> Estimate:
        """The start with its error inflated as stage restore chose for this method."""
        return r.inflated(start, self.choices[like]["inflation"])

    @property
    def one(self) -> dict:
        """The setting of the plain restart."""
        return {"calls": self.hybrid.calls, "data_weight": self.hybrid.data_weight}


@torch.no_grad()
def run(config: Config, paths: Paths, key: str | None = None) -> None:
    """key: the knob."""
    settings: Ablate = config.ablate
    judge: Evaluate = config.evaluate
    restore: Restore = config.restore
    hybrid: Hybrid = config.hybrid
    fitting: DIP = config.dip
    tasks: dict[str, Task] = {name: config.task(name) for name in settings.tasks}
    where = device.pick()
    model = pretrained.load(paths, where)
    count = settings.refit_images if key in REFITTED else settings.images
    clean = {"val": artifacts.read_array(paths.val), "test": artifacts.read_array(paths.test)[:count]}
    rows = []
    for name, task in tasks.items():
        val, test = (problem.load(paths, name, task, split, restore.seed, model, where) for split in ("val", "test"))
        test = problem.first(test, len(clean["test"]))
        clean_val = to_unit(clean["val"]).to(where)
        choices = artifacts.read_json(paths.restored_info(name))["choices"]
        images = artifacts.read_tensors(paths.restored(name))
        known = [part for part in (*PARTS, HYBRID) if part in images]
        restored = {"val": {part: images[f"val_{part}"] for part in known}}
        restored["test"] = {part: images[part][: len(clean["test"])] for part in known}
        memo = {}
        for split, given in (("val", val), ("test", test)):
            start = problem.calibrated(r.dip_stopped, given, val, clean_val)
            bench = Bench(task, given, start, val, clean_val, choices, restored[split], restored["val"], settings, hybrid, fitting, memo)
            values = getattr(settings, key)
            tried = [(row, metrics.psnr(pixels_01(clean[split]), to_01(row.estimate.x))) for row in KNOBS[key](bench, values)]
            rows += [{"task": name, "split": split, **row} for row in tabulated(tried, in_use(key, bench), judge)]
    table = pd.DataFrame(rows)
    artifacts.write_table(paths.ablation(key, "csv"), table)
    artifacts.write_text(paths.ablation(key, "md"), tables.markdown(table))
    artifacts.write_figure(paths.ablation(key, "png"), result_plots.ablation(table[table["split"] == "test"], key))


def tabulated(tried: list[tuple[Row, np.ndarray]], used: float | str | None, judge: Evaluate) -> Iterator[dict]:
    """A row a value: mean PSNR with its interval, and how far from the value in use, image by image."""
    for row, psnr in tried:
        series = [(other.value, values) for other, values in tried if other.series == row.series]
        best = np.max([values for _, values in series], axis=0)
        reference = next((values for value, values in series if value == used), None) if row.series != DDPM else None
        bootstrap = (judge.bootstrap, judge.confidence, judge.seed)
        numbers = dict(zip(("psnr", "psnr_lo", "psnr_hi"), metrics.bootstrap_mean(psnr, *bootstrap), strict=True))
        gain = (np.nan,) * 3 if reference is None else metrics.bootstrap_mean(psnr - reference, *bootstrap)
        numbers |= dict(zip(("gain", "gain_lo", "gain_hi"), gain, strict=True))
        yield {"series": row.series, "value": row.value, **numbers, "near_best": float((psnr >= best - NEAR_DB).mean())}


def in_use(knob: str, bench: Bench) -> float | str | None:
    """The value that the hybrid's parts use, which the others are compared with; None where there is no single one.

    `restart_dip` alone chooses its own start_scale and calls on validation images.
    """
    hybrid, networks = bench.hybrid, bench.settings.network or {}
    return {
        "inflation": bench.choices["restart_dip"]["inflation"],
        "start_scale": hybrid.start_scale, "calls": hybrid.calls, "samples": hybrid.samples, "data_weight": hybrid.data_weight,
        "gamma": bench.choices["guided_dip_mean"]["gamma"], "beta": hybrid.coupled.beta, "interleaved": 0.0,
        "dip_steps": bench.dip.steps, "start_kind": "dip", "left_out": "nothing",
        "network": next((name for name, network in networks.items() if network == bench.dip.network_of(bench.task.operator)), None),
    }.get(knob)  # fmt: skip


def _restart(bench: Bench, start: Estimate, like: str = "restart_dip", **changes) -> Estimate:
    start = bench.inflated(start, like)
    level = r.start_level(bench.problem, start, bench.hybrid.start_scale)
    return r.restart_at(bench.problem, start, level, **(bench.one | changes), asked_by=r.OWN)


def _start_level(bench: Bench, values) -> Iterator[Row]:
    """The same absolute level for every image, in [-1, 1] units."""
    for value in values:
        level = torch.full_like(bench.start.error, value)
        as_if_clean = replace(bench.start, error=torch.zeros_like(level))
        for series, start in (("variance-matched", bench.inflated(bench.start)), ("plain", as_if_clean)):
            done = r.restart_at(bench.problem, start, level, **bench.one, asked_by="ablate.start_level")
            yield Row(value, series, done)


def _start_scale(bench: Bench, values) -> Iterator[Row]:
    """The start rule: kappa times each image's predicted, inflated error."""
    start = bench.inflated(bench.start)
    for value in values:
        level = r.start_level(bench.problem, start, value)
        yield Row(value, "restart", r.restart_at(bench.problem, start, level, **bench.one, asked_by="ablate.start_scale"))


def _inflation(bench: Bench, values) -> Iterator[Row]:
    """How much more noise than its RMSE the start's error is taken for; nothing is added for it."""
    for value in values:
        start = r.inflated(bench.start, value)
        level = r.start_level(bench.problem, start, bench.hybrid.start_scale)
        yield Row(value, "restart", r.restart_at(bench.problem, start, level, **bench.one, asked_by="ablate.inflation"))


def _samples(bench: Bench, values) -> Iterator[Row]:
    """The mean of K stochastic restarts: (1 + 1/K) times the least error, in theory."""
    setting = bench.choices["restart_dip_mean"]
    for value in values:
        yield Row(value, "mean of restarts", r.mean_of_restarts(bench.problem, {setting["start"]: bench.start}, **setting, samples=value))


def _gamma(bench: Bench, values) -> Iterator[Row]:
    """Guidance of a chain from pure noise by the stopped DIP; gamma = 0 is the chain alone."""
    weight, calls = bench.choices["guided_dip_mean"]["data_weight"], bench.settings.guided_calls
    for value in values:
        yield Row(value, "guided chain", r.guided_chain(bench.problem, bench.start, calls, weight, value))


def _left_out(bench: Bench, values) -> Iterator[Row]:
    """The blend with one of its sources taken away, weights learned anew on validation images; beside the hybrid, as restored."""
    present = [part for part in PARTS if part in bench.restored]
    yield Row("nothing", "hybrid", Estimate(bench.restored[HYBRID]))
    for value in values:
        gone = SOURCES.get(value, ())
        parts = [name for name in present if name not in gone]
        if gone and parts == present:
            continue
        weights = fusion.learn_weights({name: bench.restored_val[name] for name in parts}, bench.clean_val.cpu())
        yield Row(value, "blend", Estimate(fusion.weighted_mean(weights, bench.restored)))


def _beta(bench: Bench, values) -> Iterator[Row]:
    """The pull of the denoiser on a DIP fit, at the best of its kept steps on validation images, as it is and restarted."""
    for value in values:
        with_beta = bench.hybrid.coupled.model_copy(update={"beta": value})
        settings = coupled_settings(with_beta, bench.dip, bench.task, bench.val, bench.clean_val)
        val = bench.memo.setdefault(value, replace(bench.val, memo={}))
        own = val if bench.problem is bench.val else replace(bench.problem, memo={})
        steps = coupling.coupled_steps(settings)
        scores = {step: problem.mean_psnr(coupling.coupled(val, {}, step, settings).x, bench.clean_val) for step in steps}
        step = max(scores, key=scores.__getitem__)
        expected = problem.spread(coupling.coupled(val, {}, step, settings).x, bench.clean_val)
        start = problem.with_error(coupling.coupled(own, {}, step, settings), expected)
        yield Row(value, "coupled fit", start)
        yield Row(value, "restart", _restart(bench, start, "restart_coupled"))


def _interleaved(bench: Bench, values: Interleaved) -> Iterator[Row]:
    """A restart whose guesses pass through the DIP, which goes on being fitted; with weight 0 they pass it by."""
    fitting = coupled_settings(bench.hybrid.coupled, bench.dip, bench.task, bench.val, bench.clean_val)
    setting = {"steps": values.steps, "refit": values.refit, "scale": bench.hybrid.start_scale, **bench.one}
    setting["inflation"] = bench.choices["restart_dip"]["inflation"]
    for weight in values.weights:
        yield Row(weight, "restart", coupling.interleaved(bench.problem, fitting, weight, **setting))


def _network(bench: Bench, values) -> Iterator[Row]:
    """Another network for the DIP, stopped by the same rule, as it is and restarted."""
    for name, network in values.items():
        start = bench.start if network == bench.dip.network_of(bench.task.operator) else _start_of(bench, name, network)
        yield Row(name, "DIP", start)
        yield Row(name, "restart", _restart(bench, start))


def _start_of(bench: Bench, name: str, network: DIPNetwork) -> Estimate:
    settings = bench.dip.model_copy(update={"network": network, "networks": {}})
    if name not in bench.memo:
        bench.memo[name] = _fitted(bench.val, settings, bench.task)
    val = bench.memo[name]
    own = val if bench.problem is bench.val else _fitted(bench.problem, settings, bench.task)
    return problem.with_error(own, problem.spread(val.x, bench.clean_val))


def _fitted(given: Problem, settings: DIP, task: Task) -> Estimate:
    """The stopped DIP, as stage fit_dip makes it."""
    fitted = fit_dip.fit_measurement(given.seen, task, settings)
    return Estimate(fitted.stopped, error=fitted.error)


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
        yield Row(value, DDPM, r.chain(bench.problem, {}, **{**bench.choices["ddpm_best"], "calls": value}))


def _data_weight(bench: Bench, values) -> Iterator[Row]:
    """Without measurement noise the data are met exactly whatever the weight, so such tasks have no row."""
    if bench.problem.seen.sigma_y == 0:
        return
    for value in values:
        yield Row(value, "restart", _restart(bench, bench.start, data_weight=value))
        yield Row(value, DDPM, r.chain(bench.problem, {}, **{**bench.choices["ddpm_best"], "data_weight": value}))


def _start_kind(bench: Bench, values) -> Iterator[Row]:
    """Every start before and after the same restart."""
    for value in values:
        start = _start(bench, value)
        if start is None:
            continue
        yield Row(value, "start", start)
        yield Row(value, "restart", _restart(bench, start, "restart_dip" if value == "dip" else "restart_cheap"))


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
    "inflation": _inflation,
    "dip_steps": _dip_steps,
    "calls": _calls,
    "samples": _samples,
    "data_weight": _data_weight,
    "start_kind": _start_kind,
    "gamma": _gamma,
    "left_out": _left_out,
    "beta": _beta,
    "interleaved": _interleaved,
    "network": _network,
}
