"""How stops are judged, on invented rows whose verdicts can be worked out by hand."""

import numpy as np
import pandas as pd
import pytest
import tiny_study
import torch
from skimage.metrics import peak_signal_noise_ratio
from studies.stopping import crops, fit, judge, report, stop, witnesses
from studies.stopping.claims import Bootstrap
from studies.stopping.params import Fit, Images
from tiny_stops import BOOTSTRAP, BY_IMAGE, CLAIMED, GAPS, MEAN_PRICE, NAMES, SCALES, TRIED, calibration, costs, judged, rows, tried

from dualprior.degradation.measurement import Measurement
from dualprior.degradation.operators import Identity

# --- intervals ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("statistic", [np.mean, np.median, lambda v: np.quantile(v, 0.95), lambda v: (v > 0.2).mean()])
def test_a_bootstrap_gives_the_statistic_of_all_values_and_an_interval_around_it(statistic):
    groups = [np.array([0.1, 0.3]), np.array([0.0, 0.2]), np.array([1.2])]
    value, low, high = BOOTSTRAP.of(groups, statistic)
    assert value == pytest.approx(statistic(np.array(GAPS)))
    assert low <= value <= high
    assert low < high


def test_a_bootstrap_resamples_images_and_not_their_measurements():
    one, many = np.arange(6.0), [np.full(50, value) for value in np.arange(6.0)]
    wide, narrow = BOOTSTRAP.of(many, np.mean), BOOTSTRAP.of([np.repeat(one, 50)] * 6, np.mean)
    assert wide[1:] == pytest.approx(BOOTSTRAP.of([np.array([value]) for value in one], np.mean)[1:])
    assert narrow[2] - narrow[1] == pytest.approx(0)


def test_a_wider_confidence_gives_a_wider_interval():
    groups = [np.array([gap]) for gap in GAPS]
    low, high = BOOTSTRAP.of(groups, np.mean)[1:]
    lower, higher = Bootstrap(400, 0.99, 0).of(groups, np.mean)[1:]
    assert lower < low < high < higher


# --- claims ------------------------------------------------------------------------------------------------


def test_the_mean_gap_is_of_images_and_not_of_measurements():
    claim = judged(CLAIMED)["stopping_gap_mean_db"]
    assert claim["value"] == pytest.approx(np.mean(BY_IMAGE), abs=1e-4)
    assert (claim["value"], claim["lo"], claim["hi"]) == pytest.approx(BOOTSTRAP.mean(np.array(BY_IMAGE)), abs=1e-4)
    assert (claim["goal"], claim["holds"]) == (0.15, False)
    assert claim["reading"].endswith("more than the goal of 0.15")


def test_the_95th_percentile_and_the_share_of_failures_are_of_all_stops():
    found = judged(CLAIMED)
    assert found["stopping_gap_p95_db"]["value"] == pytest.approx(1.02)  # 0.3 + 0.8 * 0.9 between the two largest of five
    assert found["stopping_fail_share"]["value"] == pytest.approx(1 / 5)
    assert (found["stopping_gap_p95_db"]["holds"], found["stopping_fail_share"]["holds"]) == (False, False)


def test_the_published_rule_stands_beside_ours():
    found = judged(CLAIMED)
    values = {name: claim["rival_value"] for name, claim in found.items() if "rival" in claim}
    assert values == {
        "stopping_gap_mean_db": pytest.approx(1.4),
        "stopping_gap_p95_db": pytest.approx(2.8),
        "stopping_fail_share": pytest.approx(0.4),
    }
    assert {claim["rival"] for claim in found.values() if "rival" in claim} == {"es_wmv"}


def test_the_price_is_what_one_fit_to_everything_would_have_kept():
    claim = judged(CLAIMED)["stopping_split_price_db"]
    assert claim["value"] == pytest.approx(MEAN_PRICE, abs=1e-4)
    assert (claim["goal"], claim["holds"]) == (0.2, True)


def test_the_price_at_the_same_cost_is_that_of_two_fits_to_everything():
    paired_names = rows("last_pair", gaps=[0.5] * 5, fit="paired_names-gaussian", split_kind="none", plain=False).assign(peak=[30, 30.1, 30.2, 30.3, 31])
    others = paired_names.assign(problem="poisson", peak=99.0)
    claim = judged(pd.concat([CLAIMED, paired_names, others]))["stopping_split_price_same_cost_db"]
    of_image = [(0.1 + 0.4) / 2, (0.2 + 0.5) / 2, 2.2]
    assert claim["value"] == pytest.approx(np.mean(of_image), abs=1e-4)
    assert "1 networks and 1 noises" in claim["reading"]


