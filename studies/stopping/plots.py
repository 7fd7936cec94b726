"""The study's figures. Titles say what was found."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from studies.stopping.claims import OURS, PUBLISHED
from studies.stopping.report import RULES

from dualprior.evaluation.drawing import FAINT, SERIES, describe, new_figure
from dualprior.evaluation.image_grid import INK

# rule: (colour, marker) in the plot of stops; the pair's rules sit on the pair's curve, the others on the whole fit's
MARKS = {
    "split": ("#8b1a1a", "*"), "last_pair": ("#8b1a1a", "|"), "es_wmv_pair": ("#8b1a1a", "v"),
    "es_wmv": (SERIES[0], "v"), "es_wmv_tuned": (SERIES[0], "<"),
    "es_emv": (SERIES[0], "^"), "self_validation": (SERIES[2], "s"), "diffusion_judge": (SERIES[3], "D"), "discrepancy": (SERIES[4], "o"),
    "sure": (SERIES[6], "P"), "fixed": (INK, "x"), "last": (INK, "|"),
}  # fmt: skip


def stops(rows: pd.DataFrame, curves: Mapping[str, Mapping], names: list[str], shown: int, noises: int = 2) -> Figure:
    """PSNR against step for `shown` images under the first `noises` probed noises, the stop of every rule marked.

    rows: of stage `judge`; curves: {fit: {(split, stream): Curve}}; names: [n], the measurements in the curves' order.
    """
    probed = rows[(rows["rule"] == "sure") & rows["plain"]]
    fits = list(probed[probed["network"] == probed["network"].iat[0]]["fit"].unique()[-noises:])
    figure, axes = new_figure(len(fits), shown, 3.5, 2.9)
    marked = [rule for rule in MARKS if (rows["rule"] == rule).any()]
    for line, fit in zip(axes, fits, strict=True):
        for ax, index in zip(line, range(shown), strict=True):
            pair, whole = (curves[fit]["test", stream] for stream in ("pair", "whole"))
            ax.plot(whole.steps, whole.psnr[:, index], color=FAINT, linewidth=1.4)
            ax.plot(paired_fits.steps, paired_fits.psnr[:, index], color="#8b1a1a", linewidth=1.4)
            mine = rows[(rows["fit"] == fit) & (rows["name"] == names[index])].set_index("rule")
            for rule in marked:
                if rule in mine.index:
                    colour, marker = MARKS[rule]
                    size = 15 if marker == "*" else 8
                    edge = {"markeredgecolor": "white", "markeredgewidth": 0.6} if marker not in "x|" else {"markeredgewidth": 2}
                    ax.plot(mine.at[rule, "step"], mine.at[rule, "psnr"], marker, color=colour, markersize=size, zorder=4, **edge)
            top = max(paired_fits.psnr[:, index].max(), whole.psnr[:, index].max())
            ax.set_ylim(min(paired_fits.psnr[-1, index], whole.psnr[-1, index], top - 3) - 0.5, top + 0.6)
            problem = mine["problem"].iat[0]
            describe(
                ax,
                "fit steps" if line is axes[-1] else "",
                "PSNR, dB" if index == 0 else "",
                f"{problem}, {names[index].partition('~')[0]}",
            )
    keys = [Line2D([], [], color=c, label=t) for c, t in (("#8b1a1a", "mean of the pair"), (FAINT, "one fit to all of y"))]
    keys += [Line2D([], [], color=MARKS[r][0], marker=MARKS[r][1], linestyle="", label=RULES[r]) for r in marked]
    figure.legend(handles=keys, loc="outside lower center", ncols=5, frameon=False, fontsize=8)
    ours, theirs = (rows[rows["fit"].isin(fits) & (rows["rule"] == rule)]["gap"].mean() for rule in (OURS, PUBLISHED))
    figure.suptitle(
        f"The coupled pair stops {ours:.2f} dB below its peak on average here, ES-WMV {theirs:.2f} dB below its own",
        fontsize=10,
        x=0.01,
        ha="left",
    )
    return figure


def gaps(rows: pd.DataFrame) -> Figure:
    """The distribution of every rule's loss over all plain denoising fits, least mean first; log scale from 0.01 dB."""
    mine = rows[rows["plain"] & rows["denoising"] & rows["rule"].isin([*RULES])]
    means = mine.groupby("rule")["gap"].mean().sort_values()
    figure, axes = new_figure(1, 1, 7.6, 0.36 * len(means) + 1.4)
    ax = axes[0, 0]
    losses = [mine[mine["rule"] == rule]["gap"].clip(lower=0.01) for rule in means.index]
    labels = [RULES[rule] for rule in means.index]
    looks = {"patch_artist": True, "whis": (5, 95), "widths": 0.62, "flierprops": {"markersize": 1.5}, "medianprops": {"color": INK}}
    boxes = ax.boxplot(losses, orientation="horizontal", tick_labels=labels, **looks)["boxes"]
    for rule, box in zip(means.index, boxes, strict=True):
        box.set_facecolor("#8b1a1a" if rule == OURS else "#b9c7d5")
    ax.invert_yaxis()
    ax.set_xscale("log")
    ax.axvline(0.15, color=INK, linewidth=0.9, linestyle="--")
    ax.axvline(1.0, color=INK, linewidth=0.9, linestyle=":")
    title = f"Mean loss: {RULES[OURS]} {means[OURS]:.2f} dB, ES-WMV {means[PUBLISHED]:.2f} dB"
    describe(
        ax,
        "PSNR lost to the peak of the same fit, dB\n(box: quartiles; whiskers: 5 to 95 %; dashed: goal of the mean; dotted: failure)",
        "",
        title,
    )
    return figure


