"""The stages that restore, run on an experiment from which the clean images they may not see have been deleted."""

import pandas as pd
import pytest
import tiny
import torch
from dualprior.common.config import Config

from dualprior.common import device, io
from dualprior.common.paths import Paths
from dualprior.data.pixels import to_uint8, to_unit
from dualprior.diffusion import checkpoint
from dualprior.pipeline import degrade, fit_dip, restore, train_ddpm
from dualprior.restoration.registry import HYBRID, PARTS

SMOKE = tiny.params()
FAST = {"steps": 14, "judge_every": 4, "patience": 4, "lr": 0.1}  # so that some fits are decided before their end
PARAMS = SMOKE.model_copy(update={"dip": SMOKE.dip.model_copy(update=FAST)})
JUDGED = [4, 8, 12, 14]  # every judge_every steps and the last
TASKS = ("denoise25", "inpaint_random", "sr4")  # judged as a whole, in part, by agreement only
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
            io.write_array(getattr(paths, name), array)
        rows = [(split, i, f"{split}{i}") for split, count in SIZES.items() for i in range(count)]
        io.write_table(paths.manifest, pd.DataFrame(rows, columns=["split", "index", "image"]))
        for task in TASKS:
            degrade.run(config(degrade, task), paths, task)
        paths.test.unlink()
        paths.val.unlink()
        for task in TASKS:
            fit_dip.run(config(fit_dip, task), paths, task)
        io.write_array(paths.val, clean["val"])
        train_ddpm.run(config(train_ddpm, None), paths)
        for task in TASKS:
            restore.run(config(restore, task), paths, task)
    return paths


@pytest.mark.parametrize("task", TASKS)
def test_fitting_and_restoring_need_no_clean_test_image(done, task):
    assert not done.test.exists()
    images = io.read_tensors(done.restored(task))
    few = PARAMS.restore.full.images
    of_val = {name for name in images if name.startswith("val_")}
    counts = {name: SIZES["val"] if name in of_val else few if name == "ddpm_1000" else SIZES["test"] for name in images}
    assert {name: len(x) for name, x in images.items()} == counts
    assert {name.removeprefix("val_") for name in of_val} == {*PARTS, HYBRID} & set(images)
    assert all(torch.isfinite(x).all() for x in images.values())


def test_a_full_chain_is_chosen_on_as_many_validation_images_as_it_restores(done, monkeypatch):
    measured, whole = {}, to_unit(io.read_array(done.val))
    full = PARAMS.restore.full.model_copy(update={"images": 1, "zetas": (None, 1.0)})
    settings, choose, task = PARAMS.restore.model_copy(update={"full": full}), restore.choose, TASKS[0]
    monkeypatch.setenv("DUALPRIOR_DEVICE", "cpu")
    monkeypatch.setattr(restore, "choose", lambda *given: measured.update({given[0].label: given}) or choose(*given))
    with torch.no_grad():
        model = checkpoint.load(done, device.pick())
        restored = restore.restore(done, task, PARAMS.tasks[task], settings, PARAMS.hybrid, PARAMS.dip, model)
    _, val, _, clean = seen["DDPM, full chain"]
    assert val.measured.names == seen["DIP, stopped"][1].measured.names[:1]
    torch.testing.assert_close(clean, whole[:1])
    assert len(restored.test["ddpm_1000"].x) == 1
    assert restored.test["ddpm_1000"].setting["zeta"] in (None, 1.0)


@pytest.mark.parametrize("task", TASKS)
def test_every_restored_method_says_what_it_cost(done, task):
    methods = io.read_json(done.restored_info(task))["methods"]
    assert methods.keys() == {name for name in io.read_tensors(done.restored(task)) if not name.startswith("val_")}
    assert methods["restart_blend"]["nfe"] >= 1
    assert methods["dip_stopped"]["seconds"] > 0


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("split", ["val", "test"])
def test_every_fit_of_every_task_is_stopped(done, task, split):
    tensors, info = io.read_tensors(done.dip(task)), io.read_json(done.dip_info(task))
    assert tensors[f"{split}_stopped"].shape == (SIZES[split], 3, tiny.SIDE, tiny.SIDE)
    assert tensors[f"{split}_snapshots"].shape[:2] == (len(info["steps"]), SIZES[split])
    for name in ("stop_step", "decided_step"):
        assert len(info[split][name]) == SIZES[split]
        assert set(info[split][name]) <= set(JUDGED)


@pytest.mark.parametrize("task", TASKS)
def test_an_error_is_claimed_only_where_the_whole_image_is_measured(done, task):
    info = io.read_json(done.dip_info(task))
    for split, count in (("val", SIZES["val"]), ("test", SIZES["test"])):
        if task == "denoise25":
            assert len(info[split]["error"]) == count
            assert min(info[split]["error"]) > 0
        else:
            assert info[split]["error"] is None


@pytest.mark.parametrize("task", TASKS)
def test_the_trace_has_a_row_for_every_judged_step_of_every_image(done, task):
    trace = io.read_table(done.dip_trace(task))
    assert list(trace.columns) == ["split", "image", "step", "loss", "error_estimate"]
    for (split, image), rows in trace.groupby(["split", "image"]):
        assert image < SIZES[split]
        assert rows["step"].tolist() == JUDGED
    assert trace.groupby(["split", "image"]).ngroups == SIZES["val"] + SIZES["test"]
    assert trace.notna().all(axis=None)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("split", ["val", "test"])
def test_the_stop_is_the_least_estimate_until_it_was_decided(done, task, split):
    trace, info = io.read_table(done.dip_trace(task)), io.read_json(done.dip_info(task))[split]
    for image, rows in trace[trace["split"] == split].groupby("image"):
        measured = rows[rows["step"] <= info["decided_step"][image]].set_index("step")["error_estimate"]
        assert measured.idxmin() == info["stop_step"][image]


def test_a_fit_to_noisy_data_is_decided_when_patience_runs_out(done):
    info = io.read_json(done.dip_info("denoise25"))["test"]
    for stop, decided in zip(info["stop_step"], info["decided_step"], strict=True):
        assert decided == next((step for step in JUDGED if step - stop >= PARAMS.dip.patience), JUDGED[-1])
    assert min(info["decided_step"]) < JUDGED[-1]


@pytest.mark.parametrize("task", ["inpaint_random", "sr4"])
def test_a_fit_to_exact_data_is_seen_to_its_end(done, task):
    info = io.read_json(done.dip_info(task))
    assert set(info["val"]["decided_step"] + info["test"]["decided_step"]) == {JUDGED[-1]}
    assert min(info["test"]["stop_step"]) < JUDGED[-1]
