"""The studies' stages, run on tiny data from which the clean test images have been deleted wherever a stage may not see them."""

import numpy as np
import pandas as pd
import pytest
import tiny
import torch
from numpy.lib.stride_tricks import sliding_window_view
from PIL import Image

from dualprior.common import io
from dualprior.common.errors import UserError
from dualprior.common.paths import Paths
from dualprior.data.pixels import to_uint8
from dualprior.diffusion import checkpoint
from dualprior.pipeline import ablate, degrade, fit_dip, restore, train_ddpm
from dualprior.pipeline.config import Config, check_params, read_yaml
from studies.hybrid import evaluate as judge_hybrid
from studies.hybrid import fitting, foreign_prior, long_fits, noise_level, photographs, posterior_sampling, prior_strength, strength
from studies.hybrid.params import Params as Wide
from studies.stopping import degrade as measure
from studies.stopping import evaluate as judge_stops
from studies.stopping import fit, stop
from studies.stopping.params import Params as Stopping
from studies.stopping.params import each_fit

SMOKE = tiny.params().model_copy(update={"tasks": {name: tiny.params().tasks[name] for name in ("denoise50", "sr4")}})
SIZES = {"train": 8, "val": 2, "test": 4, "whole": 2}


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DUALPRIOR_DEVICE", "cpu")
        patch.setenv("DUALPRIOR_THREADS", "1")
        yield


@pytest.fixture(scope="module")
def photographed(tmp_path_factory) -> Paths:
    """What the study of stopping rules takes from that of the hybrid: photographs, with two seeds of a crop, and a trained model."""
    paths = Paths(tmp_path_factory.mktemp("studies"), "hybrid")
    for name, count in SIZES.items():
        io.write_array(paths.split(name), to_uint8(tiny.images(count, side=48 if name == "whole" else 32)))
    rows = [(split, i, f"{split}{i % 2 if split == 'test' else i}") for split, count in SIZES.items() for i in range(count)]
    io.write_table(paths.manifest, pd.DataFrame(rows, columns=["split", "index", "crop"]))
    train_ddpm.run(Config([SMOKE], train_ddpm.PARAMS), paths)
    return paths


def config(stage, study, key=None) -> Config:
    return Config([study, SMOKE], tuple(section.format(key=key) for section in stage.PARAMS))


# --- the study of stopping rules -----------------------------------------------------------------------------


def stopping() -> Stopping:
    """The committed parameters, a few of the fits, and few steps."""
    data = read_yaml(tiny.PROJECT / "studies/stopping/params.yaml")
    data["images"] |= {"test": 2, "seeds": 2, "val": 2, "crop": 16}
    kept = {"gaussian50": ["skip", "two_fits", "level_low", "annealing_target", "input_triple"], "sr4": ["skip"], "whole50": ["skip"]}
    few = {"steps": 20, "every": 4}
    data["fits"] = {problem: {name: data["fits"][problem][name] | few for name in names} for problem, names in kept.items()}
    data["problems"] = {problem: data["problems"][problem] for problem in kept}
    data["networks"] = {"skip": {"kind": "skip", "channels": [4, 4], "skip_channels": 2, "input_channels": 4}}
    data["fitting"] |= {"precision": "float32"}
    data["rules"] |= {"window": 8, "windows": [8], "patiences": [8, 12], "window_patience": 100}
    return check_params(data, "params.yaml", Stopping)


@pytest.fixture(scope="module")
def stopped(photographed) -> Paths:
    study = stopping()
    paths = Paths(photographed.root, "stopping")
    for problem in study.problems:
        measure.run(config(measure, study, problem), paths, problem)
    clean = {split: io.read_array(photographed.split(split)) for split in ("test", "whole")}
    for split in clean:
        photographed.split(split).unlink()
    for problem in study.problems:
        fit.run(config(fit, study, problem), paths, problem)
    stop.run(config(stop, study), paths)
    for split, pixels in clean.items():
        io.write_array(photographed.split(split), pixels)
    judge_stops.run(config(judge_stops, study), paths)
    return paths


