"""The two questions of the project, answered in words that follow the claims."""

import pandas as pd

from dualprior.evaluation.comparisons import FULL_CHAIN, HYBRID, LONG_MEAN, strongest
from dualprior.evaluation.image_metrics import ORACLE, by_image

SHORT_CHAIN = "ddpm_best"
UNTRAINED = ("pinv", "bicubic", "biharmonic", "blurred")  # no learned prior, no fit


def answers(claims: dict[str, dict], study: dict[str, dict], rows: pd.DataFrame, groups: pd.DataFrame) -> str:
    """The two questions answered in words that follow the numbers.

    claims, rows, groups: of the wide study of the hybrid; study: claims of the study of stopping rules.
    """
    return f"**Question 1.** {_first_answer(claims, rows, groups)}\n\n**Question 2.** {_second_answer(study)}"


def _first_answer(claims: dict[str, dict], rows: pd.DataFrame, groups: pd.DataFrame) -> str:
    gains, longer, controls, starts = (
        _of(claims, f"{name}_", "") for name in ("hybrid_gain_db", "hybrid_vs_long_mean_db", "hybrid_vs_control_db", "dip_start_gain_db")
    )
    ahead, past, beyond, better = ([task for task, c in some.items() if c["lo"] > 0] for some in (gains, longer, controls, starts))
    reached = [task for task, c in gains.items() if c["holds"]]
    mean = rows.groupby(["task", "method"], sort=False)[["iterations", "seconds"]].mean()
    without = [task for task in gains if mean.at[(task, HYBRID), "iterations"] == 0]
    cost = [mean.at[(task, HYBRID), "seconds"] / mean.at[(task, LONG_MEAN), "seconds"] for task in longer]
    worse = [task for task, c in baselines.items() if c["hi"] < 0]
    mixed = [task for task in ahead if task not in without]
    simple = _best_untrained(rows)
    weak = claims["weak_prior_vs_control_db"]
    short, full = (_of(claims, f"hybrid_time_ratio_{rival}_", "") for rival in (SHORT_CHAIN, FULL_CHAIN))
    return (
        "The hybrid beats its strongest rival (DIP alone, or plain diffusion with at most 100 calls: one call, a chain, a mean of "
        f"chains), interval above 0, on {_tasks(mixed, gains)} with a DIP in its blend{_no_dip(ahead, without)}; it reaches the goal on "
        f"{_tasks(reached, gains)}. {simple}It "
        f"beats the mean of 400 calls of plain diffusion, at {min(cost):.1f} to {max(cost):.1f} times its seconds, on "
        f"{_tasks(past, longer)}, and the best control without any DIP on {_tasks(beyond, controls)}{_on_each(beyond, groups)}; "
        f"{'elsewhere ' if beyond else ''}what it gains is not shown to be DIP's. As a start of the reverse diffusion, a DIP is better "
        f"than the cheap start chosen on validation images, interval above 0, on {_tasks(better, starts)}, "
        f"and worse, interval below 0, on {_tasks(worse, starts)}. "
        f"With the weakest diffusion prior tried ('{weak['prior']}') the gain over the controls changes by "
        f"{weak['value']:+z.2f} dB [{weak['lo']:+z.2f}, {weak['hi']:+z.2f}]. Cheaper: "
        f"{sum(c['holds'] for c in short.values())} of {len(short)} goals for time are reached against the best short chain, "
        f"{sum(c['holds'] for c in full.values())} of {len(full)} against the chain of 1000 calls (which is worse than "
        f"the short one on {_tasks(_worse_when_longer(rows), full)})."
    )


def _worse_when_longer(rows: pd.DataFrame) -> list[str]:
    """Tasks on which the full chain has a lower mean PSNR than the best short one, on the measurements that both restored."""
    chains = rows[rows["method"].isin([SHORT_CHAIN, FULL_CHAIN])]
    both = chains.pivot_table(index=["task", "image", "seed"], columns="method", values="psnr", sort=False).dropna()
    means = both.groupby("task", sort=False).mean()
    return means.index[means[FULL_CHAIN] < means[SHORT_CHAIN]].tolist()


def _on_each(beyond: list[str], groups: pd.DataFrame) -> str:
    """Which of these tasks are won on each photograph taken alone."""
    won = groups[groups["what"].str.startswith("over control")].groupby("task", sort=False)["low"].min() > 0
    alone = [task for task in beyond if won.get(task, False)]
    return f" (on each photograph by itself: {', '.join(alone) if alone else 'none'})" if beyond else ""


def _no_dip(ahead: list[str], without: list[str]) -> str:
    """Where the hybrid is ahead, and where it is not, though there is no DIP in it."""
    won, other = ([task for task in without if (task in ahead) == sign] for sign in (True, False))
    said = [f"on {', '.join(won)} without any" if won else "", f"on {', '.join(other)} it holds none either" if other else ""]
    return f" ({'; '.join(filter(None, said))})" if won or other else ""


def _best_untrained(rows: pd.DataFrame) -> str:
    """Where a method without any learned prior has the highest mean of all."""
    found = []
    for task, mine in rows[rows["method"] != ORACLE].groupby("task", sort=False):
        psnr = by_image(mine, "psnr")
        best = strongest(psnr, tuple(psnr))
        found += [f"{best} on {task}"] if best in UNTRAINED else []
    return f"No method at all has a higher mean than plain {' and '.join(found)}. " if found else ""


def _second_answer(study: dict[str, dict]) -> str:
    mean, fail, price, dear = (
        study[f"stopping_{name}"] for name in ("gap_mean_db", "fail_share", "split_price_db", "split_price_same_cost_db")
    )
    tasks = {name: c for name, c in _of(study, "stopping_gap_", "_db").items() if name not in ("mean", "p95")}
    worst = max(tasks, key=lambda task: tasks[task]["value"])
    return (
        f"Denoising, over networks and noises, stopping without the clean image loses {mean['value']:z.2f} dB to the "
        f"oracle peak (the published rule ES-WMV {mean['rival_value']:.2f} dB), more than 1 dB in {100 * fail['value']:.1f} % of the "
        f"stops. What is kept, the mean of two fits, is {_versus(price['value'])} one fit to the whole measurement stopped by an oracle, "
        f"and {_versus(dear['value'])} the mean of two such fits (one network, two noises). On the other tasks "
        f"it loses {min(c['value'] for c in tasks.values()):z.2f} to {tasks[worst]['value']:z.2f} dB ({worst} loses most)."
    )


def _versus(price: float) -> str:
    return f"{abs(price):.2f} dB {'below' if price > 0 else 'above'}"


def _of(claims: dict[str, dict], head: str, tail: str) -> dict[str, dict]:
    """{task: claim} of the claims named head + task + tail."""
    return {name[len(head) : len(name) - len(tail)]: c for name, c in claims.items() if name.startswith(head) and name.endswith(tail)}


def _tasks(some: list[str], of: dict) -> str:
    return f"{len(some)} of {len(of)} tasks" + (f" ({', '.join(some)})" if some else "")
