"""The stages up to restore, run on an experiment from which the clean images they may not see have been deleted."""

import pandas as pd
import pytest
import tiny
import torch

from dualprior.common import io
from dualprior.common.paths import Paths
from dualprior.data.pixels import to_uint8
from dualprior.pipeline import ablate, audit, degrade, fit_dip, restore, train_ddpm
from dualprior.pipeline.config import Config
from dualprior.restoration.registry import REGISTRY

SMOKE = tiny.params()
FAST = {"steps": 14, "check_every": 4, "patience": 4, "lr": 0.1}  # so that some fits are decided before their end
TASKS = ("denoise25", "inpaint_random", "sr4")  # the error estimated as a whole, in part, by agreement only
PARAMS = SMOKE.model_copy(
    update={
        "dip": SMOKE.dip.model_copy(update=FAST),
        "tasks": {task: SMOKE.tasks[task] for task in TASKS},
        "ablate": SMOKE.ablate.model_copy(update={"tasks": ("sr4",)}),
        "audit": SMOKE.audit.model_copy(update={"tasks": ("denoise25",)}),
    }
)
LOOKED = [4, 8, 12, 14]  # every check_every steps and the last
SIZES = {"train": 8, "val": 2, "test": 3}


def config(stage, task=None) -> Config:
    return Config([PARAMS], tuple(section.format(key=task) for section in stage.PARAMS))


@pytest.fixture(scope="module")
def done(tmp_path_factory) -> Paths:
    """Every stage but evaluate; the clean test images are deleted as soon as they are measured."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DUALPRIOR_DEVICE", "cpu")
        patch.setenv("DUALPRIOR_THREADS", "1")
        paths = Paths(tmp_path_factory.mktemp("leak"))
        for name, count in SIZES.items():
            io.write_array(paths.split(name), to_uint8(tiny.images(count)))
        rows = [(split, i, f"{split}{i}") for split, count in SIZES.items() for i in range(count)]
        io.write_table(paths.manifest, pd.DataFrame(rows, columns=["split", "index", "image"]))
        degrade.run(config(degrade), paths)
        paths.split("test").unlink()
        train_ddpm.run(config(train_ddpm), paths)
        for task in TASKS:
            fit_dip.run(config(fit_dip, task), paths, task)
            restore.run(config(restore, task), paths, task)
        ablate.run(config(ablate), paths)
        audit.run(config(audit), paths)
    return paths


@pytest.mark.parametrize("task", TASKS)
def test_no_stage_but_the_judge_needs_a_clean_test_image(done, task):
    assert not done.split("test").exists()
    images = io.read_tensors(done.restored(task) / "images.safetensors")
    few = PARAMS.restore.ddpm.full_images
    assert {name: len(x) for name, x in images.items()} == {name: few if REGISTRY[name].few else SIZES["test"] for name in images}
    assert all(torch.isfinite(x).all() for x in images.values())
    assert io.read_tensors(done.folder("ablation") / "images.safetensors")
    assert io.read_tensors(done.folder("audit") / "images.safetensors")


@pytest.mark.parametrize("task", TASKS)
def test_every_restored_method_says_what_it_cost_and_chose(done, task):
    about = io.read_json(done.restored(task) / "methods.json")
    images = io.read_tensors(done.restored(task) / "images.safetensors")
    assert about["methods"].keys() == about["choices"].keys() == images.keys()
    assert about["methods"]["dip_stopped"]["seconds"] > 0
    assert about["methods"]["dip_stopped"]["dip_passes"] > 0


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("split", ["val", "test"])
def test_every_fit_of_every_task_is_stopped_where_its_estimate_was_least(done, task, split):
    tensors, about = io.read_tensors(done.dip(task) / "fits.safetensors"), io.read_json(done.dip(task) / "fits.json")
    assert tensors[f"{split}_stopped"].shape == (SIZES[split], 3, tiny.SIDE, tiny.SIDE)
    assert tensors[f"{split}_snapshots"].shape[:2] == (len(about["steps"]), SIZES[split])
    info, trace = about[split], io.read_table(done.dip(task) / "trace.csv")
    assert (info["error"] is not None) == (task == "denoise25")  # only where the whole image is measured
    for image, rows in trace[trace["split"] == split].groupby("image"):
        assert rows["step"].tolist() == LOOKED
        fed = rows[rows["step"] <= info["decided_step"][image]].set_index("step")["error_estimate"]
        assert fed.idxmin() == info["stop_step"][image]


def test_the_network_of_a_task_is_the_best_one_on_validation_images(done):
    for task in TASKS:
        about = io.read_json(done.dip(task) / "fits.json")
        assert about["val_psnr"].keys() == PARAMS.dip.networks.keys()
        assert about["network"] == max(about["val_psnr"], key=about["val_psnr"].get)
        assert about["recipe"]["kind"] == PARAMS.dip.networks[about["network"]].kind


def test_a_fit_to_noisy_data_is_decided_when_patience_runs_out(done):
    info = io.read_json(done.dip("denoise25") / "fits.json")["test"]
    for stop, decided in zip(info["stop_step"], info["decided_step"], strict=True):
        assert decided == next((step for step in LOOKED if step - stop >= PARAMS.dip.patience), LOOKED[-1])


def test_of_exact_data_the_whole_fit_is_seen(done):
    assert set(io.read_json(done.dip("sr4") / "fits.json")["test"]["decided_step"]) == {LOOKED[-1]}
