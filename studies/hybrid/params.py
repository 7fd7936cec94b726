"""The parameters of the wide study of the hybrid: studies/hybrid/params.yaml. What is not there is the default experiment's."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from dualprior.common.params import DDPM, DIP, Ablate, Count, Number, Positive, Restore, Section, Whole

FULL, FOREIGN = "full", "foreign"  # names of priors; the others are called by their training steps


class Folders(Section):
    """Where photographs lie."""

    train: str
    test: Annotated[tuple[str, ...], Field(min_length=1)]
    leave_out: tuple[str, ...]  # files of the test folders


class Photographs(Folders):
    """What is cut from them."""

    validation: Annotated[Whole, Field(ge=2)]  # of the folder `train`
    patch_size: Annotated[Whole, Field(ge=8, multiple_of=4)]
    patches: Count
    scales: Annotated[tuple[Annotated[Number, Field(gt=0, le=1)], ...], Field(min_length=1)]  # of the training photographs
    crop: Annotated[Whole, Field(ge=16, multiple_of=8)]
    whole: Annotated[Whole, Field(ge=16, multiple_of=8)]  # side of the squares that stand for whole photographs
    seeds: Count  # of each test crop, with noise, masks, DIP networks and samplers' noise of its own


class Foreign(Section):
    """A diffusion model trained on images of another kind, shipped with a package: "skimage/data/ihc.png"."""

    files: Annotated[tuple[str, ...], Field(min_length=1)]
    patches: Count
    steps: Count


class Strength(Section):
    """Restorations with weaker diffusion models: those kept after so many training steps, and "foreign"."""

    priors: tuple[str, ...]
    validation: Annotated[Whole, Field(ge=2)]  # the first so many validation crops
    images: Count  # the first so many test measurements


class Fitting(Section):
    """The trained network fitted to one image, from trained and from random weights."""

    priors: tuple[str, ...]
    task: str
    validation: Annotated[Whole, Field(ge=2)]
    images: Count
    lr: dict[Literal["all", "gains"], Annotated[tuple[Positive, ...], Field(min_length=1)]]  # tried on validation crops
    steps: Count
    every: Count
    alpha: Positive


class NoiseLevels(Section):
    """Denoising at further noise levels."""

    task: str  # denoising; noise is added to its measurements
    levels: tuple[str, ...]  # on the 0-255 scale, above the task's
    validation: Annotated[Whole, Field(ge=2)]
    images: Count


class LongFits(Section):
    """The Deep Image Prior fitted `times` as many steps as by default."""

    tasks: Annotated[tuple[str, ...], Field(min_length=1)]
    times: Count
    images: Count
    snapshots: Annotated[Whole, Field(ge=2)]


class DPS(Section):
    """Diffusion posterior sampling, its strength chosen on validation images, and the mean of chains as long."""

    calls: Annotated[Whole, Field(ge=2)]
    chains: Annotated[Whole, Field(ge=2)]
    strengths: Annotated[tuple[Positive, ...], Field(min_length=1)]
    validation: Annotated[Whole, Field(ge=2)]
    images: Count


class Params(Section):
    """The whole of studies/hybrid/params.yaml."""

    photographs: Photographs
    ddpm: DDPM  # in place of the default experiment's, as are dip, restore and ablate
    dip: DIP
    restore: Restore
    problems: Annotated[tuple[str, ...], Field(min_length=1)]
    foreign: Foreign
    strength: Strength
    fitting: Fitting
    noise_levels: NoiseLevels
    long_fits: LongFits
    dps: DPS
    ablate: Ablate

    @model_validator(mode="after")
    def _what_is_named_is_there(self):
        named = {"fitting.task": (self.fitting.task,), "noise_levels.task": (self.noise_levels.task,)}
        named |= {"long_fits.tasks": self.long_fits.tasks, "ablate.tasks": self.ablate.tasks}
        for where, tasks in named.items():
            unknown = [task for task in tasks if task not in self.problems]
            if unknown:
                raise ValueError(f"{where}={unknown[0]} is not in problems; it has {', '.join(self.problems)}")
        kept = [*map(str, self.ddpm.training.keep), FULL, FOREIGN]
        for where, priors in {"strength.priors": self.strength.priors, "fitting.priors": self.fitting.priors}.items():
            unknown = [prior for prior in priors if prior not in kept]
            if unknown:
                raise ValueError(f"{where}={unknown[0]} is not a prior; choose from {', '.join(kept)}")
        half = str(self.ddpm.training.steps // 2)
        if half not in self.strength.priors:
            raise ValueError(f"strength.priors lacks {half}, half of ddpm.training.steps, which the findings ask about; add it")
        return self
