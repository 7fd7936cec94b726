"""The Deep Image Prior: section `dip`."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from dualprior.settings.base import Count, NonNegative, Number, Positive, Precision, Section, Seed, Whole
from dualprior.settings.tasks import OperatorName


class DIPNetwork(Section):
    kind: Literal["skip", "unet", "decoder"]
    channels: Annotated[tuple[Count, ...], Field(min_length=1, max_length=6)]
    skip_channels: Annotated[Whole, Field(ge=0)] | None = None
    input_channels: Count

    @model_validator(mode="after")
    def _skips_of_the_skip_network(self):
        if (self.skip_channels is not None) != (self.kind == "skip"):
            raise ValueError(f"skip_channels belongs to kind skip, and to it alone; kind is {self.kind}")
        return self


class DIP(Section):
    seed: Seed
    network: DIPNetwork
    networks: dict[OperatorName, DIPNetwork] = {}  # in place of it, for these operators
    steps: Annotated[Whole, Field(ge=2)]
    snapshots: Annotated[Whole, Field(ge=2)]
    lr: Positive
    input_noise: NonNegative
    input_cell: Count
    input_cell_denoising: Count
    data_term: Literal["least_squares", "back_projection"]
    ema: Annotated[Number, Field(ge=0, lt=1)]
    split_alpha: Positive
    judge_every: Count
    least_step: Whole  # exact data: the judges are not asked before it
    patience: Count
    precision: Precision

    def recipe(self, operator: str) -> dict:
        """The section as plain values, with the network and the cell of the input that suit the operator."""
        cell = self.input_cell_denoising if operator == "identity" else self.input_cell
        return {**self.model_dump(), "network": self.network_of(operator).model_dump(), "input_cell": cell}

    def network_of(self, operator: str) -> DIPNetwork:
        return self.networks.get(operator, self.network)

    @model_validator(mode="after")
    def _snapshots_fit(self):
        if self.least_step > self.steps:
            raise ValueError(f"dip.least_step={self.least_step} is more than dip.steps={self.steps}; lower it")
        if self.snapshots > self.steps:
            raise ValueError(f"dip.snapshots={self.snapshots} is more than dip.steps={self.steps}; lower it")
        return self
