"""The default experiment's ablations, on the study's crops and over its values."""

from __future__ import annotations

from typing import TYPE_CHECKING

from studies.hybrid import places

from dualprior.pipeline import ablate

if TYPE_CHECKING:
    from dualprior.common.config import Config

    from dualprior.common.paths import Paths

PARAMS = ablate.PARAMS


def run(config: Config, paths: Paths, key: str | None = None) -> None:
    """key: the knob."""
    ablate.run(config, places.crops(paths), key)
