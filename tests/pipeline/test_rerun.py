"""What `dvc repro` runs again after a change.

DVC and dvc.yaml are the real ones. The command line is replaced (no stage depends on it) by one that writes, for every
output, a hash of all that the stage declares, so that a run takes seconds.
"""

import pytest
from workspace import Workspace, new_workspace

pytestmark = pytest.mark.pipeline

STAND_IN = """\
import hashlib, json, sys
from pathlib import Path
from ruamel.yaml import YAML

read = lambda file: YAML(typ="safe").load(Path(file))
name, key, params = sys.argv[2], (sys.argv[3:] or [None])[0], read("params.yaml")
entry = read("dvc.yaml")["stages"][name]
first = lambda item: item if isinstance(item, str) else next(iter(item))
fill = lambda text: text.replace("${item.task}", str(key))
state = hashlib.md5()
for section in map(fill, entry["params"]):
    value = params
    for part in section.split("."):
        value = value[part]
    state.update(json.dumps(value, sort_keys=True).encode())
for dep in map(fill, entry["deps"]):
    for file in [Path(dep), *sorted(Path(dep).rglob("*"))]:
        if file.is_file() and "__pycache__" not in file.parts:
            state.update(file.read_bytes())
keys = list(params["tasks"]) if name == "degrade" else [None]
for out in map(fill, map(first, entry.get("outs", []) + entry.get("metrics", []) + entry.get("plots", []))):
    for each in keys:
        own = hashlib.md5(json.dumps(params["tasks"].get(each)).encode()).hexdigest() if each else state.hexdigest()
        file = Path(out) / each / "y" if each else Path(out) if Path(out).suffix else Path(out) / "file"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"value": own}))
"""
RESTORED = {"restore", "ablate", "evaluate"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    workspace = new_workspace(tmp_path_factory.mktemp("rerun"))
    (workspace.root / "src/cli.py").write_text(STAND_IN)
    workspace.repro()
    workspace.commit()
    return workspace


@pytest.fixture
def workspace(finished, tmp_path) -> Workspace:
    return finished.copy(tmp_path / "project")


def names(stages: list[str]) -> set[str]:
    return {stage.partition("@")[0] for stage in stages}


def test_nothing_changed_nothing_runs(workspace):
    with open(workspace.root / "src/cli.py", "a") as file:
        file.write("# changed\n")
    (workspace.root / "metrics/run_statistics.json").write_text('{"prepare": {"seconds": 1}}')
    assert workspace.repro() == []


def test_a_schedule_reruns_neither_data_nor_dip(workspace):
    workspace.edit("params.yaml", "kind: lognormal", "kind: cosine")
    assert names(workspace.repro()) == {"train_ddpm", "generate", "audit", *RESTORED}


def test_a_dip_setting_reruns_no_training(workspace):
    workspace.edit("params.yaml", "input_noise: ", "input_noise: 1")
    assert names(workspace.repro()) == {"fit_dip", "audit", *RESTORED}


def test_a_new_method_reruns_only_what_it_feeds(workspace):
    with open(workspace.root / "src/dualprior/restoration/registry.py", "a") as file:
        file.write("\nNEW = 1\n")
    assert names(workspace.repro()) == {"audit", *RESTORED}


def test_one_task_reruns_its_own_fits_and_restorations(workspace):
    workspace.edit("params.yaml", "blur_std: 1.6", "blur_std: 1.7")
    ran = set(workspace.repro())
    assert {name for name in ran if "@" in name} == {"fit_dip@deblur", "restore@deblur"}
    assert {name for name in ran if "@" not in name} == {"degrade", "ablate", "audit", "evaluate"}


@pytest.mark.parametrize("change", ["figure", "resamples"])
def test_judging_differently_reruns_only_the_judge(workspace, change):
    if change == "figure":
        with open(workspace.root / "src/dualprior/evaluation/figures.py", "a") as file:
            file.write("\nNEW = 1\n")
    else:
        workspace.edit("params.yaml", "bootstrap: ", "bootstrap: 1")
    assert workspace.repro() == ["evaluate"]


def test_generation_reruns_alone(workspace):
    workspace.edit("params.yaml", "samplers: [ddpm, ddim]", "samplers: [ddim]")
    assert workspace.repro() == ["generate", "evaluate"]
