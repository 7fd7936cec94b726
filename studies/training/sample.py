"""sample@problem: every test measurement restored by every variant of every seed; the plain one also with a DIP fitted on the way."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dualprior.common import device, io
from dualprior.common.params import DIP
from dualprior.common.progress import track
from dualprior.common.seeding import ImageNoise
from dualprior.data.pixels import to_uint8
from dualprior.degradation.measurement import Measurement, observe
from dualprior.degradation.operators import Identity
from dualprior.degradation.task import Task
from dualprior.diffusion import checkpoint
from dualprior.dip.fit import build, fit_images
from dualprior.pipeline.fit_dip import recipe
from studies.training.conditional import Frame, restore
from studies.training.guesses import BATCH, part, read_guess
from studies.training.params import Refits, Variants
from studies.training.train import chosen, guess_of, read_curve

if TYPE_CHECKING:
    from dualprior.common.paths import Paths
    from dualprior.pipeline.config import Config

PARAMS = ("tasks", "ablated", "seeds", "dip", "lengths", "variants", "calls", "more_calls", "refits")
REFITTED, MIXED = "refitted", "mixed"  # beside the plain model: guided by a DIP that goes on from the guess, by the cheap start


@torch.no_grad()
def run(config: Config, paths: Paths, key: str) -> None:
    """Writes, of every variant and seed, uint8 [N, H, W, C] by the number of calls."""
    variants: Variants = config.variants
    refits: Refits = config.refits
    where = device.pick()
    scales = read_curve(paths, key).groupby("variant")["scale"].first()
    folder = paths.inside("restored").data / key
    task: Task = config.tasks[key]
    tensors = io.read_tensors(paths.inside("guesses").data / key / "test_y.safetensors")
    names = [f"test-{k}" for k in range(len(tensors["y"]))]
    measured = observe(tensors, task, names, where)
    for name, variant in chosen(variants, key == config.ablated).items():
        guess = read_guess(paths, key, "test", guess_of(variant)).to(where)
        frame = Frame(variant.residual, float(scales[name]))
        for seed in config.seeds:
            model = checkpoint.load(paths.inside(f"{key}/{name}/{seed}").models, where)
            z = ImageNoise(seed, "training-test", names)(guess)

            def made(calls: int, handed: Callable[[int], Callable] | None = None) -> Tensor:
                found = []
                for first in track(range(0, len(guess), BATCH), f"{key}, {name}, {calls} calls"):  # noqa: B023
                    place = slice(first, first + BATCH)
                    on_the_way = handed(first) if handed else None
                    found.append(restore(model.denoise, variant, frame, model.levels, guess[place], calls, z[place], on_the_way))  # noqa: B023
                return torch.cat(found)

            restored = {str(calls): made(calls) for calls in (config.calls, *config.more_calls)}
            io.write_arrays(folder / f"{name}-{seed}.npz", {calls: to_uint8(x) for calls, x in restored.items()})
            if variant == variants.usual:
                ways = {REFITTED: lambda first: refitted(part(measured, first), config.dip, max(config.lengths) // 2, refits),
                        MIXED: lambda first: mixed(guess[first : first + BATCH], refits)}  # fmt: skip # noqa: B023
                for way, handed in ways.items():
                    io.write_arrays(folder / f"{way}-{seed}.npz", {str(config.calls): to_uint8(made(config.calls, handed))})


def refitted(measured: Measurement, dip: DIP, steps: int, refits: Refits) -> Callable[[Tensor, int], Tensor]:
    """A DIP fitted to the measurement, which after some calls goes on from the guess of the clean image and is mixed into it."""
    own = recipe(dip, next(iter(dip.networks.values())), measured)
    network = build(own.kind, own.seed, measured.names, **own.network)
    op, y = measured.op.fit_target(measured.y)
    common = {"device": y.device, "network": network}
    for _ in fit_images(own, op, y, measured.names, measured.size, steps, **common):
        pass

    def handed(x: Tensor, done: int) -> Tensor:
        if done not in refits.at:
            return x
        for step in fit_images(own, Identity(), x, measured.names, measured.size, refits.steps, **common):
            pass
        return (1 - refits.share) * x + refits.share * step.average.to(x)

    return handed


def mixed(guess: Tensor, refits: Refits) -> Callable[[Tensor, int], Tensor]:
    return lambda x, done: (1 - refits.share) * x + refits.share * guess if done in refits.at else x
