"""The page of the study's tables: each under its heading, with a sentence that its numbers choose."""

import pandas as pd
from studies.stopping.claims import OURS
from studies.stopping.report import RULES, TUNED, chosen

from dualprior.evaluation.tables import markdown as as_markdown
from dualprior.evaluation.tables import render_claims

HEADINGS = {
    "tuned": "Settings chosen on validation images",
    "rules": "Every rule, denoising",
    "cases": "Network by noise: mean loss to the oracle peak, dB",
    "networks": "Depth and width",
    "levels": "When the noise level is not known",
    "ladders": "Ladders of noise levels",
    "rungs": "Each rung against its own target",
    "tasks": "Other tasks",
    "guided": "Extra terms in the loss",
    "calibration": "Estimated and true error",
}


def page(tables: dict[str, pd.DataFrame], claims: dict[str, dict]) -> str:
    """All tables in one page, the claims first, each with the sentence that its numbers bear out."""
    parts = ["# Stopping a Deep Image Prior: the tables\n", "## Claims\n", render_claims(claims)]
    for name, heading in HEADINGS.items():
        parts += [f"## {heading}\n", reading(name, tables[name]) + "\n", markdown(tables[name])]
    return "\n".join(parts)


def markdown(table: pd.DataFrame) -> str:
    """A table of the study, its whole numbers and weights as they are."""
    whole = dict.fromkeys(table.select_dtypes("integer"), object)  # or they are written as 1.00
    table = table.astype(whole)
    if "weight" in table:
        table = table.assign(weight="`" + table["weight"].astype(str) + "`")  # or 0.0003 is written as 0.00
    return as_markdown(table)


def by_rule(tasks: pd.DataFrame) -> pd.DataFrame:
    """The table "tasks" with a row a rule and a column a task: mean loss in dB and, in brackets, the PSNR kept."""
    cells = [f"{row['mean loss']:.2f} ({row['kept, dB']:.2f})" for _, row in tasks.iterrows()]
    wide = tasks.assign(cell=cells).pivot_table(index="rule", columns="task", values="cell", aggfunc="first", sort=False)
    return wide.rename_axis(columns=None).reset_index()


def reading(name: str, table: pd.DataFrame) -> str:
    """What a table says, in words chosen by its numbers."""
    return _READINGS[name](table)


def _first(cell) -> float:
    """The value of "0.12 [0.10, 0.14]"."""
    return float(str(cell).split(" ")[0])


def _read_tuned(table: pd.DataFrame) -> str:
    best = chosen(table)
    run = table.set_index(["rule", "steps"])["steps run on test"]
    said = [
        f"{RULES[rule]}: a {setting} of {best[rule]} steps, {run[rule, best[rule]]} steps run on average" for rule, setting in TUNED.items()
    ]
    return f"Chosen on validation images. {'; '.join(said)}."


def _read_rules(table: pd.DataFrame) -> str:
    losses = {row["rule"]: _first(row["mean loss, dB"]) for _, row in table.iterrows()}
    ours, best = RULES[OURS], min(losses, key=losses.get)
    published, fitted = (losses[RULES[rule]] for rule in ("es_wmv", "es_wmv_tuned"))
    head = f"The {ours} loses {losses[ours]:.2f} dB on average, ES-WMV {published:.2f} dB as published and {fitted:.2f} dB with the window "
    head += "that is best on validation images"
    tail = "; no rule loses less." if best == ours else f"; least of all loses the {best} ({losses[best]:.2f} dB)."
    return head + tail + " Rules that need two fits pay for two; what is kept of a pair is the mean of its fits."


def _read_cases(table: pd.DataFrame) -> str:
    values = table[RULES[OURS]].map(_first)
    worst = table.loc[values.idxmax()]
    beaten = int((values <= table[RULES["es_wmv_pair"]]).sum())
    return (
        f"Worst case {worst['network']} on {worst['noise']}: {values.max():.2f} dB. It loses no more than ES-WMV on the same pair in "
        f"{beaten} of {len(table)} combinations."
    )


