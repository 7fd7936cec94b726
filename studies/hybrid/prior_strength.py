"""prior_strength@prior: restore every task with a weaker diffusion model, as stage restore does with the full one.

On the first seed of every test crop, with fewer validation crops and without the chain of a thousand calls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dualprior.common.params import Restore
from dualprior.pipeline.restore import write
from dualprior.restoration.selection import restore_all
from studies.hybrid import priors
from studies.hybrid.params import Strength

if TYPE_CHECKING:
    from dualprior.common.paths import Paths
    from dualprior.pipeline.config import Config

PARAMS = ("strength", "problems", "restore")


def run(config: Config, paths: Paths, key: str) -> None:
    """key: the prior."""
    wanted: Strength = config.strength
    settings: Restore = config.restore.without_full_chain()
    for task in config.problems:
        val, test, clean_val = priors.problems(paths, task, key, settings.seed, wanted.validation, wanted.images)
        restored = restore_all(val, test, clean_val, settings, f"{task}, prior {key}")
        write(paths.inside(f"priors/{key}").restored(task), settings.seed, restored)
