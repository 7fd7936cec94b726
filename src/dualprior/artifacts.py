"""Where every artefact lies, and how it is read and written.

A write is atomic: a temporary name in the same folder, then `os.replace`, so a reader sees the old file or
the new one and never half of one. A missing input names the stage that makes it.
"""

import errno
import io
import json
import os
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import filelock
import numpy as np
import pandas as pd
import safetensors.torch
import torch

from dualprior.errors import UserError

# Which stage makes a file, for the message about a missing one. A test holds it equal to dvc.yaml.
PRODUCERS = {
    "data/*.npy": "prepare",
    "data/manifest.csv": "prepare",
    "data/measurements/*": "degrade",
    "models/ddpm.*": "train_ddpm",
    "metrics/train_*": "train_ddpm",
    "data/dip/*": "fit_dip",
    "data/restored/*": "restore",
    "data/generated.*": "generate",
    "metrics/tasks/*": "evaluate",
    "metrics/generation.json": "evaluate_generation",
    "metrics/ablation_*": "ablate",
    "metrics/*": "summarise",
}


def _file(name: str) -> property:
    return property(lambda paths: paths.root / name)


def _of_task(name: str) -> Callable[["Paths", str], Path]:
    return lambda paths, task: paths.root / name.format(task=task)


@dataclass(frozen=True)
class Paths:
    """Every file a stage reads or writes, below `root`; `scratch` is the stage's own folder for checkpoints.

    A file of the whole experiment is an attribute, `paths.train`; one of a task is a method, `paths.dip("sr4")`.
    """

    root: Path
    scratch: Path | None = None

    train = _file("data/train.npy")
    val = _file("data/val.npy")
    test = _file("data/test.npy")  # clean: for preparing, degrading and judging; restore and fit_dip never read it
    manifest = _file("data/manifest.csv")
    contact_sheet = _file("plots/contact_sheet.png")

    measurement = _of_task("data/measurements/{task}.safetensors")

    model = _file("models/ddpm.safetensors")
    model_config = _file("models/ddpm.json")
    train_metrics = _file("metrics/train_ddpm.json")
    train_curve = _file("metrics/train_curve.csv")
    train_plot = _file("plots/train_ddpm.png")

    dip = _of_task("data/dip/{task}.safetensors")
    dip_info = _of_task("data/dip/{task}.json")
    dip_trace = _of_task("data/dip/{task}.csv")

    restored = _of_task("data/restored/{task}.safetensors")
    restored_info = _of_task("data/restored/{task}.json")

    generated = _file("data/generated.npz")
    generated_info = _file("data/generated.json")
    generate_plot = _file("plots/generate.png")

    task_rows = _of_task("metrics/tasks/{task}.csv")
    dip_psnr = _of_task("metrics/tasks/dip_psnr_{task}.csv")
    task_metrics = _of_task("metrics/tasks/{task}.json")
    restore_plot = _of_task("plots/restore_{task}.png")
    trace_plot = _of_task("plots/dip_trace_{task}.png")
    generation_metrics = _file("metrics/generation.json")
    generation_plot = _file("plots/generation_quality.png")

    summary = _file("metrics/summary.json")
    per_image = _file("metrics/per_image.csv")
    claims = _file("metrics/claims.json")
    results_table = _file("metrics/results.md")
    summary_plot = _file("plots/summary.png")
    gains_plot = _file("plots/gains.png")

    timing = _file("metrics/timing.json")  # these two by the command line, not by a stage
    memory = _file("metrics/memory.json")

    def ablation(self, knob: str, suffix: str) -> Path:
        """suffix: csv or md (metrics), png (plot)."""
        return self.root / ("plots" if suffix == "png" else "metrics") / f"ablation_{knob}.{suffix}"


# --- reading -----------------------------------------------------------------------------------------------


