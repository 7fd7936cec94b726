"""ablate: vary one hyperparameter of the restart from a DIP at a time, everything else as stage restore chose it.

Images only; what they are worth, stage evaluate says. Nothing is chosen here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd
import torch

from dualprior.common import device, io
from dualprior.common.params import Ablate
from dualprior.common.progress import track
from dualprior.data.pixels import to_unit
from dualprior.data.validation import overall_rmse
from dualprior.diffusion import checkpoint
from dualprior.restoration import diffusion_methods as diffusion
from dualprior.restoration.dip_methods import dip_at, dip_stopped
from dualprior.restoration.problem import Problem, Restoration, read_problems, with_error
from dualprior.restoration.registry import CHAIN, RESTART, STOPPED

if TYPE_CHECKING:
    from dualprior.common.paths import Paths
    from dualprior.pipeline.config import Config

PARAMS = ("ablate", "restore.seed")
GRIDS = {"schedule": "levels of the schedule", "few_step": "few-step levels"}


class Row(NamedTuple):
    hyperparameter: str
    value: float
    series: str
    used: bool  # the value that stage restore chose
    restoration: Restoration


@torch.no_grad()
def run(config: Config, paths: Paths) -> None:
    settings: Ablate = config.ablate
    seed: int = config.entry("restore", "seed")
    where = device.pick()
    model = checkpoint.load(paths.models, where)
    clean_val = to_unit(io.read_array(paths.split("val"))).to(where)
    images, rows = {}, []
    for name in track(settings.tasks, "ablate"):
        val, test = read_problems(paths.measurements(name), paths.dip(name), seed, model, where)
        choices = io.read_json(paths.restored(name) / "methods.json")["choices"]
        for row in varied(val, test, clean_val, settings, choices):
            images[str(len(rows))] = row.restoration.x.float()
            rows.append({"row": len(rows), "task": name, "hyperparameter": row.hyperparameter, "value": row.value,
                         "series": row.series, "used": row.used})  # fmt: skip
    io.write_tensors(paths.folder("ablation") / "images.safetensors", images)
    io.write_table(paths.folder("ablation") / "rows.csv", pd.DataFrame(rows))


def varied(val: Problem, test: Problem, clean_val: torch.Tensor, settings: Ablate, choices: dict) -> Iterator[Row]:
    """Test restorations, one a value of each hyperparameter."""
    chosen = choices[RESTART]
    start = with_error(dip_stopped(test, {}), overall_rmse(dip_stopped(val, {}).x, clean_val))

    def restarted(begin: Restoration, **changes) -> Restoration:
        return diffusion.restarted(test, {STOPPED: begin}, **{**chosen, **changes})

    for value in sorted({*settings.start_scale, chosen["start_scale"]}):
        yield Row("start_scale", value, "restart", value == chosen["start_scale"], restarted(start, start_scale=value))
    for value in sorted({*settings.calls, chosen["calls"]}):
        yield Row("calls", value, "restart", value == chosen["calls"], restarted(start, calls=value))
        for grid, label in GRIDS.items():
            alone = diffusion.chain(test, {}, **{**choices[CHAIN], "calls": value, "grid": grid})
            yield Row("calls", value, f"DDPM alone, {label}", False, alone)
    steps = test.fits.steps
    for step in sorted({min(steps, key=lambda s: abs(s - value)) for value in settings.dip_steps}):
        at = with_error(dip_at(test, {}, step), overall_rmse(dip_at(val, {}, step).x, clean_val))
        yield Row("dip_steps", step, "DIP", False, at)
        yield Row("dip_steps", step, "restart", False, restarted(at))