def test_without_twins_nothing_is_claimed_of_them():
    assert "stopping_split_price_same_cost_db" not in judged(CLAIMED)


def test_the_overhead_is_of_our_rule_on_the_fits_that_are_judged():
    cost = pd.concat([costs(0.02), costs(0.04, "unet-gaussian"), costs(9.0, rule="es_wmv"), costs(9.0, "level_low-gaussian")])
    table = pd.concat([CLAIMED, rows(fit="unet-gaussian", network="unet")])
    claim = judged(table, cost=cost)["stopping_overhead"]
    assert claim["value"] == pytest.approx(0.03)
    assert 0.02 <= claim["lo"] < claim["value"] < claim["hi"] <= 0.04
    assert claim["holds"]


def test_images_are_averaged_over_networks_and_noises_before_they_are_resampled():
    more = [rows(gaps=[0.5] * 5, fit=f"unet-{noise}", network="unet", problem=noise) for noise in ("gaussian", "poisson")]
    claim = judged(pd.concat([CLAIMED, *more]))["stopping_gap_mean_db"]
    assert claim["value"] == pytest.approx(np.mean([(0.4 + 2.0) / 6, (0.2 + 2.0) / 6, (1.2 + 1.0) / 3]), abs=1e-4)
    assert "2 networks and 2 noises (3 combinations)" in claim["reading"]


@pytest.mark.parametrize(
    "other",
    [
        {"leaks": True, "denoising": False, "problem": "clean", "fit": "skip-clean"},
        {"plain": False, "noise_level": "low", "fit": "level_low-gaussian"},
        {"plain": False, "ladder": "target", "fit": "ladder_target-gaussian"},
        {"plain": False, "split_kind": "held_out", "fit": "held_out-gaussian"},
    ],
)
def test_no_claim_counts_what_leaks_or_is_not_plain(other):
    bad = rows(gaps=[50.0] * 5, prices=[50.0] * 5, **other)
    wild = calibration(ratio=50.0, **other)
    cost = pd.concat([costs(), costs(50.0, other["fit"])])
    assert judged(pd.concat([CLAIMED, bad]), pd.concat([calibration(), wild]), cost) == judged(CLAIMED)


def test_every_task_that_is_not_denoising_has_a_claim_of_its_own():
    tasks = [rows(gaps=[gap] * 5, problem=task, denoising=False, fit=f"skip-{task}") for task, gap in (("sr4", 0.2), ("deblur", 0.4))]
    found = judged(pd.concat([CLAIMED, *tasks]))
    assert (found["stopping_gap_sr4_db"]["value"], found["stopping_gap_sr4_db"]["holds"]) == (0.2, True)
    assert (found["stopping_gap_deblur_db"]["value"], found["stopping_gap_deblur_db"]["holds"]) == (0.4, False)
    assert found["stopping_gap_mean_db"] == judged(CLAIMED)["stopping_gap_mean_db"]


def test_an_estimate_in_proportion_to_the_error_correlates_fully():
    claim = judged(CLAIMED)["stopping_calibration_r"]
    assert (claim["value"], claim["near_peak"], claim["holds"]) == (1.0, 1.0, True)
    assert "15 iterates from step 50" in claim["reading"]


def test_the_correlation_is_of_root_mean_squares_with_negative_estimates_taken_for_0():
    told = calibration()
    told["estimate"] = np.tile([0.0, 0.09, -0.01, 0.01], len(NAMES))
    true = np.sqrt(np.outer(SCALES, [0.04, 0.01, 0.0225]))  # [names, steps]
    estimate = np.tile([0.3, 0.0, 0.1], (len(NAMES), 1))
    claim = judged(CLAIMED, told)["stopping_calibration_r"]
    assert claim["value"] == pytest.approx(np.corrcoef(estimate.ravel(), true.ravel())[0, 1], abs=1e-4)
    assert claim["near_peak"] == pytest.approx(np.corrcoef(estimate[:, 1:].ravel(), true[:, 1:].ravel())[0, 1], abs=1e-4)


def test_the_bias_is_counted_in_standard_errors_over_measurements():
    told = calibration()
    shift = dict(zip(NAMES, [0.01, 0.02, -0.01, 0.0, 0.03], strict=True))
    told["estimate"] = told["true"] + told["name"].map(shift) + np.tile([7.0, 0.002, -0.002, 0.0], len(NAMES))
    values = np.array([*shift.values()])
    claim = judged(CLAIMED, told)["stopping_calibration_bias_se"]
    assert claim["value"] == pytest.approx(values.mean() / (values.std(ddof=1) / np.sqrt(5)), abs=1e-4)
    relative = 100 * values.mean() / np.mean([0.04, 0.01, 0.0225])
    assert f"({relative:+.2f} % of the true one, 5 measurements)" in claim["reading"]
    assert claim["holds"]


