"""Judge one task's restorations against the clean test images; the one place where DIP's oracle may be picked."""

import logging

import numpy as np
import pandas as pd

from dualprior import metrics, result_plots
from dualprior.artifacts import Paths, read_array, read_json, read_table, read_tensors, write_figure, write_json, write_table
from dualprior.config import Config
from dualprior.errors import UserError
from dualprior.images import to_01, to_unit

PARAMS = ("evaluate",)
STOPPED, ORACLE = "dip_stopped", "dip_oracle"
SHOWN = 3  # test images in the pictures

log = logging.getLogger(__name__)


def run(config: Config, paths: Paths, key: str | None = None) -> None:
    """key: the task. Writes its per-image rows, their means with intervals, and two pictures."""
    clean = to_01(to_unit(read_array(paths.test)))  # [n,H,W,3]
    names = _test_names(read_table(paths.manifest))
    info = read_json(paths.restored_info(key))
    restored = _restored(paths, key, list(info["methods"]))
    dip = read_json(paths.dip_info(key))
    snapshots = read_tensors(paths.dip(key))["test_snapshots"]
    snapshot_psnr = np.stack([metrics.psnr(clean, to_01(step)) for step in snapshots])  # [S,n]

    best = snapshot_psnr.argmax(axis=0)  # [n]
    peak_steps = np.array(dip["steps"])[best]
    oracle = {"seconds": dip["seconds_per_step"] * peak_steps, "nfe": 0, "iterations": peak_steps}
    costs = _after(info["methods"], STOPPED, ORACLE, oracle)
    restored[ORACLE] = to_01(snapshots[best, np.arange(len(best))])

    rows = pd.concat(
        metrics.image_rows(
            key, method, names[: len(restored[method])], clean[: len(restored[method])], restored[method],
            seed=info["seed"], seconds=cost["seconds"], nfe=cost["nfe"], iterations=cost["iterations"],
        )
        for method, cost in costs.items()
    )  # fmt: skip
    settings = config.evaluate
    summary = metrics.summarise(rows, settings.bootstrap, settings.confidence, settings.seed)
    write_table(paths.task_rows(key), rows)
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
    tensors = read_tensors(paths.restored(task))
    for method in methods:
        if not tensors[method].isfinite().all():
            raise UserError(f"{paths.restored(task)}: method {method} has pixels that are not numbers; run `dvc repro -f restore@{task}`")
    return {method: to_01(tensors[method]) for method in methods}


def _after(methods: dict, place: str, name: str, entry: dict) -> dict:
    """`methods` with one more entry behind the one called `place`."""
    items = list(methods.items())
    at = list(methods).index(place) + 1
    return dict([*items[:at], (name, entry), *items[at:]])


def _spread(count: int) -> np.ndarray:
    """Indices of the images shown, evenly spread over the first `count`: chosen before any result is seen."""
    return np.linspace(0, count - 1, min(SHOWN, count)).round().astype(int)


def _restoration_picture(rows: pd.DataFrame, clean: np.ndarray, restored: dict[str, np.ndarray], names: list[str]):
    shown = _spread(min(len(pictures) for pictures in restored.values()))  # images that every method restored
    psnr = metrics.by_image(rows, "psnr")
    pictures = {method: restored[method][shown] for method in psnr}
    chosen = [names[index] for index in shown]
    return result_plots.restoration_grid(clean[shown], pictures, {m: psnr[m][chosen].to_numpy() for m in psnr}, chosen)


def _trace_picture(task: str, trace: pd.DataFrame, steps: list[int], psnr: np.ndarray, stops, summary: dict, names: list[str]):
    shown = _spread(len(names))
    places = {image: place for place, image in enumerate(shown)}
    trace = trace[trace["image"].isin(shown)].replace({"image": places})
    gap = summary[ORACLE]["psnr"] - summary[STOPPED]["psnr"]
    chosen = [names[index] for index in shown]
    return result_plots.dip_trace(task, trace, np.array(steps), psnr[:, shown], stops[shown], gap, chosen)
