"""The report: its sentences follow the numbers, its page needs no network, and what is committed is what the metrics say."""

import re

import numpy as np
import pandas as pd
import pytest
import tiny
from dualprior.common.config import check_params, load_params, read_yaml
from PIL import Image
from studies.theory import page, render, words
from studies.theory.params import Report

from dualprior.common.io import read_table, read_text
from dualprior.common.paths import Paths

PATHS = Paths(tiny.PROJECT, pipeline="studies/report")
SETTINGS = check_params(read_yaml(tiny.PROJECT / "studies/report/params.yaml"), kind=Report)
FRAME = read_text(PATHS.report_frame)


def test_the_committed_report_is_what_the_committed_metrics_say():
    params = load_params(tiny.PROJECT / "params.yaml")
    setup = words.of_setup(params.data, params.ddpm, params.dip, params.hybrid)
    worst = render.failures(read_table(PATHS.default.per_image), SETTINGS.pictures.worst)
    assert read_text(PATHS.report_text) == render.markdown(PATHS, tuple(params.tasks), SETTINGS.laws, worst, setup), "run `make report`"


def test_every_reference_stands_on_a_line_of_its_own():
    listed = render.section(read_text(PATHS.report_text), "References").splitlines()
    assert [line.removeprefix("- ") for line in listed] == list(words.REFERENCES)


def test_every_picture_of_the_report_is_there():
    named = re.findall(r"!\[[^]]*\]\(([^)]+)\)", read_text(PATHS.report_text))
    assert len(named) > 20
    assert [name for name in named if not (PATHS.report_text.parent / name).is_file()] == []


# --- the page --------------------------------------------------------------------------------------------------


@pytest.fixture
def picture(tmp_path):
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "p.png")
    noise = np.random.default_rng(0).integers(0, 256, (400, 400, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "large.png")
    return tmp_path


def test_the_page_holds_its_pictures_and_asks_for_nothing(picture):
    text = "# T\n\n![small](p.png) ![large](large.png)\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n$x^2$ and\n\n$$\\frac{a}{b}$$\n"
    html = page.html(text, FRAME, picture, {})
    assert html.count("data:image/png;base64,") == 1
    assert html.count("data:image/jpeg;base64,") == 1
    sources = re.findall(r"(?:src|href)=\"([^\"#]+)", html)
    assert [source for source in sources if not source.startswith("data:")] == []
    assert "default-src 'none'; img-src data:;" in html  # a browser would refuse what is asked for all the same
    assert html.count("<math") == 2
    assert "<table>" in html


def test_a_slider_stands_where_the_text_asks_for_it(picture):
    html = page.html("a\n\n<!-- sliders sr4 -->\n\nb", FRAME, picture, {"sr4": "<p>HERE</p>"})
    assert html.index("<p>a</p>") < html.index("<p>HERE</p>") < html.index("<p>b</p>")


def test_without_scripts_every_frame_is_shown_with_its_label_and_mark():
    frames = np.zeros((3, 8, 8, 3), np.uint8)
    html = page.steps(frames, ["one", "two", "three"], "title", {1: "stopped"})
    assert html.count("<img") == 3
    assert re.findall(r'data-mark="([^"]*)"', html) == ["", "stopped", ""]
    assert "two <b>stopped</b>" in html
    both = page.before_after(frames[0], frames[1], ("before", "after"))
    assert re.findall(r'alt="([^"]*)"', both) == ["before", "after"]


# --- the words -------------------------------------------------------------------------------------------------


def test_failures_are_the_least_gains_over_the_strongest_rival():
    psnr = {"hybrid": (30, 31, 29), "one_step": (29, 31.5, 28.5)}
    table = [("sr4", f"i{i}", method, 0, value) for method, values in psnr.items() for i, value in enumerate(values)]
    rows = pd.DataFrame(table, columns=["task", "image", "method", "seed", "psnr"])
    worst = render.failures(rows, 2)
    assert worst["crop"].tolist() == ["i1", "i2"]
    assert worst["index"].tolist() == [1, 2]
    assert worst["gain, dB"].tolist() == [-0.5, 0.5]
    assert "1 of 2 are losses; the largest is -0.50 dB (i1, sr4)" in words.of_failures(worst)


def audit(mended: float) -> pd.DataFrame:
    row = {"task": "sr4", "protocol": "guide", "leaks": True, "dip_stopped": 26.0, "as_found": 35.0}
    return pd.DataFrame([row | {"mended": mended, "difference": 35.0 - mended}])


def test_the_audit_says_whether_anything_is_left_when_the_leak_is_closed():
    assert "no mean is above the stopped DIP's" in words.of_audit(audit(25.0))
    assert "the mean is above the stopped DIP's on: guide on sr4" in words.of_audit(audit(27.0))


def test_laws_are_held_against_what_was_simulated_and_measured():
    base = SETTINGS.laws.error**2
    rows = [("restart", f"{k}, {s}", 0.3, v) for k in ("matched", "plain") for s, v in (("law", 0.10), ("simulated", 0.101))]
    rows += [("network", "matched", 0.3, 0.5 * base), ("network", "matched", 0.6, 0.8 * base)]
    rows += [("network", "plain", 0.3, 1.2 * base), ("network", "plain", 0.6, 1.1 * base)]
    rows += [("fusion", "measured", 0.3, 0.02), ("fusion", "measured", 0.5, 0.03), ("fusion", "law", 0.3, 0.02)]
    rows += [("fusion", "best weight by the law", 0.28, 0.02), ("mean", "law", 2, 0.10), ("mean", "measured", 2, 0.12)]
    text = words.of_laws(pd.DataFrame(rows, columns=["law", "series", "x", "mse"]), SETTINGS.laws)
    assert "within 1.0 % of the law" in text
    assert "best at s = 0.3, with 0.50 of the start's squared error" in text
    assert "a plain one reaches 1.10 of it at best, never less than the start itself" in text
    assert "best at weight 0.3 of the DIP, by the law at 0.28" in text
    assert "error within 20 %" in text


def test_versions_come_from_the_lock_file():
    assert render.pinned('# c\ntorch==2.0\nother==1\nnumpy==3 ; sys_platform == "linux"\n') == ["torch 2.0", "numpy 3"]
