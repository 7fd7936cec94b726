"""The machine a stage runs on: a setting of the environment, never a tracked parameter."""

import os

import torch

from dualprior.errors import UserError


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
