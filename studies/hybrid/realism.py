"""Stochastic restorations for one task at several numbers of network calls: restarts, chains from noise, full chains.

The realism track: samples that should look like photographs, not their mean. The noise of a step is DDPM's own or all
fresh (zeta = 1): where much is missing, DDPM's alone does not bring what is known and what is not into harmony (Lugmayr
et al. 2022). There is a full chain of either; for every shorter kind validation crops choose, and how far above its own
error a restart begins. No call at all is the start as it is.
"""

from __future__ import annotations

import logging
from itertools import product
from typing import TYPE_CHECKING, TypeVar

import torch
from studies.hybrid import given, places
from studies.hybrid.likeness import Likeness
from studies.hybrid.params import Realism

from dualprior.common import io
from dualprior.common.params import Evaluate, Hybrid
from dualprior.restoration import diffusion_methods as r
from dualprior.restoration import problem
from dualprior.restoration.problem import Problem, Restoration
from dualprior.restoration.registry import interpolation

if TYPE_CHECKING:
    from dualprior.common.config import Config

    from dualprior.common.paths import Paths

PARAMS = ("realism", "restore", "hybrid", "evaluate", "tasks.{key}")
Setting = TypeVar("Setting")
log = logging.getLogger(__name__)
FROM_DIP, FROM_CHEAP, FROM_NOISE = "restart from the DIP", "restart from a cheap start", "chain from noise"
FULL_CHAINS = {"full chain": None, "full chain, fresh noise": 1.0}  # zeta


@torch.no_grad()
def run(config: Config, paths: Paths, key: str | None = None) -> None:
    """key: the task."""
    wanted: Realism = config.realism
    hybrid: Hybrid = config.hybrid
    evaluate: Evaluate = config.evaluate
    test, val, clean_val = given.load(config, paths, key, wanted.images)
    likeness = Likeness(evaluate, io.read_array(places.crops(paths).val))
    runs = {FROM_DIP: r.dip_stopped, FROM_CHEAP: interpolation(test)}
    weight, choices, done = hybrid.data_weight, {}, {}
    for name, run_start in runs.items():
        start, val_start = (problem.with_validation_error(run_start, split, val, clean_val) for split in (test, val))
        tried = {way: restarted(val, val_start, wanted.chosen_at, weight, *way) for way in product(wanted.scales, wanted.zetas)}
        choices[name] = dict(zip(("scale", "zeta"), nearest(tried, likeness), strict=True))
        done[name, 0] = start
        done |= {(name, calls): restarted(test, start, calls, weight, **choices[name]) for calls in wanted.calls}
    tried = {zeta: r.chain(val, {}, wanted.chosen_at, zeta, weight, purpose="realism") for zeta in wanted.zetas}
    choices[FROM_NOISE] = {"zeta": nearest(tried, likeness)}
    for calls in wanted.calls:
        done[FROM_NOISE, calls] = r.chain(test, {}, calls, data_weight=weight, purpose="realism", **choices[FROM_NOISE])
    for name, zeta in FULL_CHAINS.items():
        done[name, wanted.full] = r.chain(test, {}, wanted.full, zeta, weight, purpose="realism")
    log.info("%s: validation crops chose %s", key, choices)
    io.write_tensors(paths.realism(key), {f"{name}@{calls}": e.x.half() for (name, calls), e in done.items()})
    costs = {f"{name}@{calls}": {"seconds": e.cost.seconds, "nfe": e.cost.nfe} for (name, calls), e in done.items()}
    io.write_json(paths.realism_info(key), {"costs": costs, "choices": choices})


def restarted(whole: Problem, start: Restoration, calls: int, data_weight: float, scale: float, zeta: float | None) -> Restoration:
    """Variance-matched restart at scale * the start's error, with noise that is drawn afresh."""
    level = r.start_level(whole, start, scale)
    return r.restart_at(whole, start, level, calls, data_weight, "realism.scales", zeta=zeta, purpose="realism")


def nearest(tried: dict[Setting, Restoration], likeness: Likeness) -> Setting:
    """The setting whose restorations are most like clean validation crops."""
    return min(tried, key=lambda setting: likeness(tried[setting].x.cpu().numpy()))
