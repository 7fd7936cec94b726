"""Image quality, and what a mean over few images is worth.

PSNR and SSIM are scikit-image's, on [0,1], data range 1, all three channels together, not quantised.
Intervals are percentile bootstraps over images (Efron and Tibshirani 1993, ch. 13): images are what is resampled,
so an interval speaks of other photographs and not of other noise.
"""

import numpy as np
import pandas as pd
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

SSIM_WINDOW = 7  # pixels, uniform window: scikit-image's default
ORACLE = "dip_oracle"  # the best DIP iterate, picked by looking at the clean image: shown, never ranked
PSNR_CEILING = 100.0  # dB, given to identical images so that means stay finite
ROW_COLUMNS = ("image", "task", "method", "seed", "psnr", "ssim", "seconds", "nfe", "iterations")
ROW_DECIMALS = {"psnr": 4, "ssim": 5, "seconds": 6}


def psnr(clean: np.ndarray, restored: np.ndarray) -> np.ndarray:
    """10·log10(1 / mean squared error) of each image, in dB. Both [n,H,W,3] in [0,1]; gives [n] float64."""
    with np.errstate(divide="ignore"):  # identical images
        values = [peak_signal_noise_ratio(a, b, data_range=1.0) for a, b in zip(clean, restored, strict=True)]
    return np.minimum(np.array(values, dtype=np.float64), PSNR_CEILING)


def ssim(clean: np.ndarray, restored: np.ndarray) -> np.ndarray:
    """Structural similarity (Wang et al. 2004) of each image, mean of the channels, window `SSIM_WINDOW`.

    Both [n,H,W,3] in [0,1], H and W at least the window; gives [n] float64 in [-1,1].
    """
    settings = {"data_range": 1.0, "channel_axis": -1, "win_size": SSIM_WINDOW}
    values = [structural_similarity(a, b, **settings) for a, b in zip(clean, restored, strict=True)]
    return np.array(values, dtype=np.float64)


def bootstrap_mean(values: np.ndarray, resamples: int, confidence: float, seed: int) -> tuple[float, float, float]:
    """Mean and its percentile-bootstrap interval: (mean, low, high). values: [n], n >= 1, finite.

    For two methods give their differences on the same images: each draw then takes both at once.
    """
    values = np.asarray(values, dtype=np.float64)
    picks = np.random.default_rng(seed).integers(0, len(values), size=(resamples, len(values)))
    means = values[picks].mean(axis=1)  # [resamples]
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(values.mean()), float(low), float(high)


def image_rows(
    task: str, method: str, names: list[str], clean: np.ndarray, restored: np.ndarray, *, seed: int, seconds, nfe, iterations
) -> pd.DataFrame:
    """One row an image with the columns of `ROW_COLUMNS`.

    names: [n]; clean and restored [n,H,W,3] in [0,1]; seconds, nfe, iterations: one number, or [n], per image.
    """
    rows = pd.DataFrame({"image": names, "psnr": psnr(clean, restored), "ssim": ssim(clean, restored)})
    rows = rows.assign(task=task, method=method, seed=seed, seconds=seconds, nfe=nfe, iterations=iterations)
    return rows[list(ROW_COLUMNS)].round(ROW_DECIMALS)


def by_image(rows: pd.DataFrame, value: str) -> pd.DataFrame:
    """Table image × method of `value`, seeds averaged; methods keep their order; NaN where a method did not run."""
    order = rows["method"].unique()
    return rows.pivot_table(index="image", columns="method", values=value, aggfunc="mean", sort=False)[list(order)]


def summarise(rows: pd.DataFrame, resamples: int, confidence: float, seed: int) -> dict[str, dict[str, float]]:
    """{method: {psnr, psnr_lo, psnr_hi, ssim, seconds, nfe, n}} of one task's rows; n counts images, not seeds."""
    psnrs = by_image(rows, "psnr")
    means = rows.groupby("method")[["ssim", "seconds", "nfe"]].mean()
    summary = {}
    for method in psnrs.columns:
        values = psnrs[method].dropna().to_numpy()
        mean, low, high = bootstrap_mean(values, resamples, confidence, seed)
        summary[method] = {
            "psnr": round(mean, 3),
            "psnr_lo": round(low, 3),
            "psnr_hi": round(high, 3),
            "ssim": round(float(means.loc[method, "ssim"]), 4),
            "seconds": round(float(means.loc[method, "seconds"]), 5),
            "nfe": round(float(means.loc[method, "nfe"]), 2),
            "n": len(values),
        }
    return summary
