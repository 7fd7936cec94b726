"""Where the study keeps its own crops, fits and models, as `Paths` that the stages of the default experiment accept."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dualprior.common.paths import Paths


def crops(paths: Paths) -> Paths:
    """With the crops of the study, what is measured of them, fitted to them and restored; models stay the default ones."""
    return replace(paths, data="data/hybrid")


def prior(paths: Paths, name: str) -> Paths:
    """With the patches, the model and the training curve of one weaker prior."""
    own = f"priors/{name}"
    return replace(paths, data=f"data/hybrid/{own}", models=f"models/hybrid/{own}", pipeline=f"{paths.pipeline}/{own}")
