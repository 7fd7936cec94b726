"""The sections of params.yaml as frozen models that refuse unknown names and check ranges."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]  # neither true nor "25"; a whole number passes
Whole = Annotated[int, Field(strict=True)]
Positive = Annotated[Number, Field(gt=0)]
NonNegative = Annotated[Number, Field(ge=0)]
Share = Annotated[Number, Field(gt=0, lt=1)]
ClosedShare = Annotated[Number, Field(ge=0, le=1)]
Count = Annotated[Whole, Field(ge=1)]
Seed = Annotated[Whole, Field(ge=0, lt=2**31)]
Precision = Literal["bfloat16", "float32"]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Data(Section):
    """Where the photographs come from and how they are cut."""

    source: Literal["photos", "folder", "archive", "torchvision", "npz", "digits"]
    folder: str | None
    split: str = "photograph"
    seed: Seed
    patch_size: Annotated[Whole, Field(ge=8, multiple_of=4)]
    train_patches: Annotated[Whole, Field(ge=16)]
    scales: Annotated[tuple[Annotated[Number, Field(gt=0, le=1)], ...], Field(min_length=1)]
    image_size: Annotated[Whole, Field(ge=16, multiple_of=8)]
    val_images: Annotated[Whole, Field(ge=2)]
    test_images: Annotated[Whole, Field(ge=2)]

    @model_validator(mode="after")
    def _folder_named(self):
        needs = self.source not in ("photos", "digits")
        if needs != bool(self.folder):
            say = "is empty; name what to read" if needs else f"names {self.folder}; set data.source, or leave it empty"
            raise ValueError(f"data.source is '{self.source}' but data.folder {say}")
        return self


class Degrade(Section):
    seed: Seed


# --- the diffusion model ---------------------------------------------------------------------------------------


class Schedule(Section):
    kind: Literal["linear", "cosine", "sigmoid", "lognormal"]
    timesteps: Annotated[Whole, Field(ge=10, le=10000)]


class DDPMNetwork(Section):
    channels: Annotated[Whole, Field(ge=8)]
    multipliers: Annotated[tuple[Count, ...], Field(min_length=1, max_length=5)]
    blocks: Annotated[Whole, Field(ge=1, le=8)]
    patch: Annotated[Whole, Field(ge=1, le=4)]


class Training(Section):
    steps: Count
    batch_size: Count
    lr: Positive
    lr_decay: Literal["cosine", "linear", "none"]
    warmup_steps: Annotated[Whole, Field(ge=0)]
    grad_clip: Positive
    ema: Share
    precision: Precision
    log_every: Count
    checkpoint_every: Count
    keep: tuple[Count, ...] = ()  # steps after which the averaged weights are kept as a model of their own

    def of_the_loop(self) -> dict:
        """The arguments of diffusion.training.train among these."""
        return self.model_dump(exclude={"precision", "log_every", "checkpoint_every", "keep"})


class DDPM(Section):
    pretrained: str | None = None  # folder of a diffusers pipeline to use instead of training; the rest is then idle
    seed: Seed
    prediction: Literal["eps", "x0", "v"]
    schedule: Schedule
    network: DDPMNetwork
    training: Training

    def of_the_checkpoint(self, **network) -> dict:
        """What diffusion.checkpoint.save keeps of these; network: arguments of the UNet beside its own."""
        own = self.network.model_dump() | network
        return {"network": own, "precision": self.training.precision, "schedule": self.schedule.model_dump()}


# --- the Deep Image Prior --------------------------------------------------------------------------------------


class DIPNetwork(Section):
    kind: Literal["skip", "unet", "decoder"]
    channels: Annotated[tuple[Count, ...], Field(min_length=1, max_length=6)]
    skip_channels: Annotated[Whole, Field(ge=0)] | None = None
    lr: Positive | None = None  # its own, in place of those of all networks
    steps: Annotated[Whole, Field(ge=2)] | None = None
    input_channels: Count

    @model_validator(mode="after")
    def _skips_of_the_skip_network(self):
        if (self.skip_channels is not None) != (self.kind == "skip"):
            raise ValueError(f"skip_channels belongs to kind skip, and to it alone; kind is {self.kind}")
        return self


class DIP(Section):
    seed: Seed
    networks: Annotated[dict[str, DIPNetwork], Field(min_length=1)]  # each task's is chosen on validation images
    steps: Annotated[Whole, Field(ge=2)]
    snapshots: Annotated[Whole, Field(ge=2)]
    lr: Positive
    input_noise: NonNegative
    input_cell: Count
    input_cell_denoising: Count
    ema: Annotated[Number, Field(ge=0, lt=1)]
    split_alpha: Positive
    check_every: Count
    least_step: Whole  # exact data: the stopping rule is not asked before it
    patience: Count
    precision: Precision

    @model_validator(mode="after")
    def _snapshots_fit(self):
        for name in ("least_step", "snapshots"):
            if getattr(self, name) > self.steps:
                raise ValueError(f"dip.{name}={getattr(self, name)} is more than dip.steps={self.steps}; lower it")
        return self


# --- restorations ----------------------------------------------------------------------------------------------


class Chains(Section):
    """Reverse diffusion from pure noise: the settings tried on validation images."""

    calls: Annotated[tuple[Annotated[Whole, Field(ge=1, le=100)], ...], Field(min_length=1)]
    zetas: Annotated[tuple[ClosedShare | None, ...], Field(min_length=1)]  # None: DDPM's own noise
    data_weights: Annotated[tuple[Positive, ...], Field(min_length=1)]
    mean_of: Annotated[Whole, Field(ge=2)]  # chains of `ddpm_mean`
    mean_zeta: ClosedShare  # tried beside the chain's own: the mean of several wants chains that differ
    full_calls: Annotated[Whole, Field(ge=2)]  # of `ddpm_1000`
    full_zeta: ClosedShare  # its zeta: above 0.3 or so hundreds of calls diverge (report, Stability)
    full_images: Annotated[Whole, Field(ge=0)]  # the first so many test images only


class Restarts(Section):
    """The start rule: level = start_scale * predicted error of the start."""

    start_scales: Annotated[tuple[Positive, ...], Field(min_length=1)]
    calls: Annotated[tuple[Count, ...], Field(min_length=1)]


class Guided(Section):
    """Chains from pure noise guided by the stopped DIP."""

    calls: Count
    samples: Annotated[Whole, Field(ge=1)]
    gammas: Annotated[tuple[ClosedShare, ...], Field(min_length=1)]


class GainTuning(Section):
    """The trained denoiser fitted to the measurement itself."""

    steps: Count
    check_every: Count
    patience: Count
    lr: Positive
    alpha: Positive


class Restore(Section):
    seed: Seed
    tv_weights: Annotated[tuple[Positive, ...], Field(min_length=1)]
    nlm_strengths: Annotated[tuple[Positive, ...], Field(min_length=1)]
    one_step_levels: Annotated[tuple[Positive, ...], Field(min_length=1)]
    data_weight: Positive  # of restarts and guided chains of noisy tasks; without noise the data are met exactly
    ddpm: Chains
    restart: Restarts
    guided: Guided
    gain_tuning: GainTuning

    def without_full_chain(self) -> Self:
        """The same without the chain of a thousand calls."""
        return self.model_copy(update={"ddpm": self.ddpm.model_copy(update={"full_images": 0})})


class Generate(Section):
    """Unconditional samples."""

    seed: Seed
    images: Annotated[Whole, Field(ge=4)]
    size: Annotated[Whole, Field(ge=8, multiple_of=8)]
    calls: Annotated[tuple[Count, ...], Field(min_length=1)]
    samplers: Annotated[tuple[str, ...], Field(min_length=1)]


class Ablate(Section):
    """The values of the published ablations."""

    tasks: Annotated[tuple[str, ...], Field(min_length=1)]
    start_scale: Annotated[tuple[Positive, ...], Field(min_length=2)]
    dip_steps: Annotated[tuple[Count, ...], Field(min_length=2)]
    calls: Annotated[tuple[Count, ...], Field(min_length=2)]


class Audit(Section):
    """Broken protocols of public solutions, on validation images."""

    tasks: Annotated[tuple[str, ...], Field(min_length=1)]
    steps: Annotated[Whole, Field(ge=2)]  # of the DIP fitted to noised copies
    levels: Annotated[Whole, Field(ge=2)]
    top: Positive  # the heaviest noise of a copy, in [-1, 1] units
    calls: Count  # of the guided chain
    gamma: ClosedShare
    restart_calls: Count


class Evaluate(Section):
    bootstrap: Annotated[Whole, Field(ge=100)]
    seed: Seed
    extractor: Literal["patch-features", "inception"]
    inception_weights: str | None
