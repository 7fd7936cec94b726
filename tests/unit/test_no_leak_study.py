"""The stages of the study of stopping rules, run on crops of which the clean ones are deleted where nothing may read them."""

import numpy as np
import pandas as pd
import pytest
import tiny_study
import torch
from studies.stopping import claims, fit, guide, judge, measure, report, stop
from studies.stopping.readings import HEADINGS
from tiny_study import EVERY, FITS, PARAMS, SIDE, STEPS

from dualprior.common import io
from dualprior.common.paths import Paths
from dualprior.data.pixels import to_unit

COUNT = {"val": PARAMS.images.val, "test": PARAMS.images.test * PARAMS.images.seeds}
PAIR, WHOLE = {"first", "second", "pair_output"}, {"whole", "whole_output", "whole_loss"}
LEAKING = {name for name, each in PARAMS.fits.items() if PARAMS.problems[each.problem].leaks}


@pytest.fixture(scope="module")
def stopped(tmp_path_factory) -> Paths:
    """Every stage up to the rules. Both clean splits are deleted before the fits; validation images come back for `guide`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DUALPRIOR_DEVICE", "cpu")
        paths = tiny_study.start(tmp_path_factory.mktemp("study"), tmp_path_factory.mktemp("scratch"))
        for problem in PARAMS.problems:
            tiny_study.run(measure, paths, problem)
        paths.test.unlink()
        paths.val.unlink()
        for name in FITS:
            tiny_study.run(fit, paths, name)
        tiny_study.write_clean(paths, "val")
        for problem in PARAMS.guide.problems:
            tiny_study.run(guide, paths, problem)
        tiny_study.run(stop, paths)
        assert not paths.test.exists()
    return paths


@pytest.fixture(scope="module")
def judged(stopped) -> Paths:
    """And judged, with the clean test images back."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (claims, report):
            patch.setattr(module, "SETTLED", 2 * EVERY)
        tiny_study.write_clean(stopped, "test")
        tiny_study.run(judge, stopped)
    return stopped


def table(paths: Paths, name: str) -> pd.DataFrame:
    return io.read_table(paths.study_table(name))


def rules(paths: Paths, name: str, split: str = "test") -> set[str]:
    picks = io.read_table(paths.stopping_picks)
    return {rule.partition("@")[0] for rule in picks[(picks["fit"] == name) & (picks["split"] == split)]["rule"]}


# --- measuring and fitting ---------------------------------------------------------------------------------


def test_what_is_measured_is_not_the_clean_image_but_where_it_leaks(stopped):
    clean = to_unit(tiny_study.clean("test")).repeat(PARAMS.images.seeds, 1, 1, 1)
    for problem in ("gaussian25", "poisson30", "impulses15", "clean"):
        y = io.read_tensors(stopped.stopping_measured(problem))["test_y"]
        assert torch.equal(y, clean) == (problem == "clean")


def test_every_seed_of_a_crop_is_measured_anew(stopped):
    y = io.read_tensors(stopped.stopping_measured("gaussian25"))["test_y"]
    assert len(y) == COUNT["test"]
    error = (y - to_unit(tiny_study.clean("test")).repeat(PARAMS.images.seeds, 1, 1, 1)).flatten(1)
    assert (error.std(dim=1) - PARAMS.problems["gaussian25"].sigma_y).abs().max() < 0.01
    assert torch.corrcoef(error).fill_diagonal_(0).abs().max() < 0.1


@pytest.mark.parametrize(
    ("name", "streams"),
    [
        ("plain", PAIR | WHOLE | {"probe"}),
        ("poisson", PAIR | WHOLE),
        ("sr4", PAIR | WHOLE),
        ("clean_twins", PAIR | WHOLE),
        ("held_out", PAIR),
        ("target", PAIR),
        ("literal", WHOLE),
        ("clean", WHOLE),
    ],
)
def test_a_fit_without_clean_images_keeps_what_its_entry_asks_for(stopped, name, streams):
    tensors = io.read_tensors(stopped.stopping_fits(name) / "iterates.safetensors")
    assert set(tensors) == {f"{split}_{stream}" for split in COUNT for stream in streams}


@pytest.mark.parametrize("name", FITS)
def test_every_kept_iterate_is_an_image_of_its_step(stopped, name):
    info = io.read_json(stopped.stopping_fits(name) / "info.json")
    assert info["steps"] == list(range(EVERY, STEPS + 1, EVERY))
    for stream, kept in io.read_tensors(stopped.stopping_fits(name) / "iterates.safetensors").items():
        shape = (len(info["steps"]), COUNT[stream.partition("_")[0]])
        assert kept.shape == (shape if stream.endswith("loss") else (*shape, 3, SIDE, SIDE))
        assert torch.isfinite(kept).all()


