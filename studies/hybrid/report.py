"""The study's tables and its own claims: weaker priors, weights of the blend, likeness against calls, contraction."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from studies.hybrid.params import FULL, Run
from studies.hybrid.realism import FROM_CHEAP, FROM_DIP, FROM_NOISE, FULL_CHAINS

from dualprior.evaluation.comparisons import CHEAP_START, CONTROLS, DIP_START, HYBRID, RIVALS, Interval, strongest
from dualprior.evaluation.image_metrics import by_image

MOST_CALLS = 10  # goal of hybrid_nfe_to_fid


def paired(psnr: pd.DataFrame, method: str, other: str) -> np.ndarray:
    """PSNR of one method minus another's, by image, in dB. psnr: image × method, from `metrics.by_image`."""
    both = psnr[[method, other]].dropna()
    return (both[method] - both[other]).to_numpy()


def _psnr_of(rows: pd.DataFrame, task: str, prior: str, images: int | None) -> pd.DataFrame:
    """Image × method of one run; images: of so many first measurements, which are those of the first seed."""
    mine = rows[(rows["task"] == task) & (rows["prior"] == prior)]
    return by_image(mine if images is None else mine[mine["seed"] == 0], "psnr")


def _weaker(runs: Mapping[str, Run]) -> list[Run]:
    return [run for run in runs.values() if run.prior != FULL]


def priors(rows: pd.DataFrame, runs: Mapping[str, Run], strength: Mapping[str, float], interval: Interval) -> pd.DataFrame:
    """What the hybrid gains with every prior, on the tasks and images that all priors were run on.

    strength: {prior: PSNR of its denoiser on validation crops}; the strongest first.
    """
    weaker, table = _weaker(runs), []
    for prior in sorted(strength, key=strength.__getitem__, reverse=True):
        for task in dict.fromkeys(run.task for run in weaker):
            psnr = _psnr_of(rows, task, prior, next(run.images for run in weaker if run.task == task))
            if psnr.empty:
                continue
            rival, control = strongest(psnr, RIVALS), strongest(psnr, CONTROLS)
            row = {"task": task, "prior": prior, "denoiser, dB": strength[prior], "rival": rival, "control": control}
            row |= {"hybrid, dB": psnr[HYBRID].mean(), "DIP alone, dB": psnr["dip_stopped"].mean()}
            for name, differences in {
                "gain": paired(psnr, HYBRID, rival),
                "over control": paired(psnr, HYBRID, control),
                "DIP start": paired(psnr, DIP_START, CHEAP_START),
            }.items():
                row |= dict(zip((name, f"{name} low", f"{name} high"), interval(differences), strict=True))
            table.append(row)
    return pd.DataFrame(table).round(3)


def weak_prior(rows: pd.DataFrame, runs: Mapping[str, Run], strength: Mapping[str, float], interval: Interval) -> dict[str, dict]:
    """Claims that the gain grows as the prior weakens: with the weakest prior minus with the full one, mean over tasks.

    weak_prior_gain_db: over the strongest rival; weak_prior_vs_control_db: over the best control without a DIP. Intervals
    are over images, each a mean over tasks.
    """
    weaker = _weaker(runs)
    if not weaker:
        return {}
    weakest = min({run.prior for run in weaker}, key=strength.__getitem__)
    claims = {}
    for name, others in (("weak_prior_gain_db", RIVALS), ("weak_prior_vs_control_db", CONTROLS)):
        growth = []
        for run in weaker:
            if run.prior == weakest:
                gains = {}
                for prior in (weakest, FULL):
                    psnr = _psnr_of(rows, run.task, prior, run.images)
                    gains[prior] = psnr[HYBRID] - psnr[strongest(psnr, others)]
                growth.append(gains[weakest] - gains[FULL])
        value, low, high = (round(number, 4) for number in interval(pd.concat(growth, axis=1).mean(axis=1).to_numpy()))
        holds = low > 0
        reading = f"the hybrid's gain over {'its rivals' if others == RIVALS else 'the controls'} with the prior '{weakest}' minus "
        reading += f"with the full one, mean of {len(growth)} tasks: {value:+.3g} dB [{low:+.3g}, {high:+.3g}]: "
        reading += "it grows" if holds else "it does not grow"
        numbers = {"value": value, "lo": low, "hi": high, "goal": 0.0, "holds": holds}
        claims[name] = {**numbers, "rival": FULL, "prior": weakest, "reading": reading}
    return claims


