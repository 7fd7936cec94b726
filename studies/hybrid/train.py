"""Train a weaker prior as the default one is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING

from studies.hybrid import places

from dualprior.pipeline import train_ddpm

if TYPE_CHECKING:
    from dualprior.common.config import Config

    from dualprior.common.paths import Paths

PARAMS = train_ddpm.PARAMS


def run(config: Config, paths: Paths, key: str | None = None) -> None:
    """key: the prior."""
    train_ddpm.run(config, places.prior(paths, key))
