"""A user's mistake costs one line that says what is wrong, the value and what to do; exit code 2 or 1; no traceback."""

import errno
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from dualprior.common import io
from dualprior.common.io import CheckpointFolder, write_json
from dualprior.common.paths import Paths

PROJECT = Path(__file__).parents[2]


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("  patch_size:", "  patch_sise:", "data.patch_size is missing"),
        ("  source: photos", "  source: photos\n  colour: true", "data.colour = True is not a parameter; check its spelling"),
        ("  bootstrap: ", "  bootstrap: many #", "evaluate.bootstrap = 'many': "),
        ("keep: 0.2", "keep: 1.2", "tasks.inpaint_random.keep = 1.2: Input should be less than 1"),
        ("  timesteps: ", "  timesteps: -", "ddpm.schedule.timesteps = -"),
        ("data:", "data: [", "params.yaml is not valid YAML: "),
    ],
)
def test_wrong_parameters(cli, little, old, new, message):
    edit(little / "params.yaml", old, new)
    outcome = cli("prepare")
    assert outcome.code == 2
    assert message in outcome.one_line()


def test_no_parameters_at_all(cli, little):
    (little / "params.yaml").unlink()
    outcome = cli("prepare")
    assert outcome.code == 2
    assert outcome.one_line() == "error: params.yaml does not exist; run from the project's folder"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("degrade sr8", "degrade knows no 'sr8'; choose one of denoise25, denoise50, sr4,"),
        ("ablate colour", "ablate knows no 'colour'; choose one of start_level, start_scale,"),
        ("profile huge", "profile 'huge' does not exist; choose one of default, gpu, smoke"),
        ("degrade", "Missing argument 'TASK'"),
        ("restor sr4", "No such command 'restor'"),
        ("prepare --fast", "--fast"),
        ("readme", "README.md is missing"),
        ("degrade sr4", "is missing: stage prepare has not run; run `dvc repro` or `python src/cli.py all`"),
        ("fit-dip sr4", "data/measurements/sr4.safetensors is missing: stage degrade has not run"),
        ("restore sr4", "is missing: stage "),
        ("evaluate sr4", "is missing: stage "),
        ("train-ddpm", "data/train.npy is missing: stage prepare has not run"),
        ("generate", "is missing: stage train_ddpm has not run"),
        ("evaluate-generation", "is missing: stage "),
        ("ablate calls", "is missing: stage "),
        ("summarise", "is missing: stage evaluate has not run"),
    ],
)
def test_wrong_arguments_and_missing_inputs(cli, arguments, message):
    outcome = cli(*arguments.split())
    assert outcome.code == 2
    assert message in outcome.one_line()


@pytest.mark.parametrize("value", ["0", "-1", "two"])
def test_wrong_number_of_threads(cli, monkeypatch, value):
    monkeypatch.setenv("DUALPRIOR_THREADS", value)
    outcome = cli("prepare")
    assert outcome.code == 2
    assert outcome.one_line() == f"error: DUALPRIOR_THREADS={value} is not a number of threads; set it to 1 or more"


def use_folder(little: Path, folder: Path) -> None:
    edit(little / "params.yaml", "source: photos", "source: folder")
    edit(little / "params.yaml", "folder: null", f"folder: {folder}")


