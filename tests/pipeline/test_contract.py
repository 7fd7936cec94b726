"""Every dvc.yaml says exactly what the code does: parameters, code, files, and who may see a clean test image."""

import ast
import importlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from workspace import PROJECT

from dualprior.pipeline.config import load_params, read_yaml

DEFAULT = None
STUDIES = ["hybrid", "standard_sets", "stopping", "super_resolution", "theory", "training"]
PIPELINES = [DEFAULT, *STUDIES]
FREE = {"common", "pipeline/config"}  # changes no result: how parameters are checked, files written, lines logged, threads counted
NEEDED = {"common/seeding.py"}  # but this does
BY_HAND = {"studies/hybrid/metrics/cbm3d.csv", "models/hybrid/restore.json"}  # see benchmarks/cbm3d.py, benchmarks/restore_settings.py


def entries(study: str | None) -> dict[str, dict]:
    return read_yaml(PROJECT / ("studies/" + study if study else ".") / "dvc.yaml")["stages"]


ALL = [(study, name) for study in PIPELINES for name in entries(study)]


def module_name(study: str | None, name: str) -> str:
    own = study and (PROJECT / f"studies/{study}/{name}.py").exists()
    return f"studies.{study}.{name}" if own else f"dualprior.pipeline.{name}"


def declared_params(entry: dict) -> set[str]:
    """Sections of every params.yaml, with the item of a matrix as {key}."""
    named = [item if isinstance(item, str) else next(iter(item.values())) for item in entry["params"]]
    flat = [each for item in named for each in ([item] if isinstance(item, str) else item)]
    return {re.sub(r"\$\{item\.\w+\}", "{key}", name) for name in flat}


def names(items: list) -> list[str]:
    return [item if isinstance(item, str) else next(iter(item)) for item in items]


def filled(items: list, entry: dict) -> list[str]:
    """Names of files, with the values of a matrix filled in where dvc.yaml lists them."""
    found = names(items)
    for axis, values in entry.get("matrix", {}).items():
        if isinstance(values, list):
            found = [name.replace(f"${{item.{axis}}}", value) for name in found for value in values]
    return list(dict.fromkeys(found))


def outs(entry: dict) -> list[str]:
    return filled(entry.get("outs", []) + entry.get("metrics", []) + entry.get("plots", []), entry)


MADE = [out for pipeline, name in ALL for out in outs(entries(pipeline)[name])]


@pytest.mark.parametrize(("study", "name"), ALL)
def test_parameters_declared_are_those_of_the_module(study, name):
    """That each is also read is seen in the smoke run; reading another raises (test_config)."""
    module = importlib.import_module(module_name(study, name))
    declared = declared_params(entries(study)[name])
    assert declared == set(module.PARAMS)


@pytest.mark.parametrize(("study", "name"), ALL)
def test_every_module_that_a_stage_runs_lies_in_a_declared_dependency(study, name):
    """Of its own, or of a stage upstream, which makes its inputs anew when that code changes."""
    code = code_behind(study, name)
    assert all((PROJECT / dep).exists() for dep in code)
    for file in closure(module_name(study, name)):
        short = file.removeprefix("src/dualprior/")
        if any(short == free or short.startswith((free + "/", free + ".")) for free in FREE) and short not in NEEDED:
            continue
        if short in NEEDED or re.fullmatch(r"studies/\w+/params\.py", file) or "/__init__" in file:
            continue
        if file.startswith("src/dualprior/pipeline/") and study and not module_name(study, name).startswith("dualprior"):
            continue  # a study's own stage that borrows a function of a default stage
        assert any(file == dep or file.startswith(dep + "/") for dep in code), f"{name} runs {file}"


def code_behind(study: str | None, name: str) -> set[str]:
    """Code that reruns a stage: what it declares, and what the stages that make its inputs declare."""
    made = {out: (pipeline, stage) for pipeline, stage in ALL for out in outs(entries(pipeline)[stage])}
    found, waiting, seen = set(), [(study, name)], set()
    while waiting:
        here = waiting.pop()
        if here in seen:
            continue
        seen.add(here)
        for dep in filled(entries(here[0])[here[1]]["deps"], entries(here[0])[here[1]]):
            if dep.startswith(("src/", "studies/")):
                found.add(dep)
            elif dep in made:
                waiting.append(made[dep])
            else:  # a folder of one item, or the folder of all of them
                waiting += [maker for out, maker in made.items() if out.startswith(dep + "/") or dep.startswith(out + "/")]
    return found


def closure(module: str) -> set[str]:
    """Files of the project that importing a module runs, imports inside functions included."""
    found, waiting = set(), [module]
    while waiting:
        path = module_file(waiting.pop())
        if path is None or path in found:
            continue
        found.add(path)
        waiting += imported(ast.parse((PROJECT / path).read_text()))
    return found


