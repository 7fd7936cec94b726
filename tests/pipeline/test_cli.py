"""The command line: what it gives a stage, what it leaves behind, and how it ends."""

import logging
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from dualprior.common.config import read_yaml

from dualprior import dag
from dualprior.common.errors import UserError
from dualprior.common.io import read_json, write_json
from dualprior.common.paths import Paths

PROJECT = Path(__file__).parents[2]
STOPPING = "studies/stopping"
HYBRID = "studies/hybrid"
FIRST = {stage.name: stage.key for stage in reversed(dag.read_stages(PROJECT, STOPPING))}  # key of each stage of the study


@pytest.fixture
def study(little):
    """The little project with its studies: their two YAML files."""
    for file in (*PROJECT.glob("studies/*/params.yaml"), *PROJECT.glob("studies/*/dvc.yaml")):
        place = little / file.relative_to(PROJECT)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, place)
    return little


@pytest.fixture
def stage(monkeypatch):
    """Let `run` stand in for a stage: stage("degrade", run)."""

    def replace(name: str, run, pipeline: str = dag.MAIN) -> None:
        monkeypatch.setitem(sys.modules, dag.module_of(pipeline, name), SimpleNamespace(run=run))

    return replace


def test_a_stage_gets_its_sections_its_paths_and_its_key(cli, stage, little, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(little / "elsewhere"))
    given = {}
    stage("degrade", lambda config, paths, key: given.update(task=config.task("sr4"), paths=paths, key=key))
    fingerprint = dag.fingerprint(dag.find_stage(little, "degrade", "sr4"), little)
    assert cli("degrade", "sr4").code == 0
    assert given["task"].operator == "block_average"
    assert given["paths"] == Paths(Path(), little / f"elsewhere/.scratch/degrade@sr4/{fingerprint}")
    assert given["key"] == "sr4"


def test_reading_what_dvc_yaml_does_not_declare_fails(cli, stage):
    stage("degrade", lambda config, paths, key: config.dip)
    with pytest.raises(AttributeError, match="does not declare the parameter section 'dip'"):
        cli("degrade", "sr4")


def test_success_is_timed_and_clears_the_checkpoints(cli, stage, little):
    stage("degrade", lambda config, paths, key: write_json(paths.scratch / "checkpoint", {}))
    assert cli("degrade", "sr4").code == 0
    assert list(read_json(little / "metrics/timing.json")) == ["degrade@sr4"]
    assert not list(little.glob(".scratch/degrade@sr4/*"))


def test_failure_is_not_timed_and_keeps_the_checkpoints(cli, stage, little):
    def run(config, paths, key):
        write_json(paths.scratch / "checkpoint", {})
        raise UserError("the training loss is nan at step 7; lower ddpm.training.lr")

    stage("train_ddpm", run)
    outcome = cli("train-ddpm")
    assert outcome.code == 2
    assert outcome.one_line() == "error: the training loss is nan at step 7; lower ddpm.training.lr"
    assert not (little / "metrics/timing.json").exists()
    assert list(little.glob(".scratch/train_ddpm/*/checkpoint"))


def test_a_defect_keeps_its_traceback(cli, stage):
    def run(config, paths, key):
        raise ZeroDivisionError

    stage("prepare", run)
    with pytest.raises(ZeroDivisionError):
        cli("prepare")


def test_an_interrupted_stage_ends_with_130(cli, stage):
    def run(config, paths, key):
        signal.raise_signal(signal.SIGTERM)

    stage("prepare", run)
    assert cli("prepare").code == 130


