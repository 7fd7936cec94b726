"""A plain U-Net (Ronneberger et al. 2015) as a Deep Image Prior, for N independent fits side by side.

Unlike the skip network it works at full resolution and hands the encoder's features over whole, so it fits noise soonest:
the hard case for a stopping rule.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from dualprior.dip.networks.batched_layers import BatchedConv, ConvNormAct, check_size, join, one_by_one, side_by_side


class PlainUNet(nn.Module):
    """network(z) -> [N, C, H, W] in about [-1, 1]; z: [N, input_channels, H, W]; H and W multiples of `divisor`.

    channels: features of each scale, the first at the image's size. One rng an image. Raises UserError for a size that
    the scales do not divide or whose smallest scale would be one pixel.
    """

    def __init__(self, channels: Sequence[int], input_channels: int, rngs: Sequence[torch.Generator], image_channels: int = 3):
        super().__init__()
        self.count, self.divisor = len(rngs), 2 ** (len(channels) - 1)
        inputs = [input_channels, *channels[:-1]]
        self.encode = nn.ModuleList(
            nn.Sequential(ConvNormAct(a, b, 3, rngs, stride=1 if level == 0 else 2), ConvNormAct(b, b, 3, rngs))
            for level, (a, b) in enumerate(zip(inputs, channels, strict=True))
        )
        self.decode = nn.ModuleList(ConvNormAct(a + b, a, 3, rngs) for a, b in zip(channels, channels[1:], strict=False))
        self.head = BatchedConv(channels[0], image_channels, 1, rngs)

    def forward(self, z: Tensor) -> Tensor:
        check_size(*z.shape[-2:], self.divisor, f"{len(self.encode)} scales of a U-Net")
        h, levels = side_by_side(z), []
        for encode in self.encode:
            h = encode(h)
            levels.append(h)
        for decode, level in zip(reversed(self.decode), reversed(levels[:-1]), strict=True):
            h = decode(join(level, interpolate(h, scale_factor=2, mode="nearest"), self.count))
        return one_by_one(self.head(h), self.count)