def module_file(name: str) -> str | None:
    base = ("src/" if name.startswith("dualprior") else "") + name.replace(".", "/")
    return next((path for path in (f"{base}.py", f"{base}/__init__.py") if (PROJECT / path).is_file()), None)


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            yield from (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))
        yield from imported(node)


def test_only_measuring_and_judging_depend_on_clean_test_images():
    for study, file in ((DEFAULT, "data/test.npy"), ("stopping", "data/hybrid/test.npy"), ("hybrid", "data/hybrid/test.npy")):
        assert {name for name, entry in entries(study).items() if file in entry["deps"]} == {"degrade", "evaluate"}


def test_each_prior_learns_from_its_own_source_only():
    assert not {dep for dep in entries(DEFAULT)["train_ddpm"]["deps"] if "dip" in dep or "measurements" in dep or "degradation" in dep}
    assert not {dep for dep in entries(DEFAULT)["fit_dip"]["deps"] if "diffusion" in dep or dep.startswith("models")}


def test_nothing_builds_on_the_leak_audit_but_its_table():
    assert {name for name, entry in entries(DEFAULT).items() if "data/audit" in entry["deps"]} == {"evaluate"}


@pytest.mark.parametrize("study", PIPELINES)
def test_every_file_is_made_once_and_every_dependency_is_made(study):
    made = [out for name in entries(study) for out in outs(entries(study)[name])]
    assert len(made) == len(set(made))
    for name, entry in entries(study).items():
        for dep in filled(entry["deps"], entry):
            if dep.startswith(("src/", "studies/")) and dep.endswith(".py") or dep.startswith("src/") or dep in BY_HAND:
                continue
            assert any(dep == out or dep.startswith(out + "/") or out.startswith(dep + "/") for out in MADE), f"{name}: {dep}"


def test_every_committed_metric_and_plot_is_made_by_a_stage():
    folders = [f"{where}{kind}/*" for where in ("", "studies/*/") for kind in ("metrics", "plots")]
    listed = subprocess.run(["git", "ls-files", "--", *folders], cwd=PROJECT, capture_output=True, text=True, check=True).stdout.split()
    assert listed
    for file in listed:
        by_stage = any(file == out or file.startswith(out + "/") for out in MADE)
        assert by_stage or file in BY_HAND or file.endswith("run_statistics.json"), file


@pytest.mark.parametrize(("study", "name"), ALL)
def test_data_and_models_of_the_default_run_are_cached_and_nothing_else(study, name):
    entry = entries(study)[name]
    assert entry["desc"]
    for item in entry.get("outs", []) + entry.get("metrics", []) + entry.get("plots", []):
        committed = study or "metrics/" in names([item])[0] or "plots" in names([item])[0]
        assert item == ({names([item])[0]: {"cache": False}} if committed else names([item])[0])


@pytest.mark.parametrize(("study", "name"), ALL)
def test_commands_are_constant_and_name_their_stage(study, name):
    entry = entries(study)[name]
    option = f"--study {study} " if study else ""
    key = " " + "-".join(f"${{item.{axis}}}" for axis in entry["matrix"]) if "matrix" in entry else ""
    assert entry["cmd"] == f"python src/cli.py run {option}{name}{key}"


def test_the_default_experiment_has_at_most_22_stages():
    tasks = load_params(PROJECT)[0].tasks
    assert sum(len(tasks) if "matrix" in entry else 1 for entry in entries(DEFAULT).values()) <= 22


@pytest.mark.parametrize("name", [name for name in entries(DEFAULT) if name != "evaluate"])
def test_a_stage_that_computes_draws_nothing(name):
    """So that a change of a figure trains nothing again."""
    drawing = "[m for m in sys.modules if m.startswith(('matplotlib', 'dualprior.evaluation'))]"
    program = f"import sys, dualprior.pipeline.{name}; assert not {drawing}"
    subprocess.run([sys.executable, "-c", program], env=os.environ | {"PYTHONPATH": str(PROJECT / "src")}, check=True)


def test_every_picture_and_table_that_a_page_shows_is_there():
    for page in [
        "README.md",
        "report/report.md",
        *(f"studies/{name}/README.md" for name in STUDIES if (PROJECT / f"studies/{name}/README.md").exists()),
    ]:
        text = (PROJECT / page).read_text()
        for name in re.findall(r"\]\(([^)#]+)\)", text):
            if not name.startswith("http"):
                assert (PROJECT / page).parent.joinpath(name).exists(), f"{page}: {name}"


def test_dependencies_are_pinned_by_name_and_version_alone():
    lines = [line for line in (PROJECT / "requirements.lock").read_text().splitlines() if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[A-Za-z0-9_.\-]+(\[[a-z,]+\])?==[^\s:/]+( *;.*)?", line) for line in lines)
    assert Path(PROJECT / ".venv").name == ".venv"
