"""Findings on invented rows whose answers are known, and figures and tables of the same rows."""

import io

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from dualprior.evaluation import comparisons, figures, tables
from dualprior.evaluation.comparisons import Roles, findings, start_rule_share
from dualprior.evaluation.image_metrics import interval

FAMILIES = {"y": "baseline", "chain": "diffusion", "slow": "diffusion", "fit": "dip", "part": "hybrid", "frozen": "counterpart",
            "no_dip": "counterpart", "both": "hybrid"}  # fmt: skip
ROLES = Roles(FAMILIES, hybrid="both", frozen="frozen", no_random_fit="no_dip", full_chain="slow", stopped="fit", dip_start="part",
              cheap_start="chain", oracle="best")  # fmt: skip
GAINS = {"y": -3.0, "chain": -0.5, "fit": -1.0, "part": 0.0, "frozen": -0.4, "no_dip": -0.1, "both": 0.0, "best": -0.8}  # to the hybrid, dB
COUNT = 12


def bounds(values):
    return interval(values, 300, 0)


def rows(few: int = 2) -> pd.DataFrame:
    level, wobble = np.linspace(24, 34, COUNT), 0.01 * np.cos(np.arange(COUNT))
    names = [f"crop{i}" for i in range(COUNT)]
    made = []
    for method, gain in {**GAINS, "slow": -2.0}.items():
        n = few if method == "slow" else COUNT
        psnr = (level + gain + (0 if method == "both" else wobble))[:n]
        predicted = psnr + 0.5 * (-1) ** np.arange(n) if method == "fit" else np.nan
        seconds = {"both": 1.0, "slow": 4.0}.get(method, 0.1)
        made.append(pd.DataFrame({"task": "t", "image": names[:n], "method": method, "psnr": psnr, "seconds": seconds,
                                  "predicted_psnr": predicted}))  # fmt: skip
    return pd.concat(made, ignore_index=True)


@pytest.fixture(scope="module")
def found() -> dict:
    return findings(rows(), ROLES, bounds)


@pytest.mark.parametrize(
    ("question", "value"),
    [
        ("gain_over_better_parent_db", 0.5),
        ("gain_over_frozen_db", 0.4),
        ("gain_over_no_random_fit_db", 0.1),
        ("gain_over_baseline_db", 3.0),
        ("stopping_loss_db", 0.2),
        ("dip_against_best_diffusion_db", -0.5),
        ("predicted_psnr_error_db", 0.5),
        ("gain_over_ddpm_1000_db", 2.0),
    ],
)
def test_every_question_has_its_value_and_an_interval_around_it(found, question, value):
    answer = found[question]["t"]
    assert answer["value"] == pytest.approx(value, abs=0.02)
    assert answer["lo"] <= answer["value"] <= answer["hi"]
    assert answer["n"] == (2 if "1000" in question else COUNT)
    assert answer["unit"] == "dB"


def test_the_better_parent_ran_on_every_image_and_fits_or_denoises_alone(found):
    assert found["gain_over_better_parent_db"]["t"]["parent"] == "chain"


def test_seconds_are_compared_on_the_images_that_both_restored(found):
    assert found["seconds_ratio_ddpm_1000"]["t"] == {"value": 0.25, "lo": 0.25, "hi": 0.25, "n": 2, "unit": "ratio"}


def test_seeds_do_not_narrow_an_interval():
    one = rows()
    many = pd.concat([one.assign(seed=seed) for seed in range(5)])
    question = "gain_over_frozen_db"
    assert findings(many, ROLES, bounds)[question] == findings(one, ROLES, bounds)[question]


def test_the_start_rule_is_right_where_no_other_scale_is_a_tenth_of_a_decibel_better():
    psnr = {1.0: [30.0, 30.0, 30.0, 30.0], 2.0: [30.05, 29.0, 30.2, 30.09]}
    table = pd.DataFrame(
        [{"task": "t", "image": i, "value": v, "used": v == 1.0, "psnr": p} for v, column in psnr.items() for i, p in enumerate(column)]
    )
    share = start_rule_share(table, bounds)
    assert share["t"]["value"] == share["all"]["value"] == 0.75


