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
from dualprior.evaluation.image_grid import SERIES, Panel, describe, grid, new_figure
from dualprior.evaluation.image_metrics import METRICS, interval, measured
from studies.training.params import Variants, Variations
from studies.training.train import chosen, read_curve
from studies.training.variations import NOISE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from dualprior.common.paths import Paths
    from dualprior.pipeline.config import Config

PARAMS = ("evaluate", "problems", "ablated", "seeds", "variants", "calls", "more_calls", "variations")
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
    drawn = judged_variations(paths, config.variations, config.seeds, clean, reader)
    found |= front(drawn, config.variations)
    io.write_table(paths.metrics("variations.csv"), averaged(drawn))
    io.write_figure(paths.plot("variations"), variations_figure(averaged(drawn), reader.extractor.distance_name))
    io.write_figure(paths.plot("strip"), strip(paths, config.variations, config.seeds[0], clean))
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


# --- samples around a guess ------------------------------------------------------------------------------------


def judged_variations(paths: Paths, wanted: Variations, seeds: tuple[int, ...], clean: np.ndarray, reader: FeatureReader) -> pd.DataFrame:
    """A row a start, level, number of calls and seed. psnr: of samples; spread: standard deviation over the draws of a patch, of 255."""
    clean = clean[: wanted.images]
    real, rows = reader(clean), []
    for seed in seeds:
        for name, pixels in io.read_arrays(paths.inside("variations").data / f"{seed}.npz").items():
            start, level, calls = name.split()
            draws = pixels.reshape(-1, wanted.draws, *pixels.shape[1:])
            first = np.ascontiguousarray(draws[:, 0])  # as many samples as real patches
            psnr = measured("psnr", pixels_01(clean), pixels_01(first)).mean()
            spread = draws.astype(float).std(1, ddof=1).mean()
            named = {"start": start, "level": float(level), "calls": int(calls), "seed": seed}
            rows.append({**named, "psnr": psnr, "spread": spread, **distances(reader(first), real)})
    return pd.DataFrame(rows)


def averaged(drawn: pd.DataFrame) -> pd.DataFrame:
    means = drawn.groupby(["start", "level", "calls"], sort=False).mean().drop(columns="seed").reset_index()
    return means.round({"psnr": 2, "spread": 1, "frechet": 2, "kernel": 4, "precision": 2, "recall": 2})


def front(drawn: pd.DataFrame, wanted: Variations) -> dict[str, dict[str, Finding]]:
    """Fréchet distance, spread and recall by those of samples from pure noise after `noise_calls` calls: mean, range of seeds."""
    by = drawn.set_index(["start", "level", "calls", "seed"])
    reference = drawn[(drawn["start"] == NOISE) & (drawn["calls"] == wanted.noise_calls)].set_index("seed")
    found: dict[str, dict[str, Finding]] = {}
    for (start, level, calls), mine in by.groupby(level=[0, 1, 2], sort=False):
        own = mine.droplevel([0, 1, 2])
        for metric in ("frechet", "spread", "recall"):
            ratios = own[metric] / reference[metric].clip(lower=1e-6)
            put(
                found,
                f"variations_{metric}_ratio",
                f"{start}_{level:g}_{calls}",
                single(ratios.mean(), len(ratios), "ratio", ratios.min(), ratios.max()),
            )
    return found


def variations_figure(table: pd.DataFrame, distance: str) -> Figure:
    """Realism against fidelity and against diversity: a line a start and number of calls through its levels."""
    figure, axes = new_figure(1, 2, 5.2, 3.8)
    for ax, metric, label in zip(
        axes[0], ("psnr", "spread"), ("PSNR of a sample, dB", "standard deviation over samples, of 255"), strict=True
    ):
        for ((start, calls), mine), colour in zip(table.groupby(["start", "calls"], sort=False), [*SERIES, "#999999"], strict=False):
            ax.plot(mine[metric], mine["frechet"], color=colour, marker="o", linewidth=1.3, label=f"{start}, {calls} calls")
        describe(ax, label, distance)
    axes[0][0].legend(fontsize=8, frameon=False)
    return figure


def strip(paths: Paths, wanted: Variations, seed: int, clean: np.ndarray, count: int = 8) -> Figure:
    """Samples of the first patches, a row a start, at the middle level and the fewest calls."""
    made = io.read_arrays(paths.inside("variations").data / f"{seed}.npz")
    level = wanted.levels[len(wanted.levels) // 2]
    blocks = {"clean": [Panel(x) for x in clean[:count]]}
    for start in wanted.starts:
        pixels = made[f"{start} {level:g} {wanted.calls[0]}"].reshape(-1, wanted.draws, *clean.shape[1:])[:count]
        blocks |= {f"from {start}, draw {k + 1}": [Panel(x) for x in pixels[:, k]] for k in range(2)}
    return grid(blocks, count, side=0.9)
