"""Splits by photograph, contrast, scales, and where patches and crops are taken."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from dualprior.common.errors import UserError
from dualprior.data import crops as data
from dualprior.data.crops import Photograph
from dualprior.data.pixels import read_photograph


def noise(height, width, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture
def photograph(tmp_path):
    """A noise photograph saved to disk and measured for crops of 16 and patches of 8 pixels at scales 1 and 0.5."""

    def make(name, height=40, width=52, pixels=None):
        pixels = noise(height, width, seed=len(name)) if pixels is None else pixels
        path = tmp_path / f"{name}.png"
        Image.fromarray(pixels).save(path)
        return data.measured(name, (path,), [pixels], scales=(1.0, 0.5), crop=16, patch=8)

    return make


def rng():
    return np.random.default_rng(0)


# --- the shipped photographs


def test_shipped_photographs_are_in_the_installed_packages_and_each_in_one_split():
    shipped = data.shipped_photographs()
    files = [file for named in shipped.values() for group in named.values() for file in group]
    assert all(file.is_file() for file in files)
    assert len(set(files)) == len(files) == 8
    names = [name for named in shipped.values() for name in named]
    assert len(set(names)) == len(names) == 7


def test_shipped_photographs_are_those_of_skimage_and_sklearn():
    from skimage import data as skimage_data
    from sklearn.datasets import load_sample_image

    shipped = {name: files for named in data.shipped_photographs().values() for name, files in named.items()}
    assert (read_photograph(shipped["coffee"][0]) == skimage_data.coffee()).all()
    assert (read_photograph(shipped["china"][0]) == load_sample_image("china.jpg")).all()
    left, right, _ = skimage_data.stereo_motorcycle()
    assert (read_photograph(shipped["motorcycle"][0]) == left).all()
    assert (read_photograph(shipped["motorcycle"][1]) == right).all()


# --- measuring and splitting


def test_capacity_counts_the_grid_at_the_largest_scale(photograph):
    assert photograph("a", 40, 52).capacity == 2 * 3


def test_a_flat_photograph_has_no_capacity(photograph):
    assert photograph("flat", pixels=np.full((40, 52, 3), 90, np.uint8)).capacity == 0


def test_a_photograph_too_small_for_a_crop_is_named_with_its_size(photograph):
    with pytest.raises(UserError, match=r"small\.png is 52 x 12 pixels.*16 pixels; lower data\.image_size"):
        photograph("small", 12, 52)


def named(*capacities):
    return [Photograph(f"p{i}", (Path(f"p{i}.png"),), capacity) for i, capacity in enumerate(capacities)]


def names(split):
    return {photograph.name for photograph in split}


def test_split_is_a_partition_that_does_not_depend_on_order():
    photographs = named(*[5] * 12)
    split = data.split_photographs(photographs, {"val": 4, "test": 4}, seed=0)
    assert [len(split[s]) for s in ("train", "val", "test")] == [6, 3, 3]
    assert names(split["train"]) | names(split["val"]) | names(split["test"]) == names(photographs)
    again = data.split_photographs(photographs[::-1], {"val": 4, "test": 4}, seed=0)
    assert split == again
    assert split != data.split_photographs(photographs, {"val": 4, "test": 4}, seed=1)


def test_split_gives_a_part_as_many_photographs_as_its_crops_need():
    split = data.split_photographs(named(*[1] * 40), {"val": 5, "test": 12}, seed=0)
    assert [len(split[s]) for s in ("train", "val", "test")] == [23, 5, 12]


def test_split_takes_at_most_one_photograph_per_crop_wanted():
    split = data.split_photographs(named(*[50] * 100), {"val": 2, "test": 4}, seed=0)
    assert [len(split[s]) for s in ("train", "val", "test")] == [94, 2, 4]


@pytest.mark.parametrize("capacities", [(9,), (9, 9), (1, 1, 1, 1)])
def test_too_few_photographs_for_three_splits_is_an_error(capacities):
    with pytest.raises(UserError, match=f"{len(capacities)} photographs are too few.*add photographs"):
        data.split_photographs(named(*capacities), {"val": 2, "test": 2}, seed=0)


# --- scales and contrast


def test_contrast_is_the_standard_deviation_of_each_window():
    pixels = noise(11, 14)
    grey = np.asarray(Image.fromarray(pixels).convert("L")).astype(float)
    windows = np.lib.stride_tricks.sliding_window_view(grey, (5, 5))
    np.testing.assert_allclose(data.contrast(pixels, 5), windows.std((2, 3)), atol=1e-9)


def test_shrinking_averages_fine_patterns_away_instead_of_aliasing_them():
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    inner = data.shrink(stripes, 0.25)[4:-4, 4:-4].astype(int)
    assert data.shrink(stripes, 0.25).shape == (16, 16, 3)
    assert abs(inner - 127).max() <= 3


def test_scales_that_cannot_hold_a_window_are_left_out():
    assert [scale for scale, _ in data.levels(noise(40, 60), (1.0, 0.5, 0.25), 16)] == [1.0, 0.5]


# --- crops


def test_grid_is_centred_and_keeps_only_windows_with_contrast():
    pixels = noise(37, 50)
    assert data.grid(pixels, 16) == [(1, 2), (17, 2), (33, 2), (1, 18), (17, 18), (33, 18)]
    pixels[2:18, 17:33] = 128
    assert data.grid(pixels, 16) == [(1, 2), (33, 2), (1, 18), (17, 18), (33, 18)]


def test_crops_lie_where_they_say_and_never_show_the_same_part_of_a_scene(photograph):
    photographs = [photograph("a", 80, 90), photograph("bb", 70, 60)]
    crops = data.evaluation_crops(photographs, 0.5, 16, 5)
    assert len({(crop.photograph, crop.x, crop.y) for crop in crops}) == 5
    for crop in crops:
        source = next(p for p in photographs if p.name == crop.photograph)
        shrunk = data.shrink(read_photograph(source.files[0]), 0.5)
        assert (crop.pixels == shrunk[crop.y : crop.y + 16, crop.x : crop.x + 16]).all()
        assert (crop.x, crop.y) in data.grid(shrunk, 16)


def test_crops_are_those_of_most_contrast(photograph):
    pixels = np.full((16, 64, 3), 128, np.uint8)
    for place, spread in enumerate((20, 60, 0, 40)):
        pixels[::2, 16 * place : 16 * place + 16] += np.uint8(2 * spread)
    crops = data.evaluation_crops([photograph("steps", pixels=pixels)], 1.0, 16, 2)
    assert [crop.x for crop in crops] == [16, 48]


def test_two_views_of_one_scene_count_as_one(tmp_path):
    for name in ("left.png", "right.png"):
        Image.fromarray(noise(40, 40)).save(tmp_path / name)
    pair = data.measured("pair", (tmp_path / "left.png", tmp_path / "right.png"), [noise(40, 40)] * 2, (1.0,), 16, 8)
    assert pair.capacity == 4
    assert {crop.file for crop in data.evaluation_crops([pair], 1.0, 16, 4)} == {"left.png"}


def test_photographs_take_turns_while_they_last(photograph):
    crops = data.evaluation_crops([photograph("a", 80, 90), photograph("bb", 20, 36)], 1.0, 16, 6)
    assert [crop.photograph for crop in crops] == ["a", "bb", "a", "bb", "a", "a"]


def test_more_crops_than_the_photographs_hold_is_an_error(photograph):
    with pytest.raises(UserError, match=r"8 crops of 16 pixels are wanted but a hold 6; lower"):
        data.evaluation_crops([photograph("a", 40, 52)], 1.0, 16, 8)


# --- patches


def test_patches_are_spread_evenly_over_photographs_and_scales(photograph):
    patches = data.training_patches([photograph("a"), photograph("bb")], (1.0, 0.5), 8, 40, rng())
    counts = {}
    for patch in patches:
        counts[patch.photograph, patch.scale] = counts.get((patch.photograph, patch.scale), 0) + 1
    assert counts == {("a", 1.0): 10, ("a", 0.5): 10, ("bb", 1.0): 10, ("bb", 0.5): 10}


def test_patches_are_drawn_from_all_usable_places_without_repeats_while_they_last(photograph):
    patches = data.training_patches([photograph("a", 20, 22)], (1.0,), 8, 13 * 15, rng())
    assert {(p.x, p.y) for p in patches} == {(x, y) for x in range(15) for y in range(13)}
    assert len(data.training_patches([photograph("a", 20, 22)], (1.0,), 8, 500, rng())) == 500


def test_patches_all_have_contrast(photograph):
    pixels = noise(48, 96)
    pixels[:, :60] = 128
    patches = data.training_patches([photograph("half", pixels=pixels)], (1.0, 0.5), 8, 300, rng())
    assert min(data.contrast(patch.pixels, 8).item() for patch in patches) >= data.MIN_CONTRAST


def test_the_hash_is_of_the_pixels(photograph):
    first, second = data.training_patches([photograph("a")], (1.0,), 8, 2, rng())
    assert first.sha256 == hashlib.sha256(first.pixels.tobytes()).hexdigest()
    assert first.sha256 != second.sha256
