"""What a restorer is given and what it gives: the problem of one split of one task, and an estimate with its cost."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from dualprior import artifacts, observation
from dualprior.back_projection import DataTerm
from dualprior.denoiser import Denoiser
from dualprior.dip import Recipe
from dualprior.observation import Observation
from dualprior.pretrained import Pretrained
from dualprior.sampling import Denoise
from dualprior.seeding import ImageNoise
from dualprior.settings.tasks import Task

if TYPE_CHECKING:
    from dualprior.paths import Paths


@dataclass(frozen=True)
class DIPFits:
    """What stage fit_dip left for one split."""

    steps: list[int]  # [S]
    snapshots: Tensor  # [S, n, C, H, W]
    stopped: Tensor  # [n, C, H, W], of the step that the stopping rule chose
    stop_step: list[int]  # [n]
    decided_step: list[int]  # [n], when the rule was sure: so many steps had to be run
    error: Tensor | None  # [n], the estimate of the RMSE, where the judges see the whole image
    seconds_per_step: float


@dataclass(frozen=True)
class Problem:
    """One split of one task, as a restorer sees it."""

    seen: Observation
    denoise: Denoiser
    levels: np.ndarray  # [T] noise levels of the schedule
    fits: DIPFits
    seed: int
    memo: dict = field(default_factory=dict)  # long computations that several settings share

    def noise(self, purpose: str) -> ImageNoise:
        """Unit noise for this purpose, a stream for every image."""
        return ImageNoise(self.seed, purpose, self.seen.names)

    def blank(self) -> Tensor:
        return torch.zeros(len(self.seen.y), self.seen.y.shape[1], *self.seen.size, device=self.seen.y.device)


@dataclass(frozen=True)
class Cost:
    """What a restoration of one image costs."""

    seconds: float  # wall seconds
    nfe: int  # network calls
    iterations: int | list[int]  # DIP steps; a list has one entry an image


@dataclass(frozen=True, eq=False)
class Estimate:
    """A restoration of every image of a problem, and what this last piece of work cost."""

    x: Tensor  # [n, C, H, W] in [-1, 1], not clipped
    seconds: float = 0.0  # wall seconds per image
    nfe: int = 0  # network calls per image
    iterations: int | list[int] = 0  # DIP steps of the image that is shown
    error: Tensor | None = None  # [n], RMSE predicted without the clean image
    denoise: Denoise | None = None  # adapted to these images; None: the trained denoiser as it is
    setting: dict = field(default_factory=dict)
    earlier: tuple[Estimate, ...] = ()  # what it was made from

    def after(self, *earlier: Estimate) -> Estimate:
        """The same image, made from these."""
        return replace(self, earlier=(*self.earlier, *earlier))

    @property
    def cost(self) -> Cost:
        """All that it builds on included; what several parts share is paid for once."""
        works = self._works({})
        counts = [work.iterations for work in works if work.iterations]
        iterations = counts[0] if len(counts) == 1 else _added(counts, len(self.x))
        return Cost(sum(work.seconds for work in works), sum(work.nfe for work in works), iterations)

    def _works(self, found: dict[int, Estimate]) -> Collection[Estimate]:
        if id(self) not in found:
            found[id(self)] = self
            for part in self.earlier:
                part._works(found)
        return found.values()


def _added(counts: list[int | list[int]], n: int) -> int | list[int]:
    if not counts:
        return 0
    rows = [c if isinstance(c, list) else [c] * n for c in counts]
    return [sum(column) for column in zip(*rows, strict=True)]


@dataclass(frozen=True)
class CoupledSettings:
    """How to fit with the denoiser's pull: as the plain DIP, `recipe`, and the rest."""

    steps: int
    beta: float
    refresh: int
    level_scale: float
    recipe: Recipe
    data_term: DataTerm
    expected_error: Sequence[tuple[int, float]]  # (step, RMSE of the plain fit on validation images), rising steps

    def error_at(self, step: int) -> float:
        """The least RMSE expected up to this step, between the known steps by interpolation."""
        steps, errors = zip(*self.expected_error, strict=True)
        return float(np.interp(step, steps, np.minimum.accumulate(errors)))


def load(paths: Paths, key: str, task: Task, split: str, seed: int, model: Pretrained, where: torch.device) -> Problem:
    """One split ("val" or "test") of a task with the trained model and the DIP fits, ready for any method."""
    tensors, info = artifacts.read_tensors(paths.dip(key)), artifacts.read_json(paths.dip_info(key))
    own = info[split]
    fits = DIPFits(
        steps=info["steps"],
        snapshots=tensors[f"{split}_snapshots"].float().to(where),
        stopped=tensors[f"{split}_stopped"].float().to(where),
        stop_step=own["stop_step"],
        decided_step=own["decided_step"],
        error=None if own["error"] is None else torch.tensor(own["error"], device=where),
        seconds_per_step=own["seconds_per_step"],
    )
    return Problem(observation.read(paths, key, task, split, where), model.denoise, model.levels, fits, seed)


def first(whole: Problem, count: int) -> Problem:
    """The problem of the first `count` images; noise and results of each image stay what they are."""
    fits = whole.fits
    few = replace(
        fits,
        snapshots=fits.snapshots[:, :count],
        stopped=fits.stopped[:count],
        stop_step=fits.stop_step[:count],
        decided_step=fits.decided_step[:count],
        error=None if fits.error is None else fits.error[:count],
    )
    return replace(whole, seen=whole.seen.first(count), fits=few, memo={})


def calibrated(run: Callable[..., Estimate], test: Problem, val: Problem, clean_val: Tensor, **setting) -> Estimate:
    """run(test, {}, **setting); its predicted error is the judges' own or else the RMSE seen on validation images."""
    estimate = run(test, {}, **setting)
    if estimate.error is not None:
        return estimate
    return with_error(estimate, spread(run(val, {}, **setting).x, clean_val))


def with_error(estimate: Estimate, expected: Tensor) -> Estimate:
    """Keep the judges' own prediction; otherwise expect what was seen on validation images, []."""
    if estimate.error is not None:
        return estimate
    return replace(estimate, error=expected.expand(len(estimate.x)))


def spread(x: Tensor, clean: Tensor) -> Tensor:
    """[], the RMSE over all images. Only ever called with clean validation images."""
    return rmse(x, clean).square().mean().sqrt()


def mean_psnr(x: Tensor, clean: Tensor) -> float:
    """Mean over images, dB. Only ever called with clean validation images."""
    return float((20 * torch.log10(2 / rmse(x, clean))).mean())


def rmse(x: Tensor, clean: Tensor) -> Tensor:
    """[n] in [-1, 1] units, x clipped. Only ever called with clean validation images."""
    return (x.clamp(-1, 1) - clean).square().mean((1, 2, 3)).sqrt()
