"""How stops are judged, on invented rows whose verdicts can be worked out by hand."""

import re

import numpy as np
import pandas as pd
import pytest
import tiny_study
import torch
from skimage.metrics import peak_signal_noise_ratio

from dualprior.observation import Observation
from dualprior.operators import Identity
from dualprior.settings.stopping_fits import Fit, Images
from dualprior.studies.stopping import claims, crops, fit, judge, readings, report, stop, witnesses
from dualprior.studies.stopping.claims import Bootstrap

BOOTSTRAP = Bootstrap(resamples=400, confidence=0.9, seed=0)
FIT = {
    "fit": "skip-gaussian", "network": "skip", "kind": "skip", "channels": "16-16", "problem": "gaussian", "denoising": True,
    "leaks": False, "split_kind": "coupled", "noise_level": "known", "ladder": "none", "plain": True, "exact": False,
}  # fmt: skip
NAMES = ["a~0", "a~1", "b~0", "b~1", "c~0"]  # of image c one measurement only
GAPS = [0.1, 0.3, 0.0, 0.2, 1.2]
BY_IMAGE = [0.2, 0.1, 1.2]
SCALES = [0.8, 0.9, 1.0, 1.1, 1.2]  # of the errors: some images are harder
PRICES = [-0.4, 0.0, 0.1, 0.3, 0.5]
MEAN_PRICE = (-0.2 + 0.2 + 0.5) / 3


def rows(rule: str = "split", gaps=GAPS, prices=PRICES, **fit) -> pd.DataFrame:
    """A row a measurement: its fit peaks at 30 dB and loses `gaps`; one fit to all of y peaks `prices` above what is kept."""
    described = FIT | fit
    psnr = 30 - np.array(gaps)
    table = {
        "rule": rule, "stream": "pair", "name": NAMES, "image": [name[0] for name in NAMES], "seed": [int(name[2]) for name in NAMES],
        "step": 100, "decided_step": 200, "peak_step": 120, "psnr": psnr, "peak": 30.0, "gap": gaps, "whole_peak": psnr + prices,
    }  # fmt: skip
    return pd.DataFrame(table).assign(**described)


def calibration(true=(0.04, 0.01, 0.0225), ratio=1.21, steps=(50, 60, 70), below=(5.0, 1.0, 0.0), rule="split", **fit) -> pd.DataFrame:
    """Running estimates of every measurement, `ratio` times the truth; at step 40, before they count, they are nonsense."""
    tables = []
    for name, scale in zip(NAMES, SCALES, strict=True):
        errors = scale * np.array(true)
        told = {"step": [40, *steps], "true": [9.0, *errors], "estimate": [0.0, *(ratio * errors)], "decibels_to_peak": [0.0, *below]}
        tables.append(pd.DataFrame(told).assign(name=name, image=name[0], rule=rule, **FIT | fit))
    return pd.concat(tables, ignore_index=True)


def costs(overhead=0.02, fit="skip-gaussian", rule="split", fits=2) -> pd.DataFrame:
    return pd.DataFrame([{"fit": fit, "rule": rule, "fits": fits, "overhead": overhead}])


def judged(table: pd.DataFrame, told: pd.DataFrame | None = None, cost: pd.DataFrame | None = None) -> dict[str, dict]:
    return claims.judge(table, calibration() if told is None else told, costs() if cost is None else cost, BOOTSTRAP)


PUBLISHED = rows("es_wmv", gaps=[1.0, 3.0, 0.5, 0.5, 2.0])
CLAIMED = pd.concat([rows(), PUBLISHED], ignore_index=True)


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
    twins = rows("last_pair", gaps=[0.5] * 5, fit="twins-gaussian", split_kind="none", plain=False).assign(peak=[30, 30.1, 30.2, 30.3, 31])
    others = twins.assign(problem="poisson", peak=99.0)
    claim = judged(pd.concat([CLAIMED, twins, others]))["stopping_split_price_same_cost_db"]
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
    twice = pd.concat([told, told.assign(network="unet", fit="unet-gaussian")])
    assert judged(CLAIMED, twice)["stopping_calibration_bias_se"] == judged(CLAIMED, told)["stopping_calibration_bias_se"]


# --- settings chosen on validation images ------------------------------------------------------------------


def tried(rule: str, val: float, test: float, decided: int = 200, **fit) -> pd.DataFrame:
    both = [rows(rule, gaps=[gap] * 5, **fit).assign(split=split) for split, gap in (("val", val), ("test", test))]
    return pd.concat(both).assign(decided_step=decided)


