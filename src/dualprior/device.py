"""The machine a stage runs on (a setting of the environment, never a tracked parameter), its arithmetic and its clock."""

import os
import time

import torch

from dualprior.errors import UserError

PRECISIONS = {"bfloat16": torch.bfloat16, "float32": None}  # autocast type of a named precision


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
