"""The two questions of the project, answered in words that follow the claims."""

import pandas as pd


def answers(claims: dict[str, dict], study: dict[str, dict], rows: pd.DataFrame) -> str:
    """The two questions answered in words that follow the numbers.

    claims, rows: of the wide study of the hybrid; study: claims of the study of stopping rules.
    """
    return f"**Question 1.** {_first_answer(claims, rows)}\n\n**Question 2.** {_second_answer(study)}"


def _first_answer(claims: dict[str, dict], rows: pd.DataFrame) -> str:
    gains = _of(claims, "hybrid_gain_db_", "")
    controls = _of(claims, "hybrid_vs_control_db_", "")
    times = _of(claims, "hybrid_time_ratio_", "")
    ahead = [task for task, c in gains.items() if c["lo"] > 0]
    beyond = [task for task, c in controls.items() if c["lo"] > 0]
    reached = [task for task, c in gains.items() if c["holds"]]
    starts = _of(claims, "dip_start_gain_db_", "")
    better = [task for task, c in starts.items() if c["lo"] > 0]
    steps = rows.groupby(["task", "method"], sort=False)["iterations"].mean()
    without = [task for task in gains if steps[task, "hybrid"] == 0]
    weak = claims["weak_prior_vs_control_db"]
    return (
        "The hybrid beats its strongest rival (DIP alone, or diffusion alone with at most 100 calls), interval above 0, on "
        f"{_tasks(ahead, gains)}; it reaches the goal on "
        f"{_tasks(reached, gains)}. It beats the best control without any DIP on {_tasks(beyond, controls)}; elsewhere what it gains "
        f"is not shown to be DIP's{_no_dip(without)}. As a start of the reverse diffusion, a DIP is better than the cheap start chosen on "
        f"validation images, interval above 0, on {_tasks(better, starts)}. With the weakest diffusion prior tried ({weak['prior']}) "
        f"the gain over the controls changes by {weak['value']:+.2f} dB [{weak['lo']:+.2f}, {weak['hi']:+.2f}]. Cheaper: "
        f"{sum(c['holds'] for c in times.values())} of {len(times)} goals for time are reached."
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
