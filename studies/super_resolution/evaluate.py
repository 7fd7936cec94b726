"""evaluate: what was made large, beside the clean images; the four statements of the texts, each with its interval."""

from __future__ import annotations

from functools import partial
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from dualprior.common import io
from dualprior.common.params import Evaluate
from dualprior.data.pixels import pixels_01, to_uint8
from dualprior.evaluation.comparisons import Finding, finding
from dualprior.evaluation.generation_metrics import FeatureReader, distances, make_extractor
from dualprior.evaluation.image_grid import SERIES, Panel, describe, grid, new_figure
from dualprior.evaluation.image_metrics import METRICS, Interval, interval, measured
from studies.super_resolution import classifier
from studies.super_resolution.pairs import read_condition
from studies.super_resolution.params import Pairs, Sample

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from dualprior.common.paths import Paths
    from dualprior.pipeline.config import Config

PARAMS = ("evaluate", "pairs", "seeds", "sample")
SETS = ("photographs", "digits")
DIFFUSION = {"eps": "diffusion, predicts eps", "x0": "diffusion, predicts x0", "blind": "diffusion, not told the level"}
REGRESSION = {"l2": "regression, squared error", "l1": "regression, absolute error"}
BICUBIC, CLEAN = "bicubic", "clean"
LABELS = {BICUBIC: "bicubic"} | REGRESSION | DIFFUSION | {CLEAN: "the clean images"}
DECIMALS = {"psnr": 2, "ssim": 3, "consistency": 1, "accuracy": 3, "frechet": 2, "kernel": 4, "precision": 2, "recall": 2, "spread": 1}
HEADLINE = ("set", "model", "calls", "psnr", "ssim", "consistency", "frechet", "recall", "accuracy")
DISTANCES = ("frechet", "kernel", "precision", "recall", "spread")


def run(config: Config, paths: Paths) -> None:
    settings: Evaluate = config.evaluate
    pairs: Pairs = config.pairs
    sample: Sample = config.sample
    bounds = partial(interval, resamples=settings.bootstrap, seed=settings.seed)
    reader = FeatureReader(make_extractor(settings.extractor, settings.inception_weights))
    tables, found, shown = [], {}, {}
    for kind in SETS:
        judge = Judge(paths.inside(kind), pairs.factor, reader)
        judge(to_uint8(read_condition(paths.inside(kind), "test", pairs.factor)), BICUBIC, 1, config.seeds[0])
        judge(judge.clean, CLEAN, 0, config.seeds[0])
        for model, seed in product(DIFFUSION | REGRESSION, config.seeds):
            for calls, pixels in io.read_arrays(paths.inside(f"{kind}-{model}").folder(f"{seed}.npz")).items():
                if calls == "draws":
                    judge.spread(pixels, sample.draws, model, sample.calls[1], seed)
                else:
                    judge(pixels, model, int(calls), seed)
        for question, answers in statements(judge, sample, bounds).items():
            found.setdefault(question, {}).update({f"{kind}_{model}": value for model, value in answers.items()})
        tables.append(judge.summary().assign(set=kind))
        shown[kind] = {model: judge.shown[model] for model in LABELS}
    table = pd.concat(tables, ignore_index=True)
    table.insert(0, "set", table.pop("set"))
    io.write_table(paths.metrics("results.csv"), table)
    short = table[table["calls"].isin([1, sample.calls[0], sample.calls[-1]])]
    io.write_table(paths.metrics("headline.csv"), short[[name for name in HEADLINE if name in short]])
    io.write_json(paths.metrics("findings.json"), found)
    io.write_figure(paths.plot("quality"), quality(table, reader.extractor.distance_name))
    io.write_figure(paths.plot("examples"), examples(shown))