TRIED = pd.concat(
    [
        *(tried(f"split@{patience}", val, test) for patience, val, test in ((30, 0.5, 0.0), (60, 0.108, 0.3), (100, 0.1, 0.9))),
        *(tried(f"es_wmv_tuned@{window}", val, test) for window, val, test in ((20, 1.0, 0.1), (80, 0.4, 2.0))),
    ]
)


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
    assert (pick.step.tolist(), pick.known.tolist()) == (steps, decided)


@pytest.mark.parametrize(("believed", "level"), [("known", 0.4), ("low", 0.32), ("high", 0.48)])
def test_the_split_is_made_with_the_level_that_is_believed(believed, level):
    seen = Observation(Identity(), torch.zeros(2, 3, 8, 8), 0.4, ["a~0", "b~0"], (8, 8))
    entry = Fit(network="skip", problem="gaussian", steps=10, noise_level=believed)
    assert witnesses.believed_level(seen, entry) == pytest.approx(level)


def test_an_estimated_level_is_one_for_every_image():
    noise = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    seen = Observation(Identity(), torch.tensor([0.2, 0.5]).view(2, 1, 1, 1) * noise, 99.0, ["a~0", "b~0"], (64, 64))
    entry = Fit(network="skip", problem="gaussian", steps=10, noise_level="estimated")
    assert witnesses.believed_level(seen, entry).tolist() == pytest.approx([0.2, 0.5], rel=0.05)


FITTING, PROBLEMS = tiny_study.PARAMS.fitting, tiny_study.PARAMS.problems


def test_the_probed_fit_is_to_y_with_the_probe_that_the_rule_is_told():
    seen = Observation(Identity(), torch.zeros(2, 3, 8, 8), 0.4, ["a~0", "b~0"], (8, 8))
    parts = fit._parts(seen, PROBLEMS["gaussian25"], Fit(network="skip", problem="gaussian25", steps=10, probe=True), FITTING, None)
    assert list(parts) == ["whole", "probe"]
    b = witnesses.probe(seen, FITTING)
    torch.testing.assert_close(parts["probe"].y - parts["whole"].y, FITTING.probe_width * b)
    assert float(b.std()) == pytest.approx(1, abs=0.1)


def test_values_that_impulses_may_have_struck_are_not_fitted():
    y = torch.tensor([-1.0, 1.0, 0.3, -0.2]).view(1, 1, 2, 2)
    seen = Observation(Identity(), y, 0.1, ["a~0"], (2, 2))
    assert witnesses.whole(seen, PROBLEMS["impulses15"]).keep.flatten().tolist() == [0, 0, 1, 1]
    assert witnesses.whole(seen, PROBLEMS["gaussian25"]).keep is None


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


# --- tables ------------------------------------------------------------------------------------------------


def ladder(name: str, gaps, rule="split", **fit) -> pd.DataFrame:
    return rows(rule, gaps=gaps, fit=f"ladder_{name}", ladder=name, plain=False, **fit)