def test_a_folder_without_one_readable_photograph(cli, little, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/broken.png").write_bytes(b"not a picture")
    use_folder(little, tmp_path / "mine")
    outcome = cli("prepare")
    assert outcome.code == 2
    assert str(tmp_path / "mine") in outcome.one_line()


def test_photographs_that_are_too_small(cli, little, tmp_path):
    (tmp_path / "mine").mkdir()
    for number in range(4):
        Image.fromarray(np.full((8, 8, 3), number, np.uint8)).save(tmp_path / f"mine/{number}.png")
    use_folder(little, tmp_path / "mine")
    outcome = cli("prepare")
    assert outcome.code == 2
    assert "mine/0.png is 8 x 8 pixels, at scale " in outcome.one_line()
    assert "too small for pieces of " in outcome.one_line()
    assert "remove it, or lower data.image_size and data.patch_size in params.yaml" in outcome.one_line()


def test_a_diverged_training_keeps_the_checkpoint_before_it(cli, little, monkeypatch):
    monkeypatch.setenv("DUALPRIOR_DEVICE", "cpu")
    assert cli("profile", "smoke").code == 0
    params = (little / "params.yaml").read_text()
    params = re.sub(r"    lr: .*", "    lr: 1.0e+30", params, count=1)
    (little / "params.yaml").write_text(re.sub(r"checkpoint_every: \d+", "checkpoint_every: 1", params))
    pixels = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
    io.write_array(Paths(little).train, pixels)
    io.write_array(Paths(little).val, pixels[:2])
    outcome = cli("train-ddpm")
    assert outcome.code == 2
    found = re.fullmatch(r"error: the training loss is (?:nan|inf) at step (\d+); lower ddpm\.training\.lr .*", outcome.one_line())
    (folder,) = {file.parent for file in little.glob(".scratch/train_ddpm/*/checkpoint.pt")}
    assert CheckpointFolder(folder).load()["state"]["step"] == int(found[1]) - 1 > 0
    assert not Paths(little).model.exists()
    assert not list(little.rglob("*.part"))


def test_a_second_writer_on_a_checkpoint_folder(cli, little, monkeypatch):
    """The first writer is another process, stopped in the middle of its work."""
    program = (
        "from pathlib import Path; from dualprior.artifacts import CheckpointFolder\n"
        "with CheckpointFolder(Path('folder')): print('held', flush=True); input()"
    )
    first = subprocess.Popen(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": str(PROJECT / "src")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert first.stdout.readline() == "held\n"

    def train(config, paths, key):
        with CheckpointFolder(Path("folder")):
            raise AssertionError("two writers")

    monkeypatch.setitem(sys.modules, "dualprior.stages.train_ddpm", SimpleNamespace(run=train))
    outcome = cli("train-ddpm")
    first.communicate("\n")
    assert outcome.code == 2
    assert "folder is in use by another process; wait until it ends or stop it" in outcome.one_line()
    assert first.returncode == 0


def test_a_full_disk_under_a_stage_keeps_what_was_there(cli, little, monkeypatch):
    write_json(Paths(little).claims, {"old": 1})

    def full(source, target):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def summarise(config, paths, key):
        monkeypatch.setattr(io.os, "replace", full)
        write_json(paths.claims, {"new": 2})

    monkeypatch.setitem(sys.modules, "dualprior.stages.summarise", SimpleNamespace(run=summarise))
    outcome = cli("summarise")
    assert outcome.code == 2
    assert outcome.one_line() == "error: the disk is full: metrics/claims.json was not written; free some space and run again"
    assert os.listdir(little / "metrics") == ["claims.json"]
    assert "old" in Paths(little).claims.read_text()


def test_a_full_disk_anywhere_else(cli, monkeypatch):
    def prepare(config, paths, key):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setitem(sys.modules, "dualprior.stages.prepare", SimpleNamespace(run=prepare))
    outcome = cli("prepare")
    assert outcome.code == 1
    assert outcome.one_line() == "error: the disk is full; free some space and run again"


def test_the_real_command_says_one_line_too(little):
    shutil.copytree(PROJECT / "src", little / "src", ignore=shutil.ignore_patterns("__pycache__"))
    run = subprocess.run([sys.executable, "src/cli.py", "degrade", "sr8"], cwd=little, capture_output=True, text=True)
    assert run.returncode == 2
    assert run.stdout == ""
    assert run.stderr.startswith("error: degrade knows no 'sr8'; choose one of ")
    assert run.stderr.count("\n") == 1
