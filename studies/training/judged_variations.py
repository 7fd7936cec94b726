"""Samples around a first guess: fidelity, realism and diversity, against samples from pure noise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from dualprior.common import io
from dualprior.data.pixels import pixels_01
from dualprior.evaluation.comparisons import Finding, single
from dualprior.evaluation.generation_metrics import FeatureReader, distances
from dualprior.evaluation.image_grid import SERIES, Panel, describe, grid, new_figure
from dualprior.evaluation.image_metrics import measured
from studies.training.params import Variations
from studies.training.variations import NOISE, starting

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from dualprior.common.paths import Paths

BLOCK = 4  # pixels a side, whose means say whether a sample agrees with what was measured


def write(
    paths: Paths, wanted: Variations, seeds: tuple[int, ...], clean: np.ndarray, groups: np.ndarray, reader: FeatureReader
) -> dict[str, dict[str, Finding]]:
    """The table and the figures; returns the findings. Real patches are of photographs that no sample starts from."""
    shown = starting(groups)
    own, real = clean[shown], reader(clean[~shown])
    drawn = judged(paths, wanted, seeds, own, real, reader)
    floor = distances(reader(own), real)
    means = drawn.groupby(["start", "level", "calls"], sort=False).mean().drop(columns="seed").reset_index()
    table = pd.concat([means, pd.DataFrame([{"start": "real", **floor}])], ignore_index=True)
    table = table.round({"psnr": 2, "consistency": 1, "spread": 1, "frechet": 2, "kernel": 4, "precision": 2, "recall": 2})
    io.write_table(paths.metrics("variations.csv"), table)
    io.write_figure(paths.plot("variations"), figure(means, floor["frechet"], reader.extractor.distance_name))
    io.write_figure(paths.plot("strip"), strip(paths, wanted, seeds[0], own))
    return compared(drawn, wanted)


def judged(paths: Paths, wanted: Variations, seeds: tuple[int, ...], clean: np.ndarray, real, reader: FeatureReader) -> pd.DataFrame:
    """A row a start, level, number of calls and seed. spread: standard deviation over the draws, of 255; the rest is of the first draw."""
    rows = []
    means = lambda x: x.reshape(len(x), -1, BLOCK, x.shape[2] // BLOCK, BLOCK, x.shape[3]).astype(float).mean((2, 4))  # noqa: E731
    for seed in seeds:
        for name, pixels in io.read_arrays(paths.inside("variations").data / f"{seed}.npz").items():
            start, level, calls = name.split()
            draws = pixels.reshape(-1, wanted.draws, *pixels.shape[1:])
            first = np.ascontiguousarray(draws[:, 0])
            rows.append({
                "start": start, "level": float(level), "calls": int(calls), "seed": seed,
                "psnr": measured("psnr", pixels_01(clean), pixels_01(first)).mean(),
                "consistency": np.square(means(first) - means(clean)).mean(),
                "spread": draws.astype(float).std(1, ddof=1).mean(),
                **distances(reader(first), real),
            })  # fmt: skip
    return pd.DataFrame(rows)


def compared(drawn: pd.DataFrame, wanted: Variations) -> dict[str, dict[str, Finding]]:
    """Of every start against samples from pure noise after `noise_calls` calls: mean and range of the seeds."""
    noise = drawn[(drawn["start"] == NOISE) & (drawn["calls"] == wanted.noise_calls)].set_index("seed")
    found: dict[str, dict[str, Finding]] = {}
    for (start, level, calls), mine in drawn.groupby(["start", "level", "calls"], sort=False):
        own = mine.set_index("seed")
        ratios = {metric: own[metric] / noise[metric] for metric in ("frechet", "spread")}
        for metric, values in (ratios | {"recall": own["recall"] - noise["recall"]}).items():
            unit = "ratio" if metric in ratios else "share"
            answer = single(values.mean(), len(values), unit, values.min(), values.max())
            found.setdefault(f"variations_{metric}", {})[f"{start}_{level:g}_{calls}"] = answer
    return found


def figure(table: pd.DataFrame, floor: float, distance: str) -> Figure:
    """Realism against fidelity and against diversity: a line a start and number of calls through its levels."""
    drawn, axes = new_figure(1, 2, 5.2, 3.8)
    for ax, metric, label in zip(
        axes[0], ("psnr", "spread"), ("PSNR of a sample, dB", "standard deviation over samples, of 255"), strict=True
    ):
        for ((start, calls), mine), colour in zip(
            table.groupby(["start", "calls"], sort=False), [*SERIES, "#999999", "#8c564b"], strict=False
        ):
            ax.plot(mine[metric], mine["frechet"], color=colour, marker="o", linewidth=1.3, label=f"{start}, {calls} calls")
        ax.axhline(floor, color="#222222", linewidth=1, linestyle="--", label="real against real")
        describe(ax, label, distance)
    axes[0][0].legend(fontsize=8, frameon=False)
    return drawn


def strip(paths: Paths, wanted: Variations, seed: int, clean: np.ndarray, count: int = 8) -> Figure:
    """Samples of the first patches, a row a start, at the middle level and the fewest calls."""
    made = io.read_arrays(paths.inside("variations").data / f"{seed}.npz")
    level = wanted.levels[len(wanted.levels) // 2]
    blocks = {"clean": [Panel(x) for x in clean[:count]]}
    for start in wanted.starts:
        for name, draws in ((f"{start} 0 0", 1), (f"{start} {level:g} {wanted.calls[0]}", 2)):
            pixels = made[name].reshape(-1, wanted.draws, *clean.shape[1:])[:count]
            blocks |= {f"{name}, draw {k + 1}": [Panel(x) for x in pixels[:, k]] for k in range(draws)}
    return grid(blocks, count, side=0.9)