def test_the_table_of_methods_ranks_neither_the_oracle_nor_what_ran_on_few_images():
    labels = {**{name: name.upper() for name in FAMILIES}, "best": "sees the clean image"}
    best = rows().assign(psnr=lambda r: r["psnr"] + 5 * r["method"].isin(["best", "slow"]))
    text = tables.results(best, labels, {"best"})
    bold = [line.split("|")[1].strip() for line in text.splitlines() if "**" in line]
    assert bold in (["`part`"], ["`both`"])
    assert "(n=2)" in next(line for line in text.splitlines() if "`slow`" in line)


# --- figures: they can be drawn, warn of nothing and leave pyplot alone ------------------------------------------


def drawn(figure) -> Image.Image:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", bbox_inches="tight")
    assert plt.get_fignums() == []
    return Image.open(buffer)


def test_the_hero_figure_shows_the_hybrid_above_the_better_prior_by_its_gain():
    figure = figures.hero(rows(), ROLES, bounds)
    (ax,) = figure.axes
    marks = [line.get_xdata()[0] for line in ax.lines if line.get_marker() == "D"]
    assert marks == [pytest.approx(0.5, abs=0.02)]
    drawn(figure)


def test_quality_against_seconds_names_at_most_eight_methods():
    figure = figures.quality_time(rows(), ROLES)
    named = [text.get_text() for text in figure.axes[0].texts]
    assert set(named) <= set(FAMILIES)
    assert ROLES.hybrid in named
    assert len(named) <= 8
    drawn(figure)


def test_restored_crops_are_shown_large_with_zoom_and_error():
    rng = np.random.default_rng(0)
    clean = rng.random((2, 16, 16, 3))
    restored = {"a": clean + 0.1, "b": clean}
    figure = figures.restorations("t", clean, {name: x.clip(0, 1) for name, x in restored.items()}, ["one", "two"])
    (ax,) = figure.axes
    assert len(ax.images) == 2 * (3 + 3 + 2)
    sides = [image.get_window_extent().width for image in ax.images]
    assert min(sides) >= 160
    assert {"100.00 dB"} <= {text.get_text() for text in ax.texts}
    drawn(figure)


def test_stops_ablations_training_and_samples_are_drawn():
    steps = pd.DataFrame([{"task": "t", "image": i, "step": s, "psnr": 20.0 + s} for i in "ab" for s in (1, 10, 100)])
    stops = steps[steps["step"] == 10]
    drawn(figures.stopping(steps, stops))
    swept = pd.DataFrame([{"task": "t", "value": v, "series": "x", "used": v == 2, "psnr": 20.0 + v} for v in (1, 2, 4)])
    drawn(figures.ablation(swept, "scale"))
    curve = [{"step": s, "what": "loss", "sigma": np.nan, "value": 1 / s} for s in (1, 2)]
    curve += [{"step": s, "what": "psnr", "sigma": 0.2, "value": 20.0 + s} for s in (1, 2)]
    drawn(figures.training_curve(pd.DataFrame(curve)))
    drawn(figures.samples({"ddpm": np.zeros((3, 8, 8, 3), np.uint8)}))
    table = pd.DataFrame({"sampler": ["ddpm", "ddpm"], "calls": [5, 10], "frechet": [2.0, 1.0]})
    drawn(figures.generation_quality(table, 0.5, "distance", 8))
    drawn(figures.crops(np.zeros((3, 8, 8, 3), np.uint8), ["a", "b", "c"]))


def test_a_headline_has_the_best_of_every_family(found):
    (row,) = comparisons.headline(rows(), ROLES, found).to_dict("records")
    assert row["DIP"] == pytest.approx(28.0, abs=0.02)
    assert row["diffusion"] == pytest.approx(28.5, abs=0.02)
    assert row["hybrid"] == 29.0
    assert row["seconds, diffusion / hybrid"].count("/") == 1
