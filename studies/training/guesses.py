"""guesses@problem: the measurement of every patch, and the first guesses of it: the cheap start, and DIPs after a few steps.

A DIP sees one measurement and no clean patch. Seconds are of one patch; they count as training, and as restoration.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from skimage.restoration import denoise_tv_chambolle
from torch import Tensor

from dualprior.common import device, io
from dualprior.common.params import DIP
from dualprior.common.progress import track
from dualprior.data.pixels import to_unit
from dualprior.degradation.data_consistency import project_on_exact_data
from dualprior.degradation.measurement import Measurement, measure, observe
from dualprior.degradation.task import Task
from dualprior.dip.fit import fit_images
from dualprior.pipeline.fit_dip import recipe
from studies.training.params import split_fit

if TYPE_CHECKING:
    from dualprior.common.paths import Paths
    from dualprior.pipeline.config import Config

PARAMS = ("tasks", "dip", "fits", "tv_weight")
SPLITS = ("train", "val", "test")
BATCH = 128  # patches fitted side by side


def run(config: Config, paths: Paths, key: str) -> None:
    """key: the problem. Resumes after the last batch that was finished."""
    dip: DIP = config.dip
    task: Task = config.tasks[key]
    where, folder = device.pick(), paths.inside("guesses").data / key
    lengths: dict[str, list[int]] = {}
    for network, length in sorted(split_fit(fit) for fit in config.fits[key]):
        lengths.setdefault(network, []).append(length)
    settings = {"dip": dip.model_dump(mode="json"), "task": task.plain, "lengths": lengths}
    seconds = {}
    for split in SPLITS:
        clean = to_unit(io.read_array(paths.split(split)))
        names = [f"{split}-{k}" for k in range(len(clean))]
        tensors = measure(clean, task, 0, key, names)
        io.write_tensors(folder / f"{split}_y.safetensors", tensors)
        measured = observe(tensors, task, names, where)
        cheap = measured.op.cheap_start(measured.y)
        io.write_array(folder / f"{split}_cheap.npy", kept_as(cheap))
        io.write_array(folder / f"{split}_smooth.npy", kept_as(cheap if measured.op.hides else smoothed(cheap, config.tv_weight)))
        for network, own in lengths.items():
            with io.CheckpointFolder(paths.scratch / "guesses" / io.fingerprint(settings | {"network": network}, measured.y)) as saved:
                state = saved.load() or {"images": [], "seconds": 0.0}
                for first in range(len(state["images"]) * BATCH, len(names), BATCH):
                    begin = time.perf_counter()
                    fitted = fit_batch(part(measured, slice(first, first + BATCH)), dip, network, own, f"{key}, {split} from {first}")
                    state["seconds"] += time.perf_counter() - begin
                    state["images"].append(torch.from_numpy(fitted))
                    saved.save(state)
                for place, length in enumerate(own):
                    images = np.concatenate([batch[place].numpy() for batch in state["images"]])
                    io.write_array(folder / f"{split}_{network}{length}.npy", images)
                saved.clear()
            each = state["seconds"] / len(names) / max(own)
            seconds.setdefault(split, {}).update({f"{network}{length}": each * length for length in own})
    io.write_json(folder / "seconds.json", seconds)


def part(measured: Measurement, place: slice) -> Measurement:
    return measured._replace(op=measured.op[place], y=measured.y[place], names=measured.names[place])


def fit_batch(measured: Measurement, dip: DIP, network: str, lengths: Sequence[int], what: str) -> np.ndarray:
    """The average output after each of the lengths: float16 [lengths, n, C, H, W]."""
    op, y = measured.op.fit_target(measured.y)
    own = recipe(dip, dip.networks[network], measured)
    steps = fit_images(own, op, y, measured.names, measured.size, max(lengths), device=y.device)
    kept = []
    for done in track(steps, what, max(lengths)):
        if done.step in lengths:
            kept.append(kept_as(project_on_exact_data(measured.op, done.average.float(), measured.y, measured.sigma_y)))
    return np.stack(kept)


def smoothed(y: Tensor, weight: float) -> Tensor:
    """Total variation (Chambolle 2004) of every image."""
    return torch.stack([torch.from_numpy(denoise_tv_chambolle(image, weight, channel_axis=0)) for image in y.cpu().numpy()]).to(y)


def kept_as(x: Tensor) -> np.ndarray:
    return x.half().cpu().numpy()  # noise beyond black and white is kept
