"""Hold every restoration of the study against the clean images: rows, claims, tables and plots."""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from studies.hybrid import places, plots, readings, report
from studies.hybrid.likeness import Likeness
from studies.hybrid.params import FULL, Classic, Meta, Realism, Run

from dualprior.common.io import read_array, read_json, read_table, read_tensors_as_arrays, write_figure, write_json, write_table, write_text
from dualprior.common.params import Evaluate, Hybrid, Task
from dualprior.data.pixels import pixels_01, to_01
from dualprior.evaluation import comparisons, figures, image_metrics, tables
from dualprior.pipeline import evaluate

if TYPE_CHECKING:
    from dualprior.common.config import Config

    from dualprior.common.paths import Paths

PARAMS = ("runs", "priors", "realism", "classic", "meta", "problems", "ablate", "evaluate", "hybrid", "tasks")
STRENGTH = "val_psnr_at_0.2"  # of a prior's training metrics: how well it denoises validation crops, dB
log = logging.getLogger(__name__)


def run(config: Config, paths: Paths, key: str | None = None) -> None:
    settings: Evaluate = config.evaluate
    hybrid: Hybrid = config.hybrid
    runs: dict[str, Run] = config.runs
    tasks: dict[str, Task] = {name: config.task(name) for name in config.problems}
    inside = places.crops(paths)
    bootstrap = {"resamples": settings.bootstrap, "confidence": settings.confidence, "seed": settings.seed}
    interval = functools.partial(image_metrics.bootstrap_mean, **bootstrap)
    pixels = read_array(inside.test)
    clean = pixels_01(pixels)
    crops = read_table(inside.manifest).query("split == 'test'").sort_values("index")
    rows = [judged_run(inside, name, each, clean, crops) for name, each in runs.items()]
    rows += [judged_classic(paths, task, config.classic, clean, crops) for task in tasks]
    rows = pd.concat(rows, ignore_index=True)
    full = rows[rows["prior"] == FULL].drop(columns="prior")
    summary = {task: image_metrics.summarise(full[full["task"] == task], **bootstrap) for task in tasks}
    strength = {name: read_json(places.prior(paths, name).train_metrics)[STRENGTH] for name in config.priors}
    strength[FULL] = read_json(paths.default.train_metrics)[STRENGTH]
    weights = {name: read_json(inside.restored_info(name))["choices"]["blend"]["weights"] for name in runs}
    swept = {knob: read_table(paths.ablation(knob, "csv")) for knob in readings.KNOBS if getattr(config.ablate, knob) is not None}
    likeness = judged_realism(paths, config.realism, pixels, settings)

    denoising = {name: task.operator == "identity" for name, task in tasks.items()}
    judged = claims.judge(full, denoising, interval)
    judged |= claims.start_rule(swept["start_scale"], hybrid.start_scale, denoising)
    by_prior = report.priors(rows, runs, strength, interval)
    judged |= report.weak_prior(rows, runs, strength, interval)
    judged |= report.calls_to_likeness(likeness, config.realism.within)
    found = {
        "priors": by_prior,
        "groups": report.by_photograph(full, crops[crops["seed"] == 0], interval),
        "weights": report.weights(weights, runs),
        "realism": likeness,
        "quick": judged_quick(paths, config.meta, clean),
        "contraction": report.contraction(pd.concat([read_table(paths.contraction(task)) for task in tasks]), interval),
    }

    write_table(paths.per_image, rows)
    for name, table in found.items():
        write_table(paths.study_table(name), table)
    write_json(paths.summary, summary)
    write_json(paths.claims, judged)
    write_text(paths.study_tables, readings.page(tables.render_results(summary), judged, found, swept))
    write_figure(paths.study_plot("summary"), figures.quality_time(summary))
    write_figure(paths.study_plot("gains"), figures.gains(judged))
    write_figure(paths.study_plot("priors"), drawing.priors(by_prior))
    write_figure(paths.study_plot("realism"), drawing.realism(likeness))
    write_figure(paths.study_plot("quick"), drawing.quick(found["quick"]))
    write_figure(paths.study_plot("contraction"), drawing.contraction(found["contraction"]))
    for name, claim in judged.items():
        log.info("%s %s: %s", "holds" if claim["holds"] else "FAILS", name, claim["reading"])


