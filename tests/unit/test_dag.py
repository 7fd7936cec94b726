"""A dvc.yaml is read as DVC reads it, that of a study too; a stage's code is what its module imports."""

import pytest

from dualprior import dag
from dualprior.common.errors import UserError

DVC_YAML = """\
stages:
  judge:
    cmd: python src/cli.py judge ${item.task}
    matrix:
      task: ${tasks}
    params: [evaluate, "tasks.${item.task}"]
    deps: ["restored/${item.task}.bin"]
    metrics:
      - "judged/${item.task}.json":
          cache: false
  fix:  # the comment stays
    cmd: python src/cli.py fix ${item.task}
    matrix:
      task: ${tasks}
    deps:
      - src/dualprior/stages/old.py
      - start.bin
    outs: ["restored/${item.task}.bin"]
  begin:
    cmd: python src/cli.py begin
    outs: [start.bin]
"""
STUDY_YAML = """\
stages:
  fit:
    foreach: ${fits}
    do:
      wdir: ../..
      cmd: python src/cli.py study wide fit ${key}
      params:
        - studies/wide/params.yaml: [all, "fits.${key}", "nets.${item.net}"]
      deps: [src/dualprior/studies/wide/old.py, "restored/${item.task}.bin"]
      outs: ["wide/${key}"]  # a folder
  join:
    wdir: ../..
    cmd: python src/cli.py study wide join
    params:
      - studies/wide/params.yaml:
          - all
    deps: [wide/one]
    outs: [wide.csv]
"""
STUDY_PARAMS = """\
all: 1
nets: {big: {x: 1}, small: {x: 2}}
fits:
  one: {task: a, net: small}
  two: {task: b, net: big}
"""
WIDE = "studies/wide"


@pytest.fixture
def project(tmp_path):
    (tmp_path / "dvc.yaml").write_text(DVC_YAML)
    (tmp_path / "params.yaml").write_text("evaluate: {n: 1}\ntasks: {a: {x: 1}, b: {x: 2}}\n")
    return tmp_path


@pytest.fixture
def study(project):
    """The same project with a study."""
    write(project, {f"{WIDE}/dvc.yaml": STUDY_YAML, f"{WIDE}/params.yaml": STUDY_PARAMS})
    return project


def write(root, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def test_matrix_over_a_parameter_dict_gives_a_stage_per_key_in_working_order(project):
    assert [stage.id for stage in dag.read_stages(project)] == ["begin", "fix@a", "judge@a", "fix@b", "judge@b"]


def test_slots_are_filled_everywhere(project):
    stage = dag.find_stage(project, "judge", "b")
    assert stage.arguments == ["judge", "b"]
    assert stage.params == ("evaluate", "tasks.b")
    assert stage.deps == ("restored/b.bin",)
    assert stage.outs == ("judged/b.json",)


def test_unknown_stage_and_key_list_the_legal_ones(project):
    with pytest.raises(UserError, match="stage 'cook' is not in dvc.yaml; it has begin, fix, judge"):
        dag.find_stage(project, "cook")
    with pytest.raises(UserError, match="fix knows no 'c'; choose one of a, b"):
        dag.find_stage(project, "fix", "c")


def test_a_cycle_is_named(project):
    text = DVC_YAML.replace("outs: [start.bin]", "outs: [start.bin]\n    deps: [restored/a.bin]")
    (project / "dvc.yaml").write_text(text)
    with pytest.raises(UserError, match=r"begin.*wait for one another"):
        dag.read_stages(project)


def test_closure_follows_every_form_of_import(tmp_path):
    write(
        tmp_path / "src/pkg",
        {
            "__init__.py": "constant = 1\n",
            "sub/__init__.py": '"""Nothing happens here."""\n',
            "sub/start.py": "import numpy\nimport pkg.a\nfrom pkg import b, constant\nfrom . import near\nfrom ..up import thing\n",
            "a.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import pkg.unused\nelse:\n    import pkg.real\n"
            "def f():\n    from pkg.late import x\n",
            "b.py": "from pkg.sub.start import y\n",
            "late.py": "",
            "real.py": "",
            "up.py": "",
            "sub/near.py": "",
            "unused.py": "",
        },
    )
    found = dag.import_closure("pkg.sub.start", tmp_path / "src")
    names = ["__init__", "a", "b", "late", "real", "sub/near", "sub/start", "up"]
    assert found == [f"src/pkg/{name}.py" for name in names]


def test_closure_of_an_unwritten_module_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"pkg\.none has no file"):
        dag.import_closure("pkg.none", tmp_path)


