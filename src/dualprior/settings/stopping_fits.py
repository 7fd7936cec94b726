"""What the study of stopping rules measures and fits: the sections of studies/stopping/params.yaml that fits depend on."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from dualprior.settings.base import Count, NonNegative, Number, Positive, Precision, Section, Seed, Share, Whole
from dualprior.settings.tasks import Task


class Images(Section):
    """Which crops of the default experiment, and how often each is measured anew."""

    test: Count
    seeds: Count  # each with noise, masks and networks of its own
    val: Count  # measured once
    seed: Seed


class Problem(Task):
    """A task with noise of any kind. noise: of Gaussian noise, on the 0-255 scale."""

    kind: Literal["gaussian", "poisson", "impulses"] = "gaussian"
    peak: Positive | None = None  # photons at white
    share: Share | None = None  # of the values struck by salt or pepper, over the Gaussian noise
    leaks: bool = False  # the clean image itself is the measurement: never ranked

    @model_validator(mode="after")
    def _has_its_setting(self):
        operator = {"block_average": "factor", "random_mask": "keep", "box_mask": "box", "gaussian_blur": "blur_std"}.get(self.operator)
        if operator and getattr(self, operator) is None:
            raise ValueError(f"operator {self.operator} needs {operator}")
        needed = {"poisson": "peak", "impulses": "share"}.get(self.kind)
        if needed and getattr(self, needed) is None:
            raise ValueError(f"noise of kind {self.kind} needs {needed}")
        if self.kind != "gaussian" and self.operator != "identity":
            raise ValueError(f"noise of kind {self.kind} is for the operator identity")
        if self.kind == "gaussian" and self.operator == "identity" and self.noise == 0 and not self.leaks:
            raise ValueError("denoising with noise 0 has nothing to restore; give a noise above 0")
        return self

    @property
    def denoising(self) -> bool:
        return self.operator == "identity" and not self.leaks


class Fitting(Section):
    """What all fits of the study have in common."""

    seed: Seed
    lr: Positive
    input_noise: NonNegative
    input_cell: Count
    ema: Annotated[Number, Field(ge=0, lt=1)]
    precision: Precision
    split_alpha: Positive
    hold_out: Annotated[Number, Field(gt=0, lt=0.5)]  # share of the pixels that each of the two fits is judged on
    thin: Annotated[Number, Field(gt=0, lt=0.5)]  # the same of the photons
    probe_width: Positive  # of Monte-Carlo SURE, in [-1, 1] units
    rungs: Annotated[Whole, Field(ge=2)]
    top: Positive  # the heaviest rung, in units of the measurement's noise (of 0.2 where that is 0)
    input_top: Positive  # the heaviest rung's jitter, in units of input_noise
    rung_patience: Count


class Fit(Section):
    """One entry of `fits`: a network on one problem, fitted in one way."""

    network: str
    problem: str
    steps: Annotated[Whole, Field(ge=2)]
    every: Count = 5  # steps between two kept iterates, which is how often a rule looks
    split: Literal["coupled", "held_out", "none"] = "coupled"  # none: both fits of the pair are to y itself
    whole: bool = True  # also a fit to y itself; with the literal ladder it is the only one
    probe: bool = False  # and one to y + probe_width * b
    noise_level: Literal["known", "low", "high", "estimated"] = "known"  # as the split believes it: true, -20 %, +20 %
    ladder: Literal["none", "target", "input", "literal"] = "none"

    @model_validator(mode="after")
    def _something_is_fitted(self):
        if self.ladder == "literal" and not self.whole:
            raise ValueError("the literal ladder is fitted to the whole measurement; set whole to true")
        return self

    @property
    def plain(self) -> bool:
        """Fitted the standard way: coupled split, true noise level, no ladder."""
        return (self.split, self.noise_level, self.ladder) == ("coupled", "known", "none")
