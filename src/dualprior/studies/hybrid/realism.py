"""Stochastic restorations for one task at several numbers of network calls: restarts, chains from noise, full chains.

The realism track: samples that should look like photographs, not their mean. Ancestral noise (DDPM's own) everywhere but
in the second full chain, all of whose noise is fresh (zeta = 1): where much is missing, ancestral noise alone does not
bring what is known and what is not into harmony (Lugmayr et al. 2022). No call at all is the start as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from dualprior import artifacts, problem
from dualprior import restorers as r
from dualprior.methods import interpolation
from dualprior.settings.hybrid_study import Realism
from dualprior.settings.restore import Hybrid
from dualprior.studies.hybrid import given

if TYPE_CHECKING:
    from dualprior.config import Config
    from dualprior.paths import Paths

PARAMS = ("realism", "restore", "hybrid", "tasks.{key}")
FROM_DIP, FROM_CHEAP, FROM_NOISE = "restart from the DIP", "restart from a cheap start", "chain from noise"
FULL_CHAINS = {"full chain": None, "full chain, fresh noise": 1.0}  # zeta


@torch.no_grad()
def run(config: Config, paths: Paths, key: str | None = None) -> None:
    """key: the task."""
    wanted: Realism = config.realism
    hybrid: Hybrid = config.hybrid
    test, val, clean_val = given.load(config, paths, key, wanted.images)
    runs = {FROM_DIP: r.dip_stopped, FROM_CHEAP: interpolation(test)}
    starts = {name: problem.calibrated(run, test, val, clean_val) for name, run in runs.items()}
    done, weight = {(name, 0): start for name, start in starts.items()}, hybrid.data_weight
    for calls in wanted.calls:
        for name, start in starts.items():
            level = r.start_level(test, start, wanted.scale)
            done[name, calls] = r.restart_at(test, start, level, calls, weight, "realism.scale", zeta=None, purpose="realism")
        done[FROM_NOISE, calls] = r.chain(test, {}, calls, None, weight, purpose="realism")
    for name, zeta in FULL_CHAINS.items():
        done[name, wanted.full] = r.chain(test, {}, wanted.full, zeta, weight, purpose="realism")
    artifacts.write_tensors(paths.realism(key), {f"{name}@{calls}": e.x.half() for (name, calls), e in done.items()})
    costs = {f"{name}@{calls}": {"seconds": e.cost.seconds, "nfe": e.cost.nfe} for (name, calls), e in done.items()}
    artifacts.write_json(paths.realism_info(key), costs)
