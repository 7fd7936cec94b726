"""The results table and its place in the README."""

import pandas as pd
import pytest

from dualprior.common.errors import UserError
from dualprior.evaluation import tables


def entry(psnr, n=16):
    return {"psnr": psnr, "psnr_lo": psnr - 1, "psnr_hi": psnr + 1, "ssim": 0.8, "seconds": 0.1, "nfe": 1, "n": n}


SUMMARY = {
    "denoise25": {"ddpm_1000": entry(40, n=4), "dip_oracle": entry(35), "hybrid": entry(30.126), "dip_stopped": entry(29)},
    "sr4": {"hybrid": entry(27), "dip_stopped": entry(28), "dip_oracle": entry(33)},
}


def rows_of(text):
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {row[0]: row[1:] for row in cells}


def test_every_method_and_task_has_its_cell():
    found = rows_of(tables.render_results(SUMMARY))
    assert found["method"] == ["denoise25", "sr4"]
    assert found["hybrid"] == ["**30.13 [29.13, 31.13]**", "27.00 [26.00, 28.00]"]
    assert found["dip_stopped"][1] == "**28.00 [27.00, 29.00]**"
    assert found["dip_oracle (sees the clean image)"][0] == "35.00 [34.00, 36.00]"


def test_a_method_on_few_images_shows_its_n_and_a_missing_one_a_dash():
    assert rows_of(tables.render_results(SUMMARY))["ddpm_1000"] == ["40.00 [39.00, 41.00], n=4", "–"]


def test_a_method_of_later_tasks_stands_behind_its_predecessor_there():
    first, later = {"input": entry(20), "hybrid": entry(30)}, {"input": entry(20), "bicubic": entry(22), "hybrid": entry(30)}
    found = rows_of(tables.render_results({"denoise25": first, "sr4": later}))
    assert [name for name in found if name.isalpha() and name != "method"] == ["input", "bicubic", "hybrid"]


def test_neither_the_oracle_nor_a_method_on_few_images_is_ranked():
    assert tables.best_method(SUMMARY["denoise25"]) == "hybrid"


def test_markdown_has_no_index():
    text = tables.markdown(pd.DataFrame({"task": ["sr4"], "psnr": [27.123]}))
    assert rows_of(text)["sr4"] == ["27.12"]


def test_inject_replaces_only_what_is_between_the_markers_and_is_repeatable():
    text = "a\n<!-- BEGIN results -->\nold\n<!-- END results -->\nb <!-- BEGIN other --> c"
    expected = "a\n<!-- BEGIN results -->\n| new |\n<!-- END results -->\nb <!-- BEGIN other --> c"
    once = tables.inject(text, "results", "| new |\n")
    assert once == expected
    assert tables.inject(once, "results", "| new |\n") == expected


@pytest.mark.parametrize("text", ["no markers", "<!-- END x --><!-- BEGIN x -->", "<!-- BEGIN x --><!-- BEGIN x --><!-- END x -->"])
def test_missing_or_muddled_markers_are_a_user_error(text):
    with pytest.raises(UserError, match="<!-- BEGIN x -->"):
        tables.inject(text, "x", "table")


def test_a_claim_that_fails_says_so_and_the_head_counts():
    failing = {"value": 0.1, "lo": -0.1, "hi": 0.3, "goal": 0.5, "holds": False, "rival": "one_step"}
    text = tables.render_claims({"gain": failing, "gap": failing | {"value": 0.6, "holds": True}})
    assert text.startswith("1 of 2 claims hold.")
    assert rows_of(text)["gain"] == ["0.1 [-0.1, 0.3]", "0.50", "**no**", "one_step"]
    assert rows_of(text)["gap"][2] == "yes"
