"""The look of all figures, and those of the stages that train, generate and ablate. Titles say what was found.

Each figure is one function, from plain tables and arrays to a matplotlib Figure, made without pyplot's global state.
Colours are Okabe and Ito's (safe for colour-blind readers) and doubled by marker shapes or labels, so a grey print can
be read too. What judges the results is drawn in `result_plots`, so that changing those reruns no training.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.optimize import isotonic_regression

DPI = 110
INK, FAINT = "#222222", "#9a9a9a"
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
    order = np.argsort(heights, kind="stable")
    gap = min(gap, 1 / max(1, len(heights) - 1))
    ranks = gap * np.arange(len(heights))
    placed = isotonic_regression(np.asarray(heights, dtype=float)[order] - ranks).x.clip(0, 1 - ranks[-1]) + ranks
    return placed[np.argsort(order)]


def label_right(ax: Axes, xs, ys, texts, colours, gap: float = 0.062) -> None:
    """Names at the right edge, one beneath the other, each tied to its point by a thin line."""
    low, high = ax.get_ylim()
    spread = _spread((np.asarray(ys, dtype=float) - low) / (high - low), gap)
    for x, y, height, text, colour in zip(xs, ys, spread, texts, colours, strict=True):
        line = {"arrowstyle": "-", "color": colour, "alpha": 0.45, "linewidth": 0.6, "shrinkB": 3, "relpos": (0, 0.5)}
        place = {"xytext": (1.03, height), "textcoords": "axes fraction", "va": "center"}
        ax.annotate(text, (x, y), fontsize=7, color=colour, arrowprops=line, **place)


def picture(ax: Axes, image: np.ndarray, title: str = "", below: str = "", weight: str = "normal") -> None:
    """image: [H,W,3] in [0,1] or uint8, shown pixel by pixel."""
    ax.imshow(image, interpolation="nearest")
    ax.grid(False)
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    ax.set_title(title, fontsize=8.5, color=INK, pad=3)
    ax.set_xlabel(below, fontsize=9, color=INK, labelpad=2, fontweight=weight)


def generation_grid(images_by_name: Mapping[str, np.ndarray], columns: int = 12) -> Figure:
    """One row of samples a name, the first `columns` of each. images_by_name: {name: uint8 [n,H,W,3]}."""
    columns = min(columns, max(len(images) for images in images_by_name.values()))
    figure, axes = new_figure(len(images_by_name), columns, 0.95, 1.0)
    for row, (name, images) in zip(axes, images_by_name.items(), strict=True):
        for ax, image in zip(row, images, strict=False):
            picture(ax, image)
        for ax in row[len(images) :]:
            ax.set_axis_off()
        row[0].set_ylabel(name, fontsize=9, rotation=0, ha="right", va="center")
    return figure


def training_curve(curve: pd.DataFrame, validation: pd.DataFrame) -> Figure:
    """curve: columns step, loss, lr; validation: columns step, sigma, psnr (denoising PSNR in dB on held-out photographs)."""
    figure, axes = new_figure(1, 2, 5.2, 3.4)
    left, right = axes[0]
    left.plot(curve["step"], curve["loss"], color=SERIES[0], linewidth=1.2)
    left.set_yscale("log")
    describe(left, "training steps", "loss", f"Loss falls from {curve['loss'].iloc[0]:.3g} to {curve['loss'].iloc[-1]:.3g}")
    levels = sorted(validation["sigma"].unique())
    colours = sns.color_palette("viridis_r", len(levels) + 1)[1:]
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


def ablation(table: pd.DataFrame, knob: str) -> Figure:
    """PSNR against one setting, a panel a task. table: columns task, value, series, psnr, psnr_lo, psnr_hi (dB).

    Numbers that span more than a factor of 10 get a logarithmic axis, words get evenly spaced places.
    """
    tasks = list(table["task"].unique())
    figure, axes = new_figure(1, len(tasks), 4.2, 3.2)
    values = table["value"]
    numeric = pd.api.types.is_numeric_dtype(values)
    places = {value: value if numeric else i for i, value in enumerate(values.unique())}
    for ax, task in zip(axes[0], tasks, strict=True):
        rows = table[table["task"] == task]
        for (series, points), colour, marker in zip(rows.groupby("series", sort=False), SERIES, "oDsv^Px", strict=False):
            spread = [points["psnr"] - points["psnr_lo"], points["psnr_hi"] - points["psnr"]]
            style = {"color": colour, "marker": marker, "markersize": 5, "capsize": 3, "linewidth": 1.4, "elinewidth": 0.8}
            ax.errorbar(points["value"].map(places), points["psnr"], spread, label=series, linestyle="-" if numeric else "", **style)
        if numeric and values.min() > 0 and values.max() > 10 * values.min():
            ax.set_xscale("log")
            ax.minorticks_off()
        ax.set_xticks(list(places.values()), [f"{value:g}" if numeric else value for value in places])
        best = rows.loc[rows["psnr"].idxmax()]
        chosen = f"{best['value']:g}" if numeric else best["value"]
        describe(ax, knob.replace("_", " "), "PSNR, dB", f"{task}: best at {chosen}, {best['psnr']:.2f} dB")
        if rows["series"].nunique() > 1:
            ax.legend(fontsize=8, frameon=False)
    return figure
