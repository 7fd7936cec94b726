"""evaluate: what each variant gains, and what it costs; on test patches, which no other stage has compared with anything."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from dualprior.common import io
from dualprior.common.params import Evaluate
from dualprior.data.pixels import pixels_01, to_uint8
from dualprior.evaluation.comparisons import Finding, finding, single
from dualprior.evaluation.generation_metrics import FeatureReader, distances, make_extractor
from dualprior.evaluation.image_grid import SERIES, describe, new_figure
from dualprior.evaluation.image_metrics import METRICS, Interval, interval, measured
from studies.training import judged_variations
from studies.training.given import read_guess
from studies.training.params import Variants
from studies.training.train import chosen, read_curve

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from dualprior.common.paths import Paths
    from dualprior.pipeline.config import Config

PARAMS = ("evaluate", "problems", "ablated", "seeds", "variants", "fits", "calls", "plain_calls", "variations")
PLAIN, LONGER = "plain", "longer"
FAMILIES = ("condition", "residual", "truncated")  # alpha to gamma: the best of them is chosen on validation patches
CONTROLS = {"residual": "residual_control", "truncated": "truncated_control", "refitted": "mixed"} | {
    f"truncated sigma_max={level}": f"truncated_control sigma_max={level}" for level in (0.25, 1.0)
}


def run(config: Config, paths: Paths) -> None:
    settings: Evaluate = config.evaluate
    variants: Variants = config.variants
    bounds = partial(interval, resamples=settings.bootstrap, seed=settings.seed)
    reader = FeatureReader(make_extractor(settings.extractor, settings.inception_weights))
    clean, groups = io.read_array(paths.split("test")), io.read_array(paths.folder("groups.npy"))
    tables, curves, found = [], [], {}
    for problem in config.problems:
        spent = partial(seconds_of_fits, variants=variants, fit=config.fits[problem][0])
        fits = io.read_json(paths.inside("guesses").data / problem / "seconds.json")
        curve = with_fits(read_curve(paths, problem), spent(fits["train"]), len(io.read_array(paths.split("train"))))
        rows, sets = judged(
            paths, problem, [*chosen(variants, problem == config.ablated), "refitted", "mixed"], config.seeds, clean, groups, reader
        )
        for question, answers in answered(rows, sets, curve, config.calls, config.plain_calls, bounds).items():
            found.setdefault(question, {}).update({f"{problem}_{name}": value for name, value in answers.items()})
        seconds = io.read_json(paths.inside("restored").data / problem / "seconds.json")
        tables.append(summary(rows, sets, curve, spent(fits["test"]), seconds, config.calls).assign(problem=problem))
        curves.append(curve.assign(problem=problem))
    table = pd.concat(tables, ignore_index=True)
    table.insert(0, "problem", table.pop("problem"))
    io.write_table(paths.metrics("results.csv"), table)
    io.write_table(paths.metrics("curves.csv"), pd.concat(curves, ignore_index=True).round({"seconds": 1, "psnr": 3, "error": 4}))
    io.write_figure(paths.plot("curves"), training_curves(pd.concat(curves), variants))
    found |= judged_variations.write(paths, config.variations, config.seeds, clean, groups, reader)
    io.write_json(paths.metrics("findings.json"), found)


def seconds_of_fits(each: dict[str, float], variants: Variants, fit: str) -> dict[str, float]:
    """Of one patch, for every variant. each: those of every fit; fit: of the variants that name no other."""
    return {name: each.get(v.fit or fit, np.nan) if v.uses_dip else 0.0 for name, v in variants.every.items()}


def with_fits(curve: pd.DataFrame, each: dict[str, float], patches: int) -> pd.DataFrame:
    """The curve with the seconds of the DIP fits of all training patches added where a variant uses them."""
    fits = patches * curve["variant"].map(each)
    return curve.assign(fits=fits, seconds=curve["seconds"] + fits)


def judged(
    paths: Paths, problem: str, names: list[str], seeds: tuple[int, ...], clean: np.ndarray, groups: np.ndarray, reader: FeatureReader
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows of every patch, and of every set of patches; the guesses themselves among them, without a call."""
    real, rows, sets = reader(clean), [], []

    def add(name: str, seed: int, calls: int, pixels: np.ndarray) -> None:
        scores = {metric: measured(metric, pixels_01(clean), pixels_01(pixels)) for metric in METRICS}
        rows.append(pd.DataFrame({"variant": name, "seed": seed, "calls": calls, "group": groups, **scores}))
        sets.append({"variant": name, "seed": seed, "calls": calls, **distances(reader(pixels), real)})

    for file in sorted((paths.inside("guesses").data / problem).glob("test_*.npy")):
        guess = file.stem.removeprefix("test_")
        add(f"guess {guess}", seeds[0], 0, to_uint8(read_guess(paths, problem, "test", guess)))
    for name in names:
        for seed in seeds:
            for calls, pixels in io.read_arrays(paths.inside("restored").data / problem / f"{name}-{seed}.npz").items():
                add(name, seed, int(calls), pixels)
    return pd.concat(rows, ignore_index=True), pd.DataFrame(sets)