def test_no_fit_and_no_rule_needs_a_clean_image(stopped):
    stops = io.read_table(stopped.folder("stopped") / "stops.csv")
    assert {"split", "last_pair", "es_wmv", "discrepancy", "sure", "self_validation", "diffusion_score"} <= set(stops["rule"])
    assert len(stops.query("rule == 'split' and fit == 'skip-gaussian50' and split == 'test'")) == 4  # two crops, two seeds


def test_every_stop_is_held_against_the_best_step_of_its_own_fit(stopped):
    rows = io.read_table(stopped.metrics("rows.csv"))
    assert (rows["gap"] >= 0).all()
    assert (rows["peak"] - rows["psnr"] - rows["gap"]).abs().max() < 1e-3
    assert set(rows.query("rule == 'split'")["fit"]) == {name for name, *_ in each_fit(stopping().fits)} - {"two_fits-gaussian50"}


def test_the_findings_of_stopping_name_every_rule_and_level(stopped):
    found = io.read_json(stopped.metrics("findings.json"))
    assert {"split", "es_wmv", "discrepancy", "sure", "last"} <= found["stopping_loss_db"].keys()
    assert found["stopping_loss_db"]["split"]["n"] == 2  # crops, not seeds
    assert found["loss_by_noise_level_db"].keys() == {"known", "low"}
    assert found["stopping_loss_by_task_db"].keys() == {"gaussian50", "sr4", "whole50"}
    assert found["last_step_loss_by_task_db"].keys() == found["stopping_loss_by_task_db"].keys()
    assert {"whole50/known", "gaussian50/low", "gaussian50/known"} <= found["predicted_psnr_error_db"].keys()
    assert found["annealing_gain_db"].keys() == {"target", "constant 3"}
    assert found["kept_over_two_fits_db"].keys() == {"discrepancy", "fixed", "last", "best_step"}


# --- the study of the hybrid ---------------------------------------------------------------------------------


def wide() -> Wide:
    """The committed parameters, tiny: two tasks, a model kept after two steps and one trained on stained tissue."""
    data = read_yaml(tiny.PROJECT / "studies/hybrid/params.yaml")
    smoke = SMOKE.model_dump()
    data |= {"problems": ["denoise50", "sr4"], "ddpm": smoke["ddpm"], "dip": smoke["dip"], "restore": smoke["restore"]}
    data["ddpm"]["training"] |= {"steps": 4, "lr_decay": "none", "keep": [2]}
    data["photographs"] |= {"train": "train", "validation": 2, "test": ["test"], "patches": 8, "patch_size": 16, "crop": 32, "seeds": 2}
    data["photographs"] |= {"leave_out": ["left_out.png"], "scales": [1.0], "whole": 48}
    data["foreign"] |= {"files": ["skimage/data/ihc.png"], "patches": 8, "steps": 2}
    data["strength"] |= {"priors": ["2", "foreign"], "validation": 2, "images": 2}
    data["fitting"] |= {"priors": ["full"], "validation": 2, "images": 2, "lr": {"all": [1e-3], "gains": [0.01]}, "steps": 2, "every": 1}
    data["noise_levels"] |= {"task": "denoise50", "levels": ["75"], "validation": 2, "images": 2}
    data["long_fits"] |= {"tasks": ["sr4"], "times": 2, "images": 2, "snapshots": 3}
    data["dps"] |= {"calls": 3, "strengths": [1.0], "validation": 2, "images": 2}
    data["ablate"] |= {"tasks": ["sr4"], "start_scale": [1.0, 2.0], "dip_steps": [4, 12], "calls": [1, 3]}
    return check_params(data, "params.yaml", Wide)


