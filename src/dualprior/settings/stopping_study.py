"""The study of stopping rules: studies/stopping/params.yaml as a whole, and the sections that no fit depends on."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from dualprior.settings.base import Count, NonNegative, Positive, Section, Seed, Share, Whole
from dualprior.settings.dip import DIPNetwork
from dualprior.settings.stopping_fits import Fit, Fitting, Images, Problem

Term = Literal["none", "perceptual", "adversarial", "denoiser", "conditional"]


class Guide(Section):
    """The extra terms of the loss: the weights tried on validation images."""

    network: str
    problems: Annotated[tuple[str, ...], Field(min_length=1)]
    steps: Annotated[Whole, Field(ge=2)]
    refresh: Count
    patience: Count
    weights: dict[Term, Annotated[tuple[NonNegative, ...], Field(min_length=1)]]


class Rules(Section):
    patiences: Annotated[tuple[Count, ...], Field(min_length=1)]  # steps; the one used is chosen on validation images
    window: Annotated[Whole, Field(ge=2)]  # ES-WMV as published
    windows: Annotated[tuple[Annotated[Whole, Field(ge=2)], ...], Field(min_length=1)]  # the one of "tuned" is chosen on validation images
    window_patience: Count
    rate: Share  # ES-EMV
    judge_levels: Annotated[tuple[Positive, ...], Field(min_length=1)]  # of the diffusion judge
    judge_every: Count  # kept iterates between two calls of it
    self_validation_window: Annotated[Whole, Field(ge=2)]


class Judging(Section):
    bootstrap: Annotated[Whole, Field(ge=100)]
    confidence: Share
    seed: Seed
    shown: Count  # images drawn in the plot of stops


class StoppingStudy(Section):
    """The whole of studies/stopping/params.yaml."""

    images: Images
    problems: Annotated[dict[str, Problem], Field(min_length=1)]
    networks: Annotated[dict[str, DIPNetwork], Field(min_length=1)]
    fitting: Fitting
    fits: Annotated[dict[str, Fit], Field(min_length=1)]
    guide: Guide
    rules: Rules
    judging: Judging

    @model_validator(mode="after")
    def _names_are_known(self):
        users = {f"fits.{name}": (fit.network, [fit.problem]) for name, fit in self.fits.items()}
        for name, (network, problems) in {**users, "guide": (self.guide.network, self.guide.problems)}.items():
            unknown = [problem for problem in problems if problem not in self.problems]
            if unknown:
                raise ValueError(f"{name} names {unknown[0]}, which problems does not have; it has {', '.join(self.problems)}")
            if network not in self.networks:
                raise ValueError(f"{name} names the network {network}; networks has {', '.join(self.networks)}")
        return self
