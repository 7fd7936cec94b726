"""Every dvc.yaml says exactly what the code does: parameters, code, files, and who may see a clean test image."""

import ast
import importlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import get_args, get_origin

import pytest
from dualprior.common.config import SCHEMAS, check_params, load_params, read_yaml
from studies.stopping.readings import HEADINGS

from dualprior import dag
from dualprior.common.params import Section
from dualprior.common.paths import Paths
from dualprior.evaluation.figures import KNOBS

PROJECT = Path(__file__).parents[2]
STOPPING, HYBRID, REPORT = "studies/stopping", "studies/hybrid", "studies/report"
PIPELINES = dag.pipelines(PROJECT)
STAGES = [stage for pipeline in PIPELINES for stage in dag.read_stages(PROJECT, pipeline)]
MODULES = list(dict.fromkeys(stage.module for stage in STAGES))
ENTRIES = {f"{p}/{name}": entry for p in PIPELINES for name, entry in read_yaml(PROJECT / p / "dvc.yaml")["stages"].items()}
PARAMS = load_params(PROJECT / "params.yaml")
STUDY = check_params(read_yaml(PROJECT / STOPPING / "params.yaml"), kind=SCHEMAS[STOPPING])
WIDE = check_params(read_yaml(PROJECT / HYBRID / "params.yaml"), kind=SCHEMAS[HYBRID])
PAGES = check_params(read_yaml(PROJECT / REPORT / "params.yaml"), kind=SCHEMAS[REPORT])
WRITTEN = {"report/report.md.jinja", "report/page.html.jinja", "requirements.lock", "README.md"}  # dependencies that people write, no stage
FITS = [f"data/stopping/fits/{name}" for name in STUDY.fits]
KEYS_READ = {  # what a stage that reads or writes several of a kind hands to `paths`: by the name of the method
    (dag.MAIN, "summarise"): lambda _: PARAMS.tasks,
    (dag.MAIN, "ablate"): lambda _: PARAMS.ablate.tasks,
    (STOPPING, "stop"): lambda _: STUDY.fits,
    (REPORT, "laws"): lambda _: [PAGES.laws.task],
    (REPORT, "render"): lambda _: PARAMS.tasks,
    (HYBRID, "judge"): {
        "realism": WIDE.realism.tasks, "realism_info": WIDE.realism.tasks, "contraction": WIDE.problems,
        "classic": WIDE.problems, "classic_info": WIDE.problems, "quick": WIDE.meta.tasks, "quick_info": WIDE.meta.tasks,
        "study_table": ("groups", "priors", "weights", "realism", "quick", "contraction"),
    }.get,
    (STOPPING, "judge"): {"stopping_fits": STUDY.fits, "stopping_guided": STUDY.guide.problems, "study_table": HEADINGS}.get,
}


def of(name: str, pipeline: str = dag.MAIN) -> list[dag.Stage]:
    return of_module(dag.module_of(pipeline, name))


def of_module(module: str) -> list[dag.Stage]:
    stages = [stage for stage in STAGES if stage.module == module]
    assert stages
    return stages


def upstream(stage: dag.Stage) -> set[str]:
    """Every file and parameter section that can reach a stage."""
    makers = {out: maker for maker in STAGES for out in maker.outs}
    found = {*stage.deps, *stage.params}
    return found.union(*(upstream(makers[dep]) for dep in stage.deps if dep in makers))


def slots(stage: dag.Stage) -> dict[str, str | None]:
    """What the parameter sections that a module names are filled with."""
    if (stage.pipeline, stage.name) == (HYBRID, "restore"):
        return {"key": stage.key, "task": WIDE.runs[stage.key].task}
    if (stage.pipeline, stage.name) != (STOPPING, "fit"):
        return {"key": stage.key}
    fit = STUDY.fits[stage.key]
    return {"key": stage.key, "problem": fit.problem, "network": fit.network}


def kind(pipeline: str, section: str) -> type:
    """The class that checks a parameter section, or each of its entries; of plain values, the one that holds them."""
    name = section.split(".")[0]
    schema = next(schema for schema in (SCHEMAS[pipeline], SCHEMAS[dag.MAIN]) if name in schema.model_fields)
    annotation = schema.model_fields[name].annotation
    checked = get_args(annotation)[1] if get_origin(annotation) is dict else annotation
    return checked if isinstance(checked, type) and issubclass(checked, Section) else schema


