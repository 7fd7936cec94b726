"""Findings: a dozen questions, each with a value a task and its interval. No goals, no verdicts, no sentences.

{question: {key: {value, lo, hi, n, unit}}}; key: a task or "all"; n counts test crops, the unit of every interval.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.stats import t

from dualprior.evaluation.image_metrics import CONFIDENCE, Interval, by_image

NEAR_DB = 0.1  # a start scale is near the best when it loses no more

Finding = dict[str, float | int | str]


@dataclass(frozen=True)
class Roles:
    """Which methods the questions ask about, handed in by who knows the catalogue."""

    families: Mapping[str, str]  # method -> family
    hybrid: str
    frozen: str  # the same blend of parts in which nothing is fitted to the image
    no_random_fit: str  # the same without the fits from random weights
    full_chain: str
    stopped: str
    dip_start: str  # a restart from the stopped DIP
    cheap_start: str  # the same from the operator's interpolation or one denoiser call
    oracle: str  # sees the clean image; never ranked

    def of(self, *families: str) -> list[str]:
        return [name for name, family in self.families.items() if family in families]


def findings(rows: pd.DataFrame, roles: Roles, interval: Interval) -> dict[str, dict[str, Finding]]:
    """rows: task, image, method, psnr, seconds and predicted_psnr of every restoration (and a seed, averaged)."""
    found: dict[str, dict[str, Finding]] = {}

    def add(question: str, task: str, values: np.ndarray, unit: str) -> None:
        found.setdefault(question, {})[task] = finding(values, unit, interval)

    for task, mine in rows.groupby("task", sort=False):
        psnr = by_image(mine)
        full = psnr.dropna(axis=1)
        hybrid = psnr[roles.hybrid]
        better = strongest(full, roles.of("diffusion", "dip"))
        add("gain_over_better_parent_db", task, hybrid - full[better], "dB")
        found["gain_over_better_parent_db"][task]["parent"] = better
        add("gain_over_frozen_db", task, hybrid - psnr[roles.frozen], "dB")
        add("gain_over_no_random_fit_db", task, hybrid - psnr[roles.no_random_fit], "dB")
        add("dip_start_gain_db", task, psnr[roles.dip_start] - psnr[roles.cheap_start], "dB")
        baseline = strongest(full, roles.of("baseline"))
        add("gain_over_baseline_db", task, hybrid - full[baseline], "dB")
        found["gain_over_baseline_db"][task]["baseline"] = baseline
        add("stopping_loss_db", task, psnr[roles.oracle] - psnr[roles.stopped], "dB")
        add("dip_against_best_diffusion_db", task, psnr[roles.stopped] - full[strongest(full, roles.of("diffusion"))], "dB")
        if roles.full_chain in psnr:
            both = psnr.loc[psnr[roles.full_chain].notna()]
            seconds = by_image(mine, "seconds").loc[both.index]
            ratio = seconds[roles.hybrid].mean() / seconds[roles.full_chain].mean()
            found.setdefault("seconds_ratio_ddpm_1000", {})[task] = single(ratio, len(both), "ratio")
            add("gain_over_ddpm_1000_db", task, both[roles.hybrid] - both[roles.full_chain], "dB")
        own = mine[mine["method"] == roles.stopped]
        if own["predicted_psnr"].nunique() > 1:  # predicted image by image
            error = (own["predicted_psnr"] - own["psnr"]).abs().groupby(own["image"], sort=False).mean()
            add("predicted_psnr_error_db", task, error, "dB")
    return found


def headline(rows: pd.DataFrame, roles: Roles, found: Mapping[str, Mapping[str, Finding]]) -> pd.DataFrame:
    """A row a task: mean PSNR of the best baseline, of each prior alone and of both blends; what the hybrid gains; seconds an image."""
    table = []
    for task, mine in rows.groupby("task", sort=False):
        psnr, seconds = by_image(mine).dropna(axis=1), by_image(mine, "seconds").mean()
        means = psnr.mean()
        best = {name: means[[m for m in roles.of(name) if m in means]].max() for name in ("baseline", "dip", "diffusion")}
        gain = found["gain_over_better_parent_db"][task]
        row = {"task": task, "classical": best["baseline"], "DIP": best["dip"], "diffusion": best["diffusion"]}
        row |= {"blend, nothing fitted": means[roles.frozen], "hybrid": means[roles.hybrid]}
        row |= {"hybrid − better prior, dB": f"{gain['value']:+.2f} [{gain['lo']:+.2f}, {gain['hi']:+.2f}]"}
        cost = [seconds[strongest(psnr, roles.of("diffusion"))], seconds[roles.hybrid]]
        table.append(row | {"seconds, diffusion / hybrid": " / ".join(f"{each:.1g}" for each in cost)})
    return pd.DataFrame(table).round(2)


def strongest(psnr: pd.DataFrame, methods: list[str]) -> str:
    """The one with the best mean among those of `methods` that the table image × method has.

    It is picked on the images that it is then compared on, which favours it.
    """
    return psnr[[method for method in methods if method in psnr]].mean().idxmax()


def start_rule_share(table: pd.DataFrame, interval: Interval) -> dict[str, Finding]:
    """The share of images for which a restart at the scale in use is within 0.1 dB of the best scale swept.

    table: rows of the ablation of the start scale, with task, image, value, used and psnr.
    """
    found, everything = {}, []
    for task, mine in table.groupby("task", sort=False):
        psnr = mine.pivot_table(index="image", columns="value", values="psnr")
        used = mine.loc[mine["used"], "value"].iat[0]
        near = (psnr[used] >= psnr.max(axis=1) - NEAR_DB).to_numpy(dtype=float)
        found[task] = finding(near, "share", interval)
        everything.append(near)
    return found | {"all": finding(np.concatenate(everything), "share", interval)}


def finding(values, unit: str, interval: Interval) -> Finding:
    """values: one a crop. lo and hi by bootstrap; t_lo and t_hi are Student's interval, both of 95 %."""
    values = np.asarray(values, dtype=float)
    value, low, high = (round(number, 4) + 0.0 for number in interval(values))  # + 0.0 turns -0.0 into 0.0
    half = float(t.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5) if len(values) > 1 else 0.0
    student = {"t_lo": round(value - half, 4), "t_hi": round(value + half, 4)}
    return {"value": value, "lo": low, "hi": high, **student, "n": len(values), "unit": unit}


def single(value: float, n: int, unit: str, lo: float | None = None, hi: float | None = None) -> Finding:
    """A number that is no mean; without an interval where it has none: seconds are one timing of a batch."""
    lo, hi = (value if bound is None else bound for bound in (lo, hi))
    return {"value": round(float(value), 4), "lo": round(float(lo), 4), "hi": round(float(hi), 4), "n": n, "unit": unit}
