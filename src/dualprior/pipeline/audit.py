"""audit: broken protocols of public solutions, as found and mended, on validation images; none is ranked or built upon.

Those that leak are given the clean validation images, on purpose.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from dualprior.common import device, io
from dualprior.common.params import Audit
from dualprior.common.progress import track
from dualprior.data.pixels import to_unit
from dualprior.data.validation import overall_rmse
from dualprior.diffusion import checkpoint
from dualprior.restoration.dip_methods import dip_stopped
from dualprior.restoration.leaky_protocols import PROTOCOLS, Given
from dualprior.restoration.problem import read_problems, with_error

if TYPE_CHECKING:
    from dualprior.common.paths import Paths
    from dualprior.pipeline.config import Config

PARAMS = ("audit", "restore.seed")


@torch.no_grad()
def run(config: Config, paths: Paths) -> None:
    settings: Audit = config.audit
    seed: int = config.entry("restore", "seed")
    where = device.pick()
    model = checkpoint.load(paths.models, where)
    clean = to_unit(io.read_array(paths.split("val"))).to(where)
    images = {}
    for name, protocol in track([(task, protocol) for task in settings.tasks for protocol in PROTOCOLS], "audit"):
        val, _ = read_problems(paths.measurements(name), paths.dip(name), seed, model, where)
        stopped = dip_stopped(val, {})
        given = Given(val, with_error(stopped, overall_rmse(stopped.x, clean)), clean, settings)
        images[f"{name}/stopped"] = stopped.x
        for state, as_found in (("found", True), ("mended", False)):
            images[f"{name}/{protocol}/{state}"] = PROTOCOLS[protocol].run(given, as_found)
    io.write_tensors(paths.folder("audit") / "images.safetensors", images)
    about = {name: {"wrong": protocol.wrong, "leaks": protocol.leaks} for name, protocol in PROTOCOLS.items()}
    io.write_json(paths.folder("audit") / "protocols.json", about)
