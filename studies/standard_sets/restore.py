"""restore@protocol: `python src/cli.py restore` as a person would use it, on every image of a set, judged as the protocol says."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pandas as pd

from dualprior.common import device, io
from dualprior.common.params import DIP
from dualprior.common.paths import Paths
from dualprior.diffusion import checkpoint
from dualprior.photograph.restore import EFFORTS, restore
from dualprior.restoration.registry import HYBRID
from studies.standard_sets.params import Protocols
from studies.standard_sets.protocols import PROTOCOLS, sets_folder

if TYPE_CHECKING:
    from dualprior.pipeline.config import Config

PARAMS = ("protocols", "dip")


def run(config: Config, paths: Paths, key: str) -> None:
    """key: the protocol. Resumes after the last image that was finished."""
    settings: Protocols = config.protocols
    dip: DIP = config.dip
    where = device.pick()
    folder = Paths(paths.root, "hybrid").models
    model, choices = checkpoint.load(folder, where), io.read_json(folder / "restore.json")
    own = {"dip": dip.model_dump(mode="json"), "protocol": settings.model_dump(), "choices": choices, "key": key}
    with io.CheckpointFolder(paths.scratch / "restore" / io.fingerprint(own, *(w.float() for w in model.denoise.parameters()))) as saved:
        rows = (saved.load() or {"rows": []})["rows"]
        done = {row["image"] for row in rows}
        for trial in PROTOCOLS[key](sets_folder(), settings):
            if trial.image in done:
                continue
            begin = time.perf_counter()
            usual = choices.get(trial.damage.task, {})
            result = restore(trial.y.to(where), trial.damage, model, dip, usual, EFFORTS["normal"], False, settings.seed)
            seconds = time.perf_counter() - begin
            psnr = {name: trial.psnr(found.x) for name, found in result.found.items()}
            psnr[HYBRID] = trial.psnr(result.answer.x)  # the diffusion model's where the DIP would count for nothing
            rows.append({"image": trial.image, **psnr, **trial.beside, "seconds": seconds})
            saved.save({"rows": rows})
        io.write_table(paths.metrics(f"{key}.csv"), pd.DataFrame(rows).round(3))
        saved.clear()
