"""Measurements: the right noise, the same for an image whatever its batch-mates, and none where nothing is known."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from dualprior.common import io
from dualprior.common.errors import UserError
from dualprior.common.params import Task
from dualprior.common.paths import Paths
from dualprior.degradation.operators import GaussianBlur
from dualprior.pipeline import degrade

TASKS = {
    "denoise": Task(operator="identity", noise=25),
    "sr4": Task(operator="block_average", noise=2, factor=4),
    "inpaint_random": Task(operator="random_mask", noise=10, keep=0.25),
    "inpaint_box": Task(operator="box_mask", noise=0, box=8),
    "deblur": Task(operator="gaussian_blur", noise=5, blur_std=1.6),
}
IMAGES = [f"test_x_{i:02d}" for i in range(6)]
X = torch.rand(6, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1


def measured(name, images=IMAGES, x=X, seed=0):
    return degrade.measure(x, TASKS[name], seed, name, images)


def test_noise_has_twice_its_8_bit_level_and_is_not_clipped():
    y, mask = measured("denoise")
    assert mask is None
    assert float((y - X).std()) == pytest.approx(2 * 25 / 255, rel=0.02)
    assert float(y.max()) > 1.1


@pytest.mark.parametrize("name", TASKS)
def test_a_measurement_does_not_depend_on_batch_mates_or_order(name):
    y, mask = measured(name)
    some = [4, 1]
    y_some, mask_some = measured(name, [IMAGES[i] for i in some], X[some])
    assert torch.equal(y_some, y[some])
    assert mask is None or torch.equal(mask_some, mask[some])


@pytest.mark.parametrize("name", TASKS)
def test_images_seeds_and_tasks_have_streams_of_their_own(name):
    same = X[:1].expand(2, -1, -1, -1)
    y, _ = measured(name, IMAGES[:2], same)
    assert not torch.equal(y[0], y[1])
    assert not torch.equal(y, measured(name, IMAGES[:2], same, seed=1)[0])


def test_unknown_pixels_are_zero_and_known_ones_carry_the_noise():
    y, mask = measured("inpaint_random")
    assert mask.shape == (6, 1, 32, 32)
    assert mask.mean() == 0.25
    assert (y * (1 - mask) == 0).all()
    known = mask.expand_as(X) == 1
    assert float((y - X)[known].std()) == pytest.approx(2 * 10 / 255, rel=0.1)


def test_no_noise_means_the_exact_operator():
    y, mask = measured("inpaint_box")
    assert torch.equal(y, mask * X)


def test_blurred_measurement_is_blur_plus_noise():
    y, _ = measured("deblur")
    assert float((y - GaussianBlur(1.6, (32, 32)).A(X)).std()) == pytest.approx(2 * 5 / 255, rel=0.05)


@pytest.fixture
def prepared(tmp_path):
    """Random validation and test images with a manifest whose rows are out of order."""
    paths, rng = Paths(tmp_path), np.random.default_rng(0)
    io.write_array(paths.val, rng.integers(0, 256, (2, 32, 32, 3), dtype=np.uint8))
    io.write_array(paths.test, rng.integers(0, 256, (3, 32, 32, 3), dtype=np.uint8))
    rows = [("val", 1), ("val", 0), ("test", 2), ("test", 0), ("test", 1), ("train", 0)]
    table = pd.DataFrame([{"split": s, "index": i, "image": f"{s}_x_{i:02d}"} for s, i in rows])
    io.write_table(paths.manifest, table)
    return paths


def config(name):
    return SimpleNamespace(measure=SimpleNamespace(seed=0), task=TASKS.__getitem__)


@pytest.mark.parametrize(("name", "size"), [("denoise", 32), ("sr4", 8)])
def test_stage_writes_both_splits(prepared, name, size):
    degrade.run(config(name), prepared, name)
    tensors = io.read_tensors(prepared.measurement(name))
    assert {key: tuple(t.shape) for key, t in tensors.items()} == {"val_y": (2, 3, size, size), "test_y": (3, 3, size, size)}


def test_stage_writes_masks_and_matches_images_to_their_ids(prepared):
    degrade.run(config("inpaint_box"), prepared, "inpaint_box")
    tensors = io.read_tensors(prepared.measurement("inpaint_box"))
    x = torch.zeros(3, 3, 32, 32)
    _, mask = degrade.measure(x, TASKS["inpaint_box"], 0, "inpaint_box", ["test_x_00", "test_x_01", "test_x_02"])
    assert torch.equal(tensors["test_mask"], mask)
    assert tensors["val_mask"].shape == (2, 1, 32, 32)


def test_stage_without_prepared_images_says_which_stage_to_run(tmp_path):
    with pytest.raises(UserError, match=r"manifest\.csv is missing; run"):
        degrade.run(config("denoise"), Paths(tmp_path), "denoise")