def test_two_fits_to_all_of_y_differ_by_their_networks_only(stopped):
    kept = io.read_tensors(stopped.stopping_fits("clean_twins") / "iterates.safetensors")
    assert torch.allclose(kept["test_first"], kept["test_whole"], atol=2e-3)
    assert not torch.allclose(kept["test_first"], kept["test_second"], atol=0.1)


@pytest.mark.parametrize("name", [name for name, each in FITS.items() if each.get("ladder", "none") == "none"])
def test_a_fit_without_a_ladder_has_no_rungs(stopped, name):
    assert io.read_json(stopped.stopping_fits(name) / "info.json")["rungs"] == []


@pytest.mark.parametrize("name", ["literal", "clean"])
def test_the_literal_ladder_stays_equally_long_on_every_rung(stopped, name):
    rows = pd.DataFrame(io.read_json(stopped.stopping_fits(name) / "info.json")["rungs"])
    each = rows[rows["split"] == "test"].groupby("name")
    assert each.ngroups == COUNT["test"]
    for _, descent in each:
        assert descent["rung"].tolist() == [0, 1, 2, 3]
        assert descent["step"].tolist() == [5, 10, 15, 20]
        assert descent["tau"].is_monotonic_decreasing
        assert descent["tau"].iat[-1] == 0


# --- guiding -----------------------------------------------------------------------------------------------


def test_guiding_without_clean_test_images_tries_every_weight_of_every_term(stopped):
    info = io.read_json(stopped.stopping_guided("gaussian25") / "info.json")
    images = io.read_tensors(stopped.stopping_guided("gaussian25") / "images.safetensors")
    assert list(info) == list(PARAMS.guide.weights)
    for term, about in info.items():
        assert images[term].shape == (COUNT["test"], 3, SIDE, SIDE)
        assert list(about["val_psnr"]) == [str(weight) for weight in PARAMS.guide.weights[term]]
        assert set(about["stop_step"]) <= {5, 10}


def test_the_weight_that_is_used_is_the_best_on_validation_images(stopped):
    for about in io.read_json(stopped.stopping_guided("gaussian25") / "info.json").values():
        assert about["val_psnr"][str(about["weight"])] == max(about["val_psnr"].values())


# --- stopping ----------------------------------------------------------------------------------------------

BLIND = {"last", "es_wmv", "es_wmv_tuned", "es_emv", "self_validation", "diffusion_judge"}  # rules for any fit to all of y
ON_PAIR = {"last_pair", "es_wmv_pair"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("plain", {"split", "one_split", "discrepancy", "sure"} | BLIND | ON_PAIR),
        ("poisson", {"split", "one_split"} | BLIND | ON_PAIR),
        ("impulses", {"split", "one_split", "discrepancy"} | BLIND | ON_PAIR),
        ("sr4", {"split"} | BLIND | ON_PAIR),
        ("paired_names", ON_PAIR),
        ("held_out", {"held_out"} | ON_PAIR),
        ("level", {"split", "one_split"} | ON_PAIR),
        ("target", {"split", "one_split"} | ON_PAIR),
        ("input", {"split", "one_split"} | ON_PAIR),
        ("literal", set()),
        ("clean", set()),
        ("clean_twins", BLIND | ON_PAIR),
    ],
)
def test_a_fit_is_stopped_by_the_rules_that_make_sense_for_it(stopped, name, expected):
    assert rules(stopped, name) == expected


def test_validation_fits_are_stopped_only_by_rules_that_have_a_setting(stopped):
    assert rules(stopped, "plain", "val") == {"split", "one_split", "es_wmv_tuned"}


def test_every_rule_stops_every_measurement_once_at_a_kept_step(stopped):
    picks = io.read_table(stopped.stopping_picks)
    for (_, split, _), names in picks.groupby(["fit", "split", "rule"])["name"]:
        assert len(names) == names.nunique() == COUNT[split]
    assert set(picks["step"]) <= set(range(EVERY, STEPS + 1, EVERY))
    assert (picks["decided_step"] >= picks["step"]).all()


def test_a_rule_with_a_setting_is_tried_with_each(stopped):
    picks = io.read_table(stopped.stopping_picks)
    tried = {rule for rule in picks[picks["fit"] == "plain"]["rule"] if rule.startswith(("split", "es_wmv_tuned"))}
    assert tried == {"split", "split@5", "split@10", "split@20", "es_wmv_tuned@10", "es_wmv_tuned@20"}


