"""Closed forms for Gaussian data x0 ~ N(mean, variance I), which stage laws draws. All scalars are per pixel."""

from torch import Tensor


def gaussian_denoiser(mean: float, variance: float):
    """The exact D(x; sigma) = E[x0 | x] = mean + variance / (variance + sigma^2) (x - mean)."""

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        sigma = sigma.view(-1, 1, 1, 1)
        return mean + variance / (variance + sigma**2) * (x - mean)

    return denoise


def restart_mse(variance: float, error: float, start: float, *, matched: bool) -> float:
    """MSE of one-step denoising of a start image with white error of RMSE `error`, re-noised to level `start`.

    matched: added variance start^2 - error^2, MSE = v s^2 / (v + s^2), least at s = error.
    plain: added variance start^2, MSE = v (1 - g) + g^2 error^2, g = v / (v + s^2).
    """
    g = variance / (variance + start**2)
    if matched:
        if start < error:
            raise ValueError(f"a matched restart cannot start at {start:g}, below its own error {error:g}")
        return variance * (1 - g)
    return variance * (1 - g) + g**2 * error**2
