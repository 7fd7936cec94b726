"""The parts of README.md that come from the run: no number in it is typed by hand."""

from pathlib import Path

from dualprior import dag
from dualprior.answers import answers
from dualprior.common import run_statistics as usage
from dualprior.common.io import read_json, read_table, read_text
from dualprior.common.paths import Paths
from dualprior.evaluation import tables


def render(root: Path, text: str) -> str:
    """README text with every generated part brought up to date. Raises UserError for a missing metric or marker."""
    paths, hybrid, stopping = (Paths(root, pipeline=pipeline) for pipeline in (".", "studies/hybrid", "studies/stopping"))
    wide, rules = read_json(hybrid.claims), read_json(stopping.claims)
    parts = {
        "answers": answers(wide, rules, read_table(hybrid.per_image).query("prior == 'full'"), read_table(hybrid.study_table("groups"))),
        "results": read_text(paths.results_table),
        "claims": tables.render_claims(read_json(paths.claims)),
        "hybrid": tables.render_claims(wide),
        "stopping": tables.render_claims(rules),
        "dag": dag.mermaid(dag.read_stages(root)),
        "timing": usage.table(paths),
    }
    for name, part in parts.items():
        text = tables.inject(text, name, part)
    return text
