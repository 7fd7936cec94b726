"""Deep Image Prior's skip network (Ulyanov et al. 2018), for N independent fits side by side."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from dualprior.dip.networks.batched_layers import BatchedConv, ConvNormAct, check_size, join, one_by_one, side_by_side


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
        self.head = BatchedConv(channels[0], image_channels, 1, rngs)

    def forward(self, z: Tensor) -> Tensor:
        check_size(*z.shape[-2:], self.divisor, f"{len(self.encode)} scales")
        h, bypassed = side_by_side(z), []
        for encode, bypass in zip(self.encode, self.bypass, strict=True):
            bypassed.append(bypass(h) if bypass is not None else None)
            h = encode(h)
        for decode, skip in zip(reversed(self.decode), reversed(bypassed), strict=True):
            h = interpolate(h, scale_factor=2, mode="nearest")
            h = decode(join(h, skip, self.count) if skip is not None else h)
        return one_by_one(self.head(h), self.count)
