"""The claims of the experiment, judged from per-image rows: a value, its interval, the goal, and whether it holds.

A claim that fails says so: `holds` is false and `reading` tells why. "Hybrid" is judged against the strongest of its
named rivals, the one with the best mean on the same test images. The controls do what the hybrids do, restart, average as
many chains, guide, blend, tune_gains the denoiser to the image, but without a DIP: the strongest is judged in a separate claim. As that one
is picked by the same images, which favours it, the hybrid is also held against its twin, named before: the same blend and
restart learned without a DIP.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd

from dualprior.evaluation.image_metrics import ORACLE, by_image

HYBRID, STOPPED = "hybrid", "dip_stopped"
RIVALS = (STOPPED, "dip_last", "ddpm_best", "ddpm_mean", "one_step")
CONTROLS = (
    "bicubic", "biharmonic", "ddpm_mean_long", "restart_cheap", "restart_cheap_mean", "guided_cheap_mean", "fused_cheap", "blend_cheap",
    "restart_blend_cheap", "finished_cheap", "adapted", "restart_adapted", "blend_adapted", "restart_blend_adapted",
    "finished_adapted",
)  # fmt: skip

FULL_CHAIN, CHAINS = "ddpm_1000", "ddpm_mean"
LONG_MEAN = "ddpm_mean_long"  # of the controls, the one with most network calls and nothing but plain chains
TWINS = ("finished_adapted", "finished_cheap")  # the first that ran

# Goals of the project as (denoising tasks, all others). That 0.3 dB is in both is meant: less is to be gained in
# denoising, where one network call is near-optimal; more may be lost by stopping elsewhere, where the error is
# estimated on few held-out pixels or not at all.
GAIN_DB = (0.3, 0.5)
STOPPING_GAP_DB = (0.15, 0.3)
GAIN_SSIM = 0.02
START_RULE_SHARE = 0.95
TIME_RATIO = {"ddpm_1000": 0.1, "ddpm_best": 0.5}
DIP_START, CHEAP_START = "restart_dip", "restart_cheap"
TIMED = ("restart_dip_short", "restart_coupled", "restart_dip", "hybrid")  # the first to reach a rival's quality is timed

Interval = Callable[[np.ndarray], tuple[float, float, float]]  # values [n] -> (mean, low, high)


def judge(rows: pd.DataFrame, denoising: dict[str, bool], interval: Interval) -> dict[str, dict]:
    """{claim: {value, lo, hi, goal, holds, reading, ...}} for every task in `denoising` (task: is A the identity?).

    rows: columns of `metrics.ROW_COLUMNS`. A claim about a method that did not run is left out.
    """
    claims = {}
    for task, is_denoising in denoising.items():
        claims.update(_task_claims(rows[rows["task"] == task], task, 0 if is_denoising else 1, interval))
    return claims


def _task_claims(rows: pd.DataFrame, task: str, goal: int, interval: Interval) -> dict[str, dict]:
    psnr, ssim = (by_image(rows, column) for column in ("psnr", "ssim"))
    seconds = by_image(_at_one_rate(rows), "seconds")
    claims = {}
    if HYBRID in psnr and any(rival in psnr for rival in RIVALS):
        claims[f"hybrid_gain_db_{task}"] = _gain(psnr, strongest(psnr, RIVALS), GAIN_DB[goal], "dB", interval)
        claims[f"hybrid_gain_ssim_{task}"] = _gain(ssim, strongest(ssim, RIVALS), GAIN_SSIM, "SSIM", interval)
    if HYBRID in psnr and any(control in psnr for control in CONTROLS):
        claims[f"hybrid_vs_control_db_{task}"] = _gain(psnr, strongest(psnr, CONTROLS), 0.0, "dB", interval)
    if {HYBRID, LONG_MEAN} <= set(psnr):
        claims[f"hybrid_vs_long_mean_db_{task}"] = _gain(psnr, LONG_MEAN, 0.0, "dB", interval)
    for twin in [name for name in TWINS if {HYBRID, name} <= set(psnr)][:1]:
        claims[f"hybrid_vs_twin_db_{task}"] = _gain(psnr, twin, 0.0, "dB", interval)
    if {DIP_START, CHEAP_START} <= set(psnr):
        claims[f"dip_start_gain_db_{task}"] = _gain(psnr, CHEAP_START, 0.0, "dB", interval, DIP_START)
    if {ORACLE, STOPPED} <= set(psnr):
        claims[f"stopping_gap_{task}_db"] = _stopping_gap(psnr, STOPPING_GAP_DB[goal], interval)
    for rival, ratio in TIME_RATIO.items():
        if {HYBRID, rival} <= set(psnr):
            claims[f"hybrid_time_ratio_{rival}_{task}"] = _time_ratio(seconds, psnr, rival, ratio, _no_dip(rows))
    return claims


def _at_one_rate(rows: pd.DataFrame) -> pd.DataFrame:
    """Chunks of one task, the full chain at the seconds that its calls take in a whole batch.

    It runs on a few images only, where a call of one image takes longer; `CHAINS` has nothing but plain calls on all images.
    """
    means = rows.groupby("method")[["seconds", "nfe"]].mean()
    if not {FULL_CHAIN, CHAINS} <= set(means.index):
        return rows
    rate = means.at[CHAINS, "seconds"] / means.at[CHAINS, "nfe"]
    return rows.assign(seconds=rows["seconds"].where(rows["method"] != FULL_CHAIN, rows["nfe"] * rate))


def _no_dip(rows: pd.DataFrame) -> set[str]:
    """Methods of one task that run no DIP step."""
    steps = rows.groupby("method")["iterations"].max()
    return set(steps.index[steps == 0])


def start_rule(table: pd.DataFrame, scale: float, denoising: dict[str, bool]) -> dict[str, dict]:
    """{"start_rule_share": claim}: the share of images whose start is within 0.1 dB of the best multiple of ê swept.

    In denoising (task: is A the identity?) ê is predicted for every image, elsewhere it is one number from validation images.

    table: metrics/ablation_start_scale.csv; scale: the kappa of the rule. The share is a mean over tasks, whose lowest
    and highest stand as lo and hi, which is a range and no interval. Nothing where the rule's own scale was not swept.
    """
    swept = table[np.isclose(table["value"], scale) & (table["split"] == "test")]
    shares, predicted = swept["near_best"], swept.loc[swept["task"].map(denoising).astype(bool), "near_best"]
    if shares.empty:
        return {}
    value, low, high = _rounded((shares.mean(), shares.min(), shares.max()))
    holds = value >= START_RULE_SHARE
    reading = (
        f"a restart of the stopped DIP at {scale:g} times its inflated error is within 0.1 dB of the best multiple swept for {value:.0%} "
        f"of the images ({low:.0%} to {high:.0%} of a task"
        + (f"; {predicted.mean():.0%} in denoising, where the error is predicted image by image): " if len(predicted) else "): ")
    )
    reading += "holds" if holds else f"short of the goal of {START_RULE_SHARE:.0%}"
    numbers = {"value": value, "lo": low, "hi": high, "goal": START_RULE_SHARE, "holds": holds}
    return {"start_rule_share": {**numbers, "range": "tasks", "reading": reading}}


def strongest(table: pd.DataFrame, rivals: tuple[str, ...]) -> str:
    """The one of `rivals` that ran on all images and has the best mean. table: image × method, from `metrics.by_image`."""
    return table[[rival for rival in rivals if rival in table and table[rival].notna().all()]].mean().idxmax()


def _rounded(numbers: tuple[float, float, float]) -> tuple[float, float, float]:
    return tuple(round(number, 4) + 0.0 for number in numbers)  # + 0.0 turns -0.0 into 0.0


def _gain(table: pd.DataFrame, rival: str, goal: float, unit: str, interval: Interval, method: str = HYBRID) -> dict:
    """Method minus rival on the images both have; holds when the mean reaches the goal and the interval lies above 0."""
    pairs = table[[method, rival]].dropna()
    value, low, high = _rounded(interval((pairs[method] - pairs[rival]).to_numpy()))
    short = [] if value >= goal else [f"short of the goal of {goal:g} {unit}"]
    unsure = [] if low > 0 else ["the interval lies below 0" if high < 0 else "the interval reaches 0"]
    reading = f"{method} minus {rival}: {value:+.3g} {unit} [{low:+.3g}, {high:+.3g}], {len(pairs)} images: "
    return {
        "value": value,
        "lo": low,
        "hi": high,
        "goal": goal,
        "holds": not short + unsure,
        "rival": rival,
        "reading": reading + (" and ".join(short + unsure) or "holds"),
    }


def _stopping_gap(psnr: pd.DataFrame, goal: float, interval: Interval) -> dict:
    """Mean of oracle minus stopped, in dB; holds when it is at most the goal."""
    pairs = psnr[[ORACLE, STOPPED]].dropna()
    value, low, high = _rounded(interval((pairs[ORACLE] - pairs[STOPPED]).to_numpy()))
    holds = value <= goal
    reading = f"stopping without the clean image loses {value:.3g} dB [{low:.3g}, {high:.3g}] to the oracle peak: "
    reading += "holds" if holds else f"more than the goal of {goal:g} dB"
    return {"value": value, "lo": low, "hi": high, "goal": goal, "holds": holds, "reading": reading}


def _time_ratio(seconds: pd.DataFrame, psnr: pd.DataFrame, rival: str, goal: float, no_dip: set[str]) -> dict:
    """Seconds of the quickest of `TIMED` that is no worse than the rival in mean PSNR, over the rival's seconds.

    Where none is as good, the hybrid is timed and the claim fails. The quickest that does as well without any DIP
    (no_dip: such methods) is named beside it. The seconds of a method are one timing of the whole
    batch, shared out: they do not vary over images, so no interval can be had from them and `lo` and `hi` equal the value.
    """
    everywhere = psnr.loc[psnr[rival].notna()].dropna(axis=1)  # what ran on all of the rival's images
    times, quality = seconds.loc[everywhere.index].mean(), everywhere.mean()
    as_good = [method for method in everywhere if method != rival and quality[method] >= quality[rival]]
    good = [method for method in TIMED if method in as_good]
    method = min(good, key=lambda name: times[name], default=HYBRID)
    plain = min((name for name in as_good if name in no_dip), key=lambda name: times[name], default=None)
    both = everywhere[[method, rival]]
    value = round(float(times[method] / times[rival]), 4)
    margin = round(float((both[method] - both[rival]).mean()), 4)
    slow = [] if value <= goal else [f"more than the goal of {goal:g}"]
    worse = [] if good else ["no hybrid is as good"]
    reading = f"{method} takes {value:.3g} of the seconds of {rival} (single timing, no interval) "
    reading += f"at {margin:+.3g} dB, {len(both)} images"
    reading += f"; without any DIP {plain} is as good in {times[plain] / times[rival]:.2g} of them: " if plain else ": "
    return {
        "value": value,
        "lo": value,
        "hi": value,
        "goal": goal,
        "holds": not slow + worse,
        "rival": rival,
        "method": method,
        "psnr_margin": margin,
        "reading": reading + (" and ".join(slow + worse) or "holds"),
    }
