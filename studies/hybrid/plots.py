"""The study's own figures. Titles say what was found."""

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from studies.hybrid.realism import FROM_DIP, FULL_CHAINS

from dualprior.evaluation.drawing import SERIES, describe, new_figure
from dualprior.evaluation.image_grid import INK

MARKERS = "oDsv^P"
GAINS = {  # column of `report.priors`: what it is
    "gain": "hybrid over its strongest rival",
    "over control": "hybrid over the best control without DIP",
    "DIP start": "restart from the DIP over a cheap start",
}


def priors(table: pd.DataFrame) -> Figure:
    """What the hybrid gains against the strength of the diffusion prior. table: of `report.priors`."""
    figure, axes = new_figure(1, 3, 4.4, 3.4)
    ends = table["denoiser, dB"].agg(["min", "max"])
    for ax, (column, what) in zip(axes[0], GAINS.items(), strict=True):
        for (task, rows), colour, marker in zip(table.groupby("task", sort=False), SERIES, MARKERS, strict=False):
            rows = rows.sort_values("denoiser, dB")
            reach = (rows[column] - rows[f"{column} low"], rows[f"{column} high"] - rows[column])
            style = {"color": colour, "marker": marker, "linewidth": 1.4, "elinewidth": 0.9, "label": task}
            ax.errorbar(rows["denoiser, dB"], rows[column], reach, **style)
        _name_priors(ax, table)
        ax.axhline(0, color=INK, linewidth=0.8)
        weak, strong = (table.loc[table["denoiser, dB"] == end, column].mean() for end in ends)
        describe(ax, "", "dB", f"{what}:\n{weak:+.2f} dB with the weakest prior, {strong:+.2f} dB with the full one")
    axes[0, 0].legend(fontsize=8, frameon=False)
    axes[0, 1].set_xlabel("prior: PSNR of its denoiser at σ = 0.2 on validation crops, dB", fontsize=9)
    return figure


def _name_priors(ax: Axes, table: pd.DataFrame) -> None:
    for name, strength in table.groupby("prior", sort=False)["denoiser, dB"].first().items():
        ax.annotate(name, (strength, 1.0), xycoords=("data", "axes fraction"), fontsize=7, ha="center", va="top", color=INK, rotation=90)
        ax.axvline(strength, color=INK, linewidth=0.4, alpha=0.3)


def realism(table: pd.DataFrame) -> Figure:
    """Fréchet distance against network calls, a panel a task. table: of `judge.judged_realism`."""
    tasks = list(table["task"].unique())
    figure, axes = new_figure(1, len(tasks), 4.4, 3.2)
    for ax, task in zip(axes[0], tasks, strict=True):
        rows = table[table["task"] == task]
        for (method, some), colour, marker in zip(rows.groupby("method", sort=False), SERIES, MARKERS, strict=False):
            if method in FULL_CHAINS:
                style = "--" if FULL_CHAINS[method] is None else ":"
                ax.axhline(some["frechet"].iat[0], color=INK, linestyle=style, linewidth=1, label=f"{method}, {some['calls'].iat[0]} calls")
                continue
            ax.plot(some["calls"], some["frechet"], color=colour, marker=marker, linewidth=1.5, label=method)
        ax.set_xscale("symlog", linthresh=1)
        ax.set_ylim(bottom=0)
        mine = rows[(rows["method"] == FROM_DIP) & (rows["calls"] > 0)]
        best = mine.loc[mine["frechet"].idxmin()]
        describe(ax, "network calls (the DIP fit aside)", rows["distance"].iat[0], f"{task}: from the DIP best at {best['calls']} calls")
        ax.legend(fontsize=8, frameon=False)
    return figure


def quick(table: pd.DataFrame) -> Figure:
    """PSNR of a fit and of the restart from it against fit steps, from fresh and from meta-learned weights, a panel a task."""
    tasks = list(table["task"].unique())
    figure, axes = new_figure(1, len(tasks), 4.4, 3.3)
    for ax, task in zip(axes[0], tasks, strict=True):
        rows = table[table["task"] == task]
        for (start, some), colour in zip(rows.groupby("start", sort=False), SERIES, strict=False):
            ax.plot(some["steps"], some["fit, dB"], color=colour, marker="o", linewidth=1.4, label=f"{start}: fit")
            ax.plot(some["steps"], some["restart, dB"], color=colour, marker="D", linewidth=1.4, linestyle="--", label=f"{start}: restart")
        ax.set_xscale("log")
        ax.minorticks_off()
        ax.set_xticks(sorted(rows["steps"].unique()), [str(step) for step in sorted(rows["steps"].unique())])
        best = rows.loc[rows["restart, dB"].idxmax()]
        title = f"{task}: best restart {best['restart, dB']:.2f} dB, {best['start']}, {best['steps']} steps"
        describe(ax, "DIP fit steps", "PSNR, dB", title)
        ax.legend(fontsize=8, frameon=False)
    return figure


def contraction(table: pd.DataFrame) -> Figure:
    """Share of a change of the start that a restart passes on, against the level, a panel a kind of change."""
    kinds = list(table["change"].unique())
    figure, axes = new_figure(1, len(kinds), 4.8, 3.4, sharey=True)
    for ax, kind in zip(axes[0], kinds, strict=True):
        for (task, rows), colour, marker in zip(table[table["change"] == kind].groupby("task", sort=False), SERIES, MARKERS, strict=False):
            ax.plot(rows["level"], rows["passed on"], color=colour, marker=marker, linewidth=1.4, label=task)
            ax.fill_between(rows["level"], rows["low"], rows["high"], color=colour, alpha=0.12, linewidth=0)
        ax.set_xscale("log")
        ax.axhline(1, color=INK, linewidth=0.8, linestyle="--")
        ends = table[table["change"] == kind].groupby("level")["passed on"].mean()
        title = f"{kind} change: {ends.iloc[0]:.2f} passed on at σ {ends.index[0]:g}, {ends.iloc[-1]:.2f} at σ {ends.index[-1]:g}"
        describe(ax, "start level σ of the restart", "passed on (1: all)", title)
    axes[0, 0].legend(fontsize=8, frameon=False)
    return figure