class Judge:
    """Compares what was made of one set with its clean images. images: a row an image; sets: a row a model, number of calls and seed."""

    def __init__(self, paths: Paths, factor: int, reader: FeatureReader):
        self.clean, self.groups = io.read_array(paths.split("test")), io.read_array(paths.folder("groups.npy"))
        self.low = io.read_array(paths.folder("test_low.npy")).astype(float)
        self.factor, self.reader = factor, reader
        self._images, self._sets, self.shown = [], [], {}
        labels = paths.folder("labels.npz")
        self.classifier = None
        if labels.exists():
            named = io.read_arrays(labels)
            self.labels, self.classifier = named["test"], classifier.trained(io.read_array(paths.split("train")), named["train"])

    def __call__(self, pixels: np.ndarray, model: str, calls: int, seed: int) -> None:
        """pixels: uint8, of all images or of the first ones."""
        count, named = len(pixels), {"model": model, "calls": calls, "seed": seed}
        clean = self.clean[:count]
        small = pixels.reshape(count, -1, self.factor, pixels.shape[2] // self.factor, self.factor, pixels.shape[3]).mean((2, 4))
        rows = {metric: measured(metric, pixels_01(clean), pixels_01(pixels)) for metric in METRICS}
        rows["consistency"] = np.square(small - self.low[:count]).mean((1, 2, 3))
        if self.classifier is not None:
            rows["accuracy"] = (classifier.told(self.classifier, pixels) == self.labels[:count]).astype(float)
        self._images.append(pd.DataFrame({**named, "image": range(count), "group": self.groups[:count], **rows}))
        if count == len(self.clean):
            if model != CLEAN:
                self._sets.append(named | distances(self._features(pixels), self._features(clean)))
            if seed == self._images[0]["seed"][0]:
                self.shown[model] = pixels

    def spread(self, pixels: np.ndarray, draws: int, model: str, calls: int, seed: int) -> None:
        """Standard deviation over the draws of an image, of 255."""
        value = pixels.reshape(-1, draws, *pixels.shape[1:]).std(1, ddof=1).mean()
        self._sets.append({"model": model, "calls": calls, "seed": seed, "spread": float(value)})

    @property
    def images(self) -> pd.DataFrame:
        return pd.concat(self._images, ignore_index=True)

    @property
    def sets(self) -> pd.DataFrame:
        return pd.DataFrame(self._sets)

    def summary(self) -> pd.DataFrame:
        """A row a model and number of calls: means over images and seeds."""
        keys = ["model", "calls"]
        table = self.images.groupby(keys, sort=False).agg({"image": "nunique"} | dict.fromkeys(self._metrics(), "mean"))
        table = table.join(self.sets.groupby(keys)[[name for name in DISTANCES if name in self.sets]].mean()).reset_index()
        table = table.rename(columns={"image": "images"}).assign(model=table["model"].map(LABELS))
        return table.round(DECIMALS)

    def _metrics(self) -> list[str]:
        return [name for name in (*METRICS, "consistency", "accuracy") if name in self.images]

    def _features(self, pixels: np.ndarray):
        return self.reader(pixels if pixels.shape[3] == 3 else pixels.repeat(3, axis=3))


def statements(judge: Judge, sample: Sample, bounds: Interval) -> dict[str, dict[str, Finding]]:
    """{question: {diffusion model: answer}}, against regression with squared error, at the largest number of calls of all images.

    The unit of an interval is a photograph, or a digit; seeds are averaged. Of Fréchet distances it is a seed: Student's interval.
    """
    most = sample.calls[-1]
    images, sets = (table[table["calls"].isin([most, 1])] for table in (judge.images, judge.sets))

    def less(metric: str, first: str, second: str) -> Finding:
        if metric == "frechet":
            values = sets.pivot_table(index="seed", columns="model", values=metric)
            found = finding(values[first] - values[second], "", bounds)
            return {**found, "lo": found["t_lo"], "hi": found["t_hi"]}
        values = images.pivot_table(index="group", columns="model", values=metric)
        return finding(values[first] - values[second], {"psnr": "dB", "accuracy": "share"}.get(metric, ""), bounds)

    metrics = ("psnr", "ssim", "frechet", *(["accuracy"] if judge.classifier else []))
    asked = {f"diffusion_over_regression_{metric}": {model: less(metric, model, "l2") for model in DIFFUSION} for metric in metrics}
    asked |= {f"eps_over_x0_{metric}": {"eps": less(metric, "eps", "x0")} for metric in metrics}
    return asked | {"full_over_most_calls_psnr": {model: longer(judge.images, model, sample, bounds) for model in DIFFUSION}}


def longer(images: pd.DataFrame, model: str, sample: Sample, bounds: Interval) -> Finding:
    """What the full number of calls adds, on the same images and seed."""
    mine = images[(images["model"] == model) & (images["seed"] == images["seed"].iloc[0]) & (images["image"] < sample.full_images)]
    values = mine.pivot_table(index="group", columns="calls", values="psnr")
    return finding(values[sample.full_calls] - values[sample.calls[-1]], "dB", bounds)


def quality(table: pd.DataFrame, distance: str) -> Figure:
    """PSNR against Fréchet distance: a point a model, a line through its numbers of calls."""
    figure, axes = new_figure(1, len(SETS), 5.6, 4.0)
    for ax, kind in zip(axes[0], SETS, strict=True):
        rows = table[(table["set"] == kind) & table["frechet"].notna()]
        for (label, mine), colour in zip(rows.groupby("model", sort=False), SERIES, strict=False):
            mine = mine.sort_values("calls")
            ax.plot(mine["frechet"], mine["psnr"], color=colour, marker="o", linewidth=1.4, label=label)
            if len(mine) > 1:
                for row in mine.itertuples():
                    ax.annotate(str(row.calls), (row.frechet, row.psnr), fontsize=8, xytext=(4, 4), textcoords="offset points")
        ax.legend(fontsize=8, frameon=False)
        ax.set_xscale("log")
        describe(ax, distance, "PSNR, dB", f"{kind}; along a line the number of calls")
    return figure


def examples(shown: dict[str, dict[str, np.ndarray]], count: int = 8) -> Figure:
    """The first test images, a row a model."""
    blocks = {}
    for kind, made in shown.items():
        blocks |= {
            f"{kind}: {LABELS[model]}": [Panel(x.repeat(3 // x.shape[2], axis=2)) for x in pixels[:count]] for model, pixels in made.items()
        }
    return grid(blocks, count, side=1.2)
