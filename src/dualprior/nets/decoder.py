"""The deep decoder (Heckel & Hand 2019), written once for N independent fits like `nets.skip`.

No encoder, no skips, no convolution wider than one pixel: what makes neighbours alike is the upsampling alone. With few
channels it has fewer weights than the image has values and hardly fits noise at all.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, relu

from dualprior.errors import UserError
from dualprior.nets.skip import GroupedConv, PixelNorm


class DeepDecoder(nn.Module):
    """network(z) -> [N, C, H, W] in [-1, 1]; z: [N, input_channels, H, W], of which only the means over blocks of
    `divisor` x `divisor` pixels are used; H and W multiples of `divisor`.

    channels: features of each layer, each twice the size of the one before, the last one at the image's size. One rng
    an image. Raises UserError for a size that the layers do not divide or whose first layer would be one pixel.
    """

    def __init__(self, channels: Sequence[int], input_channels: int, rngs: Sequence[torch.Generator], image_channels: int = 3):
        super().__init__()
        self.count, self.divisor = len(rngs), 2 ** len(channels)
        inputs = [input_channels, *channels[:-1]]
        self.mix = nn.ModuleList(GroupedConv(a, b, 1, rngs) for a, b in zip(inputs, channels, strict=True))
        self.norm = nn.ModuleList(PixelNorm(len(rngs) * c) for c in channels)
        self.head = GroupedConv(channels[-1], image_channels, 1, rngs)

    def forward(self, z: Tensor) -> Tensor:
        height, width = z.shape[-2:]
        unit = self.divisor
        if height % unit or width % unit or height * width == unit**2:
            raise UserError(
                f"an image of {height} x {width} pixels does not fit {len(self.mix)} layers of a deep decoder; take entries out of "
                f"dip.network.channels or make data.image_size a multiple of {unit} above it in params.yaml"
            )
        h = avg_pool2d(z, unit)
        h = (h / h.std((1, 2, 3), keepdim=True)).reshape(1, -1, *h.shape[-2:])
        for mix, norm in zip(self.mix, self.norm, strict=True):
            h = norm(relu(interpolate(mix(h), scale_factor=2, mode="bilinear")))
        out = torch.tanh(self.head(h))
        return out.view(self.count, -1, height, width).float()
