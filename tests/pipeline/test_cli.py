"""The command line: what it gives a stage, what it leaves behind, and how it ends; a mistake costs one line and exit code 2."""

import errno
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from workspace import PROJECT

from dualprior.common import io
from dualprior.common.errors import UserError
from dualprior.common.io import CheckpointFolder, read_json, write_json
from dualprior.common.paths import Paths
from dualprior.pipeline.config import apply_profile, profile_names


@pytest.fixture(autouse=True)
def _quiet(caplog):
    caplog.set_level(logging.WARNING)


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


# --- what a stage gets ---------------------------------------------------------------------------------------


def test_a_stage_gets_its_sections_its_paths_and_its_key(cli, stage):
    given = {}

    def run(config, paths, key):
        given.update(task=config.entry("tasks", key), paths=paths)

    stage("fit_dip", run, ("tasks.{key}",))
    assert cli("run", "fit_dip", "sr4").code == 0
    assert given["task"].settings.factor == 4
    assert given["paths"] == Paths(Path())


def test_a_stage_of_a_study_gets_the_study_s_sections_first_and_its_own_folders(cli, stage):
    given = {}

    def run(config, paths):
        given.update(own=config.ablate.start_scale, default=config.restore.seed, paths=paths)

    stage("ablate", run, ("ablate", "restore"))
    assert cli("run", "--study", "hybrid", "ablate").code == 0
    assert len(given["own"]) > 6  # the default experiment sweeps fewer
    assert given["default"] == 0
    assert given["paths"].data == Path("data/hybrid")


def test_a_stage_that_a_study_does_not_have_itself_is_the_default_one(little):
    import cli as module

    assert module._stage_module("fit_dip", "hybrid").__name__ == "dualprior.pipeline.fit_dip"
    assert module._stage_module("photographs", "hybrid").__name__ == "studies.hybrid.photographs"


def test_reading_what_a_stage_does_not_declare_fails(cli, stage):
    stage("degrade", lambda config, paths: config.dip)
    with pytest.raises(AttributeError, match="does not declare the parameter section 'dip'"):
        cli("run", "degrade")


def test_success_is_noted_beside_the_pipeline_and_failure_is_not(cli, stage, little):
    stage("degrade", lambda config, paths: None)
    assert cli("run", "degrade").code == 0
    assert cli("run", "--study", "hybrid", "degrade").code == 0
    for folder in (".", "studies/hybrid"):
        assert read_json(little / folder / "metrics/run_statistics.json")["degrade"]["seconds"] > 0

    def fails(config, paths):
        raise UserError("the training loss is nan at step 7; lower ddpm.training.lr")

    stage("train_ddpm", fails)
    outcome = cli("run", "train_ddpm")
    assert (outcome.code, outcome.one_line()) == (2, "error: the training loss is nan at step 7; lower ddpm.training.lr")
    assert list(read_json(little / "metrics/run_statistics.json")) == ["degrade"]


def test_a_defect_keeps_its_traceback(cli, stage):
    stage("prepare", lambda config, paths: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cli("run", "prepare")


def test_an_interrupted_stage_ends_with_130(cli, stage):
    stage("prepare", lambda config, paths: signal.raise_signal(signal.SIGTERM))
    assert cli("run", "prepare").code == 130


def test_threads_are_set_for_the_stage(cli, stage, monkeypatch):
    monkeypatch.setenv("DUALPRIOR_THREADS", "3")
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "1")
    seen = []
    stage("prepare", lambda config, paths: seen.append(os.environ["OMP_NUM_THREADS"]))
    assert cli("run", "prepare").code == 0
    assert seen == ["3"]


# --- mistakes --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("  patch_size:", "  patch_sise:", "data.patch_size is missing"),
        ("  source: photos", "  source: photos\n  colour: true", "data.colour = True is not a parameter; check its spelling"),
        ("  bootstrap: ", "  bootstrap: many #", "evaluate.bootstrap = 'many': "),
        ("keep: 0.2", "keep: 1.2", "operator random_mask: keep: input should be less than 1"),
        ("operator: random_mask", "operator: kaleidoscope", "operator 'kaleidoscope' is unknown; choose one of identity"),
        ("noise: 25}", "noise: 0}", "denoising with noise 0 has nothing to restore"),
        ("factor: 4", "box: 4", "operator block_average: factor: field required"),
        ("  timesteps: ", "  timesteps: -", "ddpm.schedule.timesteps = -"),
        ("data:", "data: [", "params.yaml is not valid YAML: "),
        ("tasks: [denoise50, sr4]", "tasks: [denoise51]", "ablate.tasks names ['denoise51'], which tasks does not have"),
    ],
)
def test_wrong_parameters(cli, little, old, new, message):
    edit(little / "params.yaml", old, new)
    outcome = cli("run", "prepare")
    assert outcome.code == 2
    assert message in outcome.one_line()


