"""The default experiment's measurements, of the crops of the study."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dualprior.stages import degrade
from dualprior.studies.hybrid import places

if TYPE_CHECKING:
    from dualprior.config import Config
    from dualprior.paths import Paths

PARAMS = degrade.PARAMS


def run(config: Config, paths: Paths, key: str | None = None) -> None:
    """key: the task."""
    degrade.run(config, places.crops(paths), key)
