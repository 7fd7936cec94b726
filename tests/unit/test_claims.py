"""Claims judged on invented rows whose verdicts are known."""

import functools
import json

import numpy as np
import pandas as pd
import pytest

from dualprior.evaluation import comparisons, image_metrics

COUNT = 12
INTERVAL = functools.partial(image_metrics.bootstrap_mean, resamples=500, confidence=0.95, seed=0)
BASE = np.linspace(24, 34, COUNT)  # dB, the images differ far more than the methods
WOBBLE = 0.05 * np.cos(np.arange(COUNT))


def rows(task="sr4", seconds=0.2, ssim=0.8, **psnr):
    """A row an image and method: psnr[method] is added to the image's base."""
    table = []
    for method, gain in psnr.items():
        count = 4 if method == "ddpm_1000" else COUNT
        for i in range(count):
            cost = 10.0 if method == "ddpm_1000" else seconds
            shift = WOBBLE[i] if method == "hybrid" else 0.0
            similar = ssim + (0.03 if method == "hybrid" else 0.0)
            table.append((f"i{i}", task, method, 0, BASE[i] + gain + shift, similar, cost, 1, 1))
    return pd.DataFrame(table, columns=list(image_metrics.ROW_COLUMNS))


def judge(table, denoising=False):
    return claims.judge(table, {"sr4": denoising}, INTERVAL)


RIVALS = {"dip_stopped": 0.0, "ddpm_best": -0.3, "ddpm_mean": 0.1, "one_step": -1.0}


def test_gain_is_the_paired_difference_to_the_strongest_rival():
    table = rows(**RIVALS, hybrid=0.9)
    claim = judge(table)["hybrid_gain_db_sr4"]
    assert claim["rival"] == "ddpm_mean"
    difference = BASE + 0.9 + WOBBLE - (BASE + 0.1)
    expected = INTERVAL(difference)
    assert claim["value"] == pytest.approx(difference.mean(), abs=1e-4)
    assert (claim["value"], claim["lo"], claim["hi"]) == pytest.approx(expected, abs=1e-4)
    assert claim["goal"] == 0.5
    assert claim["holds"] is True


def test_denoising_has_the_lower_goal():
    table = rows(**RIVALS, hybrid=0.5)
    assert judge(table)["hybrid_gain_db_sr4"]["holds"] is False
    claim = judge(table, denoising=True)["hybrid_gain_db_sr4"]
    assert (claim["goal"], claim["holds"]) == (0.3, True)


def test_a_small_sure_gain_fails_and_says_that_it_is_short_of_the_goal():
    claim = judge(rows(**RIVALS, hybrid=0.3))["hybrid_gain_db_sr4"]
    assert claim["lo"] > 0
    assert claim["holds"] is False
    assert "short of the goal of 0.5 dB" in claim["reading"]
    assert "interval" not in claim["reading"]


def test_a_large_unsure_gain_fails_and_says_that_the_interval_reaches_0():
    table = rows(**RIVALS, hybrid=0.0)
    lucky = (table["method"] == "hybrid") & (table["image"] == "i0")
    table.loc[lucky, "psnr"] += 20
    claim = judge(table)["hybrid_gain_db_sr4"]
    assert claim["value"] > claim["goal"]
    assert claim["holds"] is False
    assert "the interval reaches 0" in claim["reading"]


def test_the_ssim_rival_is_the_best_in_ssim():
    table = rows(**RIVALS, hybrid=0.9)
    table.loc[table["method"] == "one_step", "ssim"] = 0.82
    claim = judge(table)["hybrid_gain_ssim_sr4"]
    assert claim["rival"] == "one_step"
    assert claim["value"] == pytest.approx(0.01)
    assert claim["holds"] is False


def test_stopping_gap_holds_below_its_goal_and_fails_above():
    near = judge(rows(dip_stopped=0.0, dip_oracle=0.2))["stopping_gap_sr4_db"]
    assert (near["value"], near["goal"], near["holds"]) == (0.2, 0.3, True)
    far = judge(rows(dip_stopped=0.0, dip_oracle=0.4))["stopping_gap_sr4_db"]
    assert far["holds"] is False
    assert "more than the goal of 0.3 dB" in far["reading"]
    assert judge(rows(dip_stopped=0.0, dip_oracle=0.2), denoising=True)["stopping_gap_sr4_db"]["holds"] is False