def test_fingerprint_changes_with_declared_parameters_and_files_only(project):
    stage = dag.find_stage(project, "judge", "a")
    write(project, {"restored/a.bin": "1", "restored/b.bin": "1"})
    first = dag.fingerprint(stage, project)
    write(project, {"restored/b.bin": "2", "params.yaml": "evaluate: {n: 1}\ntasks: {a: {x: 1}, b: {x: 9}}\n"})
    assert dag.fingerprint(stage, project) == first
    write(project, {"restored/a.bin": "2"})
    second = dag.fingerprint(stage, project)
    write(project, {"params.yaml": "evaluate: {n: 2}\ntasks: {a: {x: 1}, b: {x: 9}}\n"})
    assert len({first, second, dag.fingerprint(stage, project)}) == 3


def test_code_dependencies_are_rewritten_and_the_rest_is_kept(project):
    for name in ("judge", "begin"):
        write(project, {f"src/dualprior/stages/{name}.py": ""})
    write(project, {"src/dualprior/stages/fix.py": "import dualprior.nets", "src/dualprior/nets.py": ""})
    text = DVC_YAML.replace("[start.bin]", "[start.bin]\n    deps: []")
    (project / "dvc.yaml").write_text(text)
    assert dag.write_code_deps(project) == ["judge", "fix", "begin"]
    assert dag.find_stage(project, "fix", "a").deps == ("src/dualprior/nets.py", "src/dualprior/stages/fix.py", "start.bin")
    assert "# the comment stays" in (project / "dvc.yaml").read_text()
    assert dag.write_code_deps(project) == []


def test_mermaid_draws_a_matrix_as_one_node_and_each_edge_once(project):
    lines = dag.mermaid(dag.read_stages(project)).splitlines()
    assert lines[:2] == ["```mermaid", "flowchart LR"]
    assert lines.count("    fix --> judge") == 1
    assert '    fix["fix × 2"]' in lines
    assert "    begin" in lines


# --- studies -----------------------------------------------------------------------------------------------


def test_a_study_is_a_folder_with_a_pipeline(study):
    write(study, {"studies/a/dvc.yaml": "stages: {}", "studies/notes/README.md": "", "studies/README.md": ""})
    assert dag.pipelines(study) == [".", "studies/a", WIDE]


def test_a_project_without_studies_is_one_pipeline(project):
    assert dag.pipelines(project) == ["."]


@pytest.mark.parametrize(
    ("pipeline", "module"), [(".", "dualprior.stages.fit"), (WIDE, "dualprior.studies.wide.fit"), ("studies/x", "dualprior.studies.x.fit")]
)
def test_the_module_of_a_stage_lies_where_its_pipeline_does(pipeline, module):
    assert dag.module_of(pipeline, "fit") == module


def test_foreach_over_a_parameter_dict_gives_a_stage_per_key(study):
    stages = dag.read_stages(study, WIDE)
    assert [stage.id for stage in stages] == ["fit@one", "fit@two", "join"]
    assert [(stage.name, stage.key) for stage in stages] == [("fit", "one"), ("fit", "two"), ("join", None)]


def test_foreach_fills_slots_by_the_key_and_by_the_fields_of_its_entry(study):
    stage = dag.find_stage(study, "fit", "two", WIDE)
    assert stage.arguments == ["study", "wide", "fit", "two"]
    assert stage.deps == ("src/dualprior/studies/wide/old.py", "restored/b.bin")
    assert stage.outs == ("wide/two",)


