"""Seconds and memory of each stage are recorded by whichever process ran it."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from dualprior.common import run_statistics as usage
from dualprior.common.io import read_json, write_json
from dualprior.common.paths import Paths


def test_runs_are_added_and_sorted(tmp_path):
    paths = Paths(tmp_path)
    write_json(paths.timing, {"prepare": 2.0, "fit_dip@sr4": 9.0})
    usage.record(paths, "degrade@sr4", tmp_path / ".scratch")
    timing = read_json(paths.timing)
    assert list(timing) == ["degrade@sr4", "fit_dip@sr4", "prepare"]
    assert 0 < timing["degrade@sr4"] < 3600
    assert read_json(paths.memory)["degrade@sr4"] > 50  # MiB: torch is loaded
    assert read_json(paths.machine)["degrade@sr4"].endswith(f"torch {torch.__version__}")


def test_runs_that_end_together_lose_nothing(tmp_path):
    def record(number: int) -> None:
        usage.record(Paths(tmp_path), f"fit_dip@{number}", tmp_path)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(record, range(40)))
    assert len(read_json(Paths(tmp_path).timing)) == 40


def test_table_adds_up_the_runs_of_a_stage(tmp_path):
    paths = Paths(tmp_path)
    write_json(paths.timing, {"fit_dip@a": 10.0, "fit_dip@b": 20.4, "prepare": 3.0})
    write_json(paths.memory, {"fit_dip@a": 500, "fit_dip@b": 700, "prepare": 300})
    lines = usage.table(paths).splitlines()
    assert lines[2:] == ["| fit_dip | 2 | 30 | 700 |", "| prepare | 1 | 3 | 300 |", "| all | 3 | 33 | 700 |"]  # no machine is known


def test_every_machine_that_a_run_used_is_named_once(tmp_path):
    paths = Paths(tmp_path)
    write_json(paths.timing, {"fit_dip@a": 10.0, "fit_dip@b": 20.4, "prepare": 3.0})
    write_json(paths.memory, {"fit_dip@a": 500, "fit_dip@b": 700, "prepare": 300})
    write_json(paths.machine, {"fit_dip@a": "Ox with 2 threads", "fit_dip@b": "Ox with 2 threads"})
    assert usage.table(paths).splitlines()[-1] == "Run on Ox with 2 threads."
    write_json(paths.machine, {"fit_dip@a": "Ox with 2 threads", "fit_dip@b": "Yak"})
    assert usage.table(paths).splitlines()[-1] == "Run on Ox with 2 threads; Yak."


def test_the_machine_is_named_without_waking_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: pytest.fail("the GPU was asked"))
    monkeypatch.setenv("DUALPRIOR_DEVICE", "toaster")  # a mistake that is not this function's to report
    assert f"with {torch.get_num_threads()} threads" in usage.machine()
