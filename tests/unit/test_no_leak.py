"""The stages that restore, run on an experiment from which the clean images they may not see have been deleted."""

import pandas as pd
import pytest
import tiny
import torch

from dualprior import artifacts
from dualprior.config import Config
from dualprior.images import to_uint8
from dualprior.paths import Paths
from dualprior.stages import degrade, fit_dip, restore, train_ddpm

PARAMS = tiny.params()
TASKS = ("denoise25", "inpaint_random", "sr4")  # a coupled witness, a held-out one, none
SIZES = {"train": 8, "val": 2, "test": 3}


def config(stage, task) -> Config:
    return Config(PARAMS, tuple(section.format(key=task) for section in stage.PARAMS))


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> Paths:
    """Every stage up to restore; each clean image is deleted as soon as nothing may read it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DUALPRIOR_DEVICE", "cpu")
        paths = Paths(tmp_path_factory.mktemp("leak"), tmp_path_factory.mktemp("scratch"))
        clean = {name: to_uint8(tiny.images(count)) for name, count in SIZES.items()}
        for name, array in clean.items():
            artifacts.write_array(getattr(paths, name), array)
        rows = [(split, i, f"{split}{i}") for split, count in SIZES.items() for i in range(count)]
        artifacts.write_table(paths.manifest, pd.DataFrame(rows, columns=["split", "index", "image"]))
        for task in TASKS:
            degrade.run(config(degrade, task), paths, task)
        paths.test.unlink()
        paths.val.unlink()
        for task in TASKS:
            fit_dip.run(config(fit_dip, task), paths, task)
        artifacts.write_array(paths.val, clean["val"])
        train_ddpm.run(config(train_ddpm, None), paths)
        for task in TASKS:
            restore.run(config(restore, task), paths, task)
    return paths


@pytest.mark.parametrize("task", TASKS)
def test_fitting_and_restoring_need_no_clean_test_image(done, task):
    assert not done.test.exists()
    images = artifacts.read_tensors(done.restored(task))
    few = PARAMS.restore.full.images
    assert {name: len(x) for name, x in images.items()} == {name: few if name == "ddpm_1000" else SIZES["test"] for name in images}
    assert all(torch.isfinite(x).all() for x in images.values())


@pytest.mark.parametrize("task", TASKS)
def test_every_restored_method_says_what_it_cost(done, task):
    methods = artifacts.read_json(done.restored_info(task))["methods"]
    assert methods.keys() == artifacts.read_tensors(done.restored(task)).keys()
    assert methods["hybrid"]["nfe"] >= 1
    assert methods["dip_stopped"]["seconds"] > 0


@pytest.mark.parametrize("task", TASKS)
def test_a_witness_stops_the_fit_just_where_the_task_has_one(done, task):
    tensors, info = artifacts.read_tensors(done.dip(task)), artifacts.read_json(done.dip_info(task))
    for split in ("val", "test"):
        assert (f"{split}_stopped" in tensors) == (task != "sr4")
        assert (info[split]["stop_step"] is None) == (task == "sr4")
        assert tensors[f"{split}_snapshots"].shape[:2] == (len(info["steps"]), SIZES[split])


@pytest.mark.parametrize("task", TASKS)
def test_the_trace_has_a_row_for_every_step_of_every_image(done, task):
    trace = artifacts.read_table(done.dip_trace(task))
    assert len(trace) == PARAMS.dip.steps * (SIZES["val"] + SIZES["test"])
    assert trace["error_estimate"].isna().all() == (task == "sr4")
    assert trace["loss"].notna().all()


def test_the_stopped_image_is_that_of_the_least_estimate(done):
    trace = artifacts.read_table(done.dip_trace("denoise25"))
    stops = artifacts.read_json(done.dip_info("denoise25"))["test"]["stop_step"]
    rows = trace[trace["split"] == "test"]
    assert [int(r.loc[r["error_estimate"].idxmin(), "step"]) for _, r in rows.groupby("image")] == stops
