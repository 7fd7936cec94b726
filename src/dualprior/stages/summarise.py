"""Bring all tasks together: one table of rows, one summary, the claims judged, and the pictures of the result."""

import functools
import logging

import pandas as pd

from dualprior import claims, metrics, result_plots, tables
from dualprior.artifacts import Paths, read_table, write_figure, write_json, write_table, write_text
from dualprior.config import Config

PARAMS = ("evaluate", "tasks")

log = logging.getLogger(__name__)


def run(config: Config, paths: Paths, key: str | None = None) -> None:
    """Reads every task's rows; writes summary.json, per_image.csv, claims.json, results.md and two plots."""
    names, settings = config.task_names(), config.evaluate
    bootstrap = {"resamples": settings.bootstrap, "confidence": settings.confidence, "seed": settings.seed}
    by_task = {name: read_table(paths.task_rows(name)) for name in names}
    summary = {name: metrics.summarise(rows, **bootstrap) for name, rows in by_task.items()}
    rows = pd.concat(by_task.values())
    denoising = {name: config.task(name).operator == "identity" for name in names}
    judged = claims.judge(rows, denoising, functools.partial(metrics.bootstrap_mean, **bootstrap))

    write_table(paths.per_image, rows)
    write_json(paths.summary, summary)
    write_json(paths.claims, judged)
    write_text(paths.results_table, tables.render_results(summary))
    write_figure(paths.summary_plot, result_plots.quality_time(summary))
    write_figure(paths.gains_plot, result_plots.gains(judged))
    for name, claim in judged.items():
        log.info("%s %s: %s", "holds" if claim["holds"] else "FAILS", name, claim["reading"])