@pytest.mark.parametrize("module", MODULES)
def test_parameters_declared_are_those_of_the_module(module):
    """That each is also read is seen in the smoke run (test_smoke); reading another raises (test_config)."""
    named = importlib.import_module(module).PARAMS
    for stage in of_module(module):
        assert set(stage.params) == {section.format(**slots(stage)) for section in named}


@pytest.mark.parametrize("module", MODULES)
def test_code_dependencies_are_the_import_closure(module):
    closure = dag.import_closure(module, PROJECT / "src")
    for stage in of_module(module):
        declared = [dep for dep in stage.deps if dep.startswith("src/")]
        assert sorted(declared) == closure, "run `python src/cli.py dag --write-deps`"


@pytest.mark.parametrize("module", MODULES)
def test_the_checks_on_a_stages_parameters_are_among_its_dependencies(module):
    """A stage does not depend on config.py, so the module of each of its sections must be listed."""
    for stage in of_module(module):
        for section in stage.params:
            assert f"src/{kind(stage.pipeline, section).__module__.replace('.', '/')}.py" in stage.deps, section


@pytest.mark.parametrize("name", ["prepare", "evaluate", "summarise"])
def test_stages_without_a_network_start_without_torch(name):
    program = f"import sys, dualprior.stages.{name}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], env=os.environ | {"PYTHONPATH": str(PROJECT / "src")}, check=True)


@pytest.mark.parametrize("module", ["config", "paths"])
def test_no_stage_depends_on_what_every_new_stage_changes(module):
    assert not [stage.id for stage in STAGES if f"src/dualprior/{module}.py" in stage.deps]


def test_every_data_dependency_is_made_by_a_stage():
    made = {out for stage in STAGES for out in stage.outs} | WRITTEN
    for stage in STAGES:
        assert {dep for dep in stage.deps if not dep.startswith("src/")} <= made, stage.id


def test_no_file_is_made_twice():
    outs = [out for stage in STAGES for out in stage.outs]
    assert len(outs) == len(set(outs))


def test_the_message_about_a_missing_file_names_the_stage_that_makes_it():
    made = {
        "data/val.npy": "prepare", "data/dip/sr4.json": "fit_dip", "metrics/tasks/deblur.csv": "evaluate", "params.yaml": None,
        "data/stopping/picks.csv": "stop", "data/stopping/fits/skip-sr4/info.json": "fit",
    }  # fmt: skip
    makers = {file: dag.maker(PROJECT, Path(file)) for file in made}
    assert {file: stage and stage.name for file, stage in makers.items()} == made


@pytest.mark.parametrize("name", ENTRIES)
def test_outputs_are_cached_and_metrics_tables_and_plots_are_not(name):
    """What is not cached is committed. `dvc plots` draws all that stands under plots, so no table does."""
    entry = ENTRIES[name].get("do", ENTRIES[name])
    assert entry["desc"]
    outs = entry.get("outs", [])
    tables = [item for item in outs if not isinstance(item, str)]
    assert {Path(next(iter(item))).suffix for item in tables} <= {".csv", ".md"}
    assert not any(out.startswith(("metrics/", "studies/")) for out in outs if isinstance(out, str))
    assert {Path(next(iter(item))).suffix for item in entry.get("plots", [])} <= {".png"}
    for item in tables + entry.get("metrics", []) + entry.get("plots", []):
        assert item == {next(iter(item)): {"cache": False}}


