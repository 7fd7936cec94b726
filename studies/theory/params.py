"""The parameters of the theory's figure: studies/theory/params.yaml."""

from typing import Annotated

from pydantic import Field

from dualprior.common.params import Count, Positive, Section, Seed


class Laws(Section):
    """What the Gaussian laws are drawn for, beside simulation and the trained network."""

    variance: Positive  # of the Gaussian data
    error: Positive  # RMSE of the start
    levels: Annotated[tuple[Positive, ...], Field(min_length=3)]
    pixels: Count  # of the simulation
    task: str  # of which the trained network's means are drawn
    samples: Annotated[tuple[Count, ...], Field(min_length=2)]
    calls: Count
    seed: Seed


class Params(Section):
    laws: Laws