def test_what_a_rule_costs_is_held_against_the_fits_it_needs(stopped):
    costs = io.read_table(stopped.stopping_costs)
    assert (costs["overhead"] > 0).all()
    fits = costs.groupby("rule")["fits"].unique().map(list).to_dict()
    assert (fits["split"], fits["sure"], fits["last_pair"], fits["one_split"], fits["last"]) == ([2], [2], [2], [1], [1])


def test_rules_of_a_pair_and_sure_say_what_they_estimated_at_every_step(stopped):
    told = io.read_table(stopped.stopping_estimates)
    assert set(told["rule"]) == {"split", "one_split", "held_out", "sure"}
    assert (told.groupby(["fit", "rule", "name"])["step"].apply(list).map(tuple) == (5, 10, 15, 20)).all()


# --- judging -----------------------------------------------------------------------------------------------


def test_a_row_holds_the_psnr_of_its_step_and_the_peak_of_its_fit(judged):
    rows = table(judged, "rows")
    row = rows[(rows["fit"] == "plain") & (rows["rule"] == "es_emv")].iloc[-1]
    kept = io.read_tensors(judged.stopping_fits("plain") / "iterates.safetensors")["test_whole"].float()
    clean = to_unit(tiny_study.clean("test"))
    errors = [float((image.clamp(-1, 1) - clean[1]).square().mean()) / 4 for image in kept[:, COUNT["test"] - 1]]
    psnr = -10 * np.log10(errors)
    assert (row["name"], row["image"], row["seed"]) == ("test1~1", "test1", 1)
    assert row["psnr"] == pytest.approx(psnr[row["step"] // EVERY - 1], abs=1e-3)
    assert row["peak"] == pytest.approx(psnr.max(), abs=1e-3)
    assert row["peak_step"] == EVERY * (psnr.argmax() + 1)


@pytest.mark.parametrize("rule", ["split", "one_split", "sure"])
def test_an_estimate_without_the_clean_image_is_near_the_true_error(judged, rule):
    found = table(judged, "calibration").set_index(["fit", "rule"])
    assert found.at[("plain", report.RULES[rule]), "estimated over true error"] == pytest.approx(1, abs=0.1)


def test_a_stop_never_beats_the_oracle_of_its_fit(judged):
    assert (table(judged, "rows")["gap"] >= 0).all()


def test_a_fixed_step_is_the_same_for_all_images_of_a_fit(judged):
    rows = table(judged, "rows")
    fixed = rows[rows["rule"].isin(["fixed", "fixed_pair"])]
    assert (fixed.groupby(["fit", "rule"])["step"].nunique() == 1).all()
    assert set(fixed["fit"]) == set(FITS)


def test_a_leaking_problem_is_marked_in_the_rows(judged):
    rows = table(judged, "rows")
    assert set(rows[rows["leaks"]]["fit"]) == LEAKING == {"clean", "clean_twins"}
    assert not rows[rows["leaks"]][["plain", "denoising"]].any(axis=None)


def test_a_leaking_problem_is_in_no_claim_and_no_table_that_ranks(judged):
    assert "clean" not in io.read_text(judged.claims)
    assert "clean" not in io.read_text(judged.summary)
    for name in set(HEADINGS) - {"rungs"}:
        columns = table(judged, name).select_dtypes(exclude="number")
        assert not columns.isin(["clean", *LEAKING]).any(axis=None), name
    assert table(judged, "rungs").groupby("problem")["leaks"].unique().map(list).to_dict() == {"gaussian25": [False], "clean": [True]}


def test_every_rule_that_ran_is_in_the_table_of_rules(judged):
    ran = rules(judged, "plain") | rules(judged, "held_out") | {"split_patient", "fixed", "fixed_pair"}
    assert ran == {*report.RULES} - {"split_impatient"}  # which is for exact data alone
    assert set(table(judged, "rules")["rule"]) == {report.RULES[rule] for rule in ran}


def test_every_table_and_every_figure_is_written(judged):
    page = io.read_text(judged.study_tables)
    for name, heading in HEADINGS.items():
        assert f"## {heading}\n" in page
        assert len(table(judged, name)) > 0
    for name in ("stops", "gaps", "calibration", "tasks", "rungs", "guided"):
        assert judged.study_plot(name).stat().st_size > 5000


def test_the_claims_are_those_of_denoising_and_of_every_other_task(judged):
    names = "gap_mean_db gap_p95_db fail_share overhead split_price_db split_price_same_cost_db calibration_r calibration_bias_se"
    names += " gap_sr4_db gap_inpaint_random_db"
    assert list(io.read_json(judged.claims)) == [f"stopping_{name}" for name in names.split()]
