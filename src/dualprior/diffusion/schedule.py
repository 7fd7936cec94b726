"""Noise schedules and sampling grids, in float64.

A schedule is the list of noise levels sigma_t = sqrt((1 - alpha_bar_t) / alpha_bar_t), t = 1..T, of the
variance-exploding view x = x0 + sigma*eps. Training draws t uniformly; a sampling grid is a falling subset ending at 0.
"""

import numpy as np
from scipy.special import ndtri

from dualprior.common.errors import UserError

LOGNORMAL_MEAN, LOGNORMAL_STD = -1.2, 1.2  # Karras et al. 2022, Table 1, training distribution of ln sigma


def _linear(timesteps: int) -> np.ndarray:
    """Ho et al. 2020, Sec. 4: beta from 1e-4 to 0.02 at T = 1000, scaled so that other T keep the same end points."""
    beta = np.linspace(0.1 / timesteps, 20.0 / timesteps, timesteps)
    return np.cumprod(1 - np.minimum(beta, 0.999))


def _cosine(timesteps: int) -> np.ndarray:
    """Nichol & Dhariwal 2021, Eq. 17, s = 0.008, beta clipped at 0.999."""
    u = np.arange(timesteps + 1) / timesteps
    f = np.cos((u + 0.008) / 1.008 * np.pi / 2) ** 2
    return np.cumprod(1 - np.minimum(1 - f[1:] / f[:-1], 0.999))


def _sigmoid(timesteps: int) -> np.ndarray:
    """Jabri et al. 2023 (start -3, end 3, temperature 1): logistic alpha_bar, rescaled to run from 1 to 0."""
    u = np.arange(1, timesteps + 1) / timesteps
    logistic = lambda v: 1 / (1 + np.exp(-v))  # noqa: E731
    top, bottom = logistic(3.0), logistic(-3.0)
    value = (top - logistic(6 * u - 3)) / (top - bottom)
    return np.clip(value, 1e-5, 1.0)


def _lognormal(timesteps: int) -> np.ndarray:
    """Quantiles of ln sigma ~ N(-1.2, 1.2^2) (Karras et al. 2022, Table 1) as a schedule of T levels."""
    quantile = (np.arange(timesteps) + 0.5) / timesteps
    sigma = np.exp(LOGNORMAL_MEAN + LOGNORMAL_STD * ndtri(quantile))
    return 1 / (1 + sigma**2)


SCHEDULES = {"linear": _linear, "cosine": _cosine, "sigmoid": _sigmoid, "lognormal": _lognormal}


def alpha_bar(kind: str, timesteps: int) -> np.ndarray:
    """Cumulative signal share alpha_bar_t, t = 1..T: [T] float64, strictly falling, in (0, 1)."""
    return SCHEDULES[kind](timesteps)


def noise_levels(kind: str, timesteps: int) -> np.ndarray:
    """sigma_t = sqrt((1 - alpha_bar_t) / alpha_bar_t): [T] float64, rising, in [-1, 1] units."""
    a = alpha_bar(kind, timesteps)
    return np.sqrt((1 - a) / a)


def schedule_grid(levels: np.ndarray, calls: int) -> np.ndarray:
    """`calls` levels of a schedule, evenly spaced in t from the largest down, then 0: [calls + 1].

    With calls = T it is the whole chain. The last step goes to sigma = 0 exactly.
    """
    if not 1 <= calls <= len(levels):
        raise UserError(f"{calls} network calls do not fit a schedule of {len(levels)} noise levels; lower the calls")
    index = np.round(np.linspace(len(levels) - 1, 0, calls)).astype(int) if calls > 1 else np.array([len(levels) - 1])
    return np.append(levels[index], 0.0)


def few_step_grid(start: float | np.ndarray, calls: int, end: float = 0.02, rho: float = 7.0) -> np.ndarray:
    """`calls` levels from `start` down towards `end`, then 0: [calls + 1], or [calls + 1, B] for starts [B].

    Karras et al. 2022, Eq. 5: sigma_i = (start^(1/rho) + i/(calls-1) (end^(1/rho) - start^(1/rho)))^rho, made for few
    steps. `end` is lowered to start/4 where the start is that small.
    """
    start = np.asarray(start, dtype=np.float64)
    if (start <= 0).any():
        raise UserError(f"a start level of {start.min():g} is not above 0; give one above 0")
    end = np.minimum(end, start / 4)
    ramp = np.linspace(0, 1, calls).reshape(-1, *[1] * start.ndim)
    levels = (start ** (1 / rho) + ramp * (end ** (1 / rho) - start ** (1 / rho))) ** rho
    return np.concatenate([levels, np.zeros((1, *start.shape))])


def check_start(start: float, levels: np.ndarray, name: str) -> None:
    """Refuse a start level the denoiser was never trained at."""
    if not levels[0] <= start <= levels[-1]:
        raise UserError(
            f"{name} starts at noise level {start:.3g}, outside the schedule's range "
            f"[{levels[0]:.3g}, {levels[-1]:.3g}]; change it in params.yaml"
        )