def test_threads_are_set_before_torch_is_imported(cli, stage, monkeypatch):
    monkeypatch.setenv("DUALPRIOR_THREADS", "3")
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
    measured = []
    stage("prepare", lambda config, paths, key: measured.append(os.environ["OMP_NUM_THREADS"]))
    assert cli("prepare").code == 0
    assert measured == ["3"]
    assert (
        "torch"
        not in subprocess.run(
            [sys.executable, "-c", "import sys, cli; from dualprior import config, dag; print(*sys.modules)"],
            env=os.environ | {"PYTHONPATH": str(PROJECT / "src")},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
    )


def test_all_runs_every_stage_in_order_and_stops_at_the_first_failure(cli, little, monkeypatch):
    import cli as module

    commands = []

    def wait(command):
        commands.append(command[2:])
        return 2 if command[2:] == ["train-ddpm"] else 0

    monkeypatch.setattr(module, "_wait", wait)
    assert cli("all").code == 2
    order = [stage.arguments for stage in dag.read_stages(little)]
    assert commands == order[: order.index(["train-ddpm"]) + 1]
    monkeypatch.setattr(module, "_wait", lambda command: 0)
    outcome = cli("all")
    assert outcome.code == 0
    assert outcome.out.count("Running stage") == len(order)


def test_all_of_a_study_runs_its_stages_and_no_other(cli, study, monkeypatch):
    import cli as module

    commands = []
    monkeypatch.setattr(module, "_wait", lambda command: commands.append(command[2:]))
    assert cli("all", "--study", "stopping").code == 0
    assert commands == [stage.arguments for stage in dag.read_stages(study, STOPPING)]
    names = [command[2] for command in commands]
    assert {tuple(command[:2]) for command in commands} == {("study", "stopping")}
    assert names[-1] == "judge"
    for before, after in (("measure", "stop"), ("fit", "stop"), ("guide", "judge"), ("stop", "judge")):
        assert max(i for i, name in enumerate(names) if name == before) < names.index(after)
    for command in commands:
        if command[2] == "fit":
            problem = read_yaml(study / STOPPING / "params.yaml")["fits"][command[3]]["problem"]
            assert commands.index(["study", "stopping", "measure", problem]) < commands.index(command)


def test_all_of_a_study_stops_at_its_first_failure(cli, study, monkeypatch):
    import cli as module

    commands = []

    def wait(command):
        commands.append(command[2:])
        return 2 if command[4] == "fit" else 0

    monkeypatch.setattr(module, "_wait", wait)
    assert cli("all", "--study", "stopping").code == 2
    assert commands[-1][2] == "fit"
    assert [command[2] for command in commands].count("fit") == 1


def test_all_of_an_unknown_study_is_one_line_and_runs_nothing(cli, study, monkeypatch):
    import cli as module

    monkeypatch.setattr(module, "_wait", lambda command: pytest.fail(f"ran {command}"))
    outcome = cli("all", "--study", "sleeping")
    assert outcome.code == 2
    assert "sleeping" in outcome.one_line()


def test_a_stage_of_a_study_gets_its_sections_its_paths_and_its_key(cli, stage, study):
    given = {}

    def run(config, paths, key):
        given.update(fit=config.entry("fits", "skip-sr4"), problem=config.entry("problems", "sr4"), paths=paths, key=key)

    stage("fit", run, STOPPING)
    fingerprint = dag.fingerprint(dag.find_stage(study, "fit", "skip-sr4", STOPPING), study)
    assert cli("study", "stopping", "fit", "skip-sr4").code == 0
    assert (given["fit"].network, given["problem"].factor, given["key"]) == ("skip", 4, "skip-sr4")
    assert given["paths"] == Paths(Path(), Path(f".scratch/{STOPPING}/fit@skip-sr4/{fingerprint}"), STOPPING)


def test_a_stage_of_a_study_without_keys_needs_none(cli, stage, study):
    given = []
    stage("stop", lambda config, paths, key: given.append(key), STOPPING)
    assert cli("study", "stopping", "stop").code == 0
    assert given == [None]


def test_a_stage_of_a_study_cannot_read_what_it_does_not_declare(cli, stage, study):
    stage("fit", lambda config, paths, key: config.rules, STOPPING)
    with pytest.raises(AttributeError, match="does not declare the parameter section 'rules'"):
        cli("study", "stopping", "fit", "skip-sr4")


def test_a_stage_of_a_study_is_timed_beside_the_study(cli, stage, study):
    stage("measure", lambda config, paths, key: None, STOPPING)
    assert cli("study", "stopping", "measure", "sr4").code == 0
    assert list(read_json(study / STOPPING / "metrics/timing.json")) == ["measure@sr4"]
    assert not (study / "metrics/timing.json").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("study sleeping fit skip-sr4", "study 'sleeping' does not exist; choose one of hybrid, report, stopping"),
        ("study stopping cook", "stage 'cook' is not in "),
        ("study stopping cook", "it has measure, fit, guide, stop, judge"),
        ("study stopping fit skip-sr8", f"fit knows no 'skip-sr8'; choose one of {FIRST['fit']}, "),
        ("study stopping stop sr4", "stop is run once, for all; leave out 'sr4'"),
        ("study stopping fit", f"fit is run for one at a time; choose one of {FIRST['fit']}, "),
        ("study hybrid fit-dip sr8", "fit_dip knows no 'sr8'; choose one of "),
        ("study hybrid fit", "stage 'fit' is not in studies/hybrid/dvc.yaml; it has crops, "),
        ("all --study sleeping", "study 'sleeping' does not exist; choose one of hybrid, report, stopping"),
        ("study stopping", "Missing argument 'STAGE'"),
        ("study stopping measure sr4", "data/manifest.csv is missing: stage prepare has not run"),
        ("study stopping fit skip-sr4", "data/stopping/measured/sr4.safetensors is missing: stage measure has not run"),
        (f"study stopping guide {FIRST['guide']}", "models/ddpm.json is missing: stage train_ddpm has not run"),
        ("study stopping judge", "data/manifest.csv is missing: stage prepare has not run"),
    ],
)
def test_a_mistake_about_a_study_is_one_line(cli, study, monkeypatch, arguments, message):
    monkeypatch.setenv("DUALPRIOR_DEVICE", "cpu")
    outcome = cli(*arguments.split())
    assert outcome.code == 2
    assert message in outcome.one_line()


