"""evaluate: what was made large, beside the clean images; the four statements of the texts, each with its interval."""

from __future__ import annotations

from functools import partial
from itertools import product
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from sklearn.svm import SVC

from dualprior.common import io
from dualprior.common.params import Evaluate
from dualprior.data.pixels import pixels_01, to_uint8
from dualprior.evaluation.comparisons import Finding, finding
from dualprior.evaluation.generation_metrics import FeatureReader, distances, make_extractor
from dualprior.evaluation.image_grid import SERIES, Panel, describe, grid, new_figure
from dualprior.evaluation.image_metrics import METRICS, Interval, interval, measured
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
LABELS = DIFFUSION | REGRESSION | {BICUBIC: "bicubic", CLEAN: "the clean images"}


def run(config: Config, paths: Paths) -> None:
    settings: Evaluate = config.evaluate
    pairs: Pairs = config.pairs
    sample: Sample = config.sample
    bounds = partial(interval, resamples=settings.bootstrap, seed=settings.seed)
    reader = FeatureReader(make_extractor(settings.extractor, settings.inception_weights))
    tables, found, shown = [], {}, {}
    for kind in SETS:
        judge = Judge(paths.inside(kind), pairs.factor, reader)
        made = {(BICUBIC, "1", 0): to_uint8(read_condition(paths.inside(kind), "test", pairs.factor)), (CLEAN, "0", 0): judge.clean}
        draws = {}
        for model, seed in product(DIFFUSION | REGRESSION, config.seeds):
            arrays = io.read_arrays(paths.inside(f"{kind}-{model}").folder(f"{seed}.npz"))
            if "draws" in arrays:
                draws[model, seed] = arrays.pop("draws")
            made |= {(model, calls, seed): pixels for calls, pixels in arrays.items()}
        rows = pd.concat([judge(pixels, *name) for name, pixels in made.items()], ignore_index=True)
        spread = {name: pixels.reshape(-1, sample.draws, *pixels.shape[1:]).std(1, ddof=1).mean() for name, pixels in draws.items()}
        most = sample.calls[-1]
        for question, values in statements(rows, str(most)).items():
            for model, each in values.items():
                found.setdefault(question, {})[f"{kind}_{model}"] = answer(each, question, bounds)
        tables.append(summary(rows, spread, sample.calls[1], judge.means).assign(set=kind))
        shown[kind] = {name: made[name] for name in [(BICUBIC, "1", 0), *((m, "1", config.seeds[0]) for m in REGRESSION),
                                                     *((m, str(most), config.seeds[0]) for m in DIFFUSION), (CLEAN, "0", 0)]}  # fmt: skip
    table = pd.concat(tables, ignore_index=True)
    table.insert(0, "set", table.pop("set"))
    io.write_table(paths.metrics("results.csv"), table)
    io.write_json(paths.metrics("findings.json"), found)
    io.write_figure(paths.plot("quality"), quality(table, reader.extractor.distance_name))
    io.write_figure(paths.plot("examples"), examples(shown))


