"""sample@problem: every test measurement restored by every variant of every seed; the plain one also with a DIP fitted on the way."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
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
from dualprior.diffusion.checkpoint import TrainedModel
from dualprior.dip.fit import build, fit_images
from dualprior.pipeline.fit_dip import recipe
from studies.training.conditional import Frame, Handed, restore
from studies.training.guesses import BATCH, part, read_guess
from studies.training.params import Refits, Variant, Variants
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
            made = partial(in_batches, model, variant, frame, guess, ImageNoise(seed, "training-test", names)(guess))
            found = {name: {str(calls): made(calls) for calls in (config.calls, *config.more_calls)}}
            if variant == variants.usual:
                again = partial(refitted, dip=config.dip, steps=variant.length, refits=refits)
                found[REFITTED] = {str(config.calls): made(config.calls, lambda place: again(part(measured, place)))}  # noqa: B023
                found[MIXED] = {str(config.calls): made(config.calls, lambda place: mixed(guess[place], refits))}  # noqa: B023
            for way, restored in found.items():
                io.write_arrays(folder / f"{way}-{seed}.npz", {calls: to_uint8(x) for calls, x in restored.items()})


def in_batches(
    model: TrainedModel,
    variant: Variant,
    frame: Frame,
    guess: Tensor,
    z: Tensor,
    calls: int,
    handed: Callable[[slice], Handed] | None = None,
) -> Tensor:
    """handed: what changes the guess of the clean image on the way, for the patches at a place."""
    places = [slice(first, first + BATCH) for first in range(0, len(guess), BATCH)]
    found = []
    for place in track(places, f"{calls} calls"):
        on_the_way = None if handed is None else handed(place)
        found.append(restore(model.denoise, variant, frame, model.levels, guess[place], calls, z[place], on_the_way))
    return torch.cat(found)


def refitted(measured: Measurement, dip: DIP, steps: int, refits: Refits) -> Handed:
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


def mixed(guess: Tensor, refits: Refits) -> Handed:
    return lambda x, done: (1 - refits.share) * x + refits.share * guess if done in refits.at else x
