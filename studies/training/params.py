"""The parameters of the study of DIP priors in training: studies/training/params.yaml."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from dualprior.common.params import DDPM, DIP, Count, Number, Positive, Section, Seed, Share, Whole
from studies.hybrid.params import Folders


class Patches(Folders):
    """What is cut from them."""

    validation: Count  # photographs of the folder `train`
    size: Annotated[Whole, Field(ge=16, multiple_of=8)]
    count: Count
    scales: Annotated[tuple[Annotated[Number, Field(gt=0, le=1)], ...], Field(min_length=1)]
    each: Count


Fit = Annotated[str, Field(pattern="^[a-z]+[1-9][0-9]*$")]  # a network and its steps: "skip50"
Guess = Literal["cheap", "smooth", "dip"]  # the operator's cheap start; the same, or total variation of what is noisy; a DIP's output


class Variant(Section):
    """One way to hand a first guess to a conditional diffusion model."""

    condition: Annotated[tuple[Guess, ...], Field(min_length=1)]  # what it sees
    mean: Guess | None  # of the residual, or where a truncated chain starts
    fit: Fit | None  # of the DIP, where it is not the one that the problem's others have
    residual: bool  # what is diffused is the image less the mean
    sigma_max: Positive | None  # trained up to this level, and started from the mean noised to it
    initialised: bool  # weights first fitted as a DIP
    times: Count  # of the training steps

    @model_validator(mode="after")
    def _mean_where_needed(self):
        if (self.mean is None) != (not self.residual and self.sigma_max is None):
            raise ValueError("a residual or truncated variant needs a mean, and no other has one")
        return self

    @property
    def uses_dip(self) -> bool:
        return "dip" in (*self.condition, self.mean)


class Variants(Section):
    usual: Variant
    compared: dict[str, dict]
    axes: dict[str, dict[str, tuple]]

    @model_validator(mode="after")
    def _all_are_variants(self):
        _ = self.every
        return self

    @property
    def every(self) -> dict[str, Variant]:
        """Those compared, and those of the axes as "truncated fit=skip25" and "condition condition=cheap+dip"."""
        usual = self.usual.model_dump()
        found = {name: Variant(**usual | own) for name, own in self.compared.items()}
        for name, axes in self.axes.items():
            of = found[name].model_dump()
            for axis, value in ((axis, value) for axis, values in axes.items() for value in values):
                shown = "+".join(value) if isinstance(value, list | tuple) else value
                found[f"{name} {axis}={shown}"] = Variant(**of | {axis: value})
        return found


class Initialise(Section):
    images: Count
    steps: Count
    lr: Positive


class Refits(Section):
    at: tuple[Count, ...]  # calls after which the DIP goes on from the guess
    steps: Count
    share: Share  # of the DIP in what is handed back


class Variations(Section):
    problem: str
    starts: Annotated[tuple[str, ...], Field(min_length=1)]  # files of guesses: "cheap", or a network and a length
    levels: Annotated[tuple[Positive, ...], Field(min_length=1)]
    calls: Annotated[tuple[Count, ...], Field(min_length=1)]
    noise_calls: Count  # of the reference, from pure noise
    draws: Annotated[Whole, Field(ge=2)]


class Params(Section):
    patches: Patches
    problems: Annotated[tuple[str, ...], Field(min_length=1)]
    ablated: str
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)]
    dip: DIP
    fits: dict[str, Annotated[tuple[Fit, ...], Field(min_length=1)]]
    tv_weight: Positive
    ddpm: DDPM
    variants: Variants
    initialise: Initialise
    calls: Count
    more_calls: tuple[Count, ...]
    plain_calls: Count
    refits: Refits
    variations: Variations

    @model_validator(mode="after")
    def _what_is_named_is_there(self):
        if set(self.fits) != set(self.problems):
            raise ValueError("fits and problems name different problems")
        for fit in (fit for fits in self.fits.values() for fit in fits):
            if split_fit(fit)[0] not in self.dip.networks:
                raise ValueError(f"fits: {fit} is not of dip.networks")
        for name, variant in self.variants.every.items():
            if variant.fit not in (None, *self.fits[self.ablated]):
                raise ValueError(f"variant {name}: fit={variant.fit} is not among the fits of {self.ablated}")
        return self


def split_fit(fit: str) -> tuple[str, int]:
    """The network and the number of steps."""
    name = fit.rstrip("0123456789")
    return name, int(fit[len(name) :])
