"""The judging stages on a small invented experiment whose answers are known."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from dualprior.common.config import Config, load_params

from dualprior.common import io
from dualprior.common.errors import UserError
from dualprior.common.paths import Paths
from dualprior.data.pixels import to_01, to_unit
from dualprior.evaluation import generation_metrics, image_metrics
from dualprior.pipeline import evaluate, evaluate_generation, summarise

COUNT, SIDE = 5, 16
DEFAULT = load_params(Path(__file__).parents[2] / "params.yaml")
TASKS = ("denoise25", "sr4")
PARAMS = DEFAULT.model_copy(update={"tasks": {task: DEFAULT.tasks[task] for task in TASKS}})
# Noise of each method: the hybrid is best, the chain runs on fewer images.
LEVELS = {
    "input": 0.4, "one_step": 0.12, "ddpm_1000": 0.11, "ddpm_best": 0.12, "ddpm_mean": 0.11, "dip_last": 0.25,
    "dip_stopped": 0.13, "restart_cheap": 0.12, "restart_dip": 0.1, "hybrid": 0.08,
}  # fmt: skip


def config(stage) -> Config:
    return Config(PARAMS, stage.PARAMS)


def noisy(x, level, seed):
    return x + level * torch.randn(x.shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def paths(tmp_path) -> Paths:
    paths = Paths(tmp_path)
    rng = np.random.default_rng(0)
    test = rng.integers(60, 200, (COUNT, SIDE, SIDE, 3), dtype=np.uint8)
    io.write_array(paths.test, test)
    manifest = {"split": ["train", *["test"] * COUNT], "index": [0, *range(COUNT)], "image": ["t", *"abcde"]}
    io.write_table(paths.manifest, pd.DataFrame(manifest)[::-1])
    for task in TASKS:
        write_task(paths, task, to_unit(test))
    return paths


def write_task(paths, task, x):
    steps = [10, 20, 40, 80]
    snapshots = torch.stack([noisy(x, level, seed=i) for i, level in enumerate((0.3, 0.2, 0.1, 0.2))])
    snapshots[1, 2] = x[2]  # image c peaks at step 20, the others at 40
    stopped = torch.cat([snapshots[0, :4], x[4:]])  # between snapshots, at the best image of the fit for e
    tensors = {"test_snapshots": snapshots.half(), "val_snapshots": snapshots.half(), "test_stopped": stopped.half()}
    own = {"stop_step": [7, 8, 9, 11, 33], "decided_step": [17, 18, 19, 21, 43]}
    info = {"steps": steps, "seconds_per_step": 0.01, "test": own}
    io.write_tensors(paths.dip(task), tensors)
    io.write_json(paths.dip_info(task), info)
    trace = pd.DataFrame([(s, i, t) for s in ("val", "test") for i in range(COUNT) for t in range(1, 81)])
    trace.columns = ["split", "image", "step"]
    io.write_table(paths.dip_trace(task), trace.assign(loss=1 / trace["step"], error_estimate=2 / trace["step"]))
    restored = {m: noisy(x, level, seed=9)[: 3 if m == "ddpm_1000" else None] for m, level in LEVELS.items()}
    costs = {m: {"label": m, "seconds": 0.5, "nfe": 4, "iterations": 0} for m in LEVELS}
    costs["ddpm_1000"] |= {"seconds": 15.0, "nfe": 80}  # in a smaller batch; at the others' rate 10 s
    costs["dip_stopped"]["iterations"] = [20] * COUNT
    io.write_tensors(paths.restored(task), restored)
    io.write_json(paths.restored_info(task), {"seed": 3, "methods": costs, "choices": {}})


def test_evaluate_writes_one_row_per_image_and_method_with_right_numbers(paths):
    evaluate.run(config(evaluate), paths, "sr4")
    rows = pd.read_csv(paths.task_rows("sr4"))
    assert list(rows.columns) == list(image_metrics.ROW_COLUMNS)
    assert rows.groupby("method", sort=False).size().to_dict() == {
        **dict.fromkeys(["input", "one_step"], 5), "ddpm_1000": 3, **dict.fromkeys(list(LEVELS)[3:7], 5), "dip_oracle": 5,
        **dict.fromkeys(list(LEVELS)[7:], 5),
    }  # fmt: skip
    clean = to_01(to_unit(np.load(paths.test)))
    hybrid = to_01(io.read_tensors(paths.restored("sr4"))["hybrid"])
    expected = 10 * np.log10(1 / np.mean((clean - hybrid) ** 2, axis=(1, 2, 3)))
    found = rows[rows["method"] == "hybrid"]
    assert found["image"].tolist() == list("abcde")
    np.testing.assert_allclose(found["psnr"], expected, atol=1e-3)
    assert set(rows["seed"]) == {3}
    assert (paths.root / "plots/restore_sr4.png").exists()
    assert (paths.root / "plots/dip_trace_sr4.png").exists()


def test_oracle_is_picked_per_image_and_pays_for_its_own_steps(paths):
    evaluate.run(config(evaluate), paths, "denoise25")
    rows = pd.read_csv(paths.task_rows("denoise25")).query("method == 'dip_oracle'")
    assert rows["iterations"].tolist() == [40, 40, 20, 40, 33]
    np.testing.assert_allclose(rows["seconds"], rows["iterations"] * 0.01)
    assert set(rows["nfe"]) == {0}
    assert rows["psnr"].iloc[[2, 4]].min() > 60


def test_the_oracle_bounds_every_snapshot_and_the_stopped_image(paths):
    clean = to_01(to_unit(np.load(paths.test)))
    for task in TASKS:
        evaluate.run(config(evaluate), paths, task)
        oracle = pd.read_csv(paths.task_rows(task)).query("method == 'dip_oracle'")["psnr"].to_numpy()
        fits = io.read_tensors(paths.dip(task))
        measured = [*fits["test_snapshots"], fits["test_stopped"]]
        np.testing.assert_allclose(oracle, np.max([image_metrics.psnr(clean, to_01(x)) for x in seen], axis=0), atol=1e-3)


def test_the_psnr_of_every_snapshot_is_written(paths):
    evaluate.run(config(evaluate), paths, "sr4")
    table = pd.read_csv(paths.dip_psnr("sr4"))
    assert list(table.columns) == ["image", "step", "psnr"]
    assert table.groupby("image")["step"].apply(list).to_dict() == {name: [10, 20, 40, 80] for name in "abcde"}
    clean, snapshots = to_01(to_unit(np.load(paths.test))), io.read_tensors(paths.dip("sr4"))["test_snapshots"]
    np.testing.assert_allclose(table.query("step == 20")["psnr"], image_metrics.psnr(clean, to_01(snapshots[1])), atol=1e-3)


def test_pixels_that_are_not_numbers_are_a_user_error(paths):
    tensors = io.read_tensors(paths.restored("sr4"))
    tensors["hybrid"][0, 0, 0, 0] = float("nan")
    io.write_tensors(paths.restored("sr4"), tensors)
    with pytest.raises(UserError, match="method hybrid has pixels that are not numbers"):
        evaluate.run(config(evaluate), paths, "sr4")


def test_summarise_gathers_all_tasks_and_judges_the_claims(paths):
    for task in TASKS:
        evaluate.run(config(evaluate), paths, task)
    swept = pd.DataFrame({"task": "sr4", "split": "test", "series": "restart", "value": [1.0, 2.0], "psnr": 27.0, "near_best": [0.75, 1.0]})
    io.write_table(paths.ablation("start_scale", "csv"), swept)
    summarise.run(config(summarise), paths)
    summary = json.loads(paths.summary.read_text())
    assert list(summary) == list(TASKS)
    for task in TASKS:
        assert summary[task] == json.loads(paths.task_metrics(task).read_text())
    rows = pd.read_csv(paths.per_image)
    assert list(rows.columns) == ["image", "task", "method", "seed", "psnr", "ssim", "seconds", "nfe", "iterations"]
    assert len(rows) == len(TASKS) * (5 * len(LEVELS) - 2 + 5)
    claims = json.loads(paths.claims.read_text())
    assert claims["hybrid_gain_db_sr4"]["goal"] == 0.5
    assert claims["hybrid_gain_db_denoise25"]["goal"] == 0.3
    assert claims["hybrid_gain_db_sr4"]["holds"]
    assert claims["hybrid_gain_db_sr4"]["rival"] == "ddpm_mean"
    assert claims["start_rule_share"]["value"] == 0.75  # of the rule's own scale, hybrid.start_scale
    assert claims["hybrid_time_ratio_ddpm_1000_sr4"]["value"] == 0.05
    assert claims["hybrid_time_ratio_ddpm_best_sr4"]["value"] == 1.0
    assert "ddpm_1000" in paths.results_table.read_text()
    assert paths.summary_plot.exists()
    assert paths.gains_plot.exists()


def write_generation(paths, side=16):
    rng = np.random.default_rng(1)
    train = rng.integers(0, 256, (300, 16, 16, 3), dtype=np.uint8)
    io.write_array(paths.train, train)
    io.write_array(paths.val, rng.integers(0, 256, (2, 32, 32, 3), dtype=np.uint8))
    flat = np.repeat(rng.integers(0, 256, (24, 1, 1, 3), dtype=np.uint8), side, axis=1).repeat(side, axis=2)
    samples = {"ddim_10": flat, "ddim_25": rng.integers(0, 256, (24, side, side, 3), dtype=np.uint8)}
    if side == 16:
        samples["ddpm_10"] = train[:24]
    io.write_arrays(paths.generated, samples)
    keys = {name: name.split("_") for name in samples}
    info = {name: {"sampler": sampler, "calls": int(calls), "seconds": 0.1} for name, (sampler, calls) in keys.items()}
    io.write_json(paths.generated_info, info)


def test_generation_report_names_its_extractor_ranks_samples_and_finds_copies(paths, monkeypatch):
    monkeypatch.setenv("DUALPRIOR_DEVICE", "cpu")
    write_generation(paths)
    evaluate_generation.run(config(evaluate_generation), paths)
    report = json.loads(paths.generation_metrics.read_text())
    assert report["extractor"] == "patch-features"
    assert report["distance"] == "Fréchet distance, patch-features"
    assert report["n"] == 24
    keys = {f"{name}_patch_features" for name in ("frechet", "kernel", "precision", "recall")}
    assert set(report["floor"]) == keys
    assert set(report["ddim_10"]) == keys | {"copy_ratio", "seconds", "nfe"}
    assert report["ddim_25"]["frechet_patch_features"] < report["ddim_10"]["frechet_patch_features"]
    assert report["ddpm_10"]["copy_ratio"] < 0.01 < 0.9 < report["ddim_25"]["copy_ratio"] < 1.1
    assert paths.generation_plot.exists()


def test_samples_larger_than_the_patches_are_compared_by_their_middle(paths, monkeypatch):
    monkeypatch.setenv("DUALPRIOR_DEVICE", "cpu")
    write_generation(paths, side=24)
    evaluate_generation.run(config(evaluate_generation), paths)
    assert json.loads(paths.generation_metrics.read_text())["n"] == 24


def test_tiles_cover_the_image_without_overlap():
    image = np.arange(2 * 5 * 6 * 3, dtype=np.int64).reshape(2, 5, 6, 3)
    tiles = generation_metrics.tiles(image, 2)
    assert tiles.shape == (12, 2, 2, 3)
    np.testing.assert_array_equal(tiles[4], image[0, 2:4, 2:4])
    np.testing.assert_array_equal(tiles[6], image[1, 0:2, 0:2])


def test_task_names_need_the_whole_section():
    assert Config(PARAMS, ("tasks",)).task_names() == TASKS
    with pytest.raises(AttributeError, match="'tasks'"):
        Config(PARAMS, ("tasks.sr4",)).task_names()
