"""What `dvc repro` runs again after a change.

DVC and dvc.yaml are the real ones. The command line is replaced (no stage depends on it) by one that writes, for
every output, a hash of all that the stage declares, so a chain of stages takes seconds. Stages of one matrix are
alike, so the targets below stand for all; `summarise`, which needs them all, depends on what evaluate and the sweep of
the start rule make and on nothing else that is computed (test_contract).
"""

import pytest
from workspace import Workspace, new_workspace

pytestmark = pytest.mark.pipeline

STAND_IN = """\
import json, sys
from pathlib import Path
from dualprior import dag

stage = next(s for s in dag.read_stages(Path()) if s.arguments == sys.argv[1:])
for out in stage.outs:
    Path(out).parent.mkdir(parents=True, exist_ok=True)
    Path(out).write_text(json.dumps({"value": dag.fingerprint(stage, Path())}))
"""
TARGETS = ("evaluate@deblur", "evaluate_generation", "ablate@calls")
AFTER_RESTORE = {"evaluate", "ablate"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    workspace = new_workspace(tmp_path_factory.mktemp("rerun"))
    (workspace.root / "src/cli.py").write_text(STAND_IN)
    workspace.repro(*TARGETS)
    workspace.commit()
    return workspace


@pytest.fixture
def workspace(finished, tmp_path) -> Workspace:
    return finished.copy(tmp_path / "project")


def names(stages: list[str]) -> set[str]:
    return {stage.partition("@")[0] for stage in stages}


def test_nothing_changed_nothing_runs(workspace):
    assert workspace.repro(*TARGETS) == []


def test_a_schedule_reruns_neither_data_nor_dip(workspace):
    workspace.edit("params.yaml", "kind: lognormal", "kind: cosine")
    assert names(workspace.repro(*TARGETS)) == {"train_ddpm", "restore", "generate", "evaluate_generation", *AFTER_RESTORE}


def test_a_dip_setting_reruns_no_training(workspace):
    workspace.edit("params.yaml", "input_noise: ", "input_noise: 1")
    assert names(workspace.repro(*TARGETS)) == {"fit_dip", "restore", *AFTER_RESTORE}


def test_a_new_method_reruns_only_what_it_feeds(workspace):
    with open(workspace.root / "src/dualprior/methods.py", "a") as file:
        file.write("\nNEW = 1\n")
    assert names(workspace.repro(*TARGETS)) == {"restore", *AFTER_RESTORE}


def test_one_task_reruns_its_own_stages(workspace):
    workspace.edit("params.yaml", "blur_std: 1.6", "blur_std: 1.7")
    assert set(workspace.repro(*TARGETS)) == {"degrade@deblur", "fit_dip@deblur", "restore@deblur", "evaluate@deblur", "ablate@calls"}


def test_judging_differently_reruns_only_what_judges(workspace):
    workspace.edit("params.yaml", "confidence: 0.95", "confidence: 0.9")
    assert names(workspace.repro(*TARGETS)) == {"evaluate", "evaluate_generation", "ablate"}


def test_generation_reruns_alone(workspace):
    workspace.edit("params.yaml", "samplers: [ddpm, ddim]", "samplers: [ddim]")
    assert names(workspace.repro(*TARGETS)) == {"generate", "evaluate_generation"}


def test_the_command_line_and_the_timings_are_no_dependency(workspace):
    with open(workspace.root / "src/cli.py", "a") as file:
        file.write("# changed\n")
    (workspace.root / "metrics/timing.json").write_text('{"prepare": 1}')
    assert workspace.repro(*TARGETS) == []
