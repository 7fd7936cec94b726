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
    fitted: Count  # of them, the first
    scales: Annotated[tuple[Annotated[Number, Field(gt=0, le=1)], ...], Field(min_length=1)]
    each: Count


Fit = Annotated[str, Field(pattern="^[a-z]+[1-9][0-9]*$")]  # a network and its steps: "skip50"
Guess = Literal["cheap", "classic", "dip"]  # the operator's cheap start; total variation of it; a DIP's output


class Variant(Section):
    """One way to hand a first guess to a conditional diffusion model."""

    condition: Annotated[tuple[Guess, ...], Field(min_length=1)]  # what it sees
    mean: Guess | None  # of the residual, or where a truncated chain starts
    fit: Fit | None  # of the DIP, where it is not the one chosen for the problem
    residual: bool  # what is diffused is the image less the mean
    sigma_max: Positive | None  # trained up to this level, and started from the mean noised to it
    initialised: bool  # weights first fitted as a DIP
    times: Count  # of the training steps
    patches: Count  # of the training patches, the first

    @model_validator(mode="after")
    def _mean_where_needed(self):
        if (self.mean is None) != (not self.residual and self.sigma_max is None):
            raise ValueError("a residual or truncated variant needs a mean, and no other has one")
        return self

    @property
    def guesses(self) -> set[str]:
        """The files of guesses that it needs."""
        named = {"dip": self.fit or "dip"}
        return {named.get(guess, guess) for guess in (*self.condition, self.mean) if guess is not None}

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
    steps: Count
    lr: Positive


PLAIN = "plain"
REFITTED, MIXED = "refitted", "mixed"  # the plain model, handed a DIP that is fitted on to its guesses, or the DIP as it was


class Refits(Section):
    at: tuple[Count, ...]  # calls after which the DIP goes on from the guess
    steps: Count
    share: Share  # of the DIP in what is handed back


class Variations(Section):
    problem: str
    starts: Annotated[tuple[Guess, ...], Field(min_length=1)]
    levels: Annotated[tuple[Positive, ...], Field(min_length=1)]
    calls: Annotated[tuple[Count, ...], Field(min_length=1)]
    noise_calls: Count  # of the reference, from pure noise


class Params(Section):
    patches: Patches
    problems: Annotated[tuple[str, ...], Field(min_length=1)]
    ablated: str
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)]
    dip: DIP
    fits: Annotated[tuple[Fit, ...], Field(min_length=1)]
    more_fits: tuple[Fit, ...]
    tv_weights: Annotated[tuple[Positive, ...], Field(min_length=1)]
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
        for fit in (*self.fits, *self.more_fits):
            if split_fit(fit)[0] not in self.dip.networks:
                raise ValueError(f"fits: {fit} is not of dip.networks")
        for name, variant in self.variants.every.items():
            if variant.fit not in (None, *self.fits, *self.more_fits):
                raise ValueError(f"variant {name}: fit={variant.fit} is not among the fits")
            if variant.patches > (self.patches.fitted if variant.uses_dip else self.patches.count):
                raise ValueError(f"variant {name}: patches={variant.patches} is more than there are")
        return self


def split_fit(fit: str) -> tuple[str, int]:
    """The network and the number of steps."""
    name = fit.rstrip("0123456789")
    return name, int(fit[len(name) :])
