"""The study's tables: gaps of every rule, case by case, with intervals over images."""

import pandas as pd
from studies.stopping.claims import FAILURE_DB, OURS, SETTLED, Bootstrap, by_image

SLACK_DB = 0.01  # a longer patience or window must earn so much

# rule: what it is
RULES = {
    "split": "coupled pair (ours)",
    "split_patient": "coupled pair, whole fit seen",
    "split_impatient": "coupled pair, patience of noisy data",
    "one_split": "coupled split, one fit",
    "held_out": "held-out pixels, pair",
    "sure": "Monte-Carlo SURE",
    "discrepancy": "discrepancy principle",
    "diffusion_judge": "diffusion judge",
    "es_wmv": "ES-WMV",
    "es_wmv_tuned": "ES-WMV, window from validation",
    "es_wmv_pair": "ES-WMV on the pair",
    "es_emv": "ES-EMV",
    "self_validation": "self-validation",
    "fixed": "fixed step, from validation",
    "fixed_pair": "fixed step, on the pair",
    "last": "last step",
    "last_pair": "last step of the pair",
}


def tables(
    rows: pd.DataFrame, calibration: pd.DataFrame, costs: pd.DataFrame, rungs: pd.DataFrame, guided: pd.DataFrame, bootstrap: Bootstrap
) -> dict[str, pd.DataFrame]:
    """{name: table}, each written as CSV and, for people, into tables.md."""
    return {
        "rules": _rules(rows, costs, bootstrap),
        "cases": _cases(rows, bootstrap),
        "networks": _networks(rows, bootstrap),
        "levels": _levels(rows, calibration, bootstrap),
        "ladders": _ladders(rows, bootstrap),
        "rungs": _rungs(rungs),
        "tasks": _tasks(rows, bootstrap),
        "guided": _guided(guided, bootstrap),
        "calibration": _calibration(calibration),
    }


TUNED = {"split": "patience", "es_wmv_tuned": "window"}  # rule: its setting that is chosen on validation images, in steps
LIKE = {"one_split": "split", "held_out": "split"}  # rules that take over another one's choice


def tuned(tried: pd.DataFrame) -> pd.DataFrame:
    """Mean loss of the rules of `TUNED` for every setting tried, on validation and on test images.

    tried: rows of both splits, with rules called "rule@setting". The pair's patience is for all noisy data; a window of
    ES-WMV for those that denoise, as it is made for noise.
    """
    mine = tried[tried["plain"] & ~tried["leaks"]]
    table = []
    for rule, setting in TUNED.items():
        fits = mine[~mine["exact"]] if rule == "split" else mine[mine["denoising"]]
        for name, group in fits[fits["rule"].str.startswith(f"{rule}@")].groupby("rule", sort=False):
            loss = group.groupby("split")["gap"].mean()
            steps = group[group["split"] == "test"]["decided_step"].mean()
            table.append({
                "rule": rule, "setting": setting, "steps": int(name.partition("@")[2]),
                "loss on validation, dB": round(float(loss["val"]), 4),
                "loss on test, dB": round(float(loss["test"]), 4), "steps run on test": round(float(steps)),
            })  # fmt: skip
    return pd.DataFrame(table)


def chosen(table: pd.DataFrame) -> dict[str, int]:
    """{rule: setting}: the smallest whose loss on validation images is within `SLACK_DB` of the least."""
    best = {}
    for rule, group in table.groupby("rule", sort=False):
        loss = group["loss on validation, dB"]
        best[rule] = int(group[loss <= loss.min() + SLACK_DB]["steps"].min())
    return best | {rule: best[model] for rule, model in LIKE.items() if model in best}


def _spread(numbers: tuple[float, float, float], decimals: int = 2) -> str:
    value, low, high = numbers
    return f"{value:.{decimals}f} [{low:.{decimals}f}, {high:.{decimals}f}]"