def test_every_template_of_dvc_plots_is_there_and_draws_columns_that_are_there():
    """And every knob of the default run is drawn, under the name that its own figure gives it."""
    drawn = {next(iter(entry)): next(iter(entry.values())) for entry in read_yaml(PROJECT / "dvc.yaml")["plots"]}
    anchors = {f"<DVC_METRIC_{name}>" for name in ("DATA", "TITLE", "X", "Y", "X_LABEL", "Y_LABEL")}
    for name, plot in drawn.items():
        template = (PROJECT / f".dvc/plots/{plot['template']}.json").read_text()
        assert set(re.findall("<DVC_[A-Z_]+>", template)) <= anchors
        made = {field["as"] for step in json.loads(template)["transform"] for field in step.get("joinaggregate", [step]) if "as" in field}
        fields = set(re.findall(r'"field": "(\w+)"', template)) | set(re.findall(r"datum\.(\w+)", template)) - {"filename"}
        for file, column in plot["y"].items():
            columns = (PROJECT / file).read_text().splitlines()[0].split(",")
            assert {plot["x"], column} | fields - made - {"rev"} <= set(columns), (name, file)
    knobs = ENTRIES["./ablate"]["matrix"]["knob"]
    assert {name.removeprefix("Ablation of ") for name in drawn if name.startswith("Ablation")} == set(knobs)
    assert {knob: drawn[f"Ablation of {knob}"]["x_label"] for knob in knobs} == {knob: KNOBS[knob] for knob in knobs}
    assert set(drawn["PSNR along the DIP fits"]["y"]) == {f"metrics/tasks/dip_psnr_{task}.csv" for task in PARAMS.tasks}


def test_commands_are_constant_and_known():
    import typer

    import cli

    known = typer.main.get_command(cli.app).commands
    for stage in STAGES:
        command, *keys = stage.arguments
        assert stage.cmd.startswith("python src/cli.py ")
        assert command in known
        before = [] if stage.pipeline == dag.MAIN else [Path(stage.pipeline).name, stage.name]
        assert keys == before + ([] if stage.key is None else [stage.key])


