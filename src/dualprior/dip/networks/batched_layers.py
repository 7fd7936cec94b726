"""What the fitting networks of a Deep Image Prior are made of: layers written once for N independent fits.

The N networks sit side by side in grouped convolutions: weight i touches image i only. Batch normalisation over a
batch of one (the original's) is normalisation over the pixels of one image, so it never mixes images either.

Between `side_by_side` and `one_by_one` all channels of a pixel lie together in memory (torch.channels_last): with few
channels a group that is what the processor's convolutions want, and other layouts are copied back and forth at every call.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import batch_norm, conv2d, leaky_relu

from dualprior.common.errors import UserError


class BatchedConv(nn.Module):
    """N convolutions side by side: [1, N*c_in, H, W] -> [1, N*c_out, H/stride, W/stride].

    Weights of network i are drawn from rngs[i] (He et al. 2015, uniform), whatever N is.
    """

    def __init__(self, c_in: int, c_out: int, kernel: int, rngs: Sequence[torch.Generator], stride: int = 1):
        super().__init__()
        self.groups, self.stride, self.padding = len(rngs), stride, kernel // 2
        bound = (3.0 / (c_in * kernel**2)) ** 0.5
        draws = [torch.rand(c_out, c_in, kernel, kernel, generator=rng) * 2 * bound - bound for rng in rngs]
        self.weight = nn.Parameter(torch.cat(draws).to(memory_format=torch.channels_last))
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
        self.conv = BatchedConv(c_in, c_out, kernel, rngs, stride)
        self.norm = PixelNorm(len(rngs) * c_out)

    def forward(self, x: Tensor) -> Tensor:
        return leaky_relu(self.norm(self.conv(x)), 0.2)


def side_by_side(z: Tensor) -> Tensor:
    """[N, C, H, W] to [1, N*C, H, W], as grouped convolutions want it."""
    n, c, height, width = z.shape
    return z.permute(2, 3, 0, 1).contiguous().view(1, height, width, n * c).permute(0, 3, 1, 2)


def one_by_one(h: Tensor, count: int) -> Tensor:
    """[1, N*C, H, W] to float32 [N, C, H, W]."""
    return _pixels(h, count).permute(2, 3, 0, 1).float().contiguous()


def join(a: Tensor, b: Tensor, count: int) -> Tensor:
    """Concatenate the channels of each of the `count` networks, not of the whole row."""
    both = torch.cat([_pixels(a, count), _pixels(b, count)], dim=-1)
    return both.reshape(1, *a.shape[-2:], -1).permute(0, 3, 1, 2)


def _pixels(h: Tensor, count: int) -> Tensor:
    """[1, N*C, H, W] to [H, W, N, C]."""
    return h.permute(0, 2, 3, 1).reshape(*h.shape[-2:], count, -1)


class Chunks(nn.Module):
    """N networks as rows of some side by side, each row for itself: in a long one a layer's activations outgrow the cache.

    rows: networks that map [n, k, H, W] to [n, C, H, W], n their `count`.
    """

    def __init__(self, rows: Sequence[nn.Module]):
        super().__init__()
        self.rows = nn.ModuleList(rows)

    def forward(self, z: Tensor) -> Tensor:
        parts = z.split([row.count for row in self.rows])
        return torch.cat([row(part) for row, part in zip(self.rows, parts, strict=True)])


def check_size(height: int, width: int, divisor: int, network: str) -> None:
    """Raises UserError for an image that `divisor` does not divide or that it would shrink to one pixel."""
    if height % divisor or width % divisor or (divisor > 1 and height * width == divisor**2):
        raise UserError(
            f"an image of {height} x {width} pixels does not fit {network}; take entries out of "
            f"dip.network.channels or make data.image_size a multiple of {divisor} above it in params.yaml"
        )
