"""Samples around a first guess: fidelity, realism and diversity, against samples from pure noise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from dualprior.common import io
from dualprior.data.pixels import pixels_01
from dualprior.evaluation.comparisons import Finding, finding, single
from dualprior.evaluation.generation_metrics import FeatureReader, distances
from dualprior.evaluation.image_grid import SERIES, Panel, describe, grid, new_figure
from dualprior.evaluation.image_metrics import Interval, measured
from studies.training.params import Variations
from studies.training.variations import NOISE, starting

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from dualprior.common.paths import Paths

KEYS = ["start", "level", "calls"]
BLOCK = 4  # pixels a side, whose means say whether a sample agrees with what was measured


def write(
    paths: Paths,
    wanted: Variations,
    seeds: tuple[int, ...],
    clean: np.ndarray,
    groups: np.ndarray,
    reader: FeatureReader,
    bounds: Interval,
) -> dict[str, dict[str, Finding]]:
    """The table and the figures; returns the findings. Real patches are of photographs that no sample starts from."""
    shown = starting(groups)
    own, real = clean[shown], reader(clean[~shown])
    drawn = {seed: io.read_arrays(paths.inside("variations").data / f"{seed}.npz") for seed in seeds}
    rows, spreads = judged(drawn, own, real, reader), spread(drawn)
    floor = distances(reader(own), real)
    means = rows.groupby(KEYS, sort=False).mean().drop(columns="seed").join(spreads.mean(axis=1).rename("spread")).reset_index()
    table = pd.concat([means, pd.DataFrame([{"start": "real", **floor}])], ignore_index=True)
    table = table.round({"psnr": 2, "consistency": 1, "spread": 1, "frechet": 2, "kernel": 4, "precision": 2, "recall": 2})
    io.write_table(paths.metrics("variations.csv"), table)
    io.write_figure(paths.plot("variations"), figure(means, floor["frechet"], reader.extractor.distance_name))
    io.write_figure(paths.plot("strip"), strip(drawn, wanted, own))
    by_photograph = spreads.T.groupby(groups[shown]).mean()
    return compared(rows.set_index("seed"), by_photograph, wanted.noise_calls, bounds)


def judged(drawn: dict[int, dict[str, np.ndarray]], clean: np.ndarray, real, reader: FeatureReader) -> pd.DataFrame:
    """A row a start, level, number of calls and seed. consistency: mean squared difference of block means from the clean ones, of 255²."""
    rows = []
    means = lambda x: x.reshape(len(x), -1, BLOCK, x.shape[2] // BLOCK, BLOCK, x.shape[3]).astype(float).mean((2, 4))  # noqa: E731
    for seed, every in drawn.items():
        for name, pixels in every.items():
            scores = {
                "psnr": measured("psnr", pixels_01(clean), pixels_01(pixels)).mean(),
                "consistency": np.square(means(pixels) - means(clean)).mean(),
                **distances(reader(pixels), real),
            }
            rows.append(dict(zip(KEYS, keys_of(name), strict=True)) | {"seed": seed} | scores)
    return pd.DataFrame(rows)


def keys_of(name: str) -> tuple[str, float, int]:
    start, level, calls = name.split()
    return start, float(level), int(calls)


def spread(drawn: dict[int, dict[str, np.ndarray]]) -> pd.DataFrame:
    """Standard deviation over the draws of a patch, the seeds, of 255: a row a start, level and number of calls, a column a patch."""
    every = list(drawn.values())
    found = {keys_of(name): np.stack([own[name] for own in every]).astype(float).std(0, ddof=1).mean((1, 2, 3)) for name in every[0]}
    return pd.DataFrame.from_dict(found, orient="index").set_axis(pd.MultiIndex.from_tuples(found, names=KEYS))


def compared(rows: pd.DataFrame, spreads: pd.DataFrame, noise_calls: int, bounds: Interval) -> dict[str, dict[str, Finding]]:
    """Of every start against samples from pure noise after `noise_calls` calls: of distances the mean and range of the seeds, of spread the
    mean over photographs and its interval.

    rows: by seed; spreads: photographs × (start, level, calls).
    """
    noise = rows[(rows["start"] == NOISE) & (rows["calls"] == noise_calls)]
    widest = spreads[NOISE].xs(noise_calls, axis=1, level="calls").squeeze(axis=1)
    found: dict[str, dict[str, Finding]] = {"variations_frechet": {}, "variations_recall": {}, "variations_spread": {}}
    for (start, level, calls), own in rows.groupby(KEYS, sort=False):
        name = f"{start}_{level:g}_{calls}"
        realism, recall = own["frechet"] / noise["frechet"], own["recall"] - noise["recall"]
        found["variations_frechet"][name] = single(realism.mean(), len(own), "ratio", realism.min(), realism.max())
        found["variations_recall"][name] = single(recall.mean(), len(own), "share", recall.min(), recall.max())
        found["variations_spread"][name] = finding(spreads[start, level, calls] / widest, "ratio", bounds)
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


def strip(drawn: dict[int, dict[str, np.ndarray]], wanted: Variations, clean: np.ndarray, count: int = 8) -> Figure:
    """Samples of the first patches, two of each, a row a start, at the middle level and the most calls."""
    level, calls = wanted.levels[len(wanted.levels) // 2], wanted.calls[-1]
    first, second = list(drawn.values())[:2]
    blocks = {"clean": [Panel(x) for x in clean[:count]]}
    for start in wanted.starts:
        name = f"{start} {level:g} {calls}"
        rows = {start: first[f"{start} 0 0"], f"{name}, first": first[name], f"{name}, second": second[name]}
        blocks |= {title: [Panel(x) for x in pixels[:count]] for title, pixels in rows.items()}
    return grid(blocks, count, side=0.9)
