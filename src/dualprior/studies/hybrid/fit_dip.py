"""The default experiment's DIP fits, to the measurements of the crops of the study."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dualprior.stages import fit_dip
from dualprior.studies.hybrid import places

if TYPE_CHECKING:
    from dualprior.config import Config
    from dualprior.paths import Paths

PARAMS = fit_dip.PARAMS


def run(config: Config, paths: Paths, key: str | None = None) -> None:
    """key: the task."""
    fit_dip.run(config, places.crops(paths), key)
