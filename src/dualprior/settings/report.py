"""The written report: section of studies/report/params.yaml."""

from typing import Annotated

from pydantic import Field

from dualprior.settings.base import Count, Positive, Section, Seed


class Laws(Section):
    """What the Gaussian laws are drawn for, beside simulation and the trained network."""

    variance: Positive  # of the Gaussian data
    error: Positive  # RMSE of the start
    levels: Annotated[tuple[Positive, ...], Field(min_length=3)]
    pixels: Count  # of the simulation
    task: str  # of which the trained network's means and blends are drawn
    samples: Annotated[tuple[Count, ...], Field(min_length=2)]
    calls: Count
    seed: Seed


class Pictures(Section):
    image: Annotated[int, Field(strict=True, ge=0)]  # the test crop that the sliders show
    worst: Count  # failures shown for each task
    levels: Annotated[tuple[Positive, ...], Field(min_length=2)]  # of the slider over the start level


class Report(Section):
    """The whole of studies/report/params.yaml."""

    laws: Laws
    pictures: Pictures
