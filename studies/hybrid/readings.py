"""The page of the study's tables: each under its heading, with sentences that its numbers choose."""

from collections.abc import Mapping

import pandas as pd
from studies.hybrid.realism import FROM_CHEAP, FROM_DIP, FROM_NOISE
from studies.hybrid.report import budgets, nearest_chain

from dualprior.evaluation.tables import markdown, render_claims

# knob: what it is; the keys of ablate's KNOBS, in the order of the page
KNOBS = {
    "inflation": "Inflation: how many times its RMSE a start's error is taken for, nothing being added",
    "start_scale": "κ: the start level is κ times the predicted, inflated error (`restart_dip` alone chooses its own)",
    "start_level": "Start level, the same for every image",
    "dip_steps": "DIP steps before the restart, without the stopping rule (noisy tasks are stopped before the last)",
    "calls": "Network calls of the restart",
    "samples": "K: stochastic restarts that are averaged",
    "data_weight": "Weight of the denoiser against the data (noisy tasks)",
    "beta": "β: pull of the denoiser on a DIP fit",
    "interleaved": "Intermediate priors: weight of a DIP that goes on being fitted in every guess of a restart",
    "gamma": "γ: guidance of a chain by the DIP",
    "network": "Network of the DIP",
    "start_kind": "Kind of start",
    "left_out": "Sources left out of the blend",
}
MAIN_SERIES = {
    "start_level": "variance-matched", "dip_steps": "restart", "calls": "restart", "data_weight": "restart", "beta": "restart",
    "network": "restart", "start_kind": "restart", "left_out": "blend", "samples": "mean of restarts", "gamma": "guided chain",
    "inflation": "restart", "start_scale": "restart", "interleaved": "restart",
}  # fmt: skip
FLAT_DB = 0.1  # a knob that moves the mean PSNR by less over all values tried is called flat


def page(results: str, claims: Mapping[str, dict], found: Mapping[str, pd.DataFrame], swept: Mapping[str, pd.DataFrame]) -> str:
    """All tables in one page, the claims first. results: the table of methods; found: those of `report`; swept: by knob."""
    parts = ["# The wide study of the hybrid: the tables\n", "## Claims\n", render_claims(claims), "## Every method\n", results]
    parts += ["## By photograph\n", read_groups(found["groups"]) + "\n", markdown(_whole(found["groups"]))]
    parts += ["## Weaker priors\n", read_priors(found["priors"]) + "\n", markdown(found["priors"])]
    parts += ["## What is blended\n", read_weights(found["weights"]) + "\n", markdown(by_run(found["weights"]))]
    parts += ["## Realism: Fréchet distance against calls\n", read_realism(found["realism"]) + "\n", markdown(_whole(found["realism"]))]
    parts += ["## Contraction\n", read_contraction(found["contraction"]) + "\n", markdown(found["contraction"])]
    parts += ["## Cheap DIP: a meta-learned state\n", read_quick(found["quick"]) + "\n", markdown(_whole(found["quick"]))]
    for knob, table in swept.items():
        parts += [f"## {KNOBS[knob]}\n", read_knob(knob, table) + "\n", markdown(shown(table))]
    return "\n".join(parts)


def _whole(table: pd.DataFrame) -> pd.DataFrame:
    """Whole numbers stay whole in Markdown."""
    return table.astype(dict.fromkeys(table.select_dtypes("integer"), object))


def by_run(weights: pd.DataFrame) -> pd.DataFrame:
    """A row a run, a column a part."""
    return weights.pivot_table(index=["prior", "task"], columns="part", values="weight", sort=False).reset_index()


def shown(table: pd.DataFrame) -> pd.DataFrame:
    columns = ["task", "split", "series", "value", "psnr", "psnr_lo", "psnr_hi", "gain", "gain_lo", "gain_hi", "near_best"]
    return table[columns].assign(value=[f"{value:g}" if isinstance(value, float) else str(value) for value in table["value"]])


def by_value(knob: str, table: pd.DataFrame) -> pd.DataFrame:
    """A row a value, a column a task: PSNR on test images and, in brackets, the gain over the value in use.

    Bold is what validation images would choose. Of the knob's main series.
    """
    main = table[table["series"] == MAIN_SERIES[knob]]
    chosen = _chosen(main)
    test = main[main["split"] == "test"]
    cells = [_cell(row, chosen[row.task] == row.value) for row in test.itertuples()]
    wide = test.assign(cell=cells, value=test["value"].map(_plain)).pivot_table(
        index="value", columns="task", values="cell", aggfunc="first", sort=False
    )
    return wide.rename_axis(columns=None).reset_index()


