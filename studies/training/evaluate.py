"""evaluate: what each variant gains, and what it costs; on test patches, which no other stage has compared with anything."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from dualprior.common import io
from dualprior.common.params import Evaluate
from dualprior.data.pixels import pixels_01
from dualprior.evaluation.comparisons import Finding, finding, single
from dualprior.evaluation.generation_metrics import FeatureReader, distances, make_extractor
from dualprior.evaluation.image_grid import SERIES, describe, new_figure
from dualprior.evaluation.image_metrics import METRICS, interval, measured
from studies.training.params import Variants
from studies.training.train import chosen, read_curve

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from dualprior.common.paths import Paths
    from dualprior.pipeline.config import Config

PARAMS = ("evaluate", "problems", "ablated", "seeds", "variants", "calls", "more_calls")
PLAIN, LONGER = "plain", "longer"
CONTROLS = {"condition": PLAIN, "residual": "residual_cheap", "truncated": "truncated_cheap", "initialised": PLAIN, "refitted": "mixed"}


def run(config: Config, paths: Paths) -> None:
    settings: Evaluate = config.evaluate
    variants: Variants = config.variants
    bounds = partial(interval, resamples=settings.bootstrap, seed=settings.seed)
    reader = FeatureReader(make_extractor(settings.extractor, settings.inception_weights))
    clean = io.read_array(paths.split("test"))
    real = reader(clean)
    tables, curves, found = [], [], {}
    for problem in config.problems:
        names = [*chosen(variants, problem == config.ablated), "refitted", "mixed"]
        rows, sets = [], []
        for name in names:
            for seed in config.seeds:
                for calls, pixels in io.read_arrays(paths.inside("restored").data / problem / f"{name}-{seed}.npz").items():
                    scores = {metric: measured(metric, pixels_01(clean), pixels_01(pixels)) for metric in METRICS}
                    rows.append(pd.DataFrame({"variant": name, "seed": seed, "calls": int(calls), "image": range(len(clean)), **scores}))
                    sets.append({"variant": name, "seed": seed, "calls": int(calls), "frechet": distances(reader(pixels), real)["frechet"]})
        rows, sets = pd.concat(rows, ignore_index=True), pd.DataFrame(sets)
        curve = with_guesses(read_curve(paths, problem), io.read_json(paths.inside("guesses").data / problem / "seconds.json"), variants)
        curves.append(curve.assign(problem=problem))
        psnr = rows[rows["calls"] == config.calls].pivot_table(index="image", columns="variant", values="psnr")
        for name in names:
            key = f"{problem}_{name}"
            put(found, "gain_over_plain_db", key, finding(psnr[name] - psnr[PLAIN], "dB", bounds))
            if name in CONTROLS:
                put(found, "gain_over_control_db", key, finding(psnr[name] - psnr[CONTROLS[name]], "dB", bounds))
            put(found, "frechet_over_plain_at_most_calls", key, frechet_ratio(sets, name, config.calls, max(config.more_calls)))
            if name in set(curve["variant"]):
                put(found, "seconds_to_plain_quality", key, seconds_to_plain(curve, name))
        tables.append(summary(rows, sets, curve, config.calls).assign(problem=problem))
    table = pd.concat(tables, ignore_index=True)
    table.insert(0, "problem", table.pop("problem"))
    io.write_table(paths.metrics("results.csv"), table)
    io.write_table(paths.metrics("curves.csv"), pd.concat(curves, ignore_index=True).round({"seconds": 1, "psnr": 3}))
    io.write_json(paths.metrics("findings.json"), found)
    io.write_figure(paths.plot("curves"), training_curves(pd.concat(curves), variants))


def put(found: dict, question: str, key: str, value: Finding) -> None:
    found.setdefault(question, {})[key] = value


def with_guesses(curve: pd.DataFrame, fits: dict, variants: Variants) -> pd.DataFrame:
    """The curve with the seconds of the DIP fits of all training patches added where a variant uses them."""
    spent = {name: fits[v.network][str(v.length)] if v.mean == "dip" else 0.0 for name, v in variants.every.items() if v.network in fits}
    return curve.assign(fits=curve["variant"].map(spent), seconds=curve["seconds"] + curve["variant"].map(spent))


def seconds_to_plain(curve: pd.DataFrame, name: str) -> Finding:
    """Seconds until a variant first has the plain model's final quality on validation patches, by the plain model's seconds; the mean of
    the seeds that get there. reached: how many do."""
    ratios = []
    for seed, mine in curve[curve["variant"] == name].groupby("seed"):
        plain = curve[(curve["variant"] == PLAIN) & (curve["seed"] == seed)].iloc[-1]
        there = mine[mine["psnr"] >= plain["psnr"]]
        if len(there):
            ratios.append(there["seconds"].iloc[0] / plain["seconds"])
    mean = np.mean(ratios) if ratios else float("nan")
    return (
        single(mean, len(ratios), "ratio", min(ratios, default=mean), max(ratios, default=mean))
        if ratios
        else {"value": None, "n": 0, "unit": "ratio"}
    )


def frechet_ratio(sets: pd.DataFrame, name: str, calls: int, most: int) -> Finding:
    """The Fréchet distance of a variant after few calls by that of the plain model after most calls: mean and range over seeds."""
    few = sets[(sets["variant"] == name) & (sets["calls"] == calls)].set_index("seed")["frechet"]
    many = sets[(sets["variant"] == PLAIN) & (sets["calls"] == most)].set_index("seed")["frechet"]
    ratios = few / many
    return single(ratios.mean(), len(ratios), "ratio", ratios.min(), ratios.max())


def summary(rows: pd.DataFrame, sets: pd.DataFrame, curve: pd.DataFrame, calls: int) -> pd.DataFrame:
    """A row a variant and number of calls: means over patches and seeds; seconds of training, fits of training patches among them."""
    table = rows.drop(columns="image").groupby(["variant", "calls"], sort=False).mean().drop(columns="seed")
    table = table.join(sets.groupby(["variant", "calls"])["frechet"].mean()).reset_index()
    last = curve.groupby(["variant", "seed"]).last().groupby("variant")[["seconds", "fits"]].mean()
    table = table.join(last, on="variant")
    table.loc[table["calls"] != calls, ["seconds", "fits"]] = np.nan
    return table.round({"psnr": 2, "ssim": 3, "frechet": 2, "seconds": 1, "fits": 1})


def training_curves(curves: pd.DataFrame, variants: Variants) -> Figure:
    """Quality on validation patches against seconds, the fits included: a panel a problem, a line a variant, mean of the seeds."""
    problems = list(curves["problem"].unique())
    figure, axes = new_figure(1, len(problems), 4.8, 3.8)
    for ax, problem in zip(axes[0], problems, strict=True):
        for name, colour in zip(variants.compared, [*SERIES, "#999999"], strict=False):
            mine = curves[(curves["problem"] == problem) & (curves["variant"] == name)].groupby("step")[["seconds", "psnr"]].mean()
            dashed = variants.every[name].mean == "cheap"
            ax.plot(mine["seconds"], mine["psnr"], color=colour, linewidth=1.4, linestyle="--" if dashed else "-", label=name)
        describe(ax, "seconds of training, DIP fits included", "PSNR on validation patches, dB", problem)
    axes[0][0].legend(fontsize=8, frameon=False)
    return figure
