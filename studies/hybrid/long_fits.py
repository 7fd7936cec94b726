"""long_fits@task: the Deep Image Prior of a task fitted many times as long, on the first photographs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from dualprior.common import device, io
from dualprior.common.params import DIP
from dualprior.degradation.measurement import read_measurement
from dualprior.pipeline import fit_dip
from studies.hybrid.params import LongFits

if TYPE_CHECKING:
    from dualprior.common.paths import Paths
    from dualprior.pipeline.config import Config

PARAMS = ("dip", "long_fits")


def run(config: Config, paths: Paths, key: str) -> None:
    """key: the task."""
    dip: DIP = config.dip
    wanted: LongFits = config.long_fits
    network = dip.networks[io.read_json(paths.dip(key) / "fits.json")["network"]]
    steps = wanted.times * (network.steps or dip.steps)
    longer = dip.model_copy(update={"snapshots": wanted.snapshots, "patience": steps})
    measured = read_measurement(paths.measurements(key), "test", device.pick()).first(wanted.images)
    pace = device.Pace(fit_dip.trial_step(measured, dip), f"long fits of {key}")
    result = fit_dip.fit_measurement(measured, longer, network.model_copy(update={"steps": steps}), pace, f"{key}, long")
    io.write_tensors(paths.folder("long_fits") / key / "snapshots.safetensors", {"snapshots": torch.stack(result.snapshots).half()})
    io.write_json(paths.folder("long_fits") / key / "steps.json", {"steps": result.steps, "stop_step": result.stop.step.tolist()})
