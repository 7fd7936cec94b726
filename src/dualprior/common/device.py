"""The machine a stage runs on (a setting of the environment, never a tracked parameter), its arithmetic and its clock."""

import logging
import os
import time
from collections.abc import Callable
from functools import cache

import torch

from dualprior.common.errors import UserError

TRIAL_SECONDS, PACE_SECONDS = 0.25, 5.0
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


class Pace:
    """The number of threads for a long loop: chosen by a trial at its start, and again when its rate halves.

    On a machine that does other work, two threads that wait for each other can be ten times slower than one. work: the
    work of about one step, with no lasting effect; threads: the number that a resumed loop began with. A number set in
    DUALPRIOR_THREADS stands, as does torch's own on a GPU.
    """

    def __init__(self, work: Callable[[], object], what: str, threads: int | None = None):
        self._work, self._what = work, what
        self._free = "DUALPRIOR_THREADS" not in os.environ and pick().type == "cpu"
        self._most = torch.get_num_threads()
        self._best, self._steps, self._begin = 0.0, 0, time.perf_counter()
        if threads:
            torch.set_num_threads(threads)
        elif self._free:
            self._choose()

    @property
    def threads(self) -> int:
        return torch.get_num_threads()

    def step(self) -> None:
        """Call after every step."""
        self._steps += 1
        seconds = time.perf_counter() - self._begin
        if seconds < PACE_SECONDS or not self._free:
            return
        rate = self._steps / seconds
        if rate < self._best / 2:
            self._choose()
            rate = 0.0
        self._best, self._steps, self._begin = max(self._best, rate) if rate else 0.0, 0, time.perf_counter()

    def _choose(self) -> None:
        rates = {threads: self._rate(threads) for threads in sorted({self._most, max(1, self._most // 2), 1}, reverse=True)}
        torch.set_num_threads(max(rates, key=rates.__getitem__))
        told = ", ".join(f"{rate:.1f} on {count}" for count, rate in rates.items())
        log.info("%s: %d of %d threads; steps a second in a trial: %s", self._what, self.threads, self._most, told)

    def _rate(self, threads: int) -> float:
        torch.set_num_threads(threads)
        self._work()  # warm
        begin, count = time.perf_counter(), 0
        while time.perf_counter() - begin < TRIAL_SECONDS:
            self._work()
            count += 1
        return count / (time.perf_counter() - begin)


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
