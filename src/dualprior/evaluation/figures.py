"""Figures of the results, each one function from plain tables and arrays to a matplotlib Figure."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dualprior.evaluation.comparisons import Roles, strongest
from dualprior.evaluation.image_grid import FAINT, INK, SERIES, Panel, describe, grid, new_figure, panels
from dualprior.evaluation.image_metrics import Interval, by_image, measured

FAMILY_STYLE = {  # colour and marker
    "baseline": ("#8c8c8c", "v"), "diffusion": ("#0072b2", "o"), "dip": ("#e69f00", "s"), "counterpart": ("#56b4e9", "P"),
    "hybrid": ("#8b1a1a", "D"),
}  # fmt: skip
ZOOM = 2  # the zoomed part is 1/ZOOM of a crop's side
ERROR_TOP = 0.2  # the error map is white at this absolute error, image values in [0, 1]
RANGE_DB = 2.5  # what lies further below is drawn at the edge of the hero figure


def restorations(task: str, clean: np.ndarray, restored: Mapping[str, np.ndarray], names: Sequence[str]) -> Figure:
    """Crops as restored, each with a zoom and its error map; at most eight columns, the clean crop last.

    clean: [n,H,W,3] in [0,1]; restored: {label: [n,H,W,3]}; names: [n].
    """
    blocks = {}
    for index, name in enumerate(names):
        truth = clean[index]
        scores = {label: measured("psnr", truth[None], images[index : index + 1])[0] for label, images in restored.items()}
        best = max(scores, key=scores.__getitem__)
        corner = _busiest(truth)
        shown = {**{label: images[index] for label, images in restored.items()}, "clean": truth}
        blocks[f"{task}: {name}"] = [
            Panel(image, label, f"{scores[label]:.2f} dB" if label in scores else "", label == best) for label, image in shown.items()
        ]
        blocks[f" zoom {name}"] = [Panel(image[corner]) for image in shown.values()]
        blocks[f" error {name}"] = [Panel(_error_map(image, truth)) for image in list(shown.values())[:-1]]
    return grid(blocks, len(restored) + 1, side=1.55, above=0.22, below=0.24)


def _busiest(image: np.ndarray) -> tuple[slice, slice]:
    """The quarter with most contrast, of those on a coarse grid."""
    side = image.shape[0] // ZOOM
    places = [(y, x) for y in range(0, side + 1, side // 4) for x in range(0, side + 1, side // 4)]
    y, x = max(places, key=lambda place: image[place[0] : place[0] + side, place[1] : place[1] + side].std())
    return slice(y, y + side), slice(x, x + side)


def _error_map(image: np.ndarray, truth: np.ndarray) -> np.ndarray:
    return colormaps["inferno"](np.clip(np.abs(image - truth).mean(-1) / ERROR_TOP, 0, 1))[..., :3]


def hero(rows: pd.DataFrame, roles: Roles, interval: Interval) -> Figure:
    """What each prior gives, task by task: mean PSNR against the better prior alone, with paired intervals."""
    tasks = list(rows["task"].unique())
    figure, axes = new_figure(1, 1, 8.6, 0.62 * len(tasks) + 1.1)
    ax = axes[0, 0]
    kinds = {"baseline": "classical, best", "diffusion": "diffusion alone", "dip": "DIP alone", "counterpart": "blend, nothing fitted"}
    kinds |= {"hybrid": "hybrid"}
    for place, task in enumerate(tasks):
        psnr = by_image(rows[rows["task"] == task])
        full = psnr.dropna(axis=1)
        shown = {family: strongest(full, roles.of(family)) for family in ("baseline", "diffusion", "dip")}
        shown |= {"counterpart": roles.frozen, "hybrid": roles.hybrid}
        better = strongest(full, roles.of("diffusion", "dip"))
        for offset, (family, method) in zip(np.linspace(-0.28, 0.28, len(shown)), shown.items(), strict=True):
            colour, marker = FAMILY_STYLE[family]
            value, low, high = interval((full[method] - full[better]).to_numpy())
            at = max(value, -RANGE_DB)
            ax.plot([max(low, -RANGE_DB), max(high, -RANGE_DB)], [place + offset] * 2, color=colour, linewidth=1.8)
            ax.plot(at, place + offset, marker, color=colour, markersize=7, markeredgecolor="white")
            if value < -RANGE_DB:
                text = {"textcoords": "offset points", "va": "bottom", "fontsize": 8, "color": colour}
                ax.annotate(f"{value:.1f} dB", (at, place + offset), xytext=(7, 2), **text)
    ax.axvline(0, color=INK, linewidth=0.9)
    ax.set_yticks(range(len(tasks)), tasks)
    ax.invert_yaxis()
    ax.set_xlim(left=-RANGE_DB - 0.1)
    describe(ax, "PSNR minus that of the better prior alone, dB (mean and 95 % interval over test crops)", "")
    keys = [Line2D([], [], color=FAMILY_STYLE[f][0], marker=FAMILY_STYLE[f][1], linestyle="", label=label) for f, label in kinds.items()]
    figure.legend(handles=keys, loc="outside lower center", ncols=len(keys), frameon=False, fontsize=8.5)
    return figure


def quality_time(rows: pd.DataFrame, roles: Roles) -> Figure:
    """Mean PSNR against seconds an image, a panel a task; at most eight names, of the methods that none beats in both and the named few."""
    figure, axes = panels(list(rows["task"].unique()), 4.6, 3.4)
    for task, ax in axes.items():
        mine = rows[rows["task"] == task]
        table = pd.DataFrame({"psnr": by_image(mine).mean(), "seconds": by_image(mine, "seconds").mean().clip(lower=1e-4)})
        table = table[[name in roles.families for name in table.index]]
        table = table[table["psnr"] >= table["psnr"].max() - 6].sort_values("seconds")
        for name, row in table.iterrows():
            colour, marker = FAMILY_STYLE[roles.families[name]]
            ax.plot(row["seconds"], row["psnr"], marker, color=colour, markersize=7, markeredgecolor="white", zorder=3)
        front = table[table["psnr"] >= table["psnr"].cummax()]
        ax.step(front["seconds"], front["psnr"], where="post", color=INK, linewidth=0.8, alpha=0.6)
        ax.set_xscale("log")
        wanted = [roles.hybrid, roles.frozen, roles.stopped, roles.full_chain, *front.index[::-1]]
        named = table.loc[[name for name in dict.fromkeys(wanted) if name in table.index][:8]]
        _label_right(ax, named, [FAMILY_STYLE[roles.families[name]][0] for name in named.index])
        describe(ax, "seconds an image", "mean PSNR, dB", task)
    return figure


def _label_right(ax: Axes, named: pd.DataFrame, colours: Sequence[str]) -> None:
    """Names at the right edge, one beneath the other, each tied to its point by a thin line."""
    low, high = ax.get_ylim()
    order = np.argsort(named["psnr"].to_numpy())
    heights = ((named["psnr"] - low) / (high - low)).to_numpy().copy()
    for a, b in zip(order, order[1:], strict=False):
        heights[b] = max(heights[b], heights[a] + 0.075)
    heights -= max(0.0, heights.max() - 1)
    for (name, row), height, colour in zip(named.iterrows(), heights, colours, strict=True):
        line = {"arrowstyle": "-", "color": colour, "alpha": 0.45, "linewidth": 0.6, "shrinkB": 3, "relpos": (0, 0.5)}
        place = {"xytext": (1.03, height), "textcoords": "axes fraction", "va": "center"}
        ax.annotate(name, (row["seconds"], row["psnr"]), fontsize=8, color=colour, arrowprops=line, **place)


def stopping(curves: pd.DataFrame, stops: pd.DataFrame, shown: int = 3) -> Figure:
    """PSNR along some DIP fits of every task (which no rule may see), with the stop and the best step.

    curves: task, image, step, psnr; stops: task, image, step, psnr of the stopped image.
    """
    figure, axes = panels(list(curves["task"].unique()), 4.4, 3.0)
    for task, ax in axes.items():
        mine = curves[curves["task"] == task]
        images = mine["image"].unique()
        images = images[np.linspace(0, len(images) - 1, min(shown, len(images))).round().astype(int)]
        for image, colour in zip(images, SERIES, strict=False):
            curve = mine[mine["image"] == image]
            ax.plot(curve["step"], curve["psnr"], color=colour, linewidth=1.6)
            best = curve.loc[curve["psnr"].idxmax()]
            ax.plot(best["step"], best["psnr"], "*", color=colour, markersize=13, markeredgecolor="black", zorder=3)
            stop = stops[(stops["task"] == task) & (stops["image"] == image)].iloc[0]
            ax.plot(stop["step"], stop["psnr"], "o", color=colour, markersize=7, markeredgecolor="black", zorder=4)
        ax.set_xscale("log")
        describe(ax, "fit steps", "PSNR, dB", task)
    keys = [Line2D([], [], color="white", marker=m, markersize=s, markeredgecolor="black", linestyle="", label=label)
            for m, s, label in (("o", 7, "stopped, without the clean image"), ("*", 12, "best step kept, by the clean image"))]  # fmt: skip
    figure.legend(handles=keys, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return figure


def ablation(table: pd.DataFrame, axis: str) -> Figure:
    """Mean PSNR against one hyperparameter, a panel a task. table: task, value, series, used, psnr, one row an image."""
    figure, axes = panels(list(table["task"].unique()), 4.4, 3.2)
    series = list(table["series"].unique())
    for task, ax in axes.items():
        for name, colour, marker in zip(series, SERIES, "oDs", strict=False):
            mine = table[(table["task"] == task) & (table["series"] == name)]
            means = mine.groupby("value")["psnr"].mean()
            ax.plot(means.index, means, color=colour, marker=marker, linewidth=1.5)
            used = mine.loc[mine["used"], "value"].unique()
            ax.plot(used, means[used], "o", color="none", markersize=13, markeredgecolor=INK)
        ax.set_xscale("log")
        ax.minorticks_off()
        values = sorted(table.loc[table["task"] == task, "value"].unique())
        ax.set_xticks(values, [f"{value:g}" for value in values])
        describe(ax, axis, "PSNR, dB", task)
    keys = [Line2D([], [], color=c, marker=m, label=name) for name, c, m in zip(series, SERIES, "oDs", strict=False)]
    keys.append(Line2D([], [], color="none", marker="o", markersize=11, markeredgecolor=INK, label="chosen on validation crops"))
    figure.legend(handles=keys, loc="outside lower center", ncols=len(keys), frameon=False, fontsize=9)
    return figure


def training_curve(curve: pd.DataFrame) -> Figure:
    """curve: step, what ("loss", or "psnr" on held-out photographs), sigma, value."""
    figure, axes = new_figure(1, 2, 5.0, 3.4)
    left, right = axes[0]
    loss = curve[curve["what"] == "loss"]
    left.plot(loss["step"], loss["value"], color=SERIES[0], linewidth=1.2)
    left.set_yscale("log")
    describe(left, "training steps", "loss", "Training")
    validation = curve[curve["what"] == "psnr"]
    levels = sorted(validation["sigma"].unique())
    for sigma, colour in zip(levels, colormaps["viridis_r"](np.linspace(0.15, 1, len(levels))), strict=True):
        mine = validation[validation["sigma"] == sigma]
        right.plot(mine["step"], mine["value"], color=colour, marker=".", label=f"σ {sigma:g}: {mine['value'].iloc[-1]:.1f} dB")
    right.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    describe(right, "training steps", "PSNR of one denoising, dB", "On held-out photographs")
    return figure


def samples(images_by_name: Mapping[str, np.ndarray], columns: int = 12) -> Figure:
    """The first `columns` samples of each name. images_by_name: {name: uint8 [n,H,W,3]}."""
    columns = min(columns, max(len(images) for images in images_by_name.values()))
    return grid({name: [Panel(image) for image in images[:columns]] for name, images in images_by_name.items()}, columns, side=0.9)


def generation_quality(table: pd.DataFrame, floor: float, distance: str, count: int) -> Figure:
    """Distance of samples to real patches against network calls, a line a sampler. table: sampler, calls, frechet; count: images a set."""
    figure, axes = new_figure(1, 1, 5.6, 3.6)
    ax = axes[0, 0]
    for (sampler, rows), colour, marker in zip(table.groupby("sampler", sort=False), SERIES, "oDsv", strict=False):
        rows = rows.sort_values("calls")
        ax.plot(rows["calls"], rows["frechet"], color=colour, marker=marker, linewidth=1.6, label=sampler)
    ax.axhline(floor, color=INK, linewidth=1, linestyle="--", label="real against real")
    ax.set_xscale("log")
    ax.minorticks_off()
    ax.set_xticks(sorted(table["calls"].unique()), [str(calls) for calls in sorted(table["calls"].unique())])
    ax.set_ylim(bottom=0)
    ax.tick_params(color=FAINT)
    ax.legend(fontsize=9, frameon=False)
    describe(ax, "network calls", distance, f"{count} samples against {count} real patches")
    return figure


def crops(clean: np.ndarray, names: Sequence[str]) -> Figure:
    """The test crops. clean: uint8 [n,H,W,3]."""
    return grid({"Test crops": [Panel(image, below=name) for image, name in zip(clean, names, strict=True)]}, 8, side=1.5, below=0.25)
