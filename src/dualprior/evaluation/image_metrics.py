"""Image quality, and what a mean over few images is worth.

PSNR and SSIM are scikit-image's, on [0,1], data range 1, all three channels together, not quantised. A new metric is one entry
of `METRICS`. Intervals are percentile bootstraps (scipy's) over test crops, seeds averaged first. A crop is the unit:
where several are of one photograph, as in the default run, an interval does not speak of other photographs.
"""

from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy.stats import bootstrap
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

SSIM_WINDOW = 7  # pixels, uniform window: scikit-image's default
CONFIDENCE = 0.95
PSNR_CEILING = 100.0  # dB, given to identical images so that means stay finite


def psnr(clean: np.ndarray, restored: np.ndarray) -> float:
    """10·log10(1 / mean squared error), in dB. Both [H,W,3] in [0,1]."""
    with np.errstate(divide="ignore"):  # identical images
        return min(float(peak_signal_noise_ratio(clean, restored, data_range=1.0)), PSNR_CEILING)


def ssim(clean: np.ndarray, restored: np.ndarray) -> float:
    """Structural similarity (Wang et al. 2004), mean of the channels, in [-1,1]. Both [H,W,3], sides at least the window."""
    return float(structural_similarity(clean, restored, data_range=1.0, channel_axis=-1, win_size=SSIM_WINDOW))


METRICS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {"psnr": psnr, "ssim": ssim}


def measured(metric: str, clean: np.ndarray, restored: np.ndarray) -> np.ndarray:
    """One metric of several images: [n,H,W,3] twice to [n]."""
    return np.array([METRICS[metric](a, b) for a, b in zip(clean, restored, strict=True)])


def interval(
    values: np.ndarray, resamples: int, seed: int, statistic: Callable[[np.ndarray], float] = np.mean
) -> tuple[float, float, float]:
    """Mean, or another statistic, of [n] values and its 95 % percentile-bootstrap interval: (mean, low, high); the mean itself where
    all are equal.

    For two methods give their differences on the same images: each draw then takes both at once.
    """
    values = np.asarray(values, dtype=np.float64)
    mean = float(statistic(values))
    if len(values) < 2 or np.ptp(values) == 0:
        return mean, mean, mean
    drawn = bootstrap((values,), statistic, n_resamples=resamples, confidence_level=CONFIDENCE, method="percentile", rng=seed)
    return mean, float(drawn.confidence_interval.low), float(drawn.confidence_interval.high)


def image_rows(names: list[str], clean: np.ndarray, restored: np.ndarray, **columns) -> pd.DataFrame:
    """One row an image with every metric. names: [n]; columns: further ones, one value or [n]."""
    scores = {metric: measured(metric, clean, restored).round(4) for metric in METRICS}
    return pd.DataFrame({"image": names, **columns, **scores})


def by_image(rows: pd.DataFrame, value: str = "psnr") -> pd.DataFrame:
    """Table image × method of `value`, seeds averaged; methods keep their order; NaN where a method did not run."""
    order = rows["method"].unique()
    return rows.pivot_table(index="image", columns="method", values=value, aggfunc="mean", sort=False)[list(order)]


def predicted_psnr(error: np.ndarray) -> np.ndarray:
    """The PSNR, dB, that an RMSE [n] in [-1, 1] units stands for."""
    return 20 * np.log10(2 / np.asarray(error, dtype=float))


Interval = Callable[..., tuple[float, float, float]]
