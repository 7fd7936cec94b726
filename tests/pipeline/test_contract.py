"""dvc.yaml says exactly what the code does: parameters, code, files, and who may see a clean test image."""

import ast
import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from dualprior import dag
from dualprior.config import Params, load_params, read_yaml
from dualprior.paths import Paths
from dualprior.settings.tasks import Task

PROJECT = Path(__file__).parents[2]
STAGES = dag.read_stages(PROJECT)
NAMES = list(dict.fromkeys(stage.name for stage in STAGES))
ENTRIES = read_yaml(PROJECT / "dvc.yaml")["stages"]
PARAMS = load_params(PROJECT / "params.yaml")
KEYS_READ = {"summarise": list(PARAMS.tasks), "ablate": list(PARAMS.ablate.tasks)}  # tasks of stages that read several


def of(name: str) -> list[dag.Stage]:
    return [stage for stage in STAGES if stage.name == name]


def upstream(stage: dag.Stage) -> set[str]:
    """Every file and parameter section that can reach a stage."""
    makers = {out: maker for maker in STAGES for out in maker.outs}
    found = {*stage.deps, *stage.params}
    return found.union(*(upstream(makers[dep]) for dep in stage.deps if dep in makers))


@pytest.mark.parametrize("name", NAMES)
def test_parameters_declared_are_those_of_the_module(name):
    """That each is also read is seen in the smoke run (test_smoke); reading another raises (test_config)."""
    module = importlib.import_module(f"dualprior.stages.{name}")
    for stage in of(name):
        assert set(stage.params) == {section.format(key=stage.key) for section in module.PARAMS}


@pytest.mark.parametrize("name", NAMES)
def test_code_dependencies_are_the_import_closure(name):
    closure = dag.import_closure(f"dualprior.stages.{name}", PROJECT / "src")
    for stage in of(name):
        declared = [dep for dep in stage.deps if dep.startswith("src/")]
        assert sorted(declared) == closure, "run `python src/cli.py dag --write-deps`"


@pytest.mark.parametrize("name", NAMES)
def test_the_checks_on_a_stages_parameters_are_among_its_dependencies(name):
    """A stage does not depend on config.py, so the module of each of its sections must be listed."""
    for stage in of(name):
        for section in stage.params:
            kind = Params.model_fields[section.split(".")[0]].annotation
            kind = Task if section.startswith("tasks") else kind
            assert f"src/{kind.__module__.replace('.', '/')}.py" in stage.deps, section


@pytest.mark.parametrize("name", ["prepare", "evaluate", "summarise"])
def test_stages_without_a_network_start_without_torch(name):
    program = f"import sys, dualprior.stages.{name}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], env=os.environ | {"PYTHONPATH": str(PROJECT / "src")}, check=True)


@pytest.mark.parametrize("module", ["config", "paths"])
def test_no_stage_depends_on_what_every_new_stage_changes(module):
    assert not [stage.id for stage in STAGES if f"src/dualprior/{module}.py" in stage.deps]


def test_every_data_dependency_is_made_by_a_stage():
    made = {out for stage in STAGES for out in stage.outs}
    for stage in STAGES:
        assert {dep for dep in stage.deps if not dep.startswith("src/")} <= made, stage.id


def test_no_file_is_made_twice():
    outs = [out for stage in STAGES for out in stage.outs]
    assert len(outs) == len(set(outs))


def test_the_message_about_a_missing_file_names_the_stage_that_makes_it():
    made = {"data/val.npy": "prepare", "data/dip/sr4.json": "fit_dip", "metrics/tasks/deblur.csv": "evaluate", "params.yaml": None}
    assert {file: dag.maker(PROJECT, Path(file)) for file in made} == made


@pytest.mark.parametrize("name", ENTRIES)
def test_outputs_are_cached_and_metrics_and_plots_are_not(name):
    entry = ENTRIES[name]
    assert entry["desc"]
    assert all(isinstance(out, str) for out in entry.get("outs", []))
    for item in entry.get("metrics", []) + entry.get("plots", []):
        assert [settings["cache"] for settings in item.values()] == [False]


def test_commands_are_constant_and_known():
    import typer

    import cli

    known = typer.main.get_command(cli.app).commands
    for stage in STAGES:
        command, *keys = stage.arguments
        assert stage.cmd.startswith("python src/cli.py ")
        assert command in known
        assert keys == ([] if stage.key is None else [stage.key])


def test_stages_are_those_that_dvc_sees():
    listed = subprocess.run(
        [sys.executable, "-m", "dvc", "stage", "list", "--name-only"], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    assert sorted(listed.stdout.split()) == sorted(stage.id for stage in STAGES)


def test_there_are_few_enough_stages_for_a_quick_check():
    assert len(STAGES) < 60


def test_each_prior_learns_from_its_own_source_only():
    (training,) = of("train_ddpm")
    seen = upstream(training)
    assert not {name for name in seen if name.startswith(("measure", "tasks", "dip", "data/measurements", "data/test"))}
    for fit in of("fit_dip"):
        assert not {name for name in upstream(fit) if name.startswith(("models/", "ddpm"))}


@pytest.mark.parametrize(
    ("name", "foreign"),
    [
        ("train_ddpm", ["sampling", "consistency", "operators", "dip", "nets/skip"]),
        ("fit_dip", ["nets/unet", "denoiser", "pretrained", "training"]),
    ],
)
def test_each_prior_runs_no_code_of_the_other(name, foreign):
    """A change there then reruns only one of the two."""
    for stage in of(name):
        assert not {f"src/dualprior/{module}.py" for module in foreign} & set(stage.deps)


@pytest.mark.parametrize("name", ["fit_dip", "restore", "generate", "train_ddpm"])
def test_no_restorer_reads_a_clean_test_image(name):
    for stage in of(name):
        assert "data/test.npy" not in stage.deps


def test_ablation_lists_the_files_of_its_tasks():
    for stage in of("ablate"):
        for task in PARAMS.ablate.tasks:
            assert f"data/measurements/{task}.safetensors" in stage.deps, "add the task's files to ablate in dvc.yaml"


def test_summary_lists_the_rows_of_every_task():
    (summarise,) = of("summarise")
    rows = {f"metrics/tasks/{task}.csv" for task in PARAMS.tasks}
    assert rows == {dep for dep in summarise.deps if not dep.startswith("src/")}


def files_named(stage: dag.Stage) -> set[str]:
    """Files that the stage's module names as `paths.<name>` or `paths.<name>(task)`."""
    tree = ast.parse((PROJECT / f"src/dualprior/stages/{stage.name}.py").read_text())
    names = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and getattr(node.value, "id", None) == "paths"}
    files = set()
    for name in names - {"root", "scratch", "ablation"}:
        place = getattr(Paths(Path()), name)
        keys = [None] if isinstance(place, Path) else KEYS_READ.get(stage.name, [stage.key])
        files |= {(place if key is None else place(key)).as_posix() for key in keys}
    return files


@pytest.mark.parametrize("name", NAMES)
def test_files_read_and_written_are_those_declared(name):
    for stage in of(name):
        assert files_named(stage) <= {*stage.deps, *stage.outs}
