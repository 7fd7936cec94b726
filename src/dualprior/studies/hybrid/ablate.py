"""The default experiment's ablations, on the study's crops and over its values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dualprior.stages import ablate
from dualprior.studies.hybrid import places

if TYPE_CHECKING:
    from dualprior.config import Config
    from dualprior.paths import Paths

PARAMS = ablate.PARAMS


def run(config: Config, paths: Paths, key: str | None = None) -> None:
    """key: the knob."""
    ablate.run(config, places.crops(paths), key)
