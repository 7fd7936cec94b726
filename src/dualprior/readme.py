"""The parts of README.md that come from the run: no number in it is typed by hand."""

from pathlib import Path

import pandas as pd

from dualprior import dag, tables, usage
from dualprior.artifacts import read_json, read_table, read_text
from dualprior.paths import Paths

DIP_START, CHEAP_START = "restart_dip", "restart_cheap"


def render(root: Path, text: str) -> str:
    """README text with every generated part brought up to date. Raises UserError for a missing metric or marker."""
    paths = Paths(root)
    claims, study = read_json(paths.claims), read_json(paths.stopping_claims)
    parts = {
        "answers": answers(claims, study, read_table(paths.per_image)),
        "results": read_text(paths.results_table),
        "claims": tables.render_claims(claims),
        "stopping": tables.render_claims(study),
        "dag": dag.mermaid(dag.read_stages(root)),
        "timing": usage.table(paths),
    }
    for name, part in parts.items():
        text = tables.inject(text, name, part)
    return text


def answers(claims: dict[str, dict], study: dict[str, dict], rows: pd.DataFrame) -> str:
    """The two questions answered in words that follow the numbers.

    claims, study: of the default experiment and of the study of stopping rules; rows: per_image.csv.
    """
    return f"**Question 1.** {_first_answer(claims, rows)}\n\n**Question 2.** {_second_answer(study)}"


def _first_answer(claims: dict[str, dict], rows: pd.DataFrame) -> str:
    gains = _of(claims, "hybrid_gain_db_", "")
    controls = _of(claims, "hybrid_vs_control_db_", "")
    times = _of(claims, "hybrid_time_ratio_", "")
    ahead = [task for task, c in gains.items() if c["lo"] > 0]
    beyond = [task for task, c in controls.items() if c["lo"] > 0]
    reached = [task for task, c in gains.items() if c["holds"]]
    means = rows.groupby(["task", "method"], sort=False)[["psnr", "iterations"]].mean()
    psnr, steps = means["psnr"].unstack(), means["iterations"].unstack()
    better = [task for task in gains if psnr.loc[task, DIP_START] > psnr.loc[task, CHEAP_START]]
    without = [task for task in gains if steps.loc[task, "hybrid"] == 0]
    return (
        f"The hybrid beats its strongest rival, interval above 0, on {_tasks(ahead, gains)}; it reaches the goal on "
        f"{_tasks(reached, gains)}. It beats the best control without any DIP on {_tasks(beyond, controls)}; elsewhere what it gains "
        f"is not DIP's{_no_dip(without)}. As a start of the reverse diffusion, a DIP is better on average than the best cheap start on "
        f"{_tasks(better, gains)}. Cheaper: {sum(c['holds'] for c in times.values())} of {len(times)} goals for time are reached."
    )


def _no_dip(tasks: list[str]) -> str:
    return f" (on {', '.join(tasks)} the blend holds no DIP at all)" if tasks else ""


def _second_answer(study: dict[str, dict]) -> str:
    mean, fail, price, dear = (
        study[f"stopping_{name}"] for name in ("gap_mean_db", "fail_share", "split_price_db", "split_price_same_cost_db")
    )
    tasks = {name: c for name, c in _of(study, "stopping_gap_", "_db").items() if name not in ("mean", "p95")}
    worst = max(tasks, key=lambda task: tasks[task]["value"])
    return (
        f"Denoising, over networks and noises, stopping without the clean image loses {mean['value']:.2f} dB to the "
        f"oracle peak (the published rule ES-WMV {mean['rival_value']:.2f} dB), more than 1 dB in {100 * fail['value']:.1f} % of the "
        f"stops. What is kept, the mean of two fits, is {_versus(price['value'])} one fit to the whole measurement stopped by an oracle, "
        f"and {_versus(dear['value'])} the mean of two such fits (one network, two noises). On the other tasks "
        f"it loses {min(c['value'] for c in tasks.values()):.2f} to {tasks[worst]['value']:.2f} dB ({worst} loses most)."
    )


def _versus(price: float) -> str:
    return f"{abs(price):.2f} dB {'below' if price > 0 else 'above'}"


def _of(claims: dict[str, dict], head: str, tail: str) -> dict[str, dict]:
    """{task: claim} of the claims named head + task + tail."""
    return {name[len(head) : len(name) - len(tail)]: c for name, c in claims.items() if name.startswith(head) and name.endswith(tail)}


def _tasks(some: list[str], of: dict) -> str:
    return f"{len(some)} of {len(of)} tasks" + (f" ({', '.join(some)})" if some else "")
