"""sample@problem: every test measurement restored by every variant of every seed; the plain one also with a DIP fitted on the way."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from dualprior.common import device, io
from dualprior.common.device import Stopwatch
from dualprior.common.params import DIP
from dualprior.common.progress import track
from dualprior.common.seeding import ImageNoise
from dualprior.data.pixels import to_uint8
from dualprior.degradation.data_consistency import project_on_exact_data
from dualprior.degradation.measurement import Measurement, observe
from dualprior.degradation.operators import Identity
from dualprior.degradation.task import Task
from dualprior.diffusion import checkpoint
from dualprior.diffusion.checkpoint import TrainedModel
from dualprior.dip.fit import build, fit_images
from dualprior.pipeline.fit_dip import recipe
from studies.training.conditional import Frame, Handed, restore
from studies.training.given import Given, read_given, read_guess
from studies.training.guesses import BATCH, part
from studies.training.params import MIXED, PLAIN, REFITTED, Refits, Variant, Variants, split_fit
from studies.training.train import chosen, read_curve

if TYPE_CHECKING:
    from dualprior.common.paths import Paths
    from dualprior.pipeline.config import Config

PARAMS = ("tasks", "ablated", "seeds", "dip", "variants", "calls", "more_calls", "plain_calls", "refits")


@torch.no_grad()
def run(config: Config, paths: Paths, key: str) -> None:
    """Writes, of every variant and seed, uint8 [N, H, W, C] by the number of calls."""
    variants: Variants = config.variants
    refits: Refits = config.refits
    where = device.pick()
    errors = read_curve(paths, key).groupby("variant")["error"].first()
    folder = paths.inside("restored").data / key
    task: Task = config.tasks[key]
    tensors = io.read_tensors(paths.inside("guesses").data / key / "test_y.safetensors")
    names = [f"test-{k}" for k in range(len(tensors["y"]))]
    measured = observe(tensors, task, names, where)
    fit = io.read_json(paths.inside("guesses").data / key / "chosen.json")["fit"]
    seconds = {}
    for name, variant in chosen(variants, key == config.ablated).items():
        given = read_given(paths, key, "test", variant).to(where)
        frame = Frame(variant.residual, float(errors[name]))
        plain = name == PLAIN
        for seed in config.seeds:
            model = checkpoint.load(paths.inside(f"{key}/{name}/{seed}").models, where)
            made = partial(in_batches, model, variant, frame, given, ImageNoise(seed, "training-test", names)(measured_like(measured)))
            with Stopwatch(len(names)) as watch:
                found = {name: {str(config.calls): made(config.calls)}}
            seconds[name] = watch.seconds
            found[name] |= {str(calls): made(calls) for calls in (*config.more_calls, *([config.plain_calls] if plain else []))}
            if plain:
                ways = {
                    REFITTED: partial(refitted, measured, config.dip, fit, refits),
                    MIXED: partial(mixed, read_guess(paths, key, "test", "dip").to(where), refits),
                }
                for way, handed in ways.items():
                    with Stopwatch(len(names)) as watch:
                        found[way] = {str(config.calls): made(config.calls, handed)}
                    seconds[way] = watch.seconds
            for way, restored in found.items():
                io.write_arrays(folder / f"{way}-{seed}.npz", {calls: to_uint8(x) for calls, x in restored.items()})
    io.write_json(folder / "seconds.json", seconds)


def measured_like(measured: Measurement) -> Tensor:
    """Zeros of the size of the images."""
    return measured.y.new_zeros(*measured.y.shape[:2], *measured.size)


def in_batches(
    model: TrainedModel,
    variant: Variant,
    frame: Frame,
    given: Given,
    z: Tensor,
    calls: int,
    handed: Callable[[slice], Handed] | None = None,
) -> Tensor:
    """handed: what changes the guess of the clean image on the way, for the patches at a place."""
    places = [slice(first, first + BATCH) for first in range(0, len(z), BATCH)]
    found = []
    for place in track(places, f"{calls} calls"):
        on_the_way = None if handed is None else handed(place)
        found.append(restore(model.denoise, variant, frame, model.levels, given[place], calls, z[place], on_the_way))
    return torch.cat(found)


def mixed(guess: Tensor, refits: Refits, place: slice) -> Handed:
    """A share of the DIP's first guess is handed back after some calls."""
    return lambda x, done: (1 - refits.share) * x + refits.share * guess[place] if done in refits.at else x


def refitted(measured: Measurement, dip: DIP, fit: str, refits: Refits, place: slice) -> Handed:
    """The same share of a DIP that is first fitted to the measurements, and then on to the guess at each of these calls."""
    measured = part(measured, place)
    network, steps = split_fit(fit)
    own = recipe(dip, dip.networks[network], measured)
    common = {"device": measured.y.device, "network": build(own.kind, own.seed, measured.names, **own.network)}
    op, y = measured.op.fit_target(measured.y)
    for _ in fit_images(own, op, y, measured.names, measured.size, steps, **common):
        pass

    def handed(x: Tensor, done: int) -> Tensor:
        if done not in refits.at:
            return x
        for step in fit_images(own, Identity(), x, measured.names, measured.size, refits.steps, **common):
            pass
        fitted = project_on_exact_data(measured.op, step.average.float(), measured.y, measured.sigma_y)
        return (1 - refits.share) * x + refits.share * fitted

    return handed
