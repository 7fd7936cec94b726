"""evaluate: what each variant gains, and what it costs; on test patches, which no other stage has compared with anything."""

from __future__ import annotations

from functools import partial
from itertools import cycle
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
from dualprior.evaluation.report import with_interval
from studies.training import judged_variations
from studies.training.given import read_guess
from studies.training.params import MIXED, PLAIN, REFITTED, Variants
from studies.training.train import chosen, read_curve

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from dualprior.common.paths import Paths
    from dualprior.pipeline.config import Config

PARAMS = ("evaluate", "problems", "ablated", "seeds", "variants", "calls", "plain_calls", "variations")
WITH_DIP = ("condition", "residual", "truncated")  # alpha to gamma
WITHOUT = ("plain", "longer", "more_data", "condition_control", "residual_control", "truncated_control")


def run(config: Config, paths: Paths) -> None:
    settings: Evaluate = config.evaluate
    variants: Variants = config.variants
    bounds = partial(interval, resamples=settings.bootstrap, seed=settings.seed)
    reader = FeatureReader(make_extractor(settings.extractor, settings.inception_weights))
    clean, groups = io.read_array(paths.split("test")), io.read_array(paths.folder("groups.npy"))
    tables, curves, found = [], [], {}
    for problem in config.problems:
        own = chosen(variants, problem == config.ablated)
        each = io.read_json(paths.inside("guesses").data / problem / "chosen.json")["seconds"]
        guessed = {name: sum(each[guess] for guess in variant.guesses) for name, variant in own.items()}
        curve = with_guesses(read_curve(paths, problem), {name: variant.patches * guessed[name] for name, variant in own.items()})
        rows, sets = judged(paths, problem, [*own, REFITTED, MIXED], config.seeds, clean, groups, reader)
        for question, answers in answered(rows, sets, curve, config.calls, config.plain_calls, bounds).items():
            found.setdefault(question, {}).update({f"{problem}_{name}": value for name, value in answers.items()})
        seconds = io.read_json(paths.inside("restored").data / problem / "seconds.json")
        tables.append(
            summary(rows, sets, curve, {**guessed, MIXED: each["dip"], REFITTED: 0.0}, seconds, config.calls).assign(problem=problem)
        )
        curves.append(curve.assign(problem=problem))
    table = pd.concat(tables, ignore_index=True)
    table.insert(0, "problem", table.pop("problem"))
    io.write_table(paths.metrics("results.csv"), table)
    io.write_table(paths.metrics("curves.csv"), pd.concat(curves, ignore_index=True).round({"seconds": 1, "psnr": 3, "error": 4}))
    io.write_figure(paths.plot("curves"), training_curves(pd.concat(curves), variants))
    io.write_table(paths.metrics("ablations.csv"), ablations(found, config.ablated))
    found |= judged_variations.write(paths, config.variations, config.seeds, clean, groups, reader, bounds)
    io.write_json(paths.metrics("findings.json"), found)


def with_guesses(curve: pd.DataFrame, spent: dict[str, float]) -> pd.DataFrame:
    """The curve with the seconds of all guesses of training patches added."""
    guesses = curve["variant"].map(spent)
    return curve.assign(guesses=guesses, seconds=curve["seconds"] + guesses)


