"""What a method is given and what it gives: the problem of one split of one task, and a restoration with its cost."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dualprior.common import io
from dualprior.common.seeding import ImageNoise
from dualprior.degradation.measurement import Measurement, read_measurement
from dualprior.diffusion.checkpoint import TrainedModel
from dualprior.diffusion.denoiser import Denoiser
from dualprior.diffusion.samplers import Denoise
from dualprior.dip.fit import Recipe


@dataclass(frozen=True)
class DIPFits:
    """What stage fit_dip left for one split."""

    steps: list[int]  # [S]
    snapshots: Tensor  # [S, n, C, H, W]
    stopped: Tensor  # [n, C, H, W], of the step that the stopping rule chose
    stop_step: list[int]  # [n]
    decided_step: list[int]  # [n], when the rule was sure: so many steps had to be run
    error: Tensor | None  # [n], the estimated RMSE, where the whole image is measured
    seconds_per_step: float
    recipe: Recipe

    def first(self, count: int) -> DIPFits:
        """Those of the first `count` images."""
        few = {"stopped": self.stopped, "stop_step": self.stop_step, "decided_step": self.decided_step, "error": self.error}
        return replace(
            self,
            snapshots=self.snapshots[:, :count],
            **{name: value if value is None else value[:count] for name, value in few.items()},
        )


@dataclass(frozen=True)
class Problem:
    """One split of one task, as a method sees it."""

    measured: Measurement
    denoise: Denoiser
    levels: np.ndarray  # [T] noise levels of the schedule
    fits: DIPFits
    seed: int
    memo: dict = field(default_factory=dict)  # long computations that several settings share

    @property
    def noisy(self) -> bool:
        return self.measured.sigma_y > 0

    def noise(self, purpose: str) -> ImageNoise:
        """Unit noise for this purpose, a stream for every image."""
        return ImageNoise(self.seed, purpose, self.measured.names)

    def blank(self) -> Tensor:
        y = self.measured.y
        return torch.zeros(len(y), y.shape[1], *self.measured.size, device=y.device)

    def first(self, count: int) -> Problem:
        """The problem of the first `count` images; noise and results of each image stay what they are."""
        return replace(self, measured=self.measured.first(count), fits=self.fits.first(count), memo={})


@dataclass(frozen=True)
class Cost:
    """What a restoration of one image costs."""

    seconds: float  # wall seconds
    nfe: int  # calls of the trained denoiser
    dip_passes: float  # passes of DIP networks, forwards and backwards each counted as one step


@dataclass(frozen=True, eq=False)
class Restoration:
    """A restoration of every image of a problem, and what this last piece of work cost."""

    x: Tensor  # [n, C, H, W] in [-1, 1], not clipped
    seconds: float = 0.0  # wall seconds per image
    nfe: int = 0  # network calls per image
    dip_passes: float = 0.0  # DIP steps per image, of all networks fitted
    error: Tensor | None = None  # [n], RMSE predicted without the clean image
    denoise: Denoise | None = None  # tuned to these images; None: the trained denoiser as it is
    setting: dict = field(default_factory=dict)
    earlier: tuple[Restoration, ...] = ()  # what it was made from

    def after(self, *earlier: Restoration) -> Restoration:
        """The same image, made from these."""
        return replace(self, earlier=(*self.earlier, *earlier))

    @property
    def cost(self) -> Cost:
        """All that it builds on included; what several parts share is paid for once."""
        works = self._works({})
        return Cost(*(sum(getattr(work, name) for work in works) for name in ("seconds", "nfe", "dip_passes")))

    def _works(self, found: dict[int, Restoration]) -> Collection[Restoration]:
        if id(self) not in found:
            found[id(self)] = self
            for part in self.earlier:
                part._works(found)
        return found.values()


def read_fits(folder: Path, split: str, device: torch.device) -> DIPFits:
    """One split of what stage fit_dip wrote for a task."""
    tensors, info = io.read_tensors(folder / "fits.safetensors"), io.read_json(folder / "fits.json")
    own = info[split]
    return DIPFits(
        steps=info["steps"],
        snapshots=tensors[f"{split}_snapshots"].float().to(device),
        stopped=tensors[f"{split}_stopped"].float().to(device),
        stop_step=own["stop_step"],
        decided_step=own["decided_step"],
        error=None if own["error"] is None else torch.tensor(own["error"], device=device),
        seconds_per_step=own["seconds_per_step"],
        recipe=Recipe(**info["recipe"]),
    )


def read_problems(measurements: Path, fits: Path, seed: int, model: TrainedModel, device: torch.device) -> tuple[Problem, Problem]:
    """(validation, test) of one task."""
    val, test = (
        Problem(read_measurement(measurements, split, device), model.denoise, model.levels, read_fits(fits, split, device), seed)
        for split in ("val", "test")
    )
    return val, test


def with_error(restoration: Restoration, expected: Tensor) -> Restoration:
    """Keep its own estimated error; otherwise expect what was measured on validation images, []."""
    if restoration.error is not None:
        return restoration
    return replace(restoration, error=expected.expand(len(restoration.x)))
