"""The axis of prior strength: quality against training steps, and what of the training a fit to the one image saves."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from dualprior.evaluation.comparisons import Roles, single, strongest
from dualprior.evaluation.figures import SERIES, describe, panels
from dualprior.evaluation.image_metrics import Interval, by_image
from dualprior.restoration import registry
from studies.hybrid.params import FULL

AXIS = "training steps of the diffusion model"
DIFFUSION = "diffusion alone, its best way"
PARENTS = {DIFFUSION: DIFFUSION} | {name: registry.REGISTRY[name].label for name in (
    registry.STOPPED, registry.FROZEN, registry.NO_RANDOM_FIT, registry.HYBRID)}  # fmt: skip
STARTS = {name: registry.REGISTRY[name].label for name in (registry.CHEAP_RESTART, registry.RESTART, registry.STOPPED)}


def curves(rows: pd.DataFrame, roles: Roles, steps: int) -> pd.DataFrame:
    """PSNR and seconds an image of every method with every model of the study's own training: task, steps, image, method, psnr, seconds.

    rows: of one seed, with the prior's name, its training steps or "full"; `DIFFUSION` is the method of the diffusion model
    alone that is best with that prior.
    """
    rows = rows[rows["prior"].str.isdecimal() | (rows["prior"] == FULL)]
    rows = rows.assign(steps=rows["prior"].replace(FULL, str(steps)).astype(int))
    best = []
    for _, mine in rows.groupby(["task", "steps"], sort=False):
        method = strongest(by_image(mine).dropna(axis=1), roles.of("diffusion"))
        best.append(mine[mine["method"] == method].assign(method=DIFFUSION))
    return pd.concat([rows, *best])[["task", "steps", "image", "method", "psnr", "seconds"]]


def training_saved(axis: pd.DataFrame, steps: int, seconds: float, interval: Interval) -> dict[str, dict]:
    """Training that the hybrid needs for the quality of the fully trained diffusion model alone, or of half its training, by task.

    Ratios of steps, and of seconds: training and the restoration of these images, every fit included. seconds: of a training
    step. The interval resamples images; 1 stands for "not reached sooner".
    """
    found: dict[str, dict] = {"training_steps_ratio": {}, "training_seconds_ratio": {}}
    for task, mine in axis.groupby("task", sort=False):
        for label, aim in (("full", steps), ("half", steps // 2)):
            count = mine["image"].nunique()
            needed = partial(_share_needed, _table(mine, DIFFUSION), _table(mine, registry.HYBRID), aim)
            value, low, high = interval(np.arange(count, dtype=float), statistic=needed)
            spent = {name: mine[mine["method"] == name].groupby("steps")["seconds"].mean() for name in (DIFFUSION, registry.HYBRID)}
            restoring = float(np.interp(value * aim, spent[registry.HYBRID].index, spent[registry.HYBRID]))
            ratio = (value * aim * seconds + count * restoring) / (aim * seconds + count * spent[DIFFUSION][aim])
            found["training_steps_ratio"][f"{task}/{label}"] = single(value, count, "ratio", low, high)
            found["training_seconds_ratio"][f"{task}/{label}"] = single(ratio, count, "ratio")
    return found


def _table(rows: pd.DataFrame, method: str) -> pd.DataFrame:
    return rows[rows["method"] == method].pivot_table(index="image", columns="steps", values="psnr")


def _share_needed(diffusion: pd.DataFrame, hybrid: pd.DataFrame, aim: int, images: np.ndarray) -> float:
    """images: which rows of both tables image × steps are averaged."""
    rows = images.astype(int)
    wanted = diffusion[aim].to_numpy()[rows].mean()
    return min(1.0, steps_to(hybrid.columns.to_numpy(), hybrid.to_numpy()[rows].mean(0), wanted) / aim)


def steps_to(grid: np.ndarray, quality: np.ndarray, wanted: float) -> float:
    """The first step at which quality, between the steps of grid linear in the log of steps, reaches what is wanted; infinite if never."""
    if quality[0] >= wanted:
        return float(grid[0])
    for k in range(1, len(grid)):
        if quality[k] >= wanted:
            share = (wanted - quality[k - 1]) / (quality[k] - quality[k - 1])
            return float(np.exp(np.interp(share, [0, 1], np.log(grid[k - 1 : k + 1]))))
    return float("inf")


def figure(rows: pd.DataFrame, methods: Mapping[str, str], axis: str) -> Figure:
    """Mean PSNR against steps, a panel a task, a line a method. rows: task, steps, method, psnr; axis: what is stepped."""
    drawing, axes = panels(list(rows["task"].unique()), 4.2, 3.1)
    for task, ax in axes.items():
        for (method, label), colour in zip(methods.items(), SERIES, strict=False):
            means = rows[(rows["task"] == task) & (rows["method"] == method)].groupby("steps")["psnr"].mean()
            ax.plot(means.index, means, color=colour, marker="o", markersize=4, linewidth=1.5, label=label)
        ax.set_xscale("log")
        describe(ax, axis, "PSNR, dB", task)
    handles, labels = ax.get_legend_handles_labels()
    drawing.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False, fontsize=9)
    return drawing
