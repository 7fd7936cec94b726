"""What the study found: questions with a value a rule, a task or a level, and its interval.

The unit of every interval is the photograph: its values over networks, noises and seeds are averaged first.
"""

import pandas as pd

from dualprior.evaluation.comparisons import Finding, finding
from dualprior.evaluation.image_metrics import Interval

OURS = "split"
FAILURE_DB = 1.0
RULES = {  # rule: what it is
    "split": "recorrupted split, paired fits (ours)",
    "one_split": "recorrupted split, one fit",
    "discrepancy": "discrepancy principle",
    "sure": "Monte-Carlo SURE",
    "es_wmv": "ES-WMV as published",
    "es_wmv_tuned": "ES-WMV, tuned window",
    "es_wmv_pair": "ES-WMV on our paired fits",
    "es_emv": "ES-EMV",
    "self_validation": "self-validation",
    "diffusion_score": "score of the diffusion model",
    "fixed": "fixed step",
    "fixed_pair": "fixed step on our paired fits",
    "last": "last step",
    "last_pair": "last step of our paired fits",
}
TWO_FITS = {"discrepancy": "discrepancy_pair", "fixed": "fixed_pair", "last": "last_pair"}  # rules on two fits to y itself
SAME_FIT = ["network", "problem", "name"]


def by_photograph(rows: pd.DataFrame, value: str) -> pd.Series:
    """Mean of `value` for each photograph."""
    return rows.groupby("image", sort=False)[value].mean()


def findings(rows: pd.DataFrame, interval: Interval) -> dict[str, dict[str, Finding]]:
    """rows: of metrics/rows.csv."""

    def each(groups: dict[str, pd.DataFrame], value: str, unit: str = "dB") -> dict[str, Finding]:
        return {key: finding(by_photograph(mine, value), unit, interval) for key, mine in groups.items() if len(mine)}

    def by_problem(rule: str) -> dict[str, pd.DataFrame]:
        return dict(list(any_task[any_task["rule"] == rule].groupby("problem", sort=False)))

    plain = rows[rows["plain"] & rows["denoising"] & ~rows["whole"]]
    ours = plain[plain["rule"] == OURS]
    of_rule = {rule: plain[plain["rule"] == rule] for rule in RULES}
    kept = {rule: _paired(ours, mine, "psnr") for rule, mine in of_rule.items() if rule != OURS}
    two_fits = {rule: rows[(rows["split_kind"] == "none") & (rows["rule"] == rule)] for rule in TWO_FITS.values()}
    any_task = rows[rows["plain"] & ~rows["leaks"]]
    split = rows[(rows["rule"] == OURS) & rows["denoising"] & (rows["split_kind"] == "recorrupted")]
    usual = split[split["input_scale"] == 1]
    levels = usual[(usual["annealing"] == "none") & usual["problem"].isin(usual[usual["noise_level"] != "known"]["problem"])]
    levels = levels[levels["network"].isin(usual[usual["noise_level"] != "known"]["network"])]
    annealed = {kind: usual[usual["annealing"] == kind] for kind in ("target", "input")}
    annealed |= {f"constant {scale:g}": mine for scale, mine in split[split["input_scale"] != 1].groupby("input_scale")}
    predicted = usual[usual["annealing"] == "none"].assign(error=(usual["predicted_psnr"] - usual["psnr"]).abs())
    predicted = dict(list(predicted.groupby(predicted["problem"] + "/" + predicted["noise_level"], sort=False)))
    return {
        "stopping_loss_db": each(of_rule, "gap"),
        "failure_share": each({rule: mine.assign(fails=mine["gap"] > FAILURE_DB) for rule, mine in of_rule.items()}, "fails", "share"),
        "stopping_loss_by_task_db": each(by_problem(OURS), "gap"),
        "last_step_loss_by_task_db": each(by_problem("last_pair"), "gap"),
        "kept_over_rule_db": each(kept, "difference"),
        "kept_over_oracle_of_one_fit_db": each({OURS: ours.assign(difference=ours["psnr"] - ours["whole_peak"])}, "difference"),
        "kept_over_two_fits_db": each({key: _paired(ours, two_fits[rule], "psnr") for key, rule in TWO_FITS.items()}, "difference")
        | each({"best_step": _paired(ours, two_fits["last_pair"], "peak")}, "difference"),
        "loss_by_noise_level_db": each(dict(list(levels.groupby("noise_level", sort=False))), "gap"),
        "predicted_psnr_error_db": each(predicted, "error"),
        "annealing_gain_db": each({kind: _paired(mine, ours, "psnr") for kind, mine in annealed.items()}, "difference"),
    }  # fmt: skip


def _paired(mine: pd.DataFrame, other: pd.DataFrame, value: str) -> pd.DataFrame:
    """What `mine` keeps, less `value` of the same network, problem and measurement in `other`."""
    both = mine.merge(other[[*SAME_FIT, value]], on=SAME_FIT, suffixes=("", "_other"))
    return both.assign(difference=both["psnr"] - both[f"{value}_other" if value in mine else value])
