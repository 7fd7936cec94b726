"""The settings tried for the restorers: sections `restore` and `hybrid`."""

from typing import Annotated

from pydantic import Field

from dualprior.settings.base import Count, NonNegative, Number, Positive, Section, Seed, Whole


class DDPMGrid(Section):
    calls: Annotated[tuple[Annotated[Whole, Field(ge=1, le=100)], ...], Field(min_length=1)]
    zetas: Annotated[tuple[Annotated[Number, Field(ge=0, le=1)], ...], Field(min_length=1)]
    data_weights: Annotated[tuple[Positive, ...], Field(min_length=1)]


class MeanOf(Section):
    samples: Annotated[Whole, Field(ge=2)]
    calls: Count
    long_calls: Count  # in all, of the mean of as many chains as that pays for


class FullChain(Section):
    calls: Annotated[Whole, Field(ge=2)]
    images: Count
    zetas: Annotated[tuple[Annotated[Number, Field(ge=0, le=1)] | None, ...], Field(min_length=1)]  # None: DDPM's own noise


class Restarts(Section):
    """Tried for the restart from a cheap start, a control, and for that from the stopped DIP."""

    scales: Annotated[tuple[Positive, ...], Field(min_length=1)]
    calls: Annotated[tuple[Count, ...], Field(min_length=1)]


class Restore(Section):
    seed: Seed
    ddpm: DDPMGrid
    mean: MeanOf
    full: FullChain
    restart: Restarts
    short_dip: Count  # steps, to the nearest snapshot, of the cheapest DIP start
    one_step_levels: Annotated[tuple[Positive, ...], Field(min_length=1)]


class Coupled(Section):
    beta: NonNegative
    refresh: Count
    level_scale: Positive
    steps: Annotated[Whole, Field(ge=2)]


class Adapt(Section):
    """The denoiser fitted to the measurement itself."""

    steps: Count
    every: Count
    patience: Count
    lr: Positive
    alpha: Positive
    split_alpha: Positive


class Hybrid(Section):
    """One setting for all tasks; of a list, each task's is chosen on validation images."""

    inflations: Annotated[tuple[Positive, ...], Field(min_length=1)]
    start_scale: Positive
    calls: Count
    samples: Annotated[Whole, Field(ge=2)]
    sample_calls: Count
    guided_calls: Count
    gammas: Annotated[tuple[Annotated[Number, Field(ge=0, le=1)], ...], Field(min_length=1)]
    data_weight: Positive
    adapt: Adapt
    coupled: Coupled