def test_stages_are_those_that_dvc_sees():
    listed = subprocess.run(
        [sys.executable, "-m", "dvc", "stage", "list", "--all", "--name-only"], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    named = [stage.id if stage.pipeline == dag.MAIN else f"{stage.pipeline}/dvc.yaml:{stage.id}" for stage in STAGES]
    assert sorted(listed.stdout.split()) == sorted(named)


def test_there_are_few_enough_stages_for_a_quick_check():
    assert len([stage for stage in STAGES if stage.pipeline == dag.MAIN]) < 60


def test_the_default_experiment_needs_nothing_of_a_study():
    made = {out for stage in STAGES if stage.pipeline != dag.MAIN for out in stage.outs}
    assert not [stage.id for stage in STAGES if stage.pipeline == dag.MAIN and upstream(stage) & made]


def test_each_prior_learns_from_its_own_source_only():
    (training,) = of("train_ddpm")
    measured = upstream(training)
    assert not {name for name in seen if name.startswith(("measure", "tasks", "dip", "data/measurements", "data/test"))}
    for fit in of("fit_dip") + of("fit", STOPPING) + of("fit_dip", HYBRID):
        assert not {name for name in upstream(fit) if name.startswith(("models/", "ddpm"))}


RULES = ["rival_rules", *(f"studies/stopping/{name}" for name in "stop judge claims report readings plots".split())]
DIFFUSION = ["nets/unet", "denoiser", "pretrained", "training"]


@pytest.mark.parametrize(
    ("name", "pipeline", "foreign"),
    [
        ("train_ddpm", dag.MAIN, ["sampling", "consistency", "operators", "dip", "nets/skip"]),
        ("fit_dip", dag.MAIN, [*DIFFUSION, *RULES]),
        ("fit", STOPPING, [*DIFFUSION, *RULES, "guidance", "stopping", "settings/stopping_study"]),
        ("guide", STOPPING, RULES),
    ],
)
def test_no_fit_and_no_training_runs_code_that_it_does_not_need(name, pipeline, foreign):
    """A change there then reruns only one of the two priors, and a new stopping rule no fit."""
    for module in foreign:
        assert (PROJECT / f"src/dualprior/{module}.py").exists()
    for stage in of(name, pipeline):
        assert not {f"src/dualprior/{module}.py" for module in foreign} & set(stage.deps)


def test_no_setting_of_a_rule_reaches_a_fit():
    for stage in of("fit", STOPPING):
        assert not {name.split(".")[0] for name in upstream(stage)} & {"rules", "judging", "guide"}


def test_a_fit_of_the_study_reads_the_measurements_of_its_own_problem_only():
    for stage in of("fit", STOPPING):
        measured = [dep for dep in stage.deps if dep.startswith("data/stopping/")]
        assert measured == [f"data/stopping/measured/{STUDY.fits[stage.key].problem}.safetensors"]


@pytest.mark.parametrize("name", ["fit_dip", "restore", "generate", "train_ddpm"])
def test_no_restorer_reads_a_clean_test_image(name):
    for stage in of(name):
        assert "data/test.npy" not in stage.deps


def test_only_measuring_and_judging_see_the_clean_test_images_of_the_study():
    assert {stage.name for stage in STAGES if stage.pipeline == STOPPING and "data/test.npy" in stage.deps} == {"measure", "judge"}


def test_no_restorer_of_the_wide_study_sees_its_clean_test_crops():
    seeing = {stage.name for stage in STAGES if stage.pipeline == HYBRID and "data/hybrid/test.npy" in stage.deps}
    assert seeing == {"degrade", "ablate", "judge"}
    for stage in STAGES:
        if stage.pipeline == HYBRID:
            assert "data/test.npy" not in stage.deps


def test_a_weaker_prior_learns_from_its_own_patches_only():
    for stage in of("train", HYBRID):
        own = [f"data/hybrid/priors/{stage.key}/{name}.npy" for name in ("train", "val")]
        assert [dep for dep in stage.deps if dep.startswith("data/")] == own


def test_every_run_of_the_wide_study_uses_the_model_of_its_prior():
    for stage in of("restore", HYBRID):
        models = {dep.rpartition(".")[0] for dep in stage.deps if dep.startswith("models/")}
        assert models == {WIDE.runs[stage.key].model}


def test_the_wide_study_lists_the_files_of_all_its_runs_and_tasks():
    (judge,) = of("judge", HYBRID)
    both = ("safetensors", "json")
    expected = {f"data/hybrid/restored/{run}.{end}" for run in WIDE.runs for end in both}
    expected |= {f"data/hybrid/dip/{task}.{end}" for task in WIDE.problems for end in both}
    expected |= {f"data/hybrid/realism/{task}.{end}" for task in WIDE.realism.tasks for end in both}
    expected |= {f"data/hybrid/classic/{task}.{end}" for task in WIDE.problems for end in both}
    expected |= {f"data/hybrid/quick/{task}.{end}" for task in WIDE.meta.tasks for end in both}
    expected |= {f"data/hybrid/contraction/{task}.csv" for task in WIDE.problems}
    assert expected == {dep for dep in judge.deps if dep.startswith("data/hybrid/") and dep.count("/") > 2}
    swept = {stage.key for stage in of("ablate", HYBRID)}
    assert {f"studies/hybrid/metrics/ablation_{knob}.csv" for knob in swept} == {dep for dep in judge.deps if "/ablation_" in dep}
    for stage in of("ablate", HYBRID):
        listed = {dep for dep in stage.deps if dep.startswith("data/hybrid/") and dep.count("/") > 2}
        assert listed == {f"data/hybrid/{file.format(task)}" for task in WIDE.ablate.tasks for file in RESTORED}


def test_only_what_chooses_weights_sees_clean_validation_images_besides():
    assert {stage.name for stage in STAGES if stage.pipeline == STOPPING and "data/val.npy" in stage.deps} == {"measure", "guide", "judge"}


RESTORED = (
    "measurements/{}.safetensors", "dip/{}.safetensors", "dip/{}.json", "restored/{}.safetensors", "restored/{}.json",
)  # fmt: skip
FITTED = ("measurements/{}.safetensors", "dip/{}.safetensors", "dip/{}.json")


@pytest.mark.parametrize(("name", "files"), [("ablate", (*FITTED, "restored/{}.safetensors", "restored/{}.json")), ("audit", FITTED)])
def test_a_stage_over_some_tasks_lists_the_files_of_just_those(name, files):
    for stage in of(name):
        expected = {f"data/{file.format(task)}" for task in getattr(PARAMS, name).tasks for file in files}
        listed = {dep for dep in stage.deps if dep.startswith(("data/measurements/", "data/dip/", "data/restored/"))}
        assert listed == expected, f"list the files of {name}.tasks in dvc.yaml"


def test_nothing_builds_on_the_leak_audit():
    assert not [stage.id for stage in STAGES for dep in stage.deps if "leak_audit" in dep and stage.pipeline != REPORT]


def test_summary_lists_the_rows_of_every_task():
    (summarise,) = of("summarise")
    rows = {f"metrics/tasks/{task}.csv" for task in PARAMS.tasks}
    assert rows | {"metrics/ablation_start_scale.csv"} == {dep for dep in summarise.deps if not dep.startswith("src/")}


@pytest.mark.parametrize("name", ["stop", "judge"])
def test_the_stages_over_all_fits_list_every_one(name):
    (stage,) = of(name, STOPPING)
    assert [dep for dep in stage.deps if dep.startswith("data/stopping/fits/")] == FITS, f"list the fits of params.yaml in {name}"


def test_the_rules_list_the_measurements_of_every_fit():
    (stop,) = of("stop", STOPPING)
    used = {f"data/stopping/measured/{fit.problem}.safetensors" for fit in STUDY.fits.values()}
    assert {dep for dep in stop.deps if dep.startswith("data/stopping/measured/")} == used


def test_judging_lists_every_problem_that_is_guided():
    (judge,) = of("judge", STOPPING)
    guided = [f"data/stopping/guided/{problem}" for problem in STUDY.guide.problems]
    assert [dep for dep in judge.deps if dep.startswith("data/stopping/guided/")] == guided


def files_named(stage: dag.Stage) -> set[str]:
    """Files that the stage's module names as `paths.<name>`, `paths.<name>(key)` or `paths.<name>("literal")`."""
    tree = ast.parse((PROJECT / "src" / f"{stage.module.replace('.', '/')}.py").read_text())
    return {file.as_posix() for node in ast.walk(tree) for file in _files(node, stage)}


def _files(node: ast.AST, stage: dag.Stage) -> Iterator[Path]:
    paths = Paths(Path(), pipeline=stage.pipeline)
    if _named(node) and isinstance(place := getattr(paths, node.attr), Path) and node.attr != "root":
        yield place
    if isinstance(node, ast.Call) and _named(node.func) and len(node.args) == 1:
        found = (getattr(paths, node.func.attr)(key) for key in _keys(node, stage))
        yield from (file for file in found if isinstance(file, Path))


def _named(node: ast.AST) -> bool:
    return isinstance(node, ast.Attribute) and getattr(node.value, "id", None) == "paths"


def _keys(call: ast.Call, stage: dag.Stage) -> Iterable[str]:
    """What `paths.<name>(...)` is called with."""
    (argument,) = call.args
    if isinstance(argument, ast.Constant):
        return [argument.value]
    place = (stage.pipeline, stage.name)
    return KEYS_READ[place](call.func.attr) if place in KEYS_READ else [stage.key]


@pytest.mark.parametrize("module", MODULES)
def test_files_read_and_written_are_those_declared(module):
    for stage in of_module(module):
        assert files_named(stage) <= {*stage.deps, *stage.outs}


@pytest.mark.parametrize("study", [STOPPING, HYBRID])
def test_judging_names_every_file_it_makes(study):
    (judge,) = of("judge", study)
    assert set(judge.outs) <= files_named(judge)


def test_the_report_lists_every_picture_it_shows_and_every_table_it_reads():
    (render,) = of("render", REPORT)
    template = (PROJECT / "report/report.md.jinja").read_text()
    shown = {f"report/{name}" for name in re.findall(r"!\[[^]]*\]\(([^)]+)\)", template)}
    plain = {os.path.normpath(name) for name in shown if "{{" not in name}
    assert plain <= {*render.deps, *render.outs}
    assert {f"plots/restore_{task}.png" for task in PARAMS.tasks} < set(render.deps)
    knobs = {stage.key for stage in of("ablate", HYBRID)}
    assert {f"studies/hybrid/metrics/ablation_{knob}.csv" for knob in knobs} < set(render.deps)
    assert {f"studies/hybrid/plots/ablation_{knob}.png" for knob in knobs} < set(render.deps)
    assert not [dep for dep in render.deps if dep.startswith("models/")]
