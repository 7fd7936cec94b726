"""Closed forms for Gaussian data x0 ~ N(mean, variance I): what samplers and blends should give. All scalars are per pixel."""

import math


def ddim_end_variance(variance: float, sigmas) -> float:
    """Variance of the end point of deterministic sampling from N(mean, variance + sigmas[0]^2).

    Each step multiplies the deviation by g + (1 - g) sigma_next / sigma with g = variance / (variance + sigma^2).
    """
    deviation = variance + sigmas[0] ** 2
    for sigma, after in zip(sigmas, sigmas[1:], strict=False):
        g = variance / (variance + sigma**2)
        deviation *= (g + (1 - g) * after / sigma) ** 2
    return deviation


def ddpm_end_variance(variance: float, sigmas) -> float:
    """The same for ancestral sampling (eta = 1), with the fresh noise of every step added."""
    deviation = variance + sigmas[0] ** 2
    for sigma, after in zip(sigmas, sigmas[1:], strict=False):
        g = variance / (variance + sigma**2)
        up2 = after**2 * (1 - after**2 / sigma**2)
        down = math.sqrt(after**2 - up2)
        deviation = deviation * (g + (1 - g) * down / sigma) ** 2 + up2
    return deviation


def blend_weight(a: float, b: float, correlation: float) -> float:
    """Weight of the first of two estimates with RMSEs a, b and correlated errors that minimises the MSE."""
    cross = correlation * a * b
    return (b**2 - cross) / (a**2 + b**2 - 2 * cross)


def blend_mse(a: float, b: float, correlation: float) -> float:
    """The MSE at that weight: a^2 b^2 (1 - rho^2) / (a^2 + b^2 - 2 rho a b)."""
    return a**2 * b**2 * (1 - correlation**2) / (a**2 + b**2 - 2 * correlation * a * b)


def error_factor(gain: float, sigma: float, sigma_y: float, weight: float = 1.0) -> float:
    """What one denoising call with fresh noise (zeta = 1) multiplies a low-frequency error of the guess by.

    The guess before the call has error e at frequencies where the network multiplies by `gain`; data consistency, with
    rho = weight sigma_y^2 / sigma^2, leaves gain rho / (1 + rho) of it. Above 1 hundreds of calls diverge: stable where
    gain < 1 + sigma^2 / (weight sigma_y^2).
    """
    rho = weight * (sigma_y / sigma) ** 2
    return gain * rho / (1 + rho)
