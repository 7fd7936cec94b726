"""The look of all figures, and those of the stages that train and generate. Titles say what was found.

Each figure is one function, from plain tables and arrays to a matplotlib Figure, made without pyplot's global state.
Colours are Okabe and Ito's (safe for colour-blind readers) and doubled by marker shapes or labels, so a grey print can
be read too. What risk the results is drawn in `result_plots`, so that changing those reruns no training. seaborn
and scipy are imported by the functions that need them: a stage that does without starts a second sooner.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dualprior.evaluation.image_grid import DPI, INK, Panel, sheet

FAINT = "#9a9a9a"
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#222222", "#e69f00")


def new_figure(rows: int, columns: int, width: float, height: float, **settings) -> tuple[Figure, np.ndarray]:
    """A figure of rows × columns axes, each width × height inches."""
    figure = Figure(figsize=(columns * width, rows * height), dpi=DPI, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **settings)
    for ax in axes.flat:
        ax.spines[["top", "right"]].set_visible(False)
        ax.tick_params(which="both", labelsize=8, color=FAINT)
        ax.grid(True, color="#e6e6e6", linewidth=0.6)
        ax.set_axisbelow(True)
    return figure, axes


def describe(ax: Axes, x: str = "", y: str = "", title: str = "") -> None:
    ax.set_xlabel(x, fontsize=9)
    ax.set_ylabel(y, fontsize=9)
    ax.set_title(title, fontsize=9, loc="left", color=INK)


def _spread(heights: np.ndarray, gap: float) -> np.ndarray:
    """Label heights at least `gap` apart, in the wished order, within [0,1], nearest to those wished (least squares).

    With i the rank, height - i·gap must not fall: an isotonic regression. heights: [n].
    """
    from scipy.optimize import isotonic_regression

    order = np.argsort(heights, kind="stable")
    gap = min(gap, 1 / max(1, len(heights) - 1))
    ranks = gap * np.arange(len(heights))
    placed = isotonic_regression(np.asarray(heights, dtype=float)[order] - ranks).x.clip(0, 1 - ranks[-1]) + ranks
    return placed[np.argsort(order)]


def label_right(ax: Axes, xs, ys, texts, colours, gap: float = 0.062) -> None:
    """Names at the right edge, one beneath the other, each tied to its point by a thin line."""
    low, high = ax.get_ylim()
    overall_rmse = _spread((np.asarray(ys, dtype=float) - low) / (high - low), gap)
    for x, y, height, text, colour in zip(xs, ys, overall_rmse, texts, colours, strict=True):
        line = {"arrowstyle": "-", "color": colour, "alpha": 0.45, "linewidth": 0.6, "shrinkB": 3, "relpos": (0, 0.5)}
        place = {"xytext": (1.03, height), "textcoords": "axes fraction", "va": "center"}
        ax.annotate(text, (x, y), fontsize=7, color=colour, arrowprops=line, **place)


def generation_sheet(images_by_name: Mapping[str, np.ndarray], columns: int = 12) -> Figure:
    """The first `columns` samples of each name. images_by_name: {name: uint8 [n,H,W,3]}."""
    columns = min(columns, max(len(images) for images in images_by_name.values()))
    blocks = {name: [Panel(image) for image in images[:columns]] for name, images in images_by_name.items()}
    return sheet(blocks, columns, side=0.9, above=0.0, below=0.1)


def training_curve(curve: pd.DataFrame, validation: pd.DataFrame) -> Figure:
    """curve: columns step, loss, lr; validation: columns step, sigma, psnr (denoising PSNR in dB on held-out photographs)."""
    figure, axes = new_figure(1, 2, 5.2, 3.4)
    left, right = axes[0]
    left.plot(curve["step"], curve["loss"], color=SERIES[0], linewidth=1.2)
    left.set_yscale("log")
    describe(left, "training steps", "loss", f"Loss falls from {curve['loss'].iloc[0]:.3g} to {curve['loss'].iloc[-1]:.3g}")
    levels = sorted(validation["sigma"].unique())
    colours = colormaps["viridis_r"](np.linspace(0.15, 1, len(levels)))
    ends = []
    for sigma, colour in zip(levels, colours, strict=True):
        rows = validation[validation["sigma"] == sigma].sort_values("step")
        right.plot(rows["step"], rows["psnr"], color=colour, marker=".", linewidth=1.4)
        ends.append((rows["step"].iloc[-1], rows["psnr"].iloc[-1]))
    texts = [f"σ {sigma:g}: {end[1]:.1f}" for sigma, end in zip(levels, ends, strict=True)]
    label_right(right, *zip(*ends, strict=True), texts, colours)
    nearest = int(np.argmin(np.abs(np.array(levels) - 0.2)))
    title = f"Denoises σ = {levels[nearest]:g} to {ends[nearest][1]:.1f} dB on held-out photographs"
    describe(right, "training steps", "validation PSNR, dB", title)
    return figure
