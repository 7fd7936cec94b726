"""PSNR, SSIM and bootstrap intervals against their definitions and against scipy."""

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from scipy.ndimage import uniform_filter

from dualprior.evaluation import image_metrics


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    clean = rng.random((3, 16, 20, 3)).astype(np.float32)
    return clean, np.clip(clean + rng.normal(0, 0.1, clean.shape), 0, 1).astype(np.float32)


def test_psnr_is_its_definition_per_image(images):
    clean, noisy = images
    expected = [10 * np.log10(1 / np.mean((a.astype(np.float64) - b) ** 2)) for a, b in zip(clean, noisy, strict=True)]
    np.testing.assert_allclose(image_metrics.psnr(clean, noisy), expected, rtol=1e-5)


def test_psnr_of_identical_images_is_finite(images):
    assert image_metrics.psnr(images[0], images[0]).tolist() == [image_metrics.PSNR_CEILING] * 3


def test_images_of_different_counts_are_refused(images):
    with pytest.raises(ValueError, match="shorter"):
        image_metrics.psnr(images[0], images[1][:2])


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
    expected = [ssim_by_hand(a, b) for a, b in zip(clean, noisy, strict=True)]
    np.testing.assert_allclose(image_metrics.ssim(clean, noisy), expected, rtol=1e-4)


def test_bootstrap_interval_agrees_with_scipy():
    values = np.random.default_rng(1).normal(3, 2, 40)
    mean, low, high = image_metrics.bootstrap_mean(values, 20000, 0.9, seed=0)
    settings = {"confidence_level": 0.9, "n_resamples": 20000, "method": "percentile", "rng": np.random.default_rng(7)}
    expected = scipy.stats.bootstrap((values,), np.mean, **settings).confidence_interval
    assert mean == pytest.approx(values.mean())
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=0.02)


def test_an_interval_of_differences_is_that_of_the_paired_bootstrap():
    rng = np.random.default_rng(2)
    b = rng.normal(28, 5, 30)  # images differ by 5 dB, methods by 0.2 dB: only pairing shows it
    a = b + rng.normal(0.2, 0.1, 30)
    mean, low, high = image_metrics.bootstrap_mean(a - b, 5000, 0.95, seed=0)
    settings = {"paired": True, "vectorized": False, "n_resamples": 5000, "method": "percentile", "rng": np.random.default_rng(3)}
    expected = scipy.stats.bootstrap((a, b), lambda x, y: np.mean(x) - np.mean(y), **settings).confidence_interval
    assert 0 < low < mean < high < 0.3
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=0.005)


def test_bootstrap_repeats_itself_under_one_seed():
    values = np.arange(10.0)
    assert image_metrics.bootstrap_mean(values, 500, 0.95, 4) == image_metrics.bootstrap_mean(values, 500, 0.95, 4)
    assert image_metrics.bootstrap_mean(values, 500, 0.95, 4) != image_metrics.bootstrap_mean(values, 500, 0.95, 5)


def test_rows_have_the_published_columns_and_one_value_or_one_per_image(images):
    clean, noisy = images
    names = ["a", "b", "c"]
    rows = image_metrics.image_rows("sr4", "m", names, clean, noisy, seed=0, seconds=0.5, nfe=3, iterations=[1, 2, 3])
    assert list(rows.columns) == ["image", "task", "method", "seed", "psnr", "ssim", "seconds", "nfe", "iterations"]
    assert rows["iterations"].tolist() == [1, 2, 3]
    assert rows["seconds"].tolist() == [0.5] * 3


def test_summary_counts_images_not_seeds_and_keeps_the_order_of_methods():
    columns = ["image", "method", "seed", "psnr", "ssim", "seconds", "nfe"]
    rows = pd.DataFrame(
        [
            ("a", "z", 0, 20.0, 0.5, 1.0, 4),
            ("a", "z", 1, 22.0, 0.7, 3.0, 4),
            ("b", "z", 0, 31.0, 0.9, 2.0, 4),
            ("a", "few", 0, 25.0, 0.8, 9.0, 1000),
        ],
        columns=columns,
    )
    summary = image_metrics.summarise(rows, 200, 0.95, seed=0)
    assert list(summary) == ["z", "few"]
    assert summary["z"]["n"] == 2
    assert summary["z"]["psnr"] == 26.0  # mean of image means 21 and 31
    assert summary["z"]["seconds"] == 2.0
    assert summary["few"] == {"psnr": 25.0, "psnr_lo": 25.0, "psnr_hi": 25.0, "ssim": 0.8, "seconds": 9.0, "nfe": 1000.0, "n": 1}
