"""The README's words follow the numbers."""

import pandas as pd

from dualprior import answers


def claim(value, lo, holds=False):
    return {"value": value, "lo": lo, "hi": value + 0.1, "goal": 0.5, "holds": holds}


CLAIMS = {
    "hybrid_gain_db_sr4": claim(0.6, 0.5, holds=True),
    "hybrid_gain_db_deblur": claim(0.2, 0.1),
    "hybrid_gain_db_inpaint_box": claim(0.0, -0.1),
    "hybrid_gain_ssim_sr4": claim(0.1, 0.05, holds=True),
    "hybrid_vs_control_db_sr4": claim(-0.2, -0.3),
    "hybrid_vs_control_db_deblur": claim(0.2, 0.1),
    "hybrid_vs_long_mean_db_sr4": claim(0.2, 0.1),
    "hybrid_vs_long_mean_db_deblur": claim(0.2, -0.1),
    "dip_start_gain_db_sr4": claim(0.3, 0.1, holds=True),
    "dip_start_gain_db_deblur": claim(0.3, -0.1),
    "weak_prior_vs_control_db": claim(0.4, 0.2, holds=True) | {"prior": "other"},
    "hybrid_time_ratio_ddpm_1000_sr4": claim(0.05, 0.05, holds=True),
    "hybrid_time_ratio_ddpm_best_sr4": claim(5.0, 5.0),
}
ROWS = pd.DataFrame(
    [
        {"task": task, "method": method, "image": i, "iterations": 0 if task == "inpaint_box" else 40, "seconds": seconds + i}
        for task, times in (("sr4", (3, 1)), ("deblur", (4, 1)), ("inpaint_box", (1, 1)))
        for method, seconds in zip(("hybrid", "ddpm_mean_long"), times, strict=True)
        for i in range(2)
    ]
)
CHAINS = [("sr4", 0, 27.0, 26.0), ("sr4", 1, 29.0, 27.0), ("sr4", 2, 20.0, None), ("deblur", 0, 25.0, 25.5), ("deblur", 1, 20.0, None)]
ROWS = pd.concat(
    [
        ROWS.assign(seed=0, psnr=20.0),
        *(
            pd.DataFrame({"task": task, "method": ["ddpm_best", "ddpm_1000"], "image": i, "seed": 0, "psnr": [short, full]})
            for task, i, short, full in CHAINS
        ),
    ]
).dropna(subset="psnr")
GROUPS = pd.DataFrame(
    [("sr4", "over control x", 0.1), ("deblur", "over control x", 0.1), ("deblur", "over control x", -0.1), ("deblur", "gain over y", 0.3)],
    columns=["task", "what", "low"],
)
STUDY = {
    "stopping_gap_mean_db": claim(0.07, 0.05, holds=True) | {"rival": "es_wmv", "rival_value": 1.234},
    "stopping_gap_p95_db": claim(0.4, 0.3),
    "stopping_fail_share": claim(0.002, 0.0),
    "stopping_split_price_db": claim(-0.31, -0.4, holds=True),
    "stopping_split_price_same_cost_db": claim(0.23, 0.2),
    "stopping_gap_sr4_db": claim(0.04, 0.0, holds=True),
    "stopping_gap_deblur_db": claim(0.31, 0.2),
}


def test_the_answers_count_the_tasks_that_the_claims_support():
    text = answers.answers(CLAIMS, STUDY, ROWS, GROUPS)
    assert "interval above 0, on 2 of 3 tasks (sr4, deblur)" in text
    assert "reaches the goal on 1 of 3 tasks (sr4)" in text
    assert "of plain diffusion, at 2.3 to 3.0 times its seconds, on 1 of 2 tasks (sr4)" in text
    assert "without any DIP on 1 of 2 tasks (deblur) (on each photograph by itself: none); elsewhere" in text
    alone = answers.answers(CLAIMS, STUDY, ROWS, GROUPS.assign(low=0.1))
    assert "(deblur) (on each photograph by itself: deblur); elsewhere" in alone


def test_where_a_method_without_any_prior_is_best_is_said():
    best = pd.DataFrame([{"task": "deblur", "method": "pinv", "image": i, "psnr": 40.0} for i in range(2)])
    assert "higher mean than plain pinv on deblur." in answers.answers(CLAIMS, STUDY, pd.concat([ROWS, best.assign(seed=0)]), GROUPS)
    assert "higher mean than plain" not in answers.answers(CLAIMS, STUDY, ROWS, GROUPS)


def test_the_range_of_the_stopping_gap_names_its_worst_task():
    assert "On the other tasks it loses 0.04 to 0.31 dB (deblur loses most)" in answers.answers(CLAIMS, STUDY, ROWS, GROUPS)


def test_the_answer_says_what_stopping_costs_and_what_the_pair_is_worth():
    text = answers.answers(CLAIMS, STUDY, ROWS, GROUPS)
    assert "loses 0.07 dB to the oracle peak (the published rule ES-WMV 1.23 dB)" in text
    assert "more than 1 dB in 0.2 % of the stops" in text
    assert "is 0.31 dB above one fit" in text
    assert "0.23 dB below the mean of two such fits" in text
    dearer = STUDY | {"stopping_split_price_db": claim(0.12, 0.1)}
    assert "is 0.12 dB below one fit" in answers.answers(CLAIMS, dearer, ROWS, GROUPS)


def test_the_answer_says_where_dip_has_no_part_and_where_it_is_the_better_start():
    text = answers.answers(CLAIMS, STUDY, ROWS, GROUPS)
    assert "with a DIP in its blend (on inpaint_box it holds none either)" in text
    assert "and worse, interval below 0, on 0 of 2 tasks." in text
    ahead = answers.answers(CLAIMS | {"hybrid_gain_db_inpaint_box": claim(0.2, 0.1)}, STUDY, ROWS, GROUPS)
    assert "on 2 of 3 tasks (sr4, deblur) with a DIP in its blend (on inpaint_box without any)" in ahead
    assert "a DIP is better than the cheap start chosen on validation images, interval above 0, on 1 of 2 tasks (sr4)" in text
    assert "the gain over the controls changes by +0.40 dB [+0.20, +0.50]" in text
    assert "0 of 1 goals for time are reached against the best short chain, 1 of 1 against the chain of 1000 calls (which is worse" in text
    assert "is worse than the short one on 1 of 1 tasks (sr4))." in text
    everywhere = ROWS.assign(iterations=40)
    assert "with a DIP in its blend; it reaches" in answers.answers(CLAIMS, STUDY, everywhere, GROUPS)


def test_no_number_that_rounds_to_0_is_negative():
    still = {"value": -0.001, "lo": -0.002, "hi": -0.003, "prior": "other"}
    text = answers.answers(CLAIMS | {"weak_prior_vs_control_db": still}, STUDY | {"stopping_gap_sr4_db": claim(-0.001, -0.1)}, ROWS, GROUPS)
    assert "changes by +0.00 dB [+0.00, +0.00]" in text
    assert "-0.00" not in text
