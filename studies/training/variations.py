"""variations: samples around a first guess of a degraded patch, by an unconditional diffusion model (SDEdit, Meng et al. 2022).

A sample starts at a guess noised to a level, or at pure noise; nothing but the start knows the measurement.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from dualprior.common import device, io
from dualprior.common.paths import Paths
from dualprior.common.progress import track
from dualprior.common.seeding import ImageNoise
from dualprior.data.pixels import to_uint8
from dualprior.diffusion import checkpoint
from dualprior.diffusion.checkpoint import TrainedModel
from dualprior.diffusion.samplers import last, reverse
from dualprior.diffusion.schedule import few_step_grid
from studies.training.given import read_guess
from studies.training.guesses import BATCH
from studies.training.params import Variations

if TYPE_CHECKING:
    from dualprior.pipeline.config import Config

PARAMS = ("variations", "seeds")
NOISE = "noise"


@torch.no_grad()
def run(config: Config, paths: Paths) -> None:
    """Writes one file a seed, uint8 [n, H, W, C], by "start level calls"; of every patch as many draws as there are seeds."""
    wanted: Variations = config.variations
    where = device.pick()
    model = checkpoint.load(Paths(paths.root, "hybrid").models, where)
    shown = starting(io.read_array(paths.folder("groups.npy")))
    guesses = {name: read_guess(paths, wanted.problem, "test", name)[shown].to(where) for name in wanted.starts}
    for seed in config.seeds:
        made = {}
        for name, guess in guesses.items():
            made[f"{name} 0 0"] = guess
            for level, calls in product(wanted.levels, wanted.calls):
                made[f"{name} {level:g} {calls}"] = drawn(model, guess, level, calls, seed)
        top = float(model.levels[-1])
        for calls in (*wanted.calls, wanted.noise_calls):
            made[f"{NOISE} {top:g} {calls}"] = drawn(model, torch.zeros_like(guess), top, calls, seed)
        io.write_arrays(paths.inside("variations").data / f"{seed}.npz", {name: to_uint8(x) for name, x in made.items()})


def starting(groups: np.ndarray) -> np.ndarray:
    """Which test patches are varied: of every other photograph; those of the others are what samples are compared with."""
    return groups % 2 == 0


def drawn(model: TrainedModel, guess: Tensor, level: float, calls: int, seed: int) -> Tensor:
    """DDPM's chain from the guess noised to `level`: [N, C, H, W]."""
    found = []
    for first in track(range(0, len(guess), BATCH), f"from {level:g}, {calls} calls"):
        part = guess[first : first + BATCH]
        noise = ImageNoise(seed, "variations", range(first, first + len(part)))
        clip = lambda x0, sigma: x0.clamp(-1, 1)  # noqa: E731
        steps = reverse(model.denoise, part + level * noise(part), few_step_grid(level, calls), noise=noise, data_consistency=clip)
        found.append(last(steps).x)
    return torch.cat(found)
