"""The values of the published ablations: section `ablate`."""

from typing import Annotated, Literal

from pydantic import Field

from dualprior.settings.base import Count, NonNegative, Number, Positive, Section
from dualprior.settings.dip import DIPNetwork

Source = Literal["nothing", "one call", "chains", "restarts", "guided", "interpolation", "DIP", "coupled", "adapted"]  # of methods.SOURCES


class Interleaved(Section):
    """A restart whose guesses pass through a DIP that goes on being fitted."""

    weights: Annotated[tuple[Annotated[Number, Field(ge=0, le=1)], ...], Field(min_length=2)]  # of the fit in the guess
    steps: Count  # before the restart
    refit: Count  # at each of its levels


class Ablate(Section):
    tasks: Annotated[tuple[str, ...], Field(min_length=1)]
    images: Count | None = None  # the first so many test measurements; None: all
    start_level: Annotated[tuple[Positive, ...], Field(min_length=2)]
    start_scale: Annotated[tuple[Positive, ...], Field(min_length=2)]
    dip_steps: Annotated[tuple[Count, ...], Field(min_length=2)]
    calls: Annotated[tuple[Count, ...], Field(min_length=2)]
    samples: Annotated[tuple[Count, ...], Field(min_length=2)]
    data_weight: Annotated[tuple[Positive, ...], Field(min_length=2)]
    start_kind: Annotated[tuple[Literal["dip", "input", "pinv", "bicubic", "biharmonic", "blurred", "one_step"], ...], Field(min_length=2)]
    gamma: Annotated[tuple[Annotated[Number, Field(ge=0, le=1)], ...], Field(min_length=2)]
    guided_calls: Count
    left_out: Annotated[tuple[Source, ...], Field(min_length=2)]
    refit_images: Count | None = None  # of the knobs that fit anew for every value
    beta: Annotated[tuple[NonNegative, ...], Field(min_length=2)] | None = None
    inflation: Annotated[tuple[Positive, ...], Field(min_length=2)] | None = None
    interleaved: Interleaved | None = None
    network: Annotated[dict[str, DIPNetwork], Field(min_length=2)] | None = None
