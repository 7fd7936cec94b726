"""Risk one task's restorations against the clean test images; the one place where DIP's oracle may be picked."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from dualprior.common.errors import UserError
from dualprior.common.io import read_array, read_json, read_table, read_tensors_as_arrays, write_figure, write_json, write_table
from dualprior.common.params import Evaluate
from dualprior.data.pixels import pixels_01, to_01
from dualprior.evaluation import figures, image_metrics
from dualprior.evaluation.image_metrics import ORACLE

if TYPE_CHECKING:
    from dualprior.common.config import Config
    from dualprior.common.paths import Paths

PARAMS = ("evaluate",)
STOPPED = "dip_stopped"
SHOWN = 3  # test images in the pictures

log = logging.getLogger(__name__)


def run(config: Config, paths: Paths, key: str | None = None) -> None:
    """key: the task. Writes its per-image rows, their means with intervals, the DIP fits' PSNR, and two pictures."""
    settings: Evaluate = config.evaluate
    clean = pixels_01(read_array(paths.test))  # [n,H,W,3]
    names = _test_names(read_table(paths.manifest))
    info = read_json(paths.restored_info(key))
    restored = _restored(paths, key, list(info["methods"]))
    dip = read_json(paths.dip_info(key))
    fits = read_tensors_as_arrays(paths.dip(key))
    snapshot_psnr = np.stack([image_metrics.psnr(clean, to_01(step)) for step in fits["test_snapshots"]])  # [S,n]

    restored[ORACLE], peak_steps = best_snapshot(clean, fits, dip, snapshot_psnr)
    oracle = {"seconds": dip["seconds_per_step"] * peak_steps, "nfe": 0, "iterations": peak_steps}
    costs = _after(info["methods"], STOPPED, ORACLE, oracle)

    rows = pd.concat(
        image_metrics.image_rows(
            key, method, names[: len(restored[method])], clean[: len(restored[method])], restored[method],
            seed=info["seed"], seconds=cost["seconds"], nfe=cost["nfe"], iterations=cost["iterations"],
        )
        for method, cost in costs.items()
    )  # fmt: skip
    summary = image_metrics.summarise(rows, settings.bootstrap, settings.confidence, settings.seed)
    write_table(paths.task_rows(key), rows)
    write_table(paths.dip_psnr(key), _psnr_rows(names, dip["steps"], snapshot_psnr))
    write_json(paths.task_metrics(key), summary)
    write_figure(paths.restore_plot(key), _restoration_picture(rows, clean, restored, names))
    stops = np.broadcast_to(costs[STOPPED]["iterations"], len(clean))
    trace = read_table(paths.dip_trace(key)).query("split == 'test'")
    write_figure(paths.trace_plot(key), _trace_picture(key, trace, dip["steps"], snapshot_psnr, stops, summary, names))
    for method, numbers in summary.items():
        log.info("%s %s: %.2f dB, SSIM %.3f, %.3g s", key, method, numbers["psnr"], numbers["ssim"], numbers["seconds"])


def _test_names(manifest: pd.DataFrame) -> list[str]:
    return manifest[manifest["split"] == "test"].sort_values("index")["image"].tolist()


def _restored(paths: Paths, task: str, methods: list[str]) -> dict[str, np.ndarray]:
    """{method: [m,H,W,3] in [0,1]} in the order of `methods`; m may be less than the number of test images."""
    arrays = read_tensors_as_arrays(paths.restored(task))
    for method in methods:
        if not np.isfinite(arrays[method]).all():
            raise UserError(f"{paths.restored(task)}: method {method} has pixels that are not numbers; run `dvc repro -f restore@{task}`")
    return {method: to_01(arrays[method]) for method in methods}


def best_snapshot(clean: np.ndarray, fits: dict[str, np.ndarray], dip: dict, snapshot_psnr: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each fit the image of highest PSNR, [n,H,W,3], and its step, [n].

    Looked for among all snapshots and the image of the stopping rule, so that no rule can be better.
    """
    images = np.concatenate([fits["test_snapshots"], fits["test_stopped"][None]])
    psnr = np.vstack([snapshot_psnr, image_metrics.psnr(clean, to_01(fits["test_stopped"]))])
    steps = np.broadcast_to(np.array(dip["steps"])[:, None], snapshot_psnr.shape)
    steps = np.vstack([steps, dip["test"]["stop_step"]])
    best, every = psnr.argmax(axis=0), np.arange(psnr.shape[1])
    return to_01(images[best, every]), steps[best, every]


def _psnr_rows(names: list[str], steps: list[int], psnr: np.ndarray) -> pd.DataFrame:
    """One row an image and snapshot. psnr: [S,n], dB."""
    table = pd.DataFrame(psnr.round(4), index=pd.Index(steps, name="step"), columns=names)
    return table.melt(var_name="image", value_name="psnr", ignore_index=False).reset_index()[["image", "step", "psnr"]]


def _after(methods: dict, place: str, name: str, entry: dict) -> dict:
    """`methods` with one more entry behind the one called `place`."""
    items = list(methods.items())
    at = list(methods).index(place) + 1
    return dict([*items[:at], (name, entry), *items[at:]])


def _spread(count: int) -> np.ndarray:
    """Indices of the images shown, evenly overall_rmse over the first `count`: chosen before any result is seen."""
    return np.linspace(0, count - 1, min(SHOWN, count)).round().astype(int)


def _restoration_picture(rows: pd.DataFrame, clean: np.ndarray, restored: dict[str, np.ndarray], names: list[str]):
    shown = _spread(min(len(pictures) for pictures in restored.values()))  # images that every method restored
    psnr = image_metrics.by_image(rows, "psnr")
    pictures = {method: restored[method][shown] for method in psnr}
    chosen = [names[index] for index in shown]
    return figures.restoration_sheet(clean[shown], pictures, {m: psnr[m][chosen].to_numpy() for m in psnr}, chosen)


def _trace_picture(task: str, trace: pd.DataFrame, steps: list[int], psnr: np.ndarray, stops, summary: dict, names: list[str]):
    shown = _spread(len(names))
    places = {image: place for place, image in enumerate(shown)}
    trace = trace[trace["image"].isin(shown)].replace({"image": places})
    gap = summary[ORACLE]["psnr"] - summary[STOPPED]["psnr"]
    chosen = [names[index] for index in shown]
    return figures.dip_trace(task, trace, np.array(steps), psnr[:, shown], stops[shown], gap, chosen)
