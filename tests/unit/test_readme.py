"""The README's words follow the numbers."""

from dualprior import readme


def claim(value, lo, holds=False):
    return {"value": value, "lo": lo, "hi": value + 0.1, "goal": 0.5, "holds": holds}


CLAIMS = {
    "hybrid_gain_db_sr4": claim(0.6, 0.5, holds=True),
    "hybrid_gain_db_deblur": claim(0.2, 0.1),
    "hybrid_gain_db_inpaint_box": claim(0.0, -0.1),
    "hybrid_gain_ssim_sr4": claim(0.1, 0.05, holds=True),
    "hybrid_vs_control_db_sr4": claim(-0.2, -0.3),
    "stopping_gap_sr4_db": claim(0.04, 0.0, holds=True),
    "stopping_gap_deblur_db": claim(0.31, 0.2),
}


def test_the_answers_count_the_tasks_that_the_claims_support():
    text = readme.answers(CLAIMS)
    assert "interval above 0, on 2 of 3 tasks (sr4, deblur)" in text
    assert "reaches the goal on 1 of 3 tasks (sr4)" in text
    assert "without any DIP on 0 of 1 tasks." in text


def test_the_range_of_the_stopping_gap_names_its_worst_task():
    assert "loses 0.04 to 0.31 dB to the oracle peak (deblur loses most)" in readme.answers(CLAIMS)