def _read_networks(table: pd.DataFrame) -> str:
    kept, loss = table["kept, dB"].map(_first), table["loss, dB"].map(_first)
    return (
        f"{table.loc[kept.idxmax(), 'network']} keeps most ({kept.max():.2f} dB), {table.loc[kept.idxmin(), 'network']} least "
        f"({kept.min():.2f} dB); the rule loses {loss.min():.2f} to {loss.max():.2f} dB over all of them."
    )


def _read_levels(table: pd.DataFrame) -> str:
    loss = table["loss, dB"].map(_first)
    mean = loss.groupby(table["level"]).mean().reindex(["known", "low", "high", "estimated"]).dropna()
    text = f"Mean loss in dB with the level {', '.join(f'{level} {value:.2f}' for level, value in mean.items())}."
    if {"low", "high"} <= set(mean.index):
        worse, other = ("low", "high") if mean["low"] > mean["high"] else ("high", "low")
        text += f" A level that is too {worse} costs more than one that is too {other}."
    return text


def _read_ladders(table: pd.DataFrame) -> str:
    parts = []
    for noise, group in table.groupby("noise", sort=False):
        kept = dict(zip(group["ladder"], group["kept, dB"].map(_first), strict=True))
        best = max(kept, key=kept.get)
        parts.append(
            f"on {noise} "
            + (f"the {best} ladder keeps most" if best != "none" else "no ladder keeps more than the plain fit")
            + f" ({kept[best]:.2f} against {kept['none']:.2f} dB)"
        )
    text = "; ".join(parts)
    return (
        text[:1].upper()
        + text[1:]
        + ". The literal ladder (noised copies of the whole target) is stopped at the fixed step of validation."
    )


def _read_rungs(table: pd.DataFrame) -> str:
    steps = table.groupby(["ladder", "problem"], sort=False)["psnr_to_target"].diff().dropna()
    last = table.groupby(["ladder", "problem"], sort=False).tail(1)
    leaky = last[last["leaks"]]["psnr_to_target"].mean()
    literal = last[(last["ladder"] == "literal") & ~last["leaks"]]["psnr_to_target"].mean()
    rises = int((steps > 0).sum())
    return (
        f"PSNR to the rung's own target rises in {rises} of {len(steps)} descents, as the target loses its noise. On the last rung the "
        f"literal ladder is {literal:.1f} dB from the noisy measurement; with a clean target (leaks) it is {leaky:.1f} dB from the image "
        "itself, which no restoration may know."
    )


def _read_tasks(table: pd.DataFrame) -> str:
    ours = table[table["rule"] == RULES[OURS]].set_index("task")["mean loss"]
    best = table.loc[table.groupby("task", sort=False)["mean loss"].idxmin()].set_index("task")
    parts = [f"{task} {loss:.2f} dB (best: {best.at[task, 'rule']}, {best.at[task, 'mean loss']:.2f})" for task, loss in ours.items()]
    return "Loss of the pair: " + ", ".join(parts) + "."


def _read_guided(table: pd.DataFrame) -> str:
    helps = table[(table["low"] > 0)]
    hurts = table[(table["high"] < 0)]
    said = [f"{row['term']} {row['gain, dB']:+.2f} dB on {row['noise']}" for _, row in helps.iterrows()]
    bad = [f"{row['term']} {row['gain, dB']:+.2f} dB on {row['noise']}" for _, row in hurts.iterrows()]
    return (
        f"Interval above 0: {', '.join(said) or 'none'}. Interval below 0: {', '.join(bad) or 'none'}. "
        "The weight is the best of those tried on validation images."
    )


def _read_calibration(table: pd.DataFrame) -> str:
    mine = table[table["rule"] == RULES[OURS]]["estimated over true error"]
    return f"Estimated over true squared error of the pair: {mine.min():.2f} to {mine.max():.2f} over {len(mine)} combinations and levels."


_READINGS = {
    "tuned": _read_tuned,
    "rules": _read_rules,
    "cases": _read_cases,
    "networks": _read_networks,
    "levels": _read_levels,
    "ladders": _read_ladders,
    "rungs": _read_rungs,
    "tasks": _read_tasks,
    "guided": _read_guided,
    "calibration": _read_calibration,
}