def _cell(row, chosen: bool) -> str:
    gain = "" if pd.isna(row.gain) else f" ({round(row.gain, 2) + 0.0:+.2f})"  # + 0.0 turns -0.0 into 0.0
    return f"**{row.psnr:.2f}**{gain}" if chosen else f"{row.psnr:.2f}{gain}"


def _chosen(main: pd.DataFrame) -> dict:
    """{task: the value of highest mean PSNR on validation images}."""
    picks = main[main["split"] == "val"].groupby("task", sort=False)["psnr"].idxmax()
    return {task: main.loc[row, "value"] for task, row in picks.items()}


def read_knob(knob: str, table: pd.DataFrame) -> str:
    """What validation images would choose, what that is worth on test images, and how much the knob matters."""
    main = table[table["series"] == MAIN_SERIES[knob]]
    chosen = _chosen(main)
    test = main[main["split"] == "test"]
    span = test.groupby("task", sort=False)["psnr"].agg(lambda psnr: psnr.max() - psnr.min())
    text = f"Validation images would choose {', '.join(f'{_plain(value)} on {task}' for task, value in chosen.items())}."
    won = pd.concat([test[(test["task"] == task) & (test["value"] == value)] for task, value in chosen.items()])
    if won["gain"].notna().any() and knob != "dip_steps":  # there the last step is no value in use: noisy tasks are stopped
        used = test[(test["gain"] == 0) & (test["gain_lo"] == 0) & (test["gain_hi"] == 0)].drop_duplicates("task").groupby("value")["task"]
        shown = [f"{_plain(value)}" + (f" on {', '.join(tasks)}" if used.ngroups > 1 else "") for value, tasks in used]
        text += f" In use is {'; '.join(shown)}." if shown else ""
        text += " " + _verdict(won)
    flat = [task for task, value in span.items() if value < FLAT_DB]
    text += f" Over all values the mean PSNR moves by {span.min():.2f} ({span.idxmin()}) to {span.max():.2f} dB ({span.idxmax()})"
    return text + (f"; flat (under {FLAT_DB:g} dB) on {', '.join(flat)}." if flat else ".")


def _verdict(won: pd.DataFrame) -> str:
    """What the choices of the validation images are worth on test images, against the value in use."""
    better, worse = won[won["gain_lo"] > 0], won[won["gain_hi"] < 0]
    parts = []
    if len(better):
        parts.append("would gain on " + ", ".join(f"{row.task} ({row.gain:+.2f} dB)" for row in better.itertuples()))
    if len(worse):
        parts.append("would lose on " + ", ".join(f"{row.task} ({row.gain:+.2f} dB)" for row in worse.itertuples()))
    if not parts:
        return "On no test task does that choice differ from it, interval clear of 0."
    return "On test images that choice " + " and ".join(parts) + ", interval clear of 0; elsewhere the interval holds 0."


def _plain(value) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def read_groups(table: pd.DataFrame) -> str:
    """Where the hybrid's gains hold on every photograph."""
    parts = []
    for what, kind in (("gain over", "strongest rival"), ("over control", "best control without DIP")):
        rows = table[table["what"].str.startswith(what)]
        everywhere = [task for task, some in rows.groupby("task", sort=False) if (some["low"] > 0).all()]
        parts.append(f"over the {kind} on {', '.join(everywhere) if everywhere else 'no task'}")
    return f"The same gains on each test photograph by itself. Above 0 on all of them, interval clear of 0: {'; '.join(parts)}."


