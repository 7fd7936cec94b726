"""The studies' stages, run on tiny data from which the clean test images have been deleted wherever a stage may not see them."""

import pandas as pd
import pytest
import tiny
import torch

from dualprior.common import io
from dualprior.common.paths import Paths
from dualprior.data.pixels import to_uint8
from dualprior.pipeline import degrade, fit_dip, restore, train_ddpm
from dualprior.pipeline.config import Config, check_params, read_yaml
from studies.hybrid import contraction, posterior_sampling, realism
from studies.hybrid import crops as wide_crops
from studies.hybrid import evaluate as judge_hybrid
from studies.hybrid.params import Params as Wide
from studies.stopping import degrade as measure
from studies.stopping import evaluate as judge_stops
from studies.stopping import fit, stop
from studies.stopping.params import Params as Stopping

SMOKE = tiny.params().model_copy(update={"tasks": {name: tiny.params().tasks[name] for name in ("denoise50", "sr4")}})
SIZES = {"train": 8, "val": 2, "test": 4}


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DUALPRIOR_DEVICE", "cpu")
        patch.setenv("DUALPRIOR_THREADS", "1")
        yield


@pytest.fixture(scope="module")
def default(tmp_path_factory) -> Paths:
    """What the studies take from the default experiment: crops and a trained model."""
    paths = Paths(tmp_path_factory.mktemp("studies"))
    for name, count in SIZES.items():
        io.write_array(paths.split(name), to_uint8(tiny.images(count)))
    rows = [(split, i, f"{split}{i}") for split, count in SIZES.items() for i in range(count)]
    io.write_table(paths.manifest, pd.DataFrame(rows, columns=["split", "index", "image"]))
    train_ddpm.run(Config([SMOKE], train_ddpm.PARAMS), paths)
    return paths


def config(stage, study, key=None) -> Config:
    return Config([study, SMOKE], tuple(section.format(key=key) for section in stage.PARAMS))


# --- the study of stopping rules -----------------------------------------------------------------------------


def stopping() -> Stopping:
    """The committed parameters, three fits of them, and few steps."""
    data = read_yaml(tiny.PROJECT / "studies/stopping/params.yaml")
    data["images"] |= {"test": 2, "seeds": 2, "val": 2}
    kept = ["skip-gaussian50", "skip-sr4", "two_fits-gaussian50", "level_low-gaussian50", "annealing_target-gaussian50", "skip-poisson30"]
    data["fits"] = {name: data["fits"][name] | {"steps": 20, "every": 4} for name in kept}
    data["networks"] = {"skip": {"kind": "skip", "channels": [4, 4], "skip_channels": 2, "input_channels": 4}}
    data["fitting"] |= {"precision": "float32"}
    data["rules"] |= {"window": 8, "windows": [8], "patiences": [8, 12], "window_patience": 100}
    return check_params(data, "params.yaml", Stopping)


@pytest.fixture(scope="module")
def stopped(default, tmp_path_factory) -> Paths:
    study = stopping()
    paths = Paths(default.root, "stopping")
    problems = dict.fromkeys(each.problem for each in study.fits.values())
    for problem in problems:
        measure.run(config(measure, study, problem), paths, problem)
    clean = io.read_array(default.split("test"))
    default.split("test").unlink()
    for problem in problems:
        fit.run(config(fit, study, problem), paths, problem)
    stop.run(config(stop, study), paths)
    io.write_array(default.split("test"), clean)
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
    assert set(rows.query("rule == 'split'")["fit"]) == set(stopping().fits) - {"two_fits-gaussian50"}


def test_the_findings_of_stopping_name_every_rule_and_level(stopped):
    found = io.read_json(stopped.metrics("findings.json"))
    assert {"split", "es_wmv", "discrepancy", "sure", "last"} <= found["stopping_loss_db"].keys()
    assert found["stopping_loss_db"]["split"]["n"] == 2  # crops, not seeds
    assert found["loss_by_noise_level_db"].keys() == {"known", "low"}
    assert found["stopping_loss_by_task_db"].keys() == {"sr4"}
    assert found["annealing_gain_db"].keys() == {"target"}
    assert found["kept_over_oracle_of_two_fits_db"]


# --- the wide study of the hybrid ----------------------------------------------------------------------------


def wide() -> Wide:
    data = read_yaml(tiny.PROJECT / "studies/hybrid/params.yaml")
    data |= {"problems": ["denoise50", "sr4"], "priors": {}, "prior_tasks": ["sr4"]}
    data["realism"] = {**data["realism"], "tasks": ["sr4"], "calls": [1, 2], "scales": [1.0], "chosen_at": 2, "full": 4, "images": 2}
    data["contraction"] |= {"levels": [0.1, 0.4], "images": 2}
    data["dps"] |= {"calls": 3, "strengths": [1.0], "images": 2}
    data["ablate"] |= {"tasks": ["sr4"], "start_scale": [1.0, 2.0], "dip_steps": [4, 12], "calls": [1, 3]}
    return check_params(data, "params.yaml", Wide)


@pytest.fixture(scope="module")
def restored(default) -> Paths:
    from dualprior.pipeline import ablate

    study, paths = wide(), Paths(default.root, "hybrid")
    io.write_array(paths.split("val"), to_uint8(tiny.images(2)))
    io.write_array(paths.split("test"), to_uint8(torch.cat([tiny.images(2), tiny.images(2)])))
    rows = [("val", 0, "val0"), ("val", 1, "val1"), *(("test", i, f"test{i % 2}~{i // 2}") for i in range(4))]
    io.write_table(paths.manifest, pd.DataFrame(rows, columns=["split", "index", "image"]))
    degrade.run(config(degrade, study), paths)
    clean = io.read_array(paths.split("test"))
    paths.split("test").unlink()
    for task in study.problems:
        fit_dip.run(config(fit_dip, study, task), paths, task)
        restore.run(config(restore, study, task), paths, task)
        contraction.run(config(contraction, study, task), paths, task)
        posterior_sampling.run(config(posterior_sampling, study, task), paths, task)
    realism.run(config(realism, study, "sr4"), paths, "sr4")
    ablate.run(config(ablate, study), paths)
    io.write_array(paths.split("test"), clean)
    judge_hybrid.run(config(judge_hybrid, study), paths)
    return paths


def test_no_stage_of_the_wide_study_but_the_judge_needs_a_clean_crop(restored):
    found = io.read_json(restored.metrics("findings.json"))
    assert found["gain_over_better_parent_db"].keys() == {"denoise50", "sr4"}
    assert found["gain_over_better_parent_db"]["sr4"]["n"] == 2  # two crops with two seeds each
    assert found["start_rule_share"]["sr4"]["n"] == 2
    assert len(io.read_table(restored.metrics("per_image.csv")).query("task == 'sr4' and method == 'hybrid'")) == 4


def test_a_restart_passes_on_less_of_a_change_the_higher_it_begins_where_data_say_little(restored):
    table = io.read_table(restored.metrics("contraction.csv"))
    assert table["ratio"].between(0, 3).all()
    assert set(table["change"]) == {"white", "smooth"}


def test_more_crops_are_named_by_crop_and_seed():
    manifest = pd.DataFrame({"split": "test", "index": [0, 1], "image": ["a", "b"]})
    assert wide_crops.repeated(manifest, 2)["image"].tolist() == ["a~0", "b~0", "a~1", "b~1"]
