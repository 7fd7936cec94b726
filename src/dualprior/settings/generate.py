"""Unconditional samples: section `generate`."""

from typing import Annotated, Literal

from pydantic import Field

from dualprior.settings.base import Count, Section, Seed, Whole


class Generate(Section):
    seed: Seed
    images: Annotated[Whole, Field(ge=4)]
    size: Annotated[Whole, Field(ge=8, multiple_of=8)]
    calls: Annotated[tuple[Count, ...], Field(min_length=1)]
    samplers: Annotated[tuple[Literal["ddpm", "ddim"], ...], Field(min_length=1)]