@pytest.fixture(scope="module")
def restored(tmp_path_factory) -> Paths:
    study, paths = wide(), Paths(tmp_path_factory.mktemp("hybrid"), "hybrid")
    for folder, names in {"train": "abcd", "test": ["e", "f", "left_out"]}.items():
        for name, pixels in zip(names, to_uint8(tiny.images(4, side=64)), strict=False):
            (paths.root / folder).mkdir(exist_ok=True)
            Image.fromarray(pixels).save(paths.root / folder / f"{name}.png")
    for stage in (photographs, train_ddpm, foreign_prior, degrade):
        stage.run(config(stage, study), paths)
    clean = io.read_array(paths.split("test"))
    paths.split("test").unlink()
    for task in study.problems:
        for stage in (fit_dip, restore, posterior_sampling):
            stage.run(config(stage, study, task), paths, task)
    for prior in study.strength.priors:
        prior_strength.run(config(prior_strength, study, prior), paths, prior)
    fitting.run(config(fitting, study, "full"), paths, "full")
    long_fits.run(config(long_fits, study, "sr4"), paths, "sr4")
    noise_level.run(config(noise_level, study, "75"), paths, "75")
    ablate.run(config(ablate, study), paths)
    io.write_array(paths.split("test"), clean)
    names = list(io.read_table(paths.manifest).query("split == 'test'")["image"])
    io.write_table(paths.metrics("cbm3d.csv"), pd.DataFrame({"task": "denoise50", "split": "test", "image": names, "psnr": 20.0}))
    io.write_json(paths.metrics("run_statistics.json"), {"train_ddpm": {"seconds": 1.0}})
    judge_hybrid.run(config(judge_hybrid, study), paths)
    return paths


def test_no_stage_of_the_hybrids_study_but_the_judge_needs_a_clean_crop(restored):
    found = io.read_json(restored.metrics("findings.json"))
    assert found["gain_over_better_parent_db"].keys() == {
        f"{prior}{task}" for prior in ("", "2/", "foreign/") for task in ("denoise50", "sr4")
    }
    assert found["gain_over_better_parent_db"]["sr4"]["n"] == 2  # two photographs with two seeds each
    assert found["start_rule_share"]["sr4"]["n"] == 2
    assert found["gain_over_cbm3d_db"].keys() == {"denoise50"}
    assert found["training_steps_ratio"].keys() == {"denoise50/full", "denoise50/half", "sr4/full", "sr4/half"}
    assert len(io.read_table(restored.metrics("per_image.csv")).query("task == 'sr4' and method == 'hybrid' and prior == 'full'")) == 4


def test_every_photograph_gives_one_crop_and_none_that_validates_is_trained_on(restored):
    manifest = io.read_table(restored.manifest)
    assert sorted(manifest.query("split == 'test'")["image"]) == ["test_e_00~0", "test_e_00~1", "test_f_00~0", "test_f_00~1"]
    validating = set(manifest.query("split == 'val'")["photograph"])
    assert len(validating) == 2
    pixels = {file.name: np.asarray(Image.open(file)) for file in (restored.root / "train").iterdir()}
    windows = {name: sliding_window_view(image, (16, 16, 3)).reshape(-1, 16, 16, 3) for name, image in pixels.items()}
    for patch in io.read_array(restored.split("train")):
        homes = {name for name, each in windows.items() if (each == patch).all((1, 2, 3)).any()}
        assert homes
        assert not homes & validating


def test_a_kept_model_is_what_a_training_of_so_many_steps_gives(restored):
    ddpm, shorter = wide().ddpm, restored.inside("shorter")
    for split in ("train", "val"):
        io.write_array(shorter.split(split), io.read_array(restored.split(split)))
    train_ddpm.fit(ddpm.model_copy(update={"training": ddpm.training.model_copy(update={"steps": 2, "keep": ()})}), shorter)
    kept, alone, full = (
        torch.cat([weight.flatten() for weight in checkpoint.load(folder, torch.device("cpu")).denoise.parameters()])
        for folder in (restored.kept_model(2), shorter.models, restored.models)
    )
    assert torch.equal(kept, alone)
    assert not torch.equal(kept, full)


def test_an_absent_folder_says_where_such_photographs_are_found(tmp_path):
    with pytest.raises(UserError, match="Berkeley"):
        photographs.run(config(photographs, wide()), Paths(tmp_path, "hybrid"))


def test_the_step_at_which_a_quality_is_reached_is_linear_in_the_log_of_steps():
    grid, quality = np.array([100, 400, 1600]), np.array([20.0, 22.0, 23.0])
    assert strength.steps_to(grid, quality, 21.0) == pytest.approx(200)  # halfway from 100 to 400 in the log
    assert strength.steps_to(grid, quality, 22.5) == pytest.approx(800)
    assert strength.steps_to(grid, quality, 19.0) == 100
    assert strength.steps_to(grid, quality, 24.0) == np.inf
