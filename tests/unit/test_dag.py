"""dvc.yaml is read as DVC reads it; a stage's code is what its module imports."""

import pytest

from dualprior import dag
from dualprior.errors import UserError

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


@pytest.fixture
def project(tmp_path):
    (tmp_path / "dvc.yaml").write_text(DVC_YAML)
    (tmp_path / "params.yaml").write_text("evaluate: {n: 1}\ntasks: {a: {x: 1}, b: {x: 2}}\n")
    return tmp_path


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
