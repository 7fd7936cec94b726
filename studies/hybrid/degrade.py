"""The default experiment's measurements, of the crops of the study."""

from __future__ import annotations

from typing import TYPE_CHECKING

from studies.hybrid import places

from dualprior.pipeline import degrade

if TYPE_CHECKING:
    from dualprior.common.config import Config

    from dualprior.common.paths import Paths

PARAMS = degrade.PARAMS


def run(config: Config, paths: Paths, key: str | None = None) -> None:
    """key: the task."""
    degrade.run(config, places.crops(paths), key)