def read_priors(table: pd.DataFrame) -> str:
    """Whether the gain grows as the prior weakens, and what of it is DIP's."""
    mean = table.groupby("prior", sort=False)[["denoiser, dB", "gain", "over control", "DIP start"]].mean()
    weak, full = mean["denoiser, dB"].idxmin(), mean["denoiser, dB"].idxmax()
    sure = table[(table["over control low"] > 0)].groupby("prior")["task"].agg(", ".join)
    text = (
        f"From the strongest prior ({full}, {mean.at[full, 'denoiser, dB']:.1f} dB) to the weakest ({weak}, "
        f"{mean.at[weak, 'denoiser, dB']:.1f} dB) the hybrid's mean gain over its strongest rival goes from "
        f"{mean.at[full, 'gain']:+.2f} to {mean.at[weak, 'gain']:+.2f} dB, "
        f"over the best control without DIP from {mean.at[full, 'over control']:+.2f} to "
        f"{mean.at[weak, 'over control']:+.2f} dB, and that of a DIP start over a cheap one from {mean.at[full, 'DIP start']:+.2f} to "
        f"{mean.at[weak, 'DIP start']:+.2f} dB."
    )
    clear = "; ".join(f"{prior}: {sure[prior]}" for prior in mean.index if prior in sure)
    return text + (f" Above the control, interval clear of 0: {clear}." if clear else " Never is it above the control, clear of 0.")


def read_weights(table: pd.DataFrame) -> str:
    """How much of the blend comes from fits of a DIP."""
    from_dip = table[table["part"].str.contains("dip|coupled")].groupby(["prior", "task"])["weight"].sum()
    runs = table[["prior", "task"]].drop_duplicates()
    share = [float(from_dip.get((row.prior, row.task), 0.0)) for row in runs.itertuples()]
    none = [f"{row.task} ({row.prior})" for row, value in zip(runs.itertuples(), share, strict=True) if value == 0]
    text = "Weights learned on validation images, one blend a task and prior. "
    text += f"Parts that hold a DIP weigh {min(share):.2f} to {max(share):.2f}"
    return text + (f"; none on {', '.join(none)}." if none else ".")


def read_realism(table: pd.DataFrame) -> str:
    """Where a restart from the DIP reaches the likeness of the full chain, and at what calls each is best."""
    parts = []
    for task, group in table.groupby("task", sort=False):
        full, tried, said = nearest_chain(group), budgets(group), []
        for name, short in ((FROM_DIP, "from the DIP"), (FROM_CHEAP, "from a cheap start"), (FROM_NOISE, "from noise")):
            best = tried[tried["method"] == name].sort_values("frechet").iloc[0]
            said.append(f"{short} at best {best['frechet']:.2f} with {best['calls']} calls ({best['psnr']:.1f} dB)")
        parts.append(f"{task}: {full['method']} {full['frechet']:.2f} ({full['psnr']:.1f} dB), {', '.join(said)}")
    head = f"{table['distance'].iat[0]}, lower is nearer to the same crops clean; 'at best' is over the calls tried, on test. "
    head += "'level' (where a restart begins, times the error of its start) and 'noise' were chosen by this distance on validation crops. "
    return f"{head}{'; '.join(parts)}. The seconds of a restart include the DIP fit."


def read_quick(table: pd.DataFrame) -> str:
    """At how many steps a fresh fit is as good as the first steps from the learned state, and which restart ends higher."""
    parts = []
    for task, group in table.groupby("task", sort=False):
        fresh, meta = (group[group["start"] == start].set_index("steps") for start in ("fresh", "meta"))
        early = [step for step in meta.index if step <= 40][-1]
        equal = [step for step in fresh.index if fresh.at[step, "fit, dB"] >= meta.at[early, "fit, dB"]]
        needed = f"needs {min(equal)}" if equal else f"has not after {fresh.index[-1]}"
        ends = {name: some["restart, dB"].max() for name, some in (("fresh", fresh), ("meta", meta))}
        parts.append(
            f"{task}: {meta.at[early, 'fit, dB']:.2f} dB after {early} steps from the learned state, for which a fresh fit {needed}; "
            f"best restart {ends['meta']:.2f} dB from learned, {ends['fresh']:.2f} dB from fresh weights"
        )
    head = "One fit an image, to all of y, kept at fixed steps; 'best restart' is the best of these steps on test images. "
    return f"{head}{'; '.join(parts)}."


def read_contraction(table: pd.DataFrame) -> str:
    """From which level on a restart forgets half of a change of its start."""
    mean = table.groupby(["change", "level"])["passed on"].mean()
    parts = []
    for change, shares in mean.groupby(level="change", sort=False):
        half = [level for (_, level), share in shares.items() if share < 0.5]
        said = f"half of it is forgotten from σ = {min(half):g} on" if half else "never half of it is forgotten"
        ends = f"{shares.iloc[0]:.2f} is passed on at the lowest level, {shares.iloc[-1]:.2f} at the highest"
        parts.append(f"of a {change} change {ends}; {said}")
    return f"Mean over tasks: {'; '.join(parts)}."
