"""The real stages under DVC, on the smoke profile, in a copy of the project; and what README tells a person to type after it."""

import json
import re

import pytest
from workspace import Workspace, ran

from dualprior.pipeline.config import read_yaml

pytestmark = pytest.mark.pipeline


@pytest.fixture
def workspace(smoke, tmp_path) -> Workspace:
    """A finished smoke run that a test may change."""
    return smoke[0].copy(tmp_path / "project")


def test_one_command_makes_every_file_once_and_a_second_runs_nothing(smoke, workspace):
    tasks = list(read_yaml(workspace.root / "params.yaml")["tasks"])
    stages = read_yaml(workspace.root / "dvc.yaml")["stages"]
    expected = [f"{name}@{task}" for name in stages for task in tasks if "matrix" in stages[name]]
    expected += [name for name in stages if "matrix" not in stages[name]]
    assert sorted(ran(smoke[1].out)) == sorted(expected)
    assert workspace.repro() == []
    assert json.loads(workspace.dvc("status", "--json", "dvc.yaml").out) == {}


def test_every_stage_is_timed_and_every_declared_parameter_is_read(smoke):
    workspace, outcome = smoke
    noted = json.loads((workspace.root / "metrics/run_statistics.json").read_text())
    assert set(ran(outcome.out)) == noted.keys()
    assert "machine" in noted["train_ddpm"]
    assert "does not read them" not in outcome.out + outcome.err


def test_the_lock_is_short_enough_to_be_read(smoke):
    assert len((smoke[0].root / "dvc.lock").read_text().splitlines()) <= 1500


def test_findings_are_few_and_each_says_how_many_crops_it_is_of(smoke):
    found = json.loads((smoke[0].root / "metrics/findings.json").read_text())
    assert len(found) <= 15
    for answers in found.values():
        for answer in answers.values():
            assert {"value", "lo", "hi", "n", "unit"} <= answer.keys()
            assert answer["lo"] <= answer["value"] <= answer["hi"]


def test_scratch_is_left_empty(smoke):
    left = [file.name for file in (smoke[0].root / ".scratch").rglob("*") if file.is_file()]
    assert set(left) <= {"run_statistics.lock", "lock"}


def test_git_tracks_metrics_and_plots_and_no_data(smoke):
    tracked = smoke[0].run("git", "ls-files").out.split()
    assert {"metrics/findings.json", "plots/hero.png"} <= set(tracked)
    unwanted = [name for name in tracked if name.startswith(("data/", "models/", ".scratch/"))]
    assert not [name for name in unwanted if not name.startswith("models/hybrid/")]  # the study's models are kept in the repository


def test_what_readme_tells_a_person_to_type_succeeds_in_a_clone_that_has_run_no_study(smoke, workspace):
    """The experiment changes an evaluation setting in place of the schedule, so that it takes seconds."""
    readme = (workspace.root / "README.md").read_text()
    typed = [line.partition("#")[0].strip() for line in readme.splitlines() if line.startswith(("dvc ", "git restore"))]
    assert any(line.startswith("dvc exp run -S ddpm") for line in typed)
    workspace.run("git", "branch", "--force", "main")
    workspace.dvc("exp", "run", "-S", "evaluate.bootstrap=300")
    assert "evaluate.bootstrap" not in workspace.dvc("metrics", "diff", "main", "--targets", "metrics/summary.json").out
    (back,) = [line for line in typed if "dvc checkout" in line]
    assert back == "git restore . && dvc checkout"
    workspace.run("git", "restore", ".")
    workspace.dvc("checkout")
    assert workspace.run("git", "status", "--porcelain").out == ""
    assert workspace.repro() == []
    name = re.search(r"\[([a-z]+-[a-z]+)\]", workspace.dvc("exp", "show", "--no-pager").out + workspace.dvc("exp", "list").out)
    workspace.dvc("exp", "apply", name[1])
    workspace.cli("profile", "smoke")
    workspace.run("git", "restore", "params.yaml")


def test_an_experiment_in_a_temporary_workspace_runs_its_own_code(workspace):
    with open(workspace.root / "src/dualprior/pipeline/evaluate.py", "a") as file:
        file.write('\nprint("ran from", __file__)\n')
    done = workspace.dvc("exp", "run", "--temp", "--set-param", "evaluate.seed=7")
    (line,) = [line for line in done.out.splitlines() if line.startswith("ran from")]
    own = (workspace.root / ".dvc/tmp/exps").resolve()
    assert own in (workspace.root / line.removeprefix("ran from ")).resolve().parents or str(own) in line
