"""Learn initial states for cheap DIP fits on the training patches, one for each kind of network input that the tasks use."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np
from studies.hybrid import reptile
from studies.hybrid.params import Meta
from tqdm.auto import tqdm

from dualprior.common import device, io
from dualprior.common.params import DIP, Task
from dualprior.data.pixels import to_unit
from dualprior.dip.fit import Recipe

if TYPE_CHECKING:
    from dualprior.common.config import Config

    from dualprior.common.paths import Paths

PARAMS = ("meta", "dip", "tasks")
log = logging.getLogger(__name__)


def run(config: Config, paths: Paths, key: str | None = None) -> None:
    wanted: Meta = config.meta
    dip: DIP = config.dip
    images = to_unit(np.asarray(io.read_array(paths.train))).to(device.pick())
    tasks: list[Task] = [config.task(name) for name in wanted.tasks]
    recipes = {recipe.input_cell: recipe for recipe in (Recipe.of(dip.recipe(task.operator)) for task in tasks)}
    arguments = {"outer": wanted.outer, "inner": wanted.inner, "batch": wanted.batch, "rate": wanted.rate, "noise": 2 * wanted.noise / 255}
    states = {}
    for cell, recipe in recipes.items():
        for done in tqdm(reptile.learn(recipe, images, **arguments), total=wanted.outer, mininterval=5, disable=None):
            if done.step % 25 == 0 or done.step == wanted.outer:
                log.info("input cell %d: outer step %d, loss after %d steps %.4f", cell, done.step, wanted.inner, float(done.loss.mean()))
        states |= {f"{cell}/{name}": weight.cpu().contiguous() for name, weight in done.state.items()}
    io.write_tensors(paths.meta, states)