def calibration(table: pd.DataFrame, claims: Mapping[str, Mapping]) -> Figure:
    """Estimated against true error of the running fits: of the pair at all steps, and where it was stopped."""
    mine = table[table["plain"] & table["denoising"] & (table["rule"] == OURS)]
    problems = list(mine["problem"].unique())
    figure, axes = new_figure(1, 2, 4.6, 4.0)
    for ax, near in zip(axes[0], (False, True), strict=True):
        for problem, colour, marker in zip(problems, SERIES, "osD^v", strict=False):
            group = mine[(mine["problem"] == problem) & ((not near) | (mine["decibels_to_peak"] < 1))]
            group = group.iloc[:: max(1, len(group) // 400)]
            x, y = (255 / 2 * np.sqrt(group[c].clip(lower=1e-6)) for c in ("true", "estimate"))
            ax.plot(x, y, marker, color=colour, markersize=2.6, alpha=0.5, label=problem, linestyle="")
        low, high = ax.get_xlim()
        ax.plot([low, high], [low, high], color=INK, linewidth=0.8)
        describe(
            ax, "true error, RMSE in grey levels", "estimated without the clean image", "within 1 dB of the peak" if near else "all steps"
        )
    axes[0, 0].legend(fontsize=8, frameon=False, markerscale=2.5)
    claim = claims["stopping_calibration_r"]
    figure.suptitle(
        f"The running estimate follows the true error: r = {claim['value']:.3f}, {claim['near_peak']:.3f} near the peak",
        fontsize=10,
        x=0.01,
        ha="left",
    )
    return figure


def tasks(table: pd.DataFrame) -> Figure:
    """Mean loss of every rule, a panel a task."""
    names = list(table["task"].unique())
    figure, axes = new_figure(1, len(names), 3.3, 3.6)
    for ax, task in zip(axes[0], names, strict=True):
        mine = table[table["task"] == task].sort_values("mean loss")
        ours = mine["rule"] == RULES[OURS]
        ax.barh(mine["rule"], mine["mean loss"].clip(lower=0.004), color=np.where(ours, "#8b1a1a", "#b9c7d5"))
        ax.axvline(0.3, color=INK, linewidth=0.9, linestyle="--")
        ax.invert_yaxis()
        ax.tick_params(axis="y", labelsize=6.5)
        describe(ax, "loss to the peak, dB", "", f"{task}: pair {float(mine[ours]['mean loss'].iat[0]):.2f} dB")
    return figure


def rungs(table: pd.DataFrame) -> Figure:
    """PSNR and SSIM of a fit against the target of each rung, from the heaviest to the last."""
    figure, axes = new_figure(1, 2, 4.6, 3.6)
    for (ladder, problem), colour, marker in zip(table.groupby(["ladder", "problem"], sort=False).groups, SERIES, "osD^vPX", strict=False):
        mine = table[(table["ladder"] == ladder) & (table["problem"] == problem)]
        label = f"{ladder}, {problem}" + (" (leaks)" if mine["leaks"].any() else "")
        for ax, value in zip(axes[0], ("psnr_to_target", "ssim_to_target"), strict=True):
            ax.plot(mine["rung"] + 1, mine[value], color=colour, marker=marker, markersize=5, linewidth=1.2, label=label)
            ax.set_xticks(sorted(table["rung"].unique() + 1))
    describe(axes[0, 0], "rung, heavy to light", "PSNR to the rung's own target, dB", "Targets get easier from rung to rung")
    describe(axes[0, 1], "rung, heavy to light", "SSIM to the rung's own target", "Only a clean target (leaks) is the image itself")
    axes[0, 1].legend(fontsize=7, frameon=False)
    return figure


def guided(table: pd.DataFrame) -> Figure:
    """Gain of every extra term over the plain pair, with its interval, a panel a noise."""
    noises = list(table["noise"].unique())
    figure, axes = new_figure(1, len(noises), 4.4, 2.4, sharex=True)
    for ax, noise in zip(axes[0], noises, strict=True):
        mine = table[(table["noise"] == noise) & (table["term"] != "none")].reset_index()
        for place, row in mine.iterrows():
            colour = "#009e73" if row["low"] > 0 else "#d55e00" if row["high"] < 0 else FAINT
            ax.plot([row["low"], row["high"]], [place, place], color=colour, linewidth=2.4, solid_capstyle="butt")
            ax.plot(row["gain, dB"], place, "o", color=colour, markersize=7, markeredgecolor="white")
        ax.axvline(0, color=INK, linewidth=0.8)
        ax.set_yticks(range(len(mine)), [f"{row['term']} ({row['weight']})" for _, row in mine.iterrows()])
        ax.set_ylim(len(mine) - 0.5, -0.5)
        best = mine.loc[mine["gain, dB"].idxmax()]
        describe(ax, "gain over the plain pair, dB", "", f"{noise}: {best['term']} {best['gain, dB']:+.2f} dB")
    return figure
