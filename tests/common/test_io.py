"""Files are whole or absent, missing ones name their maker, and one process at a time holds a checkpoint folder."""

import os
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure

from dualprior.common import io
from dualprior.common.errors import UserError
from dualprior.common.io import CheckpointFolder
from dualprior.common.paths import Paths

WRITERS = {
    "text": (io.write_text, "new"),
    "json": (io.write_json, {"a": 1}),
    "tensors": (io.write_tensors, {"a": torch.ones(3)}),
    "array": (io.write_array, np.ones(3)),
    "arrays": (io.write_arrays, {"a": np.ones(3)}),
    "table": (io.write_table, pd.DataFrame({"a": [1]})),
    "figure": (io.write_figure, Figure()),
}
needs_dev_full = pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full")


def fill_the_disk_for(path: Path) -> None:
    """Make the next write of `path` meet a full disk: its temporary name is a door to /dev/full."""
    path.with_name(f".{path.name}.{os.getpid()}.part").symlink_to("/dev/full")


def test_what_is_written_is_read_back(tmp_path):
    io.write_json(tmp_path / "a.json", {"x": np.float32(0.5), "y": [np.int64(2)]})
    assert io.read_json(tmp_path / "a.json") == {"x": 0.5, "y": [2]}
    tensors = {"x": torch.arange(6.0).reshape(2, 3).T}  # not contiguous
    io.write_tensors(tmp_path / "a.safetensors", tensors)
    assert torch.equal(io.read_tensors(tmp_path / "a.safetensors")["x"], tensors["x"])
    io.write_array(tmp_path / "a.npy", np.arange(3, dtype=np.uint8))
    assert io.read_array(tmp_path / "a.npy").dtype == np.uint8
    io.write_arrays(tmp_path / "a.npz", {"ddim_10": np.zeros((1, 2))})
    assert list(io.read_arrays(tmp_path / "a.npz")) == ["ddim_10"]
    io.write_table(tmp_path / "a.csv", pd.DataFrame({"task": ["sr4"], "psnr": [27.5]}))
    assert io.read_table(tmp_path / "a.csv").to_dict("list") == {"task": ["sr4"], "psnr": [27.5]}
    io.write_text(tmp_path / "a.md", "σ\n")
    assert io.read_text(tmp_path / "a.md") == "σ\n"


def test_json_refuses_nan_and_keeps_the_old_file(tmp_path):
    file = tmp_path / "a.json"
    io.write_json(file, {"x": 1.0})
    with pytest.raises(ValueError, match="JSON compliant"):
        io.write_json(file, {"x": float("nan")})
    assert io.read_json(file) == {"x": 1.0}


def test_equal_figures_are_equal_files(tmp_path):
    for name in ("a.png", "b.png"):
        figure = Figure(figsize=(1, 1))
        figure.add_subplot().plot([0, 1])
        io.write_figure(tmp_path / name, figure)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()


@needs_dev_full
@pytest.mark.parametrize("kind", WRITERS)
def test_a_full_disk_keeps_the_old_file_and_leaves_no_other(tmp_path, kind):
    write, value = WRITERS[kind]
    file = tmp_path / "file"
    file.write_text("old")
    fill_the_disk_for(file)
    with pytest.raises(UserError, match="disk is full.*free some space"):
        write(file, value)
    assert file.read_text() == "old"
    assert os.listdir(tmp_path) == ["file"]


def test_a_failure_while_writing_leaves_nothing(tmp_path):
    with pytest.raises(TypeError), io.replacing(tmp_path / "sub/file") as file:
        file.writelines([b"half", "not bytes"])
    assert os.listdir(tmp_path / "sub") == []


def test_a_missing_input_says_how_to_make_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"data/dip/sr4/fits\.json is missing; run `dvc repro`"):
        io.read_json(Paths(Path()).dip("sr4") / "fits.json")


@pytest.mark.parametrize("read", [io.read_json, io.read_tensors, io.read_tensors_as_arrays, io.read_array, io.read_arrays])
def test_a_damaged_input_is_one_line(tmp_path, read):
    file = tmp_path / "file"
    file.write_bytes(b"\x93not what it should be\n\n\xff")
    with pytest.raises(UserError, match="cannot be read") as caught:
        read(file)
    assert "\n" not in str(caught.value)


def test_checkpoint_comes_back_whole(tmp_path):
    with CheckpointFolder(tmp_path / "c") as folder:
        assert folder.load() is None
        state = {"step": 3, "weights": torch.ones(2), "rng": torch.get_rng_state()}
        folder.save(state)
        loaded = folder.load()
    assert loaded["step"] == 3
    assert torch.equal(loaded["rng"], state["rng"])


def test_a_second_writer_waits_for_the_first(tmp_path, caplog):
    order, held = [], threading.Event()

    def hold():
        with CheckpointFolder(tmp_path):
            held.set()
            time.sleep(0.3)
            order.append("first ends")

    first = threading.Thread(target=hold)
    first.start()
    held.wait()
    with CheckpointFolder(tmp_path):
        order.append("second begins")
    first.join()
    assert order == ["first ends", "second begins"]
    assert "is in use by another process" in caplog.text


def test_numpys_own_short_write_is_a_full_disk(tmp_path):
    with pytest.raises(UserError, match="the disk is full"), io.replacing(tmp_path / "a.npy"):
        raise OSError("384000 requested and 65504 written")


@needs_dev_full
def test_a_full_disk_keeps_the_last_checkpoint(tmp_path):
    with CheckpointFolder(tmp_path) as folder:
        folder.save({"step": 1})
        fill_the_disk_for(tmp_path / "checkpoint.pt")
        with pytest.raises(UserError, match="disk is full"):
            folder.save({"step": 2})
        assert folder.load() == {"step": 1}


def test_a_damaged_checkpoint_says_what_to_delete(tmp_path):
    (tmp_path / "checkpoint.pt").write_bytes(b"damaged")
    with CheckpointFolder(tmp_path) as folder, pytest.raises(UserError, match=r"checkpoint\.pt cannot be read.*delete it"):
        folder.load()
