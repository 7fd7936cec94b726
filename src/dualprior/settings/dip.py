"""The Deep Image Prior: section `dip`."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from dualprior.settings.base import Count, NonNegative, Number, Positive, Precision, Section, Seed, Share, Whole


class DIPNetwork(Section):
    kind: Literal["skip"]
    channels: Annotated[tuple[Count, ...], Field(min_length=1, max_length=6)]
    skip_channels: Annotated[Whole, Field(ge=0)]
    input_channels: Count


class DIP(Section):
    seed: Seed
    network: DIPNetwork
    steps: Annotated[Whole, Field(ge=2)]
    snapshots: Annotated[Whole, Field(ge=2)]
    lr: Positive
    input_noise: NonNegative
    input_cell: Count
    ema: Annotated[Number, Field(ge=0, lt=1)]
    split_alpha: Positive
    hold_out: Share
    precision: Precision

    @model_validator(mode="after")
    def _snapshots_fit(self):
        if self.snapshots > self.steps:
            raise ValueError(f"dip.snapshots={self.snapshots} is more than dip.steps={self.steps}; lower it")
        return self
