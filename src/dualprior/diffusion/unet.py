"""The DDPM's network: a U-Net conditioned on the log noise level, built for dense matrix products.

Two choices keep a CPU busy with arithmetic instead of memory traffic (measured, see benchmarks/): the first layer
folds `patch` x `patch` pixels into channels (as FFDNet does; Zhang et al. 2018), and blocks have no normalisation
(as DRUNet; Zhang et al. 2021): the last convolution of each starts at zero, so a fresh network is nearly linear.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pixel_shuffle, pixel_unshuffle, relu


class NoiseEmbedding(nn.Module):
    """Fourier features of log sigma [B], then two linear layers: [B, width] (as Ho et al. 2020 embed time)."""

    def __init__(self, width: int, features: int = 32):
        super().__init__()
        self.register_buffer("frequencies", torch.exp(torch.linspace(-1.0, 3.0, features // 2)))
        self.layers = nn.Sequential(nn.Linear(features, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())

    def forward(self, log_sigma: Tensor) -> Tensor:
        angle = log_sigma[:, None] * self.frequencies
        return self.layers(torch.cat([angle.sin(), angle.cos()], dim=1))


class ResidualBlock(nn.Module):
    """x + conv(relu(scale * conv(x) + shift)), scale and shift from the noise level."""

    def __init__(self, channels: int, width: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.condition = nn.Linear(width, 2 * channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        nn.init.zeros_(self.conv2.weight)
        nn.init.zeros_(self.conv2.bias)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        scale, shift = self.condition(embedding)[:, :, None, None].chunk(2, dim=1)
        return x + self.conv2(relu(torch.addcmul(shift, self.conv1(x), 1 + scale)))


class UNet(nn.Module):
    """network(x, log_sigma, image) -> [B, C, H, W]; H and W multiples of `divisor`.

    channels * multipliers[i] features at level i (half the size each level), `blocks` residual blocks a level on each
    side, skips added. Fully convolutional, so it runs at sizes it was not trained at. image: a condition of
    `condition_channels` channels, put beside x at the input (Saharia et al. 2021, Sec. 2.1); none where they are 0.
    blind: not told the noise level.
    """

    def __init__(
        self,
        channels: int,
        multipliers: tuple[int, ...],
        blocks: int,
        patch: int,
        image_channels: int = 3,
        condition_channels: int = 0,
        blind: bool = False,
    ):
        super().__init__()
        self.blind = blind
        self.declared = {"image": condition_channels} if condition_channels else {}
        sizes = [channels * m for m in multipliers]
        width = 2 * channels
        folded = image_channels * patch**2
        self.patch = patch
        self.divisor = patch * 2 ** (len(sizes) - 1)
        self.embedding = NoiseEmbedding(width)
        self.stem = nn.Conv2d(folded + condition_channels * patch**2, sizes[0], 3, padding=1)
        self.down = nn.ModuleList(_blocks(size, width, blocks) for size in sizes)
        self.shrink = nn.ModuleList(nn.Conv2d(a, b, 2, stride=2) for a, b in zip(sizes, sizes[1:], strict=False))
        self.grow = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in zip(sizes, sizes[1:], strict=False))
        self.up = nn.ModuleList(_blocks(size, width, blocks) for size in sizes)
        self.head = nn.Conv2d(sizes[0], folded, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self.to(memory_format=torch.channels_last)

    def modulations(self) -> list[nn.Linear]:
        """The layers whose outputs, [B, width], tell each residual block the noise level, as scales and shifts."""
        return [block.condition for block in self.modules() if isinstance(block, ResidualBlock)]

    def forward(self, x: Tensor, log_sigma: Tensor, image: Tensor | None = None) -> Tensor:
        embedding = self.embedding(torch.zeros_like(log_sigma) if self.blind else log_sigma)
        x = x if image is None else torch.cat([x, image], dim=1)
        folded = pixel_unshuffle(x, self.patch).contiguous(memory_format=torch.channels_last)
        h = self.stem(folded)
        skips = []
        for blocks, shrink in zip(self.down, [*self.shrink, None], strict=True):
            h = _apply(blocks, h, embedding)
            if shrink is not None:
                skips.append(h)
                h = shrink(h)
        for level in reversed(range(len(self.up))):
            if level < len(self.grow):
                h = skips[level] + interpolate(self.grow[level](h), scale_factor=2, mode="nearest")
            h = _apply(self.up[level], h, embedding)
        return pixel_shuffle(self.head(h), self.patch)


def _blocks(channels: int, width: int, count: int) -> nn.ModuleList:
    return nn.ModuleList(ResidualBlock(channels, width) for _ in range(count))


def _apply(blocks: nn.ModuleList, h: Tensor, embedding: Tensor) -> Tensor:
    for block in blocks:
        h = block(h, embedding)
    return h
