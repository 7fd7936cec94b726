"""The parameters of the study of stopping rules: studies/stopping/params.yaml."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, model_validator

from dualprior.common.params import Count, DIPNetwork, NonNegative, Number, Positive, Precision, Section, Seed, Share, Whole
from dualprior.degradation.task import Task


class Images(Section):
    """Which photographs of the study of the hybrid, and how often each is measured anew."""

    crop: Annotated[Whole, Field(ge=16, multiple_of=8)]  # side of the middle of its crops
    test: Count
    seeds: Count  # each with noise, masks and networks of its own
    val: Count  # measured once
    seed: Seed


class Problem(Task):
    """A task on crops or on whole photographs."""

    whole_photographs: bool = False  # its test images; validation images are crops
    leaks: bool = False  # the clean image itself is the measurement: never ranked

    def needs_noise(self) -> bool:
        return not self.leaks

    @property
    def denoising(self) -> bool:
        return not self.hides and not self.leaks


class Fitting(Section):
    """What all fits of the study have in common."""

    seed: Seed
    lr: Positive
    input_noise: NonNegative
    input_cell: Count
    ema: Annotated[Number, Field(ge=0, lt=1)]
    precision: Precision
    split_alpha: Positive
    hold_out: Annotated[Number, Field(gt=0, lt=0.5)]  # share of the pixels held out of each of the two fits
    probe_width: Positive  # of Monte-Carlo SURE, in [-1, 1] units
    levels: Annotated[Whole, Field(ge=2)]  # of noise annealing
    top: Positive  # the heaviest of them, in units of the measurement's noise (of 0.2 where that is 0)
    input_top: Positive  # the same on the input, in units of input_noise
    level_patience: Count


class Fit(Section):
    """One entry of `fits`: a network on a problem, fitted in one way."""

    network: str
    steps: Annotated[Whole, Field(ge=2)]
    every: Count = 5  # steps between two kept iterates, which is how often a rule looks
    split: Literal["recorrupted", "held_out", "none"] = "recorrupted"  # none: both paired fits are to y itself
    whole: bool = True  # also a fit to y itself; with literal annealing it is the only one
    probe: bool = False  # and one to y + probe_width * b
    noise_level: Literal["known", "low", "high", "estimated"] = "known"  # as the split believes it: true, -20 %, +20 %
    annealing: Literal["none", "target", "input", "literal"] = "none"
    input_scale: Positive = 1.0  # noise on the network's input, in units of fitting.input_noise; the control of annealing it

    @model_validator(mode="after")
    def _something_is_fitted(self):
        if self.annealing == "literal" and not self.whole:
            raise ValueError("literal annealing is fitted to the whole measurement; set whole to true")
        if self.annealing != "none" and self.input_scale != 1:
            raise ValueError("annealing sets the noise on the input itself; leave input_scale out")
        return self

    @property
    def plain(self) -> bool:
        """Fitted the standard way: recorrupted split, true noise level, no annealing, the usual noise on the input."""
        return (self.split, self.noise_level, self.annealing, self.input_scale) == ("recorrupted", "known", "none", 1.0)


class Rules(Section):
    patiences: Annotated[tuple[Count, ...], Field(min_length=1)]  # steps; the one used is chosen on validation images
    window: Annotated[Whole, Field(ge=2)]  # ES-WMV as published
    windows: Annotated[tuple[Annotated[Whole, Field(ge=2)], ...], Field(min_length=1)]  # the one of "tuned" is chosen on validation images
    window_patience: Count
    rate: Share  # ES-EMV
    diffusion_levels: Annotated[tuple[Positive, ...], Field(min_length=1)]
    diffusion_every: Count  # kept iterates between two calls of it
    self_validation_window: Annotated[Whole, Field(ge=2)]


class Params(Section):
    """The whole of studies/stopping/params.yaml."""

    images: Images
    problems: Annotated[dict[str, Problem], Field(min_length=1)]
    networks: Annotated[dict[str, DIPNetwork], Field(min_length=1)]
    fitting: Fitting
    fits: Annotated[dict[str, dict[str, Fit]], Field(min_length=1)]  # by problem
    rules: Rules

    @model_validator(mode="after")
    def _names_are_known(self):
        if self.fits.keys() != self.problems.keys():
            odd = sorted(self.fits.keys() ^ self.problems.keys())
            raise ValueError(f"fits and problems are to have the same names; only one of them has {', '.join(odd)}")
        for problem, named in self.fits.items():
            for name, fit in named.items():
                if fit.network not in self.networks:
                    raise ValueError(f"fits.{problem}.{name} names the network {fit.network}; networks has {', '.join(self.networks)}")
        return self


def each_fit(fits: Mapping[str, Mapping[str, Fit]]) -> list[tuple[str, str, Fit]]:
    """(name, problem, fit) of all; the name says both how and what is fitted: "skip-gaussian25"."""
    return [(f"{name}-{problem}", problem, fit) for problem, named in fits.items() for name, fit in named.items()]