def test_control_claim_needs_an_interval_above_0_only():
    better = judge(rows(hybrid=0.1, restart_cheap=0.0))["hybrid_vs_control_db_sr4"]
    assert (better["goal"], better["holds"]) == (0.0, True)
    assert judge(rows(hybrid=0.0, restart_cheap=0.1))["hybrid_vs_control_db_sr4"]["holds"] is False


@pytest.mark.parametrize(
    ("controls", "named"),
    [
        ({"restart_cheap": 0.2, "fused_cheap": 0.1}, "restart_cheap"),
        ({"restart_cheap": 0.1, "fused_cheap": 0.2}, "fused_cheap"),
        ({"fused_cheap": 0.2}, "fused_cheap"),
    ],
)
def test_the_control_is_the_stronger_cheap_one_that_ran(controls, named):
    claim = judge(rows(hybrid=0.5, **controls))["hybrid_vs_control_db_sr4"]
    assert claim["rival"] == named
    assert claim["value"] == pytest.approx(0.3 + WOBBLE.mean(), abs=1e-4)


def test_time_ratio_is_taken_on_the_images_both_have_and_needs_the_quality():
    fast = judge(rows(hybrid=0.5, ddpm_1000=0.0))["hybrid_time_ratio_ddpm_1000_sr4"]
    assert (fast["value"], fast["goal"], fast["holds"]) == (0.02, 0.1, True)
    assert fast["psnr_margin"] == pytest.approx(0.5 + WOBBLE[:4].mean(), abs=1e-4)
    worse = judge(rows(hybrid=-0.5, ddpm_1000=0.0))["hybrid_time_ratio_ddpm_1000_sr4"]
    assert worse["holds"] is False
    assert "no hybrid is as good" in worse["reading"]
    slow = judge(rows(hybrid=0.5, ddpm_1000=0.0, seconds=2.0))["hybrid_time_ratio_ddpm_1000_sr4"]
    assert slow["holds"] is False
    assert "more than the goal of 0.1" in slow["reading"]


def test_the_quickest_start_from_a_dip_that_is_good_enough_is_timed():
    table = rows(hybrid=0.5, restart_dip=0.2, restart_dip_short=-0.1, ddpm_best=0.0)
    cost = {"hybrid": 0.4, "restart_dip": 0.1, "restart_dip_short": 0.01, "ddpm_best": 0.5}
    claim = judge(table.assign(seconds=table["method"].map(cost)))["hybrid_time_ratio_ddpm_best_sr4"]
    assert (claim["method"], claim["value"]) == ("restart_dip", pytest.approx(0.2))


def test_few_calls_are_a_time_rival_too_on_all_images_and_with_a_goal_of_their_own():
    table = rows(hybrid=0.5, ddpm_best=0.0)
    table.loc[table["method"] == "ddpm_best", "seconds"] = 0.5
    claim = judge(table)["hybrid_time_ratio_ddpm_best_sr4"]
    assert (claim["value"], claim["goal"], claim["rival"], claim["holds"]) == (0.4, 0.5, "ddpm_best", True)
    assert f"{COUNT} images" in claim["reading"]


def test_a_single_timing_has_no_interval_and_says_so():
    claim = judge(rows(hybrid=0.5, ddpm_1000=0.0))["hybrid_time_ratio_ddpm_1000_sr4"]
    assert claim["lo"] == claim["value"] == claim["hi"]
    assert "single timing, no interval" in claim["reading"]


def test_claims_about_methods_that_did_not_run_are_left_out():
    assert judge(rows(input=0.0, hybrid=1.0)) == {}


def test_claims_are_plain_json_without_nan():
    text = json.dumps(judge(rows(**RIVALS, hybrid=0.9, restart_cheap=0.0, dip_oracle=0.1, ddpm_1000=0.2)), allow_nan=False)
    assert len(json.loads(text)) == 6