def test_a_wrong_parameter_of_a_study_names_its_file(cli, little):
    edit(little / "studies/stopping/params.yaml", "network: skip, steps: 400, every: 10", "network: skop, steps: 400, every: 10")
    outcome = cli("run", "--study", "stopping", "stop")
    assert outcome.one_line().startswith("error: studies/stopping/params.yaml: fits.sr4.skip names the network skop; networks has")


def test_no_parameters_at_all(cli, little):
    (little / "params.yaml").unlink()
    assert cli("run", "prepare").one_line() == "error: params.yaml does not exist; run from the project's folder"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("run fit_dip sr8", "is missing; run `dvc repro`"),
        ("run fit_dip", "fit_dip is run for one task or problem at a time; name it"),
        ("run degrade sr4", "degrade is run once, for all; leave out 'sr4'"),
        ("run cook", "stage 'cook' is not in dvc.yaml; choose one of prepare, degrade,"),
        ("run --study sleeping fit", "study 'sleeping' does not exist; did you mean 'stopping'? The choices are hybrid,"),
        ("run --study stopping cook", "stage 'cook' is not in studies/stopping/dvc.yaml; choose one of degrade, fit, stop, evaluate"),
        ("run --study stopping fit sr8", "problem 'sr8' is not in params.yaml; did you mean 'sr4'? The choices"),
        ("profile huge", "profile 'huge' does not exist; choose one of gpu, smoke"),
        ("run", "Missing argument 'STAGE'"),
        ("restor sr4", "No such command 'restor'"),
        ("run prepare --fast", "--fast"),
        ("readme", "is missing; run `dvc repro`"),
        ("run degrade", "data/manifest.csv is missing; run `dvc repro`"),
        ("run fit_dip sr4", "is missing; run `dvc repro`"),
        ("run restore sr4", "is missing; run `dvc repro`"),
        ("run train_ddpm", "data/train.npy is missing; run `dvc repro`"),
        ("run generate", "models/ddpm.safetensors is missing; run `dvc repro`"),
        ("run evaluate", "is missing; run `dvc repro`"),
        ("run ablate", "is missing; run `dvc repro`"),
        ("run audit", "is missing; run `dvc repro`"),
        ("run --study hybrid evaluate", "data/hybrid/manifest.csv is missing"),
    ],
)
def test_wrong_arguments_and_missing_inputs(cli, arguments, message):
    outcome = cli(*arguments.split())
    assert outcome.code == 2
    assert message in outcome.one_line()


@pytest.mark.parametrize("value", ["0", "-1", "two"])
def test_wrong_number_of_threads(cli, monkeypatch, value):
    monkeypatch.setenv("DUALPRIOR_THREADS", value)
    assert cli("run", "prepare").one_line() == f"error: DUALPRIOR_THREADS={value} is not a number of threads; set it to 1 or more"


def use_folder(little: Path, folder: Path) -> None:
    edit(little / "params.yaml", "source: photos", "source: folder")
    edit(little / "params.yaml", "folder: null", f"folder: {folder}")