def _rules(rows: pd.DataFrame, costs: pd.DataFrame, bootstrap: Bootstrap) -> pd.DataFrame:
    """Every rule over the plain denoising fits: what it loses to the peak of the fit it stops, what is kept, what it costs."""
    table = []
    every = rows[rows["plain"] | (rows["rule"] == "held_out")]
    for rule, label in RULES.items():
        mine = every[(every["rule"] == rule) & every["denoising"]]
        if mine.empty:
            continue
        cost = costs[(costs["rule"].str.partition("@")[0] == rule.removesuffix("_patient")) & costs["fit"].isin(mine["fit"].unique())]
        kept = (mine["psnr"] - mine["whole_peak"]).mean()
        table.append({
            "rule": label, "combinations": mine["fit"].nunique(), "mean loss, dB": _spread(bootstrap.mean(by_image(mine))),
            "95th percentile": round(float(mine["gap"].quantile(0.95)), 2),
            f"share above {FAILURE_DB:g} dB": f"{100 * (mine['gap'] > FAILURE_DB).mean():.1f} %",
            "kept, above the oracle on all of y, dB": "–" if pd.isna(kept) else f"{kept:+.2f}",
            "fits": int(cost["fits"].max()) if len(cost) else (2 if rule.endswith("pair") else 1),
            "overhead": f"{100 * cost['overhead'].mean():.1f} %" if len(cost) else "–",
        })  # fmt: skip
    return pd.DataFrame(table)


def _cases(rows: pd.DataFrame, bootstrap: Bootstrap) -> pd.DataFrame:
    """Network by noise: loss of the coupled pair, of ES-WMV on the whole fit and on the same pair, of a fixed step."""
    mine, table = rows[rows["plain"] & rows["denoising"]], []
    for (network, problem), group in mine.groupby(["network", "problem"], sort=False):
        row = {"network": network, "noise": problem}
        for rule in (OURS, "es_wmv_pair", "es_wmv", "es_wmv_tuned", "fixed_pair", "last_pair"):
            some = group[group["rule"] == rule]
            row[RULES[rule]] = _spread(bootstrap.mean(by_image(some))) if rule == OURS else round(float(some["gap"].mean()), 2)
        ours = group[group["rule"] == OURS]
        row |= {"kept, dB": round(float(ours["psnr"].mean()), 2), "oracle on all of y, dB": round(float(ours["whole_peak"].mean()), 2)}
        table.append(row)
    return pd.DataFrame(table)


def _networks(rows: pd.DataFrame, bootstrap: Bootstrap) -> pd.DataFrame:
    """Twelve networks on one noise: where they peak, how far they fall, what the rule loses and keeps."""
    mine, table = rows[rows["plain"] & rows["denoising"] & (rows["rule"] == OURS)], []
    counts = mine.groupby("problem")["network"].nunique()
    mine = mine[mine["problem"] == counts.idxmax()]
    for network, group in mine.groupby("network", sort=False):
        last = rows[(rows["fit"] == group["fit"].iat[0]) & (rows["rule"] == "last_pair")]
        table.append({
            "network": network, "kind": group["kind"].iat[0], "channels": group["channels"].iat[0], "noise": group["problem"].iat[0],
            "peak step": round(float(group["peak_step"].mean())), "stop step": round(float(group["step"].mean())),
            "kept, dB": _spread(bootstrap.mean(by_image(group, "psnr"))), "loss, dB": _spread(bootstrap.mean(by_image(group))),
            "loss of the last step, dB": round(float(last["gap"].mean()), 2),
        })  # fmt: skip
    return pd.DataFrame(table)


def _levels(rows: pd.DataFrame, calibration: pd.DataFrame, bootstrap: Bootstrap) -> pd.DataFrame:
    """The noise level known, a fifth too low, a fifth too high, estimated: loss, and bias of the estimate."""
    mine = rows[(rows["rule"] == OURS) & rows["denoising"] & (rows["split_kind"] == "coupled") & (rows["ladder"] == "none")]
    altered = mine[mine["noise_level"] != "known"][["network", "problem"]].drop_duplicates()
    mine, table = mine.merge(altered, on=["network", "problem"]), []
    for (problem, level), group in mine.groupby(["problem", "noise_level"], sort=True):
        told = calibration[(calibration["fit"] == group["fit"].iat[0]) & (calibration["rule"] == OURS) & (calibration["step"] >= SETTLED)]
        table.append({
            "noise": problem, "level": level, "loss, dB": _spread(bootstrap.mean(by_image(group))),
            "kept, dB": round(float(group["psnr"].mean()), 2), "stop step": round(float(group["step"].mean())),
            "estimated over true error": round(float(told["estimate"].mean() / told["true"].mean()), 3),
        })  # fmt: skip
    return pd.DataFrame(table)