def test_parameters_of_another_file_are_its_sections_without_the_file(study):
    assert dag.find_stage(study, "fit", "one", WIDE).params == ("all", "fits.one", "nets.small")
    assert dag.find_stage(study, "join", None, WIDE).params == ("all",)


def test_a_stage_knows_its_pipeline_and_its_module(study):
    assert {(s.pipeline, s.module) for s in dag.read_stages(study, WIDE) if s.name == "fit"} == {(WIDE, "dualprior.studies.wide.fit")}
    begin = dag.find_stage(study, "begin")
    assert (begin.pipeline, begin.module) == (".", "dualprior.stages.begin")


def test_the_stages_of_a_study_are_not_those_of_the_default_experiment(study):
    assert {stage.name for stage in dag.read_stages(study)} == {"begin", "fix", "judge"}


def test_an_unknown_study_is_refused_with_the_known_ones_listed(study):
    write(study, {"studies/a/dvc.yaml": "stages: {}"})
    with pytest.raises(UserError, match="study 'narrow' does not exist; choose one of a, wide$"):
        dag.find_stage(study, "fit", "one", "studies/narrow")


def test_unknown_stage_and_key_of_a_study_list_its_own(study):
    with pytest.raises(UserError, match="stage 'judge' is not in .*dvc.yaml; it has fit, join"):
        dag.find_stage(study, "judge", "a", WIDE)
    with pytest.raises(UserError, match="fit knows no 'three'; choose one of one, two"):
        dag.find_stage(study, "fit", "three", WIDE)


@pytest.mark.parametrize(
    ("file", "stage"),
    [
        ("start.bin", "begin"),
        ("restored/a.bin", "fix"),
        ("wide/one", "fit"),
        ("wide/two/info.json", "fit"),
        ("wide/ones", None),
        ("wide.csv", "join"),
    ],
)
def test_the_maker_of_a_file_is_found_in_any_pipeline(study, file, stage):
    found = dag.maker(study, file)
    assert (found and found.name) == stage


def test_a_fingerprint_is_of_the_parameters_of_the_stages_own_pipeline(study):
    stage = dag.find_stage(study, "fit", "one", WIDE)
    first = dag.fingerprint(stage, study)
    (study / "params.yaml").write_text("evaluate: {n: 7}\ntasks: {a: {x: 7}, b: {x: 7}}\n")
    (study / WIDE / "params.yaml").write_text(STUDY_PARAMS.replace("big: {x: 1}", "big: {x: 7}"))
    assert dag.fingerprint(stage, study) == first
    (study / WIDE / "params.yaml").write_text(STUDY_PARAMS.replace("small: {x: 2}", "small: {x: 7}"))
    assert dag.fingerprint(stage, study) != first


def test_a_fingerprint_is_of_every_file_in_a_folder(study):
    stage = dag.find_stage(study, "join", None, WIDE)
    absent = dag.fingerprint(stage, study)
    write(study, {"wide/one/a.bin": "1", "wide/one/b.bin": "1"})
    first = dag.fingerprint(stage, study)
    write(study, {"wide/one/b.bin": "2"})
    assert len({absent, first, dag.fingerprint(stage, study)}) == 3


def test_code_dependencies_are_rewritten_in_every_pipeline(study):
    for name in ("judge", "fix", "begin"):
        write(study, {f"src/dualprior/stages/{name}.py": ""})
    write(
        study,
        {
            "src/dualprior/studies/wide/fit.py": "import dualprior.nets",
            "src/dualprior/studies/wide/join.py": "",
            "src/dualprior/nets.py": "",
        },
    )
    (study / "dvc.yaml").write_text(DVC_YAML.replace("[start.bin]", "[start.bin]\n    deps: []"))
    assert dag.write_code_deps(study) == ["judge", "fix", "begin", "fit", "join"]
    found = dag.find_stage(study, "fit", "one", WIDE).deps
    assert found == ("src/dualprior/nets.py", "src/dualprior/studies/wide/fit.py", "restored/a.bin")
    assert "# a folder" in (study / WIDE / "dvc.yaml").read_text()
    assert dag.write_code_deps(study) == []
