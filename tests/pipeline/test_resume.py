"""Real training processes on invented patches: killed, interrupted, run twice at once, and resumed."""

import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from workspace import Workspace, new_workspace

from dualprior.pipeline.config import apply_profile

pytestmark = pytest.mark.pipeline
WEIGHTS = "models/ddpm.safetensors"
FILES = (WEIGHTS, "metrics/train.json", "metrics/train_curve.csv")


class Story(NamedTuple):
    """One run left alone, and one that was interrupted twice and then left to end."""

    alone: Workspace
    interrupted: Workspace
    killed: int  # exit status of the first attempt, which kill -9 ended
    written_after_kill: bool
    terminated: subprocess.CompletedProcess  # the second attempt, which SIGTERM ended


@pytest.fixture(scope="module")
def story(tmp_path_factory) -> Story:
    interrupted = workspace(tmp_path_factory.mktemp("resume"))
    alone = interrupted.copy(tmp_path_factory.mktemp("alone") / "project")
    whole = start(alone)
    first = start(interrupted)
    wait_for_checkpoint(interrupted, first)
    first.kill()
    first.communicate()
    written = (interrupted.root / WEIGHTS).exists()

    second = start(interrupted)
    wait_for_checkpoint(interrupted, second, after=checkpoint(interrupted).stat().st_mtime_ns)
    second.terminate()
    terminated = finished(second)
    interrupted.cli("run", "train_ddpm")
    finished(whole).check_returncode()
    return Story(alone, interrupted, first.returncode, written, terminated)


def workspace(folder: Path) -> Workspace:
    made = new_workspace(folder)
    apply_profile(made.root, "smoke")
    made.edit("params.yaml", "    steps: 20", "    steps: 60")  # long enough to be interrupted twice
    (made.root / "data").mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    np.save(made.root / "data/train.npy", rng.integers(0, 256, (64, 16, 16, 3), dtype=np.uint8))
    np.save(made.root / "data/val.npy", rng.integers(0, 256, (2, 16, 16, 3), dtype=np.uint8))
    return made


def start(workspace: Workspace) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "src/cli.py", "run", "train_ddpm"],
        cwd=workspace.root, env=workspace.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def finished(process: subprocess.Popen) -> subprocess.CompletedProcess:
    out, err = process.communicate()
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def checkpoint(workspace: Workspace) -> Path | None:
    return next((workspace.root / ".scratch").glob("default/train_ddpm/*/checkpoint.pt"), None)


def wait_for_checkpoint(workspace: Workspace, process: subprocess.Popen, after: int = 0) -> None:
    """Until there is one written later than `after`; fails when the process ends first."""
    for _ in range(12_000):
        file = checkpoint(workspace)
        if file is not None and file.stat().st_mtime_ns > after:
            return
        assert process.poll() is None, f"training ended before its next checkpoint\n{process.stderr.read()}"
        time.sleep(0.005)
    process.kill()
    raise AssertionError("no checkpoint")


def test_a_killed_run_leaves_a_checkpoint_and_no_result(story):
    assert story.killed == -signal.SIGKILL
    assert not story.written_after_kill


def test_a_run_told_to_end_ends_with_130(story):
    assert story.terminated.returncode == 130
    assert "Traceback" not in story.terminated.stderr


def test_a_resumed_run_says_where_it_resumes(story):
    assert "resumed at step " in story.terminated.stderr


@pytest.mark.parametrize("name", FILES)
def test_killed_interrupted_and_resumed_is_uninterrupted(story, name):
    assert (story.interrupted.root / name).read_bytes() == (story.alone.root / name).read_bytes()


def test_a_finished_run_leaves_no_checkpoint(story):
    assert checkpoint(story.interrupted) is None
