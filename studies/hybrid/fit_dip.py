"""The default experiment's DIP fits, to the measurements of the crops of the study."""

from __future__ import annotations

from typing import TYPE_CHECKING

from studies.hybrid import places

from dualprior.pipeline import fit_dip

if TYPE_CHECKING:
    from dualprior.common.config import Config

    from dualprior.common.paths import Paths

PARAMS = fit_dip.PARAMS


def run(config: Config, paths: Paths, key: str | None = None) -> None:
    """key: the task."""
    fit_dip.run(config, places.crops(paths), key)
