"""The parameters of the study of super-resolution: studies/super_resolution/params.yaml."""

from typing import Annotated

from pydantic import Field

from dualprior.common.params import DDPM, Count, Number, Section, Seed, Whole
from studies.hybrid.params import Folders


class Photographs(Folders):
    """What is cut from them."""

    patch: Annotated[Whole, Field(ge=8, multiple_of=4)]
    patches: Count
    scales: Annotated[tuple[Annotated[Number, Field(gt=0, le=1)], ...], Field(min_length=1)]
    crop: Annotated[Whole, Field(ge=16, multiple_of=8)]
    crops: Count


class Digits(Section):
    test: Count


class Pairs(Section):
    factor: Annotated[Whole, Field(ge=2)]
    photographs: Photographs
    digits: Digits


class Sample(Section):
    calls: Annotated[tuple[Count, ...], Field(min_length=1)]
    full_calls: Count
    full_images: Count
    draws: Annotated[Whole, Field(ge=2)]


class Params(Section):
    pairs: Pairs
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)]
    ddpm: DDPM
    sample: Sample
