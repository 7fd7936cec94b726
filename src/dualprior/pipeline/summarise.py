"""Bring all tasks together: one table of rows, one summary, the claims judged, and the pictures of the result."""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING

import pandas as pd

from dualprior.common.io import read_table, write_figure, write_json, write_table, write_text
from dualprior.common.params import Evaluate, Hybrid, Task
from dualprior.evaluation import comparisons, figures, image_metrics, tables

if TYPE_CHECKING:
    from dualprior.common.config import Config
    from dualprior.common.paths import Paths

PARAMS = ("evaluate", "hybrid", "tasks")

log = logging.getLogger(__name__)


def run(config: Config, paths: Paths, key: str | None = None) -> None:
    """Reads every task's rows; writes summary.json, per_image.csv, claims.json, results.md and two plots."""
    settings: Evaluate = config.evaluate
    hybrid: Hybrid = config.hybrid
    tasks: dict[str, Task] = {name: config.task(name) for name in config.task_names()}
    bootstrap = {"resamples": settings.bootstrap, "confidence": settings.confidence, "seed": settings.seed}
    by_task = {name: read_table(paths.task_rows(name)) for name in tasks}
    summary = {name: image_metrics.summarise(rows, **bootstrap) for name, rows in by_task.items()}
    rows = pd.concat(by_task.values())
    denoising = {name: task.operator == "identity" for name, task in tasks.items()}
    judged = claims.judge(rows, denoising, functools.partial(image_metrics.bootstrap_mean, **bootstrap))
    judged |= claims.start_rule(read_table(paths.ablation("start_scale", "csv")), hybrid.start_scale, denoising)

    write_table(paths.per_image, rows)
    write_json(paths.summary, summary)
    write_json(paths.claims, judged)
    write_text(paths.results_table, tables.render_results(summary))
    write_figure(paths.summary_plot, figures.quality_time(summary))
    write_figure(paths.gains_plot, figures.gains(judged))
    for name, claim in judged.items():
        log.info("%s %s: %s", "holds" if claim["holds"] else "FAILS", name, claim["reading"])
