"""The device is a setting of the machine."""

import time
from contextlib import nullcontext

import pytest
import torch

from dualprior.common import device
from dualprior.common.errors import UserError


def test_the_environment_names_the_device(monkeypatch):
    monkeypatch.setenv("DUALPRIOR_DEVICE", "cpu")
    assert device.pick() == torch.device("cpu")


@pytest.mark.parametrize(("there", "expected"), [(True, "cuda"), (False, "cpu")])
def test_auto_takes_cuda_when_there_is_one(monkeypatch, there, expected):
    monkeypatch.setenv("DUALPRIOR_DEVICE", "auto")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    assert device.pick() == torch.device(expected)


@pytest.mark.parametrize("name", ["toaster", "cuda:99"])
def test_a_device_that_is_not_here_is_one_line(monkeypatch, name):
    monkeypatch.setenv("DUALPRIOR_DEVICE", name)
    with pytest.raises(UserError, match=f"DUALPRIOR_DEVICE={name} cannot be used .*set it to auto, cpu or cuda") as caught:
        device.pick()
    assert "\n" not in str(caught.value)


def test_a_stopwatch_gives_wall_seconds_per_image():
    with device.Stopwatch(4) as watch:
        time.sleep(0.04)
    assert 0.01 <= watch.seconds < 1


@pytest.mark.parametrize(("capabilities", "fast"), [({"avx2": True, "avx512_bf16": False}, False), ({"amx_bf16": True}, True), ({}, False)])
def test_bfloat16_is_for_processors_that_have_it(monkeypatch, capabilities, fast):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    cpu = torch.device("cpu")
    assert device.autocast_type("bfloat16", cpu) == (torch.bfloat16 if fast else None)
    assert device.autocast_type("float32", cpu) is None


@pytest.mark.parametrize("fast", [True, False])
def test_bfloat16_is_for_gpus_that_have_it(monkeypatch, fast):
    monkeypatch.setattr(torch.cuda, "device", lambda where: nullcontext())
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: fast or including_emulation)
    assert device.autocast_type("bfloat16", torch.device("cuda")) == (torch.bfloat16 if fast else None)


# --- threads -------------------------------------------------------------------------------------------------


class Machine:
    """A clock and a number of threads of its own; a step takes seconds[threads]."""

    def __init__(self, monkeypatch, seconds: dict[int, float], cores: int = 2):
        self.seconds, self.now, self.threads = seconds, 0.0, cores
        monkeypatch.delenv("DUALPRIOR_THREADS", raising=False)
        monkeypatch.setenv("DUALPRIOR_DEVICE", "cpu")
        monkeypatch.setattr(device.time, "perf_counter", lambda: self.now)
        monkeypatch.setattr(torch, "get_num_threads", lambda: self.threads)
        monkeypatch.setattr(torch, "set_num_threads", lambda count: setattr(self, "threads", count))

    def step(self) -> None:
        self.now += self.seconds[self.threads]


@pytest.mark.parametrize(("seconds", "chosen"), [({1: 0.02, 2: 0.01}, 2), ({1: 0.02, 2: 0.3}, 1)])
def test_the_quicker_number_of_threads_is_chosen_at_the_start(monkeypatch, seconds, chosen):
    machine = Machine(monkeypatch, seconds)
    assert device.Pace(machine.step, "work").threads == chosen


def test_the_number_is_chosen_again_when_the_rate_halves(monkeypatch):
    machine = Machine(monkeypatch, {1: 0.02, 2: 0.01})
    pace = device.Pace(machine.step, "work")
    for _ in range(1000):
        machine.step()
        pace.step()
    assert pace.threads == 2
    machine.seconds[2] = 0.3  # another process takes a core
    for _ in range(100):
        machine.step()
        pace.step()
    assert pace.threads == 1


def test_a_resumed_loop_keeps_the_number_it_began_with(monkeypatch):
    machine = Machine(monkeypatch, {1: 0.02, 2: 0.01})
    assert device.Pace(machine.step, "work", threads=1).threads == 1


def test_a_number_in_the_environment_stands(monkeypatch):
    machine = Machine(monkeypatch, {1: 0.02, 2: 0.3})
    monkeypatch.setenv("DUALPRIOR_THREADS", "2")
    assert device.Pace(machine.step, "work").threads == 2
