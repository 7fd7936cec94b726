"""The prepare stage on the shipped photographs and on folders of a person's own."""

import hashlib
import logging
import os
import shutil
import socket
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import tiny
from PIL import Image

from dualprior.common import io
from dualprior.common.errors import UserError
from dualprior.common.params import Data
from dualprior.common.paths import Paths
from dualprior.data import crops as data
from dualprior.pipeline import prepare
from dualprior.pipeline.config import load_params

SMALL = {
    "source": "photos",
    "folder": None,
    "seed": 0,
    "patch_size": 8,
    "train_patches": 60,
    "scales": (1.0, 0.5),
    "image_size": 16,
    "val_images": 2,
    "test_images": 4,
}


def config(**changes):
    return SimpleNamespace(data=Data(**(SMALL | changes)))


def outputs(paths):
    files = [*(paths.split(name) for name in ("train", "val", "test")), paths.manifest]
    return [hashlib.sha256(file.read_bytes()).hexdigest() for file in files]


@pytest.fixture
def folder(tmp_path):
    """A folder of six noise photographs of different sizes, modes and depths, some in a folder below."""
    root = tmp_path / "mine"
    (root / "more").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for i, (name, mode) in enumerate(
        [("a.png", "RGB"), ("b.JPG", "RGB"), ("c.png", "L"), ("d.tif", "CMYK"), ("more/a.png", "RGBA"), ("e.png", "P")]
    ):
        pixels = rng.integers(0, 256, (40 + 3 * i, 60 - 2 * i, 3), dtype=np.uint8)
        Image.fromarray(pixels).convert(mode).save(root / name)
    return root


def prepare_folder(tmp_path, folder="mine", **changes):
    paths = Paths(tmp_path)
    prepare.run(config(source="folder", folder=str(folder), **changes), paths)
    return paths, io.read_table(paths.manifest)


# --- the shipped photographs


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    """Outputs of one run without any network, and its manifest."""

    def refuse(*_args, **_options):
        raise AssertionError("prepare opened a network connection")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse)
        patch.setattr(socket, "getaddrinfo", refuse)
        paths = Paths(tmp_path_factory.mktemp("shipped"))
        prepare.run(config(), paths)
    return paths, io.read_table(paths.manifest)


def test_arrays_have_the_sizes_asked_for(shipped):
    paths, _ = shipped
    arrays = [io.read_array(path) for path in map(paths.split, ("train", "val", "test"))]
    assert [array.shape for array in arrays] == [(60, 8, 8, 3), (2, 16, 16, 3), (4, 16, 16, 3)]
    assert {array.dtype for array in arrays} == {np.dtype(np.uint8)}


def test_no_photograph_is_in_two_splits(shipped):
    _, manifest = shipped
    assert (manifest.groupby("photograph")["split"].nunique() == 1).all()
    assert set(manifest.loc[manifest["split"] == "test", "photograph"]) == {"chelsea", "china"}


def test_manifest_rows_hash_the_pixels_they_describe(shipped):
    paths, manifest = shipped
    for split in ("train", "val", "test"):
        rows = manifest[manifest["split"] == split].sort_values("index")
        assert [hashlib.sha256(piece.tobytes()).hexdigest() for piece in io.read_array(paths.split(split))] == list(rows["sha256"])


def test_no_two_crops_of_a_split_show_the_same_part_of_a_photograph(tmp_path):
    """Recomputed from the manifest of the committed parameters, in each photograph's own coordinates."""
    prepare.run(SimpleNamespace(data=load_params(tiny.PROJECT)[0].data.model_copy(update={"train_patches": 10})), Paths(tmp_path))
    manifest = io.read_table(Paths(tmp_path).manifest).query("split != 'train'")
    for _, crops in manifest.groupby("photograph"):
        boxes = [(c.x / c.scale, c.y / c.scale, (c.x + c.size_) / c.scale, (c.y + c.size_) / c.scale)
                 for c in crops.rename(columns={"size": "size_"}).itertuples()]  # fmt: skip
        for i, a in enumerate(boxes):
            assert not any(a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3] for b in boxes[:i])


def test_image_ids_are_unique(shipped):
    _, manifest = shipped
    assert manifest["image"].is_unique
    assert list(manifest.loc[manifest["split"] == "test", "image"][:2]) == ["test_chelsea_00", "test_china_00"]


def test_a_second_run_writes_the_same_bytes_and_another_seed_does_not(shipped, tmp_path):
    paths, _ = shipped
    prepare.run(config(), Paths(tmp_path / "again"))
    prepare.run(config(seed=1), Paths(tmp_path / "other"))
    assert outputs(Paths(tmp_path / "again")) == outputs(paths)
    assert outputs(Paths(tmp_path / "other"))[0] != outputs(paths)[0]


# --- a folder


def test_a_folder_of_mixed_images_is_split_by_photograph(tmp_path, folder):
    _, manifest = prepare_folder(tmp_path, train_patches=200)
    assert (manifest.groupby("photograph")["split"].nunique() == 1).all()
    assert set(manifest["photograph"]) == {"a.png", "b.JPG", "c.png", "d.tif", "more/a.png", "e.png"}
    assert manifest["image"].is_unique


