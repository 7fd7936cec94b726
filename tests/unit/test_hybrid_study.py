"""The study's own numbers, on rows and starts whose answers are known."""

import functools

import numpy as np
import pandas as pd
import pytest
import tiny
import torch
from dualprior.common.config import check_params
from studies.hybrid import contract, patches, readings, report
from studies.hybrid.crops import repeated
from studies.hybrid.params import HybridStudy, Run
from studies.hybrid.realism import FROM_CHEAP, FROM_DIP, FROM_NOISE, FULL_CHAINS

from dualprior.common.errors import UserError
from dualprior.evaluation import image_metrics
from dualprior.restoration.problem import Restoration

INTERVAL = functools.partial(image_metrics.bootstrap_mean, resamples=300, confidence=0.95, seed=0)
RUNS = {
    "sr4": Run(task="sr4", prior="full", model="models/ddpm"),
    "weak-sr4": Run(task="sr4", prior="weak", model="models/hybrid/priors/weak/ddpm", images=4),
}
STRENGTH = {"full": 30.0, "weak": 26.0}


def rows(prior: str, seeds: int, **psnr: float) -> pd.DataFrame:
    """Four crops whose PSNR differs far more than the methods'."""
    crops = [(seed, i) for seed in range(seeds) for i in range(4)]
    table = [(f"i{i}", "sr4", name, seed, 20 + 3 * i + value, prior) for name, value in psnr.items() for seed, i in crops]
    return pd.DataFrame(table, columns=["image", "task", "method", "seed", "psnr", "prior"])


METHODS = {"one_step": 0.0, "ddpm_best": -1.0, "ddpm_mean": 0.2, "dip_stopped": -2.0, "restart_cheap": 0.5, "restart_dip": 0.4}
FULL = rows("full", 2, **METHODS, hybrid=0.6)
WEAK = rows("weak", 1, **METHODS, hybrid=1.5)


def test_the_gain_with_every_prior_is_paired_with_its_own_strongest_rival():
    table = report.priors(pd.concat([FULL, WEAK]), RUNS, STRENGTH, INTERVAL).set_index("prior")
    assert table.index.tolist() == ["full", "weak"]  # the strongest first
    assert table["rival"].tolist() == ["ddpm_mean"] * 2
    assert table["control"].tolist() == ["restart_cheap"] * 2
    np.testing.assert_allclose(table["gain"], [0.4, 1.3], atol=1e-3)
    np.testing.assert_allclose(table["over control"], [0.1, 1.0], atol=1e-3)
    np.testing.assert_allclose(table["DIP start"], [-0.1, -0.1], atol=1e-3)


@pytest.mark.parametrize(("hybrid", "holds"), [(1.5, True), (0.6, False), (0.3, False)])
def test_the_gain_grows_only_if_it_is_larger_with_the_weakest_prior(hybrid, holds):
    both = pd.concat([FULL, rows("weak", 1, **METHODS, hybrid=hybrid)])
    claim = report.weak_prior(both, RUNS, STRENGTH, INTERVAL)["weak_prior_gain_db"]
    assert claim["value"] == pytest.approx(hybrid - 0.6, abs=1e-3)
    assert claim["holds"] is holds


def likeness(mine: list[float], theirs: list[float], full: float) -> pd.DataFrame:
    table = [("sr4", FROM_DIP, calls, value) for calls, value in zip((1, 5, 50), mine, strict=True)]
    table += [("sr4", FROM_NOISE, calls, value) for calls, value in zip((1, 5, 50), theirs, strict=True)]
    table += [("sr4", FROM_CHEAP, 5, 9.0), *(("sr4", name, 1000, full + more) for name, more in zip(FULL_CHAINS, (3.0, 0.0), strict=True))]
    rows = pd.DataFrame(table, columns=["task", "method", "calls", "frechet"])
    return rows.assign(seconds=1.0, psnr=20.0)


@pytest.mark.parametrize(
    ("mine", "value", "holds"),
    [([2.0, 1.04, 1.0], 5, True), ([1.0, 3.0, 3.0], 1, True), ([2.0, 1.2, 1.0], 50, False), ([2.0, 2.0, 2.0], 50, False)],
)
def test_calls_to_likeness_are_the_fewest_within_the_limit(mine, value, holds):
    claim = report.calls_to_likeness(likeness(mine, [9.0, 9.0, 1.05], 1.0), 0.05)["hybrid_nfe_to_fid_sr4"]
    assert (claim["value"], claim["holds"], claim["rival_value"]) == (value, holds, 50)