def judged_run(inside: Paths, name: str, run: Run, clean: np.ndarray, crops: pd.DataFrame) -> pd.DataFrame:
    """A row a measurement and method, and of the DIP's best snapshot; `image` is the crop, which all of its seeds share."""
    info, images = read_json(inside.restored_info(name)), read_tensors_as_arrays(inside.restored(name))
    rows = [_rows(run, method, to_01(images[method]), cost, clean, crops) for method, cost in info["methods"].items()]
    dip, fits = read_json(inside.dip_info(run.task)), read_tensors_as_arrays(inside.dip(run.task))
    psnr = np.stack([image_metrics.psnr(clean, to_01(step)) for step in fits["test_snapshots"]])
    best, steps = evaluate.best_snapshot(clean, fits, dip, psnr)
    count = run.images or len(clean)
    cost = {"seconds": dip["seconds_per_step"] * steps[:count], "nfe": 0, "iterations": steps[:count]}
    rows.append(_rows(run, image_metrics.ORACLE, best[:count], cost, clean, crops))
    log.info("%s judged", name)
    return pd.concat(rows)


def judged_classic(paths: Paths, task: str, wanted: Classic, clean: np.ndarray, crops: pd.DataFrame) -> pd.DataFrame:
    """The same for diffusion posterior sampling."""
    info, images = read_json(paths.classic_info(task)), read_tensors_as_arrays(paths.classic(task))
    run = Run(task=task, prior=FULL, model="models/ddpm", images=wanted.images)
    return pd.concat([_rows(run, method, to_01(x), info[method], clean, crops) for method, x in images.items()])


def judged_quick(paths: Paths, meta: Meta, clean: np.ndarray) -> pd.DataFrame:
    """A row a task, start and number of fit steps: PSNR of the fit and of the restart from it, and the seconds of both."""
    rows = []
    for task in meta.tasks:
        images, seconds = read_tensors_as_arrays(paths.quick(task)), read_json(paths.quick_info(task))
        psnr = {name: float(image_metrics.psnr(clean[: meta.images], to_01(x)).mean()) for name, x in images.items()}
        for start in ("fresh", "meta"):
            for step in meta.kept:
                fit, restart = f"{start}/fit@{step}", f"{start}/restart@{step}"
                row = {"task": task, "start": start, "steps": step, "fit, dB": psnr[fit], "restart, dB": psnr[restart]}
                rows.append(row | {"seconds of both": seconds[restart]})
    return pd.DataFrame(rows).round(4)


def _rows(run: Run, method: str, restored: np.ndarray, cost: dict, clean: np.ndarray, crops: pd.DataFrame) -> pd.DataFrame:
    few = len(restored)
    names, seeds = crops["crop"].tolist()[:few], crops["seed"].to_numpy()[:few]
    about = {name: cost[name] for name in ("seconds", "nfe", "iterations")}
    return image_metrics.image_rows(run.task, method, names, clean[:few], restored, seed=seeds, **about).assign(prior=run.prior)


def judged_realism(paths: Paths, realism: Realism, pixels: np.ndarray, settings: Evaluate) -> pd.DataFrame:
    """A row a task, method and number of calls: Fréchet distance and PSNR, and what validation crops chose for the method.

    level: where a restart begins, times the error of its start.
    """
    likeness, clean, rows = Likeness(settings, pixels[: realism.images]), pixels_01(pixels[: realism.images]), []
    for task in realism.tasks:
        images, info = read_tensors_as_arrays(paths.realism(task)), read_json(paths.realism_info(task))
        for name, pictures in images.items():
            method, _, calls = name.partition("@")
            psnr = image_metrics.psnr(clean, to_01(pictures)).mean()
            row = {"task": task, "method": method, "calls": int(calls), "frechet": likeness(pictures), "psnr": psnr}
            if int(calls) and method in info["choices"]:
                chosen = info["choices"][method]
                row |= {"level": chosen.get("scale"), "noise": "DDPM's" if chosen["zeta"] is None else f"zeta {chosen['zeta']:g}"}
            rows.append(row | {"seconds": info["costs"][name]["seconds"], "distance": likeness.name})
    return pd.DataFrame(rows).sort_values(["task", "method", "calls"], kind="stable").round(4)
