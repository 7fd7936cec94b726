"""prior_strength@prior: restore every task with a weaker diffusion model, as stage restore does with the full one.

On the first seed of every test crop, with fewer validation crops and without the chain of a thousand calls. `load` and `problems`
serve every stage that asks for a diffusion model of the study by its name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from dualprior.common import device, io
from dualprior.common.params import Restore
from dualprior.data.pixels import to_unit
from dualprior.diffusion import checkpoint
from dualprior.pipeline.restore import write
from dualprior.restoration.problem import Problem, read_problems
from dualprior.restoration.selection import restore_all
from studies.hybrid.params import FOREIGN, FULL, Strength

if TYPE_CHECKING:
    from dualprior.common.paths import Paths
    from dualprior.pipeline.config import Config

PARAMS = ("strength", "problems", "restore")


def run(config: Config, paths: Paths, key: str) -> None:
    """key: the prior."""
    wanted: Strength = config.strength
    settings: Restore = config.restore.without_full_chain()
    for task in config.problems:
        val, test, clean_val = problems(paths, task, key, settings.seed, wanted.validation, wanted.images)
        restored = restore_all(val, test, clean_val, settings, f"{task}, prior {key}")
        write(paths.inside(f"priors/{key}").restored(task), settings.seed, restored)


def load(paths: Paths, prior: str) -> checkpoint.TrainedModel:
    """The model trained to the end ("full"), the one trained on other images ("foreign"), or one kept on the way: its steps."""
    folder = {FULL: paths.models, FOREIGN: paths.inside(FOREIGN).models}.get(prior)
    return checkpoint.load(paths.kept_model(int(prior)) if folder is None else folder, device.pick())


def problems(paths: Paths, task: str, prior: str, seed: int, validation: int, images: int) -> tuple[Problem, Problem, Tensor]:
    """The first so many validation and test measurements of a task, and those clean validation crops [n, C, H, W]."""
    where = device.pick()
    clean = to_unit(io.read_array(paths.split("val"))).to(where)
    val, test = read_problems(paths.measurements(task), paths.dip(task), seed, load(paths, prior), where)
    return val.first(validation), test.first(images), clean[:validation]