def test_a_wrong_parameter_of_a_study_names_its_file(cli, study):
    file = study / STOPPING / "params.yaml"
    file.write_text(file.read_text().replace("problem: sr4", "problem: sr8", 1))
    outcome = cli("study", "stopping", "stop")
    assert outcome.code == 2
    assert outcome.one_line().startswith("error: studies/stopping/params.yaml: fits.skip-sr4 names sr8, which problems does not have")


def test_all_ends_its_stage_when_it_is_told_to_end(little):
    import cli as module

    begin = time.monotonic()
    program = [sys.executable, "-c", "import time; print('up', flush=True); time.sleep(60)"]
    signal.signal(signal.SIGALRM, lambda *_: module._interrupt())
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    with pytest.raises(KeyboardInterrupt):
        module._wait(program)
    assert time.monotonic() - begin < 30


def test_dag_lists_the_stages(cli, little):
    assert cli("dag").out.split() == [stage.id for stage in dag.read_stages(little)]


def test_profile_prints_the_difference_and_then_agrees(cli):
    assert "dip.steps: " in cli("profile", "smoke").out
    assert "already agrees" in cli("profile", "smoke").out


PARTS = ("answers", "results", "claims", "hybrid", "stopping", "dag", "timing")
README = "# Title\n" + "text\n".join(f"<!-- BEGIN {part} -->\nold {part}\n<!-- END {part} -->\n" for part in PARTS)
CLAIM = {"value": 0.1, "lo": -0.1, "hi": 0.3, "goal": 0.5, "holds": False, "rival": "one_step", "reading": "short"}


def test_readme_takes_its_tables_from_the_metrics(cli, little):
    write_json(little / "metrics/timing.json", {"prepare": 2.0})
    write_json(little / "metrics/memory.json", {"prepare": 300})
    write_json(
        little / "metrics/claims.json", {"hybrid_gain_db_sr4": CLAIM, "hybrid_vs_control_db_sr4": CLAIM, "stopping_gap_sr4_db": CLAIM}
    )
    stopping = ("gap_mean_db", "gap_p95_db", "fail_share", "split_price_db", "split_price_same_cost_db", "gap_sr4_db")
    write_json(little / STOPPING / "metrics/claims.json", {f"stopping_{name}": CLAIM | {"rival_value": 1.0} for name in stopping})
    wide = [f"{name}_sr4" for name in ("hybrid_gain_db", "hybrid_vs_long_mean_db", "hybrid_vs_control_db", "dip_start_gain_db")]
    wide.append("weak_prior_vs_control_db")
    write_json(little / HYBRID / "metrics/claims.json", {name: CLAIM | {"prior": "other"} for name in wide})
    (little / HYBRID / "metrics/per_image.csv").write_text(
        "task,method,prior,image,seed,psnr,iterations,seconds\nsr4,hybrid,full,a,0,30,12,3.0\nsr4,ddpm_mean_long,full,a,0,29,0,1.5\n"
        "sr4,ddpm_best,full,a,0,28,0,0.1\nsr4,ddpm_1000,full,a,0,27,0,9.0\n"
    )
    (little / HYBRID / "metrics/groups.csv").write_text("task,what,low\nsr4,over control x,0.1\n")
    (little / "metrics/results.md").write_text("| task | psnr |\n")
    assert "README.md is missing" in cli("readme").one_line()
    (little / "README.md").write_text(README)
    stale = cli("readme", "--check")
    assert stale.code == 2
    assert stale.one_line() == "error: README.md is not in step with the metrics; run `python src/cli.py readme`"
    assert (little / "README.md").read_text() == README
    assert cli("readme").code == 0
    text = (little / "README.md").read_text()
    assert "| task | psnr |" in text
    assert "0 of 3 claims hold." in text
    assert "| hybrid_gain_db_sr4 " in text
    assert "at 2.0 to 2.0 times its seconds" in text
    assert "0 of 5 claims hold." in text
    assert "0 of 6 claims hold." in text
    assert "| stopping_split_price_db " in text
    assert dag.mermaid(dag.read_stages(little)).strip() in text
    assert "| prepare | 1 | 2 | 300 |" in text
    assert not [part for part in PARTS if f"old {part}" in text]
    assert cli("readme", "--check").code == 0


@pytest.fixture(autouse=True)
def _quiet(caplog):
    caplog.set_level(logging.WARNING)
