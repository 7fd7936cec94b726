"""The studies under DVC, few and small of everything, each in a copy of a finished smoke run."""

import json
from typing import NamedTuple

import pytest
import tiny_hybrid
import tiny_study
from workspace import Outcome, Workspace, ran

from dualprior import dag

pytestmark = pytest.mark.pipeline
STUDY = tiny_study.PIPELINE
TARGET = f"{STUDY}/dvc.yaml"
FITS = ("plain", "level", "literal", "sr4")  # the fewest that fill every table


class Story(NamedTuple):
    workspace: Workspace
    first: Outcome
    second: list[str]  # stages that ran again though nothing had changed
    after_a_rule_changed: list[str]


@pytest.fixture(scope="module")
def story(smoke, tmp_path_factory) -> Story:
    workspace = smoke[0].copy(tmp_path_factory.mktemp("study") / "project")
    tiny_study.shrink(workspace.root, FITS, steps=60, every=10)
    workspace.commit()
    first = workspace.dvc("repro", TARGET)
    workspace.commit()
    second = workspace.repro(TARGET)
    workspace.edit(f"{STUDY}/params.yaml", "rate: 0.1", "rate: 0.2")
    return Story(workspace, first, second, workspace.repro(TARGET))


def ids(stages: list[str]) -> list[str]:
    """Without the pipeline that DVC puts before each."""
    assert all(stage.startswith(f"{TARGET}:") for stage in stages)
    return sorted(stage.removeprefix(f"{TARGET}:") for stage in stages)


def test_one_command_makes_every_file_of_the_study(story):
    stages = dag.read_stages(story.workspace.root, STUDY)
    assert ids(ran(story.first.out)) == sorted(stage.id for stage in stages)
    assert [out for stage in stages for out in stage.outs if not (story.workspace.root / out).exists()] == []


def test_a_second_run_of_the_study_runs_nothing(story):
    assert story.second == []


def test_a_setting_of_a_rule_reruns_no_fit(story):
    assert ids(story.after_a_rule_changed) == ["judge", "stop"]


def test_every_declared_parameter_of_the_study_is_read(story):
    assert "does not read them" not in story.first.out + story.first.err


def test_the_study_leaves_the_default_experiment_as_it_was(story):
    assert story.workspace.repro() == []
    changed = json.loads(story.workspace.dvc("status", "--json").out)
    assert [stage for stage in changed if not stage.startswith(("studies/hybrid/", "studies/report/"))] == []  # which have not run here


def test_dvc_reads_the_metrics_of_both(story):
    shown = story.workspace.dvc("metrics", "show")
    assert "metrics/summary.json" in shown.out
    assert f"{STUDY}/metrics/claims.json" in shown.out
    assert "failed" not in shown.err


def test_the_stages_of_the_study_are_timed_beside_it(story):
    timing = json.loads((story.workspace.root / STUDY / "metrics/timing.json").read_text())
    assert {stage.id for stage in dag.read_stages(story.workspace.root, STUDY)} <= set(timing)
    assert not {"stop", "fit@plain"} & set(json.loads((story.workspace.root / "metrics/timing.json").read_text()))


def test_git_tracks_what_the_study_found_and_no_data(story):
    tracked = story.workspace.run("git", "ls-files").out.split()
    assert {f"{STUDY}/metrics/claims.json", f"{STUDY}/metrics/tables.md", f"{STUDY}/plots/stops.png", f"{STUDY}/dvc.lock"} <= set(tracked)
    assert not [name for name in tracked if name.startswith(("data/", "models/", ".scratch/"))]


def test_scratch_of_the_study_is_left_empty(story):
    assert not [file for file in (story.workspace.root / ".scratch").rglob("*") if file.is_file() and file.name != "usage.lock"]


@pytest.fixture(scope="module")
def wide(smoke, tmp_path_factory) -> tuple[Workspace, Outcome, list[str]]:
    """The wide study of the hybrid, and what a second run of it ran."""
    workspace = smoke[0].copy(tmp_path_factory.mktemp("wide") / "project")
    tiny_hybrid.shrink(workspace.root)
    workspace.commit()
    target = f"{tiny_hybrid.PIPELINE}/dvc.yaml"
    first = workspace.dvc("repro", target)
    workspace.commit()
    return workspace, first, workspace.repro(target)


def test_one_command_makes_every_file_of_the_wide_study(wide):
    workspace, first, second = wide
    stages = dag.read_stages(workspace.root, tiny_hybrid.PIPELINE)
    assert len(ran(first.out)) == len(stages)
    assert [out for stage in stages for out in stage.outs if not (workspace.root / out).exists()] == []
    assert second == []


def test_every_declared_parameter_of_the_wide_study_is_read(wide):
    assert "does not read them" not in wide[1].out + wide[1].err