class Judge:
    """Compares the restorations of one set with its clean images."""

    def __init__(self, paths: Paths, factor: int, reader: FeatureReader):
        self.clean = io.read_array(paths.split("test"))
        self.low = io.read_array(paths.folder("test_low.npy")).astype(float)
        self.factor, self.reader = factor, reader
        self.means: dict[tuple, dict] = {}  # of a whole set of images
        labels = paths.folder("labels.npz")
        self.classifier = None
        if labels.exists():
            named = io.read_arrays(labels)
            self.labels = named["test"]
            self.classifier = SVC(C=10).fit(_flat(io.read_array(paths.split("train"))), named["train"])

    def __call__(self, pixels: np.ndarray, model: str, calls: str, seed: int) -> pd.DataFrame:
        """One row an image; distances of the whole set go to `means`. pixels: uint8, of the first images or of all."""
        count = len(pixels)
        clean = self.clean[:count]
        small = pixels.reshape(count, -1, self.factor, pixels.shape[2] // self.factor, self.factor, pixels.shape[3]).mean((2, 4))
        rows = {metric: measured(metric, pixels_01(clean), pixels_01(pixels)) for metric in METRICS}
        rows["consistency"] = np.square(small - self.low[:count]).mean((1, 2, 3))
        if self.classifier is not None:
            rows["accuracy"] = (self.classifier.predict(_flat(pixels)) == self.labels[:count]).astype(float)
        if count == len(self.clean) and model != CLEAN:
            self.means[model, calls, seed] = distances(self.features(pixels), self.features(clean))
        named = {"model": model, "calls": calls, "seed": seed, "image": range(count)}
        return pd.DataFrame({**named, **rows, "frechet": self.means.get((model, calls, seed), {}).get("frechet")})

    def features(self, pixels: np.ndarray):
        return self.reader(pixels if pixels.shape[3] == 3 else pixels.repeat(3, axis=3))


def _flat(pixels: np.ndarray) -> np.ndarray:
    return pixels.reshape(len(pixels), -1) / 255


def statements(rows: pd.DataFrame, calls: str) -> dict[str, dict[str, np.ndarray]]:
    """Values whose mean answers a question, by the diffusion model asked about: one an image, of Fréchet distances one a seed."""
    chosen = rows[rows["calls"].isin([calls, "1"])]

    def less(metric: str, first: str, second: str) -> np.ndarray:
        unit = "seed" if metric == "frechet" else "image"
        means = chosen.pivot_table(index=unit, columns="model", values=metric, aggfunc="mean")
        return (means[first] - means[second]).dropna().to_numpy()

    asked = {
        f"regression_over_diffusion_{metric}": {model: less(metric, "l2", model) for model in DIFFUSION}
        for metric in ("psnr", "ssim", "frechet")
    }
    if "accuracy" in rows:
        asked["diffusion_over_regression_accuracy"] = {model: less("accuracy", model, "l2") for model in DIFFUSION}
    return asked | {f"eps_over_x0_{metric}": {"eps": less(metric, "eps", "x0")} for metric in ("psnr", "frechet")}


def answer(values: np.ndarray, question: str, bounds: Interval) -> Finding:
    unit = {"psnr": "dB", "accuracy": "share"}.get(question.rsplit("_", 1)[1], question.rsplit("_", 1)[1])
    return finding(values, unit, bounds)


def summary(rows: pd.DataFrame, spread: dict[tuple, float], calls: int, means: dict[tuple, dict]) -> pd.DataFrame:
    """A row a model and number of calls: means over images and seeds. spread: of several draws at `calls` calls."""
    table = rows.drop(columns=["image"]).groupby(["model", "calls"], sort=False).mean().drop(columns="seed").reset_index()
    further = (
        pd.DataFrame([{"model": model, "calls": n, **each} for (model, n, _), each in means.items()]).groupby(["model", "calls"]).mean()
    )
    table = table.join(further[["kernel", "precision", "recall"]], on=["model", "calls"])
    wide = pd.Series(spread).groupby(level=0).mean()
    table["spread"] = table["model"].map(wide).where(table["calls"] == str(calls))
    table.insert(
        2,
        "images",
        [
            len(rows[(rows["model"] == m) & (rows["calls"] == c)]["image"].unique())
            for m, c in zip(table["model"], table["calls"], strict=True)
        ],
    )
    return table.assign(model=table["model"].map(LABELS)).round(
        {"psnr": 2, "ssim": 3, "consistency": 1, "frechet": 2, "accuracy": 3, "kernel": 4, "precision": 2, "recall": 2, "spread": 1}
    )


def quality(table: pd.DataFrame, distance: str) -> Figure:
    """PSNR against Fréchet distance: a point a model, a line through its numbers of calls."""
    figure, axes = new_figure(1, len(SETS), 5.6, 4.0)
    for ax, kind in zip(axes[0], SETS, strict=True):
        rows = table[(table["set"] == kind) & table["frechet"].notna()]
        for (label, mine), colour in zip(rows.groupby("model", sort=False), SERIES, strict=False):
            ax.plot(mine["frechet"], mine["psnr"], color=colour, marker="o", linewidth=1.4, label=label)
            if len(mine) > 1:
                for row in mine.itertuples():
                    ax.annotate(f"{row.calls} calls", (row.frechet, row.psnr), fontsize=8, xytext=(4, 4), textcoords="offset points")
        ax.legend(fontsize=8, frameon=False)
        describe(ax, distance, "PSNR, dB", kind)
    return figure


def examples(shown: dict[str, dict[tuple, np.ndarray]], count: int = 8) -> Figure:
    """The first test images, a row a model."""
    blocks = {}
    for kind, made in shown.items():
        for (model, _, _), pixels in made.items():
            blocks[f"{kind}: {LABELS[model]}"] = [Panel(x.repeat(3 // x.shape[2], axis=2)) for x in pixels[:count]]
    return grid(blocks, count, side=1.2)
