"""The trained denoiser fitted to one noisy image and stopped like a Deep Image Prior; there is no DIP in it.

Only a gain and a shift per channel of every residual block are fitted, image by image, while the weights are shared
(Mohan et al. 2021 tune the gains alone; Chung & Ye 2024 tune_gains a diffusion model to the measurement by low-rank
updates). No clean image is needed: with omega drawn afresh at every step,

    E ||D(y + alpha*omega) - (y - omega/alpha)||^2 = E ||D(y + alpha*omega) - x||^2 + const

(Pang et al. 2021, Eq. 5-9). It is a fit, so it overfits in the end; like the DIP it is run as a pair, on the two parts
of a coupled split, and judged by what each part never saw (`witness`).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn

from dualprior.diffusion.denoiser import Denoiser
from dualprior.diffusion.samplers import Denoise, Noise

Gains = Sequence[Tensor]  # for every residual block [N, 2 * channels]: what is added to what the noise level tells it


class GainTuningStep(NamedTuple):
    step: int  # optimiser steps done, from 0
    gains: Gains  # [N, ...] each, a copy
    output: Tensor  # [N, C, H, W], D(y; sigma) with these gains


def no_gains(network: nn.Module, count: int) -> list[Tensor]:
    """Gains that change nothing, for `count` images."""
    like = next(network.parameters())
    return [torch.zeros(count, layer.out_features, device=like.device) for layer in network.modulations()]


@contextmanager
def modulated(network: nn.Module, gains: Gains) -> Iterator[None]:
    """Inside, image i of a batch passes through the network with gains[...][i] added; outside, it is what it was."""

    def adder(gain: Tensor):
        return lambda _module, _inputs, output: output + gain.to(output.dtype)

    hooks = [layer.register_forward_hook(adder(gain)) for layer, gain in zip(network.modulations(), gains, strict=True)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def with_gains(denoise: Denoiser, gains: Gains) -> Denoise:
    """The denoiser adapted to the images of one batch: denoise(x, sigma) for x [N, C, H, W]."""

    def adapted(x: Tensor, sigma: Tensor | float) -> Tensor:
        with modulated(denoise.network, gains):
            return denoise(x, sigma)

    return adapted


def tune_gains(
    denoise: Denoiser, y: Tensor, sigma: float, *, steps: int, every: int, lr: float, alpha: float, noise: Noise
) -> Iterator[GainTuningStep]:
    """Fit gains to every image of y, yielding before the first step and after every `every` steps; see `recorrupted_fit`."""
    gains = [gain.requires_grad_() for gain in no_gains(denoise.network, len(y))]
    fit = recorrupted_fit(with_gains(denoise, gains), gains, y, sigma, steps=steps, every=every, lr=lr, alpha=alpha, noise=noise)
    for step, output in fit:
        yield GainTuningStep(step, [gain.detach().clone() for gain in gains], output)


def recorrupted_fit(
    denoise: Denoise, parameters: list[Tensor], y: Tensor, sigma: float, *, steps: int, every: int, lr: float, alpha: float, noise: Noise
) -> Iterator[tuple[int, Tensor]]:
    """Fit parameters of the denoiser to y: (steps done, D(y; sigma)) before the first step and after every `every` steps.

    y: [N, C, H, W] at noise level sigma; noise(y) draws unit noise shaped like y. Each step: Adam (Kingma & Ba 2015) on
    ||D(y + alpha*omega; sigma*sqrt(1 + alpha^2)) - (y - omega/alpha)||^2, a mean over values and a sum over images, so
    every fit follows the path it would alone where no parameter is shared.
    """
    optimizer, level = torch.optim.Adam(parameters, lr=lr), sigma * (1 + alpha**2) ** 0.5
    for step in range(steps + 1):
        if step % every == 0 or step == steps:
            with torch.no_grad():
                output = denoise(y, sigma)
            yield step, output
        if step == steps:
            return
        omega = sigma * noise(y)
        with torch.enable_grad():
            residual = denoise(y + alpha * omega, level) - (y - omega / alpha)
            residual.square().mean((1, 2, 3)).sum().backward(inputs=parameters)
        optimizer.step()
        optimizer.zero_grad()
