"""What the wide study of the hybrid restores: the sections of studies/hybrid/params.yaml that its restorations depend on."""

from typing import Annotated

from pydantic import Field, model_validator

from dualprior.settings.base import Count, Number, Section, Whole

FULL = "full"  # the prior of the default experiment


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


class Run(Section):
    """One task restored with one prior."""

    task: str
    prior: str
    model: str  # its files, without their ending: for dvc.yaml, which cannot choose
    images: Count | None = None  # the first so many measurements only
