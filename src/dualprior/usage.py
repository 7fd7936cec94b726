"""Seconds and peak memory of every stage of the last run, and the machine: metrics/timing.json, memory.json, machine.json.

Git tracks these files and no stage depends on them, so a stage may update them without making another one stale.
"""

from __future__ import annotations

import platform
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import filelock
import psutil

from dualprior.artifacts import read_json, write_json

if TYPE_CHECKING:
    from dualprior.paths import Paths

try:
    import resource
except ImportError:  # not on Windows
    resource = None

MIB = 2**20


def seconds_so_far() -> float:
    """Wall seconds since this process began, imports included."""
    return time.time() - psutil.Process().create_time()


def peak_mib() -> float:
    """Largest resident memory of this process so far, MiB."""
    if resource is None:
        return psutil.Process().memory_info().peak_wset / MIB
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MIB


def record(paths: Paths, stage_id: str, scratch: Path) -> None:
    """Note this process as the last run of `stage_id`; processes that end together take turns."""
    scratch.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(scratch / "usage.lock"):
        _put(paths.timing, stage_id, round(seconds_so_far(), 1))
        _put(paths.memory, stage_id, round(peak_mib()))
        if "torch" in sys.modules:  # not worth seconds of import
            _put(paths.machine, stage_id, machine())


def _put(path: Path, stage_id: str, value: float | str) -> None:
    known = read_json(path) if path.exists() else {}
    write_json(path, dict(sorted({**known, stage_id: value}.items())))


def machine() -> str:
    """What this process ran on: processor or GPU, threads, whether it has bfloat16 of its own, torch's version."""
    import torch

    from dualprior.device import has_bfloat16

    where = torch.device("cuda" if torch.cuda.is_initialized() else "cpu")
    known = torch.cpu.get_capabilities().get("cpu_name") or platform.processor() or platform.machine()
    name = torch.cuda.get_device_name() if where.type == "cuda" else f"{known} with {torch.get_num_threads()} threads"
    return f"{name}, {'with' if has_bfloat16(where) else 'without'} bfloat16, torch {torch.__version__}"


def table(paths: Paths) -> str:
    """Markdown: for each stage its runs, their seconds together and the largest memory; beneath it the machines."""
    seconds, memory = read_json(paths.timing), read_json(paths.memory)
    machines = dict.fromkeys(read_json(paths.machine).values()) if paths.machine.exists() else {}
    groups: dict[str, list[str]] = defaultdict(list)
    for stage_id in seconds:
        groups[stage_id.partition("@")[0]].append(stage_id)
    lines = ["| stage | runs | seconds | memory, MiB |", "|---|---:|---:|---:|"]
    for name, ids in groups.items():
        peak = max(memory.get(stage_id, 0) for stage_id in ids)
        lines.append(f"| {name} | {len(ids)} | {sum(seconds[i] for i in ids):.0f} | {peak} |")
    lines.append(f"| all | {len(seconds)} | {sum(seconds.values()):.0f} | {max(memory.values(), default=0)} |")
    if machines:
        lines += ["", f"Run on {'; '.join(machines)}."]
    return "\n".join(lines)
