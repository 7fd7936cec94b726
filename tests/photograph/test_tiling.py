"""Pieces cover a picture, overlap, and leave no seam."""

import pytest
import torch
from torch.nn.functional import avg_pool2d, pad

from dualprior.photograph.tiling import TiledDenoiser, mixed, starts


@pytest.mark.parametrize(("length", "tile", "overlap"), [(10, 16, 4), (16, 16, 4), (17, 16, 4), (100, 16, 4), (4000, 256, 32)])
def test_pieces_cover_a_side_and_overlap(length, tile, overlap):
    found = starts(length, tile, overlap)
    ends = [start + min(tile, length) for start in found]
    assert (found[0], ends[-1]) == (0, length)
    assert all(end - start >= overlap for end, start in zip(ends, found[1:], strict=False))


@pytest.mark.parametrize("scale", [1, 3])
def test_what_is_done_to_each_pixel_alone_is_done_to_the_picture(scale):
    x = torch.rand(1, 2, 45, 37)

    def work(piece, rows, columns):
        assert torch.equal(piece, x[..., rows, columns])
        return (piece**2).repeat_interleave(scale, 2).repeat_interleave(scale, 3)

    expected = (x**2).repeat_interleave(scale, 2).repeat_interleave(scale, 3)
    torch.testing.assert_close(mixed(x, work, tile=16, overlap=4, scale=scale), expected)


def test_a_local_denoiser_gives_what_it_gives_on_the_whole():
    """But for its own reach at the edges of a tile, where the ramp is lowest."""
    x = torch.rand(1, 3, 300, 290)

    def mean(image, sigma):
        return avg_pool2d(pad(image, (1, 1, 1, 1), mode="reflect"), 3, 1)

    error = (TiledDenoiser(mean)(x, 1.0) - mean(x, 1.0)).abs()
    assert error.max() < 0.03  # a thirty-third of the weight
    assert error.mean() < 1e-4


def test_tiles_without_a_wanted_pixel_are_left_alone():
    wanted = torch.zeros(300, 300, dtype=torch.bool)
    wanted[5, 5] = True
    calls = []
    out = TiledDenoiser(lambda x, sigma: calls.append(1) or x + 1, wanted)(torch.zeros(1, 1, 300, 300), 1.0)
    assert len(calls) == 1
    assert out[0, 0, 5, 5] == 1
    assert out[0, 0, 299, 299] == 0
