"""Work on a picture of any size piece by piece. Pieces overlap and are mixed by ramps, so no seam is seen."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from dualprior.diffusion.samplers import Denoise

TILE, OVERLAP = 256, 32  # pixels


def starts(length: int, tile: int, overlap: int) -> list[int]:
    """Where the pieces of a side begin: each of `tile` pixels, or all of a shorter side; overlapping by `overlap` or more."""
    if length <= tile:
        return [0]
    count = -(-(length - overlap) // (tile - overlap))
    return [round(k * (length - tile) / (count - 1)) for k in range(count)]


def mixed(x: Tensor, work: Callable[[Tensor, slice, slice], Tensor], tile: int = TILE, overlap: int = OVERLAP, scale: int = 1) -> Tensor:
    """work(piece, rows, columns) of every piece of x [1, C, H, W], mixed; of `scale` times the size if it enlarges.

    rows, columns: where the piece lies in x.
    """
    height, width = x.shape[-2:]
    total = weight = None
    for top in starts(height, tile, overlap):
        for left in starts(width, tile, overlap):
            rows, columns = slice(top, min(top + tile, height)), slice(left, min(left + tile, width))
            done = work(x[..., rows, columns], rows, columns)
            if total is None:
                total = done.new_zeros(*done.shape[:2], height * scale, width * scale)
                weight = done.new_zeros(1, 1, height * scale, width * scale)
            ramp = _ramp(done.shape[-2], overlap * scale)[:, None] * _ramp(done.shape[-1], overlap * scale)
            place = (..., slice(rows.start * scale, rows.stop * scale), slice(columns.start * scale, columns.stop * scale))
            total[place] += ramp.to(done) * done
            weight[place] += ramp.to(done)
    return total / weight


def _ramp(length: int, overlap: int) -> Tensor:
    """Rises from each end to 1 over `overlap` values."""
    near = torch.arange(1, length + 1, dtype=torch.float32)
    return torch.minimum(near, near.flip(0)).div(overlap + 1).clamp(max=1)


class TiledDenoiser:
    """D(x; sigma) for one picture of any size. Where `wanted` [H, W] is given, tiles without a wanted pixel are left as they are."""

    def __init__(self, denoise: Denoise, wanted: Tensor | None = None):
        self._denoise, self._wanted = denoise, wanted

    @torch.no_grad()
    def __call__(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        def work(piece: Tensor, rows: slice, columns: slice) -> Tensor:
            idle = self._wanted is not None and not self._wanted[rows, columns].any()
            return piece if idle else self._denoise(piece, sigma)

        return mixed(x, work)
