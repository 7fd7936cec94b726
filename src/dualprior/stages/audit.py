"""Stage: the leak audit. Broken protocols of public solutions, as found and mended, beside the stopped DIP.

Those that leak are given the clean test images, on purpose; nothing that this stage writes is ranked or built upon.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pandas as pd
import torch

from dualprior import artifacts, device, metrics, pretrained, problem, tables
from dualprior.dip import Recipe
from dualprior.images import pixels_01, to_01, to_unit
from dualprior.leaks import PROTOCOLS, Given
from dualprior.restorers import dip_stopped
from dualprior.settings.audit import Audit
from dualprior.settings.dip import DIP
from dualprior.settings.evaluate import Evaluate
from dualprior.settings.restore import Restore
from dualprior.settings.tasks import Task

if TYPE_CHECKING:
    from dualprior.config import Config
    from dualprior.paths import Paths

PARAMS = ("audit", "dip", "evaluate", "restore", "tasks")
log = logging.getLogger(__name__)


@torch.no_grad()
def run(config: Config, paths: Paths, key: str | None = None) -> None:
    settings: Audit = config.audit
    fitting: DIP = config.dip
    judge: Evaluate = config.evaluate
    restore: Restore = config.restore
    tasks: dict[str, Task] = {name: config.task(name) for name in settings.tasks}
    where = device.pick()
    model, clean = pretrained.load(paths, where), artifacts.read_array(paths.test)
    clean_val = to_unit(artifacts.read_array(paths.val)).to(where)
    rows = []
    for name, task in tasks.items():
        test, val = (problem.load(paths, name, task, split, restore.seed, model, where) for split in ("test", "val"))
        start = problem.calibrated(dip_stopped, test, val, clean_val)
        stopped = metrics.psnr(pixels_01(clean), to_01(start.x)).mean()
        given = Given(test, start, to_unit(clean).to(where), Recipe.of(fitting.recipe(task.operator)), settings)
        for label, protocol in PROTOCOLS.items():
            found, mended = (metrics.psnr(pixels_01(clean), to_01(protocol.run(given, as_found))) for as_found in (True, False))
            gain, low, high = metrics.bootstrap_mean(found - mended, judge.bootstrap, judge.confidence, judge.seed)
            numbers = {"dip_stopped": stopped, "as_found": found.mean(), "mended": mended.mean()}
            numbers |= {"difference": gain, "difference_lo": low, "difference_hi": high}
            rows.append({"task": name, "protocol": label, "what is wrong": protocol.wrong, "leaks": protocol.leaks, **numbers})
            log.info("%s %s: %.2f dB as found, %.2f dB mended", name, label, found.mean(), mended.mean())
    table = pd.DataFrame(rows)
    artifacts.write_table(paths.audit("csv"), table)
    artifacts.write_text(paths.audit("md"), tables.markdown(table))
