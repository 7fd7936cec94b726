"""Stochastic restorations for one task at several numbers of network calls: restarts from the DIP, chains, the full chain.

The realism track: samples that should look like photographs, not their mean. Ancestral noise (DDPM's own) everywhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from dualprior import artifacts, problem
from dualprior import restorers as r
from dualprior.settings.hybrid_study import Realism
from dualprior.settings.restore import Hybrid, Restore
from dualprior.studies.hybrid import given

if TYPE_CHECKING:
    from dualprior.config import Config
    from dualprior.paths import Paths

PARAMS = ("realism", "restore", "hybrid", "tasks.{key}")
FROM_DIP, FROM_NOISE, FULL_CHAIN = "restart from the DIP", "chain from noise", "full chain"


@torch.no_grad()
def run(config: Config, paths: Paths, key: str | None = None) -> None:
    """key: the task."""
    wanted: Realism = config.realism
    restore: Restore = config.restore
    hybrid: Hybrid = config.hybrid
    test, val, clean_val = given.load(paths, key, config.task(key), restore.seed, wanted.images)
    start = problem.calibrated(r.dip_stopped, test, val, clean_val)
    level = r.start_level(test, start, wanted.scale)
    done, weight = {}, hybrid.data_weight
    for calls in wanted.calls:
        done[FROM_DIP, calls] = r.restart_at(test, start, level, calls, weight, "realism.scale", zeta=None, purpose="realism")
        done[FROM_NOISE, calls] = r.chain(test, {}, calls, None, weight, purpose="realism")
    done[FULL_CHAIN, wanted.full] = r.chain(test, {}, wanted.full, None, weight, purpose="realism")
    artifacts.write_tensors(paths.realism(key), {f"{name}@{calls}": e.x.half() for (name, calls), e in done.items()})
    costs = {f"{name}@{calls}": {"seconds": e.cost.seconds, "nfe": e.cost.nfe} for (name, calls), e in done.items()}
    artifacts.write_json(paths.realism_info(key), costs)