def _ladders(rows: pd.DataFrame, bootstrap: Bootstrap) -> pd.DataFrame:
    """Ladders against the plain fit: the peak that the fit reaches, and what is kept of it."""
    rule = rows["rule"].where(rows["ladder"] != "literal", rows["rule"].replace({"fixed": OURS}))
    mine = rows[(rule == OURS) & (rows["split_kind"] == "coupled") & (rows["noise_level"] == "known") & ~rows["leaks"]]
    withs = rows[(rows["ladder"] != "none") & ~rows["leaks"]][["network", "problem"]].drop_duplicates()
    mine, table = mine.merge(withs, on=["network", "problem"]), []
    for (problem, ladder), group in mine.groupby(["problem", "ladder"], sort=False):
        table.append({
            "noise": problem, "ladder": ladder, "peak, dB": _spread(bootstrap.mean(by_image(group, "peak"))),
            "kept, dB": _spread(bootstrap.mean(by_image(group, "psnr"))), "loss, dB": _spread(bootstrap.mean(by_image(group))),
            "stop step": round(float(group["step"].mean())),
        })  # fmt: skip
    return pd.DataFrame(table)


def _rungs(rungs: pd.DataFrame) -> pd.DataFrame:
    """What a fit reaches on every rung, against the rung's own target (noisy but for the last rung of a clean image)."""
    values = ["tau", "step", "psnr_to_target", "ssim_to_target"]
    table = rungs.groupby(["fit", "ladder", "problem", "leaks", "rung"], sort=False)[values].mean().reset_index()
    return table.round({"tau": 4, "step": 0, "psnr_to_target": 2, "ssim_to_target": 3}).drop(columns="fit")


def _tasks(rows: pd.DataFrame, bootstrap: Bootstrap) -> pd.DataFrame:
    """Loss by rule on the tasks whose operator does not show the whole image."""
    mine = rows[~rows["denoising"] & ~rows["leaks"]]
    table = []
    for problem, group in mine.groupby("problem", sort=False):
        for rule, some in group.groupby("rule", sort=False):
            if rule in RULES and not rule.endswith("_patient"):
                table.append({
                    "task": problem, "rule": RULES.get(rule, rule), "loss, dB": _spread(bootstrap.mean(by_image(some))),
                    "mean loss": round(float(some["gap"].mean()), 4), "kept, dB": round(float(some["psnr"].mean()), 2),
                })  # fmt: skip
    return pd.DataFrame(table)


def _guided(guided: pd.DataFrame, bootstrap: Bootstrap) -> pd.DataFrame:
    """What an extra term in the loss adds to the stopped fit: paired by measurement, intervals over images."""
    table = []
    for problem, group in guided.groupby("problem", sort=False):
        plain = group[group["term"] == "none"].set_index("name")["psnr"]
        for term, some in group.groupby("term", sort=False):
            gain = some.assign(gain=some["psnr"] - some["name"].map(plain))
            mean, low, high = bootstrap.mean(by_image(gain, "gain"))
            table.append({
                "noise": problem, "term": term, "weight": f"{some['weight'].iat[0]:g}", "PSNR, dB": round(float(some["psnr"].mean()), 2),
                "gain, dB": round(mean, 3), "low": round(low, 3), "high": round(high, 3), "stop step": round(float(some["step"].mean())),
                "seconds an image": round(float(some["seconds"].iat[0]), 2),
            })  # fmt: skip
    return pd.DataFrame(table)


def _calibration(calibration: pd.DataFrame) -> pd.DataFrame:
    """Estimated over true error for every denoising combination and rule that estimates one."""
    told = calibration[(calibration["step"] >= SETTLED) & calibration["denoising"]]
    table = []
    for (fit, rule), group in told.groupby(["fit", "rule"], sort=False):
        estimate, true = (group[column].clip(lower=0) ** 0.5 for column in ("estimate", "true"))
        ratio = float(group["estimate"].mean() / group["true"].mean())
        table.append(
            {"fit": fit, "rule": RULES[rule], "estimated over true error": round(ratio, 3), "r": round(float(estimate.corr(true)), 4)}
        )
    return pd.DataFrame(table)


def summary(rows: pd.DataFrame) -> dict[str, dict[str, dict[str, float]]]:
    """{problem: {rule: {gap, psnr}}} of the plain fits by the first network, for `dvc metrics diff`."""
    mine = rows[(rows["plain"] | (rows["split_kind"] == "held_out")) & (rows["network"] == rows["network"].iat[0]) & ~rows["leaks"]]
    means = mine.groupby(["problem", "rule"], sort=False)[["gap", "psnr"]].mean().round(4)
    result: dict[str, dict[str, dict[str, float]]] = {}
    for (problem, rule), row in means.iterrows():
        result.setdefault(problem, {})[rule] = row.to_dict()
    return result
