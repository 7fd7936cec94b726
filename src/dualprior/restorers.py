"""The procedures behind the catalogue of methods: each takes a `Problem` and gives an `Estimate`.

A restorer sees measurements, the trained denoiser and the DIP fits. It never sees a clean image.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from dualprior import dip, schedule
from dualprior.consistency import proximal
from dualprior.denoiser import Denoiser
from dualprior.observation import Observation
from dualprior.operators import BlockAverage, GaussianBlur, Identity, Mask
from dualprior.sampling import ImageNoise, Split, ddpm_split, last, restart, reverse, zeta_split

SMALLEST_START = 0.02  # in [-1, 1] units; below it a restart changes nothing


@dataclass(frozen=True)
class DIPFits:
    """What stage fit_dip left for one split."""

    steps: list[int]  # [S]
    snapshots: Tensor  # [S, n, C, H, W]
    stopped: Tensor | None  # [n, C, H, W] where a witness said stop
    stop_step: list[int] | None  # [n]
    error: Tensor | None  # [n], the witness's estimate of the RMSE
    seconds_per_step: float
    witness_seconds: float


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
class Estimate:
    """A restoration of every image of a problem, and what it cost."""

    x: Tensor  # [n, C, H, W] in [-1, 1], not clipped
    seconds: float = 0.0  # wall seconds per image, all that it builds on included
    nfe: int = 0  # network calls per image, the same
    iterations: int | list[int] = 0  # DIP steps of the image that is shown
    error: Tensor | None = None  # [n], RMSE predicted without the clean image
    setting: dict = field(default_factory=dict)

    def after(self, *earlier: "Estimate") -> "Estimate":
        """The same image with the cost of the estimates it was made from added."""
        counts = [e.iterations for e in (*earlier, self) if e.iterations]
        return replace(
            self,
            seconds=self.seconds + sum(e.seconds for e in earlier),
            nfe=self.nfe + sum(e.nfe for e in earlier),
            iterations=counts[0] if len(counts) == 1 else _added(counts, len(self.x)),
        )


def _added(counts: list[int | list[int]], n: int) -> int | list[int]:
    if not counts:
        return 0
    rows = [c if isinstance(c, list) else [c] * n for c in counts]
    return [sum(column) for column in zip(*rows, strict=True)]


class Stopwatch:
    """Wall seconds per image of a block of work, the device's queue emptied."""

    def __init__(self, images: int):
        self._images = images

    def __enter__(self) -> "Stopwatch":
        self._begin = self._now()
        return self

    def __exit__(self, *_exception) -> None:
        self.seconds = (self._now() - self._begin) / self._images

    @staticmethod
    def _now() -> float:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter()


# --- without a learned prior ---------------------------------------------------------------------------------


def as_image(problem: Problem, past: dict) -> Estimate:
    """The measurement at the size of the image: y itself, zero-filled or repeated pixels."""
    op, y = problem.seen.op, problem.seen.y
    return Estimate(y if y.shape[-2:] == problem.seen.size else op.A_dagger(y))


def pseudo_inverse(problem: Problem, past: dict) -> Estimate:
    """A†y."""
    with Stopwatch(len(problem.seen.y)) as watch:
        x = problem.seen.op.A_dagger(problem.seen.y)
    return Estimate(x, watch.seconds)


def bicubic(problem: Problem, past: dict) -> Estimate:
    with Stopwatch(len(problem.seen.y)) as watch:
        x = interpolate(problem.seen.y, size=problem.seen.size, mode="bicubic", antialias=False)
    return Estimate(x, watch.seconds)


def blurred(problem: Problem, past: dict, std: float) -> Estimate:
    """The measurement under a Gaussian of `std` pixels; holes are filled by ever wider ones (normalised convolution)."""
    with Stopwatch(len(problem.seen.y)) as watch:
        x = _fill(problem.seen, std) if isinstance(problem.seen.op, Mask) else _blur(_upright(problem.seen), std)
    return Estimate(x, watch.seconds)


def _upright(seen: Observation) -> Tensor:
    return interpolate(seen.y, size=seen.size, mode="bicubic") if isinstance(seen.op, BlockAverage) else seen.y


