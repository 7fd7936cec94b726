"""All DVC experiments as one table and one figure: what each changed, and what came of it.

DVC keeps an experiment as a commit beside the branch. `dvc exp show` lists every parameter and every metric of each; here
only what differs is kept.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from dualprior.errors import UserError
from dualprior.plots import SERIES, describe, new_figure
from dualprior.sheets import INK

WORKSPACE = "workspace"
ABOUT = ["experiment", "from", "state"]  # columns before the parameters


def show(root: Path, every_commit: bool = False) -> list[dict]:
    """What `dvc exp show --json` says: of the current commit, or of every one. Raises UserError when it fails."""
    command = [sys.executable, "-m", "dvc", "exp", "show", "--json", *(["--all-commits"] if every_commit else [])]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UserError(f"`dvc exp show` failed: {done.stderr.strip() or 'it gave no reason'}; it needs a git clone with a commit")
    return json.loads(done.stdout)


class Collected(NamedTuple):
    table: pd.DataFrame  # a row an experiment, below the commit it started from
    metrics: list[str]  # the columns that are metrics


def tabulate(document: Sequence[Mapping], metrics: Sequence[str]) -> Collected:
    """Every experiment with its state, the parameters that differ and the metrics asked for.

    document: of `show`; metrics: patterns of names such as "deblur.hybrid.psnr", the file's stem first. A parameter is shown
    when it is not the same wherever it is known, a metric when it is a number in any row. Raises UserError when none is.
    """
    rows = list(_rows(document))
    params, numbers = (pd.DataFrame([row.pop(kind) for row in rows]) for kind in ("params", "numbers"))
    found = [name for name in numbers if any(_matches(name, pattern) for pattern in metrics)]
    if not found:
        raise UserError(f"no metric is called {' or '.join(metrics)}; try --metric '*.hybrid.psnr'")
    known = params.dropna(how="all")  # an experiment that failed early has none
    differ = [name for name in params if known[name].map(json.dumps).nunique() > 1]
    return Collected(pd.concat([pd.DataFrame(rows, columns=ABOUT), params[differ], numbers[found]], axis=1), found)


def _matches(name: str, pattern: str) -> bool:
    """Part by part: a star does not reach over a dot."""
    parts, wanted = name.split("."), pattern.split(".")
    return len(parts) == len(wanted) and all(fnmatchcase(part, want) for part, want in zip(parts, wanted, strict=True))


def _rows(document: Sequence[Mapping]) -> Iterator[dict]:
    for commit in document:
        name = WORKSPACE if commit["rev"] == WORKSPACE else commit.get("name") or commit["rev"][:7]
        yield _row(commit, name, "", "" if name == WORKSPACE else "committed")
        for experiment in commit.get("experiments") or []:
            last = experiment["revs"][0]
            state = (experiment.get("executor") or {}).get("state") or "success"
            yield _row(last, experiment.get("name") or last["rev"][:7], name, state.lower())


def _row(revision: Mapping, name: str, start: str, state: str) -> dict:
    data = revision.get("data") or {}
    params = {key: value for file, key, value in _leaves(data.get("params")) if file == "params.yaml"}
    files = [leaf for leaf in _leaves(data.get("metrics")) if leaf[0].startswith("metrics/")]  # not those of the studies
    numbers = {f"{PurePosixPath(file).stem}.{key}": float(value) for file, key, value in files if _is_number(value)}
    state = "failed" if revision.get("error") else state
    return {"experiment": name, "from": start, "state": state, "params": params, "numbers": numbers}


def _leaves(files: Mapping | None) -> Iterator[tuple[str, str, object]]:
    """(file, dotted key, value) of everything that `dvc exp show` has read."""
    for file, content in (files or {}).items():
        yield from ((file, key, value) for key, value in _flat(content.get("data"), ""))


def _flat(value, name: str) -> Iterator[tuple[str, object]]:
    if not isinstance(value, Mapping):
        yield name, value
        return
    for key, inner in value.items():
        yield from _flat(inner, f"{name}.{key}" if name else str(key))


def _is_number(value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def figure(collected: Collected) -> Figure:
    """Every metric that differs by experiment, a panel a metric, with a line at what the first commit has.

    Raises UserError where that commit has none of them.
    """
    shown = collected.table[collected.table["experiment"] != WORKSPACE]
    base = shown.iloc[0]
    known = [name for name in collected.metrics if pd.notna(base[name])]
    if not known:
        raise UserError(f"{base['experiment']} has none of {', '.join(collected.metrics)} to compare with; commit a run")
    metrics = [name for name in known if shown[name].nunique() > 1] or known[:1]
    columns = min(3, len(metrics))
    drawn, axes = new_figure(-(-len(metrics) // columns), columns, 4.6, 0.32 * len(shown) + 1.5)
    for ax, metric in zip(axes.flat, metrics, strict=False):
        rows = shown.dropna(subset=[metric])
        ax.plot(rows[metric], rows["experiment"], "o", color=SERIES[0], markersize=7)
        ax.axvline(base[metric], color=INK, linewidth=0.8, linestyle="--")
        ax.invert_yaxis()
        changes = (rows[metric] - base[metric]).set_axis(rows["experiment"])
        most = changes.abs().idxmax()
        title = f"most changed by {most}, {changes[most]:+.3g}" if changes[most] else "changed by none"
        describe(ax, f"{metric} (dashed: {base['experiment']})", "", title)
    for ax in list(axes.flat)[len(metrics) :]:
        ax.set_axis_off()
    return drawn
