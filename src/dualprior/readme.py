"""The parts of README.md that come from the run: no number in it is typed by hand."""

from pathlib import Path

from dualprior import dag, tables, usage
from dualprior.artifacts import read_json, read_text
from dualprior.paths import Paths


def render(root: Path, text: str) -> str:
    """README text with every generated part brought up to date. Raises UserError for a missing metric or marker."""
    paths = Paths(root)
    claims, study = read_json(paths.claims), read_json(paths.stopping_claims)
    parts = {
        "answers": answers(claims, study),
        "results": read_text(paths.results_table),
        "claims": tables.render_claims(claims),
        "stopping": tables.render_claims(study),
        "dag": dag.mermaid(dag.read_stages(root)),
        "timing": usage.table(paths),
    }
    for name, part in parts.items():
        text = tables.inject(text, name, part)
    return text


def answers(claims: dict[str, dict], study: dict[str, dict]) -> str:
    """The two questions answered from the claims, in words that follow the numbers; the second from the study of stopping."""
    gains = _of(claims, "hybrid_gain_db_", "")
    controls = _of(claims, "hybrid_vs_control_db_", "")
    ahead = [task for task, c in gains.items() if c["lo"] > 0]
    beyond = [task for task, c in controls.items() if c["lo"] > 0]
    reached = [task for task, c in gains.items() if c["holds"]]
    mean, fail, price = (study[f"stopping_{name}"] for name in ("gap_mean_db", "fail_share", "split_price_db"))
    tasks = {name: c for name, c in _of(study, "stopping_gap_", "_db").items() if name not in ("mean", "p95")}
    worst = max(tasks, key=lambda task: tasks[task]["value"])
    return (
        f"**Question 1.** The hybrid beats its strongest rival, interval above 0, on {_tasks(ahead, gains)}; it reaches the goal on "
        f"{_tasks(reached, gains)}. It beats the best control without any DIP on {_tasks(beyond, controls)}.\n\n"
        f"**Question 2.** Denoising, over networks and noises, stopping without the clean image loses {mean['value']:.2f} dB to the "
        f"oracle peak (the published rule ES-WMV {mean['rival_value']:.2f} dB), more than 1 dB in {100 * fail['value']:.1f} % of the "
        f"stops, and what is kept is {_versus(price['value'])} one fit to the whole measurement stopped by an oracle. On the other tasks "
        f"it loses {min(c['value'] for c in tasks.values()):.2f} to {tasks[worst]['value']:.2f} dB ({worst} loses most)."
    )


def _versus(price: float) -> str:
    return f"{abs(price):.2f} dB {'below' if price > 0 else 'above'}"


def _of(claims: dict[str, dict], head: str, tail: str) -> dict[str, dict]:
    """{task: claim} of the claims named head + task + tail."""
    return {name[len(head) : len(name) - len(tail)]: c for name, c in claims.items() if name.startswith(head) and name.endswith(tail)}


def _tasks(some: list[str], of: dict) -> str:
    return f"{len(some)} of {len(of)} tasks" + (f" ({', '.join(some)})" if some else "")
