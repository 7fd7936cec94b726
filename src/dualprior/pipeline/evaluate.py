"""evaluate: the one judge. It alone compares with the clean test images, and writes every metric, table and figure."""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from dualprior.common import device, io
from dualprior.common.errors import UserError
from dualprior.common.params import Evaluate
from dualprior.common.seeding import numpy_generator
from dualprior.data.pixels import pixels_01, to_01
from dualprior.evaluation import comparisons, figures, generation_metrics, tables
from dualprior.evaluation.image_metrics import Interval, image_rows, interval, measured, predicted_psnr
from dualprior.restoration import registry

if TYPE_CHECKING:
    from dualprior.common.paths import Paths
    from dualprior.pipeline.config import Config

PARAMS = ("evaluate", "tasks")
LAST, ORACLE = registry.REFERENCES
AXES = {"start_scale": "start level / predicted error of the start", "calls": "network calls", "dip_steps": "DIP fit steps"}
LABELS = {name: method.label for name, method in registry.REGISTRY.items()} | registry.REFERENCES
SHOWN = 2  # test crops in the pictures
log = logging.getLogger(__name__)


def run(config: Config, paths: Paths) -> None:
    settings: Evaluate = config.evaluate
    tasks = list(config.tasks)
    manifest = io.read_table(paths.manifest).query("split == 'test'").sort_values("index")
    clean, names = pixels_01(io.read_array(paths.split("test"))), list(manifest["image"])
    bounds: Interval = partial(interval, resamples=settings.bootstrap, seed=settings.seed)
    judged = [judge_task(paths, paths, task, clean, names) for task in tasks]
    rows = pd.concat([each[0] for each in judged], ignore_index=True)
    curves = pd.concat([each[1] for each in judged], ignore_index=True)
    rows.insert(1, "photograph", rows["image"].map(dict(zip(names, manifest["photograph"], strict=True))))
    roles = roles_of(registry.REGISTRY)
    found = comparisons.findings(rows, roles, bounds)
    swept = judge_ablation(paths, clean, names)
    found["start_rule_share"] = comparisons.start_rule_share(swept["start_scale"], bounds)
    found["frechet_ratio_to_real"] = judge_samples(paths, settings)
    io.write_json(paths.metrics("findings.json"), found)
    io.write_table(paths.metrics("per_image.csv"), rows)
    io.write_table(paths.metrics("dip_psnr.csv"), curves)
    io.write_table(paths.metrics("headline.csv"), comparisons.headline(rows, roles, found))
    io.write_json(paths.metrics("summary.json"), summary(rows, roles, tasks))
    io.write_text(paths.metrics("results.md"), tables.results(rows, LABELS, {ORACLE}))
    io.write_text(paths.metrics("leak_audit.md"), tables.markdown(judge_audit(paths)))
    _draw(paths, rows, curves, roles, bounds, clean, names, swept)


def roles_of(catalogue: dict[str, registry.Method]) -> comparisons.Roles:
    families = {name: method.family for name, method in catalogue.items()}
    r = registry
    return comparisons.Roles(families, r.HYBRID, r.FROZEN, r.NO_RANDOM_FIT, r.FULL_CHAIN, r.STOPPED, r.RESTART, r.CHEAP_RESTART, ORACLE)