def test_a_folder_without_one_readable_photograph(cli, little, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/broken.png").write_bytes(b"not a picture")
    use_folder(little, tmp_path / "mine")
    outcome = cli("run", "prepare")
    assert outcome.code == 2
    assert str(tmp_path / "mine") in outcome.one_line()


def test_photographs_that_are_too_small(cli, little, tmp_path, caplog):
    (tmp_path / "mine").mkdir()
    for number in range(4):
        Image.fromarray(np.full((8, 8, 3), number, np.uint8)).save(tmp_path / f"mine/{number}.png")
    use_folder(little, tmp_path / "mine")
    outcome = cli("run", "prepare")
    assert outcome.code == 2
    assert all(f"{number}.png is 8 x 8 pixels, at scale 1 too small" in caplog.text for number in range(4))
    assert "holds no usable photograph; see above" in outcome.err


def test_a_diverged_training_keeps_the_checkpoint_before_it(cli, little, monkeypatch):
    assert cli("profile", "smoke").code == 0
    params = re.sub(r"    lr: .*", "    lr: 1.0e+30", (little / "params.yaml").read_text(), count=1)
    (little / "params.yaml").write_text(re.sub(r"checkpoint_every: \d+", "checkpoint_every: 1", params))
    pixels = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
    io.write_array(Paths(little).split("train"), pixels)
    io.write_array(Paths(little).split("val"), pixels[:2])
    outcome = cli("run", "train_ddpm")
    assert outcome.code == 2
    line = next(line for line in outcome.err.splitlines() if line.startswith("error: "))
    found = re.fullmatch(r"error: the training loss is (?:nan|inf) at step (\d+); lower ddpm\.training\.lr .*", line)
    (folder,) = {file.parent for file in little.glob(".scratch/default/train_ddpm/*/checkpoint.pt")}
    assert CheckpointFolder(folder).load()["state"]["step"] == int(found[1]) - 1 > 0
    assert not (little / "models").exists()
    assert not list(little.rglob("*.part"))


def test_a_full_disk_under_a_stage_keeps_what_was_there(cli, stage, little, monkeypatch):
    file = Paths(little).metrics("findings.json")
    write_json(file, {"old": 1})

    def full(source, target):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def evaluate(config, paths):
        monkeypatch.setattr(io.os, "replace", full)
        write_json(paths.metrics("findings.json"), {"new": 2})

    stage("evaluate", evaluate)
    outcome = cli("run", "evaluate")
    assert outcome.one_line() == "error: the disk is full: metrics/findings.json was not written; free some space and run again"
    assert os.listdir(little / "metrics") == ["findings.json"]
    assert "old" in file.read_text()


def test_a_full_disk_anywhere_else(cli, stage):
    def prepare(config, paths):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    stage("prepare", prepare)
    outcome = cli("run", "prepare")
    assert (outcome.code, outcome.one_line()) == (1, "error: the disk is full; free some space and run again")


def test_the_real_command_says_one_line_too(little):
    shutil.copytree(PROJECT / "src", little / "src", ignore=shutil.ignore_patterns("__pycache__"))
    run = subprocess.run([sys.executable, "src/cli.py", "run", "cook"], cwd=little, capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.startswith("error: stage 'cook' is not in dvc.yaml; choose one of ")
    assert run.stderr.count("\n") == 1


def test_the_shell_completes_a_command_and_its_options():
    asked = {"_SRC/CLI.PY_COMPLETE": "complete_bash", "COMP_WORDS": "src/cli.py restore --no", "COMP_CWORD": "2"}
    run = subprocess.run([sys.executable, "src/cli.py"], cwd=PROJECT, env=os.environ | asked, capture_output=True, text=True)
    assert run.stdout.split() == ["--noise"]


# --- profiles --------------------------------------------------------------------------------------------------


def test_a_profile_prints_the_difference_keeps_comments_and_then_agrees(cli, little):
    assert "dip.steps: " in cli("profile", "smoke").out
    text = (little / "params.yaml").read_text()
    assert "# training patches are taken at these sizes" in text
    assert "scales: [1.0, 0.5, 0.25]" in text
    assert "folder: null" in text
    assert "already agrees" in cli("profile", "smoke").out


@pytest.mark.parametrize(
    ("overlay", "message"),
    [
        ("dip: {stepz: 3}", "dip.stepz is not a parameter; dip has seed, networks"),
        ("dip: 3", "dip = 3 replaces a whole section; give its entries one by one"),
        ("dip: {steps: 0}", "profiles/mine.yaml: dip.steps = 0: "),
        ("dip: [", "profiles/mine.yaml is not valid YAML"),
    ],
)
def test_a_wrong_profile_is_refused_and_changes_nothing(little, overlay, message):
    (little / "profiles/mine.yaml").write_text(overlay)
    before = (little / "params.yaml").read_text()
    with pytest.raises(UserError, match=re.escape(message)):
        apply_profile(Path(), "mine")
    assert (little / "params.yaml").read_text() == before


@pytest.mark.parametrize("name", profile_names(PROJECT))
def test_every_profile_fits_the_parameters(little, name):
    assert apply_profile(Path(), name)
