"""The parameters of the wide study of the hybrid: studies/hybrid/params.yaml. What is not there is the default experiment's."""

from typing import Annotated

from pydantic import Field, model_validator

from dualprior.common.params import Ablate, ClosedShare, Count, Number, Positive, Section, Whole


class Crops(Section):
    """How many crops, in place of the default experiment's, and how often each test crop is measured."""

    test: Count
    skip: Annotated[Whole, Field(ge=0)]  # test crops passed over first
    val: Annotated[Whole, Field(ge=2)]
    seeds: Count  # each with noise, masks, DIP networks and samplers' noise of its own


class Prior(Section):
    """A weaker diffusion model: trained, as long as the default one, on a part of its patches or on other photographs."""

    share: Annotated[Number, Field(gt=0, le=1)] | None = None  # of the training patches
    files: tuple[str, ...] | None = None  # photographs shipped with a package, "skimage/data/ihc.png"

    @model_validator(mode="after")
    def _one_of_both(self):
        if (self.share is None) == (self.files is None):
            raise ValueError("a prior has either a share of the patches or files of its own")
        return self


class Realism(Section):
    """Fréchet distance against network calls."""

    tasks: Annotated[tuple[str, ...], Field(min_length=1)]
    calls: Annotated[tuple[Count, ...], Field(min_length=2)]
    full: Count  # calls of the chain that is to be matched
    images: Count  # the first so many measurements
    scales: Annotated[tuple[Positive, ...], Field(min_length=1)]  # of the start: above 1 there is noise to be turned into detail
    zetas: Annotated[tuple[ClosedShare | None, ...], Field(min_length=1)]  # None: DDPM's own noise
    chosen_at: Count  # calls, at which validation crops choose scale and zeta by the distance


class Contraction(Section):
    """How a restart passes on the error of its start."""

    levels: Annotated[tuple[Positive, ...], Field(min_length=2)]
    calls: Count
    size: Positive  # RMS of the perturbation, in [-1, 1] units
    images: Count


class DPS(Section):
    """Diffusion posterior sampling, its strength chosen on validation images."""

    calls: Annotated[Whole, Field(ge=2)]
    strengths: Annotated[tuple[Positive, ...], Field(min_length=1)]
    images: Count


class Params(Section):
    """The whole of studies/hybrid/params.yaml."""

    crops: Crops
    priors: dict[str, Prior]
    prior_tasks: Annotated[tuple[str, ...], Field(min_length=1)]  # restored with the weaker priors too
    problems: Annotated[tuple[str, ...], Field(min_length=1)]
    realism: Realism
    contraction: Contraction
    dps: DPS
    ablate: Ablate  # in place of the default experiment's

    @model_validator(mode="after")
    def _every_task_is_there(self):
        named = {"prior_tasks": self.prior_tasks, **{f"{part}.tasks": getattr(self, part).tasks for part in ("realism", "ablate")}}
        for where, tasks in named.items():
            unknown = [task for task in tasks if task not in self.problems]
            if unknown:
                raise ValueError(f"{where}={unknown[0]} is not in problems; it has {', '.join(self.problems)}")
        return self