def producer(path: Path) -> str | None:
    """The stage that makes `path`, or None for a file no stage makes."""
    return next((stage for pattern, stage in PRODUCERS.items() if Path(path).match(pattern)), None)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Raises UserError for a file that is missing or cannot be decoded."""
    try:
        yield
    except FileNotFoundError:
        made_by = f"stage {producer(path)} has not run" if producer(path) else "no stage makes it"
        raise UserError(f"{path} is missing: {made_by}; run `dvc repro` or `python src/cli.py all`") from None
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, safetensors.SafetensorError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path} cannot be read: {reason}; delete it and run `dvc repro`") from None


def read_text(path: Path) -> str:
    with _reading(path):
        return Path(path).read_text(encoding="utf-8")


def read_json(path: Path) -> dict:
    with _reading(path):
        return json.loads(Path(path).read_text(encoding="utf-8"))


def read_tensors(path: Path) -> dict[str, torch.Tensor]:
    with _reading(path):
        return safetensors.torch.load_file(path)


def read_array(path: Path) -> np.ndarray:
    """One .npy array."""
    with _reading(path):
        return np.load(path, allow_pickle=False)


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """All arrays of one .npz."""
    with _reading(path), np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)


def read_table(path: Path) -> pd.DataFrame:
    with _reading(path):
        return pd.read_csv(path)


# --- writing -----------------------------------------------------------------------------------------------


@contextmanager
def replacing(path: Path) -> Iterator[io.BufferedWriter]:
    """A binary file that takes the place of `path` when the block ends well; otherwise the old file stays.

    Raises UserError when the disk refuses, above all when it is full.
    """
    path = Path(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(part, "wb") as file:
            yield file
        os.replace(part, path)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(f"the disk is full: {path} was not written; free some space and run again") from None
        raise UserError(f"{path} cannot be written: {error.strerror}; mend that and run again") from None
    finally:
        part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    with replacing(path) as file:
        file.write(text.encode("utf-8"))


def write_json(path: Path, obj: Mapping | list) -> None:
    """Indented JSON; NumPy scalars and arrays allowed, NaN refused (ValueError)."""
    write_text(path, json.dumps(obj, indent=2, allow_nan=False, default=lambda value: value.tolist()) + "\n")


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    with replacing(path) as file:
        file.write(safetensors.torch.save(plain))


def write_array(path: Path, array: np.ndarray) -> None:
    """One .npy array."""
    with replacing(path) as file:
        np.save(file, array, allow_pickle=False)


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Several arrays as one compressed .npz."""
    with replacing(path) as file:
        np.savez_compressed(file, **arrays)


def write_table(path: Path, table: pd.DataFrame) -> None:
    """CSV without the index, numbers to six significant digits."""
    write_text(path, table.to_csv(index=False, float_format="%.6g"))


def write_figure(path: Path, figure) -> None:
    """A matplotlib figure as PNG, free of version stamps so that equal figures are equal files."""
    with replacing(path) as file:
        figure.savefig(file, format="png", bbox_inches="tight", metadata={"Software": None})


# --- checkpoints -------------------------------------------------------------------------------------------


class CheckpointFolder:
    """The one checkpoint of a long fit, in a folder that one process at a time may hold.

    Used as a context manager. Raises UserError when another process holds the folder.
    """

    def __init__(self, path: Path):
        self.path = Path(path)
        self._file = self.path / "checkpoint.pt"
        self._lock = filelock.FileLock(self.path / "lock")

    def __enter__(self) -> "CheckpointFolder":
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=0)
        except filelock.Timeout:
            raise UserError(f"{self.path} is in use by another process; wait until it ends or stop it, then run again") from None
        return self

    def __exit__(self, *_exception) -> None:
        self._lock.release()

    def save(self, state: dict) -> None:
        """Replace the checkpoint; on a full disk the one before stays."""
        buffer = io.BytesIO()  # torch.save's own writer hides the cause when the disk is full
        torch.save(state, buffer)
        with replacing(self._file) as file:
            file.write(buffer.getbuffer())

    def load(self) -> dict | None:
        """The last saved state on the CPU, or None when there is none. Tensors and plain values only."""
        if not self._file.exists():
            return None
        try:
            return torch.load(self._file, map_location="cpu", weights_only=True)
        except Exception as error:  # a damaged file fails in many ways
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"{self._file} cannot be read: {reason}; delete it to start the fit afresh") from None