def test_a_full_chain_on_few_images_is_timed_at_the_rate_of_whole_batches():
    table = rows(hybrid=0.5, ddpm_1000=0.0, ddpm_mean=0.0)
    calls, cost = {"ddpm_1000": 1000, "ddpm_mean": 100}, {"ddpm_1000": 10.0, "ddpm_mean": 0.5, "hybrid": 1.0}
    table = table.assign(nfe=table["method"].map(calls).fillna(1), seconds=table["method"].map(cost))
    assert judge(table)["hybrid_time_ratio_ddpm_1000_sr4"]["value"] == pytest.approx(1.0 / 5.0)


def test_a_loss_that_is_sure_is_not_said_to_reach_0():
    assert "the interval lies below 0" in judge(rows(**RIVALS, hybrid=-0.5))["hybrid_gain_db_sr4"]["reading"]


def test_the_quickest_method_without_a_dip_is_named_beside_a_time_ratio():
    table = rows(hybrid=0.5, restart_dip=0.2, one_step=0.1, ddpm_best=0.0)
    table["iterations"] = table["method"].isin(["hybrid", "restart_dip"]) * 10
    cost = {"hybrid": 0.4, "restart_dip": 0.1, "one_step": 0.01, "ddpm_best": 0.5}
    claim = judge(table.assign(seconds=table["method"].map(cost)))["hybrid_time_ratio_ddpm_best_sr4"]
    assert "without any DIP one_step is as good in 0.02 of them" in claim["reading"]


def test_the_twin_is_named_before_and_not_picked():
    claim = judge(rows(hybrid=0.5, finished_cheap=0.2, blend_cheap=0.4))["hybrid_vs_twin_db_sr4"]
    assert (claim["rival"], claim["value"]) == ("finished_cheap", pytest.approx(0.3 + WOBBLE.mean(), abs=1e-4))


def test_a_rival_that_ran_on_few_images_is_not_the_strongest():
    table = rows(**RIVALS, hybrid=0.5)
    easy = table[(table["method"] == "one_step") & (table["image"] == "i11")].assign(psnr=99.0)
    few = pd.concat([table[table["method"] != "one_step"], easy])
    assert judge(few)["hybrid_gain_db_sr4"]["rival"] == "ddpm_mean"


def test_a_dip_start_is_judged_against_the_cheap_one():
    claim = judge(rows(hybrid=0.5, restart_dip=0.2, restart_cheap=-0.1))["dip_start_gain_db_sr4"]
    assert (claim["value"], claim["rival"], claim["holds"]) == (pytest.approx(0.3), "restart_cheap", True)


def swept(shares: dict[str, tuple[float, float]]) -> pd.DataFrame:
    """{task: shares of images near their best at kappa 1 and 2}"""
    rows = [(t, v, n) for t, near in shares.items() for v, n in zip((1.0, 2.0), near, strict=True)]
    test = pd.DataFrame(rows, columns=["task", "value", "near_best"]).assign(split="test")
    return pd.concat([test.assign(split="val", near_best=0.0), test])  # what validation images say must not count


@pytest.mark.parametrize(("shares", "value", "holds"), [((1.0, 0.9), 0.95, True), ((1.0, 0.8), 0.9, False)])
def test_the_start_rule_is_judged_at_its_own_scale_and_over_tasks(shares, value, holds):
    table = swept({"a": (shares[0], 0.1), "b": (shares[1], 0.2)})
    claim = claims.start_rule(table, 1.0, {"a": True, "b": False})["start_rule_share"]
    assert (claim["value"], claim["lo"], claim["hi"], claim["holds"]) == (value, min(shares), max(shares), holds)


def test_a_start_rule_that_was_not_swept_is_not_judged():
    assert claims.start_rule(swept({"a": (1.0, 1.0)}), 1.5, {"a": True}) == {}


def test_the_mean_of_many_calls_is_a_claim_of_its_own():
    claim = judge(rows(hybrid=0.5, ddpm_mean_long=0.2))["hybrid_vs_long_mean_db_sr4"]
    assert (claim["rival"], claim["value"]) == ("ddpm_mean_long", pytest.approx(0.3 + WOBBLE.mean(), abs=1e-4))