def answered(
    rows: pd.DataFrame, sets: pd.DataFrame, curve: pd.DataFrame, calls: int, plain_calls: int, bounds: Interval
) -> dict[str, dict[str, Finding]]:
    """{question: {variant: answer}}. The unit of an interval is a photograph; seeds are averaged."""
    psnr = rows[rows["calls"] == calls].pivot_table(index="group", columns="variant", values="psnr")
    last = curve.groupby(["variant", "seed"])["psnr"].last().groupby("variant").mean()
    best = str(last[list(FAMILIES)].idxmax())
    reference = sets[(sets["variant"] == PLAIN) & (sets["calls"] == plain_calls)]["frechet"].mean()
    means = sets[sets["calls"] > 0].groupby(["variant", "calls"])["frechet"].mean()
    realistic = means[means <= reference].reset_index().groupby("variant")["calls"].min()
    return {
        "gain_over_plain_db": {name: finding(psnr[name] - psnr[PLAIN], "dB", bounds) for name in psnr},
        "gain_over_longer_db": {name: finding(psnr[name] - psnr[LONGER], "dB", bounds) for name in psnr},
        "gain_over_control_db": {a: finding(psnr[a] - psnr[b], "dB", bounds) for a, b in CONTROLS.items() if a in psnr},
        "seconds_to_plain_quality": {name: to_plain_quality(curve, name, "seconds") for name in last.index},
        "steps_to_plain_quality": {name: to_plain_quality(curve, name, "step") for name in last.index},
        "best_on_validation": {"all": {**finding(psnr[best] - psnr[PLAIN], "dB", bounds), "variant": best}},
        "fewest_calls": {name: {"value": realistic.get(name), "unit": "calls"} for name in psnr},
    }


def to_plain_quality(curve: pd.DataFrame, name: str, spent: str) -> dict:
    """What ("step" or "seconds") a variant has spent when it has the plain model's final quality on validation patches, by what the plain
    model spends: the median of the seeds. One that never gets there counts with all it spent; `reached` says how many do."""
    ratios, reached = [], 0
    for seed, mine in curve[curve["variant"] == name].groupby("seed"):
        plain = curve[(curve["variant"] == PLAIN) & (curve["seed"] == seed)].iloc[-1]
        there = mine[mine["psnr"] >= plain["psnr"]]
        reached += len(there) > 0
        ratios.append((there if len(there) else mine.tail(1))[spent].iloc[0] / plain[spent])
    return {**single(np.median(ratios), len(ratios), "ratio", min(ratios), max(ratios)), "reached": reached}


def summary(rows: pd.DataFrame, sets: pd.DataFrame, curve: pd.DataFrame, fits: dict[str, float], seconds: dict, calls: int) -> pd.DataFrame:
    """A row a variant and number of calls: means over patches and seeds; seconds of training, and of the restoration of one patch, with
    the DIP fits of each."""
    keys = ["variant", "calls"]
    table = (
        rows.groupby(keys, sort=False)[list(METRICS)].mean().join(sets.groupby(keys)[["frechet", "kernel", "recall"]].mean()).reset_index()
    )
    table = table.join(
        curve.groupby(["variant", "seed"])["seconds"].last().groupby("variant").mean().rename("training seconds"), on="variant"
    )
    table["seconds a patch"] = table["variant"].map({name: value + fits.get(name, 0.0) for name, value in seconds.items()})
    table.loc[table["calls"] != calls, ["training seconds", "seconds a patch"]] = np.nan
    return table.round({"psnr": 2, "ssim": 3, "frechet": 2, "kernel": 4, "recall": 2, "training seconds": 1, "seconds a patch": 4})


def training_curves(curves: pd.DataFrame, variants: Variants) -> Figure:
    """Quality on validation patches against seconds, the fits included: a panel a problem, a line a variant, mean of the seeds."""
    problems = list(curves["problem"].unique())
    figure, axes = new_figure(1, len(problems), 4.8, 3.8)
    for ax, problem in zip(axes[0], problems, strict=True):
        for name, colour in zip(variants.compared, [*SERIES, "#999999", "#8c564b"], strict=False):
            mine = curves[(curves["problem"] == problem) & (curves["variant"] == name)].groupby("step")[["seconds", "psnr"]].mean()
            ax.plot(
                mine["seconds"],
                mine["psnr"],
                color=colour,
                linewidth=1.4,
                linestyle="-" if variants.every[name].uses_dip else "--",
                label=name,
            )
        describe(ax, "seconds of training, DIP fits included", "PSNR on validation patches, dB", problem)
    axes[0][0].legend(fontsize=8, frameon=False)
    return figure
