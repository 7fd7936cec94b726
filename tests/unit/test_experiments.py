"""Experiments of DVC in one table: only what differs, beside the metrics asked for."""

import json

import pandas as pd
import pytest

from dualprior import experiments
from dualprior.common.errors import UserError


def revision(name: str | None, weight: float, psnr: float | None, **more) -> dict:
    metrics = {} if psnr is None else {"metrics/tasks/sr4.json": {"data": {"hybrid": {"psnr": psnr, "n": 16}, "one_step": {"psnr": 20.0}}}}
    params = {"params.yaml": {"data": {"hybrid": {"weight": weight, "calls": 3}}}, "studies/a/params.yaml": {"data": {"other": weight}}}
    return {"rev": f"{abs(hash(name)):040x}", "name": name, "data": {"params": params, "metrics": metrics}, "error": None, **more}


def experiment(name: str, weight: float, psnr: float | None, state: str | None = None) -> dict:
    executor = None if state is None else {"state": state}
    return {"revs": [revision(name, weight, psnr)], "executor": executor, "name": name}


DOCUMENT = [
    revision(None, 1.0, 26.0, experiments=None) | {"rev": "workspace"},
    revision("main", 1.0, 26.0, experiments=[experiment("low", 0.25, 26.5, "success"), experiment("high", 4.0, None, "queued")]),
]


def test_a_row_an_experiment_with_what_differs_and_the_metrics_asked_for():
    table, metrics = experiments.tabulate(DOCUMENT, ["*.hybrid.psnr"])
    assert metrics == ["sr4.hybrid.psnr"]
    assert list(table.columns) == ["experiment", "from", "state", "hybrid.weight", "sr4.hybrid.psnr"]
    assert table["experiment"].tolist() == ["workspace", "main", "low", "high"]
    assert table["from"].tolist() == ["", "", "main", "main"]
    assert table["state"].tolist() == ["", "committed", "success", "queued"]
    assert table["hybrid.weight"].tolist() == [1.0, 1.0, 0.25, 4.0]
    assert table["sr4.hybrid.psnr"].tolist()[:3] == [26.0, 26.0, 26.5]
    assert pd.isna(table["sr4.hybrid.psnr"].iat[3])


def test_several_patterns_keep_the_order_of_the_files():
    _, metrics = experiments.tabulate(DOCUMENT, ["*.one_step.psnr", "sr4.hybrid.n"])
    assert metrics == ["sr4.hybrid.n", "sr4.one_step.psnr"]


def test_a_failed_experiment_says_so_and_makes_no_parameter_differ():
    unread = {"rev": "f" * 40, "name": "broken", "data": None, "error": {"msg": "unreadable"}}
    broken = {"revs": [unread], "executor": None, "name": "broken"}
    document = [*DOCUMENT[:1], revision("main", 1.0, 26.0, experiments=[broken])]
    table, _ = experiments.tabulate(document, ["*.hybrid.psnr"])
    assert table["state"].tolist() == ["", "committed", "failed"]
    assert list(table.columns) == ["experiment", "from", "state", "sr4.hybrid.psnr"]


def test_metrics_of_a_study_do_not_stand_for_those_of_the_default_run():
    commit = revision("main", 1.0, 26.0, experiments=None)
    commit["data"]["metrics"]["studies/a/metrics/sr4.json"] = {"data": {"hybrid": {"psnr": 99.0}}}
    assert experiments.tabulate([commit], ["*.hybrid.psnr"]).table["sr4.hybrid.psnr"].tolist() == [26.0]


def test_a_commit_without_the_metric_is_no_mark_to_draw():
    document = [*DOCUMENT[:1], revision("main", 1.0, None, experiments=[experiment("low", 0.25, 26.5)])]
    with pytest.raises(UserError, match=r"main has none of sr4\.hybrid\.psnr"):
        experiments.figure(experiments.tabulate(document, ["*.hybrid.psnr"]))


def test_a_metric_that_nobody_has_is_refused_by_its_name():
    with pytest.raises(UserError, match=r"no metric is called \*\.lost"):
        experiments.tabulate(DOCUMENT, ["*.lost"])


def test_the_figure_says_which_experiment_changed_most():
    figure = experiments.figure(experiments.tabulate(DOCUMENT, ["*.hybrid.psnr"]))
    (ax,) = figure.axes
    assert ax.get_title("left") == "most changed by low, +0.5"
    assert ax.lines[0].get_xdata().tolist() == [26.0, 26.5]
    assert ax.lines[1].get_xdata() == [26.0, 26.0]


def test_what_dvc_says_is_read_from_its_json(monkeypatch, tmp_path):
    said = type("Done", (), {"returncode": 0, "stdout": json.dumps(DOCUMENT), "stderr": ""})
    asked = []
    monkeypatch.setattr(experiments.subprocess, "run", lambda command, **_: asked.append(command) or said)
    assert experiments.show(tmp_path, every_commit=True) == DOCUMENT
    assert asked[0][1:] == ["-m", "dvc", "exp", "show", "--json", "--all-commits"]


def test_where_dvc_fails_its_reason_is_shown(tmp_path):
    with pytest.raises(UserError, match=r"`dvc exp show` failed: .+"):
        experiments.show(tmp_path)
