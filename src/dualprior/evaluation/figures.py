"""Figures that judge: restorations, DIP fits, quality against time, gains, ablations and samples. Titles say what was found."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from dualprior.evaluation.drawing import SERIES, describe, label_right, new_figure
from dualprior.evaluation.image_grid import INK, Panel, sheet
from dualprior.evaluation.image_metrics import ORACLE

HYBRID, DIFFUSION, DIP, OTHER = "hybrids", "diffusion alone", "DIP alone", "other"
PALETTE = {HYBRID: "#8b1a1a", DIFFUSION: "#0072b2", DIP: "#e69f00", OTHER: "#8c8c8c"}
MARKERS = {HYBRID: "D", DIFFUSION: "o", DIP: "s", OTHER: "v"}
# Those of the catalogue, which lies above this layer: a test holds the two equal.
HYBRIDS = (
    "restart_dip_short", "restart_dip", "restart_dip_mean", "guided_dip_mean", "coupled", "restart_coupled", "fused", "blend",
    "restart_blend", "hybrid",
)  # fmt: skip
KNOBS = {  # what an axis says of a setting, where its name does not
    "start_level": "start level σ, image values in [-1, 1]", "start_scale": "κ", "dip_steps": "DIP fit steps", "calls": "network calls",
    "samples": "K, restarts averaged", "data_weight": "weight of the denoiser against the data", "beta": "β", "gamma": "γ",
    "inflation": "the start's error is taken for so many times its RMSE", "interleaved": "weight of the DIP in a guess",
    "network": "network of the DIP", "start_kind": "kind of start", "left_out": "source left out",
}  # fmt: skip
FRONT_RANGE_DB = 6.0  # quality_time leaves out methods this far below the best
LANDMARKS = (  # named in quality_time wherever they lie; of the others those on the front are
    "one_step", "ddpm_best", "ddpm_1000", "ddpm_mean", "ddpm_mean_long", "dip_stopped", ORACLE, "restart_dip_short", "restart_dip",
    "restart_cheap", "finished_cheap", "finished_adapted", "hybrid",
)  # fmt: skip


def family(method: str) -> str:
    """Which prior a method of the catalogue uses: a key of `PALETTE`. Controls and baselines are "other"."""
    if method in HYBRIDS:
        return HYBRID
    if method in ("one_step", "dps") or method.startswith("ddpm"):
        return DIFFUSION
    return DIP if method.startswith("dip") else OTHER


def restoration_sheet(
    clean: np.ndarray, restored: Mapping[str, np.ndarray], psnr: Mapping[str, np.ndarray], names: list[str], columns: int = 8
) -> Figure:
    """A block for each image: every method's picture in the given order, PSNR beneath, the clean image last.

    clean: [n,H,W,3] in [0,1]; restored: {method: [n,H,W,3]}; psnr: {method: [n]}, dB; names: [n]. In each block the
    highest PSNR is bold, the oracle's aside.
    """
    blocks = {}
    for index, name in enumerate(names):
        best = max(values[index] for method, values in psnr.items() if method != ORACLE)
        blocks[name] = [
            Panel(
                pictures[index],
                f"{method} (sees clean)" if method == ORACLE else method,
                f"{psnr[method][index]:.2f} dB",
                psnr[method][index] == best,
            )
            for method, pictures in restored.items()
        ]
        blocks[name].append(Panel(clean[index], "clean"))
    return sheet(blocks, min(columns, len(restored) + 1), side=1.35, above=0.22, below=0.3)


def dip_trace(task: str, trace: pd.DataFrame, steps, psnr: np.ndarray, stops, gap_db: float, names: list[str]) -> Figure:
    """What a DIP fit does over its steps: PSNR (which no method may see), above what the stopping rule sees.

    trace: columns image (0..n-1), step, loss, error_estimate (all NaN where a task has no running estimate);
    steps: [S]; psnr: [S,n], dB; stops: [n] steps; gap_db: mean loss to the oracle over all test images; names: [n],
    at most 7.
    """
    with_estimate = trace["error_estimate"].notna().any()
    signals = ["loss", "error_estimate"] if with_estimate else ["loss"]
    figure, axes = new_figure(1 + len(signals), 1, 7.2, 2.5, sharex=True)
    top, *below = axes[:, 0]
    for index, colour in enumerate(SERIES[: len(names)]):
        curve, rows = psnr[:, index], trace[trace["image"] == index]
        top.plot(steps, curve, color=colour, linewidth=1.6)
        height = np.interp(np.log(stops[index]), np.log(steps), curve)
        top.plot(stops[index], height, "o", color=colour, markersize=8, markeredgecolor="black", zorder=4)
        top.plot(steps[curve.argmax()], curve.max(), "*", color=colour, markersize=14, markeredgecolor="black", zorder=3)
        for ax, signal in zip(below, signals, strict=True):
            ax.plot(rows["step"], rows[signal], color=colour, linewidth=0.9)
            ax.axvline(stops[index], color=colour, linewidth=0.8, linestyle=":")
    top.plot([], [], "o", color="white", markeredgecolor="black", label="stopped, without the clean image")
    top.plot([], [], "*", color="white", markeredgecolor="black", markersize=11, label="oracle peak")
    top.legend(fontsize=8, frameon=False, loc="upper left")
    top.set_xscale("log")
    label_right(top, [steps[-1]] * len(names), psnr[-1], names, SERIES[: len(names)], gap=0.09)
    describe(top, y="PSNR, dB", title=f"{task}: stopping without the clean image loses {gap_db:.2f} dB to the oracle on average")
    for ax, signal in zip(below, signals, strict=True):
        ax.set_yscale("log")
        describe(ax, y=signal.replace("_", " "))
    describe(below[-1], x="fit steps", y=signals[-1].replace("_", " "))
    return figure


def quality_time(summary: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Figure:
    """Mean PSNR against seconds an image, a panel a task, with the front of methods that none beats in both.

    summary: contents of metrics/summary.json. Methods more than 6 dB below the best are not drawn; the front and `LANDMARKS` are named.
    """
    import seaborn as sns

    columns = min(3, len(summary))
    figure, axes = new_figure(-(-len(summary) // columns), columns, 5.2, 3.6)
    for ax, (task, methods) in zip(axes.flat, summary.items(), strict=False):
        table = pd.DataFrame(methods).T.rename_axis("method").reset_index().sort_values("seconds")
        table["family"] = table["method"].map(family)
        table["seconds"] = table["seconds"].clip(lower=1e-4)
        fair = table[(table["method"] != ORACLE) & (table["n"] == table["n"].max())]
        best = fair.loc[fair["psnr"].idxmax()]
        table, fair = (rows[rows["psnr"] >= best["psnr"] - FRONT_RANGE_DB] for rows in (table, fair))
        style = {"hue": "family", "palette": PALETTE, "style": "family", "markers": MARKERS, "legend": False}
        sns.scatterplot(table, x="seconds", y="psnr", s=42, ax=ax, zorder=3, **style)
        front = fair[fair["psnr"] >= fair["psnr"].cummax()]
        ax.step(front["seconds"], front["psnr"], where="post", color=INK, linewidth=0.8, alpha=0.6)
        ax.set_xscale("log")
        named = table[table["method"].isin([*front["method"], *LANDMARKS])]
        texts = [_with_remark(row, table["n"].max()) for row in named.itertuples()]
        label_right(ax, named["seconds"], named["psnr"], texts, named["family"].map(PALETTE))
        title = f"{task}: {best['method']} is best, {best['psnr']:.2f} dB in {best['seconds']:.2g} s"
        describe(ax, "seconds per image", "mean PSNR, dB", title)
    for ax in list(axes.flat)[len(summary) :]:
        ax.set_axis_off()
    keys = [Line2D([], [], color=PALETTE[name], marker=MARKERS[name], linestyle="", label=name) for name in PALETTE]
    figure.legend(handles=keys, loc="outside lower center", ncols=len(keys), frameon=False, fontsize=8)
    return figure


def _with_remark(row, everywhere: float) -> str:
    if row.method == ORACLE:
        return f"{ORACLE} (sees clean)"
    return f"{row.method} (n={row.n:.0f})" if row.n < everywhere else row.method


def gains(claims: Mapping[str, Mapping]) -> Figure:
    """Hybrid minus its strongest rival, a row a task, with interval and goal. claims: contents of metrics/claims.json."""
    prefix = "hybrid_gain_db_"
    rows = {name.removeprefix(prefix): claim for name, claim in claims.items() if name.startswith(prefix)}
    figure, axes = new_figure(1, 1, 7.0, 0.55 * len(rows) + 1.2)
    ax = axes[0, 0]
    for place, claim in enumerate(rows.values()):
        colour = PALETTE[HYBRID] if claim["holds"] else PALETTE[DIFFUSION if claim["lo"] > 0 else OTHER]
        ax.plot([claim["lo"], claim["hi"]], [place, place], color=colour, linewidth=2.4, solid_capstyle="butt")
        ax.plot(claim["value"], place, "D" if claim["holds"] else "o", color=colour, markersize=8, markeredgecolor="white")
        ax.plot([claim["goal"]] * 2, [place - 0.32, place + 0.32], color=INK, linewidth=1.6, linestyle=(0, (2, 1)))
    ax.axvline(0, color=INK, linewidth=0.8)
    ax.set_yticks(range(len(rows)), [f"{task}\nagainst {claim['rival']}" for task, claim in rows.items()])
    ax.invert_yaxis()
    above = sum(claim["lo"] > 0 for claim in rows.values())
    held = sum(claim["holds"] for claim in rows.values())
    title = f"The hybrid beats its strongest rival, interval above 0, on {above} of {len(rows)} tasks; goal reached on {held}"
    describe(ax, "gain in mean PSNR, dB, with its interval (dashed: goal; diamond: reached)", "", title)
    return figure


def ablation(table: pd.DataFrame, knob: str) -> Figure:
    """PSNR against one setting, a panel a task. table: columns task, value, series, psnr, psnr_lo, psnr_hi, gain, gain_lo,
    gain_hi (dB).

    Bars are the intervals of the difference to the value in use, image by image; where none is, of the mean itself.
    Numbers that span more than a factor of 10 get a logarithmic axis, words get evenly spaced places.
    """
    import seaborn as sns

    tasks = list(table["task"].unique())
    columns = min(3, len(tasks))
    figure, axes = new_figure(-(-len(tasks) // columns), columns, 4.4, 3.2)
    paired = table["gain"].notna()
    low, high = (np.where(paired, table["psnr"] - table["gain"] + table[f"gain_{end}"], table[f"psnr_{end}"]) for end in ("lo", "hi"))
    table = table.assign(low=low, high=high)
    values = table["value"]
    numeric = pd.api.types.is_numeric_dtype(values)
    places = {value: value if numeric else i for i, value in enumerate(values.unique())}
    kinds = list(table["series"].unique())
    colours, markers = dict(zip(kinds, SERIES, strict=False)), dict(zip(kinds, "oDsv^Ph", strict=False))
    dashes = dict(zip(kinds, ("", (4, 1.5), (1, 1), (4, 1, 1, 1), (6, 2), (2, 1), (1, 2)), strict=False))
    style = {"hue": "series", "palette": colours, "style": "series", "markers": markers, "dashes": dashes, "errorbar": None}
    table = table.assign(place=values.map(places))
    for ax, task in zip(axes.flat, tasks, strict=False):
        rows = table[table["task"] == task]
        sns.lineplot(rows, x="place", y="psnr", ax=ax, linewidth=1.4 if numeric else 0, legend=False, **style)
        ax.vlines(rows["place"], rows["low"], rows["high"], colors=rows["series"].map(colours), linewidth=0.9)
        if numeric and values.min() > 0 and values.max() > 10 * values.min():
            ax.set_xscale("log")
            ax.minorticks_off()
        ax.set_xticks(list(places.values()), [f"{value:g}" if numeric else value for value in places])
        best = rows.loc[rows["psnr"].idxmax()]
        chosen = f"{best['value']:g}" if numeric else best["value"]
        describe(ax, KNOBS.get(knob, knob.replace("_", " ")), "PSNR, dB", f"{task}: best at {chosen}, {best['psnr']:.2f} dB")
        if not numeric:
            ax.tick_params(axis="x", rotation=30)
    for ax in list(axes.flat)[len(tasks) :]:
        ax.set_axis_off()
    lines = {kind: ((0, dashes[kind]) if dashes[kind] else "-") if numeric else "" for kind in kinds}
    keys = [Line2D([], [], color=colours[kind], marker=markers[kind], linestyle=lines[kind], label=kind) for kind in kinds]
    if len(kinds) > 1:
        figure.legend(handles=keys, loc="outside lower center", ncols=len(keys), frameon=False, fontsize=8)
    return figure


def generation_quality(table: pd.DataFrame, floor: float, distance: str, count: int) -> Figure:
    """Distance of samples to real patches against network calls, a line a sampler, with the real-against-real floor.

    table: columns sampler, calls, frechet; distance: its full name; count: images in each set.
    """
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
    ax.legend(fontsize=8, frameon=False)
    best = table.loc[table["frechet"].idxmin()]
    title = f"Best: {best['sampler']} with {best['calls']} calls, {best['frechet'] / floor:.1f} × the floor of {count} real patches"
    describe(ax, "network calls", distance, title)
    return figure
