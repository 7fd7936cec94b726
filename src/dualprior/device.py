"""The machine a stage runs on (a setting of the environment, never a tracked parameter), its arithmetic and its clock."""

import logging
import os
import time
from functools import cache

import torch

from dualprior.errors import UserError

log = logging.getLogger(__name__)


def pick() -> torch.device:
    """The device named by DUALPRIOR_DEVICE; unset or "auto" means CUDA when there is one, else the CPU.

    Raises UserError for a device that does not exist here.
    """
    name = os.environ.get("DUALPRIOR_DEVICE") or "auto"
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"DUALPRIOR_DEVICE={name} cannot be used ({reason}); set it to auto, cpu or cuda") from None
    return device


def autocast_type(precision: str, device: torch.device) -> torch.dtype | None:
    """The type that autocast computes in, None for float32. precision: "bfloat16" or "float32".

    bfloat16 is for where the processor has instructions for it; elsewhere it is emulated, about a hundred times slower
    than float32 (1.4 against 120 GFLOP/s in a matrix product on two AVX2 cores), so float32 takes its place.
    """
    if precision == "float32":
        return None
    if not has_bfloat16(device):
        _say_float32(device.type)
        return None
    return torch.bfloat16


def has_bfloat16(device: torch.device) -> bool:
    """Whether the processor itself multiplies bfloat16: AVX-512 BF16, AMX and the like, or a GPU since Ampere."""
    if device.type == "cuda":
        with torch.cuda.device(device):
            return torch.cuda.is_bf16_supported(including_emulation=False)
    return any(has for name, has in torch.cpu.get_capabilities().items() if name.endswith("bf16"))


@cache
def _say_float32(device: str) -> None:
    log.info("computing in float32, as this %s has no bfloat16 of its own", device)


class Stopwatch:
    """Wall seconds per image of a block of work, the device's queue emptied."""

    def __init__(self, images: int):
        self._images = images

    def __enter__(self) -> "Stopwatch":
        self._begin = self._now()
        return self

    def __exit__(self, *_exception) -> None:
        self.seconds = (self._now() - self._begin) / self._images

    @staticmethod
    def _now() -> float:
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return time.perf_counter()
