"""Seconds and peak memory of every stage of the last run, and the machine: metrics/run_statistics.json.

Git tracks the file and no stage depends on it, so a stage may update it without making another one stale.
"""

import platform
import resource
import sys
import time
from pathlib import Path

import filelock
import psutil

from dualprior.common.io import read_json, write_json

MIB = 2**20


def record(file: Path, stage: str, scratch: Path) -> None:
    """Note this process as the last run of `stage`; processes that end together take turns."""
    unit = 1 if sys.platform == "darwin" else 1024
    numbers = {
        "seconds": round(time.time() - psutil.Process().create_time(), 1),  # imports included
        "mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MIB),
    }
    if "torch" in sys.modules:  # not worth seconds of import
        numbers["machine"] = _machine()
    scratch.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(scratch / "run_statistics.lock"):
        known = read_json(file) if file.exists() else {}
        write_json(file, dict(sorted({**known, stage: numbers}.items())))


def _machine() -> str:
    """What this process ran on: processor or GPU, threads, whether it has bfloat16 of its own, torch's version."""
    import torch

    from dualprior.common.device import has_bfloat16

    where = torch.device("cuda" if torch.cuda.is_initialized() else "cpu")
    known = torch.cpu.get_capabilities().get("cpu_name") or platform.processor() or platform.machine()
    name = torch.cuda.get_device_name() if where.type == "cuda" else f"{known}, {torch.get_num_threads()} threads"
    return f"{name}, {'with' if has_bfloat16(where) else 'without'} bfloat16, torch {torch.__version__}"