LEAKING = {"problem": "clean", "leaks": True, "denoising": False}
ROWS = pd.concat(
    [
        rows(),
        *(rows(rule, gaps=[gap] * 5) for rule, gap in (("es_wmv", 2.0), ("es_wmv_tuned", 1.0), ("es_wmv_pair", 0.25))),
        *(rows(rule, gaps=[gap] * 5) for rule, gap in (("fixed_pair", 0.5), ("last_pair", 4.0), ("last", 5.0), ("split_patient", 0.1))),
        rows(gaps=[0.7] * 5, fit="unet-gaussian", network="unet", kind="unet", channels="8-8"),
        *(rows(rule, gaps=[1.5] * 5, fit="unet-gaussian", network="unet") for rule in ("es_wmv", "es_wmv_tuned", "es_wmv_pair")),
        *(rows(rule, gaps=[1.5] * 5, fit="unet-gaussian", network="unet") for rule in ("fixed_pair", "last_pair")),
        rows(gaps=[0.9] * 5, fit="level_low-gaussian", noise_level="low", plain=False),
        rows("held_out", gaps=[0.6] * 5, fit="held_out-gaussian", split_kind="held_out", plain=False),
        ladder("target", [1.0] * 5),
        ladder("literal", [3.0] * 5, rule="fixed"),
        ladder("literal", [9.0] * 5, rule="fixed", **LEAKING),
        *(rows(rule, gaps=[gap] * 5, fit="skip-sr4", problem="sr4", denoising=False) for rule, gap in (("split", 0.2), ("es_wmv", 0.1))),
    ],
    ignore_index=True,
)
TOLD = pd.concat([calibration(), calibration(ratio=0.8, fit="level_low-gaussian", noise_level="low", plain=False)], ignore_index=True)
COSTS = pd.concat(
    [costs(), costs(0.5, rule="es_wmv", fits=1), costs(0.25, rule="es_wmv_tuned@20", fits=1), costs(0.35, rule="es_wmv_tuned@80", fits=1)]
)
RUNGS = pd.DataFrame(
    [
        {"fit": f"ladder_{ladder}-{problem}", "ladder": ladder, "problem": problem, "leaks": problem == "clean", "name": name,
         "rung": rung, "tau": 0.4 - 0.1 * rung, "step": 5 * rung + 5, "psnr_to_target": base + rung, "ssim_to_target": 0.1 * rung}
        for ladder, problem, base in (("target", "gaussian", 10), ("literal", "gaussian", 12), ("literal", "clean", 30))
        for name, base in (("a~0", base), ("b~0", base + 1))
        for rung in range(3)
    ]
)  # fmt: skip
GAINS = {"none": [0, 0, 0, 0, 0], "denoiser": [0.2, 0.4, 0.3, 0.3, 0.6], "perceptual": [-0.1] * 5, "adversarial": [-1, -1, 0.5, 0.5, 2]}
GUIDED = pd.concat(
    [
        pd.DataFrame({"name": NAMES, "image": [name[0] for name in NAMES], "psnr": 20 + np.arange(5) + np.array(gains)}).assign(
            problem="gaussian", term=term, weight=0.0003, step=[5, 5, 5, 5, 10], seconds=0.5
        )
        for term, gains in GAINS.items()
    ]
)


def tables(rows: pd.DataFrame = ROWS) -> dict[str, pd.DataFrame]:
    return {"tuned": report.tuned(TRIED)} | report.tables(rows, TOLD, COSTS, RUNGS, GUIDED, BOOTSTRAP)


def row(table: pd.DataFrame, **cells) -> pd.Series:
    (found,) = [line for _, line in table.iterrows() if all(line[name] == value for name, value in cells.items())]
    return found


def test_the_table_of_rules_gives_loss_spread_and_cost():
    ours = row(tables()["rules"], rule=report.RULES["split"])
    means = [(0.2 + 0.7) / 2, (0.1 + 0.7) / 2, (1.2 + 0.7) / 2]
    assert ours["mean loss, dB"].startswith(f"{np.mean(means):.2f} [")
    assert ours["combinations"] == 2
    assert ours["95th percentile"] == pytest.approx(np.quantile([*GAPS, *[0.7] * 5], 0.95), abs=0.005)
    assert ours["share above 1 dB"] == "10.0 %"
    assert ours["kept, above the oracle on all of y, dB"] == f"{-np.mean(PRICES):+.2f}"
    assert (ours["fits"], ours["overhead"]) == (2, "2.0 %")


def test_the_overhead_of_a_rule_with_a_setting_is_the_mean_over_its_settings():
    assert row(tables()["rules"], rule=report.RULES["es_wmv_tuned"])["overhead"] == "30.0 %"


def test_a_rule_that_was_not_timed_still_says_how_many_fits_it_needs():
    table = tables()["rules"]
    assert row(table, rule=report.RULES["fixed_pair"])[["fits", "overhead"]].tolist() == [2, "–"]
    assert row(table, rule=report.RULES["last"])[["fits", "overhead"]].tolist() == [1, "–"]


def test_the_held_out_pair_is_in_the_table_of_rules_though_not_plain():
    assert row(tables()["rules"], rule=report.RULES["held_out"])["mean loss, dB"].startswith("0.60 [")


def test_every_case_is_a_network_on_a_noise():
    table = tables()["cases"]
    assert table[["network", "noise"]].to_numpy().tolist() == [["skip", "gaussian"], ["unet", "gaussian"]]
    skip = row(table, network="skip")
    names = ("es_wmv_pair", "es_wmv", "es_wmv_tuned", "fixed_pair", "last_pair")
    assert [skip[report.RULES[rule]] for rule in names] == [0.25, 2.0, 1.0, 0.5, 4.0]
    assert skip["kept, dB"] == pytest.approx(30 - np.mean(GAPS), abs=0.005)