def judged(
    paths: Paths, problem: str, names: list[str], seeds: tuple[int, ...], clean: np.ndarray, groups: np.ndarray, reader: FeatureReader
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows of every patch, and of every set of patches; the guesses themselves among them, without a call."""
    real, truth, rows, sets = reader(clean), pixels_01(clean), [], []

    def add(name: str, seed: int, calls: int, pixels: np.ndarray) -> None:
        scores = {metric: measured(metric, truth, pixels_01(pixels)) for metric in METRICS}
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
    """{question: {variant: answer}}."""
    psnr = rows[rows["calls"] == calls].pivot_table(index="group", columns=["variant", "seed"], values="psnr")
    names = psnr.columns.unique("variant")
    alone = {guess: rows[rows["variant"] == f"guess {guess}"].groupby("group")["psnr"].mean() for guess in ("dip", "classic")}
    last = curve.groupby(["variant", "seed"])["psnr"].last().groupby("variant").mean()
    dip, other = (str(last[list(family)].idxmax()) for family in (WITH_DIP, WITHOUT))
    paired = {name: name.replace(stem, f"{stem}_control", 1) for stem in WITH_DIP for name in names if name.partition(" ")[0] == stem}
    controls = {a: b for a, b in paired.items() if b in names} | {REFITTED: MIXED}
    trained = {a: b for a, b in controls.items() if a in last}
    distance = sets[sets["calls"] > 0].pivot_table(index="seed", columns=["variant", "calls"], values="frechet")
    reference = distance[PLAIN, plain_calls]
    means = distance.mean().rename("frechet")
    realistic = means[means <= reference.mean()].reset_index().groupby("variant")["calls"].min()
    found = {
        "gain_over_plain_db": {name: gain(psnr[name] - psnr[PLAIN], bounds) for name in names},
        "gain_over_control_db": {a: gain(psnr[a] - psnr[b], bounds) for a, b in controls.items()},
        "guess_over_plain_db": {guess: gain(-psnr[PLAIN].sub(own, axis=0), bounds) for guess, own in alone.items()},
        "gain_over_dip_alone_db": {name: gain(psnr[name].sub(alone["dip"], axis=0), bounds) for name in WITH_DIP},
        "best_with_dip_over_best_without_db": {"all": {**gain(psnr[dip] - psnr[other], bounds), "dip": dip, "without": other}},
        "fewest_calls": {name: {"value": realistic.get(name), "unit": "calls"} for name in names},
        "frechet_ratio_to_plain": {name: ratio(distance[name, calls] / distance[PLAIN, calls]) for name in names},
    }
    for spent, unit in {"seconds": "seconds", "step": "steps"}.items():
        found[f"{unit}_to_plain_quality"] = {name: to_quality(curve, name, PLAIN, spent) for name in last.index}
        found[f"{unit}_to_control_quality"] = {a: to_quality(curve, a, b, spent) for a, b in trained.items()}
    return found


def ablations(found: dict[str, dict[str, Finding]], problem: str) -> pd.DataFrame:
    """A row a variant of the axes, beside the one that it varies."""
    names = [name.removeprefix(f"{problem}_") for name in found["steps_to_plain_quality"] if name.startswith(f"{problem}_")]
    varied = {name.partition(" ")[0] for name in names if "=" in name}
    rows = []
    for name in (name for name in names if name.partition(" ")[0] in varied and "_control" not in name):
        own = {question: answers.get(f"{problem}_{name}") for question, answers in found.items()}
        over = own["gain_over_control_db"]
        rows.append({
            "variant": name,
            "over plain, dB": with_interval(own["gain_over_plain_db"]), "over its control, dB": over and with_interval(over),
            "steps to plain's quality": own["steps_to_plain_quality"]["value"], "seconds": own["seconds_to_plain_quality"]["value"],
            "Fréchet distance by plain's": own["frechet_ratio_to_plain"]["value"],
        })  # fmt: skip
    return pd.DataFrame(rows).round(2)


def gain(values: pd.DataFrame, bounds: Interval) -> Finding:
    """values: photographs × seeds. Photographs are the unit of the interval; beside it the range of the seeds' means."""
    seeds = values.mean().round(4)
    return {**finding(values.mean(axis=1), "dB", bounds), "seeds_lo": seeds.min(), "seeds_hi": seeds.max()}


def ratio(values: pd.Series) -> Finding:
    """Mean and range of the seeds."""
    return single(values.mean(), len(values), "ratio", values.min(), values.max())


def to_quality(curve: pd.DataFrame, name: str, rival: str, spent: str) -> dict:
    """What ("step" or "seconds") a variant has spent when it has a rival's final quality on validation patches, and keeps it, by what the
    rival spends in all: the median of the seeds, none where most never get there; `reached` says how many do."""
    ratios = []
    for seed, mine in curve[curve["variant"] == name].groupby("seed"):
        end = curve[(curve["variant"] == rival) & (curve["seed"] == seed)].iloc[-1]
        kept = mine["psnr"][::-1].cummin()[::-1] >= end["psnr"]
        ratios.append(mine.loc[kept, spent].min() / end[spent] if kept.any() else np.inf)
    value, low, high = (None if np.isinf(x) else round(float(x), 4) for x in (np.median(ratios), min(ratios), max(ratios)))
    return {"value": value, "lo": low, "hi": high, "n": len(ratios), "unit": "ratio", "reached": int(np.isfinite(ratios).sum())}


def summary(
    rows: pd.DataFrame, sets: pd.DataFrame, curve: pd.DataFrame, guessed: dict[str, float], seconds: dict, calls: int
) -> pd.DataFrame:
    """A row a variant and number of calls: means over patches and seeds; seconds of training, and of the restoration of one patch by the
    last seed's model, the guesses of each included."""
    keys = ["variant", "calls"]
    table = (
        rows.groupby(keys, sort=False)[list(METRICS)].mean().join(sets.groupby(keys)[["frechet", "kernel", "recall"]].mean()).reset_index()
    )
    table = table.join(
        curve.groupby(["variant", "seed"])["seconds"].last().groupby("variant").mean().rename("training seconds"), on="variant"
    )
    table["seconds a patch"] = table["variant"].map({name: value + guessed[name] for name, value in seconds.items()})
    table.loc[table["calls"] != calls, ["training seconds", "seconds a patch"]] = np.nan
    return table.round({"psnr": 2, "ssim": 3, "frechet": 2, "kernel": 4, "recall": 2, "training seconds": 1, "seconds a patch": 4})


def training_curves(curves: pd.DataFrame, variants: Variants) -> Figure:
    """Quality on validation patches against seconds, the fits included: a panel a problem, a line a variant, solid where a DIP is in
    it; mean of the seeds."""
    problems = list(curves["problem"].unique())
    colours = dict(zip(dict.fromkeys(name.removesuffix("_control") for name in variants.compared), cycle(SERIES), strict=False))
    figure, axes = new_figure(1, len(problems), 4.8, 3.8)
    for ax, problem in zip(axes[0], problems, strict=True):
        for name in variants.compared:
            mine = curves[(curves["problem"] == problem) & (curves["variant"] == name)].groupby("step")[["seconds", "psnr"]].mean()
            style = {"color": colours[name.removesuffix("_control")], "linestyle": "-" if variants.every[name].uses_dip else "--"}
            ax.plot(mine["seconds"], mine["psnr"], linewidth=1.4, label=name, **style)
        describe(ax, "seconds of training, guesses included", "PSNR on validation patches, dB", problem)
    axes[0][0].legend(fontsize=8, frameon=False)
    return figure