def _blur(x: Tensor, std: float) -> Tensor:
    return GaussianBlur(std, tuple(x.shape[-2:])).A(x)


def _fill(seen: Observation, std: float) -> Tensor:
    """Knutsson & Westin 1993: blur(mask*y) / blur(mask), the narrowest Gaussian that reaches a known pixel."""
    mask = seen.op.mask
    x = torch.zeros_like(seen.y)
    reached = torch.zeros_like(mask, dtype=torch.bool)
    for width in (std, 2 * std, 4 * std, 8 * std, 16 * std):
        weight = _blur(mask, width)
        now = (weight > 0.02) & ~reached
        x = torch.where(now, _blur(seen.y, width) / weight.clamp(min=1e-6), x)
        reached |= now
    return torch.where(mask > 0, seen.y, x)


# --- the diffusion model alone -------------------------------------------------------------------------------


def one_step(problem: Problem, past: dict, start: str, level: float) -> Estimate:
    """One call of the denoiser on a cheap start taken to be at noise level `level`, then data consistency."""
    seen, begin = problem.seen, past[start]
    with Stopwatch(len(seen.y)) as watch:
        x0 = problem.denoise(begin.x, level)
        x = proximal(seen.op, seen.y, seen.sigma_y)(x0, torch.tensor(level)) if not isinstance(seen.op, Identity) else x0
    return Estimate(x, watch.seconds, nfe=1).after(begin)


def chain(problem: Problem, past: dict, calls: int, zeta: float, data_weight: float, purpose: str = "chain") -> Estimate:
    """The reverse process from pure noise with data consistency (DiffPIR; DDNM when there is no noise)."""
    return _reverse_from_noise(problem, calls, partial(zeta_split, zeta=zeta), data_weight, purpose)


def _reverse_from_noise(problem: Problem, calls: int, split: Split, data_weight: float, purpose: str) -> Estimate:
    seen, noise = problem.seen, problem.noise(purpose)
    grid = schedule.schedule_grid(problem.levels, calls)
    with Stopwatch(len(seen.y)) as watch:
        x = float(grid[0]) * noise(problem.blank())
        rectify = proximal(seen.op, seen.y, seen.sigma_y, data_weight)
        end = last(reverse(problem.denoise, x, grid, split=split, rectify=rectify, noise=noise))
    return Estimate(end.x0, watch.seconds, nfe=end.nfe)


def full_chain(problem: Problem, past: dict, calls: int) -> Estimate:
    """Every level of the schedule, DDPM's own ancestral noise, the data weight that was best for fewer calls.

    Not zeta = 1: over many steps that shrinks the variance of the samples to half of the data's.
    """
    weight = past["ddpm_best"].setting["data_weight"]
    return _reverse_from_noise(problem, min(calls, len(problem.levels)), ddpm_split, weight, "chain")


def mean_of_chains(problem: Problem, past: dict, samples: int, calls: int, zeta: float, data_weight: float) -> Estimate:
    """The mean of several independent chains: (1 + 1/K) times the least error instead of twice."""
    runs = [chain(problem, past, calls, zeta, data_weight, f"mean-{k}") for k in range(samples)]
    return Estimate(torch.stack([r.x for r in runs]).mean(0)).after(*runs)


# --- Deep Image Prior alone ----------------------------------------------------------------------------------


def dip_at(problem: Problem, past: dict, step: int) -> Estimate:
    """The fit's averaged output at a snapshot step."""
    fits = problem.fits
    return Estimate(fits.snapshots[fits.steps.index(step)], step * fits.seconds_per_step, iterations=step)


def dip_stopped(problem: Problem, past: dict, step: int | None) -> Estimate:
    """Where the witness said stop, its whole fit paid for; else at a fixed step."""
    if step is not None:
        return dip_at(problem, past, step)
    fits = problem.fits
    seconds = fits.witness_seconds + fits.seconds_per_step * float(np.mean(fits.stop_step))
    return Estimate(fits.stopped, seconds, iterations=fits.stop_step, error=fits.error)


# --- both ----------------------------------------------------------------------------------------------------