def test_a_cheap_start_that_is_as_quick_takes_the_claim_and_a_start_without_calls_does_not_count():
    table = likeness([2.0, 1.0, 1.0], [9.0, 9.0, 9.0], 1.0)
    cheap = table.assign(frechet=table["frechet"].mask(table["method"] == FROM_CHEAP, 1.0))
    claim = report.calls_to_likeness(cheap, 0.05)["hybrid_nfe_to_fid_sr4"]
    assert (claim["value"], claim["rival_value"], claim["holds"]) == (5, 5, False)
    start = pd.DataFrame([{"task": "sr4", "method": FROM_DIP, "calls": 0, "frechet": 0.1, "seconds": 1.0, "psnr": 20.0}])
    claim = report.calls_to_likeness(pd.concat([table, start]), 0.05)["hybrid_nfe_to_fid_sr4"]
    assert (claim["value"], claim["rival_value"], claim["holds"]) == (5, None, True)


def test_a_restart_that_needs_no_fewer_calls_than_a_chain_shows_nothing():
    claim = report.calls_to_likeness(likeness([2.0, 1.0, 1.0], [2.0, 1.0, 1.0], 1.0), 0.05)["hybrid_nfe_to_fid_sr4"]
    assert (claim["value"], claim["rival_value"], claim["holds"]) == (5, 5, False)
    assert "no fewer than without a DIP" in claim["reading"]


def test_gains_are_given_by_photograph():
    crops = pd.DataFrame({"crop": ["i0", "i1", "i2", "i3"], "photograph": ["cat", "temple", "cat", "temple"]})
    mine = FULL.copy()
    mine.loc[(mine["method"] == "hybrid") & (mine["image"] == "i3"), "psnr"] += 1.0
    table = report.by_photograph(mine, crops, INTERVAL)
    gains = table[table["what"] == "gain over ddpm_mean"].set_index("photograph")
    np.testing.assert_allclose(gains["dB"], [0.4, 0.9], atol=1e-3)
    assert gains.index.tolist() == ["cat", "temple"]


class Shrinking(torch.nn.Module):
    """The denoiser of Gaussian images of variance 1: x / (1 + sigma^2)."""

    def __call__(self, x, sigma):
        return x / (1 + torch.as_tensor(sigma).to(x).view(-1, 1, 1, 1) ** 2)


@pytest.mark.parametrize("level", [0.1, 0.5, 2.0])
def test_one_step_of_a_gaussian_denoiser_passes_on_what_its_law_says(level):
    """x0 = x v / (v + sigma^2), v = 1 (SCIENCE: the Gaussian law's g), and the data here are as good as absent."""
    given = tiny.problem("denoise25", 2, denoise=Shrinking())
    start = Restoration(torch.zeros(2, 3, tiny.SIDE, tiny.SIDE), error=torch.tensor([0.05, 3.0]))
    (_, white), (_, smooth) = contract.changes(given, 0.05).items()
    for change in (white, smooth):
        torch.testing.assert_close(change.square().mean((1, 2, 3)).sqrt(), torch.full((2,), 0.05))
        share = contract.passed_on(given, start, change, level, calls=1, data_weight=1e9)
        torch.testing.assert_close(share, torch.full((2,), 1 / (1 + level**2)), rtol=1e-3, atol=1e-4)


def test_a_smooth_change_is_smoother_than_a_white_one():
    white, smooth = contract.changes(tiny.problem("sr4", 2), 0.05).values()
    assert smooth.diff(dim=-1).square().mean() < 0.2 * white.diff(dim=-1).square().mean()


def test_thinned_patches_keep_the_order_and_the_shares_of_the_photographs():
    photographs = np.repeat(np.arange(3, dtype=np.uint8), 100)
    kept = patches.thinned(photographs, 0.1)
    assert np.bincount(kept).tolist() == [10, 10, 10]


def test_repeated_crops_keep_their_name_and_get_one_for_every_seed():
    table = repeated(pd.DataFrame({"split": "test", "index": [0, 1], "image": ["a", "b"]}), 2)
    assert table["image"].tolist() == ["a~0", "b~0", "a~1", "b~1"]
    assert table["crop"].tolist() == ["a", "b", "a", "b"]
    assert table["index"].tolist() == [0, 1, 2, 3]


