"""README.md and report/report.md from their hand-written templates: sentences by a person, numbers from the metrics.

A sentence that depends on a number guards itself: `{{ above(x, 0) }}` prints nothing where x is above 0, and elsewhere rendering
fails with the line of the template, so that a new run cannot leave a false sentence behind.
"""

import json
import math
import subprocess
import sys
from pathlib import Path

import jinja2
import pandas as pd

from dualprior.common.errors import UserError
from dualprior.common.io import read_json, read_table, read_text
from dualprior.evaluation.tables import markdown

TEMPLATES = {"README.md": "report/README.md.jinja", "report/report.md": "report/report.md.jinja"}  # beside those of the studies


class FalseSentence(Exception):
    """A sentence that the numbers contradict."""


def render(root: Path) -> dict[Path, str]:
    """{file: its text}. Raises UserError for a missing metric and for a sentence that a number contradicts."""
    own = [file.relative_to(root).as_posix() for file in sorted((root / "studies").glob("*/README.md.jinja"))]
    templates = TEMPLATES | {template.removesuffix(".jinja"): template for template in own}
    return {root / page: _page(root, template) for page, template in templates.items()}


def _page(root: Path, template: str) -> str:
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters |= {"db": db, "interval": with_interval, "percent": percent}
    try:
        page = environment.from_string(read_text(root / template))
        return page.render(**_names(root))
    except (jinja2.TemplateError, FalseSentence) as error:
        raise UserError(f"{template}, line {_line(error)}: {error}; rewrite the sentence or mend the run") from None


def _line(error: Exception) -> int:
    """The line of the template that raised."""
    trace, line = error.__traceback__, getattr(error, "lineno", 0)
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<template>":
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def _names(root: Path) -> dict:
    studies = {file.parent.parent.name: read_json(file) for file in sorted((root / "studies").glob("*/metrics/findings.json"))}
    return {
        "found": read_json(root / "metrics/findings.json"),
        "studies": studies,
        "training": read_json(root / "metrics/train.json"),
        "wide_training": read_json(root / "studies/hybrid/metrics/train.json"),
        "json": lambda name: read_json(root / name),
        "text": lambda name: read_text(root / name).strip(),
        "table": lambda name, decimals=2: markdown(read_table(root / name), decimals).strip(),
        "by_task": by_task,
        "by_prior": by_prior,
        "span": span,
        "run": run_statistics(read_json(root / "metrics/run_statistics.json")),
        "graph": lambda: graph(root),
        "above": above,
        "below": below,
    }


# --- guards and words ------------------------------------------------------------------------------------------


def above(value: float, bound: float) -> str:
    """Nothing, where value > bound."""
    if not value > bound:
        raise FalseSentence(f"the sentence needs a value above {bound:g} and the metrics say {value:g}")
    return ""


def below(value: float, bound: float) -> str:
    """Nothing, where value < bound."""
    if not value < bound:
        raise FalseSentence(f"the sentence needs a value below {bound:g} and the metrics say {value:g}")
    return ""


def db(value: float) -> str:
    """Decibels with their sign, to hundredths."""
    return f"{value:+.2f}".replace("-0.00", "0.00").replace("+0.00", "0.00")


def with_interval(finding: dict) -> str:
    """A value in decibels and its interval."""
    return f"{db(finding['value'])} [{db(finding['lo'])}, {db(finding['hi'])}]"


def percent(value: float) -> str:
    return f"{100 * value:.0f} %"


def span(answers: dict, name: str) -> str:
    """The least and the greatest of one variant's answers, whose keys are task_variant."""
    values = [answer["value"] for key, answer in answers.items() if key.partition("_")[2] == name]
    return f"{min(values):.2f} to {max(values):.2f}"


def by_task(found: dict, columns: dict[str, str]) -> str:
    """A Markdown table: a row a task, a column a question of `found`, named by what `columns` says."""
    tasks = [key for key in found[next(iter(columns))] if "/" not in key]
    cells = {name: [found[question].get(task) for task in tasks] for question, name in columns.items()}
    cells = {name: [None if cell is None else with_interval(cell) for cell in column] for name, column in cells.items()}
    return markdown(pd.DataFrame({"task": tasks, **cells})).strip()


def by_prior(found: dict, question: str) -> str:
    """A Markdown table: a row a task, a column a diffusion model, the full one last."""
    keys = found[question]
    tasks, priors = [key for key in keys if "/" not in key], dict.fromkeys(key.partition("/")[0] for key in keys if "/" in key)
    columns = {prior: [with_interval(keys[f"{prior}/{task}"]) for task in tasks] for prior in priors}
    return markdown(pd.DataFrame({"task": tasks, **columns, "full": [with_interval(keys[task]) for task in tasks]})).strip()


def run_statistics(stages: dict[str, dict]) -> dict:
    """Seconds of the run and of each kind of stage, the largest memory, the machine; sums by fsum, equal on every Python."""
    seconds: dict[str, list[float]] = {}
    for name, numbers in stages.items():
        seconds.setdefault(name.partition("@")[0], []).append(numbers["seconds"])
    table = pd.DataFrame([{"stage": f"`{name}`", "runs": len(each), "seconds": f"{math.fsum(each):.0f}"} for name, each in seconds.items()])
    return {
        "minutes": math.fsum(numbers["seconds"] for numbers in stages.values()) / 60,
        "table": markdown(table).strip(),
        "machines": sorted({numbers["machine"] for numbers in stages.values() if "machine" in numbers}),
    }


def graph(root: Path) -> str:
    """DVC's own graph of the default experiment, the stages of a matrix drawn as one, as a Mermaid block."""
    command = [sys.executable, "-m", "dvc", "dag", "--mermaid", "--collapse-foreach-matrix", "evaluate"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"`dvc dag` failed: {done.stderr.strip() or json.dumps(command)}; it needs a git clone")
    return f"```mermaid\n{done.stdout.strip()}\n```"
