"""The diffusion model and its training: section `ddpm`."""

from typing import Annotated, Literal

from pydantic import Field

from dualprior.settings.base import Count, Positive, Precision, Section, Seed, Share, Whole


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


class DDPM(Section):
    seed: Seed
    prediction: Literal["eps", "x0", "v"]
    schedule: Schedule
    network: DDPMNetwork
    training: Training