def sweep(test: list[tuple[float, float, float]], val: list[float]) -> pd.DataFrame:
    """start_scale 0.5, 1, 2 on one task; test: (gain, low, high) to the value in use, 1."""
    shared = {"task": "sr4", "series": "restart", "near_best": 1.0}
    table = [
        {**shared, "split": "val", "value": v, "psnr": p, "gain": 0.0, "gain_lo": 0.0, "gain_hi": 0.0}
        for v, p in zip((0.5, 1.0, 2.0), val, strict=True)
    ]
    for value, (gain, low, high) in zip((0.5, 1.0, 2.0), test, strict=True):
        table.append({**shared, "split": "test", "value": value, "psnr": 27 + gain, "gain": gain, "gain_lo": low, "gain_hi": high})
    return pd.DataFrame(table)


@pytest.mark.parametrize(
    ("best", "said"),
    [
        ((0.2, 0.1, 0.3), "would gain on sr4 (+0.20 dB)"),
        ((-0.2, -0.3, -0.1), "would lose on sr4 (-0.20 dB)"),
        ((0.2, -0.1, 0.5), "On no test task does that choice differ"),
    ],
)
def test_a_reading_says_what_the_validation_choice_is_worth_on_test_images(best, said):
    text = readings.read_knob("start_scale", sweep([best, (0.0, 0.0, 0.0), (-1.0, -1.1, -0.9)], [29.0, 28.0, 27.0]))
    assert text.startswith("Validation images would choose 0.5 on sr4. In use is 1.")
    assert said in text


def test_a_knob_that_moves_little_is_called_flat():
    text = readings.read_knob("start_scale", sweep([(0.01, 0.0, 0.02), (0.0, 0.0, 0.0), (-0.02, -0.03, -0.01)], [1.0, 2.0, 3.0]))
    assert "flat (under 0.1 dB) on sr4" in text


def test_values_in_use_that_differ_by_task_are_named_with_theirs():
    one = sweep([(-0.3, -0.4, -0.2), (0.0, 0.0, 0.0), (0.1, 0.0, 0.2)], [1.0, 2.0, 3.0])
    other = sweep([(0.0, 0.0, 0.0), (-0.2, -0.3, -0.1), (-0.1, -0.2, 0.0)], [3.0, 2.0, 1.0]).assign(task="deblur")
    text = readings.read_knob("inflation", pd.concat([one, other], ignore_index=True))
    assert "Validation images would choose 2 on sr4, 0.5 on deblur. In use is 0.5 on deblur; 1 on sr4." in text


def test_a_compact_table_has_a_row_a_value_a_column_a_task_and_the_validation_choice_in_bold():
    table = readings.by_value("start_scale", sweep([(-0.3, -0.4, -0.2), (-0.001, 0.0, 0.0), (0.1, 0.0, 0.2)], [1.0, 2.0, 3.0]))
    assert table.columns.tolist() == ["value", "sr4"]
    assert table["value"].tolist() == ["0.5", "1", "2"]
    assert table["sr4"].tolist() == ["26.70 (-0.30)", "27.00 (+0.00)", "**27.10** (+0.10)"]
    untold = readings.by_value("start_scale", sweep([(float("nan"),) * 3] * 3, [1.0, 2.0, 3.0]).assign(psnr=20.0))
    assert untold["sr4"].tolist() == ["**20.00**", "20.00", "20.00"]


def study(**changes) -> dict:
    from dualprior.common.config import read_yaml

    return read_yaml(tiny.PROJECT / "studies/hybrid/params.yaml") | changes


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"priors": {"both": {"share": 0.5, "files": ["skimage/data/ihc.png"]}}}, "priors.both"),
        ({"runs": {"a": {"task": "sr4", "prior": "lost", "model": "models/ddpm"}}}, "runs.a.prior=lost"),
        ({"runs": {"lost": {"task": "lost", "prior": "full", "model": "models/ddpm"}}}, "runs.lost.task=lost"),
        ({"runs": {"a": {"task": "sr4", "prior": "full", "model": "models/ddpm"}}}, "runs.a has the full prior"),
        ({"problems": [*study()["problems"], "denoise75"]}, "problems has denoise75"),
        ({"runs": {"a": {"task": "sr4", "prior": "tenth", "model": "models/ddpm"}}}, "runs.a.model"),
    ],
)
def test_a_study_that_contradicts_itself_is_refused_by_name(changes, named):
    with pytest.raises(UserError, match=named.replace(".", r"\.")):
        check_params(study(**changes), "studies/hybrid/params.yaml", HybridStudy)


def test_the_committed_study_is_accepted():
    assert isinstance(check_params(study(), kind=HybridStudy), HybridStudy)