def test_networks_on_one_measurement_share_its_noise_and_are_one_unit_of_the_bias():
    told = calibration()
    told["estimate"] = told["true"] + told["name"].map(dict(zip(NAMES, [0.01, 0.02, -0.01, 0.0, 0.03], strict=True)))
    paired_index = pd.concat([told, told.assign(network="unet", fit="unet-gaussian")])
    assert judged(CLAIMED, paired_index)["stopping_calibration_bias_se"] == judged(CLAIMED, told)["stopping_calibration_bias_se"]


# --- settings chosen on validation images ------------------------------------------------------------------


def test_the_shortest_setting_within_the_slack_of_the_least_validation_loss_is_chosen():
    assert report.chosen(report.tuned(TRIED)) == {"split": 60, "es_wmv_tuned": 80, "one_split": 60, "held_out": 60}


@pytest.mark.parametrize(("losses", "best"), [([0.11, 0.10, 0.10], 30), ([0.1101, 0.10, 0.10], 60), ([0.3, 0.2, 0.1], 100)])
def test_a_longer_setting_must_earn_the_slack(losses, best):
    table = pd.DataFrame({"rule": "split", "steps": [30, 60, 100], "loss on validation, dB": losses})
    assert report.chosen(table)["split"] == best


def test_losses_on_validation_and_on_test_images_are_told_apart():
    table = report.tuned(TRIED).set_index(["rule", "steps"])
    assert table.loc[("split", 30), ["loss on validation, dB", "loss on test, dB"]].tolist() == [0.5, 0.0]
    assert table.loc[("es_wmv_tuned", 80), ["loss on validation, dB", "loss on test, dB"]].tolist() == [0.4, 2.0]
    assert set(table["steps run on test"]) == {200}


@pytest.mark.parametrize(
    "other",
    [
        {"leaks": True, "denoising": False},
        {"plain": False, "ladder": "input"},
        {"plain": False, "split_kind": "held_out"},
    ],
)
def test_settings_are_chosen_on_plain_fits_that_do_not_leak(other):
    bad = tried("split@30", 0.0, 0.0, decided=1, **other)
    pd.testing.assert_frame_equal(report.tuned(pd.concat([TRIED, bad])), report.tuned(TRIED))


def test_a_window_is_chosen_on_denoising_and_a_patience_on_all_noisy_data():
    blur, exact = ({"denoising": False, "problem": name, "exact": name == "sr4"} for name in ("deblur", "sr4"))
    more = [tried(f"{rule}@{steps}", 0.0, 0.0, **task) for task in (blur, exact) for rule, steps in (("es_wmv_tuned", 20), ("split", 30))]
    table = report.tuned(pd.concat([TRIED, *more])).set_index(["rule", "steps"])["loss on validation, dB"]
    assert (table["es_wmv_tuned", 20], table["split", 30]) == (1.0, 0.25)


def test_the_chosen_setting_takes_the_rules_name_and_the_whole_fit_becomes_patient():
    rules = ["split", "split@30", "split@60", "one_split", "one_split@60", "held_out", "held_out@30", "held_out@60"]
    rules += ["es_wmv_tuned@20", "es_wmv_tuned@80", "es_wmv", "last", "sure"]
    named = judge._as_chosen(pd.DataFrame({"rule": rules, "was": rules, "exact": False}), report.chosen(report.tuned(TRIED)))
    assert dict(zip(named["was"], named["rule"], strict=True)) == {
        "split": "split_patient", "split@60": "split", "one_split": "one_split_patient", "one_split@60": "one_split",
        "held_out": "held_out_patient", "held_out@60": "held_out", "es_wmv_tuned@80": "es_wmv_tuned",
        "es_wmv": "es_wmv", "last": "last", "sure": "sure",
    }  # fmt: skip


def test_of_exact_data_the_rule_sees_the_whole_fit():
    rules = ["split", "split@30", "split@60", "es_wmv", "es_wmv_tuned@80"]
    named = judge._as_chosen(pd.DataFrame({"rule": rules, "was": rules, "exact": True}), report.chosen(report.tuned(TRIED)))
    assert dict(zip(named["was"], named["rule"], strict=True)) == {
        "split": "split", "split@60": "split_impatient", "es_wmv": "es_wmv", "es_wmv_tuned@80": "es_wmv_tuned",
    }  # fmt: skip