def test_networks_are_compared_on_the_noise_that_most_of_them_were_fitted_to():
    table = tables(pd.concat([rows(fit="skip-poisson", problem="poisson"), ROWS]))["networks"]
    assert table[["network", "kind", "channels", "noise"]].to_numpy().tolist() == [
        ["skip", "skip", "16-16", "gaussian"],
        ["unet", "unet", "8-8", "gaussian"],
    ]
    assert table["loss of the last step, dB"].tolist() == [4.0, 1.5]


def test_levels_are_compared_where_one_was_altered():
    table = tables(pd.concat([ROWS, rows(fit="skip-poisson", problem="poisson")]))["levels"]
    assert table[["noise", "level"]].to_numpy().tolist() == [["gaussian", "known"], ["gaussian", "low"]]
    assert table["estimated over true error"].tolist() == [1.21, 0.8]


def test_ladders_are_held_against_the_plain_fit_on_the_same_noise():
    table = tables()["ladders"]
    assert table["ladder"].tolist() == ["none", "target", "literal"]
    kept = 30 - np.array([np.mean(BY_IMAGE), 1.0, 3.0])
    assert [cell.split(" ")[0] for cell in table["kept, dB"]] == [f"{value:.2f}" for value in kept]


def test_a_rung_is_the_mean_of_its_measurements():
    table = tables()["rungs"]
    assert row(table, ladder="literal", problem="clean", rung=1)[["tau", "step", "psnr_to_target", "leaks"]].tolist() == [
        0.3,
        10,
        31.5,
        True,
    ]
    assert len(table) == 9


def test_other_tasks_name_every_rule_with_its_loss():
    table = tables()["tasks"]
    assert table[["task", "rule", "mean loss"]].to_numpy().tolist() == [
        ["sr4", report.RULES["split"], 0.2],
        ["sr4", report.RULES["es_wmv"], 0.1],
    ]


def test_a_gain_is_paired_by_measurement_and_averaged_by_image():
    table = tables()["guided"].set_index("term")
    assert table.at["denoiser", "gain, dB"] == pytest.approx((0.3 + 0.3 + 0.6) / 3, abs=1e-3)
    assert 0.3 <= table.at["denoiser", "low"] <= table.at["denoiser", "gain, dB"] <= table.at["denoiser", "high"] <= 0.6
    assert (table.at["none", "gain, dB"], table.at["none", "low"], table.at["none", "high"]) == (0, 0, 0)
    assert (table["stop step"] == 6).all()


def test_calibration_compares_squared_errors_from_the_settled_steps_on():
    table = tables()["calibration"].set_index("fit")
    assert table["estimated over true error"].to_dict() == {"skip-gaussian": 1.21, "level_low-gaussian": 0.8}
    assert table["r"].tolist() == [1.0, 1.0]


def test_what_leaks_changes_no_table_but_that_of_the_rungs():
    bad = [rows(rule, gaps=[50.0] * 5, fit="skip-clean", **LEAKING) for rule in ("split", "es_wmv", "last", "fixed", "held_out")]
    bad += [ladder("input", [50.0] * 5, **LEAKING)]
    with_leaks = tables(pd.concat([ROWS, *bad], ignore_index=True))
    for name, table in tables().items():
        pd.testing.assert_frame_equal(table, with_leaks[name])


def test_the_summary_is_of_plain_fits_by_the_first_network():
    found = report.summary(ROWS)
    assert found["gaussian"]["split"] == {"gap": round(np.mean(GAPS), 4), "psnr": round(30 - np.mean(GAPS), 4)}
    assert found["gaussian"]["held_out"]["gap"] == 0.6
    assert found["sr4"]["es_wmv"]["gap"] == 0.1
    assert set(found) == {"gaussian", "sr4"}
    assert report.summary(pd.concat([ROWS, rows(fit="skip-clean", **LEAKING)])) == found


# --- readings ----------------------------------------------------------------------------------------------


def test_the_page_shows_every_table_under_its_heading_after_a_sentence_about_it():
    made = tables()
    assert list(readings.HEADINGS) == list(made)
    page = readings.page(made, judged(CLAIMED))
    sections = page.split("\n## ")[2:]
    assert [section.split("\n")[0] for section in sections] == list(readings.HEADINGS.values())
    for section, (name, table) in zip(sections, made.items(), strict=True):
        _, _, sentence, _, header, *_ = section.split("\n")
        assert sentence == readings.reading(name, table)
        assert sentence.endswith(".")
        assert "nan" not in sentence
        assert [cell.strip() for cell in header.strip("|").split("|")] == list(table.columns)


