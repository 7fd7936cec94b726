"""The study's figures."""

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dualprior.evaluation.image_grid import FAINT, INK, SERIES, describe, new_figure

OWN, OTHER = "#8b1a1a", "#7f93a8"
MARKED = {"split": (OWN, "*"), "discrepancy": (SERIES[4], "o"), "sure": (SERIES[6], "P"), "es_wmv": (SERIES[0], "v"),
          "self_validation": (SERIES[2], "s"), "last": (INK, "|")}  # fmt: skip


def losses(found: Mapping[str, Mapping], labels: Mapping[str, str], ours: str) -> Figure:
    """Mean PSNR lost to the best step of the same fit, a rule a row, with intervals. found: {rule: {value, lo, hi}}."""
    order = sorted(found, key=lambda rule: found[rule]["value"])
    figure, axes = new_figure(1, 1, 7.4, 0.34 * len(order) + 1.0)
    ax = axes[0, 0]
    for place, rule in enumerate(order):
        colour = OWN if rule == ours else OTHER
        ax.plot([max(found[rule]["lo"], 0.005), found[rule]["hi"]], [place, place], color=colour, linewidth=2.2)
        ax.plot(max(found[rule]["value"], 0.005), place, "o", color=colour, markersize=7, markeredgecolor="white")
    ax.set_xscale("log")
    ax.set_yticks(range(len(order)), [labels[rule] for rule in order])
    ax.invert_yaxis()
    describe(ax, "PSNR lost to the best step of the same fit, dB (mean and 95 % interval over photographs)")
    return figure


def stops(rows: pd.DataFrame, curves: Mapping[str, Mapping], names: Mapping[str, Sequence[str]], shown: int = 3) -> Figure:
    """PSNR against step for some measurements of two probed fits, the stops of some rules marked.

    rows: of stage `evaluate`; curves: {fit: {(split, stream): Curve}}; names: {fit: its measurements in the curves' order}.
    """
    probed = rows[rows["plain"] & (rows["rule"] == "sure") & (rows["network"] == rows["network"].iloc[0])]
    fits = list(probed["fit"].unique())[-2:]
    figure, axes = new_figure(max(1, len(fits)), shown, 4.0, 2.9)
    for line, fit in zip(axes, fits, strict=False):
        for index, ax in enumerate(line[: len(names[fit])]):
            for stream, colour in (("pair", OWN), ("whole", FAINT)):
                curve = curves[fit]["test", stream]
                ax.plot(curve.steps, curve.psnr[:, index], color=colour, linewidth=1.4)
            mine = rows[(rows["fit"] == fit) & (rows["name"] == names[fit][index])].set_index("rule")
            for rule, (colour, marker) in MARKED.items():
                if rule in mine.index:
                    size = 14 if marker == "*" else 8
                    ax.plot(mine.at[rule, "step"], mine.at[rule, "psnr"], marker, color=colour, markersize=size, zorder=4)
            describe(ax, "fit steps", "PSNR, dB", f"{fit}, {names[fit][index].partition('~')[0].removeprefix('test_')}")
    keys = [Line2D([], [], color=c, label=t) for c, t in ((OWN, "mean of the paired fits"), (FAINT, "one fit to all of y"))]
    keys += [Line2D([], [], color=c, marker=m, linestyle="", label=rule) for rule, (c, m) in MARKED.items()]
    figure.legend(handles=keys, loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    return figure