def restarted(problem: Problem, past: dict, start: str, scale: float, calls: int, data_weight: float) -> Estimate:
    """Variance-matched restart at level scale * predicted error, then few deterministic steps."""
    begin = past[start]
    level = (scale * begin.error).clamp(min=SMALLEST_START)
    return restart_at(problem, begin, level, calls, data_weight)


def restart_at(problem: Problem, begin: Estimate, level: Tensor, calls: int, data_weight: float) -> Estimate:
    """level: [n], where each image's reverse process starts."""
    seen = problem.seen
    schedule.check_start(float(level.max()), problem.levels, "hybrid.start_scales")
    grid = schedule.few_step_grid(level.double().cpu().numpy(), calls)
    with Stopwatch(len(seen.y)) as watch:
        x = restart(begin.x, begin.error, level, problem.noise("restart")(begin.x))
        rectify = proximal(seen.op, seen.y, seen.sigma_y, data_weight)
        split = partial(zeta_split, zeta=0.0)
        end = last(reverse(problem.denoise, x, grid, split=split, rectify=rectify))
    return Estimate(end.x0, watch.seconds, nfe=end.nfe).after(begin)


def fused(problem: Problem, past: dict, first: str, second: str, weight: float) -> Estimate:
    """weight * first + (1 - weight) * second; the two share nothing, so both are paid for."""
    a, b = past[first], past[second]
    return Estimate(weight * a.x + (1 - weight) * b.x).after(a, b)


@dataclass(frozen=True)
class CoupledSettings:
    """How to fit with the denoiser's pull; the DIP's own settings ride along."""

    steps: int
    beta: float
    refresh: int
    level_scale: float
    seed: int
    kind: str
    network: dict
    lr: float
    input_noise: float
    input_cell: int
    ema: float
    autocast: torch.dtype | None
    expected_error: Sequence[tuple[int, float]]  # (step, RMSE of the plain fit on validation images), rising steps


def coupled(problem: Problem, past: dict, step: int, settings: CoupledSettings) -> Estimate:
    """DIP regularised by the denoiser (RED: Romano et al. 2017; DeepRED: Mataev et al. 2019), stopped at `step`.

    min over theta of ||A f - y||^2 / m + beta ||f - sg D(f; s)||^2 / d, the target refreshed every few steps and
    s following the error of the plain fit, known from validation images, down.
    """
    if "coupled" not in problem.memo:
        problem.memo["coupled"] = _coupled_fit(problem, settings)
    kept, seconds_per_step = problem.memo["coupled"]
    image, calls = kept[step]
    return Estimate(image, seconds_per_step * step, nfe=calls, iterations=step)


def coupled_steps(settings: CoupledSettings) -> list[int]:
    return dip.snapshot_steps(settings.steps, 12)


def _coupled_fit(problem: Problem, c: CoupledSettings) -> tuple[dict[int, tuple[Tensor, int]], float]:
    """Averaged output and network calls so far at the snapshot steps, and the seconds of one step of one image."""
    seen = problem.seen
    network = dip.build(c.kind, c.seed, seen.names, **c.network).to(seen.y.device)
    z = dip.network_input(c.seed, seen.names, c.network["input_channels"], seen.size, c.input_cell).to(seen.y.device)
    steps_known, errors_known = zip(*c.expected_error, strict=True)
    falling = np.minimum.accumulate(errors_known)
    targets: list[Tensor] = []

    def guide(step: int, average: Tensor) -> tuple[Tensor, float]:
        if not targets or step % c.refresh == 0:
            level = c.level_scale * float(np.interp(step, steps_known, falling))
            targets.append(problem.denoise(average, max(level, SMALLEST_START)))
        return targets[-1], c.beta

    steps = dip.fit(
        network, z, seen.op, seen.y, steps=c.steps, lr=c.lr, input_noise=c.input_noise, ema=c.ema,
        seed=c.seed, autocast=c.autocast, guide=guide,
    )  # fmt: skip
    wanted, kept = set(coupled_steps(c)), {}
    with Stopwatch(len(seen.y)) as watch:
        for done in steps:
            if done.step in wanted:
                kept[done.step] = done.average, len(targets)
    return kept, watch.seconds / c.steps