def test_what_cannot_be_used_is_left_out_and_named_all_at_once(tmp_path, folder, caplog):
    (folder / "broken.png").write_bytes(b"not a picture")
    (folder / "notes.txt").write_text("not an image at all")
    (folder / "raw.dng").write_bytes(b"a raw file")
    Image.new("RGB", (50, 50), "grey").save(folder / "flat.png")
    Image.new("RGB", (15, 90)).save(folder / "tiny.png")
    (folder / ".thumbnails").mkdir()
    Image.new("RGB", (5, 5)).save(folder / ".thumbnails/t.png")
    with caplog.at_level(logging.INFO):
        _, manifest = prepare_folder(tmp_path)
    skipped = "\n".join(record.message for record in caplog.records if record.message.startswith("skipped:"))
    for said in ("broken.png cannot be read", "flat.png has no piece", "tiny.png is 15 x 90", "1 files .dng", "1 hidden or system"):
        assert said in skipped
    assert skipped.count("skipped:") == 5
    assert "6 photographs of 6 files, 5 files skipped" in caplog.text
    assert set(manifest["photograph"]) == {"a.png", "b.JPG", "c.png", "d.tif", "more/a.png", "e.png"}


def test_a_name_that_is_not_unicode_and_a_linked_folder_are_read(tmp_path, folder):
    os.rename(os.fsencode(folder / "a.png"), os.fsencode(folder) + b"/caf\xe9.png")
    (tmp_path / "elsewhere").mkdir()
    (folder / "b.JPG").rename(tmp_path / "elsewhere/b.JPG")
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (folder / "round").symlink_to(folder)
    _, manifest = prepare_folder(tmp_path, train_patches=200)
    assert set(manifest["photograph"]) == {"caf\\xe9.png", "linked/b.JPG", "c.png", "d.tif", "more/a.png", "e.png"}


def test_a_split_by_folder_or_by_a_list_is_kept_to(tmp_path, folder):
    for name, files in {"x": ["a.png", "b.JPG"], "y": ["c.png"], "z": ["d.tif"]}.items():
        (folder / name).mkdir()
        for file in files:
            (folder / file).rename(folder / name / file)
    _, manifest = prepare_folder(tmp_path, split="folder", train_patches=200)
    folders = manifest["photograph"].str.rpartition("/")[0]
    assert (manifest.groupby(folders)["split"].nunique() == 1).all()
    pd.DataFrame({"photograph": ["x/a.png", "y/c.png", "e.png", "more/a.png"], "split": ["train", "val", "test", "test"]}).to_csv(
        tmp_path / "list.csv", index=False
    )
    paths, manifest = prepare_folder(tmp_path, split="list.csv")
    said = manifest.groupby("split")["photograph"].agg(set).to_dict()
    assert said == {"train": {"x/a.png"}, "val": {"y/c.png"}, "test": {"e.png", "more/a.png"}}
    card = io.read_json(paths.metrics("data_card.json"))
    assert card["test"]["photographs"] == 2
    assert card["train"]["mean"] == pytest.approx((io.read_array(paths.split("train")).mean((0, 1, 2)) / 255).tolist(), abs=1e-3)
    (tmp_path / "list.csv").write_text("photograph,split\nx/a.png,train\n")
    with pytest.raises(UserError, match="no usable photograph for val, test"):
        prepare_folder(tmp_path, split="list.csv")


@pytest.mark.parametrize("source", ["archive", "npz", "digits"])
def test_other_sources_are_unpacked_and_used(source, tmp_path, folder):
    images = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)
    np.savez(tmp_path / "images.npz", x=images, y=np.arange(8))
    shutil.make_archive(tmp_path / "images", "zip", folder)
    where = {"archive": "images.zip", "npz": "images.npz", "digits": None}[source]
    paths = Paths(tmp_path)
    prepare.run(config(source=source, folder=where), paths)
    manifest = io.read_table(paths.manifest)
    expected = {"archive": "more/a.png", "npz": "array0_000003.png", "digits": "digit_000005.png"}[source]
    if source == "npz":
        row = manifest[manifest["photograph"] == expected].iloc[0]
        assert (io.read_array(paths.split(row["split"]))[row["index"]] == _piece(images[3], row)).all()
    if source != "digits":
        assert expected in set(manifest["photograph"])


def _piece(image, row):
    pixels = data.shrink(image, row["scale"])
    return pixels[row["y"] : row["y"] + row["size"], row["x"] : row["x"] + row["size"]]


def test_sources_that_cannot_be_read_are_told(tmp_path):
    (tmp_path / "bad.zip").write_bytes(b"no archive")
    np.savez(tmp_path / "floats.npz", x=np.zeros((2, 32, 32)))
    for source, where, told in [
        ("archive", "bad.zip", "cannot be read as data.source=archive"),
        ("archive", "none.zip", "is not a file"),
        ("npz", "floats.npz", "no array of images"),
        ("torchvision", "Nothing", "no such class"),
    ]:
        with pytest.raises(UserError, match=told):
            prepare.run(config(source=source, folder=where), Paths(tmp_path))
    with pytest.raises(ValueError, match="set data.source, or leave it empty"):
        config(folder="mine")


def test_a_folder_without_a_usable_photograph_is_an_error(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/broken.jpg").write_bytes(b"no")
    with pytest.raises(UserError, match=r"data\.folder=mine holds no usable photograph"):
        prepare_folder(tmp_path)


def test_a_folder_that_does_not_exist_is_an_error(tmp_path):
    with pytest.raises(UserError, match=r"data\.folder=nowhere is not a folder"):
        prepare_folder(tmp_path, folder="nowhere")
