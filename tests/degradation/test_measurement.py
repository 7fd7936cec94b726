"""Measurements: the right noise, the same for an image whatever its batch-mates, and none where nothing is known."""

import logging
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from dualprior.common import io
from dualprior.common.errors import UserError
from dualprior.common.paths import Paths
from dualprior.degradation.measurement import estimate_level, measure, observe, read_measurement
from dualprior.degradation.operators import GaussianBlur
from dualprior.degradation.task import Task
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
    tensors = measure(x, TASKS[name], seed, name, images)
    return tensors["y"], tensors.get("mask")


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


def test_a_measurement_is_observed_at_the_size_of_its_image():
    tensors = measure(X, TASKS["sr4"], 0, "sr4", IMAGES)
    seen = observe(tensors, TASKS["sr4"], IMAGES, torch.device("cpu"))
    assert (seen.size, tuple(seen.y.shape[-2:]), seen.sigma_y) == ((32, 32), (8, 8), pytest.approx(4 / 255))


def test_the_noise_level_is_estimated_from_the_measurement_alone():
    y = 0.3 + 0.2 * torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    assert estimate_level(y).tolist() == pytest.approx([0.2] * 3, rel=0.1)
    assert estimate_level(torch.zeros(1, 3, 64, 64)).item() == 0
    with pytest.raises(UserError, match="not finite"):
        estimate_level(torch.full((1, 3, 8, 8), torch.nan))


@pytest.fixture
def prepared(tmp_path):
    """Smooth validation and test images with a manifest whose rows are out of order."""
    paths = Paths(tmp_path)
    for split, count in (("val", 2), ("test", 3)):
        io.write_array(paths.split(split), np.full((count, 32, 32, 3), 128, np.uint8))
    rows = [("val", 1), ("val", 0), ("test", 2), ("test", 0), ("test", 1), ("train", 0)]
    table = pd.DataFrame([{"split": s, "index": i, "image": f"{s}_x_{i:02d}"} for s, i in rows])
    io.write_table(paths.manifest, table)
    return paths


def config(*names):
    return SimpleNamespace(degrade=SimpleNamespace(seed=0), tasks={name: TASKS[name] for name in names})


def test_stage_writes_both_splits_with_masks_and_ids(prepared):
    degrade.run(config("sr4", "inpaint_box"), prepared)
    assert read_measurement(prepared.measurements("sr4"), "val", torch.device("cpu")).y.shape == (2, 3, 8, 8)
    seen = read_measurement(prepared.measurements("inpaint_box"), "test", torch.device("cpu"))
    assert seen.names == ["test_x_00", "test_x_01", "test_x_02"]
    assert torch.equal(seen.op.mask, measure(torch.zeros(3, 3, 32, 32), TASKS["inpaint_box"], 0, "inpaint_box", seen.names)["mask"])


@pytest.mark.parametrize(("given", "warned"), [(25, False), (18, True), (33, True)])
def test_a_wrong_noise_level_is_warned_of_beside_the_estimated_one(prepared, monkeypatch, caplog, given, warned):
    """The measurement has noise 25 whatever the task says."""
    told, true = Task(operator="identity", noise=given), TASKS["denoise"]
    monkeypatch.setattr(degrade, "measure", lambda x, task, *rest: measure(x, true, *rest))
    caplog.set_level(logging.INFO)
    degrade.run(SimpleNamespace(degrade=SimpleNamespace(seed=0), tasks={"denoise": told}), prepared)
    levels = {record.levelno for record in caplog.records if "estimated" in record.message}
    assert levels == {logging.WARNING if warned else logging.INFO}


def test_stage_without_prepared_images_says_what_to_run(tmp_path):
    with pytest.raises(UserError, match=r"manifest\.csv is missing; run `dvc repro`"):
        degrade.run(config("denoise"), Paths(tmp_path))
