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
