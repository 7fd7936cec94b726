"""The parameters of the study of the standard sets: studies/standard_sets/params.yaml."""

from typing import Annotated

from pydantic import Field

from dualprior.common.params import Count, NonNegative, Positive, Precision, Section, Seed, Share, Whole


class Protocols(Section):
    noise: Positive
    keep: Share
    scale: Annotated[Whole, Field(ge=2)]
    seed: Seed


class PlainDIP(Section):
    """One skip network, one image, no stop."""

    image: str
    steps: Count
    seed: Seed
    lr: Positive
    input_noise: NonNegative
    ema: Share
    channels: tuple[Count, ...]
    skip_channels: Whole
    input_channels: Count
    precision: Precision
    shown_every: Count


class Params(Section):
    protocols: Protocols
    plain_dip: PlainDIP
