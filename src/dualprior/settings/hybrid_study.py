"""The wide study of the hybrid: studies/hybrid/params.yaml. What is not there is the default experiment's."""

from typing import Annotated

from pydantic import Field, model_validator

from dualprior.settings.ablate import Ablate
from dualprior.settings.base import Count, NonNegative, Number, Positive, Section, Share, Whole
from dualprior.settings.hybrid_runs import FULL, Crops, Prior, Run


class Realism(Section):
    """Fréchet distance against network calls."""

    tasks: Annotated[tuple[str, ...], Field(min_length=1)]
    calls: Annotated[tuple[Count, ...], Field(min_length=2)]
    full: Count  # calls of the chain that is to be matched
    images: Count  # the first so many measurements
    # Of these the least distance on validation crops chooses, at `chosen_at` calls, for every kind of start by itself:
    scales: Annotated[tuple[Positive, ...], Field(min_length=1)]  # kappa: above 1 there is noise to be turned into detail
    zetas: Annotated[tuple[Annotated[Number, Field(ge=0, le=1)] | None, ...], Field(min_length=1)]  # None: DDPM's own noise
    chosen_at: Count
    within: Share  # of the full chain's distance


class Contraction(Section):
    """How a restart passes on the error of its start."""

    levels: Annotated[tuple[Positive, ...], Field(min_length=2)]
    calls: Count
    size: Positive  # RMS of the perturbation, in [-1, 1] units
    images: Count


class Classic(Section):
    """Diffusion posterior sampling, its strength chosen on validation images."""

    calls: Annotated[Whole, Field(ge=2)]
    strengths: Annotated[tuple[Positive, ...], Field(min_length=1)]
    images: Count


class Meta(Section):
    """The meta-learned state of cheap DIP fits, and what is fitted from it."""

    tasks: Annotated[tuple[str, ...], Field(min_length=1)]
    outer: Count
    inner: Count
    batch: Count
    rate: Annotated[Number, Field(gt=0, le=1)]  # share of the way to the fitted weights, at first
    noise: NonNegative  # on the training images, on the 0-255 scale
    kept: Annotated[tuple[Count, ...], Field(min_length=2)]  # steps
    images: Count


class HybridStudy(Section):
    """The whole of studies/hybrid/params.yaml."""

    crops: Crops
    priors: dict[str, Prior]
    problems: Annotated[tuple[str, ...], Field(min_length=1)]
    runs: Annotated[dict[str, Run], Field(min_length=1)]
    realism: Realism
    contraction: Contraction
    classic: Classic
    meta: Meta
    ablate: Ablate  # in place of the default experiment's

    @model_validator(mode="after")
    def _runs_name_what_there_is(self):
        for name, run in self.runs.items():
            if run.prior not in (FULL, *self.priors):
                raise ValueError(f"runs.{name}.prior={run.prior} is not in priors; choose one of {', '.join((FULL, *self.priors))}")
            if run.model != (f"models/hybrid/priors/{run.prior}/ddpm" if run.prior != FULL else "models/ddpm"):
                raise ValueError(f"runs.{name}.model={run.model} is not where the prior '{run.prior}' lies")
            if run.prior == FULL and (name != run.task or run.images is not None):
                raise ValueError(f"runs.{name} has the full prior: it is named after its task and has no images of its own")
        return self

    @model_validator(mode="after")
    def _every_task_is_there(self):
        """What is restored, sampled, refitted or swept is measured, and every measured task is restored with the full prior."""
        named = {f"runs.{name}.task": [run.task] for name, run in self.runs.items()}
        named |= {f"{part}.tasks": getattr(self, part).tasks for part in ("realism", "meta", "ablate")}
        for where, tasks in named.items():
            unknown = [task for task in tasks if task not in self.problems]
            if unknown:
                raise ValueError(f"{where}={unknown[0]} is not in problems; it has {', '.join(self.problems)}")
        missing = [task for task in self.problems if task not in self.runs]
        if missing:
            raise ValueError(f"problems has {missing[0]}, but no run with the full prior is named so")
        return self

    @model_validator(mode="after")
    def _runs_of_one_seed(self):
        """The first seed's crops come first; a run of the first few is compared with those of the full prior's first seed."""
        for name, run in self.runs.items():
            if run.images is not None and run.images != self.crops.test:
                raise ValueError(f"runs.{name}.images={run.images} is not crops.test={self.crops.test}, all crops of one seed")
        return self
