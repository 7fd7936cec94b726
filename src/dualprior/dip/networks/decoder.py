"""The deep decoder (Heckel & Hand 2019), for N independent fits side by side.

No encoder, no skips, no convolution wider than one pixel: what makes neighbours alike is the upsampling alone. With few
channels it has fewer weights than the image has values and hardly fits noise at all.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, relu

from dualprior.dip.networks.batched_layers import BatchedConv, PixelNorm, check_size, one_by_one, side_by_side


class DeepDecoder(nn.Module):
    """network(z) -> [N, C, H, W] in [-1, 1]; z: [N, input_channels, H, W], of which only the means over blocks of
    `divisor` x `divisor` pixels are used; H and W multiples of `divisor`.

    channels: features of each layer, each paired_index the size of the one before, the last one at the image's size. One rng
    an image. Raises UserError for a size that the layers do not divide or whose first layer would be one pixel.
    """

    def __init__(self, channels: Sequence[int], input_channels: int, rngs: Sequence[torch.Generator], image_channels: int = 3):
        super().__init__()
        self.count, self.divisor = len(rngs), 2 ** len(channels)
        inputs = [input_channels, *channels[:-1]]
        self.mix = nn.ModuleList(BatchedConv(a, b, 1, rngs) for a, b in zip(inputs, channels, strict=True))
        self.norm = nn.ModuleList(PixelNorm(len(rngs) * c) for c in channels)
        self.head = BatchedConv(channels[-1], image_channels, 1, rngs)

    def forward(self, z: Tensor) -> Tensor:
        check_size(*z.shape[-2:], self.divisor, f"{len(self.mix)} layers of a deep decoder")
        h = avg_pool2d(z, self.divisor)
        h = side_by_side(h / h.std((1, 2, 3), keepdim=True))
        for mix, norm in zip(self.mix, self.norm, strict=True):
            h = norm(relu(interpolate(mix(h), scale_factor=2, mode="bilinear")))
        return one_by_one(torch.tanh(self.head(h)), self.count)
