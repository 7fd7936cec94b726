"""The claims of the experiment, judged from per-image rows: a value, its interval, the goal, and whether it holds.

A claim that fails says so: `holds` is false and `reading` tells why. "Hybrid" is judged against the strongest of its
named rivals, the one with the best mean on the same test images. The controls do what the hybrids do, restart, average,
guide, blend, adapt the denoiser to the image, but without a DIP: the strongest is judged in a separate claim.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd

from dualprior.metrics import ORACLE, by_image

HYBRID, STOPPED = "hybrid", "dip_stopped"
RIVALS = (STOPPED, "ddpm_best", "ddpm_mean", "one_step")
CONTROLS = (
    "restart_cheap", "restart_cheap_mean", "guided_cheap_mean", "fused_cheap", "blend_cheap", "restart_blend_cheap",
    "adapted", "restart_adapted", "blend_adapted", "restart_blend_adapted",
)  # fmt: skip

# Goals of the project as (denoising tasks, all others). That 0.3 dB is in both is meant: less is to be gained in
# denoising, where one network call is near-optimal; more may be lost by stopping elsewhere, where the error is
# estimated on few held-out pixels or not at all.
GAIN_DB = (0.3, 0.5)
STOPPING_GAP_DB = (0.15, 0.3)
GAIN_SSIM = 0.02
START_RULE_SHARE = 0.95
TIME_RATIO = {"ddpm_1000": 0.1, "ddpm_best": 0.5}

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
    psnr, ssim, seconds = (by_image(rows, column) for column in ("psnr", "ssim", "seconds"))
    claims = {}
    if HYBRID in psnr and any(rival in psnr for rival in RIVALS):
        claims[f"hybrid_gain_db_{task}"] = _gain(psnr, strongest(psnr, RIVALS), GAIN_DB[goal], "dB", interval)
        claims[f"hybrid_gain_ssim_{task}"] = _gain(ssim, strongest(ssim, RIVALS), GAIN_SSIM, "SSIM", interval)
    if HYBRID in psnr and any(control in psnr for control in CONTROLS):
        claims[f"hybrid_vs_control_db_{task}"] = _gain(psnr, strongest(psnr, CONTROLS), 0.0, "dB", interval)
    if {ORACLE, STOPPED} <= set(psnr):
        claims[f"stopping_gap_{task}_db"] = _stopping_gap(psnr, STOPPING_GAP_DB[goal], interval)
    for rival, ratio in TIME_RATIO.items():
        if {HYBRID, rival} <= set(psnr):
            claims[f"hybrid_time_ratio_{rival}_{task}"] = _time_ratio(seconds, psnr, rival, ratio)
    return claims


def start_rule(table: pd.DataFrame, scale: float) -> dict[str, dict]:
    """{"start_rule_share": claim}: the share of images whose predicted start is within 0.1 dB of the best one swept.

    table: metrics/ablation_start_scale.csv; scale: the kappa of the rule. The share is a mean over tasks, whose lowest
    and highest stand as lo and hi. Nothing where the rule's own scale was not swept.
    """
    shares = table.loc[np.isclose(table["value"], scale), "near_best"]
    if shares.empty:
        return {}
    value, low, high = _rounded((shares.mean(), shares.min(), shares.max()))
    holds = value >= START_RULE_SHARE
    reading = (
        f"the predicted start is within 0.1 dB of the best one swept for {value:.0%} of the images [{low:.0%}, {high:.0%} of a task]: "
    )
    reading += "holds" if holds else f"short of the goal of {START_RULE_SHARE:.0%}"
    return {"start_rule_share": {"value": value, "lo": low, "hi": high, "goal": START_RULE_SHARE, "holds": holds, "reading": reading}}


def strongest(table: pd.DataFrame, rivals: tuple[str, ...]) -> str:
    """The one of `rivals` that ran and has the best mean. table: image × method, from `metrics.by_image`."""
    return table[[rival for rival in rivals if rival in table]].mean().idxmax()


def _rounded(numbers: tuple[float, float, float]) -> tuple[float, float, float]:
    return tuple(round(number, 4) + 0.0 for number in numbers)  # + 0.0 turns -0.0 into 0.0


def _gain(table: pd.DataFrame, rival: str, goal: float, unit: str, interval: Interval) -> dict:
    """Hybrid minus rival on the images both have; holds when the mean reaches the goal and the interval lies above 0."""
    pairs = table[[HYBRID, rival]].dropna()
    value, low, high = _rounded(interval((pairs[HYBRID] - pairs[rival]).to_numpy()))
    short = [] if value >= goal else [f"short of the goal of {goal:g} {unit}"]
    unsure = [] if low > 0 else ["the interval reaches 0"]
    reading = f"hybrid minus {rival}: {value:+.3g} {unit} [{low:+.3g}, {high:+.3g}], {len(pairs)} images: "
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


def _time_ratio(seconds: pd.DataFrame, psnr: pd.DataFrame, rival: str, goal: float) -> dict:
    """Seconds of the hybrid over those of the rival; holds at most at the goal, and only without loss of PSNR.

    The seconds of a method are one timing of the whole batch, shared out: they do not vary over images, so no
    interval can be had from them and `lo` and `hi` equal the value.
    """
    both = psnr[[HYBRID, rival]].dropna()
    times = seconds.loc[both.index]
    value = round(float(times[HYBRID].mean() / times[rival].mean()), 4)
    margin = round(float((both[HYBRID] - both[rival]).mean()), 4)
    slow = [] if value <= goal else [f"more than the goal of {goal:g}"]
    worse = [] if margin >= 0 else ["the hybrid is worse"]
    reading = f"hybrid takes {value:.3g} of the seconds of {rival} (single timing, no interval) "
    reading += f"at {margin:+.3g} dB, {len(both)} images: "
    return {
        "value": value,
        "lo": value,
        "hi": value,
        "goal": goal,
        "holds": not slow + worse,
        "rival": rival,
        "psnr_margin": margin,
        "reading": reading + (" and ".join(slow + worse) or "holds"),
    }
