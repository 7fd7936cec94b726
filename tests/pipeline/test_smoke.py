"""The real stages under DVC, on the smoke profile, in a copy of the project."""

import json

import pytest
from workspace import Workspace, ran

from dualprior import dag

pytestmark = pytest.mark.pipeline


@pytest.fixture
def workspace(smoke, tmp_path) -> Workspace:
    """A finished smoke run that a test may change."""
    return smoke[0].copy(tmp_path / "project")


def test_one_command_makes_every_file(smoke):
    workspace, outcome = smoke
    assert sorted(ran(outcome.out)) == sorted(stage.id for stage in dag.read_stages(workspace.root))
    missing = [out for stage in dag.read_stages(workspace.root) for out in stage.outs if not (workspace.root / out).stat().st_size]
    assert missing == []


def test_a_second_repro_runs_nothing_and_the_lock_is_in_step(workspace):
    assert workspace.repro() == []
    assert json.loads(workspace.dvc("status", "--json", "dvc.yaml").out) == {}


def test_every_stage_is_timed(smoke):
    workspace, outcome = smoke
    for name in ("timing", "memory"):
        assert set(ran(outcome.out)) <= json.loads((workspace.root / f"metrics/{name}.json").read_text()).keys()
    machines = json.loads((workspace.root / "metrics/machine.json").read_text())
    assert {"train_ddpm", "fit_dip@sr4"} <= machines.keys()
    assert not {"prepare", "evaluate@sr4", "summarise"} & machines.keys()


def test_every_declared_parameter_is_read(smoke):
    assert "does not read them" not in smoke[1].out + smoke[1].err


def test_dvc_reads_every_metrics_file(smoke):
    workspace, _ = smoke
    files = [out for stage in dag.read_stages(workspace.root) for out in stage.outs if out.startswith("metrics/") and out.endswith(".json")]
    shown = workspace.dvc("metrics", "show", *files)
    assert "summary.json" in shown.out
    assert "failed" not in shown.err


def test_scratch_is_left_empty(smoke):
    assert not [file for file in (smoke[0].root / ".scratch").rglob("*") if file.is_file() and file.name != "usage.lock"]


def test_git_tracks_metrics_and_plots_and_no_data(smoke):
    tracked = smoke[0].run("git", "ls-files").out.split()
    assert "metrics/summary.json" in tracked
    assert "plots/restore_sr4.png" in tracked
    assert not [name for name in tracked if name.startswith(("data/", "models/", ".scratch/"))]


def test_an_experiment_in_a_temporary_workspace_runs_its_own_code(workspace):
    with open(workspace.root / "src/dualprior/stages/degrade.py", "a") as file:
        file.write('\nprint("ran from", __file__)\n')
    done = workspace.dvc("exp", "run", "--temp", "--set-param", "measure.seed=7", "degrade@sr4")
    (line,) = [line for line in done.out.splitlines() if line.startswith("ran from")]
    own = (workspace.root / ".dvc/tmp/exps").resolve()
    assert own in (workspace.root / line.removeprefix("ran from ")).resolve().parents or str(own) in line


def test_a_start_level_outside_the_schedule_is_one_line_and_loses_nothing(workspace):
    kept = (workspace.root / "data/restored/sr4.safetensors").read_bytes()
    workspace.edit("params.yaml", "start_scale: 1.0", "start_scale: 1000.0")
    refused = workspace.cli("restore", "sr4", fails=True)
    assert refused.code == 2
    assert "hybrid.start_scale or restore.restart.scales starts at noise level" in refused.one_line()
    assert (workspace.root / "data/restored/sr4.safetensors").read_bytes() == kept