def judge_task(paths: Paths, fits_of: Paths, task: str, clean: np.ndarray, names: list[str]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """(a row an image and method, the PSNR at every kept step of the DIP fits); fits_of: where those lie."""
    info = io.read_json(paths.restored(task) / "methods.json")
    images = io.read_tensors_as_arrays(paths.restored(task) / "images.safetensors")
    fits, about = io.read_tensors_as_arrays(fits_of.dip(task) / "fits.safetensors"), io.read_json(fits_of.dip(task) / "fits.json")
    rows = []
    for method, cost in info["methods"].items():
        x = images[method]
        if not np.isfinite(x).all():
            raise UserError(f"{paths.restored(task)}: method {method} has pixels that are not numbers; run `dvc repro -f restore@{task}`")
        error = np.nan if cost["error"] is None else predicted_psnr(cost["error"]).round(4)
        costs = {"seconds": round(cost["seconds"], 6), "nfe": cost["nfe"], "dip_passes": cost["dip_passes"], "predicted_psnr": error}
        rows.append(image_rows(names[: len(x)], clean[: len(x)], to_01(x), task=task, method=method, seed=info["seed"], **costs))
    psnr = np.stack([measured("psnr", clean, to_01(step)) for step in fits["test_snapshots"]])  # [S,n]
    steps, stop = np.array(about["steps"]), np.array(about["test"]["stop_step"])
    for method, (x, step) in references(fits, steps, stop, psnr, clean).items():
        costs = {"seconds": step * about["test"]["seconds_per_step"], "nfe": 0, "dip_passes": 2 * step, "predicted_psnr": np.nan}
        rows.append(image_rows(names, clean, to_01(x), task=task, method=method, seed=info["seed"], **costs))
    curves = pd.DataFrame(psnr.round(4), index=pd.Index(steps, name="step"), columns=names)
    curves = curves.melt(var_name="image", value_name="psnr", ignore_index=False).reset_index().assign(task=task)
    return pd.concat(rows, ignore_index=True), curves[["task", "image", "step", "psnr"]]


def references(fits: dict, steps: np.ndarray, stop: np.ndarray, psnr: np.ndarray, clean: np.ndarray) -> dict[str, tuple]:
    """{reference: (images [n,3,H,W], steps [n])}: the last step, and the step of highest PSNR.

    The best is looked for among all snapshots and the image of the stopping rule, so that no rule can be better.
    """
    x = np.concatenate([fits["test_snapshots"], fits["test_stopped"][None]])
    every = np.vstack([np.broadcast_to(steps[:, None], psnr.shape), stop])
    best = np.vstack([psnr, measured("psnr", clean, to_01(fits["test_stopped"]))]).argmax(axis=0)
    column = np.arange(psnr.shape[1])
    return {LAST: (fits["test_snapshots"][-1], every[-2]), ORACLE: (x[best, column], every[best, column])}


def summary(rows: pd.DataFrame, roles: comparisons.Roles, tasks: list[str]) -> dict[str, dict[str, float]]:
    """{task: {method: mean PSNR}} of the few methods that a comparison of two runs should show first."""
    means = rows.groupby(["task", "method"])["psnr"].mean()
    return {task: {name: round(means[task, name], 3) for name in (roles.stopped, roles.frozen, roles.hybrid)} for task in tasks}


def judge_ablation(paths: Paths, clean: np.ndarray, names: list[str]) -> dict[str, pd.DataFrame]:
    """{hyperparameter: task, value, series, used, image, psnr}; also written as metrics/ablation.csv, means only."""
    images = io.read_tensors_as_arrays(paths.folder("ablation") / "images.safetensors")
    about = io.read_table(paths.folder("ablation") / "rows.csv")
    judged = []
    for row in about.itertuples():
        x = images[str(row.row)]
        psnr = measured("psnr", clean[: len(x)], to_01(x))
        columns = {"task": row.task, "value": row.value, "series": row.series, "used": row.used, "hyperparameter": row.hyperparameter}
        judged.append(pd.DataFrame({"image": names[: len(x)], "psnr": psnr, **columns}))
    swept = dict(list(pd.concat(judged).groupby("hyperparameter", sort=False)))
    keys = ["hyperparameter", "task", "series", "value", "used"]
    io.write_table(paths.metrics("ablation.csv"), pd.concat(judged).groupby(keys, sort=False)["psnr"].mean().round(3).reset_index())
    return swept


def judge_audit(paths: Paths) -> pd.DataFrame:
    """A row a task and broken protocol: mean PSNR on the validation crops, as found and mended, beside the stopped DIP."""
    clean = pixels_01(io.read_array(paths.split("val")))
    images = io.read_tensors_as_arrays(paths.folder("audit") / "images.safetensors")
    means = {name: measured("psnr", clean, to_01(x)).mean() for name, x in images.items()}
    protocols = io.read_json(paths.folder("audit") / "protocols.json")
    tasks = dict.fromkeys(name.partition("/")[0] for name in images)
    return pd.DataFrame([
        {"task": task, "what is wrong": about["wrong"], "sees the clean image": "yes" if about["leaks"] else "no",
         "as found": means[f"{task}/{name}/found"], "mended": means[f"{task}/{name}/mended"], "stopped DIP": means[f"{task}/stopped"]}
        for task in tasks for name, about in protocols.items()
    ])  # fmt: skip


def judge_samples(paths: Paths, settings: Evaluate) -> dict[str, dict]:
    """Generated images against real training patches, and the least ratio of distances to that of real against real, a sampler."""
    generated = io.read_arrays(paths.folder("generated") / "samples.npz")
    info = io.read_json(paths.folder("generated") / "samples.json")
    train = io.read_array(paths.split("train"))
    side = min(train.shape[1], *(images.shape[1] for images in generated.values()))
    generated, train = {name: _centre(images, side) for name, images in generated.items()}, _centre(train, side)
    real, others = _two_halves(train, min(map(len, generated.values())), settings.seed)
    extractor = generation_metrics.make_extractor(settings.extractor, settings.inception_weights)
    features = generation_metrics.FeatureReader(extractor, cuda=device.pick().type == "cuda")
    real_features = features(real)
    floor = generation_metrics.distances(features(others), real_features)
    count = len(real)
    table = pd.DataFrame([info[name] | generation_metrics.distances(features(x[:count]), real_features) for name, x in generated.items()])
    about = {"real_frechet": round(floor["frechet"], 4), "extractor": extractor.title}
    io.write_table(paths.metrics("generation.csv"), table.round(4).assign(**about))
    io.write_figure(paths.plot("samples"), figures.samples(generated))
    figure = figures.generation_quality(table, floor["frechet"], extractor.distance_name, count)
    io.write_figure(paths.plot("generation_quality"), figure)
    best = table.groupby("sampler", sort=False)["frechet"].min() / floor["frechet"]
    return {name: comparisons.single(ratio, count, "ratio") for name, ratio in best.items()}


def _centre(images: np.ndarray, side: int) -> np.ndarray:
    """The middle side × side pixels of each image. images: [n,H,W,3]."""
    top, left = (images.shape[1] - side) // 2, (images.shape[2] - side) // 2
    return images[:, top : top + side, left : left + side]


def _two_halves(train: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Two random disjoint sets of real patches, `count` in each, or half of what there is."""
    count = min(count, len(train) // 2)
    picks = numpy_generator(seed, "evaluate_generation").permutation(len(train))
    return train[picks[:count]], train[picks[count : 2 * count]]


def _draw(paths: Paths, rows, curves, roles, bounds, clean, names, swept) -> None:
    io.write_figure(paths.plot("hero"), figures.hero(rows, roles, bounds))
    io.write_figure(paths.plot("quality_time"), figures.quality_time(rows, roles))
    io.write_figure(paths.plot("crops"), figures.crops(clean, names))
    io.write_figure(paths.plot("train_ddpm"), figures.training_curve(io.read_table(paths.metrics("train_curve.csv"))))
    stops = []
    shown = np.linspace(0, len(clean) - 1, min(SHOWN, len(clean))).round().astype(int)  # chosen before any result is seen
    for task, mine in rows.groupby("task", sort=False):
        images = io.read_tensors_as_arrays(paths.restored(task) / "images.safetensors")
        full = {name: x for name, x in images.items() if len(x) == len(clean)}
        means = mine.pivot_table(index="image", columns="method", values="psnr")
        diffusion = comparisons.strongest(means[list(full)], roles.of("diffusion"))
        baseline = comparisons.strongest(means[list(full)], roles.of("baseline"))
        pictures = {name: to_01(full[name])[shown] for name in (baseline, roles.stopped, diffusion, roles.frozen, roles.hybrid)}
        figure = figures.restorations(task, clean[shown], pictures, [names[i] for i in shown])
        io.write_figure(paths.plot(f"restorations_{task}"), figure)
        steps = io.read_json(paths.dip(task) / "fits.json")["test"]["stop_step"]
        stopped = mine[mine["method"] == roles.stopped]
        stops.append(stopped.assign(step=steps)[["task", "image", "step", "psnr"]])
    io.write_figure(paths.plot("stopping"), figures.stopping(curves, pd.concat(stops)))
    for name, mine in swept.items():
        io.write_figure(paths.plot(f"ablation_{name}"), figures.ablation(mine, AXES[name]))