def by_photograph(rows: pd.DataFrame, crops: pd.DataFrame, interval: Interval) -> pd.DataFrame:
    """The hybrid's gains on each photograph. Rivals are those picked on all crops.

    rows: of the full prior; crops: the manifest's test rows of one seed.
    """
    photograph = crops.set_index("crop")["photograph"]
    table = []
    for task, mine in rows.groupby("task", sort=False):
        psnr = by_image(mine, "psnr")
        rivals = {"gain over": strongest(psnr, RIVALS), "over control": strongest(psnr, CONTROLS)}
        for group, images in photograph.groupby(photograph, sort=False):
            for name, rival in rivals.items():
                value, low, high = interval(paired(psnr.loc[images.index], HYBRID, rival))
                about = {"task": task, "photograph": group, "n": len(images), "what": f"{name} {rival}"}
                table.append(about | {"dB": value, "low": low, "high": high})
    return pd.DataFrame(table).round(3)


def weights(learned: Mapping[str, Mapping[str, float]], runs: Mapping[str, Run]) -> pd.DataFrame:
    """The blend of every run, part by part. learned: {run: {part: weight}}."""
    table = [
        {"task": runs[name].task, "prior": runs[name].prior, "part": part, "weight": weight}
        for name, parts in learned.items()
        for part, weight in sorted(parts.items(), key=lambda item: -item[1])
    ]
    return pd.DataFrame(table)


def calls_to_likeness(likeness: pd.DataFrame, within: float) -> dict[str, dict]:
    """hybrid_nfe_to_fid_<task>: fewest calls of a restart from the DIP whose distance is within `within` of the full chain's.

    Of the two full chains the nearer one is to be reached. The chain from pure noise and the restart from a cheap start are
    given the same budgets; the fewer of their numbers stands beside as `rival_value`, and the claim fails unless the restart
    from the DIP needs fewer. Without any such budget the value is the largest one and the claim fails. The starts themselves,
    no call made, are shown in the table and do not count.
    """
    claims = {}
    for task, group in likeness.groupby("task", sort=False):
        full = nearest_chain(group)
        limit = (1 + within) * float(full["frechet"])
        tried = budgets(group)
        found = {name: min(rows.loc[rows["frechet"] <= limit, "calls"], default=None) for name, rows in tried.groupby("method")}
        mine, most = found[FROM_DIP], int(tried["calls"].max())
        theirs = min((found[name] for name in (FROM_NOISE, FROM_CHEAP) if found[name] is not None), default=None)
        value = most if mine is None else int(mine)
        few, fewer = mine is not None and value <= MOST_CALLS, theirs is None or (mine is not None and mine < theirs)
        holds = few and fewer
        seconds = tried[tried["method"] == FROM_DIP].set_index("calls")["seconds"]
        words = {name: f"more than {most}" if calls is None else int(calls) for name, calls in found.items()}
        reading = f"a restart from the DIP needs {words[FROM_DIP]} calls ({seconds[value]:.2g} s with its fit) for the Fréchet distance "
        reading += f"of the {full['method']} (patch-features, not FID; that chain has {full['psnr']:.1f} dB), a restart from a cheap start "
        reading += f"{words[FROM_CHEAP]}, a chain from noise {words[FROM_NOISE]}: "
        failed = [*([] if few else [f"more than the goal of {MOST_CALLS}"]), *([] if fewer else ["no fewer than without a DIP"])]
        reading += "holds" if holds else " and ".join(failed)
        claims[f"hybrid_nfe_to_fid_{task}"] = {
            "value": value, "lo": value, "hi": value, "goal": MOST_CALLS, "holds": holds, "rival": full["method"],
            "rival_value": None if theirs is None else int(theirs), "reading": reading,
        }  # fmt: skip
    return claims


def budgets(group: pd.DataFrame) -> pd.DataFrame:
    """The rows that made calls and are no full chain. group: rows of one task."""
    return group[~group["method"].isin(FULL_CHAINS) & (group["calls"] > 0)]


def nearest_chain(group: pd.DataFrame) -> pd.Series:
    """The row of the full chain whose samples are nearest to the clean images. group: rows of one task."""
    full = group[group["method"].isin(FULL_CHAINS)]
    return full.loc[full["frechet"].idxmin()]


def contraction(rows: pd.DataFrame, interval: Interval) -> pd.DataFrame:
    """Mean share of a change that a restart passes on, by task, kind of change and level, with its interval over images."""
    table = []
    for (task, change, level), group in rows.groupby(["task", "change", "level"], sort=False):
        share, low, high = interval(group["ratio"].to_numpy())
        table.append({"task": task, "change": change, "level": level, "passed on": share, "low": low, "high": high})
    return pd.DataFrame(table).round(4)
