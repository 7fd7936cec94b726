"""Figures hold the data they were given, say the finding in the title, and leave pyplot alone."""

import io

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import tiny
from PIL import Image

from dualprior.evaluation import comparisons, drawing, figures, image_metrics
from dualprior.evaluation import image_grid as sheets
from dualprior.restoration import registry as methods

RNG = np.random.default_rng(0)


def texts(figure):
    return " | ".join(text.get_text() for ax in figure.axes for text in [ax._left_title, ax.title, ax.xaxis.label])


def render(figure):
    """Drawing must work, warn of nothing (warnings are errors) and leave no pyplot figure behind."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", bbox_inches="tight")
    assert plt.get_fignums() == []
    return Image.open(buffer)


def entry(psnr, seconds, n=16):
    return {"psnr": psnr, "psnr_lo": psnr - 1, "psnr_hi": psnr + 1, "ssim": 0.8, "seconds": seconds, "nfe": 1, "n": n}


def test_restoration_sheet_shows_every_method_in_order_with_its_psnr_and_the_clean_image_last():
    clean = RNG.random((2, 8, 8, 3))
    restored = {method: RNG.random((2, 8, 8, 3)) for method in ("input", "dip_oracle", "hybrid")}
    psnr = {"input": np.array([20.0, 21.0]), "dip_oracle": np.array([28.0, 30.0]), "hybrid": np.array([27.0, 29.123])}
    figure = figures.restoration_sheet(clean, restored, psnr, ["a", "b"], columns=3)
    (ax,) = figure.axes
    said = [text.get_text() for text in ax.texts]  # of each block its name, then above and below every picture
    for block, expected in (("a", ["20.00 dB", "28.00 dB", "27.00 dB", ""]), ("b", ["21.00 dB", "30.00 dB", "29.12 dB", ""])):
        captions = said[said.index(block) + 1 :][:8]
        assert captions[::2] == ["input", "dip_oracle (sees clean)", "hybrid", "clean"]
        assert captions[1::2] == expected
    assert len(said) == 18
    weights = {text.get_text(): text.get_fontweight() for text in ax.texts}
    assert [weights[psnr] for psnr in ("20.00 dB", "28.00 dB", "27.00 dB", "29.12 dB")] == ["normal", "normal", "bold", "bold"]
    np.testing.assert_array_equal(ax.images[6].get_array(), restored["hybrid"][1])
    assert ax.images[0].get_interpolation() == "nearest"
    render(figure)


def test_pictures_of_a_sheet_are_square_apart_and_inside_it():
    panels = [sheets.Panel(np.zeros((4, 4, 3)), "above", "below") for _ in range(5)]
    figure = sheets.sheet({"a": panels, "b": panels[:1]}, columns=3, side=1.0, above=0.2, below=0.3)
    (ax,) = figure.axes
    boxes = [image.get_window_extent() for image in ax.images]
    assert all(abs(box.width - figure.dpi) < 1 and abs(box.height - figure.dpi) < 1 for box in boxes)
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    width, height = figure.get_size_inches() * figure.dpi
    assert all(box.x0 >= 0 and box.y0 >= 0 and box.x1 <= width and box.y1 <= height for box in boxes)
    assert [round(box.y0 / figure.dpi, 1) for box in boxes] == sorted([round(box.y0 / figure.dpi, 1) for box in boxes], reverse=True)


def test_generation_sheet_shows_samples_by_name():
    samples = {"ddim_10": RNG.integers(0, 255, (3, 8, 8, 3), np.uint8), "ddpm_10": np.zeros((2, 8, 8, 3), np.uint8)}
    figure = drawing.generation_sheet(samples)
    assert len(figure.axes[0].images) == 5
    assert {"ddim_10", "ddpm_10"} <= {text.get_text() for text in figure.axes[0].texts}
    render(figure)


@pytest.mark.parametrize("estimated", [True, False])
def test_dip_trace_marks_stop_and_peak_and_says_what_stopping_costs(estimated):
    steps = np.array([10, 20, 40, 80])
    psnr = np.array([[20.0, 21], [25, 26], [28, 27], [26, 24]])
    trace = pd.DataFrame([(i, t, 1 / t, 2 / t if estimated else np.nan) for i in (0, 1) for t in range(1, 81)])
    trace.columns = ["image", "step", "loss", "error_estimate"]
    figure = figures.dip_trace("sr4", trace, steps, psnr, np.array([30, 40]), 0.123, ["a", "b"])
    assert "loses 0.12 dB" in texts(figure)
    assert len(figure.axes) == (3 if estimated else 2)
    marks = [(line.get_marker(), line.get_xdata()[0]) for line in figure.axes[0].lines if len(line.get_xdata()) == 1]
    assert marks == [("o", 30), ("*", 40), ("o", 40), ("*", 40)]
    render(figure)


def test_training_curve_reports_the_psnr_at_sigma_02():
    curve = pd.DataFrame({"step": [50, 100], "loss": [0.5, 0.1], "lr": [1e-3, 1e-4]})
    points = [(step, sigma, 30 - 10 * sigma + step / 100) for step in (50, 100) for sigma in (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)]
    figure = drawing.training_curve(curve, pd.DataFrame(points, columns=["step", "sigma", "psnr"]))
    assert "σ = 0.2 to 29.0 dB" in texts(figure)
    render(figure)


@pytest.mark.parametrize("values", [[0.05, 0.1, 0.8], [1, 2, 3], ["dip", "input", "one_step"]])
def test_ablation_names_the_best_setting_of_each_task(values):
    table = pd.DataFrame(
        [(t, v, s, 25.0 + i, 24.5 + i, 25.5 + i) for t in ("sr4", "deblur") for s in ("x", "y") for i, v in enumerate(values)],
        columns=["task", "value", "series", "psnr", "psnr_lo", "psnr_hi"],
    ).assign(gain=np.nan, gain_lo=np.nan, gain_hi=np.nan)
    figure = figures.ablation(table, "start_level")
    assert f"sr4: best at {values[-1]}, 27.00 dB" in texts(figure)
    assert sorted(figure.axes[0].lines[0].get_ydata()) == [25.0, 26.0, 27.0]
    intervals = {tuple(segment[:, 1]) for segment in figure.axes[0].collections[0].get_segments()}
    assert intervals == {(24.5, 25.5), (25.5, 26.5), (26.5, 27.5)}
    render(figure)


def test_ablation_draws_the_interval_of_the_difference_to_the_value_in_use():
    table = pd.DataFrame({"task": "sr4", "value": [1.0, 2.0], "series": "x", "psnr": [27.0, 27.4], "psnr_lo": 20.0, "psnr_hi": 35.0})
    table = table.assign(gain=[0.0, 0.4], gain_lo=[0.0, 0.3], gain_hi=[0.0, 0.6])
    figure = figures.ablation(table, "start_scale")
    ends = [tuple(segment[:, 1]) for segment in figure.axes[0].collections[0].get_segments()]
    np.testing.assert_allclose(ends, [(27.0, 27.0), (27.3, 27.6)])


def test_quality_time_names_the_best_fair_method_and_leaves_out_the_far_worse():
    numbers = {"input": entry(14, 0), "dip_oracle": entry(31, 3), "ddpm_1000": entry(30, 9, n=4), "hybrid": entry(29.9, 1)}
    figure = figures.quality_time({"denoise50": numbers})
    assert "denoise50: hybrid is best, 29.90 dB in 1 s" in texts(figure)
    labels = {text.get_text() for text in figure.axes[0].texts}
    assert labels == {"dip_oracle (sees clean)", "ddpm_1000 (n=4)", "hybrid"}
    render(figure)


def test_quality_time_names_landmarks_and_the_front_alone():
    numbers = {"blurred": entry(28, 0.1), "coupled": entry(27, 0.5), "one_step": entry(26, 0.6), "hybrid": entry(29.9, 1)}
    figure = figures.quality_time({"sr4": numbers})
    assert {text.get_text() for text in figure.axes[0].texts} == {"blurred", "one_step", "hybrid"}


def test_gains_counts_sure_gains_and_reached_goals():
    claim = {"value": 0.4, "lo": 0.2, "hi": 0.6, "goal": 0.5, "holds": False, "rival": "ddpm_mean"}
    claims = {
        "hybrid_gain_db_sr4": claim,
        "hybrid_gain_db_deblur": claim | {"value": 0.6, "holds": True},
        "hybrid_gain_db_box": claim | {"value": 0.0, "lo": -0.1},
        "stopping_gap_sr4_db": claim,
    }
    figure = figures.gains(claims)
    assert "on 2 of 3 tasks; goal reached on 1" in texts(figure)
    render(figure)


def test_generation_quality_compares_the_best_with_the_floor():
    table = pd.DataFrame({"sampler": ["ddpm", "ddpm", "ddim"], "calls": [10, 100, 10], "frechet": [9.0, 3.0, 6.0]})
    figure = figures.generation_quality(table, 1.5, "Fréchet distance, patch-features", 128)
    assert "ddpm with 100 calls, 2.0 × the floor of 128 real patches" in texts(figure)
    assert figure.axes[0].get_ylabel() == "Fréchet distance, patch-features"
    render(figure)


def test_labels_never_overlap_and_keep_their_order():
    heights = np.array([0.5, 0.5, 0.52, 0.1, 0.0])
    placed = drawing._spread(heights, gap=0.1)
    assert np.diff(np.sort(placed)).min() > 0.099
    assert 0 <= placed.min() < placed.max() <= 1
    assert placed[4] < placed[3] < placed[0] < placed[2]


def test_more_labels_than_fit_still_fill_the_edge_evenly():
    placed = drawing._spread(np.zeros(30), gap=0.1)
    assert np.diff(np.sort(placed)).min() > 0.02


def test_every_method_of_the_catalogue_has_its_family():
    params = tiny.params()
    names = {
        name for task in params.tasks for name in methods.catalogue(tiny.problem(task, 1), params.restore, params.hybrid, tiny.COUPLED)
    }
    expected = {
        figures.HYBRID: set(methods.HYBRIDS),
        figures.DIFFUSION: {"one_step", "ddpm_best", "ddpm_1000", "ddpm_mean", "ddpm_mean_long"},
        figures.DIP: {"dip_short", "dip_last", "dip_stopped"},
        figures.OTHER: {"input", "pinv", "bicubic", "blurred", *claims.CONTROLS} - {"ddpm_mean_long"},
    }
    assert {name: figures.family(name) for name in names} == {m: family for family, of in expected.items() for m in of}
    assert figures.family(image_metrics.ORACLE) == figures.DIP


def test_the_hybrids_are_those_of_the_catalogue():
    assert set(methods.HYBRIDS) == set(figures.HYBRIDS)
