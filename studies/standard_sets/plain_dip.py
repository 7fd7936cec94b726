"""plain_dip: Deep Image Prior by the protocol of its paper (Ulyanov et al. 2018), on one noisy image; an hour or more on a CPU.

One skip network, noise on its input, the average of its outputs, a fixed number of steps; nothing stops it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pandas as pd

from dualprior.common import device, io
from dualprior.common.progress import track
from dualprior.degradation.operators import Identity
from dualprior.dip.fit import Recipe, fit_images
from studies.standard_sets.params import PlainDIP
from studies.standard_sets.protocols import denoise, sets_folder

if TYPE_CHECKING:
    from dualprior.common.paths import Paths
    from dualprior.pipeline.config import Config

PARAMS = ("protocols", "plain_dip")


def run(config: Config, paths: Paths) -> None:
    settings: PlainDIP = config.plain_dip
    trial = next(trial for trial in denoise(sets_folder(), config.protocols) if trial.image == settings.image)
    where = device.pick()
    y, size = trial.y.to(where), tuple(trial.y.shape[-2:])
    network = settings.model_dump(include={"channels", "skip_channels", "input_channels"})
    given = settings.model_dump(include={"seed", "lr", "input_noise", "ema", "precision"})
    steps = fit_images(
        Recipe(kind="skip", network=network, input_cell=1, **given), Identity(), y, [trial.image], size, settings.steps, device=where
    )
    rows, begin = [], time.perf_counter()
    for done in track(steps, "plain DIP", settings.steps):
        if done.step % settings.shown_every == 0 or done.step == settings.steps:
            told = {"output": trial.psnr(done.output), "average": trial.psnr(done.average)}
            rows.append({"image": trial.image, "step": done.step, **told, "seconds": time.perf_counter() - begin})
    io.write_table(paths.metrics("plain_dip.csv"), pd.DataFrame(rows).round(3))
