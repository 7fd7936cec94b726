"""The tables of the study of stopping rules and what is said of them, on the invented rows of `tiny_stops`."""

import re

import numpy as np
import pandas as pd
import pytest
from studies.stopping import readings, report
from tiny_stops import BOOTSTRAP, BY_IMAGE, CLAIMED, GAPS, NAMES, PRICES, TRIED, calibration, costs, judged, rows

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
