"""Deep Image Prior's skip network (Ulyanov et al. 2018), written once for N independent fits.

The N networks sit side by side in grouped convolutions: weight i touches image i only. Batch normalisation over a
batch of one (the original's) is normalisation over the pixels of one image, so it never mixes images either.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm, conv2d, interpolate, leaky_relu

from dualprior.errors import UserError


class GroupedConv(nn.Module):
    """N convolutions side by side: [1, N*c_in, H, W] -> [1, N*c_out, H/stride, W/stride].

    Weights of network i are drawn from rngs[i] (He et al. 2015, uniform), whatever N is.
    """

    def __init__(self, c_in: int, c_out: int, kernel: int, rngs: Sequence[torch.Generator], stride: int = 1):
        super().__init__()
        self.groups, self.stride, self.padding = len(rngs), stride, kernel // 2
        bound = (3.0 / (c_in * kernel**2)) ** 0.5
        draws = [torch.rand(c_out, c_in, kernel, kernel, generator=rng) * 2 * bound - bound for rng in rngs]
        self.weight = nn.Parameter(torch.cat(draws))
        self.bias = nn.Parameter(torch.zeros(len(rngs) * c_out))

    def forward(self, x: Tensor) -> Tensor:
        return conv2d(x, self.weight, self.bias, self.stride, self.padding, groups=self.groups)


class PixelNorm(nn.Module):
    """Zero mean and unit variance over the pixels of every channel of every image, then scale and shift."""

    def __init__(self, channels: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        return batch_norm(x, None, None, self.weight, self.bias, training=True)


class ConvNormAct(nn.Module):
    """Convolution, normalisation, leaky ReLU (slope 0.2)."""

    def __init__(self, c_in: int, c_out: int, kernel: int, rngs: Sequence[torch.Generator], stride: int = 1):
        super().__init__()
        self.conv = GroupedConv(c_in, c_out, kernel, rngs, stride)
        self.norm = PixelNorm(len(rngs) * c_out)

    def forward(self, x: Tensor) -> Tensor:
        return leaky_relu(self.norm(self.conv(x)), 0.2)


class SkipNet(nn.Module):
    """network(z) -> [N, C, H, W] in about [-1, 1]; z: [N, input_channels, H, W]; H and W multiples of `divisor`.

    channels: features of each scale, the first at half the image's size; skip_channels: features that bypass the
    scales below, 0 for none. One rng an image: the same rng gives the same network, alone or in a batch. Raises
    UserError for a size that the scales do not divide or that the smallest scale shrinks to one pixel.
    """

    def __init__(
        self,
        channels: Sequence[int],
        skip_channels: int,
        input_channels: int,
        rngs: Sequence[torch.Generator],
        image_channels: int = 3,
    ):
        super().__init__()
        self.count, self.divisor = len(rngs), 2 ** len(channels)
        self.encode, self.bypass, self.decode = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        inputs = [input_channels, *channels[:-1]]
        for c_in, c in zip(inputs, channels, strict=True):
            self.encode.append(nn.Sequential(ConvNormAct(c_in, c, 3, rngs, stride=2), ConvNormAct(c, c, 3, rngs)))
            self.bypass.append(ConvNormAct(c_in, skip_channels, 1, rngs) if skip_channels else None)
            below = channels[min(len(self.decode) + 1, len(channels) - 1)]
            self.decode.append(ConvNormAct(below + skip_channels, c, 3, rngs))
        self.head = GroupedConv(channels[0], image_channels, 1, rngs)

    def forward(self, z: Tensor) -> Tensor:
        self._check_size(*z.shape[-2:])
        h = z.reshape(1, -1, *z.shape[-2:])
        bypassed = []
        for encode, bypass in zip(self.encode, self.bypass, strict=True):
            bypassed.append(bypass(h) if bypass is not None else None)
            h = encode(h)
        for decode, skip in zip(reversed(self.decode), reversed(bypassed), strict=True):
            h = interpolate(h, scale_factor=2, mode="nearest")
            h = decode(self._join(h, skip) if skip is not None else h)
        out = self.head(h)
        return out.view(self.count, -1, *out.shape[-2:]).float()

    def _check_size(self, height: int, width: int) -> None:
        unit = self.divisor
        if height % unit or width % unit or height * width == unit**2:
            raise UserError(
                f"an image of {height} x {width} pixels does not fit {len(self.encode)} scales; take entries out of "
                f"dip.network.channels or make data.image_size a multiple of {unit} above it in params.yaml"
            )

    def _join(self, a: Tensor, b: Tensor) -> Tensor:
        """Concatenate the channels of each network, not of the whole row."""
        size = a.shape[-2:]
        return torch.cat([a.view(self.count, -1, *size), b.view(self.count, -1, *size)], dim=1).view(1, -1, *size)