# --- how good a step is ------------------------------------------------------------------------------------


@pytest.fixture
def curve():
    """Three steps of two images, and what they are made of; one value is far outside the range of images."""
    rng = np.random.default_rng(0)
    clean = rng.uniform(0, 1, (2, 16, 16, 3)).astype(np.float32)
    iterates = (2 * clean.transpose(0, 3, 1, 2) - 1 + rng.normal(0, 0.3, (3, 2, 3, 16, 16))).astype(np.float16)
    iterates[1, 0, 0, 0, 0] = 5.0
    return judge.Curve.of([5, 10, 15], iterates, clean), iterates, clean


def test_a_curve_is_the_psnr_of_clipped_images(curve):
    curve, iterates, clean = curve
    assert curve.psnr.shape == (3, 2)
    for step, image in np.ndindex(3, 2):
        shown = (iterates[step, image].astype(np.float64).clip(-1, 1).transpose(1, 2, 0) + 1) / 2
        expected = peak_signal_noise_ratio(clean[image].astype(np.float64), shown, data_range=1)
        assert curve.at([5, 10, 15][step], image) == pytest.approx(expected, abs=1e-4)


def test_the_error_that_estimates_are_held_against_is_not_clipped(curve):
    curve, iterates, clean = curve
    truth = 2 * clean.astype(np.float64) - 1
    error = np.square(iterates.astype(np.float64).transpose(0, 1, 3, 4, 2) - truth).mean(axis=(2, 3, 4))
    np.testing.assert_allclose(curve.error, error, rtol=1e-4)
    assert curve.error[1, 0] - np.square(iterates[1, 0].clip(-1, 1) - truth[0].transpose(2, 0, 1)).mean() > 0.01


def test_a_step_that_was_not_kept_is_refused(curve):
    with pytest.raises(ValueError, match="not in list"):
        curve[0].at(7, 0)


def flat(*psnr) -> judge.Curve:
    """Steps 5, 10, 15; psnr: [S] of every image."""
    values = np.array(psnr).T
    return judge.Curve([5, 10, 15], values, np.ones_like(values))


def test_the_fixed_step_is_the_best_mean_of_validation_images_alone():
    curves = {
        ("val", "whole"): flat([20, 30, 26], [20, 18, 25]),
        ("val", "pair"): flat([26, 24, 23], [20, 21, 22]),
        ("val", "first"): flat([0, 0, 99]),
        ("test", "whole"): flat([99, 0, 0], [99, 0, 0]),
        ("test", "pair"): flat([0, 99, 0], [0, 99, 0]),
    }
    table = judge._fixed("skip", curves, pd.Series(["a~0", "b~0"]))
    expected = [
        ("fixed", "whole", "a~0", 15),
        ("fixed", "whole", "b~0", 15),
        ("fixed_pair", "pair", "a~0", 5),
        ("fixed_pair", "pair", "b~0", 5),
    ]
    assert list(table[["rule", "stream", "name", "step"]].itertuples(index=False, name=None)) == expected
    assert (table["decided_step"] == table["step"]).all()
    assert set(table["split"]) == {"test"}


def test_a_row_says_what_was_lost_to_the_peak_of_the_fit_that_was_stopped():
    curves = {"skip": {("test", "pair"): flat([20, 26, 24], [21, 20, 19]), ("test", "whole"): flat([20, 25, 22], [10, 11, 12])}}
    places = {"test": pd.DataFrame({"image": ["a", "b"], "seed": [0, 2], "name": ["a~0", "b~2"]})}
    picks = {"fit": "skip", "split": "test", "rule": ["split", "last"], "stream": ["pair", "whole"], "name": ["a~0", "b~2"]}
    ours, last = judge._rows(pd.DataFrame(picks).assign(step=15, decided_step=15), curves, places).to_dict("records")
    assert (ours["psnr"], ours["peak"], ours["gap"], ours["peak_step"], ours["whole_peak"]) == (24, 26, 2, 10, 25)
    assert (last["psnr"], last["peak"], last["gap"], last["peak_step"], last["whole_peak"]) == (12, 12, 0, 15, 12)
    assert (last["image"], last["seed"]) == ("b", 2)


