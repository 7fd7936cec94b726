"""guesses@problem: the measurement of every patch, and first guesses of it: the cheap start, total variation, DIPs after a few steps.

A DIP sees one measurement and no clean patch. Which fit and which weight of total variation are used is chosen on validation
patches, from lists of one length. Seconds are of one patch; they count as training, and as restoration.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from skimage.restoration import denoise_tv_chambolle
from torch import Tensor

from dualprior.common import device, io
from dualprior.common.params import DIP
from dualprior.common.progress import track
from dualprior.data.pixels import to_unit
from dualprior.data.validation import mean_psnr
from dualprior.degradation.data_consistency import project_on_exact_data
from dualprior.degradation.measurement import Measurement, measure, observe
from dualprior.degradation.task import Task
from dualprior.dip.fit import fit_images
from dualprior.pipeline.fit_dip import recipe
from studies.training.params import Patches, split_fit

if TYPE_CHECKING:
    from dualprior.common.paths import Paths
    from dualprior.pipeline.config import Config

PARAMS = ("tasks", "patches", "ablated", "dip", "fits", "more_fits", "tv_weights")
SPLITS = ("train", "val", "test")
BATCH = 128  # patches fitted side by side


def run(config: Config, paths: Paths, key: str) -> None:
    """key: the problem. Resumes after the last batch that was finished."""
    dip: DIP = config.dip
    patches: Patches = config.patches
    task: Task = config.tasks[key]
    folder, every = paths.inside("guesses").data / key, (*config.fits, *config.more_fits)
    clean = {split: to_unit(io.read_array(paths.split(split))) for split in SPLITS}
    measured = {split: measured_patches(folder, split, key, task, x) for split, x in clean.items()}
    settings = {"dip": dip.model_dump(mode="json"), "fits": every, "fitted": patches.fitted}
    mark = io.fingerprint(settings, *(seen.y for seen in measured.values()))
    with io.CheckpointFolder(paths.scratch / "guesses" / mark) as saved:
        fitted = partial(fit_all, dip=dip, saved=saved)
        fits = {"val": fitted(measured["val"], every if config.ablated == key else config.fits)}
        smooth = {str(weight): total_variation(measured["val"], weight)[0] for weight in config.tv_weights}
        scores = {name: round(mean_psnr(torch.from_numpy(x).float(), clean["val"]), 2) for name, x in {**smooth, **fits["val"][0]}.items()}
        fit, weight = max(config.fits, key=scores.get), max(smooth, key=scores.get)
        wanted = every if config.ablated == key else (fit,)
        fits["train"] = fitted(part(measured["train"], slice(patches.fitted)), wanted)
        fits["test"] = fitted(measured["test"], wanted)
        for split, seen in measured.items():
            classic, seconds = total_variation(seen, float(weight))
            found = {"cheap": kept_as(seen.op.cheap_start(seen.y)), "classic": classic, "dip": fits[split][0][fit]}
            for name, guess in (found | {name: fits[split][0][name] for name in wanted}).items():
                io.write_array(folder / f"{split}_{name}.npy", guess)
        spent = fits["test"][1]
        spent |= {"cheap": 0.0, "classic": seconds, "dip": spent[fit]}
        io.write_json(folder / "chosen.json", {"fit": fit, "weight": weight, "validation_psnr": scores, "seconds": spent})
        saved.clear()  # the guesses are written; a forced rerun starts afresh


def measured_patches(folder: Path, split: str, problem: str, task: Task, clean: Tensor) -> Measurement:
    names = [f"{split}-{k}" for k in range(len(clean))]
    tensors = measure(clean, task, 0, problem, names)
    io.write_tensors(folder / f"{split}_y.safetensors", tensors)
    return observe(tensors, task, names, device.pick())


def fit_all(
    measured: Measurement, fits: Sequence[str], dip: DIP, saved: io.CheckpointFolder
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """The output of every fit, float16 [n, C, H, W], and its seconds a patch."""
    lengths: dict[str, list[int]] = {}
    for network, length in sorted(split_fit(fit) for fit in fits):
        lengths.setdefault(network, []).append(length)
    finished = saved.load() or {}
    found, seconds = {}, {}
    for network, own in lengths.items():
        state = finished.setdefault(f"{measured.names[0]}, {network}", {"images": [], "seconds": 0.0})
        for first in range(len(state["images"]) * BATCH, len(measured.names), BATCH):
            begin = time.perf_counter()
            batch = fit_batch(part(measured, slice(first, first + BATCH)), dip, network, own, f"{measured.names[first]}, {network}")
            state["seconds"] += time.perf_counter() - begin
            state["images"].append(torch.from_numpy(batch))
            saved.save(finished)
        for place, length in enumerate(own):
            found[f"{network}{length}"] = np.concatenate([batch[place].numpy() for batch in state["images"]])
            seconds[f"{network}{length}"] = state["seconds"] / len(measured.names) * length / max(own)
    return found, seconds


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


def total_variation(measured: Measurement, weight: float) -> tuple[np.ndarray, float]:
    """Of the cheap start (Chambolle 2004), exact data kept: float16 [n, C, H, W], and its seconds a patch. weight: on the scale [0, 1]."""
    begin = time.perf_counter()
    start = measured.op.cheap_start(measured.y)
    smooth = [denoise_tv_chambolle(image, 2 * weight, channel_axis=0) for image in start.cpu().numpy()]
    x = project_on_exact_data(measured.op, torch.from_numpy(np.stack(smooth)).to(start), measured.y, measured.sigma_y)
    return kept_as(x), (time.perf_counter() - begin) / len(x)


def kept_as(x: Tensor) -> np.ndarray:
    return x.half().cpu().numpy()  # noise beyond black and white is kept