def test_the_page_begins_with_the_claims():
    page = readings.page(tables(), judged(CLAIMED))
    assert page.startswith("# ")
    assert f"of {len(judged(CLAIMED))} claims hold." in page
    assert "| stopping_gap_mean_db " in page


def test_whole_numbers_are_written_whole():
    page = readings.page(tables(), judged(CLAIMED))
    assert re.search(r"\| +120 \| +100 \|", page)
    assert "120.00" not in page


def test_the_reading_of_the_settings_names_the_chosen_ones():
    text = readings.reading("tuned", report.tuned(TRIED))
    assert f"{report.RULES['split']}: a patience of 60 steps, 200 steps run" in text
    assert f"{report.RULES['es_wmv_tuned']}: a window of 80 steps" in text


def rule_losses(**losses) -> pd.DataFrame:
    return pd.DataFrame(
        {"rule": [report.RULES[rule] for rule in losses], "mean loss, dB": [f"{loss:.2f} [0, 9]" for loss in losses.values()]}
    )


def test_the_reading_of_the_rules_says_which_loses_least():
    first = readings.reading("rules", rule_losses(split=0.1, es_wmv=2.0, es_wmv_tuned=0.5))
    assert "loses 0.10 dB on average, ES-WMV 2.00 dB as published and 0.50 dB with the window" in first
    assert "no rule loses less." in first
    second = readings.reading("rules", rule_losses(split=0.1, es_wmv=2.0, es_wmv_tuned=0.5, sure=0.05))
    assert "least of all loses the Monte-Carlo SURE (0.05 dB)." in second
    assert "no rule loses less" not in second


def test_the_reading_of_the_cases_names_the_worst_and_counts():
    text = readings.reading("cases", tables()["cases"])
    assert "Worst case unet on gaussian: 0.70 dB." in text
    assert "in 1 of 2 combinations" in text


def test_the_reading_of_the_networks_names_the_best_and_the_last():
    text = readings.reading("networks", tables()["networks"])
    assert "skip keeps most (29.50 dB), unet least (29.30 dB)" in text
    assert "loses 0.50 to 0.70 dB" in text


def test_the_reading_of_the_levels_names_those_that_were_tried():
    assert "the level known 0.50, low 0.90." in readings.reading("levels", tables()["levels"])


def test_the_reading_of_the_ladders_says_whether_one_helps():
    assert "no ladder keeps more than the plain fit (29.50 against 29.50 dB)" in readings.reading("ladders", tables()["ladders"])
    better = pd.concat([ROWS[ROWS["ladder"] != "target"], ladder("target", [0.0] * 5)])
    assert "the target ladder keeps most (30.00 against 29.50 dB)" in readings.reading("ladders", tables(better)["ladders"])


def test_the_reading_of_the_rungs_counts_descents_and_names_the_last():
    text = readings.reading("rungs", tables()["rungs"])
    assert "rises in 6 of 6 descents" in text
    assert "literal ladder is 14.5 dB from the noisy measurement; with a clean target (leaks) it is 32.5 dB" in text


def test_the_reading_of_the_tasks_names_the_best_rule():
    assert readings.reading("tasks", tables()["tasks"]) == "Loss of the pair: sr4 0.20 dB (best: ES-WMV, 0.10)."


def test_in_the_report_other_tasks_have_a_row_a_rule():
    wide = readings.by_rule(tables()["tasks"])
    assert list(wide.columns) == ["rule", "sr4"]
    assert row(wide, rule=report.RULES["es_wmv"])["sr4"] == "0.10 (29.90)"


def test_the_reading_of_the_extra_terms_separates_what_helps_from_what_hurts():
    text = readings.reading("guided", tables()["guided"])
    assert "Interval above 0: denoiser +0.40 dB on gaussian." in text
    assert "Interval below 0: perceptual -0.10 dB on gaussian." in text
    assert "adversarial" not in text


def test_the_reading_of_the_calibration_gives_the_range():
    text = readings.reading("calibration", tables()["calibration"])
    assert "of the pair: 0.80 to 1.21 over 2 combinations" in text


def test_a_small_weight_is_not_shown_as_0():
    assert "0.0003" in readings.page(tables(), judged(CLAIMED))
