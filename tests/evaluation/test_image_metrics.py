"""PSNR, SSIM and intervals against their definitions."""

import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import uniform_filter

from dualprior.evaluation import image_metrics
from dualprior.evaluation.image_metrics import interval, measured


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    clean = rng.random((3, 16, 20, 3)).astype(np.float32)
    return clean, np.clip(clean + rng.normal(0, 0.1, clean.shape), 0, 1).astype(np.float32)


def test_psnr_is_its_definition_per_image(images):
    clean, noisy = images
    expected = [10 * np.log10(1 / np.mean((a.astype(np.float64) - b) ** 2)) for a, b in zip(clean, noisy, strict=True)]
    np.testing.assert_allclose(measured("psnr", clean, noisy), expected, rtol=1e-5)
    assert measured("psnr", clean, clean).tolist() == [image_metrics.PSNR_CEILING] * 3


def test_images_of_different_counts_are_refused(images):
    with pytest.raises(ValueError, match="shorter"):
        measured("psnr", images[0], images[1][:2])


def ssim_by_hand(a, b, window=7):
    """Wang et al. 2004, Eq. 13, uniform window, sample covariances, valid positions only, mean over channels."""
    a, b, pad = a.astype(np.float64), b.astype(np.float64), window // 2
    mean = lambda x: uniform_filter(x, size=(window, window, 1))  # noqa: E731
    unbias = window**2 / (window**2 - 1)
    ma, mb = mean(a), mean(b)
    va, vb, cov = ((mean(x) - m) * unbias for x, m in ((a * a, ma * ma), (b * b, mb * mb), (a * b, ma * mb)))
    value = (2 * ma * mb + 0.01**2) * (2 * cov + 0.03**2) / ((ma**2 + mb**2 + 0.01**2) * (va + vb + 0.03**2))
    return value[pad:-pad, pad:-pad].mean()


def test_ssim_is_its_definition_with_a_window_of_7_over_all_channels(images):
    clean, noisy = images
    np.testing.assert_allclose(measured("ssim", clean, noisy), [ssim_by_hand(a, b) for a, b in zip(clean, noisy, strict=True)], rtol=1e-4)


def test_an_interval_of_a_normal_mean_is_about_two_standard_errors():
    values = np.random.default_rng(1).normal(3, 2, 400)
    mean, low, high = interval(values, 4000, seed=0)
    half = 1.96 * values.std() / 20
    assert mean == pytest.approx(values.mean())
    assert (low, high) == pytest.approx((mean - half, mean + half), abs=0.03)


def test_an_interval_of_differences_does_not_see_how_the_images_differ():
    rng = np.random.default_rng(2)
    b = rng.normal(28, 5, 30)  # images differ by 5 dB, methods by 0.2 dB: only pairing shows it
    mean, low, high = interval(b + rng.normal(0.2, 0.1, 30) - b, 2000, seed=0)
    assert 0.1 < low < mean < high < 0.3


@pytest.mark.parametrize("values", [[2.0], [2.0, 2.0, 2.0]])
def test_one_image_or_equal_values_have_no_width(values):
    assert interval(values, 100, 0) == (2.0, 2.0, 2.0)


def test_a_new_metric_is_a_new_column(images, monkeypatch):
    monkeypatch.setitem(image_metrics.METRICS, "mae", lambda a, b: float(np.abs(a - b).mean()))
    rows = image_metrics.image_rows(["a", "b", "c"], *images, task="sr4", method="m", seconds=0.5, dip_passes=[1, 2, 3])
    assert list(rows.columns) == ["image", "task", "method", "seconds", "dip_passes", "psnr", "ssim", "mae"]
    assert rows["mae"].between(0.05, 0.1).all()


def test_the_predicted_psnr_of_an_error_is_that_of_the_same_mse():
    """RMSE 0.2 on [-1, 1] is 0.1 on [0, 1]: 20 dB."""
    np.testing.assert_allclose(image_metrics.predicted_psnr(np.array([0.2])), [20.0])


def test_seeds_of_an_image_are_averaged():
    rows = pd.DataFrame({"image": ["a", "a", "b"], "method": ["z", "z", "z"], "psnr": [20.0, 22.0, 31.0]})
    assert image_metrics.by_image(rows)["z"].tolist() == [21.0, 31.0]