def test_an_estimate_is_held_against_the_error_of_the_stream_that_it_speaks_of():
    errors = {stream: np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]) * 10**i for i, stream in enumerate(("pair", "first", "whole"))}
    psnr = np.array([[20.0, 21.0], [26.0, 20.0], [24.0, 19.0]])
    curves = {"skip": {("test", stream): judge.Curve([5, 10, 15], psnr, error) for stream, error in errors.items()}}
    told = [("split", "b~0", 10), ("one_split", "a~0", 15), ("sure", "a~0", 5), ("held_out", "a~0", 5)]
    estimates = pd.DataFrame([{"fit": "skip", "rule": r, "name": name, "step": step, "estimate": 0.1} for r, name, step in told])
    table = judge._calibration(estimates, curves, pd.DataFrame({"name": ["a~0", "b~0"]}))
    assert table["true"].tolist() == [4, 50, 100, 1]
    assert table["decibels_to_peak"].tolist() == [1, 2, 6, 6]
    assert table["image"].tolist() == ["b", "a", "a", "a"]


@pytest.mark.parametrize(
    ("patience", "steps", "decided"),
    [(5, [10, 5], [15, 10]), (10, [10, 20], [20, 25]), (15, [25, 20], [25, 25]), (400, [25, 20], [25, 25])],
)
def test_a_patience_is_tried_on_the_estimates_of_the_whole_fit(patience, steps, decided):
    estimates = torch.tensor([[3.0, 1.0, 2.0, 1.5, 0.5], [2.0, 3.0, 1.0, 0.5, 0.6]]).T
    pick = stop._pick([5, 10, 15, 20, 25], list(estimates), patience)
    assert (pick.step.tolist(), pick.decided_step.tolist()) == (steps, decided)


@pytest.mark.parametrize(("believed", "level"), [("known", 0.4), ("low", 0.32), ("high", 0.48)])
def test_the_split_is_made_with_the_level_that_is_believed(believed, level):
    measured = Measurement(Identity(), torch.zeros(2, 3, 8, 8), 0.4, ["a~0", "b~0"], (8, 8))
    entry = Fit(network="skip", problem="gaussian", steps=10, noise_level=believed)
    assert witnesses.believed_level(measured, entry) == pytest.approx(level)


def test_an_estimated_level_is_one_for_every_image():
    noise = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    measured = Measurement(Identity(), torch.tensor([0.2, 0.5]).view(2, 1, 1, 1) * noise, 99.0, ["a~0", "b~0"], (64, 64))
    entry = Fit(network="skip", problem="gaussian", steps=10, noise_level="estimated")
    assert witnesses.believed_level(measured, entry).tolist() == pytest.approx([0.2, 0.5], rel=0.05)


FITTING, PROBLEMS = tiny_study.PARAMS.fitting, tiny_study.PARAMS.problems


def test_the_probed_fit_is_to_y_with_the_probe_that_the_rule_is_told():
    measured = Measurement(Identity(), torch.zeros(2, 3, 8, 8), 0.4, ["a~0", "b~0"], (8, 8))
    parts = fit._parts(measured, PROBLEMS["gaussian25"], Fit(network="skip", problem="gaussian25", steps=10, probe=True), FITTING, None)
    assert list(parts) == ["whole", "probe"]
    b = witnesses.probe(measured, FITTING)
    torch.testing.assert_close(parts["probe"].y - parts["whole"].y, FITTING.probe_width * b)
    assert float(b.std()) == pytest.approx(1, abs=0.1)


def test_values_that_impulses_may_have_struck_are_not_fitted():
    y = torch.tensor([-1.0, 1.0, 0.3, -0.2]).view(1, 1, 2, 2)
    measured = Measurement(Identity(), y, 0.1, ["a~0"], (2, 2))
    assert witnesses.whole(measured, PROBLEMS["impulses15"]).keep.flatten().tolist() == [0, 0, 1, 1]
    assert witnesses.whole(measured, PROBLEMS["gaussian25"]).keep is None


# --- crops -------------------------------------------------------------------------------------------------

IMAGES = Images(test=2, seeds=3, val=1, seed=0)


@pytest.fixture
def manifest():
    """Out of order, and with more crops than are taken."""
    rows = [("test", 2, "c"), ("test", 0, "a"), ("val", 1, "w"), ("val", 0, "v"), ("train", 0, "t"), ("test", 1, "b")]
    return pd.DataFrame(rows, columns=["split", "index", "image"])


def test_the_first_test_crops_are_measured_once_for_every_seed(manifest):
    table = crops.chosen(manifest, "test", IMAGES)
    assert table["name"].tolist() == ["a~0", "b~0", "a~1", "b~1", "a~2", "b~2"]
    assert table["index"].tolist() == [0, 1] * 3
    assert table["seed"].tolist() == [0, 0, 1, 1, 2, 2]
    assert table["image"].tolist() == ["a", "b"] * 3


def test_validation_crops_are_measured_once(manifest):
    assert crops.chosen(manifest, "val", IMAGES)["name"].tolist() == ["v~0"]
