"""Extra terms for the loss of a Deep Image Prior, each an `dip.Extra`: extra(step, output, average) -> [N].

None of them sees a clean image of the photograph being restored: the denoiser and its features were trained on other
photographs, and the patches of the adversarial term are those of the measurement itself.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, pixel_unshuffle, softplus

from dualprior.diffusion.denoiser import Denoiser
from dualprior.dip.networks.batched_layers import BatchedConv, one_by_one, side_by_side

Denoise = Callable[[Tensor, float], Tensor]


def none(step: int, output: Tensor, average: Tensor | None) -> Tensor:
    """No extra term."""
    return output.new_zeros(len(output))


def denoiser_pull(denoise: Denoise, weight: float, level: float, refresh: int, data_consistency: Callable[[Tensor], Tensor] | None = None):
    """weight * mean |f - sg D(f_avg; level)|^2: the learned denoising prior (RED: Romano et al. 2017).

    The target is refreshed every `refresh` steps. data_consistency: applied to the target, to condition the denoiser on the measurement
    (as DiffPIR's data step does); None for the prior alone.
    """
    target = None

    def extra(step: int, output: Tensor, average: Tensor | None) -> Tensor:
        nonlocal target
        if average is None:
            return none(step, output, average)
        if target is None or step % refresh == 0:
            with torch.no_grad():
                target = denoise(average, level)
                target = target if data_consistency is None else data_consistency(target)
        return weight * (output - target).square().mean((1, 2, 3))

    return extra


def perceptual(
    features: Callable[[Tensor, float], Sequence[Tensor]], y: Tensor, weight: float, level: float, noise: Callable[[Tensor], Tensor]
):
    """weight * mean over layers |phi(f + level*eps) - phi(y)|^2 / |phi(y)|^2, phi the diffusion model's encoder at `level`.

    The fit is noised to the level of the measurement before it is compared, eps frozen, so that the noise of y is no
    feature to be fitted. (Perceptual loss: Johnson et al. 2016, Eq. 2, with the encoder in place of VGG.)
    """
    eps = noise(y)
    with torch.no_grad():
        wanted = [layer.float() for layer in features(y, level)]
    scale = [layer.square().mean((1, 2, 3)) for layer in wanted]

    def extra(step: int, output: Tensor, average: Tensor | None) -> Tensor:
        shown = features(output + level * eps, level)
        terms = [(a.float() - b).square().mean((1, 2, 3)) / c for a, b, c in zip(shown, wanted, scale, strict=True)]
        return weight * sum(terms) / len(terms)

    return extra


def encoder_features(denoiser: Denoiser) -> Callable[[Tensor, float], list[Tensor]]:
    """The features on the way down of a diffusion U-Net, a tensor a level, for an image at a noise level."""
    network = denoiser.network

    def features(x: Tensor, level: float) -> list[Tensor]:
        sigma = torch.full((len(x),), level, dtype=x.dtype, device=x.device)
        scaled = denoiser.precondition(sigma).c_in.view(-1, 1, 1, 1) * x
        kept = []
        with torch.autocast(x.device.type, dtype=denoiser.autocast or torch.bfloat16, enabled=denoiser.autocast is not None):
            embedding = network.embedding(sigma.log())
            h = network.stem(pixel_unshuffle(scaled, network.patch).contiguous(memory_format=torch.channels_last))
            for blocks, shrink in zip(network.down, [*network.shrink, nn.Identity()], strict=True):
                for block in blocks:
                    h = block(h, embedding)
                kept.append(h)
                h = shrink(h)
        return kept

    return features


class PatchAdversary:
    """weight * -log D(patches of f + level*eps): a patch discriminator an image, trained along, that tells them from y's.

    Fit and measurement are compared at the same noise, fresh on the fit, as in AmbientGAN (Bora et al. 2018); the
    discriminator risk patches of 7 pixels (PatchGAN: Isola et al. 2017). Non-saturating loss (Goodfellow et al. 2014).
    """

    def __init__(
        self,
        y: Tensor,
        weight: float,
        level: float,
        rngs: Sequence[torch.Generator],
        noise: torch.Generator,
        channels: int = 8,
        lr: float = 1e-3,
    ):
        """rngs: of every image's discriminator; noise: of the fits' fresh noise, one draw a step for all of them."""
        self._y, self._weight, self._level, self._noise = y, weight, level, noise
        self._layers = nn.ModuleList(
            [BatchedConv(y.shape[1], channels, 3, rngs), BatchedConv(channels, channels, 3, rngs), BatchedConv(channels, 1, 3, rngs)]
        ).to(y.device)
        self._optimizer = torch.optim.Adam(self._layers.parameters(), lr, betas=(0.5, 0.999))

    def __call__(self, step: int, output: Tensor, average: Tensor | None) -> Tensor:
        eps = torch.randn(output.shape[1:], generator=self._noise).to(output)
        noised = output.float() + self._level * eps
        told = softplus(-self._logits(self._y)).mean((1, 2, 3)) + softplus(self._logits(noised.detach())).mean((1, 2, 3))
        told.sum().backward()
        self._optimizer.step()
        for layer in self._layers:
            layer.requires_grad_(False)
        fooled = softplus(-self._logits(noised)).mean((1, 2, 3))
        for layer in self._layers:
            layer.requires_grad_(True)
        self._optimizer.zero_grad()
        return self._weight * fooled

    def _logits(self, x: Tensor) -> Tensor:
        h = side_by_side(x)
        for layer in self._layers[:-1]:
            h = leaky_relu(layer(h), 0.2)
        return one_by_one(self._layers[-1](h), len(x))
