"""How files are read and written.

A write is atomic: a temporary name in the same folder, then `os.replace`, so a reader sees the old file or
the new one and never half of one. A missing input is a `MissingFile`. torch is imported by the functions that
need it: a stage that does without starts seconds sooner.
"""

from __future__ import annotations

import errno
import io
import json
import logging
import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING

import filelock
import numpy as np
import pandas as pd
import safetensors.numpy

from dualprior.common.errors import MissingFile, UserError

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)

# --- reading -----------------------------------------------------------------------------------------------


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Raises UserError for a file that is missing or cannot be decoded."""
    try:
        yield
    except FileNotFoundError:
        raise MissingFile(path) from None
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
    """The tensors of one .safetensors file."""
    import safetensors.torch

    with _reading(path):
        return safetensors.torch.load_file(path)


def read_about(path: Path) -> dict:
    """What was written beside the tensors of one .safetensors file."""
    with _reading(path), safetensors.safe_open(path, "np") as file:
        return json.loads((file.metadata() or {}).get("about", "{}"))


def read_tensors_as_arrays(path: Path) -> dict[str, np.ndarray]:
    """The same without torch; no bfloat16."""
    with _reading(path):
        return safetensors.numpy.load_file(path)


def read_array(path: Path) -> np.ndarray:
    """One .npy array."""
    with _reading(path):
        return np.load(path, allow_pickle=False)


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """All arrays of one .npz."""
    with _reading(path), np.load(path, allow_pickle=False) as arrays:
        return dict(arrays)


def read_table(path: Path) -> pd.DataFrame:
    """One .csv table."""
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
        if error.errno in (errno.ENOSPC, errno.EDQUOT) or str(error).endswith(" written"):  # NumPy's own, which has no number
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


def write_tensors(path: Path, tensors: Mapping[str, torch.Tensor], about: Mapping | None = None) -> None:
    """about: what `read_about` gives back."""
    import safetensors.torch

    metadata = None if about is None else {"about": json.dumps(about)}
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    with replacing(path) as file:
        file.write(safetensors.torch.save(plain, metadata))


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


def fingerprint(settings: Mapping, *arrays: torch.Tensor) -> str:
    """A short hash of all that decides a long fit, so that a checkpoint is never taken up by another one."""
    digest = blake2b(json.dumps(settings, sort_keys=True).encode(), digest_size=8)
    for array in arrays:
        digest.update(array.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


# --- checkpoints -------------------------------------------------------------------------------------------


class CheckpointFolder:
    """The one checkpoint of a long fit, in a folder that one process at a time may hold.

    Used as a context manager. Waits while another process holds the folder.
    """

    def __init__(self, path: Path):
        self.path = Path(path)
        self._file = self.path / "checkpoint.pt"
        self._lock = filelock.FileLock(self.path / "lock")

    def __enter__(self) -> CheckpointFolder:
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            self._lock.acquire(timeout=0)
        except filelock.Timeout:
            log.warning("%s is in use by another process, as of an experiment that needs the same; waiting until it ends", self.path)
            self._lock.acquire()
        return self

    def __exit__(self, *_exception) -> None:
        self._lock.release()

    def save(self, state: dict) -> None:
        """Replace the checkpoint; on a full disk the one before stays."""
        import torch

        buffer = io.BytesIO()  # torch.save's own writer hides the cause when the disk is full
        torch.save(state, buffer)
        with replacing(self._file) as file:
            file.write(buffer.getbuffer())

    def clear(self) -> None:
        """Forget the checkpoint."""
        self._file.unlink(missing_ok=True)

    def load(self) -> dict | None:
        """The last saved state on the CPU, or None when there is none. Tensors and plain values only."""
        import torch

        if not self._file.exists():
            return None
        try:
            return torch.load(self._file, map_location="cpu", weights_only=True)
        except Exception as error:  # a damaged file fails in many ways
            reason = " ".join(str(error).split())[:200]
            raise UserError(f"{self._file} cannot be read: {reason}; delete it to start the fit afresh") from None
