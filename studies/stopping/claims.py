"""What the study claims, each with its value, interval, goal and whether it holds.

The unit of every interval is the image: the gaps of an image over networks, noises and seeds are averaged first, and
images are resampled, so that more seeds of the same crop do not narrow an interval.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from dualprior.evaluation.image_metrics import bootstrap_mean

OURS, PUBLISHED = "split", "es_wmv"
SETTLED = 50  # steps after which an estimate is held against the truth: before, the error is that of the start
GOALS = {"mean": 0.15, "p95": 0.5, "fail": 0.01, "overhead": 0.03, "price": 0.2, "r": 0.95, "bias": 2.0, "task": 0.3}
FAILURE_DB = 1.0


@dataclass(frozen=True)
class Bootstrap:
    """Percentile intervals by resampling images."""

    resamples: int
    confidence: float
    seed: int

    def mean(self, values: np.ndarray) -> tuple[float, float, float]:
        """(mean, low, high) of one value an image."""
        return bootstrap_mean(values, self.resamples, self.confidence, self.seed)

    def of(self, groups: list[np.ndarray], statistic: Callable[[np.ndarray], float]) -> tuple[float, float, float]:
        """(value, low, high) of a statistic of the values of all images together; groups: those of each image."""
        rng = np.random.default_rng(self.seed)
        draws = [statistic(np.concatenate([groups[i] for i in rng.integers(0, len(groups), len(groups))])) for _ in range(self.resamples)]
        low, high = np.quantile(draws, [(1 - self.confidence) / 2, (1 + self.confidence) / 2])
        return float(statistic(np.concatenate(groups))), float(low), float(high)


def judge(rows: pd.DataFrame, calibration: pd.DataFrame, costs: pd.DataFrame, bootstrap: Bootstrap) -> dict[str, dict]:
    """{claim: {value, lo, hi, goal, holds, reading, ...}}; rows and calibration as stage `judge` makes them."""
    mine, theirs = (denoising(rows, rule) for rule in (OURS, PUBLISHED))
    grouped = [group["gap"].to_numpy() for _, group in mine.groupby("image", sort=False)]
    judged = {
        "stopping_gap_mean_db": _at_most(
            bootstrap.mean(by_image(mine)), GOALS["mean"], f"mean loss to the oracle peak over {cases(mine)}", "dB",
            rival=PUBLISHED, rival_value=round(float(theirs["gap"].mean()), 4),
        ),
        "stopping_gap_p95_db": _at_most(
            bootstrap.of(grouped, lambda gaps: np.quantile(gaps, 0.95)), GOALS["p95"], "95th percentile of the loss", "dB",
            rival=PUBLISHED, rival_value=round(float(theirs["gap"].quantile(0.95)), 4),
        ),
        "stopping_fail_share": _at_most(
            bootstrap.of(grouped, lambda gaps: (gaps > FAILURE_DB).mean()), GOALS["fail"],
            f"share of {len(mine)} stops that lose more than {FAILURE_DB:g} dB", "",
            rival=PUBLISHED, rival_value=round(float((theirs["gap"] > FAILURE_DB).mean()), 4),
        ),
        "stopping_overhead": _overhead(costs, mine["fit"].unique()),
        "stopping_split_price_db": _at_most(
            bootstrap.mean(by_image(mine.assign(gap=mine["whole_peak"] - mine["psnr"]))), GOALS["price"],
            "what is kept, against one fit to all of y stopped by its oracle (negative: better)", "dB",
        ),
    }  # fmt: skip
    judged |= _same_cost(rows, mine, bootstrap)
    judged |= _calibrated(calibration[calibration["plain"] & calibration["denoising"] & (calibration["rule"] == OURS)])
    tasks = rows[(rows["rule"] == OURS) & rows["plain"] & ~rows["denoising"] & ~rows["leaks"]]
    for problem, group in tasks.groupby("problem", sort=False):
        reading = f"{problem}: mean loss to the oracle peak"
        judged[f"stopping_gap_{problem}_db"] = _at_most(bootstrap.mean(by_image(group)), GOALS["task"], reading, "dB")
    return judged


def _same_cost(rows: pd.DataFrame, mine: pd.DataFrame, bootstrap: Bootstrap) -> dict[str, dict]:
    """What is kept against the mean of two fits to all of y, stopped by its oracle: the same cost, and nothing split."""
    paired_names = rows[(rows["split_kind"] == "none") & (rows["rule"] == "last_pair")]
    pairs = mine.merge(paired_names[["network", "problem", "name", "peak"]], on=["network", "problem", "name"], suffixes=("", "_twins"))
    if pairs.empty:
        return {}
    reading = f"what is kept, against two fits to all of y stopped by their oracle, {cases(pairs)}"
    values = bootstrap.mean(by_image(pairs.assign(gap=pairs["peak_twins"] - pairs["psnr"])))
    return {"stopping_split_price_same_cost_db": _at_most(values, GOALS["price"], reading, "dB")}


def denoising(rows: pd.DataFrame, rule: str) -> pd.DataFrame:
    """The rows of one rule over all plain fits that denoise."""
    return rows[(rows["rule"] == rule) & rows["plain"] & rows["denoising"]]


def cases(rows: pd.DataFrame) -> str:
    return f"{rows['network'].nunique()} networks and {rows['problem'].nunique()} noises ({rows['fit'].nunique()} combinations)"


def by_image(rows: pd.DataFrame, value: str = "gap") -> np.ndarray:
    """Mean of `value` for each image: [images]."""
    return rows.groupby("image", sort=False)[value].mean().to_numpy()


def _overhead(costs: pd.DataFrame, fits) -> dict:
    """Seconds of the rule over seconds of the fits that it runs."""
    values = costs[(costs["rule"] == OURS) & costs["fit"].isin(fits)]["overhead"].to_numpy()
    value, low, high = float(np.mean(values)), *(float(q) for q in np.quantile(values, [0.025, 0.975]))
    return _at_most(
        (value, low, high), GOALS["overhead"], f"time of the rule over that of the fit, {len(values)} timings, 95 % of them", ""
    )


def _calibrated(table: pd.DataFrame) -> dict[str, dict]:
    """Correlation of estimated and true RMSE, and the mean of estimate minus truth in its own standard errors."""
    settled = table[table["step"] >= SETTLED]
    estimate, true = (np.sqrt(settled[c].clip(lower=0)) for c in ("estimate", "true"))
    r = float(np.corrcoef(estimate, true)[0, 1])
    near = (settled["decibels_to_peak"] < 3).to_numpy()
    r_near = float(np.corrcoef(estimate[near], true[near])[0, 1])
    each = settled.assign(bias=settled["estimate"] - settled["true"])
    # a measurement (image, seed, noise) has one noise; networks and steps on it share that noise: the unit here
    bias = each.groupby(["problem", "name"], sort=False)["bias"].mean()
    error = float(bias.std(ddof=1) / len(bias) ** 0.5) if len(bias) > 1 else float("inf")
    z = float(bias.mean() / error)
    relative = float(bias.mean() / settled["true"].mean())
    return {
        "stopping_calibration_r": {
            "value": round(r, 4), "lo": round(r, 4), "hi": round(r, 4), "goal": GOALS["r"], "holds": r >= GOALS["r"],
            "near_peak": round(r_near, 4),
            "reading": f"correlation of estimated and true RMSE, {len(settled)} iterates from step {SETTLED}: {r:.4f} "
            f"({r_near:.4f} within 3 dB of the peak): " + ("holds" if r >= GOALS["r"] else f"short of the goal of {GOALS['r']}"),
        },
        "stopping_calibration_bias_se": _at_most(
            (abs(z), abs(z), abs(z)), GOALS["bias"],
            f"bias of the estimated squared error ({100 * relative:+.2f} % of the true one, {len(bias)} measurements)", "standard errors"),
    }  # fmt: skip


def _at_most(numbers: tuple[float, float, float], goal: float, what: str, unit: str, **more) -> dict:
    """A claim that holds when its value is at most the goal."""
    value, low, high = (round(float(number), 4) + 0.0 for number in numbers)
    holds = value <= goal
    beside = f", {more['rival']} {more['rival_value']:.3g}" if "rival" in more else ""
    reading = f"{what}: {value:.3g} {unit} [{low:.3g}, {high:.3g}]{beside}: ".replace("  ", " ")
    return {"value": value, "lo": low, "hi": high, "goal": goal, "holds": holds, **more,
            "reading": reading + ("holds" if holds else f"more than the goal of {goal:g}")}  # fmt: skip
