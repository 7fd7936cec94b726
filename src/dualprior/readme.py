"""The parts of README.md that come from the run: no number in it is typed by hand."""

from pathlib import Path

from dualprior import dag, tables, usage
from dualprior.artifacts import read_json, read_text
from dualprior.paths import Paths


def render(root: Path, text: str) -> str:
    """README text with every generated part brought up to date. Raises UserError for a missing metric or marker."""
    paths = Paths(root)
    claims = read_json(paths.claims)
    parts = {
        "answers": answers(claims),
        "results": read_text(paths.results_table),
        "claims": tables.render_claims(claims),
        "dag": dag.mermaid(dag.read_stages(root)),
        "timing": usage.table(paths),
    }
    for name, part in parts.items():
        text = tables.inject(text, name, part)
    return text


def answers(claims: dict[str, dict]) -> str:
    """The two questions answered from the claims, in words that follow the numbers."""
    gains = _of(claims, "hybrid_gain_db_", "")
    controls = _of(claims, "hybrid_vs_control_db_", "")
    gaps = _of(claims, "stopping_gap_", "_db")
    ahead = [task for task, c in gains.items() if c["lo"] > 0]
    beyond = [task for task, c in controls.items() if c["lo"] > 0]
    reached = [task for task, c in gains.items() if c["holds"]]
    worst = max(gaps, key=lambda task: gaps[task]["value"])
    return (
        f"**Question 1.** The hybrid beats its strongest rival, interval above 0, on {_tasks(ahead, gains)}; it reaches the goal on "
        f"{_tasks(reached, gains)}. It beats the best control without any DIP on {_tasks(beyond, controls)}.\n\n"
        f"**Question 2.** Stopping without the clean image loses {min(c['value'] for c in gaps.values()):.2f} to "
        f"{gaps[worst]['value']:.2f} dB to the oracle peak ({worst} loses most)."
    )


def _of(claims: dict[str, dict], head: str, tail: str) -> dict[str, dict]:
    """{task: claim} of the claims named head + task + tail."""
    return {name[len(head) : len(name) - len(tail)]: c for name, c in claims.items() if name.startswith(head) and name.endswith(tail)}


def _tasks(some: list[str], of: dict) -> str:
    return f"{len(some)} of {len(of)} tasks" + (f" ({', '.join(some)})" if some else "")
